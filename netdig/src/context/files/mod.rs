//! Files that configure the overlay, the resolver and the balancer.
//!
//! Paths are those of the mount namespace that was looked at.
mod balancer;
mod cni;
mod docker;
mod resolver;
mod subnet_env;
mod units;

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Context, Part, Process, Unread, bounded};

pub use resolver::of_container as nameservers_of_container;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    pub nameservers: Vec<Nameserver>,
    /// Words of resolv.conf's `options` lines: `ndots:5`, `single-request-reopen`.
    pub resolver_options: Vec<String>,
    pub subnet_env: Vec<SubnetEnv>,
    /// Units and scripts that read a subnet.env.
    pub subnet_env_wanted: Vec<SubnetEnvReader>,
    pub docker: Option<Docker>,
    pub cni: Vec<CniNetwork>,
    pub balancers: Vec<Balancer>,
    pub service_ranges: Vec<ServiceRange>,
}

/// A range of Kubernetes' services, of a static pod's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRange {
    pub place: Place,
    pub net: IpNet,
}

/// Reads them all below `root`. The daemons' command lines must be in `context` already.
pub fn read(context: &mut Context, root: &Path) {
    resolver::read(context, root);
    docker::read(context, root);
    cni::read(context, root);
    units::read(context, root);
    subnet_env::read(context, root);
    balancer::read(context, root);
}

/// The text of a file; a file that is not there is no news, one that cannot be read is.
fn text(context: &mut Context, root: &Path, file: &str, part: Part) -> Option<String> {
    match bounded::file(root, file) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if bounded::absent(&error) => None,
        Err(error) => {
            not_read(context, part, file, &error);
            None
        }
    }
}

fn not_read(context: &mut Context, part: Part, file: &str, error: &std::io::Error) {
    let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    context.unread.push(Unread {
        part,
        what: file.to_owned(),
        why: format!("cannot read {file}: {error}"),
        hint: denied.then(|| "run it as root".to_owned()),
        partly: true,
    });
}

/// Notes a file that was read and is not what it should be.
fn not_understood(context: &mut Context, part: Part, file: &str, why: String) {
    context.unread.push(Unread {
        part,
        what: file.to_owned(),
        why,
        hint: None,
        partly: true,
    });
}

/// The last value of an option on a command line, of one dash or two: `-mtu=1400`, `--mtu 1400`.
fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    options(args, name).last()
}

/// All values of an option on a command line.
fn options<'a>(args: &'a [String], name: &str) -> impl Iterator<Item = &'a str> {
    let dashed = |arg: &'a str| arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'));
    args.iter().enumerate().filter_map(move |(at, arg)| {
        let arg = dashed(arg)?;
        match arg.split_once('=') {
            Some((known, value)) => (known == name).then_some(value),
            None if arg == name => args.get(at + 1).map(String::as_str),
            None => None,
        }
    })
}

/// Processes of one program.
fn running<'a>(context: &'a Context, program: &'a str) -> impl Iterator<Item = &'a Process> {
    let processes = context.processes.iter();
    processes.filter(move |process| process.runs(program))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_every_form() {
        let args = ["x", "-mtu=1400", "--mtu", "1450", "--bip=", "-f"].map(str::to_owned);
        assert_eq!(option(&args, "mtu"), Some("1450"));
        assert_eq!(option(&args, "bip"), Some(""));
        assert_eq!(option(&args, "f"), None);
        assert_eq!(options(&args, "mtu").count(), 2);
    }
}
