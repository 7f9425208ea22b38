//! API v2: keys as a tree of URLs, changes by long polls.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http::{Answer, Method, PATIENCE};
use super::{Change, Condition, KeyValue, Listing, Registry, Watch, Watched};

const FORM: &str = "application/x-www-form-urlencoded";
/// etcd's error codes: the field `errorCode`.
const NOT_FOUND: u64 = 100;
const COMPARE_FAILED: u64 = 101;
const EXISTS: u64 = 105;
const CLEARED: u64 = 401;

pub fn list(registry: &Registry, prefix: &str) -> Result<Listing> {
    let path = format!("{}?recursive=true&sorted=true", path(prefix));
    let answer = registry.ask(Method::Get, &path, FORM, "")?;
    let index = answer.index;
    let (code, object) = judge(&answer)?;
    let revision = index.or(object["index"].as_u64()).unwrap_or(0);
    let mut entries = Vec::new();
    match code {
        None => flatten(&object["node"], &mut entries),
        Some(NOT_FOUND) => {}
        Some(_) => return refused(&object, "read", prefix),
    }
    Ok(Listing {
        entries,
        missing: code == Some(NOT_FOUND),
        revision,
    })
}

pub fn write(
    registry: &Registry,
    key: &str,
    value: &str,
    ttl_s: Option<u32>,
    condition: Condition,
) -> Result<bool> {
    let mut form = format!("value={}", escape(value, false));
    if let Some(ttl_s) = ttl_s {
        form += &format!("&ttl={ttl_s}");
    }
    match condition {
        Condition::None => {}
        Condition::Absent => form += "&prevExist=false",
        Condition::Revision(index) => form += &format!("&prevIndex={index}"),
    }
    let answer = registry.ask(Method::Put, &path(key), FORM, &form)?;
    match judge(&answer)? {
        (None, _) => Ok(true),
        (Some(NOT_FOUND | COMPARE_FAILED | EXISTS), _) if condition != Condition::None => Ok(false),
        (Some(_), object) => refused(&object, "write", key),
    }
}

pub fn delete(registry: &Registry, key: &str) -> Result<bool> {
    let answer = registry.ask(Method::Delete, &path(key), FORM, "")?;
    match judge(&answer)? {
        (None, _) => Ok(true),
        (Some(NOT_FOUND), _) => Ok(false),
        (Some(_), object) => refused(&object, "delete", key),
    }
}

pub fn watch(watch: &mut Watch, wait: Duration) -> Result<Watched> {
    let end = Instant::now() + wait;
    let stream = match &mut watch.stream {
        Some(stream) => stream,
        none => {
            let mut path = format!("{}?wait=true&recursive=true", path(&watch.prefix));
            if watch.next > 0 {
                path += &format!("&waitIndex={}", watch.next);
            }
            // The head comes at once, the body with the event.
            none.insert(
                watch
                    .registry
                    .open(Method::Get, &path, FORM, "", PATIENCE)?,
            )
        }
    };
    let Some(answer) = stream.whole(end)? else {
        return Ok(Watched::Nothing);
    };
    watch.stream = None;
    // etcd ends a poll without an event when it stops.
    if answer.body.trim().is_empty() {
        bail!("etcd ended the watch of {}", watch.prefix);
    }
    let (code, object) = judge(&answer)?;
    match code {
        None => {}
        Some(CLEARED) => return Ok(Watched::Cleared),
        Some(_) => return refused(&object, "watch", &watch.prefix),
    }
    let node = &object["node"];
    let gone = matches!(
        object["action"].as_str(),
        Some("delete" | "expire" | "compareAndDelete")
    );
    let value = node["value"].as_str().filter(|_| !gone);
    let change = Change {
        key: node["key"].as_str().unwrap_or_default().to_owned(),
        value: value.map(str::to_owned),
        revision: node["modifiedIndex"].as_u64().unwrap_or(watch.next),
    };
    // A directory that was made has no value, and is not gone.
    if change.value.is_none() && !gone {
        watch.next = watch.next.max(change.revision + 1);
        return Ok(Watched::Changes(Vec::new()));
    }
    Ok(Watched::Changes(vec![change]))
}

/// The error code, if it is an error, and the object.
fn judge(answer: &Answer) -> Result<(Option<u64>, Value)> {
    let object: Value = match serde_json::from_str(&answer.body) {
        Ok(object) => object,
        Err(_) if answer.status == 404 => bail!(
            "etcd's API v2 is switched off there (it answers 404 to every key); start etcd with --enable-v2"
        ),
        Err(error) => {
            let start: String = answer.body.chars().take(200).collect();
            return Err(error)
                .with_context(|| format!("etcd answered {} and no JSON: {start}", answer.status));
        }
    };
    Ok((object["errorCode"].as_u64(), object))
}

fn refused<T>(object: &Value, what: &str, key: &str) -> Result<T> {
    bail!(
        "etcd refuses to {what} {key}: {} ({}, error {})",
        object["message"].as_str().unwrap_or("no message"),
        object["cause"].as_str().unwrap_or(""),
        object["errorCode"]
    )
}

fn flatten(node: &Value, entries: &mut Vec<KeyValue>) {
    if let (Some(key), Some(value)) = (node["key"].as_str(), node["value"].as_str()) {
        entries.push(KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
            revision: node["modifiedIndex"].as_u64().unwrap_or(0),
            expires: !node["expiration"].is_null(),
        });
    }
    for child in node["nodes"].as_array().into_iter().flatten() {
        flatten(child, entries);
    }
}

fn path(key: &str) -> String {
    let key = key.trim_matches('/');
    format!("/v2/keys/{}", escape(key, true))
}

/// Percent-encoding (RFC 3986).
fn escape(text: &str, slash: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (slash && byte == b'/');
        match plain {
            true => escaped.push(char::from(byte)),
            false => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}
