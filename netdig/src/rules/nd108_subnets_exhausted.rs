//! ND108: hardly a subnet of the network is left to lease.
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::etcdctl::{Verb, etcdctl};
use super::renumber;
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::{Lease, NetworkConfig};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(108),
    name: "subnets-exhausted",
    severity: Severity::Medium,
    title: "fewer than 5 % of the overlay's subnets are free",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd108_subnets_exhausted.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        let Some(config) = &overlay.config else {
            continue;
        };
        // A host needs one of each: where both are short, the one with fewer left decides.
        let short = [Stock::v4(overlay, config), Stock::v6(overlay, config)];
        let short = short.into_iter().flatten().filter(Stock::is_short);
        if let Some(stock) = short.min_by_key(|stock| stock.free) {
            found.push(draft(view, overlay, config, &stock));
        }
    }
}

/// Subnets of one family.
struct Stock {
    network: IpNet,
    subnet_len: u8,
    /// The name of SubnetLen in this family.
    option: &'static str,
    all: u128,
    free: u128,
}

impl Stock {
    fn v4(overlay: &Overlay<'_>, config: &NetworkConfig) -> Option<Stock> {
        let network = IpNet::V4(config.network?);
        let bounds = (
            config.subnet_min.map(|min| u128::from(min.to_bits())),
            config.subnet_max.map(|max| u128::from(max.to_bits())),
        );
        let leases = leases(overlay, config).filter_map(|lease| lease.subnet_in(false));
        Stock::of(network, config.subnet_len, bounds, leases)
    }

    fn v6(overlay: &Overlay<'_>, config: &NetworkConfig) -> Option<Stock> {
        let network = IpNet::V6(config.ipv6_network?);
        let bounds = (
            config.ipv6_subnet_min.map(Ipv6Addr::to_bits),
            config.ipv6_subnet_max.map(Ipv6Addr::to_bits),
        );
        let leases = leases(overlay, config).filter_map(|lease| lease.subnet_in(true));
        Stock::of(network, config.ipv6_subnet_len, bounds, leases)
    }

    /// The network's first subnet is not leased, unless SubnetMin says so; subnets of fewer than
    /// four addresses, and fewer than four subnets, are refused (flannel's subnet/config.go).
    fn of(
        network: IpNet,
        subnet_len: u8,
        bounds: (Option<u128>, Option<u128>),
        leases: impl Iterator<Item = IpNet>,
    ) -> Option<Stock> {
        let longest = network.max_prefix_len();
        if subnet_len > longest - 2 || subnet_len < network.prefix_len().saturating_add(2) {
            return None;
        }
        let shift = u32::from(longest - subnet_len);
        // Counted in subnets, so that all of IPv6 fits too.
        let (start, end) = (
            number(network.network()) >> shift,
            number(network.broadcast()) >> shift,
        );
        let first = bounds.0.map_or(start + 1, |min| min >> shift);
        let last = bounds.1.map_or(end, |max| max >> shift);
        // Bounds that are wrong are ND107's.
        if first < start || last > end || first > last {
            return None;
        }
        // A lease from before SubnetLen was changed takes several.
        let taken = leases.map(|net| {
            let (from, to) = (
                number(net.network()) >> shift,
                number(net.broadcast()) >> shift,
            );
            (from.max(first), to.min(last))
        });
        let taken: FxHashSet<_> = taken.filter(|(from, to)| from <= to).collect();
        let taken: u128 = taken.iter().map(|(from, to)| to - from + 1).sum();
        let all = last - first + 1;
        Some(Stock {
            network,
            subnet_len,
            option: match network {
                IpNet::V4(_) => "SubnetLen",
                IpNet::V6(_) => "IPv6SubnetLen",
            },
            all,
            free: all.saturating_sub(taken),
        })
    }

    /// Whether fewer than a twentieth are free.
    fn is_short(&self) -> bool {
        self.free < self.all.div_ceil(20)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Leases of the store that the configuration stands in.
fn leases<'a>(
    overlay: &'a Overlay<'_>,
    config: &'a NetworkConfig,
) -> impl Iterator<Item = &'a Lease> {
    let api = config.origin.api;
    let leases = overlay.leases.iter();
    leases.filter(move |lease| lease.origin.api == api)
}

fn draft(view: &View<'_>, overlay: &Overlay<'_>, config: &NetworkConfig, stock: &Stock) -> Draft {
    let Stock {
        network,
        subnet_len,
        option,
        all,
        free,
    } = *stock;
    let left = match free {
        0 => "none is free".to_owned(),
        1 => "one is free".to_owned(),
        free => format!("{free} are free"),
    };
    let title = match all {
        1 => format!("the only subnet of {network} that may be leased is taken"),
        all => format!("of the {all} subnets of {network} that may be leased {left}"),
    };
    let origin = &config.origin;
    let mut draft = Draft::new(format!("{} {}", origin.api, overlay.key()), title)
        .because(
            "A host that joins when none is free gets no lease: its flanneld tries again for \
             ever, and its containers have no network. A lease that runs out because its host \
             is away for a day may be gone for good.",
        )
        .seen(Evidence::new(
            origin.source(),
            origin.place(),
            format!(
                "Network {network}, {option} {subnet_len}, {} leases",
                all - free
            ),
        ));
    let folder = renumber::operand(&format!("{}/subnets/", overlay.prefix));
    let list = etcdctl(view, origin.api, Verb::List);
    draft = draft
        .fix("# leases of hosts that are gone for good:")
        .fix(format!("{list} {folder}"));
    let longer = subnet_len + 1;
    // A subnet has four addresses at least.
    let command = match longer <= network.max_prefix_len() - 2 {
        true => renumber::rewritten(view, config, |map| {
            map.insert(option.to_owned(), Value::from(longer));
        }),
        false => None,
    };
    match command {
        Some(command) => draft
            .fix(format!(
                "# or a wider Network; or subnets of /{longer}, each with half the addresses, for hosts that come:"
            ))
            .fix(command),
        None => draft.fix(format!("# or a wider Network in {}", origin.key)),
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::findings;

    fn text(config: &str, leases: std::ops::Range<u32>) -> String {
        let keys: String = leases
            .map(|n| format!("key v3 /coreos.com/network/subnets/192.168.{n}.0-24 {{\"PublicIP\":\"10.1.1.{n}\"}}\n"))
            .collect();
        format!("key v3 /coreos.com/network/config {config}\n{keys}")
    }

    const CONFIG: &str = r#"{"Network":"192.168.0.0/19"}"#;

    #[test]
    fn the_first_subnet_counts_for_nothing() {
        let found = findings(&text(CONFIG, 1..32), 108);
        assert_eq!(
            found[0].title,
            "of the 31 subnets of 192.168.0.0/19 that may be leased none is free"
        );
        assert_eq!(findings(&text(CONFIG, 1..31), 108).len(), 1);
        assert!(findings(&text(CONFIG, 1..30), 108).is_empty());
    }

    #[test]
    fn bounds_make_it_smaller_and_leases_outside_do_not_count() {
        let config =
            r#"{"Network":"192.168.0.0/16","SubnetMin":"192.168.10.0","SubnetMax":"192.168.19.0"}"#;
        assert!(findings(&text(config, 10..19), 108).is_empty());
        assert_eq!(findings(&text(config, 10..20), 108).len(), 1);
        assert!(findings(&text(config, 20..40), 108).is_empty());
    }

    #[test]
    fn leases_of_the_other_store_are_not_counted_twice() {
        let v2 = text(CONFIG, 16..32).replace("key v3", "key v2");
        let both = format!("{}{v2}", text(CONFIG, 1..16));
        assert!(findings(&both, 108).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_left_to_others() {
        for config in [
            r#"{"Network":"192.168.0.0/24","SubnetLen":24}"#,
            r#"{"Network":"0.0.0.0/0","SubnetLen":1}"#,
            r#"{"Network":"192.168.0.0/16","SubnetMin":"10.0.0.0"}"#,
            r#"{"Network":"192.168.0.0/16","SubnetLen":200}"#,
        ] {
            assert!(findings(&text(config, 1..4), 108).is_empty(), "{config}");
        }
    }

    #[test]
    fn narrow_networks_are_counted_as_flannel_cuts_them() {
        let told = |config: &str, leases: &[&str]| {
            let key = |lease: &&str| {
                format!(
                    "\nkey v3 /coreos.com/network/subnets/{lease} {{\"PublicIP\":\"10.1.1.9\"}}"
                )
            };
            let keys: String = leases.iter().map(key).collect();
            let found = findings(
                &format!("key v3 /coreos.com/network/config {config}{keys}"),
                108,
            );
            found
                .into_iter()
                .map(|one| (one.title, one.fix.join("\n")))
                .collect::<Vec<_>>()
        };
        // A /28 is cut in four of /30, which cannot be cut again.
        let narrow = r#"{"Network":"10.9.9.0/28"}"#;
        let three = ["10.9.9.4-30", "10.9.9.8-30", "10.9.9.12-30"];
        let found = told(narrow, &three);
        assert!(
            found[0].0.contains("of the 3 subnets of 10.9.9.0/28"),
            "{found:?}"
        );
        assert!(!found[0].1.contains("SubnetLen"), "{found:?}");
        assert!(told(narrow, &three[..2]).is_empty());
        // For two hosts, both there.
        let two = r#"{"Network":"10.9.0.0/16","SubnetMin":"10.9.1.0","SubnetMax":"10.9.2.0"}"#;
        assert!(told(two, &["10.9.1.0-24"]).is_empty());
        assert_eq!(told(two, &["10.9.1.0-24", "10.9.2.0-24"]).len(), 1);
        let one = r#"{"Network":"10.9.0.0/16","SubnetMin":"10.9.1.0","SubnetMax":"10.9.1.0"}"#;
        assert!(
            told(one, &["10.9.1.0-24"])[0]
                .0
                .starts_with("the only subnet")
        );
        // No host gets one of these.
        let refused = r#"{"Network":"10.9.9.0/29","SubnetLen":31}"#;
        assert!(told(refused, &["10.9.9.2-31", "10.9.9.4-31", "10.9.9.6-31"]).is_empty());
    }

    #[test]
    fn subnets_of_ipv6_run_out_too() {
        let told = |leases: u32| {
            let key = |n| {
                format!(
                    "\nkey v3 /coreos.com/network/subnets/10.0.{n}.0-24&fd00:0:0:{n:x}::-64 {{\"PublicIP\":\"10.1.1.9\"}}"
                )
            };
            let keys: String = (1..=leases).map(key).collect();
            let config = r#"{"EnableIPv6":true,"Network":"10.0.0.0/8","IPv6Network":"fd00::/62"}"#;
            findings(
                &format!("key v3 /coreos.com/network/config {config}{keys}"),
                108,
            )
        };
        let found = told(3);
        assert!(
            found[0].title.contains("of the 3 subnets of fd00::/62"),
            "{}",
            found[0].title
        );
        assert!(found[0].fix.join(" ").contains(r#""IPv6SubnetLen":65"#));
        assert!(told(2).is_empty());
    }
}
