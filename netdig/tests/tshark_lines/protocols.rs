//! Protocols that are named: one packet of each form.

use super::build::*;

/// ESP, AH, IKE and WireGuard, one of each form.
pub fn security() -> Vec<Vec<u8>> {
    let esp = cat(&[&[0, 0, 0x10, 1, 0, 0, 0, 7], &[0x77; 40]]);
    let ah = cat(&[&[17, 4, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 9], &[0; 12]]);
    let datagram = udp(1000, 2000, b"abc");
    let ike = |version, exchange, flags| {
        let head = [33, version, exchange, flags, 0, 0, 0, 1, 0, 0, 0, 36];
        cat(&[&[0x11; 8], &[0; 8], &head, &[0, 0, 0, 8, 1, 1, 0, 0]])
    };
    let wireguard = |kind, length| {
        let mut message = vec![kind, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 7];
        message.resize(16, 0);
        message.resize(length, 0x55);
        message
    };
    let over_udp =
        |ports: (u16, u16), payload: &[u8]| ipv4(A, B, 17, &udp(ports.0, ports.1, payload));
    vec![
        ipv4(A, B, 50, &esp),
        ipv6(50, 64, &esp),
        over_udp((4500, 4500), &esp),
        over_udp((4500, 31000), &cat(&[&[0; 4], &ike(0x20, 37, 0x28)])),
        over_udp((4500, 4500), &[0xff]),
        over_udp((500, 500), &ike(0x20, 34, 8)),
        over_udp((500, 500), &ike(0x20, 35, 0x20)),
        over_udp((500, 500), &ike(0x10, 2, 0)),
        ipv4(A, B, 51, &cat(&[&ah, &datagram])),
        ipv6(51, 64, &cat(&[&ah, &datagram])),
        over_udp((51820, 51820), &wireguard(1, 148)),
        over_udp((40000, 51871), &wireguard(2, 92)),
        over_udp((40000, 41111), &wireguard(3, 64)),
        over_udp((40000, 41111), &wireguard(4, 96)),
        over_udp((40000, 41111), &wireguard(4, 32)),
        // As long as the device's MTU allows, not filled up.
        over_udp((40000, 41111), &wireguard(4, 1362)),
    ]
}

/// TCP's rarer options, each in a flow of its own.
pub fn tcp_options() -> Vec<Vec<u8>> {
    let options: [&[u8]; 6] = [
        // Fast open as an experiment, before it had a number.
        &[254, 4, 0xf9, 0x89],
        &[254, 8, 0xf9, 0x89, 1, 2, 3, 4],
        &[34, 2, 1, 1],
        &[34, 10, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1],
        &[30, 12, 0, 0x81, 1, 1, 1, 1, 1, 1, 1, 1],
        &[30, 12, 0x10, 1, 0, 0, 0, 1, 0, 0, 0, 2],
    ];
    let segment = |(at, options): (usize, &&[u8])| {
        let segment = Segment {
            ports: (3000 + at as u16, 81),
            flags: 2,
            options,
            ..SEGMENT
        };
        segment.forth()
    };
    options.iter().enumerate().map(segment).collect()
}

/// SCTP, UDP-Lite and IGMP of all versions.
pub fn transports() -> Vec<Vec<u8>> {
    let sctp = |chunks: &[u8]| {
        let header = [0x13, 0x88, 0x17, 0x70, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0];
        ipv4(A, B, 132, &cat(&[&header, chunks]))
    };
    let init = [0, 0, 0, 5, 0, 0, 0xff, 0xff, 0, 10, 0, 10, 0, 0, 0, 7];
    let sack = [3, 0, 0, 16, 0, 0, 0, 7, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    let igmp = |bytes: &[u8]| ipv4(A, B, 2, bytes);
    let group = [225, 0, 0, 1];
    let record = |kind, sources: u8| {
        let addresses = [10, 0, 0, 9, 10, 0, 0, 8];
        let addresses = &addresses[..usize::from(sources) * 4];
        igmp(&cat(&[
            &[0x22, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, sources],
            &group,
            addresses,
        ]))
    };
    let mut packets = vec![
        sctp(&cat(&[&[1, 0, 0, 20], &init])),
        sctp(&cat(&[&[2, 0, 0, 20], &init])),
        sctp(&sack),
        sctp(&[10, 0, 0, 8, 1, 2, 3, 4]),
        sctp(&[11, 0, 0, 4]),
        sctp(&[14, 0, 0, 4]),
        sctp(&[0xc0, 0, 0, 8, 0, 0, 0, 9]),
        ipv4(A, B, 136, &cat(&[&[3, 0xe8, 7, 0xd0, 0, 8, 1, 1], b"abc"])),
        ipv4(A, B, 136, &cat(&[&[3, 0xe8, 7, 0xd0, 0, 4, 1, 1], b"abc"])),
        igmp(&[0x11, 0, 0, 0, 0, 0, 0, 0]),
        igmp(&cat(&[&[0x12, 0, 0, 0], &group])),
        igmp(&[0x11, 100, 0, 0, 0, 0, 0, 0]),
        igmp(&cat(&[&[0x11, 100, 0, 0], &group])),
        igmp(&cat(&[&[0x16, 0, 0, 0], &group])),
        igmp(&cat(&[&[0x17, 0, 0, 0], &group])),
        igmp(&cat(&[&[0x11, 100, 0, 0, 0, 0, 0, 0], &[2, 125, 0, 0]])),
        igmp(&cat(&[
            &[0x11, 100, 0, 0],
            &group,
            &[2, 125, 0, 1, 10, 0, 0, 9],
        ])),
        igmp(&[0x22, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for kind in 1..=6 {
        packets.extend((0..=2).map(|sources| record(kind, sources)));
    }
    packets
}

/// NetBIOS's name service: queries, their answers, a registration.
pub fn netbios_names() -> Vec<Vec<u8>> {
    let encoded = |name: &[u8; 16]| -> String {
        let halves = name.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        halves.map(|half| char::from(b'A' + half)).collect()
    };
    let workgroup = encoded(b"WORKGROUP      \x1d");
    let any = encoded(b"*\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let address = record(&workgroup, 0x20, &[0, 0, 192, 0, 2, 7]);
    let over_udp = |message: &[u8]| ipv4(A, B, 17, &udp(137, 137, message));
    vec![
        over_udp(&dns(
            7,
            0x0110,
            [&[question(&workgroup, 0x20)], &[], &[], &[]],
        )),
        over_udp(&dns(8, 0, [&[question(&any, 0x21)], &[], &[], &[]])),
        over_udp(&dns(7, 0x8500, [&[], &[address], &[], &[]])),
    ]
}
