//! Shapes of ranges that collide, and of those that only look like it.
use crate::finding::{Code, Confidence, Finding, Severity};
use crate::rules::testing::{findings, report};

/// A host at 10.1.1.95 whose tunnel carries `network`, with `own` as its subnet.
fn host(network: &str, own: &str, more: &str) -> String {
    let first = own.split('/').next().expect("an address");
    let key = own.replace('/', "-");
    format!(
        r#"
        link lo
        link eth0
        link flannel0 tun mtu 1472
        link docker0 bridge
        address 127.0.0.1/8 dev lo scope host
        address 10.1.1.95/24 dev eth0
        address {first}/32 dev flannel0
        route default via 10.1.1.1 dev eth0
        route 10.1.1.0/24 dev eth0 proto kernel scope link
        route {network} dev flannel0
        route 10.1.1.95 kind local dev eth0 table 255
        key v3 /coreos.com/network/config {{"Network":"{network}","Backend":{{"Type":"udp","Port":8285}}}}
        key v3 /coreos.com/network/subnets/{key} {{"PublicIP":"10.1.1.95"}}
        {more}"#
    )
}

fn only(text: &str) -> Finding {
    let mut found = findings(text, 101);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn evidence(finding: &Finding) -> String {
    let all = finding.evidence.iter();
    all.map(|one| format!("{}: {} [{}]\n", one.source, one.what, one.place))
        .collect()
}

#[test]
fn the_underlay_inside_the_overlay() {
    let text = host(
        "10.1.0.0/16",
        "10.1.88.0/24",
        "lookup gateway 10.1.1.1 dev eth0\nlookup etcd 10.1.7.9 dev flannel0",
    );
    let one = only(&text);
    assert_eq!(one.severity, Severity::Critical);
    for part in [
        "10.1.0.0/16",
        "flannel0",
        "10.1.1.0/24 on eth0",
        "etcd 10.1.7.9",
    ] {
        assert!(one.title.contains(part), "{part}: {}", one.title);
    }
    let evidence = evidence(&one);
    assert!(evidence.contains("wins for 10.1.1.0/24"), "{evidence}");
    assert!(
        evidence.contains("etcd 10.1.7.9 leaves by flannel0"),
        "{evidence}"
    );
}

#[test]
fn the_overlay_inside_a_route_of_the_underlay() {
    let text = host(
        "10.1.2.0/23",
        "10.1.2.0/25",
        "route 10.1.0.0/16 via 10.1.1.1 dev eth0",
    );
    let one = only(&text);
    assert!(
        one.title
            .contains("10.1.2.0/23 on flannel0 overlaps 10.1.0.0/16 on eth0"),
        "{}",
        one.title
    );
    let evidence = evidence(&one);
    assert!(evidence.contains("by its longer prefix"), "{evidence}");
}

#[test]
fn of_equal_ranges_the_metric_decides() {
    let lease = "key v3 /coreos.com/network/subnets/10.1.2.64-26 {\"PublicIP\":\"10.1.1.187\"}\n";
    let wins = host(
        "10.1.2.0/24",
        "10.1.2.0/26",
        &format!("{lease}route 10.1.2.0/24 via 10.1.1.1 dev eth0 metric 1024"),
    );
    let found = evidence(&only(&wins));
    assert!(
        found.contains("wins for 10.1.2.0/24, by its lower metric"),
        "{found}"
    );
    let loses = wins.replace(
        "route 10.1.2.0/24 dev flannel0",
        "route 10.1.2.0/24 dev flannel0 metric 2048",
    );
    let one = only(&loses);
    assert!(
        one.title.contains("the underlay takes lease 10.1.2.64/26"),
        "{}",
        one.title
    );
    assert!(
        evidence(&one).contains("metric 1024 (table main)]"),
        "{}",
        evidence(&one)
    );
}

#[test]
fn a_longer_route_takes_a_lease_away() {
    let text = host(
        "172.20.0.0/16",
        "172.20.5.0/24",
        "key v3 /coreos.com/network/subnets/172.20.9.0-24 {\"PublicIP\":\"10.1.1.187\"}\nroute 172.20.8.0/21 via 10.1.1.1 dev eth0",
    );
    let one = only(&text);
    assert!(
        one.title.contains("the underlay takes lease 172.20.9.0/24"),
        "{}",
        one.title
    );
}

#[test]
fn a_route_of_another_table_counts_where_a_rule_leads_there() {
    let text = host(
        "172.20.0.0/16",
        "172.20.5.0/24",
        "rule 0 lookup 255\nrule 100 from 10.8.0.0/16 lookup 7\nrule 32766 lookup 254\nroute 172.20.0.0/14 via 10.1.1.1 dev eth0 table 7",
    );
    assert!(only(&text).title.contains("172.20.0.0/14 on eth0"));
    let unused = text.replace("lookup 7", "lookup 8");
    assert!(findings(&unused, 101).is_empty());
}

#[test]
fn what_is_the_overlays_own_collides_with_nothing() {
    let own = "address 192.168.69.1/24 dev docker0\nroute 192.168.69.0/24 dev docker0 proto kernel\nroute 192.168.13.0/24 via 10.1.1.187 dev eth0\nkey v3 /coreos.com/network/subnets/192.168.13.0-24 {\"PublicIP\":\"10.1.1.187\"}\nroute 192.168.69.1 kind local dev docker0 table 255";
    let text = host("192.168.0.0/16", "192.168.69.0/24", own);
    assert!(
        findings(&text, 101).is_empty(),
        "{:?}",
        findings(&text, 101)
    );
    // The range of an older lease on docker0 is ND106's.
    let stale = text.replace("192.168.69.1/24 dev docker0", "192.168.77.1/24 dev docker0");
    assert!(findings(&stale, 101).is_empty());
}

#[test]
fn halves_of_the_default_route_are_no_range() {
    let vpn = "link tun0 tun\naddress 10.8.0.6/24 dev tun0\nroute 0.0.0.0/1 via 10.8.0.1 dev tun0\nroute 128.0.0.0/1 via 10.8.0.1 dev tun0\nroute unspec kind unreachable";
    let vpn = vpn.replace(
        "route unspec kind unreachable",
        "route 192.168.0.0/16 kind unreachable metric 4278198272",
    );
    let text = host("192.168.0.0/16", "192.168.69.0/24", &vpn);
    assert!(
        findings(&text, 101).is_empty(),
        "{:?}",
        findings(&text, 101)
    );
}

#[test]
fn a_left_over_route_by_itself_is_no_collision_of_ranges() {
    let text = host(
        "192.168.0.0/16",
        "192.168.69.0/24",
        "route 192.168.77.0/24 via 10.1.1.177 dev eth0 onlink",
    );
    assert!(findings(&text, 101).is_empty());
    let lan = host(
        "192.168.0.0/16",
        "192.168.69.0/24",
        "route 192.168.77.0/24 via 10.1.1.177 dev eth0 proto bird",
    );
    assert!(only(&lan).title.contains("192.168.77.0/24"));
}

#[test]
fn a_nameserver_behind_the_default_route_is_caught_without_any_range_of_ours() {
    let text = host(
        "172.20.0.0/16",
        "172.20.5.0/24",
        "key v3 /coreos.com/network/subnets/172.20.9.0-24 {\"PublicIP\":\"10.1.1.187\"}\nnameserver 172.20.0.2",
    );
    let one = only(&text);
    assert!(
        one.title.contains("takes nameserver 172.20.0.2"),
        "{}",
        one.title
    );
    assert_eq!(findings(&text, 102)[0].cause, Some(Code(101)));
}

#[test]
fn of_several_networks_the_one_that_collides_is_named() {
    let text = r#"
        link eth0
        link flannel0 tun
        link flannel1 tun
        address 10.1.1.95/24 dev eth0
        address 10.1.88.0/32 dev flannel0
        address 192.168.69.0/32 dev flannel1
        route 10.1.0.0/16 dev flannel0
        route 192.168.0.0/16 dev flannel1
        route 10.1.1.0/24 dev eth0 proto kernel
        key v3 /coreos.com/network/blue/config {"Network":"10.1.0.0/16"}
        key v3 /coreos.com/network/blue/subnets/10.1.88.0-24 {"PublicIP":"10.1.1.95"}
        key v3 /coreos.com/network/green/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/green/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
        key v3 /elsewhere/config {"Network":"10.1.1.0/25"}
    "#;
    let one = only(text);
    assert!(
        one.title.contains("10.1.0.0/16 on flannel0"),
        "{}",
        one.title
    );
    let fix = one.fix.join("\n");
    assert!(
        fix.contains("put /coreos.com/network/blue/config '{\"Network\":\"172.16.0.0/16\"}'"),
        "{fix}"
    );
}

#[test]
fn the_backend_stays_and_the_bounds_go_when_the_key_is_written() {
    let text = host("10.1.0.0/16", "10.1.88.0/24", "").replace(
        "\"Backend\"",
        "\"SubnetMin\":\"10.1.8.0\",\"SubnetLen\":24,\"Backend\"",
    );
    let fix = only(&text).fix.join("\n");
    assert!(
        fix.contains("ETCDCTL_API=3 etcdctl put /coreos.com/network/config"),
        "{fix}"
    );
    assert!(
        fix.contains("\"Port\":8285")
            && fix.contains("\"SubnetLen\":24")
            && !fix.contains("SubnetMin"),
        "{fix}"
    );
    let v2 = text.replace("key v3", "key v2");
    assert!(
        only(&v2)
            .fix
            .join("\n")
            .contains("ETCDCTL_API=2 etcdctl set /coreos.com/network/config")
    );
}

#[test]
fn vxlan_and_host_gw_without_a_registry() {
    let vxlan = r#"
        link eth0
        link flannel.1 vxlan
        address 10.244.2.7/24 dev eth0
        address 10.244.0.0/32 dev flannel.1
        route 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
        route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink metric 5
        route 10.244.2.0/24 dev eth0 proto kernel scope link
    "#;
    assert!(only(vxlan).title.contains("10.244.2.0/24 on eth0"));
    assert!(
        findings(
            &vxlan.replace("10.244.2.7/24", "192.0.2.7/24").replace(
                "route 10.244.2.0/24 dev eth0",
                "route 192.0.2.0/24 dev eth0"
            ),
            101
        )
        .is_empty()
    );
    let gateway = r#"
        link eth0
        link cni0 bridge
        address 192.0.2.7/24 dev eth0
        address 10.244.0.1/24 dev cni0
        route 192.0.2.0/24 dev eth0 proto kernel
        route 10.244.1.0/24 via 192.0.2.8 dev eth0
        route 10.244.0.0/24 dev cni0 proto kernel
        key v3 /coreos.com/network/config {"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}
        key v3 /coreos.com/network/subnets/10.244.0.0-24 {"PublicIP":"192.0.2.7","BackendType":"host-gw"}
        key v3 /coreos.com/network/subnets/10.244.1.0-24 {"PublicIP":"192.0.2.8","BackendType":"host-gw"}
    "#;
    assert!(findings(gateway, 101).is_empty());
    assert!(
        !findings(
            &gateway.replace("192.0.2.7/24 dev eth0", "10.244.9.7/22 dev eth0"),
            101
        )
        .is_empty()
    );
}

#[test]
fn a_host_without_an_overlay_says_nothing() {
    let text = "link eth0\naddress 10.1.1.95/24 dev eth0\nroute default via 10.1.1.1 dev eth0\nnameserver 10.1.0.2";
    assert!(report(text).findings.is_empty());
}

#[test]
fn an_address_that_is_pinned_to_the_underlay_is_no_collision_of_ranges() {
    let text = host(
        "172.20.0.0/16",
        "172.20.5.0/24",
        "route 172.20.0.53 dev eth0\nnameserver 172.20.0.53\nlookup nameserver 172.20.0.53 dev eth0",
    );
    assert!(findings(&text, 101).is_empty() && findings(&text, 102).is_empty());
    // An address of the link's own prefix is another matter.
    let link = format!("{text}\nroute 172.20.0.0/24 dev eth0 proto kernel");
    assert_eq!(findings(&link, 101).len(), 1);
}

/// Without the registry nothing says whose they are: the overlay's own next hops are no
/// gateways that it took.
#[test]
fn next_hops_of_vxlan_are_no_gateways() {
    let text = "
        link eth0
        link flannel.7 vxlan vni 7 port 8472 mtu 1450
        link cni0 bridge mtu 1450
        address 172.20.8.11/22 dev eth0
        address 100.65.16.0/32 dev flannel.7
        address 100.65.16.1/20 dev cni0
        route default via 172.20.8.1 dev eth0
        route 172.20.8.0/22 dev eth0 scope link proto kernel
        route 100.65.16.0/20 dev cni0 scope link proto kernel
        route 100.66.32.0/20 via 100.66.32.0 dev flannel.7 onlink
        route 100.66.48.0/20 via 100.66.48.0 dev flannel.7 onlink
        lookup gateway 172.20.8.1 dev eth0
        lookup gateway 100.66.32.0 dev flannel.7
        lookup gateway 100.66.48.0 dev flannel.7
    ";
    assert!(crate::rules::testing::findings(text, 101).is_empty());
}

const TWO: &str = "
    link eth0
    link flannel.1 vxlan vni 1 port 8472
    link flannel.2 vxlan vni 2 port 8473
    address 192.0.2.7/24 dev eth0
    address 10.5.1.0/32 dev flannel.1
    address 10.6.1.0/32 dev flannel.2
    route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    route 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink
";

#[test]
fn two_overlays_without_a_registry_that_overlap() {
    let text = format!("{TWO}route 10.5.7.128/25 via 10.6.7.0 dev flannel.2 onlink");
    let one = only(&text);
    assert!(
        one.title
            .contains("on flannel.1 overlaps the overlay network 10.5.7.128/25 on flannel.2"),
        "{}",
        one.title
    );
    assert_eq!(one.confidence, Confidence::Likely);
    let mut context = crate::rules::testing::context("link eth0\naddress 192.0.2.7/24 dev eth0");
    for (file, network) in [("a", "10.5.0.0/16"), ("b", "10.5.128.0/17")] {
        context
            .files
            .subnet_env
            .push(crate::context::files::SubnetEnv {
                file: format!("/run/flannel/{file}.env"),
                network: vec![network.parse().expect("a range")],
                ..Default::default()
            });
    }
    let found = crate::rules::evaluate(&crate::rules::View::new(&context, None)).findings;
    let titles: Vec<_> = found
        .iter()
        .map(|one| (one.code, one.title.as_str()))
        .collect();
    let title = "overlay network 10.5.0.0/16 overlaps the overlay network 10.5.128.0/17";
    assert_eq!(titles, [(Code(101), title)]);
}

#[test]
fn two_devices_of_one_overlay_or_one_that_was_left_are_usual() {
    for more in [
        "",
        "route 10.6.7.0/24 via 10.6.7.0 dev flannel.2 onlink",
        "link flannel-v6.1 vxlan vni 1\naddress fd00:5::/128 dev flannel-v6.1\nroute fd00:5:0:1::/64 via fd00:5:0:1:: dev flannel-v6.1 onlink",
        // The backend was udp once.
        "link flannel0 tun down\naddress 10.5.1.0/16 dev flannel0",
        "link flannel0 tun\naddress 10.5.1.0/16 dev flannel0\nroute 10.5.0.0/16 dev flannel0 proto kernel",
        // No address of its own: it is the other's, of another name.
        "link flannel.3 vxlan vni 3\nroute 10.5.7.128/25 via 10.5.7.128 dev flannel.3 onlink",
    ] {
        let text = format!("{TWO}{more}");
        assert!(
            findings(&text, 101).is_empty(),
            "{more}: {:?}",
            findings(&text, 101)
        );
    }
}

/// A range that nobody needs to change: the route is what is wrong.
#[test]
fn a_route_set_by_hand_into_the_range_is_taken_away() {
    let lease = "key v3 /coreos.com/network/subnets/172.20.9.0-24 {\"PublicIP\":\"10.1.1.187\"}";
    for (route, fix) in [
        (
            "route 172.20.8.0/21 via 10.1.1.1 dev eth0 metric 20",
            "ip route del 172.20.8.0/21 via 10.1.1.1 dev eth0 metric 20",
        ),
        (
            "route 172.20.8.0/21 kind blackhole",
            "ip route del blackhole 172.20.8.0/21",
        ),
        (
            "rule 9 lookup 7\nrule 32766 lookup 254\nroute 172.20.8.0/21 dev eth1 table 7 proto static",
            "ip route del 172.20.8.0/21 dev eth1 table 7",
        ),
    ] {
        let text = host(
            "172.20.0.0/16",
            "172.20.5.0/24",
            &format!("{lease}\n{route}"),
        );
        let one = only(&text);
        assert_eq!(one.fix[0], fix);
        assert!(!one.fix.join("\n").contains("etcdctl"), "{:?}", one.fix);
        assert!(
            one.title.contains("takes lease 172.20.9.0/24"),
            "{}",
            one.title
        );
        assert!(findings(&text, 204).is_empty());
    }
}

#[test]
fn a_links_own_prefix_or_a_daemons_route_wants_another_range() {
    let lease = "key v3 /coreos.com/network/subnets/172.20.9.0-24 {\"PublicIP\":\"10.1.1.187\"}";
    for route in [
        "route 172.20.8.0/21 via 10.1.1.1 dev eth0 proto bird",
        "route 172.20.8.0/21 dev eth1 scope link\naddress 172.20.8.7/21 dev eth1",
        "route 172.20.8.0/21 via 10.1.1.1 dev eth0\nlink eth1\naddress 172.20.80.7/24 dev eth1",
    ] {
        let text = host(
            "172.20.0.0/16",
            "172.20.5.0/24",
            &format!("{lease}\n{route}"),
        );
        let fix = only(&text).fix.join("\n");
        assert!(
            fix.contains("etcdctl") && !fix.contains("route del"),
            "{fix}"
        );
    }
}

#[test]
fn a_route_set_by_hand_to_the_overlays_device_is_named_and_taken_away() {
    let text = host(
        "172.20.0.0/16",
        "172.20.5.0/24",
        "route 10.1.7.0/24 dev flannel0\nlookup etcd 10.1.7.9 dev flannel0\nlookup etcd 10.1.7.8 dev flannel0",
    );
    let one = only(&text);
    assert!(
        one.title
            .starts_with("the route 10.1.7.0/24 dev flannel0 takes etcd 10.1.7.8 and 1 more"),
        "{}",
        one.title
    );
    assert_eq!(one.fix, ["ip route del 10.1.7.0/24 dev flannel0"]);
    // The route of the network itself is flannel's.
    let network = host(
        "10.1.0.0/16",
        "10.1.5.0/24",
        "lookup etcd 10.1.7.9 dev flannel0",
    );
    assert!(only(&network).fix.join("\n").contains("etcdctl"));
}

/// The configuration has another range, and this host's flanneld runs with the one of before.
#[test]
fn flannels_own_route_of_a_range_that_was_changed_is_not_set_by_hand() {
    let old = host(
        "10.1.0.0/16",
        "10.1.88.0/24",
        "key v3 /coreos.com/network/subnets/10.1.13.0-24 {\"PublicIP\":\"10.1.1.187\"}\nnameserver 10.1.0.2",
    );
    let text = old.replace(
        "\"Network\":\"10.1.0.0/16\"",
        "\"Network\":\"172.16.0.0/16\"",
    );
    for route in [
        "route 10.1.0.0/16 dev flannel0",
        "route 10.1.0.0/16 dev flannel0 proto kernel",
    ] {
        let text = text.replace("route 10.1.0.0/16 dev flannel0", route);
        let report = report(&text);
        let of = |code| {
            let mut all = report.findings.iter().filter(|one| one.code == Code(code));
            let one = all.next().expect("a finding").clone();
            assert!(all.next().is_none());
            one
        };
        let one = of(101);
        assert!(
            one.title
                .starts_with("the route 10.1.0.0/16 dev flannel0 takes nameserver 10.1.0.2")
                && one
                    .title
                    .ends_with("flanneld was not restarted since its range was changed"),
            "{}",
            one.title
        );
        assert_eq!(
            one.fix[1..],
            ["systemctl restart flanneld", "systemctl restart docker"]
        );
        assert_eq!(one.cause, Some(Code(407)));
        let nameserver = of(102);
        assert_eq!(nameserver.cause, Some(Code(101)));
        assert_eq!(nameserver.fix[1], "systemctl restart flanneld");
        let pinned = "ip route replace 10.1.0.2/32 via 10.1.1.1 dev eth0".to_owned();
        assert!(nameserver.fix.contains(&pinned), "{:?}", nameserver.fix);
        for one in &report.findings {
            assert!(!one.fix.join("\n").contains("route del"), "{one:?}");
        }
    }
    // The range is the one that it has: another is wanted.
    assert!(only(&old).fix.join("\n").contains("etcdctl"));
}

#[test]
fn a_wider_route_beside_that_of_the_range_is_set_by_hand() {
    let more = "route 10.0.0.0/8 dev flannel0\nlookup etcd 10.9.7.9 dev flannel0";
    let text = host("10.77.0.0/16", "10.77.5.0/24", more);
    assert_eq!(only(&text).fix, ["ip route del 10.0.0.0/8 dev flannel0"]);
    // Alone it is what was before the range was made smaller.
    let alone = text.replace("route 10.77.0.0/16 dev flannel0\n", "");
    assert_eq!(only(&alone).fix[1], "systemctl restart flanneld");
}
