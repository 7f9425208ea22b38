//! ND204: a route into the overlay's range that no lease backs, or another way than the lease's.
use std::net::IpAddr;

use super::renumber::quoted;
use super::view::Overlay;
use super::{Draft, Rule, View, backend, collisions};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::{Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(204),
    name: "stale-route",
    severity: Severity::High,
    title: "a route into the overlay's range that no lease backs",
    needs: &[Part::Routes, Part::Links, Part::Addresses, Part::Registry],
    page: include_str!("../../../docs/playbooks/nd204_stale_route.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in view.overlays.iter().filter(|one| !one.leases.is_empty()) {
        for route in &view.context.net.routes {
            if let Some(why) = stale(view, overlay, route) {
                found.push(draft(view, overlay, route, &why));
            }
        }
    }
}

/// Why a route is none that flannel would set.
enum Why<'a> {
    NoLease,
    /// It takes packets of this lease elsewhere.
    OtherWay(&'a Lease),
}

fn stale<'a>(view: &View<'_>, overlay: &'a Overlay<'_>, route: &Route) -> Option<Why<'a>> {
    let inside = overlay
        .networks
        .iter()
        .any(|net| net.contains(&route.to) && net.prefix_len() < route.to.prefix_len());
    // What is on a link of this host is a network of its own: ND101's or ND104's business.
    let via = route.via()?;
    if !inside || route.kind != RouteKind::Unicast || route.table == TABLE_LOCAL {
        return None;
    }
    // A range of the underlay that a router leads to is ND101's: it is not to be deleted.
    let through = route.dev().is_some_and(|dev| overlay.links.contains(&dev));
    if overlay.is_own(route.to) || !through && !collisions::is_of_one_lease(overlay, route) {
        return None;
    }
    match overlay.lease_of(route.to.network()) {
        Some(lease) => {
            let whole = lease.subnet_of(route.to)?;
            (!leads_to(view, overlay, lease, route, via) && whole.contains(&route.to))
                .then_some(Why::OtherWay(lease))
        }
        // A wider one with leases in it is somebody's summary of them.
        None => {
            let subnets = |lease: &Lease| lease.subnet_of(route.to);
            let mut subnets = overlay.leases.iter().filter_map(subnets).peekable();
            let known = subnets.peek().is_some();
            (known && !subnets.any(|net| route.to.contains(&net))).then_some(Why::NoLease)
        }
    }
}

/// Whether a route leads where flannel's would: to the peer, or through the overlay's device.
fn leads_to(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    lease: &Lease,
    route: &Route,
    via: IpAddr,
) -> bool {
    let through = route.dev().is_some_and(|dev| overlay.links.contains(&dev));
    // Where the peer is behind a router, that router's way is the peer's.
    let as_peer = |peer| view.way(peer).is_some_and(|way| way.via == Some(via));
    through || lease.publics().any(|peer| peer == via || as_peer(peer))
}

fn draft(view: &View<'_>, overlay: &Overlay<'_>, route: &Route, why: &Why<'_>) -> Draft {
    let via = route
        .via()
        .map_or_else(String::new, |via| format!(" via {via}"));
    let dev = route.dev().unwrap_or("an unknown device");
    let to = route.to;
    let (title, explanation) = match why {
        Why::NoLease => (
            format!("the route {to}{via} dev {dev} leads into the overlay, and no lease backs it"),
            format!(
                "No host has a lease for {to}. Packets for it leave by {dev} and reach nobody who \
                 has those addresses: a host that is gone left the route behind, or somebody set \
                 it by hand."
            ),
        ),
        Why::OtherWay(lease) => (
            format!(
                "the route {to}{via} dev {dev} takes packets away from {}",
                backend::named(lease)
            ),
            format!(
                "It is as long as the lease's own route or longer, so the kernel prefers it, and \
                 it does not lead to the host that has the lease. Packets for {to} go to {}.",
                route
                    .via()
                    .map_or_else(|| dev.to_owned(), |via| via.to_string())
            ),
        ),
    };
    let partly = view
        .context
        .unread
        .iter()
        .any(|one| one.part == Part::Registry);
    let draft = Draft::new(format!("{} {route}", overlay.key()), title)
        .because(explanation)
        .seen(Evidence::new(
            "route",
            route.to_string(),
            format!("made by {}", route.protocol),
        ))
        .seen_all(overlay.origin.iter().cloned())
        .fix(delete(route))
        .confidence(match partly {
            true => Confidence::Likely,
            false => Confidence::Certain,
        });
    match why {
        Why::OtherWay(lease) => draft.seen(Evidence::new(
            lease.origin.source(),
            lease.origin.place(),
            backend::named(lease),
        )),
        Why::NoLease => {
            let count = overlay.leases.len();
            draft.seen(Evidence::new(
                overlay.leases[0].origin.source(),
                format!("{}/subnets", overlay.prefix),
                format!("{count} leases, none for {to}"),
            ))
        }
    }
}

fn delete(route: &Route) -> String {
    let mut command = format!("ip route del {}", route.to);
    if let Some(via) = route.via() {
        command.push_str(&format!(" via {via}"));
    }
    if let Some(dev) = route.dev() {
        command.push_str(&format!(" dev {}", quoted(dev)));
    }
    if route.metric > 0 {
        command.push_str(&format!(" metric {}", route.metric));
    }
    if route.table != TABLE_MAIN {
        command.push_str(&format!(" table {}", route.table));
    }
    command
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::findings;

    const HOST: &str = r#"
        link eth0
        link flannel0 tun mtu 1472
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/16 dev flannel0
        route 192.168.0.0/16 dev flannel0 src 192.168.69.0 proto kernel scope link
        route 192.168.69.0/24 dev docker0 scope link
        route 10.1.1.0/24 dev eth0 scope link
        key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
    "#;

    fn with(line: &str) -> Vec<crate::finding::Finding> {
        findings(&format!("{HOST}\n{line}"), 204)
    }

    #[test]
    fn a_route_without_a_lease_is_stale() {
        let found = with("route 192.168.77.0/24 via 10.1.1.177 dev eth0 onlink");
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("192.168.77.0/24 via 10.1.1.177"));
        assert_eq!(
            found[0].fix,
            ["ip route del 192.168.77.0/24 via 10.1.1.177 dev eth0"]
        );
    }

    #[test]
    fn so_is_one_that_takes_a_part_of_a_lease_elsewhere() {
        let found = with("route 192.168.13.0/25 via 10.1.1.177 dev eth0 metric 5 table 7");
        assert!(found[0].title.contains("10.1.1.187"), "{}", found[0].title);
        assert!(found[0].fix[0].ends_with("metric 5 table 7"));
    }

    #[test]
    fn routes_of_flannels_own_and_of_others_are_not() {
        for line in [
            "route 192.168.13.0/24 via 10.1.1.187 dev eth0",
            "route 192.168.13.0/24 via 192.168.13.0 dev flannel0 onlink",
            "route 192.168.69.128/25 via 192.168.69.5 dev docker0",
            "route 192.168.64.0/18 via 10.1.1.1 dev eth0",
            "route 172.16.0.0/12 via 10.1.1.1 dev eth0",
            "route 192.168.0.0/16 via 10.1.1.1 dev eth0 metric 1024",
            "route 192.168.200.0/24 dev eth1 scope link",
            "route 192.168.128.0/17 via 10.1.1.1 dev eth0",
            "route 192.168.77.0/24 via 10.1.1.1 dev eth0 proto bird",
        ] {
            assert!(with(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn one_route_is_one_finding() {
        for line in [
            "route 192.168.77.0/24 via 10.1.1.177 dev eth0 onlink",
            "route 192.168.13.0/25 via 10.1.1.177 dev eth0 proto static",
            "route 192.168.13.0/25 via 10.1.1.177 dev eth0 proto bird",
            "route 192.168.13.0/24 via 10.1.1.177 dev eth0",
        ] {
            let text = format!("{HOST}\n{line}");
            assert_eq!(findings(&text, 204).len(), 1, "{line}");
            assert!(findings(&text, 101).is_empty(), "{line}");
        }
        let range = format!("{HOST}\nroute 192.168.13.0/24 via 10.1.1.1 dev eth0 proto bird");
        assert_eq!(
            (findings(&range, 101).len(), findings(&range, 204).len()),
            (1, 0)
        );
    }

    #[test]
    fn a_part_of_an_ipv6_lease_taken_elsewhere_is_found_too() {
        let text = HOST.replace(
            r#""Network""#,
            r#""EnableIPv6":true,"IPv6Network":"fd00:1::/56","Network""#,
        );
        let text = text.replace("192.168.13.0-24 {", r#"192.168.13.0-24&fd00:1:0:d::-64 {"#);
        let line = "route fd00:1:0:d::/72 via fe80::7 dev eth0";
        let found = findings(&format!("{text}\n{line}"), 204);
        assert!(
            found.len() == 1 && found[0].title.contains("fd00:1:0:d::/72"),
            "{found:?}"
        );
    }

    #[test]
    fn without_leases_nothing_is_known() {
        let text = "link flannel0 tun\naddress 192.168.69.0/16 dev flannel0\n\
                    route 192.168.77.0/24 via 10.1.1.177 dev eth0";
        assert!(findings(text, 204).is_empty());
    }
}
