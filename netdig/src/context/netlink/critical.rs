//! Destinations that matter: those whose loss stops the host's names, its overlay or its
//! services.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::context::Context;
use crate::context::flannel::{self, Lease};
use crate::context::net::Role;

/// What the rest of a context names: nameservers (those behind a stub too), gateways, etcd's
/// endpoints, the leases' public addresses, an address in each remote subnet, and the
/// balancers' upstreams. Sorted, each once a role.
pub fn critical(context: &Context) -> Vec<(IpAddr, Role)> {
    let mut found = BTreeSet::new();
    let mut add = |address: IpAddr, role| {
        if can_be_asked(address) {
            found.insert((address, role));
        }
    };
    for nameserver in &context.files.nameservers {
        add(nameserver.address, Role::Nameserver);
    }
    for hop in context.net.routes.iter().flat_map(|route| &route.hops) {
        if let Some(gateway) = hop.via {
            add(gateway, Role::Gateway);
        }
    }
    for endpoint in &context.registry.endpoints {
        if let Some(address) = host_of(&endpoint.url) {
            add(address, Role::Etcd);
        }
    }
    for balancer in &context.files.balancers {
        for server in &balancer.servers {
            if let Some(address) = host_of(&server.address) {
                add(address, Role::Upstream);
            }
        }
    }
    let own: BTreeSet<IpAddr> = context
        .net
        .addresses
        .iter()
        .map(|one| one.net.addr())
        .collect();
    for network in flannel::networks(&context.registry) {
        for lease in &network.leases {
            add_lease(lease, &own, &mut add);
        }
    }
    found.into_iter().collect()
}

fn add_lease(lease: &Lease, own: &BTreeSet<IpAddr>, add: &mut impl FnMut(IpAddr, Role)) {
    for public in lease.publics() {
        add(public, Role::Peer);
    }
    if lease.publics().any(|one| own.contains(&one)) {
        return;
    }
    for subnet in lease.subnets() {
        if let Some(address) = first(subnet) {
            add(address, Role::Subnet);
        }
    }
}

/// The first address that a host can have: where flannel puts the bridge.
fn first(subnet: IpNet) -> Option<IpAddr> {
    match subnet {
        IpNet::V4(subnet) => subnet.hosts().next().map(IpAddr::V4),
        // The network's own address is the routers' anycast address (RFC 4291, 2.6.1).
        IpNet::V6(subnet) => {
            let skipped = usize::from(subnet.prefix_len() < 127);
            subnet.hosts().nth(skipped).map(IpAddr::V6)
        }
    }
}

/// Whether a route look-up makes sense: a link-local address of IPv6 says nothing without its
/// link, and nobody routes to the loopback.
fn can_be_asked(address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

/// The host of a URL, or of an address with or without a port, where it is written in
/// numbers: `http://10.0.0.1:2379/`, `[fd00::1]:80`, `ipv4@10.0.0.1:80`.
fn host_of(text: &str) -> Option<IpAddr> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split('/').next()?;
    // A URL's user, or what haproxy calls the address family.
    let text = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let without_port = || text.rsplit_once(':')?.0.parse().ok();
    bare.parse().ok().or_else(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::files::{Balancer, Nameserver, Place, Server};
    use crate::context::net::{Address, NextHop, Route, RouteKind};
    use crate::context::registry::{Endpoint, Key, Value};

    #[test]
    fn hosts_written_in_numbers_are_found() {
        for (text, host) in [
            ("http://10.0.0.1:2379", Some("10.0.0.1")),
            ("https://root@[fd00::1]:2379/v3", Some("fd00::1")),
            ("https://[fd00::1]/", Some("fd00::1")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("ipv4@10.0.0.1:80", Some("10.0.0.1")),
            ("10.0.0.1:http", Some("10.0.0.1")),
            ("http://etcd:2379", None),
            (":80", None),
            ("unix@/run/socket", None),
            ("", None),
        ] {
            let host = host.map(|host| host.parse::<IpAddr>().expect("an address"));
            assert_eq!(host_of(text), host, "{text}");
        }
    }

    #[test]
    fn the_first_address_of_a_subnet_is_a_hosts() {
        for (subnet, address) in [
            ("10.5.52.0/24", "10.5.52.1"),
            ("10.5.52.7/32", "10.5.52.7"),
            ("10.5.52.6/31", "10.5.52.6"),
            ("fd00:5::/64", "fd00:5::1"),
            ("fd00:5::9/128", "fd00:5::9"),
        ] {
            let subnet = subnet.parse().expect("a subnet");
            assert_eq!(first(subnet), address.parse().ok(), "{subnet}");
        }
    }

    #[test]
    fn what_the_context_names_is_asked_for_once_a_role() {
        let mut context = Context::default();
        for (address, behind_stub) in [
            ("127.0.0.53", false),
            ("10.1.0.2", true),
            ("10.1.0.2", false),
        ] {
            context.files.nameservers.push(Nameserver {
                address: address.parse().expect("an address"),
                place: Place::default(),
                behind_stub,
            });
        }
        context.net.addresses.push(Address {
            link: "eth0".to_owned(),
            net: "10.1.1.95/24".parse().expect("a prefix"),
            peer: None,
            scope: "global".to_owned(),
            secondary: false,
        });
        for via in ["10.1.1.1", "fe80::1", "10.1.1.1"] {
            context.net.routes.push(route(via));
        }
        context.registry.endpoints.push(Endpoint {
            url: "http://10.1.1.3:2379".to_owned(),
            ..Endpoint::default()
        });
        for (subnet, public) in [("10.5.1.0-24", "10.1.1.95"), ("10.5.2.0-24", "10.1.1.187")] {
            context.registry.keys.push(Key {
                key: format!("/coreos.com/network/subnets/{subnet}"),
                value: Value::Text(format!("{{\"PublicIP\":\"{public}\"}}")),
                ..Key::default()
            });
        }
        let server = |address: &str| Server {
            address: address.to_owned(),
            ..Server::default()
        };
        context.files.balancers.push(Balancer {
            servers: vec![server("10.5.2.9:80"), server(":80"), server("localhost:80")],
            ..Balancer::default()
        });
        let found = critical(&context);
        let found: Vec<String> = found
            .iter()
            .map(|(address, role)| format!("{address} {}", role.name()))
            .collect();
        assert_eq!(
            found,
            [
                "10.1.0.2 nameserver",
                "10.1.1.1 gateway",
                "10.1.1.3 etcd",
                "10.1.1.95 peer",
                "10.1.1.187 peer",
                "10.5.2.1 remote subnet",
                "10.5.2.9 upstream",
            ]
        );
    }

    fn route(via: &str) -> Route {
        let via: IpAddr = via.parse().expect("an address");
        Route {
            to: IpNet::new(via, 0).expect("a prefix").trunc(),
            kind: RouteKind::Unicast,
            table: 254,
            metric: 0,
            hops: vec![NextHop {
                via: Some(via),
                ..NextHop::default()
            }],
            source: None,
            protocol: String::new(),
            scope: String::new(),
            mtu: None,
        }
    }
}
