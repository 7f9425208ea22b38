//! Packets that netfilter logged: <https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html>.
//! Attributes with a length, in the byte order of the host, which is little-endian
//! nearly everywhere.

use crate::cursor::{Cursor, Next};
use crate::length::LengthSource;
use crate::named::{self, Kind};
use crate::stop::Reason;

const LEN: usize = 4;
const ATTRIBUTE: usize = 4;
const PACKET_HEADER: u16 = 1;
const PAYLOAD: u16 = 9;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[family, ..]) = rest.first_chunk::<LEN>() else {
        return cursor.too_short("nflog", LEN);
    };
    let Some((ethertype, before, length)) = payload(rest) else {
        named::go_on(cursor, Kind::Nflog, LEN, Next::Done);
        return cursor.stop("nflog", Reason::Form("a log without a packet"));
    };
    // The attributes of one packet are within what a header's length can say.
    if let Next::Done = named::go_on(cursor, Kind::Nflog, before, Next::Ip) {
        return Next::Done;
    }
    cursor.limit(LengthSource::NflogAttribute, length);
    match (ethertype, family) {
        (Some(number), _) => Next::EtherType(number),
        (_, AF_INET) => Next::Ipv4,
        (_, AF_INET6) => Next::Ipv6,
        (_, other) => cursor.stop("nflog", Reason::Family(u32::from(other))),
    }
}

/// The EtherType that was noted, where the packet begins and its length.
fn payload(bytes: &[u8]) -> Option<(Option<u16>, usize, usize)> {
    let mut at = LEN;
    let mut ethertype = None;
    loop {
        let &[a, b, c, d] = bytes.get(at..)?.first_chunk::<ATTRIBUTE>()?;
        let length = usize::from(u16::from_le_bytes([a, b]));
        let value = length.checked_sub(ATTRIBUTE)?;
        let start = at + ATTRIBUTE;
        match u16::from_le_bytes([c, d]) & 0x7fff {
            PAYLOAD => return Some((ethertype, start, value)),
            PACKET_HEADER if value == 4 => {
                let word = *bytes.get(start..)?.first_chunk::<2>()?;
                ethertype = Some(u16::from_be_bytes(word)).filter(|number| *number != 0);
            }
            _ => {}
        }
        at += length.next_multiple_of(ATTRIBUTE);
    }
}
