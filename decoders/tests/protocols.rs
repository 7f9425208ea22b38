//! Protocols by the bytes of one packet each, cross-checked against tshark.

mod build;

use build::{ethernet, ipv4, names, raw, udp_between};
use decoders::{Layer, LengthSource, LinkType, Ports, Reason, decode};

#[test]
fn gre_words() {
    let inner = ipv4(17, &udp_between(1, 2, b"abc"));
    let words = [0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 9];
    let data = ipv4(47, &[&words, &inner[..]].concat());
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "gre", "ipv4", "udp"]);
    let Layer::Gre(gre) = &packet.layers[1] else {
        panic!("GRE")
    };
    assert_eq!((gre.key(), gre.sequence()), (Some(0x1234), Some(9)));
    assert_eq!((gre.vni(), gre.flow_id()), (Some(0x1234), None));
    // Source routes: one of four bytes, and the end.
    let routes = [
        0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4, 10, 0, 0, 9, 0, 0, 0, 0,
    ];
    let data = ipv4(47, &[&routes, &inner[..]].concat());
    assert_eq!(names(&raw(&data)), ["ipv4", "gre", "ipv4", "udp"]);
    let data = ipv4(47, &[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 9]);
    assert!(matches!(
        raw(&data).stop.unwrap().reason,
        Reason::TooShort { .. }
    ));
}

#[test]
fn nvgre_network_and_flow() {
    let frame = ethernet(0x0800, &ipv4(17, &udp_between(1, 2, b"abc")));
    let data = ipv4(
        47,
        &[&[0x20, 0, 0x65, 0x58, 0, 0x12, 0x34, 5], &frame[..]].concat(),
    );
    let tunnel = raw(&data).encapsulations().next().unwrap();
    assert_eq!((tunnel.vni, tunnel.flow_id), (Some(0x1234), Some(5)));
    assert_eq!(tunnel.key, Some(0x0012_3405));
}

#[test]
fn pptp_call() {
    let header = [0x30, 0x81, 0x88, 0x0b, 0, 4, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
    let data = ipv4(47, &[&header[..], &[0xff, 3, 0xc0, 0x21]].concat());
    let packet = raw(&data);
    let tunnel = packet.encapsulations().next().unwrap();
    assert_eq!((tunnel.call_id, tunnel.vni), (Some(7), None));
    assert_eq!(tunnel.key, Some(0x0004_0007));
    assert_eq!(names(&packet), ["ipv4", "gre", "ppp", "lcp"]);
    assert_eq!(packet.stop, None);
    let data = ipv4(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 2]);
    assert_eq!(raw(&data).stop, None);
}

#[test]
fn erspan_sessions() {
    let frame = ethernet(0x0800, &ipv4(17, &udp_between(1, 2, b"abc")));
    let two = [0x10, 100, 0x0c, 7, 0, 0, 0, 1];
    let three = [0x20, 100, 0x0c, 7, 0, 0, 0, 16, 0, 5, 0, 0];
    for (gre, header, kind) in [
        (&[0u8, 0, 0x88, 0xbe][..], &[][..], 1),
        (&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1], &two, 2),
        (&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1], &three, 3),
    ] {
        let data = ipv4(47, &[gre, header, &frame].concat());
        let packet = raw(&data);
        let expected = ["ipv4", "gre", "erspan", "eth", "ipv4", "udp"];
        assert_eq!(names(&packet), expected);
        let Layer::Erspan(erspan) = &packet.layers[2] else {
            panic!("ERSPAN")
        };
        let found = (erspan.kind(), erspan.session(), erspan.vlan());
        let some = kind > 1;
        assert_eq!(found, (kind, some.then_some(7), some.then_some(100)));
        assert!(some == erspan.is_truncated());
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn esp_and_ah() {
    let esp = [&hex("00001001 00000007")[..], &[0x77; 40]].concat();
    for data in [ipv4(50, &esp), ipv4(17, &udp_between(4500, 4500, &esp))] {
        let packet = raw(&data);
        let Some(Layer::Esp(esp)) = packet.layers.last() else {
            panic!("ESP")
        };
        assert_eq!((esp.spi(), esp.sequence()), (0x1001, 7));
        assert_eq!(packet.stop, None);
    }
    let header = hex("11040000 00001000 00000009 000000000000000000000000");
    let data = ipv4(51, &[&header[..], &udp_between(1, 2, b"abc")].concat());
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "ah", "udp"]);
    let Layer::Ah(ah) = &packet.layers[1] else {
        panic!("AH")
    };
    assert_eq!((ah.spi(), ah.sequence(), ah.header_len()), (0x1000, 9, 24));
    let data = ipv4(51, &[17, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let (declared, minimum) = (8, 12);
    let reason = Reason::LengthTooSmall { declared, minimum };
    assert_eq!(raw(&data).stop.unwrap().reason, reason);
}

#[test]
fn ike_exchanges() {
    let ids = "1111111111111111 0000000000000000";
    for (head, version, exchange) in [
        ("2120 22 08", 2, "IKE_SA_INIT"),
        ("2110 02 00", 1, "Identity Protection (Main Mode)"),
    ] {
        let text = format!("{ids}{head} 00000000 00000024 0000000801010000");
        let data = ipv4(17, &udp_between(500, 500, &hex(&text)));
        let packet = raw(&data);
        let Some(Layer::Ike(ike)) = packet.layers.last() else {
            panic!("IKE")
        };
        assert_eq!(ike.version(), version);
        assert_eq!(ike.exchange_name(), Some(exchange));
    }
}

#[test]
fn ports_of_security_protocols_with_other_shapes() {
    for (port, payload) in [
        (500, &[1u8; 40][..]),
        (4500, &[0; 40]),
        (4500, &[0, 0, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1]),
        (4500, b"not encrypted"),
        (4500, &[0xfe]),
        (1701, b"hello"),
        (51820, &[4, 0, 0, 0, 1, 1, 1, 1]),
        (51820, &[1; 148]),
    ] {
        let data = ipv4(17, &udp_between(40000, port, payload));
        let packet = raw(&data);
        assert_eq!((packet.layers.len(), packet.stop), (2, None), "{port}");
    }
}

#[test]
fn wireguard_messages() {
    let message = |head: &str, length: usize| {
        let mut bytes = hex(head);
        bytes.resize(length, 0x55);
        bytes
    };
    let four = "04000000 44332211 0700000000000000";
    for (bytes, kind, receiver, counter) in [
        (
            message("01000000 44332211", 148),
            "Handshake Initiation",
            None,
            None,
        ),
        (
            message("02000000 44332211 88776655", 92),
            "Handshake Response",
            Some(0x5566_7788),
            None,
        ),
        (
            message("03000000 44332211", 64),
            "Cookie Reply",
            Some(0x1122_3344),
            None,
        ),
        (
            message(four, 80),
            "Transport Data",
            Some(0x1122_3344),
            Some(7),
        ),
        (message(four, 32), "Keepalive", Some(0x1122_3344), Some(7)),
    ] {
        let data = ipv4(17, &udp_between(40000, 41111, &bytes));
        let packet = raw(&data);
        let Some(Layer::Wireguard(found)) = packet.layers.last() else {
            panic!("{kind}")
        };
        assert_eq!((found.kind_name(), found.receiver()), (kind, receiver));
        assert_eq!(found.counter(), counter);
        // One byte more is not its length.
        let data = ipv4(17, &udp_between(40000, 41111, &[&bytes[..], &[0]].concat()));
        assert_eq!(raw(&data).layers.len(), 2);
    }
    // On any other port data need a counter that can be.
    let data = message("04000000 44332211 0700000000000100", 80);
    for (port, layers) in [(41111, 2), (51871, 3)] {
        assert_eq!(
            raw(&ipv4(17, &udp_between(1, port, &data))).layers.len(),
            layers
        );
    }
}

#[test]
fn l2tp_versions() {
    for (bytes, found) in [
        (
            "c802 0014 0001 0000 0000 0000 8008000000000001",
            (2, true, Some(1), Some(0)),
        ),
        ("0002 0001 0002 ff03c021", (2, false, Some(1), Some(2))),
        ("4002 000c 0001 0002 ff03c021", (2, false, Some(1), Some(2))),
        (
            "c803 0014 00000007 0000 0000 8008000000000001",
            (3, true, Some(7), None),
        ),
        ("0003 0000 00000009 0102", (3, false, None, Some(9))),
    ] {
        let data = ipv4(17, &udp_between(1701, 1701, &hex(bytes)));
        let packet = raw(&data);
        let Layer::L2tp(l2tp) = &packet.layers[2] else {
            panic!("L2TP")
        };
        let (control, tunnel) = (l2tp.is_control(), l2tp.tunnel());
        assert_eq!((l2tp.version(), control, tunnel, l2tp.session()), found);
        // PPP in the data of version 2; those of version 3 do not say what they carry.
        assert_eq!(packet.stop.is_none(), l2tp.version() == 2 || control);
        if l2tp.version() == 2 && !control {
            assert_eq!(names(&packet)[3..], ["ppp", "lcp"]);
        }
    }
}

#[test]
fn l2tp_lengths() {
    let frame = |bytes: &str| ipv4(17, &udp_between(1701, 1701, &hex(bytes)));
    // Two bytes behind what the message says it has.
    let data = frame("4002 000c 0001 0002 ff03c021 eeee");
    let packet = raw(&data);
    assert_eq!(names(&packet)[2..], ["l2tp", "ppp", "lcp"]);
    assert_eq!(packet.layers[2].span().end as usize, data.len() - 2);
    // The length ends the message within what it carries, or within its header.
    let data = frame("4002 0009 0001 0002 ff03c021");
    let stop = raw(&data).stop.unwrap();
    let from = stop.shortage.unwrap().length_from;
    assert_eq!((stop.layer, from), ("ppp", LengthSource::L2tpLength));
    let data = frame("4002 0007 0001 0002 ff03c021");
    let packet = raw(&data);
    assert_eq!(names(&packet)[2..], ["l2tp"]);
    let stop = packet.stop.unwrap();
    let reason = Reason::LengthTooSmall {
        declared: 7,
        minimum: 8,
    };
    assert_eq!((stop.layer, stop.offset, stop.reason), ("l2tp", 28, reason));
    // Without the bit those bytes are the tunnel's number.
    let data = frame("0002 0007 0002 ff03c021");
    assert_eq!(raw(&data).stop, None);
    // Data of version 3 have no length.
    let data = frame("0003 0000 00000009 0102");
    assert_eq!(raw(&data).layers[2].span().end as usize, data.len());
}

#[test]
fn stt_looks_like_tcp() {
    let frame = [&hex("0000000005b40000 0000000000000007 0000")[..], &[2; 40]].concat();
    let segment = |port: &str, seq: &str| {
        let header = hex(&format!("c350 {port} {seq} 00000003 5010 0400 0000 0000"));
        ipv4(6, &[&header[..], &frame].concat())
    };
    let data = segment("1d2f", "003a 0000");
    let packet = raw(&data);
    let Some(Layer::Stt(stt)) = packet.layers.last() else {
        panic!("STT")
    };
    assert_eq!(stt.context(), 7);
    assert_eq!(packet.stop.unwrap().layer, "stt");
    for (port, seq) in [
        ("1d2e", "003a 0000"),
        ("1d2f", "003a 0001"),
        ("1d2f", "0001 0000"),
    ] {
        assert_eq!(names(&raw(&segment(port, seq))), ["ipv4", "tcp"]);
    }
}

#[test]
fn transports() {
    let data = ipv4(
        132,
        &hex("1388 1770 11223344 00000000 03000010 00000007 0000ffff 00000000 0b000004 3f000004"),
    );
    let packet = raw(&data);
    let Some(Layer::Sctp(sctp)) = packet.layers.last() else {
        panic!("SCTP")
    };
    assert_eq!(sctp.verification_tag(), 0x1122_3344);
    let chunks: Vec<_> = sctp.chunks().map(|chunk| chunk.name()).collect();
    assert_eq!(chunks, [Some("SACK"), Some("COOKIE_ACK"), None]);
    let data = ipv4(136, &hex("03e8 07d0 0004 0101 616263"));
    let packet = raw(&data);
    let Some(Layer::UdpLite(udp)) = packet.layers.last() else {
        panic!("UDP-Lite")
    };
    assert_eq!((udp.coverage(), udp.payload_length()), (4, 3));
    assert!(!udp.coverage_is_right());
    for (message, version, group) in [
        ("11000000 00000000", 1, None),
        ("11640000 e1000001", 2, Some([225, 0, 0, 1].into())),
        ("11640000 00000000 027d0000", 3, None),
        ("22000000 00000001 04000000 e1000001", 3, None),
    ] {
        let data = ipv4(2, &hex(message));
        let packet = raw(&data);
        let Some(Layer::Igmp(igmp)) = packet.layers.last() else {
            panic!("IGMP")
        };
        assert_eq!((igmp.version(), igmp.group()), (Some(version), group));
        assert_eq!(
            igmp.records().count(),
            usize::from(message.starts_with("22"))
        );
    }
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfd; 32]);
    packet.extend(payload);
    packet
}

#[test]
fn ipv6_extensions() {
    let routing = hex("11020401 00000000 fe800000000000000000000000000009");
    let data = ipv6(43, &[&routing[..], &udp_between(1, 2, b"abc")].concat());
    let packet = raw(&data);
    let Layer::Ipv6Extension(header) = &packet.layers[1] else {
        panic!("routing")
    };
    assert_eq!(header.routing(), Some((4, 1)));
    assert_eq!(header.routing_name(), Some("srv6"));
    // A jumbogram ends where its option says, not where the frame does.
    let datagram = udp_between(1, 2, &[7; 70_000]);
    let mut data = ipv6(0, &hex("1100c204 00000000"));
    (data[4], data[5]) = (0, 0);
    data[44..48].copy_from_slice(&(8 + datagram.len() as u32).to_be_bytes());
    data.extend(datagram);
    (data[52], data[53]) = (0, 0);
    data.extend([0; 9]);
    let packet = raw(&data);
    assert_eq!(packet.udp().unwrap().payload_length(), 70_000);
    assert_eq!(packet.stop, None);
    for (number, name) in [(135, "mipv6"), (139, "hip"), (140, "shim6")] {
        let data = ipv6(number, &[59, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(names(&raw(&data)), ["ipv6", name]);
    }
}

#[test]
fn links() {
    let inner = ipv4(17, &udp_between(1, 2, b"abc"));
    let snap = [&hex("aaaa03 000000 0800")[..], &inner].concat();
    let mut framed = ethernet(snap.len() as u16, &snap);
    framed.resize(70, 0xee);
    let ether = |data: &[u8]| -> Vec<&'static str> {
        names(&decode(
            LinkType::Ethernet,
            data,
            data.len(),
            &Ports::default(),
        ))
    };
    assert_eq!(ether(&framed), ["eth", "llc", "ipv4", "udp"]);
    let stp = ethernet(38, &[&hex("424203")[..], &[0; 43]].concat());
    assert_eq!(ether(&stp), ["eth", "llc", "stp"]);
    for (number, name) in [(0x88cc, "lldp"), (0x888e, "eapol"), (0x8864, "pppoes")] {
        assert_eq!(ether(&ethernet(number, &[1; 46])), ["eth", name]);
    }
    let session = ethernet(0x8864, &[1; 46]);
    let packet = decode(LinkType::Ethernet, &session, 60, &Ports::default());
    assert_eq!(
        packet.stop.unwrap().reason,
        Reason::Form("this version or code")
    );
    // A number below EtherTypes is a length in Ethernet alone.
    let data = ipv4(47, &[0, 0, 0, 38, 1, 2, 3]);
    assert_eq!(raw(&data).stop.unwrap().reason, Reason::EtherType(38));
}
