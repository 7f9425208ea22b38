//! Frames of IEEE 802.11: data that are not encrypted carry LLC.

use crate::cursor::{Cursor, Next};
use crate::llc;
use crate::named::{self, Kind};
use crate::stop::Reason;

/// Of frame control: the protocol's version, of which there is only 0.
const VERSION: u8 = 0x03;
const TYPE: u8 = 0x0c;
const DATA: u8 = 0x08;
/// Of a data frame's subtype: without data, with quality of service.
const NO_DATA: u8 = 0x40;
const QOS: u8 = 0x80;
const TO_AND_FROM: u8 = 0x03;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;
/// Of the quality of service: several frames in one.
const AGGREGATE: u8 = 0x80;
const LEN: usize = 24;
/// Bytes of the least frame: an acknowledgement.
const MIN_LEN: usize = 10;

/// `padded`: what follows the header begins at a multiple of four bytes.
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, padded: bool) -> Next {
    let rest = cursor.rest();
    let Some(&[control, flags, ..]) = rest.first_chunk::<MIN_LEN>() else {
        return cursor.too_short("wlan", MIN_LEN);
    };
    if control & VERSION != 0 {
        let found = control & VERSION;
        return cursor.stop("wlan", Reason::Version { found });
    }
    if control & TYPE != DATA || control & NO_DATA != 0 {
        return named::decode(cursor, Kind::Wlan, MIN_LEN as u16);
    }
    let (qos, four) = (control & QOS != 0, flags & TO_AND_FROM == TO_AND_FROM);
    let before_qos = LEN + if four { 6 } else { 0 };
    let mut len = before_qos + if qos { 2 } else { 0 };
    if qos && flags & ORDER != 0 {
        len += 4;
    }
    let len = if padded { len.next_multiple_of(4) } else { len };
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("wlan", len);
    };
    if let Next::Done = named::go_on(cursor, Kind::Wlan, len, Next::Ip) {
        return Next::Done;
    }
    if flags & PROTECTED != 0 {
        return cursor.stop("wlan", Reason::Form("what 802.11 encrypts"));
    }
    if header[22] & 0xf != 0 {
        return cursor.stop("wlan", Reason::Form("a fragment of 802.11"));
    }
    if qos && header[before_qos] & AGGREGATE != 0 {
        return cursor.stop("wlan", Reason::Form("several frames in one"));
    }
    llc::decode(cursor)
}
