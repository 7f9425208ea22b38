//! What netlink is read to say, against what iproute2 says, in namespaces of the test's own.
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netdig::context::namespace::{self, Namespace};
use netdig::context::net::{Answer, LinkKind, NextHop, Role, Route, table_name};
use netdig::context::{Context, Part, netlink};
use serde_json::Value;

/// A named namespace that goes with the test.
struct Net(String);

impl Net {
    /// None, said so, where the test may not have one; CI has to give it.
    fn new(word: &str) -> Option<Net> {
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
    fn ip(&self, lines: &str) {
        for v6 in [false, true] {
            let lines = lines.lines().filter(|line| line.starts_with("-6") == v6);
            let lines: Vec<&str> = lines.map(|line| line.trim_start_matches("-6 ")).collect();
            let words: &[&str] = if v6 { &["-6"] } else { &[] };
            let words = [words, &["-n", &self.0, "-batch", "-"]].concat();
            run("ip", &words, &lines.join("\n"));
        }
    }

    /// What iproute2 says, as JSON.
    fn json(&self, words: &[&str]) -> Vec<Value> {
        let (program, words) = words.split_first().expect("a program");
        let words = [&["-n", &self.0, "-d", "-j"], words].concat();
        let text = run(program, &words, "");
        let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        // `ip` leaves an empty object for what its filter hides.
        all.into_iter()
            .filter(|one| one != &Value::Object(Default::default()))
            .collect()
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = Namespace::open(&self.0).expect("the namespace");
        namespace::inside(Some(&namespace), work).expect("inside")
    }

    fn read(&self) -> Context {
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

fn run(program: &str, words: &[&str], input: &str) -> String {
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
fn same(
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

fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn has(value: &Value, key: &str, word: &str) -> bool {
    value[key]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == word))
}

fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

const LINKS: &str = "
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

const ADDRESSES: &str = "
addr add 192.168.0.1/16 dev e0
addr add 192.168.0.2/16 dev e0
addr add 192.168.200.1/32 dev e0 scope link
addr add 10.9.9.1 peer 10.9.9.2/30 dev br0
addr add 10.1.95.0/32 dev flannel.1
addr add 172.31.0.1/24 dev down0
addr add fd00::1/64 dev e0 nodad
addr add fd00:7::1 peer fd00:7::2/128 dev br0 nodad
";

#[test]
fn links_are_what_ip_says() {
    let (Some(net), Some(far)) = (Net::new("links"), Net::new("far")) else {
        return;
    };
    net.ip(LINKS);
    net.ip(&format!(
        "link add away type veth peer name eth0 netns {}",
        far.0
    ));
    let context = net.read();
    let ours = context.net.links.iter().map(|link| {
        let kind = match &link.kind {
            LinkKind::Vxlan(vxlan) => format!(
                "vxlan {} {} {} {} {} {}",
                vxlan.vni,
                vxlan.port,
                or_empty(vxlan.local),
                or_empty(vxlan.remote),
                vxlan.learning,
                vxlan.external
            ),
            kind => kind.name().to_owned(),
        };
        let place = [
            or_empty(link.master.as_ref()),
            or_empty(link.parent.as_ref()),
        ];
        format!(
            "{} {} {kind} up {} {} lo {} mtu {} {} {place:?} {}",
            link.index,
            link.name,
            link.up,
            link.running,
            link.loopback,
            link.mtu,
            or_empty(link.mac.as_ref()),
            or_empty(link.peer_netns)
        )
    });
    let all = net.json(&["ip", "link"]);
    let theirs = all.iter().map(|link| {
        let info = &link["linkinfo"];
        let data = &info["info_data"];
        let kind = match text(info, "info_kind").as_str() {
            "" => "physical".to_owned(),
            "tun" => text(data, "type"),
            "vxlan" => format!(
                "vxlan {} {} {}{} {}{} {} {}",
                data["id"].as_u64().unwrap_or_default(),
                text(data, "port"),
                text(data, "local"),
                text(data, "local6"),
                text(data, "remote"),
                text(data, "remote6"),
                data["learning"].as_bool().unwrap_or_default(),
                data["external"].as_bool().unwrap_or_default(),
            ),
            kind => kind.to_owned(),
        };
        let parent = match text(info, "info_kind").as_str() {
            "veth" => String::new(),
            "vxlan" => text(data, "link"),
            _ => text(link, "link"),
        };
        let place = [text(link, "master"), parent];
        let loopback = has(link, "flags", "LOOPBACK");
        let mac = if loopback || text(link, "address").len() != 17 {
            String::new()
        } else {
            text(link, "address")
        };
        format!(
            "{} {} {kind} up {} {} lo {loopback} mtu {} {mac} {place:?} {}",
            link["ifindex"],
            text(link, "ifname"),
            has(link, "flags", "UP"),
            has(link, "flags", "LOWER_UP"),
            link["mtu"],
            text(link, "link_netnsid")
        )
    });
    same(ours, theirs, 13);
    assert!(
        context
            .net
            .links
            .iter()
            .any(|link| link.peer_netns.is_some())
    );
}

#[test]
fn addresses_are_what_ip_says() {
    let Some(net) = Net::new("addresses") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    let context = net.read();
    let ours = context.net.addresses.iter().map(|one| {
        format!(
            "{} {} {} {} {}",
            one.link,
            one.net,
            or_empty(one.peer),
            one.scope,
            one.secondary
        )
    });
    let mut theirs = Vec::new();
    for link in net.json(&["ip", "addr"]) {
        for one in link["addr_info"].as_array().expect("a list") {
            let (local, length) = (text(one, "local"), text(one, "prefixlen"));
            let peer = text(one, "address");
            let full = if local.contains(':') { 128 } else { 32 };
            let (address, peer) = match peer.as_str() {
                "" => (format!("{local}/{length}"), String::new()),
                peer => (format!("{local}/{full}"), format!("{peer}/{length}")),
            };
            let secondary = one["secondary"].as_bool().unwrap_or_default();
            theirs.push(format!(
                "{} {address} {peer} {} {secondary}",
                text(&link, "ifname"),
                text(one, "scope")
            ));
        }
    }
    same(ours, theirs, 14);
    assert!(context.net.addresses.iter().any(|one| one.secondary));
}

const ROUTES: &str = "
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

/// One hop in words; with weight 1 of a single one.
fn hop_words(hop: &NextHop) -> String {
    format!(
        "[{} {} {} {} {}]",
        or_empty(hop.via),
        or_empty(hop.dev.as_ref()),
        hop.onlink,
        hop.weight,
        hop.down
    )
}

fn route_words(route: &Route) -> String {
    let hops: String = route.hops.iter().map(hop_words).collect();
    format!(
        "{} {} table {} metric {} {hops} src {} {} {} mtu {}",
        route.kind.name(),
        route.to,
        table_name(route.table),
        route.metric,
        or_empty(route.source),
        route.protocol,
        route.scope,
        or_empty(route.mtu)
    )
}

fn ip_hop(hop: &Value) -> String {
    let via = match &hop["via"] {
        Value::Null => text(hop, "gateway"),
        via => text(via, "host"),
    };
    let weight = hop["weight"].as_u64().unwrap_or(1);
    let down = has(hop, "flags", "dead") || has(hop, "flags", "linkdown");
    format!(
        "[{via} {} {} {weight} {down}]",
        text(hop, "dev"),
        has(hop, "flags", "onlink")
    )
}

fn ip_route(route: &Value, v6: bool) -> String {
    let to = match text(route, "dst").as_str() {
        "default" if v6 => "::/0".to_owned(),
        "default" => "0.0.0.0/0".to_owned(),
        net if net.contains('/') => net.to_owned(),
        host if v6 => format!("{host}/128"),
        host => format!("{host}/32"),
    };
    let hops: String = match route["nexthops"].as_array() {
        Some(hops) => hops.iter().map(ip_hop).collect(),
        None if route["dev"].is_null() && route["gateway"].is_null() => String::new(),
        None => ip_hop(route),
    };
    let mtu = route["metrics"]
        .as_array()
        .and_then(|all| all.iter().find(|one| !one["mtu"].is_null()));
    let table = match text(route, "table").as_str() {
        "" => "main".to_owned(),
        table => table.to_owned(),
    };
    format!(
        "{} {to} table {table} metric {} {hops} src {} {} {} mtu {}",
        text(route, "type"),
        route["metric"].as_u64().unwrap_or_default(),
        text(route, "prefsrc"),
        text(route, "protocol"),
        text(route, "scope"),
        mtu.map_or_else(String::new, |mtu| text(mtu, "mtu"))
    )
}

#[test]
fn routes_of_all_tables_are_what_ip_says() {
    let Some(net) = Net::new("routes") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    net.ip(ROUTES);
    let ours = net.read().net.routes;
    let mut theirs = Vec::new();
    for (family, v6) in [("-4", false), ("-6", true)] {
        let routes = net.json(&["ip", family, "route", "show", "table", "all"]);
        let noise = |route: &&Value| {
            text(route, "table") == "local"
                && ["broadcast", "multicast"].contains(&text(route, "type").as_str())
        };
        theirs.extend(
            routes
                .iter()
                .filter(|route| !noise(route))
                .map(|route| ip_route(route, v6)),
        );
    }
    same(ours.iter().map(route_words), theirs, 35);
    assert!(
        ours.iter()
            .any(|route| route.hops.iter().any(|hop| hop.down))
    );

    // Where routes tell nothing but the number of their object, they still have its hops.
    run(
        "ip",
        &[
            "netns",
            "exec",
            &net.0,
            "sysctl",
            "-qw",
            "net.ipv4.nexthop_compat_mode=0",
        ],
        "",
    );
    let bare = net.read().net.routes;
    same(
        bare.iter().map(route_words),
        ours.iter().map(route_words),
        35,
    );
}

const RULES: &str = "
rule add from 10.0.0.0/8 to 10.9.0.0/16 lookup 100 priority 100
rule add not fwmark 0xca6c lookup 51820 priority 200
rule add fwmark 0x1/0xff iif e0 oif br0 lookup 100 priority 300
rule add lookup main suppress_prefixlength 0 priority 400
rule add from 10.1.2.3 unreachable priority 500
rule add blackhole to 10.66.0.0/16 priority 510
rule add prohibit iif e0 priority 520
rule add dport 53 ipproto udp lookup 100 priority 600
rule add uidrange 0-99 lookup 100 priority 610
rule add tos 0x10 lookup 100 priority 620
rule add goto 700 priority 650
rule add nop priority 700
-6 rule add from fd00::/8 lookup 300 priority 100
-6 rule add not fwmark 0xca6c lookup 51820 priority 200
";

#[test]
fn policy_rules_are_what_ip_says() {
    let Some(net) = Net::new("rules") else {
        return;
    };
    net.ip(LINKS);
    net.ip(RULES);
    let context = net.read();
    let ours = context.net.rules.iter().map(|rule| {
        let action = match rule.action.as_str() {
            "lookup" => format!("lookup {}", table_name(rule.table)),
            "goto" => format!("goto {}", or_empty(rule.goto)),
            action => action.to_owned(),
        };
        let mask = rule.fwmask.filter(|&mask| mask != u32::MAX);
        let hex =
            |number: Option<u32>| number.map_or_else(String::new, |number| format!("{number:#x}"));
        format!(
            "{} v6 {} {} {} {} {} {}/{} not {} {action} suppress {} others {}",
            rule.priority,
            rule.ipv6,
            or_empty(rule.from),
            or_empty(rule.to),
            or_empty(rule.iif.as_ref()),
            or_empty(rule.oif.as_ref()),
            hex(rule.fwmark),
            hex(mask),
            rule.invert,
            or_empty(rule.suppress_prefix_len),
            rule.others
        )
    });
    let mut theirs = Vec::new();
    for (family, v6) in [("-4", false), ("-6", true)] {
        for rule in net.json(&["ip", family, "rule"]) {
            theirs.push(ip_rule(&rule, v6));
        }
    }
    same(ours, theirs, 19);
}

fn ip_rule(rule: &Value, v6: bool) -> String {
    let prefix = |address: &str, length: &str| match (text(rule, address), text(rule, length)) {
        (address, _) if address.is_empty() || address == "all" => String::new(),
        (address, length) if length.is_empty() => format!("{address}/32"),
        (address, length) => format!("{address}/{length}"),
    };
    let action = match (
        text(rule, "goto"),
        text(rule, "action"),
        text(rule, "table"),
    ) {
        (to, ..) if !to.is_empty() => format!("goto {to}"),
        (_, action, _) if !action.is_empty() => action,
        (.., table) if !table.is_empty() => format!("lookup {table}"),
        _ if rule.get("nop").is_none() => "?".to_owned(),
        _ => "nop".to_owned(),
    };
    let others = ["ipproto", "dport", "uid_start", "tos", "l3mdev"];
    let others = others.iter().any(|key| !rule[*key].is_null());
    format!(
        "{} v6 {v6} {} {} {} {} {}/{} not {} {action} suppress {} others {others}",
        text(rule, "priority"),
        prefix("src", "srclen"),
        prefix("dst", "dstlen"),
        text(rule, "iif"),
        text(rule, "oif"),
        text(rule, "fwmark"),
        text(rule, "fwmask"),
        rule.get("not").is_some(),
        text(rule, "suppress_prefixlen")
    )
}

const NEIGHBOURS: &str = "
neigh add 192.168.0.7 lladdr 02:00:00:00:00:07 dev e0 nud permanent
neigh add 192.168.0.8 lladdr 02:00:00:00:00:08 dev e0 nud stale
neigh add 192.168.0.9 dev e0 nud failed
neigh add 192.168.0.10 lladdr 02:00:00:00:00:10 dev e0 nud noarp
neigh add 10.1.13.0 lladdr 02:00:00:00:00:13 dev flannel.1 nud permanent
neigh add fd00::7 lladdr 02:00:00:00:00:07 dev e0 nud permanent
";

#[test]
fn neighbours_and_fdb_are_what_iproute2_says() {
    let Some(net) = Net::new("neigh") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    net.ip(NEIGHBOURS);
    let fdb = "
fdb append 02:00:00:00:00:13 dev flannel.1 dst 10.1.1.187
fdb append 02:00:00:00:00:14 dev flannel.1 dst 10.1.1.188 port 4799 vni 5
fdb append 00:00:00:00:00:00 dev flannel.1 dst 10.1.1.187
fdb append 00:00:00:00:00:00 dev flannel.1 dst 10.1.1.188
fdb append 02:00:00:00:00:15 dev vx6 dst fd00::77
fdb add 02:00:00:00:00:16 dev e1 master static
";
    run("bridge", &["-n", &net.0, "-batch", "-"], fdb);
    let context = net.read();
    let ours = context.net.neighbours.iter().map(|one| {
        format!(
            "{} {} {} {}",
            one.link,
            one.address,
            or_empty(one.mac.as_ref()),
            one.state
        )
    });
    let all = net.json(&["ip", "neigh"]);
    let theirs = all.iter().map(|one| {
        let state = one["state"]
            .as_array()
            .and_then(|all| all[0].as_str())
            .unwrap_or_default();
        format!(
            "{} {} {} {state}",
            text(one, "dev"),
            text(one, "dst"),
            text(one, "lladdr")
        )
    });
    same(ours, theirs, 5);

    let ours = context.net.fdb.iter().map(|one| {
        format!(
            "{} {} {} {} {} {}",
            one.link,
            one.mac,
            or_empty(one.dst),
            one.permanent,
            or_empty(one.vni),
            or_empty(one.port)
        )
    });
    let all = net.json(&["bridge", "fdb"]);
    let forwards = |one: &&Value| {
        let link = text(one, "ifname");
        !one["master"].is_null() || ["br0", "flannel.1", "vx6", "ext"].contains(&link.as_str())
    };
    let theirs = all.iter().filter(forwards).map(|one| {
        let permanent = text(one, "state") == "permanent";
        format!(
            "{} {} {} {permanent} {} {}",
            text(one, "ifname"),
            text(one, "mac"),
            text(one, "dst"),
            text(one, "vni"),
            text(one, "port")
        )
    });
    same(ours, theirs, 9);
}

#[test]
fn look_ups_are_the_kernels() {
    let Some(net) = Net::new("lookups") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    net.ip(ROUTES);
    net.ip("rule add to 10.4.0.0/16 lookup 1000 priority 10");
    let mut context = net.read();
    let found = [
        "8.8.8.8",
        "10.1.7.7",
        "10.1.13.9",
        "10.4.1.1",
        "10.9.9.2",
        "192.168.0.1",
        "10.20.0.9",
        "fd00::77",
        "fd00:2::5",
        "2001:db8::1",
        "fd00:6::1",
    ];
    let refused = [
        ("10.5.0.1", "EHOSTUNREACH"),
        ("10.6.0.1", "EINVAL"),
        ("fd00:4::1", "EHOSTUNREACH"),
        ("fd00:5::1", "EINVAL"),
    ];
    let mut wanted: Vec<(IpAddr, Role)> = Vec::new();
    for text in found.iter().chain(refused.iter().map(|(text, _)| text)) {
        wanted.push((text.parse().expect("an address"), Role::Upstream));
        wanted.push((text.parse().expect("an address"), Role::Nameserver));
    }
    net.inside(|| netlink::look_up(&mut context, &wanted));
    assert_eq!(context.unread, []);
    assert_eq!(context.net.lookups.len(), found.len() + refused.len());
    for lookup in &context.net.lookups {
        assert_eq!(lookup.roles, [Role::Nameserver, Role::Upstream]);
        let destination = lookup.destination.to_string();
        if let Some((_, error)) = refused.iter().find(|(text, _)| *text == destination) {
            assert_eq!(
                lookup.answer,
                Answer::Refused((*error).to_owned()),
                "{destination}"
            );
            continue;
        }
        let Answer::Way {
            dev,
            via,
            source,
            matched,
            table,
            ..
        } = &lookup.answer
        else {
            panic!("{lookup:?}");
        };
        let way = &net.json(&["ip", "route", "get", &destination])[0];
        let fib = &net.json(&["ip", "route", "get", "fibmatch", &destination])[0];
        assert_eq!(or_empty(source.as_ref()), text(way, "prefsrc"), "{way}");
        assert_eq!(or_empty(dev.as_ref()), text(way, "dev"), "{way}");
        // Of several hops the kernel takes one at each question.
        if fib["nexthops"].is_null() {
            assert_eq!(or_empty(via.as_ref()), text(way, "gateway"), "{way}");
        }
        let words = ip_route(fib, lookup.destination.is_ipv6());
        let start = format!(
            " {} table {} ",
            or_empty(matched.as_ref()),
            table_name(*table)
        );
        assert!(words.contains(&start), "{start} in {words}");
    }
}

/// What a follower says within a deadline, asked until `parts` are among it.
fn wait_for(follower: &mut netlink::Follower, parts: &[Part]) -> netlink::Changes {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut changes = netlink::Changes::default();
    while !parts.iter().all(|&part| changes.has(part)) {
        assert!(Instant::now() < deadline, "{parts:?} in {changes:?}");
        std::thread::yield_now();
        changes.add(follower.changes());
    }
    changes
}

#[test]
fn what_changes_is_told_and_read_again() {
    let Some(net) = Net::new("follow") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    let mut follower = net.inside(netlink::Follower::open).expect("a follower");
    let mut context = net.read();
    let nameserver: IpAddr = "10.44.0.9".parse().expect("an address");
    net.inside(|| netlink::look_up(&mut context, &[(nameserver, Role::Nameserver)]));
    // A bridge may still be learning of its ports.
    let changes = follower.changes();
    assert!(
        !changes.has(Part::Routes) && !changes.has(Part::PolicyRules),
        "{changes:?}"
    );
    let refused = Answer::Refused("ENETUNREACH".to_owned());
    assert_eq!(context.net.lookups[0].answer, refused);

    net.ip("route add 10.44.0.0/16 dev flannel0");
    let changes = wait_for(&mut follower, &[Part::Routes]);
    net.inside(|| netlink::refresh(&mut context, &changes));
    let to = "10.44.0.0/16".parse().expect("a prefix");
    let route = context.net.routes.iter().find(|route| route.to == to);
    assert_eq!(route.and_then(Route::dev), Some("flannel0"));
    assert_eq!(context.net.lookups[0].dev(), Some("flannel0"));

    // Every group, each with what is to be seen of it; the route goes with its link.
    net.ip("rule add fwmark 7 lookup 9 priority 77
-6 rule add fwmark 7 lookup 9 priority 78
neigh add 192.168.0.77 lladdr 02:00:00:00:00:77 dev e0 nud permanent
addr add 192.168.7.7/32 dev e0
addr add fd00:77::1/64 dev e0 nodad
link set down0 name renamed0
link delete flannel0");
    run(
        "bridge",
        &[
            "-n",
            &net.0,
            "fdb",
            "append",
            "02:00:00:00:00:99",
            "dev",
            "flannel.1",
            "dst",
            "10.1.1.99",
        ],
        "",
    );
    let parts = [
        Part::Links,
        Part::Addresses,
        Part::PolicyRules,
        Part::Neighbours,
        Part::Fdb,
    ];
    let changes = wait_for(&mut follower, &parts);
    net.inside(|| netlink::refresh(&mut context, &changes));
    assert_eq!(context.net.lookups[0].answer, refused);
    let mut anew = net.read();
    anew.net.lookups = context.net.lookups.clone();
    // A neighbour's state moves on by itself.
    for one in context
        .net
        .neighbours
        .iter_mut()
        .chain(&mut anew.net.neighbours)
    {
        one.state.clear();
    }
    assert_eq!(debug(&context.net), debug(&anew.net));
    assert!(context.net.link("renamed0").is_some());
    assert!(context.net.routes.iter().all(|route| route.to != to));
}

#[test]
fn a_namespace_that_is_not_entered_keeps_its_own_links() {
    let Some(net) = Net::new("inside") else {
        return;
    };
    net.ip(LINKS);
    let outside = std::fs::read_link("/proc/thread-self/ns/net").expect("a link");
    let inside = net
        .inside(|| std::fs::read_link("/proc/thread-self/ns/net"))
        .expect("a link");
    assert_ne!(outside, inside);
    assert_eq!(
        std::fs::read_link("/proc/thread-self/ns/net").expect("a link"),
        outside
    );
    let own = namespace::inside(None, || std::fs::read_link("/proc/thread-self/ns/net"));
    assert_eq!(own.expect("here").expect("a link"), outside);
    let names = net.read().net.links.len();
    assert!(names > 10, "{names}");
}

#[test]
fn a_flood_of_changes_says_that_everything_changed() {
    let Some(net) = Net::new("flood") else {
        return;
    };
    net.ip(LINKS);
    let mut follower = net.inside(netlink::Follower::open).expect("a follower");
    let line = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("route add 10.{a}.{b}.{c}/32 dev br0\n")
    };
    net.ip(&(0..40_000).map(line).collect::<String>());
    assert_eq!(follower.changes(), netlink::Changes::all());
    // It hears on behind the gap.
    net.ip("rule add fwmark 7 lookup 9 priority 77");
    let changes = wait_for(&mut follower, &[Part::PolicyRules]);
    assert!(!changes.has(Part::Links), "{changes:?}");
    // A table that is longer than a buffer is read whole.
    let routes = net.read().net.routes;
    let added = routes.iter().filter(|route| route.protocol == "boot");
    assert_eq!(added.count(), 40_000);
}

/// Turns a link's checksum offload off, as `ethtool -K LINK tx off`.
fn checksums_off(link: &str) {
    /// Command of linux/ethtool.h.
    const ETHTOOL_STXCSUM: u32 = 0x17;
    let mut words = [ETHTOOL_STXCSUM, 0];
    // SAFETY: zeros are a valid ifreq; it points to the words, which outlive the call.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let result = libc::ioctl(socket, libc::SIOCETHTOOL as _, &raw mut request);
        libc::close(socket);
        result
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn offloads_of_a_vxlan_and_its_underlay_are_read() {
    const NAME: &str = "tx-checksum-ip-generic";
    let Some(net) = Net::new("offloads") else {
        return;
    };
    net.ip(LINKS);
    let offload = |context: &Context, link: &str| {
        let link = context.net.link(link).expect("the link");
        link.offloads.get(NAME).copied()
    };
    let before = net.read();
    let seen = ["flannel.1", "e0", "br0"].map(|link| offload(&before, link));
    assert_eq!(seen, [Some(true), Some(true), None]);
    net.inside(|| checksums_off("flannel.1"));
    let after = net.read();
    let seen = ["flannel.1", "e0", "br0"].map(|link| offload(&after, link));
    assert_eq!(seen, [Some(false), Some(true), None]);
}
