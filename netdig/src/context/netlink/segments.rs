//! What the other ends of TCP connections say of their links: sock_diag(7), as `ss -ti` asks it.
use std::io;

use netlink_packet_core::Emitable;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::attributes::{behind, u8_of, u32_of};
use super::socket::Conversation;

/// Of linux/sock_diag.h and linux/inet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
/// `struct inet_diag_req_v2`, `struct inet_diag_msg`, and where the latter has the inode.
const REQUEST_LEN: usize = 56;
const MESSAGE_LEN: usize = 72;
const INODE: usize = 68;
/// TCP_ESTABLISHED of include/net/tcp_states.h.
const ESTABLISHED: u32 = 1;

/// The IP and TCP headers of a segment, without options.
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;
/// The time stamps of each segment (RFC 7323), padded.
const TIMESTAMPS_LEN: u32 = 12;
/// Every IPv4 host takes so much (RFC 791); less is no link's MTU.
const LEAST_MTU: u32 = 576;

/// What the kernel knows of a connection's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    pub inode: u64,
    size: u32,
    timestamps: bool,
    path_mtu: u32,
    /// What the other end takes at once now; of Linux 5.4 and later.
    window: Option<u32>,
}

impl Segments {
    /// The MTU that the other end announced by its segment size (RFC 9293, 3.7.1), where it is
    /// what limits ours: not where the path or our own link does.
    pub fn peer_mtu(&self, ipv6: bool) -> Option<u32> {
        let headers = match ipv6 {
            true => HEADERS_V6,
            false => HEADERS_V4,
        };
        let options = match self.timestamps {
            true => TIMESTAMPS_LEN,
            false => 0,
        };
        // Segments are never more than half of the largest window: a small one says nothing.
        if self.window.is_some_and(|window| window / 2 <= self.size) {
            return None;
        }
        let mtu = self.size.checked_add(headers + options)?;
        (mtu >= LEAST_MTU && mtu < self.path_mtu).then_some(mtu)
    }
}

/// Of at most `most` established connections of each family.
///
/// # Errors
/// What the system said.
pub fn read(most: usize) -> io::Result<Vec<Segments>> {
    let mut all = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let request = Request {
            family: family as u8,
        };
        let conversation = Conversation::with(NETLINK_SOCK_DIAG)?;
        all.extend(conversation.beginning(SOCK_DIAG_BY_FAMILY, &request, most, parse)?);
    }
    Ok(all)
}

/// For all established TCP connections of a family, with their `tcp_info`.
struct Request {
    family: u8,
}

impl Emitable for Request {
    fn buffer_len(&self) -> usize {
        REQUEST_LEN
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        buffer[0] = self.family;
        buffer[1] = libc::IPPROTO_TCP as u8;
        buffer[2] = 1 << (INET_DIAG_INFO - 1);
        buffer[4..8].copy_from_slice(&(1u32 << ESTABLISHED).to_ne_bytes());
    }
}

/// `struct inet_diag_msg` with its attributes.
fn parse(message: &[u8]) -> Option<Segments> {
    let inode = u32_of(message.get(INODE..)?)?;
    let info = behind(MESSAGE_LEN, message).find(|(kind, _)| *kind == INET_DIAG_INFO);
    tcp_info(inode, info?.1)
}

/// `struct tcp_info` of linux/tcp.h, which later kernels make longer.
fn tcp_info(inode: u32, info: &[u8]) -> Option<Segments> {
    const TIMESTAMPS: u8 = 1;
    let at = |offset: usize| info.get(offset..).and_then(u32_of);
    Some(Segments {
        inode: u64::from(inode),
        timestamps: u8_of(info.get(5..)?)? & TIMESTAMPS != 0,
        size: at(16)?,
        path_mtu: at(60)?,
        window: at(228),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    fn segments(size: u32, timestamps: bool, path_mtu: u32) -> Segments {
        Segments {
            inode: 7,
            size,
            timestamps,
            path_mtu,
            window: Some(64_240),
        }
    }

    #[test]
    fn the_mtu_is_that_of_the_other_end() {
        assert_eq!(segments(1448, true, 9001).peer_mtu(false), Some(1500));
        assert_eq!(segments(1460, false, 9001).peer_mtu(false), Some(1500));
        assert_eq!(segments(1428, true, 9001).peer_mtu(true), Some(1500));
    }

    #[test]
    fn what_says_nothing_of_the_other_end_is_not_taken_for_it() {
        for (size, path_mtu, why) in [
            (8949, 9001, "our own link limits"),
            (1388, 1440, "the path limits"),
            (88, 1500, "no link is so small"),
            (u32::MAX, 1500, "nonsense"),
        ] {
            assert_eq!(
                segments(size, true, path_mtu).peer_mtu(false),
                None,
                "{why}"
            );
        }
        let mut narrow = segments(7300, false, 9001);
        narrow.window = Some(14_600);
        assert_eq!(narrow.peer_mtu(false), None);
        narrow.window = None;
        assert_eq!(narrow.peer_mtu(false), Some(7340));
    }

    #[test]
    fn what_is_cut_short_is_passed_over() {
        let mut info = vec![0; 232];
        info[5] = 1;
        info[16..20].copy_from_slice(&1448u32.to_ne_bytes());
        info[60..64].copy_from_slice(&1500u32.to_ne_bytes());
        assert_eq!(tcp_info(7, &info).expect("whole").size, 1448);
        assert_eq!(
            tcp_info(7, &info[..100]).expect("of an old kernel").window,
            None
        );
        for length in [0, 5, 18, 63] {
            assert_eq!(tcp_info(7, &info[..length]), None);
            assert_eq!(parse(&info[..length]), None);
        }
    }

    #[test]
    fn our_own_connection_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd()));
        let link = link.expect("a descriptor").display().to_string();
        let all = read(65_536).expect("sock_diag answers");
        let own = all
            .iter()
            .find(|one| link == format!("socket:[{}]", one.inode));
        let own = own.expect("ours");
        assert!(own.size > 0 && own.path_mtu > 0, "{own:?}");
    }
}
