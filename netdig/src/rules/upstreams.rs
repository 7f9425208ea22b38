//! What the rules about services have in common: how an upstream is named, shown and corrected,
//! and where a balancer listens.
use std::net::IpAddr;

use super::etcdctl::put;
use super::renumber::{Verb, etcdctl, operand};
use super::{Draft, View};
use crate::context::files::Bind;
use crate::context::registry::ApiVersion;
use crate::evidence::services::{Host, Service, Upstream};
use crate::finding::Evidence;

/// Upstreams that a title names, and that evidence shows.
const NAMED: usize = 3;
const SHOWN: usize = 8;
/// Characters of a value in a title.
const LONGEST: usize = 60;
/// Programs that hand on what comes to them.
const BALANCERS: [&str; 8] = [
    "caddy", "envoy", "haproxy", "nginx", "pen", "pound", "traefik", "vulcand",
];

pub fn services<'a>(view: &View<'a>) -> &'a [Service<'a>] {
    view.services.map_or(&[], |services| &services.all)
}

/// `` `:80` ``; `nothing` of an empty value.
fn quoted(value: &str) -> String {
    let value = value.trim();
    match value.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("`{}…`", &value[..at]),
        None if value.is_empty() => "nothing".to_owned(),
        None => format!("`{value}`"),
    }
}

/// `/…/upstreams/frontend2 (`:80`), frontend5 (`:80`) and 3 more`: the first by its whole key.
pub fn list(upstreams: &[&Upstream<'_>]) -> String {
    let name = |(at, one): (usize, &&Upstream<'_>)| {
        let name = if at == 0 { &one.key.key } else { &one.name };
        format!("{name} ({})", quoted(&one.value))
    };
    let named: Vec<String> = upstreams.iter().take(NAMED).enumerate().map(name).collect();
    let named = named.join(", ");
    match upstreams.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Tells a service's finding from those of others.
pub fn key(service: &Service<'_>) -> String {
    format!("{} {}", service.api, service.place)
}

pub fn evidence(upstream: &Upstream<'_>) -> Evidence {
    let what = match upstream.key.ttl {
        Some(ttl) => format!("value {}, TTL {ttl} s", quoted(&upstream.value)),
        None => format!("value {}", quoted(&upstream.value)),
    };
    Evidence::new(upstream.key.source(), upstream.key.place(), what)
}

pub fn shown(draft: Draft, upstreams: &[&Upstream<'_>]) -> Draft {
    draft.seen_all(upstreams.iter().take(SHOWN).map(|one| evidence(one)))
}

/// Commands that write another value, and those that take the key away.
pub fn correct(view: &View<'_>, draft: Draft, upstream: &Upstream<'_>, value: &str) -> Draft {
    let key = upstream.key;
    let comment = "# with the service's address and port in place of the capitals:";
    draft
        .fix(comment)
        .fix(put(view, key.api, &key.key, value))
        .fix("# or, if there is no such service any more:")
        .fix(delete(view, upstream))
}

pub fn delete(view: &View<'_>, upstream: &Upstream<'_>) -> String {
    let key = upstream.key;
    let command = etcdctl(view, key.api, Verb::Delete);
    format!("{command} {}", operand(&key.key))
}

/// What shows what stands below a service.
pub fn look(view: &View<'_>, service: &Service<'_>) -> String {
    let command = etcdctl(view, service.api, Verb::List);
    match service.api {
        ApiVersion::V2 => format!("{command} --recursive {}", operand(&service.place)),
        ApiVersion::V3 => format!("{command} {}", operand(&format!("{}/", service.place))),
    }
}

/// What a right value looks like for its layout.
pub fn example(upstream: &Upstream<'_>) -> String {
    let value = upstream.value.trim();
    let port = match upstream.port() {
        Some(port) => port.to_string(),
        None => "PORT".to_owned(),
    };
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    match scheme.filter(|one| one.bytes().all(|c| c.is_ascii_alphanumeric())) {
        Some(scheme) => format!("{scheme}://ADDRESS:{port}"),
        None if value.starts_with('{') && value.contains("://") => {
            format!("{{\"URL\":\"http://ADDRESS:{port}\"}}")
        }
        None if value.starts_with('{') => format!("{{\"host\":\"ADDRESS\",\"port\":{port}}}"),
        None => format!("ADDRESS:{port}"),
    }
}

/// Where an upstream's connections end on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    /// A balancer's: what it sends there comes back to it.
    Balancer(Evidence),
    /// One whose program is not known.
    Unknown(Evidence),
    /// Another program's: a service of this host.
    Service,
    None,
}

/// Who listens on this host where connections to `host` and `port` go; a balancer connects to
/// the address that its client asked for where there is none.
pub fn listener(view: &View<'_>, host: &Host, port: Option<u16>) -> Listener {
    let ip = match host {
        Host::Address(ip) => Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified()),
        Host::Name(_) => Some(IpAddr::from([127, 0, 0, 1])),
        Host::Blank | Host::Any => None,
    };
    let mut binds = view
        .context
        .files
        .balancers
        .iter()
        .flat_map(|one| &one.binds);
    if let Some(bind) = binds.find(|bind| is_bound(bind, ip, port)) {
        let what = format!("the balancer listens: bind {}", bind.address);
        return Listener::Balancer(Evidence::new("file", bind.place.to_string(), what));
    }
    let sockets = view.context.sockets.iter().filter(|socket| {
        socket.state.as_deref() == Some("LISTEN")
            && socket.address().is_some_and(|at| {
                let reached = ip.is_none_or(|ip| takes(at.ip(), ip));
                // Without a port it is the client's, which a balancer has.
                reached && port.is_none_or(|port| port == at.port())
            })
    });
    let mut best = Listener::None;
    for socket in sockets {
        let comm = socket.comm.as_deref();
        let place = socket.local.clone();
        match comm {
            Some(comm) if BALANCERS.iter().any(|one| comm.starts_with(one)) => {
                let what = format!("{comm} listens on it");
                return Listener::Balancer(Evidence::new("socket", place, what));
            }
            Some(_) => best = Listener::Service,
            None if best == Listener::None && port.is_some() => {
                let what = "a program of this host listens on it";
                best = Listener::Unknown(Evidence::new("socket", place, what));
            }
            None => {}
        }
    }
    best
}

fn takes(listening: IpAddr, asked: IpAddr) -> bool {
    let listening = listening.to_canonical();
    listening == asked || listening.is_unspecified() && (listening.is_ipv6() || asked.is_ipv4())
}

/// Whether a `bind` takes what is for an address of this host.
fn is_bound(bind: &Bind, ip: Option<IpAddr>, port: Option<u16>) -> bool {
    let Some((address, ports)) = bind.address.rsplit_once(':') else {
        return false;
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return false;
    };
    let address = ["ipv4@", "ipv6@", "tcp@"]
        .iter()
        .find_map(|family| address.strip_prefix(family))
        .unwrap_or(address)
        .trim_matches(['[', ']']);
    let reached = match (ip, address) {
        (None, _) | (_, "" | "*") => true,
        (Some(ip), text) => text.parse().is_ok_and(|listening| takes(listening, ip)),
    };
    reached && port.is_none_or(|port| (first..=last).contains(&port))
}

/// Whether it is a name or an address that every host has for itself.
pub fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Address(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain"
        }
        Host::Blank | Host::Any => false,
    }
}

/// Whether it is no address but all of them.
pub fn is_any(host: &Host) -> bool {
    match host {
        Host::Address(ip) => ip.to_canonical().is_unspecified(),
        Host::Any => true,
        Host::Blank | Host::Name(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::*;

    fn kind(lines: &str, host: &Host, port: Option<u16>) -> &'static str {
        let context = context(lines);
        match listener(&View::new(&context, None), host, port) {
            Listener::Balancer(_) => "balancer",
            Listener::Unknown(_) => "unknown",
            Listener::Service => "service",
            Listener::None => "none",
        }
    }

    #[test]
    fn who_listens() {
        let loopback = Host::Address("127.0.1.1".parse().expect("an address"));
        let own = Host::Address("10.1.1.95".parse().expect("an address"));
        for (lines, host, port, wanted) in [
            ("bind :80", &loopback, Some(80), "balancer"),
            ("bind *:8000-8090", &loopback, Some(8080), "balancer"),
            ("bind 10.1.1.95:80", &loopback, Some(80), "none"),
            ("bind 10.1.1.95:80", &own, Some(80), "balancer"),
            ("bind 10.1.1.95:80", &Host::Blank, Some(80), "balancer"),
            ("bind [::]:80", &own, Some(80), "balancer"),
            ("bind :80", &own, Some(81), "none"),
            ("bind :80", &Host::Any, None, "balancer"),
            ("bind /run/a.sock", &own, None, "none"),
            ("listens 0.0.0.0:80 haproxy", &own, Some(80), "balancer"),
            ("listens [::]:80", &own, Some(80), "unknown"),
            ("listens 127.0.1.1:80 app", &loopback, Some(80), "service"),
            ("", &own, Some(80), "none"),
        ] {
            assert_eq!(kind(lines, host, port), wanted, "{lines} {host:?}");
        }
    }
}
