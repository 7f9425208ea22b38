//! Network protocols of ISO, told apart by the first byte: ISO/IEC TR 9577.

use crate::cursor::{Cursor, Next};
use crate::named::{self, Kind};

/// Whether the byte begins CLNP, ES-IS or IS-IS.
pub(crate) fn is_clns(byte: u8) -> bool {
    kind(byte).is_some()
}

/// The protocol that begins with that byte.
pub(crate) fn kind(byte: u8) -> Option<Kind> {
    Some(match byte {
        0x81 => Kind::Clnp,
        0x82 => Kind::Esis,
        0x83 => Kind::Isis,
        _ => return None,
    })
}

/// Whatever of ISO's follows, with a layer in front that says so.
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    match named::go_on(cursor, Kind::Osi, 0, Next::Ip) {
        Next::Done => Next::Done,
        _ => match cursor.rest().first().and_then(|byte| kind(*byte)) {
            Some(kind) => named::decode(cursor, kind, 0),
            None => Next::Done,
        },
    }
}
