//! Captures of links and carriers that are not met every day.

use super::build::*;
use super::sets::{Set, set};

const RAW: u32 = 101;
const ETHERNET: u32 = 1;

/// Each of `packets`, bare IPv4, behind every header.
pub fn all(packets: &[Vec<u8>]) -> Vec<Set> {
    let behind = |name, link, header: &[u8]| {
        let frames = packets.iter().map(|packet| cat(&[header, packet]));
        set(name, link, frames.collect())
    };
    // tshark follows no connection of TCP over Frame Relay.
    let without_tcp = |name, link, header: &[u8]| {
        let others = packets.iter().filter(|packet| packet[9] != 6);
        set(
            name,
            link,
            others.map(|packet| cat(&[header, packet])).collect(),
        )
    };
    let within = |name, link, wrap: &dyn Fn(&[u8]) -> Vec<u8>| {
        set(
            name,
            link,
            packets.iter().map(|packet| wrap(packet)).collect(),
        )
    };
    let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0];
    let infiniband = cat(&[&[0; 40], &[8, 0, 0, 0]]);
    let nflog_header = [2, 0, 0, 0, 8, 0, 1, 0, 8, 0, 1, 0];
    let mut sets = vec![
        behind("ppp", 9, &[0xff, 3, 0, 0x21]),
        behind("ppp-short", 9, &[0x21]),
        behind("ppp-hdlc", 50, &[0xff, 3, 0, 0x21]),
        behind("cisco-hdlc", 104, &[0x8f, 0, 8, 0]),
        without_tcp("frame-relay", 107, &[0x18, 0x41, 3, 0xcc]),
        without_tcp("frame-relay-cisco", 107, &[0x18, 0x41, 8, 0]),
        without_tcp(
            "frame-relay-snap",
            107,
            &[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0],
        ),
        without_tcp("frame-relay-long", 107, &[0x18, 0x40, 0x81, 3, 0xcc]),
        behind("ipoib", 242, &infiniband),
        behind(
            "juniper",
            178,
            &cat(&[b"MGC", &[0], &ethernet(0x0800, &[])]),
        ),
        behind("wlan", 105, &data_frame(0x08)),
        behind("radiotap", 127, &cat(&[&radiotap, &data_frame(0x08)])),
        behind("radiotap-qos", 127, &cat(&[&radiotap, &data_frame(0x88)])),
        behind("atm", 100, &LLC_IP),
        within("ipnet", 226, &|p| {
            let length = (p.len() as u32).to_be_bytes();
            cat(&[&[1, 2, 0, 0], &length, &[0; 16], p])
        }),
        within("nflog", 239, &|p| {
            let length = (p.len() as u16 + 4).to_le_bytes();
            let padding = vec![0; p.len().next_multiple_of(4) - p.len()];
            cat(&[&nflog_header, &length, &[9, 0], p, &padding])
        }),
        within("pppoe", ETHERNET, &|p| {
            let length = (p.len() as u16 + 2).to_be_bytes();
            ethernet(0x8864, &cat(&[&[0x11, 0, 0, 7], &length, &[0, 0x21], p]))
        }),
        within("pptp", RAW, &|p| {
            let length = (p.len() as u16 + 2).to_be_bytes();
            let header = [
                &[0x30, 1, 0x88, 0x0b],
                &length[..],
                &[0, 7, 0, 0, 0, 1, 0, 0x21],
            ];
            ipv4(A, B, 47, &cat(&[&cat(&header), p]))
        }),
        within("l2tp-data", RAW, &|p| {
            ipv4(
                A,
                B,
                17,
                &udp(
                    1701,
                    1701,
                    &cat(&[&[0, 2, 0, 5, 0, 6, 0xff, 3, 0, 0x21], p]),
                ),
            )
        }),
        within("macsec", ETHERNET, &|p| {
            ethernet(
                0x88e5,
                &cat(&[&[0x20, 0, 0, 0, 0, 1], &[2; 8], &[8, 0], p, &[9; 16]]),
            )
        }),
        within("nsh", ETHERNET, &|p| {
            ethernet(0x894f, &cat(&[&[0, 2, 2, 1, 0, 0, 9, 255], p]))
        }),
        within("arista", ETHERNET, &|p| {
            ethernet(0xd28b, &cat(&[&[0, 1, 0, 0x10], &[0; 8], &[8, 0], p]))
        }),
        within("pim-register", RAW, &|p| {
            ipv4(A, B, 103, &cat(&[&[0x21, 0, 0xde, 0xff, 0, 0, 0, 0], p]))
        }),
        within("ethernet-in-ip", RAW, &|p| {
            ipv4(A, B, 143, &ethernet(0x0800, p))
        }),
        within("etherip", RAW, &|p| {
            ipv4(A, B, 97, &cat(&[&[0x30, 0], &ethernet(0x0800, p)]))
        }),
        within("gre-wccp", RAW, &|p| {
            ipv4(A, B, 47, &cat(&[&[0, 0, 0x88, 0x3e], p]))
        }),
        within("gre-eoip", RAW, &|p| {
            let frame = ethernet(0x0800, p);
            let length = (frame.len() as u16).to_be_bytes();
            ipv4(
                A,
                B,
                47,
                &cat(&[&[0x20, 1, 0x64, 0], &length, &[0, 7], &frame]),
            )
        }),
        within("gre-routes", RAW, &|p| {
            let routes = [8, 0, 0, 4, 10, 0, 0, 9, 0, 0, 0, 0];
            ipv4(A, B, 47, &cat(&[&[0x40, 0, 8, 0, 0, 0, 0, 0], &routes, p]))
        }),
    ];
    sets.push(set("ppp-control", 9, ppp_control()));
    sets.push(set("osi", ETHERNET, osi()));
    sets.push(set("arp-odd", ETHERNET, odd_arps()));
    sets
}

const LLC_IP: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

/// The header of a data frame of 802.11, and LLC's.
fn data_frame(control: u8) -> Vec<u8> {
    let qos: &[u8] = if control & 0x80 != 0 { &[0, 0] } else { &[] };
    cat(&[&[control, 1, 0, 0], &[2; 18], &[0, 0], qos, &LLC_IP])
}

/// Messages of no data, by which the ends of a PPP link come to terms.
fn ppp_control() -> Vec<Vec<u8>> {
    let request = [1, 1, 0, 4];
    let numbers = [0x8021, 0x8057, 0x80fd, 0x8281, 0xc021, 0xc023, 0xc223];
    let frame = |number: &u16| cat(&[&[0xff, 3], &number.to_be_bytes(), &request]);
    numbers.iter().map(frame).collect()
}

/// In LLC: CLNP's and others' first bytes.
fn osi() -> Vec<Vec<u8>> {
    let framed = |inside: &[u8]| {
        let llc = cat(&[&[0xfe, 0xfe, 3], inside]);
        ethernet(llc.len() as u16, &llc)
    };
    let hello = [0x83, 27, 1, 0, 17, 1, 0, 3];
    vec![framed(&cat(&[&hello, &[0; 30]]))]
}

/// Lengths of addresses that the packet has not room for.
fn odd_arps() -> Vec<Vec<u8>> {
    let with = |hardware: u8, protocol: u8| {
        let fixed = [0, 1, 8, 0, hardware, protocol, 0, 1];
        ethernet(0x0806, &cat(&[&fixed, &[1; 38]]))
    };
    vec![
        with(6, 4),
        with(40, 4),
        with(6, 200),
        with(0, 0),
        with(255, 255),
    ]
}
