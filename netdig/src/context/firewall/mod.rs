//! What nftables and legacy iptables do with packets that pass and leave.
mod iptables;
mod nft;
mod read;
mod walk;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use read::read;
pub use walk::{At, Decision, Nat, Passing, State};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Firewall {
    /// Base chains of the hooks forward, postrouting, input and output, and all that they jump to.
    pub chains: Vec<Chain>,
}

#[cfg(test)]
impl Firewall {
    /// A legacy one, as iptables-save prints it.
    pub fn of_save(text: &str) -> Firewall {
        Firewall {
            chains: iptables::parse(text, Backend::IptablesLegacy),
        }
    }
}

/// Whose rules a chain's are. All of them see every packet, in order of priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    #[default]
    Nft,
    /// nftables' tables that iptables-nft made and shows.
    IptablesNft,
    Ip6tablesNft,
    IptablesLegacy,
    Ip6tablesLegacy,
}

impl Backend {
    /// The command that shows and changes them.
    pub const fn command(self) -> &'static str {
        match self {
            Backend::Nft => "nft",
            Backend::IptablesNft => "iptables-nft",
            Backend::Ip6tablesNft => "ip6tables-nft",
            Backend::IptablesLegacy => "iptables-legacy",
            Backend::Ip6tablesLegacy => "ip6tables-legacy",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chain {
    pub backend: Backend,
    /// `ip`, `ip6`, `inet`, `bridge`, `netdev`.
    pub family: String,
    pub table: String,
    pub name: String,
    /// `forward`, `postrouting` …; absent of a chain that is only jumped to.
    pub hook: Option<String>,
    /// Of a base chain: `filter`, `nat`, `route`.
    pub kind: Option<String>,
    pub priority: Option<i32>,
    /// What becomes of packets that no rule decided on: `accept`, `drop`.
    pub policy: Option<String>,
    pub rules: Vec<FirewallRule>,
}

/// One rule, as far as it decides on overlay traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirewallRule {
    /// As its own tool prints it.
    pub text: String,
    /// Handle (nft) or number within the chain (iptables), by which it is deleted.
    pub handle: Option<u64>,
    /// Only packets of IPv6 (true) or IPv4 (false).
    pub ipv6: Option<bool>,
    /// Of several one must hold, and each negated one.
    pub source: Vec<Match<IpNet>>,
    pub destination: Vec<Match<IpNet>>,
    /// Names, `+` or `*` at the end stands for any rest.
    pub iif: Vec<Match<String>>,
    pub oif: Vec<Match<String>>,
    /// `tcp`, `udp`, `icmp` …
    pub protocol: Vec<Match<String>>,
    pub source_ports: Vec<(u16, u16)>,
    pub destination_ports: Vec<(u16, u16)>,
    /// Conntrack states, one of them: `new`, `established`, `related`, `invalid` …
    pub states: Vec<String>,
    pub mark: Option<Mark>,
    /// It writes the packet's mark: later rules see another.
    pub sets_mark: bool,
    /// It has conditions that are none of the above: whether it applies is not known.
    pub others: bool,
    pub verdict: Verdict,
    /// Packets that it met, where counted.
    pub packets: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match<T> {
    pub value: T,
    pub negated: bool,
}

/// A condition on the packet's mark: `mark & mask == value`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    pub value: u32,
    pub mask: u32,
    pub negated: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It only counts, logs or marks: the next rule decides.
    #[default]
    Continue,
    Accept,
    Drop,
    Reject,
    Return,
    Jump(String),
    Goto(String),
    Masquerade {
        fully_random: bool,
    },
    Snat {
        to: String,
        fully_random: bool,
    },
    Dnat {
        to: String,
    },
    /// To a queue, another namespace, …: not known here.
    Other(String),
}
