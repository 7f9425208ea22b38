//! Policy rules that refuse what is for another host's lease, or ask a table that leads it
//! elsewhere. A rule says nothing of itself: who decides on an address in the lease does.
use std::net::IpAddr;

use ipnet::IpNet;

use super::collisions::{ALMOST_DEFAULT, samples};
use super::routing::{Decision, Sender};
use super::view::Overlay;
use super::{Draft, View, backend, by_hand};
use crate::context::flannel::Lease;
use crate::context::net::{Answer, PolicyRule, Route, TABLE_LOCAL, TABLE_MAIN, table_name};
use crate::finding::{Confidence, Evidence};

/// The number that a rule gets which was the very first.
const MOVED: u32 = 100;

/// What a rule does to leases, the first of them with an address that it decides on.
struct Diverted<'a, 'v> {
    rule: &'a PolicyRule,
    /// Absent where the rule refuses.
    route: Option<&'a Route>,
    lease: &'v Lease,
    /// The last one that was counted.
    last: &'v Lease,
    address: IpAddr,
    asked: bool,
    /// Whether it is what containers send, and not this host's own packets.
    of_containers: bool,
    count: usize,
}

pub fn find(view: &View<'_>, overlay: &Overlay<'_>, found: &mut Vec<Draft>) {
    let rules = view.context.net.rules.iter();
    let rules: Vec<&PolicyRule> = rules.filter(|rule| is_ones_own(rule)).collect();
    if rules.is_empty() {
        return;
    }
    let mut all: Vec<Diverted<'_, '_>> = Vec::new();
    for (lease, address, rule) in questions(view, overlay, &rules) {
        let Some(one) = diverted(view, overlay, lease, address) else {
            continue;
        };
        // An address of one rule's part tells of that rule alone.
        if rule.is_some_and(|rule| !std::ptr::eq(rule, one.rule)) {
            continue;
        }
        match all
            .iter_mut()
            .find(|known| std::ptr::eq(known.rule, one.rule))
        {
            Some(known) if std::ptr::eq(known.last, lease) => {}
            Some(known) => (known.count, known.last) = (known.count + 1, lease),
            None => all.push(one),
        }
    }
    for one in from_containers(view, overlay, &rules) {
        let known = |other: &Diverted<'_, '_>| std::ptr::eq(other.rule, one.rule);
        if !all.iter().any(known) {
            all.push(one);
        }
    }
    found.extend(all.iter().map(|one| draft(overlay, one)));
}

/// What rules do to packets of this host's containers alone: those that name their subnet or
/// their bridge.
fn from_containers<'a, 'v>(
    view: &View<'a>,
    overlay: &'v Overlay<'_>,
    rules: &[&'a PolicyRule],
) -> Vec<Diverted<'a, 'v>> {
    let bridge = backend::bridge(view, overlay).map_or("", |link| &link.name);
    let mut all: Vec<Diverted<'_, '_>> = Vec::new();
    for own in overlay
        .own_subnet
        .into_iter()
        .chain(overlay.own_ipv6_subnet)
    {
        // One behind the bridge's own.
        let Some(source) = own.hosts().nth(1) else {
            continue;
        };
        let of_them = |rule: &&PolicyRule| {
            let from = rule.from.is_some_and(|from| from.contains(&source));
            !rule.invert
                && rule.ipv6 == source.is_ipv6()
                && (from || !bridge.is_empty() && rule.iif.as_deref() == Some(bridge))
        };
        let theirs: Vec<&PolicyRule> = rules.iter().copied().filter(of_them).collect();
        if theirs.is_empty() {
            continue;
        }
        let sender = Sender {
            source: Some(source),
            iif: bridge,
        };
        for lease in overlay.remote_leases() {
            let subnet = lease.subnet_in(source.is_ipv6());
            let Some(address) = subnet.and_then(|net| samples(net).next()) else {
                continue;
            };
            let Some(Decision {
                rule: Some(rule),
                route,
            }) = view.routing.decision_on(address, &sender)
            else {
                continue;
            };
            let taken = theirs.iter().any(|one| std::ptr::eq(*one, rule))
                && is_elsewhere(overlay, lease, route)
                && is_routed(view, overlay, lease, address);
            if !taken {
                continue;
            }
            match all.iter_mut().find(|known| std::ptr::eq(known.rule, rule)) {
                Some(known) => (known.count, known.last) = (known.count + 1, lease),
                None => all.push(Diverted {
                    rule,
                    route,
                    lease,
                    last: lease,
                    address,
                    asked: false,
                    of_containers: true,
                    count: 1,
                }),
            }
        }
    }
    all
}

/// Whether a route of a rule's table, or its refusal, is another way than the overlay's. A longer
/// route of such a table is told of itself: here it is what stands for all the rest.
fn is_elsewhere(overlay: &Overlay<'_>, lease: &Lease, route: Option<&Route>) -> bool {
    route.is_none_or(|route| {
        route.to.prefix_len() <= ALMOST_DEFAULT
            && !by_hand::refuses(route)
            && route.dev().is_some()
            && !is_way_to(overlay, lease, route)
    })
}

/// Whether a rule is none of the three that every host has.
fn is_ones_own(rule: &PolicyRule) -> bool {
    match rule.action.as_str() {
        "lookup" => ![TABLE_LOCAL, TABLE_MAIN, 253, 0].contains(&rule.table),
        "blackhole" | "unreachable" | "prohibit" => true,
        _ => false,
    }
}

/// An address in a lease, and the rule that names the part of the lease that it is of.
type Question<'a, 'v> = (&'v Lease, IpAddr, Option<&'a PolicyRule>);

/// What to ask for, lease by lease: where rules name a range, all leases in it and the parts
/// that are named; of other rules only the kernel's word is enough, and so what it was asked.
fn questions<'a, 'v>(
    view: &View<'a>,
    overlay: &'v Overlay<'_>,
    rules: &[&'a PolicyRule],
) -> Vec<Question<'a, 'v>> {
    let mut all: Vec<Question<'_, '_>> = Vec::new();
    let named = rules.iter().filter_map(|rule| Some((named(rule)?, *rule)));
    let ranges: Vec<IpNet> = named.clone().map(|(to, _)| to.trunc()).collect();
    for lease in IpNet::aggregate(&ranges)
        .into_iter()
        .flat_map(|range| overlay.leases_in(range))
    {
        let firsts = lease.subnets().filter_map(|net| first(view, net));
        all.extend(firsts.map(|address| (lease, address, None)));
    }
    for (to, rule) in named {
        let wider = overlay.leases_in(to).filter_map(|lease| {
            let subnet = lease.subnet_of(to)?;
            let part = subnet.contains(&to) && subnet != to;
            Some((lease, samples(to).next().filter(|_| part)?, Some(rule)))
        });
        all.extend(wider);
    }
    let asked = view.context.net.lookups.iter().filter_map(|lookup| {
        let lease = overlay.lease_of(lookup.destination)?;
        let mut subnets = lease.subnets();
        let is_sample = subnets.any(|net| samples(net).any(|one| one == lookup.destination));
        is_sample.then_some((lease, lookup.destination, None))
    });
    all.extend(asked);
    all.retain(|(lease, _, _)| overlay.is_remote(lease));
    all.sort_by_key(|(lease, _, _)| lease.subnet);
    all
}

/// The range that a rule is for, of one that is for a range alone.
fn named(rule: &PolicyRule) -> Option<IpNet> {
    rule.to.filter(|_| !rule.invert)
}

/// The address of a lease's that the kernel was asked for, otherwise its first.
fn first(view: &View<'_>, subnet: IpNet) -> Option<IpAddr> {
    let asked = samples(subnet).find(|&address| view.asked(address).is_some());
    asked.or_else(|| samples(subnet).next())
}

/// Whether the table main has the overlay's own way to a lease: without it no rule takes packets
/// from it, and ND205 speaks of that.
fn is_routed(view: &View<'_>, overlay: &Overlay<'_>, lease: &Lease, address: IpAddr) -> bool {
    let route = view.routing.look(TABLE_MAIN, address, None);
    route.is_some_and(|route| is_way_to(overlay, lease, route))
}

fn is_way_to(overlay: &Overlay<'_>, lease: &Lease, route: &Route) -> bool {
    route.dev().is_some_and(|dev| overlay.links.contains(&dev))
        || lease.publics().any(|peer| Some(peer) == route.via())
}

fn diverted<'a, 'v>(
    view: &View<'a>,
    overlay: &Overlay<'_>,
    lease: &'v Lease,
    address: IpAddr,
) -> Option<Diverted<'a, 'v>> {
    let Decision { rule, route } = view.routing.decision(address)?;
    let rule = rule.filter(|rule| is_ones_own(rule))?;
    let asked = view.asked(address);
    let agrees = asked.is_none_or(|lookup| match (&lookup.answer, route) {
        (Answer::Refused(_), None) => true,
        (Answer::Way { dev, via, .. }, Some(route)) => {
            dev.as_deref() == route.dev() && *via == route.via()
        }
        _ => false,
    });
    let elsewhere = is_elsewhere(overlay, lease, route);
    // A rule for all the world is a router's or a VPN's: only the kernel's word is enough.
    let sure = asked.is_some() || named(rule).is_some();
    let routed = is_routed(view, overlay, lease, address);
    (agrees && elsewhere && sure && routed).then_some(Diverted {
        rule,
        route,
        lease,
        last: lease,
        address,
        asked: asked.is_some(),
        of_containers: false,
        count: 1,
    })
}

fn draft(overlay: &Overlay<'_>, one: &Diverted<'_, '_>) -> Draft {
    let words = words(one.rule);
    let (does, end) = match (one.route, one.of_containers) {
        (None, false) => ("refuses packets for", String::new()),
        (None, true) => ("refuses containers' packets for", String::new()),
        (Some(route), of_containers) => (
            match of_containers {
                true => "takes containers' packets for",
                false => "takes packets for",
            },
            format!(" elsewhere, by {}", way(route)),
        ),
    };
    let lease = format!(
        "{}{}",
        backend::named(one.lease),
        backend::and_more(one.count)
    );
    let number = one.rule.priority;
    let title = format!("the policy rule {number} ({words}) {does} {lease}{end}");
    let said = match one.route {
        None => "is refused".to_owned(),
        Some(route) => format!("leaves by {}", way(route)),
    };
    let source = if one.asked { "look-up" } else { "rule" };
    let origin = &one.lease.origin;
    Draft::new(format!("{} rule {number} {words}", overlay.key()), title)
        .because(
            "Rules are asked in the order of their numbers, before any route: the overlay's own \
             route in the table main is not looked at. Containers behind that lease cannot be \
             reached from here.",
        )
        .seen(Evidence::new(
            "rule",
            format!("{number}: {words}"),
            format!("decides on {}", one.address),
        ))
        .seen_all(one.route.map(|route| {
            Evidence::new("route", route.to_string(), format!("takes {}", one.address))
        }))
        .seen(Evidence::new(source, one.address.to_string(), said))
        .seen(Evidence::new(
            origin.source(),
            origin.place(),
            backend::named(one.lease),
        ))
        .fix_all(fix(overlay, one.rule, &words))
        .confidence(match one.asked {
            true => Confidence::Certain,
            false => Confidence::Likely,
        })
}

/// A rule for a part of the overlay alone goes; before a wider one the overlay gets its own.
fn fix(overlay: &Overlay<'_>, rule: &PolicyRule, words: &str) -> Vec<String> {
    let ip = if rule.ipv6 { "ip -6" } else { "ip" };
    let mut networks = overlay.networks.iter();
    let number = rule.priority;
    let within = named(rule).is_some_and(|to| networks.any(|net| net.contains(&to)));
    if within {
        return vec![format!("{ip} rule del priority {number} {words}")];
    }
    let mut commands = Vec::new();
    // It is not the overlay's to delete, and nothing can stand before it.
    let before = number.checked_sub(1).filter(|before| *before > 0);
    if before.is_none() {
        commands.push(format!(
            "# nothing can stand before it: give it another number first, as with {ip} rule add \
             priority {MOVED} {words}; {ip} rule del priority {number} {words}"
        ));
    }
    let networks = overlay.networks.iter();
    let family = networks.filter(|net| net.addr().is_ipv6() == rule.ipv6);
    let before = before.unwrap_or(MOVED - 1);
    commands
        .extend(family.map(|net| format!("{ip} rule add to {net} lookup main priority {before}")));
    commands
}

fn way(route: &Route) -> String {
    let to = match route.is_default() {
        true => "default".to_owned(),
        false => route.to.to_string(),
    };
    let via = route
        .via()
        .map_or_else(String::new, |via| format!(" via {via}"));
    format!("{to}{via} dev {}", route.dev().unwrap_or("none"))
}

/// A rule as ip-rule(8) takes it: `to 10.5.7.0/24 unreachable`, `from all lookup 7`.
fn words(rule: &PolicyRule) -> String {
    let mut words: Vec<String> = Vec::new();
    if rule.invert {
        words.push("not".to_owned());
    }
    match (rule.from, rule.to) {
        (Some(from), _) => words.push(format!("from {from}")),
        (None, None) => words.push("from all".to_owned()),
        (None, Some(_)) => {}
    }
    words.extend(rule.to.map(|to| format!("to {to}")));
    let names = [("iif", &rule.iif), ("oif", &rule.oif)];
    for (word, name) in names {
        words.extend(
            name.as_deref()
                .map(|name| format!("{word} {}", super::renumber::quoted(name))),
        );
    }
    if let Some(mark) = rule.fwmark {
        let mask = rule.fwmask.unwrap_or(u32::MAX);
        words.push(format!("fwmark {mark:#x}/{mask:#x}"));
    }
    words.push(match rule.action.as_str() {
        "lookup" => format!("lookup {}", table_name(rule.table)),
        refusal => refusal.to_owned(),
    });
    if let Some(length) = rule.suppress_prefix_len {
        words.push(format!("suppress_prefixlength {length}"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use crate::finding::Confidence;
    use crate::rules::testing::findings;

    const HOST: &str = r#"
        link eth0
        link flannel.1 vxlan vni 1 port 8472
        address 10.1.1.95/24 dev eth0
        address 10.5.1.0/32 dev flannel.1
        route default via 10.1.1.1 dev eth0
        route 10.1.1.0/24 dev eth0 proto kernel scope link
        route 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink
        route 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink
        rule 0 lookup 255
        rule 32766 lookup 254
        rule 32767 lookup 253
        key v3 /coreos.com/network/config {"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}
        key v3 /coreos.com/network/subnets/10.5.1.0-24 {"PublicIP":"10.1.1.95","BackendType":"vxlan"}
        key v3 /coreos.com/network/subnets/10.5.7.0-24 {"PublicIP":"10.1.1.187","BackendType":"vxlan"}
        key v3 /coreos.com/network/subnets/10.5.9.0-24 {"PublicIP":"10.1.1.188","BackendType":"vxlan"}
    "#;

    fn with(more: &str) -> Vec<crate::finding::Finding> {
        findings(&format!("{HOST}\n{more}"), 204)
    }

    #[test]
    fn a_rule_that_refuses_a_lease_or_a_part_is_named_with_its_number() {
        for action in ["unreachable", "blackhole", "prohibit"] {
            for to in ["10.5.7.0/24", "10.5.7.128/25"] {
                let found = with(&format!("rule 100 to {to} {action}"));
                assert_eq!(found.len(), 1, "{found:?}");
                let one = &found[0];
                assert!(one.title.contains("the policy rule 100"), "{}", one.title);
                assert!(one.title.contains("lease of 10.1.1.187"), "{}", one.title);
                assert_eq!(
                    one.fix,
                    [format!("ip rule del priority 100 to {to} {action}")]
                );
                assert_eq!(one.confidence, Confidence::Likely);
            }
        }
        let asked = with("rule 100 to 10.5.7.0/24 prohibit\nlookup subnet 10.5.7.1 refused EACCES");
        assert_eq!(asked[0].confidence, Confidence::Certain);
    }

    #[test]
    fn a_rule_on_what_containers_send_is_found() {
        let bridge = "link cni0 bridge\naddress 10.5.1.1/24 dev cni0\nroute default via 10.1.1.9 dev eth0 table 88";
        for rule in [
            "rule 90 from 10.5.1.0/24 lookup 88",
            "rule 90 iif cni0 lookup 88",
        ] {
            let found = with(&format!("{bridge}\n{rule}"));
            assert_eq!(found.len(), 1, "{found:?}");
            let title = &found[0].title;
            assert!(
                title.contains("the policy rule 90")
                    && title.contains("takes containers' packets for 10.5.7.0/24")
                    && title.contains("and 1 more"),
                "{title}"
            );
            assert_eq!(
                found[0].fix,
                ["ip rule add to 10.5.0.0/16 lookup main priority 89"]
            );
        }
        let refused = with(&format!(
            "{bridge}\nrule 90 from 10.5.1.0/24 to 10.5.7.0/24 prohibit"
        ));
        assert!(
            refused[0].title.contains("(lease of 10.1.1.187)"),
            "{refused:?}"
        );
        for innocent in [
            // The table has the overlay's routes too, or main is asked first.
            "rule 90 from 10.5.1.0/24 lookup 88\nroute 10.5.0.0/16 dev flannel.1 table 88",
            "rule 90 from 10.5.1.0/24 lookup 88\nrule 80 to 10.5.0.0/16 lookup 254",
            "rule 90 from 10.9.0.0/16 lookup 88",
            "rule 90 iif eth1 lookup 88",
            "rule 90 from 10.5.1.0/24 lookup 77",
        ] {
            let found = with(&format!("{bridge}\n{innocent}"));
            assert!(found.is_empty(), "{innocent}: {found:?}");
        }
    }

    #[test]
    fn one_rule_over_several_leases_is_one_finding() {
        let found = with("rule 100 to 10.5.0.0/16 unreachable");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].title.contains("and 1 more"), "{}", found[0].title);
    }

    #[test]
    fn a_table_that_leads_a_lease_elsewhere_is_found() {
        let rule = "rule 100 to 10.5.7.0/24 lookup 7\nroute default via 10.1.1.9 dev eth0 table 7";
        let found = with(rule);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].title.contains("via 10.1.1.9 dev eth0"),
            "{}",
            found[0].title
        );
        assert_eq!(
            found[0].fix,
            ["ip rule del priority 100 to 10.5.7.0/24 lookup 7"]
        );
        // The kernel's word is the last.
        let denied = format!("{rule}\nlookup subnet 10.5.7.1 dev flannel.1 via 10.5.7.0");
        assert!(with(&denied).is_empty());
        // What is wider than the overlay stays, and the overlay gets a rule of its own.
        let all =
            "rule 100 lookup 7\nroute default dev tun0 table 7\nlookup subnet 10.5.7.1 dev tun0";
        assert_eq!(
            with(all)[0].fix,
            ["ip rule add to 10.5.0.0/16 lookup main priority 99"]
        );
    }

    #[test]
    fn rules_of_vpns_vrfs_and_several_uplinks_are_usual() {
        for more in [
            // wg-quick
            "link wg0 wireguard\nroute default dev wg0 table 51820\nrule 32764 lookup 254 suppress_prefixlength 0\nrule 32765 not fwmark 0xca6c lookup 51820\nlookup subnet 10.5.7.1 dev flannel.1 via 10.5.7.0",
            // Tailscale
            "link tailscale0 tun\nroute 100.100.100.100 dev tailscale0 table 52\nrule 5210 fwmark 524288 lookup 254\nrule 5250 fwmark 524288 unreachable\nrule 5270 lookup 52",
            // An uplink of its own for what comes from its address
            "rule 100 from 10.1.2.95/32 lookup 7\nroute default via 10.1.2.1 dev eth1 table 7",
            "rule 1000 lookup 0\nlink blue vrf\nlink eth1 master blue\nroute 10.5.7.0/24 via 10.9.0.1 dev eth1 table 10",
            // Without the kernel's word on it
            "rule 100 not to 10.9.0.0/16 lookup 7\nroute default dev tun0 table 7",
            "rule 100 lookup 7\nroute default dev tun0 table 7",
            "rule 100 to 10.6.0.0/16 unreachable",
            "rule 100 to 10.5.1.0/24 lookup 7",
            "rule 100 iif cni0 to 10.5.7.0/24 unreachable",
            "rule 100 to 10.5.7.0/24 lookup 7\nroute 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink table 7",
        ] {
            assert!(with(more).is_empty(), "{more}: {:?}", with(more));
        }
    }

    const WG_QUICK: &str = "link wg0 wireguard
        route default dev wg0 table 51820
        rule 32764 lookup 254 suppress_prefixlength 0
        rule 32765 not fwmark 0xca6c lookup 51820
        lookup subnet 10.5.7.1 dev flannel.1 via 10.5.7.0
        lookup subnet 10.5.9.1 dev wg0 table 51820";

    #[test]
    fn where_main_has_no_way_the_rule_behind_it_takes_nothing_from_it() {
        let route = "route 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink";
        let mac = r#""vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}}"#;
        let host = HOST.replace(r#""vxlan"}"#, mac);
        let text = format!("{host}\n{WG_QUICK}").replace(route, "");
        assert!(findings(&text, 204).is_empty(), "{text}");
        assert_eq!(findings(&text, 205).len(), 1);
        // Asked before main it takes all of it.
        let first = WG_QUICK
            .replace("rule 32765", "rule 100")
            .replace("dev flannel.1 via 10.5.7.0", "dev wg0 table 51820");
        let found = with(&first);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].title.contains("not from all fwmark 0xca6c"),
            "{}",
            found[0].title
        );
        assert!(found[0].title.contains("and 1 more"), "{}", found[0].title);
    }

    #[test]
    fn a_host_that_is_not_in_the_overlay_may_lead_it_where_it_wants() {
        let lines = HOST.lines().filter(|line| !line.contains("flannel.1"));
        let outside: Vec<&str> = lines.filter(|line| !line.contains("10.5.1.0")).collect();
        let outside = outside.join("\n");
        for more in [
            WG_QUICK,
            "rule 100 to 10.5.0.0/16 lookup 7\nroute default dev tun0 table 7",
            "route 10.5.7.128/25 via 10.1.1.77 dev eth0",
        ] {
            let more = more.replace("dev flannel.1 via 10.5.7.0", "dev wg0 table 51820");
            let found = findings(&format!("{outside}\n{more}"), 204);
            assert!(found.is_empty(), "{more}: {found:?}");
        }
    }

    #[test]
    fn the_last_of_many_leases_is_looked_at_too() {
        let lease = |n: u32| {
            let (high, low) = (n / 200, n % 200);
            format!(
                "key v3 /coreos.com/network/subnets/10.{}.{low}.0-24 {{\"PublicIP\":\"10.2.{high}.{low}\",\"BackendType\":\"vxlan\"}}\n",
                64 + high
            )
        };
        let leases: String = (0..1400).map(lease).collect();
        let text = format!("{HOST}{leases}").replace("10.5.0.0/16", "10.0.0.0/8");
        let route = "route 10.70.199.0/24 via 10.70.199.0 dev flannel.1 onlink";
        for rule in [
            "rule 100 to 10.70.199.0/24 unreachable",
            "rule 100 to 10.70.199.128/25 unreachable",
            "rule 100 to 10.64.0.0/10 unreachable",
            "rule 100 unreachable\nlookup subnet 10.70.199.1 refused EHOSTUNREACH",
        ] {
            let found = findings(&format!("{text}{route}\n{rule}"), 204);
            assert_eq!(found.len(), 1, "{rule}: {found:?}");
            let named = found[0]
                .title
                .contains("10.70.199.0/24 (lease of 10.2.6.199)");
            assert!(named, "{}", found[0].title);
        }
    }

    #[test]
    fn the_very_first_rule_for_all_the_world_is_renumbered_and_not_deleted() {
        for number in [0, 1] {
            let rule = format!("rule {number} lookup 7\nroute default dev tun0 table 7");
            let text = format!("{rule}\nlookup subnet 10.5.7.1 dev tun0\n");
            let host = HOST.replace("rule 0 lookup 255", "");
            let found = findings(&format!("{host}{text}"), 204);
            assert_eq!(found.len(), 1, "{found:?}");
            let fix = &found[0].fix;
            assert_eq!(fix.len(), 2, "{fix:?}");
            let comment = format!("; ip rule del priority {number} from all lookup 7");
            assert!(
                fix[0].starts_with("# ") && fix[0].ends_with(&comment),
                "{fix:?}"
            );
            assert_eq!(fix[1], "ip rule add to 10.5.0.0/16 lookup main priority 99");
        }
    }
}
