//! PPP: RFC 1661, its framing RFC 1662; of links and of what PPPoE (RFC 2516), PPTP
//! (RFC 2637) and L2TP (RFC 2661) carry. Numbers: IANA's PPP DLL protocol numbers.

use crate::cisco_hdlc;
use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::llc;
use crate::mpls;
use crate::named::{self, Kind};
use crate::osi;
use crate::stop::Reason;

const IPV4: u16 = 0x0021;
const OSI: u16 = 0x0023;
const IPV6: u16 = 0x0057;
const LLC: u16 = 0x00cf;
const MPLS: [u16; 2] = [0x0281, 0x0283];
/// The address field, which says "all stations".
const ALL_STATIONS: u8 = 0xff;
/// Protocols may be shortened to their last byte, which alone is odd.
const LAST_BYTE: u8 = 1;

/// A PPP frame's address, control and protocol, as far as they were sent.
#[derive(Debug, Clone, Copy)]
pub struct Ppp<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Ppp<'_> {
    /// Number of what follows.
    pub fn protocol(&self) -> u16 {
        match *self.header {
            [.., short] if !self.header.len().is_multiple_of(2) => u16::from(short),
            [.., high, low] => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }

    /// Name of what follows, where it is a common one: `IPv4`, `LCP`, ….
    ///
    /// ```
    /// assert_eq!(decoders::ppp::protocol_name(0xc021), Some("LCP"));
    /// ```
    pub fn protocol_name(&self) -> Option<&'static str> {
        protocol_name(self.protocol())
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

/// The name of a PPP protocol number.
pub fn protocol_name(number: u16) -> Option<&'static str> {
    Some(match number {
        IPV4 => "IPv4",
        IPV6 => "IPv6",
        OSI => "OSI",
        LLC => "LLC",
        0x0281 | 0x0283 => "MPLS",
        0x0029 => "AppleTalk",
        0x002b => "IPX",
        0x002d => "Van Jacobson compressed TCP",
        0x002f => "Van Jacobson uncompressed TCP",
        0x0031 => "bridging",
        0x003d => "multilink",
        0x00fd => "compressed datagram",
        0x8021 => "IPCP",
        0x8023 => "OSINLCP",
        0x8057 => "IPv6CP",
        0x80fd => "CCP",
        0x8207 => "CDPCP",
        0x8281 => "MPLSCP",
        0xc021 => "LCP",
        0xc023 => "PAP",
        0xc025 => "link quality report",
        0xc029 => "CBCP",
        0xc223 => "CHAP",
        0xc227 => "EAP",
        _ => return None,
    })
}

/// Protocols of which the name alone is told.
fn kind(number: u16) -> Option<Kind> {
    Some(match number {
        0x002b => Kind::Ipx,
        0x003d => Kind::Multilink,
        0x0207 => Kind::Cdp,
        0x00fd => Kind::CompressedData,
        0x8021 => Kind::Ipcp,
        0x8023 => Kind::Osinlcp,
        0x8057 => Kind::Ipv6cp,
        0x80fd => Kind::Ccp,
        0x8207 => Kind::Cdpcp,
        0x8281 => Kind::Mplscp,
        0xc021 => Kind::Lcp,
        0xc023 => Kind::Pap,
        0xc029 => Kind::Cbcp,
        0xc223 => Kind::Chap,
        0xc227 => Kind::Eap,
        _ => return None,
    })
}

/// In HDLC's framing, where Cisco's own may stand instead: its addresses differ.
pub(crate) fn decode_framed(cursor: &mut Cursor<'_, '_>) -> Next {
    match cursor.rest().first() {
        Some(&address) if cisco_hdlc::is_address(address) => cisco_hdlc::decode(cursor),
        Some(&ALL_STATIONS) => decode_after(cursor, 2),
        _ => decode(cursor),
    }
}

/// The protocol alone in front, as PPPoE has it.
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    decode_after(cursor, 0)
}

/// The protocol stands after `skipped` bytes of address and control.
pub(crate) fn decode_after(cursor: &mut Cursor<'_, '_>, skipped: usize) -> Next {
    let rest = cursor.rest();
    let (len, protocol) = match rest.get(skipped..) {
        Some([short, ..]) if short & LAST_BYTE != 0 => (1, u16::from(*short)),
        Some([high, low, ..]) => (2, u16::from_be_bytes([*high, *low])),
        _ => return cursor.too_short("ppp", skipped + 2),
    };
    let view = Ppp {
        header: &rest[..skipped + len],
        span: cursor.span(),
    };
    if let Next::Done = cursor.push(Layer::Ppp(view), skipped + len, Next::Ip) {
        return Next::Done;
    }
    match protocol {
        IPV4 | 0x0800 => Next::Ipv4,
        IPV6 | 0x86dd => Next::Ipv6,
        OSI => osi::decode(cursor),
        LLC => llc::decode(cursor),
        mpls if MPLS.contains(&mpls) => mpls::decode(cursor),
        other => match kind(other) {
            Some(kind) => named::decode(cursor, kind, 0),
            None => cursor.stop("ppp", Reason::PppProtocol(other)),
        },
    }
}
