//! A registry's keys and their changes, as lines for people and as JSON.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::clock::Clock;
use super::finding::harmless;
use crate::context::registry::{ApiVersion, Key, Value};
use crate::evidence::services::Services;
use crate::finding::{Code, Finding};
use crate::source::registry::{Change, Forgotten, Gap, Listing};

/// Bytes of a value that a line shows.
const SHOWN: usize = 200;

/// Codes of the findings that name a key, by store and key.
pub type Judged = BTreeMap<(ApiVersion, String), BTreeSet<Code>>;

/// What findings say of single keys.
pub fn judged(findings: &[Finding]) -> Judged {
    let mut judged = Judged::new();
    for finding in findings {
        for evidence in &finding.evidence {
            let api = match evidence.source.as_str() {
                "etcd v2" => ApiVersion::V2,
                "etcd v3" => ApiVersion::V3,
                _ => continue,
            };
            if let Some((key, _)) = evidence.place.rsplit_once(" @ ") {
                let codes = judged.entry((api, key.to_owned())).or_default();
                codes.insert(finding.code);
            }
        }
    }
    judged
}

/// `etcd v2 at http://10.1.1.95:4001, index 5352: 17 keys below /haproxy-discover`.
pub fn head(listing: &Listing, prefix: &str) -> String {
    let (count, number) = (listing.keys.len(), listing.revision);
    let what = match listing.api {
        ApiVersion::V2 => "index",
        ApiVersion::V3 => "revision",
    };
    let keys = match count {
        0 => "no key".to_owned(),
        1 => "1 key".to_owned(),
        _ => format!("{count} keys"),
    };
    harmless(&format!(
        "etcd {} at {}, {what} {number}: {keys} below {prefix}",
        listing.api, listing.endpoint
    ))
}

/// The services with their upstreams, each with the codes of what is wrong with it.
pub fn tree(services: &Services<'_>, judged: &Judged) -> String {
    let mut out = String::new();
    for service in &services.all {
        let domain = service.domain.as_ref();
        let domain = domain.map_or_else(String::new, |domain| format!(" ({domain})"));
        out.push_str(&harmless(&format!(
            "{}{domain}  {} {}",
            service.name, service.api, service.place
        )));
        out.push('\n');
        if service.upstreams.is_empty() {
            out.push_str("  no upstream\n");
        }
        let widths = service.upstreams.iter();
        let width = widths.map(|one| one.name.chars().count()).max();
        let width = width.unwrap_or_default().min(40);
        for upstream in &service.upstreams {
            let key = (upstream.key.api, upstream.key.key.clone());
            let codes = judged.get(&key).map(codes).unwrap_or_default();
            let value = shown(&upstream.key.value);
            let ttl = ttl(upstream.key.ttl);
            let (name, modified) = (harmless(&upstream.name), upstream.key.modified);
            out.push_str(&format!(
                "  {name:width$}  {value}  @ {modified}{ttl}{codes}\n"
            ));
        }
    }
    out
}

fn codes(codes: &BTreeSet<Code>) -> String {
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    format!("  ← {}", codes.join(" "))
}

fn ttl(ttl: Option<i64>) -> String {
    ttl.map_or_else(String::new, |seconds| format!("  ttl {seconds} s"))
}

/// A value in one line; what is long is cut, and what is no text is counted.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) if text.is_empty() => "(empty)".to_owned(),
        Value::Text(text) if text.chars().count() > SHOWN => {
            let begins: String = text.chars().take(SHOWN).collect();
            format!("{}… ({} bytes)", harmless(&begins), text.len())
        }
        Value::Text(text) => harmless(text),
        Value::Bytes { .. } => {
            let bytes = value.bytes().unwrap_or_default();
            format!("({} bytes that are no text)", bytes.len())
        }
        Value::Cut { bytes, .. } => format!("({bytes} bytes)"),
    }
}

/// `03:38:20.123456 v2 set /a/b: :80 → 10.1.1.2:80  @ 5400`.
pub fn line(change: &Change, clock: &mut Clock) -> String {
    let mut time = Vec::new();
    clock.push(&mut time, change.ts_ns);
    let time = String::from_utf8_lossy(&time);
    let values = match (&change.old, &change.new) {
        (Some(old), Some(new)) if old.value == new.value => {
            format!("{}, unchanged", shown(&new.value))
        }
        (Some(old), Some(new)) => format!("{} → {}", shown(&old.value), shown(&new.value)),
        (None, Some(new)) => shown(&new.value),
        (Some(old), None) => format!("was {}", shown(&old.value)),
        (None, None) => "was not known".to_owned(),
    };
    let ttl = ttl(change.new.as_ref().and_then(|new| new.ttl));
    format!(
        "{time} {} {} {}: {values}  @ {}{ttl}",
        change.api,
        change.action.name(),
        harmless(&change.key),
        change.revision
    )
}

/// What was not seen, and why.
pub fn gap(gap: &Gap) -> String {
    let why = match &gap.why {
        Forgotten::Compacted(at) => {
            format!("etcd has compacted its history up to revision {at}")
        }
        Forgotten::Cleared => {
            "etcd v2 keeps 1000 events of all keys, and there were more".to_owned()
        }
        Forgotten::OtherCluster { before, now } => {
            format!("another cluster answers ({now}, it was {before})")
        }
        Forgotten::RolledBack => "etcd is older than it was: a backup was restored".to_owned(),
    };
    harmless(&format!(
        "not seen from {} to {} of {}: {why}; listed again, {} keys differ",
        gap.since,
        gap.until,
        gap.api,
        gap.changes.len()
    ))
}

/// The fields of the JSON object of a key as it stands.
pub fn present(key: &Key) -> Json {
    let mut fields = json!({
        "api": key.api,
        "key": key.key,
        "value": key.value,
        "revision": key.modified,
        "action": "get",
    });
    if let Some(ttl) = key.ttl {
        fields["ttl"] = json!(ttl);
    }
    fields
}

/// The fields of the JSON object of a change.
pub fn changed(change: &Change) -> Json {
    let mut fields = json!({
        "api": change.api,
        "key": change.key,
        "revision": change.revision,
        "action": change.action.name(),
    });
    if let Some(new) = &change.new {
        fields["value"] = json!(new.value);
        if let Some(ttl) = new.ttl {
            fields["ttl"] = json!(ttl);
        }
    }
    if let Some(old) = &change.old {
        fields["old"] = json!(old.value);
    }
    fields
}

/// The fields of the JSON object of a gap.
pub fn missed(gap: &Gap) -> Json {
    let (why, detail) = match &gap.why {
        Forgotten::Compacted(at) => ("compacted", json!({ "compacted": at })),
        Forgotten::Cleared => ("cleared", json!({})),
        Forgotten::OtherCluster { before, now } => {
            ("other-cluster", json!({ "before": before, "now": now }))
        }
        Forgotten::RolledBack => ("rolled-back", json!({})),
    };
    let mut fields = detail;
    fields["api"] = json!(gap.api);
    fields["why"] = json!(why);
    fields["since"] = json!(gap.since);
    fields["until"] = json!(gap.until);
    fields["differ"] = json!(gap.changes.len());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::registry::Action;

    fn key(value: &str) -> Key {
        Key {
            key: "/a\u{1b}/b".to_owned(),
            value: Value::Text(value.to_owned()),
            ..Key::default()
        }
    }

    #[test]
    fn a_change_is_one_harmless_line() {
        let change = |old: Option<&str>, new: Option<&str>| Change {
            api: ApiVersion::V2,
            ts_ns: 0,
            action: Action::Set,
            key: "/a\u{1b}/b".to_owned(),
            old: old.map(key),
            new: new.map(key),
            revision: 7,
        };
        let told = |old, new| {
            let line = line(&change(old, new), &mut Clock::rfc3339());
            line.split_once(' ').expect("a time").1.to_owned()
        };
        assert_eq!(told(None, Some(":80\n")), r"v2 set /a\x1b/b: :80\x0a  @ 7");
        assert_eq!(
            told(Some(""), Some("x")),
            r"v2 set /a\x1b/b: (empty) → x  @ 7"
        );
        assert_eq!(
            told(Some("x"), Some("x")),
            r"v2 set /a\x1b/b: x, unchanged  @ 7"
        );
        assert_eq!(told(Some("x"), None), r"v2 set /a\x1b/b: was x  @ 7");
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = "é".repeat(300);
        let text = shown(&Value::Text(long));
        assert!(text.ends_with("… (600 bytes)") && text.starts_with("éé"));
    }
}
