//! flannel's two kinds of values in etcd: its configuration, and leases.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::lab::scenario::Api;
use crate::lab::tunnel::Ipv4Net;

/// The key `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub network: Ipv4Net,
    pub subnet_len: u8,
    /// The first subnet that may be leased, and the last.
    pub subnets: (Ipv4Addr, Ipv4Addr),
    pub backend: Backend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Udp { port: u16 },
    Vxlan { vni: u32, port: u16 },
    HostGw,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    network: String,
    subnet_len: Option<u8>,
    subnet_min: Option<Ipv4Addr>,
    subnet_max: Option<Ipv4Addr>,
    backend: Option<RawBackend>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawBackend {
    r#type: Option<String>,
    port: Option<u16>,
    #[serde(rename = "VNI")]
    vni: Option<u32>,
}

impl Config {
    pub fn parse(text: &str) -> Result<Config> {
        let raw: RawConfig =
            serde_json::from_str(text).with_context(|| format!("`{text}` is no configuration"))?;
        let network: Ipv4Net = raw.network.parse().map_err(anyhow::Error::msg)?;
        let (kind, port, vni) = match raw.backend {
            Some(backend) => (backend.r#type, backend.port, backend.vni),
            None => (None, None, None),
        };
        let backend = match kind.as_deref() {
            None | Some("udp") => Backend::Udp {
                port: port.unwrap_or(8285),
            },
            // Linux's port, not the one of RFC 7348; 0 means the kernel's own.
            Some("vxlan") => Backend::Vxlan {
                vni: vni.unwrap_or(1),
                port: port.filter(|port| *port != 0).unwrap_or(8472),
            },
            Some("host-gw") => Backend::HostGw,
            Some(other) => bail!("`{other}` is no backend that the lab has"),
        };
        // flannel's default: a /24, or a quarter of a network that is smaller.
        let set = raw.subnet_len.filter(|length| *length != 0);
        let subnet_len = set.unwrap_or(match network.prefix {
            0..=22 => 24,
            prefix => prefix + 2,
        });
        if subnet_len > 30 || subnet_len < network.prefix.saturating_add(2) {
            bail!("subnets of length {subnet_len} do not fit into {network}");
        }
        let network = network.network();
        Ok(Config {
            network,
            subnet_len,
            subnets: range(network, subnet_len, raw.subnet_min, raw.subnet_max)?,
            backend,
        })
    }
}

/// The first and the last subnet that may be leased; by themselves all but the
/// network's first.
fn range(
    network: Ipv4Net,
    subnet_len: u8,
    min: Option<Ipv4Addr>,
    max: Option<Ipv4Addr>,
) -> Result<(Ipv4Addr, Ipv4Addr)> {
    let size = 1_u32 << (32 - subnet_len);
    for (name, bound) in [("SubnetMin", min), ("SubnetMax", max)] {
        let fits =
            |bound: Ipv4Addr| network.contains(bound) && bound.to_bits().is_multiple_of(size);
        if let Some(bound) = bound.filter(|bound| !fits(*bound)) {
            bail!("{name} {bound} is no subnet of length {subnet_len} in {network}");
        }
    }
    let first = network.address.to_bits();
    let count = 1_u32 << (subnet_len - network.prefix);
    let min = min.unwrap_or(Ipv4Addr::from_bits(first + size));
    let max = max.unwrap_or(Ipv4Addr::from_bits(first + (count - 1) * size));
    if min > max {
        bail!("SubnetMin {min} lies behind SubnetMax {max}");
    }
    Ok((min, max))
}

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub public_ip: Ipv4Addr,
    /// Empty with the UDP backend.
    pub backend_type: String,
    /// With vxlan: hardware address of the tunnel's end.
    pub vtep_mac: Option<Mac>,
    pub vni: Option<u32>,
}

impl Lease {
    pub fn parse(text: &str) -> Result<Lease> {
        let value: Value =
            serde_json::from_str(text).with_context(|| format!("`{text}` is no lease"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Lease {
            public_ip: value["PublicIP"]
                .as_str()
                .and_then(|address| address.parse().ok())
                .with_context(|| format!("a lease without a PublicIP: {value}"))?,
            backend_type: text(&value["BackendType"]).unwrap_or_default(),
            // It goes into commands that root runs: nothing but an address.
            vtep_mac: match &value["BackendData"]["VtepMAC"] {
                Value::Null => None,
                mac => {
                    let mac = mac.as_str().and_then(|mac| mac.parse().ok());
                    Some(mac.with_context(|| format!("a lease with a wrong VtepMAC: {value}"))?)
                }
            },
            vni: value["BackendData"]["VNI"]
                .as_u64()
                .and_then(|vni| vni.try_into().ok()),
        })
    }

    /// The value, its fields in flannel's order: those that lease by v3 know IPv6.
    pub fn json(&self, api: Api) -> String {
        let mut text = format!(r#"{{"PublicIP":"{}""#, self.public_ip);
        if api == Api::V3 {
            text += r#","PublicIPv6":null"#;
        }
        if !self.backend_type.is_empty() {
            text += &format!(r#","BackendType":"{}""#, self.backend_type);
        }
        if let (Some(mac), Some(vni)) = (&self.vtep_mac, self.vni) {
            text += &format!(r#","BackendData":{{"VNI":{vni},"VtepMAC":"{mac}"}}"#);
        }
        text + "}"
    }
}

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac([u8; 6]);

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Mac, ()> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(())?;
            // from_str_radix takes a sign too.
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(());
            }
            *byte = u8::from_str_radix(part, 16).map_err(drop)?;
        }
        match parts.next() {
            None => Ok(Mac(bytes)),
            Some(_) => Err(()),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The last part of a lease's key.
pub fn key_of(subnet: Ipv4Net) -> String {
    format!("{}-{}", subnet.address, subnet.prefix)
}

/// The subnet that a key is about: `10.5.52.0-24`, with an IPv6 subnet perhaps
/// behind an `&`.
pub fn subnet_of(key: &str) -> Option<Ipv4Net> {
    let name = key.rsplit('/').next()?.split('&').next()?;
    name.replace('-', "/").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read_with_flannels_defaults() {
        let bare = Config::parse(r#"{"Network":"10.5.0.0/16"}"#).unwrap();
        assert_eq!(
            (bare.subnet_len, bare.backend),
            (24, Backend::Udp { port: 8285 })
        );
        let vxlan = r#"{"Network":"10.5.0.0/23","Backend":{"Type":"vxlan"}}"#;
        let vxlan = Config::parse(vxlan).unwrap();
        assert_eq!(
            (vxlan.subnet_len, vxlan.backend),
            (25, Backend::Vxlan { vni: 1, port: 8472 })
        );
        let bounded = r#"{"Network":"10.5.0.0/16","SubnetLen":0,"SubnetMin":"10.5.16.0","SubnetMax":"10.5.32.0"}"#;
        let bounded = Config::parse(bounded).unwrap();
        let subnets = ["10.5.16.0", "10.5.32.0"].map(|net| net.parse().unwrap());
        assert_eq!((bounded.subnet_len, bounded.subnets), (24, subnets.into()));
        for bad in [
            "",
            "{}",
            r#"{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0"}"#,
            r#"{"Network":"10.5.0.0/16","SubnetMax":"10.5.1.7"}"#,
            r#"{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.0","SubnetMax":"10.5.8.0"}"#,
            r#"{"Network":"10.5.0.0"}"#,
            r#"{"Network":"10.5.0.0/16","SubnetLen":17}"#,
            r#"{"Network":"10.5.0.0/16","Backend":{"Type":"ipip"}}"#,
        ] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn leases_read_as_they_are_written() {
        let text = r#"{"PublicIP":"10.1.1.95","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}}"#;
        let lease = Lease::parse(text).unwrap();
        assert_eq!(lease.json(Api::V2), text);
        let udp = r#"{"PublicIP":"10.1.1.95"}"#;
        assert_eq!(Lease::parse(udp).unwrap().json(Api::V2), udp);
        let newer = r#"{"PublicIP":"10.1.1.95","PublicIPv6":null}"#;
        assert_eq!(Lease::parse(newer).unwrap().json(Api::V3), newer);
        for bad in [
            r#"{"PublicIP":""}"#,
            r#"{"PublicIP":"10.1.1.95\nlink del eth0"}"#,
        ] {
            assert!(Lease::parse(bad).is_err(), "{bad}");
        }
        for mac in [
            "",
            "aa:bb:cc:dd:ee",
            "aa:bb:cc:dd:ee:ff:00",
            "aa:bb:cc:dd:ee:+f",
            r"aa:bb:cc:dd:ee:ff\nlink delete eth0",
        ] {
            let bad = text.replace("aa:bb:cc:dd:ee:ff", mac);
            assert!(Lease::parse(&bad).is_err(), "{bad}");
        }
        for key in [
            "/coreos.com/network/subnets/10.5.52.0-24",
            "/x/subnets/10.5.52.0-24&fc00::-64",
        ] {
            let subnet = subnet_of(key).unwrap();
            assert_eq!(key_of(subnet), "10.5.52.0-24");
        }
        assert_eq!(subnet_of("/coreos.com/network/config"), None);
    }
}
