//! Geneve: RFC 8926.

use crate::cursor::{Cursor, Next};
use crate::gre::ETHERTYPE_ETHERNET;
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const LEN: usize = 8;

/// A Geneve header with its options.
#[derive(Debug, Clone, Copy)]
pub struct Geneve<'a> {
    header: &'a [u8],
    pub span: Span,
}

/// One option of a Geneve header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneveOption<'a> {
    pub class: u16,
    /// The type, without the bit that makes it critical.
    pub kind: u8,
    pub critical: bool,
    pub data: &'a [u8],
}

impl<'a> Geneve<'a> {
    /// Network identifier, 24 bits.
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    /// EtherType of what follows; 0x6558 is an Ethernet frame.
    pub fn protocol(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// A control packet, not a user's.
    pub fn is_control(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    /// Whether some option is critical.
    pub fn has_critical(&self) -> bool {
        self.header[1] & 0x40 != 0
    }

    /// The options, as far as their lengths make sense.
    pub fn options(&self) -> impl Iterator<Item = GeneveOption<'a>> + use<'a> {
        let mut rest = &self.header[LEN..];
        core::iter::from_fn(move || {
            let (&[a, b, kind, len], after) = rest.split_first_chunk::<4>()?;
            let (data, after) = after.split_at_checked(usize::from(len & 0x1f) * 4)?;
            rest = after;
            let class = u16::from_be_bytes([a, b]);
            Some(GeneveOption {
                class,
                kind: kind & 0x7f,
                critical: kind & 0x80 != 0,
                data,
            })
        })
    }

    /// Bytes, options included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

/// Whether the captured payload can be Geneve: version 0, reserved bits 0, and
/// a protocol that is an Ethernet frame or an EtherType.
pub(crate) fn fits(payload: &[u8]) -> bool {
    match payload {
        [first, second, high, low, ..] => {
            first >> 6 == 0 && second & 0x3f == 0 && u16::from_be_bytes([*high, *low]) >= 0x0600
        }
        _ => false,
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let len = LEN + rest.first().map_or(0, |byte| usize::from(byte & 0x3f) * 4);
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("geneve", len);
    };
    if !cursor.descend() {
        return cursor.stop("geneve", Reason::TooDeep);
    }
    let view = Geneve {
        header,
        span: cursor.span(),
    };
    let next = match view.protocol() {
        ETHERTYPE_ETHERNET => Next::Ethernet,
        other => Next::EtherType(other),
    };
    cursor.push(Layer::Geneve(view), len, next)
}
