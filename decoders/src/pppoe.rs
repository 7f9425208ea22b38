//! PPPoE sessions: RFC 2516; PPP within.

use crate::cursor::{Cursor, Next};
use crate::length::LengthSource;
use crate::named::{self, Kind};
use crate::ppp;
use crate::stop::Reason;

const LEN: usize = 6;
/// Version 1, type 1.
const VERSION_AND_TYPE: u8 = 0x11;
const SESSION_DATA: u8 = 0;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(&[first, code, _, _, high, low]) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("pppoes", LEN);
    };
    if let Next::Done = named::go_on(cursor, Kind::PppoeSession, LEN, Next::Ip) {
        return Next::Done;
    }
    if (first, code) != (VERSION_AND_TYPE, SESSION_DATA) {
        return cursor.stop("pppoes", Reason::Form("this version or code"));
    }
    cursor.limit(
        LengthSource::PppoeLength,
        usize::from(u16::from_be_bytes([high, low])),
    );
    ppp::decode(cursor)
}
