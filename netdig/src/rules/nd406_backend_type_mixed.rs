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
            None => match changed(view, overlay) {
                Some(draft) => found.push(draft),
                None => vnis(view, overlay, found),
            },
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

/// One of them.
type Field = (&'static str, Json, Json);

/// What of the backend's configuration is not what this host runs with.
struct Changed<'a> {
    /// `VNI`, as the configuration names it, what it says, and what runs.
    fields: Vec<Field>,
    link: Option<&'a Link>,
}

/// The configuration was changed and flanneld here runs as it was: it reads it when it starts.
/// A host with a lease beside the configuration is one that it is meant for.
fn changed(view: &View<'_>, overlay: &Overlay<'_>) -> Option<Draft> {
    let (config, lease) = (overlay.config.as_ref()?, overlay.own_lease()?);
    if lease.origin.api != config.origin.api {
        return None;
    }
    let Changed { fields, link } = difference(view, overlay, config, lease)?;
    let said = |pick: fn(&Field) -> &Json| {
        let each = fields.iter();
        let each = each.map(|field| format!("{} {}", field.0, plain(pick(field))));
        each.collect::<Vec<_>>().join(" and ")
    };
    let (now, runs) = (said(|field| &field.1), said(|field| &field.2));
    let key = &config.origin.key;
    let on = link.map_or_else(String::new, |link| format!(" on {}", link.name));
    let title = match &fields[..] {
        [(field, now, runs)] => format!(
            "{key} has the backend's {field} {}, and this host runs with {}{on}",
            plain(now),
            plain(runs)
        ),
        _ => format!("{key} has the backend's {now}, and this host runs with {runs}{on}"),
    };
    let before: Vec<(&str, Json)> = fields
        .iter()
        .map(|(field, _, runs)| (*field, runs.clone()))
        .collect();
    let put_back = renumber::with_backend(view, config, &before);
    let mut draft = Draft::new(format!("changed {key}"), title)
        .because(format!(
            "flanneld reads the configuration when it starts, and it was changed since. Hosts \
             that start from now on take {now} and do not reach those that run with {runs}: the \
             one's packets are not unwrapped by the other."
        ))
        .seen(Evidence::new(
            config.origin.source(),
            config.origin.place(),
            now,
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
        draft = draft.seen(Evidence::new("link", link.name.clone(), runs));
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
            fields: vec![("Type", now.into(), runs.into())],
            link: None,
        });
    }
    if now != "vxlan" {
        return None;
    }
    let vni = config.vni.unwrap_or(backend::DEFAULT_VNI);
    let port = config.port.filter(|&port| port != 0);
    let port = port.unwrap_or(backend::VXLAN_PORT);
    let vxlans = vxlans(view, overlay);
    // The device of before may stay beside the one that is in use.
    let of_it = vxlans.iter().find(|(_, one)| one.vni == vni);
    let of_before = || vxlans.first().filter(|_| lease.vni != Some(vni));
    let &(link, vxlan) = of_it.or_else(of_before)?;
    let mut fields = Vec::new();
    if vxlan.vni != vni {
        fields.push(("VNI", vni.into(), vxlan.vni.into()));
    }
    if vxlan.port != port && vxlan.port != 0 {
        fields.push(("Port", port.into(), vxlan.port.into()));
    }
    let link = Some(link);
    (!fields.is_empty()).then_some(Changed { fields, link })
}

fn vxlans<'a>(view: &View<'a>, overlay: &Overlay<'_>) -> Vec<(&'a Link, &'a Vxlan)> {
    let names = overlay.links.iter();
    let links = names.filter_map(|name| view.context.net.link(name));
    let vxlans = links.filter_map(|link| match &link.kind {
        LinkKind::Vxlan(vxlan) => Some((link, vxlan)),
        _ => None,
    });
    vxlans.collect()
}

/// Leases and devices of VXLAN that do not have one VNI: what the one wraps, the other does not
/// unwrap.
fn vnis(view: &View<'_>, overlay: &Overlay<'_>, found: &mut Vec<Draft>) {
    let Some(own) = overlay.own_lease().filter(|own| own.backend == "vxlan") else {
        return;
    };
    let vni = own.vni.unwrap_or(backend::DEFAULT_VNI);
    let vxlans = vxlans(view, overlay);
    if let Some(&(link, vxlan)) = vxlans.first()
        && vxlans.iter().all(|(_, one)| one.vni != vni)
    {
        found.push(other_device(own, vni, link, vxlan));
    }
    let others = overlay.leases.iter();
    let others = others.filter(|lease| {
        lease.origin.api == own.origin.api
            && lease.backend == "vxlan"
            && lease.vni.is_some_and(|other| other != vni)
    });
    let others: Vec<&Lease> = others.collect();
    found.extend(other_leases(own, vni, &others));
}

/// A device that is not the one of this host's lease.
fn other_device(own: &Lease, vni: u32, link: &Link, vxlan: &Vxlan) -> Draft {
    let dev = &link.name;
    let title = format!(
        "{dev} has VNI {}, and this host's lease {} is of VNI {vni}",
        vxlan.vni, own.subnet
    );
    Draft::new(format!("device {dev}"), title)
        .because(
            "Peers wrap what is for this host with the VNI of its lease, and no device here takes \
             that; what leaves here has another one, which they do not take. Somebody made the \
             device by hand, or the lease is of a later start than the device.",
        )
        .seen(Evidence::new(
            "link",
            dev.clone(),
            format!("vxlan, VNI {}", vxlan.vni),
        ))
        .seen(Evidence::new(
            own.origin.source(),
            own.origin.place(),
            format!("this host's lease {}, VNI {vni}", own.subnet),
        ))
        .fix(format!("ip link del {}", renumber::link(dev)))
        .fix("systemctl restart flanneld   # makes it anew")
}

/// Leases of hosts that run with another VNI.
fn other_leases(own: &Lease, vni: u32, others: &[&Lease]) -> Option<Draft> {
    let first = others.first()?;
    let title = format!(
        "{}{} has VNI {}, and this host's lease {} has {vni}",
        backend::named(first),
        backend::and_more(others.len()),
        first.vni.unwrap_or_default(),
        own.subnet
    );
    let says = |lease: &&Lease| {
        let what = format!(
            "lease {}, VNI {}",
            lease.subnet,
            lease.vni.unwrap_or_default()
        );
        Evidence::new(lease.origin.source(), lease.origin.place(), what)
    };
    let host = first
        .public()
        .map_or("the hosts with another one".to_owned(), |ip| ip.to_string());
    let draft = Draft::new(format!("VNI {}", first.origin.key), title)
        .because(
            "The kernel unwraps a datagram by the VNI in it: with different ones, nothing that one \
             host sends arrives at the other. The daemon there read another configuration, or has \
             not been restarted since it changed.",
        )
        .seen(Evidence::new(
            own.origin.source(),
            own.origin.place(),
            format!("this host's lease {}, VNI {vni}", own.subnet),
        ))
        .seen_all(others.iter().take(4).map(says))
        .fix(format!(
            "# on {host}, which takes the configuration's when it starts:"
        ))
        .fix("systemctl restart flanneld docker");
    Some(draft.comes_of(Code(407)))
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
        let own = view.is_ours(lease);
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

    const VXLAN: &str = r#"
        link eth0
        link flannel.1 vxlan vni 1 port 8472
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/32 dev flannel.1
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan"}}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VNI":1}}
        key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VNI":1}}
    "#;

    #[test]
    fn one_overlay_has_one_vni() {
        let told = |text: &str| {
            let found = findings(text, 406);
            found.into_iter().map(|one| one.title).collect::<Vec<_>>()
        };
        assert!(told(VXLAN).is_empty(), "{:?}", told(VXLAN));
        let (first, peer) = VXLAN.rsplit_once("\"VNI\":1").expect("the peer's lease");
        assert_eq!(
            told(&format!("{first}\"VNI\":7{peer}")),
            [
                "192.168.13.0/24 (lease of 10.1.1.187) has VNI 7, and this host's lease 192.168.69.0/24 has 1"
            ]
        );
        assert_eq!(
            told(&VXLAN.replace("vxlan vni 1", "vxlan vni 9")),
            ["flannel.1 has VNI 9, and this host's lease 192.168.69.0/24 is of VNI 1"]
        );
        // Old leases name none, which is 1.
        assert!(told(&VXLAN.replace(",\"BackendData\":{\"VNI\":1}", "")).is_empty());
    }

    #[test]
    fn all_that_was_changed_is_named_and_put_back() {
        let text = VXLAN.replace(
            r#"{"Type":"vxlan"}"#,
            r#"{"Type":"vxlan","VNI":5,"Port":4789}"#,
        );
        let found = findings(&text, 406);
        assert_eq!(
            found[0].title,
            "/coreos.com/network/config has the backend's VNI 5 and Port 4789, and this host runs \
             with VNI 1 and Port 8472 on flannel.1"
        );
        let last = found[0].fix.last().expect("a command");
        assert!(
            last.contains(r#""VNI":1"#) && last.contains(r#""Port":8472"#),
            "{last}"
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }

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
