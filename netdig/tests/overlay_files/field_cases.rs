//! The packets of the field cases, through the program, byte for byte.

use super::craft::Pcap;
use super::program::{Scratch, overlay, packets};
use serde_json::json;
use std::path::PathBuf;

const RAW: u32 = 101;
const MICROSECONDS: u32 = 0xa1b2_c3d4;

/// A packet of the decoders' test data.
fn vector(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../decoders/tests/vectors");
    let path = PathBuf::from(folder).join(format!("{name}.hex"));
    let text = std::fs::read_to_string(path).expect("a vector");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let bytes = lines.flat_map(|line| line.split_whitespace().skip(1));
    bytes
        .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"))
        .collect()
}

fn file(scratch: &Scratch, name: &str, vectors: &[&str]) -> PathBuf {
    let mut pcap = Pcap::new(false, MICROSECONDS, 262_144, RAW);
    for (at, vector_name) in vectors.iter().enumerate() {
        let packet = vector(vector_name);
        pcap.record(
            1_408_000_000 + at as u32,
            250_000,
            packet.len() as u32,
            &packet,
        );
    }
    scratch.file(name, &pcap.0.out)
}

#[test]
fn case_1_one_request_through_the_tunnel() {
    let scratch = Scratch::new("case-1");
    let file = file(
        &scratch,
        "case1.pcap",
        &[
            "02-syn-read-from-tun",
            "04-synack-received-on-udp",
            "06-http-get-read-from-tun",
        ],
    );
    let ran = overlay(&["-r", file.to_str().unwrap()]).fine();
    assert_eq!(
        ran.text(),
        "07:06:40.250000 192.168.69.0 → 192.168.13.2 TCP 60 52279 → 80 [SYN] Seq=0 \
         Win=26799 Len=0 MSS=8933 SACK_PERM TSval=5773677 TSecr=0 WS=128\n\
         07:06:41.250000 192.168.13.2 → 192.168.69.0 TCP 60 80 → 52279 [SYN, ACK] \
         Seq=0 Ack=1 Win=26763 Len=0 MSS=8933 SACK_PERM TSval=5696552 TSecr=5773677 WS=128\n\
         07:06:42.250000 192.168.69.0 → 192.168.13.2 HTTP 152 GET / HTTP/1.1\n\
         3 packets decoded, 0 pairs joined\n0 events lost\nno findings\n"
    );
    let objects = packets(&file);
    assert_eq!(
        objects[0],
        json!({
            "schema": "netdig/1", "kind": "packet",
            "ts": "2014-08-14T07:06:40.250000000Z", "ts_ns": 1_408_000_000_250_000_000_u64,
            "n": 1, "via": "file",
            "layers": ["ipv4", "tcp"], "len": 60, "caplen": 60,
            "ip": {"version": 4, "src": "192.168.69.0", "dst": "192.168.13.2", "proto": 6,
                   "ttl": 64, "len": 60, "id": 54351},
            "tcp": {"sport": 52279, "dport": 80, "flags": ["SYN"], "seq": 0, "ack": 0,
                    "win": 26799, "seq_raw": 3624324386_u32, "ack_raw": 0, "win_raw": 26799,
                    "len": 0, "mss": 8933, "wscale": 7, "tsval": 5773677, "tsecr": 0,
                    "sack_perm": true},
            "summary": "192.168.69.0 → 192.168.13.2 TCP 60 52279 → 80 [SYN] Seq=0 Win=26799 \
                        Len=0 MSS=8933 SACK_PERM TSval=5773677 TSecr=0 WS=128",
        })
    );
    assert_eq!(objects[1]["tcp"]["flags"], json!(["SYN", "ACK"]));
    assert_eq!(objects[1]["ip"]["ttl"], 62);
    assert_eq!(objects[2]["layers"], json!(["ipv4", "tcp", "http"]));
    assert_eq!(objects[2]["tcp"]["len"], 100);
}

#[test]
fn case_1_both_sides_differ_in_time_to_live_alone() {
    let scratch = Scratch::new("case-1-sides");
    let mine = file(
        &scratch,
        "m.pcap",
        &["02-syn-read-from-tun", "06-http-get-read-from-tun"],
    );
    let other = file(
        &scratch,
        "o.pcap",
        &["03-syn-sent-on-udp", "07-http-get-sent-on-udp"],
    );
    for (mut mine, mut other) in packets(&mine).into_iter().zip(packets(&other)) {
        assert_eq!(
            (&mine["ip"]["ttl"], &other["ip"]["ttl"]),
            (&json!(64), &json!(63))
        );
        for side in [&mut mine, &mut other] {
            side["ip"]["ttl"].take();
            side["interface"].take();
        }
        assert_eq!(mine, other);
    }
}

#[test]
fn case_3_the_resolver_that_cannot_be_reached() {
    let scratch = Scratch::new("case-3");
    let vectors = [
        "08-dns-query-read-from-tun",
        "09-icmp-unreachable-written-to-tun",
    ];
    let file = file(&scratch, "case3.pcap", &vectors);
    let ran = overlay(&["-r", file.to_str().unwrap()]).fine();
    let text = ran.text();
    let packets_first = "07:06:40.250000 10.1.88.0 → 10.1.0.2 DNS 60 Standard query 0x9317 A \
                         www.google.com\n\
                         07:06:41.250000 10.1.88.0 → 10.1.88.0 ICMP 56 Destination unreachable \
                         (Network unreachable)\n\n\
                         INFO ND207 ICMP network-unreachable from 10.1.88.0 to 10.1.88.0";
    assert!(text.starts_with(packets_first), "{text}");
    assert!(
        text.ends_with("\n2 packets decoded, 0 pairs joined\n0 events lost\n1 finding: 1 info\n"),
        "{text}"
    );
    let objects = packets(&file);
    assert_eq!(
        objects[0]["dns"],
        json!({"id": 0x9317, "qr": false, "rcode": 0,
               "queries": [{"name": "www.google.com", "type": "A"}], "answers": []})
    );
    assert_eq!(
        objects[1]["icmp"],
        json!({"type": 3, "code": 0,
               "quoted": {"src": "10.1.88.0", "dst": "10.1.0.2", "proto": 17,
                          "sport": 39620, "dport": 53}})
    );
}
