//! Every frame is one object, whatever the file's form and whatever is in it.

use super::against_tshark::capture;
use super::craft::{Pcap, Pcapng};
use super::program::{Ran, Scratch, command, objects, overlay, overlay_fed, packets};
use super::sets;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// What must be the same in every form of a file.
fn without_file(mut packet: Value) -> Value {
    packet
        .as_object_mut()
        .expect("an object")
        .remove("interface");
    packet
}

#[test]
fn the_same_packets_in_every_form() {
    let scratch = Scratch::new("forms");
    let set = sets::all()
        .into_iter()
        .find(|set| set.name == "vxlan-4789")
        .unwrap();
    let mut forms = Vec::new();
    for big in [false, true] {
        for (magic, unit) in [(MICROSECONDS, 1000), (NANOSECONDS, 1)] {
            let mut pcap = Pcap::new(big, magic, 262_144, set.link);
            for (at, frame) in set.frames.iter().enumerate() {
                pcap.record(
                    7,
                    (at as u32 + 1) * 1_000_000 / unit,
                    frame.len() as u32,
                    frame,
                );
            }
            forms.push(pcap.0.out);
        }
        let mut pcapng = Pcapng::new(big);
        pcapng.interface(set.link as u16, 0, &[(9, &[9])]);
        for (at, frame) in set.frames.iter().enumerate() {
            let ns = 7_000_000_000 + (at as u64 + 1) * 1_000_000;
            pcapng.enhanced(0, ns, frame.len() as u32, frame, &[]);
        }
        forms.push(pcapng.bytes());
    }
    let read: Vec<Vec<Value>> = forms
        .iter()
        .map(|form| {
            packets(&scratch.file("form", form))
                .into_iter()
                .map(without_file)
                .collect()
        })
        .collect();
    assert_eq!(read[0].len(), set.frames.len());
    for other in &read[1..] {
        assert_eq!(*other, read[0]);
    }
    for form in &forms {
        let mut fed = objects(
            &overlay_fed(&["-r", "-", "--format", "json"], form)
                .fine()
                .out,
        );
        fed.pop();
        let fed: Vec<Value> = fed.into_iter().map(without_file).collect();
        assert_eq!(fed, read[0], "from standard input");
    }
}

#[test]
fn frames_that_nobody_can_decode_are_packets_too() {
    let scratch = Scratch::new("undecodable");
    for link in [0, 1, 101, 105, 108, 113, 127, 147, 228, 229, 276, 9999] {
        let mut pcap = Pcap::new(false, MICROSECONDS, 262_144, link);
        let frames: [&[u8]; 6] = [
            b"",
            b"\xff",
            b"\x00\x01",
            &[0x45; 7],
            &[0xff; 80],
            &[0; 300],
        ];
        for frame in frames {
            pcap.record(1, 2, frame.len() as u32, frame);
        }
        // Nothing of it was captured.
        pcap.record(1, 2, 1500, b"");
        let file = scratch.file(&format!("link{link}.pcap"), &pcap.0.out);
        let read = packets(&file);
        assert_eq!(read.len(), 7, "link type {link}");
        for packet in &read {
            let nothing = packet["layers"].as_array().expect("layers").is_empty();
            assert!(
                !nothing || packet["stop"].is_object(),
                "why not is told: {packet}"
            );
        }
        let text = overlay(&["-r", file.to_str().unwrap()]).fine().text();
        let packets = text.lines().filter(|line| line.starts_with("00:00:01."));
        assert_eq!(packets.count(), 7, "{text}");
    }
}

#[test]
fn cut_at_every_length() {
    let scratch = Scratch::new("snap");
    for set in sets::all() {
        let longest = set.frames.iter().map(Vec::len).max().unwrap_or(0);
        // Each frame at every length in one file would hide which it was: a
        // flow's numbers do not depend on it, so the frame's turn is enough.
        let mut pcap = Pcap::new(false, NANOSECONDS, 262_144, set.link);
        let mut frames = 0;
        for snap in 0..longest.min(200) {
            let frame = &set.frames[snap % set.frames.len()];
            let kept = &frame[..frame.len().min(snap)];
            pcap.record(1, snap as u32, frame.len() as u32, kept);
            frames += 1;
        }
        let file = scratch.file(&format!("{}.pcap", set.name), &pcap.0.out);
        let read = packets(&file);
        assert_eq!(read.len(), frames, "{}", set.name);
        // Where only what follows the packet is cut, the packet is whole.
        let padded = [
            "padded",
            "arp",
            "arp-odd",
            "wrong-lengths",
            "links",
            "nflog",
            "macsec",
        ];
        let padded = padded.contains(&set.name);
        for packet in read {
            if packet["caplen"].as_u64() < packet["len"].as_u64() && !padded {
                assert!(
                    packet["stop"].is_object() || in_fragment(&packet),
                    "{packet}"
                );
            }
        }
    }
}

fn in_fragment(packet: &Value) -> bool {
    packet["ip"]["frag"].is_object()
}

#[test]
fn packets_of_a_slow_pipe_are_printed_as_they_come() {
    let set = sets::all()
        .into_iter()
        .find(|set| set.name == "flannel-udp")
        .unwrap();
    let bytes = capture(&set, usize::MAX);
    let mut child = command(&["-r", "-", "--format=json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("netdig starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (send, receive) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let mut rest = &bytes[24..];
    pipe.write_all(&bytes[..24]).expect("the header");
    for (at, frame) in set.frames.iter().enumerate() {
        // In two parts, so that netdig sees half a record.
        let (record, after) = rest.split_at(16 + frame.len());
        pipe.write_all(&record[..20]).expect("half a record");
        pipe.write_all(&record[20..]).expect("the other half");
        rest = after;
        let line = receive
            .recv_timeout(Duration::from_secs(10))
            .expect("a line for each packet");
        let packet: Value = serde_json::from_str(&line).expect("an object");
        assert_eq!(packet["n"], at + 1);
    }
    drop(pipe);
    let line = receive
        .recv_timeout(Duration::from_secs(10))
        .expect("the summary");
    assert!(line.contains("\"kind\":\"summary\""));
    assert!(child.wait().expect("netdig ends").success());
    reader.join().expect("the reader ends");
}

/// What a broken file still has to give: whole frames, the summary, a sentence.
fn broken(ran: Ran, frames: usize, words: &[&str]) {
    let ran = ran.failed(words);
    let all = objects(&ran.out);
    assert_eq!(all.len() - 1, frames, "{}", ran.err);
    assert_eq!(all[frames]["packets"], frames);
    assert_eq!(ran.err.lines().count(), 1, "one sentence: {}", ran.err);
}

#[test]
fn cut_and_corrupt_files_give_what_they_hold() {
    let scratch = Scratch::new("broken");
    let set = sets::all()
        .into_iter()
        .find(|set| set.name == "raw")
        .unwrap();
    let whole = capture(&set, usize::MAX);
    let fifth: usize = 24
        + set.frames[..5]
            .iter()
            .map(|frame| 16 + frame.len())
            .sum::<usize>();
    let read = |name: &str, bytes: &[u8]| {
        let file = scratch.file(name, bytes);
        overlay(&["-r".as_ref(), file.as_os_str(), "--format=json".as_ref()])
    };
    let offset = fifth.to_string();
    broken(
        read("half.pcap", &whole[..fifth + 20]),
        5,
        &["half.pcap", "frame 5", &offset, "cut short"],
    );
    broken(
        read("header.pcap", &whole[..fifth + 7]),
        5,
        &["header.pcap", "frame 5", &offset],
    );
    let mut corrupt = whole.clone();
    corrupt[fifth + 8..fifth + 12].fill(0xff);
    broken(
        read("bad.pcap", &corrupt),
        5,
        &["bad.pcap", "frame 5", "corrupt"],
    );
    broken(
        overlay_fed(&["-r-", "--format=json"], &whole[..fifth + 20]),
        5,
        &["frame 5", &offset],
    );
    let mut pcapng = Pcapng::new(false);
    pcapng.interface(101, 0, &[]);
    pcapng.enhanced(0, 1, set.frames[0].len() as u32, &set.frames[0], &[]);
    let mut bytes = pcapng.bytes();
    bytes.extend([6, 0, 0, 0, 13, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    broken(
        read("bad.pcapng", &bytes),
        1,
        &["bad.pcapng", "frame 1", "byte"],
    );
    // With -c the bad part is never reached.
    let file = scratch.file("early.pcap", &corrupt);
    let ran = overlay(&["-r".as_ref(), file.as_os_str(), "-c5".as_ref()]).fine();
    assert_eq!(ran.text().lines().count(), 5 + 3);
}
