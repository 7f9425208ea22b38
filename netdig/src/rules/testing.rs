//! Contexts for the rules' tests, written as the commands of iproute2 and etcdctl print.
//!
//! ```text
//! link eth0 mtu 1500                         also: link flannel.1 vxlan vni 1 port 8472 mac …
//! address 10.1.1.95/24 dev eth0
//! route 10.1.0.0/16 via 10.1.1.1 dev eth0 metric 100 table 5 onlink src 10.1.1.95
//! rule 100 from 10.0.0.0/8 lookup 5           also: rule 100 to 10.5.7.0/24 unreachable
//! rule 32765 not fwmark 0xca6c lookup 51820
//! neigh 10.1.1.1 dev eth0 lladdr 02:… PERMANENT
//! fdb 02:… dev flannel.1 dst 10.1.1.187
//! lookup nameserver 10.1.0.2 dev flannel0 via …   the kernel's answer; `refused EACCES`
//! sysctl net.ipv4.ip_forward 1
//! counter rt_cache.in_martian_src 4
//! nameserver 10.1.0.2
//! save *filter                              lines of iptables-save, legacy
//! save -A FORWARD -i flannel0 -j ACCEPT
//! unread /coreos.com/network                 a part of the registry
//! key v2 /coreos.com/network/config {"Network":"10.1.0.0/16"}
//! folder v2 /haproxy-discover/services/myapp/upstreams   a directory without entries
//! ttl 30                                    of the last key
//! bind 10.1.1.95:80                         of haproxy.cfg
//! server frontend1 10.1.1.187:80 check
//! listens 0.0.0.0:80 haproxy                a socket, with its program
//! ```
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Report, View, evaluate};
use crate::context::files::{Balancer, Bind, Nameserver, Place, Server};
use crate::context::firewall::Firewall;
use crate::context::net::{
    Address, Answer, FdbEntry, Link, LinkKind, Lookup, Neighbour, NextHop, PolicyRule, Role, Route,
    RouteKind, TABLE_MAIN, Vxlan,
};
use crate::context::registry::{Api, ApiVersion, Key, Value};
use crate::context::{Context, Part, SCHEMA, Socket, Unread};
use crate::evidence::services::{Answer as Tried, Services};
use crate::finding::{Code, Finding};

/// The context that `text` tells.
pub fn context(text: &str) -> Context {
    let mut context = Context {
        schema: SCHEMA.to_owned(),
        ..Context::default()
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        add(&mut context, line);
    }
    let saved = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("save "));
    let saved: Vec<&str> = saved.collect();
    context.firewall = Firewall::of_save(&saved.join("\n"));
    context
}

/// What the rules say of it.
pub fn report(text: &str) -> Report {
    let context = context(text);
    evaluate(&View::new(&context, None))
}

/// All findings of one who watches the services that the keys tell of, and tried `probes`.
pub fn watched(text: &str, probes: &[(&str, Tried)]) -> Vec<Finding> {
    let context = context(text);
    let services = Services::of(&context.registry.keys, "/", None);
    let probes = probes.iter();
    let probes = probes.map(|(at, answer)| (at.parse().expect("ip:port"), answer.clone()));
    let probes = probes.collect();
    evaluate(&View::new(&context, None).with_services(&services, &probes)).findings
}

/// Their titles, of one code.
pub fn titles(text: &str, probes: &[(&str, Tried)], code: u16) -> Vec<String> {
    let mut found = watched(text, probes);
    found.retain(|finding| finding.code == Code(code));
    found.into_iter().map(|finding| finding.title).collect()
}

/// What iptables-save prints, as lines of a context.
pub fn saved(save: &str) -> String {
    let lines: Vec<String> = save
        .lines()
        .map(|line| format!("save {}", line.trim()))
        .collect();
    lines.join("\n")
}

/// Findings of one code.
pub fn findings(text: &str, code: u16) -> Vec<Finding> {
    let mut findings = report(text).findings;
    findings.retain(|finding| finding.code == Code(code));
    findings
}

struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    /// The word behind `name`.
    fn after(&self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|word| *word == name)?;
        self.0.get(at + 1).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    fn read<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        let text = self.after(name)?;
        let value = text.parse();
        Some(value.unwrap_or_else(|_| panic!("{name} {text}")))
    }
}

fn net(text: &str) -> IpNet {
    match text {
        "default" => "0.0.0.0/0".parse(),
        "default6" => "::/0".parse(),
        _ => text.parse(),
    }
    .unwrap_or_else(|_| match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => panic!("no prefix: {text}"),
    })
}

fn add(context: &mut Context, line: &str) {
    let words = Words(line.split_whitespace().collect());
    let first = words.0.get(1).copied().unwrap_or_default();
    let rest = line.splitn(4, ' ').nth(3).unwrap_or_default();
    match words.0[0] {
        // A firewall's lines belong together: they are read at once.
        "#" | "save" => {}
        "link" => context.net.links.push(link(first, &words)),
        "address" => context.net.addresses.push(Address {
            link: words.after("dev").expect("dev").to_owned(),
            net: net(first),
            peer: words.after("peer").map(net),
            scope: words.after("scope").unwrap_or("global").to_owned(),
            secondary: words.has("secondary"),
        }),
        "route" => context.net.routes.push(route(first, &words)),
        "rule" => context.net.rules.push(rule(first, &words)),
        "neigh" => context.net.neighbours.push(Neighbour {
            link: words.after("dev").expect("dev").to_owned(),
            address: first.parse().expect("an address"),
            mac: words.after("lladdr").map(str::to_owned),
            state: (*words.0.last().expect("a state")).to_owned(),
        }),
        "fdb" => context.net.fdb.push(FdbEntry {
            link: words.after("dev").expect("dev").to_owned(),
            mac: first.to_owned(),
            dst: words.read("dst"),
            permanent: words.has("permanent"),
            vni: words.read("vni"),
            port: words.read("port"),
        }),
        "lookup" => context.net.lookups.push(lookup(first, &words)),
        "sysctl" => {
            let value = words.0[2].to_owned();
            context.sysctls.insert(first.to_owned(), value);
        }
        "counter" => {
            let value = words.0[2].parse().expect("a number");
            context.counters.insert(first.to_owned(), value);
        }
        "nameserver" => context.files.nameservers.push(Nameserver {
            address: first.parse().expect("an address"),
            place: Place {
                file: "/etc/resolv.conf".to_owned(),
                line: context.files.nameservers.len() as u32 + 1,
            },
            behind_stub: false,
        }),
        "unread" => context.unread.push(Unread {
            part: Part::Registry,
            what: first.to_owned(),
            why: "refused".to_owned(),
            hint: None,
            partly: true,
        }),
        "key" => key(context, first, words.0[2], rest),
        "folder" => {
            key(context, first, words.0[2], "");
            last_key(context).directory = true;
        }
        "ttl" => last_key(context).ttl = Some(first.parse().expect("seconds")),
        "bind" => balancer(context).binds.push(Bind {
            section: "in".to_owned(),
            address: first.to_owned(),
            ..Bind::default()
        }),
        "server" => balancer(context).servers.push(Server {
            section: "myapp".to_owned(),
            name: first.to_owned(),
            address: words.0[2].to_owned(),
            check: words.has("check"),
            ..Server::default()
        }),
        "listens" => context.sockets.push(Socket {
            protocol: "tcp".to_owned(),
            local: first.to_owned(),
            state: Some("LISTEN".to_owned()),
            comm: words.0.get(2).map(|&comm| comm.to_owned()),
            ..Socket::default()
        }),
        other => panic!("what is `{other}`?"),
    }
}

fn last_key(context: &mut Context) -> &mut Key {
    context.registry.keys.last_mut().expect("a key before it")
}

fn balancer(context: &mut Context) -> &mut Balancer {
    if context.files.balancers.is_empty() {
        context.files.balancers.push(Balancer {
            file: "/etc/haproxy/haproxy.cfg".to_owned(),
            ..Balancer::default()
        });
    }
    &mut context.files.balancers[0]
}

fn link(name: &str, words: &Words<'_>) -> Link {
    let kind = match words.0.get(2).copied() {
        Some("vxlan") => LinkKind::Vxlan(Vxlan {
            vni: words.read("vni").unwrap_or(1),
            port: words.read("port").unwrap_or(8472),
            local: words.read("local"),
            ..Vxlan::default()
        }),
        Some("tun") => LinkKind::Tun { tap: false },
        Some("bridge") => LinkKind::Bridge,
        Some("veth") => LinkKind::Veth,
        Some("mtu" | "mac" | "master" | "down") | None => LinkKind::Physical,
        Some(other) => LinkKind::Other(other.to_owned()),
    };
    Link {
        index: 1,
        name: name.to_owned(),
        kind,
        up: !words.has("down"),
        running: !words.has("down"),
        loopback: name == "lo",
        mtu: words.read("mtu").unwrap_or(1500),
        mac: words.after("mac").map(str::to_owned),
        master: words.after("master").map(str::to_owned),
        ..Link::default()
    }
}

fn route(to: &str, words: &Words<'_>) -> Route {
    let dev = words.after("dev").map(str::to_owned);
    let via = words.read("via");
    Route {
        to: net(to),
        kind: match words.after("kind") {
            None => RouteKind::Unicast,
            Some("local") => RouteKind::Local,
            Some("unreachable") => RouteKind::Unreachable,
            Some("blackhole") => RouteKind::Blackhole,
            Some("prohibit") => RouteKind::Prohibit,
            Some("throw") => RouteKind::Throw,
            Some(other) => panic!("kind {other}"),
        },
        table: words.read("table").unwrap_or(TABLE_MAIN),
        metric: words.read("metric").unwrap_or(0),
        hops: match (&dev, via) {
            (None, None) => Vec::new(),
            _ => vec![NextHop {
                via,
                dev,
                onlink: words.has("onlink"),
                weight: 1,
                down: words.has("linkdown"),
            }],
        },
        source: words.read("src"),
        protocol: words.after("proto").unwrap_or("boot").to_owned(),
        scope: words.after("scope").unwrap_or("global").to_owned(),
        mtu: words.read("mtu"),
    }
}

fn rule(priority: &str, words: &Words<'_>) -> PolicyRule {
    PolicyRule {
        priority: priority.parse().expect("a priority"),
        ipv6: words.has("ipv6"),
        from: words.after("from").map(net),
        to: words.after("to").map(net),
        iif: words.after("iif").map(str::to_owned),
        fwmark: words.after("fwmark").map(mark),
        invert: words.has("not"),
        action: ["unreachable", "blackhole", "prohibit"]
            .into_iter()
            .find(|action| words.has(action))
            .unwrap_or("lookup")
            .to_owned(),
        table: words.read("lookup").unwrap_or_default(),
        suppress_prefix_len: words.read("suppress_prefixlength"),
        ..PolicyRule::default()
    }
}

/// `524288`, or `0x80000` as ip-rule(8) prints it.
fn mark(text: &str) -> u32 {
    let mark = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    mark.unwrap_or_else(|_| panic!("fwmark {text}"))
}

fn lookup(role: &str, words: &Words<'_>) -> Lookup {
    let role = match role {
        "nameserver" => Role::Nameserver,
        "gateway" => Role::Gateway,
        "etcd" => Role::Etcd,
        "peer" => Role::Peer,
        "subnet" => Role::Subnet,
        "upstream" => Role::Upstream,
        other => panic!("role {other}"),
    };
    let answer = match words.after("refused") {
        Some(error) => Answer::Refused(error.to_owned()),
        None => Answer::Way {
            kind: RouteKind::Unicast,
            dev: words.after("dev").map(str::to_owned),
            via: words.read("via"),
            source: words.read("src"),
            table: words.read("table").unwrap_or(TABLE_MAIN),
            matched: words.after("matched").map(net),
        },
    };
    Lookup {
        destination: words.0[2].parse().expect("an address"),
        roles: vec![role],
        answer,
    }
}

fn key(context: &mut Context, api: &str, name: &str, value: &str) {
    let read = Api::Read {
        cluster: None,
        revision: 5000,
    };
    let api = match api {
        "v2" => {
            context.registry.v2 = read;
            ApiVersion::V2
        }
        "v3" => {
            context.registry.v3 = read;
            ApiVersion::V3
        }
        other => panic!("API {other}"),
    };
    context.registry.keys.push(Key {
        api,
        key: name.to_owned(),
        value: Value::Text(value.to_owned()),
        created: 4711,
        modified: 4711,
        ..Key::default()
    });
}
