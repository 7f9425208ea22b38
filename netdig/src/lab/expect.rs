//! Whether netdig's JSON lines show what a scenario expects.

mod nearest;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scenario::Expectation;

/// How one expectation came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub what: String,
    /// Objects that fit.
    pub count: usize,
    /// `at least 3`, `none`.
    pub wanted: String,
    pub result: Outcome,
    /// What there was instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
}

impl Verdict {
    /// What is wrong, where something is.
    pub fn failure(&self) -> Option<String> {
        let what = &self.what;
        match self.result {
            Outcome::Holds | Outcome::Pending | Outcome::NotJudged => None,
            Outcome::Fails => {
                let instead = match &self.seen[..] {
                    [] => String::new(),
                    seen => format!("; {}", seen.join("; ")),
                };
                let (wanted, count) = (&self.wanted, self.count);
                Some(format!("{what}: wanted {wanted}, saw {count}{instead}"))
            }
            Outcome::PendingHolds => Some(format!(
                "{what}: holds now; remove its mark `pending` from the scenario"
            )),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Holds,
    Fails,
    /// Marked as pending, and indeed not there yet.
    Pending,
    /// Marked as pending, and holds: the mark is to go.
    PendingHolds,
    /// Nothing ran that could have shown it.
    NotJudged,
}

impl Outcome {
    /// What is expected holds or not, and is marked as pending or not.
    pub const fn of(holds: bool, pending: bool) -> Outcome {
        match (pending, holds) {
            (false, true) => Outcome::Holds,
            (false, false) => Outcome::Fails,
            (true, false) => Outcome::Pending,
            (true, true) => Outcome::PendingHolds,
        }
    }
}

/// Compares the objects of one run with one expectation.
pub fn judge(expectation: &Expectation, objects: &[Value]) -> Verdict {
    let count = objects
        .iter()
        .filter(|object| fits(expectation, object))
        .count();
    let most = expectation.at_most.unwrap_or(usize::MAX);
    let least = expectation.least();
    let holds = (least..=most).contains(&count);
    let result = Outcome::of(holds, expectation.pending);
    let wanted = match (least, expectation.at_most) {
        (_, Some(0)) => "none".to_owned(),
        (least, Some(most)) if least == most => format!("{least}"),
        (least, Some(most)) => format!("{least} to {most}"),
        (least, None) => format!("at least {least}"),
    };
    Verdict {
        what: expectation.what.clone(),
        count,
        wanted,
        result,
        seen: match result {
            Outcome::Fails => vec![nearest::nearest(expectation, objects, count > most)],
            _ => Vec::new(),
        },
    }
}

fn fits(expectation: &Expectation, object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(expectation.kind.as_str())
        && expectation
            .fields
            .iter()
            .all(|(path, wanted)| any_at(object, path, &mut |found| same(found, wanted)))
        && expectation
            .present
            .iter()
            .all(|path| any_at(object, path, &mut holds_something))
}

fn holds_something(value: &Value) -> bool {
    !value.is_null()
}

/// Whether `test` holds for a value at the dotted `path`; arrays on the way
/// and at its end stand for each of their elements. A key that itself holds
/// dots, as those of events do, is found too.
fn any_at(value: &Value, path: &str, test: &mut dyn FnMut(&Value) -> bool) -> bool {
    if let Value::Array(elements) = value {
        return elements.iter().any(|element| any_at(element, path, test));
    }
    if path.is_empty() {
        return test(value);
    }
    if let Some(found) = value.get(path) {
        return any_at(found, "", test);
    }
    path.match_indices('.').any(|(dot, _)| {
        value
            .get(&path[..dot])
            .is_some_and(|inner| any_at(inner, &path[dot + 1..], test))
    })
}

fn same(found: &Value, wanted: &toml::Value) -> bool {
    match wanted {
        toml::Value::String(text) => found.as_str() == Some(text),
        toml::Value::Integer(number) => found.as_i64() == Some(*number),
        toml::Value::Boolean(truth) => found.as_bool() == Some(*truth),
        toml::Value::Float(number) => found.as_f64() == Some(*number),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expectation(text: &str) -> Expectation {
        toml::from_str(&format!("what = \"x\"\nkind = \"packet\"\n{text}")).unwrap()
    }

    fn packet() -> Value {
        json!({"kind": "packet", "via": "tun-read", "joined": 2, "tcp": {"flags": ["SYN", "ACK"]}, "vlan": null,
            "dns": {"queries": [{"name": "a.org", "type": "A"}, {"name": "b.org", "type": "AAAA"}]}})
    }

    #[test]
    fn paths_go_through_objects_and_arrays() {
        for (text, wanted) in [
            (
                "where = { via = 'tun-read', 'dns.queries.name' = 'b.org', 'tcp.flags' = 'ACK' }",
                true,
            ),
            ("where = { 'tcp.flags' = 'FIN' }", false),
            ("where = { 'dns.queries.id' = 1 }", false),
            ("where = { joined = 2 }\npresent = ['joined', 'tcp']", true),
            ("present = ['vlan']", false),
            ("present = ['udp.len']", false),
        ] {
            assert_eq!(fits(&expectation(text), &packet()), wanted, "{text}");
        }
        assert!(!fits(&expectation(""), &json!({"kind": "summary"})));
    }

    #[test]
    fn counts_and_marks_decide() {
        let objects = [packet(), packet(), json!({"kind": "finding"})];
        for (text, wanted) in [
            ("", Outcome::Holds),
            ("at_least = 3", Outcome::Fails),
            ("at_least = 0\nat_most = 0", Outcome::Fails),
            ("at_most = 0", Outcome::Fails),
            ("where = { via = 'no' }\nat_most = 0", Outcome::Holds),
            ("at_most = 1", Outcome::Fails),
            ("at_least = 2\nat_most = 2", Outcome::Holds),
            ("at_least = 3\npending = true", Outcome::Pending),
            ("pending = true", Outcome::PendingHolds),
        ] {
            let verdict = judge(&expectation(text), &objects);
            assert_eq!(verdict.result, wanted, "{text}");
            let good = matches!(wanted, Outcome::Holds | Outcome::Pending);
            assert_eq!(verdict.failure().is_none(), good, "{text}");
        }
    }
}
