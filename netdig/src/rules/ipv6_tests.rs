//! An overlay of IPv6 alone: flannel names its leases with IPv4's zero value before them.
use super::testing::findings;
use crate::finding::Finding;

const HOST: &str = r#"
    link eth0 mtu 1500
    link flannel-v6.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:01 mtu 1430
    address 2001:db8:1::95/64 dev eth0
    address fd10:0:0:69::/128 dev flannel-v6.1
    route 2001:db8:1::/64 dev eth0 scope link
    route default6 via 2001:db8:1::1 dev eth0
    key v3 /coreos.com/network/config {"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd10::/48","Backend":{"Type":"vxlan"}}
    key v3 /coreos.com/network/subnets/0.0.0.0-0&fd10:0:0:69::-64 {"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8:1::95","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}
    key v3 /coreos.com/network/subnets/0.0.0.0-0&fd10:0:0:13::-64 {"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8:1::187","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:aa"}}
"#;
const ROUTE: &str = "route fd10:0:0:13::/64 via fd10:0:0:13:: dev flannel-v6.1 onlink";
const NEIGH: &str = "neigh fd10:0:0:13:: dev flannel-v6.1 lladdr 02:00:00:00:00:aa PERMANENT";
const FDB: &str = "fdb 02:00:00:00:00:aa dev flannel-v6.1 dst 2001:db8:1::187";

fn with(lines: &[&str], code: u16) -> Vec<Finding> {
    findings(&format!("{HOST}\n{}", lines.join("\n")), code)
}

#[test]
fn a_whole_host_of_ipv6_alone_has_no_finding() {
    let text = format!("{HOST}\n{ROUTE}\n{NEIGH}\n{FDB}\nnameserver 2001:db8:1::53");
    let found = super::testing::report(&text).findings;
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_missing_of_ipv6_is_named_with_its_command() {
    for (there, title, fix) in [
        (
            [NEIGH, FDB],
            "the route for fd10:0:0:13::/64 (lease of 2001:db8:1::187)",
            "ip route replace fd10:0:0:13::/64 via fd10:0:0:13:: dev flannel-v6.1 onlink",
        ),
        (
            [ROUTE, FDB],
            "the neighbour for fd10:0:0:13::/64",
            "ip neigh replace fd10:0:0:13:: lladdr 02:00:00:00:00:aa dev flannel-v6.1 nud permanent",
        ),
        (
            [ROUTE, NEIGH],
            "the fdb entry for fd10:0:0:13::/64",
            "bridge fdb replace 02:00:00:00:00:aa dev flannel-v6.1 dst 2001:db8:1::187",
        ),
    ] {
        let found = with(&there, 205);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].title.starts_with(title), "{}", found[0].title);
        assert_eq!(found[0].fix[0], fix);
    }
}

#[test]
fn a_peer_behind_its_own_tunnel_and_a_nameserver_in_it() {
    let all = [
        ROUTE,
        NEIGH,
        FDB,
        "route 2001:db8:1::187/128 dev flannel-v6.1",
    ];
    let found = with(&all, 103);
    assert!(found[0].title.contains("2001:db8:1::187"), "{found:?}");
    let nameserver = [
        ROUTE,
        NEIGH,
        FDB,
        "nameserver fd10::2",
        "route fd10::/48 dev flannel-v6.1",
    ];
    assert_eq!(with(&nameserver, 102).len(), 1);
    assert!(with(&[ROUTE, NEIGH, FDB, "nameserver 10.1.0.2"], 102).is_empty());
}

#[test]
fn the_underlay_in_the_overlays_range() {
    let text = HOST.replace("2001:db8:1:", "fd10:0:0:1:");
    let found = findings(&format!("{text}\n{ROUTE}\n{NEIGH}"), 101);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].title.contains("fd10:0:0:1::/64 on eth0"),
        "{}",
        found[0].title
    );
}

#[test]
fn packets_around_it_are_of_ipv6() {
    let larger = HOST.replace("mtu 1430", "mtu 1450");
    let found = findings(&larger, 301);
    assert!(found[0].title.contains("carries 1430"), "{found:?}");
    assert!(with(&[], 301).is_empty());
}

#[test]
fn the_device_has_another_address_than_the_lease_names() {
    let text = HOST.replace("8472 mac 02:00:00:00:00:01", "8472 mac 02:00:00:00:00:77");
    assert_eq!(findings(&text, 306).len(), 1);
    let other = NEIGH.replace("00:aa", "00:bb");
    assert_eq!(with(&[&other], 306).len(), 1);
    assert!(with(&[NEIGH], 306).is_empty());
}

#[test]
fn nobody_answers_for_a_peer() {
    let found = with(&["neigh 2001:db8:1::187 dev eth0 FAILED"], 408);
    assert!(found[0].title.contains("2001:db8:1::187"), "{found:?}");
    assert!(found[0].evidence[0].what.contains("PublicIPv6"));
    assert!(with(&[], 408).is_empty());
}

/// Both families: each has its own device, and IPv4 names the lease.
#[test]
fn a_host_of_both_families_lacks_what_either_lacks() {
    let both = r#"
        link eth0
        link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:01
        link flannel-v6.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:02
        address 10.1.1.95/24 dev eth0
        address 2001:db8:1::95/64 dev eth0
        address 192.168.69.0/32 dev flannel.1
        address fd10:0:0:69::/128 dev flannel-v6.1
        route 192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink
        neigh 192.168.13.0 dev flannel.1 lladdr 02:00:00:00:00:0a PERMANENT
        fdb 02:00:00:00:00:0a dev flannel.1 dst 10.1.1.187
        key v3 /coreos.com/network/config {"EnableIPv6":true,"Network":"192.168.0.0/16","IPv6Network":"fd10::/48","Backend":{"Type":"vxlan"}}
        key v3 /coreos.com/network/subnets/192.168.69.0-24&fd10:0:0:69::-64 {"PublicIP":"10.1.1.95","PublicIPv6":"2001:db8:1::95","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}}
        key v3 /coreos.com/network/subnets/192.168.13.0-24&fd10:0:0:13::-64 {"PublicIP":"10.1.1.187","PublicIPv6":"2001:db8:1::187","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:0a"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:aa"}}
    "#;
    let found = findings(&format!("{both}\n{ROUTE}\n{NEIGH}"), 205);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].title.contains("dst 2001:db8:1::187"),
        "{}",
        found[0].title
    );
    assert!(findings(&format!("{both}\n{ROUTE}\n{NEIGH}\n{FDB}"), 205).is_empty());
    assert!(findings(&format!("{both}\n{ROUTE}\n{NEIGH}\n{FDB}"), 306).is_empty());
}
