//! IP directly in IP: IPIP (RFC 2003), 6in4 (RFC 4213), 4in6 and 6in6 (RFC 2473).

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

/// Where one IP packet is the payload of another; it has no bytes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpInIp {
    pub span: Span,
    /// 4 or 6.
    pub outer_version: u8,
    /// 4 or 6.
    pub inner_version: u8,
}

impl IpInIp {
    /// `ipip`, `6in4`, `4in6` or `6in6`.
    pub fn name(&self) -> &'static str {
        name(self.outer_version, self.inner_version)
    }

    /// Bytes: none.
    pub fn header_len(&self) -> usize {
        0
    }
}

fn name(outer: u8, inner: u8) -> &'static str {
    match (outer, inner) {
        (4, 4) => "ipip",
        (4, _) => "6in4",
        (_, 4) => "4in6",
        _ => "6in6",
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, outer_version: u8, inner_version: u8) -> Next {
    if !cursor.descend() {
        return cursor.stop(name(outer_version, inner_version), Reason::TooDeep);
    }
    let next = if inner_version == 4 {
        Next::Ipv4
    } else {
        Next::Ipv6
    };
    let span = cursor.span();
    cursor.push(
        Layer::IpInIp(IpInIp {
            span,
            outer_version,
            inner_version,
        }),
        0,
        next,
    )
}
