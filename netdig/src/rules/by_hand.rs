//! Routes that somebody set by hand: what tells them from flannel's and from a link's own, and
//! the command that takes one away.
use std::net::IpAddr;

use super::View;
use super::collisions::Collision;
use super::renumber::quoted;
use super::view::Overlay;
use crate::context::net::{Route, RouteKind, TABLE_MAIN, table_name};

/// What is to be thought of before a route is deleted.
pub const STAYS: &str =
    "# a network that is really there, and needed, stays: then give the overlay another range";

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
/// for the overlay's network, be it one of before, nor for one lease. Without the ranges written
/// somewhere, what is routed to the device is all that tells of them.
pub fn into_overlay<'a>(
    view: &View<'a>,
    overlay: &Overlay<'_>,
    address: IpAddr,
) -> Option<&'a Route> {
    let known = overlay.config.is_some() || overlay.subnet_env.is_some();
    let route = led(view, overlay, address).filter(|_| known)?;
    let length = overlay.subnet_len(route.to.addr().is_ipv6());
    let lease = overlay.lease_of(route.to.network());
    let is_leases = match lease.and_then(|lease| lease.subnet_of(route.to)) {
        Some(subnet) => subnet == route.to,
        None => !overlay.knows_leases() && route.to.prefix_len() == length,
    };
    let flannels = overlay.networks.contains(&route.to)
        || is_leases
        || is_network_of_before(view, overlay, route);
    (is_set(route) && !flannels).then_some(route)
}

/// The route that brings `address` to an overlay's device, of a range that its configuration no
/// longer has: it was changed, and this host's flanneld still runs with the one of before.
pub fn of_before<'a>(view: &View<'a>, overlay: &Overlay<'_>, address: IpAddr) -> Option<&'a Route> {
    let outside = overlay.config.is_some() && !overlay.contains(address);
    let route = led(view, overlay, address).filter(|_| outside)?;
    is_network_of_before(view, overlay, route).then_some(route)
}

fn led<'a>(view: &View<'a>, overlay: &Overlay<'_>, address: IpAddr) -> Option<&'a Route> {
    let route = view.routing.way(address)?;
    overlay.links.contains(&route.dev()?).then_some(route)
}

/// Whether a route to the overlay's device is what flanneld set for a network that the
/// configuration has no longer: a file of its own names it, or it holds the device's own address
/// or a lease. One beside the route of the present network is not.
fn is_network_of_before(view: &View<'_>, overlay: &Overlay<'_>, route: &Route) -> bool {
    let Some(dev) = route.dev() else {
        return false;
    };
    let files = view.context.files.subnet_env.iter();
    let mut written = files.flat_map(|file| file.network.iter().chain(&file.ipv6_network));
    if written.any(|net| *net == route.to) {
        return true;
    }
    let present = overlay.networks.iter().any(|net| {
        let mut routes = view.routing.to(route.table, *net).iter();
        routes.any(|one| one.dev() == Some(dev))
    });
    let mut own = view.context.net.addresses_of(dev);
    let mut leases = overlay.leases_in(route.to);
    let holds = own.any(|one| route.to.contains(&one.net.addr()))
        || leases.any(|lease| {
            let subnet = lease.subnet_of(route.to);
            subnet.is_some_and(|subnet| route.to.contains(&subnet))
        });
    holds && !present
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
