//! What radio cards write in front of frames of IEEE 802.11: radiotap
//! (<https://www.radiotap.org>), Prism's and AVS's headers
//! (<https://www.tcpdump.org/linktypes.html>).

use crate::cursor::{Cursor, Next};
use crate::length::LengthSource;
use crate::named::{self, Kind};
use crate::stop::Reason;
use crate::wlan;

const RADIOTAP_MIN: usize = 8;
/// More words of presence follow.
const MORE: u32 = 1 << 31;
const HAS_TIME: u32 = 1;
const HAS_FLAGS: u32 = 2;
const FLAG_CHECKSUM: u8 = 0x10;
const FLAG_PADDED: u8 = 0x20;
/// Bytes of a frame's checksum.
const CHECKSUM: usize = 4;
/// Code, and length of the whole.
const PRISM_MIN: usize = 8;
const AVS_MAGIC: [u8; 3] = [0x80, 0x21, 0x10];

pub(crate) fn decode_radiotap(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[version, _, low, high, ..]) = rest.first_chunk::<RADIOTAP_MIN>() else {
        return cursor.too_short("radiotap", RADIOTAP_MIN);
    };
    if version != 0 {
        return cursor.stop("radiotap", Reason::Version { found: version });
    }
    let len = usize::from(u16::from_le_bytes([low, high]));
    if len < RADIOTAP_MIN {
        return cursor.too_small(LengthSource::RadiotapLength, len, RADIOTAP_MIN);
    }
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("radiotap", len);
    };
    let flags = flags(header);
    if let Next::Done = named::go_on(cursor, Kind::Radiotap, len, Next::Ip) {
        return Next::Done;
    }
    if flags & FLAG_CHECKSUM != 0 {
        cursor.limit(
            LengthSource::RadiotapChecksum,
            cursor.wire_len().saturating_sub(CHECKSUM),
        );
    }
    wlan::decode(cursor, flags & FLAG_PADDED != 0)
}

/// The byte of flags: 0 where there is none.
fn flags(header: &[u8]) -> u8 {
    let words = header[4..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word));
    let count = words.clone().take_while(|word| word & MORE != 0).count() + 1;
    let present = words.clone().next().unwrap_or(0);
    let mut at = 4 + 4 * count;
    if present & HAS_TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    header
        .get(at)
        .copied()
        .filter(|_| present & HAS_FLAGS != 0)
        .unwrap_or(0)
}

/// Prism's header, in whose place AVS's may stand, or no header but the frame.
pub(crate) fn decode_prism(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(&[a, b, c, d, e, f, g, h]) = cursor.rest().first_chunk::<PRISM_MIN>() else {
        return cursor.too_short("prism", PRISM_MIN);
    };
    if [a, b, c] == AVS_MAGIC {
        return decode_avs(cursor);
    }
    // In the byte order of the host.
    let bytes = if a == 0 { [h, g, f, e] } else { [e, f, g, h] };
    if !(a == 0 && d & 0xf0 == 0x40 || a & 0xf0 == 0x40) {
        return wlan::decode(cursor, false);
    }
    past(cursor, Kind::Prism, u32::from_le_bytes(bytes) as usize)
}

pub(crate) fn decode_avs(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(&[_, _, _, _, length @ ..]) = cursor.rest().first_chunk::<PRISM_MIN>() else {
        return cursor.too_short("wlancap", PRISM_MIN);
    };
    past(cursor, Kind::Avs, u32::from_be_bytes(length) as usize)
}

fn past(cursor: &mut Cursor<'_, '_>, kind: Kind, len: usize) -> Next {
    if len < PRISM_MIN {
        let from = match kind {
            Kind::Avs => LengthSource::AvsLength,
            _ => LengthSource::PrismLength,
        };
        return cursor.too_small(from, len, PRISM_MIN);
    }
    if cursor.rest().len() < len {
        return cursor.too_short(kind.name(), len);
    }
    match named::go_on(cursor, kind, len, Next::Ip) {
        Next::Done => Next::Done,
        _ => wlan::decode(cursor, false),
    }
}
