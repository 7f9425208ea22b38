//! ARP: RFC 826.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use core::net::Ipv4Addr;

/// Bytes before the addresses.
const FIXED: usize = 8;

/// An ARP packet: its captured bytes, as many as its lengths say.
#[derive(Debug, Clone)]
pub struct Arp<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

impl<'a> Arp<'a> {
    /// 1 request, 2 reply, 3 and 4 reverse, 8 and 9 inverse.
    pub fn operation(&self) -> u16 {
        u16::from_be_bytes([self.bytes[6], self.bytes[7]])
    }

    /// Hardware address of the sender, as long as the packet says; empty where it
    /// was not captured or is longer than the packet.
    pub fn sender_hardware(&self) -> &'a [u8] {
        self.field(0)
    }

    /// Protocol address of the sender, as long as the packet says.
    pub fn sender_protocol(&self) -> &'a [u8] {
        self.field(1)
    }

    pub fn target_hardware(&self) -> &'a [u8] {
        self.field(2)
    }

    pub fn target_protocol(&self) -> &'a [u8] {
        self.field(3)
    }

    /// Sender and target where the packet is about IPv4 addresses.
    pub fn ipv4(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let is_ipv4 = self.bytes[2..4] == [0x08, 0x00];
        let sender: [u8; 4] = self.sender_protocol().try_into().ok()?;
        let target: [u8; 4] = self.target_protocol().try_into().ok()?;
        is_ipv4.then_some((sender.into(), target.into()))
    }

    /// Bytes: the whole packet.
    pub fn header_len(&self) -> usize {
        self.bytes.len()
    }

    fn field(&self, number: usize) -> &'a [u8] {
        let bytes = self.bytes;
        let hardware = usize::from(bytes[4]);
        let protocol = usize::from(bytes[5]);
        let (from, len) = match number {
            0 => (8, hardware),
            1 => (8 + hardware, protocol),
            2 => (8 + hardware + protocol, hardware),
            _ => (8 + 2 * hardware + protocol, protocol),
        };
        bytes.get(from..from + len).unwrap_or(&[])
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[_, _, _, _, hardware, protocol, _, _]) = rest.first_chunk::<FIXED>() else {
        return cursor.too_short("arp", FIXED);
    };
    let len = FIXED + 2 * (usize::from(hardware) + usize::from(protocol));
    // What follows in the frame is Ethernet's padding.
    cursor.limit(LengthSource::ArpAddressLengths, len);
    let bytes = &rest[..rest.len().min(len)];
    let span = cursor.span();
    cursor.push(Layer::Arp(Arp { bytes, span }), bytes.len(), Next::Done)
}
