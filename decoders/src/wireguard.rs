//! WireGuard: <https://www.wireguard.com/papers/wireguard.pdf>; Linux:
//! drivers/net/wireguard/messages.h. What it carries is encrypted.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const HANDSHAKE_INITIATION: u8 = 1;
const HANDSHAKE_RESPONSE: u8 = 2;
const COOKIE_REPLY: u8 = 3;
const TRANSPORT_DATA: u8 = 4;
/// Header of transport data, and the tag behind what is encrypted.
const DATA_HEADER: usize = 16;
const TAG: usize = 16;

/// wg-quick's documents, and Cilium.
const PORTS: [u16; 3] = [51820, 51821, 51871];

/// A WireGuard message: the captured bytes of its clear part.
#[derive(Debug, Clone, Copy)]
pub struct Wireguard<'a> {
    clear: &'a [u8],
    pub span: Span,
}

impl Wireguard<'_> {
    /// 1 handshake initiation, 2 handshake response, 3 cookie reply, 4
    /// transport data.
    pub fn kind(&self) -> u8 {
        self.clear[0]
    }

    pub fn kind_name(&self) -> &'static str {
        match self.kind() {
            HANDSHAKE_INITIATION => "Handshake Initiation",
            HANDSHAKE_RESPONSE => "Handshake Response",
            COOKIE_REPLY => "Cookie Reply",
            _ if self.is_keepalive() => "Keepalive",
            _ => "Transport Data",
        }
    }

    /// Index that the sender of a handshake chose.
    pub fn sender(&self) -> Option<u32> {
        match self.kind() {
            HANDSHAKE_INITIATION | HANDSHAKE_RESPONSE => self.long(4),
            _ => None,
        }
    }

    /// Index that the receiver chose; not yet known in an initiation.
    pub fn receiver(&self) -> Option<u32> {
        match self.kind() {
            HANDSHAKE_INITIATION => None,
            HANDSHAKE_RESPONSE => self.long(8),
            _ => self.long(4),
        }
    }

    /// Number of the packet, of transport data.
    pub fn counter(&self) -> Option<u64> {
        if self.kind() != TRANSPORT_DATA {
            return None;
        }
        Some(u64::from(self.long(12)?) << 32 | u64::from(self.long(8)?))
    }

    /// Bytes of what is encrypted, its tag not counted, of transport data.
    pub fn data_len(&self) -> Option<usize> {
        let length = (self.span.end - self.span.start) as usize;
        (self.kind() == TRANSPORT_DATA).then(|| length.saturating_sub(DATA_HEADER + TAG))
    }

    /// Transport data that hold nothing.
    pub fn is_keepalive(&self) -> bool {
        self.data_len() == Some(0)
    }

    /// Bytes: the clear ones.
    pub fn header_len(&self) -> usize {
        clear_len(self.kind())
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = self.clear.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }
}

fn clear_len(kind: u8) -> usize {
    match kind {
        HANDSHAKE_INITIATION | COOKIE_REPLY => 8,
        HANDSHAKE_RESPONSE => 12,
        _ => DATA_HEADER,
    }
}

/// The first word: most payloads of other protocols differ in it.
#[inline]
pub(crate) fn begins(payload: &[u8]) -> bool {
    matches!(payload, [1..=4, 0, 0, 0, ..])
}

/// Whether the captured payload has the shape, `length` bytes on the wire.
///
/// Lengths of handshakes are exact. Data of any port must besides have a
/// receiver and a counter that can have come about: no session counts so far
/// as to use the upper two of its eight bytes.
pub(crate) fn fits(payload: &[u8], length: usize, ports: (u16, u16)) -> bool {
    match payload.first() {
        _ if !begins(payload) => false,
        Some(&HANDSHAKE_INITIATION) => length == 148,
        Some(&HANDSHAKE_RESPONSE) => length == 92,
        Some(&COOKIE_REPLY) => length == 64,
        _ if length < DATA_HEADER + TAG || !is_padded(length) => false,
        _ if PORTS.contains(&ports.0) || PORTS.contains(&ports.1) => true,
        _ => payload
            .first_chunk::<DATA_HEADER>()
            .is_some_and(|header| header[4..8] != [0; 4] && header[14..] == [0; 2]),
    }
}

/// Data are filled up to a multiple of 16, but not beyond the device's MTU: a
/// full datagram has any length.
fn is_padded(length: usize) -> bool {
    const LEAST_MTU: usize = 1280;
    length.is_multiple_of(16) || length > LEAST_MTU
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let len = clear_len(rest.first().copied().unwrap_or_default());
    let Some(clear) = rest.get(..len) else {
        return cursor.too_short("wireguard", len);
    };
    let span = cursor.span();
    cursor.push(Layer::Wireguard(Wireguard { clear, span }), len, Next::Done)
}
