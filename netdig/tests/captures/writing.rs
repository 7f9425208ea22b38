//! Captures as netdig writes them: what tshark sees, and what comes back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use decoders::{Encap, LinkType};
use netdig::observation::{
    Actor, FdKind, FdView, Frame, Interface, Loss, LossCause, Observation, PacketType,
    ProcessChange, ProcessInfo, Via,
};
use netdig::output::capture::{CaptureWriter, FrameMeta};
use netdig::source::pcap::CaptureReader;

use crate::craft::{ethernet, udp};
use crate::{Scratch, tool, tshark_fields};

const T: u64 = 1_700_000_000_123_456_789;

pub fn interface(name: &str, link: LinkType) -> Interface {
    Interface {
        name: name.to_owned(),
        link,
        snaplen: 65_535,
        addresses: Vec::new(),
    }
}

pub fn frame(data: &[u8], via: Via, link: LinkType, n: u64) -> Frame<'_> {
    Frame::new(T + n, via, link, data)
}

pub fn actor(pid: u32, tid: u32, name: &[u8]) -> Actor {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name);
    Actor { pid, tid, comm }
}

/// A process whose every field could break a line.
fn hostile() -> ProcessInfo {
    ProcessInfo {
        pid: 758,
        parent: Some(1),
        comm: b"flanneld\x1b[31m\nPID: 1".to_vec(),
        args: vec![
            b"/opt/bin/flanneld".to_vec(),
            b"--etcd-endpoints=http://a b\nc".to_vec(),
            Vec::new(),
            vec![0xff, 0xfe, b'\\', b'e'],
            "--grüße=→".as_bytes().to_vec(),
        ],
        uid: Some(0),
        user: Some("root\\x".to_owned()),
        start_ns: Some(T - 5),
        container_id: Some("0123456789ab".to_owned()),
        container_name: Some("k8s\nNetdigVia: file".to_owned()),
        netns: Some(4_026_531_840),
    }
}

fn all_fd_kinds() -> Vec<FdKind> {
    let (local, remote) = (
        "10.1.1.1:8285".parse().expect("v4"),
        "[fe80::1%3]:8472".parse().expect("v6"),
    );
    vec![
        FdKind::Tun {
            interface: "flannel0".into(),
            tap: false,
            packet_info: true,
            vnet_header: 12,
        },
        FdKind::Tun {
            interface: "".into(),
            tap: true,
            packet_info: false,
            vnet_header: 0,
        },
        FdKind::Tun {
            interface: "a b\n=c".into(),
            tap: true,
            packet_info: false,
            vnet_header: 0,
        },
        FdKind::Inet {
            protocol: 17,
            stream: false,
            local,
            remote: None,
        },
        FdKind::Inet {
            protocol: 6,
            stream: true,
            local,
            remote: Some(remote),
        },
        FdKind::Unix,
        FdKind::Netlink,
        FdKind::OtherSocket { family: 17 },
        FdKind::Regular,
        FdKind::Directory,
        FdKind::Pipe,
        FdKind::AnonInode,
        FdKind::Char {
            major: 10,
            minor: 200,
        },
        FdKind::Block { major: 8, minor: 1 },
        FdKind::Unknown,
    ]
}

/// What was read, as text that tells all but where in the file it was.
fn told(observation: &Observation<'_>) -> String {
    match observation {
        Observation::Frame(frame) => format!(
            "{:?}",
            Frame {
                file_n: None,
                ..frame.clone()
            }
        ),
        other => format!("{other:?}"),
    }
}

fn flannel() -> Interface {
    Interface {
        addresses: vec![
            IpAddr::V4(Ipv4Addr::new(10, 244, 1, 0)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ],
        ..interface("flannel0", LinkType::RawIp)
    }
}

/// Writes a frame of every kind of descriptor, and returns what should come back.
pub fn write_hostile(path: &Path) -> Vec<String> {
    let mut writer = CaptureWriter::create(path, false).expect("a writable directory");
    assert!(writer.warnings().is_empty());
    let flannel = flannel();
    let info = hostile();
    let data = udp(1400, 1);
    let mut expected = Vec::new();
    for (n, kind) in all_fd_kinds().into_iter().enumerate() {
        let via = [
            Via::TunRead,
            Via::TunWrite,
            Via::UdpSend,
            Via::UdpRecv,
            Via::Link,
        ][n % 5];
        let mut frame = frame(&data, via, LinkType::RawIp, n as u64);
        frame.process = Some(actor(758, 760 + n as u32, b"fl\xff\n\x1b\\ PID: 7"));
        frame.fd = Some(FdView {
            num: n as i32,
            kind,
            inode: n as u64 * 1000,
        });
        frame.peer = Some("10.1.1.187:8285".parse().expect("an address"));
        frame.encap = [
            None,
            Some(Encap::FlannelUdp),
            Some(Encap::Vxlan),
            Some(Encap::Geneve),
        ][n % 4];
        frame.errno = (n % 2 == 0).then_some(105);
        frame.netns = Some(4_026_532_000);
        frame.cgroup = Some(77);
        frame.orig_len = 9000;
        let meta = FrameMeta {
            n: n as u64 + 1,
            joined: Some(n as u64),
            process: Some(&info),
            fd_name: Some("/dev/net/tun\nPID: 3"),
            packet_type: None,
            comments: &[
                "ND309 read and never sent\nevidence: x",
                "PID: 1\nCmd: forged",
                "NetdigVia: file",
            ],
        };
        writer.write_frame(&flannel, &frame, &meta).expect("room");
        expected.push(told(&Observation::Frame(frame)));
    }
    writer.finish().expect("room");
    expected
}

#[test]
fn a_frame_comes_back_as_it_was() {
    let scratch = Scratch::new("round-trip");
    let path = scratch.0.join("out.pcapng");
    let expected = write_hostile(&path);
    let mut reader = CaptureReader::open(&path).expect("it is there");
    let first = reader
        .next()
        .expect("whole")
        .map(|o| format!("{o:?}"))
        .unwrap_or_default();
    assert!(
        first.contains("Described"),
        "the process comes before its frame: {first}"
    );
    let mut reader = CaptureReader::open(&path).expect("it is there");
    let mut read = Vec::new();
    let mut described = Vec::new();
    while let Some(observation) = reader.next().expect("whole") {
        match observation {
            Observation::Process(event) => described.push(event),
            other => read.push(told(&other)),
        }
    }
    assert_eq!(read, expected);
    assert_eq!(described.len(), 1, "a process is described once");
    assert_eq!(described[0].change, ProcessChange::Described(hostile()));
    assert_eq!(reader.interfaces(), [flannel()]);
    same_for_tshark(&path, all_fd_kinds().len());
    // A reader that takes the format strictly agrees, too.
    let file = std::fs::File::open(&path).expect("it is there");
    let mut strict = pcap_file::pcapng::PcapNgReader::new(file).expect("a section header");
    let mut packets = 0;
    while let Some(block) = strict.next_block() {
        packets += usize::from(
            block
                .expect("a block as the draft has it")
                .into_enhanced_packet()
                .is_some(),
        );
    }
    assert_eq!(packets, expected.len());
}

/// tshark reads the file without a complaint, with the names, times and comments.
fn same_for_tshark(path: &Path, frames: usize) {
    let fields = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.cap_len",
        "frame.len",
        "frame.comment",
    ];
    let Some(rows) = tshark_fields(path, &fields) else {
        return;
    };
    assert_eq!(rows.len(), frames);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row[0], format!("1700000000.{:09}", 123_456_789 + n));
        assert_eq!(row[1..4], ["flannel0", "1400", "9000"]);
        assert!(
            row[4].contains("PID: 758") && row[4].contains("NetdigVia: "),
            "{}",
            row[4]
        );
        assert!(
            row[4].contains("Args: /opt/bin/flanneld --etcd-endpoints="),
            "{}",
            row[4]
        );
        assert!(row[4].contains("Note: PID: 1"), "{}", row[4]);
        assert!(row[4].contains("ND309 read and never sent"), "{}", row[4]);
        assert!(
            !row[4].contains('\u{1b}'),
            "no escape sequence reaches a terminal"
        );
    }
    let Some((done, out, err)) = tool("capinfos", &[path.to_str().unwrap_or_default()]) else {
        return;
    };
    assert!(done, "{err}");
    for wanted in [
        "Number of packets:   15",
        "netdig ",
        "Linux",
        "flannel0",
        "nanosecond",
    ] {
        assert!(out.contains(wanted), "no {wanted:?} in {out}");
    }
}

#[test]
fn directions_interfaces_and_statistics_for_tshark() {
    let scratch = Scratch::new("directions");
    let path = scratch.0.join("out.pcapng");
    let mut writer = CaptureWriter::create(&path, true).expect("a writable directory");
    let (tun, eth) = (
        interface("tun:758:5", LinkType::RawIp),
        interface("eth0", LinkType::Ethernet),
    );
    let (raw, wired) = (udp(100, 1), ethernet(100, 2));
    let cases = [
        (&tun, Via::TunRead, None),
        (&tun, Via::TunWrite, None),
        (&tun, Via::UdpSend, None),
        (&tun, Via::UdpRecv, None),
        (&eth, Via::Link, Some(PacketType::Host)),
        (&eth, Via::Link, Some(PacketType::Broadcast)),
        (&eth, Via::Link, Some(PacketType::OtherHost)),
        (&eth, Via::Link, Some(PacketType::Outgoing)),
        (&eth, Via::Link, None),
    ];
    for (n, (interface, via, packet_type)) in cases.iter().enumerate() {
        let data = if interface.link == LinkType::Ethernet {
            &wired
        } else {
            &raw
        };
        let frame = frame(data, *via, interface.link, n as u64);
        let meta = FrameMeta {
            packet_type: *packet_type,
            ..FrameMeta::default()
        };
        if n == 5 {
            writer
                .write_loss(&loss(Some(1), 42), Some(&eth))
                .expect("room");
            writer.write_loss(&loss(None, 7), None).expect("room");
        }
        writer.write_frame(interface, &frame, &meta).expect("room");
    }
    writer.write_loss(&loss(None, 9), None).expect("room");
    writer.statistics(&tun, 1000, 10).expect("room");
    writer.finish().expect("room");
    let mut reader = CaptureReader::open(&path).expect("it is there");
    let (mut types, mut losses) = (Vec::new(), Vec::new());
    loop {
        let is_frame = match reader.next().expect("whole") {
            Some(Observation::Frame(_)) => true,
            Some(Observation::Loss(loss)) => {
                losses.push((loss.interface, loss.count));
                false
            }
            Some(_) => false,
            None => break,
        };
        if is_frame {
            types.push(reader.packet_type());
        }
    }
    assert_eq!(
        types[4..],
        cases[4..].iter().map(|(_, _, t)| *t).collect::<Vec<_>>()
    );
    assert_eq!(
        types[..2],
        [Some(PacketType::Outgoing), Some(PacketType::Host)]
    );
    assert_eq!(losses, [(Some(1), 42), (None, 7), (None, 9)]);
    let fields = [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.packet_flags_reception_type",
        "frame.drop_count",
    ];
    let Some(rows) = tshark_fields(&path, &fields) else {
        return;
    };
    let directions: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(
        directions,
        [
            "0x00000002",
            "0x00000001",
            "0x00000002",
            "0x00000001",
            "0x00000001",
            "0x00000001",
            "0x00000001",
            "0x00000002",
            ""
        ]
    );
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        names,
        [
            "tun:758:5",
            "tun:758:5",
            "tun:758:5",
            "tun:758:5",
            "eth0",
            "eth0",
            "eth0",
            "eth0",
            "eth0"
        ]
    );
    assert_eq!(rows[5][3], "42");
    let Some((done, out, err)) = tool("capinfos", &[path.to_str().unwrap_or_default()]) else {
        return;
    };
    assert!(
        done && out.contains("Number of stat entries = 1"),
        "{out}{err}"
    );
}

fn loss(interface: Option<u32>, count: u64) -> Loss {
    Loss {
        ts_ns: T,
        interface,
        source: "probe of\nall".to_owned(),
        event_kind: "udp",
        cause: LossCause::RingFull,
        count,
        window: (T - 10, T),
    }
}

#[test]
fn losses_without_a_single_packet_are_kept() {
    let scratch = Scratch::new("loss");
    let path = scratch.0.join("out.pcapng");
    let mut writer = CaptureWriter::create(&path, false).expect("a writable directory");
    let lost = loss(None, 9);
    writer.write_loss(&lost, None).expect("room");
    writer.finish().expect("room");
    let mut reader = CaptureReader::open(&path).expect("it is there");
    match reader.next() {
        Ok(Some(Observation::Loss(read))) => assert_eq!(read, lost),
        other => panic!("no loss: {other:?}"),
    }
}

#[test]
fn comments_of_others_are_not_believed() {
    let mut file = crate::craft::Pcapng::new(false);
    file.section(&[(4, b"Wireshark")]).interface(101, 0, &[]);
    file.enhanced(
        0,
        1,
        28,
        &udp(28, 1),
        &[(1, b"PID: 1\nCmd: x\nArgs: y"), (1, b"NetdigVia: tun-read")],
    );
    let mut reader = CaptureReader::new(std::io::Cursor::new(file.bytes()), "test");
    match reader.next() {
        Ok(Some(Observation::Frame(frame))) => {
            assert!(frame.via == Via::File && frame.process.is_none())
        }
        other => panic!("no frame: {other:?}"),
    }
}

#[test]
fn arguments_without_end_are_cut_and_marked() {
    let info = ProcessInfo {
        pid: 1,
        comm: vec![b'\n'; 100_000],
        args: vec![vec![0xff; 100_000]; 3],
        container_name: Some("\u{1b}".repeat(100_000)),
        ..ProcessInfo::default()
    };
    let scratch = Scratch::new("args");
    let path = scratch.0.join("out.pcapng");
    let mut writer = CaptureWriter::create(&path, false).expect("a writable directory");
    let data = udp(100, 1);
    let mut frame = frame(&data, Via::TunRead, LinkType::RawIp, 0);
    frame.process = Some(actor(1, 1, b"x"));
    let newlines = "\n".repeat(200_000);
    let meta = FrameMeta {
        process: Some(&info),
        fd_name: Some(&newlines),
        comments: &[&newlines],
        ..FrameMeta::default()
    };
    writer
        .write_frame(&interface(&newlines, LinkType::RawIp), &frame, &meta)
        .expect("room");
    writer.finish().expect("room");
    let Some(rows) = tshark_fields(&path, &["frame.comment"]) else {
        return;
    };
    assert!(rows[0][0].contains("NetdigArgsCut: yes"));
    let read = crate::read_all(CaptureReader::open(&path).expect("it is there"));
    assert!(read.error.is_none() && read.frames.len() == 1 && read.processes.len() == 1);
}

#[test]
fn classic_pcap_holds_one_link_type() {
    let scratch = Scratch::new("classic");
    let path = scratch.0.join("out.PCAP");
    let mut writer = CaptureWriter::create(&path, false).expect("a writable directory");
    assert!(writer.warnings()[0].contains("name the file .pcapng"));
    let (raw, wired) = (udp(100, 1), ethernet(100, 2));
    let tun = interface("tun0", LinkType::RawIp);
    for (n, link) in [LinkType::Ipv4, LinkType::RawIp].into_iter().enumerate() {
        let frame = frame(&raw, Via::TunRead, link, n as u64);
        writer
            .write_frame(&tun, &frame, &FrameMeta::default())
            .expect("room");
    }
    let other = frame(&wired, Via::Link, LinkType::Ethernet, 3);
    let error = writer.write_frame(
        &interface("eth0", LinkType::Ethernet),
        &other,
        &FrameMeta::default(),
    );
    let told = error
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        told.contains("eth0 (Ethernet) differs") && told.contains("(raw IP)"),
        "{told}"
    );
    writer.finish().expect("room");
    let Some(rows) = tshark_fields(&path, &["frame.time_epoch", "ip.src"]) else {
        return;
    };
    assert_eq!(
        rows,
        [
            ["1700000000.123456789", "10.244.1.2"],
            ["1700000000.123456790", "10.244.1.2"]
        ]
    );
    let empty = scratch.0.join("empty.pcap");
    CaptureWriter::create(&empty, false)
        .and_then(CaptureWriter::finish)
        .expect("room");
    assert_eq!(tshark_fields(&empty, &["frame.number"]), Some(Vec::new()));
}
