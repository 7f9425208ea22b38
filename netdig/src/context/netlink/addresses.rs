//! Addresses: `ip addr`.
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::Emitable;
use netlink_packet_route::address::{AddressHeader, AddressMessage};

use super::attributes::{address_of, behind, u32_of};
use super::links::Names;
use super::routes::scope_name;
use super::socket::{Conversation, Table};
use crate::context::net::Address;

pub fn read(conversation: &mut Conversation, names: &Names) -> io::Result<Table<Address>> {
    let request = AddressMessage::default();
    conversation.table(libc::RTM_GETADDR, &request, |message| parse(message, names))
}

fn parse(message: &[u8], names: &Names) -> Option<Address> {
    let header = AddressHeader::parse(message).ok()?;
    let mut address = None;
    let mut local = None;
    let mut flags = u32::from(header.flags.bits());
    for (kind, value) in behind(header.buffer_len(), message) {
        match kind {
            libc::IFA_ADDRESS => address = address_of(value),
            libc::IFA_LOCAL => local = address_of(value),
            libc::IFA_FLAGS => flags = u32_of(value).unwrap_or(flags),
            _ => {}
        }
    }
    let (net, peer) = nets(local, address, header.prefix_len)?;
    Some(Address {
        link: names.name(header.index),
        net,
        peer,
        scope: scope_name(header.scope.into()),
        // The same bit says "temporary" of an IPv6 address.
        secondary: net.addr().is_ipv4() && flags & libc::IFA_F_SECONDARY != 0,
    })
}

/// The address and the other end. With another end the prefix is that one's, and the address
/// stands alone.
fn nets(
    local: Option<IpAddr>,
    address: Option<IpAddr>,
    prefix_len: u8,
) -> Option<(IpNet, Option<IpNet>)> {
    let with_prefix = |one| IpNet::new(one, prefix_len).ok();
    match (local, address) {
        (Some(local), Some(peer)) if local != peer => Some((IpNet::from(local), with_prefix(peer))),
        (Some(local), _) => Some((with_prefix(local)?, None)),
        (None, Some(address)) => Some((with_prefix(address)?, None)),
        (None, None) => None,
    }
}
