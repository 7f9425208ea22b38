//! A network namespace of the test's own, what iproute2 says of it, and how the two sides of
//! a comparison are told in the same words.
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write;
use std::process::{Command, Stdio};

use netdig::context::namespace::{self, Namespace};
use netdig::context::{Context, netlink};
use serde_json::Value;

/// A named namespace that goes with the test.
pub struct Net(pub String);

impl Net {
    /// None, said so, where the test may not have one; CI has to give it.
    pub fn new(word: &str) -> Option<Net> {
        // SAFETY: the call touches no memory.
        let root = unsafe { libc::geteuid() } == 0;
        if !root {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "CI must run as root"
            );
            eprintln!("skipped: a network namespace takes root");
            return None;
        }
        let net = Net(format!("nd-{word}-{}", std::process::id()));
        run("ip", &["netns", "add", &net.0], "");
        Some(net)
    }

    /// Runs lines of `ip -batch` in it, those that begin with `-6` last, as IPv6's.
    pub fn ip(&self, lines: &str) {
        for v6 in [false, true] {
            let lines = lines.lines().filter(|line| line.starts_with("-6") == v6);
            let lines: Vec<&str> = lines.map(|line| line.trim_start_matches("-6 ")).collect();
            let words: &[&str] = if v6 { &["-6"] } else { &[] };
            let words = [words, &["-n", &self.0, "-batch", "-"]].concat();
            run("ip", &words, &lines.join("\n"));
        }
    }

    /// What iproute2 says, as JSON.
    pub fn json(&self, words: &[&str]) -> Vec<Value> {
        let (program, words) = words.split_first().expect("a program");
        let words = [&["-n", &self.0, "-d", "-j"], words].concat();
        let text = run(program, &words, "");
        let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        // `ip` leaves an empty object for what its filter hides.
        all.into_iter()
            .filter(|one| one != &Value::Object(Default::default()))
            .collect()
    }

    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = Namespace::open(&self.0).expect("the namespace");
        namespace::inside(Some(&namespace), work).expect("inside")
    }

    pub fn read(&self) -> Context {
        let mut context = Context::default();
        self.inside(|| netlink::read(&mut context));
        assert_eq!(context.unread, []);
        context
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.0])
            .status();
    }
}

pub fn run(program: &str, words: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(input.as_bytes()).expect("a pipe");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    assert!(
        output.status.success(),
        "{program} {words:?}: {}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Both sides told in the same words, and enough of them that equality means something.
#[track_caller]
pub fn same(
    ours: impl IntoIterator<Item = String>,
    theirs: impl IntoIterator<Item = String>,
    least: usize,
) {
    let mut ours: Vec<String> = ours.into_iter().collect();
    let mut theirs: Vec<String> = theirs.into_iter().collect();
    ours.sort();
    theirs.sort();
    let seen: BTreeSet<&String> = ours.iter().collect();
    let said: BTreeSet<&String> = theirs.iter().collect();
    assert_eq!(
        (
            seen.difference(&said).collect::<Vec<_>>(),
            said.difference(&seen).collect::<Vec<_>>()
        ),
        (vec![], vec![]),
        "ours alone, iproute2's alone"
    );
    assert_eq!(ours, theirs);
    assert!(ours.len() >= least, "only {} of {least}", ours.len());
}

pub fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub fn has(value: &Value, key: &str, word: &str) -> bool {
    value[key]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == word))
}

pub fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

pub fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

pub const LINKS: &str = "
link set lo up
link add e0 address 02:00:00:00:00:01 mtu 1400 type veth peer name e1
link add br0 type bridge
link set e1 master br0
link set e1 up
link set e0 up
link set br0 up
link add down0 type veth peer name down1
link set down0 up
link add flannel.1 address 02:00:00:00:00:11 type vxlan id 1 local 192.168.0.1 dev e0 dstport 8472 nolearning
link add vx6 type vxlan id 77 local fd00::1 remote fd00::9 dstport 4789 dev e0
link add ext type vxlan external dstport 4790
link add mv0 link e0 type macvlan
tuntap add flannel0 mode tun
tuntap add tap0 mode tap
link set flannel.1 up
link set flannel0 up
";

pub const ADDRESSES: &str = "
addr add 192.168.0.1/16 dev e0
addr add 192.168.0.2/16 dev e0
addr add 192.168.200.1/32 dev e0 scope link
addr add 10.9.9.1 peer 10.9.9.2/30 dev br0
addr add 10.1.95.0/32 dev flannel.1
addr add 172.31.0.1/24 dev down0
addr add fd00::1/64 dev e0 nodad
addr add fd00:7::1 peer fd00:7::2/128 dev br0 nodad
";

pub const ROUTES: &str = "
route add default via 192.168.0.254 dev e0 metric 100 proto dhcp src 192.168.0.2
route add default via 192.168.0.253 dev e0 metric 200 table 100
route add 10.1.0.0/16 dev flannel0 mtu 1472
route add 10.1.13.0/24 via 10.1.13.0 dev flannel.1 onlink
route add 10.2.0.0/16 nexthop via 192.168.0.7 dev e0 weight 3 nexthop via 172.31.0.9 dev down0
route add 10.3.0.0/16 via inet6 fd00::5 dev e0
route add 10.4.0.0/16 dev e0 scope link proto bird table 1000
route add unreachable 10.5.0.0/16 metric 7
route add blackhole 10.6.0.0/16
route add prohibit 10.7.0.0/16 table 100
route add throw 10.8.0.0/16 table 100
route add 10.1.0.0/16 via 192.168.0.8 dev e0 metric 1024 proto 77
nexthop add id 5 via 192.168.0.5 dev e0
nexthop add id 6 via 192.168.0.6 dev e0
nexthop add id 7 group 5,2/6
nexthop add id 9 via fd00::6 dev e0
route add 10.20.0.0/16 nhid 5
route add 10.21.0.0/16 nhid 7
-6 route add default via fd00::fe dev e0 metric 100 proto ra
-6 route add fd00:2::/64 nexthop via fd00::7 dev e0 weight 2 nexthop via fd00::8 dev e0
-6 route add fd00:3::/64 via fe80::1 dev e0 mtu 1300 table 300
-6 route add unreachable fd00:4::/64
-6 route add blackhole fd00:5::/64 metric 9
-6 route add fd00:6::/64 nhid 9
";
