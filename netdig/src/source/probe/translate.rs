//! From the programs' records to observations.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use decoders::{Encap, LinkType, Ports};
use rustc_hash::FxHashMap;

use netdig_ebpf::{Address, Descriptor, PATH_MAX, Record, call, class, flag, kind};

use crate::observation::{
    Actor, FdChange, FdEvent, FdKind, FdOrigin, FdView, FileEvent, FileOp, Frame, Interface, Io,
    Observation, ProcessChange, ProcessEvent, UnixNanos, Via,
};

const IFF_TAP: u32 = 0x0002;
const IFF_NO_PI: u32 = 0x1000;
const IFF_VNET_HDR: u32 = 0x4000;
/// `struct tun_pi`: flags and protocol before each packet, unless IFF_NO_PI.
const PACKET_INFO: usize = 4;
/// Inner destinations whose peer is remembered at most.
const MAX_LEARNED: usize = 4096;
const CLOSE_RANGE_UNSHARE: i32 = 2;
const CLOSE_RANGE_CLOEXEC: i32 = 4;

/// Turns records into observations; keeps the interfaces that it has named.
pub struct Translator {
    ports: Ports,
    /// Unix time minus CLOCK_MONOTONIC.
    clock_offset_ns: u64,
    snaplen: u32,
    tun_known: bool,
    pub interfaces: Vec<Interface>,
    /// The interface of the last frame: one tunnel's frames come in runs.
    last: Option<(Key, u32)>,
    keys: Vec<Key>,
    names: Vec<([u8; 16], Arc<str>)>,
    /// Peer that each inner destination was last sent to; kept until senders are
    /// seen on the wire.
    sent_to: FxHashMap<IpAddr, SocketAddr>,
    /// Whether a receive was seen whose sender the call did not tell.
    pub source_unknown: bool,
}

/// What one interface of the capture stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Tun {
        name: [u8; 16],
        tap: bool,
    },
    /// A tun descriptor whose device is not known.
    Descriptor {
        pid: u32,
        fd: i32,
    },
    Port {
        port: u16,
        link: LinkType,
    },
}

impl Translator {
    pub fn new(ports: Ports, snaplen: u32, tun_known: bool, clock_offset_ns: u64) -> Translator {
        Translator {
            ports,
            clock_offset_ns,
            snaplen,
            tun_known,
            interfaces: Vec::new(),
            last: None,
            keys: Vec::new(),
            names: Vec::new(),
            sent_to: FxHashMap::default(),
            source_unknown: false,
        }
    }

    /// The observation in one record; `None` for a record that says nothing
    /// (a datagram of a tun's process that is no tunnel's, a foreign layout).
    pub fn translate<'a>(&mut self, bytes: &'a [u8]) -> Option<Observation<'a>> {
        let (record, payload) = split(bytes)?;
        match record.header.kind {
            kind::IO => self.io(record, payload),
            kind::FD_NEW
            | kind::FD_UPDATE
            | kind::FD_CLOSE
            | kind::CLOSE_RANGE
            | kind::FD_CLOEXEC
            | kind::UNSHARED => self.fd_event(record, payload),
            kind::PATH => self.file_event(record, payload),
            _ => self.process_event(record, payload),
        }
    }

    #[inline]
    fn unix(&self, record: &Record) -> UnixNanos {
        record.header.ts_ns.wrapping_add(self.clock_offset_ns)
    }

    fn io<'a>(&mut self, record: &'a Record, payload: &'a [u8]) -> Option<Observation<'a>> {
        match record.fd.class {
            class::TUN => Some(self.tun(record, payload)),
            class::TUNNEL => self.datagram(record, payload),
            _ => Some(Observation::Io(Io {
                ts_ns: self.unix(record),
                actor: actor(record),
                fd: self.view(&record.fd),
                write: record.header.flags & flag::WRITE != 0,
                result: record.header.result,
                data: payload,
            })),
        }
    }

    fn tun<'a>(&mut self, record: &'a Record, payload: &'a [u8]) -> Observation<'a> {
        let fd = &record.fd;
        let tap = fd.tun_flags & IFF_TAP != 0;
        let before = tun_prefix(fd, self.tun_known).min(payload.len());
        let via = match record.header.flags & flag::WRITE {
            0 => Via::TunRead,
            _ => Via::TunWrite,
        };
        let key = match fd.local.bytes[0] {
            0 => Key::Descriptor {
                pid: record.header.pid,
                fd: fd.num,
            },
            _ => Key::Tun {
                name: fd.local.bytes,
                tap,
            },
        };
        let link = if tap {
            LinkType::Ethernet
        } else {
            LinkType::RawIp
        };
        let orig_len = (record.arg0 as u32).saturating_sub(before as u32);
        let interface = self.interface(key, link);
        let frame = self.frame(record, via, link, interface, &payload[before..], orig_len);
        Observation::Frame(frame)
    }

    fn datagram<'a>(&mut self, record: &'a Record, payload: &'a [u8]) -> Option<Observation<'a>> {
        let write = record.header.flags & flag::WRITE != 0;
        let local = record.fd.local.port;
        let expected = self
            .ports
            .get(local)
            .or_else(|| self.ports.get(record.fd.remote.port));
        let (encap, link, before) = inside(expected, payload, record.arg0 as usize)?;
        let mut peer = socket_address(&record.fd.remote);
        if !write && peer.is_none() {
            self.source_unknown = true;
        }
        if !self.source_unknown || peer.is_none() {
            peer = self.learn_peer(write, payload, peer);
        }
        let key = Key::Port { port: local, link };
        let interface = self.interface(key, link);
        let via = if write { Via::UdpSend } else { Via::UdpRecv };
        let orig_len = (record.arg0 as u32).saturating_sub(before as u32);
        let mut frame = self.frame(record, via, link, interface, &payload[before..], orig_len);
        if record.header.flags & (flag::CALL_ADDRESS | flag::WIRE_ADDRESS) != 0
            && let Some(fd) = &mut frame.fd
        {
            forget_remote(fd);
        }
        frame.encap = encap;
        frame.peer = peer;
        Some(Observation::Frame(frame))
    }

    /// Until the wire program is attached, which takes a first receive without a
    /// sender, the sender is the peer that packets for the inner source go to.
    fn learn_peer(
        &mut self,
        write: bool,
        payload: &[u8],
        peer: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let ends = match payload.first().map(|first| first >> 4) {
            Some(4) => ip_at(payload, 12, 4).zip(ip_at(payload, 16, 4)),
            Some(6) => ip_at(payload, 8, 16).zip(ip_at(payload, 24, 16)),
            _ => None,
        };
        let Some((source, destination)) = ends else {
            return peer;
        };
        if let (true, Some(peer)) = (write, peer) {
            if self.sent_to.len() >= MAX_LEARNED {
                self.sent_to.clear();
            }
            self.sent_to.insert(destination, peer);
        }
        peer.or_else(|| self.sent_to.get(&source).copied().filter(|_| !write))
    }

    #[inline]
    fn frame<'a>(
        &mut self,
        record: &Record,
        via: Via,
        link: LinkType,
        interface: u32,
        data: &'a [u8],
        orig_len: u32,
    ) -> Frame<'a> {
        let header = &record.header;
        Frame {
            ts_ns: self.unix(record),
            via,
            link,
            interface,
            data,
            orig_len: orig_len.max(data.len() as u32),
            process: Some(actor(record)),
            fd: Some(self.view(&record.fd)),
            peer: None,
            encap: None,
            errno: (header.result < 0).then_some(-header.result as i32),
            netns: (header.netns != 0).then_some(header.netns),
            cgroup: (header.cgroup != 0).then_some(header.cgroup),
            file_n: None,
        }
    }

    /// Index of the interface that `key` stands for, named when first seen.
    fn interface(&mut self, key: Key, link: LinkType) -> u32 {
        if let Some((last, index)) = self.last
            && last == key
        {
            return index;
        }
        let index = match self.keys.iter().position(|known| *known == key) {
            Some(index) => index,
            None => {
                let name = match key {
                    Key::Tun { name, .. } => self.name(&name).to_string(),
                    Key::Descriptor { pid, fd } => format!("tun:{pid}:{fd}"),
                    Key::Port { port, .. } => format!("udp:{port}"),
                };
                self.keys.push(key);
                self.interfaces.push(Interface {
                    name,
                    link,
                    snaplen: self.snaplen,
                    addresses: Vec::new(),
                });
                self.keys.len() - 1
            }
        };
        self.last = Some((key, index as u32));
        index as u32
    }

    /// A device's name as shared text, so that frames do not allocate.
    fn name(&mut self, bytes: &[u8; 16]) -> Arc<str> {
        if let Some((_, name)) = self.names.iter().find(|(known, _)| known == bytes) {
            return name.clone();
        }
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let name: Arc<str> = String::from_utf8_lossy(&bytes[..end]).into();
        // Devices that come and go for days must not grow this without bound.
        if self.names.len() >= 256 {
            self.names.clear();
        }
        self.names.push((*bytes, name.clone()));
        name
    }

    fn view(&mut self, fd: &Descriptor) -> FdView {
        let kind = match fd.class {
            class::TUN => FdKind::Tun {
                interface: self.name(&fd.local.bytes),
                tap: fd.tun_flags & IFF_TAP != 0,
                packet_info: fd.tun_flags & IFF_NO_PI == 0,
                vnet_header: if fd.tun_flags & IFF_VNET_HDR != 0 {
                    fd.vnet_hdr_len as u8
                } else {
                    0
                },
            },
            class::TUNNEL | class::INET_DGRAM | class::INET_STREAM => FdKind::Inet {
                protocol: fd.protocol,
                stream: fd.class == class::INET_STREAM,
                local: socket_address(&fd.local)
                    .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], fd.local.port))),
                remote: socket_address(&fd.remote),
            },
            class::UNIX => FdKind::Unix,
            class::NETLINK => FdKind::Netlink,
            class::SOCKET_OTHER => FdKind::OtherSocket { family: fd.family },
            class::REGULAR => FdKind::Regular,
            class::DIRECTORY => FdKind::Directory,
            class::PIPE => FdKind::Pipe,
            class::CHAR => FdKind::Char {
                major: fd.rdev >> 20,
                minor: fd.rdev & 0xf_ffff,
            },
            class::BLOCK => FdKind::Block {
                major: fd.rdev >> 20,
                minor: fd.rdev & 0xf_ffff,
            },
            class::ANON => FdKind::AnonInode,
            _ => FdKind::Unknown,
        };
        FdView {
            num: fd.num,
            kind,
            inode: fd.inode,
        }
    }

    fn fd_event<'a>(&mut self, record: &Record, payload: &[u8]) -> Option<Observation<'a>> {
        let num = record.fd.num;
        let change = match record.header.kind {
            kind::FD_NEW => FdChange::New {
                fd: self.view(&record.fd),
                origin: origin(record, payload),
                cloexec: record.header.flags & flag::CLOEXEC != 0,
            },
            kind::FD_UPDATE => FdChange::Updated {
                fd: self.view(&record.fd),
            },
            kind::FD_CLOSE => FdChange::Close { num },
            kind::FD_CLOEXEC => FdChange::CloseOnExec {
                num,
                on: record.arg0 == 1,
            },
            kind::UNSHARED => FdChange::Unshared,
            // The flags travel in the descriptor's number.
            _ => FdChange::CloseRange {
                first: record.arg0 as u32,
                last: record.arg1 as u32,
                cloexec_only: num & CLOSE_RANGE_CLOEXEC != 0,
                unshare: num & CLOSE_RANGE_UNSHARE != 0,
            },
        };
        Some(Observation::Fd(FdEvent {
            ts_ns: self.unix(record),
            actor: actor(record),
            change,
        }))
    }

    fn file_event<'a>(&mut self, record: &Record, payload: &[u8]) -> Option<Observation<'a>> {
        let first = || string(payload, 0);
        let op = match record.header.call as u8 {
            call::RENAME | call::RENAMEAT => FileOp::Rename {
                from: first(),
                to: string(payload, PATH_MAX),
                from_dirfd: record.arg0 as i32,
                to_dirfd: record.arg1 as i32,
            },
            call::UNLINK | call::UNLINKAT => FileOp::Unlink {
                path: first(),
                dirfd: record.arg0 as i32,
            },
            call::TRUNCATE => FileOp::Truncate {
                path: first(),
                len: record.arg0 as i64,
            },
            call::FTRUNCATE => FileOp::Ftruncate {
                fd: self.view(&record.fd),
                len: record.arg0 as i64,
            },
            call::FSYNC => FileOp::Fsync {
                fd: self.view(&record.fd),
            },
            _ => return None,
        };
        Some(Observation::File(FileEvent {
            ts_ns: self.unix(record),
            actor: actor(record),
            result: record.header.result,
            op,
        }))
    }

    fn process_event<'a>(&mut self, record: &Record, payload: &[u8]) -> Option<Observation<'a>> {
        let flags = record.header.flags;
        let change = match record.header.kind {
            kind::FORK => ProcessChange::Fork {
                parent: record.arg0 as u32,
                thread: flags & flag::THREAD != 0,
                shares_files: flags & flag::SHARES_FILES != 0,
            },
            kind::EXEC => ProcessChange::Exec {
                filename: string(payload, 0),
                args: arguments(payload.get(PATH_MAX..).unwrap_or_default()),
                cut: flags & flag::CUT != 0,
                uid: record.arg0 as u32,
                parent: record.arg1 as u32,
            },
            kind::EXEC_FAILED => ProcessChange::ExecFailed {
                filename: string(payload, 0),
                errno: -record.header.result as i32,
            },
            kind::EXIT => ProcessChange::Exit {
                code: record.arg0 as i32,
                last: flags & flag::LAST != 0,
            },
            _ => return None,
        };
        Some(Observation::Process(ProcessEvent {
            ts_ns: self.unix(record),
            actor: actor(record),
            cgroup: record.header.cgroup,
            netns: record.header.netns,
            change,
        }))
    }
}

/// A record and its payload; `None` where the bytes are not that long.
fn split(bytes: &[u8]) -> Option<(&Record, &[u8])> {
    if bytes.len() < size_of::<Record>() || !(bytes.as_ptr() as usize).is_multiple_of(8) {
        return None;
    }
    // SAFETY: long enough and aligned, and every bit pattern is a `Record`.
    let record = unsafe { &*bytes.as_ptr().cast::<Record>() };
    let rest = &bytes[size_of::<Record>()..];
    let length = (record.header.payload_len as usize).min(rest.len());
    Some((record, &rest[..length]))
}

fn actor(record: &Record) -> Actor {
    Actor {
        pid: record.header.pid,
        tid: record.header.tid,
        comm: record.header.comm,
    }
}

/// The record's remote end is this packet's, not the socket's: a socket that
/// sends to many is one descriptor with one name.
fn forget_remote(fd: &mut FdView) {
    if let FdKind::Inet { remote, .. } = &mut fd.kind {
        *remote = None;
    }
}

/// Bytes that a tun puts before each packet.
fn tun_prefix(fd: &Descriptor, known: bool) -> usize {
    if !known || fd.tun_flags == 0 {
        return 0;
    }
    let info = if fd.tun_flags & IFF_NO_PI == 0 {
        PACKET_INFO
    } else {
        0
    };
    let vnet = if fd.tun_flags & IFF_VNET_HDR != 0 {
        fd.vnet_hdr_len as usize
    } else {
        0
    };
    info + vnet
}

/// What a tunnel's datagram carries: its encapsulation, how the inner packet
/// begins, and how many bytes stand before it. `None` where the socket only
/// belongs to a tun's process and the payload has no tunnel's shape.
fn inside(
    expected: Option<Encap>,
    payload: &[u8],
    length: usize,
) -> Option<(Option<Encap>, LinkType, usize)> {
    match expected {
        Some(Encap::Vxlan) if payload.len() > 8 && payload[0] & 0x08 != 0 => {
            Some((expected, LinkType::Ethernet, 8))
        }
        Some(Encap::Geneve) if payload.len() > 8 && payload[0] >> 6 == 0 => {
            let before = 8 + usize::from(payload[0] & 0x3f) * 4;
            let link = match payload[2..4] {
                [0x65, 0x58] => LinkType::Ethernet,
                _ => LinkType::RawIp,
            };
            (before < payload.len()).then_some((expected, link, before))
        }
        Some(encap) if is_rare(encap) => {
            let inside = decoders::inside(encap, payload, length);
            let carried = inside.filter(|(_, before)| *before < payload.len());
            Some(
                carried.map_or((None, LinkType::RawIp, 0), |(link, before)| {
                    (expected, link, before)
                }),
            )
        }
        _ if bare_ip(payload, length) => Some((Some(Encap::FlannelUdp), LinkType::RawIp, 0)),
        Some(_) => Some((None, LinkType::RawIp, 0)),
        None => None,
    }
}

/// Whether an encapsulation is none of those that are told above at a glance.
fn is_rare(encap: Encap) -> bool {
    !matches!(encap, Encap::FlannelUdp | Encap::Vxlan | Encap::Geneve)
}

/// The address of `len` bytes, 4 or 16, at `at`.
fn ip_at(bytes: &[u8], at: usize, len: usize) -> Option<IpAddr> {
    let bytes = bytes.get(at..at + len)?;
    match len {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

/// Whether a datagram of `length` bytes is one bare IP packet.
fn bare_ip(payload: &[u8], length: usize) -> bool {
    match payload.first().map(|first| first >> 4) {
        Some(4) if payload.len() >= 20 => {
            usize::from(u16::from_be_bytes([payload[2], payload[3]])) == length
        }
        Some(6) if payload.len() >= 40 => {
            usize::from(u16::from_be_bytes([payload[4], payload[5]])) + 40 == length
        }
        _ => false,
    }
}

fn origin(record: &Record, payload: &[u8]) -> FdOrigin {
    let first = record.arg0 as i32;
    match record.header.call as u8 {
        call::OPEN | call::OPENAT | call::OPENAT2 | call::CREAT => FdOrigin::Open {
            path: string(payload, 0),
            dirfd: first,
            flags: record.arg1,
        },
        call::SOCKET => FdOrigin::Socket,
        call::ACCEPT => FdOrigin::Accept { listener: first },
        call::DUP | call::DUP2 | call::DUP3 | call::FCNTL => FdOrigin::Dup { from: first },
        call::PIPE | call::PIPE2 => FdOrigin::Pipe,
        call::SOCKETPAIR => FdOrigin::SocketPair,
        call::RECVMSG => FdOrigin::ScmRights { socket: first },
        call::PIDFD_GETFD => FdOrigin::PidfdGetfd {
            pidfd: first,
            target_fd: record.arg1 as i32,
        },
        _ => FdOrigin::Other,
    }
}

fn socket_address(address: &Address) -> Option<SocketAddr> {
    let bytes = &address.bytes;
    let ip: IpAddr = match i32::from(address.family) {
        libc::AF_INET => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        // A socket for both families names IPv4 peers as ::ffff:a.b.c.d.
        libc::AF_INET6 => Ipv6Addr::from(*bytes).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, address.port))
}

/// The NUL-terminated string in the field that begins at `at`.
fn string(payload: &[u8], at: usize) -> Vec<u8> {
    let field = payload.get(at..).unwrap_or_default();
    let field = &field[..field.len().min(PATH_MAX)];
    field.split(|&b| b == 0).next().unwrap_or_default().to_vec()
}

fn arguments(area: &[u8]) -> Vec<Vec<u8>> {
    let area = area.strip_suffix(&[0]).unwrap_or(area);
    if area.is_empty() {
        return Vec::new();
    }
    area.split(|&b| b == 0).map(<[u8]>::to_vec).collect()
}
