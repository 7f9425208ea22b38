//! A lease of another backend than ours.
use std::collections::BTreeMap;

use super::renumber::{self, Verb, etcdctl};
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::Lease;
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
        for (backend, leases) in others {
            found.push(draft(view, overlay, &ours, &place, backend, &leases));
        }
    }
}

/// This host's backend: by its lease, by its device, else by the configuration.
fn ours(view: &View<'_>, overlay: &Overlay<'_>) -> Option<(String, Evidence)> {
    let local = |lease: &&Lease| {
        let own = lease.publics().any(|ip| view.context.net.is_local(ip));
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
    backend: &str,
    leases: &[&Lease],
) -> Draft {
    let first = leases[0];
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
    .seen_all(leases.iter().take(5).map(|lease| {
        let what = format!("lease {}, backend {}", lease.subnet, lease.backend);
        Evidence::new(lease.origin.source(), lease.origin.place(), what)
    }))
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
    fn one_backend_is_none() {
        let udp = r#"key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}"#;
        assert!(titles(udp).is_empty());
        assert!(titles("").is_empty());
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
