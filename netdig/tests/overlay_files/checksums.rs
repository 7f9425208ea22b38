//! Verdicts on checksums, netdig's against tshark's.

use super::against_tshark::capture;
use super::pdml::DECODE_AS;
use super::program::{Scratch, tool};
use super::sets::{self, Set};
use decoders::checksum::{Verdict, verify};
use decoders::{LinkType, Packet, Ports, decode};

const PROTOCOLS: [(&str, &str); 5] = [
    ("ipv4", "ip"),
    ("tcp", "tcp"),
    ("udp", "udp"),
    ("icmp", "icmp"),
    ("icmpv6", "icmpv6"),
];

/// As the sets have them (mostly wrong or absent), and all put right.
#[test]
fn verdicts_are_those_of_tshark() {
    let scratch = Scratch::new("checksums");
    for mut set in sets::all() {
        if set.name == "wrong-lengths" {
            // Of a payload length of 0 over IPv6, tshark looks at nothing.
            set.frames.pop();
        }
        let mut right = set.frames.clone();
        for frame in &mut right {
            put_right(set.link, frame);
        }
        set.frames.extend(right);
        if !compare(&scratch, &set) {
            return;
        }
    }
}

/// `false` where there is no tshark.
fn compare(scratch: &Scratch, set: &Set) -> bool {
    let file = scratch.file(&format!("{}.pcap", set.name), &capture(set, usize::MAX));
    let Some(theirs) = tshark(file.to_str().expect("a path of text")) else {
        return false;
    };
    assert_eq!(theirs.len(), set.frames.len(), "{}", set.name);
    let mut different = Vec::new();
    for (at, (frame, theirs)) in set.frames.iter().zip(&theirs).enumerate() {
        let ours = ours(&decoded(set.link, frame));
        for ((ours, theirs), (layer, _)) in ours.iter().zip(theirs).zip(PROTOCOLS) {
            // tshark goes on into what an error quotes, has no absent one over
            // IPv6, where tunnels may leave it out, follows routes to their end,
            // and says nothing where a length is wrong.
            let agree = |(ours, theirs): (&u8, &u8)| {
                ours == theirs || *ours == 2 || (*ours, *theirs) == (3, 4)
            };
            let further = ours.get(theirs.len()..).unwrap_or(&[]);
            let alike = ours.iter().zip(theirs).all(agree);
            if !alike || further.iter().any(|verdict| matches!(verdict, 0 | 1 | 4)) {
                different.push(format!(
                    "{} {layer}: netdig {ours:?}, tshark {theirs:?}",
                    at + 1
                ));
            }
        }
    }
    assert!(different.is_empty(), "{}: {different:#?}", set.name);
    true
}

fn decoded(link: u32, frame: &[u8]) -> Packet<'_> {
    let link = LinkType::from_number(link as u16);
    decode(link, frame, frame.len(), &Ports::default())
}

/// Sums of outer layers cover those of inner ones: from the inside out.
fn put_right(link: u32, frame: &mut [u8]) {
    for _ in 0..10 {
        let last = last_wrong(&decoded(link, frame));
        let Some((offset, expected)) = last else {
            return;
        };
        frame[offset..offset + 2].copy_from_slice(&expected.to_be_bytes());
    }
    panic!("a checksum that stays wrong");
}

fn last_wrong(packet: &Packet<'_>) -> Option<(usize, u16)> {
    let wrong = verify(packet).filter_map(|sum| match sum.verdict {
        Verdict::Wrong { expected, .. } => Some((sum.offset, expected)),
        _ => None,
    });
    wrong.last()
}

/// For each protocol, the verdicts in tshark's numbers.
fn ours(packet: &Packet<'_>) -> Vec<Vec<u8>> {
    let of = |name| {
        let sums = verify(packet).filter(|sum| sum.layer == name);
        sums.map(|sum| match sum.verdict {
            Verdict::Wrong { found: 0, .. } if name == "udp" => 4,
            Verdict::Wrong { .. } | Verdict::Offloaded => 0,
            Verdict::Right => 1,
            Verdict::Unknown => 2,
            Verdict::Absent => 3,
        })
        .collect()
    };
    PROTOCOLS.iter().map(|(layer, _)| of(*layer)).collect()
}

fn tshark(file: &str) -> Option<Vec<Vec<Vec<u8>>>> {
    let fields = PROTOCOLS.map(|(_, theirs)| format!("{theirs}.checksum.status"));
    let mut arguments = vec!["-n", "-r", file, "-T", "fields", "-E", "separator=|"];
    for field in &fields {
        arguments.extend(["-e", field]);
    }
    for off in ["ip.defragment:FALSE", "ipv6.defragment:FALSE"] {
        arguments.extend(["-o", off]);
    }
    for on in ["ip", "tcp", "udp"] {
        let option: &str = match on {
            "ip" => "ip.check_checksum:TRUE",
            "tcp" => "tcp.check_checksum:TRUE",
            _ => "udp.check_checksum:TRUE",
        };
        arguments.extend(["-o", option]);
    }
    arguments.extend(DECODE_AS.iter().flat_map(|rule| ["-d", rule]));
    let output = tool("tshark", &arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = |list: &str| {
        list.split(',')
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    Some(
        text.lines()
            .map(|line| line.split('|').map(numbers).collect())
            .collect(),
    )
}
