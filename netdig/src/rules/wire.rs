//! Packets for the rules' tests: made of bytes, decoded, and given to traffic as the
//! engine gives them.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use decoders::{Encap, LinkType, Packet, Ports, decode_into};

use super::{View, evaluate, testing};
use crate::context::Context;
use crate::evidence::flow::FlowTable;
use crate::evidence::packet::{Fate, Other};
use crate::evidence::traffic::{Sight, Traffic};
use crate::finding::{Code, Finding};
use crate::observation::{
    Actor, FdKind, FdView, Frame, Interface, Loss, LossCause, PacketType, Via,
};

/// A run's packets, one after another in time.
#[derive(Default)]
pub struct Wire {
    traffic: Traffic,
    flows: FlowTable,
    interfaces: Vec<Interface>,
    n: u64,
    now_ns: u64,
}

const START_NS: u64 = 1_000_000_000;
const DAEMON: u32 = 758;

impl Wire {
    pub fn with_counters(counters: &[(&str, u64)]) -> Wire {
        let counters = counters
            .iter()
            .map(|&(name, count)| (name.to_owned(), count));
        Wire {
            traffic: Traffic::new(counters.collect()),
            ..Wire::default()
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        self.now_ns += ms * 1_000_000;
        self.traffic.now_ns = START_NS + self.now_ns;
    }

    pub fn end(&mut self) {
        self.traffic.ended = true;
    }

    /// An event is lost about now.
    pub fn lose(&mut self) {
        let now = START_NS + self.now_ns;
        self.traffic.add_loss(&Loss {
            ts_ns: now,
            interface: None,
            source: "probe".to_owned(),
            event_kind: "tun",
            cause: LossCause::RingFull,
            count: 1,
            window: (now, now + 1),
        });
    }

    /// Off a link; IP from its Ethernet header on.
    pub fn on_link(&mut self, device: &str, packet_type: Option<PacketType>, ip: &[u8]) {
        let frame = ethernet(ip);
        let frame = Frame::new(0, Via::Link, LinkType::Ethernet, &frame);
        self.see(device, frame, &Fate::Alone, packet_type);
    }

    /// Off a link, as far as `length` bytes of it.
    pub fn cut(&mut self, device: &str, ip: &[u8], length: usize) {
        let whole = ethernet(ip);
        let mut frame = Frame::new(0, Via::Link, LinkType::Ethernet, &whole[..length]);
        frame.orig_len = whole.len() as u32;
        self.see(device, frame, &Fate::Alone, None);
    }

    /// Read from a tun, and given up.
    pub fn never_sent(&mut self, tun: &str, ip: &[u8]) {
        let doubtful = !self.traffic.lost.is_empty();
        self.side(Via::TunRead, tun, ip, None, &Fate::Unanswered { doubtful });
    }

    /// Written by the daemon itself.
    pub fn orphan(&mut self, via: Via, tun: &str, ip: &[u8]) {
        self.side(via, tun, ip, None, &Fate::Originated);
    }

    /// Read from a tun and sent to a peer.
    pub fn joined(&mut self, tun: &str, ip: &[u8], peer: &str) {
        self.pair((Via::TunRead, Via::UdpSend), tun, ip, peer, None);
    }

    /// Received from a peer and written to a tun.
    pub fn received(&mut self, tun: &str, ip: &[u8], peer: &str) {
        self.pair((Via::UdpRecv, Via::TunWrite), tun, ip, peer, None);
    }

    /// Read from a tun; sending it to the peer failed.
    pub fn refused(&mut self, tun: &str, ip: &[u8], peer: &str, errno: i32) {
        self.pair((Via::TunRead, Via::UdpSend), tun, ip, peer, Some(errno));
    }

    fn pair(&mut self, ways: (Via, Via), tun: &str, ip: &[u8], peer: &str, errno: Option<i32>) {
        let joined = |n, second| Fate::Joined {
            n,
            second,
            other: Other::default(),
        };
        let peer = (peer, errno);
        let first = self.n + 1;
        self.side(ways.0, tun, ip, Some(peer), &joined(first + 1, false));
        self.side(ways.1, tun, ip, Some(peer), &joined(first, true));
    }

    fn side(
        &mut self,
        via: Via,
        tun: &str,
        ip: &[u8],
        peer: Option<(&str, Option<i32>)>,
        fate: &Fate,
    ) {
        let mut comm = [0; 16];
        comm[..8].copy_from_slice(b"flanneld");
        let on_tun = matches!(via, Via::TunRead | Via::TunWrite);
        let kind = match on_tun {
            true => FdKind::Tun {
                interface: Arc::from(tun),
                tap: false,
                packet_info: false,
                vnet_header: 0,
            },
            false => FdKind::Inet {
                protocol: 17,
                stream: false,
                local: SocketAddr::from(([0; 4], 8285)),
                remote: None,
            },
        };
        let socket = peer.filter(|_| !on_tun);
        let frame = Frame {
            process: Some(Actor {
                pid: DAEMON,
                tid: DAEMON,
                comm,
            }),
            fd: Some(FdView {
                num: 5,
                kind,
                inode: 1,
            }),
            peer: socket.map(|(peer, _)| peer.parse().expect("address and port")),
            encap: socket.map(|_| Encap::FlannelUdp),
            errno: socket.and_then(|(_, errno)| errno),
            ..Frame::new(0, via, LinkType::RawIp, ip)
        };
        let name = if on_tun { tun } else { "udp:8285" };
        self.see(name, frame, fate, None);
    }

    fn see(
        &mut self,
        device: &str,
        mut frame: Frame<'_>,
        fate: &Fate,
        packet_type: Option<PacketType>,
    ) {
        self.n += 1;
        self.now_ns += 1000;
        frame.ts_ns = START_NS + self.now_ns;
        let known = self.interfaces.iter().position(|one| one.name == device);
        let number = known.unwrap_or_else(|| {
            self.interfaces.push(Interface {
                name: device.to_owned(),
                link: frame.link,
                snaplen: 0,
                addresses: Vec::new(),
            });
            self.interfaces.len() - 1
        });
        let mut packet = Packet::new();
        let orig_len = frame.orig_len as usize;
        decode_into(
            &mut packet,
            frame.link,
            frame.data,
            orig_len,
            &Ports::default(),
        );
        self.traffic.observe(&Sight {
            n: self.n,
            frame: &frame,
            number,
            interface: &self.interfaces[number],
            tcp: self.flows.observe(&packet),
            packet: &packet,
            fate,
            packet_type,
        });
    }

    /// What the rules say of one code, with what `context` tells.
    pub fn findings(&self, context: &str, code: u16) -> Vec<Finding> {
        self.findings_in(&testing::context(context), code)
    }

    pub fn findings_in(&self, context: &Context, code: u16) -> Vec<Finding> {
        let mut findings = evaluate(&View::new(context, Some(&self.traffic))).findings;
        findings.retain(|finding| finding.code == Code(code));
        findings
    }
}

fn octets(address: &str) -> [u8; 4] {
    match address.parse() {
        Ok(IpAddr::V4(address)) => Ipv4Addr::octets(&address),
        _ => panic!("{address} is no IPv4 address"),
    }
}

/// An IPv4 packet with DF set.
fn ipv4(source: &str, destination: &str, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, ttl, protocol, 0, 0]);
    packet.extend(octets(source));
    packet.extend(octets(destination));
    packet.extend(payload);
    packet
}

fn ethernet(ip: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(ip);
    frame
}

fn udp(ports: (u16, u16), checksum: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(ports.0.to_be_bytes());
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend(checksum.to_be_bytes());
    datagram.extend(payload);
    datagram
}

fn echo(kind: u8, ends: (&str, &str), ttl: u8, length: usize, sequence: u16) -> Vec<u8> {
    let mut icmp = vec![kind, 0, 0, 0, 0, 7];
    icmp.extend(sequence.to_be_bytes());
    icmp.resize(length - 20, 0);
    ipv4(ends.0, ends.1, 1, ttl, &icmp)
}

/// `length` bytes of IP in all; its sequence number tells lengths apart.
pub fn echo_request(source: &str, destination: &str, ttl: u8, length: usize) -> Vec<u8> {
    echo(8, (source, destination), ttl, length, length as u16)
}

pub fn echo_reply(source: &str, destination: &str, length: usize) -> Vec<u8> {
    echo(0, (source, destination), 64, length, length as u16)
}

/// The same bytes back.
pub fn echo_reply_to(request: &[u8]) -> Vec<u8> {
    let mut reply = turned(request);
    reply[20] = 0;
    reply
}

fn turned(packet: &[u8]) -> Vec<u8> {
    let mut answer = packet.to_vec();
    answer[12..16].copy_from_slice(&packet[16..20]);
    answer[16..20].copy_from_slice(&packet[12..16]);
    answer
}

pub fn icmp_error(source: &str, destination: &str, kind: u8, code: u8, about: &[u8]) -> Vec<u8> {
    let mut icmp = vec![kind, code, 0, 0, 0, 0, 0, 0];
    icmp.extend(&about[..about.len().min(28)]);
    ipv4(source, destination, 1, 8, &icmp)
}

/// An A query from port 39620.
pub fn dns_query(source: &str, destination: &str, id: u16, name: &str) -> Vec<u8> {
    let mut dns = id.to_be_bytes().to_vec();
    dns.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        dns.push(label.len() as u8);
        dns.extend(label.as_bytes());
    }
    dns.extend([0, 0, 1, 0, 1]);
    ipv4(source, destination, 17, 64, &udp((39620, 53), 0, &dns))
}

/// Without records.
pub fn dns_answer_to(query: &[u8]) -> Vec<u8> {
    let mut answer = turned(query);
    answer[20..22].copy_from_slice(&query[22..24]);
    answer[22..24].copy_from_slice(&query[20..22]);
    answer[30] |= 0x80;
    answer
}

fn tcp(ports: (u16, u16), numbers: (u32, u32), flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(ports.0.to_be_bytes());
    segment.extend(ports.1.to_be_bytes());
    segment.extend(numbers.0.to_be_bytes());
    segment.extend(numbers.1.to_be_bytes());
    segment.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
    segment.resize(20 + payload, b'x');
    segment
}

/// To port 80.
pub fn tcp_syn(source: &str, destination: &str, port: u16, sequence: u32) -> Vec<u8> {
    let segment = tcp((port, 80), (sequence, 0), 0x02, 0);
    ipv4(source, destination, 6, 64, &segment)
}

pub fn syn_ack_to(syn: &[u8]) -> Vec<u8> {
    let word = |at: usize| u16::from_be_bytes([syn[at], syn[at + 1]]);
    let sequence = u32::from_be_bytes([syn[24], syn[25], syn[26], syn[27]]);
    let segment = tcp((word(22), word(20)), (900, sequence + 1), 0x12, 0);
    let mut answer = turned(&syn[..20]);
    answer.extend(segment);
    answer
}

/// The same SYN or SYN+ACK with a maximum segment size.
pub fn with_mss(segment: &[u8], mss: u16) -> Vec<u8> {
    let mut packet = segment.to_vec();
    let length = packet.len() as u16 + 4;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    // Four more bytes of header: six words.
    packet[32] = 0x60;
    packet.extend([2, 4]);
    packet.extend(mss.to_be_bytes());
    packet
}

/// A segment of `length` bytes of IP in all.
pub fn tcp_data(
    source: &str,
    destination: &str,
    port: u16,
    sequence: u32,
    length: usize,
) -> Vec<u8> {
    let segment = tcp((port, 80), (sequence, 901), 0x18, length - 40);
    ipv4(source, destination, 6, 64, &segment)
}

/// A segment without data that acknowledges one of [`tcp_data`]'s connection, `port` its
/// receiver's.
pub fn tcp_ack(source: &str, destination: &str, port: u16, acknowledged: u32) -> Vec<u8> {
    let segment = tcp((80, port), (901, acknowledged), 0x10, 0);
    ipv4(source, destination, 6, 64, &segment)
}

/// In VXLAN without an outer checksum.
pub fn vxlan(near: &str, far: &str, vni: u32, inner: &[u8]) -> Vec<u8> {
    vxlan_with_checksum(near, far, vni, inner, None)
}

pub fn vxlan_with_checksum(
    near: &str,
    far: &str,
    vni: u32,
    inner: &[u8],
    checksum: Option<u16>,
) -> Vec<u8> {
    let mut payload = vec![8, 0, 0, 0];
    payload.extend((vni << 8).to_be_bytes());
    payload.extend(ethernet(inner));
    let datagram = udp((41000, 8472), checksum.unwrap_or(0), &payload);
    ipv4(near, far, 17, 64, &datagram)
}

pub fn ipip(near: &str, far: &str, inner: &[u8]) -> Vec<u8> {
    ipv4(near, far, 4, 64, inner)
}
