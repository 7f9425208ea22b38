//! Packets off real links, in network namespaces that the test makes.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use decoders::LinkType;
use netdig::observation::{LossCause, PacketType};
use netdig::output::capture::{CaptureWriter, FrameMeta};
use netdig::source::netdev::{Netdev, NetdevOptions};

use crate::craft::ethernet;
use crate::{Scratch, tool, tshark_fields};

/// A network namespace, removed with it.
struct Namespace {
    name: String,
    file: std::fs::File,
}

impl Namespace {
    /// `None` (said so) where namespaces cannot be made.
    fn new() -> Option<Namespace> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ndt{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let (done, _, err) = tool("ip", &["netns", "add", &name])?;
        if !done {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "ip netns add failed: {err}"
            );
            eprintln!("skipped: ip netns add: {err}");
            return None;
        }
        let file = std::fs::File::open(format!("/run/netns/{name}")).expect("it was just made");
        let namespace = Namespace { name, file };
        namespace.ip("link set lo up");
        Some(namespace)
    }

    /// Two namespaces with a veth pair `va` — `vb`, 10.9.0.1 and 10.9.0.2.
    fn pair() -> Option<(Namespace, Namespace)> {
        let (left, right) = (Namespace::new()?, Namespace::new()?);
        left.ip(&format!(
            "link add name va type veth peer name vb netns {}",
            right.name
        ));
        left.ip("addr add 10.9.0.1/24 dev va");
        left.ip("link set va up");
        right.ip("addr add 10.9.0.2/24 dev vb");
        right.ip("link set vb up");
        Some((left, right))
    }

    fn ip(&self, arguments: &str) {
        let status = Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments.split(' '))
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "ip -n {} {arguments}",
            self.name
        );
    }

    /// Runs something on a thread in this namespace.
    fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: an open descriptor; only this thread moves.
                let moved = unsafe {
                    libc::setns(
                        std::os::fd::AsRawFd::as_raw_fd(&self.file),
                        libc::CLONE_NEWNET,
                    )
                };
                assert_eq!(moved, 0, "setns: {}", std::io::Error::last_os_error());
                run()
            });
            thread.join().expect("the thread in the namespace")
        })
    }

    fn open(&self, name: &str) -> Netdev {
        self.try_open(name).unwrap_or_else(|told| panic!("{told}"))
    }

    fn try_open(&self, name: &str) -> Result<Netdev, String> {
        let options = NetdevOptions {
            netns: Some(self.file.as_fd()),
            ..NetdevOptions::new(name)
        };
        Netdev::open(&options).map_err(|error| error.to_string())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// A packet off a link, without its borrow.
#[derive(Debug, Clone)]
struct Packet {
    data: Vec<u8>,
    orig_len: u32,
    packet_type: PacketType,
    ts_ns: u64,
}

/// Takes packets until `enough` of them are wanted ones; fails after 10 s.
fn collect(link: &mut Netdev, enough: usize, wanted: impl Fn(&Packet) -> bool) -> Vec<Packet> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut packets = Vec::new();
    while packets.len() < enough {
        assert!(
            Instant::now() < deadline,
            "{} of {enough} packets came",
            packets.len()
        );
        link.wait(100).expect("poll");
        while let Some(seen) = link.next().expect("the link is up") {
            let packet = Packet {
                data: seen.frame.data.to_vec(),
                orig_len: seen.frame.orig_len,
                packet_type: seen.packet_type,
                ts_ns: seen.frame.ts_ns,
            };
            if wanted(&packet) {
                packets.push(packet);
            }
        }
    }
    packets
}

fn contains(packet: &Packet, text: &[u8]) -> bool {
    packet.data.windows(text.len()).any(|window| window == text)
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[test]
fn udp_both_ways_over_a_veth_pair() {
    let Some((left, right)) = Namespace::pair() else {
        return;
    };
    let mut link = left.open("va");
    assert_eq!(link.interface().link, LinkType::Ethernet);
    assert!(
        link.interface()
            .addresses
            .contains(&"10.9.0.1".parse().expect("an address"))
    );
    let before = now_ns();
    let server = right.inside(|| UdpSocket::bind("10.9.0.2:7777").expect("a port"));
    let client = left.inside(|| UdpSocket::bind("10.9.0.1:0").expect("a port"));
    client
        .send_to(b"netdig-there", "10.9.0.2:7777")
        .expect("a route");
    let mut buf = [0; 64];
    let (_, from) = server.recv_from(&mut buf).expect("it was sent");
    server.send_to(b"netdig-back!", from).expect("a route");
    let packets = collect(&mut link, 2, |p| contains(p, b"netdig-"));
    assert!(
        contains(&packets[0], b"netdig-there") && packets[0].packet_type == PacketType::Outgoing
    );
    assert!(contains(&packets[1], b"netdig-back!") && packets[1].packet_type == PacketType::Host);
    for packet in &packets {
        assert_eq!(packet.data.len(), 14 + 20 + 8 + 12);
        assert!(
            (before..=now_ns()).contains(&packet.ts_ns),
            "{} is not now",
            packet.ts_ns
        );
    }
    assert_eq!(link.loss().expect("statistics"), None);
    assert!(link.totals().0 >= 2);
}

#[test]
fn a_vlan_tag_is_put_back() {
    let Some((left, right)) = Namespace::pair() else {
        return;
    };
    let mut link = right.open("vb");
    // A tagged frame on the wire; the receiving kernel takes the tag off.
    let mut tagged = ethernet(60, 1);
    tagged.splice(12..12, [0x81, 0, 0x60, 42]);
    tagged.extend_from_slice(b"netdig-vlan");
    left.inside(|| send_raw("va", &tagged));
    let packets = collect(&mut link, 1, |p| contains(p, b"netdig-vlan"));
    assert_eq!(packets[0].data, tagged);
    assert_eq!(packets[0].orig_len as usize, packets[0].data.len());
    // And tshark sees the tag in what is written.
    let scratch = Scratch::new("vlan");
    let path = scratch.0.join("vlan.pcapng");
    let mut writer = CaptureWriter::create(&path, false).expect("a writable directory");
    let mut frame = crate::writing::frame(
        &packets[0].data,
        netdig::observation::Via::Link,
        LinkType::Ethernet,
        0,
    );
    frame.ts_ns = packets[0].ts_ns;
    let meta = FrameMeta {
        packet_type: Some(packets[0].packet_type),
        ..FrameMeta::default()
    };
    writer
        .write_frame(link.interface(), &frame, &meta)
        .expect("room");
    writer.finish().expect("room");
    let Some(rows) = tshark_fields(
        &path,
        &["vlan.id", "vlan.priority", "ip.src", "udp.dstport"],
    ) else {
        return;
    };
    assert_eq!(rows, [["42", "3", "10.244.1.2", "8285"]]);
}

/// Puts a frame on a link as it is.
fn send_raw(name: &str, frame: &[u8]) {
    let name = std::ffi::CString::new(name).expect("no NUL");
    // SAFETY: zeroed plain data, a string and a buffer that outlive the calls,
    // their own lengths, and a descriptor that is closed once.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(socket >= 0, "socket: {}", std::io::Error::last_os_error());
        let mut to: libc::sockaddr_ll = std::mem::zeroed();
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let len = std::mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        let address = (&raw const to).cast();
        let sent = libc::sendto(socket, frame.as_ptr().cast(), frame.len(), 0, address, len);
        let error = std::io::Error::last_os_error();
        libc::close(socket);
        assert_eq!(sent, frame.len() as isize, "sendto: {error}");
    }
}

#[test]
fn loopback_shows_each_packet_once() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let mut link = namespace.open("lo");
    assert_eq!(link.interface().link, LinkType::Ethernet);
    let (client, server) = namespace.inside(|| {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        (UdpSocket::bind("127.0.0.1:0").expect("a port"), server)
    });
    let to = server.local_addr().expect("it is bound");
    for n in 0..20_u8 {
        client
            .send_to(&[b"netdig-lo-".as_slice(), &[n]].concat(), to)
            .expect("a route");
    }
    client.send_to(b"netdig-end", to).expect("a route");
    let mut all = Vec::new();
    while !all.iter().any(|p| contains(p, b"netdig-end")) {
        all.extend(collect(&mut link, 1, |_| true));
    }
    let numbers: Vec<u8> = all
        .iter()
        .filter(|p| contains(p, b"netdig-lo-"))
        .filter_map(|p| p.data.last().copied())
        .collect();
    assert_eq!(numbers, (0..20).collect::<Vec<u8>>());
}

#[test]
fn ping_is_seen_with_a_snap_length() {
    let Some((left, right)) = Namespace::pair() else {
        return;
    };
    let options = NetdevOptions {
        netns: Some(right.file.as_fd()),
        snaplen: 60,
        interface: 3,
        ..NetdevOptions::new("vb")
    };
    let mut link = Netdev::open(&options).unwrap_or_else(|error| panic!("{error}"));
    let Some((done, out, err)) = tool(
        "ip",
        &[
            "netns", "exec", &left.name, "ping", "-c", "2", "-i", "0.2", "-s", "500", "10.9.0.2",
        ],
    ) else {
        return;
    };
    assert!(done, "{out}{err}");
    let packets = collect(&mut link, 4, |p| p.data.len() > 23 && p.data[23] == 1);
    for packet in packets {
        assert_eq!(
            (packet.data.len(), packet.orig_len),
            (60, 14 + 20 + 8 + 500)
        );
    }
}

#[test]
fn a_tun_gives_bare_ip_packets() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.ip("tuntap add dev tun9 mode tun");
    namespace.ip("addr add 10.8.0.1/24 dev tun9");
    namespace.ip("link set tun9 up");
    // A tun without a reader has no carrier, and sends nothing: hold it open.
    let file = namespace.inside(|| attach_tun("tun9"));
    let mut link = namespace.open("tun9");
    assert_eq!(link.interface().link, LinkType::RawIp);
    let client = namespace.inside(|| UdpSocket::bind("10.8.0.1:0").expect("a port"));
    client
        .send_to(b"netdig-tun", "10.8.0.2:7777")
        .expect("a route");
    let packets = collect(&mut link, 1, |p| contains(p, b"netdig-tun"));
    assert_eq!(
        (packets[0].data[0], packets[0].data.len()),
        (0x45, 20 + 8 + 10)
    );
    drop(file);
}

/// Opens /dev/net/tun for a device that exists.
fn attach_tun(name: &str) -> std::fs::File {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .expect("/dev/net/tun");
    // SAFETY: ifreq is plain data; TUNSETIFF reads one from the pointer.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert_eq!(
            libc::ioctl(descriptor, libc::TUNSETIFF as _, &raw mut request),
            0
        );
    }
    file
}

#[test]
fn what_a_small_ring_cannot_hold_is_counted() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let options = NetdevOptions {
        netns: Some(namespace.file.as_fd()),
        ring_bytes: 1,
        interface: 5,
        ..NetdevOptions::new("lo")
    };
    let mut link = Netdev::open(&options).unwrap_or_else(|error| panic!("{error}"));
    let sent = 4000_u64;
    namespace.inside(|| {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        for _ in 0..sent {
            client
                .send_to(&[b'n'; 1400], server.local_addr().expect("it is bound"))
                .expect("a route");
        }
    });
    let mut taken = 0;
    while link.wait(200).expect("poll") {
        while link.next().expect("the link is up").is_some() {
            taken += 1;
        }
    }
    let loss = link
        .loss()
        .expect("statistics")
        .expect("two blocks hold no 4000 packets");
    assert_eq!(
        (loss.cause, loss.interface, loss.source.as_str()),
        (LossCause::SocketFull, Some(5), "lo")
    );
    assert!(loss.window.0 <= loss.window.1);
    assert_eq!(taken + loss.count, sent, "taken and lost are what was sent");
    assert_eq!(link.totals(), (sent, loss.count));
    assert_eq!(
        link.loss().expect("statistics"),
        None,
        "a loss is told once"
    );
}

#[test]
fn what_cannot_be_opened_gets_a_sentence() {
    let Some((left, _right)) = Namespace::pair() else {
        return;
    };
    let told = left.try_open("eth7").err().unwrap_or_default();
    assert!(
        told.contains("no network link eth7") && told.contains("lo, va"),
        "{told}"
    );
    let told = left
        .try_open("a-name-that-is-too-long")
        .err()
        .unwrap_or_default();
    assert!(told.contains("no network link"), "{told}");
    let told = left.try_open("").err().unwrap_or_default();
    assert!(told.contains("no network link"), "{told}");
    left.ip("link set va down");
    let told = left.try_open("va").err().unwrap_or_default();
    assert!(told.contains("ip link set va up"), "{told}");
    let file = std::fs::File::open("/dev/null").expect("/dev/null");
    let options = NetdevOptions {
        netns: Some(file.as_fd()),
        ..NetdevOptions::new("va")
    };
    let told = Netdev::open(&options)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        told.contains("cannot enter the network namespace"),
        "{told}"
    );
}

#[test]
fn without_the_capability_it_is_named() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let told = namespace.inside(|| {
        // SAFETY: both system calls touch this thread's credentials alone
        // (unlike libc's wrapper, which changes every thread's).
        let dropped = unsafe {
            let none = libc::uid_t::MAX;
            libc::syscall(libc::SYS_setresuid, none, 65_534, none)
        };
        assert_eq!(dropped, 0);
        Netdev::open(&NetdevOptions::new("lo"))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    });
    assert!(
        told.contains("cap_net_raw") && told.contains("Operation not permitted"),
        "{told}"
    );
}

#[test]
fn promiscuous_only_when_asked() {
    let Some((left, right)) = Namespace::pair() else {
        return;
    };
    let promiscuity = || {
        let (_, out, _) =
            tool("ip", &["-n", &right.name, "-d", "link", "show", "vb"]).expect("it ran before");
        out.split("promiscuity ")
            .nth(1)
            .and_then(|rest| rest.chars().next())
    };
    let plain = right.open("vb");
    assert_eq!(promiscuity(), Some('0'));
    drop(plain);
    let options = NetdevOptions {
        netns: Some(right.file.as_fd()),
        promiscuous: true,
        ..NetdevOptions::new("vb")
    };
    let mut link = Netdev::open(&options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(promiscuity(), Some('1'));
    let others = ethernet(60, 1); // to an address that neither end has
    left.inside(|| send_raw("va", &others));
    let packets = collect(&mut link, 1, |p| p.data == others);
    assert_eq!(packets[0].packet_type, PacketType::OtherHost);
    drop(link);
    assert_eq!(promiscuity(), Some('0'));
}

#[test]
fn a_link_that_goes_away_is_told() {
    let Some((left, _right)) = Namespace::pair() else {
        return;
    };
    let mut link = left.open("va");
    left.ip("link del va");
    let deadline = Instant::now() + Duration::from_secs(10);
    let told = loop {
        assert!(Instant::now() < deadline, "nothing was told");
        link.wait(100).expect("poll");
        match link.next() {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(told.contains("link va went down or was removed"), "{told}");
}
