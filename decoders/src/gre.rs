//! GRE: RFC 2784 and RFC 2890; NVGRE: RFC 7637; version 1, PPTP's: RFC 2637.

use crate::cursor::{Cursor, Next};
use crate::erspan;
use crate::frame_relay;
use crate::layer::{Layer, Span};
use crate::named::{self, Kind};
use crate::osi;
use crate::ppp;
use crate::stop::Reason;
use crate::wlan;

/// Transparent Ethernet bridging: an Ethernet frame follows.
pub(crate) const ETHERTYPE_ETHERNET: u16 = 0x6558;

/// PPP.
const ETHERTYPE_PPP: u16 = 0x880b;
/// Ethernet over IP, MikroTik's.
const ETHERTYPE_EOIP: u16 = 0x6400;
/// IP behind a redirect header, or not.
const ETHERTYPE_WCCP: u16 = 0x883e;
const ETHERTYPE_FRAME_RELAY: u16 = 0x6559;
/// ISO's network layer, by its number in LLC.
const SAP_OSI: u16 = 0x00fe;
const CDP: u16 = 0x2000;
/// Frames of IEEE 802.11 between Aruba's stations and controllers.
const ARUBA: core::ops::RangeInclusive<u16> = 0x8200..=0x8370;

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const VERSION: u16 = 0x0007;
/// PPTP's acknowledgement number.
const ACKNOWLEDGEMENT: u16 = 0x0080;

/// A GRE header with its optional words.
#[derive(Debug, Clone, Copy)]
pub struct Gre<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Gre<'_> {
    fn flags(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// EtherType of what follows.
    pub fn protocol(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// 0, or 1 of PPTP.
    pub fn version(&self) -> u8 {
        (self.flags() & VERSION) as u8
    }

    /// Whether the key is that of a call, as in PPTP.
    fn is_pptp(&self) -> bool {
        self.version() == 1 && self.protocol() == ETHERTYPE_PPP
    }

    /// The whole word; of PPTP the payload's length and the call's number.
    pub fn key(&self) -> Option<u32> {
        let at = if self.flags() & (CHECKSUM | ROUTING) != 0 {
            8
        } else {
            4
        };
        let used = self.flags() & KEY != 0;
        used.then(|| self.word(at))
    }

    pub fn sequence(&self) -> Option<u32> {
        let checksum = usize::from(self.flags() & (CHECKSUM | ROUTING) != 0);
        let key = usize::from(self.flags() & KEY != 0);
        let used = self.flags() & SEQUENCE != 0;
        used.then(|| self.word(4 + 4 * (checksum + key)))
    }

    /// NVGRE's 24-bit identifier where an Ethernet frame follows, otherwise the
    /// key. PPTP has none.
    pub fn vni(&self) -> Option<u32> {
        let key = self.key().filter(|_| !self.is_pptp())?;
        Some(if self.protocol() == ETHERTYPE_ETHERNET {
            key >> 8
        } else {
            key
        })
    }

    /// NVGRE's flow within the network, where an Ethernet frame follows.
    pub fn flow_id(&self) -> Option<u8> {
        let key = self.key().filter(|_| !self.is_pptp())?;
        (self.protocol() == ETHERTYPE_ETHERNET).then_some(key as u8)
    }

    /// PPTP's number of the call.
    pub fn call_id(&self) -> Option<u16> {
        let key = self.key().filter(|_| self.is_pptp())?;
        Some(key as u16)
    }

    /// Bytes, optional words included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self
            .header
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[high, low, a, b]) = rest.first_chunk::<4>() else {
        return cursor.too_short("gre", 4);
    };
    let flags = u16::from_be_bytes([high, low]);
    let optional: &[u16] = match flags & VERSION {
        // Source routes have a word of checksum and place before them.
        0 => &[CHECKSUM | ROUTING, KEY, SEQUENCE],
        1 => &[KEY, SEQUENCE, ACKNOWLEDGEMENT],
        other => return cursor.stop("gre", Reason::Version { found: other as u8 }),
    };
    let words = optional.iter().filter(|flag| flags & **flag != 0).count();
    let mut len = 4 + 4 * words;
    if flags & (VERSION | ROUTING) == ROUTING {
        let Some(routes) = source_routes(rest.get(len..).unwrap_or(&[])) else {
            return cursor.too_short("gre", rest.len() + 1);
        };
        len += routes;
    }
    // The word that WCCP may put before the packet, which begins with 4.
    let ethertype = u16::from_be_bytes([a, b]);
    if ethertype == ETHERTYPE_WCCP && rest.get(len).is_some_and(|byte| byte >> 4 != 4) {
        len += 4;
    }
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("gre", len);
    };
    if !cursor.descend() {
        return cursor.stop("gre", Reason::TooDeep);
    }
    let view = Gre {
        header,
        span: cursor.span(),
    };
    let next = match ethertype {
        ETHERTYPE_ETHERNET => Next::Ethernet,
        erspan::ETHERTYPE if view.sequence().is_none() => Next::ErspanI,
        erspan::ETHERTYPE | erspan::ETHERTYPE_III => Next::Erspan,
        other => Next::EtherType(other),
    };
    match cursor.push(Layer::Gre(view), len, next) {
        Next::EtherType(number) => rare(cursor, number, flags),
        next => next,
    }
}

/// Length of the source routes: entries of family, place, length and as many
/// bytes, until one that says nothing.
fn source_routes(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let &[high, low, _, len] = bytes.get(at..)?.first_chunk::<4>()?;
        at += 4 + usize::from(len);
        if (high, low, len) == (0, 0, 0) {
            return Some(at);
        }
    }
}

/// Numbers that stand for something else than an EtherType does.
fn rare(cursor: &mut Cursor<'_, '_>, number: u16, flags: u16) -> Next {
    // A segment without data acknowledges, and nothing follows.
    if cursor.wire_len() == 0 && (flags & VERSION == 1 || flags & SEQUENCE == 0) {
        return Next::Done;
    }
    match number {
        ETHERTYPE_PPP => ppp::decode_framed(cursor),
        ETHERTYPE_EOIP => Next::Ethernet,
        ETHERTYPE_WCCP => Next::Ipv4,
        ETHERTYPE_FRAME_RELAY => frame_relay::decode(cursor),
        SAP_OSI => osi::decode(cursor),
        CDP => named::decode(cursor, Kind::Cdp, 0),
        aruba if ARUBA.contains(&aruba) && aruba & 0xf == 0 => wlan::decode(cursor, false),
        _ if flags & VERSION == 1 => cursor.stop("gre", Reason::EtherType(number)),
        other => Next::EtherType(other),
    }
}
