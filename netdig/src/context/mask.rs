//! Secrets among the registry's values: masked as soon as they are read, so that no rule, no
//! evidence and no saved context holds them.
use serde_json::Value as Json;

use super::registry::{Registry, Value};

/// What stands in a secret's place.
pub const MASK: &str = "********";

/// Words that a secret's name has in it.
const NAMES: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    // Pre-shared keys of flannel's ipsec and wireguard backends.
    "psk",
    "presharedkey",
    "preshared_key",
    "secret",
    "token",
    "credential",
    "private",
    "apikey",
    "api_key",
    "api-key",
];

/// Folders of keys that hold nothing else.
const FOLDERS: [&str; 8] = [
    "secret",
    "secrets",
    "password",
    "passwords",
    "token",
    "tokens",
    "credential",
    "credentials",
];

/// Masks values of keys that are named like secrets, and what in other values is.
pub fn registry(registry: &mut Registry) {
    for key in &mut registry.keys {
        let (folders, name) = key.key.rsplit_once('/').unwrap_or(("", &key.key));
        let folder = |part: &str| FOLDERS.iter().any(|one| part.eq_ignore_ascii_case(one));
        let secret = is_secret(name) || folders.split('/').any(folder);
        let past = key.history.iter_mut().map(|past| &mut past.value);
        for value in std::iter::once(&mut key.value).chain(past) {
            mask_value(value, secret);
        }
    }
}

fn mask_value(value: &mut Value, secret: bool) {
    if *value == Value::default() {
        return;
    }
    if secret {
        *value = Value::Text(MASK.to_owned());
        return;
    }
    match value {
        Value::Text(text) => *text = self::text(text),
        Value::Cut { begins, .. } => *begins = self::text(begins),
        // What is no text may have some in it.
        Value::Bytes { .. } => {
            let bytes = value.bytes().unwrap_or_default();
            let plain = String::from_utf8_lossy(&bytes);
            let masked = self::text(&plain);
            if masked != plain {
                *value = Value::Text(masked);
            }
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|word| name.contains(word))
}

/// A text without its secrets: fields of JSON, `name=value` and `name: value` where the name is
/// a secret's, passwords of URLs, and private keys in PEM.
pub fn text(text: &str) -> String {
    if is_secret(text)
        && let Ok(mut json) = serde_json::from_str::<Json>(text)
        && matches!(json, Json::Object(_) | Json::Array(_))
    {
        return match mask_json(&mut json) {
            true => json.to_string(),
            false => text.to_owned(),
        };
    }
    let text = match is_secret(text) {
        true => without_named(text),
        false => text.to_owned(),
    };
    without_private_keys(&without_passwords(&text))
}

/// The bodies of PEM blocks (RFC 7468) whose label says that they are private keys, masked. One
/// that was cut has no end: all that is left of it is its body.
fn without_private_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (head, tail) = rest.split_at(at + BEGIN.len());
        out.push_str(head);
        let (label, behind) = tail.split_at(tail.find("-----").unwrap_or(tail.len()));
        out.push_str(label);
        rest = behind;
        if !label.contains("PRIVATE") {
            continue;
        }
        let body = behind.strip_prefix("-----").unwrap_or(behind);
        out.push_str(&behind[..behind.len() - body.len()]);
        out.push_str(MASK);
        rest = &body[body.find(END).unwrap_or(body.len())..];
    }
    out.push_str(rest);
    out
}

/// Masks what is a secret; whether there was any.
fn mask_json(json: &mut Json) -> bool {
    match json {
        Json::Object(fields) => fields.iter_mut().fold(false, |masked, (name, value)| {
            let says = !matches!(value, Json::Null | Json::Bool(_));
            match is_secret(name) && says {
                true => {
                    *value = Json::String(MASK.to_owned());
                    true
                }
                false => mask_json(value) || masked,
            }
        }),
        // Each of them, whatever the ones before it were.
        Json::Array(items) => items.iter_mut().map(mask_json).filter(|one| *one).count() > 0,
        Json::String(one) => {
            let shown = text(one);
            let masked = shown != *one;
            *one = shown;
            masked
        }
        _ => false,
    }
}

/// `password=x`, `"token": "x"`, `?secret=x&`, line by line; what is behind the sign is masked
/// to the end of its word, or of its quotes.
fn without_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (head, tail) = rest.split_at(at);
        let (sign, tail) = tail.split_at(1);
        out.push_str(head);
        out.push_str(sign);
        rest = tail;
        let name = head.trim_end_matches([' ', '"', '\'']);
        let begin = name.rfind(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
        // With the character before it, which does not matter.
        let name = begin.map_or(name, |begin| &name[begin..]);
        if !is_secret(name) || tail.starts_with("//") {
            continue;
        }
        let value = tail.trim_start_matches([' ', '\t']);
        out.push_str(&tail[..tail.len() - value.len()]);
        let (open, value) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => (Some(quote), &value[1..]),
            _ => (None, value),
        };
        let end = match open {
            Some(quote) => value.find(quote),
            None => value.find(|c: char| c.is_whitespace() || ",;&}".contains(c)),
        };
        let end = end.unwrap_or(value.len());
        out.extend(open);
        out.push_str(if end == 0 { "" } else { MASK });
        rest = &value[end..];
    }
    out.push_str(rest);
    out
}

/// `scheme://user:password@host` with the password masked, in every URL of a text.
fn without_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        // An authority ends before the path; `@` in a password must be escaped, and is not
        // always: the last one counts.
        let ends = |c: char| c.is_whitespace() || "/?#,\"".contains(c);
        let (authority, behind) = tail.split_at(tail.find(ends).unwrap_or(tail.len()));
        match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                let name = user.split(':').next().unwrap_or_default();
                out.push_str(&format!("{name}:{MASK}@{host}"));
            }
            _ => out.push_str(authority),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::registry::Key;

    fn masked(key: &str, value: &str) -> String {
        let mut all = Registry {
            keys: vec![Key {
                key: key.to_owned(),
                value: Value::Text(value.to_owned()),
                ..Key::default()
            }],
            ..Registry::default()
        };
        registry(&mut all);
        all.keys[0].value.text().unwrap().to_owned()
    }

    #[test]
    fn what_was_before_and_what_is_no_text_is_masked_too() {
        let mut all = Registry {
            keys: vec![Key {
                key: "/coreos.com/network/config".to_owned(),
                value: Value::of(b"\xff http://a:hunter2@b"),
                history: vec![crate::context::registry::Past {
                    value: Value::of(br#"{"Network":"10.1.0.0/16","password":"hunter2"}"#),
                    modified: 1,
                }],
                ..Key::default()
            }],
            ..Registry::default()
        };
        registry(&mut all);
        let [key] = &all.keys[..] else {
            panic!("one key")
        };
        assert_eq!(key.value.text(), Some("\u{fffd} http://a:********@b"));
        let past = key.history[0].value.text().expect("a text");
        assert!(
            past.contains("10.1.0.0/16") && !past.contains("hunter2"),
            "{past}"
        );
    }

    #[test]
    fn secrets_are_masked_and_nothing_else_is() {
        for (key, value, wanted) in [
            ("/app/db_password", "hunter2", MASK),
            ("/app/TOKEN", "abc", MASK),
            ("/app/token", "", ""),
            (
                "/app/db",
                r#"{"host":"a","Password":"hunter2"}"#,
                r#"{"Password":"********","host":"a"}"#,
            ),
            (
                "/app/url",
                "http://me:hunter2@10.0.0.1:80/x",
                "http://me:********@10.0.0.1:80/x",
            ),
            (
                "/app/url",
                "http://10.0.0.1:80/a:b@c",
                "http://10.0.0.1:80/a:b@c",
            ),
            (
                "/coreos.com/network/config",
                r#"{"Network":"10.1.0.0/16"}"#,
                r#"{"Network":"10.1.0.0/16"}"#,
            ),
            ("/app/secrets/db", "hunter2", MASK),
            ("/app/private-api/upstream/a", "10.0.0.1:80", "10.0.0.1:80"),
            (
                "/app/env",
                "A=1\nDB_PASSWORD=hunter2\ntoken: 'hunter 2' x\nsecret:",
                "A=1\nDB_PASSWORD=********\ntoken: '********' x\nsecret:",
            ),
            (
                "/app/cut",
                r#"{"a":"b","password" : "hunter2","c":{"token":7"#,
                r#"{"a":"b","password" : "********","c":{"token":********"#,
            ),
            (
                "/app/nested",
                r#"{"secrets":["hunter2"],"on":{"token":true},"e":["http://a:b@c"]}"#,
                r#"{"e":["http://a:********@c"],"on":{"token":true},"secrets":"********"}"#,
            ),
            (
                "/app/urls",
                "http://a:b@c:1,https://d:e@f@g/h",
                "http://a:********@c:1,https://d:********@g/h",
            ),
            ("/app/odd", "é token=é", "é token=********"),
            ("/x/tokens", "[[[", MASK),
            (
                "/coreos.com/network/config",
                r#"{"Backend":{"PSK":"hunter2","Type":"ipsec"},"Network":"10.1.0.0/16"}"#,
                r#"{"Backend":{"PSK":"********","Type":"ipsec"},"Network":"10.1.0.0/16"}"#,
            ),
            (
                "/coreos.com/network/config",
                r#"{"Backend":{"PresharedKey":"hunter2","Type":"wireguard"}}"#,
                r#"{"Backend":{"PresharedKey":"********","Type":"wireguard"}}"#,
            ),
            (
                "/app/wg",
                "PresharedKey = hunter2=",
                "PresharedKey = ********",
            ),
            ("/app/passphrase", "hunter2", MASK),
            (
                "/app/tls",
                "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n\
                 -----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\nx",
                "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n\
                 -----BEGIN EC PRIVATE KEY-----********-----END EC PRIVATE KEY-----\nx",
            ),
            (
                "/app/tls",
                "-----BEGIN PRIVATE KEY-----\nhunt",
                "-----BEGIN PRIVATE KEY-----********",
            ),
            (
                "/app/tls",
                r#"{"key":"-----BEGIN PRIVATE KEY-----\nhunter2"}"#,
                r#"{"key":"-----BEGIN PRIVATE KEY-----********"}"#,
            ),
            ("/x/y", "my secret", "my secret"),
        ] {
            assert_eq!(masked(key, value), wanted, "{key} {value}");
        }
    }
}
