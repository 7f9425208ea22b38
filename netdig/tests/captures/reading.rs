//! Every kind of capture, crafted, against what is known of it and against tshark.

use std::io::Write;

use decoders::LinkType;
use netdig::observation::Observation;
use netdig::source::pcap::CaptureReader;

use crate::craft::{Bytes, Pcap, Pcapng, ethernet, udp};
use crate::{Scratch, Seen, read_all, read_bytes, tshark_fields};

const S: u64 = 1_700_000_000;
const NS: u64 = 1_000_000_000;

/// Frames as (time in ns, captured, original), as the reader gives them.
fn shapes(frames: &[Seen]) -> Vec<(u64, usize, u32)> {
    frames
        .iter()
        .map(|frame| (frame.ts_ns, frame.data.len(), frame.orig_len))
        .collect()
}

/// Checks the frames against what is expected, and against tshark unless
/// `times` says that the file has none (tshark then shows nothing).
fn check(name: &str, bytes: &[u8], expected: &[(u64, usize, u32)]) {
    let read = read_bytes(bytes);
    assert!(
        read.error.is_none(),
        "{name}: {}",
        read.error.map(|e| e.to_string()).unwrap_or_default()
    );
    assert_eq!(shapes(&read.frames), expected, "{name}");
    let numbers: Vec<_> = read.frames.iter().map(|frame| frame.file_n).collect();
    assert_eq!(
        numbers,
        (1..=expected.len() as u64).map(Some).collect::<Vec<_>>(),
        "{name}"
    );
    let scratch = Scratch::new(&format!("reading-{name}"));
    let path = scratch.file("capture", bytes);
    let fields = ["frame.time_epoch", "frame.cap_len", "frame.len"];
    let Some(rows) = tshark_fields(&path, &fields) else {
        return;
    };
    let theirs: Vec<Vec<String>> = expected
        .iter()
        .map(|(ts, captured, original)| {
            let time = if *ts == 0 {
                String::new()
            } else {
                format!("{}.{:09}", ts / NS, ts % NS)
            };
            vec![time, captured.to_string(), original.to_string()]
        })
        .collect();
    assert_eq!(rows, theirs, "{name}: tshark reads it otherwise");
}

#[test]
fn classic_in_both_byte_orders_and_resolutions() {
    for big in [false, true] {
        for (magic, unit) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            let mut file = Pcap::new(big, magic, 65_535, 1);
            file.record(S as u32, 1, 60, &ethernet(60, 1));
            file.record(S as u32 + 1, 999_999, 1514, &ethernet(96, 2));
            let expected = [
                (S * NS + unit, 60, 60),
                ((S + 1) * NS + 999_999 * unit, 96, 1514),
            ];
            check(&format!("classic-{big}-{unit}"), &file.0.out, &expected);
        }
    }
}

#[test]
fn kuznetzovs_modified_pcap() {
    let mut bytes = Bytes::new(false);
    bytes
        .u32(0xa1b2_cd34)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(65_535)
        .u32(1);
    for id in 0..3_u32 {
        let data = ethernet(60 + id as usize, id as u16);
        bytes
            .u32(S as u32)
            .u32(id)
            .u32(data.len() as u32)
            .u32(data.len() as u32);
        bytes.u32(2).u16(0x0800).raw(&[0, 0]).raw(&data);
    }
    let expected = [
        (S * NS, 60, 60),
        (S * NS + 1000, 61, 61),
        (S * NS + 2000, 62, 62),
    ];
    check("modified", &bytes.out, &expected);
}

#[test]
fn lengths_that_pcap_file_refuses() {
    let big = ethernet(9000, 1);
    let mut file = Pcap::new(false, 0xa1b2_3c4d, 96, 1);
    file.record(S as u32, 0, 9000, &big); // captured above the snap length
    file.record(S as u32, 1, 0, &[]); // nothing at all
    file.record(S as u32, 2, 60_000, &big[..96]);
    check(
        "lengths",
        &file.0.out,
        &[
            (S * NS, 9000, 9000),
            (S * NS + 1, 0, 0),
            (S * NS + 2, 96, 60_000),
        ],
    );
    let mut file = Pcap::new(true, 0xa1b2_c3d4, 0, 101); // snap length 0
    file.record(S as u32, 0, 1400, &udp(1400, 1));
    check("snaplen-0", &file.0.out, &[(S * NS, 1400, 1400)]);
    let mut file = Pcap::new(false, 0xa1b2_c3d4, 262_144, 147);
    file.record(S as u32, 0, 262_144, &vec![7; 262_144]);
    file.record(S as u32, 1, 60, &[8; 60]);
    check(
        "256-kib",
        &file.0.out,
        &[(S * NS, 262_144, 262_144), (S * NS + 1000, 60, 60)],
    );
}

#[test]
fn original_length_below_the_captured_one() {
    let mut file = Pcap::new(false, 0xa1b2_c3d4, 65_535, 1);
    file.record(S as u32, 0, 20, &ethernet(60, 1));
    file.record(S as u32, 1, 60, &ethernet(60, 2));
    let read = read_bytes(&file.0.out);
    assert_eq!(
        shapes(&read.frames),
        [(S * NS, 60, 60), (S * NS + 1000, 60, 60)]
    );
    let mut file = Pcapng::new(false);
    file.interface(1, 0, &[])
        .enhanced(0, S * 1_000_000, 20, &ethernet(60, 1), &[]);
    assert_eq!(
        shapes(&read_bytes(&file.bytes()).frames),
        [(S * NS, 60, 60)]
    );
}

#[test]
fn packets_above_the_buffer() {
    for len in [300_000, 1_000_000, 5_000_001] {
        let mut file = Pcapng::new(true);
        file.interface(147, 0, &[]);
        file.enhanced(0, 1, len as u32, &vec![1; len], &[])
            .enhanced(0, 2, 4, &[2; 4], &[]);
        let read = read_bytes(&file.bytes());
        assert!(read.error.is_none());
        assert_eq!(
            shapes(&read.frames),
            [(1000, len, len as u32), (2000, 4, 4)]
        );
    }
}

#[test]
fn pcapng_of_every_block_in_both_byte_orders() {
    for big in [false, true] {
        let ten_to_3: &[u8] = &[3];
        let two_to_20: &[u8] = &[0x80 | 20];
        let offset = if big {
            1000_i64.to_be_bytes()
        } else {
            1000_i64.to_le_bytes()
        };
        let mut file = Pcapng::new(big);
        file.interface(1, 100, &[(2, b"eth0")]);
        file.interface(101, 0, &[(2, b"tun0"), (9, &[9])]);
        file.block(0x0bad_0bad, |b| {
            b.raw(&[9; 100_001]);
        });
        file.block(4, |b| {
            b.u16(0).u16(0);
        });
        file.enhanced(0, S * 1_000_000 + 5, 60, &ethernet(60, 1), &[(2, &[0; 4])]);
        file.enhanced(1, S * NS + 5, 61, &udp(61, 2), &[]);
        file.interface(101, 0, &[(9, ten_to_3)]); // in the middle
        file.enhanced(2, S * 1000 + 5, 62, &udp(62, 3), &[]);
        file.interface(113, 0, &[(14, &offset)]);
        file.enhanced(3, S * 1_000_000, 63, &udp(63, 4), &[]);
        file.interface(276, 0, &[(9, two_to_20)]);
        file.enhanced(4, (S << 20) + (1 << 19), 64, &udp(64, 5), &[]);
        file.obsolete(1, S * NS + 6, 65, &udp(65, 6));
        let expected = [
            (S * NS + 5000, 60, 60),
            (S * NS + 5, 61, 61),
            (S * NS + 5_000_000, 62, 62),
            ((S + 1000) * NS, 63, 63),
            (S * NS + NS / 2, 64, 64),
            (S * NS + 6, 65, 65),
        ];
        check(&format!("pcapng-{big}"), &file.bytes(), &expected);
        let read = read_bytes(&file.bytes());
        let links: Vec<_> = read
            .interfaces
            .iter()
            .map(|i| (i.name.as_str(), i.link, i.snaplen))
            .collect();
        let wanted = [
            ("eth0", LinkType::Ethernet, 100),
            ("tun0", LinkType::RawIp, 0),
            ("", LinkType::RawIp, 0),
            ("", LinkType::LinuxSll, 0),
            ("", LinkType::LinuxSll2, 0),
        ];
        assert_eq!(links, wanted);
    }
}

#[test]
fn simple_packets_are_cut_at_the_snap_length() {
    for big in [false, true] {
        let mut file = Pcapng::new(big);
        file.interface(1, 61, &[])
            .simple(60, &ethernet(60, 1))
            .simple(1400, &ethernet(61, 2));
        check(
            &format!("simple-{big}"),
            &file.bytes(),
            &[(0, 60, 60), (0, 61, 1400)],
        );
    }
}

#[test]
fn sections_have_their_own_interfaces_and_byte_orders() {
    let mut first = Pcapng::new(false);
    first
        .interface(1, 0, &[(2, b"a")])
        .interface(101, 0, &[(2, b"b")]);
    first.enhanced(1, S * 1_000_000, 60, &udp(60, 1), &[]);
    let mut second = Pcapng::new(true);
    second
        .interface(101, 0, &[(2, b"c"), (9, &[9])])
        .enhanced(0, S * NS + 7, 61, &udp(61, 2), &[]);
    let bytes = [first.bytes(), second.bytes()].concat();
    check(
        "sections",
        &bytes,
        &[(S * NS, 60, 60), (S * NS + 7, 61, 61)],
    );
    let read = read_bytes(&bytes);
    let names: Vec<_> = read
        .frames
        .iter()
        .map(|f| read.interfaces[f.interface as usize].name.clone())
        .collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn garbage_in_options_costs_no_packet() {
    let mut file = Pcapng::new(false);
    file.interface(1, 0, &[]);
    file.enhanced(
        0,
        S * 1_000_000,
        60,
        &ethernet(60, 1),
        &[(1, b"\xff\xfe not UTF-8")],
    );
    file.enhanced(
        0,
        S * 1_000_000,
        60,
        &ethernet(60, 2),
        &[(2, &[1; 4]), (9999, b"what")],
    );
    check("options", &file.bytes(), &[(S * NS, 60, 60); 2]);
    // An option that claims more than there is, and one that is cut.
    for garbage in [&[1, 0, 0xff, 0xff][..], &[1, 0, 9], &[0xff; 7]] {
        let mut file = Pcapng::new(false);
        file.section(&[(4, b"netdig 9.9.9")]);
        file.block(1, |b| {
            b.u16(1).u16(7).u32(0).raw(garbage);
        });
        for id in 0..2 {
            file.block(6, |b| {
                b.u32(0)
                    .u32(0)
                    .u32(1)
                    .u32(60)
                    .u32(60)
                    .raw(&ethernet(60, id))
                    .raw(garbage);
            });
        }
        assert_eq!(
            shapes(&read_bytes(&file.bytes()).frames),
            [(1000, 60, 60); 2]
        );
    }
}

#[test]
fn a_block_length_without_its_padding() {
    let mut file = Pcapng::new(false);
    file.interface(1, 0, &[]);
    let data = ethernet(61, 1);
    for _ in 0..2 {
        file.0
            .u32(6)
            .u32(32 + 61)
            .u32(0)
            .u32(0)
            .u32(1)
            .u32(61)
            .u32(61)
            .raw(&data)
            .raw(&[0; 3])
            .u32(32 + 61);
    }
    assert_eq!(
        shapes(&read_bytes(&file.bytes()).frames),
        [(1000, 61, 61); 2]
    );
}

#[test]
fn swapped_lengths_of_old_pcap() {
    let mut bytes = Bytes::new(true);
    bytes
        .u32(0xa1b2_c3d4)
        .u16(2)
        .u16(2)
        .u32(0)
        .u32(0)
        .u32(65_535)
        .u32(1);
    bytes
        .u32(S as u32)
        .u32(0)
        .u32(1514)
        .u32(60)
        .raw(&ethernet(60, 1));
    check("swapped", &bytes.out, &[(S * NS, 60, 1514)]);
}

#[test]
fn link_types_by_number() {
    let known = [
        (0, LinkType::Null),
        (1, LinkType::Ethernet),
        (12, LinkType::RawIp),
        (101, LinkType::RawIp),
        (108, LinkType::Loop),
        (113, LinkType::LinuxSll),
        (228, LinkType::Ipv4),
        (229, LinkType::Ipv6),
        (276, LinkType::LinuxSll2),
        (127, LinkType::Radiotap),
        (147, LinkType::Other(147)),
        (0xf400_0001, LinkType::Ethernet), // with a frame check sequence
    ];
    for (number, link) in known {
        let mut file = Pcap::new(false, 0xa1b2_c3d4, 65_535, number);
        file.record(1, 0, 28, &udp(28, 1));
        let mut reader = CaptureReader::new(std::io::Cursor::new(file.0.out), "test");
        match reader.next() {
            Ok(Some(Observation::Frame(frame))) => assert_eq!(frame.link, link),
            other => panic!("no frame: {other:?}"),
        }
    }
}

/// Frames come while the writer still holds the pipe open, byte by byte.
#[test]
fn a_pipe_gives_frames_as_they_come() {
    let mut file = Pcapng::new(false);
    file.interface(101, 0, &[]);
    let head = file.bytes();
    let mut one = Pcapng(Bytes::new(false));
    one.enhanced(0, 1, 60, &udp(60, 1), &[]);
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let mut reader = CaptureReader::new(read, "pipe");
    write.write_all(&head).expect("the reader is there");
    for n in 1..=5_u64 {
        for byte in one.bytes() {
            write.write_all(&[byte]).expect("the reader is there");
        }
        match reader.next() {
            Ok(Some(Observation::Frame(frame))) => assert_eq!(frame.file_n, Some(n)),
            other => panic!("no frame: {other:?}"),
        }
    }
    drop(write);
    assert!(matches!(reader.next(), Ok(None)));
}

/// An input that gives one byte at a time, and is interrupted between.
struct Trickle {
    bytes: std::vec::IntoIter<u8>,
    interrupt: bool,
}

impl std::io::Read for Trickle {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        Ok(self.bytes.next().map_or(0, |byte| {
            buf[0] = byte;
            1
        }))
    }
}

#[test]
fn interruptions_lose_nothing() {
    let mut file = Pcapng::new(true);
    file.interface(101, 0, &[])
        .enhanced(0, 1, 60, &udp(60, 1), &[]);
    file.block(0x0bad_0bad, |b| {
        b.raw(&[9; 70_000]);
    });
    file.enhanced(0, 2, 61, &udp(61, 2), &[]);
    let mut reader = CaptureReader::new(
        Trickle {
            bytes: file.bytes().into_iter(),
            interrupt: false,
        },
        "trickle",
    );
    let mut seen = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(Observation::Frame(frame))) => seen.push(frame.data.len()),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => assert!(error.is_interruption(), "{error}"),
        }
    }
    assert_eq!(seen, [60, 61]);
}

#[test]
fn a_capture_by_tshark_itself() {
    let scratch = Scratch::new("editcap");
    let mut file = Pcap::new(false, 0xa1b2_3c4d, 65_535, 1);
    for id in 0..100 {
        file.record(
            S as u32,
            u32::from(id),
            60 + u32::from(id),
            &ethernet(60 + usize::from(id), id),
        );
    }
    let classic = scratch.file("a.pcap", &file.0.out);
    let ng = scratch.0.join("b.pcapng");
    let paths = [
        classic.to_str().unwrap_or_default(),
        ng.to_str().unwrap_or_default(),
    ];
    let Some((done, _, err)) = crate::tool("editcap", &["-F", "pcapng", paths[0], paths[1]]) else {
        return;
    };
    assert!(done, "{err}");
    let ours = read_all(CaptureReader::open(&classic).expect("it is there"));
    let theirs = read_all(CaptureReader::open(&ng).expect("it is there"));
    assert_eq!(ours.frames.len(), 100);
    assert_eq!(ours.frames, theirs.frames);
}

/// A large file is read by a thread of its own, block by block: the frames, the
/// end and the place of an error must be those of a plain stream, with frames
/// that end within a block, at its edge, and that are larger than several.
#[test]
fn large_files_are_read_as_streams_are() {
    let sizes = [60, 1_514, 9_000, 65_500, 66_000, 262_144, 1_000_000, 1, 0];
    let mut pcap = Pcap::new(false, 0xa1b2_3c4d, 0, 1);
    let mut written = 0;
    for n in 0.. {
        let size = match n % 97 {
            at if at < sizes.len() => sizes[at],
            at => at * 61,
        };
        let frame: Vec<u8> = (0..size).map(|at| (at + n) as u8).collect();
        pcap.record(1, n as u32, size as u32, &frame);
        written += size + 16;
        if written > 20_000_000 {
            break;
        }
    }
    let whole = pcap.0.out;
    let scratch = Scratch::new("reading-ahead");
    for cut in [0, 1, 7_000, 300_000] {
        let bytes = &whole[..whole.len() - cut];
        let path = scratch.file("large.pcap", bytes);
        let (file, stream) = (
            read_all(CaptureReader::open(&path).unwrap()),
            read_bytes(bytes),
        );
        assert_eq!(file.frames.len(), stream.frames.len(), "cut by {cut}");
        for (one, other) in file.frames.iter().zip(&stream.frames) {
            assert_eq!((one.ts_ns, one.file_n), (other.ts_ns, other.file_n));
            assert!(
                one.data == other.data,
                "frame {:?}, cut by {cut}",
                one.file_n
            );
        }
        let told = |read: &crate::Read, name: &str| {
            let error = read.error.as_ref().map(ToString::to_string);
            error.map(|error| error.replace(name, "F"))
        };
        let (name, error) = (path.display().to_string(), told(&stream, "test"));
        assert_eq!(told(&file, &name), error);
        assert_eq!(error.is_some(), cut > 0);
    }
    // Nobody reads to the end: the thread ends with its reader.
    let path = scratch.file("large.pcap", &whole);
    let mut reader = CaptureReader::open(&path).unwrap();
    assert!(reader.next().unwrap().is_some());
}
