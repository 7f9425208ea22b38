//! What Juniper's routers write in front of Ethernet frames:
//! <https://www.tcpdump.org/linktypes.html>, LINKTYPE_JUNIPER_ETHER.

use crate::cursor::{Cursor, Next};
use crate::mpls;
use crate::named::{self, Kind};
use crate::stop::Reason;

const LEN: usize = 4;
const MAGIC: [u8; 3] = *b"MGC";
/// Extensions of a length follow.
const EXTENDED: u8 = 0x80;
/// A number of four bytes in the place of the link's header.
const NO_LINK_HEADER: u8 = 0x02;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[a, b, c, flags]) = rest.first_chunk::<LEN>() else {
        return cursor.too_short("juniper", LEN);
    };
    // Old routers write no header.
    if [a, b, c] != MAGIC {
        return named::go_on(cursor, Kind::Juniper, 0, Next::Ethernet);
    }
    let mut len = LEN;
    if flags & EXTENDED != 0 {
        let Some(&[high, low]) = rest.get(LEN..).and_then(|rest| rest.first_chunk()) else {
            return cursor.too_short("juniper", LEN + 2);
        };
        len += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    if flags & NO_LINK_HEADER != 0 {
        return without_link(cursor, len);
    }
    if rest.len() < len {
        return cursor.too_short("juniper", len);
    }
    named::go_on(cursor, Kind::Juniper, len, Next::Ethernet)
}

fn without_link(cursor: &mut Cursor<'_, '_>, before: usize) -> Next {
    const IPV4: u8 = 2;
    const MPLS: u8 = 5;
    const IPV6: u8 = 6;
    let len = before + 4;
    let Some(&[number, ..]) = cursor
        .rest()
        .get(before..)
        .and_then(|rest| rest.first_chunk::<4>())
    else {
        return cursor.too_short("juniper", len);
    };
    match named::go_on(cursor, Kind::Juniper, len, Next::Ip) {
        Next::Done => Next::Done,
        _ if number == IPV4 => Next::Ipv4,
        _ if number == IPV6 => Next::Ipv6,
        _ if number == MPLS => mpls::decode(cursor),
        _ => cursor.stop("juniper", Reason::Form("a frame without link header")),
    }
}
