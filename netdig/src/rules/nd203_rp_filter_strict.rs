//! ND203: the reverse path filter drops what comes out of the overlay.
use ipnet::IpNet;

use super::nd201_ip_forward_off::settable;
use super::passage::host_of;
use super::renumber::quoted;
use super::view::Overlay;
use super::{Draft, Rule, View, collisions};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::RouteKind;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(203),
    name: "rp-filter-strict",
    severity: Severity::High,
    title: "rp_filter is strict on an overlay link, and the way back leads by another link",
    needs: &[Part::Sysctls, Part::Routes, Part::Links],
    page: include_str!("../../../docs/playbooks/nd203_rp_filter_strict.md"),
    check,
};

const ALL: &str = "net.ipv4.conf.all.rp_filter";
const COUNTER: &str = "TcpExt.IPReversePathFilter";

/// A remote subnet whose packets come by one link and whose way back leads by another.
struct Astray<'v> {
    subnet: IpNet,
    dev: &'v str,
    /// Whether the kernel was asked.
    asked: bool,
    what: Evidence,
}

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        for link in &overlay.links {
            let Some(name) = strict(view, link) else {
                continue;
            };
            let leases = overlay.remote_leases();
            let mut astray: Vec<Astray<'_>> = leases
                .filter_map(|lease| astray(view, overlay, lease))
                .collect();
            if !overlay.knows_leases() && overlay.backend.as_deref() == Some("udp") {
                astray.extend(unleased(view, overlay));
            }
            if let Some(first) = astray.first() {
                found.push(draft(view, link, &name, first, &astray));
            }
        }
    }
}

/// The sysctl that makes a link strict: the greater one of `all`'s and its own counts.
fn strict(view: &View<'_>, link: &str) -> Option<String> {
    let own = format!("net.ipv4.conf.{link}.rp_filter");
    let (all, of_link) = (view.context.sysctl(ALL)?, view.context.sysctl(&own)?);
    match (all.max(of_link), all) {
        (1, 1) => Some(ALL.to_owned()),
        (1, _) => Some(own),
        _ => None,
    }
}

fn astray<'v>(view: &'v View<'_>, overlay: &Overlay<'_>, lease: &Lease) -> Option<Astray<'v>> {
    // IPv6 has no such filter.
    let subnet = IpNet::V4(lease.ipv4_subnet()?);
    // Between hosts of one link both directions go without the tunnel.
    if overlay
        .config
        .as_ref()
        .is_some_and(|config| config.direct_routing)
    {
        return None;
    }
    let address = host_of(subnet, None);
    if view.context.net.is_local(address) {
        return None;
    }
    let way = view.way(address)?;
    let dev = way.dev?;
    if overlay.links.contains(&dev) || dev == "lo" {
        return None;
    }
    let direct = lease.public_of(false);
    if way.via.is_some() && way.via == direct {
        return None;
    }
    let via = way.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let what = format!("the way back to {subnet}: {address}{via} dev {dev}");
    let source = if way.asked { "look-up" } else { "route" };
    let place = match way.asked {
        true => address.to_string(),
        false => view.routing.way(address)?.to_string(),
    };
    Some(Astray {
        subnet,
        dev,
        asked: way.asked,
        what: Evidence::new(source, place, what),
    })
}

/// The same by the routes alone, where no lease is known. With the backend udp all of the
/// network comes through the tun, so that none of its subnets may have another way; with the
/// others a host may be reached without the tunnel.
fn unleased<'v>(view: &'v View<'_>, overlay: &Overlay<'_>) -> Vec<Astray<'v>> {
    let routes = view.context.net.routes.iter();
    let routes = routes.filter(|route| {
        let inside = |net: &IpNet| net.contains(&route.to) && *net != route.to;
        route.kind == RouteKind::Unicast
            && overlay.networks.iter().any(inside)
            && !overlay.is_own(route.to)
            && collisions::is_of_one_lease(view, overlay, route)
    });
    let astray = routes.filter_map(|route| {
        let dev = route.dev().filter(|dev| !overlay.links.contains(dev))?;
        let way = view.way(host_of(route.to, None))?;
        (way.dev == Some(dev)).then(|| Astray {
            subnet: route.to,
            dev,
            asked: false,
            what: Evidence::new(
                "route",
                route.to_string(),
                format!("the way back to {} leads by {dev}", route.to),
            ),
        })
    });
    astray.collect()
}

fn draft(
    view: &View<'_>,
    link: &str,
    name: &str,
    first: &Astray<'_>,
    astray: &[Astray<'_>],
) -> Draft {
    let others = match astray.len() {
        1 => String::new(),
        number => format!(" and {} more subnets", number - 1),
    };
    let (subnet, dev) = (first.subnet, first.dev);
    let certain = astray.iter().all(|one| one.asked);
    let count = view.context.counters.get(COUNTER);
    let own = format!("net.ipv4.conf.{link}.rp_filter");
    let switch = settable(&own, Some(link));
    Draft::new(
        format!("{link} {name}"),
        format!(
            "{name} = 1: packets from {subnet}{others} that come by {link} are dropped, the way \
             back leads by {dev}"
        ),
    )
    .because(
        "A strict reverse path filter takes a packet only by the link that an answer would \
         leave by, and drops others without a word. The greater one of all's and the link's \
         value counts. Either the route is wrong, or the filter has to be loose (2).",
    )
    .fix("# if the route is not wanted, delete it: the way back leads through the overlay then")
    .fix(format!("ip route get {}", host_of(subnet, None)))
    .fix("# otherwise make the filter loose:")
    .fix(format!("sysctl -w {}", quoted(&format!("{switch}=2"))))
    .seen(Evidence::new(
        "sysctl",
        format!("{name} = 1"),
        "the filter is strict",
    ))
    .seen_all(astray.iter().take(8).map(|one| one.what.clone()))
    .seen_all(count.filter(|count| **count > 0).map(|count| {
        let what = "packets that the filter has dropped since this namespace began";
        Evidence::new("counter", format!("{COUNTER} = {count}"), what)
    }))
    .confidence(if certain {
        Confidence::Certain
    } else {
        Confidence::Likely
    })
    .comes_of(Code(101))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::finding::Finding;

    const HOST: &str = r#"
        link eth0
        link flannel0 tun
        address 10.1.1.187/24 dev eth0
        address 192.168.13.0/32 dev flannel0
        route 10.1.1.0/24 dev eth0
        route 192.168.0.0/16 dev flannel0
        key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
        key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
        "#;
    const ASTRAY: &str = "route 192.168.69.0/24 via 10.1.1.1 dev eth0\n";

    fn found(text: &str) -> Vec<Finding> {
        testing::findings(&format!("{HOST}{text}"), 203)
    }

    fn filters(all: u8, link: u8) -> String {
        format!("sysctl {ALL} {all}\nsysctl net.ipv4.conf.flannel0.rp_filter {link}\n")
    }

    #[test]
    fn strict_with_another_way_back() {
        for (all, link, name) in [(1, 0, "all"), (1, 1, "all"), (0, 1, "flannel0")] {
            let found = found(&format!("{ASTRAY}{}", filters(all, link)));
            assert_eq!(found.len(), 1);
            let title = format!(
                "net.ipv4.conf.{name}.rp_filter = 1: packets from 192.168.69.0/24 that come by flannel0 are dropped, the way back leads by eth0"
            );
            assert_eq!(found[0].title, title);
            assert_eq!(found[0].confidence, Confidence::Likely);
        }
        let asked = "lookup subnet 192.168.69.2 dev eth0 via 10.1.1.1\ncounter TcpExt.IPReversePathFilter 4\n";
        let found = found(&format!("{asked}{}", filters(1, 1)));
        assert_eq!(found[0].confidence, Confidence::Certain);
        assert!(found[0].evidence.iter().any(|one| one.source == "counter"));
    }

    #[test]
    fn without_leases_the_routes_tell() {
        let host = "link eth0\nlink flannel0 tun\naddress 10.1.1.187/24 dev eth0\naddress 192.168.13.0/16 dev flannel0\nroute 192.168.0.0/16 dev flannel0\n";
        let strict = filters(1, 0);
        let found = testing::findings(&format!("{host}{ASTRAY}{strict}"), 203);
        assert!(
            found[0].title.contains("packets from 192.168.69.0/24"),
            "{found:?}"
        );
        assert_eq!(found[0].confidence, Confidence::Likely);
        assert!(testing::findings(&format!("{host}{strict}"), 203).is_empty());
        // Another backend's hosts may be reached directly.
        let vxlan = host.replace("flannel0 tun", "flannel0 vxlan vni 1 port 8472");
        assert!(testing::findings(&format!("{vxlan}{ASTRAY}{strict}"), 203).is_empty());
    }

    #[test]
    fn loose_filters_and_straight_ways_are_left_alone() {
        for (all, link) in [(2, 1), (1, 2), (0, 0), (0, 2)] {
            assert!(found(&format!("{ASTRAY}{}", filters(all, link))).is_empty());
        }
        assert!(found(&filters(1, 1)).is_empty());
        // One value is not known: the other does not decide.
        assert!(found(&format!("{ASTRAY}sysctl {ALL} 1")).is_empty());
        // The peer is on our link: it sends without a tunnel as well.
        let direct = "route 192.168.69.0/24 via 10.1.1.95 dev eth0\n";
        assert!(found(&format!("{direct}{}", filters(1, 1))).is_empty());
        // A VPN beside no overlay.
        let vpn = format!("link wg0 wireguard\naddress 10.8.0.2/24 dev wg0\nsysctl {ALL} 1");
        assert!(testing::findings(&vpn, 203).is_empty());
    }
}
