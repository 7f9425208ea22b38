//! Neighbours (`ip neigh`), and the forwarding databases of bridges and VXLANs (`bridge fdb`).
use std::io;

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{NeighbourHeader, NeighbourMessage};

use super::attributes::{address_of, behind, mac_of, port_of, u32_of};
use super::links::Names;
use super::socket::{Conversation, Table};
use crate::context::net::{FdbEntry, Link, LinkKind, Neighbour};

/// States (linux/neighbour.h) as `ip neigh` prints them.
const STATES: [(u16, &str); 7] = [
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (libc::NUD_PERMANENT, "PERMANENT"),
];

/// Of both families. Entries that need no resolution (NOARP: multicast, loopback) and those
/// without a state yet are left out, as `ip neigh` does.
pub fn read(conversation: &mut Conversation, names: &Names) -> io::Result<Table<Neighbour>> {
    let request = NeighbourMessage::default();
    conversation.table(libc::RTM_GETNEIGH, &request, |message| {
        parse(message, names)
    })
}

fn parse(message: &[u8], names: &Names) -> Option<Neighbour> {
    let header = NeighbourHeader::parse(message).ok()?;
    let bits = u16::from(header.state);
    let (_, state) = STATES.iter().find(|(bit, _)| bits & bit != 0)?;
    let mut address = None;
    let mut mac = None;
    for (kind, value) in behind(header.buffer_len(), message) {
        match kind {
            libc::NDA_DST => address = address_of(value),
            libc::NDA_LLADDR => mac = mac_of(value),
            _ => {}
        }
    }
    Some(Neighbour {
        link: names.name(header.ifindex),
        address: address?,
        mac,
        state: (*state).to_owned(),
    })
}

/// The entries of bridges and VXLANs; those of network cards (the multicast addresses that
/// they listen to) are left out.
pub fn read_fdb(
    conversation: &mut Conversation,
    names: &Names,
    links: &[Link],
) -> io::Result<Table<FdbEntry>> {
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Bridge;
    let forwards = |link: &&Link| matches!(link.kind, LinkKind::Bridge | LinkKind::Vxlan(_));
    let forwarding = links.iter().filter(forwards).map(|link| link.index);
    let forwarding: rustc_hash::FxHashSet<u32> = forwarding.collect();
    let table = conversation.table(libc::RTM_GETNEIGH, &request, |message| {
        let (index, of_bridge, entry) = parse_fdb(message, names)?;
        (of_bridge || forwarding.contains(&index)).then_some(entry)
    });
    match table {
        // A kernel that bridges nothing.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Table {
            entries: Vec::new(),
            torn: false,
        }),
        table => table,
    }
}

/// The entry with its link's number, and whether it is the one of the bridge that this link
/// is a port of.
fn parse_fdb(message: &[u8], names: &Names) -> Option<(u32, bool, FdbEntry)> {
    let header = NeighbourHeader::parse(message).ok()?;
    if header.family != AddressFamily::Bridge {
        return None;
    }
    let mut of_bridge = false;
    let mut mac = None;
    let mut entry = FdbEntry {
        link: names.name(header.ifindex),
        mac: String::new(),
        dst: None,
        permanent: u16::from(header.state) & libc::NUD_PERMANENT != 0,
        vni: None,
        port: None,
    };
    for (kind, value) in behind(header.buffer_len(), message) {
        match kind {
            libc::NDA_LLADDR => mac = mac_of(value),
            libc::NDA_DST => entry.dst = address_of(value),
            libc::NDA_VNI => entry.vni = u32_of(value),
            libc::NDA_PORT => entry.port = port_of(value),
            libc::NDA_MASTER => of_bridge = true,
            _ => {}
        }
    }
    entry.mac = mac?;
    Some((header.ifindex, of_bridge, entry))
}
