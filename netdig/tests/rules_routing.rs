//! Our choice of a route against the kernel's own, over random tables, rules and metrics in
//! a network namespace of its own.

#[path = "lab/privileged.rs"]
mod privileged;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use ipnet::IpNet;
use netdig::context::net::{NextHop, PolicyRule, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
use netdig::rules::routing::Routing;
use privileged::privileged;
use serde_json::Value;

/// Seeds; each makes a namespace with tables of its own.
const SEEDS: [u64; 4] = [1, 7, 42, 4711];
const ROUTES: usize = 150;
const DESTINATIONS: usize = 120;
const LINKS: [&str; 4] = ["tun1", "tun2", "tun3", "tun4"];
const MARK: &str = "=====";

/// splitmix64: the same tables for a seed on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// An address of a small world, so that prefixes nest.
    fn address(&mut self, ipv6: bool) -> IpAddr {
        let bits = self.next();
        match ipv6 {
            false => Ipv4Addr::new(
                10,
                (bits & 3) as u8,
                (bits >> 8 & 7) as u8,
                (bits >> 16 & 15) as u8,
            )
            .into(),
            true => Ipv6Addr::new(
                0xfd00,
                (bits & 3) as u16,
                (bits >> 8 & 7) as u16,
                0,
                0,
                0,
                0,
                (bits >> 16 & 15) as u16,
            )
            .into(),
        }
    }

    fn net(&mut self, ipv6: bool) -> IpNet {
        let lengths: &[u8] = match ipv6 {
            false => &[0, 8, 12, 14, 16, 20, 22, 24, 28, 32],
            true => &[0, 16, 30, 32, 40, 48, 64, 124, 128],
        };
        let address = self.address(ipv6);
        IpNet::new(address, *self.of(lengths))
            .expect("a length")
            .trunc()
    }
}

/// Commands of iproute2 for one family.
fn setup(random: &mut Random, ipv6: bool) -> String {
    let family = if ipv6 { "-6" } else { "-4" };
    let tables = ["main", "100", "200", "300"];
    let mut script = String::new();
    for _ in 0..ROUTES {
        let kind = *random.of(&[
            "",
            "",
            "",
            "",
            "",
            "unreachable",
            "prohibit",
            "blackhole",
            "throw",
        ]);
        let dev = match kind {
            "" => format!("dev {}", random.of(&LINKS)),
            _ => String::new(),
        };
        let (net, metric, table) = (random.net(ipv6), 1 + random.below(4), random.of(&tables));
        // One that is there already is refused, and that is all right.
        let _ = writeln!(
            script,
            "ip {family} route add {kind} {net} {dev} metric {metric} table {table} 2>/dev/null || true"
        );
    }
    for n in 0..8 {
        let condition = match random.below(6) {
            0 => format!("to {}", random.net(ipv6)),
            1 => "fwmark 5".to_owned(),
            2 => "fwmark 0x10/0x30".to_owned(),
            3 => format!("from {}", random.net(ipv6)),
            4 => "iif lo".to_owned(),
            _ => String::new(),
        };
        let not = if random.below(4) == 0 && !condition.is_empty() {
            "not"
        } else {
            ""
        };
        let suppress = match random.below(3) {
            0 => format!("suppress_prefixlength {}", random.of(&[0, 8, 16])),
            _ => String::new(),
        };
        let action = match random.below(12) {
            0 => "prohibit".to_owned(),
            1 => "unreachable".to_owned(),
            _ => format!("lookup {} {suppress}", random.of(&tables)),
        };
        let from = if condition.starts_with("from") {
            ""
        } else {
            "from all"
        };
        let priority = 100 + n * 10;
        let _ = writeln!(
            script,
            "ip {family} rule add {not} {from} {condition} priority {priority} {action}"
        );
    }
    script
}

fn namespace(script: &str) -> Vec<String> {
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec", script])
        .output();
    let output = output.expect("unshare runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{script}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split(MARK)
        .skip(1)
        .map(|part| part.trim().to_owned())
        .collect()
}

fn json(text: &str) -> Vec<Value> {
    match text {
        "" => Vec::new(),
        text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn number(value: &Value, name: &str) -> Option<u32> {
    u32::try_from(value.get(name)?.as_u64()?).ok()
}

fn table(value: &Value) -> u32 {
    match text(value, "table") {
        None | Some("main") => TABLE_MAIN,
        Some("local") => TABLE_LOCAL,
        Some("default") => 253,
        Some(other) => other.parse().expect("a table"),
    }
}

fn net(text: &str, ipv6: bool) -> IpNet {
    match text {
        "default" if ipv6 => "::/0".parse().expect("a prefix"),
        "default" => "0.0.0.0/0".parse().expect("a prefix"),
        text => text
            .parse()
            .unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().expect("an address"))),
    }
}

fn route(value: &Value, ipv6: bool) -> Option<Route> {
    let kind = match text(value, "type").unwrap_or("unicast") {
        "broadcast" | "multicast" | "anycast" => return None,
        kind => serde_json::from_value::<RouteKind>(kind.into()).expect("a kind"),
    };
    let dev = text(value, "dev").map(|dev| NextHop {
        dev: Some(dev.to_owned()),
        ..NextHop::default()
    });
    Some(Route {
        to: net(text(value, "dst")?, ipv6),
        kind,
        table: table(value),
        metric: number(value, "metric").unwrap_or(0),
        hops: dev.into_iter().collect(),
        source: None,
        protocol: String::new(),
        scope: String::new(),
        mtu: None,
    })
}

fn rule(value: &Value, ipv6: bool) -> PolicyRule {
    let side = |name: &str, length: &str| match text(value, name) {
        None | Some("all") => None,
        Some(address) => {
            let full = if ipv6 { 128 } else { 32 };
            let length = number(value, length).unwrap_or(full);
            Some(format!("{address}/{length}").parse().expect("a prefix"))
        }
    };
    let hex = |name: &str| {
        let text = text(value, name)?;
        u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    let action = text(value, "action").unwrap_or("lookup");
    PolicyRule {
        priority: number(value, "priority").unwrap_or(0),
        ipv6,
        from: side("src", "srclen"),
        to: side("dst", "dstlen"),
        iif: text(value, "iif").map(str::to_owned),
        fwmark: hex("fwmark"),
        fwmask: hex("fwmask"),
        action: action.to_owned(),
        table: table(value),
        invert: value.get("not").is_some(),
        suppress_prefix_len: number(value, "suppress_prefixlength"),
        ..PolicyRule::default()
    }
}

/// The device of a look-up, `none` where it is refused.
fn kernels(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let refused = ["unreachable", "prohibit", "blackhole"].contains(words.first().unwrap_or(&""));
    let dev = words
        .iter()
        .position(|word| *word == "dev")
        .and_then(|at| words.get(at + 1));
    match dev {
        Some(dev) if !refused => (*dev).to_owned(),
        _ => "none".to_owned(),
    }
}

fn ours(routing: &Routing<'_>, destination: IpAddr) -> String {
    let route = routing
        .way(destination)
        .filter(|route| matches!(route.kind, RouteKind::Unicast | RouteKind::Local));
    route.and_then(Route::dev).unwrap_or("none").to_owned()
}

fn compare(seed: u64, ipv6: bool) -> (usize, Vec<String>) {
    let mut random = Random(seed);
    let family = if ipv6 { "-6" } else { "-4" };
    let mut script = "ip link set lo up\n".to_owned();
    for link in LINKS {
        let _ = writeln!(
            script,
            "ip tuntap add {link} mode tun\nip link set {link} up"
        );
    }
    script += &setup(&mut random, ipv6);
    let _ = writeln!(
        script,
        "echo {MARK}; ip {family} -j route show table all\necho {MARK}; ip {family} -j rule"
    );
    let destinations: Vec<IpAddr> = (0..DESTINATIONS).map(|_| random.address(ipv6)).collect();
    for destination in &destinations {
        let _ = writeln!(
            script,
            "echo {MARK}; ip {family} -o route get {destination} 2>&1 || true"
        );
    }
    let parts = namespace(&script);
    let routes: Vec<Route> = json(&parts[0])
        .iter()
        .filter_map(|one| route(one, ipv6))
        .collect();
    let rules: Vec<PolicyRule> = json(&parts[1]).iter().map(|one| rule(one, ipv6)).collect();
    assert!(
        routes.len() > ROUTES / 3 && rules.len() > 8,
        "{} {}",
        routes.len(),
        rules.len()
    );
    let routing = Routing::new(&routes, &rules);
    let mut found = 0;
    let mut wrong = Vec::new();
    for (destination, answer) in destinations.iter().zip(&parts[2..]) {
        let (kernels, ours) = (kernels(answer), ours(&routing, *destination));
        found += usize::from(kernels != "none");
        if kernels != ours {
            wrong.push(format!(
                "seed {seed}: {destination}: the kernel takes {kernels}, we {ours} ({answer})"
            ));
        }
    }
    (found, wrong)
}

fn all(ipv6: bool) {
    let mut found = 0;
    let mut wrong = Vec::new();
    for seed in SEEDS {
        let (some, differing) = compare(seed, ipv6);
        found += some;
        wrong.extend(differing);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        found > DESTINATIONS / 2,
        "hardly a destination has a way: {found}"
    );
}

#[test]
fn ipv4_goes_where_the_kernel_sends_it() {
    if privileged() {
        all(false);
    }
}

#[test]
fn ipv6_goes_where_the_kernel_sends_it() {
    if privileged() {
        all(true);
    }
}
