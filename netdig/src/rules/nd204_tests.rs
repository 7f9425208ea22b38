//! Routes that no lease backs, and those that only look like it.
use crate::finding::Confidence;
use crate::rules::testing::findings;

const HOST: &str = r#"
    link eth0
    link flannel0 tun mtu 1472
    address 10.1.1.95/24 dev eth0
    address 192.168.69.0/16 dev flannel0
    route 192.168.0.0/16 dev flannel0 src 192.168.69.0 proto kernel scope link
    route 192.168.69.0/24 dev docker0 scope link
    route 10.1.1.0/24 dev eth0 scope link
    key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}
    key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
    key v2 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
"#;

fn with(line: &str) -> Vec<crate::finding::Finding> {
    findings(&format!("{HOST}\n{line}"), 204)
}

#[test]
fn a_route_without_a_lease_is_stale() {
    let found = with("route 192.168.77.0/24 via 10.1.1.177 dev eth0 onlink");
    assert_eq!(found.len(), 1);
    assert!(found[0].title.contains("192.168.77.0/24 via 10.1.1.177"));
    assert_eq!(
        found[0].fix,
        [
            "ip route del 192.168.77.0/24 via 10.1.1.177 dev eth0",
            STAYS
        ]
    );
    // It may be a network that somebody has there.
    assert_eq!(found[0].confidence, Confidence::Likely);
    let through = with("route 192.168.77.0/24 via 192.168.77.0 dev flannel0 onlink");
    assert_eq!(through[0].confidence, Confidence::Certain);
    assert_eq!(through[0].fix.len(), 1);
}

const STAYS: &str =
    "# a network that is really there, and needed, stays: then give the overlay another range";

#[test]
fn a_network_behind_the_underlays_router_is_nd101s() {
    let router = "route default via 10.1.1.1 dev eth0\n";
    for line in [
        "route 192.168.77.0/24 via 10.1.1.1 dev eth0 proto static",
        "route 192.168.77.0/24 via 10.1.1.9 dev eth0 proto static",
        "route 192.168.77.0/24 via 10.1.1.1 dev eth0",
    ] {
        let text = format!("{HOST}\n{router}{line}");
        assert!(findings(&text, 204).is_empty(), "{line}");
        let found = findings(&text, 101);
        assert_eq!(found.len(), 1, "{line}");
        assert!(found[0].fix.contains(&STAYS.to_owned()), "{:?}", found[0]);
    }
    // Where a lease has it, it is the lease's packets that go there.
    let leased = "route 192.168.13.0/24 via 10.1.1.1 dev eth0 proto static";
    let text = format!("{HOST}\n{router}{leased}");
    assert_eq!(findings(&text, 204).len(), 1);
    assert!(findings(&text, 101).is_empty());
}

#[test]
fn a_part_of_this_hosts_own_subnet_that_is_led_away_is_found_once() {
    for (to, dev) in [
        ("192.168.69.128/25", "eth0"),
        ("192.168.69.77/32", "eth0"),
        ("192.168.69.128/25", "eth0 proto static"),
        ("192.168.69.0/25", "flannel0"),
    ] {
        let text = format!("{HOST}\nroute {to} via 10.1.1.1 dev {dev}");
        let found = findings(&text, 204);
        assert_eq!(found.len(), 1, "{to} {dev}: {found:?}");
        let title = format!("the route {to} via 10.1.1.1 dev");
        let own = "takes packets away from this host's own subnet 192.168.69.0/24";
        assert!(found[0].title.starts_with(&title), "{}", found[0].title);
        assert!(found[0].title.ends_with(own), "{}", found[0].title);
        let fix = format!("ip route del {to} via 10.1.1.1 dev");
        assert!(found[0].fix[0].starts_with(&fix), "{:?}", found[0].fix);
        assert!(findings(&text, 101).is_empty());
    }
    let bridge = "route 192.168.69.0/24 dev docker0 scope link";
    let whole = "route 192.168.69.0/24 via 10.1.1.1 dev eth0";
    let text = HOST.replace(bridge, whole);
    assert_eq!(findings(&text, 204).len(), 1);
    // The bridge's own wins.
    assert!(with(&format!("{whole} metric 100")).is_empty());
}

#[test]
fn what_stands_on_this_host_may_have_a_part_of_its_subnet() {
    for more in [
        "link docker0 bridge\nroute 192.168.69.128/25 via 192.168.69.5 dev docker0",
        "link virbr0 bridge\nroute 192.168.69.128/25 via 192.168.122.5 dev virbr0",
        "link veth7 veth\nroute 192.168.69.7 via 169.254.1.1 dev veth7",
        "route 192.168.69.128/25 via 10.1.1.1 dev eth0 proto bird",
        "route 192.168.69.128/25 via 192.168.69.9 dev eth0",
        // A peer's own address, pinned to the underlay as ND103 proposes it.
        "key v2 /coreos.com/network/subnets/192.168.14.0-24 {\"PublicIP\":\"192.168.69.200\"}\nroute 192.168.69.200 via 10.1.1.1 dev eth0",
        "route 192.168.69.128/25 via 10.1.1.1 dev eth0\nlookup subnet 192.168.69.129 dev docker0",
        "rule 100 from 10.9.0.0/16 lookup 7\nrule 32766 lookup 254\nroute 192.168.69.128/25 via 10.1.1.1 dev eth0 table 7",
    ] {
        assert!(with(more).is_empty(), "{more}: {:?}", with(more));
    }
    // The only card of a machine that is a container itself.
    let card = HOST.replace("link eth0", "link eth0 veth");
    let text = format!("{card}\nroute 192.168.69.128/25 via 10.1.1.1 dev eth0");
    assert_eq!(findings(&text, 204).len(), 1);
}

#[test]
fn so_is_one_that_takes_a_part_of_a_lease_elsewhere() {
    let found = with(
        "rule 100 lookup 7\nrule 32766 lookup 254\nroute 192.168.13.0/25 via 10.1.1.177 dev eth0 metric 5 table 7",
    );
    assert!(found[0].title.contains("10.1.1.187"), "{}", found[0].title);
    assert!(found[0].fix[0].ends_with("metric 5 table 7"));
}

#[test]
fn routes_of_flannels_own_and_of_others_are_not() {
    for line in [
        "route 192.168.13.0/24 via 10.1.1.187 dev eth0",
        "route 192.168.13.0/24 via 192.168.13.0 dev flannel0 onlink",
        "route 192.168.69.128/25 via 192.168.69.5 dev docker0",
        "route 192.168.64.0/18 via 10.1.1.1 dev eth0",
        "route 172.16.0.0/12 via 10.1.1.1 dev eth0",
        "route 192.168.0.0/16 via 10.1.1.1 dev eth0 metric 1024",
        "route 192.168.200.0/24 dev eth1 scope link",
        "route 192.168.128.0/17 via 10.1.1.1 dev eth0",
        "route 192.168.77.0/24 via 10.1.1.1 dev eth0 proto bird",
        "rule 100 from 10.9.0.0/16 lookup 7\nrule 32766 lookup 254\nroute 192.168.77.0/24 via 10.1.1.1 dev eth0 table 7",
    ] {
        assert!(with(line).is_empty(), "{line}");
    }
}

#[test]
fn one_route_is_one_finding() {
    for line in [
        "route 192.168.77.0/24 via 10.1.1.177 dev eth0 onlink",
        "route 192.168.13.0/25 via 10.1.1.177 dev eth0 proto static",
        "route 192.168.13.0/25 via 10.1.1.177 dev eth0 proto bird",
        "route 192.168.13.0/24 via 10.1.1.177 dev eth0",
    ] {
        let text = format!("{HOST}\n{line}");
        assert_eq!(findings(&text, 204).len(), 1, "{line}");
        assert!(findings(&text, 101).is_empty(), "{line}");
    }
    let range = format!("{HOST}\nroute 192.168.13.0/24 via 10.1.1.1 dev eth0 proto bird");
    assert_eq!(
        (findings(&range, 101).len(), findings(&range, 204).len()),
        (1, 0)
    );
}

#[test]
fn a_part_of_an_ipv6_lease_taken_elsewhere_is_found_too() {
    let text = HOST.replace(
        r#""Network""#,
        r#""EnableIPv6":true,"IPv6Network":"fd00:1::/56","Network""#,
    );
    let text = text.replace("192.168.13.0-24 {", r#"192.168.13.0-24&fd00:1:0:d::-64 {"#);
    let line = "route fd00:1:0:d::/72 via fe80::7 dev eth0";
    let found = findings(&format!("{text}\n{line}"), 204);
    assert!(
        found.len() == 1 && found[0].title.contains("fd00:1:0:d::/72"),
        "{found:?}"
    );
}

#[test]
fn without_leases_nothing_is_known() {
    let text = "link flannel0 tun\naddress 192.168.69.0/16 dev flannel0\n\
                route 192.168.77.0/24 via 10.1.1.177 dev eth0";
    assert!(findings(text, 204).is_empty());
}

const VXLAN: &str = r#"
    link eth0
    link flannel.1 vxlan vni 1 port 8472
    address 10.1.1.95/24 dev eth0
    address 10.5.1.0/32 dev flannel.1
    route default via 10.1.1.1 dev eth0
    route 10.1.1.0/24 dev eth0 proto kernel scope link
    key v3 /coreos.com/network/config {"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}
    key v3 /coreos.com/network/subnets/10.5.1.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan"}
    key v3 /coreos.com/network/subnets/10.5.7.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}}
    key v3 /coreos.com/network/subnets/10.5.9.0-24 {"PublicIP":"10.1.1.188","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}
    route 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink
"#;
const OWN: &str = "route 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink\n";

#[test]
fn a_lease_or_a_part_of_it_led_to_another_vtep_is_found() {
    let part = "route 10.5.7.128/25 via 10.5.9.0 dev flannel.1 onlink";
    let found = findings(&format!("{VXLAN}{OWN}{part}"), 204);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].title.contains("10.5.7.128/25 via 10.5.9.0"),
        "{}",
        found[0].title
    );
    assert_eq!(
        found[0].fix,
        ["ip route del 10.5.7.128/25 via 10.5.9.0 dev flannel.1"]
    );
    for via in ["10.5.9.0", "10.5.99.0"] {
        let whole = format!("route 10.5.7.0/24 via {via} dev flannel.1 onlink");
        let found = findings(&format!("{VXLAN}{whole}"), 204);
        assert_eq!(found.len(), 1, "{found:?}");
        let right = "ip route replace 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink";
        assert_eq!(found[0].fix, [right]);
    }
}

#[test]
fn a_gateway_on_the_device_that_is_the_lease_holders_is_right() {
    for more in [
        "route 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink",
        "route 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink\nroute 10.5.7.128/25 via 10.5.7.1 dev flannel.1 onlink",
        "route 10.5.7.0/24 via 10.1.1.187 dev eth0",
        "route 10.5.7.0/24 via 10.5.200.1 dev flannel.1 onlink\nneigh 10.5.200.1 dev flannel.1 lladdr 02:00:00:00:00:07 PERMANENT",
        // It loses to flannel's own.
        "route 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink\nroute 10.5.7.0/24 via 10.1.1.177 dev eth0 metric 500",
        // The kernel says that something else decides.
        "route 10.5.7.0/24 via 10.1.1.177 dev eth0\nlookup subnet 10.5.7.1 dev flannel.1 via 10.5.7.0",
    ] {
        let found = findings(&format!("{VXLAN}{more}"), 204);
        assert!(found.is_empty(), "{more}: {found:?}");
    }
}

#[test]
fn a_route_that_refuses_a_lease_or_a_part_of_it_is_found_once() {
    for kind in ["blackhole", "unreachable", "prohibit"] {
        let part = format!("{VXLAN}{OWN}route 10.5.7.0/25 kind {kind}");
        let found = findings(&part, 204);
        assert_eq!(found.len(), 1, "{found:?}");
        let title = format!("the {kind} route 10.5.7.0/25 refuses packets for 10.5.7.0/24");
        assert!(found[0].title.starts_with(&title), "{}", found[0].title);
        assert_eq!(found[0].fix, [format!("ip route del {kind} 10.5.7.0/25")]);
        assert!(findings(&part, 101).is_empty());
        let whole = findings(&format!("{VXLAN}route 10.5.7.0/24 kind {kind}"), 204);
        let right = "ip route replace 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink";
        assert_eq!(
            whole[0].fix,
            [format!("ip route del {kind} 10.5.7.0/24").as_str(), right]
        );
    }
    // Before flannel's own route, by its metric.
    let own = OWN.trim_end();
    let first = format!("{VXLAN}{own} metric 50\nroute 10.5.7.0/24 kind prohibit metric 5");
    let found = findings(&first, 204);
    assert_eq!(found.len(), 1, "{found:?}");
    let title = "the prohibit route 10.5.7.0/24";
    assert!(found[0].title.starts_with(title), "{}", found[0].title);
    for more in [
        // Its own range, none of a lease's, wider than the leases' routes, one that waits.
        "route 10.5.1.0/24 kind blackhole",
        "route 10.5.64.0/24 kind blackhole",
        "route 10.5.0.0/17 kind blackhole",
        "route 10.5.7.0/24 kind unreachable metric 4278198272",
    ] {
        let text = format!("{VXLAN}{OWN}{more}");
        assert!(
            findings(&text, 204).is_empty() && findings(&text, 101).is_empty(),
            "{more}"
        );
    }
}

#[test]
fn a_wrong_gateway_of_host_gw_is_replaced() {
    let text = VXLAN
        .replace("\"vxlan\"", "\"host-gw\"")
        .replace("link flannel.1 vxlan vni 1 port 8472\n", "")
        .replace("address 10.5.1.0/32 dev flannel.1\n", "")
        .replace(
            "via 10.5.9.0 dev flannel.1 onlink",
            "via 10.1.1.188 dev eth0",
        );
    let wrong = "route 10.5.7.0/24 via 10.1.1.177 dev eth0";
    let found = findings(&format!("{text}{wrong}"), 204);
    assert_eq!(found.len(), 1, "{found:?}");
    let right = "ip route replace 10.5.7.0/24 via 10.1.1.187 dev eth0";
    assert_eq!(found[0].fix, [right]);
    let metric = findings(&format!("{text}{wrong} metric 100"), 204);
    let delete = "ip route del 10.5.7.0/24 via 10.1.1.177 dev eth0 metric 100";
    assert_eq!(metric[0].fix, [delete, right]);
}

#[test]
fn many_stale_routes_are_one_finding() {
    let more: String = (100..120)
        .map(|n| format!("route 192.168.{n}.0/24 via 10.1.1.177 dev eth0\n"))
        .collect();
    let found = with(&more);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0]
            .title
            .contains("192.168.100.0/24 via 10.1.1.177 dev eth0 and 19 more")
    );
    assert_eq!(found[0].fix.len(), 10);
    assert_eq!(found[0].fix[8], "# and so for 12 more routes");
    assert_eq!(found[0].fix[9], STAYS);
}

#[test]
fn one_address_pinned_to_the_underlay_is_no_stale_route() {
    // As ND102 and ND103 propose it.
    assert!(with("route 192.168.0.53 via 10.1.1.1 dev eth0").is_empty());
    // Taken out of a lease, it takes packets away.
    assert_eq!(with("route 192.168.13.53 via 10.1.1.1 dev eth0").len(), 1);
}

/// vxlan was given up for udp, and flannel.1 stays with what flanneld set then.
#[test]
fn a_route_through_the_device_that_a_change_of_backend_left_takes_the_lease_away() {
    let left = "link flannel.1 vxlan vni 1\naddress 192.168.69.0/32 dev flannel.1
        route 192.168.13.0/24 via 192.168.13.0 dev flannel.1 onlink";
    let found = with(left);
    assert_eq!(found.len(), 1, "{found:?}");
    let delete = "ip route del 192.168.13.0/24 via 192.168.13.0 dev flannel.1";
    assert_eq!(found[0].fix, [delete]);
    let host_gw = VXLAN.replace("\"vxlan\"", "\"host-gw\"");
    let found = findings(&format!("{host_gw}{OWN}"), 204);
    assert_eq!(found.len(), 1, "{found:?}");
    let right = "ip route replace 10.5.7.0/24 via 10.1.1.187 dev eth0".to_owned();
    assert!(found[0].fix.contains(&right), "{:?}", found[0].fix);
}

#[test]
fn a_host_that_still_runs_with_the_backend_of_before_has_its_device() {
    // Others have changed, or the configuration has: ND406 speaks of it.
    let key = "10.5.7.0-24 {\"PublicIP\":\"10.1.1.187\",\"BackendType\":";
    let other = VXLAN.replace(&format!("{key}\"vxlan\""), &format!("{key}\"udp\""));
    assert_ne!(other, VXLAN);
    assert!(findings(&format!("{other}{OWN}"), 204).is_empty());
    let config = VXLAN.replace("{\"Type\":\"vxlan\"}", "{\"Type\":\"udp\"}");
    assert!(findings(&format!("{config}{OWN}"), 204).is_empty());
}
