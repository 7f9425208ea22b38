//! Which overlays a host is in, by whole and by half of what tells.
use std::net::IpAddr;

use super::*;
use crate::context::files::SubnetEnv;
use crate::context::flannel::Lease;
use crate::rules::testing::context;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn names(text: &str) -> Vec<String> {
    let context = context(text);
    View::new(&context, None)
        .overlays
        .iter()
        .map(Overlay::title)
        .collect()
}

const UDP: &str = "link eth0\nlink flannel0 tun\naddress 10.1.1.95/24 dev eth0\naddress 10.244.0.0/32 dev flannel0\nroute 10.244.0.0/16 dev flannel0\n";
const KEYS: &str = "key v3 /coreos.com/network/config {\"Network\":\"10.244.0.0/16\"}\nkey v3 /coreos.com/network/subnets/10.244.0.0-24 {\"PublicIP\":\"10.1.1.95\"}\nkey v3 /coreos.com/network/subnets/10.244.1.0-24 {\"PublicIP\":\"10.1.1.187\"}\n";

#[test]
fn the_registry_and_the_device_tell_of_one_overlay() {
    assert_eq!(
        names(&format!("{UDP}{KEYS}")),
        ["overlay network 10.244.0.0/16 on flannel0"]
    );
    assert_eq!(names(UDP), ["overlay network 10.244.0.0/16 on flannel0"]);
    assert_eq!(names("link eth0\naddress 10.1.1.95/24 dev eth0"), [""; 0]);
    // As older flanneld sets it, with the network's length.
    let old = "link flannel0 tun\naddress 10.244.0.0/16 dev flannel0";
    assert_eq!(names(old), ["overlay network 10.244.0.0/16 on flannel0"]);
}

#[test]
fn leases_are_found_by_address_and_by_host() {
    let context = context(&format!("{UDP}{KEYS}"));
    let view = View::new(&context, None);
    let overlay = &view.overlays[0];
    let subnet = |lease: Option<&Lease>| lease.map(|lease| lease.subnet.to_string());
    assert_eq!(
        subnet(overlay.lease_of(address("10.244.1.77"))).as_deref(),
        Some("10.244.1.0/24")
    );
    assert_eq!(subnet(overlay.lease_of(address("10.244.2.77"))), None);
    assert_eq!(
        subnet(overlay.lease_of_host(address("10.1.1.187"))).as_deref(),
        Some("10.244.1.0/24")
    );
    assert_eq!(
        subnet(overlay.own_lease()).as_deref(),
        Some("10.244.0.0/24")
    );
    assert_eq!(overlay.remote_leases().count(), 1);
    assert!(view.is_overlay_link("flannel0") && !view.is_overlay_link("eth0"));
    assert!(view.is_local(address("127.0.0.9")) && view.is_local(address("10.1.1.95")));
}

#[test]
fn a_device_of_another_name_is_known_by_its_address() {
    let renamed = format!("{UDP}{KEYS}").replace("flannel0", "overlay7");
    assert_eq!(
        names(&renamed),
        ["overlay network 10.244.0.0/16 on overlay7"]
    );
    // A VPN's tun within the range is none of the overlay's.
    let vpn = format!("{UDP}{KEYS}link tun0 tun\naddress 10.244.9.6/24 dev tun0");
    assert_eq!(names(&vpn), ["overlay network 10.244.0.0/16 on flannel0"]);
}

#[test]
fn several_networks_each_have_their_device() {
    let text = r#"
        link flannel.1 vxlan
        link flannel.2 vxlan
        address 10.5.1.0/32 dev flannel.1
        address 10.6.1.0/32 dev flannel.2
        key v3 /net/blue/config {"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}
        key v3 /net/green/config {"Network":"10.6.0.0/16","Backend":{"Type":"vxlan","VNI":2}}
        key v3 /net/red/config {"Network":"10.7.0.0/16"}
    "#;
    let all = names(text);
    assert_eq!(all.len(), 3);
    assert!(
        all.contains(&"overlay network 10.5.0.0/16 on flannel.1".to_owned()),
        "{all:?}"
    );
    assert!(
        all.contains(&"overlay network 10.6.0.0/16 on flannel.2".to_owned()),
        "{all:?}"
    );
    let context = context(text);
    assert_eq!(View::new(&context, None).joined().count(), 2);
}

#[test]
fn vteps_without_a_registry_tell_by_their_routes() {
    let text = "link flannel.1 vxlan\nlink cni0 bridge\naddress 10.244.0.0/32 dev flannel.1\naddress 10.244.0.1/24 dev cni0\nroute 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink\nroute 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink";
    let context = context(text);
    let view = View::new(&context, None);
    let overlay = &view.overlays[0];
    assert!(overlay.contains(address("10.244.2.9")) && !overlay.contains(address("10.244.3.9")));
    assert_eq!(
        overlay.own_subnet.map(|net| net.to_string()).as_deref(),
        Some("10.244.0.0/24")
    );
    assert_eq!(
        names("link flannel.1 vxlan\naddress 10.244.0.0/32 dev flannel.1"),
        [""; 0]
    );
}

#[test]
fn host_gw_has_no_device_and_is_joined_by_its_lease() {
    let text = KEYS.replace(
        "\"10.244.0.0/16\"",
        "\"10.244.0.0/16\",\"Backend\":{\"Type\":\"host-gw\"}",
    );
    let context = context(&format!("link eth0\naddress 10.1.1.95/24 dev eth0\n{text}"));
    let view = View::new(&context, None);
    assert_eq!(view.overlays[0].title(), "overlay network 10.244.0.0/16");
    assert!(view.overlays[0].is_joined());
}

#[test]
fn both_families_are_one_overlay() {
    let text = r#"
        link flannel.1 vxlan
        link flannel-v6.1 vxlan
        address 10.244.0.0/32 dev flannel.1
        address fd00:1::/128 dev flannel-v6.1
        address 192.0.2.1/24 dev eth0
        key v3 /coreos.com/network/config {"EnableIPv6":true,"Network":"10.244.0.0/16","IPv6Network":"fd00:1::/56","Backend":{"Type":"vxlan"}}
        key v3 /coreos.com/network/subnets/10.244.0.0-24&fd00:1::-64 {"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"vxlan"}
    "#;
    let context = context(text);
    let view = View::new(&context, None);
    assert_eq!(view.overlays.len(), 1);
    let overlay = &view.overlays[0];
    assert_eq!(overlay.links, ["flannel.1", "flannel-v6.1"]);
    assert_eq!(
        overlay
            .own_ipv6_subnet
            .map(|net| net.to_string())
            .as_deref(),
        Some("fd00:1::/64")
    );
    assert!(overlay.lease_of(address("fd00:1::7")).is_some());
}

#[test]
fn one_network_in_both_stores_has_the_leases_of_both() {
    let v2 = KEYS
        .replace("key v3", "key v2")
        .replace("10.244.1.0-24", "10.244.2.0-24");
    let context = context(&format!("{UDP}{KEYS}{v2}"));
    let view = View::new(&context, None);
    assert_eq!(view.overlays.len(), 1);
    assert_eq!(view.overlays[0].leases.len(), 3);
    assert_eq!(view.overlays[0].origin.len(), 2);
}

#[test]
fn the_kernels_answer_goes_before_the_tables() {
    let text = format!(
        "{UDP}lookup etcd 10.244.9.9 dev eth0 via 10.1.1.1\nlookup etcd 10.244.9.8 refused EACCES"
    );
    let context = context(&text);
    let view = View::new(&context, None);
    let dev = |text: &str| {
        view.way(address(text))
            .and_then(|way| way.dev.map(str::to_owned))
    };
    assert_eq!(dev("10.244.9.9").as_deref(), Some("eth0"));
    assert_eq!(dev("10.244.9.8"), None);
    assert_eq!(dev("10.244.9.7").as_deref(), Some("flannel0"));
}

#[test]
fn leases_without_a_configuration_are_of_subnet_envs_network() {
    let lease = |subnet: &str| {
        format!(
            "key v3 /coreos.com/network/subnets/{subnet} {{\"PublicIP\":\"10.1.1.187\",\"BackendType\":\"vxlan\"}}\n"
        )
    };
    let broken = "key v3 /coreos.com/network/config {\"Network\":\n";
    for (text, leases) in [
        (lease("10.244.1.0-24"), 1),
        (format!("{broken}{}", lease("10.244.1.0-24")), 1),
        (lease("10.9.1.0-24"), 0),
    ] {
        let mut context = context(&format!("link eth0\naddress 10.1.1.95/24 dev eth0\n{text}"));
        context.files.subnet_env.push(SubnetEnv {
            file: "/run/flannel/subnet.env".to_owned(),
            network: vec!["10.244.0.0/16".parse().expect("a network")],
            subnet: "10.244.0.1/24".parse().ok(),
            ..SubnetEnv::default()
        });
        let view = View::new(&context, None);
        assert_eq!(view.overlays.len(), 1);
        let overlay = &view.overlays[0];
        assert_eq!(overlay.leases.len(), leases, "{text}");
        let backend = (leases > 0).then_some("vxlan");
        assert_eq!(overlay.backend.as_deref(), backend);
    }
}
