//! The number that a network namespace has in the caller's own (RTM_GETNSID): what
//! IFLA_LINK_NETNSID of a veth says of its other end.
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// linux/rtnetlink.h and linux/net_namespace.h.
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const NLMSG_ERROR: u16 = 2;
/// Headers of netlink, of rtgenmsg (padded), and of one attribute with four bytes.
const HEADER: usize = 16;
const GENERIC: usize = 4;
const ATTRIBUTE: usize = 8;

/// None where it has no number here.
pub fn of(namespace: &File) -> io::Result<Option<i32>> {
    let mut request = Vec::with_capacity(HEADER + GENERIC + ATTRIBUTE);
    let length = (HEADER + GENERIC + ATTRIBUTE) as u32;
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&RTM_GETNSID.to_ne_bytes());
    request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[0; GENERIC]);
    request.extend_from_slice(&(ATTRIBUTE as u16).to_ne_bytes());
    request.extend_from_slice(&NETNSA_FD.to_ne_bytes());
    request.extend_from_slice(&namespace.as_raw_fd().to_ne_bytes());
    answer(&exchange(&request)?)
}

fn exchange(request: &[u8]) -> io::Result<Vec<u8>> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: numbers alone; the result is checked, and owned by nobody else.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let mut reply = vec![0u8; 8192];
    // SAFETY: both buffers outlive the calls, with their true lengths. An unconnected
    // netlink socket sends to the kernel, which answers before send returns.
    let received = unsafe {
        let sent = libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        );
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::MSG_DONTWAIT;
        libc::recv(
            socket.as_raw_fd(),
            reply.as_mut_ptr().cast(),
            reply.len(),
            flags,
        )
    };
    match usize::try_from(received) {
        Ok(length) => {
            reply.truncate(length);
            Ok(reply)
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

fn answer(reply: &[u8]) -> io::Result<Option<i32>> {
    let short = || io::Error::other("the kernel's answer is too short");
    let half = |at: usize| Some(u16::from_ne_bytes(reply.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(i32::from_ne_bytes(reply.get(at..at + 4)?.try_into().ok()?));
    match half(4).ok_or_else(short)? {
        RTM_NEWNSID => {}
        NLMSG_ERROR => {
            let error = word(HEADER).ok_or_else(short)?;
            return Err(io::Error::from_raw_os_error(error.saturating_neg()));
        }
        _ => return Ok(None),
    }
    let mut at = HEADER + GENERIC;
    while let (Some(length), Some(kind)) = (half(at), half(at + 2)) {
        if kind == NETNSA_NSID {
            return Ok(word(at + 4).filter(|id| *id >= 0));
        }
        at += usize::from(length.max(4)).next_multiple_of(4);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_asked_for_without_trouble() {
        let own = File::open("/proc/thread-self/ns/net").expect("our namespace");
        of(&own).expect("an answer");
    }

    #[test]
    fn odd_answers_are_no_trouble() {
        for length in 0..40 {
            let mut reply = vec![0xff; length];
            let _ = answer(&reply);
            if let Some(kind) = reply.get_mut(4..6) {
                kind.copy_from_slice(&RTM_NEWNSID.to_ne_bytes());
            }
            let _ = answer(&reply);
        }
    }
}
