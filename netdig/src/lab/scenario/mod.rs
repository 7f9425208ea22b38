//! What a scenario file says: topology, parts, fault, traffic, expectations. Unknown
//! keys are refused with line and column. `docs/scenarios.md` has every key.

mod check;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::Deserialize;

use super::tunnel::Ipv4Net;
pub use load::{find, names, parse, read};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The folder's name, with the variant's behind a slash; not in the file.
    #[serde(skip)]
    pub name: String,
    /// The file's own text.
    #[serde(skip)]
    pub text: String,
    /// One line.
    pub title: String,
    /// What goes on, for the person who starts it.
    pub story: String,
    /// Codes of the findings that it is about.
    #[serde(default)]
    pub finding: Vec<String>,
    /// Programs that have to be there besides those of its parts.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Whether it disturbs others that run at the same time.
    #[serde(default)]
    pub alone: bool,
    /// What `${NAME}` stands for. It is put in before the rest is read.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    #[serde(rename = "variant", default)]
    pub variants: Vec<Variant>,
    /// Set in every host and container, dotted names under `net`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    #[serde(default)]
    pub underlay: Underlay,
    #[serde(rename = "segment", default)]
    pub segments: Vec<Segment>,
    pub overlay: Option<Overlay>,
    pub etcd: Option<Etcd>,
    #[serde(rename = "key", default)]
    pub keys: Vec<Key>,
    #[serde(rename = "host")]
    pub hosts: Vec<Host>,
    #[serde(rename = "container", default)]
    pub containers: Vec<Container>,
    #[serde(rename = "server", default)]
    pub servers: Vec<Server>,
    #[serde(rename = "announcer", default)]
    pub announcers: Vec<Announcer>,
    #[serde(rename = "renderer", default)]
    pub renderers: Vec<Renderer>,
    #[serde(rename = "step", default)]
    pub steps: Vec<Step>,
    pub watch: Option<Watch>,
    #[serde(rename = "traffic", default)]
    pub traffic: Vec<Step>,
    #[serde(rename = "expect", default)]
    pub expectations: Vec<Expectation>,
    #[serde(rename = "conclusion", default)]
    pub conclusions: Vec<Conclusion>,
    #[serde(default)]
    pub none: Absent,
}

/// Another face of the same fault.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub name: String,
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

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
    const fn needs_etcd(&self) -> Option<&'static str> {
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

/// Which of etcd's APIs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    V2,
    #[default]
    V3,
}

/// Whether the lab's own daemon runs, or the one that it acts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Daemon {
    /// The real one where it is to be had.
    #[default]
    Any,
    Lab,
    #[serde(alias = "flanneld", alias = "confd")]
    Real,
}

/// Debian's etcd.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    pub at: String,
    /// Where clients reach it; empty: the usual places.
    #[serde(default)]
    pub listen: Vec<SocketAddrV4>,
}

/// A key that stands before the parts start.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub key: String,
    pub value: String,
    #[serde(default)]
    pub api: Api,
    pub ttl_s: Option<u32>,
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

/// A real server program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Server {
    /// nginx, which answers every request with 200 and `body`.
    Http {
        at: String,
        listen: SocketAddrV4,
        body: String,
        #[serde(default)]
        header: Vec<String>,
    },
    /// dnsmasq, which knows `records` and nothing else.
    Dns {
        at: String,
        listen: SocketAddrV4,
        records: BTreeMap<String, Ipv4Addr>,
    },
    Haproxy {
        at: String,
        config: String,
        #[serde(default)]
        listen: Vec<SocketAddrV4>,
    },
    /// The lab's own: `answer`, whatever the request.
    Raw {
        at: String,
        listen: SocketAddrV4,
        answer: String,
    },
}

impl Server {
    /// Host or container that it runs in.
    pub fn at(&self) -> &str {
        match self {
            Server::Http { at, .. }
            | Server::Dns { at, .. }
            | Server::Haproxy { at, .. }
            | Server::Raw { at, .. } => at,
        }
    }
}

/// Writes a service's address, as a unit does that registers it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcer {
    pub name: String,
    pub on: String,
    /// Whose address is written.
    pub container: Option<String>,
    pub key: String,
    /// `{address}` is the container's.
    pub value: String,
    #[serde(default)]
    pub api: Api,
    pub via: Option<Via>,
    pub ttl_s: Option<u32>,
    pub every_s: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    Etcdctl,
    Curl,
}

/// Renders a file from keys, as confd does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renderer {
    pub name: String,
    pub on: String,
    #[serde(default)]
    pub api: Api,
    #[serde(default)]
    pub prefix: String,
    #[serde(default = "all_keys")]
    pub keys: Vec<String>,
    /// A Go template with confd's functions.
    pub template: String,
    pub dest: PathBuf,
    pub check: Option<String>,
    pub reload: Option<String>,
    pub mode: Option<String>,
    /// `None`: it watches.
    pub interval_s: Option<u32>,
    /// Whether `dest` is a mount point.
    #[serde(default)]
    pub bind_mounted: bool,
    #[serde(default)]
    pub daemon: Daemon,
}

fn all_keys() -> Vec<String> {
    vec!["/".to_owned()]
}

/// How `netdig overlay` is started for this scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Host whose traffic is looked at; given to netdig as `--netns`.
    pub host: String,
    /// More of netdig's arguments.
    pub arguments: Vec<String>,
}

/// A command that does a part of the fault, or makes traffic, and what is to
/// come of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// One line, for the report; else the command is shown.
    pub what: Option<String>,
    /// Host or container that it runs in.
    pub on: String,
    pub run: Vec<String>,
    #[serde(default)]
    pub outcome: Outcome,
    /// Seconds until it is stopped and counts as hanging.
    #[serde(default = "ten")]
    pub deadline_s: u32,
    /// Must be in what it prints.
    pub prints: Option<String>,
    /// Must not be in what it prints.
    pub prints_not: Option<String>,
    /// Seconds in which it is tried again until it comes out so.
    pub until: Option<u32>,
    /// Whether it runs on until the end.
    #[serde(default)]
    pub background: bool,
}

const fn ten() -> u32 {
    10
}

impl Step {
    /// The command as a person would type it.
    pub fn shell(&self) -> String {
        shell(&self.run)
    }
}

/// Words as a person would type them.
pub fn shell(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./:@+=,".contains(&b))
    };
    let quoted = words.iter().map(|word| match plain(word) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Exit code 0.
    #[default]
    Succeeds,
    /// Another exit code.
    Fails,
    /// Still there at the deadline.
    Hangs,
}

/// What netdig's JSON lines must, or must not, show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What it is about, for the report.
    pub what: String,
    /// `kind` of the objects that count.
    pub kind: String,
    /// Dotted paths and the values to be found there; in an array any element may fit.
    #[serde(rename = "where", default)]
    pub fields: BTreeMap<String, toml::Value>,
    /// Dotted paths that must hold something.
    #[serde(default)]
    pub present: Vec<String>,
    at_least: Option<usize>,
    pub at_most: Option<usize>,
    /// Not concluded yet: failing is counted and forgiven, holding is an error.
    #[serde(default)]
    pub pending: bool,
}

impl Expectation {
    /// How many have to fit: one, where none may not.
    pub fn least(&self) -> usize {
        self.at_least
            .unwrap_or(usize::from(self.at_most != Some(0)))
    }
}

/// An address with its prefix length, from a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Net(pub Ipv4Net);

impl TryFrom<String> for Net {
    type Error = String;

    fn try_from(text: String) -> Result<Net, String> {
        text.parse().map(Net)
    }
}

/// A finding that netdig has to name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conclusion {
    pub code: String,
    #[serde(default)]
    pub by: By,
    /// Host that the command looks at.
    pub on: Option<String>,
    /// Texts that the title must hold.
    #[serde(default)]
    pub title: Vec<String>,
    #[serde(default)]
    pub pending: bool,
}

/// The command that is to say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    Overlay,
    #[default]
    Doctor,
    EtcdWatch,
}

impl By {
    pub const fn command(self) -> &'static str {
        match self {
            By::Overlay => "overlay",
            By::Doctor => "doctor",
            By::EtcdWatch => "etcd-watch",
        }
    }
}

/// What must not be concluded.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Absent {
    pub codes: Vec<String>,
    /// Nothing of this severity or above.
    pub from: Option<Severity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Info,
    Medium,
    High,
    Critical,
}

impl Scenario {
    /// Every name that traffic and servers may refer to.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.hosts
            .iter()
            .map(|host| host.name.as_str())
            .chain(self.containers.iter().map(|c| c.name.as_str()))
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        let mut containers = self.containers.iter();
        containers.find(|container| container.name == name)
    }

    /// The resolver that a process at `place` is to ask.
    pub fn nameserver(&self, place: &str) -> Option<Ipv4Addr> {
        self.host(place).and_then(|host| host.nameserver)
    }
}
