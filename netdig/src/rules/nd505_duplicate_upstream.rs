//! ND505: one address and port under two keys of a service.
use std::collections::BTreeMap;

use super::upstreams::{delete, key, list, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Host, Schema, Service, Upstream, alike, names_a_set};
use crate::finding::{Code, Severity};

pub const RULE: Rule = Rule {
    code: Code(505),
    name: "duplicate-upstream",
    severity: Severity::Medium,
    title: "one address and port stands under two keys of a service",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd505_duplicate_upstream.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for service in services(view).iter().filter(|one| is_set(one)) {
        let mut by_address: BTreeMap<(String, u16, bool), Vec<&Upstream<'_>>> = BTreeMap::new();
        for one in &service.upstreams {
            if let Some(place) = place(one) {
                by_address.entry(place).or_default().push(one);
            }
        }
        by_address.retain(|_, all| all.len() > 1 && is_twice(service, all));
        let count = by_address.len();
        if let Some(((host, port, _), same)) = by_address.into_iter().next() {
            found.push(draft(
                view,
                service,
                &format!("{host}:{port}"),
                &same,
                count,
            ));
        }
    }
}

/// Settings of a program may name one database twice.
fn is_set(service: &Service<'_>) -> bool {
    service.schema != Schema::Shape || names_a_set(&service.place)
}

/// Host and port, and whether it is UDP's, as registrator notes it.
fn place(upstream: &Upstream<'_>) -> Option<(String, u16, bool)> {
    let host = match upstream.host()? {
        Host::Address(ip) if ip.is_ipv6() => format!("[{ip}]"),
        Host::Address(ip) => ip.to_string(),
        Host::Name(name) => name.to_ascii_lowercase(),
        Host::Blank | Host::Any => return None,
    };
    Some((host, upstream.port()?, upstream.name.ends_with(":udp")))
}

/// DNS may have two names for one place, or it in two groups.
fn is_twice(service: &Service<'_>, all: &[&Upstream<'_>]) -> bool {
    service.schema != Schema::SkyDns
        || all
            .windows(2)
            .all(|pair| pair[0].value == pair[1].value && alike(&pair[0].name, &pair[1].name))
}

fn draft(
    view: &View<'_>,
    service: &Service<'_>,
    address: &str,
    same: &[&Upstream<'_>],
    count: usize,
) -> Draft {
    let name = &service.name;
    let more = match count {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let title = format!(
        "the service {name} has {address}{more} under {} keys: {}",
        same.len(),
        list(same)
    );
    let draft = Draft::new(key(service), title).because(
        "To the balancer these are two servers: that one gets as many times its share, is checked \
         as many times, and its connections are limited for each. One of the keys is left of an \
         earlier name, or something registers the service twice.",
    );
    // The one that was written longer ago is the one that nobody keeps.
    let old = same
        .iter()
        .min_by_key(|one| (one.key.ttl.is_some(), one.key.modified));
    let draft = shown(draft, same).fix("# after a look at which of them is still written:");
    match old {
        Some(old) => draft.fix(delete(view, old)),
        None => draft,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::titles;

    fn of(lines: &str) -> Vec<String> {
        let lines: Vec<String> = lines
            .trim()
            .lines()
            .map(|line| {
                let line = line
                    .trim()
                    .replace("UP", "/haproxy-discover/services/myapp/upstreams");
                match line.starts_with('v') {
                    true => format!("key {line}"),
                    false => format!("key v3 {line}"),
                }
            })
            .collect();
        titles(&lines.join("\n"), &[], 505)
    }

    #[test]
    fn two_keys_for_one_place() {
        let found =
            of("UP/frontend1 10.1.1.187:80\nUP/frontend1-old 10.1.1.187:80\nUP/b 10.1.1.188:80");
        assert!(found.len() == 1, "{found:?}");
        for part in ["10.1.1.187:80", "frontend1-old", "2 keys"] {
            assert!(found[0].contains(part), "{found:?}");
        }
        assert_eq!(of("UP/a [fd00::1]:80\nUP/b fd00::1:80").len(), 1);
        assert_eq!(of("UP/a web:80\nUP/b WEB:80").len(), 1);
    }

    #[test]
    fn what_only_looks_like_it() {
        for lines in [
            "UP/a 10.1.1.187:80\nUP/b 10.1.1.187:81",
            "UP/a :80\nUP/b :80",
            "UP/a 10.1.1.187:80\n/haproxy-discover/services/other/upstreams/a 10.1.1.187:80",
            "UP/a 10.1.1.187:80\nv2 UP/a 10.1.1.187:80",
            "/services/dns/h:dns:53 10.1.1.187:53\n/services/dns/h:dns:53:udp 10.1.1.187:53",
            "/skydns/org/x/www {\"host\":\"10.0.0.1\",\"port\":80}\n/skydns/org/x/mail {\"host\":\"10.0.0.1\",\"port\":80}",
            "/skydns/org/x/a1 {\"host\":\"10.0.0.1\",\"port\":80,\"group\":\"g1\"}\n/skydns/org/x/a2 {\"host\":\"10.0.0.1\",\"port\":80,\"group\":\"g2\"}",
            "/config/app/db1 10.0.0.5:5432\n/config/app/db2 10.0.0.5:5432",
        ] {
            let found = of(lines);
            assert!(found.is_empty(), "{lines}: {found:?}");
        }
    }
}
