//! Services and their upstreams, as a registry's keys tell them to a balancer.
use crate::context::registry::{ApiVersion, Key};

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
    pub upstreams: Vec<Upstream<'a>>,
}
