//! Packets in parts: fragments of IP, also of tunnels and within them, and
//! messages in several segments. The first parts keep what they hold.

use super::against_tshark::capture;
use super::build::*;
use super::program::{Scratch, objects, overlay};
use super::sets::Set;
use serde_json::json;

const RAW: u32 = 101;
const ETHERNET: u32 = 1;
const PSH_ACK: u16 = 0x18;

pub fn all() -> Vec<Set> {
    let set = |name, link, frames| Set { name, link, frames };
    let links = |packets: Vec<Vec<u8>>| packets.iter().map(|p| ethernet(0x0800, p)).collect();
    vec![
        set("parts-ipv4", RAW, of_ipv4()),
        set("parts-ipv6", RAW, of_ipv6()),
        set("parts-of-tunnels", ETHERNET, links(of_tunnels())),
        set("parts-in-tunnels", RAW, in_tunnels()),
        set(
            "parts-dns",
            RAW,
            segments((40_000, 53), &answers(), &[2, 90, 91, 150, 300]),
        ),
        set("parts-http", RAW, segments((40_000, 80), HEAD, &[20, 45])),
        set("parts-http2", RAW, segments((40_000, 2379), PREFACE, &[10])),
        set(
            "parts-tls",
            RAW,
            segments((40_000, 443), &hello(), &[100, 200]),
        ),
        set("parts-out-of-order", RAW, out_of_order()),
    ]
}

const HEAD: &[u8] =
    b"GET /v2/keys HTTP/1.1\r\nHost: etcd\r\nAccept: application/json\r\nX-A: b\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn answer() -> Vec<u8> {
    let text = cat(&[&[200], &[b'x'; 200]]);
    let records = [
        record("myapp.org", 16, &text),
        record("myapp.org", 16, &text),
    ];
    dns(
        0x4242,
        0x8180,
        [&[question("myapp.org", 16)], &records, &[], &[]],
    )
}

/// Two, each behind its length.
fn answers() -> Vec<u8> {
    let answer = answer();
    let framed = cat(&[&(answer.len() as u16).to_be_bytes(), &answer]);
    cat(&[&framed, &framed])
}

/// A ClientHello with a server name and padding.
fn hello() -> Vec<u8> {
    let name = cat(&[&[0, 0, 0, 14, 0, 12, 0, 0, 9], b"myapp.org"]);
    let extensions = cat(&[&name, &[0, 21, 0, 200], &[0; 200]]);
    let body = cat(&[
        &[3, 3],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]);
    let length = (body.len() as u16).to_be_bytes();
    let message = cat(&[&[1, 0], &length, &body]);
    cat(&[&[22, 3, 1], &(message.len() as u16).to_be_bytes(), &message])
}

/// Cut at these offsets, in order.
fn fragments(id: u16, payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let ends = cuts.iter().copied().chain([payload.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    begins
        .zip(ends)
        .map(|(from, to)| {
            let more = if to < payload.len() { 0x2000 } else { 0 };
            let word = more | (from / 8) as u16;
            ipv4_fragment(A, B, 17, word, id, &payload[from..to])
        })
        .collect()
}

fn of_ipv4() -> Vec<Vec<u8>> {
    let datagram = udp(53, 40_000, &answer());
    let mut frames = fragments(1, &datagram, &[160, 320]);
    let mut reversed = fragments(2, &datagram, &[160, 320]);
    reversed.reverse();
    frames.extend(reversed);
    // One that never becomes whole, among others.
    frames.push(ipv4_fragment(A, B, 17, 0x2000 | 20, 3, &datagram[160..320]));
    let plain = udp(5000, 6000, &[b'a'; 64]);
    let mut overlapping = fragments(4, &plain, &[32]);
    overlapping.insert(1, ipv4_fragment(A, B, 17, 0x2002, 4, &[b'b'; 24]));
    frames.extend(overlapping);
    frames
}

fn of_ipv6() -> Vec<Vec<u8>> {
    let datagram = udp(53, 40_000, &answer());
    let fragment = |id: u8, from: usize, to: usize| {
        let more = u16::from(to < datagram.len());
        let word = (from as u16 | more).to_be_bytes();
        let header = [17, 0, word[0], word[1], 0, 0, 0, id];
        ipv6(44, 64, &cat(&[&header, &datagram[from..to]]))
    };
    let end = datagram.len();
    vec![
        fragment(1, 0, 160),
        fragment(1, 160, 320),
        fragment(1, 320, end),
        fragment(2, 320, end),
        fragment(2, 0, 160),
        fragment(2, 160, 320),
    ]
}

fn vxlan(inner: &[u8]) -> Vec<u8> {
    udp(
        51234,
        4789,
        &cat(&[&[8, 0, 0, 0, 0, 0x10, 1, 0], &ethernet(0x0800, inner)]),
    )
}

/// Cut by the underlay, which has too small an MTU.
fn of_tunnels() -> Vec<Vec<u8>> {
    let inner = ipv4(A, B, 17, &udp(53, 40_000, &answer()));
    let flannel = udp(8285, 8285, &inner);
    let mut frames = fragments(1, &vxlan(&inner), &[240]);
    frames.extend(fragments(2, &flannel, &[240]));
    frames
}

fn in_tunnels() -> Vec<Vec<u8>> {
    let parts = fragments(1, &udp(53, 40_000, &answer()), &[160]);
    let within = |part: &Vec<u8>| ipv4(A, B, 17, &vxlan(part));
    parts.iter().map(within).collect()
}

fn segment_of(ports: (u16, u16), message: &[u8], from: usize, to: usize) -> Vec<u8> {
    let segment = Segment {
        ports,
        seq: 1 + from as u32,
        flags: PSH_ACK,
        payload: &message[from..to],
        ..SEGMENT
    };
    segment.forth()
}

fn segments(ports: (u16, u16), message: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let ends = cuts.iter().copied().chain([message.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    begins
        .zip(ends)
        .map(|(from, to)| segment_of(ports, message, from, to))
        .collect()
}

fn out_of_order() -> Vec<Vec<u8>> {
    let message = hello();
    let part = |from, to| segment_of((40_000, 443), &message, from, to);
    vec![part(0, 100), part(200, message.len()), part(100, 200)]
}

#[test]
fn what_was_put_together_is_told() {
    let scratch = Scratch::new("parts");
    let told = |name: &str| {
        let set = all()
            .into_iter()
            .find(|set| set.name == name)
            .expect("a set");
        let file = scratch.file(name, &capture(&set, usize::MAX));
        let path = file.to_str().expect("a path of text").to_owned();
        let ran = overlay(&["-r", &path, "--format", "json"]).fine();
        (objects(&ran.out), overlay(&["-r", &path]).fine().text())
    };
    let (read, text) = told("parts-ipv4");
    assert_eq!(read.len(), 10 + 1, "one object a frame, and the summary");
    assert_eq!(
        read[2]["reassembled"],
        json!({"frames": [1, 2, 3], "len": 479})
    );
    assert_eq!(read[2]["layers"], json!(["ipv4", "udp", "dns"]));
    assert_eq!(read[2]["dns"]["answers"][1]["name"], "myapp.org");
    assert_eq!(read[5]["reassembled"]["frames"], json!([6, 5, 4]));
    assert_eq!(read[9]["reassembled"]["frames"], json!([8, 9, 10]));
    assert_eq!(read[0]["udp"]["sport"], 53, "the first keeps its ports");
    let parts = &read[10]["reassembly"];
    assert_eq!(parts["datagrams"]["whole"], 3);
    assert_eq!(parts["datagrams"]["unfinished"], 1);
    assert_eq!(parts["messages"]["whole"], 0);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[1].contains("Fragmented IP protocol (proto=UDP 17, off=160, ID=0001)"),
        "{text}"
    );
    assert!(
        lines[2].contains(" DNS 179 Standard query response 0x4242 TXT"),
        "{text}"
    );
    assert!(
        lines[2].ends_with("[put together of frames 1, 2, 3: 479 bytes]"),
        "{text}"
    );
    let counted = "3 datagrams put together, 1 given up (1 unfinished)";
    assert!(text.contains(counted), "{text}");
    let (read, _) = told("parts-in-tunnels");
    let layers = json!(["ipv4", "udp", "vxlan", "eth", "ipv4", "udp", "dns"]);
    assert_eq!(read[1]["layers"], layers);
    let (read, text) = told("parts-dns");
    let last = &read[5];
    assert_eq!(last["layers"], json!(["ipv4", "tcp", "dns", "dns"]));
    assert_eq!(
        last["reassembled"]["frames"],
        json!([1, 2, 3, 4, 5, 6]),
        "{last}"
    );
    assert!(
        text.contains("[TCP segment of a reassembled PDU]"),
        "{text}"
    );
    let (read, _) = told("parts-tls");
    assert_eq!(read[2]["tls"]["client_hello"]["server_name"], "myapp.org");
    assert_eq!(read[3]["reassembly"]["messages"]["whole"], 1);
}
