//! Packets that belong together: TCP flows, DNS dialogues.

use super::build::*;

const SYN: u16 = 2;
const ACK: u16 = 0x10;
const PSH_ACK: u16 = 0x18;
const FIN_ACK: u16 = 0x11;
const RST: u16 = 4;
const RST_ACK: u16 = 0x14;
const SYN_ACK: u16 = 0x12;

fn options(mss: u16, shift: u8, value: u32, echo: u32) -> Vec<u8> {
    let (mss, value, echo) = (mss.to_be_bytes(), value.to_be_bytes(), echo.to_be_bytes());
    cat(&[
        &[2, 4],
        &mss,
        &[4, 2, 8, 10],
        &value,
        &echo,
        &[1, 3, 3, shift],
    ])
}

fn stamps(value: u32, echo: u32) -> Vec<u8> {
    cat(&[&[1, 1, 8, 10], &value.to_be_bytes(), &echo.to_be_bytes()])
}

/// One connection with an HTTP request from SYN to the last ACK.
pub fn handshake() -> Vec<Vec<u8>> {
    connection((52279, 80), 0xd806_cd22, 0xc666_ef3e)
}

fn connection(ports: (u16, u16), client: u32, server: u32) -> Vec<Vec<u8>> {
    let (c, s) = (client, server);
    let request = b"GET / HTTP/1.1\r\nHost: myapp.org\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    let r = request.len() as u32;
    let a = answer.len() as u32;
    let (opening, opened) = (
        options(8933, 7, 5773677, 0),
        options(8933, 9, 5696552, 5773677),
    );
    let (mine, yours) = (stamps(5773678, 5696552), stamps(5696553, 5773678));
    let base = Segment { ports, ..SEGMENT };
    let mut sack = stamps(5773679, 5696553);
    sack.extend([1, 1, 5, 10]);
    sack.extend((s.wrapping_add(11)).to_be_bytes());
    sack.extend((s.wrapping_add(21)).to_be_bytes());
    let at = |seq: u32, by: u32| seq.wrapping_add(by);
    let forth = |seq, ack, flags, options: &[u8], payload: &[u8]| {
        Segment {
            seq,
            ack,
            flags,
            options,
            payload,
            window: 210,
            ..base
        }
        .forth()
    };
    let back = |seq, ack, flags, options: &[u8], payload: &[u8]| {
        Segment {
            seq,
            ack,
            flags,
            options,
            payload,
            window: 509,
            ..base
        }
        .back()
    };
    vec![
        forth(c, 0, SYN, &opening, b""),
        back(s, at(c, 1), SYN_ACK, &opened, b""),
        forth(at(c, 1), at(s, 1), ACK, &mine, b""),
        forth(at(c, 1), at(s, 1), PSH_ACK, &mine, request),
        back(at(s, 1), at(c, r + 1), ACK, &yours, b""),
        back(at(s, 1), at(c, r + 1), PSH_ACK, &yours, answer),
        forth(at(c, r + 1), at(s, 1), ACK, &sack, b""),
        forth(at(c, r + 1), at(s, a + 1), ACK, &mine, b""),
        // A keep-alive repeats the last byte.
        forth(at(c, r), at(s, a + 1), ACK, &mine, b"\n"),
        back(at(s, a + 1), at(c, r + 1), ACK, &yours, b""),
        forth(at(c, r + 1), at(s, a + 1), FIN_ACK, &mine, b""),
        back(at(s, a + 1), at(c, r + 2), FIN_ACK, &yours, b""),
        forth(at(c, r + 2), at(s, a + 2), ACK, &mine, b""),
        back(at(s, a + 2), 0, RST, b"", b""),
    ]
}

/// Sequence numbers that pass 2^32.
pub fn wrap() -> Vec<Vec<u8>> {
    let mut packets = connection((40001, 8080), u32::MAX - 3, u32::MAX - 30);
    let data = Segment {
        ports: (40002, 9),
        payload: b"abcdefgh",
        ..SEGMENT
    };
    for seq in [u32::MAX - 7, 0, 8] {
        packets.push(Segment { seq, ..data }.forth());
    }
    packets
}

/// The same ports thrice, with other first numbers, and a SYN sent twice.
pub fn reuse() -> Vec<Vec<u8>> {
    let ports = (40003, 8080);
    let mut packets = connection(ports, 1000, 2000);
    packets.extend(connection(ports, 900_000, 800_000));
    packets.extend(connection(ports, 5, 6));
    let scale = options(1460, 4, 1, 0);
    let syn = Segment {
        ports: (40004, 8080),
        seq: 9,
        ack: 0,
        flags: SYN,
        options: &scale,
        ..SEGMENT
    };
    packets.extend([syn.forth(), syn.forth()]);
    packets.push(
        Segment {
            seq: 70,
            ack: 10,
            flags: SYN_ACK,
            options: &scale,
            ..syn
        }
        .back(),
    );
    packets.push(
        Segment {
            seq: 10,
            ack: 71,
            flags: ACK,
            options: b"",
            ..syn
        }
        .forth(),
    );
    packets
}

/// Captures that begin in the middle.
pub fn without_syn() -> Vec<Vec<u8>> {
    let whole = connection((40005, 8080), 123_456, 654_321);
    let other = connection((40006, 8080), 123_456, 654_321);
    let third = connection((40007, 8080), 123_456, 654_321);
    [&whole[2..], &other[4..], &third[1..]].concat()
}

/// The first that is seen comes from the server.
pub fn answer_first() -> Vec<Vec<u8>> {
    let mut packets = connection((40008, 8080), 123_456, 654_321);
    packets.swap(0, 1);
    let refused = Segment {
        ports: (40009, 81),
        seq: 44,
        ack: 0,
        flags: SYN,
        ..SEGMENT
    };
    packets.push(refused.forth());
    packets.push(
        Segment {
            seq: 0,
            ack: 45,
            flags: RST_ACK,
            window: 0,
            ..refused
        }
        .back(),
    );
    let ghost = Segment {
        ports: (40010, 82),
        ack: 77,
        flags: RST,
        seq: 78,
        ..SEGMENT
    };
    packets.extend([ghost.forth(), ghost.back()]);
    packets
}

/// Window scaling refused and odd, flags and options of every kind.
pub fn odd() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let scales: [&[u8]; 4] = [&[3, 3, 7, 1], &[3, 3, 14, 0], &[3, 3, 15, 0], &[]];
    let mut port = 41000;
    for mine in scales {
        for yours in scales {
            let ports = (port, 443);
            let syn = Segment {
                ports,
                seq: 10,
                ack: 0,
                flags: SYN,
                options: mine,
                ..SEGMENT
            };
            let answer = Segment {
                seq: 50,
                ack: 11,
                flags: SYN_ACK,
                options: yours,
                ..syn
            };
            let data = Segment {
                seq: 11,
                ack: 51,
                flags: ACK,
                options: b"",
                ..syn
            };
            packets.extend([syn.forth(), answer.back(), data.forth()]);
            packets.push(
                Segment {
                    seq: 51,
                    ack: 11,
                    ..data
                }
                .back(),
            );
            port += 1;
        }
    }
    let data = Segment {
        ports: (42000, 4242),
        seq: 100,
        ack: 200,
        ..SEGMENT
    };
    for flags in [
        0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0xfff,
    ] {
        packets.push(
            Segment {
                ports: (42001 + flags, 4242),
                flags,
                urgent: 3,
                ..data
            }
            .forth(),
        );
    }
    let options: [&[u8]; 9] = [
        &[2, 4, 5, 0xb4],
        &[2, 3, 1, 1],
        &[4, 2, 1, 0],
        &[8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1, 1],
        &[5, 10, 0, 0, 0, 201, 0, 0, 0, 211, 0, 0],
        &[34, 6, 1, 2, 3, 4, 1, 1],
        &[30, 4, 0, 0],
        &[254, 2, 1, 1],
        &[8, 40, 0, 0],
    ];
    for options in options {
        packets.push(Segment { options, ..data }.forth());
    }
    packets
}

fn ask(message: &[u8]) -> Vec<u8> {
    ipv4(A, B, 17, &udp(40000, 53, message))
}

fn tell(message: &[u8]) -> Vec<u8> {
    ipv4(B, A, 17, &udp(53, 40000, message))
}

fn answer(id: u16, kind: u16, data: &[u8]) -> Vec<u8> {
    dns(
        id,
        0x8180,
        [
            &[question("x.example", kind)],
            &[record("x.example", kind, data)],
            &[],
            &[],
        ],
    )
}

pub fn dns_messages() -> Vec<Vec<u8>> {
    let soa = cat(&[&name("ns1.x.y"), &name("admin.x.y"), &[0; 20]]);
    let opt = record_of_class("", 41, 1232, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut packets = vec![
        ask(&dns(
            1,
            0x100,
            [&[question("www.example.com", 1)], &[], &[], &[]],
        )),
        ask(&dns(
            2,
            0x120,
            [
                &[question("www.example.com", 28)],
                &[],
                &[],
                std::slice::from_ref(&opt),
            ],
        )),
        tell(&dns(
            3,
            0x8183,
            [
                &[question("nope.example", 1)],
                &[],
                &[record("example", 6, &soa)],
                &[],
            ],
        )),
        tell(&dns(
            4,
            0x8380,
            [
                &[question("big.example", 16)],
                &[],
                &[],
                std::slice::from_ref(&opt),
            ],
        )),
        tell(&dns(
            5,
            0x8182,
            [&[question("fail.example", 1)], &[], &[], &[]],
        )),
        ask(&dns(6, 0x100, [&[question("", 2)], &[], &[], &[]])),
        tell(&compressed()),
    ];
    let host = name("host.x.y");
    for (at, (kind, data)) in [
        (1, A.to_vec()),
        (2, host.clone()),
        (5, host.clone()),
        (6, soa),
        (12, host.clone()),
        (15, cat(&[&[0, 10], &host])),
        (16, b"\x05hello".to_vec()),
        (16, b"\x05hello\x03foo\x00".to_vec()),
        (28, link_local(9).to_vec()),
        (33, cat(&[&[0, 1, 0, 2, 0x13, 0xc4], &host])),
        (13, b"\x03cpu\x02os".to_vec()),
        (64, cat(&[&[0, 1], &host])),
        (65, cat(&[&[0, 1], &name("")])),
        (257, b"\x00\x05issueca.org".to_vec()),
        (43, b"\0\x01\x08\x02abcdefghabcdefghabcd".to_vec()),
        (48, b"\x01\0\x03\x08abc".to_vec()),
        (52, b"\x03\x01\x01abcdefgh".to_vec()),
        (65280, b"abc".to_vec()),
        (1, b"".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        packets.push(tell(&answer(100 + at as u16, kind, &data)));
    }
    for kind in [255, 252, 251, 46, 47, 50, 35, 99, 64999] {
        packets.push(ask(&dns(
            9,
            0x100,
            [&[question("x.y", kind)], &[], &[], &[]],
        )));
    }
    for rcode in 0..16 {
        packets.push(tell(&dns(
            10,
            0x8180 | rcode,
            [&[question("x.y", 1)], &[], &[], &[]],
        )));
    }
    let local = |message: &[u8]| ipv4(A, [224, 0, 0, 251], 17, &udp(5353, 5353, message));
    packets.push(local(&dns(
        0,
        0,
        [&[question("_http._tcp.local", 12)], &[], &[], &[]],
    )));
    packets.push(local(&dns(
        0,
        0x8400,
        [&[], &[record_of_class("a.local", 1, 0x8001, &A)], &[], &[]],
    )));
    packets
}

/// Names that point back at each other, as servers write them.
fn compressed() -> Vec<u8> {
    let mut message = dns(
        20,
        0x8180,
        [&[question("www.example.com", 1)], &[], &[], &[]],
    );
    message[7] = 3;
    // www.example.com is at 12, example.com at 16.
    let mail = [4, b'm', b'a', b'i', b'l', 0xc0, 16];
    message.extend(cat(&[&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 7], &mail]));
    // mail.example.com is where that record's data began.
    message.extend([0xc0, 45, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
    message.extend([0xc0, 45, 0, 15, 0, 1, 0, 0, 0, 9, 0, 4, 0, 10, 0xc0, 45]);
    message
}

pub fn dns_over_tcp() -> Vec<Vec<u8>> {
    let framed = |message: &[u8]| cat(&[&(message.len() as u16).to_be_bytes(), message]);
    let query = framed(&dns(
        30,
        0x100,
        [&[question("t.example", 16)], &[], &[], &[]],
    ));
    let told = framed(&answer(30, 16, &cat(&[&[200], &[b'x'; 200]])));
    let both = cat(&[
        &query,
        &framed(&dns(
            31,
            0x100,
            [&[question("u.example", 1)], &[], &[], &[]],
        )),
    ]);
    let base = Segment {
        ports: (43000, 53),
        flags: PSH_ACK,
        ..SEGMENT
    };
    let after = 1 + query.len() as u32;
    vec![
        Segment {
            seq: 0,
            ack: 0,
            flags: SYN,
            ..base
        }
        .forth(),
        Segment {
            seq: 0,
            ack: 1,
            flags: SYN_ACK,
            ..base
        }
        .back(),
        Segment {
            seq: 1,
            ack: 1,
            payload: &query,
            ..base
        }
        .forth(),
        Segment {
            seq: 1,
            ack: after,
            payload: &told,
            ..base
        }
        .back(),
        Segment {
            ports: (43001, 53),
            payload: &both,
            ..base
        }
        .forth(),
    ]
}
