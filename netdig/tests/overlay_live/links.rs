//! Packets off links: the kernel's own tunnels.

use serde_json::{Value, json};

use crate::daemons::Hosts;
use crate::net::ipv4;
use crate::watch::{Outcome, Watch};
use crate::world::{Namespace, privileged, run};

/// Two hosts with a VXLAN between them: 10.60.0.1 and 10.60.0.2.
fn vxlan(a: &Namespace, b: &Namespace, vni: u32, port: u16) {
    for (here, own, other) in [(a, 1, 2), (b, 2, 1)] {
        here.ip(&format!(
            "link add vx type vxlan id {vni} dstport {port} local 172.30.0.{own} remote 172.30.0.{other} dev under"
        ));
        here.ip(&format!("addr add 10.60.0.{own}/24 dev vx"));
        here.ip("link set vx up");
    }
}

fn ping(from: &Namespace, to: &str, count: u32) {
    let count = count.to_string();
    run(from
        .command("ping")
        .args(["-n", "-c", &count, "-i", "0.01", to]));
}

fn echoes(outcome: &Outcome) -> Vec<&Value> {
    outcome.that(|packet| packet["icmp"]["type"] == 8 || packet["icmp"]["type"] == 0)
}

#[test]
fn a_vxlan_of_the_kernel() {
    if !privileged() {
        return;
    }
    for port in [4789, 8472] {
        let (a, b) = Namespace::pair();
        vxlan(&a, &b, 77, port);
        let watch = Watch::start(&["-i", "under", "--netns", &a.name]);
        ping(&a, "10.60.0.2", 3);
        let outcome = watch.stop().whole();
        let echoes = echoes(&outcome);
        assert_eq!(echoes.len(), 6, "{:?}", outcome.packets);
        for packet in echoes {
            let layers = json!(["eth", "ipv4", "udp", "vxlan", "eth", "ipv4", "icmp"]);
            assert_eq!(packet["layers"], layers);
            assert_eq!(
                (&packet["via"], &packet["interface"]),
                (&json!("link"), &json!("under"))
            );
            let (from, to) = match packet["icmp"]["type"].as_u64() {
                Some(8) => (1, 2),
                _ => (2, 1),
            };
            assert_eq!(packet["ip"]["src"], format!("10.60.0.{from}"));
            assert_eq!(packet["ip"]["dst"], format!("10.60.0.{to}"));
            let outer = &packet["outer"];
            assert_eq!(outer["src"], format!("172.30.0.{from}"));
            assert_eq!(outer["dst"], format!("172.30.0.{to}"));
            assert_eq!(outer["dport"], port);
            assert_eq!(
                packet["encap"],
                json!([{"proto": "vxlan", "vni": 77, "outer": outer}])
            );
            assert!(packet["process"].is_null() && packet["joined"].is_null());
        }
    }
}

/// One run over descriptors and a link: the tunnel's packet on the tun, in the
/// socket, and on the wire.
#[test]
fn descriptors_and_a_link_together() {
    if !privileged() {
        return;
    }
    let hosts = Hosts::new();
    vxlan(&hosts.a, &hosts.b, 5, 4789);
    let (_a, _b) = (hosts.daemon_a(&[]), hosts.daemon_b());
    let arguments = [
        "-i",
        "/dev/net/tun",
        "-i",
        "under",
        "--netns",
        &hosts.a.name,
    ];
    let watch = Watch::start(&arguments);
    hosts.ping(2);
    ping(&hosts.a, "10.60.0.2", 2);
    let outcome = watch.stop().whole();
    let echoes = echoes(&outcome);
    let count = |via: &str, proto: Option<&str>| {
        let fits = |packet: &&&Value| {
            packet["via"] == via && packet["encap"][0]["proto"].as_str() == proto
        };
        echoes.iter().filter(fits).count()
    };
    assert_eq!(count("tun-read", None), 2);
    assert_eq!(count("tun-write", None), 2);
    assert_eq!(count("udp-send", Some("flannel-udp")), 2);
    assert_eq!(count("udp-recv", Some("flannel-udp")), 2);
    assert_eq!(count("link", Some("flannel-udp")), 4);
    assert_eq!(count("link", Some("vxlan")), 4);
    assert_eq!(echoes.len(), 16);
    // The tun by its own name as a link of the namespace is what its process
    // reads; the joined pairs are not the link's.
    let numbers: Vec<_> = outcome
        .packets
        .iter()
        .map(|packet| packet["n"].as_u64().unwrap())
        .collect();
    assert!(
        numbers.is_sorted_by(|one, other| one < other),
        "{numbers:?}"
    );
}

#[test]
fn a_link_that_goes_away() {
    if !privileged() {
        return;
    }
    let (a, b) = Namespace::pair();
    vxlan(&a, &b, 9, 4789);
    let watch = Watch::start(&["-i", "vx", "--netns", &a.name]);
    ping(&a, "10.60.0.2", 2);
    watch.until("the pings", |seen| {
        seen.iter()
            .filter(|packet| packet["icmp"].is_object() && packet["ip"]["version"] == 4)
            .count()
            >= 4
    });
    a.ip("link del vx");
    let outcome = watch.outcome();
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("vx"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert_eq!(echoes(&outcome).len(), 4);
    assert_eq!(outcome.summary["packets"], outcome.packets.len());
}

/// The loopback shows every packet twice to a packet socket; a person once.
#[test]
fn the_loopback_and_a_count() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let watch = Watch::start(&["-i", "lo", "--netns", &namespace.name, "-c", "5"]);
    namespace.inside(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:8285").unwrap();
        for id in 0..9 {
            socket.send_to(&ipv4(id, 100), "127.0.0.1:8285").unwrap();
        }
    });
    let outcome = watch.outcome().whole();
    let ids: Vec<_> = outcome
        .packets
        .iter()
        .map(|packet| packet["ip"]["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    for packet in &outcome.packets {
        assert_eq!(packet["encap"][0]["proto"], "flannel-udp", "{packet}");
        assert_eq!(packet["outer"]["dst"], "127.0.0.1");
    }
}

#[test]
fn a_link_that_is_not_there() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let outcome = Watch::spawn(&["-i", "nolink0", "--netns", &namespace.name]).outcome();
    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.contains("nolink0"), "{}", outcome.stderr);
    let outcome = Watch::spawn(&["--netns", "nonamespace0"]).outcome();
    assert_eq!(outcome.status.code(), Some(2));
    assert!(
        outcome.stderr.contains("nonamespace0"),
        "{}",
        outcome.stderr
    );
}
