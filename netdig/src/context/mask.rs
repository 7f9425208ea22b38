//! Secrets among the registry's values: masked as soon as they are read, so that no rule, no
//! evidence and no saved context holds them.
use serde_json::Value as Json;

use super::registry::{Registry, Value};

/// What stands in a secret's place.
pub const MASK: &str = "********";

/// Words that a secret's name has in it.
const NAMES: [&str; 9] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "private",
    "apikey",
    "api_key",
    "api-key",
];

/// Masks values of keys that are named like secrets, and fields of JSON values that are.
pub fn registry(registry: &mut Registry) {
    for key in &mut registry.keys {
        let name = key.key.rsplit('/').next().unwrap_or_default();
        if is_secret(name) && key.value != Value::default() {
            key.value = Value::Text(MASK.to_owned());
        } else if let Value::Text(text) = &mut key.value {
            mask_text(text);
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|word| name.contains(word))
}

/// Masks within one value: a JSON object's fields, and the password of a URL.
fn mask_text(text: &mut String) {
    if is_secret(text)
        && let Ok(mut json) = serde_json::from_str::<Json>(text)
        && mask_json(&mut json)
    {
        *text = json.to_string();
    }
    if let Some(masked) = without_password(text) {
        *text = masked;
    }
}

fn mask_json(json: &mut Json) -> bool {
    match json {
        Json::Object(fields) => fields.iter_mut().fold(false, |masked, (name, value)| {
            if is_secret(name) && (value.is_string() || value.is_number()) {
                *value = Json::String(MASK.to_owned());
                return true;
            }
            mask_json(value) || masked
        }),
        Json::Array(items) => items
            .iter_mut()
            .fold(false, |masked, item| mask_json(item) || masked),
        _ => false,
    }
}

/// `scheme://user:password@host` with the password masked; None where there is none.
pub fn without_password(text: &str) -> Option<String> {
    let begin = text.find("://")? + 3;
    let authority = text[begin..].split(['/', '?', '#', '"']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (name, _) = user.split_once(':')?;
    let after = &text[begin + user.len()..];
    Some(format!("{}{name}:{MASK}{after}", &text[..begin]))
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
            ("/x/tokens", "[[[", MASK),
            ("/x/y", "my secret", "my secret"),
        ] {
            assert_eq!(masked(key, value), wanted, "{key} {value}");
        }
    }
}
