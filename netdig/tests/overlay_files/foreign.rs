//! Files of others: Wireshark's random packets, its converters' forms, and
//! files damaged at random.

use super::against_tshark::capture;
use super::agreement::{Agreement, compare};
use super::program::{Scratch, objects, overlay, packets, tool};
use super::sets;
use std::path::Path;

/// Makes a file with one of Wireshark's tools; false where it is not there.
fn made(program: &str, arguments: &[&str]) -> bool {
    let Some(output) = tool(program, arguments) else {
        return false;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    true
}

#[test]
fn random_packets_of_wireshark() {
    let scratch = Scratch::new("randpkt");
    let kinds = [
        "arp",
        "bgp",
        "dns",
        "eth",
        "fddi",
        "icmp",
        "ip",
        "ipv6",
        "llc",
        "nbns",
        "sctp",
        "syslog",
        "tcp",
        "tr",
        "udp",
        "usb-linux",
    ];
    for kind in kinds {
        let file = scratch.path(kind);
        let name = file.to_str().expect("a path of text");
        if !made("randpkt", &["-b", "500", "-c", "300", "-t", kind, name]) {
            return;
        }
        assert_eq!(packets(&file).len(), 300, "{kind}");
        let text = overlay(&["-r", name, "-v", "-X"]).fine();
        assert!(!text.text().contains('\x1b'), "{kind}");
    }
}

#[test]
fn forms_that_editcap_and_mergecap_write() {
    let scratch = Scratch::new("editcap");
    let sets = sets::all();
    let find = |name: &str| sets.iter().find(|set| set.name == name).expect("a set");
    let first = scratch.file("a.pcap", &capture(find("geneve"), usize::MAX));
    let second = scratch.file("b.pcap", &capture(find("sll"), usize::MAX));
    let (a, b) = (first.to_str().unwrap(), second.to_str().unwrap());
    let expected = packets(&first);
    for format in [
        "pcap",
        "nsecpcap",
        "pcapng",
        "modpcap",
        "nokiapcap",
        "rh6_1pcap",
        "suse6_3pcap",
    ] {
        let file = scratch.path(format);
        let name = file.to_str().unwrap();
        if !made("editcap", &["-F", format, a, name]) {
            return;
        }
        let ran = overlay(&["-r", name, "--format", "json"]);
        // What is not read, says so; it is never misread.
        if ran.code == Some(2) {
            assert!(
                !matches!(format, "pcap" | "nsecpcap" | "pcapng"),
                "{}",
                ran.err
            );
            assert!(ran.err.contains(format), "the file is named: {}", ran.err);
            continue;
        }
        let read = objects(&ran.fine().out);
        assert_eq!(read.len() - 1, expected.len(), "{format}");
        for (one, other) in read.iter().zip(&expected) {
            for field in ["ip", "layers", "tcp", "encap", "len"] {
                assert_eq!(one[field], other[field], "{format}");
            }
        }
    }
    let merged = scratch.path("merged.pcapng");
    made("mergecap", &["-a", "-w", merged.to_str().unwrap(), a, b]);
    let both = packets(&merged);
    assert_eq!(both.len(), expected.len() + packets(&second).len());
    assert_eq!(
        both.last().unwrap()["layers"][0],
        "sll",
        "each interface has its link type"
    );
    let cut = scratch.path("cut.pcapng");
    made("editcap", &["-s", "60", a, cut.to_str().unwrap()]);
    assert!(
        packets(&cut)
            .iter()
            .all(|packet| packet["caplen"].as_u64() <= Some(60))
    );
}

/// xorshift64*, so that a failure can be seen again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Frames with some bytes changed: tshark finds what it finds, netdig has to
/// have as many frames, and mostly the same in them.
#[test]
fn frames_damaged_at_random() {
    let scratch = Scratch::new("mutated");
    let mut total = Agreement::default();
    for (at, mut set) in sets::all().into_iter().enumerate().skip(1).step_by(2) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + at as u64);
        for frame in &mut set.frames {
            for _ in 0..1 + random.below(4) {
                let at = random.below(frame.len());
                frame[at] = random.below(256) as u8;
            }
            let keep = random.below(frame.len() * 4).max(1);
            frame.truncate(keep);
        }
        let file = scratch.file(&format!("{}.pcap", set.name), &capture(&set, usize::MAX));
        match compare(set.name, &file, &[]) {
            Some(agreement) => total.add(agreement),
            None => return,
        }
        assert!(read_text(&file).ends_with("no findings\n"));
    }
    println!("on damaged frames they agree on {}", total.share());
    for line in &total.different {
        println!("  {line}");
    }
    let enough = total.fields_alike * 100 >= total.fields * 90;
    assert!(enough, "{}:\n{}", total.share(), total.different.join("\n"));
}

fn read_text(file: &Path) -> String {
    overlay(&["-v".as_ref(), "-r".as_ref(), file.as_os_str()])
        .fine()
        .text()
}

/// Whole files with some bytes changed: an answer or a sentence, never a panic.
#[test]
fn files_damaged_at_random() {
    let scratch = Scratch::new("damaged");
    let sets = sets::all();
    let mut random = Random(42);
    for round in 0..120 {
        let mut bytes = capture(&sets[round % sets.len()], usize::MAX);
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        bytes.truncate(random.below(bytes.len() * 3).max(1));
        let file = scratch.file("damaged.pcap", &bytes);
        let ran = overlay(&["-r".as_ref(), file.as_os_str(), "--format=json".as_ref()]);
        match ran.code {
            Some(0) => assert_eq!(ran.err, ""),
            Some(2) => assert!(ran.err.starts_with("netdig: ") && ran.err.contains("damaged.pcap")),
            other => panic!("exit code {other:?}: {}", ran.err),
        }
        if !ran.out.is_empty() {
            objects(&ran.out);
        }
    }
}
