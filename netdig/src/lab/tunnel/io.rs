//! The daemon's system calls, one function each: which call moves a packet is
//! what the lab is there to show, so nothing here goes through a library that
//! might choose another.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::packet::IPV4_HEADER;

/// Most packets in one sendmmsg or recvmmsg.
pub const BATCH: usize = 32;

/// One packet in a buffer that is longer than it.
#[derive(Debug, Clone)]
pub struct Slot {
    pub buffer: Vec<u8>,
    pub len: usize,
}

impl Slot {
    pub fn new(capacity: usize) -> Slot {
        Slot {
            buffer: vec![0; capacity],
            len: 0,
        }
    }

    pub fn packet(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    pub fn packet_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }
}

fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live, writable slice.
    moved(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

pub fn readv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let vectors = split_mut(buffer);
    // SAFETY: both vectors lie in one live, writable slice and do not overlap.
    moved(unsafe { libc::readv(fd.as_raw_fd(), vectors.as_ptr(), 2) })
}

pub fn write(fd: BorrowedFd<'_>, packet: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live slice.
    moved(unsafe { libc::write(fd.as_raw_fd(), packet.as_ptr().cast(), packet.len()) })
}

pub fn writev(fd: BorrowedFd<'_>, packet: &[u8]) -> io::Result<usize> {
    let vectors = split(packet);
    // SAFETY: both vectors lie in one live slice; the call only reads them.
    moved(unsafe { libc::writev(fd.as_raw_fd(), vectors.as_ptr(), 2) })
}

pub fn sendto(fd: BorrowedFd<'_>, packet: &[u8], peer: SocketAddrV4) -> io::Result<usize> {
    let address = sockaddr(peer);
    // SAFETY: packet and address live through the call and have these lengths.
    moved(unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            ADDRESS_LEN,
        )
    })
}

pub fn sendmsg(fd: BorrowedFd<'_>, packet: &[u8], peer: SocketAddrV4) -> io::Result<usize> {
    let mut vectors = split(packet);
    let mut address = sockaddr(peer);
    let message = header(&mut vectors, &mut address);
    // SAFETY: vectors, address and packet outlive the call; it writes none of them.
    moved(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, 0) })
}

/// Sends at most [`BATCH`] packets; returns how many went.
pub fn sendmmsg(fd: BorrowedFd<'_>, packets: &[(&[u8], SocketAddrV4)]) -> io::Result<usize> {
    let mut vectors: Vec<_> = packets.iter().map(|(packet, _)| split(packet)).collect();
    let mut addresses: Vec<_> = packets.iter().map(|(_, peer)| sockaddr(*peer)).collect();
    let mut messages: Vec<_> = vectors
        .iter_mut()
        .zip(&mut addresses)
        .take(BATCH)
        .map(|(vectors, address)| libc::mmsghdr {
            msg_hdr: header(vectors, address),
            msg_len: 0,
        })
        .collect();
    // SAFETY: every header points into `vectors` and `addresses`, which outlive the call.
    moved(unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as u32,
            0,
        )
    } as isize)
}

/// recv(2), which glibc makes a recvfrom without room for an address.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live, writable slice.
    moved(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
        )
    })
}

pub fn recvfrom(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut address = MaybeUninit::<libc::sockaddr_in>::zeroed();
    let mut len = ADDRESS_LEN;
    // SAFETY: buffer and address are writable for the lengths that are passed.
    moved(unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            address.as_mut_ptr().cast(),
            &mut len,
        )
    })
}

pub fn recvmsg(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut vectors = split_mut(buffer);
    let mut address = unspecified();
    let mut message = header(&mut vectors, &mut address);
    // SAFETY: the vectors lie in one live, writable slice; the address is writable.
    moved(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) })
}

/// Receives into the first slots; returns how many were filled.
pub fn recvmmsg(fd: BorrowedFd<'_>, slots: &mut [Slot]) -> io::Result<usize> {
    let mut vectors: Vec<_> = slots
        .iter_mut()
        .map(|slot| split_mut(&mut slot.buffer))
        .collect();
    let mut addresses = vec![unspecified(); vectors.len()];
    let mut messages: Vec<_> = vectors
        .iter_mut()
        .zip(&mut addresses)
        .take(BATCH)
        .map(|(vectors, address)| libc::mmsghdr {
            msg_hdr: header(vectors, address),
            msg_len: 0,
        })
        .collect();
    // SAFETY: every header points into `slots` and `addresses`, which outlive the call.
    let count = moved(unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as u32,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    } as isize)?;
    for (slot, message) in slots.iter_mut().zip(&messages[..count]) {
        slot.len = (message.msg_len as usize).min(slot.buffer.len());
    }
    Ok(count)
}

const ADDRESS_LEN: libc::socklen_t = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn sockaddr(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

fn unspecified() -> libc::sockaddr_in {
    sockaddr(SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0))
}

fn header(vectors: &mut [libc::iovec; 2], address: &mut libc::sockaddr_in) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr: null pointers and lengths of zero.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut *address).cast();
    header.msg_namelen = ADDRESS_LEN;
    header.msg_iov = vectors.as_mut_ptr();
    header.msg_iovlen = 2;
    header
}

/// The IP header and the rest, as two vectors.
fn split_mut(buffer: &mut [u8]) -> [libc::iovec; 2] {
    let (head, rest) = buffer.split_at_mut(IPV4_HEADER.min(buffer.len()));
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
}

/// Like [`split_mut`], for calls that only read.
fn split(packet: &[u8]) -> [libc::iovec; 2] {
    let (head, rest) = packet.split_at(IPV4_HEADER.min(packet.len()));
    [
        libc::iovec {
            iov_base: head.as_ptr().cast_mut().cast(),
            iov_len: head.len(),
        },
        libc::iovec {
            iov_base: rest.as_ptr().cast_mut().cast(),
            iov_len: rest.len(),
        },
    ]
}
