//! Networks of CNI: *.conf and *.conflist in /etc/cni/net.d.
use std::path::Path;

use ipnet::IpNet;
use serde_json::Value;

use super::{CniNetwork, Place, not_understood, text};
use crate::context::{Context, Part, bounded};

const FOLDER: &str = "/etc/cni/net.d";
const MAX_FILES: usize = 256;
/// The flannel plug-in's own default.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";

pub fn read(context: &mut Context, root: &Path) {
    let names = match bounded::names(root, FOLDER, MAX_FILES) {
        Ok(names) => names,
        Err(error) if bounded::absent(&error) => return,
        Err(error) => return super::not_read(context, Part::Configuration, FOLDER, &error),
    };
    let is_network = |name: &&String| {
        let endings = [".conf", ".conflist", ".json"];
        endings.iter().any(|ending| name.ends_with(ending))
    };
    for name in names.iter().filter(is_network) {
        let file = format!("{FOLDER}/{name}");
        let Some(text) = text(context, root, &file, Part::Configuration) else {
            continue;
        };
        match serde_json::from_str(&text) {
            Ok(value) => context.files.cni.extend(networks(&file, &value)),
            Err(error) => {
                let why = format!("{file} is no JSON: {error}");
                not_understood(context, Part::Configuration, &file, why);
            }
        }
    }
}

/// One of a .conf, one a plug-in that makes links of a .conflist.
fn networks(file: &str, value: &Value) -> Vec<CniNetwork> {
    let plugins = value.get("plugins").and_then(Value::as_array);
    let plugins = plugins.map_or_else(|| vec![value], |list| list.iter().collect());
    let name = value
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let made = plugins
        .into_iter()
        .filter_map(|plugin| network(file, name, plugin));
    made.collect()
}

fn network(file: &str, name: &str, plugin: &Value) -> Option<CniNetwork> {
    let kind = plugin.get("type")?.as_str()?;
    // These change what another plug-in made.
    if ["portmap", "bandwidth", "tuning", "firewall", "sbr"].contains(&kind) {
        return None;
    }
    let flannel = kind == "flannel";
    // flannel hands its `delegate` to the bridge plug-in.
    let delegate = plugin.get("delegate").filter(|_| flannel);
    let setting = |name: &str| {
        delegate
            .and_then(|it| it.get(name))
            .or_else(|| plugin.get(name))
    };
    let string = |name: &str| setting(name).and_then(Value::as_str).map(str::to_owned);
    let subnet_file = string("subnetFile").filter(|file| !file.is_empty());
    let mtu = setting("mtu").and_then(Value::as_u64);
    Some(CniNetwork {
        place: Place {
            file: file.to_owned(),
            line: 0,
        },
        name: name.to_owned(),
        kind: kind.to_owned(),
        bridge: string("bridge").or_else(|| default_bridge(kind)),
        subnets: subnets(plugin.get("ipam").unwrap_or(&Value::Null)),
        mtu: mtu
            .and_then(|mtu| u32::try_from(mtu).ok())
            .filter(|mtu| *mtu > 0),
        ip_masq: setting("ipMasq").and_then(Value::as_bool),
        subnet_file: flannel.then(|| subnet_file.unwrap_or_else(|| SUBNET_FILE.to_owned())),
    })
}

fn default_bridge(kind: &str) -> Option<String> {
    ["bridge", "flannel"]
        .contains(&kind)
        .then(|| "cni0".to_owned())
}

/// host-local's `subnet`, or its `ranges`.
fn subnets(ipam: &Value) -> Vec<IpNet> {
    let single = ipam.get("subnet").into_iter();
    let ranges = ipam
        .get("ranges")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let ranges = ranges.filter_map(Value::as_array).flatten();
    let all = single.chain(ranges.filter_map(|range| range.get("subnet")));
    all.filter_map(|net| net.as_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::bounded::testing::Folder;

    fn read_one(name: &str, bytes: &[u8]) -> Context {
        let folder = Folder::with(&[(&format!("etc/cni/net.d/{name}"), bytes)]);
        let mut context = Context::default();
        read(&mut context, folder.path());
        context
    }

    #[test]
    fn flannels_list_is_one_network() {
        let context = read_one(
            "10-flannel.conflist",
            br#"{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","subnetFile":"/x.env",
              "delegate":{"hairpinMode":true,"mtu":1400,"bridge":"kube0"}},{"type":"portmap"}]}"#,
        );
        let [network] = &context.files.cni[..] else {
            panic!("{context:?}")
        };
        assert_eq!(
            (network.name.as_str(), network.kind.as_str()),
            ("cbr0", "flannel")
        );
        assert_eq!(network.bridge.as_deref(), Some("kube0"));
        assert_eq!(network.subnet_file.as_deref(), Some("/x.env"));
        assert_eq!(network.mtu, Some(1400));
    }

    #[test]
    fn a_bridge_has_its_subnets() {
        let context = read_one(
            "a.conf",
            br#"{"name":"n","type":"bridge","ipMasq":true,"ipam":{"subnet":"10.22.0.0/16",
              "ranges":[[{"subnet":"fd00::/64"},{"x":1}],[]]}}"#,
        );
        let network = &context.files.cni[0];
        assert_eq!(network.bridge.as_deref(), Some("cni0"));
        assert_eq!(network.subnets.len(), 2);
        assert_eq!((network.ip_masq, &network.subnet_file), (Some(true), &None));
    }

    #[test]
    fn odd_files_are_said_or_passed_over() {
        assert_eq!(read_one("a.conf", b"{\"type\"").unread.len(), 1);
        assert_eq!(read_one("a.conf", b"\xff\xfe").unread.len(), 1);
        for text in ["[]", "{}", "{\"plugins\":[1,{}]}", "{\"type\":5}"] {
            let context = read_one("a.conf", text.as_bytes());
            assert!(
                context.files.cni.is_empty() && context.unread.is_empty(),
                "{text}"
            );
        }
        assert!(read_one("a.bak", b"x").unread.is_empty());
    }
}
