//! How the underlay's destinations come out of an overlay until it has another range.
use std::net::IpAddr;

use ipnet::IpNet;

use super::collisions::Caught;
use super::renumber::quoted;
use super::{View, by_hand};
use crate::context::net::{Route, RouteKind, TABLE_MAIN, table_name};

/// The route of the underlay that would lead to `address` if there were no overlay.
fn underlay_way<'a>(view: &View<'a>, address: IpAddr) -> Option<&'a Route> {
    let not_overlay = |route: &Route| {
        route.kind == RouteKind::Unicast && !route.dev().is_none_or(|dev| view.is_overlay_link(dev))
    };
    view.routing.look_where(TABLE_MAIN, address, not_overlay)
}

/// A command that takes `address` out of the overlay until it has another range: a route of
/// its own in the table that decides now, be it one that a policy rule leads to. `replace`, as
/// there may be one to that address already, with its metric, where the lower one would win.
fn stop_gap(view: &View<'_>, address: IpAddr) -> String {
    let host = IpNet::from(address);
    let ip = if address.is_ipv6() { "ip -6" } else { "ip" };
    let table = view.way(address).map_or(TABLE_MAIN, |way| way.table);
    let known = view.routing.to(table, host).first();
    let mut tail = String::new();
    if let Some(known) = known.filter(|known| known.metric > 0) {
        tail += &format!(" metric {}", known.metric);
    }
    if table != TABLE_MAIN {
        tail += &format!(" table {}", table_name(table));
    }
    let way = underlay_way(view, address);
    match way.and_then(|route| Some((route, route.dev()?))) {
        Some((route, dev)) => match (route.via(), quoted(dev)) {
            (Some(via), dev) => format!("{ip} route replace {host} via {via} dev {dev}{tail}"),
            (None, dev) => format!("{ip} route replace {host} dev {dev}{tail}"),
        },
        None => format!(
            "# {ip} route replace {host} via GATEWAY dev DEVICE{tail}: no route but the overlay's leads there now"
        ),
    }
}

/// What brings destinations out of a range that the overlay had before.
pub const RESTART: [&str; 3] = [
    "# its range was changed, and flanneld reads its configuration only when it starts:",
    "systemctl restart flanneld",
    "systemctl restart docker",
];

/// Commands that bring the underlay's destinations out of the overlay: away with a route that
/// somebody set by hand, the daemon started again where the range is one of before, and for the
/// others `why` and a route of their own.
pub fn commands(view: &View<'_>, caught: &[Caught<'_>], why: &str) -> Vec<String> {
    let (mut commands, mut pinned) = (Vec::new(), Vec::new());
    let mut restart = false;
    for one in caught {
        let overlay = view.overlay_on(one.dev);
        let by_hand = overlay.and_then(|one_of| by_hand::into_overlay(view, one_of, one.address));
        match by_hand {
            Some(route) => commands.push(by_hand::delete(route)),
            None => pinned.push(stop_gap(view, one.address)),
        }
        restart |= overlay.is_some_and(|overlay| {
            by_hand.is_none() && by_hand::of_before(view, overlay, one.address).is_some()
        });
    }
    commands.dedup();
    if restart {
        commands.extend(RESTART.map(str::to_owned));
    }
    if !pinned.is_empty() {
        commands.push(why.to_owned());
    }
    commands.extend(pinned);
    commands
}
