//! The network that a scenario asks for: segments, hosts, containers, the overlay.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::tunnel::Ipv4Net;
use super::{Api, Daemon};

/// The segment that all hosts share: a bridge in a namespace of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Underlay {
    /// Bytes.
    pub mtu: u32,
}

impl Default for Underlay {
    fn default() -> Underlay {
        Underlay { mtu: ethernet() }
    }
}

const fn ethernet() -> u32 {
    1500
}

/// A further segment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    pub name: String,
    /// Bytes.
    #[serde(default = "ethernet")]
    pub mtu: u32,
}

/// flannel's network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// flannel's `Network`.
    pub network: Net,
    #[serde(default)]
    pub backend: Backend,
    /// UDP port of the tunnel.
    port: Option<u16>,
    /// VXLAN's identifier.
    #[serde(default = "first_vni")]
    pub vni: u32,
    #[serde(default = "of_a_host")]
    pub subnet_len: u8,
    api: Option<Api>,
    prefix: Option<String>,
    /// The key `config`, in place of what the above say; empty: none is written.
    pub config: Option<String>,
    ttl_s: Option<u32>,
    #[serde(default)]
    pub daemon: Daemon,
}

impl Overlay {
    /// UDP port of the tunnel.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.backend {
            Backend::Vxlan => 8472,
            Backend::Udp | Backend::HostGw => 8285,
        })
    }

    /// Of etcd.
    pub fn api(&self) -> Api {
        self.api.unwrap_or_default()
    }

    /// Of its keys.
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("/coreos.com/network")
    }

    /// Seconds that a lease lasts: a day.
    pub fn ttl_s(&self) -> u32 {
        self.ttl_s.unwrap_or(86_400)
    }

    /// A key that says something only where there is etcd.
    pub(super) const fn needs_etcd(&self) -> Option<&'static str> {
        match self {
            _ if self.config.is_some() => Some("config"),
            _ if self.api.is_some() => Some("api"),
            _ if self.prefix.is_some() => Some("prefix"),
            _ if self.ttl_s.is_some() => Some("ttl_s"),
            _ => None,
        }
    }
}

const fn first_vni() -> u32 {
    1
}

const fn of_a_host() -> u8 {
    24
}

/// How flannel carries packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// By a process, from a tun to a UDP socket.
    #[default]
    Udp,
    /// By the kernel.
    Vxlan,
    /// By routes alone.
    HostGw,
}

/// A machine: namespaces of its own, with `eth0` on the underlay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub name: String,
    /// Addresses of `eth0`; the first is the public address of its tunnel.
    pub addresses: Vec<Net>,
    /// Of `eth0`, bytes.
    pub mtu: Option<u32>,
    /// What `ip route add` takes.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Becomes the host's `/etc/resolv.conf`.
    pub nameserver: Option<Ipv4Addr>,
    #[serde(default)]
    pub links: Vec<Link>,
    /// Lines for `ip -batch`.
    #[serde(default)]
    pub ip: Vec<String>,
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Path and text.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, String>,
    /// Its lease. With one it has a tunnel.
    pub subnet: Option<Net>,
    #[serde(default)]
    pub bridge: Bridge,
    /// What its lease says in place of its public address.
    pub public_ip: Option<Ipv4Addr>,
    #[serde(default = "yes")]
    pub tunnel: bool,
}

impl Host {
    /// The first address of `eth0`.
    pub fn public(&self) -> Option<Ipv4Addr> {
        self.addresses.first().map(|Net(net)| net.address)
    }
}

const fn yes() -> bool {
    true
}

/// A host's link in a further segment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub segment: String,
    pub device: String,
    #[serde(default)]
    pub addresses: Vec<Net>,
    pub mtu: Option<u32>,
}

/// What a host's containers are on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bridge {
    pub name: String,
    pub address: Option<Net>,
    pub mtu: Option<u32>,
}

impl Default for Bridge {
    fn default() -> Bridge {
        Bridge {
            name: "docker0".to_owned(),
            address: None,
            mtu: None,
        }
    }
}

/// Something with an address on its host's bridge, in namespaces of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub name: String,
    pub host: String,
    pub address: Net,
    pub mtu: Option<u32>,
    /// What `ip route add` takes; `None`: the bridge is the default.
    pub routes: Option<Vec<String>>,
    #[serde(default)]
    pub runtime: Runtime,
    /// Whether its address comes only after all announcers have written.
    #[serde(default)]
    pub late: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// The first of the others that is installed.
    #[default]
    Any,
    Runc,
    Crun,
    /// A network namespace alone.
    Namespace,
}

/// An address with its prefix length, from a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net(pub Ipv4Net);

impl<'de> Deserialize<'de> for Net {
    /// Refused while it is visited, so that the error has its place also in a list.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Net, D::Error> {
        struct FromText;

        impl Visitor<'_> for FromText {
            type Value = Net;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text with an IPv4 address and its prefix length")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Net, E> {
                text.parse().map(Net).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(FromText)
    }
}
