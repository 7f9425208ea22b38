//! The authentication header, in both versions of IP: RFC 4302.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;

const MIN_LEN: usize = 12;

/// An authentication header with its check value.
#[derive(Debug, Clone, Copy)]
pub struct Ah<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Ah<'_> {
    /// IANA number of what follows.
    pub fn next_header(&self) -> u8 {
        self.header[0]
    }

    /// Security parameters index.
    pub fn spi(&self) -> u32 {
        self.long(4)
    }

    pub fn sequence(&self) -> u32 {
        self.long(8)
    }

    /// Bytes, check value included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    fn long(&self, at: usize) -> u32 {
        let h = self.header;
        u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]])
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, version: u8) -> Next {
    let rest = cursor.rest();
    let Some(&[number, words]) = rest.first_chunk::<2>() else {
        return cursor.too_short("ah", MIN_LEN);
    };
    let len = (usize::from(words) + 2) * 4;
    if len < MIN_LEN {
        return cursor.too_small(LengthSource::AhLength, len, MIN_LEN);
    }
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("ah", len);
    };
    let span = cursor.span();
    let next = Next::Protocol { number, version };
    cursor.push(Layer::Ah(Ah { header, span }), len, next)
}
