//! HTTP/1: RFC 9112. Known by its first line alone, on any port.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
];
/// Longest first line that is looked for, bytes.
const MAX_LINE: usize = 8192;

/// The beginning of an HTTP/1 message: the captured bytes of a segment that
/// begins with a request's or an answer's first line.
#[derive(Debug, Clone, Copy)]
pub struct Http<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

impl<'a> Http<'a> {
    /// The first line without its end; as much of it as was captured.
    pub fn first_line(&self) -> &'a [u8] {
        let line = &self.bytes[..self.bytes.len().min(MAX_LINE)];
        let end = line
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(line.len());
        let line = &line[..end];
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    pub fn is_response(&self) -> bool {
        self.bytes.starts_with(b"HTTP/1.")
    }

    /// Header lines, as far as they are in this segment: name and value, the
    /// value without the spaces around it.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut lines = self.bytes.split(|byte| *byte == b'\n').skip(1);
        core::iter::from_fn(move || {
            let line = lines.next()?;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    /// The captured bytes of the segment's data.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes: the whole segment counts as the message.
    pub fn header_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Whether a segment's data begin with the first line of a request or answer.
#[inline]
pub(crate) fn fits(payload: &[u8]) -> bool {
    match payload.first() {
        Some(b'H') if payload.starts_with(b"HTTP/1.") => true,
        Some(b'A'..=b'Z') => {
            METHODS.iter().any(|method| payload.starts_with(method)) && is_request(payload)
        }
        _ => false,
    }
}

/// A request's line ends in its version; a cut one has shown no other end.
fn is_request(payload: &[u8]) -> bool {
    let line = &payload[..payload.len().min(MAX_LINE)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
            line.len() > 9 && line[..line.len() - 1].ends_with(b" HTTP/1.")
        }
        None => true,
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let bytes = cursor.rest();
    cursor.push(
        Layer::Http(Http {
            bytes,
            span: cursor.span(),
        }),
        bytes.len(),
        Next::Done,
    )
}
