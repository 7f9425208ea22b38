//! Tun devices, sockets and packets, close to the system calls.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::play::ok;

pub const TUNNEL_PORT: u16 = 8285;

/// Opens `/dev/net/tun`, not yet any device.
pub fn open_tun() -> OwnedFd {
    // SAFETY: a valid path; the new descriptor is owned once.
    unsafe {
        let fd = ok(libc::open(
            c"/dev/net/tun".as_ptr(),
            libc::O_RDWR | libc::O_CLOEXEC,
        ));
        OwnedFd::from_raw_fd(fd)
    }
}

/// Makes an open `/dev/net/tun` the device `name`.
pub fn set_interface(tun: RawFd, name: &str, flags: i32) {
    // SAFETY: the request is valid and outlives the call.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        ok(libc::ioctl(tun, libc::TUNSETIFF as _, &mut request));
    }
}

/// A device that is up, with an address: `10.77.N.1/24`.
pub fn tun(name: &str, flags: i32, n: u8) -> OwnedFd {
    let tun = open_tun();
    set_interface(tun.as_raw_fd(), name, flags);
    bring_up(name, n);
    tun
}

pub fn plain_tun(name: &str, n: u8) -> OwnedFd {
    tun(name, libc::IFF_TUN | libc::IFF_NO_PI, n)
}

/// By system calls alone: a maker must not start programs that would be seen.
pub fn bring_up(name: &str, n: u8) {
    // SAFETY: requests are valid and outlive the calls.
    unsafe {
        let socket = ok(libc::socket(
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        ));
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        for (call, address) in [
            (libc::SIOCSIFADDR, Ipv4Addr::new(10, 77, n, 1)),
            (libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0)),
        ] {
            let mut to: libc::sockaddr_in = std::mem::zeroed();
            to.sin_family = libc::AF_INET as u16;
            to.sin_addr.s_addr = u32::from(address).to_be();
            request.ifr_ifru.ifru_addr =
                std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(to);
            ok(libc::ioctl(socket, call as _, &request));
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        ok(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request));
        libc::close(socket);
    }
}

/// A UDP socket on 127.0.0.1, without std's own bookkeeping.
pub fn socket(port: u16) -> OwnedFd {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port))
        .expect("the port is free")
        .into()
}

pub fn v4(address: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    }
}

pub fn v6(address: Ipv6Addr, port: u16) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as u16,
        sin6_port: port.to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        sin6_scope_id: 0,
    }
}

pub fn sendto<A>(socket: RawFd, data: &[u8], to: &A) -> isize {
    // SAFETY: a valid buffer and a whole address.
    unsafe {
        libc::sendto(
            socket,
            data.as_ptr().cast(),
            data.len(),
            0,
            std::ptr::from_ref(to).cast(),
            size_of::<A>() as u32,
        )
    }
}

/// Sends to this host's own tunnel port.
pub fn send_home(socket: RawFd, data: &[u8]) {
    let sent = sendto(socket, data, &v4(Ipv4Addr::LOCALHOST, TUNNEL_PORT));
    assert_eq!(ok(sent as i64), data.len() as i64);
}

pub fn recv(socket: RawFd, buffer: &mut [u8], flags: i32) -> usize {
    // SAFETY: a valid buffer.
    let got = unsafe { libc::recv(socket, buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    ok(got as i64) as usize
}

pub fn read(fd: RawFd, buffer: &mut [u8]) -> usize {
    // SAFETY: a valid buffer.
    let got = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    ok(got as i64) as usize
}

pub fn write(fd: RawFd, data: &[u8]) {
    // SAFETY: a valid buffer.
    let put = unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) };
    assert_eq!(ok(put as i64), data.len() as i64);
}

pub fn path(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

/// Lets the kernel route a datagram into the device of `10.77.N.0/24`, from
/// where a tun's reader takes it. The marker is the length of its payload.
pub fn knock(n: u8, marker: u16) {
    let socket =
        UdpSocket::bind((Ipv4Addr::new(10, 77, n, 1), 0)).expect("the device has its address");
    socket
        .send_to(
            &vec![n; usize::from(marker)],
            (Ipv4Addr::new(10, 77, n, 2), 5000),
        )
        .expect("the device takes it");
}

/// Reads the tun until the packet of [`knock`] comes; others, such as router
/// solicitations, are left where they are.
pub fn read_knock(tun: RawFd, before: usize, buffer: &mut [u8]) -> usize {
    loop {
        let length = read(tun, buffer);
        if buffer[before] >> 4 == 4 {
            return length;
        }
    }
}

/// One packet through a small tunnel, both ways: read from the tun, sent to the
/// socket itself, and received, written to the tun.
pub fn carry(tun: RawFd, socket: RawFd, n: u8, marker: u16) {
    knock(n, marker);
    let mut buffer = [0; 2048];
    let length = read_knock(tun, 0, &mut buffer);
    // SAFETY: an open socket, which stays so.
    let own = ManuallyDrop::new(unsafe { UdpSocket::from_raw_fd(socket) });
    let SocketAddr::V4(home) = own.local_addr().expect("it is bound") else {
        panic!("an IPv4 socket");
    };
    let sent = sendto(socket, &buffer[..length], &v4(*home.ip(), home.port()));
    assert_eq!(ok(sent as i64), length as i64);
    let length = recv(socket, &mut buffer, 0);
    write(tun, &buffer[..length]);
}

/// A UDP packet from 10.77.0.2 to 10.77.0.1 of `len` bytes in all (28 at
/// least), told apart by its `id`; its payload counts up.
pub fn ipv4(id: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1,
    ];
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp(len - 20));
    packet
}

/// The same with IPv6, of `len` bytes in all (48 at least).
pub fn ipv6(id: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
    packet[2..4].copy_from_slice(&id.to_be_bytes());
    packet[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    for last in [2, 1] {
        packet.extend(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last).octets());
    }
    packet.extend(udp(len - 40));
    packet
}

fn udp(len: usize) -> Vec<u8> {
    let mut datagram = vec![0x13, 0x88, 0x13, 0x89];
    datagram.extend((len as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend((0..len - 8).map(|n| (n % 251) as u8));
    datagram
}

pub fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let once = (sum & 0xffff) + (sum >> 16);
    !(once + (once >> 16)) as u16
}
