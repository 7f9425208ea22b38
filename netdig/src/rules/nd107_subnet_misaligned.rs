//! ND107: SubnetMin or SubnetMax is no boundary of a subnet, or outside the network.
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::renumber;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::{self, NetworkConfig};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(107),
    name: "subnet-misaligned",
    severity: Severity::Medium,
    title: "SubnetMin or SubnetMax is off the boundary of SubnetLen, or outside Network",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd107_subnet_misaligned.md"),
    check,
};

/// One bound of a configuration.
struct Bound {
    name: &'static str,
    value: IpAddr,
    network: IpNet,
    subnet_len: u8,
}

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    // Each store's: of one network in both, an overlay has the first one's configuration alone.
    let networks = flannel::networks(&view.context.registry);
    for config in networks.iter().filter_map(|one| one.config.as_ref()) {
        for (bound, wrong) in bounds(config)
            .iter()
            .filter_map(|one| Some((one, wrong(one)?)))
        {
            found.push(draft(view, config, bound, &wrong));
        }
        found.extend(useless(view, config));
    }
}

/// A configuration by which no subnet can be leased at all (flannel's subnet/config.go).
fn useless(view: &View<'_>, config: &NetworkConfig) -> Option<Draft> {
    let v4 = config.network.map(IpNet::V4);
    let v6 = config.ipv6_network.map(IpNet::V6);
    let lengths = [
        ("SubnetLen", v4, config.subnet_len),
        ("IPv6SubnetLen", v6, config.ipv6_subnet_len),
    ];
    let length = lengths.into_iter().find_map(|(name, network, length)| {
        let network = network?;
        let (least, most) = (network.prefix_len() + 2, network.max_prefix_len() - 2);
        let right = usual_length(network);
        ((length < least || length > most) && least <= most).then(|| {
            let why = match length < least {
                true => format!("{network} has to hold four subnets, of /{least} or longer"),
                false => format!("subnets longer than /{most} have no room for a container"),
            };
            (
                name,
                Value::from(right),
                format!("{name} {length} in {}: {why}", config.origin.key),
            )
        })
    });
    let v4 = config.subnet_min.zip(config.subnet_max);
    let v6 = config.ipv6_subnet_min.zip(config.ipv6_subnet_max);
    let pairs = [
        (
            "SubnetMin",
            v4.map(|(min, max)| (IpAddr::V4(min), IpAddr::V4(max))),
        ),
        (
            "IPv6SubnetMin",
            v6.map(|(min, max)| (IpAddr::V6(min), IpAddr::V6(max))),
        ),
    ];
    let turned = pairs.into_iter().find_map(|(name, pair)| {
        let (min, max) = pair.filter(|(min, max)| min > max)?;
        let title = format!(
            "{name} {min} in {} is behind its end {max}",
            config.origin.key
        );
        Some((name, Value::String(max.to_string()), title))
    });
    let (name, right, title) = length.or(turned)?;
    let origin = &config.origin;
    let draft = Draft::new(format!("{} {} useless", origin.api, origin.key), title)
        .because(
            "By this no subnet can be leased: a flanneld that starts refuses the configuration, \
             or finds nothing free, and writes no subnet.env. Hosts that run go on with what they \
             have until they are started anew.",
        )
        .seen(Evidence::new(
            origin.source(),
            origin.place(),
            "no subnet can be leased by it",
        ));
    let command = renumber::rewritten(view, config, |map| {
        map.insert(name.to_owned(), right.clone());
    });
    let draft = command.into_iter().fold(draft, Draft::fix);
    Some(draft.fix("systemctl restart flanneld"))
}

/// What flannel takes where nothing is said.
fn usual_length(network: IpNet) -> u8 {
    match network {
        IpNet::V4(net) if net.prefix_len() <= 22 => 24,
        IpNet::V6(net) if net.prefix_len() <= 62 => 64,
        net => net.prefix_len() + 2,
    }
}

fn draft(view: &View<'_>, config: &NetworkConfig, bound: &Bound, wrong: &str) -> Draft {
    let origin = &config.origin;
    let (name, value) = (bound.name, bound.value);
    let title = format!("{name} {value} in {} {wrong}", origin.key);
    let mut draft = Draft::new(format!("{} {} {name}", origin.api, origin.key), title)
        .because(format!(
            "flannel cuts {} into subnets of /{} and leases those from SubnetMin to SubnetMax. \
             A bound that is not the beginning of one of them is refused by newer versions, and \
             makes older ones lease less, or other subnets, than was meant.",
            bound.network, bound.subnet_len
        ))
        .seen(Evidence::new(
            origin.source(),
            origin.place(),
            format!("{name} {value}, SubnetLen {}", bound.subnet_len),
        ));
    let right = aligned(bound);
    let command = renumber::rewritten(view, config, |map| match right {
        Some(right) => {
            map.insert(name.to_owned(), Value::String(right.to_string()));
        }
        None => {
            map.remove(name);
        }
    });
    if let Some(command) = command {
        draft = draft.fix(command);
    }
    draft.fix("systemctl restart flanneld")
}

fn bounds(config: &NetworkConfig) -> Vec<Bound> {
    let v4 = config.network.map(IpNet::V4);
    let v6 = config.ipv6_network.map(IpNet::V6);
    let all = [
        (
            "SubnetMin",
            config.subnet_min.map(IpAddr::V4),
            v4,
            config.subnet_len,
        ),
        (
            "SubnetMax",
            config.subnet_max.map(IpAddr::V4),
            v4,
            config.subnet_len,
        ),
        (
            "IPv6SubnetMin",
            config.ipv6_subnet_min.map(IpAddr::V6),
            v6,
            config.ipv6_subnet_len,
        ),
        (
            "IPv6SubnetMax",
            config.ipv6_subnet_max.map(IpAddr::V6),
            v6,
            config.ipv6_subnet_len,
        ),
    ];
    let all = all
        .into_iter()
        .filter_map(|(name, value, network, subnet_len)| {
            Some(Bound {
                name,
                value: value?,
                network: network?,
                subnet_len,
            })
        });
    all.collect()
}

/// What is wrong with a bound.
fn wrong(bound: &Bound) -> Option<String> {
    if !bound.network.contains(&bound.value) {
        return Some(format!("is outside Network {}", bound.network));
    }
    let subnet = IpNet::new(bound.value, bound.subnet_len).ok()?;
    (subnet.network() != bound.value).then(|| {
        format!(
            "is not the beginning of a /{}: {} is",
            bound.subnet_len,
            subnet.network()
        )
    })
}

/// The boundary that was meant: of the same subnet. None where the bound has to go.
fn aligned(bound: &Bound) -> Option<IpAddr> {
    let subnet = IpNet::new(bound.value, bound.subnet_len).ok()?;
    bound
        .network
        .contains(&bound.value)
        .then(|| subnet.network())
}

#[cfg(test)]
mod tests {
    use crate::rules::testing::findings;

    fn titles(config: &str) -> Vec<String> {
        let found = findings(&format!("key v3 /coreos.com/network/config {config}"), 107);
        found.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn bounds_off_the_boundary_or_outside_are_named() {
        let min =
            titles(r#"{"Network":"192.168.0.0/16","SubnetLen":24,"SubnetMin":"192.168.10.64"}"#);
        assert_eq!(
            min,
            [
                "SubnetMin 192.168.10.64 in /coreos.com/network/config is not the beginning of a /24: 192.168.10.0 is"
            ]
        );
        let max =
            titles(r#"{"Network":"192.168.0.0/16","SubnetLen":24,"SubnetMax":"192.168.99.128"}"#);
        assert!(max[0].starts_with("SubnetMax 192.168.99.128"), "{max:?}");
        let outside = titles(r#"{"Network":"192.168.0.0/16","SubnetMax":"192.169.10.0"}"#);
        assert!(
            outside[0].contains("is outside Network 192.168.0.0/16"),
            "{outside:?}"
        );
        let v6 = titles(
            r#"{"EnableIPv6":true,"Network":"10.0.0.0/8","IPv6Network":"fd00::/48","IPv6SubnetMin":"fd00:0:0:1::7"}"#,
        );
        assert!(v6[0].starts_with("IPv6SubnetMin"), "{v6:?}");
    }

    #[test]
    fn a_configuration_without_a_subnet_to_lease_is_told() {
        for (config, said) in [
            (
                r#"{"Network":"10.66.0.0/16","SubnetMin":"10.66.200.0","SubnetMax":"10.66.100.0"}"#,
                "SubnetMin 10.66.200.0 in /coreos.com/network/config is behind its end 10.66.100.0",
            ),
            (
                r#"{"Network":"10.66.0.0/16","SubnetLen":8}"#,
                "SubnetLen 8 in /coreos.com/network/config: 10.66.0.0/16 has to hold four subnets, \
                 of /18 or longer",
            ),
            (
                r#"{"Network":"10.66.0.0/16","SubnetLen":31}"#,
                "SubnetLen 31 in /coreos.com/network/config: subnets longer than /30 have no room \
                 for a container",
            ),
        ] {
            assert_eq!(titles(config), [said]);
        }
    }

    #[test]
    fn each_store_is_looked_at() {
        let right = r#"{"Network":"192.168.0.0/16"}"#;
        let wrong = r#"{"Network":"192.168.0.0/16","SubnetMin":"192.168.10.64"}"#;
        for (v2, v3) in [(right, wrong), (wrong, right)] {
            let text = format!("key v2 /n/config {v2}\nkey v3 /n/config {v3}");
            let found = findings(&text, 107);
            assert_eq!(found.len(), 1);
            let api = if v2 == wrong { "API=2" } else { "API=3" };
            assert!(found[0].fix[0].contains(api), "{:?}", found[0].fix);
        }
    }

    #[test]
    fn the_fix_keeps_what_is_right() {
        let text = r#"key v3 /n/config {"Network":"192.168.0.0/16","SubnetMin":"192.168.10.64","Backend":{"Type":"vxlan"}}"#;
        let fix = &findings(text, 107)[0].fix[0];
        assert!(
            fix.contains(r#""SubnetMin":"192.168.10.0""#) && fix.contains("vxlan"),
            "{fix}"
        );
    }

    #[test]
    fn bounds_on_the_boundary_are_right() {
        for config in [
            r#"{"Network":"192.168.0.0/16","SubnetLen":24,"SubnetMin":"192.168.10.0","SubnetMax":"192.168.99.0"}"#,
            r#"{"Network":"192.168.0.0/16","SubnetLen":26,"SubnetMin":"192.168.10.64"}"#,
            r#"{"Network":"192.168.0.0/16"}"#,
        ] {
            assert!(titles(config).is_empty(), "{config}: {:?}", titles(config));
        }
    }
}
