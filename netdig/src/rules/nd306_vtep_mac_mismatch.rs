//! ND306: the lease says another hardware address than the device or the neighbour has.
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::renumber::{self, quoted};
use super::view::Overlay;
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::Link;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(306),
    name: "vtep-mac-mismatch",
    severity: Severity::Critical,
    title: "a VTEP's hardware address is not the one that its lease names",
    needs: &[
        Part::Links,
        Part::Addresses,
        Part::Neighbours,
        Part::Registry,
    ],
    page: include_str!("../../../docs/playbooks/nd306_vtep_mac_mismatch.md"),
    check,
};

/// Neighbours that are listed one by one.
const SHOWN: usize = 4;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        found.extend(no_mac(overlay));
        found.extend(twins(overlay));
        for ipv6 in [false, true] {
            if let Some(link) = backend::vtep_of(view, overlay, ipv6) {
                found.extend(own(view, overlay, link, ipv6));
                found.extend(peers(view, overlay, link, ipv6));
            }
        }
    }
}

/// A lease that tells peers something else than a hardware address.
fn no_mac(overlay: &Overlay<'_>) -> Option<Draft> {
    let leases = overlay.leases.iter().filter(|one| one.backend == "vxlan");
    let wrong: Vec<(&Lease, &str)> = leases
        .filter_map(|lease| {
            let none = || backend::lacks_mac(lease).then_some("none");
            Some((lease, lease.no_mac.as_deref().or_else(none)?))
        })
        .collect();
    let (first, said) = wrong.first()?;
    let (named, more) = (backend::named(first), backend::and_more(wrong.len()));
    let title = match first.no_mac {
        Some(_) => format!("the VtepMAC of {named}{more} is no hardware address: `{said}`"),
        None => format!("{named}{more} names no VtepMAC"),
    };
    let draft = Draft::new(format!("no MAC {}", overlay.key()), title)
        .because(
            "flanneld on the other hosts passes over a lease whose VtepMAC it cannot read: they set \
             no route, no neighbour and no forwarding entry, and nothing leaves for that host. Its own \
             flanneld writes the right one when it starts; somebody else wrote this one.",
        )
        .seen_all(wrong.iter().take(SHOWN).map(|(lease, said)| lease_says(lease, said)))
        .fix("# on the host of the lease:")
        .fix("systemctl restart flanneld");
    Some(draft)
}

fn differ(a: &str, b: &str) -> bool {
    !a.eq_ignore_ascii_case(b)
}

/// Leases of several hosts with one hardware address: copies of one machine.
fn twins(overlay: &Overlay<'_>) -> Option<Draft> {
    let twins = backend::twins(overlay);
    let (mac, leases) = twins.iter().min_by_key(|(_, leases)| leases[0].subnet)?;
    let (first, second) = (leases[0], leases[1]);
    let title = format!(
        "{} and {}{} have one VtepMAC, {mac}",
        backend::named(first),
        backend::named(second),
        match leases.len() + twins.len() {
            3 => String::new(),
            _ => format!(
                " (and {} more)",
                twins.values().map(Vec::len).sum::<usize>() - 2
            ),
        }
    );
    let host = second
        .public()
        .map_or("one of the hosts".to_owned(), |ip| ip.to_string());
    let draft = Draft::new(format!("twins {}", overlay.key()), title)
        .because(
            "A host finds the peer of an inner frame by its hardware address: of two peers with one \
             address only the one that was set last is reached, by every host. Machines that were \
             copied with their flannel device's address, or with one machine-id, bring that about.",
        )
        .seen_all(leases.iter().take(SHOWN).map(|lease| lease_says(lease, mac)))
        .fix(format!("# on {host}, so that it takes another one:"))
        .fix("rm /etc/machine-id && systemd-machine-id-setup   # where it is a copy's")
        .fix("systemctl stop flanneld && ip link delete flannel.1 && systemctl start flanneld");
    Some(draft)
}

/// Whether the lease is another host's by now, which wrote its own address into it: ND402.
fn is_anothers(view: &View<'_>, lease: &Lease) -> bool {
    let mut publics = lease.publics().peekable();
    publics.peek().is_some() && publics.all(|ip| !view.is_local(ip) && !backend::was_told(view, ip))
}

fn own(view: &View<'_>, overlay: &Overlay<'_>, link: &Link, ipv6: bool) -> Option<Draft> {
    let lease = overlay
        .own_lease()
        .filter(|lease| backend::is_of(lease, link) && !is_anothers(view, lease))?;
    let (named, mac) = (lease.vtep_mac_of(ipv6)?, link.mac.as_deref()?);
    if !differ(named, mac) {
        return None;
    }
    let dev = &link.name;
    let title = format!(
        "{dev} has the address {mac}, and this host's lease {} tells peers {named}",
        lease.subnet
    );
    Some(
        Draft::new(format!("own {dev} {}", overlay.key()), title)
            .because(format!(
                "Peers address their inner frames to {named}. The kernel here takes frames for {mac} \
                 only and throws all others away without a word: nothing arrives. systemd-udevd gives \
                 virtual devices a new address after they were made, unless it is told not to."
            ))
            .seen(Evidence::new("link", dev.clone(), format!("address {mac}")))
            .seen(lease_says(lease, named))
            .fix(format!("ip link set {} address {}", renumber::link(dev), quoted(named)))
            .fix(
                "printf '[Match]\\nOriginalName=flannel*\\n\\n[Link]\\nMACAddressPolicy=none\\n' > \
                 /etc/systemd/network/10-flannel.link   # so that it stays",
            )
            .fix("systemctl restart flanneld"),
    )
}

fn peers(view: &View<'_>, overlay: &Overlay<'_>, link: &Link, ipv6: bool) -> Option<Draft> {
    let here = view.context.net.neighbours.iter();
    let neighbours: FxHashMap<IpAddr, &str> = here
        .filter(|one| one.link == link.name)
        .filter_map(|one| Some((one.address, one.mac.as_deref()?)))
        .collect();
    let wrong: Vec<(&Lease, IpAddr, &str, &str)> = overlay
        .remote_leases()
        .filter(|lease| backend::is_of(lease, link))
        .filter_map(|lease| {
            let address = lease.subnet_in(ipv6)?.network();
            let has = *neighbours.get(&address)?;
            let named = lease.vtep_mac_of(ipv6)?;
            differ(has, named).then_some((lease, address, has, named))
        })
        .collect();
    let (lease, address, has, named) = wrong.first()?;
    let more = backend::and_more(wrong.len());
    let dev = &link.name;
    let title = format!(
        "the neighbour {address} on {dev} is {has}, and the lease of {} says {named}{more}",
        lease
            .public()
            .map_or_else(|| "its host".to_owned(), |peer| peer.to_string()),
    );
    let draft = Draft::new(format!("peers {dev} {}", overlay.key()), title).because(
        "Inner frames leave with a hardware address that the peer's VXLAN device does not have: its \
         kernel throws them away. The entry is of an earlier lease, or was set by hand; flanneld \
         sets it anew when it starts.",
    );
    let draft = wrong
        .iter()
        .take(SHOWN)
        .fold(draft, |draft, (lease, address, has, named)| {
            draft
                .seen(Evidence::new(
                    "neighbour",
                    format!("{address} dev {dev}"),
                    format!("lladdr {has}"),
                ))
                .seen(lease_says(lease, named))
                .fix(format!(
                    "ip neigh replace {address} lladdr {} dev {} nud permanent",
                    quoted(named),
                    quoted(dev)
                ))
        });
    Some(draft.fix("# or let flanneld set all of them: systemctl restart flanneld"))
}

fn lease_says(lease: &Lease, mac: &str) -> Evidence {
    let what = format!("{}, VtepMAC {mac}", backend::named(lease));
    Evidence::new(lease.origin.source(), lease.origin.place(), what)
}

#[cfg(test)]
mod tests {
    use crate::finding::Finding;
    use crate::rules::testing::findings;

    fn with(own: &str, neighbour: &str) -> Vec<Finding> {
        let text = format!(
            r#"
            link eth0
            link flannel.1 vxlan vni 1 port 8472 mac {own}
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/32 dev flannel.1
            neigh 192.168.13.0 dev flannel.1 lladdr {neighbour} PERMANENT
            key v2 /coreos.com/network/config {{"Network":"192.168.0.0/16","Backend":{{"Type":"vxlan"}}}}
            key v2 /coreos.com/network/subnets/192.168.69.0-24 {{"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{{"VtepMAC":"02:00:00:00:00:0a"}}}}
            key v2 /coreos.com/network/subnets/192.168.13.0-24 {{"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{{"VtepMAC":"02:00:00:00:00:0b"}}}}
            "#
        );
        findings(&text, 306)
    }

    #[test]
    fn two_hosts_with_one_address_and_a_lease_that_is_anothers() {
        let text = r#"
            link eth0
            link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:0a
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/32 dev flannel.1
            route 192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink
            route 192.168.14.0/24 via 192.168.14.0 dev flannel.1 onlink
            neigh 192.168.13.0 dev flannel.1 lladdr 02:00:00:00:00:0b PERMANENT
            neigh 192.168.14.0 dev flannel.1 lladdr 02:00:00:00:00:0b PERMANENT
            fdb 02:00:00:00:00:0b dev flannel.1 dst 10.1.1.187
            key v2 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan"}}
            key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0a"}}
            key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0b"}}
            key v2 /coreos.com/network/subnets/192.168.14.0-24 {"PublicIP":"10.1.1.188","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0B"}}
        "#;
        let found = findings(text, 306);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].title,
            "192.168.13.0/24 (lease of 10.1.1.187) and 192.168.14.0/24 (lease of 10.1.1.188) have \
             one VtepMAC, 02:00:00:00:00:0b"
        );
        assert!(findings(text, 205).is_empty());
        let others = text.replace("10.1.1.188", "10.1.1.187");
        assert!(findings(&others, 306).is_empty(), "one host's");
        let anothers = text.replace(
            r#"{"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0a"}}"#,
            r#"{"PublicIP":"10.1.1.33","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:33"}}"#,
        );
        let own = |one: &Finding| one.title.starts_with("flannel.1 has the address");
        assert!(!findings(&anothers, 306).iter().any(own));
        assert_eq!(findings(&anothers, 402).len(), 1);
        assert!(findings(&anothers, 408).is_empty());
    }

    #[test]
    fn the_own_device_has_another_address() {
        let found = with("02:00:00:00:00:77", "02:00:00:00:00:0b");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].fix[0],
            "ip link set flannel.1 address 02:00:00:00:00:0a"
        );
    }

    #[test]
    fn a_neighbour_has_another_address() {
        let found = with("02:00:00:00:00:0a", "02:00:00:00:00:77");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].title.contains("lease of 10.1.1.187"),
            "{}",
            found[0].title
        );
    }

    #[test]
    fn a_lease_with_something_else_than_a_mac() {
        let text = |mac: &str| {
            format!(
                r#"
            link eth0
            key v2 /coreos.com/network/config {{"Network":"192.168.0.0/16","Backend":{{"Type":"vxlan"}}}}
            key v2 /coreos.com/network/subnets/192.168.13.0-24 {{"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{{"VtepMAC":"{mac}"}}}}
            "#
            )
        };
        let found = findings(&text("02:00:zz"), 306);
        assert_eq!(
            found[0].title,
            "the VtepMAC of 192.168.13.0/24 (lease of 10.1.1.187) is no hardware address: `02:00:zz`"
        );
        assert!(findings(&text("02:00:00:00:00:0b"), 306).is_empty());
    }

    #[test]
    fn a_lease_that_names_no_mac_is_passed_over_by_all() {
        let text = |data: &str| {
            format!(
                r#"
            link eth0
            link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:0a
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/32 dev flannel.1
            key v2 /coreos.com/network/config {{"Network":"192.168.0.0/16","Backend":{{"Type":"vxlan"}}}}
            key v2 /coreos.com/network/subnets/192.168.69.0-24 {{"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{{"VtepMAC":"02:00:00:00:00:0a"}}}}
            key v2 /coreos.com/network/subnets/192.168.13.0-24 {{"PublicIP":"10.1.1.187",{data}}}
            "#
            )
        };
        let without = text(r#""BackendType":"vxlan""#);
        let found = findings(&without, 306);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].title,
            "192.168.13.0/24 (lease of 10.1.1.187) names no VtepMAC"
        );
        // What flanneld never sets is not missed.
        assert!(findings(&without, 205).is_empty());
        let whole = text(r#""BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:0b"}"#);
        assert!(findings(&whole, 306).is_empty());
        assert_eq!(findings(&whole, 205).len(), 1);
        assert!(findings(&text(r#""BackendType":"host-gw""#), 306).is_empty());
    }

    #[test]
    fn the_device_of_an_earlier_vni_is_not_looked_at() {
        let text = r#"
            link eth0
            link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:77
            link flannel.7 vxlan vni 7 port 8472 mac 02:00:00:00:00:0a
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/32 dev flannel.1
            address 192.168.69.0/32 dev flannel.7
            route 192.168.13.0/24 via 192.168.13.0 dev flannel.7 onlink
            neigh 192.168.13.0 dev flannel.1 lladdr 02:00:00:00:00:66 PERMANENT
            neigh 192.168.13.0 dev flannel.7 lladdr 02:00:00:00:00:0b PERMANENT
            fdb 02:00:00:00:00:0b dev flannel.7 dst 10.1.1.187
            key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan","VNI":7}}
            key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"02:00:00:00:00:0a"}}
            key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"02:00:00:00:00:0b"}}
        "#;
        for code in [205, 306] {
            assert!(findings(text, code).is_empty(), "{code}");
        }
        // An old flanneld names no VNI in its leases: then the configuration tells.
        let unnamed = text.replace(r#"{"VNI":7,"VtepMAC""#, r#"{"VtepMAC""#);
        for code in [205, 306] {
            assert!(findings(&unnamed, code).is_empty(), "{code}");
        }
        let wrong = text.replace("mac 02:00:00:00:00:0a", "mac 02:00:00:00:00:78");
        let found = findings(&wrong, 306);
        assert!(
            found[0].title.starts_with("flannel.7 has the address"),
            "{found:?}"
        );
        let lost = text.replace("lladdr 02:00:00:00:00:0b", "lladdr 02:00:00:00:00:0c");
        let found = findings(&lost, 306);
        assert!(found[0].title.contains("on flannel.7 is"), "{found:?}");
    }

    #[test]
    fn letters_of_either_case_are_equal() {
        assert!(with("02:00:00:00:00:0A", "02:00:00:00:00:0B").is_empty());
    }
}
