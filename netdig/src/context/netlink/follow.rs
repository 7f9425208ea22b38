//! Follows a network namespace's changes: the kernel tells them on multicast groups.
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::NeighbourHeader;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::socket::messages;
use super::{PARTS, look_up, read_parts};
use crate::context::net::{Link, Role};
use crate::context::{Context, Part};

/// Groups of linux/rtnetlink.h.
const GROUPS: [libc::c_uint; 9] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_NEXTHOP,
];
/// Messages of `ip nexthop` (linux/rtnetlink.h).
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
/// A change is told in one short message.
const BUFFER: usize = 32 * 1024;
/// What waits for the next look: thousands of messages.
const WAITING: usize = 4 << 20;

/// Listens to the changes of the namespace that it was opened in.
pub struct Follower {
    socket: Socket,
    buffer: Vec<u8>,
}

/// The parts that changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(BTreeSet<Part>);

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }

    pub fn add(&mut self, other: Changes) {
        self.0.extend(other.0);
    }

    /// Everything, as far as anybody knows.
    pub fn all() -> Changes {
        Changes(PARTS.into())
    }
}

impl Follower {
    /// # Errors
    /// What the system said to socket(2), bind(2) or setsockopt(2).
    pub fn open() -> io::Result<Follower> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // The system may give less: what does not fit is told as a loss.
        let _ = socket.set_rx_buf_sz(WAITING);
        for (at, &group) in GROUPS.iter().enumerate() {
            match socket.add_membership(group) {
                Ok(()) => {}
                // Objects of `ip nexthop` came with kernel 5.3.
                Err(_) if at == GROUPS.len() - 1 => {}
                Err(error) => return Err(error),
            }
        }
        socket.set_non_blocking(true)?;
        Ok(Follower {
            socket,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Readable when something has changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes all that was told since, without waiting. Where some of it was lost, everything
    /// has changed.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(0) => return changes,
                Ok(length) if length > self.buffer.len() => changes = Changes::all(),
                Ok(_) => changes.take(&self.buffer),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return changes,
                    Some(libc::EINTR) => {}
                    // What is behind the gap can be read still.
                    Some(libc::ENOBUFS) => changes = Changes::all(),
                    _ => return Changes::all(),
                },
            }
        }
    }
}

impl Changes {
    fn take(&mut self, datagram: &[u8]) {
        for (header, payload) in messages(datagram) {
            self.0.extend(part(header.message_type, payload));
        }
    }
}

fn part(message: u16, payload: &[u8]) -> Option<Part> {
    Some(match message {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => Part::Links,
        libc::RTM_NEWADDR | libc::RTM_DELADDR => Part::Addresses,
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE | RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Part::Routes,
        libc::RTM_NEWRULE | libc::RTM_DELRULE => Part::PolicyRules,
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
            match NeighbourHeader::parse(payload).ok()?.family {
                AddressFamily::Bridge => Part::Fdb,
                _ => Part::Neighbours,
            }
        }
        _ => return None,
    })
}

/// Reads the changed parts again, and what follows from them; the kernel is asked again for
/// the destinations that were looked up. On a thread in the namespace, as
/// [`read`](super::read).
pub fn refresh(context: &mut Context, changes: &Changes) {
    let mut parts = changes.0.clone();
    // The IPv4 routes that go with a link or an address go without a word (fib_sync_down_dev
    // and fib_sync_down_addr in net/ipv4/fib_semantics.c).
    if changes.has(Part::Links) || changes.has(Part::Addresses) {
        parts.insert(Part::Routes);
    }
    let before = names(&context.net.links);
    read_parts(context, &Vec::from_iter(parts.iter().copied()));
    if changes.has(Part::Links) && names(&context.net.links) != before {
        // Every other part names links.
        let rest = PARTS.into_iter().filter(|&part| part != Part::Links);
        parts.extend(rest);
        let rest = parts.iter().copied().filter(|&part| part != Part::Links);
        read_parts(context, &Vec::from_iter(rest));
    }
    let decide = [Part::Routes, Part::PolicyRules];
    if decide.iter().any(|part| parts.contains(part)) {
        ask_again(context);
    }
}

fn names(links: &[Link]) -> Vec<(u32, String)> {
    let names = links.iter().map(|link| (link.index, link.name.clone()));
    names.collect()
}

fn ask_again(context: &mut Context) {
    context.unread.retain(|unread| unread.part != Part::Lookups);
    let known = context.net.lookups.iter();
    let wanted: Vec<(IpAddr, Role)> = known
        .flat_map(|one| one.roles.iter().map(|&role| (one.destination, role)))
        .collect();
    look_up(context, &wanted);
}
