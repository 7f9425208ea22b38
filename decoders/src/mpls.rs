//! MPLS label stacks: RFC 3032; in IP and GRE: RFC 4023; in UDP: RFC 7510;
//! Ethernet pseudowires: RFC 4448.

use crate::cursor::{Cursor, Next};
use crate::ethernet;
use crate::fou;
use crate::ip;
use crate::layer::{Layer, Span};
use crate::named::{self, Kind};
use crate::stop::Reason;

/// Bytes of one label stack entry.
const ENTRY: usize = 4;
/// Bytes of an Ethernet pseudowire's control word.
const CONTROL_WORD: usize = 4;
/// How a pseudowire's associated channel begins: version 0 (RFC 4385).
const ASSOCIATED_CHANNEL: [u8; 2] = [0x10, 0];

/// A label stack, from the outermost label to the bottom.
#[derive(Debug, Clone, Copy)]
pub struct Mpls<'a> {
    header: &'a [u8],
    pub span: Span,
}

/// One entry of a label stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MplsLabel {
    /// 20 bits.
    pub label: u32,
    /// Traffic class (RFC 5462).
    pub tc: u8,
    /// Whether it is the last.
    pub bottom: bool,
    pub ttl: u8,
}

impl<'a> Mpls<'a> {
    /// The entries, outermost first; there is always one.
    pub fn labels(&self) -> impl Iterator<Item = MplsLabel> + use<'a> {
        let (entries, _) = self.header.as_chunks::<ENTRY>();
        entries.iter().map(|entry| {
            let word = u32::from_be_bytes(*entry);
            MplsLabel {
                label: word >> 12,
                tc: (word >> 9 & 7) as u8,
                bottom: is_bottom(entry),
                ttl: word as u8,
            }
        })
    }

    /// The label at the bottom: that of the network within.
    pub fn label(&self) -> u32 {
        let last = self.header.last_chunk::<ENTRY>();
        last.map_or(0, |entry| u32::from_be_bytes(*entry) >> 12)
    }

    /// Bytes of all entries.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

#[inline]
fn is_bottom(entry: &[u8; ENTRY]) -> bool {
    entry[2] & 1 != 0
}

/// Length of the stack; what was captured may end before its bottom.
fn stack_len(bytes: &[u8]) -> Option<usize> {
    let (entries, _) = bytes.as_chunks::<ENTRY>();
    let bottom = entries.iter().position(is_bottom)?;
    Some((bottom + 1) * ENTRY)
}

/// Whether a payload of `length` bytes, of which these were captured, can be a
/// label stack: it has a bottom within the first entries, and behind that an IP
/// packet that ends with the payload, or what a pseudowire has.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    const MAX_ENTRIES: usize = 16;
    let head = &payload[..payload.len().min(MAX_ENTRIES * ENTRY)];
    let Some(len) = stack_len(head) else {
        return false;
    };
    let inside = &payload[len..];
    match inside.first().map(|byte| byte >> 4) {
        Some(4 | 6) => fou::fits(inside, length.saturating_sub(len)) || ethernet::fits(inside),
        Some(1) if inside.starts_with(&ASSOCIATED_CHANNEL) => true,
        _ => has_control_word(inside) || ethernet::fits(inside),
    }
}

/// Whether a frame stands behind an Ethernet pseudowire's control word.
fn has_control_word(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 0]) && bytes.get(CONTROL_WORD..).is_some_and(ethernet::fits)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(len) = stack_len(rest) else {
        return cursor.too_short("mpls", (rest.len() / ENTRY + 1) * ENTRY);
    };
    if !cursor.descend() {
        return cursor.stop("mpls", Reason::TooDeep);
    }
    let view = Mpls {
        header: &rest[..len],
        span: cursor.span(),
    };
    if let Next::Done = cursor.push(Layer::Mpls(view), len, Next::Ip) {
        return Next::Done;
    }
    inside(cursor)
}

/// Nothing in the stack says what it carries: IP by its version, a pseudowire's
/// control word by its zeros, otherwise a frame without one.
fn inside(cursor: &mut Cursor<'_, '_>) -> Next {
    if let Some(next) = ip::within(cursor, "mpls") {
        return next;
    }
    let rest = cursor.rest();
    let frame = if rest[0] == 0 { CONTROL_WORD } else { 0 };
    let known = frame + ethernet::LEN;
    if rest.len() < known && cursor.wire_len() >= known {
        return cursor.too_short("mpls", known);
    }
    if has_control_word(rest) {
        cursor.skip(CONTROL_WORD);
        return Next::Ethernet;
    }
    if ethernet::fits(rest) {
        return Next::Ethernet;
    }
    if rest[0] >> 4 == 1 {
        return associated_channel(cursor);
    }
    let what = "a pseudowire of another kind than Ethernet";
    cursor.stop("mpls", Reason::Form(what))
}

/// The channel beside a pseudowire (RFC 4385), which may carry IP.
fn associated_channel(cursor: &mut Cursor<'_, '_>) -> Next {
    const IPV4: u16 = 0x0021;
    const IPV6: u16 = 0x0057;
    let Some(&[_, _, high, low]) = cursor.rest().first_chunk::<4>() else {
        return cursor.too_short("pwach", 4);
    };
    match named::go_on(cursor, Kind::PwAch, 4, Next::Ip) {
        Next::Done => Next::Done,
        _ => match u16::from_be_bytes([high, low]) {
            IPV4 => Next::Ipv4,
            IPV6 => Next::Ipv6,
            _ => Next::Done,
        },
    }
}
