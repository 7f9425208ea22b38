//! IKE: RFC 7296 (version 2), RFC 2408 and 2409 (version 1).

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const LEN: usize = 28;

/// An IKE header.
#[derive(Debug, Clone, Copy)]
pub struct Ike<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl Ike<'_> {
    /// 1 or 2.
    pub fn version(&self) -> u8 {
        self.header[17] >> 4
    }

    pub fn exchange(&self) -> u8 {
        self.header[18]
    }

    /// As the RFCs have it, where they have one.
    pub fn exchange_name(&self) -> Option<&'static str> {
        Some(match (self.version(), self.exchange()) {
            (1, 1) => "Base",
            (1, 2) => "Identity Protection (Main Mode)",
            (1, 3) => "Authentication Only",
            (1, 4) => "Aggressive",
            (1, 5) => "Informational",
            (1, 6) => "Transaction (Config Mode)",
            (1, 32) => "Quick Mode",
            (1, 33) => "New Group Mode",
            (2, 34) => "IKE_SA_INIT",
            (2, 35) => "IKE_AUTH",
            (2, 36) => "CREATE_CHILD_SA",
            (2, 37) => "INFORMATIONAL",
            (2, 38) => "IKE_SESSION_RESUME",
            _ => return None,
        })
    }

    /// Version 2: sent by whoever began the association.
    pub fn is_initiator(&self) -> bool {
        self.header[19] & 0x08 != 0
    }

    /// Version 2: an answer.
    pub fn is_response(&self) -> bool {
        self.header[19] & 0x20 != 0
    }

    pub fn message_id(&self) -> u32 {
        self.long(20)
    }

    pub fn initiator_spi(&self) -> u64 {
        u64::from(self.long(0)) << 32 | u64::from(self.long(4))
    }

    /// 0 in the first message.
    pub fn responder_spi(&self) -> u64 {
        u64::from(self.long(8)) << 32 | u64::from(self.long(12))
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }

    fn long(&self, at: usize) -> u32 {
        let h = self.header;
        u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]])
    }
}

/// Whether the captured payload can be IKE: of a known version, with an
/// initiator's index, as long as it says or of a known exchange. `length`: bytes on the wire.
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    let Some(header) = payload.first_chunk::<LEN>() else {
        return false;
    };
    let declared = u32::from_be_bytes([header[24], header[25], header[26], header[27]]);
    let is_whole = declared as usize == length;
    // Of others' length, the versions and exchanges that there are.
    let is_known = matches!(
        (header[17], header[18]),
        (0x10, 1..=5 | 32 | 33) | (0x20, 34..=39)
    );
    header[..8] != [0; 8] && matches!(header[17] >> 4, 1 | 2) && (is_whole || is_known)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("ike", LEN);
    };
    let span = cursor.span();
    cursor.push(Layer::Ike(Ike { header, span }), LEN, Next::Done)
}
