//! Commands that give an overlay another range: one that collides with nothing on this host,
//! written to where the range stands now.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};

use super::View;
pub use super::etcdctl::{Verb, api, delete, etcdctl, read_api};
use super::prefixes::Index;
use super::view::Overlay;
use crate::context::flannel::{NetworkConfig, cased};
use crate::context::mask::MASK;

/// Ranges that are anybody's to use (RFC 1918, and RFC 6598 as a last resort).
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];

/// Commands that renumber `overlay`.
pub fn commands(view: &View<'_>, overlay: &Overlay<'_>) -> Vec<String> {
    let mut commands = Vec::new();
    let taken = taken(view);
    let v4 = overlay.networks.iter().find(|net| net.addr().is_ipv4());
    let v6 = overlay.networks.iter().find(|net| net.addr().is_ipv6());
    let free4 = v4.and_then(|net| free_v4(&taken, net.prefix_len()));
    let free6 = v6.and_then(|net| free_v6(&taken, net.prefix_len()));
    if free4.is_none() && free6.is_none() {
        commands.push(format!(
            "# no private range as large as {} is free of what this host knows: choose a smaller one",
            overlay.name()
        ));
        return commands;
    }
    let ranges: Vec<String> = [free4.map(IpNet::V4), free6.map(IpNet::V6)]
        .into_iter()
        .flatten()
        .map(|net| net.to_string())
        .collect();
    let ranges = ranges.join(" and ");
    commands.push(format!(
        "# {ranges}: collides with nothing on this host; see that no other network of yours has it"
    ));
    match overlay
        .config
        .as_ref()
        .and_then(|config| put(view, config, free4, free6))
    {
        Some(put) => {
            commands.push(put);
            commands.push("# then on every host of the overlay, one after the other:".to_owned());
            commands.push("systemctl restart flanneld".to_owned());
            commands.push("systemctl restart docker".to_owned());
        }
        None => {
            commands.push(format!("# set Network to {ranges} where flannel reads it: the key config in etcd, or net-conf.json in Kubernetes' ConfigMap kube-flannel-cfg"));
            commands.push(
                "# then restart flanneld and the containers' runtime on every host".to_owned(),
            );
        }
    }
    commands
}

/// All that this host knows to be in use.
fn taken(view: &View<'_>) -> Index {
    let context = view.context;
    let addresses = context
        .net
        .addresses
        .iter()
        .flat_map(|one| [Some(one.net), one.peer]);
    let routes = context.net.routes.iter().map(|route| Some(route.to));
    let rules = context.net.rules.iter().map(|rule| rule.to);
    let lookups = context
        .net
        .lookups
        .iter()
        .map(|one| Some(IpNet::from(one.destination)));
    let resolvers = context
        .files
        .nameservers
        .iter()
        .map(|one| Some(IpNet::from(one.address)));
    let docker = context.files.docker.iter();
    let docker = docker.flat_map(|one| {
        [one.bip, one.fixed_cidr]
            .into_iter()
            .chain(one.pools.iter().copied().map(Some))
    });
    let cni = context
        .files
        .cni
        .iter()
        .flat_map(|one| one.subnets.iter().copied().map(Some));
    let containers = context.containers.iter();
    let containers = containers.flat_map(|one| one.addresses.iter().map(|one| Some(one.net)));
    let overlays = view.overlays.iter().flat_map(|one| {
        let leases = one.leases.iter().flat_map(|lease| lease.publics());
        let leases = leases.map(|address| Some(IpNet::from(address)));
        one.networks.iter().copied().map(Some).chain(leases)
    });
    let all = addresses
        .chain(routes)
        .chain(rules)
        .chain(lookups)
        .chain(resolvers)
        .chain(docker)
        .chain(cni)
        .chain(containers)
        .chain(overlays)
        .flatten()
        // The default route, and what stands for it, takes nothing.
        .filter(|net| net.prefix_len() > 3);
    Index::new(all.map(|net| (net, 0)))
}

/// A free private range of this length, preferably of a block of which nothing is in use.
fn free_v4(taken: &Index, length: u8) -> Option<Ipv4Net> {
    let blocks = PRIVATE
        .iter()
        .filter_map(|&(address, block)| Ipv4Net::new(address, block).ok());
    let mut blocks: Vec<Ipv4Net> = blocks
        .filter(|block| block.prefix_len() <= length)
        .collect();
    blocks.sort_by_key(|block| taken.touches(IpNet::V4(*block)));
    blocks
        .into_iter()
        .find_map(|block| free_in(taken, block, length))
}

/// The first free range in `block`, passing over what is in use as a whole.
fn free_in(taken: &Index, block: Ipv4Net, length: u8) -> Option<Ipv4Net> {
    let size = 1u64.checked_shl(32 - u32::from(length))?;
    let (mut at, last) = (
        u64::from(block.network().to_bits()),
        u64::from(block.broadcast().to_bits()),
    );
    while at + size - 1 <= last {
        let candidate = Ipv4Net::new(Ipv4Addr::from_bits(u32::try_from(at).ok()?), length).ok()?;
        let net = IpNet::V4(candidate);
        let within = taken.within(net).first().map(|(one, _)| *one);
        let Some(used) = taken.holding(net).last().map(|(one, _)| one).or(within) else {
            return Some(candidate);
        };
        let IpAddr::V4(end) = used.broadcast() else {
            return None;
        };
        // Behind what is in use, on the next boundary of this length.
        at = (u64::from(end.to_bits()) + 1)
            .next_multiple_of(size)
            .max(at + size);
    }
    None
}

/// A free range of the unique local addresses (RFC 4193).
fn free_v6(taken: &Index, length: u8) -> Option<Ipv6Net> {
    let candidates = (0x10..0xffffu16).map(|n| Ipv6Addr::new(0xfd00, n, 0x244, 0, 0, 0, 0, 0));
    candidates
        .filter_map(|address| Ipv6Net::new(address, length).ok().map(|net| net.trunc()))
        .find(|net| !taken.touches(IpNet::V6(*net)))
}

/// The command that writes `config` with other ranges and everything else as it is.
fn put(
    view: &View<'_>,
    config: &NetworkConfig,
    v4: Option<Ipv4Net>,
    v6: Option<Ipv6Net>,
) -> Option<String> {
    rewritten(view, config, |map| {
        if let (Some(net), true) = (v4, config.network.is_some()) {
            map.insert("Network".to_owned(), Value::String(net.to_string()));
            map.retain(|name, _| name != "SubnetMin" && name != "SubnetMax");
        }
        if let (Some(net), true) = (v6, config.ipv6_network.is_some()) {
            map.insert("IPv6Network".to_owned(), Value::String(net.to_string()));
            map.retain(|name, _| name != "IPv6SubnetMin" && name != "IPv6SubnetMax");
        }
    })
}

/// The command that writes `config` as it stands in the registry, but for what `change` does.
pub fn rewritten(
    view: &View<'_>,
    config: &NetworkConfig,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Option<String> {
    let origin = &config.origin;
    let mut keys = view.context.registry.keys.iter();
    let key = keys.find(|key| key.api == origin.api && key.key == origin.key)?;
    // What was masked must not be written back.
    let text = key.value.text().filter(|text| !text.contains(MASK))?;
    // In flannel's own spelling: a `Network` beside a `network` is passed over where Go, which
    // takes the last of both, finds it first.
    let mut value = cased(serde_json::from_str(text).ok()?);
    change(value.as_object_mut()?);
    let value = value.to_string();
    Some(super::etcdctl::put(view, origin.api, &origin.key, &value))
}

/// The command that writes `config` with fields of its backend changed.
pub fn with_backend(
    view: &View<'_>,
    config: &NetworkConfig,
    fields: &[(&str, Value)],
) -> Option<String> {
    rewritten(view, config, |map| {
        let backend = map
            .entry("Backend")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(backend) = backend.as_object_mut() {
            let fields = fields.iter().cloned();
            backend.extend(fields.map(|(field, value)| (field.to_owned(), value)));
        }
    })
}

/// A free private range of this length.
pub fn free(view: &View<'_>, length: u8) -> Option<Ipv4Net> {
    free_v4(&taken(view), length)
}

/// A free /64 of the unique local addresses.
pub fn free_64(view: &View<'_>) -> Option<Ipv6Net> {
    free_v6(&taken(view), 64)
}

/// A word that no option stands for, whatever it begins with.
pub fn operand(text: &str) -> String {
    match text.starts_with('-') {
        true => format!("-- {}", quoted(text)),
        false => quoted(text),
    }
}

/// A link's name where ip(8) would take one that begins with `-` for an option.
pub fn link(name: &str) -> String {
    match name.starts_with('-') {
        true => format!("dev {}", quoted(name)),
        false => quoted(name),
    }
}

/// A word as a shell reads it; what needs no quotes gets none.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,=@%+".contains(c);
    if text.contains(char::is_control) {
        return written_out(text);
    }
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A word with control characters, which a command that is pasted cannot hold, as bash and most
/// shells take it: `$'a\012b'`.
fn written_out(text: &str) -> String {
    let mut word = String::new();
    for c in text.chars() {
        match c {
            '\'' | '\\' => word.extend(['\\', c]),
            _ if c.is_control() => {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                word.extend(bytes.map(|byte| format!("\\{byte:03o}")));
            }
            _ => word.push(c),
        }
    }
    format!("$'{word}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_neither_a_command_nor_an_option() {
        assert_eq!(quoted("a;reboot"), "'a;reboot'");
        assert_eq!(link("eth0"), "eth0");
        assert_eq!(link("-force$(x)"), "dev '-force$(x)'");
        assert_eq!(operand("--from-key"), "-- --from-key");
    }

    fn index(texts: &[&str]) -> Index {
        let nets = texts.iter().map(|text| text.parse().expect("a prefix"));
        Index::new(nets.map(|net| (net, 0)))
    }

    fn free(texts: &[&str], length: u8) -> Option<String> {
        free_v4(&index(texts), length).map(|net| net.to_string())
    }

    #[test]
    fn a_block_without_anything_in_it_comes_first() {
        assert_eq!(free(&["10.1.1.0/24"], 16).as_deref(), Some("172.16.0.0/16"));
        assert_eq!(
            free(&["10.1.1.0/24", "172.17.0.0/16"], 16).as_deref(),
            Some("192.168.0.0/16")
        );
        assert_eq!(
            free(&["192.168.1.0/24"], 16).as_deref(),
            Some("10.0.0.0/16")
        );
    }

    #[test]
    fn what_is_in_use_is_passed_over_whole() {
        let all = [
            "10.0.0.0/9",
            "10.128.3.7/32",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
        ];
        assert_eq!(free(&all, 16).as_deref(), Some("10.129.0.0/16"));
        assert_eq!(
            free(
                &[
                    "10.0.0.0/8",
                    "172.16.0.0/12",
                    "192.168.0.0/16",
                    "100.64.0.0/10"
                ],
                24
            ),
            None
        );
        assert_eq!(free(&["10.1.1.0/24"], 8), None);
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        assert_eq!(
            quoted("/coreos.com/network/config"),
            "/coreos.com/network/config"
        );
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a\nb'\u{85}"), r"$'a\012b\'\302\205'");
    }
}
