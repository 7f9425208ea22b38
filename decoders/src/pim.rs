//! PIM, multicast routing: RFC 7761; register messages carry the packet that they
//! are about.

use crate::cursor::{Cursor, Next};
use crate::ip;
use crate::layer::{Layer, Span};

const LEN: usize = 4;
/// Flags, between the header of a register message and the packet.
const REGISTER_FLAGS: usize = 4;
const REGISTER: u8 = 1;

/// A PIM header.
#[derive(Debug, Clone, Copy)]
pub struct Pim<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl Pim<'_> {
    /// 2, the only one over IP directly.
    pub fn version(&self) -> u8 {
        self.header[0] >> 4
    }

    /// Type of message.
    pub fn kind(&self) -> u8 {
        self.header[0] & 0xf
    }

    /// What the type means.
    pub fn kind_name(&self) -> Option<&'static str> {
        Some(match self.kind() {
            0 => "Hello",
            REGISTER => "Register",
            2 => "Register-stop",
            3 => "Join/Prune",
            4 => "Bootstrap",
            5 => "Assert",
            6 => "Graft",
            7 => "Graft-Ack",
            8 => "Candidate-RP-Advertisement",
            9 => "State-Refresh",
            10 => "DF-Election",
            _ => return None,
        })
    }

    /// Whether the message is one that carries a packet.
    pub fn carries_packet(&self) -> bool {
        self.kind() == REGISTER && self.version() == 2
    }

    /// Bytes, a register message's flags included.
    pub fn header_len(&self) -> usize {
        if self.carries_packet() {
            LEN + REGISTER_FLAGS
        } else {
            LEN
        }
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(header) = rest.first_chunk::<LEN>() else {
        return cursor.too_short("pim", LEN);
    };
    let view = Pim {
        header,
        span: cursor.span(),
    };
    let len = view.header_len();
    if rest.len() < len {
        return cursor.too_short("pim", len);
    }
    let carries = view.carries_packet();
    if let Next::Done = cursor.push(Layer::Pim(view), len, Next::Ip) {
        return Next::Done;
    }
    // A null register has a header of zeros, or none.
    if !carries || cursor.wire_len() == 0 {
        return Next::Done;
    }
    if !cursor.descend() {
        return cursor.stop("pim", crate::Reason::TooDeep);
    }
    ip::within(cursor, "pim").unwrap_or(Next::Done)
}
