//! Cut, corrupt and foreign files: whole frames, then one sentence.

use netdig::source::pcap::{CaptureError, CaptureReader};

use crate::craft::{Bytes, Pcap, Pcapng, udp};
use crate::{Read, Scratch, read_all, read_bytes, tool};

fn small_pcap() -> (Vec<u8>, Vec<usize>) {
    let mut file = Pcap::new(false, 0xa1b2_c3d4, 65_535, 101);
    let mut ends = vec![file.0.out.len()];
    for id in 0..4 {
        file.record(
            1,
            u32::from(id),
            28 + u32::from(id),
            &udp(28 + usize::from(id), id),
        );
        ends.push(file.0.out.len());
    }
    (file.0.out, ends)
}

fn small_pcapng() -> (Vec<u8>, Vec<usize>, Vec<usize>) {
    let mut file = Pcapng::new(true);
    let mut boundaries = vec![file.0.out.len()];
    file.interface(101, 0, &[(2, b"tun0")]);
    boundaries.push(file.0.out.len());
    let mut ends = Vec::new();
    for id in 0..3 {
        file.enhanced(0, u64::from(id), 28, &udp(28, id), &[(1, b"hello")]);
        ends.push(file.0.out.len());
        file.block(0x0bad, |b| {
            b.raw(&[1; 8]);
        });
        boundaries.push(file.0.out.len());
    }
    boundaries.extend(&ends);
    (file.bytes(), ends, boundaries)
}

fn sentence(read: &Read) -> String {
    read.error
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[test]
fn a_pcap_cut_at_every_byte() {
    let (bytes, ends) = small_pcap();
    for cut in 0..=bytes.len() {
        let read = read_bytes(&bytes[..cut]);
        let whole = ends
            .iter()
            .filter(|&&end| end <= cut)
            .count()
            .saturating_sub(1);
        assert_eq!(read.frames.len(), whole, "cut at {cut}");
        assert_eq!(
            read.error.is_none(),
            ends.contains(&cut),
            "cut at {cut}: {}",
            sentence(&read)
        );
        if let Some(CaptureError::Cut {
            frames,
            offset,
            left,
            ..
        }) = &read.error
        {
            let begin = ends
                .iter()
                .rev()
                .find(|&&end| end <= cut)
                .copied()
                .unwrap_or(0);
            assert_eq!(
                (*frames, *offset, *left),
                (whole as u64, begin as u64, (cut - begin) as u64)
            );
        }
    }
}

#[test]
fn a_pcapng_cut_at_every_byte() {
    let (bytes, ends, boundaries) = small_pcapng();
    for cut in 0..=bytes.len() {
        let read = read_bytes(&bytes[..cut]);
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(read.frames.len(), whole, "cut at {cut}");
        assert_eq!(
            read.error.is_none(),
            boundaries.contains(&cut),
            "cut at {cut}: {}",
            sentence(&read)
        );
    }
}

#[test]
fn any_byte_changed_to_anything_does_not_panic() {
    let (pcap, _) = small_pcap();
    let (pcapng, _, _) = small_pcapng();
    for bytes in [pcap, pcapng] {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let read = read_bytes(&damaged);
                assert!(read.frames.len() <= 4);
            }
        }
    }
}

#[test]
fn hostile_annotations_do_not_panic() {
    let scratch = Scratch::new("hostile");
    let path = scratch.0.join("out.pcapng");
    crate::writing::write_hostile(&path);
    let whole = std::fs::read(&path).expect("it was written");
    let mut state = 0x2545_f491_4f6c_dd1d_u64; // xorshift64: the same run every time
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    const ALPHABET: &[u8] = b"0 9\\x:=\n\xff";
    let mut frames = 0;
    for _ in 0..3000 {
        let mut damaged = whole.clone();
        for _ in 0..=random(8) {
            let at = random(damaged.len());
            damaged[at] = ALPHABET[random(ALPHABET.len())];
        }
        frames += read_bytes(&damaged).frames.len();
    }
    assert!(frames > 10_000, "mostly the packets survive: {frames}");
}

#[test]
fn the_sentence_says_where() {
    let (bytes, ends) = small_pcap();
    let read = read_bytes(&bytes[..ends[3] + 20]);
    assert_eq!(
        sentence(&read),
        format!(
            "test appears to have been cut short in the middle of a packet: after frame 3, at byte {}, \
             47 bytes are needed and 20 are left",
            ends[3]
        )
    );
    let mut wrong = bytes.clone();
    wrong[ends[1] + 11] = 0x7f; // the captured length's upper byte
    let read = read_bytes(&wrong);
    assert_eq!(read.frames.len(), 1);
    assert!(
        sentence(&read).contains(&format!("corrupt: after frame 1, at byte {}", ends[1])),
        "{}",
        sentence(&read)
    );
}

#[test]
fn tshark_sees_the_same_frames_before_a_cut() {
    let (bytes, ends) = small_pcap();
    let scratch = Scratch::new("cut");
    let path = scratch.file("cut.pcap", &bytes[..ends[3] + 5]);
    let read = read_all(CaptureReader::open(&path).expect("it is there"));
    let Some((done, out, err)) = tool("tshark", &["-n", "-r", path.to_str().unwrap_or_default()])
    else {
        return;
    };
    assert!(
        !done && err.contains("cut short in the middle of a packet"),
        "{err}"
    );
    assert_eq!(out.lines().count(), read.frames.len());
    assert!(sentence(&read).contains("cut short in the middle of a packet"));
}

#[test]
fn wrong_structure_is_told() {
    let mut no_interface = Pcapng::new(false);
    no_interface.enhanced(0, 1, 28, &udp(28, 1), &[]);
    let mut short = Pcapng::new(false);
    short.interface(1, 0, &[]).block(6, |b| {
        b.u32(0).u32(0);
    });
    let mut beyond = Pcapng::new(false);
    beyond.interface(1, 0, &[]).block(6, |b| {
        b.u32(0).u32(0).u32(0).u32(1000).u32(1000).raw(&[0; 60]);
    });
    let mut trailer = Pcapng::new(false);
    trailer
        .interface(1, 0, &[])
        .enhanced(0, 1, 28, &udp(28, 1), &[]);
    let end = trailer.0.out.len();
    trailer.0.out[end - 4] ^= 4;
    let mut tiny = Pcapng::new(false);
    tiny.0.u32(6).u32(8).u32(8);
    let mut huge = Pcapng::new(false);
    huge.interface(1, 0, &[]);
    huge.0.u32(6).u32(0xffff_fff0).raw(&[0; 100]);
    let mut version = Bytes::new(false);
    version
        .u32(0x0a0d_0d0a)
        .u32(28)
        .u32(0x1a2b_3c4d)
        .u16(2)
        .u16(0)
        .u64(0)
        .u32(28);
    let cases = [
        (
            no_interface.bytes(),
            "a packet names interface 0, and the section has described 0",
        ),
        (short.bytes(), "its fixed part needs 20"),
        (
            beyond.bytes(),
            "a packet claims 1000 bytes, and its block has room for 60",
        ),
        (trailer.bytes(), "two lengths differ"),
        (tiny.bytes(), "a block claims 8 bytes"),
        (huge.bytes(), "a block claims 4294967280 bytes"),
        (version.out, "version 2.0"),
    ];
    for (bytes, wanted) in cases {
        let read = read_bytes(&bytes);
        assert!(read.frames.is_empty());
        let told = sentence(&read);
        assert!(
            told.contains("damaged or corrupt") && told.contains(wanted),
            "{told}"
        );
    }
}

#[test]
fn a_huge_claim_costs_no_memory() {
    // 15 MiB claimed, 100 bytes there: the buffer grows only as bytes arrive.
    let mut file = Pcap::new(false, 0xa1b2_c3d4, 0, 1);
    file.0
        .u32(1)
        .u32(0)
        .u32(15 << 20)
        .u32(15 << 20)
        .raw(&[0; 100]);
    let read = read_bytes(&file.0.out);
    assert!(
        sentence(&read).contains("15728656 bytes are needed and 116 are left"),
        "{}",
        sentence(&read)
    );
}

#[test]
fn what_is_no_capture_gets_a_sentence() {
    let cases: [(&[u8], &str); 6] = [
        (
            b"\x1f\x8b\x08\0\0\0\0\0",
            "it begins with 1f 8b (gzip); unpack it first: gunzip",
        ),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd"),
        (
            b"#!/bin/sh\n",
            "23 21 2f 62 69 6e 2f 73 (\"#!/bin/s\"); pcap and pcapng files can be read",
        ),
        (b"\x0a\x0d\x0d\x0aabcdefghijkl", "byte-order magic"),
        (b"", "is empty"),
        (b"\xd4\xc3", "it begins with d4 c3"),
    ];
    for (bytes, wanted) in cases {
        let told = sentence(&read_bytes(bytes));
        assert!(told.contains(wanted), "{told}");
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    for (path, wanted) in [
        ("/nonexistent/x.pcap", "cannot open /nonexistent/x.pcap"),
        ("/tmp", "directory"),
    ] {
        let told = CaptureReader::open(std::path::Path::new(path))
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(told.contains(wanted), "{told}");
    }
}
