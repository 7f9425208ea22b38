//! MACsec: IEEE 802.1AE. Where frames are not encrypted, only authenticated, what
//! they carry is there to be read.

use crate::cursor::{Cursor, Next};
use crate::length::LengthSource;
use crate::named::{self, Kind};
use crate::stop::Reason;

const VERSION: u8 = 0x80;
/// The secure channel's identifier is there.
const CHANNEL: u8 = 0x20;
const ENCRYPTED: u8 = 0x08;
const CHANGED: u8 = 0x04;
const TAG: usize = 6;
const TAG_WITH_CHANNEL: usize = 14;
/// Bytes of the integrity check at the frame's end.
const CHECK: usize = 16;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&flags) = rest.first() else {
        return cursor.too_short("macsec", TAG);
    };
    if flags & VERSION != 0 {
        return cursor.stop("macsec", Reason::Version { found: 1 });
    }
    let len = if flags & CHANNEL != 0 {
        TAG_WITH_CHANNEL
    } else {
        TAG
    };
    if rest.len() <= len + CHECK {
        return cursor.too_short("macsec", len + CHECK + 1);
    }
    let opaque = flags & (ENCRYPTED | CHANGED) != 0;
    let own = if opaque { len } else { len + 2 };
    if let Next::Done = named::go_on(cursor, Kind::Macsec, own, Next::Ip) {
        return Next::Done;
    }
    if opaque {
        return cursor.stop("macsec", Reason::Form("what MACsec encrypts"));
    }
    cursor.limit(
        LengthSource::MacsecCheckValue,
        cursor.wire_len().saturating_sub(CHECK),
    );
    Next::EtherType(u16::from_be_bytes([rest[len], rest[len + 1]]))
}
