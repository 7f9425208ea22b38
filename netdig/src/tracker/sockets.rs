//! Addresses of sockets by inode number, from `/proc/PID/net/*`.
//!
//! Needed only for sockets that were open before netdig started and that no
//! packet has shown yet: every event brings the addresses itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::procfs::Procfs;
use crate::observation::FdKind;

/// `tcp` walks all the kernel's buckets; on a busy host that takes long.
const REREAD: Duration = Duration::from_secs(1);

const INET_TABLES: [(&str, libc::c_int, bool); 4] = [
    ("udp", libc::IPPROTO_UDP, false),
    ("udp6", libc::IPPROTO_UDP, false),
    ("tcp", libc::IPPROTO_TCP, true),
    ("tcp6", libc::IPPROTO_TCP, true),
];

/// The sockets of every network namespace that was asked about.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    namespaces: FxHashMap<u32, Namespace>,
}

#[derive(Debug)]
struct Namespace {
    read: Instant,
    by_inode: FxHashMap<u64, FdKind>,
}

impl Sockets {
    /// What the socket with this inode number is, for a process of the
    /// namespace. A socket that is neither bound nor connected is in no table.
    pub fn kind(&mut self, procfs: &Procfs, pid: u32, inode: u64) -> FdKind {
        let Some(netns) = procfs.netns(pid) else {
            return FdKind::Unknown;
        };
        if let Some(known) = self.namespaces.get(&netns) {
            if let Some(kind) = known.by_inode.get(&inode) {
                return kind.clone();
            }
            if known.read.elapsed() < REREAD {
                return FdKind::Unknown;
            }
        }
        let fresh = Namespace {
            read: Instant::now(),
            by_inode: read_tables(procfs, pid),
        };
        let kind = fresh
            .by_inode
            .get(&inode)
            .cloned()
            .unwrap_or(FdKind::Unknown);
        self.namespaces.insert(netns, fresh);
        kind
    }
}

fn read_tables(procfs: &Procfs, pid: u32) -> FxHashMap<u64, FdKind> {
    let mut all = FxHashMap::default();
    for (name, protocol, stream) in INET_TABLES {
        let Some(text) = procfs.net_table(pid, name) else {
            continue;
        };
        all.extend(lines(&text).filter_map(|line| inet(line, protocol as u8, stream)));
    }
    for (name, column, kind) in [("unix", 6, FdKind::Unix), ("netlink", 9, FdKind::Netlink)] {
        let Some(text) = procfs.net_table(pid, name) else {
            continue;
        };
        let inodes = lines(&text).filter_map(|line| {
            line.split_ascii_whitespace()
                .nth(column)?
                .parse::<u64>()
                .ok()
        });
        all.extend(inodes.map(|inode| (inode, kind.clone())));
    }
    // Sockets that wait to be accepted or to vanish share inode 0.
    all.remove(&0);
    all
}

/// The lines below the heading.
fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| std::str::from_utf8(line).ok())
}

/// `sl local_address rem_address st queues tr retrnsmt uid timeout inode …`
fn inet(line: &str, protocol: u8, stream: bool) -> Option<(u64, FdKind)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let inode = fields.nth(6)?.parse().ok()?;
    let remote = (remote.port() != 0 || !remote.ip().is_unspecified()).then_some(remote);
    Some((
        inode,
        FdKind::Inet {
            protocol,
            stream,
            local,
            remote,
        },
    ))
}

/// `0100007F:1F90`: the address as the machine's own 32-bit words, the port
/// as a number.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0u8; 16];
    if !address.is_ascii() || !matches!(address.len(), 8 | 32) {
        return None;
    }
    for (index, chunk) in bytes
        .chunks_exact_mut(4)
        .take(address.len() / 8)
        .enumerate()
    {
        let word = u32::from_str_radix(&address[index * 8..index * 8 + 8], 16).ok()?;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        _ => IpAddr::V6(Ipv6Addr::from(bytes)),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_net_are_read() {
        let line = "  412: 0100007F:205D 0200007F:0035 07 00000000:00000000 00:00000000 00000000     0        0 15243 2 0000000000000000 0";
        let expected = FdKind::Inet {
            protocol: 17,
            stream: false,
            local: "127.0.0.1:8285".parse().unwrap(),
            remote: Some("127.0.0.2:53".parse().unwrap()),
        };
        assert_eq!(inet(line, 17, false), Some((15243, expected)));
        let six = "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 x";
        let expected = FdKind::Inet {
            protocol: 6,
            stream: true,
            local: "[::]:22".parse().unwrap(),
            remote: None,
        };
        assert_eq!(inet(six, 6, true), Some((99, expected)));
        for garbage in [
            "",
            "1:",
            "1: x:y",
            "1: é00000F:1 2",
            "1: 0100007F:205D",
            "1: FFFFFFFFF:1 1:1",
        ] {
            assert_eq!(inet(garbage, 17, false), None);
        }
    }
}
