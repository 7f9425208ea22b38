//! What a link is: asked of the kernel in the calling thread's namespace.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::NetdevError;

/// A link as it was when it was looked up.
pub(super) struct LinkInfo {
    pub index: i32,
    /// Packets begin with an Ethernet header. The loopback device's do, too.
    pub ethernet: bool,
    pub loopback: bool,
    pub addresses: Vec<IpAddr>,
}

/// Moves the calling thread into a network namespace.
pub(super) fn enter_netns(netns: BorrowedFd<'_>) -> Result<(), NetdevError> {
    // SAFETY: setns takes a descriptor, which is open, and a flag.
    match unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(NetdevError::Netns {
            source: io::Error::last_os_error(),
        }),
    }
}

impl LinkInfo {
    pub(super) fn look_up(name: &str) -> Result<LinkInfo, NetdevError> {
        let unknown = || NetdevError::Unknown {
            name: name.to_owned(),
            links: link_names().join(", "),
        };
        let c_name = CString::new(name).map_err(|_| unknown())?;
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Err(unknown());
        }
        // SAFETY: a NUL-terminated string that outlives the call.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        let index = i32::try_from(index)
            .ok()
            .filter(|&index| index > 0)
            .ok_or_else(unknown)?;
        let control = control_socket(name)?;
        let hardware = request(&control, &c_name, libc::SIOCGIFHWADDR)
            .map_err(|error| NetdevError::system(name, "asking for the hardware type", error))?;
        let flags = request(&control, &c_name, libc::SIOCGIFFLAGS)
            .map_err(|error| NetdevError::system(name, "asking for the flags", error))?;
        // SAFETY: the kernel filled the union's field that belongs to the request.
        let (hardware, flags) = unsafe {
            (
                hardware.ifr_ifru.ifru_hwaddr.sa_family,
                i32::from(flags.ifr_ifru.ifru_flags),
            )
        };
        if flags & libc::IFF_UP == 0 {
            return Err(NetdevError::Down {
                name: name.to_owned(),
            });
        }
        Ok(LinkInfo {
            index,
            ethernet: matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK),
            loopback: flags & libc::IFF_LOOPBACK != 0,
            addresses: addresses(&c_name),
        })
    }
}

/// A socket to ask with; any kind does.
fn control_socket(name: &str) -> Result<OwnedFd, NetdevError> {
    // SAFETY: plain numbers; the descriptor is owned by nobody else.
    unsafe {
        match libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            -1 => Err(NetdevError::system(
                name,
                "opening a socket to ask with",
                io::Error::last_os_error(),
            )),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// One `SIOCGIF…` request. `name` is shorter than IFNAMSIZ.
fn request(control: &OwnedFd, name: &CStr, what: libc::c_ulong) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data for which zero is a value; the kernel writes
    // at most one ifreq to the pointer.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
            *to = *from as libc::c_char;
        }
        match libc::ioctl(control.as_raw_fd(), what as _, &raw mut request) {
            0 => Ok(request),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The names of all links, for the one who mistyped one.
fn link_names() -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: the list ends with an entry whose index is 0 and whose name is
    // null, and is freed once, after its last use.
    unsafe {
        let list = libc::if_nameindex();
        if list.is_null() {
            return vec!["(the list of links could not be had)".to_owned()];
        }
        let mut entry = list;
        while (*entry).if_index != 0 && !(*entry).if_name.is_null() {
            names.push(
                CStr::from_ptr((*entry).if_name)
                    .to_string_lossy()
                    .into_owned(),
            );
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    names
}

/// The link's IP addresses; none where the kernel does not tell.
fn addresses(name: &CStr) -> Vec<IpAddr> {
    let mut found = Vec::new();
    // SAFETY: getifaddrs gives a linked list with null at its end, its names
    // NUL-terminated, its addresses of the size that their family says; it is
    // freed once, after its last use.
    unsafe {
        let mut list = std::ptr::null_mut();
        if libc::getifaddrs(&raw mut list) != 0 {
            return found;
        }
        let mut entry = list;
        while let Some(current) = entry.as_ref() {
            if !current.ifa_addr.is_null() && CStr::from_ptr(current.ifa_name) == name {
                found.extend(ip_address(current.ifa_addr));
            }
            entry = current.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    found
}

/// # Safety
/// `address` points to a socket address as large as its family says.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as the caller promises; reads do not rely on alignment.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(
                    address.sin_addr.s_addr,
                ))))
            }
            libc::AF_INET6 => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
            }
            _ => None,
        }
    }
}
