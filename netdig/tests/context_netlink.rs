//! What netlink is read to say, against what iproute2 says, in namespaces of the tests' own:
//! the tables below, and here look-ups, changes and what else moves.
#[path = "context_netlink/links.rs"]
mod links;
#[path = "context_netlink/net.rs"]
mod net;
#[path = "context_netlink/routes.rs"]
mod routes;
#[path = "context_netlink/rules.rs"]
mod rules;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netdig::context::net::{Answer, Role, Route, table_name};
use netdig::context::{Context, Part, namespace, netlink};

use net::{ADDRESSES, LINKS, Net, ROUTES, debug, or_empty, run, text};
use routes::ip_route;

#[test]
fn look_ups_are_the_kernels() {
    let Some(net) = Net::new("lookups") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    net.ip(ROUTES);
    net.ip("rule add to 10.4.0.0/16 lookup 1000 priority 10");
    let mut context = net.read();
    let found = [
        "8.8.8.8",
        "10.1.7.7",
        "10.1.13.9",
        "10.4.1.1",
        "10.9.9.2",
        "192.168.0.1",
        "10.20.0.9",
        "fd00::77",
        "fd00:2::5",
        "2001:db8::1",
        "fd00:6::1",
    ];
    let refused = [
        ("10.5.0.1", "EHOSTUNREACH"),
        ("10.6.0.1", "EINVAL"),
        ("fd00:4::1", "EHOSTUNREACH"),
        ("fd00:5::1", "EINVAL"),
    ];
    let mut wanted: Vec<(IpAddr, Role)> = Vec::new();
    for text in found.iter().chain(refused.iter().map(|(text, _)| text)) {
        wanted.push((text.parse().expect("an address"), Role::Upstream));
        wanted.push((text.parse().expect("an address"), Role::Nameserver));
    }
    net.inside(|| netlink::look_up(&mut context, &wanted));
    assert_eq!(context.unread, []);
    assert_eq!(context.net.lookups.len(), found.len() + refused.len());
    for lookup in &context.net.lookups {
        assert_eq!(lookup.roles, [Role::Nameserver, Role::Upstream]);
        let destination = lookup.destination.to_string();
        if let Some((_, error)) = refused.iter().find(|(text, _)| *text == destination) {
            assert_eq!(
                lookup.answer,
                Answer::Refused((*error).to_owned()),
                "{destination}"
            );
            continue;
        }
        let Answer::Way {
            dev,
            via,
            source,
            matched,
            table,
            ..
        } = &lookup.answer
        else {
            panic!("{lookup:?}");
        };
        let way = &net.json(&["ip", "route", "get", &destination])[0];
        let fib = &net.json(&["ip", "route", "get", "fibmatch", &destination])[0];
        assert_eq!(or_empty(source.as_ref()), text(way, "prefsrc"), "{way}");
        assert_eq!(or_empty(dev.as_ref()), text(way, "dev"), "{way}");
        // Of several hops the kernel takes one at each question.
        if fib["nexthops"].is_null() {
            assert_eq!(or_empty(via.as_ref()), text(way, "gateway"), "{way}");
        }
        let words = ip_route(fib, lookup.destination.is_ipv6());
        let start = format!(
            " {} table {} ",
            or_empty(matched.as_ref()),
            table_name(*table)
        );
        assert!(words.contains(&start), "{start} in {words}");
    }
}

/// What a follower says within a deadline, asked until `parts` are among it.
fn wait_for(follower: &mut netlink::Follower, parts: &[Part]) -> netlink::Changes {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut changes = netlink::Changes::default();
    while !parts.iter().all(|&part| changes.has(part)) {
        assert!(Instant::now() < deadline, "{parts:?} in {changes:?}");
        std::thread::yield_now();
        changes.add(follower.changes());
    }
    changes
}

#[test]
fn what_changes_is_told_and_read_again() {
    let Some(net) = Net::new("follow") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    let mut follower = net.inside(netlink::Follower::open).expect("a follower");
    let mut context = net.read();
    let nameserver: IpAddr = "10.44.0.9".parse().expect("an address");
    net.inside(|| netlink::look_up(&mut context, &[(nameserver, Role::Nameserver)]));
    // A bridge may still be learning of its ports.
    let changes = follower.changes();
    assert!(
        !changes.has(Part::Routes) && !changes.has(Part::PolicyRules),
        "{changes:?}"
    );
    let refused = Answer::Refused("ENETUNREACH".to_owned());
    assert_eq!(context.net.lookups[0].answer, refused);

    net.ip("route add 10.44.0.0/16 dev flannel0");
    let changes = wait_for(&mut follower, &[Part::Routes]);
    net.inside(|| netlink::refresh(&mut context, &changes));
    let to = "10.44.0.0/16".parse().expect("a prefix");
    let route = context.net.routes.iter().find(|route| route.to == to);
    assert_eq!(route.and_then(Route::dev), Some("flannel0"));
    assert_eq!(context.net.lookups[0].dev(), Some("flannel0"));

    // Every group, each with what is to be seen of it; the route goes with its link.
    net.ip("rule add fwmark 7 lookup 9 priority 77
-6 rule add fwmark 7 lookup 9 priority 78
neigh add 192.168.0.77 lladdr 02:00:00:00:00:77 dev e0 nud permanent
addr add 192.168.7.7/32 dev e0
addr add fd00:77::1/64 dev e0 nodad
link set down0 name renamed0
link delete flannel0");
    run(
        "bridge",
        &[
            "-n",
            &net.0,
            "fdb",
            "append",
            "02:00:00:00:00:99",
            "dev",
            "flannel.1",
            "dst",
            "10.1.1.99",
        ],
        "",
    );
    let parts = [
        Part::Links,
        Part::Addresses,
        Part::PolicyRules,
        Part::Neighbours,
        Part::Fdb,
    ];
    let changes = wait_for(&mut follower, &parts);
    net.inside(|| netlink::refresh(&mut context, &changes));
    assert_eq!(context.net.lookups[0].answer, refused);
    let mut anew = net.read();
    anew.net.lookups = context.net.lookups.clone();
    // A neighbour's state moves on by itself.
    for one in context
        .net
        .neighbours
        .iter_mut()
        .chain(&mut anew.net.neighbours)
    {
        one.state.clear();
    }
    assert_eq!(debug(&context.net), debug(&anew.net));
    assert!(context.net.link("renamed0").is_some());
    assert!(context.net.routes.iter().all(|route| route.to != to));
}

#[test]
fn a_namespace_that_is_not_entered_keeps_its_own_links() {
    let Some(net) = Net::new("inside") else {
        return;
    };
    net.ip(LINKS);
    let outside = std::fs::read_link("/proc/thread-self/ns/net").expect("a link");
    let inside = net
        .inside(|| std::fs::read_link("/proc/thread-self/ns/net"))
        .expect("a link");
    assert_ne!(outside, inside);
    assert_eq!(
        std::fs::read_link("/proc/thread-self/ns/net").expect("a link"),
        outside
    );
    let own = namespace::inside(None, || std::fs::read_link("/proc/thread-self/ns/net"));
    assert_eq!(own.expect("here").expect("a link"), outside);
    let names = net.read().net.links.len();
    assert!(names > 10, "{names}");
}

#[test]
fn a_flood_of_changes_says_that_everything_changed() {
    let Some(net) = Net::new("flood") else {
        return;
    };
    net.ip(LINKS);
    let mut follower = net.inside(netlink::Follower::open).expect("a follower");
    let line = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("route add 10.{a}.{b}.{c}/32 dev br0\n")
    };
    net.ip(&(0..40_000).map(line).collect::<String>());
    assert_eq!(follower.changes(), netlink::Changes::all());
    // It hears on behind the gap.
    net.ip("rule add fwmark 7 lookup 9 priority 77");
    let changes = wait_for(&mut follower, &[Part::PolicyRules]);
    assert!(!changes.has(Part::Links), "{changes:?}");
    // A table that is longer than a buffer is read whole.
    let routes = net.read().net.routes;
    let added = routes.iter().filter(|route| route.protocol == "boot");
    assert_eq!(added.count(), 40_000);
}

/// Turns a link's checksum offload off, as `ethtool -K LINK tx off`.
fn checksums_off(link: &str) {
    /// Command of linux/ethtool.h.
    const ETHTOOL_STXCSUM: u32 = 0x17;
    let mut words = [ETHTOOL_STXCSUM, 0];
    // SAFETY: zeros are a valid ifreq; it points to the words, which outlive the call.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let result = libc::ioctl(socket, libc::SIOCETHTOOL as _, &raw mut request);
        libc::close(socket);
        result
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn offloads_of_a_vxlan_and_its_underlay_are_read() {
    const NAME: &str = "tx-checksum-ip-generic";
    let Some(net) = Net::new("offloads") else {
        return;
    };
    net.ip(LINKS);
    let offload = |context: &Context, link: &str| {
        let link = context.net.link(link).expect("the link");
        link.offloads.get(NAME).copied()
    };
    let before = net.read();
    let seen = ["flannel.1", "e0", "br0"].map(|link| offload(&before, link));
    assert_eq!(seen, [Some(true), Some(true), None]);
    net.inside(|| checksums_off("flannel.1"));
    let after = net.read();
    let seen = ["flannel.1", "e0", "br0"].map(|link| offload(&after, link));
    assert_eq!(seen, [Some(false), Some(true), None]);
}
