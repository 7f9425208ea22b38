//! A big host: many routes of a BGP daemon's and of flannel's, the leases behind them, and for
//! each lease what flanneld programs.
use std::net::IpAddr;

use netdig::context::net::{
    Address, Answer, FdbEntry, Link, LinkKind, Lookup, Neighbour, NextHop, Role, Route, RouteKind,
    TABLE_MAIN, Vxlan,
};
use netdig::context::registry::{Api, ApiVersion, Key, Value};
use netdig::context::{Context, SCHEMA};

/// Subnets of /26 in 10.0.0.0/8.
const NETWORK: &str = r#"{"Network":"10.0.0.0/8","SubnetLen":26,"Backend":{"Type":"vxlan"}}"#;

/// Peers that the kernel was asked about.
const LOOKUPS: usize = 4000;

/// A context with this many routes, and a lease for each fifth of them, with its neighbour in the
/// tunnel, its fdb entry, and its host beside this one.
pub fn world(routes: usize) -> Context {
    let mut context = Context {
        schema: SCHEMA.to_owned(),
        ..Context::default()
    };
    let link = |name: &str, kind| Link {
        name: name.to_owned(),
        kind,
        up: true,
        mtu: 1500,
        ..Link::default()
    };
    context.net.links.push(link("eth0", LinkKind::Physical));
    context.net.links.push(link(
        "flannel.1",
        LinkKind::Vxlan(Vxlan {
            vni: 1,
            port: 8472,
            ..Vxlan::default()
        }),
    ));
    let address = |link: &str, net: &str| Address {
        link: link.to_owned(),
        net: net.parse().expect("an address"),
        peer: None,
        scope: "global".to_owned(),
        secondary: false,
    };
    context.net.addresses.push(address("eth0", "172.16.0.1/12"));
    context
        .net
        .addresses
        .push(address("flannel.1", "10.0.0.64/32"));
    let leases = routes / 5;
    for n in 1..=leases {
        let subnet = subnet(n);
        context.registry.keys.push(lease(n, &subnet));
        // The first lease is this host's own.
        if n > 1 {
            let via = subnet.parse().ok();
            context
                .net
                .routes
                .push(route(&format!("{subnet}/26"), "flannel.1", via));
            programmed(&mut context, n, &subnet);
        }
    }
    for n in 0..routes - leases {
        let gateway = "172.16.0.2".parse().ok();
        let to = format!("{}.{}.{}.0/24", 20 + (n >> 16), (n >> 8) & 255, n & 255);
        context.net.routes.push(route(&to, "eth0", gateway));
    }
    context.registry.v3 = Api::Read {
        cluster: None,
        revision: 1,
    };
    context
        .registry
        .keys
        .push(key("/coreos.com/network/config", NETWORK));
    context
}

/// The same after an outage: nothing of the kernel's is what the registry says. One half of the
/// leases has ended, the other's routes lead to another peer, hosts name addresses within their
/// own subnets, and this host has thousands of addresses.
#[allow(dead_code)] // The benchmark includes this file too.
pub fn broken(routes: usize) -> Context {
    let mut context = world(routes);
    let net = &mut context.net;
    for n in 1..=routes / 20 {
        let own = format!("172.31.{}.{}/32", (n >> 8) & 255, n & 255);
        net.addresses.push(Address {
            link: "eth0".to_owned(),
            net: own.parse().expect("an address"),
            peer: None,
            scope: "global".to_owned(),
            secondary: true,
        });
    }
    let leases = routes / 5;
    for (n, route) in (2..).zip(net.routes.iter_mut().take(leases - 1)) {
        let other = subnet(if n == 2 { 3 } else { 2 });
        route.hops[0].via = other.parse().ok();
    }
    // This host's lease is the first, and the configuration the last of the keys.
    let keys = &mut context.registry.keys;
    keys.drain(1..leases / 2);
    let last = keys.len() - 1;
    for (n, key) in (leases / 2 + 1..).zip(&mut keys[1..last]).step_by(2) {
        let address = subnet(n);
        key.value = Value::Text(format!(
            r#"{{"PublicIP":"{address}","BackendType":"vxlan","BackendData":{{"VNI":1}}}}"#
        ));
    }
    context
}

/// What flanneld and the kernel know of a peer.
fn programmed(context: &mut Context, n: usize, subnet: &str) {
    let public: IpAddr = public(n).parse().expect("an address");
    let net = &mut context.net;
    let neighbour = |link: &str, address: IpAddr, state: &str| Neighbour {
        link: link.to_owned(),
        address,
        mac: Some(mac(n)),
        state: state.to_owned(),
    };
    let vtep = subnet.parse().expect("an address");
    net.neighbours
        .push(neighbour("flannel.1", vtep, "PERMANENT"));
    net.neighbours.push(neighbour("eth0", public, "STALE"));
    net.fdb.push(FdbEntry {
        link: "flannel.1".to_owned(),
        mac: mac(n),
        dst: Some(public),
        permanent: true,
        vni: None,
        port: None,
    });
    if n <= LOOKUPS {
        net.lookups.push(Lookup {
            destination: public,
            roles: vec![Role::Peer],
            answer: Answer::Way {
                kind: RouteKind::Unicast,
                dev: Some("eth0".to_owned()),
                via: None,
                source: None,
                table: TABLE_MAIN,
                matched: None,
            },
        });
    }
}

fn public(n: usize) -> String {
    format!("172.{}.{}.{}", 16 + (n >> 16), (n >> 8) & 255, n & 255)
}

fn mac(n: usize) -> String {
    let [_, a, b, c] = (n as u32).to_be_bytes();
    format!("02:00:00:{a:02x}:{b:02x}:{c:02x}")
}

fn subnet(n: usize) -> String {
    let at = n * 64;
    format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255)
}

fn lease(n: usize, subnet: &str) -> Key {
    let (public, mac) = (public(n), mac(n));
    let value = format!(
        r#"{{"PublicIP":"{public}","BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"{mac}"}}}}"#
    );
    key(&format!("/coreos.com/network/subnets/{subnet}-26"), &value)
}

fn key(name: &str, value: &str) -> Key {
    Key {
        api: ApiVersion::V3,
        key: name.to_owned(),
        value: Value::Text(value.to_owned()),
        created: 1,
        modified: 1,
        ..Key::default()
    }
}

fn route(to: &str, dev: &str, via: Option<std::net::IpAddr>) -> Route {
    Route {
        to: to.parse().expect("a prefix"),
        kind: RouteKind::Unicast,
        table: TABLE_MAIN,
        metric: 0,
        hops: vec![NextHop {
            via,
            dev: Some(dev.to_owned()),
            onlink: true,
            weight: 1,
            down: false,
        }],
        source: None,
        protocol: "bird".to_owned(),
        scope: "global".to_owned(),
        mtu: None,
    }
}
