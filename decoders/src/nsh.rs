//! NSH, the header of service function chains: RFC 8300.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::mpls;
use crate::stop::Reason;

pub(crate) const ETHERTYPE: u16 = 0x894f;
/// Base header and service path; what is longer are contexts.
const MIN_LEN: usize = 8;
const WORD: usize = 4;

/// An NSH header with its contexts.
#[derive(Debug, Clone, Copy)]
pub struct Nsh<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Nsh<'_> {
    /// Service path identifier, 24 bits.
    pub fn path(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    /// Place on the path: counts down.
    pub fn index(&self) -> u8 {
        self.header[7]
    }

    /// 1 IPv4, 2 IPv6, 3 Ethernet, 4 NSH, 5 MPLS.
    pub fn next_protocol(&self) -> u8 {
        self.header[3]
    }

    /// Kind of the contexts: 1 four words, 2 of any length.
    pub fn context_kind(&self) -> u8 {
        self.header[2] & 0xf
    }

    /// Bytes, contexts included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[_, words]) = rest.first_chunk::<2>() else {
        return cursor.too_short("nsh", MIN_LEN);
    };
    let len = usize::from(words & 0x3f) * WORD;
    if len < MIN_LEN {
        return cursor.too_small(LengthSource::NshLength, len, MIN_LEN);
    }
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("nsh", len);
    };
    if !cursor.descend() {
        return cursor.stop("nsh", Reason::TooDeep);
    }
    let view = Nsh {
        header,
        span: cursor.span(),
    };
    let protocol = view.next_protocol();
    if let Next::Done = cursor.push(Layer::Nsh(view), len, Next::Ip) {
        return Next::Done;
    }
    match protocol {
        1 => Next::Ipv4,
        2 => Next::Ipv6,
        3 => Next::Ethernet,
        4 => Next::EtherType(ETHERTYPE),
        5 => mpls::decode(cursor),
        _ => cursor.stop("nsh", Reason::Form("this next protocol")),
    }
}
