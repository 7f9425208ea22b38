//! What else lies in an overlay's range: links' prefixes and routes that are not the
//! overlay's own, and destinations that matter and go into the tunnel for want of a way of
//! their own.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustc_hash::{FxHashMap, FxHashSet};

use super::View;
use super::by_hand;
use super::view::Overlay;
use crate::context::flannel::Lease;
use crate::context::net::{Address, Link, LinkKind, Role, Route, RouteKind};
use crate::finding::Confidence;

/// Routes this short stand for the default one: VPN clients split it in two, four or eight
/// so that they need not replace it (0.0.0.0/1 and 128.0.0.0/1; 2000::/3).
pub const ALMOST_DEFAULT: u8 = 3;

/// Leases in the range of a route that are looked at.
const LEASES_ASKED: usize = 1000;

/// A prefix of the underlay that overlaps an overlay's range.
#[derive(Debug, Clone, Copy)]
pub struct Collision<'a> {
    pub net: IpNet,
    pub dev: Option<&'a str>,
    /// Absent of an address without a route.
    pub route: Option<&'a Route>,
    pub address: Option<&'a Address>,
    /// It is one lease's route that was left behind or set by hand, ND204's, or pins one address
    /// to the underlay: by itself it is no collision of ranges.
    pub weak: bool,
}

/// Links by name, and what they are good for.
pub struct Links<'a> {
    by_name: FxHashMap<&'a str, &'a Link>,
    /// Bridges with a network card or a tunnel as a port: the host's own connection.
    uplinks: FxHashSet<&'a str>,
    /// Bridges that containers are given by name.
    named: FxHashSet<&'a str>,
    /// Links with a prefix of their own, not only with single addresses.
    numbered: FxHashSet<&'a str>,
}

impl<'a> Links<'a> {
    pub fn new(view: &View<'a>) -> Links<'a> {
        let context = view.context;
        let links = context.net.links.iter();
        let ports = links.clone().filter(|link| match &link.kind {
            LinkKind::Physical | LinkKind::Vxlan(_) => true,
            // Bonds, VLANs, tunnels of Ethernet: all but what ends on this host.
            LinkKind::Other(kind) => kind != "dummy" && kind != "ifb",
            _ => false,
        });
        let docker = context
            .files
            .docker
            .iter()
            .filter_map(|one| one.bridge.as_deref());
        let cni = context
            .files
            .cni
            .iter()
            .filter_map(|one| one.bridge.as_deref());
        let usual = ["docker0", "cni0", "cbr0", "kube-bridge"];
        let addresses = context.net.addresses.iter();
        let prefixes = addresses
            .filter(|one| one.scope != "link" && one.net.prefix_len() < one.net.max_prefix_len());
        Links {
            numbered: prefixes.map(|one| one.link.as_str()).collect(),
            by_name: links.map(|link| (link.name.as_str(), link)).collect(),
            uplinks: ports.filter_map(|link| link.master.as_deref()).collect(),
            named: docker.chain(cni).chain(usual).collect(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&'a Link> {
        self.by_name.get(name).copied()
    }

    /// Whether it is a bridge that containers of the overlay usually stand on.
    pub fn is_container_bridge(&self, name: &str) -> bool {
        self.named.contains(name) && !self.uplinks.contains(name)
    }

    /// Whether what stands on it is on this host: no cable leads to others.
    pub fn is_inside(&self, name: &str) -> bool {
        match self.get(name).map(|link| &link.kind) {
            Some(LinkKind::Bridge) => !self.uplinks.contains(name),
            Some(LinkKind::Veth) => true,
            Some(LinkKind::Other(kind)) => kind == "dummy",
            _ => false,
        }
    }

    /// Whether others may stand behind a veth: the end of a container's has no prefix of its own
    /// on the host, the only card of a machine that is a container itself has one.
    pub fn is_card(&self, name: &str) -> bool {
        self.numbered.contains(name)
    }

    fn is_aside(&self, view: &View<'_>, name: &str) -> bool {
        let link = self.get(name);
        let vrf = |master: &String| matches!(self.get(master).map(|one| &one.kind), Some(LinkKind::Other(kind)) if kind == "vrf");
        name == "lo"
            // Services' addresses are bound to it: what they collide with is ND105's.
            || name == "kube-ipvs0"
            || view.is_overlay_link(name)
            || link.is_some_and(|link| link.loopback || link.master.as_ref().is_some_and(vrf))
    }
}

/// All of the underlay that overlaps `overlay`: the host's own links first.
pub fn collisions<'a>(
    view: &View<'a>,
    links: &Links<'a>,
    overlay: &Overlay<'a>,
) -> Vec<Collision<'a>> {
    let net = &view.context.net;
    let mut found: BTreeMap<(IpAddr, u8, Option<&str>), Collision<'a>> = BTreeMap::new();
    let mut alone = Vec::new();
    for route in &net.routes {
        if !overlay.overlaps(route.to) || !is_foreign(view, links, overlay, route) {
            continue;
        }
        // Where leases are known, ND204 tells of it: one route, one finding.
        let of_lease = is_of_one_lease(view, overlay, route);
        if of_lease && overlay.knows_leases() && !is_pinned(overlay, route) {
            continue;
        }
        let one = Collision {
            net: route.to,
            dev: route.dev(),
            route: Some(route),
            address: None,
            weak: of_lease || is_pinned(overlay, route),
        };
        // Of several routes to one prefix by one link, the first of the lowest metric.
        let key = (route.to.network(), route.to.prefix_len(), route.dev());
        let best = found.entry(key).or_insert(one);
        if best.route.is_some_and(|best| best.metric > route.metric) {
            *best = one;
        }
    }
    for address in &net.addresses {
        let whole = match address.peer {
            // A point-to-point address stands for itself and for the other end.
            Some(peer) => peer.trunc(),
            None => address.net.trunc(),
        };
        if !overlay.overlaps(whole) || !is_foreign_address(view, links, overlay, address, whole) {
            continue;
        }
        let dev = Some(address.link.as_str());
        match found.get_mut(&(whole.network(), whole.prefix_len(), dev)) {
            Some(known) => known.address = Some(address),
            None => alone.push(Collision {
                net: whole,
                dev,
                route: None,
                address: Some(address),
                weak: false,
            }),
        }
    }
    let mut all: Vec<Collision<'a>> = found.into_values().chain(alone).collect();
    all.sort_by_key(|one| one.address.is_none());
    all
}

/// Whether a route is not the overlay's own, nor of its containers.
fn is_foreign(view: &View<'_>, links: &Links<'_>, overlay: &Overlay<'_>, route: &Route) -> bool {
    let refuses = by_hand::refuses(route);
    if !refuses && route.kind != RouteKind::Unicast {
        return false;
    }
    if route.to.prefix_len() <= ALMOST_DEFAULT || !view.routing.is_used(route.table) {
        return false;
    }
    if refuses {
        return is_in_the_way(view, overlay, route);
    }
    let devs = || route.hops.iter().filter_map(|hop| hop.dev.as_deref());
    if devs().any(|dev| links.is_aside(view, dev)) {
        return false;
    }
    let containers = |dev| is_of_containers(links, overlay, dev, route.to);
    !devs().any(containers) && !is_to_a_lease(overlay, route)
}

/// A route that refuses is there on purpose: a range that must not leak out by the default
/// route. It is in the way only where it takes another host's lease, or a part of one, from the
/// overlay's own route.
fn is_in_the_way(view: &View<'_>, overlay: &Overlay<'_>, route: &Route) -> bool {
    if overlay.is_own(route.to) {
        return false;
    }
    let mut within = overlay.ranges_of(route.to);
    if !within.any(|range| range.contains(&route.to) && range != route.to) {
        return false;
    }
    let mut leases = overlay.leases_in(route.to).take(LEASES_ASKED);
    leases.any(|lease| refused_lease(view, overlay, route, lease))
}

/// Whether a route that refuses wins for a part of a lease of another host.
pub fn refused_lease(view: &View<'_>, overlay: &Overlay<'_>, route: &Route, lease: &Lease) -> bool {
    let Some(subnet) = lease.subnet_of(route.to) else {
        return false;
    };
    let part = if subnet.contains(&route.to) {
        route.to
    } else {
        subnet
    };
    // Behind a lease's route one of its length with a higher metric waits until that is gone.
    let beside = view.routing.to(route.table, route.to);
    let alone = beside.iter().all(|one| super::by_hand::refuses(one));
    let usual = if subnet.addr().is_ipv6() { 1024 } else { 0 };
    let waits = subnet == route.to && alone && route.metric > usual;
    !waits
        && overlay.is_remote(lease)
        && taker(view, part).is_some_and(|one| std::ptr::eq(one, route))
}

/// What stands on a container bridge with a subnet's length is a lease of this host, be it an
/// old one: ND106 compares it.
fn is_of_containers(links: &Links<'_>, overlay: &Overlay<'_>, dev: &str, net: IpNet) -> bool {
    let own = links.is_inside(dev) && overlay.is_own(net);
    let length = overlay.subnet_len(net.addr().is_ipv6());
    let subnet = links.is_container_bridge(dev) && net.prefix_len() >= length;
    own || subnet
}

/// host-gw's routes, `S via PublicIP`, and those that look like one where no lease is known
/// or left: they are the overlay's own, and other rules judge them.
fn is_to_a_lease(overlay: &Overlay<'_>, route: &Route) -> bool {
    let Some(via) = route.via() else {
        return false;
    };
    if let Some(lease) = overlay.lease_of_host(via)
        && lease.subnets().any(|net| net.contains(&route.to))
    {
        return true;
    }
    let by_gateway = match overlay.backend.as_deref() {
        Some(backend) => backend == "host-gw" || backend == "alloc",
        None => overlay.links.is_empty(),
    };
    let direct = overlay
        .config
        .as_ref()
        .is_some_and(|config| config.direct_routing);
    let length = overlay.subnet_len(route.to.addr().is_ipv6());
    // With DirectRouting, and with subnet.env alone, nothing but its length tells a lease's.
    (by_gateway || direct || !overlay.knows_leases() && overlay.backend.as_deref() != Some("udp"))
        && route.to.prefix_len() == length
        && overlay
            .ranges_of(route.to)
            .any(|range| range.contains(&route.to))
}

/// Whether a route through a gateway takes one lease's packets elsewhere, or a part of them, or
/// is left of a lease that is gone, or one refuses them: ND204 speaks of it.
pub fn is_of_one_lease(view: &View<'_>, overlay: &Overlay<'_>, route: &Route) -> bool {
    let lease = || overlay.lease_of(route.to.network())?.subnet_of(route.to);
    let part = || lease().is_some_and(|net| net.contains(&route.to) && net != route.to);
    let whole = || lease() == Some(route.to);
    match by_hand::refuses(route) {
        true => part() || whole(),
        false => route.via().is_some() && (looks_like_a_leases(view, overlay, route) || part()),
    }
}

/// Whether somebody took one address out of the overlay on purpose: where others of its range
/// are the underlay's too, more tells of it.
pub fn is_pinned(overlay: &Overlay<'_>, route: &Route) -> bool {
    route.to.prefix_len() == route.to.max_prefix_len()
        && route.kind == RouteKind::Unicast
        && by_hand::is_set(route)
        && overlay.lease_of(route.to.addr()).is_none()
}

/// A route as flannel and its friends set one for a lease: of a subnet's length, and not by a
/// routing daemon or DHCP. Where no lease has it, one of a static configuration, or to the
/// router that all else goes to, leads to a network of the underlay's.
fn looks_like_a_leases(view: &View<'_>, overlay: &Overlay<'_>, route: &Route) -> bool {
    let leased = || overlay.lease_of(route.to.network()).is_some();
    by_hand::is_set(route)
        && route.to.prefix_len() >= overlay.subnet_len(route.to.addr().is_ipv6())
        && overlay
            .ranges_of(route.to)
            .any(|range| range != route.to && range.contains(&route.to))
        && (!overlay.knows_leases() || leased() || !is_to_a_network(view, route))
}

/// Whether a static configuration has it, or its gateway is the default route's.
fn is_to_a_network(view: &View<'_>, route: &Route) -> bool {
    let all = match route.to {
        IpNet::V4(_) => IpNet::V4(Ipv4Net::default()),
        IpNet::V6(_) => IpNet::V6(Ipv6Net::default()),
    };
    let mut defaults = view.routing.to(route.table, all).iter();
    route.protocol == "static"
        || route.via().is_some() && defaults.any(|default| default.via() == route.via())
}

fn is_foreign_address(
    view: &View<'_>,
    links: &Links<'_>,
    overlay: &Overlay<'_>,
    address: &Address,
    whole: IpNet,
) -> bool {
    whole.prefix_len() > ALMOST_DEFAULT
        && address.scope != "link"
        && !links.is_aside(view, &address.link)
        && !is_of_containers(links, overlay, &address.link, whole)
}

/// A destination that matters and leaves by an overlay's link, though no lease has it.
#[derive(Debug, Clone, Copy)]
pub struct Caught<'a> {
    pub address: IpAddr,
    pub role: Role,
    pub dev: &'a str,
    /// Whether the kernel said so itself.
    pub asked: bool,
    pub confidence: Confidence,
}

/// Those that `overlay` caught, in order of address. `collides` tells whether anything of the
/// underlay is known to lie in its range.
pub fn caught<'v>(view: &'v View<'_>, overlay: &'v Overlay<'_>, collides: bool) -> Vec<Caught<'v>> {
    let wanted = wanted(view, overlay);
    let all = wanted.into_iter();
    all.filter_map(|(address, (role, of_host))| {
        let way = view.way(address)?;
        let dev = way.dev.filter(|dev| overlay.links.contains(dev))?;
        let is_peer = role == Role::Peer;
        // A peer behind its own tunnel is caught even where a lease's subnet has its address.
        let leased = overlay.lease_of(address).is_some() || overlay.is_own(address.into());
        if leased && !is_peer {
            return None;
        }
        let confidence = match (overlay.knows_leases() || role == Role::Gateway, collides) {
            (true, _) if way.asked => Confidence::Certain,
            // A packet's mark or source may still take it elsewhere than the tables say.
            (true, _) => Confidence::Likely,
            // Routes of one lease each, through its first address: what goes there is in a lease.
            (false, _) if overlay.backend.as_deref() != Some("udp") && way.via.is_some() => {
                return None;
            }
            (false, true) => Confidence::Likely,
            (false, false) if of_host => Confidence::Inconclusive,
            (false, false) => return None,
        };
        Some(Caught {
            address,
            role,
            dev,
            asked: way.asked,
            confidence,
        })
    })
    .collect()
}

/// Destinations that must be reached by the underlay, each with what it is, and whether the
/// host itself needs it (or only a container).
fn wanted(view: &View<'_>, overlay: &Overlay<'_>) -> BTreeMap<IpAddr, (Role, bool)> {
    let mut wanted: BTreeMap<IpAddr, (Role, bool)> = BTreeMap::new();
    let mut add = |address: IpAddr, role: Role, of_host: bool| {
        if !view.is_local(address) {
            let known = wanted.entry(address).or_insert((role, of_host));
            *known = (known.0.min(role), known.1 || of_host);
        }
    };
    let critical = [Role::Nameserver, Role::Gateway, Role::Etcd, Role::Peer];
    // The next hops of the overlay's own routes are peers' devices, no gateways of the underlay.
    let hops = view.context.net.routes.iter().flat_map(|route| &route.hops);
    let gateways: BTreeSet<IpAddr> = hops
        .filter(|hop| {
            hop.dev
                .as_deref()
                .is_none_or(|dev| !overlay.links.contains(&dev))
        })
        .filter_map(|hop| hop.via)
        .collect();
    for lookup in &view.context.net.lookups {
        let roles = lookup.roles.iter().filter(|role| critical.contains(role));
        let is_ours = gateways.contains(&lookup.destination);
        for role in roles.filter(|role| **role != Role::Gateway || is_ours) {
            // Whose nameserver it is, the files say.
            add(lookup.destination, *role, *role != Role::Nameserver);
        }
    }
    for nameserver in &view.context.files.nameservers {
        add(nameserver.address, Role::Nameserver, true);
    }
    for container in &view.context.containers {
        for nameserver in &container.nameservers {
            add(nameserver.address, Role::Nameserver, false);
        }
    }
    for lease in &overlay.leases {
        for public in lease.publics() {
            add(public, Role::Peer, true);
        }
    }
    wanted
}

/// The route that takes a part of a range, by an address in it that is not this host's own.
pub fn taker<'a>(view: &View<'a>, part: IpNet) -> Option<&'a Route> {
    samples(part).find_map(|address| {
        let route = view.routing.way(address)?;
        (route.kind != RouteKind::Local && route.kind != RouteKind::Broadcast).then_some(route)
    })
}

/// A few addresses of a range, from its ends.
pub fn samples(part: IpNet) -> impl Iterator<Item = IpAddr> {
    let (first, last) = (part.network(), part.broadcast());
    let first_hosts = part.hosts().take(3);
    first_hosts.chain([first, last])
}

/// Remote leases that a route of the underlay takes from the overlay, by route.
pub fn swallowed<'a, 'v>(
    view: &View<'a>,
    overlay: &'v Overlay<'a>,
    collisions: &[Collision<'a>],
) -> FxHashMap<*const Route, Vec<&'v Lease>> {
    let strong = collisions.iter().filter(|one| !one.weak);
    let routes = strong.filter_map(|one| one.route);
    let foreign: FxHashSet<*const Route> = routes.clone().map(std::ptr::from_ref).collect();
    let mut taken: FxHashMap<*const Route, Vec<&Lease>> = FxHashMap::default();
    if foreign.is_empty() {
        return taken;
    }
    for lease in overlay.remote_leases() {
        for route in lease.subnets().filter_map(|net| taker(view, net)) {
            if foreign.contains(&std::ptr::from_ref(route)) {
                taken.entry(route).or_default().push(lease);
            }
        }
    }
    // A route to a part of a lease's subnet takes that part.
    for route in routes {
        let Some(lease) = overlay.lease_of(route.to.network()) else {
            continue;
        };
        let subnet = lease.subnet_of(route.to);
        let within = subnet.is_some_and(|wide| wide.contains(&route.to) && wide != route.to);
        let own = overlay.is_own(lease.subnet);
        if within && !own && taker(view, route.to).is_some_and(|one| std::ptr::eq(one, route)) {
            let leases = taken.entry(route).or_default();
            if !leases.iter().any(|known| std::ptr::eq(*known, lease)) {
                leases.push(lease);
            }
        }
    }
    taken
}
