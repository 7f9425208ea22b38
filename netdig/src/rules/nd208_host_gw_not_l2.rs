//! ND208: the backend host-gw routes by the peer's own address, which is not on the link.
use std::net::IpAddr;

use super::renumber::{self, Verb, etcdctl};
use super::view::{Overlay, Way};
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(208),
    name: "host-gw-not-l2",
    severity: Severity::High,
    title: "a gateway of the backend host-gw is not on the link",
    needs: &[Part::Routes, Part::Addresses, Part::Lookups, Part::Registry],
    page: include_str!("../../../docs/playbooks/nd208_host_gw_not_l2.md"),
    check,
};

/// Peers that are listed one by one.
const SHOWN: usize = 4;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        if overlay.own_subnet.is_none() || overlay.backend.as_deref() != Some("host-gw") {
            continue;
        }
        let far: Vec<(&Lease, IpAddr, Way<'_>)> = overlay
            .remote_leases()
            .filter(|lease| lease.backend == "host-gw")
            .filter_map(|lease| {
                let peer = lease.public()?;
                let way = view.way(peer)?;
                way.via.is_some().then_some((lease, peer, way))
            })
            .collect();
        found.extend(draft(view, overlay, &far));
    }
}

fn draft(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    far: &[(&Lease, IpAddr, Way<'_>)],
) -> Option<Draft> {
    let (lease, peer, way) = far.first()?;
    let gateway = way.via.map_or_else(String::new, |via| via.to_string());
    let more = backend::and_more(far.len());
    let title = format!(
        "host-gw wants {peer}, which has {}, on the link, and it is behind {gateway}{more}",
        lease.subnet
    );
    let api = overlay.config.as_ref().map(|config| &config.origin);
    let draft = Draft::new(overlay.key(), title).because(
        "The backend host-gw sends packets for a subnet to its host's own address as the next hop, \
         so that all hosts have to share a segment. A next hop behind a router is refused by the \
         kernel, and the subnet cannot be reached.",
    );
    let draft = far
        .iter()
        .take(SHOWN)
        .fold(draft, |draft, (lease, peer, way)| {
            let via = way
                .via
                .map_or_else(String::new, |via| format!("via {via} "));
            let dev = way.dev.unwrap_or("?");
            draft
                .seen(Evidence::new(
                    lease.origin.source(),
                    lease.origin.place(),
                    backend::named(lease),
                ))
                .seen(Evidence::new(
                    if way.asked { "look-up" } else { "route" },
                    peer.to_string(),
                    format!("{via}dev {dev}: a router stands between"),
                ))
        });
    let draft = draft.seen_all(overlay.origin.iter().cloned());
    let config = api.map_or("/coreos.com/network/config", |origin| origin.key.as_str());
    Some(
        draft
            .fix(format!(
                "# another backend for all hosts: \"Backend\":{{\"Type\":\"vxlan\"}} in {config}"
            ))
            .fix(format!(
                "{} {}",
                etcdctl(view, renumber::api(view, overlay), Verb::Get),
                renumber::operand(config)
            ))
            .fix("systemctl restart flanneld   # on every host"),
    )
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::findings;

    const HOST: &str = r#"
        address 10.1.1.95/24 dev eth0
        link eth0
        route 10.1.1.0/24 dev eth0 scope link
        route default via 10.1.1.1 dev eth0
        key v2 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"host-gw"}}
        key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"host-gw"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"PEER","BackendType":"host-gw"}
    "#;

    #[test]
    fn a_peer_behind_a_router_is_named_with_the_router() {
        let found = findings(&HOST.replace("PEER", "10.2.1.187"), 208);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].title.contains("10.2.1.187") && found[0].title.contains("behind 10.1.1.1")
        );
    }

    #[test]
    fn a_peer_on_the_link_is_right() {
        assert!(findings(&HOST.replace("PEER", "10.1.1.187"), 208).is_empty());
    }

    #[test]
    fn other_backends_may_be_routed() {
        let text = HOST.replace("PEER", "10.2.1.187").replace("host-gw", "udp");
        assert!(findings(&text, 208).is_empty());
    }

    #[test]
    fn the_kernels_own_answer_decides() {
        let text = HOST.replace("PEER", "10.2.1.187");
        let asked = format!("{text}\nlookup peer 10.2.1.187 dev eth0");
        assert!(findings(&asked, 208).is_empty());
    }
}
