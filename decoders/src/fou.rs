//! Foo over UDP with IP in it: the datagram's payload is a bare packet of either
//! version, without a header of the tunnel's own (Linux's `net/ipv4/fou_core.c`).

use crate::cursor::{Cursor, Next};
use crate::flannel_udp;
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const IPV6_HEADER: usize = 40;

/// Where a bare IP packet is the payload of a UDP datagram; it has no bytes of
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fou {
    pub span: Span,
}

impl Fou {
    /// Bytes: none.
    pub fn header_len(&self) -> usize {
        0
    }
}

/// Whether a payload of `length` bytes, of which these were captured, is a bare
/// IP packet: its length is the payload's.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    match payload {
        [first, _, _, _, high, low, ..] if first >> 4 == 6 => {
            IPV6_HEADER + usize::from(u16::from_be_bytes([*high, *low])) == length
        }
        _ => flannel_udp::fits(payload, length),
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    if !cursor.descend() {
        return cursor.stop("fou", Reason::TooDeep);
    }
    let span = cursor.span();
    cursor.push(Layer::Fou(Fou { span }), 0, Next::Ip)
}
