//! NetBIOS's name service: RFC 1002, section 4.2; names: RFC 1001, section 14.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

/// UDP port of the service.
pub(crate) const PORT: u16 = 137;

const HEADER_LEN: usize = 12;
/// A name's characters before encoding, and after it.
const NAME_LEN: usize = 16;
const ENCODED_LEN: usize = 2 * NAME_LEN;
/// A question: the encoded name with its length and its end, type, class.
const QUESTION_LEN: usize = ENCODED_LEN + 2 + 4;
/// Type of a record that holds addresses.
const NB: u16 = 0x20;
/// Least data of such a record: the name's flags and one address.
const NB_DATA_LEN: u16 = 6;

/// A message of the name service: the captured bytes of it, at least the header.
#[derive(Debug, Clone, Copy)]
pub struct Nbns<'a> {
    message: &'a [u8],
    pub span: Span,
}

/// A name of sixteen characters, the last of which says what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; NAME_LEN]);

impl Name {
    /// The name without the spaces that fill it up: untrusted bytes.
    pub fn text(&self) -> &[u8] {
        self.0[..NAME_LEN - 1].trim_ascii_end()
    }

    /// The sixteenth character: 0 a host, 0x20 a server, 0x1c domain controllers.
    pub fn suffix(&self) -> u8 {
        self.0[NAME_LEN - 1]
    }
}

impl<'a> Nbns<'a> {
    pub fn id(&self) -> u16 {
        self.word(0)
    }

    pub fn is_response(&self) -> bool {
        self.message[2] & 0x80 != 0
    }

    pub fn opcode(&self) -> u8 {
        self.message[2] >> 3 & 0xf
    }

    /// `Name query`, `Registration`, …
    pub fn opcode_name(&self) -> Option<&'static str> {
        Some(match self.opcode() {
            0 => "Name query",
            5 => "Registration",
            6 => "Release",
            7 => "WACK",
            8 | 9 => "Refresh",
            15 => "Multi-homed registration",
            _ => return None,
        })
    }

    /// Response code, 0 to 15.
    pub fn rcode(&self) -> u8 {
        self.message[3] & 0xf
    }

    /// The name of the question or, where none is, of the first record; `None`
    /// where it is not whole or not encoded as it should be.
    pub fn name(&self) -> Option<Name> {
        let (&len, encoded) = self.message.get(HEADER_LEN..)?.split_first()?;
        if usize::from(len) != ENCODED_LEN {
            return None;
        }
        let (pairs, _) = encoded.first_chunk::<ENCODED_LEN>()?.as_chunks::<2>();
        let mut name = [0; NAME_LEN];
        for (byte, &[high, low]) in name.iter_mut().zip(pairs) {
            *byte = half(high)? << 4 | half(low)?;
        }
        Some(Name(name))
    }

    /// Type of what [`Nbns::name`] is of: 0x20 NB, 0x21 NBSTAT. `None` behind a
    /// scope, which nobody uses.
    pub fn kind(&self) -> Option<u16> {
        let end = HEADER_LEN + 1 + ENCODED_LEN;
        (*self.message.get(end)? == 0 && self.message.len() >= end + 3).then(|| self.word(end + 1))
    }

    /// `NB`, `NBSTAT`.
    pub fn kind_name(&self) -> Option<&'static str> {
        match self.kind()? {
            NB => Some("NB"),
            0x21 => Some("NBSTAT"),
            _ => None,
        }
    }

    /// The address that an answer gives for the name, or that a registration,
    /// refresh or release is about.
    pub fn address(&self) -> Option<core::net::Ipv4Addr> {
        let (questions, answers, additional) = (self.word(4), self.word(6), self.word(10));
        let record = match (questions, answers, additional) {
            (0, 1.., _) => self.message.get(HEADER_LEN..)?,
            (1, 0, 1..) => self.message.get(HEADER_LEN + QUESTION_LEN..)?,
            _ => return None,
        };
        // A name again, or a pointer to the first; type and class, time to live,
        // length, the name's flags.
        let name = match record.first()? {
            0xc0..=0xff => 2,
            _ => 2 + ENCODED_LEN,
        };
        let &[a, b, _, _, _, _, _, _, high, low] = record.get(name..)?.first_chunk()?;
        let data = record.get(name + 12..)?;
        let holds = self.kind() == Some(NB)
            && u16::from_be_bytes([a, b]) == NB
            && u16::from_be_bytes([high, low]) >= NB_DATA_LEN;
        holds.then_some(core::net::Ipv4Addr::from(*data.first_chunk::<4>()?))
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        HEADER_LEN
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.message[at], self.message[at + 1]])
    }
}

/// Half a byte as one of the letters A to P.
fn half(letter: u8) -> Option<u8> {
    matches!(letter, b'A'..=b'P').then(|| letter - b'A')
}

/// Whether these bytes on the port of the service can be a message: a header
/// with a question or a record, behind which a name begins.
pub(crate) fn fits(message: &[u8]) -> bool {
    let Some(header) = message.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    header[4] == 0
        && header[4..].iter().any(|byte| *byte != 0)
        && message
            .get(HEADER_LEN)
            .is_none_or(|len| usize::from(*len) == ENCODED_LEN)
}

#[cold]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let (message, span) = (cursor.rest(), cursor.span());
    let view = Nbns { message, span };
    cursor.push(Layer::Nbns(view), HEADER_LEN, Next::Done)
}
