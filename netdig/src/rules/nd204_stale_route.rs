//! ND204: a route into the overlay's range that no lease backs, or another way than the lease's.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::collisions::Links;
use super::renumber::quoted;
use super::view::Overlay;
use super::{Draft, Rule, View, backend, by_hand, collisions, diverted};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::{Answer, LinkKind, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
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

/// Routes that evidence and fix name.
const SHOWN: usize = 8;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let known = Known::new(view);
    // Of an overlay that this host is not in, its routes are its own affair.
    let joined = view.overlays.iter().filter(|one| one.is_joined());
    for overlay in joined.filter(|one| one.knows_leases()) {
        let (mut left, mut own) = (Vec::new(), Vec::new());
        let (mut away, mut refused) = (Vec::new(), Vec::new());
        for route in &view.context.net.routes {
            match stale(&known, overlay, route) {
                Some(Why::NoLease) => left.push(route),
                Some(Why::OwnSubnet) => own.push(route),
                Some(Why::OtherWay(lease)) => away.push((route, lease)),
                Some(Why::Refused(lease)) => refused.push((route, lease)),
                None => {}
            }
        }
        found.extend(left_draft(&known, overlay, &left));
        found.extend(own_draft(view, overlay, &own));
        found.extend(taken_draft(&known, overlay, &away));
        found.extend(taken_draft(&known, overlay, &refused));
        diverted::find(view, overlay, found);
    }
}

/// The view, and what is asked of it for each route.
struct Known<'v, 'a> {
    view: &'v View<'a>,
    links: Links<'a>,
    /// Neighbours' MACs by link and address.
    macs: FxHashMap<(&'a str, IpAddr), Vec<&'a str>>,
}

impl<'v, 'a> Known<'v, 'a> {
    fn new(view: &'v View<'a>) -> Known<'v, 'a> {
        let mut macs: FxHashMap<_, Vec<&str>> = FxHashMap::default();
        for one in &view.context.net.neighbours {
            let key = (one.link.as_str(), one.address);
            macs.entry(key).or_default().extend(one.mac.as_deref());
        }
        Known {
            view,
            links: Links::new(view),
            macs,
        }
    }

    fn kind(&self, route: &Route) -> Option<&'a LinkKind> {
        Some(&self.links.get(route.dev()?)?.kind)
    }
}

/// Why a route is none that flannel would set.
enum Why<'a> {
    NoLease,
    /// It takes packets of this host's own containers elsewhere.
    OwnSubnet,
    /// It takes packets of this lease elsewhere.
    OtherWay(&'a Lease),
    /// It answers packets of this lease with an error, or not at all.
    Refused(&'a Lease),
}

fn stale<'o>(known: &Known<'_, '_>, overlay: &'o Overlay<'_>, route: &Route) -> Option<Why<'o>> {
    let view = known.view;
    let inside = overlay
        .networks
        .iter()
        .any(|net| net.contains(&route.to) && net.prefix_len() < route.to.prefix_len());
    if !inside || route.table == TABLE_LOCAL {
        return None;
    }
    if overlay.is_own(route.to) {
        return takes_own(known, overlay, route).then_some(Why::OwnSubnet);
    }
    if by_hand::refuses(route) {
        let lease = overlay.lease_of(route.to.network())?;
        let refused = lease.subnet_of(route.to)?.contains(&route.to)
            && collisions::refused_lease(view, overlay, route, lease)
            && !is_denied(view, route);
        return refused.then_some(Why::Refused(lease));
    }
    // What is on a link of this host is a network of its own: ND101's or ND104's business.
    let via = route.via().filter(|_| route.kind == RouteKind::Unicast)?;
    // A range of the underlay that a router leads to is ND101's: it is not to be deleted.
    let through = is_through(overlay, route);
    if !through && !collisions::is_of_one_lease(view, overlay, route) {
        return None;
    }
    match overlay.lease_of(route.to.network()) {
        Some(lease) => {
            let whole = lease.subnet_of(route.to)?;
            let away = whole.contains(&route.to) && !leads_to(known, overlay, lease, route, via);
            (away && wins(view, route)).then_some(Why::OtherWay(lease))
        }
        // One address was taken out of the overlay on purpose: ND102's and ND103's own stop-gap.
        None if !through && collisions::is_pinned(overlay, route) => None,
        // A wider one with leases in it is somebody's summary of them.
        None => {
            let left = overlay.leases_in(route.to).next().is_none();
            (left && has_family(overlay, route.to) && is_asked(view, route)).then_some(Why::NoLease)
        }
    }
}

/// Whether any lease has a subnet of a family: those of flannel's before dual stack have none.
fn has_family(overlay: &Overlay<'_>, net: IpNet) -> bool {
    let ranges = overlay.ranges_of(net);
    let mut leased = ranges.flat_map(|range| overlay.leases_in(range).next());
    leased.next().is_some()
}

/// Whether somebody set a route that leads a part of this host's own subnet, or all of it, away
/// from what stands on this host. A daemon's does so on purpose.
fn takes_own(known: &Known<'_, '_>, overlay: &Overlay<'_>, route: &Route) -> bool {
    let view = known.view;
    let Some(via) = route.via() else {
        return false;
    };
    let is_peer = route.to.prefix_len() == route.to.max_prefix_len()
        && overlay.lease_of_host(route.to.addr()).is_some();
    // A bridge's ports, and machines behind a tap, are here.
    let stays = route.dev().is_none_or(|dev| match known.kind(route) {
        Some(LinkKind::Tun { tap }) => *tap,
        Some(LinkKind::Veth) => !known.links.is_card(dev),
        _ => known.links.is_inside(dev),
    });
    let of_overlay = overlay.is_own(IpNet::from(via)) || view.is_local(via);
    by_hand::is_set(route)
        && route.kind == RouteKind::Unicast
        && !(is_peer || stays || of_overlay)
        && wins(view, route)
}

fn is_through(overlay: &Overlay<'_>, route: &Route) -> bool {
    route.dev().is_some_and(|dev| overlay.links.contains(&dev))
}

/// Whether packets of this host's own come to it: the tables of a VRF, or of what comes from one
/// address, are others' business.
fn is_asked(view: &View<'_>, route: &Route) -> bool {
    route.table == TABLE_MAIN || wins(view, route)
}

/// Whether the kernel takes it: by its own look-up where one was for an address of it, by the
/// tables otherwise.
fn wins(view: &View<'_>, route: &Route) -> bool {
    let taker = collisions::taker(view, route.to);
    taker.is_some_and(|one| std::ptr::eq(one, route)) && !is_denied(view, route)
}

/// Whether the kernel's look-up says another way than this route.
fn is_denied(view: &View<'_>, route: &Route) -> bool {
    let asked = collisions::samples(route.to).find_map(|address| view.asked(address));
    asked.is_some_and(|lookup| match &lookup.answer {
        Answer::Way { dev, via, .. } => {
            let hop = |one: &crate::context::net::NextHop| one.dev == *dev && one.via == *via;
            by_hand::refuses(route) || !route.hops.iter().any(hop)
        }
        Answer::Refused(_) => !by_hand::refuses(route),
    })
}

/// Whether a route leads where flannel's would: to the peer, or through the overlay's device.
fn leads_to(
    known: &Known<'_, '_>,
    overlay: &Overlay<'_>,
    lease: &Lease,
    route: &Route,
    via: IpAddr,
) -> bool {
    if lease.publics().any(|peer| peer == via) {
        return true;
    }
    if is_through(overlay, route) {
        return !is_left_device(known, overlay, lease, route)
            && !is_of_another(known, overlay, lease, route, via);
    }
    // Where the peer is behind a router, that router's way is the peer's.
    let as_peer = |peer| known.view.way(peer).is_some_and(|way| way.via == Some(via));
    lease.publics().any(as_peer)
}

/// Whether the overlay's device is one that a change of backend left: this host and the lease
/// have the same one, and it is not the device's.
fn is_left_device(
    known: &Known<'_, '_>,
    overlay: &Overlay<'_>,
    lease: &Lease,
    route: &Route,
) -> bool {
    let backend = match known.kind(route) {
        Some(LinkKind::Vxlan(_)) => "vxlan",
        Some(LinkKind::Tun { tap: false }) => "udp",
        _ => return false,
    };
    let flannels = ["udp", "vxlan", "host-gw"].contains(&lease.backend.as_str());
    let own = overlay.own_lease();
    flannels && lease.backend != backend && own.is_some_and(|own| own.backend == lease.backend)
}

/// Whether a gateway on the overlay's device is another lease's. With VXLAN it is the first
/// address of the lease's subnet, and the neighbour's MAC says which peer that is; with IP in IP
/// the peer's public address.
fn is_of_another(
    known: &Known<'_, '_>,
    overlay: &Overlay<'_>,
    lease: &Lease,
    route: &Route,
    via: IpAddr,
) -> bool {
    let within = |net| lease.subnet_of(net).is_some_and(|own| own.contains(&via));
    if within(IpNet::from(via)) {
        return false;
    }
    let peers = route.dev().and_then(|dev| known.macs.get(&(dev, via)));
    let own = [&lease.vtep_mac, &lease.vtep_mac_v6];
    let is_own = |mac: &&str| {
        let mut own = own.into_iter().flatten();
        own.any(|own| own.eq_ignore_ascii_case(mac))
    };
    if peers.is_some_and(|macs| macs.iter().any(is_own)) {
        return false;
    }
    let vxlan = matches!(known.kind(route), Some(LinkKind::Vxlan(_)));
    overlay.lease_of_host(via).is_some() || vxlan && overlay.contains(via)
}

/// `192.168.77.0/24 via 10.1.1.177 dev eth0`.
fn named(route: &Route) -> String {
    let via = route
        .via()
        .map_or_else(String::new, |via| format!(" via {via}"));
    match route.dev().filter(|_| !by_hand::refuses(route)) {
        Some(dev) => format!("{}{via} dev {dev}", route.to),
        None => format!("{}{via}", route.to),
    }
}

/// Routes that no lease backs.
fn left_draft(known: &Known<'_, '_>, overlay: &Overlay<'_>, routes: &[&Route]) -> Option<Draft> {
    let first = routes.first()?;
    let (more, to) = (backend::and_more(routes.len()), first.to);
    let (lead, back) = match routes.len() {
        1 => ("leads", "it"),
        _ => ("lead", "them"),
    };
    let title = format!(
        "the route {}{more} {lead} into the overlay, and no lease backs {back}",
        named(first)
    );
    let count = overlay.leases.len();
    let origin = &overlay.leases[0].origin;
    let dev = first.dev().unwrap_or("an unknown device");
    let draft = Draft::new(format!("{} left", overlay.key()), title)
        .because(format!(
            "No host has a lease for {to}. Packets for it leave by {dev} and reach nobody who has \
             those addresses: a host that is gone left the route behind, or somebody set it by hand."
        ))
        .seen_all(routes.iter().take(SHOWN).map(|route| evidence(route)))
        .seen_all(overlay.origin.iter().cloned())
        .seen(Evidence::new(
            origin.source(),
            format!("{}/subnets", overlay.prefix),
            format!("{count} leases, none for {to}"),
        ))
        .fix_all(routes.iter().take(SHOWN).map(|route| by_hand::delete(route)));
    let draft = rest(confident(known.view, draft), routes.len());
    // Through the overlay's own device nothing but a lease is reached.
    if routes.iter().all(|route| is_through(overlay, route)) {
        return Some(draft);
    }
    Some(draft.fix(by_hand::STAYS).confidence(Confidence::Likely))
}

/// Routes that take packets from this host's own containers.
fn own_draft(view: &View<'_>, overlay: &Overlay<'_>, routes: &[&Route]) -> Option<Draft> {
    let first = routes.first()?;
    let own = match first.to {
        IpNet::V4(_) => overlay.own_subnet,
        IpNet::V6(_) => overlay.own_ipv6_subnet.or(overlay.own_subnet),
    };
    let own = own.map_or_else(String::new, |own| format!(" {own}"));
    let s = if routes.len() == 1 { "s" } else { "" };
    let title = format!(
        "the route {}{} take{s} packets away from this host's own subnet{own}",
        named(first),
        backend::and_more(routes.len())
    );
    let via = first
        .via()
        .map_or_else(String::new, |via| format!(" by {via}"));
    let draft = Draft::new(format!("{} own", overlay.key()), title)
        .because(format!(
            "The containers with addresses of {} are on this host, and what comes for them leaves \
             it{via}: they are not reached, neither from here nor from other hosts.",
            first.to
        ))
        .seen_all(routes.iter().take(SHOWN).map(|route| evidence(route)))
        .seen_all(overlay.origin.iter().cloned())
        .seen_all(overlay.own_lease().map(|lease| {
            let origin = &lease.origin;
            Evidence::new(origin.source(), origin.place(), backend::named(lease))
        }))
        .fix_all(
            routes
                .iter()
                .take(SHOWN)
                .map(|route| by_hand::delete(route)),
        );
    Some(confident(view, rest(draft, routes.len())))
}

/// Routes that take packets from the leases that they are for.
fn taken_draft(
    known: &Known<'_, '_>,
    overlay: &Overlay<'_>,
    routes: &[(&Route, &Lease)],
) -> Option<Draft> {
    let &(first, lease) = routes.first()?;
    let (more, to, of) = (
        backend::and_more(routes.len()),
        first.to,
        backend::named(lease),
    );
    let (verb, kind, fate) = match by_hand::refuses(first) {
        true => (
            "refuse",
            format!("{} ", first.kind.name()),
            "are refused here".to_owned(),
        ),
        false => {
            let via = first.via().map(|via| via.to_string());
            let by = via.or_else(|| first.dev().map(str::to_owned));
            (
                "take",
                String::new(),
                format!("go to {}", by.unwrap_or_default()),
            )
        }
    };
    let s = if routes.len() == 1 { "s" } else { "" };
    let verb = match verb {
        "take" => format!("take{s} packets away from"),
        _ => format!("refuse{s} packets for"),
    };
    let title = format!("the {kind}route {}{more} {verb} {of}", named(first));
    let group = if by_hand::refuses(first) {
        "refused"
    } else {
        "away"
    };
    let mut draft = Draft::new(format!("{} {group}", overlay.key()), title)
        .because(format!(
            "It is as long as the lease's own route or longer, so the kernel prefers it, and it \
             does not lead to the host that has the lease. Packets for {to} {fate}."
        ))
        .seen_all(overlay.origin.iter().cloned());
    for (route, lease) in routes.iter().take(SHOWN) {
        let origin = &lease.origin;
        draft = draft
            .seen(evidence(route))
            .seen(Evidence::new(
                origin.source(),
                origin.place(),
                backend::named(lease),
            ))
            .fix_all(cure(known, overlay, route, lease));
    }
    Some(confident(known.view, rest(draft, routes.len())))
}

fn evidence(route: &Route) -> Evidence {
    Evidence::new(
        "route",
        route.to_string(),
        format!("made by {}", route.protocol),
    )
}

fn rest(draft: Draft, count: usize) -> Draft {
    match count {
        0..=SHOWN => draft,
        _ => draft.fix(format!("# and so for {} more routes", count - SHOWN)),
    }
}

fn confident(view: &View<'_>, draft: Draft) -> Draft {
    let mut unread = view.context.unread.iter();
    draft.confidence(match unread.any(|one| one.part == Part::Registry) {
        true => Confidence::Likely,
        false => Confidence::Certain,
    })
}

/// Takes the route away, and sets the lease's own where it stands in that one's place.
fn cure(known: &Known<'_, '_>, overlay: &Overlay<'_>, route: &Route, lease: &Lease) -> Vec<String> {
    let view = known.view;
    let delete = by_hand::delete(route);
    let right = lease
        .subnet_of(route.to)
        .filter(|subnet| *subnet == route.to)
        .and_then(|subnet| right(view, overlay, lease, subnet));
    let others = view.routing.to(TABLE_MAIN, route.to).iter();
    let mut others = others.filter(|other| other.kind == RouteKind::Unicast);
    let is_there = others.any(|other| {
        let leads = |via| leads_to(known, overlay, lease, other, via);
        !std::ptr::eq(*other, route) && other.via().is_some_and(leads)
    });
    // A route without a metric has this one, and `replace` takes the place of its equal.
    let usual = if route.to.addr().is_ipv6() { 1024 } else { 0 };
    let equal = route.table == TABLE_MAIN && route.metric == usual && !by_hand::refuses(route);
    match right.filter(|_| !is_there) {
        Some(right) if equal => vec![right],
        Some(right) => vec![delete, right],
        None => vec![delete],
    }
}

/// The command that sets the route that flannel would.
fn right(view: &View<'_>, overlay: &Overlay<'_>, lease: &Lease, subnet: IpNet) -> Option<String> {
    let v6 = subnet.addr().is_ipv6();
    let direct = overlay
        .config
        .as_ref()
        .is_some_and(|config| config.direct_routing);
    let mut peers = lease.publics();
    let peer = peers.find(|peer| peer.is_ipv6() == v6);
    // Behind a router the peer's host cannot be a gateway.
    let on_link = peer.and_then(|peer| {
        let way = view.way(peer).filter(|way| way.via.is_none())?;
        Some((peer, way.dev.filter(|dev| !overlay.links.contains(dev))?))
    });
    match (lease.backend.as_str(), on_link) {
        ("vxlan", Some((peer, dev))) if direct => Some(format!(
            "ip route replace {subnet} via {peer} dev {}",
            quoted(dev)
        )),
        ("host-gw", Some((peer, dev))) => Some(format!(
            "ip route replace {subnet} via {peer} dev {}",
            quoted(dev)
        )),
        ("vxlan", _) => {
            let dev = quoted(&backend::vtep_of(view, overlay, v6)?.name);
            let via = subnet.network();
            Some(format!(
                "ip route replace {subnet} via {via} dev {dev} onlink"
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "nd204_tests.rs"]
mod tests;
