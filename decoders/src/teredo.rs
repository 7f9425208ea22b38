//! Teredo, IPv6 through address translators: RFC 4380.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;
use core::net::Ipv4Addr;

const AUTHENTICATION: [u8; 2] = [0, 1];
const ORIGIN: [u8; 2] = [0, 0];
const ORIGIN_LEN: usize = 8;
const IPV6_HEADER: usize = 40;

/// What stands before the IPv6 packet: nothing, an authentication, the origin,
/// or both.
#[derive(Debug, Clone, Copy)]
pub struct Teredo<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Teredo<'_> {
    /// Whether the server and the client authenticate each other.
    pub fn has_authentication(&self) -> bool {
        self.header.starts_with(&AUTHENTICATION)
    }

    /// Address and port that the server saw the packet come from.
    pub fn origin(&self) -> Option<(Ipv4Addr, u16)> {
        let origin = self.header.last_chunk::<ORIGIN_LEN>()?;
        // An authentication alone ends with other bytes.
        if authentication_len(self.header)? + ORIGIN_LEN != self.header.len() {
            return None;
        }
        let [_, _, high, low, a, b, c, d] = *origin;
        // All bits are inverted, so that no translator changes them on the way.
        let address = Ipv4Addr::new(!a, !b, !c, !d);
        Some((address, !u16::from_be_bytes([high, low])))
    }

    /// Bytes: none where the packet comes alone.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

/// 0 without one; `None` where its own lengths were not captured.
fn authentication_len(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(&AUTHENTICATION) {
        return Some(0);
    }
    let (client, value) = (*bytes.get(2)?, *bytes.get(3)?);
    // Nonce and confirmation follow.
    Some(4 + usize::from(client) + usize::from(value) + 8 + 1)
}

fn header_len(bytes: &[u8]) -> Option<usize> {
    let len = authentication_len(bytes)?;
    let has_origin = bytes
        .get(len..)
        .is_some_and(|rest| rest.starts_with(&ORIGIN));
    Some(if has_origin { len + ORIGIN_LEN } else { len })
}

/// Whether a payload of `length` bytes, of which these were captured, can be
/// Teredo: an IPv6 packet that is within it stands behind the headers.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    let Some(len) = header_len(payload) else {
        return false;
    };
    match payload.get(len..) {
        Some(&[first, _, _, _, high, low, ..]) => {
            let packet = IPV6_HEADER + usize::from(u16::from_be_bytes([high, low]));
            first >> 4 == 6 && len + packet <= length
        }
        _ => false,
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(header) = header_len(rest).and_then(|len| rest.get(..len)) else {
        return cursor.too_short("teredo", ORIGIN_LEN);
    };
    if !cursor.descend() {
        return cursor.stop("teredo", Reason::TooDeep);
    }
    let view = Teredo {
        header,
        span: cursor.span(),
    };
    cursor.push(Layer::Teredo(view), header.len(), Next::Ipv6)
}
