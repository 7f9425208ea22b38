//! The packets of two field cases, byte for byte: a request through a flannel
//! tunnel seen on both of its sides, and a DNS query that went astray.

mod build;

use build::{names, raw};
use decoders::icmp::Quoted;
use decoders::tcp::{Tcp, TcpOption};
use decoders::{Encap, LinkType, Packet, Ports, decode, identity};
use std::net::IpAddr;

fn bytes(file: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/{file}.hex", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Source, destination, protocol, time to live, length, identification.
fn ip(packet: &Packet<'_>) -> (IpAddr, IpAddr, u8, u8, usize, u32) {
    let ip = packet.innermost_ip().unwrap();
    (
        ip.source(),
        ip.destination(),
        ip.protocol(),
        ip.ttl(),
        ip.len(),
        ip.id().unwrap(),
    )
}

/// Ports, sequence and acknowledgement number, window, flags.
fn segment(tcp: &Tcp<'_>) -> (u16, u16, u32, u32, u16, Vec<&'static str>) {
    let (ports, flags) = ((tcp.source_port(), tcp.destination_port()), tcp.flags());
    let (seq, ack) = (tcp.sequence(), tcp.acknowledgement());
    (
        ports.0,
        ports.1,
        seq,
        ack,
        tcp.window(),
        flags.names().collect(),
    )
}

const BALANCER: &str = "192.168.69.0";
const FRONTEND: &str = "192.168.13.2";

#[test]
fn syn_on_both_sides() {
    for (file, ttl, checksum) in [
        ("02-syn-read-from-tun", 64, 0x9319),
        ("03-syn-sent-on-udp", 63, 0x9419),
    ] {
        let data = bytes(file);
        let packet = raw(&data);
        assert_eq!(packet.stop, None);
        assert_eq!(names(&packet), ["ipv4", "tcp"]);
        let expected = (address(BALANCER), address(FRONTEND), 6, ttl, 60, 0xd44f);
        assert_eq!(ip(&packet), expected);
        let decoders::Ip::V4(header) = packet.innermost_ip().unwrap() else {
            panic!("IPv4")
        };
        assert_eq!(header.header_checksum(), checksum);
        assert!(
            header.checksum_is_right() && header.dont_fragment() && header.options().is_empty()
        );
        assert_eq!(header.fragment(), None);
        let tcp = packet.tcp().unwrap();
        assert_eq!(
            segment(tcp),
            (52279, 80, 0xd806_cd22, 0, 26799, vec!["SYN"])
        );
        assert_eq!(
            (tcp.checksum(), tcp.urgent_pointer(), tcp.payload_len()),
            (Some(0x6356), Some(0), 0)
        );
        let options: Vec<_> = tcp.options().collect();
        assert_eq!(
            options,
            [
                TcpOption::Mss(8933),
                TcpOption::SackPermitted,
                TcpOption::Timestamps(5_773_677, 0),
                TcpOption::Nop,
                TcpOption::WindowScale(7),
            ]
        );
    }
}

#[test]
fn syn_ack_on_both_sides() {
    for (file, ttl) in [
        ("04-synack-received-on-udp", 62),
        ("05-synack-written-to-tun", 61),
    ] {
        let data = bytes(file);
        let packet = raw(&data);
        assert_eq!((packet.stop, names(&packet)), (None, vec!["ipv4", "tcp"]));
        assert_eq!(
            ip(&packet),
            (address(FRONTEND), address(BALANCER), 6, ttl, 60, 0)
        );
        let tcp = packet.tcp().unwrap();
        let flags = vec!["SYN", "ACK"];
        assert_eq!(
            segment(tcp),
            (80, 52279, 0xc666_ef3e, 0xd806_cd23, 26763, flags)
        );
        assert!(
            tcp.options()
                .any(|option| option == TcpOption::Timestamps(5_696_552, 5_773_677))
        );
        assert_eq!(tcp.window_scale(), Some(7));
    }
}

#[test]
fn http_request_on_both_sides() {
    for (file, ttl) in [
        ("06-http-get-read-from-tun", 64),
        ("07-http-get-sent-on-udp", 63),
    ] {
        let data = bytes(file);
        let packet = raw(&data);
        assert_eq!(
            (packet.stop, names(&packet)),
            (None, vec!["ipv4", "tcp", "http"])
        );
        assert_eq!(
            ip(&packet),
            (address(BALANCER), address(FRONTEND), 6, ttl, 152, 0xd451)
        );
        let tcp = packet.tcp().unwrap();
        let flags = vec!["PSH", "ACK"];
        assert_eq!(
            segment(tcp),
            (52279, 80, 0xd806_cd23, 0xc666_ef3f, 210, flags)
        );
        assert_eq!(tcp.payload_len(), 100);
        assert_eq!(packet.payload(&packet.layers[1]), &data[52..]);
        let http = packet.http().unwrap();
        assert_eq!(
            (http.first_line(), http.is_response()),
            (&b"GET / HTTP/1.1"[..], false)
        );
        let headers: Vec<_> = http.headers().collect();
        assert_eq!(
            headers,
            [
                (&b"User-Agent"[..], &b"curl/7.30.0"[..]),
                (b"Accept", b"*/*"),
                (b"Host", b"myapp.org"),
                (b"X-Forwarded-For", b"127.0.0.1"),
            ]
        );
    }
}

#[test]
fn dns_query_in_the_wrong_network() {
    let data = bytes("08-dns-query-read-from-tun");
    let packet = raw(&data);
    assert_eq!(
        (packet.stop, names(&packet)),
        (None, vec!["ipv4", "udp", "dns"])
    );
    assert_eq!(
        ip(&packet),
        (
            address("10.1.88.0"),
            address("10.1.0.2"),
            17,
            64,
            60,
            0x74a6
        )
    );
    let udp = packet.udp().unwrap();
    assert_eq!((udp.source_port(), udp.destination_port()), (39620, 53));
    assert_eq!(
        (udp.length(), udp.payload_length(), udp.checksum()),
        (40, 32, 0xd6e1)
    );
    let dns = packet.dns().unwrap();
    assert_eq!(
        (dns.id(), dns.is_response(), dns.opcode(), dns.rcode()),
        (0x9317, false, 0, 0)
    );
    assert_eq!((dns.question_count(), dns.answer_count()), (1, 0));
    assert!(dns.recursion_desired() && !dns.is_truncated() && !dns.is_authoritative());
    let message = dns.parse();
    assert!(message.complete);
    assert_eq!(
        (&message.questions[0].name[..], &*message.questions[0].kind),
        (&b"www.google.com"[..], "A")
    );
}

#[test]
fn unreachable_that_quotes_the_query() {
    let data = bytes("09-icmp-unreachable-written-to-tun");
    let packet = raw(&data);
    assert_eq!((packet.stop, names(&packet)), (None, vec!["ipv4", "icmp"]));
    assert_eq!(
        ip(&packet),
        (address("10.1.88.0"), address("10.1.88.0"), 1, 8, 56, 0)
    );
    let icmp = packet.icmp().unwrap();
    assert_eq!((icmp.kind(), icmp.code(), icmp.checksum()), (3, 0, 0x8afc));
    assert_eq!(
        icmp.quoted(),
        Some(Quoted {
            source: address("10.1.88.0"),
            destination: address("10.1.0.2"),
            protocol: 17,
            source_port: Some(39620),
            destination_port: Some(53),
            ttl: 64,
            echo: None,
        })
    );
}

#[test]
fn both_sides_have_one_identity_and_others_another() {
    let of = |file| identity(&bytes(file)).unwrap();
    assert_eq!(of("02-syn-read-from-tun"), of("03-syn-sent-on-udp"));
    assert_eq!(
        of("04-synack-received-on-udp"),
        of("05-synack-written-to-tun")
    );
    assert_eq!(
        of("06-http-get-read-from-tun"),
        of("07-http-get-sent-on-udp")
    );
    assert_ne!(of("02-syn-read-from-tun"), of("06-http-get-read-from-tun"));
}

#[test]
fn carried_by_flannel_over_ethernet() {
    let inner = bytes("07-http-get-sent-on-udp");
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([
        0x45, 0, 0, 180, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 1, 1, 95, 10, 1, 1, 187,
    ]);
    frame.extend([0x20, 0x5d, 0x20, 0x5d, 0, 160, 0, 0]);
    frame.extend(&inner);
    let packet = decode(LinkType::Ethernet, &frame, frame.len(), &Ports::default());
    assert_eq!(
        names(&packet),
        ["eth", "ipv4", "udp", "flannel-udp", "ipv4", "tcp", "http"]
    );
    assert_eq!(ip(&packet).1, address(FRONTEND));
    let outer = packet.outer().unwrap();
    assert_eq!(
        (outer.source, outer.destination),
        (address("10.1.1.95"), address("10.1.1.187"))
    );
    assert_eq!(
        (outer.source_port, outer.destination_port),
        (Some(8285), Some(8285))
    );
    let tunnels: Vec<_> = packet.encapsulations().collect();
    assert_eq!(tunnels.len(), 1);
    assert_eq!((tunnels[0].protocol, tunnels[0].vni), ("flannel-udp", None));
    assert!(packet.udp().is_none(), "the datagram is the carrier's");
    // The same on a port that nobody named, and on one that somebody did.
    let mut frame = frame.clone();
    frame[34..38].copy_from_slice(&[0x1e, 0xd2, 0x1e, 0xd2]);
    let mut ports = Ports::default();
    let packet = decode(LinkType::Ethernet, &frame, frame.len(), &ports);
    assert_eq!(names(&packet), ["eth", "ipv4", "udp"]);
    ports.insert(7890, Encap::FlannelUdp);
    let packet = decode(LinkType::Ethernet, &frame, frame.len(), &ports);
    assert_eq!(names(&packet)[3..], ["flannel-udp", "ipv4", "tcp", "http"]);
}

#[test]
fn a_request_begins_like_ipv4_and_is_no_tunnel() {
    // `G` is version 4 with a header of 28 bytes: the length tells.
    let payload = bytes("01-http-request-on-loopback");
    let mut data = vec![0x45, 0, 0, 100, 0, 1, 0, 0, 64, 17, 0, 0];
    data.extend([
        10, 1, 1, 95, 10, 1, 1, 187, 0x20, 0x5d, 0x20, 0x5d, 0, 80, 0, 0,
    ]);
    data.extend(&payload);
    assert_eq!(names(&raw(&data)), ["ipv4", "udp"]);
}
