//! UDP-Lite: RFC 3828.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const LEN: usize = 8;

/// A UDP-Lite header.
#[derive(Debug, Clone, Copy)]
pub struct UdpLite<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl UdpLite<'_> {
    pub fn source_port(&self) -> u16 {
        self.word(0)
    }

    pub fn destination_port(&self) -> u16 {
        self.word(2)
    }

    /// Bytes from the header's first on that the checksum covers: 0 for all.
    pub fn coverage(&self) -> u16 {
        self.word(4)
    }

    /// Whether the coverage is all or at least the header, and no more than
    /// there is.
    pub fn coverage_is_right(&self) -> bool {
        let length = (self.span.end - self.span.start) as usize;
        let coverage = usize::from(self.coverage());
        coverage == 0 || (LEN..=length).contains(&coverage)
    }

    pub fn checksum(&self) -> u16 {
        self.word(6)
    }

    /// Bytes of payload on the wire: as many as IP holds.
    pub fn payload_length(&self) -> usize {
        (self.span.end - self.span.start) as usize - LEN
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("udplite", LEN);
    };
    let span = cursor.span();
    cursor.push(Layer::UdpLite(UdpLite { header, span }), LEN, Next::Done)
}
