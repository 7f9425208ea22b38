//! STT, which looks like TCP to network cards: draft-davie-stt.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;
use crate::tcp::{Tcp, TcpFlags};

pub(crate) const PORT: u16 = 7471;
const LEN: usize = 18;

/// The header at the beginning of a frame in STT.
#[derive(Debug, Clone, Copy)]
pub struct Stt<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl Stt<'_> {
    /// Context identifier: which network.
    pub fn context(&self) -> u64 {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, _, _] = *self.header;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

/// Whether a segment to the port begins a frame in STT: the sequence number's
/// upper half is the frame's length, its lower half the place therein.
pub(crate) fn fits(tcp: &Tcp<'_>, payload: &[u8]) -> bool {
    let (total, place) = (tcp.sequence() >> 16, tcp.sequence() & 0xffff);
    let flags = tcp.flags();
    place == 0
        && total as usize >= tcp.payload_len()
        && flags.has(TcpFlags::ACK)
        && !flags.has(TcpFlags::SYN)
        && !flags.has(TcpFlags::FIN)
        && !flags.has(TcpFlags::RST)
        && matches!(payload, [0, _, _, 0, ..])
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("stt", LEN);
    };
    let span = cursor.span();
    match cursor.push(Layer::Stt(Stt { header, span }), LEN, Next::Tcp) {
        Next::Done => Next::Done,
        _ => cursor.stop("stt", Reason::Form("what STT carries")),
    }
}
