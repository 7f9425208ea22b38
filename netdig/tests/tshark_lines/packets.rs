//! The packets that are compared. What tshark reassembles or dissects beyond
//! netdig's layers is not among them.

use super::build::*;

pub fn tcp() -> Vec<Vec<u8>> {
    let syn_options = [
        2, 4, 0x22, 0xe5, 4, 2, 8, 10, 0, 0x58, 0x19, 0x6d, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    let syn = Segment {
        seq: 100,
        ack: 0,
        flags: 2,
        options: &syn_options,
        ..SEGMENT
    };
    let answer = Segment {
        seq: 500,
        ack: 101,
        flags: 0x12,
        options: &[3, 3, 5, 1],
        ..SEGMENT
    };
    let data = Segment {
        seq: 101,
        ack: 501,
        ..SEGMENT
    };
    let mut packets = vec![syn.forth(), answer.back(), data.forth()];
    packets.push(
        Segment {
            seq: 501,
            ack: 101,
            flags: 0x18,
            payload: b"hello",
            ..SEGMENT
        }
        .back(),
    );
    let mut sack = vec![1, 1, 5, 18];
    sack.extend(
        [111u32, 121, 131, 141]
            .iter()
            .flat_map(|edge| edge.to_be_bytes()),
    );
    packets.push(
        Segment {
            seq: 506,
            ack: 101,
            options: &sack,
            ..SEGMENT
        }
        .back(),
    );
    for flags in [0, 0x30, 0xd0, 0x1c2, 0xe10, 0x14, 4, 0x11, 0x19, 0x29] {
        packets.push(
            Segment {
                flags,
                urgent: 7,
                ..data
            }
            .forth(),
        );
    }
    let options: [&[u8]; 8] = [
        &[19, 18, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        &[28, 4, 0, 5],
        &[253, 4, b'a', b'b'],
        &[2, 3, 1, 1],
        &[2, 32, 1, 1],
        &[0, 0, 0, 0],
        &[1, 1, 8, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        &[3, 3, 14, 0],
    ];
    for options in options {
        packets.push(Segment { options, ..data }.forth());
    }
    for options in [&[34, 2, 1, 1][..], &[34, 6, 1, 2, 3, 4, 1, 1]] {
        packets.push(
            Segment {
                flags: 2,
                options,
                ..data
            }
            .forth(),
        );
    }
    packets.extend([
        Segment {
            ports: (7, 8),
            seq: u32::MAX,
            ack: 0,
            ..SEGMENT
        }
        .forth(),
        Segment {
            ports: (7, 8),
            seq: 0,
            ack: 0,
            ..SEGMENT
        }
        .forth(),
    ]);
    packets
}

/// Flows that begin, go on and begin anew in every which way; the same each run.
pub fn flows() -> Vec<Vec<u8>> {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = move |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % below
    };
    let scales: [&[u8]; 3] = [&[], &[3, 3, 2, 1], &[3, 3, 9, 1]];
    let mut seen = std::collections::HashSet::new();
    let mut packets = Vec::new();
    for _ in 0..3000 {
        let kind = random(10);
        let flags = [2, 2, 0x12, 0x12, 0x10, 0x10, 0x18, 0x11, 4, 0x14][kind as usize];
        let options = if kind < 4 {
            scales[random(3) as usize]
        } else {
            &[]
        };
        let segment = Segment {
            ports: (3000 + random(40) as u16, 80),
            seq: 1000 + random(3),
            ack: if flags & 0x10 == 0 {
                0
            } else {
                2000 + random(3)
            },
            flags,
            options,
            ..SEGMENT
        };
        // The client is one end and begins: when a SYN comes from the other end
        // than a flow's first packet, tshark keeps two flows from then on.
        let forth = match flags & 0x12 {
            _ if seen.insert(segment.ports.0) => true,
            0x02 => true,
            0x12 => false,
            _ => random(2) == 0,
        };
        packets.push(if forth {
            segment.forth()
        } else {
            segment.back()
        });
    }
    packets
}

pub fn http() -> Vec<Vec<u8>> {
    let requests: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: myapp.org\r\n\r\n",
        b"PROPFIND /dav HTTP/1.1\r\nHost: myapp.org\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: myapp.org\r\n\r\n",
        b"HEAD /x?y=z HTTP/1.0\r\nHost: myapp.org\r\n\r\n",
    ];
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type:image/png\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
    ];
    let segment = |at: usize, payload| Segment {
        ports: (4000 + at as u16, 80),
        flags: 0x18,
        payload,
        ..SEGMENT
    };
    let forth = requests
        .into_iter()
        .enumerate()
        .map(|(at, text)| segment(at, text).forth());
    let back = answers
        .into_iter()
        .enumerate()
        .map(|(at, text)| segment(9 + at, text).back());
    let preface =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\0\0\x04\0";
    let preface = segment(20, preface).forth();
    forth.chain(back).chain([preface]).collect()
}

pub fn names() -> Vec<Vec<u8>> {
    let query = |message: &[u8]| ipv4(A, B, 17, &udp(40000, 53, message));
    let answer = |message: &[u8]| ipv4(B, A, 17, &udp(53, 40000, message));
    let host = "www.google.com";
    let address = |text: &str, last| record(text, 1, &[1, 2, 3, last]);
    let opt = record_of_class("", 41, 4096, &[]);
    let soa = cat(&[&name("ns1.google.com"), &name("admin.google.com"), &[0; 20]]);
    let mut packets = vec![
        query(&dns(0x9317, 0x100, [&[question(host, 1)], &[], &[], &[]])),
        answer(&dns(
            0x9317,
            0x8180,
            [
                &[question(host, 1)],
                &[address(host, 4), address(host, 5)],
                &[],
                &[],
            ],
        )),
        answer(&dns(
            0x9317,
            0x8183,
            [
                &[question(host, 28)],
                &[],
                &[record("google.com", 6, &soa)],
                &[],
            ],
        )),
        query(&dns(
            0x9318,
            0x120,
            [&[question(host, 28)], &[], &[], std::slice::from_ref(&opt)],
        )),
        answer(&dns(
            1,
            0x8180,
            [
                &[question(host, 28)],
                &[
                    record(host, 5, &name("x.google.com")),
                    record("x.google.com", 28, &link_local(9)),
                ],
                &[record("google.com", 2, &name("ns1.google.com"))],
                &[address("ns1.google.com", 9), opt],
            ],
        )),
        query(&dns(6, 0x100, [&[question("", 2)], &[], &[], &[]])),
        // It ends inside the question.
        query(&dns(12, 0x100, [&[b"\x03foo\0\0".to_vec()], &[], &[], &[]])),
    ];
    for (kind, data) in [
        (15, cat(&[&[0, 10], &name("mx.google.com")])),
        (16, b"\x05hello\x03foo".to_vec()),
        (33, cat(&[&[0, 1, 0, 2, 0x13, 0xc4], &name("sip.x.y")])),
        (12, name("host.x")),
        (2, name("")),
        (65, cat(&[&[0, 1], &name("")])),
        (64, cat(&[&[0, 1], &name("svc.y")])),
        (257, b"\x00\x05issueca.org".to_vec()),
        (65280, b"abc".to_vec()),
        (13, b"\x03cpu\x02os".to_vec()),
        (35, cat(&[b"\0\x01\0\x02\x01u\x01s\x01r", &name("x.y")])),
        (48, b"\x01\0\x03\x08abc".to_vec()),
        (43, b"\0\x01\x08\x02abcdefghabcdefghabcd".to_vec()),
        (44, b"\x01\x01abcdefghabcdefghabcd".to_vec()),
    ] {
        let message = dns(
            2,
            0x8180,
            [
                &[question("x.y", kind)],
                &[record("x.y", kind, &data)],
                &[],
                &[],
            ],
        );
        packets.push(answer(&message));
    }
    for kind in [1, 255, 252, 99, 65281, 46, 50, 250] {
        packets.push(query(&dns(
            7,
            0x100,
            [&[question("x.y", kind)], &[], &[], &[]],
        )));
    }
    for rcode in 0..16 {
        packets.push(answer(&dns(
            9,
            0x8180 | rcode,
            [&[question("x.y", 1)], &[], &[], &[]],
        )));
    }
    for opcode in 0..7 {
        packets.push(query(&dns(
            10,
            0x100 | opcode << 11,
            [&[question("x.y", 6)], &[], &[], &[]],
        )));
        packets.push(answer(&dns(
            10,
            0x8180 | opcode << 11,
            [&[question("x.y", 6)], &[], &[], &[]],
        )));
    }
    let multicast = |message: &[u8]| ipv4(A, [224, 0, 0, 251], 17, &udp(5353, 5353, message));
    packets.extend([
        multicast(&dns(
            0,
            0,
            [&[question("_http._tcp.local", 12)], &[], &[], &[]],
        )),
        multicast(&dns(
            0,
            0,
            [&[question_of_class("a.local", 1, 0x8001)], &[], &[], &[]],
        )),
        multicast(&dns(
            0,
            0x8400,
            [&[], &[record_of_class("a.local", 1, 0x8001, &A)], &[], &[]],
        )),
        ipv4(
            A,
            B,
            17,
            &udp(
                5555,
                5355,
                &dns(3, 0, [&[question("host", 1)], &[], &[], &[]]),
            ),
        ),
    ]);
    packets
}

pub fn control_messages() -> Vec<Vec<u8>> {
    let quoted = ipv4(
        [10, 0, 0, 9],
        [10, 0, 0, 8],
        17,
        &udp(1000, 2000, b"abcdefgh"),
    );
    let mut packets = Vec::new();
    for (kind, codes) in [(3, 17), (4, 1), (5, 4), (11, 3), (12, 3)] {
        packets.extend((0..codes).map(|code| icmp(kind, code, [0, 0, 5, 0x78], &quoted)));
    }
    for kind in [0, 8, 10, 13, 14, 15, 16, 17, 18, 30, 99] {
        packets.push(icmp(kind, 0, [0x12, 0x34, 0, 1], &[0; 12]));
    }
    let quoted = ipv6(17, 64, &udp(1000, 2000, b"abcdefgh"));
    for (kind, codes) in [(1, 9), (2, 1), (3, 3), (4, 5)] {
        packets.extend((0..codes).map(|code| icmpv6(kind, code, &cat(&[&[0, 0, 5, 0], &quoted]))));
    }
    for kind in [128, 129] {
        packets.push(icmpv6(kind, 0, &[0x12, 0x34, 0, 1, 7, 7]));
    }
    let target = link_local(0x77);
    let source_address = cat(&[&[1, 1], &MAC_A]);
    let target_address = cat(&[&[2, 1], &MAC_B]);
    packets.push(icmpv6(135, 0, &cat(&[&[0; 4], &target, &source_address])));
    packets.push(icmpv6(135, 0, &cat(&[&[0; 4], &target])));
    for flags in [0, 0x20, 0x40, 0x60, 0x80, 0xe0] {
        packets.push(icmpv6(
            136,
            0,
            &cat(&[&[flags, 0, 0, 0], &target, &target_address]),
        ));
    }
    packets.push(icmpv6(136, 0, &cat(&[&[0; 4], &target])));
    packets.push(icmpv6(133, 0, &cat(&[&[0; 4], &source_address])));
    packets.push(icmpv6(133, 0, &[0; 4]));
    packets.push(icmpv6(
        134,
        0,
        &cat(&[&[64, 0, 7, 8], &[0; 8], &source_address]),
    ));
    packets.push(icmpv6(137, 0, &cat(&[&[0; 4], &target, &target])));
    for kind in [130, 131, 132] {
        packets.push(icmpv6(kind, 0, &cat(&[&[0; 4], &target])));
    }
    packets.push(icmpv6(143, 0, &cat(&[&[0, 0, 0, 1, 4, 0, 0, 0], &target])));
    packets
}

pub fn network() -> Vec<Vec<u8>> {
    let whole = udp(1000, 2000, &[b'z'; 100]);
    let datagram = udp(1, 2, b"abc");
    let inner = ipv4([1, 1, 1, 1], [2, 2, 2, 2], 17, &datagram);
    let frame = ethernet(0x0800, &inner);
    vec![
        ipv4_fragment(A, B, 17, 0x2000, 77, &whole[..56]),
        ipv4_fragment(A, B, 17, 0x2000 | 100, 79, &whole[..56]),
        ipv4_fragment(A, B, 6, 0x2003, 80, &[0; 24]),
        ipv4(A, B, 200, b"abc"),
        ipv4(A, B, 50, &cat(&[&[0, 0, 1, 1, 0, 0, 0, 2], &[7; 16]])),
        ipv4(A, B, 17, &udp_declaring(4, 1, 2, b"abc")),
        ipv4(A, B, 17, &udp_declaring(0, 1, 2, b"abc")),
        ipv4(A, B, 17, &udp_declaring(100, 1, 2, b"abc")),
        ipv4(A, B, 17, &udp_declaring(9, 1, 2, b"abcdef")),
        ipv4(A, B, 17, b"abc"),
        ipv4_declaring(0, 17, &datagram),
        ipv4_declaring(500, 17, &datagram),
        ipv4_declaring(10, 17, &datagram),
        cat(&[&[0x41], &inner[1..]]),
        b"\x95abcdefghabcdefghabcdefgh".to_vec(),
        ipv6(0, 64, &[58, 0, 5, 2, 0, 0, 1, 0, 128, 0, 0, 0, 0, 1, 0, 2]),
        ipv6(44, 64, &cat(&[&[17, 0, 0, 1, 0, 0, 0, 5], &whole[..56]])),
        ipv6(44, 64, &cat(&[&[17, 0, 0, 0x69, 0, 0, 0, 6], &whole[..56]])),
        ipv6(44, 64, &cat(&[&[17, 0, 0, 0, 0, 0, 0, 7], &datagram])),
        ipv6(59, 64, b""),
        ipv6(59, 64, b"abc"),
        ipv6(60, 64, &cat(&[&[17, 0, 1, 4, 0, 0, 0, 0], &datagram])),
        ipv6(51, 64, &cat(&[&[17, 4, 0, 0], &[0; 20], &datagram])),
        ipv6(200, 64, b"abc"),
        ipv4(A, B, 4, &inner),
        ipv4(A, B, 41, &ipv6(17, 9, &datagram)),
        ipv6(4, 64, &inner),
        ipv6(41, 64, &ipv6(17, 9, &datagram)),
        ipv4(A, B, 47, &cat(&[&[0, 0, 8, 0], &inner])),
        ipv4(A, B, 47, &cat(&[&[0xb0, 0, 8, 0], &[0; 12], &inner])),
        ipv4(
            A,
            B,
            47,
            &cat(&[&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0], &frame]),
        ),
        ipv4(A, B, 47, &[0, 0, 0x99, 0x99, 1, 2, 3]),
        ipv4(A, B, 47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 7, 0, 0, 0, 2]),
        ipv4(
            A,
            B,
            47,
            &cat(&[
                &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 9],
                &[0x10, 0x64, 0x0c, 7, 0, 0, 0, 1],
                &frame,
            ]),
        ),
        ipv4(A, B, 17, &udp(8285, 8285, &inner)),
        ipv4(
            A,
            B,
            17,
            &udp(4444, 4789, &cat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame])),
        ),
        ipv4(
            A,
            B,
            17,
            &udp(4444, 6081, &cat(&[&[0, 0, 0x65, 0x58, 0, 0, 1, 0], &frame])),
        ),
        ipv4(
            A,
            B,
            17,
            &udp(
                4444,
                6081,
                &cat(&[&[1, 0, 8, 0, 0, 0, 1, 0, 1, 2, 3, 0], &inner]),
            ),
        ),
        ipv4(
            A,
            B,
            17,
            &udp(
                4444,
                4789,
                &cat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0806, &arp(1, A, B))]),
            ),
        ),
    ]
}

pub fn tunnels() -> Vec<Vec<u8>> {
    let inner = ipv4([1, 1, 1, 1], [2, 2, 2, 2], 17, &udp(1, 2, b"abc"));
    let inner_v6 = ipv6(17, 9, &udp(1, 2, b"abc"));
    let segment = Segment {
        ports: (7, 8),
        ..SEGMENT
    }
    .forth();
    let frame = ethernet(0x0800, &inner);
    let over_udp = |port, parts: &[&[u8]]| ipv4(A, B, 17, &udp(4444, port, &cat(parts)));
    let gtp_u = |flags, kind, optional: &[u8], payload: &[u8]| {
        let length = (optional.len() + payload.len()) as u16;
        let header = [flags, kind, (length >> 8) as u8, length as u8, 0, 0, 0, 5];
        over_udp(2152, &[&header, optional, payload])
    };
    let gpe = |next| [0x0c, 0, 0, next, 0, 0, 1, 0];
    vec![
        over_udp(6784, &[&[8, 0, 0, 0, 0, 0, 1, 0], &frame]),
        over_udp(4789, &[&[0x88, 0x48, 0, 42, 0, 0, 1, 0], &frame]),
        over_udp(4790, &[&gpe(1), &inner]),
        over_udp(4790, &[&gpe(2), &inner_v6]),
        over_udp(4790, &[&gpe(3), &frame]),
        over_udp(4790, &[&gpe(5), &[0, 1, 1, 64], &inner]),
        gtp_u(0x30, 255, &[], &inner),
        gtp_u(0x30, 255, &[], &inner_v6),
        gtp_u(0x30, 255, &[], &segment),
        gtp_u(0x32, 255, &[0, 9, 0, 0], &inner),
        gtp_u(0x34, 255, &[0, 0, 0, 0x85, 1, 0x10, 9, 0], &inner),
        gtp_u(0x30, 255, &[], &frame),
        gtp_u(0x32, 1, &[0, 9, 0, 0], &[]),
        gtp_u(0x32, 2, &[0, 9, 0, 0], &[14, 0]),
        gtp_u(0x30, 254, &[], &[]),
        gtp_u(0x30, 77, &[], &[]),
        over_udp(6635, &[&[0, 1, 1, 64], &inner]),
        ipv4(A, B, 47, &cat(&[&[0, 0, 0x88, 0x47, 0, 1, 1, 64], &inner])),
        ipv4(A, B, 137, &cat(&[&[0, 1, 1, 64], &inner])),
        over_udp(3544, &[&inner_v6]),
        over_udp(
            3544,
            &[&[0, 0, 0x63, 0xbf, 0xf5, 0xff, 0xff, 0xfe], &inner_v6],
        ),
        over_udp(3544, &[&ipv6(59, 64, b"")]),
    ]
}

pub fn mpls() -> Vec<Vec<u8>> {
    let inner = ipv4(A, B, 17, &udp(1, 2, b"abc"));
    let known_makers = cat(&[&[0, 0, 0x0c, 0, 0, 2, 0, 0, 0x0c, 0, 0, 1, 8, 0], &inner]);
    let stack = [0, 1, 0, 64, 0, 2, 2, 63, 0xff, 0xff, 0xff, 1];
    vec![
        ethernet(0x8847, &cat(&[&[0, 1, 1, 64], &inner])),
        ethernet(0x8848, &cat(&[&stack, &inner])),
        ethernet(0x8847, &cat(&[&stack, &known_makers])),
        ethernet(0x8847, &cat(&[&stack, &[0x90; 30]])),
    ]
}

pub fn links() -> Vec<Vec<u8>> {
    let inner = ipv4(A, B, 17, &udp(1, 2, b"abc"));
    let mut packets: Vec<Vec<u8>> = (1..=4)
        .chain([8, 9, 77])
        .map(|operation| ethernet(0x0806, &arp(operation, A, B)))
        .collect();
    packets.extend([
        ethernet(0x0806, &arp(1, A, A)),
        ethernet(0x0806, &arp(2, A, A)),
        ethernet(0x0806, &arp(1, [0; 4], B)),
        ethernet(0x0806, &[0, 1]),
        ethernet(0x8100, &cat(&[&[0, 5, 8, 0], &inner])),
        ethernet(0x88a8, &cat(&[&[0, 5, 0x81, 0, 0, 6, 8, 0], &inner])),
        ethernet(0x0800, &cat(&[&inner, &[0; 20]])),
        ethernet(0x0800, &ipv4_declaring(0, 17, &udp(1, 2, b"abc"))),
        ethernet(0x0800, b""),
    ]);
    packets
}

pub fn cooked() -> Vec<Vec<u8>> {
    let inner = ipv4(A, B, 17, &udp(1, 2, b"abc"));
    vec![
        cat(&[&[0, 0, 0, 1, 0, 6], &MAC_A, &[0, 0, 8, 0], &inner]),
        // From a tun, which has no addresses.
        cat(&[&[0, 4, 0xff, 0xfe, 0, 0], &[0; 8], &[8, 0], &inner]),
        cat(&[&[0, 0, 0, 1, 0, 6], &MAC_A, &[0, 0, 8, 6], &arp(1, A, B)]),
    ]
}

pub fn cooked_v2() -> Vec<Vec<u8>> {
    let inner = ipv4(A, B, 17, &udp(1, 2, b"abc"));
    let header = |high, low| cat(&[&[high, low, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6], &MAC_A, &[0, 0]]);
    vec![
        cat(&[&header(8, 0), &inner]),
        cat(&[&header(8, 6), &arp(1, A, B)]),
    ]
}

pub fn loopback() -> Vec<Vec<u8>> {
    let inner = ipv4(A, B, 17, &udp(1, 2, b"abc"));
    let inner_v6 = ipv6(17, 64, &udp(1, 2, b"abc"));
    vec![
        cat(&[&[2, 0, 0, 0], &inner]),
        cat(&[&[0, 0, 0, 2], &inner]),
        cat(&[&[30, 0, 0, 0], &inner_v6]),
    ]
}

/// Packets of which not all was captured: the bytes, and how many remain.
pub fn cut() -> Vec<(Vec<u8>, usize)> {
    let segment = Segment {
        flags: 0x18,
        payload: &[b'x'; 100],
        ..SEGMENT
    }
    .forth();
    let datagram = ipv4(A, B, 17, &udp(1, 2, &[b'x'; 90]));
    let query = dns(12, 0x100, [&[question("www.google.com", 1)], &[], &[], &[]]);
    let query = ipv4(A, B, 17, &udp(40000, 53, &query));
    let answer = dns(
        12,
        0x8180,
        [
            &[question("www.google.com", 1)],
            &[
                record("www.google.com", 1, &A),
                record("www.google.com", 1, &B),
            ],
            &[],
            &[],
        ],
    );
    let answer = ipv4(A, B, 17, &udp(53, 40000, &answer));
    let vxlan = cat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0800, &segment)]);
    let vxlan = ipv4(A, B, 17, &udp(4444, 4789, &vxlan));
    vec![
        (segment.clone(), 60),
        (segment, 30),
        (datagram.clone(), 40),
        (datagram, 26),
        (query, 50),
        (answer.clone(), 76),
        (answer.clone(), answer.len() - 30),
        (vxlan, 100),
    ]
}

pub fn tls() -> Vec<Vec<u8>> {
    let messages = [
        client_hello("myapp.org"),
        server_hello(),
        tls_record(21, &[2, 40]),
        tls_record(21, &[1, 0]),
        cat(&[&tls_record(20, &[1]), &tls_record(23, &[7; 99])]),
    ];
    let segment = |(at, payload): (usize, &Vec<u8>)| {
        Segment {
            ports: (4500 + at as u16, 443),
            flags: 0x18,
            payload,
            ..SEGMENT
        }
        .forth()
    };
    messages.iter().enumerate().map(segment).collect()
}

pub fn dhcp_messages() -> Vec<Vec<u8>> {
    let solicit = [
        1, 0x12, 0x34, 0x56, 0, 1, 0, 4, 0, 3, 0, 1, 0, 8, 0, 2, 0, 0,
    ];
    let kinds = 1..=8u8;
    let mut packets: Vec<_> = kinds
        .map(|kind| ipv4(A, B, 17, &udp(68, 67, &dhcp(1, [0; 4], &[53, 1, kind]))))
        .collect();
    packets.push(ipv6(17, 1, &udp(546, 547, &solicit)));
    packets
}
