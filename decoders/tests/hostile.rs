//! Cut and corrupt frames: never a panic, always a reason.

mod build;
#[path = "hostile/strict.rs"]
mod strict;

use build::{ethernet, ipv4, ipv6, udp};
use decoders::{
    Encap, Layer, LinkType, MAX_ENCAPSULATIONS, Packet, Ports, Reason, decode, identity, inside,
};

const LINKS: [LinkType; 9] = [
    LinkType::Null,
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::Loop,
    LinkType::LinuxSll,
    LinkType::Ipv4,
    LinkType::Ipv6,
    LinkType::LinuxSll2,
    LinkType::Other(147),
];

fn tcp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x30, 0x39, (port >> 8) as u8, port as u8];
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
    bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    bytes.extend(payload);
    bytes
}

fn esp() -> Vec<u8> {
    [&[0, 0, 0x10, 1, 0, 0, 0, 7][..], &[0x77; 40]].concat()
}

/// IKE_SA_INIT, with one payload.
fn ike() -> Vec<u8> {
    let head = [33, 0x20, 34, 8, 0, 0, 0, 0, 0, 0, 0, 36];
    [&[0x11; 8][..], &[0; 8], &head, &[0, 0, 0, 8, 1, 1, 0, 0]].concat()
}

fn wireguard(kind: u8, length: usize) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 7];
    message.resize(16, 0);
    message.resize(length, 0x55);
    message
}

fn dns_answer() -> Vec<u8> {
    let mut message = vec![0x93, 0x17, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    message.extend(b"\x03www\x06google\x03com\0\0\x01\0\x01");
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
    message
}

fn gtp_u(flags: u8, kind: u8, optional: &[u8], payload: &[u8]) -> Vec<u8> {
    let len = (optional.len() + payload.len()) as u16;
    let mut bytes = vec![flags, kind];
    bytes.extend(len.to_be_bytes());
    bytes.extend([0xde, 0xad, 0xbe, 0xef]);
    [&bytes, optional, payload].concat()
}

fn sleeve(frame: &[u8]) -> Vec<u8> {
    let mut bytes = [[1; 6], [2; 6], [3; 6]].concat();
    bytes.extend((frame.len() as u16).to_be_bytes());
    bytes.extend(frame);
    bytes
}

/// A port that carries FOU, which has none of its own.
const FOU: u16 = 5555;

fn ports() -> Ports {
    let mut ports = Ports::default();
    ports.insert(FOU, Encap::Fou);
    ports
}

fn over_tcp(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn dhcp_discover() -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
    message.extend([
        0x63, 0x82, 0x53, 0x63, 53, 1, 1, 0, 50, 4, 10, 0, 0, 9, 12, 1, b'h', 255,
    ]);
    message
}

/// TLS 1.2, for the server `a.b`, speaking `h2`.
fn client_hello() -> Vec<u8> {
    let mut message = vec![22, 3, 1, 0, 68, 1, 0, 0, 64, 3, 3];
    message.extend([7; 32]);
    message.extend([0, 0, 2, 0xc0, 0x2f, 1, 0, 0, 21]);
    message.extend(b"\0\0\0\x08\0\x06\0\0\x03a.b\0\x10\0\x05\0\x03\x02h2");
    message
}

/// One of each kind, with what it is.
fn packets() -> Vec<(LinkType, Vec<u8>, Vec<&'static str>)> {
    let plain = ipv4(6, &tcp(81, b"payload"));
    let frame = ethernet(0x0800, &plain);
    let raw = LinkType::RawIp;
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([7; 20]);
    vec![
        (raw, plain.clone(), vec!["ipv4", "tcp"]),
        (
            raw,
            ipv4(6, &tcp(80, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
            vec!["ipv4", "tcp", "http"],
        ),
        (
            raw,
            ipv4(
                6,
                &tcp(9, b"HTTP/1.1 200 OK\r\nA : b\r\n c\r\n: \r\nd\r\n\r\n"),
            ),
            vec!["ipv4", "tcp", "http"],
        ),
        (
            raw,
            ipv4(6, &tcp(443, &client_hello())),
            vec!["ipv4", "tcp", "tls"],
        ),
        (
            raw,
            ipv4(
                6,
                &tcp(
                    53,
                    &[over_tcp(&dns_answer()), over_tcp(&dns_answer())].concat(),
                ),
            ),
            vec!["ipv4", "tcp", "dns", "dns"],
        ),
        (
            raw,
            ipv4(17, &udp(67, &dhcp_discover())),
            vec!["ipv4", "udp", "dhcp"],
        ),
        (
            raw,
            ipv6(17, &udp(547, &[1, 0, 0, 1, 0, 8, 0, 2, 0, 0])),
            vec!["ipv6", "udp", "dhcpv6"],
        ),
        (
            raw,
            ipv4(
                6,
                &tcp(
                    2379,
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                ),
            ),
            vec!["ipv4", "tcp", "http2"],
        ),
        (
            raw,
            ipv4(17, &udp(53, &dns_answer())),
            vec!["ipv4", "udp", "dns"],
        ),
        (
            raw,
            ipv4(17, &udp(8285, &plain)),
            vec!["ipv4", "udp", "flannel-udp", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0], &frame[..]].concat()),
            ),
            vec!["ipv4", "udp", "vxlan", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv6(
                17,
                &udp(
                    6081,
                    &[&[1, 0, 8, 0, 0, 0, 1, 0, 1, 2, 3, 0], &plain[..]].concat(),
                ),
            ),
            vec!["ipv6", "udp", "geneve", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                47,
                &[&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0], &frame[..]].concat(),
            ),
            vec!["ipv4", "gre", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(4790, &[&[0x0c, 0, 0, 1, 0, 0, 1, 0], &plain[..]].concat()),
            ),
            vec!["ipv4", "udp", "vxlan-gpe", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(4790, &[&[8, 0, 0, 0, 0, 0, 1, 0], &frame[..]].concat()),
            ),
            vec!["ipv4", "udp", "vxlan-gpe", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(17, &udp(2152, &gtp_u(0x30, 255, &[], &plain))),
            vec!["ipv4", "udp", "gtp-u", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(
                    2152,
                    &gtp_u(
                        0x36,
                        255,
                        &[0, 9, 0, 0x85, 1, 0x10, 9, 0x40, 2, 1, 2, 3, 4, 5, 6, 0],
                        &ipv6(17, &udp(7, b"x")),
                    ),
                ),
            ),
            vec!["ipv4", "udp", "gtp-u", "ipv6", "udp"],
        ),
        (
            raw,
            ipv4(17, &udp(2152, &gtp_u(0x32, 1, &[0, 9, 0, 0], b""))),
            vec!["ipv4", "udp", "gtp-u"],
        ),
        (
            LinkType::Ethernet,
            ethernet(
                0x8847,
                &[&[0, 1, 0x02, 64, 0, 2, 0x0f, 63], &plain[..]].concat(),
            ),
            vec!["eth", "mpls", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(6635, &[&[0, 1, 1, 64, 0, 0, 0, 9], &frame[..]].concat()),
            ),
            vec!["ipv4", "udp", "mpls", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(47, &[&[0, 0, 0x88, 0x47, 0, 1, 1, 64], &frame[..]].concat()),
            vec!["ipv4", "gre", "mpls", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(6080, &[&[1, 4, 0, 1, 0, 0, 0, 0], &plain[..]].concat()),
            ),
            vec!["ipv4", "udp", "gue", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(17, &udp(6080, &ipv6(17, &udp(7, b"x")))),
            vec!["ipv4", "udp", "gue", "ipv6", "udp"],
        ),
        (
            raw,
            ipv4(17, &udp(6080, &[0x20, 1, 0, 0])),
            vec!["ipv4", "udp", "gue"],
        ),
        (
            raw,
            ipv4(17, &udp(FOU, &ipv6(17, &udp(7, b"x")))),
            vec!["ipv4", "udp", "fou", "ipv6", "udp"],
        ),
        (
            raw,
            ipv4(
                17,
                &udp(
                    3544,
                    &[
                        &[0, 1, 1, 2, 7, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1, 0][..],
                        &[0, 0, 0x63, 0xbf, 0xf5, 0xff, 0xff, 0xfe],
                        &ipv6(17, &udp(7, b"x")),
                    ]
                    .concat(),
                ),
            ),
            vec!["ipv4", "udp", "teredo", "ipv6", "udp"],
        ),
        (
            raw,
            ipv4(17, &udp(6783, &sleeve(&frame))),
            vec!["ipv4", "udp", "weave-sleeve", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                47,
                &[
                    &[0xb0, 0, 8, 0],
                    &[0; 4][..],
                    &[0, 0, 0, 7],
                    &[0; 4],
                    &plain,
                ]
                .concat(),
            ),
            vec!["ipv4", "gre", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 2]),
            vec!["ipv4", "gre"],
        ),
        (
            raw,
            ipv4(47, &[&[0, 0, 0x88, 0xbe], &frame[..]].concat()),
            vec!["ipv4", "gre", "erspan", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                47,
                &[
                    &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..],
                    &[0x10, 100, 0x0c, 7, 0, 0, 0, 1],
                    &frame,
                ]
                .concat(),
            ),
            vec!["ipv4", "gre", "erspan", "eth", "ipv4", "tcp"],
        ),
        (
            raw,
            ipv4(
                47,
                &[
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..],
                    &[0x20, 100, 0x0c, 7, 0, 0, 0, 16, 0, 5, 0, 1],
                    &[0; 8],
                    &frame,
                ]
                .concat(),
            ),
            vec!["ipv4", "gre", "erspan", "eth", "ipv4", "tcp"],
        ),
        (raw, ipv4(50, &esp()), vec!["ipv4", "esp"]),
        (
            raw,
            ipv4(17, &udp(4500, &esp())),
            vec!["ipv4", "udp", "udpencap", "esp"],
        ),
        (
            raw,
            ipv4(17, &udp(4500, &[&[0; 4][..], &ike()].concat())),
            vec!["ipv4", "udp", "udpencap", "ike"],
        ),
        (
            raw,
            ipv4(17, &udp(4500, &[0xff])),
            vec!["ipv4", "udp", "udpencap"],
        ),
        (raw, ipv4(17, &udp(500, &ike())), vec!["ipv4", "udp", "ike"]),
        (
            raw,
            ipv4(51, &[&[6, 1][..], &[1; 10], &tcp(81, b"x")].concat()),
            vec!["ipv4", "ah", "tcp"],
        ),
        (
            raw,
            ipv6(51, &[&[6, 4][..], &[1; 22], &tcp(81, b"x")].concat()),
            vec!["ipv6", "ah", "tcp"],
        ),
        (
            raw,
            ipv4(17, &udp(4000, &wireguard(1, 148))),
            vec!["ipv4", "udp", "wireguard"],
        ),
        (
            raw,
            ipv4(17, &udp(4000, &wireguard(2, 92))),
            vec!["ipv4", "udp", "wireguard"],
        ),
        (
            raw,
            ipv4(17, &udp(53, &wireguard(3, 64))),
            vec!["ipv4", "udp", "wireguard"],
        ),
        (
            raw,
            ipv4(17, &udp(51820, &wireguard(4, 48))),
            vec!["ipv4", "udp", "wireguard"],
        ),
        (
            raw,
            ipv4(17, &udp(1701, &[0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 1])),
            vec!["ipv4", "udp", "l2tp"],
        ),
        (
            raw,
            ipv4(
                132,
                &[
                    &[7; 12][..],
                    &[1, 0, 0, 20],
                    &[9; 16],
                    &[10, 0, 0, 6, 1, 1, 0, 0],
                ]
                .concat(),
            ),
            vec!["ipv4", "sctp"],
        ),
        (
            raw,
            ipv4(136, &[3, 0xe8, 7, 0xd0, 0, 8, 0, 1, 1, 2, 3]),
            vec!["ipv4", "udplite"],
        ),
        (
            raw,
            ipv4(
                2,
                &[0x11, 100, 0, 0, 225, 0, 0, 1, 2, 125, 0, 1, 10, 0, 0, 9],
            ),
            vec!["ipv4", "igmp"],
        ),
        (
            raw,
            ipv4(
                2,
                &[
                    0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 225, 0, 0, 1, 6, 0, 0, 1, 225, 0, 0, 2,
                    10, 0, 0, 9,
                ],
            ),
            vec!["ipv4", "igmp"],
        ),
        (
            LinkType::Ethernet,
            ethernet(38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat()),
            vec!["eth", "llc", "stp"],
        ),
        (
            LinkType::Ethernet,
            ethernet(
                8 + plain.len() as u16,
                &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &plain[..]].concat(),
            ),
            vec!["eth", "llc", "ipv4", "tcp"],
        ),
        (
            LinkType::Ethernet,
            ethernet(0x88cc, &[2, 7, 4, 2, 0, 0, 0, 0, 1, 0, 0]),
            vec!["eth", "lldp"],
        ),
        (
            raw,
            ipv6(
                43,
                &[&[17, 2, 4, 1, 0, 0, 0, 0][..], &[0xfd; 16], &udp(7, b"x")].concat(),
            ),
            vec!["ipv6", "ipv6.routing", "udp"],
        ),
        (
            raw,
            ipv6(135, &[59, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            vec!["ipv6", "mipv6"],
        ),
        (raw, ipv4(4, &plain), vec!["ipv4", "ipip", "ipv4", "tcp"]),
        (
            raw,
            ipv4(41, &ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 2])),
            vec!["ipv4", "6in4", "ipv6", "icmpv6"],
        ),
        (
            raw,
            ipv6(
                0,
                &[
                    &[43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0][..],
                    &[44, 0, 1, 4, 0, 0, 0, 0][..],
                    &[17, 0, 0, 0, 0, 0, 0, 9],
                    &udp(7, b"x")[..],
                ]
                .concat(),
            ),
            vec![
                "ipv6",
                "ipv6.hopopts",
                "ipv6.routing",
                "ipv6.dstopts",
                "ipv6.fraghdr",
                "udp",
            ],
        ),
        (
            raw,
            ipv4(1, &[&[3, 4, 0, 0, 0, 0, 5, 0x78], &plain[..]].concat()),
            vec!["ipv4", "icmp"],
        ),
        (
            LinkType::Ethernet,
            ethernet(0x88a8, &[&[0, 5, 0x81, 0, 0, 6, 8, 0], &plain[..]].concat()),
            vec!["eth", "vlan", "vlan", "ipv4", "tcp"],
        ),
        (
            LinkType::Ethernet,
            ethernet(0x0806, &arp),
            vec!["eth", "arp"],
        ),
        (
            LinkType::LinuxSll,
            [
                &[0, 0, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0],
                &plain[..],
            ]
            .concat(),
            vec!["sll", "ipv4", "tcp"],
        ),
        (
            LinkType::LinuxSll2,
            [&[8, 0][..], &[0; 18], &plain].concat(),
            vec!["sll2", "ipv4", "tcp"],
        ),
        (
            LinkType::Null,
            [&[2, 0, 0, 0], &plain[..]].concat(),
            vec!["loopback", "ipv4", "tcp"],
        ),
        (
            LinkType::Loop,
            [&[0, 0, 0, 2], &plain[..]].concat(),
            vec!["loopback", "ipv4", "tcp"],
        ),
        (LinkType::Ipv4, plain, vec!["ipv4", "tcp"]),
    ]
}

/// Keeps an answer from being optimised away with the question.
fn seen<T>(answer: T) {
    std::hint::black_box(answer);
}

/// Everything that can be asked of a packet.
fn use_up(packet: &Packet<'_>) {
    let mut before = 0;
    for layer in &packet.layers {
        let span = layer.span();
        assert!(span.start >= before && span.start <= span.end, "{span:?}");
        assert!(span.end as usize <= packet.orig_len, "{span:?}");
        before = span.start;
        let payload = packet.payload(layer);
        assert!(payload.len() <= layer.payload_len(), "{}", layer.name());
        match layer {
            Layer::Arp(arp) => seen((arp.ipv4(), arp.target_hardware())),
            Layer::LinuxSll(sll) => seen(sll.address()),
            Layer::LinuxSll2(sll) => seen(sll.address()),
            Layer::Geneve(geneve) => seen(geneve.options().count()),
            Layer::Vxlan(vxlan) => seen((vxlan.dont_learn(), vxlan.policy_applied())),
            Layer::VxlanGpe(vxlan) => seen((vxlan.version(), vxlan.next_protocol_name())),
            Layer::GtpU(gtp) => seen((
                (gtp.message_name(), gtp.length(), gtp.teid(), gtp.sequence()),
                (gtp.npdu(), gtp.extensions().count()),
            )),
            Layer::Mpls(stack) => seen((stack.label(), stack.labels().count())),
            Layer::Gue(gue) => seen((gue.version(), gue.protocol(), gue.flags())),
            Layer::Teredo(teredo) => seen((teredo.has_authentication(), teredo.origin())),
            Layer::WeaveSleeve(sleeve) => {
                seen((sleeve.sender(), sleeve.peers(), sleeve.frame_count()));
            }
            Layer::Gre(gre) => seen((gre.key(), gre.sequence(), gre.vni(), gre.flow_id())),
            Layer::Esp(esp) => seen((esp.spi(), esp.sequence())),
            Layer::Ah(ah) => seen((ah.spi(), ah.sequence(), ah.next_header())),
            Layer::Ike(ike) => seen((ike.exchange_name(), ike.responder_spi())),
            Layer::Wireguard(wg) => {
                seen((wg.kind_name(), wg.sender(), wg.receiver(), wg.counter()))
            }
            Layer::L2tp(l2tp) => seen((l2tp.tunnel(), l2tp.session(), l2tp.version())),
            Layer::Stt(stt) => seen(stt.context()),
            Layer::Sctp(sctp) => seen(sctp.chunks().filter_map(|chunk| chunk.name()).count()),
            Layer::UdpLite(udp) => seen((udp.coverage_is_right(), udp.payload_length())),
            Layer::Nbns(message) => seen((message.name(), message.kind(), message.address())),
            Layer::Igmp(igmp) => seen((
                igmp.version(),
                igmp.group(),
                igmp.sources().count(),
                igmp.records().flat_map(|record| record.sources()).count(),
            )),
            Layer::Llc(llc) => seen((llc.dsap(), llc.ssap(), llc.snap())),
            Layer::Erspan(erspan) => seen((erspan.session(), erspan.vlan(), erspan.kind())),
            Layer::Tcp(tcp) => seen((tcp.options().count(), tcp.payload_len())),
            Layer::Udp(udp) => seen(udp.payload_length()),
            Layer::Icmp(icmp) => seen((icmp.quoted(), icmp.echo(), icmp.gateway())),
            Layer::Icmpv6(icmp) => {
                seen((
                    icmp.quoted(),
                    icmp.echo(),
                    icmp.mtu(),
                    icmp.target(),
                    icmp.options().count(),
                ));
            }
            Layer::Dns(dns) => seen(dns.parse()),
            Layer::Http(http) => {
                seen((http.first_line(), http.headers().count(), http.fault()));
                seen((http.method(), http.target(), http.status()));
                seen(http.head_is_whole());
            }
            Layer::Dhcp(dhcp) => {
                seen((dhcp.message_name(), dhcp.server(), dhcp.host_name()));
                seen((dhcp.client_hardware(), dhcp.options().count()));
            }
            Layer::Dhcpv6(dhcp) => {
                seen((
                    dhcp.message_name(),
                    dhcp.transaction_id(),
                    dhcp.options().count(),
                ));
            }
            Layer::Http2(http) => seen(http.frames().count()),
            Layer::Tls(tls) => {
                seen((
                    tls.client_hello().map(|hello| hello.alpn().count()),
                    tls.alert(),
                ));
                seen((tls.server_hello(), tls.records().count()));
            }
            Layer::Ipv4(ip) => seen((ip.checksum_is_right(), ip.fragment())),
            Layer::Ipv6Extension(header) => seen((header.fragment(), header.routing())),
            _ => {}
        }
    }
    if let Some(ip) = packet.innermost_ip() {
        seen((ip.len(), ip.id(), ip.fragment(), ip.source()));
    }
    seen((
        packet.outer(),
        packet.encapsulations().count(),
        packet.innermost_layers().len(),
    ));
    seen(decoders::checksum::verify(packet).count());
    seen(decoders::etcd::seen(packet));
    seen(packet.stop.map(|stop| stop.to_string()));
}

#[test]
fn each_kind_is_what_it_is() {
    for (link, data, names) in packets() {
        let packet = decode(link, &data, data.len(), &ports());
        assert_eq!(packet.layer_names().collect::<Vec<_>>(), names);
        assert_eq!(packet.stop, None, "{names:?}");
        use_up(&packet);
    }
}

#[test]
fn cut_anywhere_the_layers_are_a_prefix() {
    for (link, data, names) in packets() {
        let whole = decode(link, &data, data.len(), &ports());
        for len in 0..data.len() {
            let cut = decode(link, &data[..len], data.len(), &ports());
            use_up(&cut);
            assert!(cut.stop.is_some(), "{names:?} cut at {len}");
            assert!(
                cut.layers.len() <= whole.layers.len(),
                "{names:?} cut at {len}"
            );
            for (cut, whole) in cut.layers.iter().zip(&whole.layers) {
                assert_eq!(
                    (cut.name(), cut.span()),
                    (whole.name(), whole.span()),
                    "at {len}"
                );
            }
            let Reason::Cut { missing } = cut.stop.unwrap().reason else {
                panic!("{names:?} cut at {len}: {:?}", cut.stop);
            };
            assert!(
                missing > 0 && missing <= data.len() - len,
                "{names:?} cut at {len}"
            );
        }
    }
}

#[test]
fn bytes_changed_at_random() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let mut ports = ports();
    ports.insert(53, Encap::FlannelUdp);
    for (link, data, _) in packets() {
        for _ in 0..3000 {
            let mut other = data.clone();
            for _ in 0..=random(4) {
                let at = random(other.len());
                other[at] = [random(256) as u8, 0, 0xff, 0x45, 4][random(5)];
            }
            other.truncate(1 + random(other.len()));
            let orig_len = random(other.len() * 2);
            use_up(&decode(link, &other, orig_len, &ports));
            use_up(&decode(
                LINKS[random(LINKS.len())],
                &other,
                orig_len,
                &ports,
            ));
            for encap in Encap::ALL {
                seen(inside(encap, &other, orig_len.max(other.len())));
            }
            identity(&other);
        }
    }
}

#[test]
fn padding_is_no_payload() {
    let data = [&ethernet(0x0800, &ipv4(17, &udp(7, b"x")))[..], &[0; 17]].concat();
    let packet = decode(LinkType::Ethernet, &data, data.len(), &Ports::default());
    assert_eq!(packet.payload(packet.layers.last().unwrap()), b"x");
    assert_eq!(packet.stop, None);
}

#[test]
fn total_length_zero_reaches_to_the_end() {
    let mut data = ipv4(6, &tcp(81, &[7; 3000]));
    data[2..4].copy_from_slice(&[0, 0]);
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert_eq!(
        (packet.tcp().unwrap().payload_len(), packet.stop),
        (3000, None)
    );
    let packet = decode(LinkType::RawIp, &data[..200], data.len(), &Ports::default());
    assert_eq!(packet.tcp().unwrap().payload_len(), 3000);
    assert_eq!(
        packet.stop.unwrap().reason,
        Reason::Cut {
            missing: data.len() - 200
        }
    );
}

#[test]
fn lengths_that_promise_too_much_are_told() {
    let mut data = ipv4(17, &udp(7, b"abc"));
    data[3] += 9;
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert_eq!(packet.layers.len(), 2);
    let stop = packet.stop.unwrap();
    assert_eq!((stop.layer, stop.offset), ("ipv4", 0));
    assert_eq!(
        stop.reason,
        Reason::LengthBeyond {
            declared: 40,
            available: 31
        }
    );
}

#[test]
fn a_known_port_with_another_shape_is_not_forced() {
    let inner = ipv4(17, &udp(7, b"abc"));
    let mut longer = inner.clone();
    longer.push(0);
    let mut version = inner.clone();
    version[0] = 0x65;
    for payload in [&longer[..], &version, b"keep-alive", b"", b"E"] {
        let data = ipv4(17, &udp(8285, payload));
        let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
        assert_eq!(packet.layer_names().collect::<Vec<_>>(), ["ipv4", "udp"]);
        assert_eq!((packet.stop, packet.outer()), (None, None));
    }
    for (port, payload) in [
        (4789, &[0u8; 30][..]),
        (6081, &[0xff; 30]),
        (53, &[0xff; 30]),
    ] {
        let data = ipv4(17, &udp(port, payload));
        let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
        assert_eq!(packet.layers.len(), 2, "{port}");
    }
}

#[test]
fn fragments() {
    let inner = ipv4(17, &udp(7, &[7; 100]));
    let mut first = ipv4(17, &udp(8285, &inner)[..60]);
    first[6] = 0x20;
    let packet = decode(LinkType::RawIp, &first, first.len(), &Ports::default());
    let names: Vec<_> = packet.layer_names().collect();
    assert_eq!(names, ["ipv4", "udp", "flannel-udp", "ipv4", "udp"]);
    let mut later = ipv4(17, &[7; 60]);
    later[7] = 9;
    let packet = decode(LinkType::RawIp, &later, later.len(), &Ports::default());
    assert_eq!(packet.layers.len(), 1);
    assert_eq!(packet.stop.unwrap().reason, Reason::Fragment { offset: 72 });
}

#[test]
fn tunnels_nest_to_a_limit_that_is_told() {
    let mut data = ipv4(17, &udp(7, b"abc"));
    for _ in 0..MAX_ENCAPSULATIONS {
        data = ipv4(4, &data);
    }
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert_eq!(
        (packet.stop, packet.encapsulations().count()),
        (None, MAX_ENCAPSULATIONS)
    );
    let data = ipv4(4, &data);
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert_eq!(packet.stop.unwrap().reason, Reason::TooDeep);
    assert_eq!(packet.stop.unwrap().offset, 20 * (MAX_ENCAPSULATIONS + 1));
    // Tags without end are no tunnels, but are too many layers.
    let tags = ethernet(0x8100, &[0x81, 0x00].repeat(500));
    let packet = decode(LinkType::Ethernet, &tags, tags.len(), &Ports::default());
    assert_eq!(packet.stop.unwrap().reason, Reason::TooManyLayers);
}

#[test]
fn hostile_names_stay_as_they_came() {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x06\x1b[31m\xff\x02a.\0\0\x01\0\x01");
    let data = ipv4(17, &udp(53, &message));
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    let parsed = packet.dns().unwrap().parse();
    assert!(parsed.complete);
    assert_eq!(parsed.questions[0].name, b"\x1b[31m\xff.a.");
    // A pointer to itself.
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\xc0\x0c\0\x01\0\x01");
    let data = ipv4(17, &udp(53, &message));
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert!(!packet.dns().unwrap().parse().complete);
}

#[test]
fn a_hello_says_who_is_wanted() {
    let data = ipv4(6, &tcp(443, &client_hello()));
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    let hello = packet.tls().unwrap().client_hello().unwrap();
    assert_eq!(
        (hello.version, hello.server_name),
        (0x0303, Some(&b"a.b"[..]))
    );
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [b"h2"]);
}

#[test]
fn a_message_that_goes_on_in_the_next_segment_is_told() {
    let message = over_tcp(&dns_answer());
    for (port, whole) in [(53, &message), (443, &client_hello())] {
        let data = ipv4(6, &tcp(port, &whole[..whole.len() - 3]));
        let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
        assert_eq!(
            packet.stop.unwrap().reason,
            Reason::Segmented { missing: 3 }
        );
        use_up(&packet);
    }
    let data = ipv4(6, &tcp(53, &[&message[..], &message[..5]].concat()));
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    assert_eq!(packet.dns_messages().count(), 1);
    let stop = packet.stop.unwrap();
    assert_eq!(
        (stop.layer, stop.reason),
        ("dns", Reason::Segmented { missing: 9 })
    );
}

#[test]
fn a_discover_says_what_it_wants() {
    let data = ipv4(17, &udp(67, &dhcp_discover()));
    let packet = decode(LinkType::RawIp, &data, data.len(), &Ports::default());
    let dhcp = packet.dhcp().unwrap();
    assert_eq!(
        (dhcp.message_name(), dhcp.transaction_id(), dhcp.host_name()),
        (Some("Discover"), 0x0102_0304, Some(&b"h"[..]))
    );
    assert_eq!(dhcp.requested_address(), Some([10, 0, 0, 9].into()));
    assert_eq!((dhcp.server(), dhcp.your_address()), (None, None));
    assert_eq!(dhcp.client_hardware(), [0; 6]);
}
