//! SCTP: RFC 9260; chunk types: IANA's registry.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const LEN: usize = 12;
/// Type, flags and length of a chunk.
const CHUNK: usize = 4;

/// An SCTP header with the captured bytes of its chunks.
#[derive(Debug, Clone, Copy)]
pub struct Sctp<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

/// One chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    pub kind: u8,
    pub flags: u8,
    /// What was captured of its value.
    pub value: &'a [u8],
}

impl Chunk<'_> {
    /// Name, where the type has one.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.kind {
            0 => "DATA",
            1 => "INIT",
            2 => "INIT_ACK",
            3 => "SACK",
            4 => "HEARTBEAT",
            5 => "HEARTBEAT_ACK",
            6 => "ABORT",
            7 => "SHUTDOWN",
            8 => "SHUTDOWN_ACK",
            9 => "ERROR",
            10 => "COOKIE_ECHO",
            11 => "COOKIE_ACK",
            12 => "ECNE",
            13 => "CWR",
            14 => "SHUTDOWN_COMPLETE",
            15 => "AUTH",
            0x40 => "I_DATA",
            0x80 => "ASCONF_ACK",
            0x82 => "RE_CONFIG",
            0x84 => "PAD",
            0xc0 => "FORWARD_TSN",
            0xc1 => "ASCONF",
            0xc2 => "I_FORWARD_TSN",
            _ => return None,
        })
    }
}

impl<'a> Sctp<'a> {
    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// What the receiver chose to know the association by; 0 in an INIT.
    pub fn verification_tag(&self) -> u32 {
        let b = self.bytes;
        u32::from_be_bytes([b[4], b[5], b[6], b[7]])
    }

    /// The chunks, as far as their lengths make sense.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let mut rest = &self.bytes[LEN..];
        core::iter::from_fn(move || {
            let (&[kind, flags, high, low], after) = rest.split_first_chunk::<CHUNK>()?;
            let len = usize::from(u16::from_be_bytes([high, low])).checked_sub(CHUNK)?;
            let value = &after[..len.min(after.len())];
            rest = after.get(len.next_multiple_of(4)..).unwrap_or(&[]);
            Some(Chunk { kind, flags, value })
        })
    }

    /// Bytes, without the chunks.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let bytes = cursor.rest();
    if bytes.len() < LEN {
        return cursor.too_short("sctp", LEN);
    }
    let span = cursor.span();
    cursor.push(Layer::Sctp(Sctp { bytes, span }), LEN, Next::Done)
}
