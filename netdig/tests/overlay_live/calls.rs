//! Every system call that moves a packet, byte for byte.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use decoders::Encap;
use netdig::observation::{FdKind, Via};
use netdig::source::probe::ProbeOptions;
use netdig::tracker::Tracker;
use netdig_ebpf::class;

use crate::net::{TUNNEL_PORT, ipv4, ipv6, recv, send_home, sendto, v4, v6};
use crate::play::{Stage, ok, play};
use crate::seen::{Bytes, Packet, Seen, mark_end};
use crate::world::{Namespace, privileged};

/// Plays a scene under a probe that watches its process; what it saw.
pub fn observed(
    options: ProbeOptions,
    namespace: &Namespace,
    scene: impl FnOnce(&mut Stage),
) -> Seen {
    let mut player = play(Some(namespace), |stage| {
        stage.cue();
        scene(stage);
        mark_end();
    });
    player.expect("up");
    let options = ProbeOptions {
        pids: vec![player.pid],
        ..options
    };
    let mut seen = Seen::start(&options, player.pid, Tracker::empty());
    player.perform();
    seen.until_end();
    player.end();
    seen
}

/// Lengths around the sizes in which records come, and beyond the longest.
const LENGTHS: [usize; 14] = [
    28, 64, 103, 104, 105, 488, 489, 1400, 1512, 1513, 4096, 4097, 9216, 20_000,
];

/// What a packet of `len` bytes must look like.
fn check_bytes(seen: &Packet, sent: &[u8], snap: usize) {
    assert_eq!(seen.orig_len as usize, sent.len());
    let kept = sent.len().min(snap);
    assert_eq!(seen.data.len(), kept);
    assert!(seen.data == sent[..kept], "other bytes, {kept} of them");
}

fn home() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, TUNNEL_PORT))
}

fn check_socket(packet: &Packet, via: Via, peer: Option<SocketAddr>) {
    assert_eq!(packet.via, via);
    assert_eq!(packet.encap, Some(Encap::FlannelUdp));
    assert_eq!(packet.peer, peer);
    assert_eq!(packet.errno, None);
    assert_eq!(packet.interface, "udp:8285");
    match packet.fd.kind {
        FdKind::Inet {
            protocol,
            stream,
            local,
            ..
        } => {
            assert_eq!((protocol, stream, local), (17, false, home()));
        }
        ref other => panic!("{other:?}"),
    }
}

/// Splits a packet into vectors: a few bytes, none, a header, the rest.
fn parts(packet: &[u8]) -> Vec<IoSlice<'_>> {
    let (head, rest) = packet.split_at(3);
    let (middle, rest) = rest.split_at(17);
    [head, &[], middle, rest].map(IoSlice::new).to_vec()
}

fn header(vectors: &[IoSlice<'_>], to: Option<&libc::sockaddr_in>) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice has the layout of iovec.
    message.msg_iov = vectors.as_ptr().cast_mut().cast();
    message.msg_iovlen = vectors.len();
    if let Some(to) = to {
        message.msg_name = std::ptr::from_ref(to).cast_mut().cast();
        message.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    }
    message
}

fn send_batch(socket: RawFd, packets: &[Vec<u8>], to: &libc::sockaddr_in) {
    let vectors: Vec<_> = packets.iter().map(|packet| parts(packet)).collect();
    let mut messages: Vec<libc::mmsghdr> = vectors
        .iter()
        .map(|vectors| libc::mmsghdr {
            msg_hdr: header(vectors, Some(to)),
            msg_len: 0,
        })
        .collect();
    // SAFETY: the messages and what they point to live through the call.
    let sent = unsafe { libc::sendmmsg(socket, messages.as_mut_ptr(), messages.len() as u32, 0) };
    assert_eq!(ok(sent), packets.len() as i32);
}

/// Empties the socket's queue without a record.
fn swallow(socket: RawFd, count: usize) {
    for _ in 0..count {
        recv(socket, &mut [0; 1], libc::MSG_TRUNC);
    }
}

#[test]
fn every_way_to_send() {
    if !privileged() {
        return;
    }
    let batch: Vec<_> = (0..20)
        .map(|id| ipv4(id, 40 + usize::from(id) * 61))
        .collect();
    let small: Vec<_> = (0..1024).map(|id| ipv4(id, 28)).collect();
    let namespace = Namespace::new();
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        let sender = UdpSocket::bind(home()).unwrap();
        let socket = sender.as_raw_fd();
        // Somebody must be there, or sends are refused.
        let sink = UdpSocket::bind("127.0.0.1:9000").unwrap();
        let to = v4(Ipv4Addr::LOCALHOST, 9000);
        // SAFETY: messages and vectors live through their calls.
        unsafe {
            for len in LENGTHS {
                ok(sendto(socket, &ipv4(1, len), &to) as i64);
                let packet = ipv4(2, len);
                ok(libc::sendmsg(socket, &header(&parts(&packet), Some(&to)), 0) as i64);
            }
            send_batch(socket, &batch, &to);
            send_batch(socket, &small, &to);
            sender.connect("127.0.0.1:9000").unwrap();
            for len in LENGTHS {
                sender.send(&ipv4(3, len)).unwrap();
                crate::net::write(socket, &ipv4(4, len));
                let packet = ipv4(5, len);
                let vectors = parts(&packet);
                ok(libc::writev(socket, vectors.as_ptr().cast(), 4) as i64);
                ok(libc::sendmsg(socket, &header(&parts(&packet), None), 0) as i64);
            }
        }
        drop(sink);
    });
    let mut expected = Vec::new();
    for len in LENGTHS {
        expected.extend([ipv4(1, len), ipv4(2, len)]);
    }
    expected.extend(batch);
    expected.extend(small);
    for len in LENGTHS {
        expected.extend([ipv4(3, len), ipv4(4, len), ipv4(5, len), ipv4(5, len)]);
    }
    let peer = Some("127.0.0.1:9000".parse().unwrap());
    assert_eq!(seen.packets.len(), expected.len());
    for (packet, sent) in seen.packets.iter().zip(&expected) {
        check_bytes(packet, sent, 9216);
        check_socket(packet, Via::UdpSend, peer);
        assert_eq!(packet.netns, Some(namespace.inode()));
    }
}

/// How a receive is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Receive {
    Read,
    Readv,
    Recv,
    Recvfrom,
    Recvmsg,
    /// Without room for the sender's address.
    RecvmsgBlind,
}

fn receive(socket: RawFd, how: Receive, flags: i32) {
    let (mut head, mut rest) = ([0u8; 11], [0u8; 65536]);
    // SAFETY: buffers, vectors and addresses live through the calls.
    unsafe {
        let vectors = [
            libc::iovec {
                iov_base: head.as_mut_ptr().cast(),
                iov_len: head.len(),
            },
            libc::iovec {
                iov_base: rest.as_mut_ptr().cast(),
                iov_len: rest.len(),
            },
        ];
        let mut from: libc::sockaddr_in = std::mem::zeroed();
        let mut from_len = size_of::<libc::sockaddr_in>() as u32;
        let buffer = rest.as_mut_ptr().cast();
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = vectors.as_ptr().cast_mut();
        message.msg_iovlen = 2;
        if how == Receive::Recvmsg {
            message.msg_name = (&raw mut from).cast();
            message.msg_namelen = from_len;
        }
        ok(match how {
            Receive::Read => libc::read(socket, buffer, rest.len()),
            Receive::Readv => libc::readv(socket, vectors.as_ptr(), 2),
            Receive::Recv => libc::recv(socket, buffer, rest.len(), flags),
            Receive::Recvfrom => libc::recvfrom(
                socket,
                buffer,
                rest.len(),
                flags,
                (&raw mut from).cast(),
                &mut from_len,
            ),
            Receive::Recvmsg | Receive::RecvmsgBlind => libc::recvmsg(socket, &mut message, flags),
        } as i64);
    }
}

const RECEIVES: [Receive; 6] = [
    Receive::Read,
    Receive::Readv,
    Receive::Recv,
    Receive::Recvfrom,
    Receive::Recvmsg,
    Receive::RecvmsgBlind,
];

fn receive_batch(socket: RawFd, count: usize) {
    let mut buffers = vec![([0u8; 20], [0u8; 2048]); count];
    let mut vectors: Vec<[libc::iovec; 2]> = buffers
        .iter_mut()
        .map(|(head, rest)| {
            [
                libc::iovec {
                    iov_base: head.as_mut_ptr().cast(),
                    iov_len: head.len(),
                },
                libc::iovec {
                    iov_base: rest.as_mut_ptr().cast(),
                    iov_len: rest.len(),
                },
            ]
        })
        .collect();
    // SAFETY: all-zero is valid; buffers and vectors live through the call.
    unsafe {
        let mut names = vec![std::mem::zeroed::<libc::sockaddr_in>(); count];
        let mut messages = vec![std::mem::zeroed::<libc::mmsghdr>(); count];
        for ((message, vectors), name) in messages.iter_mut().zip(&mut vectors).zip(&mut names) {
            message.msg_hdr.msg_iov = vectors.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            message.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        let got = libc::recvmmsg(
            socket,
            messages.as_mut_ptr(),
            count as u32,
            0,
            std::ptr::null_mut(),
        );
        assert_eq!(ok(got), count as i32);
    }
}

#[test]
fn every_way_to_receive() {
    if !privileged() {
        return;
    }
    let batch: Vec<_> = (0..20)
        .map(|id| ipv4(id, 40 + usize::from(id) * 61))
        .collect();
    let namespace = Namespace::new();
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        let receiver = UdpSocket::bind(home()).unwrap();
        let socket = receiver.as_raw_fd();
        // Its own port is no tunnel's, but what it sends goes to one: seen too.
        let feeder = UdpSocket::bind("127.0.0.1:9001").unwrap();
        let feed = feeder.as_raw_fd();
        for (id, how) in (0..).zip(RECEIVES) {
            for len in LENGTHS {
                send_home(feed, &ipv4(id, len));
                receive(socket, how, 0);
            }
        }
        for packet in &batch {
            send_home(feed, packet);
        }
        receive_batch(socket, batch.len());
        // Looked at, then taken: one packet.
        send_home(feed, &ipv4(100, 300));
        for how in [Receive::Recv, Receive::Recvfrom, Receive::Recvmsg] {
            receive(socket, how, libc::MSG_PEEK);
        }
        receive(socket, Receive::Recvfrom, 0);
        // A buffer that is too short, with the true length and without.
        for flags in [libc::MSG_TRUNC, 0] {
            send_home(feed, &ipv4(101, 1000));
            recv(socket, &mut [0; 100], flags);
        }
        receiver.connect("127.0.0.1:9001").unwrap();
        for how in RECEIVES {
            send_home(feed, &ipv4(102, 80));
            receive(socket, how, 0);
        }
    });
    let peer = Some("127.0.0.1:9001".parse().unwrap());
    let sent = seen
        .packets
        .iter()
        .filter(|packet| packet.via == Via::UdpSend);
    assert!(sent.count() > 0, "a sender is known by where it sends");
    let received = |packet: &&Packet| packet.via == Via::UdpRecv;
    let mut packets = seen.packets.iter().filter(received);
    let mut next = |sent: &[u8], snap: usize, peer: Option<Option<SocketAddr>>| {
        let packet = packets.next().expect("another packet");
        check_bytes(packet, sent, snap);
        check_socket(packet, Via::UdpRecv, peer.unwrap_or(packet.peer));
    };
    for (id, how) in (0..).zip(RECEIVES) {
        let asked = matches!(how, Receive::Recvfrom | Receive::Recvmsg);
        for len in LENGTHS {
            // Without asking, the sender is known once netdig watches the wire.
            next(&ipv4(id, len), 9216, asked.then_some(peer));
        }
    }
    for packet in &batch {
        next(packet, 9216, Some(peer));
    }
    next(&ipv4(100, 300), 9216, Some(peer));
    next(&ipv4(101, 1000), 100, None);
    // Nothing but the 100 bytes is known of the second.
    let cut = packets.next().unwrap();
    assert_eq!(
        (cut.orig_len, &cut.data[..]),
        (100, &ipv4(101, 1000)[..100])
    );
    for _ in RECEIVES {
        let packet = packets.next().unwrap();
        check_bytes(packet, &ipv4(102, 80), 9216);
        check_socket(packet, Via::UdpRecv, peer);
    }
    assert_eq!(packets.count(), 0);
}

#[test]
fn a_snap_length_cuts() {
    if !privileged() {
        return;
    }
    for snap in [1, 104, 2000] {
        let namespace = Namespace::new();
        let options = ProbeOptions {
            snap_tunnel: snap,
            ..ProbeOptions::default()
        };
        let seen = observed(options, &namespace, |_| {
            let socket = UdpSocket::bind(home()).unwrap();
            for len in LENGTHS {
                send_home(socket.as_raw_fd(), &ipv4(1, len));
                let packet = ipv4(2, len);
                let to = v4(Ipv4Addr::LOCALHOST, TUNNEL_PORT);
                // SAFETY: the message lives through the call.
                unsafe {
                    ok(
                        libc::sendmsg(socket.as_raw_fd(), &header(&parts(&packet), Some(&to)), 0)
                            as i64,
                    )
                };
            }
        });
        assert_eq!(seen.packets.len(), 2 * LENGTHS.len());
        for (packet, len) in seen
            .packets
            .iter()
            .zip(LENGTHS.iter().flat_map(|len| [len, len]))
        {
            let id = packet.data.get(5).map_or(0, |&id| id.into());
            let sent = if snap == 1 {
                vec![0x45; *len]
            } else {
                ipv4(id, *len)
            };
            check_bytes(packet, &sent, snap as usize);
        }
    }
}

#[test]
fn ipv6_inside_and_outside() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, TUNNEL_PORT)).unwrap();
        let socket = both.as_raw_fd();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        for to in [Ipv6Addr::LOCALHOST, mapped] {
            for packet in [ipv4(1, 60), ipv6(2, 1400)] {
                ok(sendto(socket, &packet, &v6(to, TUNNEL_PORT)) as i64);
                both.recv_from(&mut [0; 2000]).unwrap();
            }
        }
    });
    let mut packets = seen.packets.iter();
    for ip in [
        IpAddr::from(Ipv6Addr::LOCALHOST),
        Ipv4Addr::LOCALHOST.into(),
    ] {
        for sent in [ipv4(1, 60), ipv6(2, 1400)] {
            for via in [Via::UdpSend, Via::UdpRecv] {
                let packet = packets.next().expect("another packet");
                check_bytes(packet, &sent, 9216);
                assert_eq!(packet.via, via);
                assert_eq!(packet.peer, Some(SocketAddr::new(ip, TUNNEL_PORT)));
                assert_eq!(packet.encap, Some(Encap::FlannelUdp));
            }
        }
    }
    assert_eq!(packets.count(), 0);
}

/// What the kernel refuses is shown with the reason, whole.
#[test]
fn refused_sends() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    for kind in ["prohibit 203.0.113.0/24", "unreachable 198.51.100.0/24"] {
        namespace.ip(&format!("route add {kind}"));
    }
    let big = ipv4(9, 65_535);
    let tries = [
        (Ipv4Addr::new(192, 0, 2, 1), libc::ENETUNREACH),
        (Ipv4Addr::new(203, 0, 113, 1), libc::EACCES),
        (Ipv4Addr::new(198, 51, 100, 1), libc::EHOSTUNREACH),
    ];
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, TUNNEL_PORT)).unwrap();
        let fd = socket.as_raw_fd();
        for (address, _) in tries {
            let to = v4(address, 8285);
            assert!(sendto(fd, &ipv4(1, 500), &to) < 0);
            let packet = ipv4(2, 600);
            let vectors = parts(&packet);
            // SAFETY: messages and vectors live through the calls.
            unsafe {
                assert!(libc::sendmsg(fd, &header(&vectors, Some(&to)), 0) < 0);
                let mut batch = [libc::mmsghdr {
                    msg_hdr: header(&vectors, Some(&to)),
                    msg_len: 0,
                }; 3];
                assert!(libc::sendmmsg(fd, batch.as_mut_ptr(), 3, 0) < 0);
            }
        }
        assert!(sendto(fd, &big, &v4(Ipv4Addr::LOCALHOST, 8285)) < 0);
        // A port where nobody listens, told by ICMP to a connected socket.
        socket.connect("127.0.0.1:9").unwrap();
        socket.send(&ipv4(3, 100)).unwrap();
        let packet = ipv4(4, 100);
        // SAFETY: the vectors live through the call.
        unsafe { assert!(libc::writev(fd, parts(&packet).as_ptr().cast(), 4) < 0) };
        // Nothing to take: no packet, and nothing to be told.
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 10]).is_err());
    });
    let mut packets = seen.packets.iter();
    let mut next = |sent: &[u8], to: SocketAddr, errno: Option<i32>| {
        let packet = packets.next().expect("another packet");
        check_bytes(packet, sent, 9216);
        assert_eq!(
            (packet.via, packet.peer, packet.errno),
            (Via::UdpSend, Some(to), errno)
        );
    };
    for (address, errno) in tries {
        let to = SocketAddr::from((address, 8285));
        for sent in [ipv4(1, 500), ipv4(2, 600), ipv4(2, 600)] {
            next(&sent, to, Some(errno));
        }
    }
    next(&big, home(), Some(libc::EMSGSIZE));
    let nobody = "127.0.0.1:9".parse().unwrap();
    next(&ipv4(3, 100), nobody, None);
    next(&ipv4(4, 100), nobody, Some(libc::ECONNREFUSED));
    assert_eq!(packets.count(), 0);
}

/// A batch of which the kernel takes the first half only.
#[test]
fn half_a_batch() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, TUNNEL_PORT)).unwrap();
        let (good, bad) = (
            v4(Ipv4Addr::LOCALHOST, 8285),
            v4(Ipv4Addr::new(192, 0, 2, 1), 8285),
        );
        let packets: Vec<_> = (0..4).map(|id| ipv4(id, 50)).collect();
        let vectors: Vec<_> = packets.iter().map(|packet| parts(packet)).collect();
        let mut messages = Vec::new();
        for (vectors, to) in vectors.iter().zip([&good, &good, &bad, &good]) {
            messages.push(libc::mmsghdr {
                msg_hdr: header(vectors, Some(to)),
                msg_len: 0,
            });
        }
        // SAFETY: messages and vectors live through the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 4, 0) };
        assert_eq!(ok(sent), 2);
        swallow(socket.as_raw_fd(), 2);
    });
    let sent: Vec<_> = seen
        .packets
        .iter()
        .filter(|it| it.via == Via::UdpSend)
        .collect();
    assert_eq!(sent.len(), 2);
    for (id, packet) in (0..).zip(sent) {
        check_bytes(packet, &ipv4(id, 50), 9216);
        assert_eq!(packet.peer, Some(home()));
    }
}

/// Files and streams, which later work looks at: bytes up to the snap length.
#[test]
fn files_and_streams() {
    if !privileged() {
        return;
    }
    let options = ProbeOptions {
        classes: vec![class::REGULAR, class::INET_STREAM, class::UNIX],
        snap_other: 80,
        ..ProbeOptions::default()
    };
    let namespace = Namespace::new();
    let text: Vec<u8> = (0..200).collect();
    let seen = observed(options, &namespace, |_| {
        // SAFETY: buffers, vectors and paths are valid through the calls.
        unsafe {
            let fd = ok(libc::memfd_create(c"bytes".as_ptr(), 0));
            let at = text.as_ptr().cast();
            ok(libc::write(fd, at, 200) as i64);
            ok(libc::pwrite64(fd, at, 50, 10) as i64);
            let vectors = parts(&text);
            ok(libc::writev(fd, vectors.as_ptr().cast(), 4) as i64);
            ok(libc::pwritev(fd, vectors.as_ptr().cast(), 4, 0) as i64);
            let mut buffer = [0u8; 300];
            let to = buffer.as_mut_ptr().cast();
            ok(libc::pread64(fd, to, 300, 0) as i64);
            ok(libc::lseek(fd, 150, libc::SEEK_SET));
            ok(libc::read(fd, to, 20) as i64);
            // At the end nothing moves, and a bad address fails: no records.
            assert_eq!(libc::pread64(fd, to, 300, 1_000_000), 0);
            assert!(libc::write(fd, std::ptr::without_provenance(1), 5) < 0);
            libc::close(fd);
        }
    });
    // The line to the test is a Unix socket, which was asked for too.
    let of_unix = |it: &&Bytes| it.fd.kind == FdKind::Unix;
    assert!(seen.bytes.iter().filter(of_unix).count() >= 1);
    let files: Vec<_> = seen
        .bytes
        .iter()
        .filter(|it| it.fd.kind == FdKind::Regular)
        .collect();
    let moved: Vec<(bool, i64)> = files.iter().map(|it| (it.write, it.result)).collect();
    let expected = [
        (true, 200),
        (true, 50),
        (true, 200),
        (true, 200),
        (false, 300),
        (false, 20),
    ];
    assert_eq!(moved, expected);
    for bytes in &files {
        assert_eq!(bytes.data.len() as i64, bytes.result.min(80));
    }
    for bytes in &files[..5] {
        assert_eq!(bytes.data, text[..bytes.data.len()]);
    }
    assert_eq!(files[5].data, text[150..170]);
}
