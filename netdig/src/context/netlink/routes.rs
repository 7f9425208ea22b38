//! Routes of all tables: `ip route show table all`.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteHeader, RouteMessage};

use super::attributes::{address_of, attributes, behind, u32_of};
use super::links::Names;
use super::nexthops;
use super::socket::{Conversation, Table};
use crate::context::net::{NextHop, Route, RouteKind, TABLE_LOCAL};

/// Attribute of a route that names an object of `ip nexthop` (linux/rtnetlink.h).
const RTA_NH_ID: u16 = 30;
// Flags of a next hop, the same in a route's and in a hop's own.
const RTNH_F_DEAD: u32 = 1;
const RTNH_F_ONLINK: u32 = 4;
const RTNH_F_LINKDOWN: u32 = 16;
/// `struct rtnexthop`.
const HOP_HEADER: usize = 8;
const RTAX_MTU: u16 = 2;

/// A route, as one message tells it.
pub struct Told {
    pub route: Route,
    /// Whether it is no table's entry but an answer or a remembered exception.
    pub cloned: bool,
    object: Option<u32>,
}

/// Routes of one family.
pub fn read(
    conversation: &mut Conversation,
    family: AddressFamily,
    names: &Names,
) -> io::Result<Table<Route>> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    let mut table = conversation.table(libc::RTM_GETROUTE, &request, |message| {
        let told = parse(message, names)?;
        // A kernel without the family answers with another's.
        let wanted = told.route.to.addr().is_ipv6() == (family == AddressFamily::Inet6);
        (wanted && !told.cloned && !is_noise(&told.route)).then_some(told)
    })?;
    let bare = |told: &Told| told.object.is_some() && told.route.hops.is_empty();
    if table.entries.iter().any(bare) {
        let objects = nexthops::read(conversation, names)?;
        for told in table.entries.iter_mut().filter(|told| bare(told)) {
            let hops = told.object.and_then(|id| objects.get(&id));
            told.route.hops = hops.cloned().unwrap_or_default();
        }
    }
    Ok(Table {
        torn: table.torn,
        entries: table.entries.into_iter().map(|told| told.route).collect(),
    })
}

/// What the kernel adds by itself for every address.
fn is_noise(route: &Route) -> bool {
    route.table == TABLE_LOCAL && matches!(route.kind, RouteKind::Broadcast | RouteKind::Multicast)
}

/// None for a message that is no route of IPv4 or IPv6.
pub fn parse(message: &[u8], names: &Names) -> Option<Told> {
    let header = RouteHeader::parse(message).ok()?;
    let everything = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = Route {
        to: IpNet::new(everything, header.destination_prefix_length).ok()?,
        kind: kind(header.kind.into())?,
        table: u32::from(header.table),
        metric: 0,
        hops: Vec::new(),
        source: None,
        protocol: protocol_name(header.protocol.into()),
        scope: scope_name(header.scope.into()),
        mtu: None,
    };
    let flags = header.flags.bits();
    let mut single = Hop::new(flags, 1, None);
    let mut object = None;
    for (kind, value) in behind(header.buffer_len(), message) {
        match kind {
            libc::RTA_DST => {
                let address = address_of(value).unwrap_or(everything);
                route.to = IpNet::new(address, header.destination_prefix_length).ok()?;
            }
            libc::RTA_TABLE => route.table = u32_of(value).unwrap_or(route.table),
            libc::RTA_PRIORITY => route.metric = u32_of(value).unwrap_or_default(),
            libc::RTA_PREFSRC => route.source = address_of(value),
            libc::RTA_METRICS => route.mtu = mtu(value),
            libc::RTA_MULTIPATH => route.hops = hops(value, names),
            RTA_NH_ID => object = u32_of(value),
            _ => single.take(kind, value),
        }
    }
    if route.hops.is_empty() && single.leads_somewhere() {
        route.hops.push(single.named(names));
    }
    Some(Told {
        route,
        cloned: flags & libc::RTM_F_CLONED != 0,
        object,
    })
}

fn mtu(metrics: &[u8]) -> Option<u32> {
    let mut metrics = attributes(metrics);
    let (_, value) = metrics.find(|(kind, _)| *kind == RTAX_MTU)?;
    u32_of(value)
}

/// A next hop whose link is still a number.
pub struct Hop {
    via: Option<IpAddr>,
    index: Option<u32>,
    flags: u32,
    weight: u32,
}

impl Hop {
    pub fn new(flags: u32, weight: u32, index: Option<u32>) -> Hop {
        Hop {
            via: None,
            index,
            flags,
            weight,
        }
    }

    fn take(&mut self, kind: u16, value: &[u8]) {
        match kind {
            libc::RTA_GATEWAY => self.via = address_of(value),
            // The gateway of the other family: its family (u16) goes before it.
            libc::RTA_VIA => self.via = value.get(2..).and_then(address_of),
            libc::RTA_OIF => self.index = u32_of(value),
            _ => {}
        }
    }

    pub fn via(mut self, via: Option<IpAddr>) -> Hop {
        self.via = via;
        self
    }

    fn leads_somewhere(&self) -> bool {
        self.via.is_some() || self.index.is_some()
    }

    pub fn named(&self, names: &Names) -> NextHop {
        NextHop {
            via: self.via,
            dev: self.index.map(|index| names.name(index)),
            onlink: self.flags & RTNH_F_ONLINK != 0,
            weight: self.weight,
            down: self.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0,
        }
    }
}

/// RTA_MULTIPATH: hops with attributes of their own.
fn hops(mut bytes: &[u8], names: &Names) -> Vec<NextHop> {
    let mut hops = Vec::new();
    while let Some(header) = bytes.get(..HOP_HEADER) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        if length < HOP_HEADER {
            break;
        }
        // The weight is told less one.
        let index = u32_of(&header[4..]);
        let mut hop = Hop::new(u32::from(header[2]), u32::from(header[3]) + 1, index);
        let end = length.min(bytes.len());
        for (kind, value) in behind(HOP_HEADER, &bytes[..end]) {
            hop.take(kind, value);
        }
        hops.push(hop.named(names));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

fn kind(number: u8) -> Option<RouteKind> {
    Some(match number {
        libc::RTN_UNICAST => RouteKind::Unicast,
        libc::RTN_LOCAL => RouteKind::Local,
        libc::RTN_BROADCAST => RouteKind::Broadcast,
        libc::RTN_ANYCAST => RouteKind::Anycast,
        libc::RTN_MULTICAST => RouteKind::Multicast,
        libc::RTN_BLACKHOLE => RouteKind::Blackhole,
        libc::RTN_UNREACHABLE => RouteKind::Unreachable,
        libc::RTN_PROHIBIT => RouteKind::Prohibit,
        libc::RTN_THROW => RouteKind::Throw,
        libc::RTN_NAT => RouteKind::Nat,
        _ => return None,
    })
}

/// As /etc/iproute2/rt_scopes has them.
pub fn scope_name(scope: u8) -> String {
    match scope {
        0 => "global".to_owned(),
        200 => "site".to_owned(),
        253 => "link".to_owned(),
        254 => "host".to_owned(),
        255 => "nowhere".to_owned(),
        other => other.to_string(),
    }
}

/// As /etc/iproute2/rt_protos has them.
fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        18 => "keepalived",
        42 => "babel",
        84 => "ovn",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10.2.0.0/16`, metric 5, over two hops.
    fn message() -> Vec<u8> {
        let mut message = vec![2, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        message.extend([8, 0, 1, 0, 10, 2, 0, 0]);
        message.extend([8, 0, 6, 0, 5, 0, 0, 0]);
        message.extend([36, 0, 9, 0]);
        message.extend([16, 0, 0, 2, 7, 0, 0, 0, 8, 0, 5, 0, 10, 1, 1, 1]);
        message.extend([16, 0, 1, 0, 8, 0, 0, 0, 8, 0, 5, 0, 10, 1, 1, 2]);
        message
    }

    fn told(message: &[u8]) -> Option<String> {
        let told = parse(message, &Names::default())?;
        Some(told.route.to_string())
    }

    #[test]
    fn a_cut_message_keeps_what_came_whole() {
        let message = message();
        let whole = "10.2.0.0/16 nexthop via 10.1.1.1 dev if7 nexthop via 10.1.1.2 dev if8 \
                     metric 5 (table main)";
        assert_eq!(told(&message).as_deref(), Some(whole));
        let cut = told(&message[..message.len() - 1]);
        assert_eq!(cut.as_deref(), Some("10.2.0.0/16 metric 5 (table main)"));
        assert_eq!(told(&message[..11]), None);
    }

    #[test]
    fn any_byte_may_be_wrong() {
        let message = message();
        for at in 0..message.len() {
            for value in [0, 1, 3, 4, 5, 16, 33, 128, 255] {
                let mut damaged = message.clone();
                damaged[at] = value;
                // The family, the prefix length and the kind are all that a route cannot do without.
                let known = told(&damaged).is_some();
                assert!(known || [0, 1, 7].contains(&at), "byte {at} as {value}");
                told(&damaged[..at]);
            }
        }
    }
}
