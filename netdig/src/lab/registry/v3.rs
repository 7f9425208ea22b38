//! API v3 by etcd's JSON gateway (`/v3/…`, since 3.4): keys and values in
//! base64, 64-bit numbers as texts, fields with their defaults left out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http::{Method, More, PATIENCE};
use super::{Change, Condition, KeyValue, Listing, Registry, Watch, Watched};
use crate::base64;

const JSON: &str = "application/json";

pub fn list(registry: &Registry, key: &str, below: bool) -> Result<Listing> {
    let request = match below {
        true => json!({
            "key": start_of(key), "range_end": base64::encode(&end_of(key)),
            "sort_order": "ASCEND", "sort_target": "KEY",
        }),
        false => json!({ "key": base64::encode(key.as_bytes()) }),
    };
    let object = ask(registry, "/v3/kv/range", &request)?;
    let entries = object["kvs"].as_array().into_iter().flatten();
    Ok(Listing {
        entries: entries.map(key_value).collect::<Result<_>>()?,
        missing: false,
        revision: number(&object["header"]["revision"]),
    })
}

pub fn write(
    registry: &Registry,
    key: &str,
    value: &str,
    ttl_s: Option<u32>,
    condition: Condition,
) -> Result<bool> {
    let key = base64::encode(key.as_bytes());
    let mut put = json!({ "key": key, "value": base64::encode(value.as_bytes()) });
    if let Some(ttl_s) = ttl_s {
        put["lease"] = json!(grant(registry, ttl_s)?.to_string());
    }
    let compare = match condition {
        Condition::None => {
            ask(registry, "/v3/kv/put", &put)?;
            return Ok(true);
        }
        Condition::Absent => {
            json!({ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" })
        }
        Condition::Revision(revision) => {
            json!({ "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string() })
        }
    };
    let request = json!({ "compare": [compare], "success": [{ "request_put": put }] });
    let object = ask(registry, "/v3/kv/txn", &request)?;
    Ok(object["succeeded"] == true)
}

pub fn delete(registry: &Registry, key: &str) -> Result<bool> {
    let request = json!({ "key": base64::encode(key.as_bytes()) });
    let object = ask(registry, "/v3/kv/deleterange", &request)?;
    Ok(number(&object["deleted"]) > 0)
}

fn grant(registry: &Registry, ttl_s: u32) -> Result<i64> {
    let object = ask(
        registry,
        "/v3/lease/grant",
        &json!({ "TTL": ttl_s.to_string() }),
    )?;
    object["ID"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .with_context(|| format!("etcd granted no lease: {object}"))
}

pub fn watch(watch: &mut Watch, wait: Duration) -> Result<Watched> {
    let end = Instant::now() + wait;
    let stream = match &mut watch.stream {
        Some(stream) => stream,
        none => {
            let request = json!({ "create_request": {
                "key": start_of(&watch.prefix), "range_end": base64::encode(&end_of(&watch.prefix)),
                "start_revision": watch.next.to_string(),
            }});
            let body = request.to_string();
            none.insert(
                watch
                    .registry
                    .open(Method::Post, "/v3/watch", JSON, &body, PATIENCE)?,
            )
        }
    };
    loop {
        let line = match stream.line(end)? {
            Ok(line) => line,
            Err(More::End) => bail!("etcd ended the watch of {}", watch.prefix),
            Err(_) => return Ok(Watched::Nothing),
        };
        let object: Value = serde_json::from_str(&line)
            .with_context(|| format!("etcd sent to a watch what is no JSON: {line}"))?;
        check(&object)?;
        let result = &object["result"];
        if result["canceled"] == true {
            if number(&result["compact_revision"]) > 0 {
                return Ok(Watched::Cleared);
            }
            bail!("etcd ended the watch of {}: {result}", watch.prefix);
        }
        let events = result["events"].as_array().into_iter().flatten();
        let changes: Vec<Change> = events.map(change).collect::<Result<_>>()?;
        if !changes.is_empty() {
            return Ok(Watched::Changes(changes));
        }
    }
}

fn change(event: &Value) -> Result<Change> {
    let kv = key_value(&event["kv"])?;
    Ok(Change {
        key: kv.key,
        value: (event["type"] != "DELETE").then_some(kv.value),
        revision: kv.revision,
    })
}

fn key_value(kv: &Value) -> Result<KeyValue> {
    let text = |field: &str| {
        let bytes = base64::decode(kv[field].as_str().unwrap_or_default())
            .with_context(|| format!("etcd's answer holds no base64 as {field}: {kv}"))?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(KeyValue {
        key: text("key")?,
        value: text("value")?,
        revision: number(&kv["mod_revision"]),
        expires: number(&kv["lease"]) != 0,
    })
}

fn ask(registry: &Registry, path: &str, request: &Value) -> Result<Value> {
    let answer = registry.ask(Method::Post, path, JSON, &request.to_string())?;
    let object: Value = serde_json::from_str(answer.body.trim()).with_context(|| {
        let start: String = answer.body.chars().take(200).collect();
        format!(
            "etcd answered {} to {path} and no JSON: {start}",
            answer.status
        )
    })?;
    check(&object)?;
    Ok(object)
}

fn check(object: &Value) -> Result<()> {
    let error = &object["error"];
    if error.is_null() {
        return Ok(());
    }
    let said = error.as_str().or(error["message"].as_str());
    bail!("etcd refuses: {}", said.unwrap_or(&error.to_string()))
}

fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .or(value.as_u64())
        .unwrap_or(0)
}

/// No prefix at all is the byte 0: from there on, all keys.
fn start_of(prefix: &str) -> String {
    match prefix {
        "" => base64::encode(&[0]),
        prefix => base64::encode(prefix.as_bytes()),
    }
}

/// The first key that does not begin with `prefix`; a byte 0 stands for none.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}
