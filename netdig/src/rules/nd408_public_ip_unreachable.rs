//! A lease names an address where its host is not.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::renumber::{self, quoted};
use super::view::Overlay;
use super::{
    Draft, Rule, View, backend, nd401_nat_public_ip::nat, nd402_duplicate_lease_owner::owners,
};
use crate::context::Part;
use crate::context::flannel::{Lease, no_hosts};
use crate::context::net::{Answer, LinkKind, Neighbour};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(408),
    name: "public-ip-unreachable",
    severity: Severity::High,
    title: "A lease names an address that is not its host's, or that is not reached",
    needs: &[Part::Registry, Part::Addresses],
    page: include_str!("../../../docs/playbooks/nd408_public_ip_unreachable.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let neighbours = outside(view);
    for overlay in &view.overlays {
        let own = Own::of(view, overlay);
        let mut unreached: Vec<(&Lease, IpAddr, Evidence)> = Vec::new();
        let (mut odds, mut others) = (Vec::new(), Vec::new());
        for lease in &overlay.leases {
            match odd(view, overlay, lease) {
                Some(one) => odds.push(one),
                None => others.push(lease),
            }
        }
        found.extend(nobodys(view, &own, &odds));
        for lease in others {
            let Some(address) = lease.public().filter(|ip| nat(*ip).is_none()) else {
                continue;
            };
            if view.is_local(address) || owners(view, overlay, lease).is_some() {
                continue;
            }
            if own.is(lease) {
                found.extend(not_ours(view, lease, address));
            } else if let Some(why) = unreached_by(view, &neighbours, address) {
                unreached.push((lease, address, why));
            }
        }
        match cut_off(view, overlay, &unreached) {
            Some(draft) => found.push(draft),
            None => found.extend(remote(view, &unreached)),
        }
    }
}

/// No peer at all is reached, since this host's own link is down or has lost its address.
fn cut_off(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    unreached: &[(&Lease, IpAddr, Evidence)],
) -> Option<Draft> {
    let remote = overlay.remote_leases().count();
    let own = overlay.own_lease()?;
    if unreached.is_empty() || unreached.len() < remote {
        return None;
    }
    let public = own.public().or_else(|| own.publics().next())?;
    let net = &view.context.net;
    let has = net.addresses.iter().find(|one| one.net.addr() == public);
    let link = has.and_then(|one| net.link(&one.link));
    let (title, place, fix) = match link {
        Some(link) if !link.up || !link.running => {
            let state = if link.up { "has no carrier" } else { "is down" };
            let fix = match link.up {
                true => format!(
                    "ethtool {}   # is the cable in, is the port on?",
                    quoted(&link.name)
                ),
                false => format!("ip link set {} up", renumber::link(&link.name)),
            };
            (
                format!(
                    "no peer is reached: {} with this host's {public} {state}",
                    link.name
                ),
                link.name.clone(),
                fix,
            )
        }
        Some(_) => return None,
        None => (
            format!("no peer is reached: no link has this host's address {public}"),
            public.to_string(),
            format!("# give the link its address {public} again, with the routes that it had"),
        ),
    };
    let subnet = own.subnet;
    Some(
        Draft::new(format!("cut off {}", overlay.key()), title)
            .because(format!(
                "The overlay's packets leave by the link with {public}, and come to it. Without it \
                 this host's containers in {subnet} are cut off; the other hosts and their leases \
                 are as they should be."
            ))
            .seen(Evidence::new("link", place, "this host's way to its peers"))
            .seen(evidence(own, public))
            .seen_all(unreached.iter().map(|(_, _, why)| why.clone()).take(3))
            .fix(fix)
            .fix("# then, so that all of its routes are set:")
            .fix("systemctl restart flanneld"),
    )
}

/// A lease with an address that no host is reached by.
struct Odd<'v> {
    lease: &'v Lease,
    /// `names 0.0.0.0, which is no address at all`.
    what: String,
}

fn odd<'v>(view: &View<'_>, overlay: &Overlay<'_>, lease: &'v Lease) -> Option<Odd<'v>> {
    let said = match lease.ipv4_subnet() {
        Some(_) => lease.public_ip.map(IpAddr::V4),
        None => lease.public_ipv6.map(IpAddr::V6),
    };
    let Some(address) = said else {
        let what = "names no PublicIP".to_owned();
        return lease.public().is_none().then_some(Odd { lease, what });
    };
    let within = || is_of_its_containers(view, overlay, lease, address);
    let kind = no_hosts(address).or_else(|| within().then_some("an address of its own containers"));
    kind.map(|kind| Odd {
        lease,
        what: format!("names {address}, which is {kind}"),
    })
}

/// Whether an address is in the lease's own subnet, and on no link of the underlay: where both
/// have one range the address may be right, and the overlap is the trouble.
fn is_of_its_containers(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    lease: &Lease,
    address: IpAddr,
) -> bool {
    let net = &view.context.net;
    let inside = |link: &str| {
        let bridge = net
            .link(link)
            .is_some_and(|one| one.kind == LinkKind::Bridge);
        overlay.links.contains(&link) || bridge
    };
    let mut underlay = net.addresses.iter().filter(|one| !inside(&one.link));
    overlay.contains(address)
        && lease.subnets().any(|subnet| subnet.contains(&address))
        && !underlay.any(|one| one.net.contains(&address))
}

fn nobodys(view: &View<'_>, own: &Own, odd: &[Odd<'_>]) -> Option<Draft> {
    let own = odd.iter().find(|one| own.is(one.lease));
    let first = own.or(odd.first())?;
    let whose = if own.is_some() { "this host's" } else { "the" };
    let more = match odd.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let subnet = first.lease.subnet;
    let draft = Draft::new(
        format!("odd {}", first.lease.origin.key),
        format!("{whose} lease {subnet}{more} {}", first.what),
    )
    .because(format!(
        "Hosts send what is for {subnet} to the lease's PublicIP, and by this one none is reached: \
         the packets are lost, or come back to the host that sends them. flanneld was told the \
         address, took it from the wrong link, or the key was written by hand."
    ));
    let evidence = odd.iter().take(5).map(|one| {
        let origin = &one.lease.origin;
        let what = format!("lease {} {}", one.lease.subnet, one.what);
        Evidence::new(origin.source(), origin.place(), what)
    });
    let draft = draft.seen_all(evidence);
    let draft = match own {
        Some(_) => draft.fix("# the link and the address by which others reach this host, as options of flanneld's unit:"),
        None => draft.fix(format!("# on the host that has {subnet}, as options of flanneld's unit: the link and the address by which others reach it")),
    };
    Some(
        draft
            .fix("flanneld --iface=LINK --public-ip=ADDRESS")
            .fix("systemctl restart flanneld")
            .fix("# if no host has that subnet:")
            .fix(renumber::delete(view, &first.lease.origin)),
    )
}

/// What shows which subnet is this host's, by what it does and not by what a lease says.
enum Own {
    File(IpNet),
    OnDevice(Vec<IpAddr>),
}

impl Own {
    fn of(view: &View<'_>, overlay: &Overlay<'_>) -> Own {
        let file = overlay.subnet_env;
        match file.and_then(|file| file.subnet.or(file.ipv6_subnet)) {
            Some(subnet) => Own::File(subnet.trunc()),
            None => {
                let links = overlay.links.iter();
                let addresses = links.flat_map(|link| view.context.net.addresses_of(link));
                Own::OnDevice(addresses.map(|one| one.net.addr()).collect())
            }
        }
    }

    fn is(&self, lease: &Lease) -> bool {
        match self {
            Own::File(subnet) => *subnet == lease.subnet,
            Own::OnDevice(addresses) => {
                let within = |subnet: IpNet| addresses.iter().any(|one| subnet.contains(one));
                lease.subnets().any(within)
            }
        }
    }
}

fn not_ours(view: &View<'_>, lease: &Lease, address: IpAddr) -> Option<Draft> {
    // One that was asked for, or a cloud's outer address, is another's to translate.
    let asked = backend::was_told(view, address);
    if asked || !is_private(address) {
        return None;
    }
    let own: Vec<String> = view
        .context
        .net
        .addresses
        .iter()
        .filter(|one| one.scope == "global" && view.overlay_of(one.net.addr()).is_none())
        .map(|one| format!("{} on {}", one.net.addr(), one.link))
        .collect();
    // Without addresses to compare with nothing is known.
    if own.is_empty() {
        return None;
    }
    let subnet = lease.subnet;
    Some(
        Draft::new(
            lease.origin.key.clone(),
            format!("this host's lease {subnet} names {address}, which is none of its addresses"),
        )
        .because(format!(
            "The other hosts send what is for {subnet} to {address}. This host has {}: the \
             packets go to another machine or to nobody. flanneld takes the address when it \
             starts, and the host's has changed since.",
            own.join(", ")
        ))
        .seen(evidence(lease, address))
        .fix("# flanneld takes the present address when it starts:")
        .fix("systemctl restart flanneld")
        .fix("# with Kubernetes: kubectl annotate node NODE flannel.alpha.coreos.com/public-ip-overwrite=ADDRESS"),
    )
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// What is known of neighbours outside the overlay, by address.
type Neighbours<'a> = FxHashMap<IpAddr, Vec<&'a Neighbour>>;

fn outside<'a>(view: &View<'a>) -> Neighbours<'a> {
    let mut by_address = Neighbours::default();
    let all = view.context.net.neighbours.iter();
    for one in all.filter(|one| !view.is_overlay_link(&one.link)) {
        by_address.entry(one.address).or_default().push(one);
    }
    by_address
}

/// What shows that an address is not reached from here.
fn unreached_by(view: &View<'_>, neighbours: &Neighbours<'_>, address: IpAddr) -> Option<Evidence> {
    let entries = neighbours.get(&address).map_or(&[][..], Vec::as_slice);
    if let Some(one) = entries.iter().find(|one| one.state == "FAILED")
        && entries.iter().all(|one| one.mac.is_none())
    {
        let place = format!("{} dev {} FAILED", one.address, one.link);
        return Some(Evidence::new(
            "neighbour",
            place,
            format!("nobody on {} answers for {address}", one.link),
        ));
    }
    match &view.asked(address)?.answer {
        Answer::Refused(error) => Some(Evidence::new(
            "look-up",
            address.to_string(),
            format!("the kernel has no way to it: {error}"),
        )),
        Answer::Way { .. } => None,
    }
}

fn remote(view: &View<'_>, unreached: &[(&Lease, IpAddr, Evidence)]) -> Option<Draft> {
    let (lease, address, why) = unreached.first()?;
    let subnet = lease.subnet;
    let more = match unreached.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Some(
        Draft::new(
            format!("remote {}", lease.origin.key),
            format!(
                "the lease {subnet}{more} names {address}, which is not reached: {}",
                why.what
            ),
        )
        .because(format!(
            "What this host sends to {subnet} is wrapped for {address} and goes to nobody. The \
             host was moved or renumbered after it took the lease, it is down, or its address is \
             a private one of another site."
        ))
        .seen(evidence(lease, *address))
        .seen_all(unreached.iter().map(|(_, _, why)| why.clone()).take(5))
        .fix(format!("ping -c 3 {address}; ip neigh show {address}"))
        .fix(format!(
            "# on the host that has {subnet}, so that it names its present address:"
        ))
        .fix("systemctl restart flanneld")
        .fix("# if that host is gone for good:")
        .fix(renumber::delete(view, &lease.origin))
        .confidence(Confidence::Likely),
    )
}

fn evidence(lease: &Lease, address: IpAddr) -> Evidence {
    let field = if address.is_ipv6() {
        "PublicIPv6"
    } else {
        "PublicIP"
    };
    let what = format!("lease {}, {field} {address}", lease.subnet);
    Evidence::new(lease.origin.source(), lease.origin.place(), what)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_whose_own_link_is_down_is_the_one_that_is_cut_off() {
        let keys = r#"
            link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:0a
            address 192.168.69.0/32 dev flannel.1
            lookup peer 10.1.1.187 refused ENETUNREACH
            key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan"}}
            key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0a"}}
            key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0b"}}
        "#;
        let told = |link: &str| {
            let found = crate::rules::testing::findings(&format!("{link}\n{keys}"), 408);
            assert!(
                found
                    .iter()
                    .all(|one| !one.fix.join("\n").contains(" del ")),
                "{found:?}"
            );
            found.into_iter().map(|one| one.title).collect::<Vec<_>>()
        };
        assert_eq!(
            told("link eth0 down\naddress 10.1.1.95/24 dev eth0"),
            ["no peer is reached: eth0 with this host's 10.1.1.95 is down"]
        );
        assert_eq!(
            told("link eth0"),
            ["no peer is reached: no link has this host's address 10.1.1.95"]
        );
    }

    use super::super::testing::{context, findings};
    use super::super::{View, evaluate};
    use super::Code;
    use crate::context::Process;

    const HOST: &str = r#"
        link eth0
        link flannel0 tun
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/16 dev flannel0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.99"}
    "#;

    fn titles(lines: &str) -> Vec<String> {
        let found = findings(&format!("{HOST}{lines}"), 408);
        found.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn nobody_answers_for_a_peer() {
        let found = titles("neigh 10.1.1.99 dev eth0 FAILED");
        assert!(
            found.len() == 1 && found[0].contains("10.1.1.99"),
            "{found:?}"
        );
        let found = titles("lookup peer 10.1.1.99 refused ENETUNREACH");
        assert!(
            found.len() == 1 && found[0].contains("ENETUNREACH"),
            "{found:?}"
        );
        let third =
            r#"key v3 /coreos.com/network/subnets/192.168.14.0-24 {"PublicIP":"10.1.1.98"}"#;
        let found = titles(&format!(
            "{third}\nneigh 10.1.1.99 dev eth0 FAILED\nneigh 10.1.1.98 dev eth0 FAILED"
        ));
        assert!(
            found.len() == 1 && found[0].contains("and 1 more"),
            "{found:?}"
        );
    }

    #[test]
    fn a_peer_that_answers_or_was_not_asked_is_none() {
        assert!(titles("").is_empty());
        assert!(titles("neigh 10.1.1.99 dev eth0 lladdr 02:00:00:00:00:01 STALE").is_empty());
        assert!(titles("lookup peer 10.1.1.99 dev eth0").is_empty());
        assert!(
            titles("neigh 10.1.1.50 dev eth0 FAILED").is_empty(),
            "no peer"
        );
    }

    #[test]
    fn an_address_that_no_host_has() {
        let lease = |value: &str| {
            let text = HOST.replace(r#"{"PublicIP":"10.1.1.99"}"#, value);
            let found = findings(&text, 408);
            found.into_iter().map(|one| one.title).collect::<Vec<_>>()
        };
        for odd in [
            "0.0.0.0",
            "127.0.0.1",
            "255.255.255.255",
            "224.0.0.5",
            "192.168.13.1",
        ] {
            let found = lease(&format!(r#"{{"PublicIP":"{odd}"}}"#));
            assert_eq!(found.len(), 1, "{odd}");
            let title = format!("the lease 192.168.13.0/24 names {odd}, which is ");
            assert!(found[0].starts_with(&title), "{found:?}");
        }
        for none in ["{}", r#"{"PublicIP":""}"#] {
            assert_eq!(lease(none), ["the lease 192.168.13.0/24 names no PublicIP"]);
        }
        for right in ["10.1.1.99", "203.0.113.7", "192.168.14.7", "10.0.2.15"] {
            let found = lease(&format!(r#"{{"PublicIP":"{right}"}}"#));
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn an_address_of_the_underlay_in_the_leases_range_is_anothers() {
        let text = HOST
            .replace("10.1.1.95/24 dev eth0", "192.168.13.95/24 dev eth0")
            .replace("10.1.1.99", "192.168.13.99");
        assert!(findings(&text, 408).is_empty());
    }

    #[test]
    fn our_own_lease_names_the_loopback() {
        let own = r#"
            link lo
            address 127.0.0.1/8 dev lo
            key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"127.0.0.1"}"#;
        let found = titles(own);
        assert_eq!(
            found,
            [
                "this host's lease 192.168.69.0/24 names 127.0.0.1, which is each host's own loopback"
            ]
        );
    }

    #[test]
    fn our_own_lease_names_what_we_do_not_have() {
        let own = |ip: &str| {
            format!(r#"key v3 /coreos.com/network/subnets/192.168.69.0-24 {{"PublicIP":"{ip}"}}"#)
        };
        let found = titles(&own("10.1.1.96"));
        assert!(
            found.len() == 1
                && found[0].contains("this host's lease 192.168.69.0/24 names 10.1.1.96"),
            "{found:?}"
        );
        assert!(titles(&own("10.1.1.95")).is_empty());
        assert!(
            titles(&own("203.0.113.7")).is_empty(),
            "a cloud's outer address"
        );
        assert!(titles(&own("10.0.2.15")).is_empty(), "another rule's");
    }

    #[test]
    fn only_what_flanneld_was_told_is_on_purpose() {
        let told = |args: &[&str]| {
            let own =
                r#"key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.9"}"#;
            let mut context = context(&format!("{HOST}{own}"));
            context.processes.push(Process {
                args: args.iter().map(|&arg| arg.to_owned()).collect(),
                ..Process::default()
            });
            let report = evaluate(&View::new(&context, None));
            let mut found = report.findings.into_iter();
            found.any(|one| one.code == Code(408))
        };
        for args in [
            ["/usr/bin/flanneld", "--public-ip=10.1.1.9", ""],
            ["flanneld", "-public-ip", "10.1.1.9"],
        ] {
            assert!(!told(&args), "{args:?}");
        }
        for args in [
            ["etcd", "--listen-client-urls=http://10.1.1.95:2379", ""],
            ["flanneld", "--etcd-endpoints=http://10.1.1.95:2379", ""],
            ["ping", "10.1.1.9", ""],
        ] {
            assert!(told(&args), "{args:?}");
        }
    }
}
