//! The network's configuration is written again and again, and not always the same.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashSet;
use serde_json::Value as Json;

use super::etcdctl::{self, Verb, etcdctl};
use super::renumber::{self, operand, quoted};
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::flannel::{self, FlannelNetwork, Lease, NetworkConfig};
use crate::context::mask::MASK;
use crate::context::registry::{ApiVersion, Key, Registry, Value};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(407),
    name: "config-clobber",
    severity: Severity::Medium,
    title: "More than one writes the network's configuration",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd407_config_clobber.md"),
    check,
};

/// Characters of all that differs, and of one value of it, that are shown.
const MOST: usize = 200;
const MOST_OF_ONE: usize = 60;
/// Longest value that stands in a command, in bytes.
const LONGEST: usize = 2000;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let registry = &view.context.registry;
    for network in flannel::networks(registry) {
        let Some(config) = &network.config else {
            continue;
        };
        let mut keys = registry.keys.iter();
        let key = keys.find(|key| key.api == config.origin.api && key.key == config.origin.key);
        if let Some(key) = key {
            let clobbered = clobbered(view, key, &network);
            found.extend(clobbered.or_else(|| moved(view, config, &network)));
        }
    }
}

/// Leases outside of the network, of hosts that have none inside: the range was changed under
/// them.
fn moved(view: &View<'_>, config: &NetworkConfig, network: &FlannelNetwork) -> Option<Draft> {
    let range = |net: IpNet| match net {
        IpNet::V4(_) => config.network.map(IpNet::V4),
        IpNet::V6(_) => config.ipv6_network.map(IpNet::V6),
    };
    let within = |net: IpNet| range(net).is_none_or(|range| range.contains(&net));
    let inside: FxHashSet<IpAddr> = network
        .leases
        .iter()
        .filter(|lease| lease.subnets().all(within))
        .flat_map(|lease| lease.publics())
        .collect();
    let outside = network.leases.iter().filter(|lease| {
        let stayed = lease.publics().all(|public| !inside.contains(&public));
        lease.public().is_some() && stayed && !lease.subnets().all(within)
    });
    let outside: Vec<&Lease> = outside.collect();
    let first = outside.first()?;
    let net = first.subnets().find(|net| !within(*net))?;
    let range = range(net)?;
    let origin = &config.origin;
    let title = format!(
        "{} has Network {range}, and {} is outside of it{}: it was changed under the hosts",
        origin.key,
        backend::named(first),
        backend::and_more(outside.len())
    );
    let draft = Draft::new(format!("range {}", origin.key), title)
        .because(
            "flanneld reads its configuration when it starts. Hosts that run keep their subnets \
             in the old range; a host that starts now takes one in the new range, and the rules \
             and routes for the network as a whole are of one range on one host and of the other \
             on the next.",
        )
        .seen(Evidence::new(
            origin.source(),
            origin.place(),
            format!("Network {range}"),
        ))
        .seen_all(outside.iter().take(4).map(|lease| {
            let origin = &lease.origin;
            Evidence::new(origin.source(), origin.place(), backend::named(lease))
        }))
        .fix(format!(
            "{} {}   # is this the range that is meant?",
            etcdctl(view, origin.api, Verb::Get),
            renumber::operand(&origin.key)
        ))
        .fix("# if it is, on each host, so that it takes a subnet of it:")
        .fix("systemctl restart flanneld docker")
        .confidence(Confidence::Likely);
    Some(draft)
}

/// A value that the key had, as far as it differs from the one after it.
struct Written<'a> {
    json: Json,
    text: &'a str,
    modified: u64,
}

/// The values that differ in meaning, the present one first.
fn written(key: &Key) -> Vec<Written<'_>> {
    let past = key.history.iter().map(|past| (&past.value, past.modified));
    let mut values: Vec<Written<'_>> = Vec::new();
    for (value, modified) in std::iter::once((&key.value, key.modified)).chain(past) {
        let Value::Text(text) = value else {
            break;
        };
        let json = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone()));
        match values.last_mut() {
            // The same again: it has been so since then.
            Some(last) if last.json == json => last.modified = modified,
            _ => values.push(Written {
                json,
                text,
                modified,
            }),
        }
    }
    values
}

/// Somebody changes a configuration once and means it. It is others' doing where it goes back
/// to what it was, or changes again and again under hosts that have leases already.
fn clobbered(view: &View<'_>, key: &Key, network: &FlannelNetwork) -> Option<Draft> {
    let values = written(key);
    let back = (2..values.len()).any(|at| {
        values[..at - 1]
            .iter()
            .any(|one| one.json == values[at].json)
    });
    let in_use = network.leases.iter().any(|lease| {
        let mut keys = std::iter::once(lease.origin.modified);
        keys.any(|modified| values.first().is_some_and(|last| modified < last.modified))
    });
    if !(back || values.len() > 2 && in_use) {
        return None;
    }
    let times = values.len();
    let title = format!(
        "{} was changed {} times: {} at last",
        key.key,
        times - 1,
        changes(&values[1].json, &values[0].json)
    );
    let api = key.api;
    // A unit has nobody to ask.
    let create = etcdctl::unasked(view, api, Verb::Create);
    let name = operand(&key.key);
    let password = match view.context.registry.login.user {
        Some(_) => ", the user's password in PW",
        None => "",
    };
    let create = match api {
        ApiVersion::V2 => format!("{create} {name} \"$CONFIG\""),
        ApiVersion::V3 => {
            let (condition, put) = (
                quoted(&format!("create({:?}) = \"0\"", key.key)),
                quoted(&format!("put {:?} ", key.key)),
            );
            format!("{{ echo {condition}; echo; echo {put}\"$CONFIG\"; echo; echo; }} | {create}")
        }
    };
    Some(
        Draft::new(key.key.clone(), title)
            .because(
                "Each change holds for those that start after it: flanneld reads its \
                 configuration once. Hosts that read different ones do not agree on the range, \
                 the backend or the size of subnets. Where each host's unit writes the key \
                 before flanneld starts, the last host that came up wins.",
            )
            .seen_all(values.windows(2).map(|pair| {
                let place = format!("{} @ {}", key.key, pair[0].modified);
                let what = changes(&pair[1].json, &pair[0].json);
                Evidence::new(key.source(), place, what)
            }))
            .fix("# who writes it? units that run `etcdctl put` or `set`:")
            .fix("grep -rn 'network/config' /etc/systemd /lib/systemd /opt 2>/dev/null")
            .fix_all(settled(view, key, network, &values))
            .fix(format!(
                "# a unit may write it where there is none, and not otherwise; JSON without blanks in CONFIG{password}:"
            ))
            .fix(create)
            .confidence(Confidence::Likely),
    )
}

/// What the hosts run with is what is to be there: the present value, or one of before.
fn settled(
    view: &View<'_>,
    key: &Key,
    network: &FlannelNetwork,
    values: &[Written<'_>],
) -> Vec<String> {
    let fits = |value: &&Written<'_>| runs_by(view, key, network, value.text);
    match values.iter().position(|value| fits(&value)) {
        Some(0) => vec![format!(
            "# the value of now, @ {}, is what the hosts run with: it can stay",
            values[0].modified
        )],
        Some(at) => back_to(view, key, &values[at]),
        None => vec![
            "# no value that it had is what all hosts run with: decide on one, and write it once"
                .to_owned(),
        ],
    }
}

/// Whether the leases are of a configuration: its range, its backend, its VNI.
fn runs_by(view: &View<'_>, key: &Key, network: &FlannelNetwork, text: &str) -> bool {
    let alone = Registry {
        keys: vec![Key {
            value: Value::Text(text.to_owned()),
            history: Vec::new(),
            ..key.clone()
        }],
        ..Registry::default()
    };
    let mut networks = flannel::networks(&alone).into_iter();
    let Some(config) = networks.find_map(|one| one.config) else {
        return false;
    };
    let within = |net: IpNet| match net {
        IpNet::V4(net) => config.network.is_some_and(|range| range.contains(&net)),
        IpNet::V6(net) => config
            .ipv6_network
            .is_some_and(|range| range.contains(&net)),
    };
    let vni = config.vni.unwrap_or(backend::DEFAULT_VNI);
    let of_it = |lease: &Lease| {
        let same_vni = lease.backend != "vxlan" || lease.vni.is_none_or(|one| one == vni);
        lease.backend == config.backend && same_vni && lease.subnets().all(within)
    };
    let files = &view.context.files.subnet_env;
    let mut ranges = files.iter().flat_map(|file| &file.network);
    match network.leases.is_empty() {
        true => ranges.any(|range| config.network.map(IpNet::V4) == Some(*range)),
        false => network.leases.iter().all(of_it),
    }
}

/// The command that writes what was there before.
fn back_to(view: &View<'_>, key: &Key, before: &Written<'_>) -> Vec<String> {
    let text = before.text;
    if text.contains(MASK) || text.len() > LONGEST {
        let why = match text.contains(MASK) {
            true => "it holds a secret, which is masked here",
            false => "it is too long to show",
        };
        return vec![format!(
            "# write it once, by hand; what it was before, @ {}, you have to take from elsewhere: {why}",
            before.modified
        )];
    }
    vec![
        "# write it once, by hand; this is what it was before:".to_owned(),
        etcdctl::put(view, key.api, &key.key, text),
    ]
}

/// What differs between two values, name by name: `Network 10.1.0.0/16 → 10.5.0.0/16`.
fn changes(before: &Json, now: &Json) -> String {
    let (before, now) = (fields(before), fields(now));
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name));
    let one = |name: &String| {
        let of = |fields: &BTreeMap<String, String>| {
            let value = fields.get(name).map_or("none", String::as_str);
            shown(value, MOST_OF_ONE)
        };
        let name = shown(name, MOST_OF_ONE);
        let text = format!("{name} {} → {}", of(&before), of(&now));
        text.trim_start().to_owned()
    };
    let all: Vec<String> = differ.map(one).collect();
    shown(&all.join(", "), MOST)
}

/// An object's members by name (`Backend.Type`); what is no object has no name.
fn fields(value: &Json) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = vec![(String::new(), value)];
    while let Some((name, value)) = rest.pop() {
        match value {
            Json::Object(members) => rest.extend(members.iter().map(|(member, value)| {
                let name = match name.is_empty() {
                    true => member.clone(),
                    false => format!("{name}.{member}"),
                };
                (name, value)
            })),
            Json::String(text) => drop(all.insert(name, text.clone())),
            other => drop(all.insert(name, other.to_string())),
        }
    }
    all
}

/// What is shown of a text: escaped, and not all of a long one.
fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at == most => return shown + "…",
            _ if c.is_control() => shown.extend(c.escape_default()),
            _ => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::super::{View, evaluate};
    use super::*;
    use crate::context::registry::Past;

    const A: &str = r#"{"Network":"192.168.0.0/16"}"#;
    const A_SPACED: &str = r#"{ "Network": "192.168.0.0/16" }"#;
    const B: &str = r#"{"Network":"192.168.0.0/17"}"#;
    const C: &str = r#"{"Network":"192.168.0.0/16","SubnetLen":24}"#;
    const LEASE: &str =
        r#"key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}"#;

    fn told(now: &str, past: &[&str], lines: &str) -> Vec<String> {
        let mut context = context(&format!("key v3 /coreos.com/network/config {now}\n{lines}"));
        context.registry.keys[0].modified = 4720;
        let past = past.iter().enumerate().map(|(at, text)| Past {
            value: Value::Text((*text).to_owned()),
            modified: 4000 - at as u64,
        });
        context.registry.keys[0].history = past.collect();
        let report = evaluate(&View::new(&context, None));
        let mine = report
            .findings
            .into_iter()
            .filter(|one| one.code == Code(407));
        mine.map(|one| one.title).collect()
    }

    #[test]
    fn it_goes_to_and_fro() {
        let found = told(A, &[B, A], "");
        assert!(
            found.len() == 1 && found[0].contains("/coreos.com/network/config"),
            "{found:?}"
        );
        assert!(found[0].contains("Network 192.168.0.0/17 → 192.168.0.0/16 at last"));
    }

    #[test]
    fn it_changes_under_those_that_use_it() {
        assert_eq!(told(B, &[A, C], LEASE).len(), 1);
        assert!(told(B, &[A, C], "").is_empty(), "nobody uses it yet");
    }

    #[test]
    fn one_change_or_the_same_again_is_none() {
        assert!(told(A, &[B], LEASE).is_empty());
        assert!(told(A, &[A_SPACED, A, A_SPACED], LEASE).is_empty());
        assert!(told(A, &[], LEASE).is_empty());
    }

    #[test]
    fn the_range_was_changed_under_the_leases() {
        let moved = r#"{"Network":"10.2.0.0/16"}"#;
        let found = told(moved, &[], LEASE);
        assert_eq!(
            found,
            [
                "/coreos.com/network/config has Network 10.2.0.0/16, and 192.168.69.0/24 (lease of \
              10.1.1.95) is outside of it: it was changed under the hosts"
            ]
        );
        let again = LEASE.replace("192.168.69.0", "10.2.69.0");
        let both = format!("{LEASE}\n{again}");
        assert!(told(moved, &[], &both).is_empty(), "it has moved since");
        assert!(told(moved, &[], &again).is_empty());
        let wider = r#"{"Network":"192.168.0.0/15"}"#;
        assert!(told(wider, &[A], LEASE).is_empty());
    }

    #[test]
    fn only_what_differs_is_shown() {
        let json = |text: &str| serde_json::from_str(text).expect("JSON");
        let long = "x".repeat(5000);
        let a = json(r#"{"Network":"10.1.0.0/16","Backend":{"Type":"udp"},"SubnetLen":24}"#);
        let b =
            json(r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":7},"SubnetLen":24}"#);
        assert_eq!(
            changes(&a, &b),
            "Backend.Type udp → vxlan, Backend.VNI none → 7"
        );
        assert_eq!(changes(&json("\"a\\nb\""), &json("\"c\"")), "a\\nb → c");
        let many: Vec<String> = (0..50).map(|n| format!(r#""k{n}":"{long}""#)).collect();
        let text = changes(&a, &json(&format!("{{{}}}", many.join(","))));
        assert!(
            text.chars().count() <= MOST + 1 && text.ends_with('…'),
            "{text}"
        );
    }

    #[test]
    fn a_value_is_quoted_for_a_shell() {
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
