//! ICMPv6: RFC 4443; neighbour discovery: RFC 4861.

use crate::cursor::{Cursor, Next};
use crate::icmp::{Echo, Quoted, echo, quoted_ipv6};
use crate::layer::{Layer, Span};
use core::net::Ipv6Addr;

const MIN_LEN: usize = 4;

/// An ICMPv6 message.
#[derive(Debug, Clone, Copy)]
pub struct Icmpv6<'a> {
    message: &'a [u8],
    pub span: Span,
}

impl<'a> Icmpv6<'a> {
    pub fn kind(&self) -> u8 {
        self.message[0]
    }

    pub fn code(&self) -> u8 {
        self.message[1]
    }

    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.message[2], self.message[3]])
    }

    /// Of an echo request (128) or reply (129).
    pub fn echo(&self) -> Option<Echo> {
        let whole = self.message.len() >= 8;
        (whole && matches!(self.kind(), 128 | 129)).then(|| echo(self.message))
    }

    /// MTU of the link in bytes, of "packet too big" (2).
    pub fn mtu(&self) -> Option<u32> {
        let word = self
            .message
            .get(4..)
            .and_then(|rest| rest.first_chunk::<4>())?;
        (self.kind() == 2).then(|| u32::from_be_bytes(*word))
    }

    /// The quoted packet of an error message (1 to 4).
    pub fn quoted(&self) -> Option<Quoted> {
        if !matches!(self.kind(), 1..=4) {
            return None;
        }
        quoted_ipv6(self.message.get(8..)?)
    }

    /// The address in question, of a neighbour solicitation (135),
    /// advertisement (136) or redirect (137).
    pub fn target(&self) -> Option<Ipv6Addr> {
        let octets = self
            .message
            .get(8..)
            .and_then(|rest| rest.first_chunk::<16>())?;
        matches!(self.kind(), 135..=137).then(|| Ipv6Addr::from(*octets))
    }

    /// Router, solicited, override: the flags of a neighbour advertisement.
    pub fn advertisement_flags(&self) -> Option<(bool, bool, bool)> {
        let flags = *self.message.get(4)?;
        let is_advertisement = self.kind() == 136;
        is_advertisement.then_some((flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0))
    }

    /// Options of neighbour discovery: type, and the bytes after type and
    /// length, as far as the lengths make sense.
    pub fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let at = match self.kind() {
            133 => 8,
            134 => 16,
            135 | 136 => 24,
            137 => 40,
            _ => usize::MAX,
        };
        let mut rest = self.message.get(at..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let &[kind, len] = rest.first_chunk::<2>()?;
            let len = usize::from(len) * 8;
            let data = rest.get(2..len)?;
            rest = &rest[len..];
            Some((kind, data))
        })
    }

    /// The captured bytes of the message.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Bytes: type, code and checksum.
    pub fn header_len(&self) -> usize {
        MIN_LEN
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let message = cursor.rest();
    if message.len() < MIN_LEN {
        return cursor.too_short("icmpv6", MIN_LEN);
    }
    let span = cursor.span();
    cursor.push(Layer::Icmpv6(Icmpv6 { message, span }), MIN_LEN, Next::Done)
}
