//! ND108: hardly a subnet of the network is left to lease.
use ipnet::IpNet;
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::renumber;
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::NetworkConfig;
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
        let Some((first, last)) = bounds(config) else {
            continue;
        };
        let size = 1u64 << (32 - u32::from(config.subnet_len));
        let all = (last - first) / size + 1;
        let leased = leased(overlay, config, first, last);
        let free = all.saturating_sub(leased);
        if free * 100 < all * 5 {
            found.push(draft(view, overlay, config, all, free));
        }
    }
}

/// The first and the last subnet that may be leased: the network's first one is not, unless
/// SubnetMin says so (flannel's subnet/config.go).
fn bounds(config: &NetworkConfig) -> Option<(u64, u64)> {
    let network = config.network?;
    let length = config.subnet_len;
    if length > 30 || length <= network.prefix_len() {
        return None;
    }
    let size = 1u64 << (32 - u32::from(length));
    let start = u64::from(network.network().to_bits());
    let end = u64::from(network.broadcast().to_bits());
    let first = config
        .subnet_min
        .map_or(start + size, |min| u64::from(min.to_bits()));
    let last = config
        .subnet_max
        .map_or(end + 1 - size, |max| u64::from(max.to_bits()));
    // Bounds that are wrong are ND107's.
    (first >= start && last <= end && first <= last).then_some((first, last))
}

/// Leases between the bounds, of the store that the configuration stands in.
fn leased(overlay: &Overlay<'_>, config: &NetworkConfig, first: u64, last: u64) -> u64 {
    let api = config.origin.api;
    let leases = overlay
        .leases
        .iter()
        .filter(|lease| lease.origin.api == api);
    let starts = leases.filter_map(|lease| Some(lease.ipv4_subnet()?.network().to_bits()));
    let subnets: FxHashSet<u32> = starts
        .filter(|&start| (first..=last).contains(&u64::from(start)))
        .collect();
    subnets.len() as u64
}

fn draft(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    config: &NetworkConfig,
    all: u64,
    free: u64,
) -> Draft {
    let network = config
        .network
        .map_or_else(String::new, |net| IpNet::V4(net).to_string());
    let left = match free {
        0 => "none is free".to_owned(),
        1 => "one is free".to_owned(),
        free => format!("{free} are free"),
    };
    let title = format!("of the {all} subnets of {network} that may be leased {left}");
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
                "Network {network}, SubnetLen {}, {} leases",
                config.subnet_len,
                all - free
            ),
        ));
    let longer = config.subnet_len + 1;
    let command = renumber::rewritten(view, config, |map| {
        map.insert("SubnetLen".to_owned(), Value::from(longer));
    });
    if let Some(command) = command {
        let folder = renumber::quoted(&format!("{}/subnets", overlay.prefix));
        draft = draft
            .fix("# leases of hosts that are gone for good:")
            .fix(match origin.api {
                crate::context::registry::ApiVersion::V2 => {
                    format!("ETCDCTL_API=2 etcdctl ls {folder}")
                }
                crate::context::registry::ApiVersion::V3 => {
                    format!("ETCDCTL_API=3 etcdctl get --prefix {folder}/")
                }
            })
            .fix(format!("# or a wider Network; or subnets of /{longer}, each with half the addresses, for hosts that come:"))
            .fix(command);
    }
    draft
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
}
