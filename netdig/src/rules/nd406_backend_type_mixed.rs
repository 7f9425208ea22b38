//! A lease of another backend than ours.
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::renumber::{self, Verb, etcdctl};
use super::view::Overlay;
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::flannel::{Lease, NetworkConfig};
use crate::context::net::{Link, LinkKind, Vxlan};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(406),
    name: "backend-type-mixed",
    severity: Severity::High,
    title: "A lease is of another backend than this host's",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd406_backend_type_mixed.md"),
    check,
};

/// Backends that name themselves in their leases; `udp` is the one that a lease without a name
/// has. Clouds' backends name nothing, and nothing is said of them.
const NAMED: [&str; 7] = [
    "udp",
    "vxlan",
    "host-gw",
    "wireguard",
    "ipip",
    "ipsec",
    "extension",
];

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        let Some((ours, place)) = ours(view, overlay) else {
            continue;
        };
        let mut others: BTreeMap<&str, Vec<&Lease>> = BTreeMap::new();
        for lease in &overlay.leases {
            if lease.backend != ours && NAMED.contains(&lease.backend.as_str()) {
                others.entry(&lease.backend).or_default().push(lease);
            }
        }
        let config = overlay.config.as_ref();
        let with_config = config.and_then(|config| others.remove(config.backend.as_str()));
        match with_config {
            Some(leases) => found.push(match left_behind(overlay, &place, &leases) {
                Some(draft) => draft,
                None => draft(view, overlay, &ours, &place, &leases),
            }),
            None => found.extend(changed(view, overlay)),
        }
        for leases in others.into_values() {
            found.push(draft(view, overlay, &ours, &place, &leases));
        }
    }
}

/// This host alone, or with others, has another backend than the configuration and those who
/// read it since: they are right, and this host is to follow.
fn left_behind(overlay: &Overlay<'_>, place: &Evidence, leases: &[&Lease]) -> Option<Draft> {
    let (config, own) = (overlay.config.as_ref()?, overlay.own_lease()?);
    if own.origin.api != config.origin.api || own.backend == config.backend {
        return None;
    }
    let (key, backend, first) = (&config.origin.key, &config.backend, leases.first()?);
    let title = format!(
        "this host's lease {} is of backend {}, and {key} and {}{} say {backend}",
        own.subnet,
        own.backend,
        backend::named(first),
        backend::and_more(leases.len())
    );
    let draft = Draft::new(format!("left behind {key}"), title)
        .because(format!(
            "flanneld reads the configuration when it starts, and the one here has not been \
             restarted since it says {backend}. Each backend wraps packets in its own way, and \
             flanneld takes no notice of leases of another one: there is no way from here to \
             those hosts' subnets, nor back."
        ))
        .seen(place.clone())
        .seen(Evidence::new(
            config.origin.source(),
            config.origin.place(),
            format!("Type {backend}"),
        ))
        .seen_all(leases.iter().take(4).map(|lease| says(lease)))
        .fix("# on this host, and on every other whose lease is not of that backend:")
        .fix("systemctl restart flanneld docker");
    Some(draft.comes_of(Code(407)))
}

fn says(lease: &Lease) -> Evidence {
    let what = format!("lease {}, backend {}", lease.subnet, lease.backend);
    Evidence::new(lease.origin.source(), lease.origin.place(), what)
}

/// What of the backend's configuration is not what this host runs with.
struct Changed<'a> {
    /// `VNI`, as the configuration names it.
    field: &'static str,
    now: Json,
    runs: Json,
    link: Option<&'a Link>,
}

/// The configuration was changed and flanneld here runs as it was: it reads it when it starts.
/// A host with a lease beside the configuration is one that it is meant for.
fn changed(view: &View<'_>, overlay: &Overlay<'_>) -> Option<Draft> {
    let (config, lease) = (overlay.config.as_ref()?, overlay.own_lease()?);
    if lease.origin.api != config.origin.api {
        return None;
    }
    let Changed {
        field,
        now,
        runs,
        link,
    } = difference(view, overlay, config, lease)?;
    let (now_text, runs_text) = (plain(&now), plain(&runs));
    let key = &config.origin.key;
    let on = link.map_or_else(String::new, |link| format!(" on {}", link.name));
    let title = format!(
        "{key} has the backend's {field} {now_text}, and this host runs with {runs_text}{on}"
    );
    let put_back = renumber::with_backend(view, config, field, runs);
    let mut draft = Draft::new(format!("changed {key}"), title)
        .because(format!(
            "flanneld reads the configuration when it starts, and it was changed since. Hosts \
             that start from now on take {field} {now_text} and do not reach those that run with \
             {runs_text}: the one's packets are not unwrapped by the other."
        ))
        .seen(Evidence::new(
            config.origin.source(),
            config.origin.place(),
            format!("{field} {now_text}"),
        ))
        .seen(Evidence::new(
            lease.origin.source(),
            lease.origin.place(),
            format!(
                "this host's lease {}, backend {}",
                lease.subnet, lease.backend
            ),
        ));
    if let Some(link) = link {
        draft = draft.seen(Evidence::new(
            "link",
            link.name.clone(),
            format!("{field} {runs_text}"),
        ));
    }
    draft = draft
        .fix("# if it is meant, on all hosts:")
        .fix("systemctl restart flanneld docker");
    if let Some(put_back) = put_back {
        draft = draft.fix("# or the value of before:").fix(put_back);
    }
    Some(draft.comes_of(Code(407)))
}

fn difference<'a>(
    view: &View<'a>,
    overlay: &Overlay<'_>,
    config: &NetworkConfig,
    lease: &Lease,
) -> Option<Changed<'a>> {
    let (now, runs) = (config.backend.as_str(), lease.backend.as_str());
    if now != runs {
        let known = NAMED.contains(&now) && NAMED.contains(&runs);
        return known.then(|| Changed {
            field: "Type",
            now: now.into(),
            runs: runs.into(),
            link: None,
        });
    }
    let vnis = config.vni.unwrap_or(backend::DEFAULT_VNI);
    let ports = config.port.filter(|&port| port != 0);
    let ports = ports.unwrap_or(backend::VXLAN_PORT);
    let names = overlay.links.iter();
    let links = names.filter_map(|name| view.context.net.link(name));
    let vxlans: Vec<(&Link, &Vxlan)> = links
        .filter_map(|link| match &link.kind {
            LinkKind::Vxlan(vxlan) => Some((link, vxlan)),
            _ => None,
        })
        .collect();
    if now != "vxlan" {
        return None;
    }
    // The device of before may stay beside the one that is in use.
    let Some(&(link, vxlan)) = vxlans.iter().find(|(_, one)| one.vni == vnis) else {
        let (link, vxlan) = *vxlans.first().filter(|_| lease.vni != Some(vnis))?;
        return Some(Changed {
            field: "VNI",
            now: vnis.into(),
            runs: vxlan.vni.into(),
            link: Some(link),
        });
    };
    (vxlan.port != ports && vxlan.port != 0).then(|| Changed {
        field: "Port",
        now: ports.into(),
        runs: vxlan.port.into(),
        link: Some(link),
    })
}

/// A value without a string's quotes.
fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// This host's backend: by its lease, by its device, else by the configuration.
fn ours(view: &View<'_>, overlay: &Overlay<'_>) -> Option<(String, Evidence)> {
    let local = |lease: &&Lease| {
        let own = lease.publics().any(|ip| view.is_local(ip));
        own || overlay.own_subnet == Some(lease.subnet)
    };
    let ours = match overlay.leases.iter().find(local) {
        Some(lease) => {
            let what = format!(
                "this host's lease {} is of backend {}",
                lease.subnet, lease.backend
            );
            (
                lease.backend.clone(),
                Evidence::new(lease.origin.source(), lease.origin.place(), what),
            )
        }
        None => {
            let backend = overlay.backend.clone()?;
            let place = overlay.origin.first().cloned()?;
            (backend, place)
        }
    };
    NAMED.contains(&ours.0.as_str()).then_some(ours)
}

fn draft(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    ours: &str,
    place: &Evidence,
    leases: &[&Lease],
) -> Draft {
    let first = leases[0];
    let backend = &first.backend;
    let of = first
        .public()
        .map_or("a host without PublicIP".to_owned(), |ip| ip.to_string());
    let more = match leases.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let key = match &overlay.config {
        Some(config) => config.origin.key.clone(),
        None => format!("{}/config", crate::context::flannel::PREFIX),
    };
    Draft::new(
        format!("{} {backend}", first.origin.key),
        format!(
            "the lease {} of {of}{more} is of backend {backend}, and this host's is {ours}",
            first.subnet
        ),
    )
    .because(format!(
        "Each backend wraps packets in its own way, and flanneld takes no notice of leases of \
         another one: there is no way from here to {}, and what comes from there is not \
         unwrapped here. The daemon there read another configuration, or has not been \
         restarted since it changed.",
        first.subnet
    ))
    .seen(place.clone())
    .seen_all(leases.iter().take(5).map(|lease| says(lease)))
    .fix(format!(
        "{} {}   # the backend that all are to have",
        etcdctl(view, renumber::api(view, overlay), Verb::Get),
        renumber::operand(&key)
    ))
    .fix(format!("# on {of}, which takes it when it starts:"))
    .fix("systemctl restart flanneld docker")
    .confidence(match first.origin.source() == place.source {
        true => Confidence::Certain,
        false => Confidence::Likely,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;

    const HOST: &str = r#"
        link eth0
        address 10.1.1.95/24 dev eth0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
    "#;

    fn titles(lines: &str) -> Vec<String> {
        let found = findings(&format!("{HOST}{lines}"), 406);
        found.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn one_host_leases_with_another_backend() {
        let other = r#"key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"host-gw"}"#;
        let third = r#"key v3 /coreos.com/network/subnets/192.168.14.0-24 {"PublicIP":"10.1.1.188","BackendType":"host-gw"}"#;
        let found = titles(other);
        assert!(
            found[0].contains("host-gw") && found[0].contains("10.1.1.187"),
            "{found:?}"
        );
        let found = titles(&format!("{other}\n{third}"));
        assert!(
            found.len() == 1 && found[0].contains("and 1 more"),
            "{found:?}"
        );
    }

    #[test]
    fn the_host_that_did_not_follow_is_the_one_to_restart() {
        let lease = |n: u32, of: &str| {
            format!(
                r#"key v3 /coreos.com/network/subnets/192.168.{n}.0-24 {{"PublicIP":"10.1.1.{n}","BackendType":"{of}"}}"#
            )
        };
        let of = |own: &str, others: &str| {
            let others: Vec<String> = (1..=50).map(|n| lease(n, others)).collect();
            let text = format!(
                r#"
                address 10.1.1.95/24 dev eth0
                key v3 /coreos.com/network/config {{"Network":"192.168.0.0/16","Backend":{{"Type":"vxlan"}}}}
                {}
                {}
                "#,
                lease(95, own),
                others.join("\n")
            );
            findings(&text, 406)
        };
        let found = of("host-gw", "vxlan");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].title,
            "this host's lease 192.168.95.0/24 is of backend host-gw, and \
             /coreos.com/network/config and 192.168.1.0/24 (lease of 10.1.1.1) and 49 more say vxlan"
        );
        assert_eq!(
            found[0].fix,
            [
                "# on this host, and on every other whose lease is not of that backend:",
                "systemctl restart flanneld docker"
            ]
        );
        assert!(of("vxlan", "vxlan").is_empty());
        let others = of("vxlan", "host-gw");
        assert!(
            others[0].title.starts_with("the lease 192.168.1.0/24"),
            "{others:?}"
        );
    }

    #[test]
    fn names_in_other_letters_are_replaced_and_not_doubled() {
        let text = r#"
            address 10.1.1.95/24 dev eth0
            key v3 /coreos.com/network/config {"network":"192.168.0.0/16","backend":{"type":"host-gw","directrouting":true}}
            key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan"}
        "#;
        let found = findings(text, 406);
        let put = found[0].fix.last().expect("a command");
        assert_eq!(put.matches(r#""Backend""#).count(), 1, "{put}");
        assert!(put.contains(r#""Type":"vxlan""#), "{put}");
        assert!(!put.contains("host-gw"), "{put}");
        assert!(put.contains(r#""Network":"192.168.0.0/16""#) && !put.contains("network\":"));
    }

    #[test]
    fn one_backend_is_none() {
        let udp = r#"key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}"#;
        assert!(titles(udp).is_empty());
        assert!(titles("").is_empty());
    }

    /// A host with VXLAN, after the configuration has become `backend`.
    fn vxlan(backend: &str) -> Vec<crate::finding::Finding> {
        let text = format!(
            r#"
            link eth0
            link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:01
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/32 dev flannel.1
            key v3 /coreos.com/network/config {{"Network":"192.168.0.0/16","Backend":{backend}}}
            key v3 /coreos.com/network/subnets/192.168.69.0-24 {{"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}}}
            "#
        );
        findings(&text, 406)
    }

    #[test]
    fn the_configuration_was_changed_under_the_host() {
        for (backend, title, old) in [
            (
                r#"{"Type":"host-gw"}"#,
                "/coreos.com/network/config has the backend's Type host-gw, and this host runs with vxlan",
                r#""Type":"vxlan""#,
            ),
            (
                r#"{"Type":"vxlan","VNI":7}"#,
                "/coreos.com/network/config has the backend's VNI 7, and this host runs with 1 on flannel.1",
                r#""VNI":1"#,
            ),
            (
                r#"{"Type":"vxlan","Port":4789}"#,
                "/coreos.com/network/config has the backend's Port 4789, and this host runs with 8472 on flannel.1",
                r#""Port":8472"#,
            ),
        ] {
            let found = vxlan(backend);
            assert_eq!(found.len(), 1, "{backend}");
            assert_eq!(found[0].title, title);
            assert!(found[0].fix[3].contains(old), "{:?}", found[0].fix);
        }
    }

    #[test]
    fn a_configuration_that_says_the_same_in_other_words_is_none() {
        for backend in [
            r#"{"Type":"vxlan"}"#,
            r#"{"Type":"VXLAN"}"#,
            r#"{"Type":"vxlan","VNI":1,"Port":8472}"#,
            r#"{"Type":"vxlan","Port":0,"DirectRouting":true}"#,
            r#"{"Type":"aws-vpc"}"#,
        ] {
            assert!(vxlan(backend).is_empty(), "{backend}");
        }
    }

    #[test]
    fn the_device_of_before_beside_the_one_in_use_is_none() {
        let text = r#"
            link flannel.1 vxlan vni 1 port 8472
            link flannel.7 vxlan vni 7 port 8472
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/32 dev flannel.1
            address 192.168.69.0/32 dev flannel.7
            key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan","VNI":7}}
            key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"02:00:00:00:00:01"}}
        "#;
        assert!(findings(text, 406).is_empty());
        let host_gw = text
            .replace(r#""Type":"vxlan","VNI":7"#, r#""Type":"host-gw""#)
            .replace(r#""BackendType":"vxlan""#, r#""BackendType":"host-gw""#);
        assert!(findings(&host_gw, 406).is_empty());
        assert!(findings(&host_gw, 301).is_empty());
    }

    #[test]
    fn clouds_backends_name_nothing() {
        let text = r#"
            key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"aws-vpc"}}
            key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
        "#;
        assert!(findings(text, 406).is_empty());
    }
}
