//! Tunnel daemons that act as flanneld does, started before netdig and after.

use std::net::UdpSocket;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::watch::{NETDIG, Outcome, Watch};
use crate::world::{Namespace, Scratch, privileged, run, wait_for};

/// `netdig lab tunnel`, ended when dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Daemon {
        let scratch = Scratch::new();
        let ready = scratch.path("ready");
        let child = namespace
            .command(NETDIG)
            .args(["lab", "tunnel", "--ready-file"])
            .arg(&ready)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        let daemon = Daemon { child };
        wait_for("the daemon", || ready.exists().then_some(()));
        daemon
    }

    /// `ip netns exec` becomes the daemon: one process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The numbers of its tun and of its UDP socket, as `/proc` shows them.
    fn fds(&self) -> [i64; 2] {
        let udp = std::fs::read_to_string(format!("/proc/{}/net/udp", self.pid())).unwrap();
        let inode = udp
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .nth(9)
            .unwrap();
        ["/dev/net/tun", &format!("socket:[{inode}]")].map(|link| {
            let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
            let found = entries.flatten().find(|entry| {
                std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy() == link)
            });
            let name = found.expect("it is open").file_name();
            name.to_string_lossy().parse().unwrap()
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SAFETY: a child of ours that was not waited for yet.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let _ = self.child.wait();
    }
}

/// Two hosts with a tunnel between them: 10.1.69.0 and 10.1.13.0.
pub struct Hosts {
    pub a: Namespace,
    pub b: Namespace,
}

impl Hosts {
    pub fn new() -> Hosts {
        let (a, b) = Namespace::pair();
        Hosts { a, b }
    }

    pub fn daemon_a(&self, arguments: &[&str]) -> Daemon {
        let mut all = vec!["--address", "10.1.69.0/16", "--listen", "172.30.0.1:8285"];
        all.extend(["--route", "10.1.13.0/24=172.30.0.2:8285"]);
        all.extend(arguments);
        Daemon::start(&self.a, &all)
    }

    pub fn daemon_b(&self) -> Daemon {
        let mut all = vec!["--address", "10.1.13.0/16", "--listen", "172.30.0.2:8285"];
        all.extend(["--route", "10.1.69.0/24=172.30.0.1:8285"]);
        Daemon::start(&self.b, &all)
    }

    /// Echo requests from a to b, all answered.
    pub fn ping(&self, count: u32) {
        let (count, pause) = (count.to_string(), "0.01");
        run(self
            .a
            .command("ping")
            .args(["-n", "-c", &count, "-i", pause, "10.1.13.0"]));
    }
}

/// An ICMP packet, not one of those by which IPv6 finds its neighbours.
fn is_ping(packet: &Value) -> bool {
    packet["icmp"].is_object() && packet["ip"]["version"] == 4
}

/// Checks `count` echo requests and replies that daemon `pid` of host a carried.
fn check_pings(outcome: &Outcome, daemon: u32, [tun_fd, udp_fd]: [i64; 2], count: usize) {
    let of = |via: &str| {
        outcome.that(|packet| {
            is_ping(packet) && packet["via"] == via && packet["process"]["pid"] == daemon
        })
    };
    for (via, kind, other, ttl, fd, fd_name) in [
        (
            "tun-read",
            8,
            "udp-send",
            64,
            tun_fd,
            "/dev/net/tun (flannel0)",
        ),
        ("udp-send", 8, "tun-read", 63, udp_fd, "172.30.0.1:8285"),
        ("udp-recv", 0, "tun-write", 63, udp_fd, "172.30.0.1:8285"),
        (
            "tun-write",
            0,
            "udp-recv",
            62,
            tun_fd,
            "/dev/net/tun (flannel0)",
        ),
    ] {
        let packets = of(via);
        assert_eq!(packets.len(), count, "{via}: {:?}", outcome.packets);
        for packet in packets {
            assert_eq!(packet["icmp"]["type"], kind, "{packet}");
            assert_eq!(packet["ip"]["ttl"], ttl, "{packet}");
            assert_eq!(packet["process"]["comm"], "netdig");
            let args: Vec<_> = packet["process"]["args"]
                .as_array()
                .unwrap()
                .iter()
                .collect();
            assert!(
                args.len() > 3 && args[1] == "lab" && args[2] == "tunnel",
                "{args:?}"
            );
            assert_eq!(packet["fd"]["num"], fd, "{packet}");
            assert_eq!(packet["fd"]["name"], fd_name, "{packet}");
            let joined = outcome.by_n(&packet["joined"]);
            assert_eq!(joined["via"], other);
            assert_eq!(joined["joined"], packet["n"]);
            for same in ["icmp", "layers", "len", "process"] {
                assert_eq!(joined[same], packet[same], "{same}");
            }
            for same in ["src", "dst", "id", "len", "proto"] {
                assert_eq!(joined["ip"][same], packet["ip"][same], "{same}");
            }
            check_outer(packet, via);
        }
    }
}

fn check_outer(packet: &Value, via: &str) {
    let (here, there) = ("172.30.0.1", "172.30.0.2");
    match via {
        "udp-send" => {
            assert_eq!(packet["outer"]["src"], here, "{packet}");
            assert_eq!(packet["outer"]["dst"], there, "{packet}");
        }
        "udp-recv" => {
            assert_eq!(packet["outer"]["src"], there, "{packet}");
            assert_eq!(packet["outer"]["dst"], here, "{packet}");
        }
        _ => {
            assert!(packet["outer"].is_null(), "{packet}");
            assert_eq!(packet["fd"]["interface"], "flannel0");
            return;
        }
    }
    assert_eq!(packet["encap"][0]["proto"], "flannel-udp");
    assert_eq!(packet["outer"]["sport"], 8285);
    assert_eq!(packet["outer"]["dport"], 8285);
}

#[test]
fn a_daemon_that_ran_before() {
    if !privileged() {
        return;
    }
    let hosts = Hosts::new();
    let (a, _b) = (hosts.daemon_a(&[]), hosts.daemon_b());
    hosts.ping(1);
    let watch = Watch::start(&["--netns", &hosts.a.name]);
    hosts.ping(5);
    let outcome = watch.stop().whole();
    check_pings(&outcome, a.pid(), a.fds(), 5);
    assert!(outcome.summary["joined"].as_u64() >= Some(10));
}

/// Every way of reading and writing that a daemon may have, one daemon after
/// the other on the same device name, all started after netdig.
#[test]
fn daemons_that_start_later() {
    if !privileged() {
        return;
    }
    let hosts = Hosts::new();
    let _b = hosts.daemon_b();
    let watch = Watch::start(&["--netns", &hosts.a.name]);
    let mut pids = Vec::new();
    for [tun_read, tun_write, udp_send, udp_recv] in [
        ["read", "write", "sendto", "recv"],
        ["readv", "writev", "sendmsg", "recvfrom"],
        ["read", "write", "sendmmsg", "recvmsg"],
        ["readv", "write", "sendmmsg", "recvmmsg"],
    ] {
        let how = [
            "--tun-read",
            tun_read,
            "--tun-write",
            tun_write,
            "--udp-send",
            udp_send,
            "--udp-recv",
            udp_recv,
        ];
        let a = hosts.daemon_a(&how);
        hosts.ping(3);
        pids.push((a.pid(), a.fds()));
    }
    let outcome = watch.stop().whole();
    for (pid, fds) in pids {
        check_pings(&outcome, pid, fds, 3);
    }
}

/// Packets of which the daemon makes nothing: no lease covers them, so it
/// answers itself.
#[test]
fn packets_that_go_nowhere() {
    if !privileged() {
        return;
    }
    let hosts = Hosts::new();
    let _a = hosts.daemon_a(&[]);
    let watch = Watch::start(&["--netns", &hosts.a.name]);
    hosts.a.inside(|| {
        let socket = UdpSocket::bind("10.1.69.0:0").unwrap();
        socket.send_to(b"anyone?", "10.1.200.9:7").unwrap();
    });
    let is_question = |packet: &Value| packet["udp"]["dport"] == 7 && packet["icmp"].is_null();
    watch.until("the packet to be given up", |seen| {
        let given_up = |packet: &&Value| is_question(packet) && packet["fate"] == "never-sent";
        seen.iter().any(|packet| given_up(&packet))
    });
    let outcome = watch.stop().whole();
    assert_eq!(outcome.that(is_question).len(), 1);
    let answer = outcome.that(|packet| packet["icmp"]["type"] == 3);
    assert_eq!(answer.len(), 1);
    assert_eq!(
        (&answer[0]["via"], &answer[0]["fate"]),
        (&"tun-write".into(), &"originated".into())
    );
    assert_eq!(answer[0]["icmp"]["quoted"]["dst"], "10.1.200.9");
    assert!(outcome.summary["unsent"].as_u64() >= Some(1));
}
