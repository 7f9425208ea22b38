//! What the kernel's network namespace holds, as rtnetlink(7) tells it.
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Number of the table `main` (linux/rtnetlink.h).
pub const TABLE_MAIN: u32 = 254;
/// Number of the table `local`.
pub const TABLE_LOCAL: u32 = 255;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    pub links: Vec<Link>,
    pub addresses: Vec<Address>,
    /// Of all tables but `local`'s broadcast and multicast ones.
    pub routes: Vec<Route>,
    pub rules: Vec<PolicyRule>,
    pub neighbours: Vec<Neighbour>,
    pub fdb: Vec<FdbEntry>,
    /// The kernel's answers for the destinations that matter.
    pub lookups: Vec<Lookup>,
}

impl Network {
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Addresses of a link.
    pub fn addresses_of<'a>(&'a self, link: &'a str) -> impl Iterator<Item = &'a Address> {
        self.addresses.iter().filter(move |one| one.link == link)
    }

    /// Whether an address is one of this namespace's own.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.iter().any(|one| one.net.addr() == address)
    }

    pub fn lookup(&self, destination: IpAddr) -> Option<&Lookup> {
        self.lookups
            .iter()
            .find(|one| one.destination == destination)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: LinkKind,
    pub up: bool,
    /// Whether it has a carrier, `LOWER_UP`.
    pub running: bool,
    pub loopback: bool,
    pub mtu: u32,
    /// `02:42:ac:11:00:02`.
    pub mac: Option<String>,
    /// The bridge or bond that it is a port of.
    pub master: Option<String>,
    /// The link that it stands on (VLAN, macvlan, the underlay of a VXLAN).
    pub parent: Option<String>,
    /// Namespace of the other end of a veth, as the kernel numbers it here.
    pub peer_netns: Option<i32>,
    /// Offloads that matter, by ethtool's name, where they were read.
    pub offloads: std::collections::BTreeMap<String, bool>,
}

/// What a link is, with its tunnel's parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// A network card, or what says no kind.
    #[default]
    Physical,
    Bridge,
    Veth,
    /// A tun or tap device.
    Tun {
        /// `tun` (IP packets) or `tap` (Ethernet frames).
        tap: bool,
    },
    Vxlan(Vxlan),
    /// geneve, gre, gretap, ipip, sit, wireguard …: any other kind, by the kernel's word.
    Other(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vxlan {
    pub vni: u32,
    pub port: u16,
    pub local: Option<IpAddr>,
    pub remote: Option<IpAddr>,
    pub learning: bool,
    /// `external`: VNI and peer come with each packet's metadata.
    pub external: bool,
}

impl LinkKind {
    /// The kernel's word for it, as `ip -d link` prints.
    pub fn name(&self) -> &str {
        match self {
            LinkKind::Physical => "physical",
            LinkKind::Bridge => "bridge",
            LinkKind::Veth => "veth",
            LinkKind::Tun { tap: false } => "tun",
            LinkKind::Tun { tap: true } => "tap",
            LinkKind::Vxlan(_) => "vxlan",
            LinkKind::Other(name) => name,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub link: String,
    /// The address with its prefix length, `10.1.1.95/24`.
    pub net: IpNet,
    /// The other end, of a point-to-point address.
    #[serde(default)]
    pub peer: Option<IpNet>,
    /// `global`, `link`, `host`.
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub secondary: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// `0.0.0.0/0` of a default route.
    pub to: IpNet,
    /// `unicast`, `local`, `blackhole`, `unreachable`, `prohibit`, `throw` …
    pub kind: RouteKind,
    pub table: u32,
    /// Metric; 0 where none is given.
    #[serde(default)]
    pub metric: u32,
    #[serde(default)]
    pub hops: Vec<NextHop>,
    /// Preferred source address.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Who made it: `kernel`, `boot`, `static`, `dhcp`, `bird` …
    #[serde(default)]
    pub protocol: String,
    /// `link`, `global`, `host`.
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub mtu: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    #[default]
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    Nat,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct NextHop {
    pub via: Option<IpAddr>,
    pub dev: Option<String>,
    pub onlink: bool,
    pub weight: u32,
    /// `dead` or `linkdown`.
    pub down: bool,
}

impl Route {
    pub fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }

    /// Its device, of a route with one next hop.
    pub fn dev(&self) -> Option<&str> {
        self.hops.first()?.dev.as_deref()
    }

    pub fn via(&self) -> Option<IpAddr> {
        self.hops.first()?.via
    }
}

/// As `ip route` prints it, `10.1.0.0/16 dev flannel0`; a route's metric and table are added
/// as evidence wants them: `10.1.0.0/16 dev flannel0 metric 0 (table main)`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            kind => write!(f, "{} ", kind.name())?,
        }
        match self.is_default() {
            true => f.write_str("default")?,
            false => write!(f, "{}", self.to)?,
        }
        for hop in &self.hops {
            if self.hops.len() > 1 {
                f.write_str(" nexthop")?;
            }
            if let Some(via) = hop.via {
                write!(f, " via {via}")?;
            }
            if let Some(dev) = &hop.dev {
                write!(f, " dev {dev}")?;
            }
            if hop.onlink {
                f.write_str(" onlink")?;
            }
        }
        write!(
            f,
            " metric {} (table {})",
            self.metric,
            table_name(self.table)
        )
    }
}

impl RouteKind {
    pub const fn name(self) -> &'static str {
        match self {
            RouteKind::Unicast => "unicast",
            RouteKind::Local => "local",
            RouteKind::Broadcast => "broadcast",
            RouteKind::Anycast => "anycast",
            RouteKind::Multicast => "multicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
            RouteKind::Throw => "throw",
            RouteKind::Nat => "nat",
        }
    }
}

/// Name of a routing table, as iproute2 has them built in.
pub fn table_name(table: u32) -> String {
    match table {
        253 => "default".to_owned(),
        TABLE_MAIN => "main".to_owned(),
        TABLE_LOCAL => "local".to_owned(),
        other => other.to_string(),
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyRule {
    pub priority: u32,
    pub ipv6: bool,
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    pub iif: Option<String>,
    pub oif: Option<String>,
    pub fwmark: Option<u32>,
    pub fwmask: Option<u32>,
    /// `lookup` (of a table), `blackhole`, `unreachable`, `prohibit`, `goto`, `nop`.
    pub action: String,
    pub table: u32,
    /// Priority of the rule that `goto` goes on at.
    pub goto: Option<u32>,
    pub invert: bool,
    /// `suppress_prefixlength`, as VPN clients set it.
    pub suppress_prefix_len: Option<u32>,
    /// Conditions that are none of the above (ports, uid range, protocol, tos): the rule may not apply.
    pub others: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    pub link: String,
    pub address: IpAddr,
    #[serde(default)]
    pub mac: Option<String>,
    /// `PERMANENT`, `REACHABLE`, `STALE`, `FAILED` …, as `ip neigh` prints.
    pub state: String,
}

/// An entry of a bridge's or a VXLAN's forwarding database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    pub link: String,
    pub mac: String,
    /// The remote VTEP, of a VXLAN's.
    #[serde(default)]
    pub dst: Option<IpAddr>,
    #[serde(default)]
    pub permanent: bool,
    #[serde(default)]
    pub vni: Option<u32>,
    #[serde(default)]
    pub port: Option<u16>,
}

/// Why a destination was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Nameserver,
    Gateway,
    Etcd,
    /// A lease's public address.
    Peer,
    /// An address within a lease's subnet: its first one.
    Subnet,
    Upstream,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Role::Nameserver => "nameserver",
            Role::Gateway => "gateway",
            Role::Etcd => "etcd",
            Role::Peer => "peer",
            Role::Subnet => "remote subnet",
            Role::Upstream => "upstream",
        }
    }
}

/// The kernel's answer to "how does a packet of this host get to `destination`".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    pub destination: IpAddr,
    pub roles: Vec<Role>,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The way that a packet takes.
    Way {
        kind: RouteKind,
        dev: Option<String>,
        via: Option<IpAddr>,
        /// Source address that the kernel chooses.
        source: Option<IpAddr>,
        table: u32,
        /// The route's own prefix, where the kernel told it (RTM_F_FIB_MATCH).
        matched: Option<IpNet>,
    },
    /// The error: `ENETUNREACH`, `EHOSTUNREACH`, `EACCES`, `EINVAL`.
    Refused(String),
}

impl Lookup {
    pub fn dev(&self) -> Option<&str> {
        match &self.answer {
            Answer::Way { dev, .. } => dev.as_deref(),
            Answer::Refused(_) => None,
        }
    }
}
