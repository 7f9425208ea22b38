//! Generic UDP Encapsulation: draft-ietf-intarea-gue, as in Linux's
//! `include/net/gue.h`.

use crate::cursor::{Cursor, Next};
use crate::fou;
use crate::ip;
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const LEN: usize = 4;
const CONTROL: u8 = 0x20;
const HEADER_WORDS: u8 = 0x1f;

/// A GUE header; of version 1, where the payload is a bare IP packet, it has no
/// bytes.
#[derive(Debug, Clone, Copy)]
pub struct Gue<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Gue<'_> {
    /// 0, or 1 without a header.
    pub fn version(&self) -> u8 {
        u8::from(self.header.is_empty())
    }

    /// A message of the ends' own.
    pub fn is_control(&self) -> bool {
        self.header
            .first()
            .is_some_and(|first| first & CONTROL != 0)
    }

    /// IP protocol of what follows, or the control message's type.
    pub fn protocol(&self) -> Option<u8> {
        self.header.get(1).copied()
    }

    pub fn flags(&self) -> Option<u16> {
        let bytes = self.header.get(2..4)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes, optional fields included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

/// Whether a payload of `length` bytes, of which these were captured, can be
/// GUE: a header that is within it and, where IP follows, IP of that version;
/// or a bare IP packet.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    let &[first, protocol, ..] = payload else {
        return false;
    };
    let len = LEN + usize::from(first & HEADER_WORDS) * 4;
    match first >> 6 {
        0 if len > length => false,
        0 if first & CONTROL != 0 => true,
        0 => payload.get(len).is_none_or(|inner| match protocol {
            ip::IPV4 => inner >> 4 == 4,
            ip::IPV6 => inner >> 4 == 6,
            _ => ip::protocol_name(protocol).is_some(),
        }),
        1 => fou::fits(payload, length),
        _ => false,
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let first = rest.first().copied().unwrap_or(0);
    let len = match first >> 6 {
        1 => 0,
        _ => LEN + usize::from(first & HEADER_WORDS) * 4,
    };
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("gue", len);
    };
    let view = Gue {
        header,
        span: cursor.span(),
    };
    if view.is_control() {
        return cursor.push(Layer::Gue(view), len, Next::Done);
    }
    if !cursor.descend() {
        return cursor.stop("gue", Reason::TooDeep);
    }
    let next = match view.protocol() {
        None => Next::Ip,
        Some(ip::IPV4) => Next::Ipv4,
        Some(ip::IPV6) => Next::Ipv6,
        Some(number) => Next::Protocol {
            number,
            version: version_of(number),
        },
    };
    cursor.push(Layer::Gue(view), len, next)
}

/// The IP version in which a protocol number has its meaning.
fn version_of(number: u8) -> u8 {
    match number {
        0 | 43 | 44 | 60 | ip::ICMPV6 | ip::NO_NEXT_HEADER => 6,
        _ => 4,
    }
}
