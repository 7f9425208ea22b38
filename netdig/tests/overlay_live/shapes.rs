//! Tun devices of every shape: with and without information before packets,
//! taps, several queues; sockets on ports of their own.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use decoders::LinkType;
use netdig::observation::{FdKind, Via};
use netdig::source::probe::ProbeOptions;

use crate::calls::observed;
use crate::net::{bring_up, ipv4, ipv6, knock, open_tun, read, set_interface, tun, write};
use crate::play::{ok, play};
use crate::watch::Watch;
use crate::world::{Namespace, privileged};

/// A device, and what stands before each packet of it.
struct Shape {
    name: &'static str,
    flags: i32,
    info: usize,
    vnet: usize,
}

const SHAPES: [Shape; 5] = [
    Shape {
        name: "plain0",
        flags: libc::IFF_TUN | libc::IFF_NO_PI,
        info: 0,
        vnet: 0,
    },
    Shape {
        name: "info0",
        flags: libc::IFF_TUN,
        info: 4,
        vnet: 0,
    },
    Shape {
        name: "vnet0",
        flags: libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR,
        info: 0,
        vnet: 10,
    },
    Shape {
        name: "both0",
        flags: libc::IFF_TUN | libc::IFF_VNET_HDR,
        info: 4,
        vnet: 10,
    },
    Shape {
        name: "tap0",
        flags: libc::IFF_TAP | libc::IFF_NO_PI,
        info: 0,
        vnet: 0,
    },
];

/// A frame as it is written to this device.
fn framed(shape: &Shape, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; shape.info + shape.vnet];
    if shape.info > 0 {
        frame[2..4].copy_from_slice(&0x0800u16.to_be_bytes());
    }
    frame.extend(link_header(shape));
    frame.extend(packet);
    frame
}

fn link_header(shape: &Shape) -> Vec<u8> {
    match shape.flags & libc::IFF_TAP {
        0 => Vec::new(),
        _ => [[0xff; 6], [2, 0, 0, 0, 0, 9]]
            .concat()
            .into_iter()
            .chain([8, 0])
            .collect(),
    }
}

#[test]
fn what_stands_before_a_packet() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let packet = ipv4(7, 200);
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        for (n, shape) in (1..).zip(&SHAPES) {
            let device = tun(shape.name, shape.flags, n);
            let frame = framed(shape, &packet);
            write(device.as_raw_fd(), &frame);
            let (head, rest) = frame.split_at(13);
            let vectors = [head, rest].map(std::io::IoSlice::new);
            // SAFETY: the vectors live through the call.
            unsafe { ok(libc::writev(device.as_raw_fd(), vectors.as_ptr().cast(), 2) as i64) };
            // What comes out: an ARP request of a tap, the datagram of others.
            knock(n, 33);
            read_out(device.as_raw_fd(), shape);
        }
    });
    for shape in &SHAPES {
        let of = |via| {
            let packets = seen.packets.iter();
            packets.filter(move |it| it.via == via && it.interface == shape.name)
        };
        assert_eq!(of(Via::TunWrite).count(), 2, "{}", shape.name);
        let tap = shape.flags & libc::IFF_TAP != 0;
        let link = if tap {
            LinkType::Ethernet
        } else {
            LinkType::RawIp
        };
        for written in of(Via::TunWrite) {
            let whole = [link_header(shape), packet.clone()].concat();
            assert_eq!(written.data, whole, "{}", shape.name);
            assert_eq!(written.orig_len as usize, whole.len());
        }
        let is_knock = |data: &[u8]| match tap {
            true => data[12..14] == [8, 6],
            false => data.len() == 28 + 33 && data[0] == 0x45,
        };
        assert_eq!(
            of(Via::TunRead).filter(|it| is_knock(&it.data)).count(),
            1,
            "{}",
            shape.name
        );
        for packet in of(Via::TunRead).chain(of(Via::TunWrite)) {
            assert_eq!(packet.link, link);
            let kind = FdKind::Tun {
                interface: shape.name.into(),
                tap,
                packet_info: shape.info > 0,
                vnet_header: shape.vnet as u8,
            };
            assert_eq!(packet.fd.kind, kind);
        }
    }
}

/// Reads until what [`knock`] made comes out.
fn read_out(device: RawFd, shape: &Shape) {
    let mut buffer = [0; 2048];
    loop {
        let length = read(device, &mut buffer);
        let frame = &buffer[shape.info + shape.vnet..length];
        let tap = shape.flags & libc::IFF_TAP != 0;
        if tap && frame[12..14] == [8, 6] || !tap && frame[0] >> 4 == 4 {
            return;
        }
    }
}

/// A device with two descriptors, as a daemon with two threads has it.
#[test]
fn several_queues() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE;
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        let queues = [open_tun(), open_tun()];
        for queue in &queues {
            set_interface(queue.as_raw_fd(), "queues0", flags);
        }
        bring_up("queues0", 1);
        for (id, queue) in (1..).zip(&queues) {
            write(queue.as_raw_fd(), &ipv4(id, 100));
            write(queue.as_raw_fd(), &ipv6(id, 100));
        }
    });
    let written: Vec<_> = seen
        .packets
        .iter()
        .filter(|it| it.via == Via::TunWrite)
        .collect();
    assert_eq!(written.len(), 4);
    assert_eq!(written[0].fd.num, written[1].fd.num);
    assert_ne!(written[0].fd.num, written[2].fd.num);
    assert!(written.iter().all(|it| it.interface == "queues0"));
    assert_eq!(written[2].data, ipv4(2, 100));
    assert_eq!(written[3].data, ipv6(2, 100));
}

/// A daemon on a port that nobody told netdig of: its sockets are known by the
/// tun that it holds. What is no packet is not shown.
#[test]
fn a_port_of_its_own() {
    if !privileged() {
        return;
    }
    for before in [true, false] {
        let namespace = Namespace::new();
        let mut player = play(Some(&namespace), |stage| {
            let device = before.then(|| tun("own0", libc::IFF_TUN | libc::IFF_NO_PI, 1));
            stage.tell("made");
            stage.cue();
            let device = device.unwrap_or_else(|| tun("own0", libc::IFF_TUN | libc::IFF_NO_PI, 1));
            write(device.as_raw_fd(), &ipv4(1, 50));
            stage.tell("written");
            stage.cue();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 4567)).unwrap();
            socket.send_to(&ipv4(2, 60), "127.0.0.1:4567").unwrap();
            socket
                .send_to(b"a name that is looked up", "127.0.0.1:4567")
                .unwrap();
            socket.send_to(&ipv6(3, 70), "127.0.0.1:4567").unwrap();
        });
        player.expect("up");
        player.expect("made");
        let watch = Watch::start(&["--netns", &namespace.name]);
        player.cue();
        player.expect("written");
        // Netdig has heard of the tun when it shows its packet.
        watch.until_count(1);
        player.perform();
        player.end();
        let outcome = watch.stop().whole();
        let sent = outcome.that(|packet| packet["via"] == "udp-send");
        let lengths: Vec<_> = sent
            .iter()
            .map(|packet| packet["len"].as_u64().unwrap())
            .collect();
        assert_eq!(lengths, [60, 70], "before: {before}");
        for packet in sent {
            assert_eq!(packet["interface"], "udp:4567");
            assert_eq!(packet["outer"]["dport"], 4567);
        }
    }
}

/// `--encap` names a port, and what is spoken there.
#[test]
fn a_port_that_is_told() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let mut player = play(Some(&namespace), |stage| {
        stage.cue();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 4790)).unwrap();
        let mut frame = vec![8, 0, 0, 0, 0, 0, 42, 0];
        frame.extend([[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat());
        frame.extend([8, 0]);
        frame.extend(ipv4(1, 90));
        socket.send_to(&frame, "127.0.0.1:4790").unwrap();
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 4791)).unwrap();
        other.send_to(&ipv4(2, 90), "127.0.0.1:4791").unwrap();
    });
    player.expect("up");
    let told = ["--netns", &namespace.name, "--encap", "vxlan:4790"];
    let watch = Watch::start(&told);
    player.perform();
    player.end();
    let outcome = watch.stop().whole();
    assert_eq!(outcome.packets.len(), 1, "{:?}", outcome.packets);
    let packet = &outcome.packets[0];
    assert_eq!(packet["encap"][0]["proto"], "vxlan");
    assert_eq!(packet["encap"][0]["outer"]["dport"], 4790);
    assert_eq!(packet["layers"], serde_json::json!(["eth", "ipv4", "udp"]));
}
