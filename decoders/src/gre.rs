//! GRE: RFC 2784 and RFC 2890; NVGRE: RFC 7637; version 1, PPTP's: RFC 2637.

use crate::cursor::{Cursor, Next};
use crate::erspan;
use crate::layer::{Layer, Span};
use crate::stop::Reason;

/// Transparent Ethernet bridging: an Ethernet frame follows.
pub(crate) const ETHERTYPE_ETHERNET: u16 = 0x6558;

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const VERSION: u16 = 0x0007;
/// PPTP's acknowledgement number.
const ACKNOWLEDGEMENT: u16 = 0x0080;

/// A GRE header with its optional words.
#[derive(Debug, Clone, Copy)]
pub struct Gre<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Gre<'_> {
    fn flags(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// EtherType of what follows.
    pub fn protocol(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// 0, or 1 of PPTP.
    pub fn version(&self) -> u8 {
        (self.flags() & VERSION) as u8
    }

    /// The whole word; of PPTP the payload's length and the call's number.
    pub fn key(&self) -> Option<u32> {
        let at = if self.flags() & CHECKSUM != 0 { 8 } else { 4 };
        let used = self.flags() & KEY != 0;
        used.then(|| self.word(at))
    }

    pub fn sequence(&self) -> Option<u32> {
        let checksum = usize::from(self.flags() & CHECKSUM != 0);
        let key = usize::from(self.flags() & KEY != 0);
        let used = self.flags() & SEQUENCE != 0;
        used.then(|| self.word(4 + 4 * (checksum + key)))
    }

    /// NVGRE's 24-bit identifier where an Ethernet frame follows, otherwise the
    /// key. PPTP has none.
    pub fn vni(&self) -> Option<u32> {
        let key = self.key().filter(|_| self.version() == 0)?;
        Some(if self.protocol() == ETHERTYPE_ETHERNET {
            key >> 8
        } else {
            key
        })
    }

    /// NVGRE's flow within the network, where an Ethernet frame follows.
    pub fn flow_id(&self) -> Option<u8> {
        let key = self.key().filter(|_| self.version() == 0)?;
        (self.protocol() == ETHERTYPE_ETHERNET).then_some(key as u8)
    }

    /// PPTP's number of the call.
    pub fn call_id(&self) -> Option<u16> {
        let key = self.key().filter(|_| self.version() == 1)?;
        Some(key as u16)
    }

    /// Bytes, optional words included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self
            .header
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[high, low]) = rest.first_chunk::<2>() else {
        return cursor.too_short("gre", 4);
    };
    let flags = u16::from_be_bytes([high, low]);
    let optional: &[u16] = match flags & VERSION {
        0 if flags & ROUTING != 0 => {
            return cursor.stop("gre", Reason::Form("GRE with source routes"));
        }
        0 => &[CHECKSUM, KEY, SEQUENCE],
        1 => &[KEY, SEQUENCE, ACKNOWLEDGEMENT],
        other => return cursor.stop("gre", Reason::Version { found: other as u8 }),
    };
    let words = optional.iter().filter(|flag| flags & **flag != 0).count();
    let len = 4 + 4 * words;
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("gre", len);
    };
    if !cursor.descend() {
        return cursor.stop("gre", Reason::TooDeep);
    }
    let view = Gre {
        header,
        span: cursor.span(),
    };
    if view.version() == 1 {
        return pptp(cursor, view, len);
    }
    let next = match view.protocol() {
        ETHERTYPE_ETHERNET => Next::Ethernet,
        erspan::ETHERTYPE if view.sequence().is_none() => Next::ErspanI,
        erspan::ETHERTYPE | erspan::ETHERTYPE_III => Next::Erspan,
        other => Next::EtherType(other),
    };
    cursor.push(Layer::Gre(view), len, next)
}

/// A segment without data acknowledges, and nothing follows.
fn pptp<'a>(cursor: &mut Cursor<'_, 'a>, view: Gre<'a>, len: usize) -> Next {
    match cursor.push(Layer::Gre(view), len, Next::Ip) {
        Next::Done => Next::Done,
        _ if cursor.wire_len() == 0 => Next::Done,
        _ => cursor.stop("gre", Reason::Form("what PPTP (GRE version 1) carries")),
    }
}
