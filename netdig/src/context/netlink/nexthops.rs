//! Objects of `ip nexthop`, for routes that name one and tell no hop themselves: with
//! net.ipv4.nexthop_compat_mode = 0.
use std::io;

use netlink_packet_core::Emitable;
use rustc_hash::FxHashMap;

use super::attributes::{address_of, behind, u32_of};
use super::links::Names;
use super::routes::Hop;
use super::socket::Conversation;
use crate::context::net::NextHop;

/// linux/rtnetlink.h.
const RTM_GETNEXTHOP: u16 = 106;
/// `struct nhmsg` (linux/nexthop.h): family, scope, protocol, a reserved byte, flags.
const HEADER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// `struct nexthop_grp`: id (u32), weight less one (u8 and its high byte), two reserved.
const MEMBER: usize = 8;

/// The hops of each object, by its number.
pub type Objects = FxHashMap<u32, Vec<NextHop>>;

/// The request's empty header: all objects.
struct All;

impl Emitable for All {
    fn buffer_len(&self) -> usize {
        HEADER
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

enum Object {
    Single(NextHop),
    /// Numbers and weights.
    Group(Vec<(u32, u32)>),
}

pub fn read(conversation: &mut Conversation, names: &Names) -> io::Result<Objects> {
    let table = conversation.table(RTM_GETNEXTHOP, &All, |message| parse(message, names))?;
    let mut objects = Objects::default();
    for (id, object) in &table.entries {
        if let Object::Single(hop) = object {
            objects.insert(*id, vec![hop.clone()]);
        }
    }
    // A group has single ones as members, never groups.
    for (id, object) in &table.entries {
        let Object::Group(members) = object else {
            continue;
        };
        let hops = members.iter().filter_map(|(member, weight)| {
            let hop = objects.get(member)?.first()?.clone();
            Some(NextHop {
                weight: *weight,
                ..hop
            })
        });
        let hops = hops.collect();
        objects.insert(*id, hops);
    }
    Ok(objects)
}

fn parse(message: &[u8], names: &Names) -> Option<(u32, Object)> {
    let flags = u32_of(message.get(4..)?)?;
    let (mut id, mut via, mut index, mut group) = (None, None, None, None);
    for (kind, value) in behind(HEADER, message) {
        match kind {
            NHA_ID => id = u32_of(value),
            NHA_GATEWAY => via = address_of(value),
            NHA_OIF => index = u32_of(value),
            NHA_GROUP => group = Some(members(value)),
            _ => {}
        }
    }
    let object = match group {
        Some(members) => Object::Group(members),
        None => Object::Single(Hop::new(flags, 1, index).via(via).named(names)),
    };
    Some((id?, object))
}

fn members(value: &[u8]) -> Vec<(u32, u32)> {
    let members = value.chunks_exact(MEMBER).map(|member| {
        let id = u32::from_ne_bytes([member[0], member[1], member[2], member[3]]);
        let weight = u32::from(u16::from_le_bytes([member[4], member[5]])) + 1;
        (id, weight)
    });
    members.collect()
}
