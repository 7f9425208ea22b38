//! What the host and the cluster say: all that rules may know.
//!
//! A context is read once by [`read`], kept current while packets flow, and can be
//! saved and loaded ([`saved`]); rules see no difference. What could not be read
//! stands in [`Context::unread`], so that no rule takes silence for an answer.
mod bounded;
pub mod containers;
pub mod counters;
pub mod files;
pub mod firewall;
pub mod flannel;
pub mod mask;
pub mod namespace;
pub mod net;
pub mod netlink;
mod proc;
pub mod processes;
pub mod read;
pub mod registry;
pub mod saved;
pub mod service_ranges;
pub mod sockets;
pub mod sysctls;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use files::Files;
use firewall::Firewall;
use net::Network;
use registry::Registry;

/// Schema of a saved context.
pub const SCHEMA: &str = "netdig-context/1";

/// One look at a host and its cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the netdig that looked.
    pub netdig: String,
    /// When, nanoseconds since 1970.
    pub taken_ns: u64,
    pub host: Host,
    /// What netlink says of the network namespace.
    pub net: Network,
    /// Those that rules ask for, by full name: `net.ipv4.conf.all.rp_filter` → `2`.
    pub sysctls: BTreeMap<String, String>,
    pub firewall: Firewall,
    /// Counters that tell of drops, by name: `rt_cache.in_martian_src`,
    /// `TcpExt.IPReversePathFilter`, `nf_conntrack.insert_failed`, `arp_cache.table_fulls`.
    pub counters: BTreeMap<String, u64>,
    pub sockets: Vec<Socket>,
    /// Daemons of this network namespace that matter: flanneld, dockerd, confd, haproxy, etcd …
    pub processes: Vec<Process>,
    pub containers: Vec<Container>,
    pub files: Files,
    pub registry: Registry,
    /// What this netdig remembers of an earlier look at this host.
    pub earlier: Option<Earlier>,
    pub unread: Vec<Unread>,
    /// What could not be read either, and nobody misses: a registry that was not named, on a
    /// host without an overlay. Nothing is said of it.
    pub not_missed: Vec<Unread>,
}

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    pub name: String,
    /// `6.18.5`.
    pub kernel: String,
    /// As `--netns` was given; absent for the own one.
    pub netns: Option<String>,
}

/// A part of a context; rules name those that they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Links,
    Addresses,
    Routes,
    PolicyRules,
    Neighbours,
    Fdb,
    /// The kernel's own route look-ups.
    Lookups,
    Sysctls,
    Firewall,
    Counters,
    Sockets,
    Processes,
    Containers,
    Resolver,
    /// subnet.env.
    SubnetEnv,
    /// Docker's, CNI's and the balancer's configuration.
    Configuration,
    /// The registry's keys.
    Registry,
    /// An earlier look at the same host.
    Earlier,
    /// Packets: rules that need them speak in `netdig overlay`.
    Packets,
    /// Services of a registry: rules that need them speak in `netdig etcd-watch`.
    Services,
}

impl Part {
    pub const fn name(self) -> &'static str {
        match self {
            Part::Links => "links",
            Part::Addresses => "addresses",
            Part::Routes => "routes",
            Part::PolicyRules => "policy rules",
            Part::Neighbours => "neighbours",
            Part::Fdb => "bridge and VXLAN fdb",
            Part::Lookups => "the kernel's route look-ups",
            Part::Sysctls => "sysctls",
            Part::Firewall => "firewall rules",
            Part::Counters => "counters",
            Part::Sockets => "sockets",
            Part::Processes => "processes",
            Part::Containers => "containers",
            Part::Resolver => "the resolver's configuration",
            Part::SubnetEnv => "subnet.env",
            Part::Configuration => "configuration files",
            Part::Registry => "the registry's keys",
            Part::Earlier => "an earlier look",
            Part::Packets => "packets",
            Part::Services => "services",
        }
    }
}

/// A part, or something of it, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    pub part: Part,
    /// What it was, in one phrase: `routes`, `/etc/docker/daemon.json`, `etcd at http://…`.
    pub what: String,
    /// What was tried and what the system said.
    pub why: String,
    /// What would help: `run it as root`, `apt-get install nftables`, `--etcd URL`.
    pub hint: Option<String>,
    /// Whether the rest of the part is there: rules that need it are evaluated still.
    pub partly: bool,
}

/// A socket of the network namespace, bound or connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Socket {
    /// `udp`, `tcp`, with `6` behind for IPv6.
    pub protocol: String,
    /// `0.0.0.0:8472`.
    pub local: String,
    pub remote: Option<String>,
    /// Of TCP, `LISTEN`, `ESTABLISHED`, `SYN_SENT` …
    pub state: Option<String>,
    pub inode: u64,
    /// Who has it, where /proc tells.
    pub pid: Option<u32>,
    pub comm: Option<String>,
    /// Of a TCP connection: the MTU of the other end's link, by the segment size that it announced.
    pub peer_mtu: Option<u32>,
}

impl Socket {
    /// The local address, where it can be read as one.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.local.parse().ok()
    }
}

/// A daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    pub pid: u32,
    pub comm: String,
    /// The command line, passwords masked.
    pub args: Vec<String>,
    /// What of its environment configures it (`FLANNELD_ETCD_ENDPOINTS` …), passwords masked.
    pub env: BTreeMap<String, String>,
    pub container: Option<String>,
}

impl Process {
    /// Whether it is this program: by its name, or by what it was started as. netdig's own
    /// flannel, which a lab runs where no other is to be had, is a flanneld.
    pub fn runs(&self, program: &str) -> bool {
        /// The kernel keeps so many bytes of a name.
        const COMM: usize = 15;
        let first = self.args.first().map_or("", String::as_str);
        // A daemon may write its state in its arguments' place: `nginx: master process …`.
        let first = first.split(": ").next().unwrap_or(first);
        let base = first
            .rsplit('/')
            .next()
            .unwrap_or(first)
            .trim_end_matches(':');
        let words = |at: usize| self.args.get(at).map(String::as_str);
        self.comm == program.get(..COMM).unwrap_or(program)
            || base == program
            || program == "flanneld" && words(1) == Some("lab") && words(2) == Some("flannel")
    }
}

/// A container with a network namespace of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    pub id: String,
    pub name: Option<String>,
    pub pid: u32,
    pub links: Vec<net::Link>,
    pub addresses: Vec<net::Address>,
    pub routes: Vec<net::Route>,
    pub nameservers: Vec<files::Nameserver>,
}

/// What an earlier look saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Earlier {
    pub taken_ns: u64,
    /// The flannel subnets that this host had, by network.
    pub subnets: BTreeMap<String, String>,
}

impl Context {
    /// Whether a part is there at least partly: nothing said that it is not.
    pub fn has(&self, part: Part) -> bool {
        let mut unread = self.unread.iter().chain(&self.not_missed);
        !unread.any(|unread| unread.part == part && !unread.partly)
    }

    /// Whether nothing of a part is missing.
    pub fn has_all(&self, part: Part) -> bool {
        let mut unread = self.unread.iter().chain(&self.not_missed);
        !unread.any(|unread| unread.part == part)
    }

    /// A sysctl as a number.
    pub fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.trim().parse().ok()
    }

    /// Notes a part that could not be read at all.
    pub fn lacks(&mut self, part: Part, why: impl Into<String>, hint: Option<String>) {
        self.unread.push(Unread {
            part,
            what: part.name().to_owned(),
            why: why.into(),
            hint,
            partly: false,
        });
    }
}
