//! The kernel's choice of a route, worked out from its tables: policy rules by priority,
//! the longest prefix, then the lowest metric (net/core/fib_rules.c, net/ipv4/fib_trie.c).
//!
//! For destinations that matter the kernel itself was asked; this answers for all others,
//! and says which route wins for a part of a range.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::context::net::{PolicyRule, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};

/// Table `default`, asked last.
const TABLE_DEFAULT: u32 = 253;

pub struct Routing<'a> {
    /// By table and prefix, the lowest metric first.
    routes: FxHashMap<(u32, IpNet), Vec<&'a Route>>,
    /// Prefix lengths of each table and family, longest first.
    lengths: FxHashMap<(u32, bool), Vec<u8>>,
    /// By priority, of IPv4 and IPv6.
    rules: [Vec<&'a PolicyRule>; 2],
}

/// Who decides on a packet: the policy rule, where any are known, and the route that it found.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    pub rule: Option<&'a PolicyRule>,
    /// Absent where the rule itself refuses.
    pub route: Option<&'a Route>,
}

impl<'a> Routing<'a> {
    pub fn new(routes: &'a [Route], rules: &'a [PolicyRule]) -> Routing<'a> {
        let mut by_prefix: FxHashMap<(u32, IpNet), Vec<&Route>> = FxHashMap::default();
        let mut lengths: FxHashMap<(u32, bool), [bool; 129]> = FxHashMap::default();
        for route in routes {
            by_prefix
                .entry((route.table, route.to))
                .or_default()
                .push(route);
            let family = (route.table, is_v6(route.to.addr()));
            lengths.entry(family).or_insert([false; 129])[usize::from(route.to.prefix_len())] =
                true;
        }
        for equals in by_prefix.values_mut() {
            equals.sort_by_key(|route| route.metric);
        }
        let mut rules: Vec<&PolicyRule> = rules.iter().collect();
        rules.sort_by_key(|rule| rule.priority);
        let (v6, v4) = rules.into_iter().partition(|rule| rule.ipv6);
        Routing {
            routes: by_prefix,
            lengths: lengths
                .into_iter()
                .map(|(family, present)| (family, longest_first(&present)))
                .collect(),
            rules: [v4, v6],
        }
    }

    /// The route that a packet of this host's own, without a mark or a source yet, takes.
    /// None where no route leads there; a route of a kind such as `unreachable` is an answer.
    pub fn way(&self, destination: IpAddr) -> Option<&'a Route> {
        self.decision(destination)?.route
    }

    /// What decides on such a packet. None where nothing leads there.
    pub fn decision(&self, destination: IpAddr) -> Option<Decision<'a>> {
        self.decision_on(destination, &Sender::HOST)
    }

    /// What decides on a packet of this sender's.
    pub fn decision_on(&self, destination: IpAddr, sender: &Sender<'_>) -> Option<Decision<'a>> {
        let v6 = is_v6(destination);
        let rules = &self.rules[usize::from(v6)];
        if rules.is_empty() {
            let tables = [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT].into_iter();
            let route = tables.map(|table| self.look(table, destination, None));
            let route = route.flatten().next();
            return route.is_some().then_some(Decision { rule: None, route });
        }
        let mut at = 0;
        while let Some(&rule) = rules.get(at) {
            at += 1;
            if !applies(rule, destination, sender) {
                continue;
            }
            let decided = |route| Decision {
                rule: Some(rule),
                route,
            };
            match rule.action.as_str() {
                "lookup" => {
                    let found = self.look(rule.table, destination, rule.suppress_prefix_len);
                    if found.is_some() {
                        return Some(decided(found));
                    }
                }
                // The rule itself refuses the packet: no table is asked any more.
                "blackhole" | "unreachable" | "prohibit" => return Some(decided(None)),
                "goto" => {
                    let target = |one: &&PolicyRule| Some(one.priority) == rule.goto;
                    // Only forwards; one whose target is gone does nothing.
                    at += rules[at..].iter().position(target).unwrap_or(0);
                }
                _ => {}
            }
        }
        None
    }

    /// The route of one table that wins for `destination`. A link without a carrier does not
    /// lose its routes (`ignore_routes_with_linkdown` is 0 unless somebody set it), and those
    /// of a link that is down are not in the table.
    pub fn look(
        &self,
        table: u32,
        destination: IpAddr,
        suppress: Option<u32>,
    ) -> Option<&'a Route> {
        let route = self.look_where(table, destination, |_| true)?;
        let length = u32::from(route.to.prefix_len());
        let suppressed = suppress.is_some_and(|suppress| length <= suppress);
        (!suppressed && route.kind != RouteKind::Throw).then_some(route)
    }

    /// The same among the routes that `counts` lets count.
    pub fn look_where(
        &self,
        table: u32,
        destination: IpAddr,
        counts: impl Fn(&Route) -> bool,
    ) -> Option<&'a Route> {
        let lengths = self.lengths.get(&(table, is_v6(destination)))?;
        lengths.iter().find_map(|&length| {
            let net = IpNet::new(destination, length).ok()?.trunc();
            let equals = self.to(table, net).iter().copied();
            equals.into_iter().find(|route| counts(route))
        })
    }

    /// Whether a rule leads to a table, or no rules are known and it is one of the usual three.
    pub fn is_used(&self, table: u32) -> bool {
        [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT].contains(&table)
            || self.rules.iter().flatten().any(|rule| rule.table == table)
    }

    /// Routes to exactly this prefix in a table, the winner first.
    pub fn to(&self, table: u32, net: IpNet) -> &[&'a Route] {
        self.routes.get(&(table, net)).map_or(&[], Vec::as_slice)
    }
}

/// Who sends a packet that is to be routed.
pub struct Sender<'a> {
    /// Absent of this host's own packets, before they have one.
    pub source: Option<IpAddr>,
    /// The link that it came by.
    pub iif: &'a str,
}

impl Sender<'_> {
    /// This host itself.
    pub const HOST: Sender<'static> = Sender {
        source: None,
        iif: "lo",
    };
}

/// Whether a rule takes a packet without a mark, before it has a device to leave by.
fn applies(rule: &PolicyRule, destination: IpAddr, sender: &Sender<'_>) -> bool {
    let nowhere: IpAddr = match rule.ipv6 {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    // Whether a condition holds that is not known here is not known either way round.
    if rule.others {
        return false;
    }
    let source = sender.source.unwrap_or(nowhere);
    let matches = rule.from.is_none_or(|net| net.contains(&source))
        && rule.to.is_none_or(|net| net.contains(&destination))
        && rule.iif.as_deref().is_none_or(|iif| iif == sender.iif)
        && rule.oif.is_none()
        && rule.fwmark.unwrap_or(0) & rule.fwmask.unwrap_or(u32::MAX) == 0;
    matches != rule.invert
}

fn is_v6(address: IpAddr) -> bool {
    address.is_ipv6()
}

fn longest_first(present: &[bool; 129]) -> Vec<u8> {
    (0..=128u8)
        .rev()
        .filter(|&length| present[usize::from(length)])
        .collect()
}
