//! Arista's own EtherType: a time stamp in front of the frame's own EtherType.
//! <https://www.arista.com/en/um-eos/eos-packet-timestamping>

use crate::cursor::{Cursor, Next};
use crate::named::{self, Kind};
use crate::stop::Reason;

pub(crate) const ETHERTYPE: u16 = 0xd28b;
/// Kind of header, and version of the time stamp.
const FIXED: usize = 4;
const TIMESTAMP: u16 = 1;
const ETHERTYPE_LEN: usize = 2;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[a, b, c, d]) = rest.first_chunk::<FIXED>() else {
        return cursor.too_short("avsp", FIXED);
    };
    let stamp = match (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
        (TIMESTAMP, 0x10 | 0x110) => 8,
        (TIMESTAMP, 0x20 | 0x120) => 6,
        _ => return cursor.stop("avsp", Reason::Form("this header of Arista's")),
    };
    let len = FIXED + stamp + ETHERTYPE_LEN;
    let Some(&[high, low]) = rest
        .get(FIXED + stamp..)
        .and_then(|rest| rest.first_chunk())
    else {
        return cursor.too_short("avsp", len);
    };
    let next = Next::EtherType(u16::from_be_bytes([high, low]));
    named::go_on(cursor, Kind::Arista, len, next)
}
