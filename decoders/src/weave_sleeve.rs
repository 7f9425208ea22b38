//! Weave's sleeve, the overlay that its router carries itself where the kernel's
//! VXLAN cannot be used (weave's `router/sleeve.go`).

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::stop::Reason;

/// Bytes of a peer's name.
const NAME: usize = 6;
/// Before each frame: who sends it, to whom, and its length.
const FRAME_HEADER: usize = NAME + NAME + 2;
const ETHERNET_HEADER: usize = 14;
/// The least that an encrypted datagram has: name, sequence number, code.
const LEAST_ENCRYPTED: usize = NAME + 8 + 16;

/// A datagram of frames between two routers.
#[derive(Debug, Clone, Copy)]
pub struct WeaveSleeve<'a> {
    /// All that was captured of the datagram.
    payload: &'a [u8],
    pub span: Span,
}

impl<'a> WeaveSleeve<'a> {
    /// Name of the router that sent the datagram.
    pub fn sender(&self) -> Option<&'a [u8; NAME]> {
        self.payload.first_chunk()
    }

    /// Names of the routers between which the first frame goes; not known of an
    /// encrypted one.
    pub fn peers(&self) -> Option<(&'a [u8; NAME], &'a [u8; NAME])> {
        let names = self.payload.get(NAME..).filter(|_| !self.is_encrypted())?;
        let (from, rest) = names.split_first_chunk()?;
        Some((from, rest.first_chunk()?))
    }

    pub fn is_encrypted(&self) -> bool {
        !is_plain(self.payload, (self.span.end - self.span.start) as usize)
    }

    /// Frames in the datagram, as far as it was captured; the first is decoded.
    pub fn frame_count(&self) -> usize {
        match self.is_encrypted() {
            true => 0,
            false => frames(self.payload).count(),
        }
    }

    /// Bytes before the first frame.
    pub fn header_len(&self) -> usize {
        match self.is_encrypted() {
            true => NAME.min(self.payload.len()),
            false => NAME + FRAME_HEADER,
        }
    }
}

/// Where each frame begins, and its length.
fn frames(payload: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = NAME;
    core::iter::from_fn(move || {
        let &[high, low] = payload.get(at + 2 * NAME..)?.first_chunk::<2>()?;
        let (start, len) = (
            at + FRAME_HEADER,
            usize::from(u16::from_be_bytes([high, low])),
        );
        at = start + len;
        Some((start, len))
    })
}

/// Whether frames that are not encrypted fill a datagram of `length` bytes, of
/// which these were captured.
fn is_plain(payload: &[u8], length: usize) -> bool {
    let mut end = NAME;
    for (start, len) in frames(payload) {
        end = start + len;
        if len < ETHERNET_HEADER || end > length {
            return false;
        }
    }
    // What lies behind the end of the capture cannot be seen.
    end > NAME && (end == length || payload.len() < length)
}

/// Whether a payload of `length` bytes, of which these were captured, is of a
/// sleeve. Of an encrypted one nothing can be told but that both ends have the
/// port.
pub(crate) fn fits(payload: &[u8], length: usize, both_ends: bool) -> bool {
    is_plain(payload, length) || (both_ends && length >= LEAST_ENCRYPTED && payload.len() >= NAME)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let payload = cursor.rest();
    let view = WeaveSleeve {
        payload,
        span: cursor.span(),
    };
    if !cursor.descend() {
        return cursor.stop("weave-sleeve", Reason::TooDeep);
    }
    let len = view.header_len();
    if view.is_encrypted() {
        cursor.push(Layer::WeaveSleeve(view), len, Next::Done);
        return cursor.stop("weave-sleeve", Reason::Form("a frame that is encrypted"));
    }
    let first = frames(payload).next();
    let next = cursor.push(Layer::WeaveSleeve(view), len, Next::Ethernet);
    if let Some((_, frame)) = first {
        cursor.limit(LengthSource::WeaveSleeveFrame, frame);
    }
    next
}
