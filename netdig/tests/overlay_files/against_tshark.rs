//! Every field of every packet, as tshark has it.

use super::agreement::{Agreement, Known, compare};
use super::craft::Pcap;
use super::parts;
use super::program::Scratch;
use super::sets::{self, Set};

/// Where netdig is right to differ.
const KNOWN: &[Known] = &[
    Known {
        file: "arp",
        frame: 11,
        field: "layers",
        reason: "a layer whose header is not whole is where decoding stops, not a layer",
    },
    Known {
        file: "ipv6-extensions",
        frame: 14,
        field: "layers",
        reason: "a layer whose header is not whole is where decoding stops, not a layer",
    },
    Known {
        file: "ipv4-forms",
        frame: 10,
        field: "layers",
        reason: "protocol 0 is no IPv6 hop-by-hop header where it stands in IPv4",
    },
    Known {
        file: "icmp-errors",
        frame: 53,
        field: "icmp.quoted.dst",
        reason: "the quoted header's options are cut off, its addresses are there",
    },
    Known {
        file: "parts-http2",
        frame: 2,
        field: "layers",
        reason: "tshark does not know the preface of HTTP/2 in two segments",
    },
    Known {
        file: "parts-out-of-order",
        frame: 3,
        field: "*",
        reason: "a segment that came early counts, as with tcp.reassemble_out_of_order",
    },
    quoted_fragment(15),
    quoted_fragment(16),
    quoted_fragment(17),
    quoted_fragment(18),
    quoted_fragment(19),
    quoted_fragment(20),
    Known {
        file: "links",
        frame: 15,
        field: "layers",
        reason: "two tags of 802.1ad are two layers, where tshark names one for both",
    },
    Known {
        file: "wrong-lengths",
        frame: 9,
        field: "*",
        reason: "a payload length of 0 with something behind it is a packet that the \
                 network card was to cut up, as IPv4's total length of 0 is to tshark too",
    },
];

const fn quoted_fragment(frame: usize) -> Known {
    Known {
        file: "icmpv6",
        frame,
        field: "icmp.quoted.*",
        reason: "the first fragment that is quoted keeps its ports",
    }
}

const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// A capture with nanoseconds; of each frame at most `snap` bytes.
pub fn capture(set: &Set, snap: usize) -> Vec<u8> {
    let mut file = Pcap::new(false, NANOSECONDS, 262_144, set.link);
    for (at, frame) in set.frames.iter().enumerate() {
        let (at, len) = (at as u32, frame.len() as u32);
        let kept = &frame[..frame.len().min(snap)];
        file.record(1_700_000_000 + at, 123_456_780 + at, len, kept);
    }
    file.0.out
}

#[test]
fn fields_are_those_of_tshark() {
    let scratch = Scratch::new("fields");
    let mut total = Agreement::default();
    for set in sets::all().into_iter().chain(parts::all()) {
        let file = scratch.file(&format!("{}.pcap", set.name), &capture(&set, usize::MAX));
        match compare(set.name, &file, KNOWN) {
            Some(agreement) => total.add(agreement),
            None => return,
        }
    }
    println!("netdig and tshark agree on {}", total.share());
    for (reason, frames) in &total.excused {
        println!("{frames} frames differ: {reason}");
    }
    println!("excused: {}", KNOWN.len());
    for known in KNOWN {
        println!(
            "  {} {} {}: {}",
            known.file, known.frame, known.field, known.reason
        );
    }
    assert!(
        total.different.is_empty(),
        "{}:\n{}",
        total.share(),
        total.different.join("\n")
    );
}
