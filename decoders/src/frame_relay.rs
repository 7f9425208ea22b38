//! Frame Relay: ITU-T Q.922; what it carries: RFC 2427, or Cisco's own numbers.

use crate::cisco_hdlc;
use crate::cursor::{Cursor, Next};
use crate::ethernet;
use crate::layer::{Layer, Span};
use crate::llc;
use crate::named;
use crate::osi;
use crate::ppp;
use crate::stop::Reason;

/// Set in the last byte of an address.
const LAST: u8 = 1;
/// Set in a fourth byte that has control bits in the place of the address's.
const CONTROL: u8 = 2;
/// Bytes of an address, at most.
const MAX_ADDRESS: usize = 4;
/// Unnumbered information: RFC 2427 follows.
const UI: u8 = 0x03;
const NLPID_SNAP: u8 = 0x80;
const NLPID_IPV6: u8 = 0x8e;
const NLPID_IPV4: u8 = 0xcc;
const NLPID_PPP: u8 = 0xcf;
/// Greatest length in a header of 802.3.
const MAX_802_3: u16 = 1500;

/// The address of a frame.
#[derive(Debug, Clone, Copy)]
pub struct FrameRelay<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl FrameRelay<'_> {
    /// Data link connection identifier: 10, 16, 17 or 23 bits; 0 of an address
    /// of one byte, which there should not be.
    pub fn dlci(&self) -> u32 {
        let high = |a: u8, b: u8| u32::from(a >> 2) << 4 | u32::from(b >> 4);
        match *self.header {
            [a, b] => high(a, b),
            [a, b, c] if c & CONTROL != 0 => high(a, b),
            [a, b, c] => high(a, b) << 6 | u32::from(c >> 2),
            [a, b, c, d, ..] => {
                let upper = high(a, b) << 7 | u32::from(c >> 1);
                let control = d & CONTROL != 0;
                if control {
                    upper
                } else {
                    upper << 6 | u32::from(d >> 2)
                }
            }
            _ => 0,
        }
    }

    /// Bytes: those of the address.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let address = &rest[..rest.len().min(MAX_ADDRESS)];
    let Some(last) = address.iter().position(|byte| byte & LAST != 0) else {
        return match rest.len() {
            0..MAX_ADDRESS => cursor.too_short("fr", rest.len() + 1),
            _ => cursor.stop(
                "fr",
                Reason::Malformed("an address of more than four bytes"),
            ),
        };
    };
    let len = last + 1;
    let view = FrameRelay {
        header: &rest[..len],
        span: cursor.span(),
    };
    let dlci = view.dlci();
    if let Next::Done = cursor.push(Layer::FrameRelay(view), len, Next::Ip) {
        return Next::Done;
    }
    inside(cursor, dlci)
}

/// RFC 2427 by its control field; otherwise what Cisco's routers send, or a bare
/// Ethernet frame.
fn inside(cursor: &mut Cursor<'_, '_>, dlci: u32) -> Next {
    let rest = cursor.rest();
    let Some(&[control, second]) = rest.first_chunk::<2>() else {
        return cursor.too_short("fr", 2);
    };
    if control == UI {
        cursor.skip(1);
        return by_nlpid(cursor);
    }
    if dlci == 0 {
        return cursor.stop("fr", Reason::Form("signalling of Frame Relay"));
    }
    let number = u16::from_be_bytes([control, second]);
    if cisco_hdlc::is_known(number) {
        cursor.skip(2);
        return cisco_hdlc::next(cursor, number);
    }
    let is_frame = rest.get(12..14).is_some_and(|word| {
        let number = u16::from_be_bytes([word[0], word[1]]);
        number <= MAX_802_3 || ethernet::fits(rest)
    });
    if is_frame {
        return Next::Ethernet;
    }
    cursor.stop("fr", Reason::Form("what this frame carries"))
}

/// By the network layer's identifier, before which there may be a byte of padding.
fn by_nlpid(cursor: &mut Cursor<'_, '_>) -> Next {
    if let Some(0) = cursor.rest().first() {
        cursor.skip(1);
    }
    let Some(&nlpid) = cursor.rest().first() else {
        return cursor.too_short("fr", 1);
    };
    if let Some(kind) = osi::kind(nlpid) {
        return named::decode(cursor, kind, 0);
    }
    cursor.skip(1);
    match nlpid {
        NLPID_IPV4 => Next::Ipv4,
        NLPID_IPV6 => Next::Ipv6,
        NLPID_PPP => ppp::decode(cursor),
        NLPID_SNAP => match cursor.rest().first_chunk::<5>() {
            Some(&[a, b, c, high, low]) => {
                cursor.skip(5);
                llc::by_snap(cursor, [a, b, c], u16::from_be_bytes([high, low]))
            }
            None => cursor.too_short("fr", 5),
        },
        _ => cursor.stop("fr", Reason::Form("this network layer")),
    }
}
