//! flannel's UDP backend: the datagram's payload is a bare IPv4 packet, without
//! any header of the tunnel's own (flannel's `backend/udp/proxy_amd64.c`).

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

/// Where a bare IPv4 packet is the payload of a UDP datagram; it has no bytes
/// of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlannelUdp {
    pub span: Span,
}

impl FlannelUdp {
    /// Bytes: none.
    pub fn header_len(&self) -> usize {
        0
    }
}

/// Whether a payload of `length` bytes, of which these were captured, is a bare
/// IPv4 packet: version 4, a header length that can be, and a total length that
/// is the payload's.
#[inline]
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    let Some(&[first, _, high, low]) = payload.first_chunk::<4>() else {
        return false;
    };
    let header_len = usize::from(first & 0xf) * 4;
    first >> 4 == 4
        && header_len >= 20
        && header_len <= length
        && usize::from(u16::from_be_bytes([high, low])) == length
}

#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    if !cursor.descend() {
        return cursor.stop("flannel-udp", Reason::TooDeep);
    }
    let span = cursor.span();
    cursor.push(Layer::FlannelUdp(FlannelUdp { span }), 0, Next::Ipv4)
}
