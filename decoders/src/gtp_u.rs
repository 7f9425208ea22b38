//! GTP-U, the user plane of mobile networks: 3GPP TS 29.281.

use crate::cursor::{Cursor, Next};
use crate::ethernet;
use crate::ip;
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const LEN: usize = 8;
/// Sequence number, N-PDU number and type of the first extension header: they
/// are there as soon as one of them is used.
const OPTIONAL_LEN: usize = 4;
/// Version 1, GTP (and not GTP'), the spare bit 0.
const FIXED_BITS: u8 = 0xf8;
const FIXED: u8 = 0x30;
const FLAG_EXTENSION: u8 = 4;
const FLAG_SEQUENCE: u8 = 2;
const FLAG_NPDU: u8 = 1;

/// The message that carries a user's packet.
const T_PDU: u8 = 255;

/// A GTP-U header with its extension headers.
#[derive(Debug, Clone, Copy)]
pub struct GtpU<'a> {
    header: &'a [u8],
    pub span: Span,
}

/// One extension header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GtpExtension<'a> {
    pub kind: u8,
    /// What it says, without its length and the next one's type.
    pub content: &'a [u8],
}

impl<'a> GtpU<'a> {
    /// 255 carries a packet, the others are the ends' own.
    pub fn message_type(&self) -> u8 {
        self.header[1]
    }

    /// Name of the message type, where the specification has one.
    pub fn message_name(&self) -> Option<&'static str> {
        message_name(self.message_type())
    }

    /// Whether a user's packet follows.
    pub fn carries_packet(&self) -> bool {
        self.message_type() == T_PDU
    }

    /// Bytes after the first eight, as the header says.
    pub fn length(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Tunnel endpoint identifier: whose tunnel it is at the receiver.
    pub fn teid(&self) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = *self.header else {
            return 0;
        };
        u32::from_be_bytes([a, b, c, d])
    }

    pub fn sequence(&self) -> Option<u16> {
        let used = self.header[0] & FLAG_SEQUENCE != 0;
        let bytes = self.header.get(LEN..LEN + 2).filter(|_| used)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub fn npdu(&self) -> Option<u8> {
        let used = self.header[0] & FLAG_NPDU != 0;
        self.header.get(LEN + 2).copied().filter(|_| used)
    }

    /// The extension headers.
    pub fn extensions(&self) -> impl Iterator<Item = GtpExtension<'a>> + use<'a> {
        let used = self.header[0] & FLAG_EXTENSION != 0;
        let mut kind = self.header.get(LEN + 3).copied().filter(|_| used);
        let mut rest = self.header.get(LEN + OPTIONAL_LEN..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let this = kind.filter(|kind| *kind != 0)?;
            let words = usize::from(*rest.first()?);
            let (extension, after) = rest.split_at_checked(words * 4)?;
            let (content, next) = match extension {
                [_, content @ .., next] => (content, *next),
                _ => return None,
            };
            (kind, rest) = (Some(next), after);
            Some(GtpExtension {
                kind: this,
                content,
            })
        })
    }

    /// Bytes, extension headers included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

fn message_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        1 => "Echo request",
        2 => "Echo response",
        26 => "Error indication",
        31 => "Supported extension header notification",
        253 => "Tunnel Status",
        254 => "End Marker",
        T_PDU => "T-PDU",
        _ => return None,
    })
}

/// Name of an extension header's type.
pub fn extension_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x03 => "Long PDCP PDU number",
        0x20 => "Service class indicator",
        0x40 => "UDP port",
        0x81 => "RAN container",
        0x82 => "Long PDCP PDU number",
        0x83 => "Xw RAN container",
        0x84 => "NR RAN container",
        0x85 => "PDU session container",
        0xc0 => "PDCP PDU number",
        _ => return None,
    })
}

/// Whether a payload of `length` bytes, of which these were captured, is GTP-U:
/// version 1, a message that there is, and its length is the payload's.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    match payload {
        [flags, kind, high, low, ..] => {
            flags & FIXED_BITS == FIXED
                && message_name(*kind).is_some()
                && LEN + usize::from(u16::from_be_bytes([*high, *low])) == length
        }
        _ => false,
    }
}

/// Length of the whole header, or how many bytes it takes to know; `Err(None)`
/// of an extension header that says it has no length.
fn header_len(bytes: &[u8]) -> Result<usize, Option<usize>> {
    let flags = *bytes.first().ok_or(Some(LEN))?;
    if flags & (FLAG_EXTENSION | FLAG_SEQUENCE | FLAG_NPDU) == 0 {
        return Ok(LEN);
    }
    let mut len = LEN + OPTIONAL_LEN;
    if flags & FLAG_EXTENSION == 0 {
        return Ok(len);
    }
    loop {
        match bytes.get(len - 1) {
            None => return Err(Some(len)),
            Some(0) => return Ok(len),
            Some(_) => {}
        }
        match bytes.get(len) {
            None => return Err(Some(len + 4)),
            Some(0) => return Err(None),
            Some(words) => len += usize::from(*words) * 4,
        }
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let len = match header_len(rest) {
        Ok(len) => len,
        Err(Some(needed)) => return cursor.too_short("gtp-u", needed),
        Err(None) => {
            let what = "a GTP-U extension header has no length";
            return cursor.stop("gtp-u", Reason::Malformed(what));
        }
    };
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("gtp-u", len);
    };
    let view = GtpU {
        header,
        span: cursor.span(),
    };
    // What the ends say to each other is no tunnel within another.
    if !view.carries_packet() {
        return cursor.push(Layer::GtpU(view), len, Next::Done);
    }
    if !cursor.descend() {
        return cursor.stop("gtp-u", Reason::TooDeep);
    }
    if let Next::Done = cursor.push(Layer::GtpU(view), len, Next::Ip) {
        return Next::Done;
    }
    inside(cursor)
}

/// The header does not say what kind of session it is: a user's packet is IP, or
/// in private networks an Ethernet frame.
fn inside(cursor: &mut Cursor<'_, '_>) -> Next {
    if let Some(next) = ip::within(cursor, "gtp-u") {
        return next;
    }
    let rest = cursor.rest();
    if rest.len() < ethernet::LEN && cursor.wire_len() >= ethernet::LEN {
        return cursor.too_short("gtp-u", ethernet::LEN);
    }
    if ethernet::fits(rest) {
        return Next::Ethernet;
    }
    cursor.stop("gtp-u", Reason::Form("a packet of another kind than IP"))
}
