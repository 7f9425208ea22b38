//! ND205: a route, neighbour or fdb entry that the backend sets for each lease is not there.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};

use super::prefixes::Index;
use super::renumber::{self, quoted};
use super::view::{Overlay, flannel_backend};
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::{Link, LinkKind, Route, RouteKind};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(205),
    name: "missing-route-neigh-fdb",
    severity: Severity::Critical,
    title: "a lease lacks its route, its neighbour or its forwarding entry in the kernel",
    needs: &[
        Part::Routes,
        Part::Links,
        Part::Addresses,
        Part::Neighbours,
        Part::Fdb,
        Part::Registry,
    ],
    page: include_str!("../../../docs/playbooks/nd205_missing_route_neigh_fdb.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        // A host that is not in the overlay has nothing of it to miss; of one that runs with
        // another backend than the configuration names, ND406 tells.
        let other = |own: &Lease| Some(&own.backend) != overlay.backend.as_ref();
        if overlay.own_subnet.is_none() || overlay.own_lease().is_some_and(other) {
            continue;
        }
        found.extend(no_device(view, overlay));
        let routes = exact_routes(view);
        match overlay.backend.as_deref() {
            Some("vxlan") => vxlan(view, overlay, &routes, found),
            Some("host-gw") => host_gw(view, overlay, &routes, found),
            Some("udp") => udp(view, overlay, &routes, found),
            _ => {}
        }
    }
}

/// This host has a lease, and nothing that could carry a packet to the others' of one family.
fn no_device(view: &View<'_>, overlay: &Overlay<'_>) -> Option<Draft> {
    let own = overlay.own_lease()?;
    let carried = |ipv6: bool| match overlay.backend.as_deref() {
        Some("vxlan") => backend::vtep_of(view, overlay, ipv6).is_some(),
        Some("udp") => ipv6 || tun(view, overlay).is_some(),
        _ => true,
    };
    let missed = |ipv6: bool| {
        let mine = own.subnet_in(ipv6).filter(|_| !carried(ipv6))?;
        let mut others = overlay.remote_leases();
        let other = others.find_map(|lease| {
            let wanted = Wanted::of(lease, ipv6)?;
            (lease.backend == own.backend && !backend::lacks_mac(lease)).then_some(wanted)
        })?;
        Some((mine, other, ipv6))
    };
    let (mine, other, ipv6) = missed(false).or_else(|| missed(true))?;
    let title = format!(
        "{}: this host has the lease {mine}, and no route leads to {}",
        absent(view, own, ipv6),
        named(&other)
    );
    let draft = Draft::new(format!("{} device", overlay.key()), title)
        .because(
            "flanneld makes the device when it starts, and with the backend udp it goes when flanneld \
             ends. Without it packets for other hosts' subnets take the default route, and nobody \
             there knows them.",
        )
        .seen(Evidence::new(own.origin.source(), own.origin.place(), backend::named(own)))
        .seen_all(overlay.origin.iter().cloned())
        .fix("systemctl status flanneld; journalctl -u flanneld -n 50")
        .fix("systemctl restart flanneld")
        .comes_of(Code(304))
        .comes_of(Code(405));
    Some(draft)
}

/// What has become of the device. One that is set down loses its addresses of IPv6, and one
/// without an address is not known for the overlay's.
fn absent(view: &View<'_>, own: &Lease, ipv6: bool) -> String {
    let mut links = view.context.net.links.iter();
    let there = links.find(|link| {
        let flannels = flannel_backend(link) == Some("vxlan") && !view.is_overlay_link(&link.name);
        flannels && backend::is_of(own, link) && backend::carries_ipv6(view, link) == ipv6
    });
    match there {
        Some(link) if link.up => format!("{} has no address", link.name),
        Some(link) => format!("{} is down", link.name),
        None if ipv6 && own.subnet_in(false).is_some() => {
            "flannel's device for IPv6 is missing".to_owned()
        }
        None => "flannel's device is missing".to_owned(),
    }
}

type Routes<'a> = FxHashMap<IpNet, Vec<&'a Route>>;

fn exact_routes<'a>(view: &View<'a>) -> Routes<'a> {
    let mut routes: Routes<'a> = FxHashMap::default();
    let unicast = view.context.net.routes.iter();
    for route in unicast.filter(|route| route.kind == RouteKind::Unicast) {
        routes.entry(route.to).or_default().push(route);
    }
    routes
}

/// What the backend sets for one lease and one family of addresses.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    lease: &'a Lease,
    subnet: IpNet,
    mac: Option<&'a str>,
    peer: Option<IpAddr>,
}

impl<'a> Wanted<'a> {
    fn of(lease: &'a Lease, ipv6: bool) -> Option<Wanted<'a>> {
        Some(Wanted {
            lease,
            subnet: lease.subnet_in(ipv6)?,
            mac: lease.vtep_mac_of(ipv6),
            peer: lease.public_of(ipv6),
        })
    }

    fn evidence(&self, lacks: &[Lack]) -> Evidence {
        let origin = &self.lease.origin;
        let whats: Vec<&str> = lacks.iter().map(|one| one.what).collect();
        let what = format!("{} lacks {}", named(self), whats.join(" and "));
        Evidence::new(origin.source(), origin.place(), what)
    }

    fn route(&self, dev: &str) -> String {
        format!(
            "{} via {} dev {dev} onlink",
            self.subnet,
            self.subnet.network()
        )
    }

    fn neighbour(&self, dev: &str) -> String {
        let mac = self.mac.unwrap_or_default();
        format!("{} lladdr {mac} dev {dev}", self.subnet.network())
    }

    fn entry(&self, dev: &str) -> String {
        format!(
            "{} dst {} dev {dev}",
            self.mac.unwrap_or_default(),
            self.peer()
        )
    }

    fn gateway(&self) -> String {
        format!("{} via {}", self.subnet, self.peer())
    }

    fn peer(&self) -> String {
        self.peer.map_or_else(String::new, |peer| peer.to_string())
    }
}

/// One thing that is missing of one lease: its name, what it looks like, its command.
struct Lack {
    what: &'static str,
    entry: String,
    fix: String,
}

/// What is missing of several leases: the first of them, and how many.
#[derive(Default)]
struct Missing<'a> {
    leases: Vec<(Wanted<'a>, Vec<Lack>)>,
}

impl<'a> Missing<'a> {
    fn add(&mut self, wanted: Wanted<'a>, lacks: Vec<Lack>) {
        if !lacks.is_empty() {
            self.leases.push((wanted, lacks));
        }
    }

    /// `dev` is the device whose entries they are, or nothing.
    fn draft(&self, overlay: &Overlay<'_>, dev: &str) -> Option<Draft> {
        let (first, lacks) = self.leases.first()?;
        let more = backend::and_more(self.leases.len());
        let whats: Vec<&str> = lacks.iter().map(|one| one.what).collect();
        let entries: Vec<&str> = lacks.iter().map(|one| one.entry.as_str()).collect();
        let title = format!(
            "{} for {}{more} {} missing: {}",
            whats.join(" and "),
            named(first),
            if lacks.len() == 1 { "is" } else { "are" },
            entries.join("; ")
        );
        let mut draft = Draft::new(format!("{dev} {}", overlay.key()), title);
        for (wanted, lacks) in self.leases.iter().take(SHOWN) {
            draft = draft.seen(wanted.evidence(lacks));
            draft = draft.fix_all(lacks.iter().map(|one| one.fix.clone()));
        }
        if self.leases.len() > SHOWN {
            let rest = self.leases.len() - SHOWN;
            draft = draft.fix(format!(
                "# and so on for {rest} more leases; or: systemctl restart flanneld"
            ));
        } else {
            draft = draft.fix("# or let flanneld set all of them: systemctl restart flanneld");
        }
        Some(draft)
    }
}

/// `192.168.13.0/24 (lease of 10.1.1.187)`, with the subnet of the family that is meant.
fn named(wanted: &Wanted<'_>) -> String {
    let named = backend::named(wanted.lease);
    named.replacen(
        &wanted.lease.subnet.to_string(),
        &wanted.subnet.to_string(),
        1,
    )
}

/// Leases that are listed one by one.
const SHOWN: usize = 4;

fn vxlan(view: &View<'_>, overlay: &Overlay<'_>, routes: &Routes<'_>, found: &mut Vec<Draft>) {
    for ipv6 in [false, true] {
        let Some(link) = backend::vtep_of(view, overlay, ipv6) else {
            continue;
        };
        let leases = overlay.remote_leases();
        let leases = leases.filter(|lease| backend::is_of(lease, link));
        // flanneld sets nothing for one without a MAC: ND306.
        let leases = leases.filter(|lease| !backend::lacks_mac(lease));
        let wanted = leases.filter_map(|lease| Wanted::of(lease, ipv6));
        let entries = Entries::of(view, overlay, link);
        let mut missing = Missing::default();
        for wanted in wanted {
            missing.add(wanted, entries.lacking(&wanted, routes));
        }
        let draft = match link.up {
            true => missing.draft(overlay, &link.name),
            false => down(
                overlay,
                link,
                missing.leases.iter().map(|(wanted, _)| wanted),
            ),
        };
        let why = "With VXLAN flanneld sets three things for each lease: a route to the subnet \
                   through its first address, a permanent neighbour that gives this address the \
                   peer's VTEP MAC, and a forwarding entry that gives this MAC the peer's public \
                   address. Without one of them the packets do not leave this host for the right \
                   one.";
        found.extend(draft.map(|draft| explained(draft, overlay, why)));
    }
}

/// A device that is down: the kernel took its routes away, and does not bring them back.
fn down<'a>(
    overlay: &Overlay<'_>,
    link: &Link,
    leases: impl Iterator<Item = &'a Wanted<'a>>,
) -> Option<Draft> {
    let leases: Vec<&Wanted<'_>> = leases.collect();
    let first = leases.first()?;
    let title = format!(
        "{} is down: nothing leads to {}{}",
        link.name,
        named(first),
        backend::and_more(leases.len())
    );
    let draft = Draft::new(format!("{} {}", link.name, overlay.key()), title)
        .seen(Evidence::new("link", link.name.clone(), "down"))
        .seen_all(leases.iter().take(SHOWN).map(|wanted| {
            let origin = &wanted.lease.origin;
            Evidence::new(origin.source(), origin.place(), named(wanted))
        }))
        .fix(format!("ip link set {} up", renumber::link(&link.name)))
        .fix("# its routes went when it was set down, and flanneld sets them when it starts:")
        .fix("systemctl restart flanneld");
    Some(draft)
}

/// Neighbours and forwarding entries of one device.
struct Entries<'a> {
    link: &'a Link,
    neighbours: FxHashSet<IpAddr>,
    fdb: FxHashSet<(String, IpAddr)>,
    /// MACs that several leases name.
    twins: FxHashSet<String>,
}

impl<'a> Entries<'a> {
    fn of(view: &View<'_>, overlay: &Overlay<'_>, link: &'a Link) -> Entries<'a> {
        let net = &view.context.net;
        let neighbours = net.neighbours.iter();
        let fdb = net.fdb.iter();
        Entries {
            link,
            twins: backend::twins(overlay).into_keys().collect(),
            neighbours: neighbours
                .filter(|one| one.link == link.name && one.mac.is_some())
                .map(|one| one.address)
                .collect(),
            fdb: fdb
                .filter(|one| one.link == link.name)
                .filter_map(|one| Some((one.mac.to_ascii_lowercase(), one.dst?)))
                .collect(),
        }
    }

    fn lacking(&self, wanted: &Wanted<'_>, routes: &Routes<'_>) -> Vec<Lack> {
        let (name, dev) = (&self.link.name, quoted(&self.link.name));
        let ways = routes.get(&wanted.subnet).map_or(&[][..], Vec::as_slice);
        let mut lacks = Vec::new();
        if ways.is_empty() {
            lacks.push(Lack {
                what: "the route",
                entry: wanted.route(name),
                fix: format!("ip route replace {}", wanted.route(&dev)),
            });
        }
        // With direct routing a peer on the same segment is reached without the tunnel.
        let direct = !ways.is_empty() && ways.iter().all(|way| way.dev() != Some(name));
        let (Some(mac), Some(peer), false) = (wanted.mac, wanted.peer, direct) else {
            return lacks;
        };
        if !self.neighbours.contains(&wanted.subnet.network()) {
            lacks.push(Lack {
                what: "the neighbour",
                entry: wanted.neighbour(name),
                fix: format!("ip neigh replace {} nud permanent", wanted.neighbour(&dev)),
            });
        }
        // Of two leases with one MAC only one can have the entry: ND306.
        let twin = self.twins.contains(&mac.to_ascii_lowercase());
        if !twin && !self.fdb.contains(&(mac.to_ascii_lowercase(), peer)) {
            lacks.push(Lack {
                what: "the fdb entry",
                entry: wanted.entry(name),
                fix: format!("bridge fdb replace {mac} dev {dev} dst {peer}"),
            });
        }
        lacks
    }
}

fn host_gw(view: &View<'_>, overlay: &Overlay<'_>, routes: &Routes<'_>, found: &mut Vec<Draft>) {
    let mut missing = Missing::default();
    let leases = overlay
        .remote_leases()
        .filter(|one| one.backend == "host-gw");
    let families = [false, true].into_iter();
    let wanted = leases.flat_map(|lease| {
        let of = |ipv6| Wanted::of(lease, ipv6);
        families.clone().filter_map(of)
    });
    for wanted in wanted {
        let Some(peer) = wanted.peer else {
            continue;
        };
        // One that is not on the link cannot be set: ND208.
        let on_link = view.way(peer).is_none_or(|way| way.via.is_none());
        if on_link && !routes.contains_key(&wanted.subnet) {
            let lack = Lack {
                what: "the route",
                entry: wanted.gateway(),
                fix: format!("ip route replace {}", wanted.gateway()),
            };
            missing.add(wanted, vec![lack]);
        }
    }
    let why = "With host-gw flanneld sets one route for each lease, through the peer's own address. \
               Without it packets for that subnet take the default route, and nobody there knows it.";
    let draft = missing.draft(overlay, "the route");
    found.extend(draft.map(|draft| explained(draft, overlay, why)));
}

/// The device of the backend udp: one of another backend may be left from before.
fn tun<'a>(view: &View<'a>, overlay: &Overlay<'_>) -> Option<&'a Link> {
    let names = overlay.links.iter();
    let mut links = names.filter_map(|name| view.context.net.link(name));
    links.find(|link| matches!(link.kind, LinkKind::Tun { tap: false }))
}

/// The backend udp has one route, for the whole network.
fn udp(view: &View<'_>, overlay: &Overlay<'_>, routes: &Routes<'_>, found: &mut Vec<Draft>) {
    let (Some(link), Some(&network)) = (tun(view, overlay), overlay.networks.first()) else {
        return;
    };
    let dev = link.name.as_str();
    // Of whatever length flanneld set it by the configuration that it started with.
    let of_device = routes.values().flatten();
    let of_device = of_device.filter(|route| route.dev() == Some(dev));
    let ranges = Index::new(of_device.map(|route| (route.to, 0)));
    let mut leases = overlay.remote_leases().peekable();
    let led = |lease: &Lease| ranges.longest(lease.subnet.network()).is_some();
    if leases.peek().is_none() || leases.any(led) {
        return;
    }
    let title = match link.up {
        false => format!(
            "{dev} is down: the route for the whole overlay went with it, {network} dev {dev}"
        ),
        true => format!("the route for the whole overlay is missing: {network} dev {dev}"),
    };
    let why = "With the backend udp all remote subnets are reached by one route through the tun \
               device. Without it packets for them take the default route, and nobody there knows \
               them.";
    let draft = Draft::new(format!("the network's route {}", overlay.key()), title)
        .fix(format!(
            "ip link set {} up && ip route replace {network} dev {}",
            renumber::link(dev),
            quoted(dev)
        ))
        .fix("# or: systemctl restart flanneld");
    found.push(explained(draft, overlay, why));
}

fn explained(draft: Draft, overlay: &Overlay<'_>, why: &str) -> Draft {
    draft
        .because(why)
        .seen_all(overlay.origin.iter().cloned())
        // A VTEP that is given another address loses its neighbours; a configuration that was
        // changed under the hosts is not what their daemons set.
        .comes_of(Code(306))
        .comes_of(Code(304))
        .comes_of(Code(407))
}

#[cfg(test)]
#[path = "nd205_tests.rs"]
mod tests;
