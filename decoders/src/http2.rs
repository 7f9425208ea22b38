//! HTTP/2: RFC 9113. Known by the client's preface alone, on any port; what
//! follows in the same segment is named frame by frame.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_LEN: usize = 9;

/// The beginning of a connection, from the client.
#[derive(Debug, Clone, Copy)]
pub struct Http2<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

impl<'a> Http2<'a> {
    /// Type and stream of the frames behind the preface, as many as have their
    /// header in this segment.
    pub fn frames(&self) -> impl Iterator<Item = (u8, u32)> + use<'a> {
        let mut rest = self.bytes.get(PREFACE.len()..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let &[a, b, c, kind, _, s, t, u, v] = rest.first_chunk::<FRAME_LEN>()?;
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            rest = rest.get(FRAME_LEN + len..).unwrap_or(&[]);
            Some((kind, u32::from_be_bytes([s & 0x7f, t, u, v])))
        })
    }

    /// Bytes: all of the segment are frames.
    pub fn header_len(&self) -> usize {
        self.bytes.len()
    }
}

/// `SETTINGS`, …
pub fn frame_name(kind: u8) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    NAMES.get(usize::from(kind)).copied()
}

/// Whether a segment's data begin with the preface.
#[inline]
pub(crate) fn fits(payload: &[u8]) -> bool {
    payload.first() == Some(&b'P') && payload.starts_with(PREFACE)
}

/// Whether data so short that they are nothing yet can become the preface.
pub(crate) fn may_begin(payload: &[u8]) -> bool {
    payload.len() >= 3 && payload.len() < PREFACE.len() && PREFACE.starts_with(payload)
}

/// Bytes that the preface needs beyond these.
pub(crate) fn missing(payload: &[u8]) -> usize {
    PREFACE.len().saturating_sub(payload.len())
}

#[cold]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let (bytes, span) = (cursor.rest(), cursor.span());
    cursor.push(Layer::Http2(Http2 { bytes, span }), bytes.len(), Next::Done)
}
