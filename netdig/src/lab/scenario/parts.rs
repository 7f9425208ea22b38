//! What runs in a scenario's network: etcd, servers, announcers, renderers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::Deserialize;

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

/// A real server program. What the file says as `kind` is put around the rest of the
/// table before it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
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
    /// As the file names them.
    pub const KINDS: &[&str] = &["http", "dns", "haproxy", "raw"];

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
