//! Services and their upstreams, as a registry's keys tell them to a balancer.
mod schema;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::context::registry::{ApiVersion, Key};

pub use schema::{alike, names_a_set};
pub use value::{is_path, of_server};

/// The services below a prefix, by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services<'a> {
    /// `/haproxy-discover`.
    pub prefix: String,
    pub all: Vec<Service<'a>>,
}

/// What became of a connection that was tried to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Accepts,
    /// A reset: the host is there, and nothing listens.
    Refuses,
    /// Nothing came back in time.
    Silent,
    /// The system's word for it: `EHOSTUNREACH`.
    NoWay(String),
}

/// Upstreams that were tried.
pub type Probes = BTreeMap<SocketAddr, Answer>;

/// How keys stand for services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Schema {
    /// `/haproxy-discover/services/<s>/{domain,url_reg}`, `…/upstreams/<u>` = `ip:port`;
    /// `/haproxy-discover/tcp-services`.
    HaproxyConfd,
    /// `<prefix>/<name>/<host:container:port>` = `ip:port`.
    Registrator,
    /// `/skydns/<reversed labels>/…` = `{host,port,…}`.
    SkyDns,
    /// `/vulcand/backends/<b>/servers/<s>` = `{"URL":…}`.
    Vulcand,
    /// `traefik/http/services/<s>/loadbalancer/servers/<n>/url`.
    Traefik,
    /// `/coreos.com/network/…`: leases, which are no upstreams.
    Flannel,
    /// None of them: what looks like an upstream by its value.
    Shape,
}

/// The host part of an upstream, as a balancer takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// There is none: `:80`, `http://:80`, `{"host":"",…}`.
    Blank,
    Address(std::net::IpAddr),
    /// A name that has to be resolved.
    Name(String),
    /// `*`.
    Any,
}

/// What a value means to who connects to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Upstream {
        host: Host,
        port: Option<u16>,
    },
    /// A balancer's check refuses it: why, in a phrase.
    Refused(String),
}

/// One upstream of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream<'a> {
    /// `frontend2`.
    pub name: String,
    pub key: &'a Key,
    /// The value as text, control characters and all; long ones cut.
    pub value: String,
    pub target: Target,
}

/// A service with its upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service<'a> {
    pub schema: Schema,
    pub api: ApiVersion,
    /// `myapp`.
    pub name: String,
    /// Its folder: `/haproxy-discover/services/myapp`.
    pub place: String,
    /// `myapp.org`, of layouts that have one.
    pub domain: Option<String>,
    /// What shows that it is there, beside its upstreams: its `domain`, an empty directory.
    pub entry: Option<&'a Key>,
    pub upstreams: Vec<Upstream<'a>>,
}

impl Service<'_> {
    /// Whether a template writes its values into a balancer's configuration as they are.
    pub fn is_plain(&self) -> bool {
        matches!(
            self.schema,
            Schema::HaproxyConfd | Schema::Registrator | Schema::Shape
        )
    }
}

impl Upstream<'_> {
    /// Where a connection to it goes, where its value tells.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.target {
            Target::Upstream {
                host: Host::Address(ip),
                port: Some(port),
            } => Some(SocketAddr::new(ip, port)),
            _ => None,
        }
    }

    pub fn host(&self) -> Option<&Host> {
        match &self.target {
            Target::Upstream { host, .. } => Some(host),
            Target::Refused(_) => None,
        }
    }

    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self.host()? {
            Host::Address(ip) => Some(*ip),
            _ => None,
        }
    }

    pub fn port(&self) -> Option<u16> {
        match self.target {
            Target::Upstream { port, .. } => port,
            Target::Refused(_) => None,
        }
    }
}
