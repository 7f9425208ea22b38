//! What comes nearest to an expectation that does not hold.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::scenario::Expectation;
use super::{any_at, fits, holds_something, same};

/// How much of a value or an object is shown.
const SHOWN: usize = 100;

/// Of several that something was not, how many are named.
const NAMED: usize = 3;

/// Where too few fit: the object of its kind that has most of what is asked for, and
/// what it has instead of the rest. Where too many do: the first of them.
pub fn nearest(expectation: &Expectation, objects: &[Value], too_many: bool) -> String {
    if too_many {
        let first = objects.iter().find(|object| fits(expectation, object));
        return first.map_or_else(String::new, |one| format!("the first is {}", shown(one)));
    }
    let kind = expectation.kind.as_str();
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    let misses = of_kind
        .map(|object| (differences(expectation, object), object))
        .filter(|(differences, _)| !differences.is_empty());
    match misses.min_by_key(|(differences, _)| differences.len()) {
        Some((differences, object)) => {
            let more = match differences.len().saturating_sub(NAMED) {
                0 => String::new(),
                n => format!(", and {n} more"),
            };
            let named: Vec<_> = differences.into_iter().take(NAMED).collect();
            format!(
                "the nearest is {}: {}{more}",
                shown(object),
                named.join(", ")
            )
        }
        None if objects.iter().any(|object| object["kind"] == kind) => {
            format!("no other object of the kind {kind} came")
        }
        None => format!("no object of the kind {kind} came{}", kinds(objects)),
    }
}

/// What of the expectation the object does not fulfil, as far as it goes.
fn differences(expectation: &Expectation, object: &Value) -> Vec<String> {
    let fields = expectation.fields.iter();
    let values = fields
        .filter(|(path, wanted)| !any_at(object, path, &mut |found| same(found, wanted)))
        .map(|(path, wanted)| match found(object, path) {
            None => format!("it has no `{path}`"),
            Some(value) => format!(
                "its `{path}` is {value}, not {}",
                cut(&json!(wanted).to_string())
            ),
        });
    let absent = expectation
        .present
        .iter()
        .filter(|path| !any_at(object, path, &mut holds_something))
        .map(|path| format!("it has no `{path}`"));
    values.chain(absent).collect()
}

/// The values at a path.
fn found(object: &Value, path: &str) -> Option<String> {
    let mut values = Vec::new();
    any_at(object, path, &mut |value| {
        if holds_something(value) {
            values.push(value.to_string());
        }
        false
    });
    (!values.is_empty()).then(|| cut(&values.join(" and ")))
}

/// What a person knows an object by.
fn shown(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or("object");
    let number = object["n"].as_u64().map(|n| format!(" {n}"));
    let what = match object["summary"].as_str() {
        Some(summary) => summary.to_owned(),
        None => object.to_string(),
    };
    format!("{kind}{} ({})", number.unwrap_or_default(), cut(&what))
}

/// `; there were 12 packet, 1 summary`.
fn kinds(objects: &[Value]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in objects.iter().filter_map(|object| object["kind"].as_str()) {
        *counts.entry(kind).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(kind, n)| format!("{n} {}", cut(kind)))
        .collect();
    match counts.is_empty() {
        true => ", and nothing else".to_owned(),
        false => format!("; there were {}", counts.join(", ")),
    }
}

/// The beginning of a text, fit for a terminal.
fn cut(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == SHOWN {
            out.push('…');
            break;
        }
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, objects: &[Value], too_many: bool) -> String {
        let text = format!("what = 'x'\nkind = 'packet'\n{text}");
        nearest(&toml::from_str(&text).unwrap(), objects, too_many)
    }

    #[test]
    fn the_object_with_fewest_differences_is_named_with_them() {
        let objects = [
            json!({"kind": "packet", "n": 1, "via": "eth0", "summary": "first\u{1b}[31m"}),
            json!({"kind": "packet", "n": 2, "via": "tun-read", "tcp": {"flags": ["SYN", "ACK"]}, "summary": "second"}),
            json!({"kind": "loss", "n": 3, "via": "tun-read"}),
        ];
        let wanted = "where = { via = 'tun-read', 'tcp.flags' = 'FIN', joined = 2 }";
        assert_eq!(
            said(wanted, &objects, false),
            "the nearest is packet 2 (second): it has no `joined`, \
             its `tcp.flags` is \"SYN\" and \"ACK\", not \"FIN\""
        );
        assert_eq!(
            said(
                "where = { via = 'eth0' }\npresent = ['udp']",
                &objects,
                false
            ),
            "the nearest is packet 1 (first\\u{1b}[31m): it has no `udp`"
        );
        assert_eq!(
            said("", &objects, true),
            "the first is packet 1 (first\\u{1b}[31m)"
        );
        // Two were wanted.
        assert_eq!(
            said("where = { via = 'eth0' }", &objects[..1], false),
            "no other object of the kind packet came"
        );
        assert_eq!(
            said("", &objects[2..], false),
            "no object of the kind packet came; there were 1 loss"
        );
        assert_eq!(
            said("", &[], false),
            "no object of the kind packet came, and nothing else"
        );
    }

    #[test]
    fn long_values_are_cut() {
        let long = json!({"kind": "packet", "via": "x".repeat(5000)});
        let text = said("where = { via = 'y' }", &[long], false);
        assert!(text.chars().count() < 400 && text.contains('…'), "{text}");
    }
}
