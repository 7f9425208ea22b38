//! ND103: the tunnel's own packets for a peer are routed into the tunnel.
use super::collisions::{self, Caught};
use super::nd101_overlay_underlay_overlap::caught_evidence;
use super::{Draft, Rule, View, way_out};
use crate::context::Part;
use crate::context::net::Role;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(103),
    name: "tunnel-recursion",
    severity: Severity::Critical,
    title: "a peer's public address is itself routed through the overlay",
    needs: &[Part::Links, Part::Addresses, Part::Routes],
    page: include_str!("../../../docs/playbooks/nd103_tunnel_recursion.md"),
    check,
};

/// Peers that evidence and fix name.
const SHOWN: usize = 10;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in view.joined() {
        // Peers are known from leases, whether or not anything of theirs is in the range.
        let mut caught = collisions::caught(view, overlay, true);
        caught.retain(|one| one.role == Role::Peer);
        if let Some(first) = caught.first() {
            found.push(draft(view, overlay.key(), first, &caught));
        }
    }
}

fn draft(view: &View<'_>, key: String, first: &Caught<'_>, caught: &[Caught<'_>]) -> Draft {
    let (what, rest) = match caught.len() {
        1 => ("peer", String::new()),
        count => ("peers", format!(" and {} more", count - 1)),
    };
    let verb = if caught.len() == 1 { "is" } else { "are" };
    let title = format!(
        "{what} {}{rest} {verb} routed through the tunnel to {}: the route leaves by {}",
        first.address,
        if caught.len() == 1 { "it" } else { "them" },
        first.dev
    );
    let mut draft = Draft::new(key, title)
        .because(format!(
            "What the tunnel sends to {} is itself sent into {}, encapsulated again, and so on \
             until it is too long or its TTL is used up. No packet of the overlay reaches that \
             host, and each one costs many.",
            first.address, first.dev
        ))
        .confidence(first.confidence)
        .comes_of(Code(101));
    for one in caught.iter().take(SHOWN) {
        draft = draft.seen(caught_evidence(one));
    }
    if let Some(route) = view.routing.way(first.address) {
        let what = format!("takes what is sent to {}", first.address);
        draft = draft.seen(Evidence::new("route", route.to_string(), what));
    }
    let leases = caught.iter().take(SHOWN).filter_map(|one| {
        let lease = view.overlay_on(one.dev)?.lease_of_host(one.address)?;
        let what = format!("lease {} of {}", lease.subnet, one.address);
        Some(Evidence::new(
            lease.origin.source(),
            lease.origin.place(),
            what,
        ))
    });
    draft = draft.seen_all(leases);
    let why = "# until the overlay has another range, pin the peers to the underlay:";
    let shown = &caught[..caught.len().min(SHOWN)];
    draft = draft.fix_all(way_out::commands(view, shown, why));
    if caught.len() > SHOWN {
        draft = draft.fix(format!("# and so for {} more peers", caught.len() - SHOWN));
    }
    draft
}

#[cfg(test)]
mod tests {
    use crate::finding::{Code, Confidence};
    use crate::rules::testing::{findings, report};

    const CASE: &str = r#"
        link eth0
        link flannel0 tun mtu 1472
        address 10.1.1.95/24 dev eth0
        address 10.69.0.0/32 dev flannel0
        route default via 10.1.1.1 dev eth0
        route 10.0.0.0/8 dev flannel0
        route 10.1.1.0/24 dev eth0 proto kernel scope link
        key v3 /coreos.com/network/config {"Network":"10.0.0.0/8"}
        key v3 /coreos.com/network/subnets/10.69.0.0-24 {"PublicIP":"10.1.1.95"}
        key v3 /coreos.com/network/subnets/10.13.0.0-24 {"PublicIP":"10.2.1.187"}
        key v3 /coreos.com/network/subnets/10.14.0.0-24 {"PublicIP":"10.1.1.188"}
    "#;

    #[test]
    fn a_peer_behind_its_own_tunnel_is_named_and_comes_of_the_overlap() {
        let report = report(CASE);
        let one = report
            .findings
            .iter()
            .find(|one| one.code == Code(103))
            .expect("ND103");
        assert!(
            one.title.contains("10.2.1.187") && one.title.contains("flannel0"),
            "{}",
            one.title
        );
        // The other peer is on the link.
        assert!(!one.title.contains("more"), "{}", one.title);
        assert_eq!(one.cause, Some(Code(101)));
        assert!(
            one.fix
                .contains(&"ip route replace 10.2.1.187/32 via 10.1.1.1 dev eth0".to_owned()),
            "{:?}",
            one.fix
        );
    }

    #[test]
    fn the_kernels_answer_and_a_pinned_route_clear_it() {
        assert!(
            findings(
                &format!("{CASE}\nroute 10.2.1.187 via 10.1.1.1 dev eth0"),
                103
            )
            .is_empty()
        );
        assert!(
            findings(
                &format!("{CASE}\nlookup peer 10.2.1.187 via 10.1.1.1 dev eth0"),
                103
            )
            .is_empty()
        );
    }

    #[test]
    fn it_is_certain_where_the_kernel_itself_was_asked() {
        let tables = findings(CASE, 103);
        assert_eq!(tables[0].confidence, Confidence::Likely);
        let asked = format!("{CASE}\nlookup peer 10.2.1.187 dev flannel0");
        assert_eq!(findings(&asked, 103)[0].confidence, Confidence::Certain);
    }

    #[test]
    fn many_peers_are_one_finding() {
        let more: String = (0..40)
            .map(|n| format!("key v3 /coreos.com/network/subnets/10.90.{n}.0-24 {{\"PublicIP\":\"10.3.0.{n}\"}}\n"))
            .collect();
        let found = findings(&format!("{CASE}\n{more}"), 103);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].title.contains("10.2.1.187 and 40 more"),
            "{}",
            found[0].title
        );
        assert!(found[0].fix.len() < 15);
    }

    #[test]
    fn a_public_address_within_another_lease_is_recursion_too() {
        let text = r#"
            link eth0
            link flannel.1 vxlan vni 1
            address 10.1.1.95/24 dev eth0
            address 10.1.88.0/32 dev flannel.1
            route 10.1.1.0/24 dev eth0 proto kernel scope link
            route 10.1.13.0/24 via 10.1.13.0 dev flannel.1 onlink
            key v3 /coreos.com/network/config {"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}
            key v3 /coreos.com/network/subnets/10.1.88.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan"}
            key v3 /coreos.com/network/subnets/10.1.13.0-24 {"PublicIP":"10.1.13.187","BackendType":"vxlan"}
        "#;
        assert!(findings(text, 103)[0].title.contains("10.1.13.187"));
    }
}
