//! A lease whose address is that of every machine behind such a NAT.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::renumber::{self, quoted};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(401),
    name: "nat-public-ip",
    severity: Severity::Critical,
    title: "A lease names an address that every machine behind such a NAT has",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd401_nat_public_ip.md"),
    check,
};

/// Addresses that a hypervisor's NAT gives to each of its machines alike.
const NAT: [(Ipv4Addr, &str); 5] = [
    (
        Ipv4Addr::new(10, 0, 2, 15),
        "VirtualBox's NAT and QEMU's user network",
    ),
    (
        Ipv4Addr::new(10, 0, 3, 15),
        "VirtualBox's NAT of a second adapter",
    ),
    (
        Ipv4Addr::new(10, 0, 4, 15),
        "VirtualBox's NAT of a third adapter",
    ),
    (Ipv4Addr::new(10, 0, 2, 100), "slirp4netns"),
    (Ipv4Addr::new(192, 168, 65, 3), "Docker Desktop"),
];

/// Leases that evidence shows.
const SHOWN: usize = 8;

/// Whose NAT gives that address to everyone.
pub fn nat(address: impl Into<IpAddr>) -> Option<&'static str> {
    let address = address.into();
    let known = NAT.iter().find(|(one, _)| *one == address);
    known.map(|(_, whose)| *whose)
}

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<&Lease>> = BTreeMap::new();
    for lease in view.overlays.iter().flat_map(|overlay| &overlay.leases) {
        let Some(address) = lease.public_ip else {
            continue;
        };
        if nat(address).is_some() {
            by_address.entry(address).or_default().push(lease);
        }
    }
    by_address.retain(|address, _| !is_real_lan(view, *address));
    for (address, leases) in by_address {
        found.push(behind_nat(view, address, &leases));
    }
    for overlay in &view.overlays {
        for lease in &overlay.leases {
            found.extend(shared(view, lease));
        }
    }
}

/// Whether the address is a host's on a network where others are too.
fn is_real_lan(view: &View<'_>, address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let beside = |other: Ipv4Addr| other != address && other.octets()[..3] == [a, b, c];
    let leases = view.overlays.iter().flat_map(|overlay| &overlay.leases);
    let mut others = leases.filter_map(|lease| lease.public_ip);
    let answers = view.context.net.neighbours.iter().any(|one| {
        one.address == IpAddr::V4(address) && one.mac.is_some() && one.state != "FAILED"
    });
    others.any(beside) || answers
}

fn behind_nat(view: &View<'_>, address: Ipv4Addr, leases: &[&Lease]) -> Draft {
    let whose = nat(address).unwrap_or("a NAT");
    let more = match leases.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let subnet = leases[0].subnet;
    let mut draft = Draft::new(
        address.to_string(),
        format!("the lease {subnet}{more} names {address}, which every machine behind {whose} has"),
    )
    .because(format!(
        "flanneld took the address of the link with the default route, and that is the NAT's. \
         No other host reaches {address}: what they send to {subnet} goes to themselves or to \
         nobody. flanneld finds its lease by this address, so all hosts behind such a NAT take \
         one lease and one subnet."
    ))
    .seen_all(leases.iter().take(SHOWN).map(|lease| evidence(lease)));
    let local = IpAddr::V4(address);
    let own = view
        .context
        .net
        .addresses
        .iter()
        .find(|one| one.net.addr() == local);
    if let Some(own) = own {
        let what = format!("this host has {address} itself, on {}", own.link);
        draft = draft.seen(Evidence::new(
            "address",
            format!("{} dev {}", own.net, own.link),
            what,
        ));
    }
    fixed(view, draft, address, leases)
}

fn fixed(view: &View<'_>, draft: Draft, address: Ipv4Addr, leases: &[&Lease]) -> Draft {
    let better = view.context.net.addresses.iter().find(|one| {
        let ip = one.net.addr();
        ip.is_ipv4()
            && ip != IpAddr::V4(address)
            && !ip.is_loopback()
            && one.scope == "global"
            && view.overlay_of(ip).is_none()
            && !["docker", "br-", "virbr", "veth", "cni"]
                .iter()
                .any(|start| one.link.starts_with(start))
    });
    let options = match better {
        Some(one) => format!(
            "flanneld --iface={} --public-ip={}",
            quoted(&one.link),
            one.net.addr()
        ),
        None => "flanneld --iface=LINK --public-ip=ADDRESS".to_owned(),
    };
    draft
        .fix("# on each host: the link and the address by which the others reach it, as options of flanneld's unit")
        .fix(options)
        .fix("# then remove the lease, so that each host gets one of its own")
        .fix(renumber::delete(view, &leases[0].origin))
        .fix("systemctl restart flanneld")
}

fn evidence(lease: &Lease) -> Evidence {
    let address = lease
        .public_ip
        .map_or("none".to_owned(), |ip| ip.to_string());
    let what = format!("lease {}, PublicIP {address}", lease.subnet);
    Evidence::new(lease.origin.source(), lease.origin.place(), what)
}

/// One lease that hosts write in turn, each with its own MAC address and all with one PublicIP.
fn shared(view: &View<'_>, lease: &Lease) -> Option<Draft> {
    let address = lease.public_ip.filter(|one| nat(*one).is_none())?;
    let key = view.key(&lease.origin)?;
    let mac = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let same = value["PublicIP"].as_str() == Some(&address.to_string());
        let mac = value["BackendData"]["VtepMAC"].as_str()?;
        same.then(|| mac.to_owned())
    };
    let past = key.history.iter().map(|past| &past.value);
    let macs: Vec<String> = std::iter::once(&key.value)
        .chain(past)
        .map_while(|value| mac(value.text()?))
        .collect();
    let other = macs.iter().find(|one| **one != macs[0])?;
    let again = macs
        .iter()
        .skip_while(|one| *one != other)
        .any(|one| *one == macs[0]);
    again.then(|| {
        let subnet = lease.subnet;
        Draft::new(
            format!("shared {}", lease.origin.key),
            format!("several hosts write the lease {subnet} in turn, all as {address}"),
        )
        .because(
            "flanneld finds its lease by PublicIP: hosts that have one address in common have \
             one lease in common, and each writes its own VtepMAC into it. Only the last one \
             gets packets.",
        )
        .seen(evidence(lease))
        .seen(Evidence::new(
            lease.origin.source(),
            lease.origin.place(),
            format!(
                "VtepMAC {} now, {other} before, and {} before that",
                macs[0], macs[0]
            ),
        ))
        .confidence(Confidence::Likely)
        .fix("# on each host: an address of its own, as an option of flanneld's unit")
        .fix("flanneld --iface=LINK --public-ip=ADDRESS")
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, findings};
    use super::super::{View, evaluate};
    use super::*;
    use crate::context::registry::{Past, Value};

    const NETWORK: &str = r#"
        link eth0
        address 10.1.1.95/24 dev eth0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
    "#;

    fn leases(lines: &str) -> Vec<crate::finding::Finding> {
        findings(&format!("{NETWORK}{lines}"), 401)
    }

    #[test]
    fn the_address_of_virtualbox() {
        let lease =
            r#"key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.0.2.15"}"#;
        let found = leases(lease);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("10.0.2.15") && found[0].title.contains("192.168.69.0/24"));
        assert!(
            found[0]
                .fix
                .iter()
                .any(|line| line.contains("--iface=eth0 --public-ip=10.1.1.95"))
        );
        let two = format!(
            "{lease}\nkey v2 /coreos.com/network/subnets/192.168.70.0-24 {{\"PublicIP\":\"10.0.2.15\"}}"
        );
        let found = findings(
            &format!(
                "{NETWORK}{two}\nkey v2 /coreos.com/network/config {{\"Network\":\"192.168.0.0/16\"}}"
            ),
            401,
        );
        assert_eq!(found.len(), 1, "one cause");
        assert!(found[0].title.contains("and 1 more"));
    }

    #[test]
    fn a_lan_of_that_range_is_none() {
        let lease =
            r#"key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.0.2.15"}"#;
        let other =
            r#"key v3 /coreos.com/network/subnets/192.168.70.0-24 {"PublicIP":"10.0.2.16"}"#;
        assert!(leases(&format!("{lease}\n{other}")).is_empty());
        assert!(
            leases(&format!(
                "{lease}\nneigh 10.0.2.15 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE"
            ))
            .is_empty()
        );
        assert!(
            leases(
                r#"key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}"#
            )
            .is_empty()
        );
        assert!(leases("").is_empty());
    }

    #[test]
    fn one_address_and_two_macs() {
        let value = |mac: &str| {
            let data = format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#);
            format!(r#"{{"PublicIP":"10.1.1.9","BackendType":"vxlan","BackendData":{data}}}"#)
        };
        let text = format!(
            "{NETWORK}key v3 /coreos.com/network/subnets/192.168.69.0-24 {}",
            value("02:00:00:00:00:01")
        );
        let mut context = context(&text);
        let mut told = |macs: &[&str]| {
            let past = macs.iter().map(|mac| Past {
                value: Value::Text(value(mac)),
                modified: 1,
            });
            context.registry.keys[1].history = past.collect();
            let report = evaluate(&View::new(&context, None));
            report
                .findings
                .iter()
                .filter(|one| one.code == Code(401))
                .count()
        };
        assert_eq!(told(&["02:00:00:00:00:02", "02:00:00:00:00:01"]), 1);
        assert_eq!(
            told(&["02:00:00:00:00:02"]),
            0,
            "a new device has a new MAC address"
        );
        assert_eq!(told(&["02:00:00:00:00:01", "02:00:00:00:00:01"]), 0);
    }
}
