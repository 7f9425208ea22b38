//! ESP: RFC 4303; over UDP, with IKE on the same port: RFC 3948.

use crate::cursor::{Cursor, Next};
use crate::ike;
use crate::layer::{Layer, Span};
use crate::named::{self, Kind};

const LEN: usize = 8;
/// Before IKE on ESP's port: an SPI that no ESP has.
const MARKER: usize = 4;
/// Numbers below are reserved, no packet has them.
const FIRST_SPI: u32 = 256;
/// Header and the least that can be encrypted: padding to four bytes.
const MIN_LEN: usize = LEN + 4;

/// An ESP header; what follows is encrypted.
#[derive(Debug, Clone, Copy)]
pub struct Esp<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl Esp<'_> {
    /// Security parameters index.
    pub fn spi(&self) -> u32 {
        let [a, b, c, d, ..] = *self.header;
        u32::from_be_bytes([a, b, c, d])
    }

    pub fn sequence(&self) -> u32 {
        let [.., a, b, c, d] = *self.header;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("esp", LEN);
    };
    let span = cursor.span();
    cursor.push(Layer::Esp(Esp { header, span }), LEN, Next::Done)
}

/// What is on the port that NAT traversal uses: ESP, IKE behind a marker, or a
/// keep-alive; `None` where the shape is of neither. `length`: bytes on the wire.
pub(crate) fn decode_nat_traversal(cursor: &mut Cursor<'_, '_>, length: usize) -> Option<Next> {
    let payload = cursor.rest();
    if length == 1 && payload.first() == Some(&0xff) {
        return Some(named::decode(cursor, Kind::UdpEncapsulation, 1));
    }
    let spi = u32::from_be_bytes(*payload.first_chunk()?);
    if spi == 0 {
        let fits = ike::fits(&payload[MARKER..], length.saturating_sub(MARKER));
        return fits.then(|| {
            match named::go_on(cursor, Kind::UdpEncapsulation, MARKER, Next::Udp) {
                Next::Done => Next::Done,
                _ => ike::decode(cursor),
            }
        });
    }
    // Encrypted data are padded to whole words.
    let fits = spi >= FIRST_SPI && length >= MIN_LEN && length.is_multiple_of(4);
    fits.then(
        || match named::go_on(cursor, Kind::UdpEncapsulation, 0, Next::Udp) {
            Next::Done => Next::Done,
            _ => decode(cursor),
        },
    )
}
