//! ND104: a bridge's range is another bridge's as well, or the LAN's.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::collisions::Links;
use super::prefixes::Index;
use super::{Draft, Rule, View, nd106_bridge_subnet_mismatch, renumber};
use crate::context::Part;
use crate::context::net::{LinkKind, RouteKind};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(104),
    name: "bridge-collision",
    severity: Severity::High,
    title: "two bridges have one range, or a bridge has the LAN's",
    needs: &[Part::Links, Part::Addresses, Part::Routes],
    page: include_str!("../../../docs/playbooks/nd104_bridge_collision.md"),
    check,
};

/// A bridge without a cable, with one of its ranges.
struct Bridge<'a> {
    name: &'a str,
    net: IpNet,
}

/// Somebody else who has a part of it.
struct Other<'a> {
    dev: &'a str,
    net: IpNet,
    evidence: Evidence,
}

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let links = Links::new(view);
    let bridges = bridges(view, &links);
    if bridges.is_empty() {
        return;
    }
    let index = Index::new(bridges.iter().zip(0..).map(|(bridge, at)| (bridge.net, at)));
    let mut others: Vec<Vec<Other<'_>>> = bridges.iter().map(|_| Vec::new()).collect();
    let mut add = |net: IpNet, dev, connected: bool, evidence: &dyn Fn() -> Evidence| {
        let within = index.within(net).iter().copied();
        let wider = index.holding(net).filter(move |(one, _)| *one != net);
        // A longer route of a bridge's takes its part of a wide one that leads far away: that
        // is how routes are meant. A link's own prefix has neighbours in it.
        let near: Vec<(IpNet, u32)> = within.filter(|(one, _)| connected || *one == net).collect();
        for (_, at) in wider.chain(near) {
            let bridge = &bridges[at as usize];
            if bridge.name != dev && !is_the_overlays(view, bridge, connected, &links, dev) {
                others[at as usize].push(Other {
                    dev,
                    net,
                    evidence: evidence(),
                });
            }
        }
    };
    for address in &view.context.net.addresses {
        let dev = address.link.as_str();
        if address.scope != "link" && is_elsewhere(view, &links, dev) && address.peer.is_none() {
            let net = address.net.trunc();
            let what = || Evidence::new("address", dev, format!("{dev} has {}", address.net));
            add(net, dev, net.prefix_len() < net.max_prefix_len(), &what);
        }
    }
    for route in &view.context.net.routes {
        let Some(dev) = route.dev() else { continue };
        let counts = route.kind == RouteKind::Unicast
            && route.protocol != "kernel"
            && route.to.prefix_len() > 3
            && view.routing.is_used(route.table)
            && is_elsewhere(view, &links, dev);
        if counts {
            let what = || {
                Evidence::new(
                    "route",
                    route.to_string(),
                    format!("{} is routed to {dev}", route.to),
                )
            };
            add(route.to, dev, false, &what);
        }
    }
    tell(view, &links, &bridges, others, found);
}

fn bridges<'a>(view: &View<'a>, links: &Links<'a>) -> Vec<Bridge<'a>> {
    let addresses = view.context.net.addresses.iter();
    let own = addresses.filter(|one| {
        let link = links.get(&one.link);
        link.is_some_and(|link| link.kind == LinkKind::Bridge)
            && one.scope != "link"
            && one.link != "kube-ipvs0"
            && links.is_inside(&one.link)
            && one.net.prefix_len() < one.net.max_prefix_len()
    });
    let mut bridges: Vec<Bridge<'a>> = own
        .map(|one| Bridge {
            name: &one.link,
            net: one.net.trunc(),
        })
        .collect();
    // The usual names first: those are told of, and the other is what they collide with. Where
    // CNI made a bridge as well, docker's is the one to give way.
    bridges.sort_by_key(|one| {
        (
            !links.is_container_bridge(one.name),
            one.name != "docker0",
            one.name,
            place(one.net),
        )
    });
    bridges.dedup_by(|a, b| a.name == b.name && a.net == b.net);
    bridges
}

fn place(net: IpNet) -> (IpAddr, u8) {
    (net.network(), net.prefix_len())
}

/// Whether others may stand behind a device, or it is another bridge.
fn is_elsewhere(view: &View<'_>, links: &Links<'_>, dev: &str) -> bool {
    let Some(link) = links.get(dev) else {
        return false;
    };
    let inside = link.kind == LinkKind::Veth && !links.is_card(dev)
        || matches!(&link.kind, LinkKind::Other(kind) if kind == "dummy");
    !link.loopback && !inside && dev != "kube-ipvs0" && !view.is_overlay_link(dev)
}

/// The underlay against a bridge of the overlay's is ND101, and said there.
fn is_the_overlays(
    view: &View<'_>,
    bridge: &Bridge<'_>,
    connected: bool,
    links: &Links<'_>,
    dev: &str,
) -> bool {
    let bridged = links
        .get(dev)
        .is_some_and(|link| link.kind == LinkKind::Bridge);
    let mut joined = view.joined();
    !(connected && bridged) && joined.any(|overlay| overlay.overlaps(bridge.net))
}

fn tell(
    view: &View<'_>,
    links: &Links<'_>,
    bridges: &[Bridge<'_>],
    others: Vec<Vec<Other<'_>>>,
    found: &mut Vec<Draft>,
) {
    let mut told: FxHashSet<(&str, &str)> = FxHashSet::default();
    for (bridge, mut others) in bridges.iter().zip(others) {
        // Of two bridges the first told of the other already.
        others.retain(|other| !told.contains(&(other.dev, bridge.name)));
        others.dedup_by(|a, b| a.dev == b.dev && a.net == b.net);
        // A bridge that should have its lease's subnet gets that one: ND106 says so.
        let wrong = |name| nd106_bridge_subnet_mismatch::tells_of(view, links, name);
        if !others.is_empty() && wrong(bridge.name) {
            continue;
        }
        others.retain(|other| !links.is_container_bridge(other.dev) || !wrong(other.dev));
        let Some(first) = others.first() else {
            continue;
        };
        let more = match others.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let title = match first.net == bridge.net {
            true => format!(
                "{} is the range of {} and of {}{more}",
                bridge.net, bridge.name, first.dev
            ),
            false => format!(
                "{} of {} overlaps {} of {}{more}",
                bridge.net, bridge.name, first.net, first.dev
            ),
        };
        told.extend(others.iter().map(|other| (bridge.name, other.dev)));
        let what = format!("{} has {}", bridge.name, bridge.net);
        let draft = Draft::new(format!("{} {}", bridge.name, bridge.net), title)
            .because(format!(
                "{0} and {1} both have addresses of {2}. The kernel takes one of the two for \
                 each packet, so that machines behind the other get no answer. Which one wins \
                 may change whenever a route is set again.",
                bridge.name,
                first.dev,
                narrower(bridge.net, first.net)
            ))
            .seen(Evidence::new("address", bridge.name, what))
            .seen_all(others.iter().take(8).map(|other| other.evidence.clone()));
        found.push(draft.fix_all(fix(view, links, bridge)));
    }
}

fn narrower(a: IpNet, b: IpNet) -> IpNet {
    if a.prefix_len() >= b.prefix_len() {
        a
    } else {
        b
    }
}

fn fix(view: &View<'_>, links: &Links<'_>, bridge: &Bridge<'_>) -> Vec<String> {
    let free = match bridge.net {
        IpNet::V4(net) => renumber::free(view, net.prefix_len().max(12)).map(IpNet::V4),
        IpNet::V6(_) => renumber::free_64(view).map(IpNet::V6),
    };
    let Some(range) = free else {
        return vec![format!(
            "# give {} another range; no private one of this length is free of what this host knows",
            bridge.name
        )];
    };
    let ipv6 = range.addr().is_ipv6();
    match bridge.name {
        "docker0" => vec![
            match range.hosts().next().filter(|_| !ipv6) {
                Some(first) => format!(
                    "# in /etc/docker/daemon.json: \"bip\": \"{first}/{}\"",
                    range.prefix_len()
                ),
                None => format!("# in /etc/docker/daemon.json: \"fixed-cidr-v6\": \"{range}\""),
            },
            "systemctl restart docker".to_owned(),
        ],
        name if name.starts_with("br-") => vec![
            format!(
                "docker network ls    # the one whose ID begins with {}",
                &name[3..]
            ),
            "docker network rm NETWORK".to_owned(),
            match ipv6 {
                false => format!("docker network create --subnet {range} NETWORK"),
                true => format!("docker network create --ipv6 --subnet {range} NETWORK"),
            },
        ],
        name if name.starts_with("virbr") => vec![
            "virsh net-edit default    # another <ip address=…>".to_owned(),
            "virsh net-destroy default && virsh net-start default".to_owned(),
        ],
        name if links.is_container_bridge(name) => vec![
            format!("# give {name} another range in /etc/cni/net.d, {range} is free, then:"),
            format!("ip link delete {}", renumber::link(name)),
        ],
        name => vec![
            format!("# give {name} another range where it is configured; {range} is free here:"),
            format!("ip address show dev {}", renumber::quoted(name)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::findings;

    const HOST: &str = "link eth0\nlink eth1\nlink docker0 bridge\naddress 10.1.1.95/24 dev eth0\naddress 172.17.0.1/16 dev docker0\nroute 172.17.0.0/16 dev docker0 proto kernel\n";

    fn titles(more: &str) -> Vec<String> {
        let found = findings(&format!("{HOST}{more}"), 104);
        found.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn the_lan_and_another_bridge_are_named() {
        let lan =
            titles("address 172.17.9.95/16 dev eth1\nroute 172.17.0.0/16 dev eth1 proto kernel");
        assert_eq!(lan, ["172.17.0.0/16 is the range of docker0 and of eth1"]);
        let two = titles("link br-app bridge\naddress 172.17.0.2/16 dev br-app");
        assert_eq!(two, ["172.17.0.0/16 is the range of docker0 and of br-app"]);
    }

    #[test]
    fn a_machine_that_is_a_container_has_a_veth_for_its_card() {
        let lan = "link net0 veth\naddress 172.17.9.95/16 dev net0\nroute 172.17.0.0/16 dev net0 proto kernel";
        assert_eq!(
            titles(lan),
            ["172.17.0.0/16 is the range of docker0 and of net0"]
        );
    }

    #[test]
    fn parts_overlap_as_well() {
        assert_eq!(
            titles("address 172.17.9.95/24 dev eth1"),
            ["172.17.0.0/16 of docker0 overlaps 172.17.9.0/24 of eth1"]
        );
        assert_eq!(titles("address 172.16.9.95/12 dev eth1").len(), 1);
        assert_eq!(
            titles("route 172.17.40.0/24 via 10.1.1.1 dev eth0").len(),
            1
        );
    }

    #[test]
    fn a_wide_route_far_away_a_card_in_a_bridge_and_other_ranges_are_usual() {
        for more in [
            "route 172.16.0.0/12 via 10.1.1.1 dev eth0",
            "address 192.168.1.7/24 dev eth1\nlink virbr0 bridge\naddress 192.168.122.1/24 dev virbr0",
            "route default via 10.1.1.1 dev eth0",
            "link wlan0\naddress 10.1.1.96/24 dev wlan0",
            "link br0 bridge\naddress 192.168.1.7/24 dev br0\nlink eth2 master br0\naddress 192.168.1.8/24 dev eth1",
            "link veth1 veth\nroute 172.17.0.9 dev veth1",
            "address fe80::1/64 dev docker0 scope link\naddress fe80::2/64 dev eth0 scope link",
        ] {
            assert!(titles(more).is_empty(), "{more}: {:?}", titles(more));
        }
    }

    #[test]
    fn a_bridge_with_a_card_is_the_lan() {
        for more in [
            "link br0 bridge\naddress 192.168.1.7/24 dev br0\nlink eth2 master br0\nlink wlan0\naddress 192.168.1.8/24 dev wlan0\nroute 192.168.1.0/24 dev br0 proto kernel\nroute 192.168.1.0/24 dev wlan0 proto kernel metric 600",
            "link br0 bridge\naddress 192.168.1.7/24 dev br0\nlink wlan0 master br0\naddress 192.168.1.8/24 dev eth1",
            // A tunnel of Ethernet leads to others as a cable does.
            "link br0 bridge\naddress 192.168.1.7/24 dev br0\nlink lan0 gretap master br0\naddress 192.168.1.8/24 dev eth1",
            "link br0 bridge\naddress 192.168.1.7/24 dev br0\nlink lan0 vxlan vni 9 master br0\naddress 192.168.1.8/24 dev eth1",
            // Two of netplan's for virtual machines, each with an uplink.
            "link br0 bridge\nlink br1 bridge\naddress 192.168.1.7/24 dev br0\naddress 192.168.1.8/24 dev br1\nlink eno1 master br0\nlink eno2 master br1",
        ] {
            assert!(titles(more).is_empty(), "{more}: {:?}", titles(more));
        }
        // Ports of containers and machines are no cables.
        let inside = "link br0 bridge\naddress 192.168.1.7/24 dev br0\nlink veth1 veth master br0\nlink vnet0 tun master br0\naddress 192.168.1.8/24 dev eth1";
        assert_eq!(titles(inside).len(), 1);
    }

    #[test]
    fn a_bridge_with_an_old_leases_subnet_is_told_of_once() {
        let text = "link cni0 bridge\naddress 10.5.77.1/24 dev cni0\naddress 10.5.77.1/24 dev docker0\nlink flannel.1 vxlan\naddress 10.5.1.0/32 dev flannel.1\nkey v3 /coreos.com/network/config {\"Network\":\"10.5.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}\nkey v3 /coreos.com/network/subnets/10.5.1.0-24 {\"PublicIP\":\"10.1.1.95\",\"BackendType\":\"vxlan\"}";
        assert!(titles(text).is_empty(), "{:?}", titles(text));
        assert!(!findings(&format!("{HOST}{text}"), 106).is_empty());
        // Both have the right one: one of them has to go.
        let right = text.replace("10.5.77.1", "10.5.1.1");
        assert_eq!(
            titles(&right),
            ["10.5.1.0/24 is the range of docker0 and of cni0"]
        );
    }

    #[test]
    fn the_fix_names_a_range_of_the_right_family() {
        let text = "link eth0\nlink docker0 bridge\nlink br-app bridge\naddress fd00:7::1/64 dev docker0\naddress fd00:7::2/64 dev br-app";
        let fix = findings(text, 104).remove(0).fix;
        assert!(
            fix[0].ends_with("\"fixed-cidr-v6\": \"fd00:10:244::/64\""),
            "{fix:?}"
        );
        let two = "link eth0\nlink br-one bridge\nlink br-two bridge\naddress 172.18.0.1/16 dev br-one\naddress 172.18.0.2/16 dev br-two";
        let fix = findings(two, 104).remove(0).fix;
        assert_eq!(fix[2], "docker network create --subnet 10.0.0.0/16 NETWORK");
    }

    #[test]
    fn an_overlays_bridge_beside_the_tunnels_route_is_usual() {
        let text = "link flannel0 tun\naddress 172.17.0.0/32 dev flannel0\nroute 172.16.0.0/12 dev flannel0\n";
        assert!(titles(text).is_empty(), "{:?}", titles(text));
    }
}
