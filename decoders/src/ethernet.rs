//! Ethernet II (IEEE 802.3), and EtherTypes.

use crate::arista;
use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::llc;
use crate::macsec;
use crate::mpls;
use crate::named::{self, Kind};
use crate::nsh;
use crate::pppoe;
use crate::stop::Reason;
use etherparse::Ethernet2HeaderSlice;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_RARP: u16 = 0x8035;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
const ETHERTYPE_MACSEC: u16 = 0x88e5;
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// With labels given downstream or by the sender (RFC 3032), and upstream (RFC 5332).
const ETHERTYPE_MPLS: [u16; 2] = [0x8847, 0x8848];
/// Bytes of a header.
pub(crate) const LEN: usize = 14;
/// The least number that is a type and not an 802.3 length.
const FIRST_ETHERTYPE: u16 = 0x0600;

/// An Ethernet header.
#[derive(Debug, Clone)]
pub struct Ethernet<'a> {
    header: Ethernet2HeaderSlice<'a>,
    pub span: Span,
}

impl Ethernet<'_> {
    pub fn destination(&self) -> [u8; 6] {
        self.header.destination()
    }

    pub fn source(&self) -> [u8; 6] {
        self.header.source()
    }

    pub fn ethertype(&self) -> u16 {
        self.header.ether_type().0
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        self.header.slice().len()
    }
}

#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Ok(header) = Ethernet2HeaderSlice::from_slice(cursor.rest()) else {
        return cursor.too_short("eth", 14);
    };
    let next = Next::EtherType(header.ether_type().0);
    cursor.push(
        Layer::Ethernet(Ethernet {
            header,
            span: cursor.span(),
        }),
        14,
        next,
    )
}

/// Whether the captured bytes can be a frame where nothing says that they are:
/// an EtherType that is decoded stands in its place.
pub(crate) fn fits(bytes: &[u8]) -> bool {
    let Some(&[high, low]) = bytes.get(12..).and_then(|rest| rest.first_chunk::<2>()) else {
        return false;
    };
    let ethertype = u16::from_be_bytes([high, low]);
    matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6 | ETHERTYPE_ARP)
        || ETHERTYPE_VLAN.contains(&ethertype)
        || ETHERTYPE_MPLS.contains(&ethertype)
}

#[inline]
pub(crate) fn next(cursor: &mut Cursor<'_, '_>, ethertype: u16) -> Next {
    match ethertype {
        ETHERTYPE_IPV4 => Next::Ipv4,
        ETHERTYPE_IPV6 => Next::Ipv6,
        ETHERTYPE_ARP => Next::Arp,
        vlan if ETHERTYPE_VLAN.contains(&vlan) => Next::Vlan,
        mpls if ETHERTYPE_MPLS.contains(&mpls) => mpls::decode(cursor),
        other => rare(cursor, other),
    }
}

/// Numbers that are no EtherType, and protocols that are told by name.
#[cold]
fn rare(cursor: &mut Cursor<'_, '_>, number: u16) -> Next {
    /// LLC in a cooked frame, which has no length.
    const LLC_COOKED: u16 = 0x0004;
    if number < FIRST_ETHERTYPE {
        return match cursor.last() {
            Some(Layer::Ethernet(_) | Layer::Vlan(_)) => llc::decode_framed(cursor, number),
            Some(Layer::LinuxSll(_) | Layer::LinuxSll2(_)) if number == LLC_COOKED => {
                llc::decode(cursor)
            }
            _ => cursor.stop("eth", Reason::EtherType(number)),
        };
    }
    match number {
        ETHERTYPE_RARP => return Next::Arp,
        ETHERTYPE_PPPOE_SESSION => return pppoe::decode(cursor),
        ETHERTYPE_MACSEC => return macsec::decode(cursor),
        nsh::ETHERTYPE => return nsh::decode(cursor),
        arista::ETHERTYPE => return arista::decode(cursor),
        _ => {}
    }
    let Some(kind) = Kind::of_ethertype(number) else {
        return cursor.stop("eth", Reason::EtherType(number));
    };
    named::decode(cursor, kind, 0)
}
