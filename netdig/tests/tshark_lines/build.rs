//! Bytes of packets, from the inside out.

pub const A: [u8; 4] = [10, 0, 0, 1];
pub const B: [u8; 4] = [10, 0, 0, 2];
pub const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_fragment(source, destination, protocol, 0, 1, payload)
}

/// `word`: flags and fragment offset as they stand in the header.
pub fn ipv4_fragment(
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    word: u16,
    id: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend(word.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(source);
    header.extend(destination);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    cat(&[&header, payload])
}

/// With another total length than the right one.
pub fn ipv4_declaring(total: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(A, B, protocol, payload);
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet
}

/// fe80::`last`.
pub fn link_local(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfe, 0x80, last);
    address
}

pub fn ipv6(next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend([next_header, hop_limit]);
    header.extend(link_local(1));
    header.extend(link_local(2));
    cat(&[&header, payload])
}

pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    udp_declaring(8 + payload.len() as u16, source, destination, payload)
}

pub fn udp_declaring(length: u16, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let words = [source, destination, length, 0];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    cat(&[&header, payload])
}

pub struct Segment<'a> {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u16,
    pub window: u16,
    pub urgent: u16,
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

pub const SEGMENT: Segment<'_> = Segment {
    ports: (1000, 2000),
    seq: 1,
    ack: 1,
    flags: 0x10,
    window: 1000,
    urgent: 0,
    options: &[],
    payload: &[],
};

impl Segment<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        let words = (20 + self.options.len() as u16) / 4;
        bytes.extend((words << 12 | self.flags).to_be_bytes());
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(self.options);
        bytes.extend(self.payload);
        bytes
    }

    /// From A to B.
    pub fn forth(&self) -> Vec<u8> {
        ipv4(A, B, 6, &self.bytes())
    }

    /// From B to A, the ports swapped too.
    pub fn back(&self) -> Vec<u8> {
        let swapped = Segment {
            ports: (self.ports.1, self.ports.0),
            ..*self
        };
        ipv4(B, A, 6, &swapped.bytes())
    }
}

pub fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = cat(&[&[kind, code, 0, 0], &rest, payload]);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(A, B, 1, &message)
}

/// `body`: all after the checksum.
pub fn icmpv6(kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = cat(&[&[kind, code, 0, 0], body]);
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = cat(&[&link_local(1), &link_local(2), &length, &[0, 0, 0, 58]]);
    let sum = checksum(&cat(&[&pseudo, &message]));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(58, 255, &message)
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&MAC_B, &MAC_A, &ethertype.to_be_bytes(), payload])
}

pub fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4, 0, operation];
    cat(&[&fixed, &MAC_A, &sender, &MAC_B, &target])
}

/// A name as in a message: labels by length.
pub fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

pub fn question(text: &str, kind: u16) -> Vec<u8> {
    question_of_class(text, kind, 1)
}

pub fn question_of_class(text: &str, kind: u16, class: u16) -> Vec<u8> {
    cat(&[&name(text), &kind.to_be_bytes(), &class.to_be_bytes()])
}

pub fn record(text: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    record_of_class(text, kind, 1, data)
}

pub fn record_of_class(text: &str, kind: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    cat(&[
        &question_of_class(text, kind, class),
        &[0, 0, 0, 60],
        &length,
        data,
    ])
}

/// Questions, answers, authorities, additionals.
pub fn dns(id: u16, flags: u16, sections: [&[Vec<u8>]; 4]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(id.to_be_bytes());
    message.extend(flags.to_be_bytes());
    for section in sections {
        message.extend((section.len() as u16).to_be_bytes());
    }
    message.extend(sections.iter().flat_map(|section| section.concat()));
    message
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// A TLS record of TLS 1.2's version.
pub fn tls_record(kind: u8, body: &[u8]) -> Vec<u8> {
    cat(&[&[kind, 3, 3], &(body.len() as u16).to_be_bytes(), body])
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    cat(&[&(bytes.len() as u16).to_be_bytes(), bytes])
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    tls_record(22, &cat(&[&[kind], &length[1..], body]))
}

/// With server name, two application protocols and TLS 1.3 among the versions.
pub fn client_hello(server_name: &str) -> Vec<u8> {
    let host = cat(&[&[0], &with_length(server_name.as_bytes())]);
    let extensions = cat(&[
        &[0, 0],
        &with_length(&with_length(&host)),
        &[0, 16],
        &with_length(&with_length(b"\x02h2\x08http/1.1")),
        &[0, 43, 0, 5, 4, 3, 4, 3, 3],
    ]);
    handshake(
        1,
        &cat(&[
            &[3, 3],
            &[7; 32],
            &[0, 0, 4, 0x13, 1, 0xc0, 0x2f, 1, 0],
            &with_length(&extensions),
        ]),
    )
}

/// TLS 1.2, with an application protocol.
pub fn server_hello() -> Vec<u8> {
    let extensions = cat(&[&[0, 16], &with_length(&with_length(b"\x02h2"))]);
    handshake(
        2,
        &cat(&[
            &[3, 3],
            &[9; 32],
            &[0, 0xc0, 0x2f, 0],
            &with_length(&extensions),
        ]),
    )
}

/// DHCPv4 from a client (1) or a server (2), with these options after the cookie.
pub fn dhcp(operation: u8, yours: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut message = vec![operation, 1, 6, 0, 0x12, 0x34, 0x56, 0x78];
    message.extend([0; 8]);
    message.extend(yours);
    message.extend([0; 8]);
    message.extend(MAC_A);
    message.extend([0; 10 + 64 + 128]);
    message.extend([0x63, 0x82, 0x53, 0x63]);
    message.extend(options);
    message.push(255);
    message
}
