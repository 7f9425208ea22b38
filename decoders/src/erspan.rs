//! ERSPAN, mirrored frames in GRE, types I to III:
//! draft-foschiano-erspan; Linux: include/uapi/linux/erspan.h.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

/// GRE's protocol type of types I and II.
pub(crate) const ETHERTYPE: u16 = 0x88be;
/// GRE's protocol type of type III.
pub(crate) const ETHERTYPE_III: u16 = 0x22eb;

const LEN_II: usize = 8;
const LEN_III: usize = 12;
const SUBHEADER: usize = 8;
/// Frame types of type III.
const FRAME_ETHERNET: u8 = 0;
const FRAME_IP: u8 = 2;

/// An ERSPAN header; that of type I has no bytes.
#[derive(Debug, Clone, Copy)]
pub struct Erspan<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Erspan<'_> {
    /// 1, 2 or 3.
    pub fn kind(&self) -> u8 {
        match self.header.len() {
            0 => 1,
            LEN_II => 2,
            _ => 3,
        }
    }

    /// VLAN of the mirrored frame, of types II and III.
    pub fn vlan(&self) -> Option<u16> {
        self.word(0).map(|word| word & 0x0fff)
    }

    /// Number of the mirroring session, 0 to 1023, of types II and III.
    pub fn session(&self) -> Option<u16> {
        self.word(2).map(|word| word & 0x03ff)
    }

    /// Whether the mirrored frame was cut, of types II and III.
    pub fn is_truncated(&self) -> bool {
        self.word(2).is_some_and(|word| word & 0x0400 != 0)
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    fn word(&self, at: usize) -> Option<u16> {
        let bytes = self.header.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*bytes))
    }
}

/// Type I: the frame follows at once. GRE's sequence number tells it from type II.
pub(crate) fn decode_i(cursor: &mut Cursor<'_, '_>) -> Next {
    let view = Erspan {
        header: &[],
        span: cursor.span(),
    };
    cursor.push(Layer::Erspan(view), 0, Next::Ethernet)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let (len, next) = match rest.first().map(|byte| byte >> 4) {
        None => return cursor.too_short("erspan", LEN_II),
        Some(1) => (LEN_II, Next::Ethernet),
        Some(2) => match rest.first_chunk::<LEN_III>() {
            None => return cursor.too_short("erspan", LEN_III),
            Some(header) => type_iii(header),
        },
        Some(found) => return cursor.stop("erspan", Reason::Version { found }),
    };
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("erspan", len);
    };
    let view = Erspan {
        header,
        span: cursor.span(),
    };
    let next = cursor.push(Layer::Erspan(view), len, next);
    match next {
        Next::EtherType(_) => cursor.stop(
            "erspan",
            Reason::Form("ERSPAN of other than Ethernet and IP"),
        ),
        next => next,
    }
}

/// Length of the header and what follows.
fn type_iii(header: &[u8; LEN_III]) -> (usize, Next) {
    let word = u16::from_be_bytes([header[10], header[11]]);
    let subheader = if word & 1 != 0 { SUBHEADER } else { 0 };
    let next = match (word >> 10 & 0x1f) as u8 {
        FRAME_ETHERNET => Next::Ethernet,
        FRAME_IP => Next::Ip,
        other => Next::EtherType(u16::from(other)),
    };
    (LEN_III + subheader, next)
}
