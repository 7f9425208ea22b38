//! Cisco's HDLC, in which EtherTypes stand for protocols:
//! <https://www.tcpdump.org/linktypes.html>, LINKTYPE_C_HDLC.

use crate::cursor::{Cursor, Next};
use crate::named::{self, Kind};
use crate::osi;

const LEN: usize = 4;
const UNICAST: u8 = 0x0f;
const MULTICAST: u8 = 0x8f;
const ETHERNET: u16 = 0x6558;
const SLARP: u16 = 0x8035;
const CDP: u16 = 0x2000;
const OSI: u16 = 0xfefe;

/// Whether a frame that begins so is Cisco's and not PPP.
pub(crate) fn is_address(byte: u8) -> bool {
    matches!(byte, UNICAST | MULTICAST)
}

/// Whether the number stands for something that is decoded or named.
pub(crate) fn is_known(number: u16) -> bool {
    const IP: [u16; 4] = [0x0800, 0x86dd, 0x8847, 0x8848];
    IP.contains(&number) || matches!(number, ETHERNET | SLARP | CDP | OSI | 0x8137)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(&[_, _, high, low]) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("chdlc", LEN);
    };
    match named::go_on(cursor, Kind::CiscoHdlc, LEN, Next::Ethernet) {
        Next::Done => Next::Done,
        _ => next(cursor, u16::from_be_bytes([high, low])),
    }
}

/// What a number that stands in an EtherType's place leads to.
pub(crate) fn next(cursor: &mut Cursor<'_, '_>, number: u16) -> Next {
    match number {
        ETHERNET => Next::Ethernet,
        SLARP => named::decode(cursor, Kind::Slarp, 0),
        CDP => named::decode(cursor, Kind::Cdp, 0),
        OSI => {
            // A byte of padding, which some senders leave out.
            match cursor.rest().first() {
                None => return cursor.too_short("osi", 1),
                Some(byte) if !osi::is_clns(*byte) => cursor.skip(1),
                Some(_) => {}
            }
            osi::decode(cursor)
        }
        other => Next::EtherType(other),
    }
}
