//! BSD loopback frames: four bytes of address family, then IP.
//! <https://www.tcpdump.org/linktypes.html>, LINKTYPE_NULL and LINKTYPE_LOOP.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const LEN: usize = 4;

/// Header of a BSD loopback frame.
#[derive(Debug, Clone, Copy)]
pub struct Loopback<'a> {
    header: &'a [u8; LEN],
    network_order: bool,
    pub span: Span,
}

impl Loopback<'_> {
    /// Address family: 2 is IPv4; 10, 24, 28 and 30 are IPv6 on one system or
    /// another.
    pub fn family(&self) -> u32 {
        if self.network_order {
            return u32::from_be_bytes(*self.header);
        }
        // In the byte order of the capturing host: families are small, so the
        // order that makes it small is the right one.
        u32::from_le_bytes(*self.header).min(u32::from_be_bytes(*self.header))
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, network_order: bool) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("loopback", LEN);
    };
    let view = Loopback {
        header,
        network_order,
        span: cursor.span(),
    };
    let family = view.family();
    let next = match family {
        2 => Next::Ipv4,
        10 | 24 | 28 | 30 => Next::Ipv6,
        _ => Next::Done,
    };
    let next = cursor.push(Layer::Loopback(view), LEN, next);
    if matches!(next, Next::Done) {
        return cursor.stop("loopback", Reason::Family(family));
    }
    next
}
