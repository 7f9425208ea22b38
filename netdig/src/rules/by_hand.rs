//! Routes that somebody set by hand: what tells them from flannel's and from a link's own, and
//! the command that takes one away.
use std::net::IpAddr;

use super::View;
use super::collisions::Collision;
use super::renumber::quoted;
use super::view::Overlay;
use crate::context::net::{Route, RouteKind, TABLE_MAIN, table_name};

/// Whether no daemon and no address brought it: `ip route add`, or a static configuration.
pub fn is_set(route: &Route) -> bool {
    matches!(route.protocol.as_str(), "" | "boot" | "static")
}

/// Whether a route answers packets with an error, or with nothing.
pub fn refuses(route: &Route) -> bool {
    matches!(
        route.kind,
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit
    )
}

/// The route that brings `address` to an overlay's device, where flannel would not set it: not
/// for the overlay's network, nor for one lease. Without the ranges written somewhere, what is
/// routed to the device is all that tells of them.
pub fn into_overlay<'a>(
    view: &View<'a>,
    overlay: &Overlay<'_>,
    address: IpAddr,
) -> Option<&'a Route> {
    let known = overlay.config.is_some() || overlay.subnet_env.is_some();
    let route = view.routing.way(address).filter(|_| known)?;
    let length = overlay.subnet_len(route.to.addr().is_ipv6());
    let lease = overlay.lease_of(route.to.network());
    let is_leases = match lease.and_then(|lease| lease.subnet_of(route.to)) {
        Some(subnet) => subnet == route.to,
        None => !overlay.knows_leases() && route.to.prefix_len() == length,
    };
    let flannels = overlay.networks.contains(&route.to) || is_leases;
    let led = route.dev().is_some_and(|dev| overlay.links.contains(&dev));
    (led && is_set(route) && !flannels).then_some(route)
}

/// Whether a collision is such a route within the overlay's range, and no link's own prefix:
/// without it there is none.
pub fn is_in(view: &View<'_>, overlay: &Overlay<'_>, one: &Collision<'_>) -> bool {
    if !one.route.is_some_and(is_set) || one.address.is_some() {
        return false;
    }
    let mut ranges = overlay.ranges_of(one.net);
    let within = ranges.any(|range| range != one.net && range.contains(&one.net));
    // A link's addresses may all be within a route to it that a script set.
    let of_link = view.context.net.addresses.iter().any(|address| {
        Some(address.link.as_str()) == one.dev
            && (address.net.contains(&one.net) || one.net.contains(&address.net.addr()))
    });
    within && !of_link
}

/// `ip route del 10.5.7.0/24 via 10.1.1.7 dev eth0 metric 5 table 7`, as ip-route(8) finds
/// exactly this one.
pub fn delete(route: &Route) -> String {
    let mut command = "ip route del".to_owned();
    if refuses(route) {
        command += &format!(" {}", route.kind.name());
    }
    command += &format!(" {}", route.to);
    // Of several next hops none stands for the route.
    if let [hop] = &route.hops[..] {
        if let Some(via) = hop.via {
            command += &format!(" via {via}");
        }
        if let Some(dev) = hop.dev.as_deref().filter(|_| !refuses(route)) {
            command += &format!(" dev {}", quoted(dev));
        }
    }
    if route.metric > 0 {
        command += &format!(" metric {}", route.metric);
    }
    if route.table != TABLE_MAIN {
        command += &format!(" table {}", table_name(route.table));
    }
    command
}
