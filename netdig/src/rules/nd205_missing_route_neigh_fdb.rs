//! ND205: a route, neighbour or fdb entry that the backend sets for each lease is not there.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};

use super::prefixes::Index;
use super::renumber::{self, quoted};
use super::view::Overlay;
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
        // A host that is not in the overlay has nothing of it to miss.
        if overlay.own_subnet.is_none() {
            continue;
        }
        if let Some(draft) = no_device(view, overlay) {
            found.push(draft);
            continue;
        }
        let routes = exact_routes(view);
        match overlay.backend.as_deref() {
            Some("vxlan") => vxlan(view, overlay, &routes, found),
            Some("host-gw") => host_gw(view, overlay, &routes, found),
            Some("udp") => udp(overlay, &routes, found),
            _ => {}
        }
    }
}

/// This host has a lease, and nothing that could carry a packet to the others'.
fn no_device(view: &View<'_>, overlay: &Overlay<'_>) -> Option<Draft> {
    let missing = match overlay.backend.as_deref()? {
        "vxlan" => backend::vtep(view, overlay).is_none(),
        "udp" => overlay.links.is_empty(),
        _ => return None,
    };
    let (own, other) = (overlay.own_lease()?, overlay.remote_leases().next()?);
    if !missing {
        return None;
    }
    let title = format!(
        "flannel's device is missing: this host has the lease {}, and no route leads to {}",
        own.subnet,
        backend::named(other)
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

/// What is missing of several leases: the first of them, and how many.
#[derive(Default)]
struct Missing<'a> {
    wanted: Vec<Wanted<'a>>,
}

impl<'a> Missing<'a> {
    fn draft(
        &self,
        overlay: &Overlay<'_>,
        what: &str,
        entry: impl Fn(&Wanted<'_>) -> String,
        fix: impl Fn(&Wanted<'_>) -> String,
    ) -> Option<Draft> {
        let first = self.wanted.first()?;
        let more = backend::and_more(self.wanted.len());
        let title = format!(
            "{what} for {}{more} is missing: {}",
            named(first),
            entry(first)
        );
        let mut draft = Draft::new(format!("{what} {}", overlay.key()), title);
        for wanted in self.wanted.iter().take(SHOWN) {
            let origin = &wanted.lease.origin;
            draft = draft
                .seen(Evidence::new(
                    origin.source(),
                    origin.place(),
                    named(wanted),
                ))
                .fix(fix(wanted));
        }
        if self.wanted.len() > SHOWN {
            let rest = self.wanted.len() - SHOWN;
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
        if let Some(link) = backend::vtep_of(view, overlay, ipv6) {
            vxlan_of(view, overlay, routes, (link, ipv6), found);
        }
    }
}

fn vxlan_of(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    routes: &Routes<'_>,
    (link, ipv6): (&Link, bool),
    found: &mut Vec<Draft>,
) {
    let net = &view.context.net;
    let neighbours: FxHashMap<IpAddr, &str> = net
        .neighbours
        .iter()
        .filter(|one| one.link == link.name)
        .filter_map(|one| Some((one.address, one.mac.as_deref()?)))
        .collect();
    let fdb: FxHashSet<(String, IpAddr)> = net
        .fdb
        .iter()
        .filter(|one| one.link == link.name)
        .filter_map(|one| Some((one.mac.to_ascii_lowercase(), one.dst?)))
        .collect();
    let (mut route, mut neighbour, mut entry) =
        (Missing::default(), Missing::default(), Missing::default());
    let leases = overlay.remote_leases().filter(|lease| is_of(lease, link));
    for wanted in leases.filter_map(|lease| Wanted::of(lease, ipv6)) {
        let ways = routes.get(&wanted.subnet).map_or(&[][..], Vec::as_slice);
        if ways.is_empty() {
            route.wanted.push(wanted);
        }
        // With direct routing a peer on the same segment is reached without the tunnel.
        let direct = !ways.is_empty() && ways.iter().all(|way| way.dev() != Some(&link.name));
        let (Some(mac), Some(peer)) = (wanted.mac, wanted.peer) else {
            continue;
        };
        if direct {
            continue;
        }
        if !neighbours.contains_key(&wanted.subnet.network()) {
            neighbour.wanted.push(wanted);
        }
        if !fdb.contains(&(mac.to_ascii_lowercase(), peer)) {
            entry.wanted.push(wanted);
        }
    }
    let (name, dev) = (&link.name, quoted(&link.name));
    let drafts = [
        route.draft(
            overlay,
            "the route",
            |wanted| wanted.route(name),
            |wanted| format!("ip route replace {}", wanted.route(&dev)),
        ),
        neighbour.draft(
            overlay,
            "the neighbour",
            |wanted| wanted.neighbour(name),
            |wanted| format!("ip neigh replace {} nud permanent", wanted.neighbour(&dev)),
        ),
        entry.draft(
            overlay,
            "the fdb entry",
            |wanted| wanted.entry(name),
            |wanted| {
                let mac = quoted(wanted.mac.unwrap_or_default());
                format!("bridge fdb replace {mac} dev {dev} dst {}", wanted.peer())
            },
        ),
    ];
    let why = "With VXLAN flanneld sets three things for each lease: a route to the subnet through \
               its first address, a permanent neighbour that gives this address the peer's VTEP \
               MAC, and a forwarding entry that gives this MAC the peer's public address. Without \
               one of them the packets do not leave this host for the right one.";
    found.extend(
        drafts
            .into_iter()
            .flatten()
            .map(|draft| explained(draft, overlay, why)),
    );
}

/// Whether a lease is of the VXLAN that a device carries. Old leases name no VNI.
fn is_of(lease: &Lease, link: &Link) -> bool {
    let LinkKind::Vxlan(vxlan) = &link.kind else {
        return false;
    };
    lease.backend == "vxlan" && lease.vni.is_none_or(|vni| vni == vxlan.vni)
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
            missing.wanted.push(wanted);
        }
    }
    let why = "With host-gw flanneld sets one route for each lease, through the peer's own address. \
               Without it packets for that subnet take the default route, and nobody there knows it.";
    let draft = missing.draft(
        overlay,
        "the route",
        |wanted| wanted.gateway(),
        |wanted| format!("ip route replace {}", wanted.gateway()),
    );
    found.extend(draft.map(|draft| explained(draft, overlay, why)));
}

/// The backend udp has one route, for the whole network.
fn udp(overlay: &Overlay<'_>, routes: &Routes<'_>, found: &mut Vec<Draft>) {
    let (Some(&dev), Some(&network)) = (overlay.links.first(), overlay.networks.first()) else {
        return;
    };
    // Of whatever length flanneld set it by the configuration that it started with.
    let of_device = routes.values().flatten();
    let of_device = of_device.filter(|route| route.dev() == Some(dev));
    let ranges = Index::new(of_device.map(|route| (route.to, 0)));
    let mut leases = overlay.remote_leases().peekable();
    let led = |lease: &Lease| ranges.longest(lease.subnet.network()).is_some();
    if leases.peek().is_none() || leases.any(led) {
        return;
    }
    let title = format!("the route for the whole overlay is missing: {network} dev {dev}");
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
        .comes_of(Code(407))
}

#[cfg(test)]
mod tests {
    use crate::finding::{Code, Finding};
    use crate::rules::testing::findings;

    const CLUSTER: &str = r#"
        link eth0
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/32 dev flannel.1
        link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:01
        route 10.1.1.0/24 dev eth0 scope link
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan"}}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}
        key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:AA"}}
    "#;
    const ROUTE: &str = "route 192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink";
    const NEIGH: &str = "neigh 192.168.13.0 dev flannel.1 lladdr 02:00:00:00:00:aa PERMANENT";
    const FDB: &str = "fdb 02:00:00:00:00:aa dev flannel.1 dst 10.1.1.187";

    fn with(lines: &[&str]) -> Vec<Finding> {
        findings(&format!("{CLUSTER}\n{}", lines.join("\n")), 205)
    }

    #[test]
    fn a_whole_host_lacks_nothing() {
        assert!(with(&[ROUTE, NEIGH, FDB]).is_empty());
    }

    #[test]
    fn each_thing_that_is_missing_is_named_with_its_command() {
        for (there, title, fix) in [
            (
                [NEIGH, FDB],
                "the route for 192.168.13.0/24",
                "ip route replace 192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink",
            ),
            (
                [ROUTE, FDB],
                "the neighbour for 192.168.13.0/24",
                "ip neigh replace 192.168.13.0 lladdr 02:00:00:00:00:AA dev flannel.1 nud permanent",
            ),
            (
                [ROUTE, NEIGH],
                "the fdb entry for 192.168.13.0/24 (lease of 10.1.1.187)",
                "bridge fdb replace 02:00:00:00:00:AA dev flannel.1 dst 10.1.1.187",
            ),
        ] {
            let found = with(&there);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].title.starts_with(title), "{}", found[0].title);
            assert_eq!(found[0].fix[0], fix);
        }
    }

    #[test]
    fn a_neighbour_that_failed_is_none() {
        let failed = "neigh 192.168.13.0 dev flannel.1 FAILED";
        assert!(with(&[ROUTE, failed, FDB])[0].title.contains("neighbour"));
    }

    #[test]
    fn a_host_whose_device_is_gone_is_told_once() {
        let text = CLUSTER
            .lines()
            .filter(|line| !line.contains("dev flannel.1") && !line.contains("link flannel.1"))
            .collect::<Vec<_>>()
            .join("\n");
        let found = findings(&text, 205);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].title.starts_with("flannel's device is missing"));
    }

    #[test]
    fn direct_routing_needs_no_tunnel() {
        assert!(with(&["route 192.168.13.0/24 via 10.1.1.187 dev eth0"]).is_empty());
    }

    #[test]
    fn a_host_outside_of_the_overlay_misses_nothing() {
        let text = CLUSTER
            .replace("10.1.1.95", "10.9.9.9")
            .replace("192.168.69.0/32 dev flannel.1", "10.9.9.9/32 dev eth0");
        let stranger = text.replacen("\"PublicIP\":\"10.9.9.9\"", "\"PublicIP\":\"10.1.1.95\"", 1);
        assert!(findings(&stranger, 205).is_empty());
    }

    #[test]
    fn neighbours_that_went_with_the_vteps_address_come_of_that() {
        let text = CLUSTER.replace(
            "port 8472 mac 02:00:00:00:00:01",
            "port 8472 mac 02:00:00:00:00:77",
        );
        let found = findings(&format!("{text}\n{ROUTE}\n{FDB}"), 205);
        assert_eq!(found[0].cause, Some(Code(306)));
        assert_eq!(with(&[ROUTE, FDB])[0].cause, None);
    }

    const HOST_GW: &str = r#"
        link eth0
        address 10.1.1.95/24 dev eth0
        route 10.1.1.0/24 dev eth0 scope link
        key v2 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"host-gw"}}
        key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"host-gw"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"host-gw"}
        key v2 /coreos.com/network/subnets/192.168.14.0-24 {"PublicIP":"10.1.1.188","BackendType":"host-gw"}
    "#;

    #[test]
    fn several_are_one_finding() {
        let found = findings(HOST_GW, 205);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("and 1 more"), "{}", found[0].title);
        assert_eq!(found[0].fix.len(), 3);
    }

    #[test]
    fn the_tuns_one_route_is_missed_too() {
        let text = r#"
            link flannel0 tun
            address 192.168.69.0/16 dev flannel0
            key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}
            key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
            key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
        "#;
        assert_eq!(findings(text, 205).len(), 1);
        for there in ["192.168.0.0/16", "192.168.0.0/17", "192.168.13.0/24"] {
            let whole = format!("{text}\nroute {there} dev flannel0");
            assert!(findings(&whole, 205).is_empty(), "{there}");
        }
        let elsewhere = format!("{text}\nroute 192.168.69.0/24 dev flannel0");
        assert_eq!(findings(&elsewhere, 205).len(), 1);
    }
}
