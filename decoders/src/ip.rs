//! What both versions of IP share: telling them apart, and protocol numbers.

use crate::cursor::{Cursor, Next};
use crate::named::{self, Kind};
use crate::stop::Reason;
use crate::{ah, esp, gre, icmp, icmpv6, igmp, ip_in_ip, ipv6, mpls, pim, sctp, udp_lite};

/// IANA protocol numbers.
pub const ICMP: u8 = 1;
pub const IGMP: u8 = 2;
pub const IPV4: u8 = 4;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const IPV6: u8 = 41;
pub const GRE: u8 = 47;
pub const ESP: u8 = 50;
pub const AH: u8 = 51;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;
pub const UDP_LITE: u8 = 136;
/// IPv6: nothing follows.
pub const NO_NEXT_HEADER: u8 = 59;
/// RFC 4023.
pub const MPLS: u8 = 137;
/// RFC 3378.
pub const ETHERIP: u8 = 97;
pub const PIM: u8 = 103;
/// An Ethernet frame (RFC 8986).
pub const ETHERNET: u8 = 143;

/// Short name of an IP protocol as IANA has it, where it has a common one.
///
/// ```
/// assert_eq!(decoders::ip::protocol_name(132), Some("SCTP"));
/// ```
pub fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "IPv6 hop-by-hop option",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPIP",
        6 => "TCP",
        8 => "EGP",
        9 => "IGP",
        17 => "UDP",
        33 => "DCCP",
        41 => "IPv6",
        43 => "Routing header for IPv6",
        44 => "Fragment header for IPv6",
        46 => "RSVP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        59 => "No next header for IPv6",
        60 => "Destination options for IPv6",
        88 => "EIGRP",
        89 => "OSPF",
        94 => "IPIP",
        97 => "EtherIP",
        103 => "PIM",
        108 => "IPComp",
        112 => "VRRP",
        115 => "L2TP",
        132 => "SCTP",
        136 => "UDPlite",
        137 => "MPLS in IP",
        143 => "Ethernet",
        _ => return None,
    })
}

/// IPv4 or IPv6 by the first nibble.
#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    match cursor.rest().first().map(|byte| byte >> 4) {
        Some(4) => Next::Ipv4,
        Some(6) => Next::Ipv6,
        Some(found) => cursor.stop("ip", Reason::Version { found }),
        None => cursor.too_short("ip", 20),
    }
}

/// The same within `layer`, which may carry something else: `None`. Apart from the
/// above, which is on every packet's way.
pub(crate) fn within(cursor: &mut Cursor<'_, '_>, layer: &'static str) -> Option<Next> {
    match cursor.rest().first().map(|byte| byte >> 4) {
        Some(4) => Some(Next::Ipv4),
        Some(6) => Some(Next::Ipv6),
        Some(_) => None,
        None => Some(cursor.too_short(layer, 1)),
    }
}

/// What an IP protocol number in a packet of that IP version leads to.
#[inline]
pub(crate) fn next(cursor: &mut Cursor<'_, '_>, number: u8, version: u8) -> Next {
    match number {
        TCP => Next::Tcp,
        UDP => Next::Udp,
        ICMP if version == 4 => icmp::decode(cursor),
        ICMPV6 if version == 6 => icmpv6::decode(cursor),
        IPV4 => ip_in_ip::decode(cursor, version, 4),
        IPV6 => ip_in_ip::decode(cursor, version, 6),
        GRE => gre::decode(cursor),
        IGMP if version == 4 => igmp::decode(cursor),
        SCTP => sctp::decode(cursor),
        UDP_LITE => udp_lite::decode(cursor),
        ESP => esp::decode(cursor),
        AH => ah::decode(cursor, version),
        0 | 43 | 44 | 60 | 62 | 135 | 139 | 140 if version == 6 => {
            ipv6::decode_extension(cursor, number)
        }
        NO_NEXT_HEADER if version == 6 => Next::Done,
        MPLS => mpls::decode(cursor),
        PIM => pim::decode(cursor),
        ETHERNET => ethernet(cursor, Kind::EthernetInIp, 0),
        ETHERIP => ethernet(cursor, Kind::EtherIp, 2),
        other => {
            let layer = if version == 4 { "ipv4" } else { "ipv6" };
            cursor.stop(layer, Reason::IpProtocol(other))
        }
    }
}

/// A frame in IP, behind a header of `len` bytes.
#[cold]
fn ethernet(cursor: &mut Cursor<'_, '_>, kind: Kind, len: usize) -> Next {
    if cursor.rest().len() < len {
        return cursor.too_short(kind.name(), len);
    }
    if !cursor.descend() {
        return cursor.stop(kind.name(), Reason::TooDeep);
    }
    named::go_on(cursor, kind, len, Next::Ethernet)
}
