//! Policy rules that refuse what is for another host's lease, or ask a table that leads it
//! elsewhere. A rule says nothing of itself: who decides on an address in the lease does.
use std::net::IpAddr;

use super::collisions::{ALMOST_DEFAULT, samples};
use super::routing::Decision;
use super::view::Overlay;
use super::{Draft, View, backend, by_hand};
use crate::context::flannel::Lease;
use crate::context::net::{Answer, PolicyRule, Route, TABLE_LOCAL, TABLE_MAIN, table_name};
use crate::finding::{Confidence, Evidence};

/// Leases that are asked for.
const LEASES: usize = 1000;

/// What a rule does to leases, the first of them with an address that it decides on.
struct Diverted<'a, 'v> {
    rule: &'a PolicyRule,
    /// Absent where the rule refuses.
    route: Option<&'a Route>,
    lease: &'v Lease,
    address: IpAddr,
    asked: bool,
    count: usize,
}

pub fn find(view: &View<'_>, overlay: &Overlay<'_>, found: &mut Vec<Draft>) {
    let rules = view.context.net.rules.iter();
    let rules: Vec<&PolicyRule> = rules.filter(|rule| is_ones_own(rule)).collect();
    if rules.is_empty() {
        return;
    }
    let mut all: Vec<Diverted<'_, '_>> = Vec::new();
    for lease in overlay.remote_leases().take(LEASES) {
        for (address, rule) in addresses(view, lease, &rules) {
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
                Some(known) if std::ptr::eq(known.lease, lease) => {}
                Some(known) => known.count += 1,
                None => all.push(one),
            }
        }
    }
    found.extend(all.iter().map(|one| draft(overlay, one)));
}

/// Whether a rule is none of the three that every host has.
fn is_ones_own(rule: &PolicyRule) -> bool {
    match rule.action.as_str() {
        "lookup" => ![TABLE_LOCAL, TABLE_MAIN, 253, 0].contains(&rule.table),
        "blackhole" | "unreachable" | "prohibit" => true,
        _ => false,
    }
}

/// Addresses of a lease to ask for: its first one, as the kernel was asked for, and those of
/// parts that rules name.
fn addresses<'r>(
    view: &View<'_>,
    lease: &Lease,
    rules: &[&'r PolicyRule],
) -> Vec<(IpAddr, Option<&'r PolicyRule>)> {
    let mut all = Vec::new();
    for subnet in lease.subnets() {
        let asked = samples(subnet).find(|&address| view.asked(address).is_some());
        let first = asked.or_else(|| samples(subnet).next());
        all.extend(first.map(|address| (address, None)));
        let parts = rules.iter().filter_map(|rule| Some((rule.to?, *rule)));
        let inside = parts.filter(|(to, _)| subnet.contains(to) && subnet != *to);
        all.extend(inside.filter_map(|(to, rule)| Some((samples(to).next()?, Some(rule)))));
    }
    all
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
    // A longer route of such a table is told of itself: here it is what stands for all the rest.
    let elsewhere = route.is_none_or(|route| {
        route.to.prefix_len() <= ALMOST_DEFAULT
            && !by_hand::refuses(route)
            && !route.dev().is_none_or(|dev| overlay.links.contains(&dev))
            && !lease.publics().any(|peer| Some(peer) == route.via())
    });
    // A rule for all the world is a router's or a VPN's: only the kernel's word is enough.
    let sure = asked.is_some() || rule.to.is_some();
    (agrees && elsewhere && sure).then_some(Diverted {
        rule,
        route,
        lease,
        address,
        asked: asked.is_some(),
        count: 1,
    })
}

fn draft(overlay: &Overlay<'_>, one: &Diverted<'_, '_>) -> Draft {
    let words = words(one.rule);
    let (does, end) = match one.route {
        None => ("refuses packets for", String::new()),
        Some(route) => (
            "takes packets for",
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
             reached from this host.",
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
    let within = rule
        .to
        .is_some_and(|to| networks.any(|net| net.contains(&to)));
    if within || number < 2 {
        return vec![format!("{ip} rule del priority {number} {words}")];
    }
    let networks = overlay.networks.iter();
    let family = networks.filter(|net| net.addr().is_ipv6() == rule.ipv6);
    family
        .map(|net| format!("{ip} rule add to {net} lookup main priority {}", number - 1))
        .collect()
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
            "link wg0 wireguard\nroute default dev wg0 table 51820\nrule 32764 lookup 254 suppress_prefixlength 0\nrule 32765 lookup 51820",
            // Tailscale
            "link tailscale0 tun\nroute 100.100.100.100 dev tailscale0 table 52\nrule 5210 fwmark 524288 lookup 254\nrule 5250 fwmark 524288 unreachable\nrule 5270 lookup 52",
            // An uplink of its own for what comes from its address
            "rule 100 from 10.1.2.95/32 lookup 7\nroute default via 10.1.2.1 dev eth1 table 7",
            "rule 1000 lookup 0\nlink blue vrf\nlink eth1 master blue\nroute 10.5.7.0/24 via 10.9.0.1 dev eth1 table 10",
            // Without the kernel's word on it
            "rule 100 lookup 7\nroute default dev tun0 table 7",
            "rule 100 to 10.6.0.0/16 unreachable",
            "rule 100 to 10.5.1.0/24 lookup 7",
            "rule 100 iif cni0 to 10.5.7.0/24 unreachable",
            "rule 100 to 10.5.7.0/24 lookup 7\nroute 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink table 7",
        ] {
            assert!(with(more).is_empty(), "{more}: {:?}", with(more));
        }
    }
}
