//! What iptables-save prints, legacy or nft.
//!
//! A rule's options are read by their names, whichever match brings them; one that is not
//! known makes it uncertain whether the rule applies.
use std::str::FromStr;

use ipnet::IpNet;

use super::{Backend, Chain, FirewallRule, Mark, Match, Verdict};

/// Targets behind which the next rule decides.
const CONTINUING: [&str; 20] = [
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "CT",
    "NOTRACK",
    "TCPMSS",
    "TRACE",
    "SET",
    "CHECKSUM",
    "CLASSIFY",
    "DSCP",
    "TOS",
    "TTL",
    "HL",
    "AUDIT",
    "TEE",
    "CONNSECMARK",
    "SECMARK",
];
/// Conntrack states by name; `DNAT` and `SNAT` are none of the connection itself.
const STATES: [&str; 5] = ["new", "established", "related", "invalid", "untracked"];

/// Chains of all tables, in the order that they are printed.
pub fn parse(text: &str, backend: Backend) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut table = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table);
        } else if let Some(line) = line.strip_prefix(':') {
            chains.extend(declared(line, &table, backend));
        } else if line.starts_with('[') || line.starts_with("-A ") {
            add_rule(&mut chains, &table, line);
        }
    }
    chains
}

/// `FORWARD DROP [0:0]`; a chain of a user's own has the policy `-`.
fn declared(line: &str, table: &str, backend: Backend) -> Option<Chain> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let policy = words.next().filter(|policy| *policy != "-");
    let hook = policy.and_then(|_| hook(name));
    let kind = match table {
        "nat" => "nat",
        "mangle" if name == "OUTPUT" => "route",
        _ => "filter",
    };
    let family = match backend {
        Backend::Ip6tablesLegacy | Backend::Ip6tablesNft => "ip6",
        Backend::Nft | Backend::IptablesNft | Backend::IptablesLegacy => "ip",
    };
    Some(Chain {
        backend,
        family: family.to_owned(),
        table: table.to_owned(),
        name: name.to_owned(),
        hook: hook.map(str::to_owned),
        kind: hook.map(|_| kind.to_owned()),
        priority: hook.map(|hook| priority(table, hook)),
        policy: hook.and(policy).map(str::to_ascii_lowercase),
        rules: Vec::new(),
    })
}

fn hook(chain: &str) -> Option<&'static str> {
    ["prerouting", "input", "forward", "output", "postrouting"]
        .into_iter()
        .find(|hook| hook.eq_ignore_ascii_case(chain))
}

/// Of linux/netfilter_ipv4.h.
fn priority(table: &str, hook: &str) -> i32 {
    match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", "prerouting" | "output") => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    }
}

fn add_rule(chains: &mut [Chain], table: &str, line: &str) {
    // `[12:3456] -A FORWARD …`
    let (packets, line) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((counts, rest)) => {
            let packets = counts
                .split(':')
                .next()
                .and_then(|count| count.parse().ok());
            (packets, rest.trim())
        }
        None => (None, line),
    };
    let words = words(line);
    let [_, name, options @ ..] = &words[..] else {
        return;
    };
    let mut chains = chains.iter_mut().rev();
    let Some(chain) = chains.find(|chain| chain.name == *name && chain.table == table) else {
        return;
    };
    let mut rule = FirewallRule {
        text: line.to_owned(),
        handle: Some(chain.rules.len() as u64 + 1),
        packets,
        ..FirewallRule::default()
    };
    Options(options).read(&mut rule);
    chain.rules.push(rule);
}

/// The options of a rule that are not yet read.
struct Options<'a>(&'a [String]);

impl<'a> Options<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The value of the option that was just read.
    fn value(&mut self) -> &'a str {
        self.next().unwrap_or_default()
    }

    fn read(&mut self, rule: &mut FirewallRule) {
        let mut negated = false;
        while let Some(option) = self.next() {
            if option == "!" {
                negated = true;
                continue;
            }
            if matches!(option, "-j" | "-g") {
                self.target(rule, option == "-g");
                return;
            }
            if !self.condition(rule, option, negated) {
                rule.others = true;
            }
            negated = false;
        }
    }

    /// Reads one condition with its value. False: it is not known here.
    fn condition(&mut self, rule: &mut FirewallRule, option: &str, negated: bool) -> bool {
        match option {
            "-s" => push(&mut rule.source, net(self.value()), negated),
            "-d" => push(&mut rule.destination, net(self.value()), negated),
            "-i" => push(&mut rule.iif, Some(self.value().to_owned()), negated),
            "-o" => push(&mut rule.oif, Some(self.value().to_owned()), negated),
            "-p" => push(&mut rule.protocol, Some(protocol(self.value())), negated),
            "--sport" | "--sports" => ports(&mut rule.source_ports, self.value(), negated),
            "--dport" | "--dports" => ports(&mut rule.destination_ports, self.value(), negated),
            "--ctstate" | "--state" => states(&mut rule.states, self.value(), negated),
            "--mark" => {
                rule.mark = mark(self.value(), negated);
                rule.mark.is_some()
            }
            // The conditions come as options; a match that has none of the known ones does too.
            "-m" => !matches!(self.value(), "socket" | "rpfilter" | "bpf" | "u32"),
            "--comment" => {
                self.value();
                true
            }
            _ => {
                self.skip_values();
                false
            }
        }
    }

    /// Values of an option that is not known.
    fn skip_values(&mut self) {
        while let [first, ..] = self.0
            && !first.starts_with('-')
            && first != "!"
        {
            self.next();
        }
    }

    fn target(&mut self, rule: &mut FirewallRule, goto: bool) {
        let name = self.value();
        let has = |option: &str| self.0.iter().any(|word| word == option);
        let after = |option: &str| {
            let at = self.0.iter().position(|word| word == option);
            at.and_then(|at| self.0.get(at + 1))
                .cloned()
                .unwrap_or_default()
        };
        let fully_random = has("--random-fully");
        rule.sets_mark = name == "MARK" || name == "CONNMARK" && has("--restore-mark");
        rule.verdict = match name {
            _ if goto => Verdict::Goto(name.to_owned()),
            "ACCEPT" => Verdict::Accept,
            "DROP" => Verdict::Drop,
            "REJECT" => Verdict::Reject,
            "RETURN" => Verdict::Return,
            "MASQUERADE" => Verdict::Masquerade { fully_random },
            "SNAT" => Verdict::Snat {
                to: after("--to-source"),
                fully_random,
            },
            "DNAT" => Verdict::Dnat {
                to: after("--to-destination"),
            },
            "REDIRECT" => Verdict::Dnat {
                to: after("--to-ports"),
            },
            _ if CONTINUING.contains(&name) => Verdict::Continue,
            // Targets in capitals with options are extensions; the rest are chains.
            "NFQUEUE" | "QUEUE" | "TPROXY" | "NETMAP" | "SYNPROXY" | "CLUSTERIP" => {
                Verdict::Other(name.to_owned())
            }
            _ => Verdict::Jump(name.to_owned()),
        };
    }
}

fn push<T>(matches: &mut Vec<Match<T>>, value: Option<T>, negated: bool) -> bool {
    let known = value.is_some();
    matches.extend(value.map(|value| Match { value, negated }));
    known
}

/// `192.168.0.0/16`, `10.1.1.95`, `10.0.0.0/255.0.0.0`.
fn net(text: &str) -> Option<IpNet> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net.trunc());
    }
    if let Some((address, mask)) = text.split_once('/') {
        return IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok();
    }
    text.parse::<std::net::IpAddr>().ok().map(IpNet::from)
}

/// Names as the rest of netdig has them.
fn protocol(text: &str) -> String {
    match text {
        "ipv6-icmp" | "icmpv6" => "icmp6",
        "1" => "icmp",
        "6" => "tcp",
        "17" => "udp",
        other => other,
    }
    .to_owned()
}

/// `80`, `8000:9000`, and lists of them.
fn ports(ranges: &mut Vec<(u16, u16)>, text: &str, negated: bool) -> bool {
    let range = |text: &str| match text.split_once(':') {
        Some((from, to)) => Some((number(from, 0)?, number(to, u16::MAX)?)),
        None => text.parse().ok().map(|port| (port, port)),
    };
    let parsed: Option<Vec<(u16, u16)>> = text.split(',').map(range).collect();
    match parsed {
        Some(parsed) if !negated && ranges.is_empty() => {
            ranges.extend(parsed);
            true
        }
        _ => false,
    }
}

fn number<T: FromStr>(text: &str, absent: T) -> Option<T> {
    match text {
        "" => Some(absent),
        text => text.parse().ok(),
    }
}

fn states(states: &mut Vec<String>, text: &str, negated: bool) -> bool {
    let named: Vec<String> = text.split(',').map(str::to_ascii_lowercase).collect();
    // DNAT and SNAT are states too, of which nothing is known here.
    if !states.is_empty() || named.iter().any(|state| !STATES.contains(&state.as_str())) {
        return false;
    }
    match negated {
        false => states.extend(named),
        true => {
            let others = STATES.iter().map(|state| (*state).to_owned());
            states.extend(others.filter(|state| !named.contains(state)));
        }
    }
    true
}

/// `0x4000/0x4000`, `0x1`.
fn mark(text: &str, negated: bool) -> Option<Mark> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some(Mark {
        value: number(value)?,
        mask: number(mask)?,
        negated,
    })
}

/// Words as iptables-save quotes them: `"…"` with `\"` and `\\` inside.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}
