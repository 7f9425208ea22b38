//! ARP: RFC 826.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use core::net::Ipv4Addr;
use etherparse::ArpPacketSlice;

/// An ARP packet.
#[derive(Debug, Clone)]
pub struct Arp<'a> {
    packet: ArpPacketSlice<'a>,
    pub span: Span,
}

impl<'a> Arp<'a> {
    /// 1 request, 2 reply, 3 and 4 reverse, 8 and 9 inverse.
    pub fn operation(&self) -> u16 {
        self.packet.operation().0
    }

    /// Hardware address of the sender, as long as the packet says.
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
        let is_ipv4 = self.packet.proto_addr_type().0 == 0x0800;
        let sender: [u8; 4] = self.sender_protocol().try_into().ok()?;
        let target: [u8; 4] = self.target_protocol().try_into().ok()?;
        is_ipv4.then_some((sender.into(), target.into()))
    }

    /// Bytes: the whole packet.
    pub fn header_len(&self) -> usize {
        self.packet.slice().len()
    }

    fn field(&self, number: usize) -> &'a [u8] {
        let bytes = self.packet.slice();
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
    let Ok(packet) = ArpPacketSlice::from_slice(rest) else {
        let needed = match rest {
            [_, _, _, _, hardware, protocol, ..] => {
                8 + 2 * (usize::from(*hardware) + usize::from(*protocol))
            }
            _ => 8,
        };
        return cursor.too_short("arp", needed);
    };
    let len = packet.slice().len();
    // What follows in the frame is Ethernet's padding.
    cursor.limit(LengthSource::ArpAddressLengths, len);
    cursor.push(
        Layer::Arp(Arp {
            packet,
            span: cursor.span(),
        }),
        len,
        Next::Done,
    )
}
