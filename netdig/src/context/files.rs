//! Files that configure the overlay, the resolver and the balancer.
//!
//! Paths are those of the mount namespace that was looked at.
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    pub nameservers: Vec<Nameserver>,
    pub subnet_env: Vec<SubnetEnv>,
    /// Units and scripts that read a subnet.env.
    pub subnet_env_wanted: Vec<SubnetEnvReader>,
    pub docker: Option<Docker>,
    pub cni: Vec<CniNetwork>,
    pub balancers: Vec<Balancer>,
}

/// A line of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    pub file: String,
    /// From 1; 0 where the whole file is meant.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// A nameserver that somebody of this host asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nameserver {
    pub address: IpAddr,
    pub place: Place,
    /// Behind a stub such as systemd-resolved's 127.0.0.53: the one that it asks.
    #[serde(default)]
    pub behind_stub: bool,
}

/// flannel's subnet.env: what it hands to docker and CNI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubnetEnv {
    pub file: String,
    pub network: Vec<IpNet>,
    /// The bridge's address with its prefix length, `192.168.69.1/24`.
    pub subnet: Option<IpNet>,
    pub ipv6_network: Vec<IpNet>,
    pub ipv6_subnet: Option<IpNet>,
    pub mtu: Option<u32>,
    pub ipmasq: Option<bool>,
    /// Lines that could not be read, each with what is wrong.
    pub broken: Vec<(u32, String)>,
    /// When it was last written, nanoseconds since 1970.
    pub modified_ns: u64,
}

/// Who reads a subnet.env: docker's unit, by `EnvironmentFile=/run/flannel/subnet.env`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubnetEnvReader {
    pub place: Place,
    /// The file that it reads.
    pub wants: String,
}

/// What dockerd was told, on its command line or in daemon.json.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Docker {
    pub place: Place,
    pub bip: Option<IpNet>,
    pub fixed_cidr: Option<IpNet>,
    pub mtu: Option<u32>,
    pub bridge: Option<String>,
    pub dns: Vec<IpAddr>,
    pub ip_masq: Option<bool>,
    pub iptables: Option<bool>,
    /// `default-address-pools`.
    pub pools: Vec<IpNet>,
}

/// A network of /etc/cni/net.d.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniNetwork {
    pub place: Place,
    pub name: String,
    /// `bridge`, `flannel` …
    pub kind: String,
    pub bridge: Option<String>,
    pub subnets: Vec<IpNet>,
    pub mtu: Option<u32>,
    pub ip_masq: Option<bool>,
    /// Of `flannel`: the subnet.env that it reads.
    pub subnet_file: Option<String>,
}

/// A haproxy.cfg.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Balancer {
    pub file: String,
    pub binds: Vec<Bind>,
    pub servers: Vec<Server>,
}

/// A `bind` line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bind {
    pub place: Place,
    /// Name of its section.
    pub section: String,
    /// As written: `*:80`, `:8080`, `10.1.1.95:80`.
    pub address: String,
}

/// A `server` line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    pub place: Place,
    /// Name of its section: the backend.
    pub section: String,
    pub name: String,
    /// As written: `192.168.13.2:80`, `:80`.
    pub address: String,
    pub check: bool,
}
