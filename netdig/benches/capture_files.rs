//! How fast captures are written and read, without decoding, beside copying alone.
//!
//! `cargo bench -p netdig --bench capture_files`; half a gigabyte is written to
//! the temporary folder three times and removed.

use std::time::Instant;

use decoders::LinkType;
use netdig::observation::{Actor, FdKind, FdView, Frame, Interface, Observation, ProcessInfo, Via};
use netdig::output::capture::{CaptureWriter, FrameMeta};
use netdig::source::pcap::CaptureReader;

/// Of the mean size in a flannel capture: 16 bytes of header and 743 of packet.
const LEN: usize = 743;
const PACKETS: u64 = 700_000;

/// Writes flannel's packets, with or without what is known of them.
fn write(mut writer: CaptureWriter, annotated: bool) -> f64 {
    let info = ProcessInfo {
        pid: 758,
        parent: Some(1),
        comm: b"flanneld".to_vec(),
        args: vec![
            b"/opt/bin/flanneld".to_vec(),
            b"--iface=eth0".to_vec(),
            b"--ip-masq".to_vec(),
        ],
        uid: Some(0),
        container_id: Some("0123456789ab".to_owned()),
        container_name: Some("kube-flannel".to_owned()),
        ..ProcessInfo::default()
    };
    let data = packet();
    let tun = Interface {
        name: "flannel0".to_owned(),
        link: LinkType::RawIp,
        snaplen: 9216,
        addresses: Vec::new(),
    };
    let mut one = frame(&data);
    let mut meta = FrameMeta::default();
    if annotated {
        let mut comm = [0; 16];
        comm[..8].copy_from_slice(b"flanneld");
        one.process = Some(Actor {
            pid: 758,
            tid: 760,
            comm,
        });
        let local = "10.1.1.1:8285".parse().expect("an address");
        let kind = FdKind::Inet {
            protocol: 17,
            stream: false,
            local,
            remote: None,
        };
        one.fd = Some(FdView {
            num: 6,
            kind,
            inode: 12_345,
        });
        one.peer = Some("10.1.1.187:8285".parse().expect("an address"));
        one.netns = Some(4_026_531_840);
        meta.process = Some(&info);
        meta.fd_name = Some("10.1.1.1:8285");
    }
    let start = Instant::now();
    for n in 0..PACKETS {
        one.ts_ns += 1000;
        meta.n = n;
        writer.write_frame(&tun, &one, &meta).expect("room");
    }
    writer.finish().expect("room");
    start.elapsed().as_secs_f64()
}

fn read(path: &std::path::Path) -> f64 {
    let start = Instant::now();
    let mut reader = CaptureReader::open(path).expect("it is there");
    let (mut frames, mut bytes) = (0, 0);
    while let Some(observation) = reader.next().expect("whole") {
        if let Observation::Frame(frame) = observation {
            frames += 1;
            bytes += frame.data.len();
        }
    }
    assert_eq!((frames, bytes), (PACKETS, PACKETS as usize * LEN));
    start.elapsed().as_secs_f64()
}

/// A bare IPv4 packet with UDP inside.
fn packet() -> Vec<u8> {
    let mut packet = vec![
        0x45,
        0,
        (LEN >> 8) as u8,
        LEN as u8,
        0,
        1,
        0,
        0,
        64,
        17,
        0,
        0,
    ];
    packet.extend([10, 244, 1, 2, 10, 244, 2, 3, 0x13, 0x88, 0x13, 0x89]);
    packet.extend(((LEN - 20) as u16).to_be_bytes());
    packet.resize(LEN, 0x55);
    packet
}

fn frame(data: &[u8]) -> Frame<'_> {
    const AT: u64 = 1_700_000_000_000_000_000;
    Frame::new(AT, Via::UdpSend, LinkType::RawIp, data)
}

fn main() {
    let folder = std::env::temp_dir().join(format!("netdig-captures-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, annotated) in [
        ("plain.pcap", false),
        ("plain.pcapng", false),
        ("annotated.pcapng", true),
    ] {
        let path = folder.join(name);
        let written = write(
            CaptureWriter::create(&path, false).expect("a writable directory"),
            annotated,
        );
        let nowhere =
            CaptureWriter::pcapng(std::io::sink(), "nowhere", false).expect("it takes all");
        let encoded = write(nowhere, annotated);
        let size = std::fs::metadata(&path).expect("it is there").len() as f64 / 1e6;
        let cat = {
            let start = Instant::now();
            let bytes = std::fs::File::open(&path)
                .and_then(|mut f| std::io::copy(&mut f, &mut std::io::empty()));
            assert!(bytes.is_ok());
            start.elapsed().as_secs_f64()
        };
        let mut reads: Vec<f64> = (0..5).map(|_| read(&path)).collect();
        reads.sort_by(f64::total_cmp);
        println!(
            "{name}: {size:.0} MB, written in {written:.3} s ({:.0} packets/s, as \
             pcapng without a disk {:.0}); read in {:.3} s \
             ({:.0} ns a packet), copying alone {cat:.3} s",
            PACKETS as f64 / written,
            PACKETS as f64 / encoded,
            reads[2],
            reads[2] * 1e9 / PACKETS as f64,
        );
        std::fs::remove_file(&path).expect("it is there");
    }
    std::fs::remove_dir(&folder).expect("it is empty");
}
