//! What the headers of rarer tunnels say, and payloads on their ports that are
//! none.

mod build;

use build::{ipv4, ipv6, names, raw, udp_between};
use decoders::{Encap, Layer, LinkType, MAX_ENCAPSULATIONS, Ports, Reason, decode};
use std::net::Ipv4Addr;

fn between(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    ipv4(17, &udp_between(source, destination, payload))
}

fn over_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    between(40000, port, payload)
}

/// A datagram to a port that carries nothing.
fn inner() -> Vec<u8> {
    over_udp(7, b"abc")
}

fn frame() -> Vec<u8> {
    [&[2; 12][..], &[8, 0], &inner()].concat()
}

#[test]
fn group_policy_of_vxlan() {
    let data = over_udp(
        6784,
        &[&[0x88, 0x40, 0, 42, 0, 1, 2, 0], &frame()[..]].concat(),
    );
    let packet = raw(&data);
    let Layer::Vxlan(vxlan) = &packet.layers[2] else {
        panic!("VXLAN, not {:?}", names(&packet));
    };
    assert_eq!((vxlan.vni(), vxlan.group()), (258, Some(42)));
    assert!(vxlan.dont_learn() && !vxlan.policy_applied());
}

#[test]
fn vxlan_gpe_names_what_follows() {
    for (flags, next, name, layer) in [
        (0x0c, 1, Some("ipv4"), None),
        (0x0c, 4, Some("nsh"), None),
        (0x08, 0, Some("ethernet"), None),
        (0x0c, 99, None, Some(Reason::Form("this next protocol"))),
    ] {
        let payload = match name {
            Some("ethernet") => frame(),
            Some("nsh") => [&[0, 2, 2, 1, 0, 0, 9, 255], &inner()[..]].concat(),
            _ => inner(),
        };
        let data = over_udp(
            4790,
            &[&[flags, 0, 0, next, 0, 1, 2, 0], &payload[..]].concat(),
        );
        let packet = raw(&data);
        let Layer::VxlanGpe(header) = &packet.layers[2] else {
            panic!("VXLAN-GPE, not {:?}", names(&packet));
        };
        assert_eq!((header.vni(), header.version()), (258, 0));
        assert_eq!(header.next_protocol_name(), name);
        assert_eq!(packet.stop.map(|stop| stop.reason), layer);
        assert_eq!(packet.encapsulations().next().unwrap().vni, Some(258));
    }
}

#[test]
fn gtp_u_with_extension_headers() {
    let optional = [0, 9, 3, 0xc0, 1, 0x12, 0x34, 0x85, 2, 1, 2, 3, 4, 5, 6, 0];
    let payload = inner();
    let length = (optional.len() + payload.len()) as u16;
    let mut header = vec![0x37, 255];
    header.extend(length.to_be_bytes());
    header.extend([0xde, 0xad, 0xbe, 0xef]);
    let data = over_udp(2152, &[&header, &optional[..], &payload].concat());
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "udp", "gtp-u", "ipv4", "udp"]);
    let Layer::GtpU(gtp) = &packet.layers[2] else {
        panic!("GTP-U");
    };
    assert_eq!((gtp.teid(), gtp.length()), (0xdead_beef, length));
    assert_eq!((gtp.sequence(), gtp.npdu()), (Some(9), Some(3)));
    let extensions: Vec<_> = gtp
        .extensions()
        .map(|one| (one.kind, one.content))
        .collect();
    assert_eq!(
        extensions,
        [(0xc0, &[0x12, 0x34][..]), (0x85, &[1, 2, 3, 4, 5, 6])]
    );
    let tunnel = packet.encapsulations().next().unwrap();
    assert_eq!((tunnel.protocol, tunnel.teid), ("gtp-u", Some(0xdead_beef)));
    assert_eq!(tunnel.outer.unwrap().destination_port, Some(2152));
    // One that has no length would be read for ever.
    let mut endless = data.clone();
    endless[20 + 8 + 12] = 0;
    let packet = raw(&endless);
    assert!(matches!(packet.stop.unwrap().reason, Reason::Malformed(_)));
}

#[test]
fn gtp_u_of_the_ends_themselves_is_no_tunnel() {
    let echo = [0x32, 2, 0, 6, 0, 0, 0, 0, 0, 9, 0, 0, 14, 0];
    // An answer is known by the port that it comes from.
    let data = between(2152, 40000, &echo);
    let packet = raw(&data);
    assert_eq!(
        (names(&packet), packet.stop),
        (vec!["ipv4", "udp", "gtp-u"], None)
    );
    assert_eq!(packet.encapsulations().count(), 0);
    assert_eq!(packet.udp().unwrap().source_port(), 2152);
}

#[test]
fn labels_of_mpls() {
    let stack = [0, 1, 0x0a, 64, 0xff, 0xff, 0xff, 9];
    let data = ipv4(137, &[&stack, &inner()[..]].concat());
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "mpls", "ipv4", "udp"]);
    let Layer::Mpls(mpls) = &packet.layers[1] else {
        panic!("MPLS");
    };
    let labels: Vec<_> = mpls
        .labels()
        .map(|one| (one.label, one.tc, one.bottom, one.ttl))
        .collect();
    assert_eq!(labels, [(16, 5, false, 64), (0xf_ffff, 7, true, 9)]);
    let tunnels: Vec<_> = packet.encapsulations().collect();
    assert_eq!((tunnels.len(), tunnels[0].label), (1, Some(0xf_ffff)));
    // No bottom.
    let data = ipv4(137, &[0, 1, 0, 64].repeat(3));
    let stop = raw(&data).stop.unwrap();
    assert_eq!(stop.layer, "mpls");
    assert!(matches!(stop.reason, Reason::TooShort { needed: 16, .. }));
}

#[test]
fn pseudowires_with_and_without_control_word() {
    for before in [&[0, 1, 1, 64][..], &[0, 1, 1, 64, 0, 0, 0, 7]] {
        let data = over_udp(6635, &[before, &frame()].concat());
        let packet = raw(&data);
        assert_eq!(names(&packet)[2..], ["mpls", "eth", "ipv4", "udp"]);
        assert_eq!(packet.stop, None);
    }
    let data = over_udp(
        6635,
        &[&[0, 1, 1, 64], &[0x10, 0, 0, 7][..], &[7; 30]].concat(),
    );
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "udp", "mpls", "pwach"]);
    assert_eq!(packet.stop, None);
    let channel = [&[0, 1, 1, 64, 0x10, 0, 0, 0x21][..], &inner()].concat();
    let data = over_udp(6635, &channel);
    assert_eq!(names(&raw(&data))[3..], ["pwach", "ipv4", "udp"]);
}

#[test]
fn generic_udp_encapsulation_of_both_versions() {
    // Optional fields of eight bytes, then GRE.
    let gre = [&[0, 0, 8, 0], &inner()[..]].concat();
    let data = over_udp(
        6080,
        &[&[2, 47, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &gre[..]].concat(),
    );
    let packet = raw(&data);
    assert_eq!(names(&packet)[2..], ["gue", "gre", "ipv4", "udp"]);
    let Layer::Gue(gue) = &packet.layers[2] else {
        panic!("GUE");
    };
    assert_eq!(
        (gue.version(), gue.protocol(), gue.flags()),
        (0, Some(47), Some(1))
    );
    let data = over_udp(6080, &[&[0, 4, 0, 0], &inner()[..]].concat());
    assert_eq!(names(&raw(&data))[2..], ["gue", "ipv4", "udp"]);
    for bare in [inner(), ipv6(59, b"")] {
        let data = over_udp(6080, &bare);
        let packet = raw(&data);
        let Layer::Gue(gue) = &packet.layers[2] else {
            panic!("GUE");
        };
        assert_eq!((gue.version(), gue.protocol()), (1, None));
        assert_eq!(packet.encapsulations().count(), 1);
    }
}

#[test]
fn teredo_with_all_headers() {
    let authentication = [0, 1, 1, 2, 7, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    let origin = [0, 0, 0x63, 0xbf, 0xf5, 0xff, 0xff, 0xfe];
    let packet_within = ipv6(59, b"");
    let server = Some((Ipv4Addr::new(10, 0, 0, 1), 40000));
    for (header, has_authentication, expected) in [
        (&[][..], false, None),
        (&authentication[..], true, None),
        (&origin[..], false, server),
        (&[&authentication[..], &origin].concat(), true, server),
    ] {
        let data = between(3544, 40000, &[header, &packet_within].concat());
        let packet = raw(&data);
        assert_eq!(names(&packet), ["ipv4", "udp", "teredo", "ipv6"]);
        let Layer::Teredo(teredo) = &packet.layers[2] else {
            panic!("Teredo");
        };
        assert_eq!(teredo.has_authentication(), has_authentication);
        assert_eq!(teredo.origin(), expected);
        assert_eq!(packet.stop, None);
    }
}

/// Names of the sender and of both routers, then the frame's length.
fn sleeve(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![1; 6];
    for frame in frames {
        bytes.extend([2; 6]);
        bytes.extend([3; 6]);
        bytes.extend((frame.len() as u16).to_be_bytes());
        bytes.extend(*frame);
    }
    bytes
}

#[test]
fn sleeve_that_is_not_encrypted() {
    for count in [1, 2] {
        let data = over_udp(6783, &sleeve(&vec![&frame()[..]; count]));
        let packet = raw(&data);
        assert_eq!(names(&packet)[2..], ["weave-sleeve", "eth", "ipv4", "udp"]);
        assert_eq!(packet.stop, None);
        let Layer::WeaveSleeve(sleeve) = &packet.layers[2] else {
            panic!("a sleeve");
        };
        assert_eq!(
            (sleeve.sender(), sleeve.frame_count()),
            (Some(&[1; 6]), count)
        );
        assert_eq!(sleeve.peers(), Some((&[2; 6], &[3; 6])));
        assert_eq!(packet.udp().unwrap().destination_port(), 7);
    }
}

#[test]
fn sleeve_that_is_encrypted_is_named() {
    let data = between(6783, 6783, &[0xa7; 90]);
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "udp", "weave-sleeve"]);
    assert!(matches!(packet.stop.unwrap().reason, Reason::Form(_)));
    // Nothing else speaks for one.
    assert_eq!(names(&raw(&over_udp(6783, &[0xa7; 90]))), ["ipv4", "udp"]);
}

#[test]
fn a_known_port_with_another_shape_is_not_forced() {
    let mut longer = inner();
    longer.push(0);
    let mut ports = Ports::default();
    ports.insert(5555, Encap::Fou);
    for port in [6784, 4790, 2152, 6635, 6080, 5555, 3544, 6783] {
        for payload in [
            &[0xff; 40][..],
            b"",
            b"\xf5",
            b"GET / HTTP/1.1\r\n\r\n",
            &longer,
        ] {
            let data = over_udp(port, payload);
            let packet = decode(LinkType::RawIp, &data, data.len(), &ports);
            assert_eq!(names(&packet), ["ipv4", "udp"], "{port} {payload:x?}");
        }
    }
}

#[test]
fn each_counts_towards_the_limit() {
    type Wrap = fn(&[u8]) -> Vec<u8>;
    let wraps: [(&str, Wrap); 6] = [
        ("vxlan-gpe", |inner| {
            over_udp(4790, &[&[12, 0, 0, 1, 0, 0, 1, 0], inner].concat())
        }),
        ("gtp-u", |inner| {
            let length = (inner.len() as u16).to_be_bytes();
            over_udp(
                2152,
                &[&[0x30, 255], &length[..], &[0, 0, 0, 1], inner].concat(),
            )
        }),
        ("mpls", |inner| {
            over_udp(6635, &[&[0, 1, 1, 64], inner].concat())
        }),
        ("gue", |inner| {
            over_udp(6080, &[&[0, 4, 0, 0], inner].concat())
        }),
        ("fou", |inner| over_udp(5555, inner)),
        ("weave-sleeve", |inner| {
            let frame = [&[2; 12][..], &[8, 0], inner].concat();
            over_udp(6783, &sleeve(&[&frame]))
        }),
    ];
    let mut ports = Ports::default();
    ports.insert(5555, Encap::Fou);
    for (name, wrap) in wraps {
        let mut data = inner();
        for _ in 0..MAX_ENCAPSULATIONS {
            data = wrap(&data);
        }
        let packet = decode(LinkType::RawIp, &data, data.len(), &ports);
        assert_eq!(packet.stop, None, "{name}");
        assert_eq!(
            packet.encapsulations().count(),
            MAX_ENCAPSULATIONS,
            "{name}"
        );
        let data = wrap(&data);
        let packet = decode(LinkType::RawIp, &data, data.len(), &ports);
        let stop = packet.stop.unwrap();
        assert_eq!((stop.layer, stop.reason), (name, Reason::TooDeep));
    }
}
