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
fn all_that_is_missing_of_the_leases_is_one_finding() {
    let third = r#"key v3 /coreos.com/network/subnets/192.168.14.0-24 {"PublicIP":"10.1.1.188","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:AB"}}"#;
    let found = with(&[FDB, third]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0].title,
        "the route and the neighbour for 192.168.13.0/24 (lease of 10.1.1.187) and 1 more are missing: \
         192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink; \
         192.168.13.0 lladdr 02:00:00:00:00:AA dev flannel.1"
    );
    assert!(
        found[0].evidence[1]
            .what
            .ends_with("lacks the route and the neighbour and the fdb entry")
    );
    assert_eq!(found[0].fix.len(), 6);
}

#[test]
fn a_device_that_is_down_is_told_and_not_what_went_with_it() {
    let text = CLUSTER.replace("port 8472 mac", "port 8472 down mac");
    let found = findings(&format!("{text}\n{NEIGH}\n{FDB}"), 205);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0].title,
        "flannel.1 is down: nothing leads to 192.168.13.0/24 (lease of 10.1.1.187)"
    );
    assert_eq!(found[0].fix[0], "ip link set flannel.1 up");
    let direct = format!("{text}\nroute 192.168.13.0/24 via 10.1.1.187 dev eth0");
    assert!(findings(&direct, 205).is_empty(), "nothing needs it");
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

#[test]
fn a_device_of_another_backend_beside_the_tun_is_not_its() {
    let text = r#"
        link flannel.1 vxlan vni 1 port 8472
        link flannel0 tun
        address 192.168.69.0/32 dev flannel.1
        address 192.168.69.0/16 dev flannel0
        key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
    "#;
    let found = findings(text, 205);
    assert_eq!(
        found[0].fix[0],
        "ip link set flannel0 up && ip route replace 192.168.0.0/16 dev flannel0"
    );
    let whole = format!("{text}\nroute 192.168.0.0/16 dev flannel0");
    assert!(findings(&whole, 205).is_empty());
    let lines = text.lines().filter(|line| !line.contains("flannel0"));
    let gone = findings(&lines.collect::<Vec<_>>().join("\n"), 205);
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].title.starts_with("flannel's device is missing"));
}

#[test]
fn a_host_that_runs_with_another_backend_than_is_configured_is_another_rules() {
    let text = HOST_GW.replacen(
        r#""10.1.1.95","BackendType":"host-gw""#,
        r#""10.1.1.95","BackendType":"vxlan""#,
        1,
    );
    assert!(findings(&text, 205).is_empty());
    assert_eq!(findings(&text, 406).len(), 1);
    assert_eq!(findings(HOST_GW, 205).len(), 1);
}

/// A host of both families.
const BOTH: &str = r#"
    link eth0
    link flannel.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:01
    address 10.1.1.95/24 dev eth0
    address 192.168.69.0/32 dev flannel.1
    route 192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink
    neigh 192.168.13.0 dev flannel.1 lladdr 02:00:00:00:00:aa PERMANENT
    fdb 02:00:00:00:00:aa dev flannel.1 dst 10.1.1.187
    key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}
    key v3 /coreos.com/network/subnets/192.168.69.0-24&fd00:5:0:69::-64 {"PublicIP":"10.1.1.95","PublicIPv6":"fd00:1::95","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:61"}}
    key v3 /coreos.com/network/subnets/192.168.13.0-24&fd00:5:0:13::-64 {"PublicIP":"10.1.1.187","PublicIPv6":"fd00:1::187","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:aa"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:6a"}}
"#;
const V6_DEVICE: &str = r#"
    link flannel-v6.1 vxlan vni 1 port 8472 mac 02:00:00:00:00:61
    address fd00:5:0:69::/128 dev flannel-v6.1
    route fd00:5:0:13::/64 via fd00:5:0:13:: dev flannel-v6.1 onlink
    neigh fd00:5:0:13:: dev flannel-v6.1 lladdr 02:00:00:00:00:6a PERMANENT
    fdb 02:00:00:00:00:6a dev flannel-v6.1 dst fd00:1::187
"#;

#[test]
fn the_device_of_one_family_may_be_gone_alone() {
    let title = |more: &str| {
        let found = findings(&format!("{BOTH}{more}"), 205);
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next().map(|one| one.title)
    };
    assert_eq!(title(V6_DEVICE), None);
    assert_eq!(
        title("").as_deref(),
        Some(
            "flannel's device for IPv6 is missing: this host has the lease fd00:5:0:69::/64, and no \
             route leads to fd00:5:0:13::/64 (lease of 10.1.1.187)"
        )
    );
    // Set down, it loses its addresses.
    let down = title("link flannel-v6.1 vxlan vni 1 port 8472 down mac 02:00:00:00:00:61");
    assert!(down.is_some_and(|title| title.starts_with("flannel-v6.1 is down: ")));
    let one = BOTH.replace("&fd00:5:0:13::-64", "");
    let found = findings(&one, 205);
    assert!(found.is_empty(), "no peer has it: {found:?}");
}
