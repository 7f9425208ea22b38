//! Protocols by the bytes of one packet each, cross-checked against tshark.

use decoders::{Layer, LinkType, Packet, Ports, Reason, decode};

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    packet.extend(payload);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet
}

fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let words = [ports.0, ports.1, 8 + payload.len() as u16, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend(payload);
    bytes
}

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

fn raw(data: &[u8]) -> Packet<'_> {
    decode(LinkType::RawIp, data, data.len(), &Ports::default())
}

fn names(packet: &Packet<'_>) -> Vec<&'static str> {
    packet.layer_names().collect()
}

#[test]
fn gre_words() {
    let inner = ipv4(17, &udp((1, 2), b"abc"));
    let words = [0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 9];
    let data = ipv4(47, &[&words, &inner[..]].concat());
    let packet = raw(&data);
    assert_eq!(names(&packet), ["ipv4", "gre", "ipv4", "udp"]);
    let Layer::Gre(gre) = &packet.layers[1] else {
        panic!("GRE")
    };
    assert_eq!((gre.key(), gre.sequence()), (Some(0x1234), Some(9)));
    assert_eq!((gre.vni(), gre.flow_id()), (Some(0x1234), None));
    let data = ipv4(47, &[&[0x40, 0, 8, 0, 0, 0, 0, 0], &inner[..]].concat());
    let stop = raw(&data).stop.unwrap();
    assert_eq!(stop.reason, Reason::Form("GRE with source routes"));
}

#[test]
fn nvgre_network_and_flow() {
    let frame = ethernet(0x0800, &ipv4(17, &udp((1, 2), b"abc")));
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
    assert_eq!(packet.stop.unwrap().offset, 36);
    let data = ipv4(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 2]);
    assert_eq!(raw(&data).stop, None);
}

#[test]
fn erspan_sessions() {
    let frame = ethernet(0x0800, &ipv4(17, &udp((1, 2), b"abc")));
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
