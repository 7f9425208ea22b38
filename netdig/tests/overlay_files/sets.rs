//! Captures by kind. Each frame has another second and nanosecond.

use super::build::*;
use super::protocols;
use super::streams;

/// One file: its name, link type (LINKTYPE registry) and frames.
pub struct Set {
    pub name: &'static str,
    pub link: u32,
    pub frames: Vec<Vec<u8>>,
}

pub fn set(name: &'static str, link: u32, frames: Vec<Vec<u8>>) -> Set {
    Set { name, link, frames }
}

const RAW: u32 = 101;
const ETHERNET: u32 = 1;
/// Flannel hosts and the hosts' own addresses.
const POD_A: [u8; 4] = [10, 244, 1, 7];
const POD_B: [u8; 4] = [10, 244, 2, 9];

pub fn all() -> Vec<Set> {
    let payloads = payloads();
    let inner_v6: Vec<Vec<u8>> = inner_v6();
    let each = |wrap: &dyn Fn(&Vec<u8>) -> Vec<u8>| payloads.iter().map(wrap).collect::<Vec<_>>();
    let each_v6 =
        |wrap: &dyn Fn(&Vec<u8>) -> Vec<u8>| inner_v6.iter().map(wrap).collect::<Vec<_>>();
    let vxlan = |flags, vni: u32, inner: &[u8]| {
        let word = (vni << 8).to_be_bytes();
        cat(&[&[flags, 0, 0, 0], &word, &ethernet(0x0800, inner)])
    };
    let mut sets = vec![
        set("raw", RAW, each(&|p| p.clone())),
        set("raw-ipv4", 228, each(&|p| p.clone())),
        set("raw-ipv6", 229, inner_v6.clone()),
        set(
            "raw-of-both",
            RAW,
            [payloads.clone(), inner_v6.clone()].concat(),
        ),
        set("ethernet", ETHERNET, each(&|p| ethernet(0x0800, p))),
        set("ethernet-v6", ETHERNET, each_v6(&|p| ethernet(0x86dd, p))),
        set(
            "padded",
            ETHERNET,
            each(&|p| {
                let mut frame = ethernet(0x0800, p);
                frame.resize(frame.len().max(60), 0);
                frame
            }),
        ),
        set(
            "vlan",
            ETHERNET,
            each(&|p| ethernet(0x8100, &cat(&[&[0xa0, 5, 8, 0], p]))),
        ),
        set(
            "qinq",
            ETHERNET,
            each(&|p| ethernet(0x88a8, &cat(&[&[0, 5, 0x81, 0, 0, 6, 8, 0], p]))),
        ),
        set(
            "flannel-udp",
            RAW,
            each(&|p| ipv4(A, B, 17, &udp(8285, 8285, p))),
        ),
        set(
            "flannel-udp-off-a-link",
            ETHERNET,
            each(&|p| ethernet(0x0800, &ipv4(A, B, 17, &udp(8285, 8285, p)))),
        ),
        set(
            "vxlan-4789",
            ETHERNET,
            each(&|p| {
                ethernet(
                    0x0800,
                    &ipv4(A, B, 17, &udp(51234, 4789, &vxlan(8, 4097, p))),
                )
            }),
        ),
        set(
            "vxlan-8472",
            ETHERNET,
            each(&|p| {
                ethernet(
                    0x0800,
                    &ipv4(A, B, 17, &udp(51234, 8472, &vxlan(0x88, 1, p))),
                )
            }),
        ),
        set(
            "vxlan-over-v6",
            ETHERNET,
            each(&|p| {
                ethernet(
                    0x86dd,
                    &ipv6(17, 64, &udp(51234, 4789, &vxlan(8, 0xff_ffff, p))),
                )
            }),
        ),
        set(
            "geneve",
            ETHERNET,
            each(&|p| {
                let header = [0, 0, 0x65, 0x58, 0x01, 0x02, 0x03, 0];
                ethernet(
                    0x0800,
                    &ipv4(
                        A,
                        B,
                        17,
                        &udp(51234, 6081, &cat(&[&header, &ethernet(0x0800, p)])),
                    ),
                )
            }),
        ),
        set(
            "geneve-options",
            RAW,
            each(&|p| {
                let header = [2, 0x40, 8, 0, 0, 0, 9, 0, 1, 2, 0x80, 1, 1, 2, 3, 4];
                ipv4(A, B, 17, &udp(51234, 6081, &cat(&[&header, p])))
            }),
        ),
        set(
            "gre",
            RAW,
            each(&|p| ipv4(A, B, 47, &cat(&[&[0, 0, 8, 0], p]))),
        ),
        set(
            "gre-key",
            RAW,
            each(&|p| ipv4(A, B, 47, &cat(&[&[0x20, 0, 8, 0, 0, 0, 0x12, 0x34], p]))),
        ),
        set(
            "gre-sequence",
            RAW,
            each(&|p| ipv4(A, B, 47, &cat(&[&[0x10, 0, 8, 0, 0, 0, 0, 9], p]))),
        ),
        set(
            "gretap",
            RAW,
            each(&|p| ipv4(A, B, 47, &cat(&[&[0, 0, 0x65, 0x58], &ethernet(0x0800, p)]))),
        ),
        set("gre-forms", RAW, gre_forms()),
        set("security", RAW, protocols::security()),
        set("tcp-options", RAW, protocols::tcp_options()),
        set("netbios-names", RAW, protocols::netbios_names()),
        set("transports", RAW, protocols::transports()),
        set("ptp", RAW, ptp()),
        set("names-of-nonsense", RAW, names_of_nonsense()),
        set("carriers", RAW, carriers()),
        set("ipv6-named", RAW, ipv6_named()),
        set("links", ETHERNET, named_links()),
        set("ipip", RAW, each(&|p| ipv4(A, B, 4, p))),
        set("6in4", RAW, each_v6(&|p| ipv4(A, B, 41, p))),
        set("4in6", RAW, each(&|p| ipv6(4, 64, p))),
        set("6in6", RAW, each_v6(&|p| ipv6(41, 64, p))),
        set(
            "tunnels-in-tunnels",
            ETHERNET,
            each(&|p| {
                let flannel = ipv4(A, B, 17, &udp(8285, 8285, p));
                ethernet(
                    0x0800,
                    &ipv4(A, B, 17, &udp(51234, 4789, &vxlan(8, 7, &flannel))),
                )
            }),
        ),
        set(
            "sll",
            113,
            each(&|p| cat(&[&[0, 4, 0, 1, 0, 6], &MAC_A, &[0, 0, 8, 0], p])),
        ),
        set(
            "sll2",
            276,
            each(&|p| {
                let header = [8, 0, 0, 0, 0, 0, 0, 9, 0, 1, 4, 6];
                cat(&[&header, &MAC_A, &[0, 0], p])
            }),
        ),
        set("null-little", 0, each(&|p| cat(&[&[2, 0, 0, 0], p]))),
        set("null-big", 0, each(&|p| cat(&[&[0, 0, 0, 2], p]))),
        set("null-v6", 0, each_v6(&|p| cat(&[&[24, 0, 0, 0], p]))),
        set("loop", 108, each(&|p| cat(&[&[0, 0, 0, 2], p]))),
        set(
            "vxlan-6784",
            RAW,
            each(&|p| over_udp(6784, &vxlan(8, 9, p))),
        ),
        set(
            "vxlan-group-policy",
            RAW,
            each(&|p| {
                let header = [0x88, 0x48, 0, 42, 0, 0, 1, 0];
                over_udp(4789, &cat(&[&header, &ethernet(0x0800, p)]))
            }),
        ),
        set(
            "vxlan-gpe-ipv4",
            RAW,
            each(&|p| over_udp(4790, &cat(&[&[0x0c, 0, 0, 1, 0, 0, 1, 0], p]))),
        ),
        set(
            "vxlan-gpe-ipv6",
            RAW,
            each_v6(&|p| over_udp(4790, &cat(&[&[0x0c, 0, 0, 2, 0, 0, 1, 0], p]))),
        ),
        set(
            "vxlan-gpe-ethernet",
            RAW,
            each(&|p| {
                let header = [0x0c, 0, 0, 3, 0, 0, 1, 0];
                over_udp(4790, &cat(&[&header, &ethernet(0x0800, p)]))
            }),
        ),
        set(
            "gtp-u",
            RAW,
            each(&|p| over_udp(2152, &gtp_u(0x30, 255, &[], p))),
        ),
        set(
            "gtp-u-v6",
            RAW,
            each_v6(&|p| over_udp(2152, &gtp_u(0x30, 255, &[], p))),
        ),
        set(
            "gtp-u-extensions",
            RAW,
            each(&|p| {
                let headers = [0, 9, 0, 0xc0, 1, 0x12, 0x34, 0x85, 1, 0x10, 9, 0];
                over_udp(2152, &gtp_u(0x36, 255, &headers, p))
            }),
        ),
        set("gtp-u-messages", RAW, gtp_u_messages()),
        set(
            "mpls",
            ETHERNET,
            each(&|p| ethernet(0x8847, &cat(&[&[0, 1, 1, 63], p]))),
        ),
        set(
            "mpls-v6",
            ETHERNET,
            each_v6(&|p| ethernet(0x8847, &cat(&[&[0, 1, 1, 63], p]))),
        ),
        set(
            "mpls-labels",
            ETHERNET,
            each(&|p| {
                let stack = [0, 1, 0, 64, 0, 2, 2, 63, 0xff, 0xff, 0xff, 1];
                ethernet(0x8848, &cat(&[&stack, p]))
            }),
        ),
        set(
            "mpls-over-gre",
            RAW,
            each(&|p| ipv4(A, B, 47, &cat(&[&[0, 0, 0x88, 0x47, 0, 1, 1, 63], p]))),
        ),
        set(
            "mpls-over-udp",
            RAW,
            each(&|p| over_udp(6635, &cat(&[&[0, 1, 1, 63], p]))),
        ),
        set(
            "mpls-over-ip",
            RAW,
            each(&|p| ipv4(A, B, 137, &cat(&[&[0, 1, 1, 63], p]))),
        ),
        set(
            "mpls-pseudowire",
            ETHERNET,
            each(&|p| ethernet(0x8847, &cat(&[&[0, 1, 1, 63], &known_makers(p)]))),
        ),
        set(
            "mpls-pseudowire-control-word",
            ETHERNET,
            each(&|p| {
                let frame = cat(&[
                    &[2, 0x42, 0xac, 0x11, 0, 2, 2, 0x42, 0xac, 0x11, 0, 3, 8, 0],
                    p,
                ]);
                ethernet(0x8847, &cat(&[&[0, 1, 1, 63, 0, 0, 0, 7], &frame]))
            }),
        ),
        set("fou", RAW, each(&|p| over_udp(FOU, p))),
        set("fou-v6", RAW, each_v6(&|p| over_udp(FOU_V6, p))),
        set("teredo", RAW, each_v6(&|p| over_udp(3544, p))),
        set(
            "teredo-headers",
            RAW,
            each_v6(&|p| {
                let authentication = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];
                let origin = [0, 0, 0x63, 0xbf, 0xf5, 0xff, 0xff, 0xfe];
                over_udp(3544, &cat(&[&authentication, &origin, p]))
            }),
        ),
        set("arp", ETHERNET, arps()),
        set("ipv4-forms", RAW, ipv4_forms()),
        set("ipv6-extensions", RAW, ipv6_extensions()),
        set("icmp-errors", RAW, icmp_errors()),
        set("icmpv6", RAW, icmpv6_messages()),
        set("wrong-lengths", RAW, wrong_lengths()),
        set("tcp-handshake", RAW, streams::handshake()),
        set("tcp-wrap", RAW, streams::wrap()),
        set("tcp-reuse", RAW, streams::reuse()),
        set("tcp-no-syn", RAW, streams::without_syn()),
        set("tcp-answer-first", RAW, streams::answer_first()),
        set("tcp-odd", RAW, streams::odd()),
        set("dns", RAW, streams::dns_messages()),
        set("dns-over-tcp", RAW, streams::dns_over_tcp()),
        set("tls", RAW, tls()),
        set("dhcp", RAW, dhcp_messages()),
    ];
    sets.extend(super::links::all(&payloads));
    sets
}

/// Ports on which FOU is looked for; tshark must know the version.
pub const FOU: u16 = 5555;
pub const FOU_V6: u16 = 5556;

fn over_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    ipv4(A, B, 17, &udp(51234, port, payload))
}

fn gtp_u(flags: u8, kind: u8, optional: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (optional.len() + payload.len()) as u16;
    let teid = [0xde, 0xad, 0xbe, 0xef];
    cat(&[
        &[flags, kind],
        &length.to_be_bytes(),
        &teid,
        optional,
        payload,
    ])
}

/// What the ends say to each other.
fn gtp_u_messages() -> Vec<Vec<u8>> {
    let numbered = |kind, payload: &[u8]| gtp_u(0x32, kind, &[0, 9, 0, 0], payload);
    let messages = [
        numbered(1, &[]),
        numbered(2, &[14, 0]),
        numbered(26, &[16, 0, 0, 0, 1, 0x85, 0, 4, 10, 0, 0, 1]),
        gtp_u(0x30, 254, &[], &[]),
        // None that there is.
        gtp_u(0x30, 77, &[], &[]),
    ];
    let messages = messages.iter();
    messages.map(|message| over_udp(2152, message)).collect()
}

/// A frame with addresses by which tshark tells that it is one.
fn known_makers(packet: &[u8]) -> Vec<u8> {
    let addresses = [0, 0, 0x0c, 0, 0, 2, 0, 0, 0x0c, 0, 0, 1];
    cat(&[&addresses, &[8, 0], packet])
}

/// What goes through tunnels: IPv4 with TCP, UDP, ICMP, DNS, HTTP within.
fn payloads() -> Vec<Vec<u8>> {
    let question = dns(0x4242, 0x100, [&[question("myapp.org", 1)], &[], &[], &[]]);
    let answer = record("myapp.org", 1, &[192, 168, 13, 2]);
    let answered = dns(
        0x4242,
        0x8180,
        [&[self::question("myapp.org", 1)], &[answer], &[], &[]],
    );
    let mut packets = streams::handshake();
    packets.extend([
        ipv4(POD_A, POD_B, 17, &udp(5000, 6000, b"hello")),
        ipv4(POD_A, POD_B, 17, &udp(5000, 6000, b"")),
        ipv4(POD_A, POD_B, 17, &udp(40000, 53, &question)),
        ipv4(POD_B, POD_A, 17, &udp(53, 40000, &answered)),
        icmp(8, 0, [0x12, 0x34, 0, 1], &[0x61; 56]),
        icmp(0, 0, [0x12, 0x34, 0, 1], &[0x61; 56]),
        icmp(
            3,
            4,
            [0, 0, 5, 0x78],
            &ipv4(A, B, 17, &udp(1, 2, b"abcdefgh")),
        ),
    ]);
    packets
}

fn inner_v6() -> Vec<Vec<u8>> {
    let segment = Segment {
        flags: 2,
        seq: 77,
        ack: 0,
        ..SEGMENT
    };
    vec![
        ipv6(17, 64, &udp(5000, 6000, b"hello")),
        ipv6(6, 63, &segment.bytes()),
        icmpv6(128, 0, &[0x12, 0x34, 0, 1, 1, 2, 3, 4]),
        icmpv6(129, 0, &[0x12, 0x34, 0, 1, 1, 2, 3, 4]),
        ipv6(
            17,
            1,
            &udp(
                40000,
                53,
                &dns(7, 0x100, [&[question("a.b", 28)], &[], &[], &[]]),
            ),
        ),
    ]
}

/// All words of GRE, PPTP, NVGRE, ERSPAN of each type.
fn gre_forms() -> Vec<Vec<u8>> {
    let inner = ipv4(POD_A, POD_B, 17, &udp(5000, 6000, b"hello"));
    let frame = ethernet(0x0800, &inner);
    let sequence = |protocol: u16| cat(&[&[0x10, 0], &protocol.to_be_bytes(), &[0, 0, 0, 9]]);
    let type_iii = [0x20, 0x64, 0x0c, 7, 0, 0, 0, 16, 0, 5, 0];
    let gre = |parts: &[&[u8]]| ipv4(A, B, 47, &cat(parts));
    vec![
        gre(&[
            &[0xb0, 0, 8, 0],
            &[0; 4],
            &[0, 0, 0x12, 0x34, 0, 0, 0, 9],
            &inner,
        ]),
        gre(&[&[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 5], &frame]),
        gre(&[&[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 2]]),
        gre(&[
            &[0x30, 1, 0x88, 0x0b, 0, 4, 0, 7, 0, 0, 0, 1],
            &[0xff, 3, 0xc0, 0x21],
        ]),
        gre(&[&[0, 0, 0x88, 0xbe], &frame]),
        gre(&[
            &sequence(0x88be),
            &[0x10, 0x64, 0x0c, 7, 0, 0, 0, 1],
            &frame,
        ]),
        gre(&[&sequence(0x22eb), &type_iii, &[0], &frame]),
        gre(&[&sequence(0x22eb), &type_iii, &[1], &[0; 8], &frame]),
    ]
}

/// What tshark's line words by other packets or by what is carried.
/// A sync and a follow-up of PTP.
fn ptp() -> Vec<Vec<u8>> {
    let message = |port, kind| {
        let mut message = vec![kind, 2, 0, 44];
        message.resize(44, 0);
        ipv4(A, B, 17, &udp(port, port, &message))
    };
    vec![message(319, 0), message(320, 8)]
}

/// Messages of DNS of which not all makes sense: a record between others with
/// data of the wrong length, EDNS without data.
fn names_of_nonsense() -> Vec<Vec<u8>> {
    let asked = [question("a.example", 1)];
    let right = record("a.example", 1, &[192, 0, 2, 1]);
    let short = record("a.example", 44, &[1]);
    let edns = record_of_class("", 41, 1232, &[]);
    let answer = dns(
        7,
        0x8180,
        [&asked, &[short, right], &[], std::slice::from_ref(&edns)],
    );
    let query = dns(8, 0x0100, [&asked, &[], &[], &[edns]]);
    vec![
        ipv4(B, A, 17, &udp(53, 40000, &answer)),
        ipv4(A, B, 17, &udp(40000, 53, &query)),
    ]
}

fn carriers() -> Vec<Vec<u8>> {
    let l2tp = |message: &[u8]| ipv4(A, B, 17, &udp(1701, 1701, message));
    let header = [0x13, 0x88, 0x17, 0x70, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0];
    let data = [
        0, 3, 0, 18, 0, 0, 0, 7, 0, 1, 0, 2, 0, 0, 0, 0, b'h', b'i', 0, 0,
    ];
    vec![
        l2tp(&[0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 1]),
        l2tp(&[0xc8, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 1]),
        l2tp(&[0, 3, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4]),
        ipv4(A, B, 132, &cat(&[&header, &data])),
    ]
}

/// Routing headers by type, and extension headers that are named alone.
fn ipv6_named() -> Vec<Vec<u8>> {
    let datagram = udp(1000, 2000, b"abcdefgh");
    let routing = |kind, left| cat(&[&[17, 2, kind, left, 0, 0, 0, 0], &link_local(9), &datagram]);
    vec![
        ipv6(43, 64, &routing(4, 0)),
        ipv6(43, 64, &routing(2, 0)),
        ipv6(43, 64, &routing(3, 0)),
        ipv6(135, 64, &cat(&[&[59, 1, 5, 0, 0, 0, 0, 0], &[0; 8]])),
        ipv6(139, 64, &cat(&[&[59, 4, 1, 0x11, 0, 0, 0, 0], &[0; 32]])),
        ipv6(140, 64, &cat(&[&[17, 0, 0x80, 0, 0, 0, 0, 1], &datagram])),
        // Two segments and an option; a source route of two.
        ipv6(
            43,
            64,
            &cat(&[
                &[17, 5, 4, 1, 1, 0, 0, 0],
                &link_local(7),
                &link_local(8),
                &[4, 6, 0, 0, 0, 0, 0, 0],
                &datagram,
            ]),
        ),
        ipv6(
            43,
            64,
            &cat(&[
                &[17, 4, 0, 1, 0, 0, 0, 0],
                &link_local(7),
                &link_local(8),
                &datagram,
            ]),
        ),
    ]
}

/// 802.3 with LLC and SNAP, and EtherTypes that are named alone.
fn named_links() -> Vec<Vec<u8>> {
    let inner = ipv4(POD_A, POD_B, 17, &udp(5000, 6000, b"hello"));
    let framed = |payload: &[u8]| {
        let mut frame = ethernet(payload.len() as u16, payload);
        frame.resize(frame.len().max(60), 0);
        frame
    };
    let bridge = [0x80, 0, 2, 0, 0, 0, 0, 1];
    let stp = cat(&[
        &[0; 5],
        &bridge,
        &[0; 4],
        &bridge,
        &[0x80, 1, 0, 0, 20, 0, 2, 0, 15, 0],
    ]);
    vec![
        framed(&cat(&[&[0x42, 0x42, 3], &stp])),
        framed(&cat(&[&[0xaa, 0xaa, 3, 0, 0, 0x0c, 1, 0x0b], &stp])),
        framed(&cat(&[
            &[0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0],
            &[2, 180, 0, 0],
        ])),
        framed(&cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &inner])),
        framed(&cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 6], &arp(1, A, B)])),
        framed(&cat(&[&[6, 6, 3], &inner])),
        ethernet(
            0x88cc,
            &cat(&[
                &[2, 7, 4],
                &MAC_A,
                &[4, 3, 5, b'a', b'b', 6, 2, 0, 120, 0, 0],
            ]),
        ),
        ethernet(0x888e, &[1, 1, 0, 0]),
        ethernet(0x8863, &[0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]),
        ethernet(0x8809, &cat(&[&[1, 1], &[0; 44]])),
        ethernet(0x9000, &[0; 46]),
        ethernet(0x88f7, &cat(&[&[1, 2], &[0; 44]])),
        ethernet(0x8808, &cat(&[&[0, 1], &[0; 44]])),
        ethernet(0x8035, &arp(3, A, B)),
        ethernet(0x88a8, &cat(&[&[0, 5, 0x88, 0xa8, 0, 6, 8, 0], &inner])),
        ethernet(0x9100, &cat(&[&[0, 5, 0x81, 0, 0, 6, 8, 0], &inner])),
    ]
}

fn arps() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = (1..10).map(|op| ethernet(0x0806, &arp(op, A, B))).collect();
    frames.push(ethernet(0x0806, &cat(&[&arp(1, A, B), &[0; 18]])));
    frames.push(ethernet(0x0806, &arp(1, A, B)[..20]));
    frames
}

fn with_options(options: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(A, B, protocol, &cat(&[options, payload]));
    packet[0] = 0x45 + (options.len() / 4) as u8;
    packet
}

fn ipv4_forms() -> Vec<Vec<u8>> {
    let datagram = udp(1000, 2000, &[b'z'; 64]);
    let mut packets = vec![
        with_options(&[7, 7, 4, 1, 2, 3, 4, 0], 17, &datagram),
        with_options(&[0x94, 4, 0, 0], 17, &datagram),
        with_options(&[1; 40], 17, &datagram),
        ipv4_fragment(A, B, 17, 0x4000, 9, &datagram),
        ipv4_fragment(A, B, 17, 0x2000, 10, &datagram[..40]),
        ipv4_fragment(A, B, 17, 5, 10, &datagram[40..]),
        ipv4_fragment(A, B, 6, 0x2000, 11, &SEGMENT.bytes()),
        ipv4_fragment(A, B, 1, 0x2001, 12, &[8; 16]),
        ipv4_fragment(A, B, 17, 0x1fff, 13, b"abc"),
    ];
    for protocol in [0, 2, 50, 89, 103, 112, 132, 253, 255] {
        packets.push(ipv4(A, B, protocol, &[0x11; 24]));
    }
    let mut other_ttl = ipv4(A, B, 17, &datagram);
    (other_ttl[8], other_ttl[1]) = (1, 0xb8);
    packets.push(other_ttl);
    packets
}

fn ipv6_extensions() -> Vec<Vec<u8>> {
    let datagram = udp(1000, 2000, b"abcdefgh");
    let hop = |next| cat(&[&[next, 0, 5, 2, 0, 0, 1, 0]]);
    let fragment =
        |next, word: u16, id: u8| cat(&[&[next, 0], &word.to_be_bytes(), &[0, 0, 0, id]]);
    vec![
        ipv6(0, 64, &cat(&[&hop(17), &datagram])),
        ipv6(
            0,
            64,
            &cat(&[&hop(60), &[17, 0, 1, 4, 0, 0, 0, 0], &datagram]),
        ),
        ipv6(
            43,
            64,
            &cat(&[&[17, 2, 0, 0, 0, 0, 0, 0], &link_local(9), &datagram]),
        ),
        ipv6(
            60,
            64,
            &cat(&[&[58, 0, 1, 4, 0, 0, 0, 0], &[128, 0, 0, 0, 0, 1, 0, 2]]),
        ),
        ipv6(44, 64, &cat(&[&fragment(17, 1, 5), &datagram])),
        ipv6(44, 64, &cat(&[&fragment(17, 0x10, 5), &datagram])),
        ipv6(44, 64, &cat(&[&fragment(17, 0, 6), &datagram])),
        ipv6(0, 64, &cat(&[&hop(44), &fragment(6, 0x21, 7), &[0; 24]])),
        ipv6(51, 64, &cat(&[&[17, 4, 0, 0], &[0; 20], &datagram])),
        ipv6(59, 64, b"abc"),
        ipv6(50, 64, &[1; 24]),
        ipv6(132, 64, &[1; 24]),
        ipv6(0, 64, &hop(59)),
        ipv6(0, 64, &[17, 0]),
    ]
}

/// Errors with what they are about, quoted wholly, hardly and not at all.
fn icmp_errors() -> Vec<Vec<u8>> {
    let about_udp = ipv4(
        [10, 0, 0, 9],
        [10, 0, 0, 8],
        17,
        &udp(1000, 2000, b"abcdefgh"),
    );
    let segment = Segment {
        ports: (3000, 80),
        flags: 2,
        ..SEGMENT
    };
    let about_tcp = segment.forth();
    let about_icmp = icmp(8, 0, [1, 2, 3, 4], b"abcdefgh");
    let with_option = with_options(&[1; 4], 17, &udp(1000, 2000, b"abcdefgh"));
    let mut packets = Vec::new();
    for quoted in [&about_udp, &about_tcp, &about_icmp, &with_option] {
        for (kind, code) in [
            (3, 0),
            (3, 1),
            (3, 3),
            (3, 4),
            (3, 13),
            (4, 0),
            (5, 1),
            (11, 0),
            (11, 1),
            (12, 0),
        ] {
            packets.push(icmp(kind, code, [0, 0, 5, 0x14], quoted));
        }
        for length in [20, 24, 27, 28] {
            packets.push(icmp(3, 3, [0; 4], &quoted[..length]));
        }
    }
    for kind in [0, 8, 13, 14, 9, 10, 17, 18, 40] {
        packets.push(icmp(kind, 0, [0x12, 0x34, 0, 1], &[0; 16]));
    }
    packets
}

fn icmpv6_messages() -> Vec<Vec<u8>> {
    let about_udp = ipv6(17, 64, &udp(1000, 2000, b"abcdefgh"));
    let about_fragment = ipv6(
        44,
        64,
        &cat(&[&[17, 0, 0, 1, 0, 0, 0, 5], &udp(1, 2, b"abcdefgh")]),
    );
    let segment = Segment {
        ports: (3000, 80),
        flags: 2,
        ..SEGMENT
    };
    let about_tcp = ipv6(6, 64, &segment.bytes());
    let mut packets = Vec::new();
    for quoted in [&about_udp, &about_tcp, &about_fragment] {
        for (kind, code) in [(1, 0), (1, 3), (1, 4), (2, 0), (3, 0), (4, 1)] {
            packets.push(icmpv6(kind, code, &cat(&[&[0, 0, 5, 0], quoted])));
        }
        packets.push(icmpv6(1, 4, &cat(&[&[0; 4], &quoted[..40]])));
    }
    let target = link_local(0x77);
    for kind in [135, 136] {
        packets.push(icmpv6(
            kind,
            0,
            &cat(&[&[0x60, 0, 0, 0], &target, &[1, 1], &MAC_A]),
        ));
        packets.push(icmpv6(kind, 0, &cat(&[&[0; 4], &target])));
    }
    packets.push(icmpv6(133, 0, &cat(&[&[0; 4], &[1, 1], &MAC_A])));
    packets.push(icmpv6(
        134,
        0,
        &cat(&[&[64, 0, 7, 8], &[0; 8], &[5, 1, 0, 0, 0, 0, 5, 0xdc]]),
    ));
    packets.push(icmpv6(137, 0, &cat(&[&[0; 4], &target, &target])));
    packets.push(icmpv6(143, 0, &cat(&[&[0, 0, 0, 1, 4, 0, 0, 0], &target])));
    packets.push(icmpv6(128, 0, &[0x12, 0x34, 0, 1]));
    packets
}

fn dhcp_messages() -> Vec<Vec<u8>> {
    let asked = |options: &[u8]| {
        ipv4(
            [0; 4],
            [255; 4],
            17,
            &udp(68, 67, &dhcp(1, [0; 4], options)),
        )
    };
    let told = |options: &[u8]| ipv4(A, B, 17, &udp(67, 68, &dhcp(2, B, options)));
    let solicit = [
        1, 0x12, 0x34, 0x56, 0, 1, 0, 4, 0, 3, 0, 1, 0, 8, 0, 2, 0, 0,
    ];
    vec![
        asked(b"\x35\x01\x01\x32\x04\x0a\0\0\x02\x0c\x04host"),
        told(b"\x35\x01\x02\x36\x04\x0a\0\0\x01\x33\x04\0\0\x0e\x10"),
        asked(b"\x35\x01\x03\x36\x04\x0a\0\0\x01\x32\x04\x0a\0\0\x02"),
        told(b"\x35\x01\x05\x36\x04\x0a\0\0\x01"),
        told(b"\x35\x01\x06\x36\x04\x0a\0\0\x01"),
        ipv6(17, 1, &udp(546, 547, &solicit)),
    ]
}

fn tls() -> Vec<Vec<u8>> {
    let data = |payload: &[u8]| {
        let ports = (
            43000 + payload.len() as u16 * 64 + u16::from(payload[6]),
            443,
        );
        Segment {
            ports,
            flags: 0x18,
            payload,
            ..SEGMENT
        }
        .forth()
    };
    vec![
        data(&client_hello("myapp.org")),
        data(&server_hello()),
        data(&tls_record(21, &[2, 40])),
        data(&tls_record(21, &[1, 0])),
        data(&cat(&[&tls_record(20, &[1]), &tls_record(23, &[7; 99])])),
    ]
}

/// Lengths that say too little, too much or nothing, and wrong checksums.
fn wrong_lengths() -> Vec<Vec<u8>> {
    let datagram = udp(1000, 2000, b"abcdef");
    let segment = Segment {
        ports: (1234, 4321),
        payload: b"abcdef",
        ..SEGMENT
    };
    let mut packets = vec![
        ipv4_declaring(0, 17, &datagram),
        ipv4_declaring(0, 6, &segment.bytes()),
        ipv4_declaring(28, 17, &datagram),
        ipv4(A, B, 17, &udp_declaring(0, 1, 2, b"abc")),
        ipv4(A, B, 17, &udp_declaring(9, 1, 2, b"abcdef")),
        ipv4(A, B, 17, &udp_declaring(100, 1, 2, b"abc")),
        ipv4(A, B, 17, &udp_declaring(4, 1, 2, b"abc")),
    ];
    let mut wrong_sum = segment.forth();
    (wrong_sum[10], wrong_sum[36]) = (0xde, 0xad);
    packets.push(wrong_sum);
    let mut jumbo = ipv6(17, 64, &datagram);
    (jumbo[4], jumbo[5]) = (0, 0);
    packets.push(jumbo);
    packets
}
