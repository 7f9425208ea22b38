//! What `nft -j list ruleset` prints (libnftables-json(5)).
//!
//! Conditions that a rule's fields can hold are read, sets of a moderate size among them;
//! any other makes it uncertain whether the rule applies. A verdict map becomes a rule an
//! element.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{Backend, Chain, FirewallRule, Mark, Match, Verdict};

/// Elements of a set that are kept; a larger one is not looked into.
const MAX_ELEMENTS: usize = 1024;

/// All chains, and whether there are rules that iptables-nft made, whose conditions nft
/// cannot tell.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Chain>, bool), String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let objects = value
        .get("nftables")
        .and_then(Value::as_array)
        .ok_or("it holds no list `nftables`")?;
    let mut sets = Sets::default();
    let mut chains: Vec<Chain> = Vec::new();
    let mut at: FxHashMap<(String, String, String), usize> = FxHashMap::default();
    for object in objects {
        for kind in ["set", "map"] {
            if let Some(set) = object.get(kind) {
                sets.add(set);
            }
        }
        if let Some(chain) = object.get("chain").map(chain) {
            let key = (
                chain.family.clone(),
                chain.table.clone(),
                chain.name.clone(),
            );
            at.insert(key, chains.len());
            chains.push(chain);
        }
    }
    let mut foreign = false;
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let key = (
            text(rule, "family"),
            text(rule, "table"),
            text(rule, "chain"),
        );
        if let Some(&index) = at.get(&key) {
            let reading = Reading { sets: &sets, rule };
            chains[index].rules.extend(reading.rules(&mut foreign));
        }
    }
    Ok((chains, foreign))
}

fn text(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn chain(value: &Value) -> Chain {
    let some = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let priority = value.get("prio").and_then(Value::as_i64);
    Chain {
        backend: Backend::Nft,
        family: text(value, "family"),
        table: text(value, "table"),
        name: text(value, "name"),
        hook: some("hook"),
        kind: some("type"),
        priority: priority.and_then(|priority| i32::try_from(priority).ok()),
        policy: some("policy"),
        rules: Vec::new(),
    }
}

/// Named sets and maps, by family, table and name.
#[derive(Default)]
struct Sets<'a>(FxHashMap<(String, String, String), &'a Value>);

impl<'a> Sets<'a> {
    fn add(&mut self, set: &'a Value) {
        let key = (text(set, "family"), text(set, "table"), text(set, "name"));
        self.0.insert(key, set.get("elem").unwrap_or(&Value::Null));
    }
}

struct Reading<'a> {
    sets: &'a Sets<'a>,
    rule: &'a Value,
}

impl<'a> Reading<'a> {
    fn rules(&self, foreign: &mut bool) -> Vec<FirewallRule> {
        let mut rule = FirewallRule {
            handle: self.rule.get("handle").and_then(Value::as_u64),
            ..FirewallRule::default()
        };
        let statements = self.rule.get("expr").and_then(Value::as_array);
        let statements = statements.map_or(&[][..], Vec::as_slice);
        rule.text = statements.iter().map(shown).collect::<Vec<_>>().join(" ");
        let mut rules = vec![rule];
        for statement in statements {
            *foreign |= statement.get("xt").is_some();
            if let Some(map) = statement.get("vmap") {
                let each = rules.iter().flat_map(|rule| self.verdict_map(rule, map));
                return each.collect();
            }
            match self.concatenation(statement, rules.len()) {
                Some((left, elements)) => rules = self.one_each(&rules, left, &elements),
                None => rules
                    .iter_mut()
                    .for_each(|rule| self.statement(rule, statement)),
            }
        }
        rules
    }

    /// `iifname . oifname { docker0 . flannel.1, … }`: its left side and the elements, where
    /// there are not too many for `rules` rules.
    fn concatenation(
        &self,
        statement: &'a Value,
        rules: usize,
    ) -> Option<(&'a Value, Vec<&'a Value>)> {
        let value = statement.get("match")?;
        let (left, right) = (value.get("left")?, value.get("right")?);
        let is_equal = ["==", "in"].contains(&text(value, "op").as_str());
        let elements = self.elements(right).filter(|_| is_equal)?;
        let fits = !elements.is_empty() && elements.len() * rules <= MAX_ELEMENTS;
        (fits && left.get("concat").is_some()).then_some((left, elements))
    }

    /// A rule for each element.
    fn one_each(
        &self,
        rules: &[FirewallRule],
        left: &'a Value,
        elements: &[&'a Value],
    ) -> Vec<FirewallRule> {
        let each = rules
            .iter()
            .flat_map(|rule| elements.iter().map(move |element| (rule.clone(), *element)));
        let each = each.map(|(mut rule, element)| {
            rule.others |= !self.element(&mut rule, left, element);
            rule
        });
        each.collect()
    }

    /// Reads what one element asks for, part by part where it is a concatenation.
    fn element(&self, rule: &mut FirewallRule, left: &'a Value, element: &'a Value) -> bool {
        let parts = |value: &'a Value| value.get("concat").and_then(Value::as_array);
        match (parts(left), parts(element)) {
            (Some(left), Some(parts)) if left.len() == parts.len() => {
                let mut pairs = left.iter().zip(parts);
                pairs.all(|(left, part)| self.condition(rule, left, "==", part))
            }
            (Some(_), _) => false,
            (None, _) => self.condition(rule, left, "==", element),
        }
    }

    fn statement(&self, rule: &mut FirewallRule, statement: &Value) {
        let Some((kind, value)) = statement.as_object().and_then(|it| it.iter().next()) else {
            rule.others = true;
            return;
        };
        match kind.as_str() {
            "match" => {
                let (left, right) = (value.get("left"), value.get("right"));
                let operator = text(value, "op");
                let (left, right) = (left.unwrap_or(&Value::Null), right.unwrap_or(&Value::Null));
                rule.others |= !self.condition(rule, left, &operator, right);
            }
            "counter" => rule.packets = value.get("packets").and_then(Value::as_u64),
            "mangle" => {
                let of = value.pointer("/key/meta/key").and_then(Value::as_str);
                rule.sets_mark |= of == Some("mark");
            }
            "log" | "comment" | "notrack" | "ct helper" | "ct timeout" | "set" | "dup" => {}
            // It lets packets by until a rate is reached.
            "limit" | "quota" | "ct count" => rule.others = true,
            "xt" => foreign(rule, value),
            _ => match verdict(kind, value) {
                Some(verdict) => rule.verdict = verdict,
                None => rule.others = true,
            },
        }
    }

    /// A verdict map: a rule an element.
    fn verdict_map(&self, rule: &FirewallRule, map: &Value) -> Vec<FirewallRule> {
        let key = map.get("key").unwrap_or(&Value::Null);
        let data = map.get("data").unwrap_or(&Value::Null);
        let elements = self.elements(data);
        let Some(elements) = elements else {
            let unknown = FirewallRule {
                others: true,
                verdict: Verdict::Other("vmap".to_owned()),
                ..rule.clone()
            };
            return vec![unknown];
        };
        let each = elements.into_iter().map(|element| {
            let mut rule = rule.clone();
            let value = element.get(0).unwrap_or(&Value::Null);
            rule.others |= !self.element(&mut rule, key, value);
            let verdicts = element.get(1).and_then(Value::as_object);
            let chosen = verdicts.and_then(|it| it.iter().next());
            rule.verdict = chosen
                .and_then(|(kind, value)| verdict(kind, value))
                .unwrap_or_else(|| Verdict::Other("vmap".to_owned()));
            rule
        });
        each.collect()
    }

    /// Members of a set, anonymous or named; None of one that is too large or not known.
    fn elements(&self, value: &'a Value) -> Option<Vec<&'a Value>> {
        let named = value.as_str().and_then(|name| name.strip_prefix('@'));
        let list = match named {
            Some(name) => {
                let (family, table) = (text(self.rule, "family"), text(self.rule, "table"));
                *self.sets.0.get(&(family, table, name.to_owned()))?
            }
            None => value.get("set").unwrap_or(value),
        };
        match list {
            Value::Array(list) if list.len() > MAX_ELEMENTS => None,
            Value::Array(list) => Some(list.iter().map(plain).collect()),
            Value::Null => Some(Vec::new()),
            single => Some(vec![plain(single)]),
        }
    }

    /// Reads one condition. False: it is not known here.
    fn condition(
        &self,
        rule: &mut FirewallRule,
        left: &'a Value,
        operator: &str,
        right: &'a Value,
    ) -> bool {
        let negated = match operator {
            "==" | "in" => false,
            "!=" => true,
            _ => return false,
        };
        if let Some(known) = marked(rule, left, right, negated) {
            return known;
        }
        // An empty set matches nothing: rare enough not to be worth a field.
        let Some(values) = self.elements(right).filter(|values| !values.is_empty()) else {
            return false;
        };
        if let Some(meta) = left.pointer("/meta/key").and_then(Value::as_str) {
            return of_meta(rule, meta, &values, negated);
        }
        if left.pointer("/ct/key").and_then(Value::as_str) == Some("state") {
            return of_state(rule, &values, negated);
        }
        let payload = |name: &str| left.pointer(&format!("/payload/{name}"))?.as_str();
        match (payload("protocol"), payload("field")) {
            (Some(protocol), Some(field)) => of_payload(rule, protocol, field, &values, negated),
            _ => false,
        }
    }
}

/// An element without its time-out, counter or comment.
fn plain(element: &Value) -> &Value {
    element.pointer("/elem/val").unwrap_or(element)
}

/// `meta mark 0x10`, `meta mark & 0x4000 == 0x4000`; None where it is no such condition.
fn marked(rule: &mut FirewallRule, left: &Value, right: &Value, negated: bool) -> Option<bool> {
    let is_mark =
        |value: &Value| value.pointer("/meta/key").and_then(Value::as_str) == Some("mark");
    let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let mask = match left.get("&").and_then(Value::as_array).map(Vec::as_slice) {
        Some([of, mask]) if is_mark(of) => number(mask),
        None if is_mark(left) => Some(u32::MAX),
        _ => return None,
    };
    let (Some(mask), Some(value)) = (mask, number(right)) else {
        return Some(false);
    };
    rule.mark = Some(Mark {
        value,
        mask,
        negated,
    });
    Some(true)
}

fn of_meta(rule: &mut FirewallRule, key: &str, values: &[&Value], negated: bool) -> bool {
    let into = match key {
        "iifname" | "iif" => &mut rule.iif,
        "oifname" | "oif" => &mut rule.oif,
        "l4proto" => &mut rule.protocol,
        "nfproto" | "protocol" => return of_family(rule, values, negated),
        _ => return false,
    };
    let name = |value: &&Value| value.as_str().map(str::to_owned);
    extend(into, values.iter().map(name).collect(), negated)
}

fn of_family(rule: &mut FirewallRule, values: &[&Value], negated: bool) -> bool {
    let v6 = match values {
        [value] => match value.as_str() {
            Some("ipv4" | "ip") => false,
            Some("ipv6" | "ip6") => true,
            _ => return false,
        },
        _ => return false,
    };
    rule.ipv6 = Some(v6 != negated);
    true
}

fn of_state(rule: &mut FirewallRule, values: &[&Value], negated: bool) -> bool {
    let all = ["new", "established", "related", "invalid", "untracked"];
    let named: Option<Vec<&str>> = values.iter().map(|value| value.as_str()).collect();
    let Some(named) = named.filter(|_| rule.states.is_empty()) else {
        return false;
    };
    let chosen = all
        .into_iter()
        .filter(|state| named.contains(state) != negated);
    rule.states = chosen.map(str::to_owned).collect();
    !rule.states.is_empty()
}

fn of_payload(
    rule: &mut FirewallRule,
    protocol: &str,
    field: &str,
    values: &[&Value],
    negated: bool,
) -> bool {
    match (protocol, field) {
        ("ip" | "ip6", "saddr" | "daddr") => {
            rule.ipv6 = Some(protocol == "ip6");
            let nets: Option<Vec<Vec<IpNet>>> = values.iter().map(|value| nets(value)).collect();
            let nets = nets.map(|nets| nets.into_iter().flatten().map(Some).collect());
            let into = match field {
                "saddr" => &mut rule.source,
                _ => &mut rule.destination,
            };
            nets.is_some_and(|nets| extend(into, nets, negated))
        }
        ("ip", "protocol") | ("ip6", "nexthdr") => {
            rule.ipv6 = Some(protocol == "ip6");
            let name = |value: &&Value| value.as_str().map(str::to_owned);
            extend(
                &mut rule.protocol,
                values.iter().map(name).collect(),
                negated,
            )
        }
        (transport, "sport" | "dport") => {
            // Only a packet of the protocol has such a port.
            let known = transport == "th"
                || extend(&mut rule.protocol, vec![Some(transport.to_owned())], false);
            let ranges: Option<Vec<(u16, u16)>> = values.iter().map(|value| ports(value)).collect();
            let into = match field {
                "sport" => &mut rule.source_ports,
                _ => &mut rule.destination_ports,
            };
            match ranges {
                Some(ranges) if !negated && into.is_empty() => {
                    into.extend(ranges);
                    known
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// Adds values of one condition; a second positive one would have to hold as well, which the
/// field cannot say.
fn extend<T>(into: &mut Vec<Match<T>>, values: Vec<Option<T>>, negated: bool) -> bool {
    let values: Option<Vec<T>> = values.into_iter().collect();
    match values {
        Some(values) if negated || into.iter().all(|one| one.negated) => {
            into.extend(values.into_iter().map(|value| Match { value, negated }));
            true
        }
        _ => false,
    }
}

/// An address, a prefix, or a range as the prefixes that make it up.
fn nets(value: &Value) -> Option<Vec<IpNet>> {
    if let Some(address) = value.as_str() {
        let address: IpAddr = address.parse().ok()?;
        return Some(vec![IpNet::from(address)]);
    }
    if let Some(prefix) = value.get("prefix") {
        let address: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Some(vec![IpNet::new(address, length).ok()?.trunc()]);
    }
    let address = |at: usize| value.get("range")?.get(at)?.as_str();
    match (address(0)?.parse().ok()?, address(1)?.parse().ok()?) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let subnets = ipnet::Ipv4Subnets::new(from, to, 0);
            Some(subnets.map(IpNet::V4).collect())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let subnets = ipnet::Ipv6Subnets::new(from, to, 0);
            Some(subnets.map(IpNet::V6).collect())
        }
        _ => None,
    }
}

fn ports(value: &Value) -> Option<(u16, u16)> {
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    match value.get("range") {
        Some(range) => Some((port(range.get(0)?)?, port(range.get(1)?)?)),
        None => port(value).map(|port| (port, port)),
    }
}

fn verdict(kind: &str, value: &Value) -> Option<Verdict> {
    let flags = value.get("flags");
    let fully_random = flags.is_some_and(|flags| flags.to_string().contains("fully-random"));
    let target = || text(value, "target");
    let to = || match value.get("addr") {
        Some(Value::String(address)) => address.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    Some(match kind {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "reject" => Verdict::Reject,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" => Verdict::Jump(target()),
        "goto" => Verdict::Goto(target()),
        "masquerade" => Verdict::Masquerade { fully_random },
        "snat" => Verdict::Snat {
            to: to(),
            fully_random,
        },
        "dnat" | "redirect" => Verdict::Dnat { to: to() },
        "queue" | "fwd" | "tproxy" | "synproxy" => Verdict::Other(kind.to_owned()),
        // A flowtable is for established connections; the others come by here too.
        "flow" => Verdict::Continue,
        _ => return None,
    })
}

/// A match or target of iptables, of which nft knows the name alone.
fn foreign(rule: &mut FirewallRule, value: &Value) {
    let name = text(value, "name");
    match (value.get("type").and_then(Value::as_str), name.as_str()) {
        (Some("match"), "comment") => {}
        (Some("target"), "MASQUERADE") => {
            rule.verdict = Verdict::Masquerade {
                fully_random: false,
            };
        }
        (Some("target"), "LOG" | "NFLOG" | "TCPMSS") => {}
        (Some("target"), "MARK" | "CONNMARK") => rule.sets_mark = true,
        (Some("target"), _) => rule.verdict = Verdict::Other(name),
        _ => rule.others = true,
    }
}

/// A statement in about nft's own words.
fn shown(statement: &Value) -> String {
    let Some((kind, value)) = statement.as_object().and_then(|it| it.iter().next()) else {
        return phrase(statement);
    };
    match kind.as_str() {
        "match" => {
            let part = |name: &str| phrase(value.get(name).unwrap_or(&Value::Null));
            match text(value, "op").as_str() {
                "==" | "in" => format!("{} {}", part("left"), part("right")),
                operator => format!("{} {operator} {}", part("left"), part("right")),
            }
        }
        "counter" => "counter".to_owned(),
        "jump" | "goto" => format!("{kind} {}", text(value, "target")),
        "vmap" => {
            let part = |name: &str| phrase(value.get(name).unwrap_or(&Value::Null));
            format!("{} vmap {}", part("key"), part("data"))
        }
        "xt" => format!("xt {} {}", text(value, "type"), text(value, "name")),
        "snat" | "dnat" => format!("{kind} to {}", phrase(value.get("addr").unwrap_or(value))),
        _ => kind.clone(),
    }
}

/// An expression in about nft's own words.
fn phrase(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().take(16).map(phrase).collect();
            parts.join(", ")
        }
        Value::Object(object) => match object.iter().next() {
            Some((kind, inner)) => expression(kind, inner),
            None => String::new(),
        },
        other => other.to_string(),
    }
}

fn expression(kind: &str, inner: &Value) -> String {
    let part = |at: usize| phrase(inner.get(at).unwrap_or(&Value::Null));
    match kind {
        "payload" => format!("{} {}", text(inner, "protocol"), text(inner, "field")),
        "meta" => match text(inner, "key").as_str() {
            key @ ("iifname" | "oifname" | "iif" | "oif") => key.to_owned(),
            key => format!("meta {key}"),
        },
        "ct" => format!("ct {}", text(inner, "key")),
        "prefix" => {
            let length = inner.get("len").and_then(Value::as_u64).unwrap_or_default();
            format!("{}/{length}", text(inner, "addr"))
        }
        "range" => format!("{}-{}", part(0), part(1)),
        "set" => format!("{{ {} }}", phrase(inner)),
        "&" | "|" | "^" => format!("{} {kind} {}", part(0), part(1)),
        _ => kind.to_owned(),
    }
}
