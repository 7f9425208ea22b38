//! Links: `ip -d link`.
use std::io;

use netlink_packet_core::Emitable;
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkMessage,
};
use rustc_hash::FxHashMap;

use super::attributes::{address_of, attributes, behind, mac_of, port_of, text_of, u8_of, u32_of};
use super::socket::{Conversation, Table};
use crate::context::net::{Link, LinkKind, Vxlan};

// linux/if_link.h.
const IFLA_INFO_DATA: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_GROUP: u16 = 2;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_GROUP6: u16 = 16;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFLA_VXLAN_COLLECT_METADATA: u16 = 25;
/// linux/if_tun.h.
const IFF_TAP: u8 = 2;

/// Names by index: other messages know links by number only.
#[derive(Default)]
pub struct Names(FxHashMap<u32, String>);

impl Names {
    pub fn of(links: &[Link]) -> Names {
        let named = links.iter().map(|link| (link.index, link.name.clone()));
        Names(named.collect())
    }

    /// A link that came after the links were read is called by its number, `if7`.
    pub fn name(&self, index: u32) -> String {
        match self.0.get(&index) {
            Some(name) => name.clone(),
            None => format!("if{index}"),
        }
    }
}

/// A link whose neighbours are still numbers.
struct Numbered {
    link: Link,
    master: Option<u32>,
    parent: Option<u32>,
}

pub fn read(conversation: &mut Conversation) -> io::Result<Table<Link>> {
    let mut request = LinkMessage::default();
    // Counters are most of a link's message, and nobody asks for them.
    request
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let table = conversation.table(libc::RTM_GETLINK, &request, parse)?;
    let names: FxHashMap<u32, String> = table
        .entries
        .iter()
        .map(|one| (one.link.index, one.link.name.clone()))
        .collect();
    let named = |index: Option<u32>| names.get(&index?).cloned();
    let links = table.entries.into_iter().map(|one| Link {
        master: named(one.master),
        parent: named(one.parent),
        ..one.link
    });
    Ok(Table {
        entries: links.collect(),
        torn: table.torn,
    })
}

fn parse(message: &[u8]) -> Option<Numbered> {
    let header = LinkHeader::parse(message).ok()?;
    let mut link = Link {
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        running: header.flags.contains(LinkFlags::LowerUp),
        loopback: header.flags.contains(LinkFlags::Loopback),
        ..Link::default()
    };
    let mut master = None;
    let mut stands_on = None;
    let mut elsewhere = None;
    let mut info: &[u8] = &[];
    for (kind, value) in behind(header.buffer_len(), message) {
        match kind {
            libc::IFLA_IFNAME => link.name = text_of(value),
            libc::IFLA_MTU => link.mtu = u32_of(value).unwrap_or_default(),
            libc::IFLA_ADDRESS if !link.loopback => link.mac = mac_of(value),
            libc::IFLA_MASTER => master = u32_of(value),
            libc::IFLA_LINK => stands_on = u32_of(value),
            libc::IFLA_LINK_NETNSID => elsewhere = u32_of(value).map(|id| id as i32),
            libc::IFLA_LINKINFO => info = value,
            _ => {}
        }
    }
    let underlay;
    (link.kind, underlay) = kind_of(info);
    let veth = link.kind == LinkKind::Veth;
    link.peer_netns = elsewhere.filter(|_| veth);
    // A number of another namespace names no link here; a veth's other end carries nothing.
    let below = stands_on.filter(|&index| elsewhere.is_none() && !veth && index != link.index);
    Some(Numbered {
        link,
        master,
        parent: underlay.or(below),
    })
}

/// The kind, and of a VXLAN the number of the link that it stands on.
fn kind_of(info: &[u8]) -> (LinkKind, Option<u32>) {
    let mut word = String::new();
    let mut data: &[u8] = &[];
    for (kind, value) in attributes(info) {
        match kind {
            libc::IFLA_INFO_KIND => word = text_of(value),
            IFLA_INFO_DATA => data = value,
            _ => {}
        }
    }
    match word.as_str() {
        "" => (LinkKind::Physical, None),
        "bridge" => (LinkKind::Bridge, None),
        "veth" => (LinkKind::Veth, None),
        "tun" => {
            let mut parts = attributes(data);
            let tap =
                parts.any(|(kind, value)| kind == IFLA_TUN_TYPE && u8_of(value) == Some(IFF_TAP));
            (LinkKind::Tun { tap }, None)
        }
        "vxlan" => {
            let (vxlan, underlay) = vxlan(data);
            (LinkKind::Vxlan(vxlan), underlay)
        }
        _ => (LinkKind::Other(word), None),
    }
}

fn vxlan(data: &[u8]) -> (Vxlan, Option<u32>) {
    let mut vxlan = Vxlan::default();
    let mut underlay = None;
    for (kind, value) in attributes(data) {
        match kind {
            IFLA_VXLAN_ID => vxlan.vni = u32_of(value).unwrap_or_default(),
            IFLA_VXLAN_PORT => vxlan.port = port_of(value).unwrap_or_default(),
            IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => vxlan.local = address_of(value),
            IFLA_VXLAN_GROUP | IFLA_VXLAN_GROUP6 => vxlan.remote = address_of(value),
            IFLA_VXLAN_LEARNING => vxlan.learning = u8_of(value) == Some(1),
            IFLA_VXLAN_COLLECT_METADATA => vxlan.external = u8_of(value) == Some(1),
            IFLA_VXLAN_LINK => underlay = u32_of(value).filter(|&index| index != 0),
            _ => {}
        }
    }
    (vxlan, underlay)
}
