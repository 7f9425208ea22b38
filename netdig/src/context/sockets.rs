//! UDP and TCP sockets of the calling thread's network namespace, and who has them.
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::netlink::segments::{self, Segments};
use super::{Context, Part, Socket, Unread, proc};
use crate::tracker::sockets::address;

/// A balancer may have a million connections; listening sockets come first in the tables.
const MAX_SOCKETS: usize = 65_536;
/// Walking the descriptors of all processes ends after this.
const MAX_WALK: Duration = Duration::from_secs(1);
const TABLES: [&str; 4] = ["udp", "udp6", "tcp", "tcp6"];
/// Of include/net/tcp_states.h, from 1.
const STATES: [&str; 12] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

pub fn read(context: &mut Context) {
    read_below(
        context,
        Path::new(proc::NET),
        Path::new(proc::ROOT),
        MAX_WALK,
    );
    add_peer_mtus(&mut context.sockets);
}

/// Adds what other hosts announced. It is a hint to one rule: where the kernel does not tell it,
/// nothing is said to be missing.
fn add_peer_mtus(sockets: &mut [Socket]) {
    let remote = |socket: &Socket| socket.remote.as_deref()?.parse::<SocketAddr>().ok();
    let elsewhere = |socket: &Socket| {
        socket.state.as_deref() == Some("ESTABLISHED")
            && remote(socket).is_some_and(|remote| !remote.ip().is_loopback())
    };
    // Whom nobody talks to is not asked for: the question may load a module.
    if !sockets.iter().any(elsewhere) {
        return;
    }
    let known = segments::read(MAX_SOCKETS).unwrap_or_default();
    let by_inode: HashMap<u64, Segments> = known.iter().map(|one| (one.inode, *one)).collect();
    for socket in sockets.iter_mut().filter(|socket| elsewhere(socket)) {
        let ipv6 = remote(socket).is_some_and(|remote| remote.is_ipv6());
        let segments = by_inode.get(&socket.inode);
        socket.peer_mtu = segments.and_then(|segments| segments.peer_mtu(ipv6));
    }
}

fn read_below(context: &mut Context, net: &Path, root: &Path, walk: Duration) {
    for table in TABLES {
        match proc::lines(&net.join(table), MAX_SOCKETS + 1) {
            Ok(lines) => {
                if lines.len() > MAX_SOCKETS {
                    partly(
                        context,
                        "sockets",
                        format!("{table} has more than {MAX_SOCKETS}"),
                    );
                }
                let found = lines.iter().skip(1).filter_map(|line| socket(line, table));
                context.sockets.extend(found);
            }
            Err(error) if table == "udp" => {
                let why = format!("cannot read {}/{table}: {error}", net.display());
                context.lacks(Part::Sockets, why, None);
                return;
            }
            // No IPv6 on this host.
            Err(_) => {}
        }
    }
    owners(context, root, walk);
}

fn partly(context: &mut Context, what: &str, why: String) {
    context.unread.push(Unread {
        part: Part::Sockets,
        what: what.to_owned(),
        why,
        hint: None,
        partly: true,
    });
}

/// `sl local_address rem_address st queues tr retrnsmt uid timeout inode …` (proc(5)).
fn socket(line: &str, table: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = usize::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    let state = state.checked_sub(1).and_then(|index| STATES.get(index));
    Some(Socket {
        protocol: table.to_owned(),
        local: plain(local).to_string(),
        remote: connected(remote).then(|| plain(remote).to_string()),
        state: state
            .filter(|_| table.starts_with("tcp"))
            .map(|state| (*state).to_owned()),
        inode,
        pid: None,
        comm: None,
        peer_mtu: None,
    })
}

fn connected(remote: SocketAddr) -> bool {
    remote.port() != 0 || !remote.ip().is_unspecified()
}

/// IPv4 that came by an IPv6 socket, as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

/// Finds the processes by their descriptors, those of this network namespace alone.
fn owners(context: &mut Context, root: &Path, walk: Duration) {
    let mut by_inode: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, socket) in context.sockets.iter().enumerate() {
        // Sockets that wait to be accepted or to vanish share inode 0.
        if socket.inode != 0 {
            by_inode.entry(socket.inode).or_default().push(index);
        }
    }
    let own = proc::own_namespace(root);
    let begun = Instant::now();
    let mut denied = 0;
    for pid in proc::pids(root) {
        if by_inode.is_empty() {
            break;
        }
        if begun.elapsed() >= walk {
            let why = format!("looking through all processes took longer than {walk:?}");
            partly(context, "who has each socket", why);
            break;
        }
        match proc::namespace(root, pid) {
            Ok(namespace) if Some(namespace) == own => {}
            Ok(_) => continue,
            Err(error) => {
                denied += usize::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                continue;
            }
        }
        let comm = || proc::comm(root, pid);
        for inode in proc::socket_inodes(root, pid) {
            for index in by_inode.remove(&inode).unwrap_or_default() {
                let socket = &mut context.sockets[index];
                socket.pid = Some(pid);
                socket.comm = comm();
            }
        }
    }
    // Root is denied those that a security module hides, which it cannot help.
    // SAFETY: the call takes nothing and cannot fail.
    if denied > 0 && !by_inode.is_empty() && unsafe { libc::geteuid() } != 0 {
        context.unread.push(Unread {
            part: Part::Sockets,
            what: "who has each socket".to_owned(),
            why: format!("{denied} processes' descriptors may not be looked at"),
            hint: Some("run it as root".to_owned()),
            partly: true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounded::testing::Folder;
    use super::*;

    #[test]
    fn lines_are_read_and_garbage_is_passed_over() {
        let line = "  412: 5F01010A:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 15243 2 0000000000000000 0";
        let udp = socket(line, "udp").expect("a socket");
        assert_eq!(udp.local, "10.1.1.95:8472");
        assert_eq!((udp.remote, udp.state, udp.inode), (None, None, 15243));
        let six = "   0: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000100007F:0017 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 x";
        let tcp = socket(six, "tcp6").expect("a socket");
        assert_eq!(tcp.local, "127.0.0.1:22");
        assert_eq!(tcp.remote.as_deref(), Some("127.0.0.1:23"));
        assert_eq!(tcp.state.as_deref(), Some("LISTEN"));
        let odd_state = line.replace(" 07 ", " FF ");
        assert_eq!(socket(&odd_state, "tcp").expect("a socket").state, None);
        for garbage in [
            "",
            "1:",
            "1: x:y",
            "1: 0100007F:1 0:0 zz",
            "1: é:1 2 3 4 5 6 7 8",
        ] {
            assert_eq!(socket(garbage, "udp"), None, "{garbage}");
        }
    }

    #[test]
    fn a_missing_table_is_said_and_odd_ones_are_not_fatal() {
        let mut context = Context::default();
        let none = Path::new("/nonexistent");
        read_below(&mut context, none, none, MAX_WALK);
        assert!(!context.has(Part::Sockets));
        let folder = Folder::with(&[("udp", b"sl\n\xff\xfe\n  1: \n"), ("tcp", b"")]);
        let mut context = Context::default();
        read_below(&mut context, folder.path(), none, MAX_WALK);
        assert!(context.has(Part::Sockets) && context.sockets.is_empty());
    }

    #[test]
    fn our_own_socket_is_found_with_its_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let local = socket.local_addr().expect("an address").to_string();
        let mut context = Context::default();
        read(&mut context);
        let found = context.sockets.iter().find(|one| one.local == local);
        assert_eq!(found.expect("ours").pid, Some(std::process::id()));
    }

    #[test]
    fn a_walk_without_time_says_so() {
        let _socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut context = Context::default();
        let (net, root) = (Path::new(proc::NET), Path::new(proc::ROOT));
        read_below(&mut context, net, root, Duration::ZERO);
        assert!(context.unread.iter().any(|one| one.partly));
    }
}
