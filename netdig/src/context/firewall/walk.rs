//! What the rules do with one packet: base chains of a hook by priority, jumps, returns and
//! policies, as nf_hook_slow() and nft_do_chain() go through them.
//!
//! A rule with conditions that are not known here may apply or not: both ways are followed,
//! and where they differ the answer is that it is not known, and which rule is to blame.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::{Backend, Chain, Firewall, FirewallRule, Mark, Match, Verdict};

/// The kernel's own limit is 16 jumps.
const MAX_DEPTH: usize = 32;
/// Rules that are looked at for one packet: beyond, nothing is said.
const MAX_RULES: usize = 200_000;

/// A packet that is forwarded, or that leaves.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Empty of a packet of this host's own.
    pub iif: &'a str,
    pub oif: &'a str,
    /// None: any. Rules that ask for one may apply or not.
    pub protocol: Option<&'a str>,
    pub source_port: Option<u16>,
    pub destination_port: Option<u16>,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    New,
    Established,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::New => "new",
            State::Established => "established",
        }
    }
}

/// A rule of a chain, or the chain's policy.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    pub chain: &'a Chain,
    /// None: the policy.
    pub rule: Option<&'a FirewallRule>,
}

#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    Accept,
    Drop(At<'a>),
    /// It hangs on a rule that cannot be judged here.
    Unknown(At<'a>),
}

/// What becomes of a packet's source address.
#[derive(Debug, Clone, Copy)]
pub enum Nat<'a> {
    Untouched,
    /// The rule's verdict is [`Verdict::Masquerade`] or [`Verdict::Snat`].
    Rewritten(At<'a>),
    Unknown(At<'a>),
}

impl Firewall {
    /// What the hook `forward` does with a packet.
    pub fn forward(&self, packet: &Passing<'_>) -> Decision<'_> {
        let mut unknown = None;
        let mut walk = Walk::new(self, packet);
        for chain in self.base("forward", packet) {
            let outcome = walk.base(chain);
            match (outcome.drops, outcome.passes) {
                (Some(at), false) => return Decision::Drop(at),
                (Some(at), true) => {
                    unknown.get_or_insert(outcome.doubt.unwrap_or(at));
                }
                (None, _) => {}
            }
        }
        unknown.map_or(Decision::Accept, Decision::Unknown)
    }

    /// Whether the hook `postrouting` gives a packet another source address. Only the first
    /// packet of a connection is asked about: the others follow it.
    pub fn postrouting(&self, packet: &Passing<'_>) -> Nat<'_> {
        let mut unknown = None;
        let mut walk = Walk::new(self, packet);
        for chain in self.base("postrouting", packet) {
            if chain.kind.as_deref() != Some("nat") {
                continue;
            }
            let outcome = walk.base(chain);
            match (outcome.rewrites, outcome.passes) {
                (Some(at), false) => {
                    return unknown.map_or(Nat::Rewritten(at), Nat::Unknown);
                }
                (Some(at), true) => {
                    unknown.get_or_insert(outcome.doubt.unwrap_or(at));
                }
                (None, _) => {}
            }
        }
        unknown.map_or(Nat::Untouched, Nat::Unknown)
    }

    /// Base chains of a hook that see a packet of this family, in order.
    fn base(&self, hook: &str, packet: &Passing<'_>) -> Vec<&Chain> {
        let family = match packet.destination {
            IpAddr::V4(_) => "ip",
            IpAddr::V6(_) => "ip6",
        };
        let mut chains: Vec<&Chain> = self
            .chains
            .iter()
            .filter(|chain| chain.hook.as_deref() == Some(hook))
            .filter(|chain| chain.family == family || chain.family == "inet")
            .collect();
        chains.sort_by_key(|chain| chain.priority.unwrap_or(0));
        chains
    }
}

/// What may become of a packet in a chain.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome<'a> {
    /// It may be dropped, by this.
    drops: Option<At<'a>>,
    /// Its source may be rewritten, by this.
    rewrites: Option<At<'a>>,
    /// It may be accepted, or come to the chain's end.
    passes: bool,
    /// The rule that makes one outcome of several uncertain.
    doubt: Option<At<'a>>,
}

/// How a chain that was jumped to ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The packet's fate is decided, whichever rules applied.
    Decided,
    /// It may come back to the rule behind the jump.
    Returns,
}

type ChainKey<'a> = (Backend, &'a str, &'a str, &'a str);

struct Walk<'a, 'p> {
    chains: FxHashMap<ChainKey<'a>, &'a Chain>,
    packet: &'p Passing<'p>,
    /// None once a rule may have written it.
    mark: Option<u32>,
    left: usize,
}

impl<'a, 'p> Walk<'a, 'p> {
    fn new(firewall: &'a Firewall, packet: &'p Passing<'p>) -> Walk<'a, 'p> {
        let chains = firewall.chains.iter();
        Walk {
            chains: chains
                .map(|chain| (key(chain, &chain.name), chain))
                .collect(),
            packet,
            mark: Some(0),
            left: MAX_RULES,
        }
    }

    fn base(&mut self, chain: &'a Chain) -> Outcome<'a> {
        let mut outcome = Outcome::default();
        if self.chain(chain, MAX_DEPTH, &mut outcome) == End::Returns {
            match chain.policy.as_deref() {
                Some("drop") => {
                    outcome.drops.get_or_insert(At { chain, rule: None });
                }
                _ => outcome.passes = true,
            }
        }
        outcome
    }

    fn chain(&mut self, chain: &'a Chain, depth: usize, outcome: &mut Outcome<'a>) -> End {
        let mut may_return = false;
        for rule in &chain.rules {
            let at = At {
                chain,
                rule: Some(rule),
            };
            self.left = self.left.saturating_sub(1);
            if depth == 0 || self.left == 0 {
                doubtful(outcome, at);
                return End::Decided;
            }
            let applies = self.applies(rule);
            if applies == Applies::No {
                continue;
            }
            if rule.sets_mark {
                self.mark = None;
            }
            if applies == Applies::Maybe && rule.verdict != Verdict::Continue {
                outcome.doubt.get_or_insert(at);
            }
            let end = self.verdict(at, &rule.verdict, depth, outcome);
            match (applies, end) {
                (Applies::Yes, Some(End::Decided)) if !may_return => return End::Decided,
                (Applies::Yes, Some(_)) => return End::Returns,
                (_, Some(End::Returns)) => may_return = true,
                _ => {}
            }
        }
        End::Returns
    }

    /// What a verdict does; None: the next rule decides.
    fn verdict(
        &mut self,
        at: At<'a>,
        verdict: &'a Verdict,
        depth: usize,
        outcome: &mut Outcome<'a>,
    ) -> Option<End> {
        match verdict {
            Verdict::Continue => None,
            Verdict::Accept | Verdict::Dnat { .. } => {
                outcome.passes = true;
                Some(End::Decided)
            }
            Verdict::Drop | Verdict::Reject => {
                outcome.drops.get_or_insert(at);
                Some(End::Decided)
            }
            Verdict::Masquerade { .. } | Verdict::Snat { .. } => {
                outcome.rewrites.get_or_insert(at);
                Some(End::Decided)
            }
            Verdict::Return => Some(End::Returns),
            Verdict::Jump(name) | Verdict::Goto(name) => {
                let Some(&target) = self.chains.get(&key(at.chain, name)) else {
                    doubtful(outcome, at);
                    return None;
                };
                let end = self.chain(target, depth - 1, outcome);
                let goes_on = end == End::Returns && matches!(verdict, Verdict::Jump(_));
                (!goes_on).then_some(end)
            }
            Verdict::Other(_) => {
                doubtful(outcome, at);
                None
            }
        }
    }

    fn applies(&self, rule: &FirewallRule) -> Applies {
        let packet = self.packet;
        let family = rule
            .ipv6
            .is_none_or(|v6| v6 == packet.destination.is_ipv6());
        let states =
            rule.states.is_empty() || rule.states.iter().any(|state| state == packet.state.name());
        let certain = family
            && states
            && networks(&rule.source, packet.source)
            && networks(&rule.destination, packet.destination)
            && all(&rule.iif, |name| is_link(name, packet.iif))
            && all(&rule.oif, |name| is_link(name, packet.oif));
        if !certain {
            return Applies::No;
        }
        let uncertain = [
            protocol(&rule.protocol, packet.protocol),
            ports(&rule.source_ports, packet.source_port),
            ports(&rule.destination_ports, packet.destination_port),
            mark(rule.mark, self.mark),
            if rule.others {
                Applies::Maybe
            } else {
                Applies::Yes
            },
        ];
        uncertain.into_iter().min().unwrap_or(Applies::Yes)
    }
}

fn key<'a>(chain: &'a Chain, name: &'a str) -> ChainKey<'a> {
    (chain.backend, &chain.family, &chain.table, name)
}

/// Anything may become of the packet.
fn doubtful<'a>(outcome: &mut Outcome<'a>, at: At<'a>) {
    outcome.doubt.get_or_insert(at);
    outcome.drops.get_or_insert(at);
    outcome.rewrites.get_or_insert(at);
    outcome.passes = true;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Applies {
    No,
    Maybe,
    Yes,
}

fn applies(yes: bool) -> Applies {
    if yes { Applies::Yes } else { Applies::No }
}

/// One of the plain values must hold, where there are any, and each of the negated ones.
fn all<T>(matches: &[Match<T>], holds: impl Fn(&T) -> bool) -> bool {
    let (negated, plain): (Vec<&Match<T>>, Vec<&Match<T>>) =
        matches.iter().partition(|one| one.negated);
    (plain.is_empty() || plain.iter().any(|one| holds(&one.value)))
        && !negated.iter().any(|one| holds(&one.value))
}

fn networks(matches: &[Match<IpNet>], address: IpAddr) -> bool {
    all(matches, |net| net.contains(&address))
}

fn is_link(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix(['+', '*']) {
        Some(begin) => name.starts_with(begin),
        None => pattern == name,
    }
}

fn protocol(matches: &[Match<String>], protocol: Option<&str>) -> Applies {
    match protocol {
        _ if matches.is_empty() => Applies::Yes,
        Some(protocol) => applies(all(matches, |one| one == protocol)),
        None => Applies::Maybe,
    }
}

fn ports(ranges: &[(u16, u16)], port: Option<u16>) -> Applies {
    match port {
        _ if ranges.is_empty() => Applies::Yes,
        Some(port) => applies(
            ranges
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&port)),
        ),
        None => Applies::Maybe,
    }
}

fn mark(condition: Option<Mark>, mark: Option<u32>) -> Applies {
    match (condition, mark) {
        (None, _) => Applies::Yes,
        (Some(it), Some(mark)) => applies((mark & it.mask == it.value) != it.negated),
        (Some(_), None) => Applies::Maybe,
    }
}

#[cfg(test)]
mod tests {
    use super::super::iptables;
    use super::*;

    fn rules(save: &str) -> Firewall {
        Firewall {
            chains: iptables::parse(save, Backend::IptablesLegacy),
        }
    }

    fn packet(state: State) -> Passing<'static> {
        Passing {
            source: "192.168.69.2".parse().expect("an address"),
            destination: "192.168.13.2".parse().expect("an address"),
            iif: "flannel0",
            oif: "docker0",
            protocol: None,
            source_port: None,
            destination_port: None,
            state,
        }
    }

    fn said(save: &str, state: State) -> String {
        let firewall = rules(save);
        let shown = |at: At<'_>| {
            let rule = at.rule.map_or("policy", |rule| rule.text.as_str());
            format!("{} {rule}", at.chain.name)
        };
        match firewall.forward(&packet(state)) {
            Decision::Accept => "accept".to_owned(),
            Decision::Drop(at) => format!("drop {}", shown(at)),
            Decision::Unknown(at) => format!("unknown {}", shown(at)),
        }
    }

    #[test]
    fn policies_and_rules_decide() {
        for (save, new, established) in [
            ("", "accept", "accept"),
            (
                "*filter\n:FORWARD DROP",
                "drop FORWARD policy",
                "drop FORWARD policy",
            ),
            (
                "*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "drop FORWARD policy",
                "accept",
            ),
            (
                "*filter\n:FORWARD DROP\n-A FORWARD -d 192.168.0.0/16 -i flannel+ -j ACCEPT",
                "accept",
                "accept",
            ),
            (
                "*filter\n:FORWARD ACCEPT\n-A FORWARD ! -s 10.0.0.0/8 -o docker0 -j REJECT",
                "drop FORWARD -A FORWARD ! -s 10.0.0.0/8 -o docker0 -j REJECT",
                "drop FORWARD -A FORWARD ! -s 10.0.0.0/8 -o docker0 -j REJECT",
            ),
            // One table accepts, another drops: all have a say.
            (
                "*mangle\n:FORWARD ACCEPT\n*filter\n:FORWARD DROP\n*security\n:FORWARD ACCEPT",
                "drop FORWARD policy",
                "drop FORWARD policy",
            ),
        ] {
            assert_eq!(said(save, State::New), new, "{save}");
            assert_eq!(said(save, State::Established), established, "{save}");
        }
    }

    #[test]
    fn jumps_come_back_and_gotos_do_not() {
        let user = "*filter\n:FORWARD DROP\n:USER -\n-A FORWARD -j USER\n-A FORWARD -j ACCEPT\n";
        assert_eq!(said(user, State::New), "accept");
        let returns = format!("{user}-A USER -j RETURN\n-A USER -j DROP");
        assert_eq!(said(&returns, State::New), "accept");
        let drops = format!("{user}-A USER -j DROP");
        assert_eq!(said(&drops, State::New), "drop USER -A USER -j DROP");
        let goes = "*filter\n:FORWARD DROP\n:USER -\n-A FORWARD -g USER\n-A FORWARD -j ACCEPT\n";
        assert_eq!(said(goes, State::New), "drop FORWARD policy");
        // A loop, which the kernel would not take, ends too.
        let circle = "*filter\n:FORWARD DROP\n:A -\n-A FORWARD -j A\n-A A -j A\n-A A -j A";
        assert!(said(circle, State::New).starts_with("unknown"));
    }

    #[test]
    fn what_is_not_known_matters_only_where_it_decides() {
        let maybe = "-A FORWARD -m set --match-set x src -j ACCEPT";
        let drops = format!("*filter\n:FORWARD DROP\n{maybe}");
        assert_eq!(said(&drops, State::New), format!("unknown FORWARD {maybe}"));
        let accepts = format!("*filter\n:FORWARD ACCEPT\n{maybe}");
        assert_eq!(said(&accepts, State::New), "accept");
        // Only TCP to one port is let through: any other packet is not.
        let web = "*filter\n:FORWARD DROP\n-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT";
        assert!(said(web, State::New).starts_with("unknown"));
        let firewall = rules(web);
        let mut tcp = packet(State::New);
        (tcp.protocol, tcp.destination_port) = (Some("tcp"), Some(443));
        assert!(matches!(firewall.forward(&tcp), Decision::Drop(_)));
        tcp.destination_port = Some(80);
        assert!(matches!(firewall.forward(&tcp), Decision::Accept));
    }

    #[test]
    fn marks_are_known_until_one_is_written() {
        let kube = "*nat\n:POSTROUTING ACCEPT\n:KUBE -\n-A POSTROUTING -j KUBE\n\
                    -A KUBE -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A KUBE -j MASQUERADE\n";
        let leaves = |save: &str| format!("{:?}", rules(save).postrouting(&packet(State::New)));
        assert_eq!(leaves(kube), "Untouched");
        let marks = kube.replace(
            "*nat\n:POSTROUTING ACCEPT\n",
            "*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -j MARK --set-xmark 0x4000/0x4000\n",
        );
        assert!(leaves(&marks).starts_with("Unknown"));
        assert!(leaves(&kube.replace("! --mark", "--mark")).starts_with("Rewritten"));
    }
}
