//! The kernel's choice of a route, worked out from its tables: policy rules by priority,
//! the longest prefix, then the lowest metric (net/core/fib_rules.c, net/ipv4/fib_trie.c).
//!
//! For destinations that matter the kernel itself was asked; this answers for all others,
//! and says which route wins for a part of a range.
use std::net::IpAddr;

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
    rules: Vec<&'a PolicyRule>,
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
        Routing {
            routes: by_prefix,
            lengths: lengths
                .into_iter()
                .map(|(family, present)| (family, longest_first(&present)))
                .collect(),
            rules,
        }
    }

    /// The route that a packet of this host's own, without a mark or a source yet, takes.
    /// None where no route leads there; a route of a kind such as `unreachable` is an answer.
    pub fn way(&self, destination: IpAddr) -> Option<&'a Route> {
        let v6 = is_v6(destination);
        let mut ruled = self.rules.iter().filter(|rule| rule.ipv6 == v6).peekable();
        if ruled.peek().is_none() {
            let tables = [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT];
            return tables
                .into_iter()
                .find_map(|table| self.look(table, destination, None));
        }
        ruled
            .filter(|rule| rule.action == "lookup" && applies(rule, destination))
            .find_map(|rule| self.look(rule.table, destination, rule.suppress_prefix_len))
    }

    /// The route of one table that wins for `destination`.
    pub fn look(
        &self,
        table: u32,
        destination: IpAddr,
        suppress: Option<u32>,
    ) -> Option<&'a Route> {
        let lengths = self.lengths.get(&(table, is_v6(destination)))?;
        for &length in lengths {
            let net = IpNet::new(destination, length).ok()?.trunc();
            let Some(route) = self
                .routes
                .get(&(table, net))
                .and_then(|equals| winner(equals))
            else {
                continue;
            };
            if suppress.is_some_and(|suppress| u32::from(length) <= suppress) {
                return None;
            }
            return (route.kind != RouteKind::Throw).then_some(route);
        }
        None
    }

    /// Routes to exactly this prefix in a table, the winner first.
    pub fn to(&self, table: u32, net: IpNet) -> &[&'a Route] {
        self.routes.get(&(table, net)).map_or(&[], Vec::as_slice)
    }
}

/// Of routes to one prefix, lowest metric first, the one that is alive.
fn winner<'a>(equals: &[&'a Route]) -> Option<&'a Route> {
    equals
        .iter()
        .copied()
        .find(|route| route.hops.is_empty() || route.hops.iter().any(|hop| !hop.down))
}

/// Whether a rule takes a packet of this host's own before it has a source, mark or device.
fn applies(rule: &PolicyRule, destination: IpAddr) -> bool {
    let conditional = rule.from.is_some_and(|net| net.prefix_len() > 0)
        || rule.iif.as_deref().is_some_and(|iif| iif != "lo")
        || rule.oif.is_some()
        || rule.others;
    let marked = rule.fwmark.is_some_and(|mark| mark != 0);
    let to = rule.to.is_none_or(|net| net.contains(&destination));
    (!conditional && !marked && to) != rule.invert
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
