//! L2TP over UDP: RFC 2661 (version 2), RFC 3931 (version 3).

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::ppp;
use crate::stop::Reason;

pub(crate) const PORT: u16 = 1701;
const CONTROL: u16 = 0x8000;
const LENGTH: u16 = 0x4000;
const SEQUENCE: u16 = 0x0800;
const OFFSET: u16 = 0x0200;
const RESERVED: u16 = 0x34f0;
const VERSION: u16 = 0x000f;
const CONTROL_LEN: usize = 12;

/// An L2TP header.
#[derive(Debug, Clone, Copy)]
pub struct L2tp<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl L2tp<'_> {
    fn flags(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// 2 or 3.
    pub fn version(&self) -> u8 {
        (self.flags() & VERSION) as u8
    }

    /// A control message, not a session's data.
    pub fn is_control(&self) -> bool {
        self.flags() & CONTROL != 0
    }

    /// Number of the tunnel; of version 3, of the control connection, which
    /// data do not tell.
    pub fn tunnel(&self) -> Option<u32> {
        match (self.version(), self.is_control()) {
            (2, _) => Some(self.long(self.ids()) >> 16),
            (_, true) => Some(self.long(4)),
            _ => None,
        }
    }

    /// Number of the session; control messages of version 3 have none.
    pub fn session(&self) -> Option<u32> {
        match (self.version(), self.is_control()) {
            (2, _) => Some(self.long(self.ids()) & 0xffff),
            (_, true) => None,
            _ => Some(self.long(4)),
        }
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    /// Where tunnel and session stand in version 2.
    fn ids(&self) -> usize {
        if self.flags() & LENGTH != 0 { 4 } else { 2 }
    }

    fn long(&self, at: usize) -> u32 {
        let bytes = self
            .header
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

/// Whether the captured payload can be L2TP: reserved bits are 0, and control
/// messages have their length and sequence numbers. `length`: bytes on the wire.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    let Some(&[a, b, c, d]) = payload.first_chunk::<4>() else {
        return false;
    };
    let flags = u16::from_be_bytes([a, b]);
    let word = u16::from_be_bytes([c, d]);
    let control = flags & (LENGTH | SEQUENCE) == LENGTH | SEQUENCE
        && flags & OFFSET == 0
        && (CONTROL_LEN..=length).contains(&usize::from(word));
    match (flags & VERSION, flags & CONTROL != 0) {
        _ if flags & RESERVED != 0 => false,
        (2 | 3, true) => control,
        (2, false) => flags & LENGTH == 0 || usize::from(word) <= length,
        (3, false) => flags == 3 && word == 0,
        _ => false,
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[a, b]) = rest.first_chunk::<2>() else {
        return cursor.too_short("l2tp", 6);
    };
    let flags = u16::from_be_bytes([a, b]);
    let data_v2 = flags & (VERSION | CONTROL) == 2;
    let len = header_len(flags);
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("l2tp", len);
    };
    let offset = match header {
        [.., high, low] if data_v2 && flags & OFFSET != 0 => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    if let Some(declared) = declared(header, flags) {
        if declared < len {
            let span = cursor.span();
            cursor.too_small(LengthSource::L2tpLength, declared, len);
            return cursor.push(Layer::L2tp(L2tp { header, span }), len, Next::Done);
        }
        cursor.limit(LengthSource::L2tpLength, declared);
    }
    let span = cursor.span();
    let data = flags & CONTROL == 0;
    match cursor.push(Layer::L2tp(L2tp { header, span }), len, Next::Udp) {
        Next::Udp if data && flags & VERSION == 2 && cursor.wire_len() > 0 => {
            session(cursor, offset)
        }
        Next::Udp if data && cursor.wire_len() > 0 => {
            cursor.stop("l2tp", Reason::Form("what an L2TP session carries"))
        }
        _ => Next::Done,
    }
}

/// Bytes of a header with these flags.
fn header_len(flags: u16) -> usize {
    match (flags & VERSION, flags & CONTROL != 0) {
        (_, true) => CONTROL_LEN,
        (3, false) => 8,
        _ => {
            let present = |flag, len| if flags & flag != 0 { len } else { 0 };
            6 + present(LENGTH, 2) + present(SEQUENCE, 4) + present(OFFSET, 2)
        }
    }
}

/// The length of the message with its header, where the header says it: data of
/// version 3 do not.
fn declared(header: &[u8], flags: u16) -> Option<usize> {
    let is_v3_data = flags & (VERSION | CONTROL) == 3;
    match *header {
        [_, _, high, low, ..] if flags & LENGTH != 0 && !is_v3_data => {
            Some(usize::from(u16::from_be_bytes([high, low])))
        }
        _ => None,
    }
}

/// PPP, behind as many bytes as the header's offset says.
fn session(cursor: &mut Cursor<'_, '_>, offset: u16) -> Next {
    if !cursor.descend() {
        return cursor.stop("l2tp", Reason::TooDeep);
    }
    cursor.skip(usize::from(offset));
    match cursor.wire_len() {
        0 => Next::Done,
        _ => ppp::decode_framed(cursor),
    }
}
