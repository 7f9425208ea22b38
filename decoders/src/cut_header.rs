//! What is there of a header that is not all there.

use crate::packet::Packet;
use crate::stop::Reason;

/// The beginning of a header that ends too early, by the capture or by the length
/// of the layer around it: [`Packet::stop`] says by which. It is no layer, as most
/// of what a layer tells is missing.
///
/// ```
/// use decoders::{LinkType, Ports, decode};
/// let frame = [
///     0x45, 0, 0, 60, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
///     0x30, 0x39, 0, 80, 0, 0, 0, 7, // TCP's first eight of twenty bytes
/// ];
/// let packet = decode(LinkType::RawIp, &frame, 60, &Ports::default());
/// let header = packet.cut_header().unwrap();
/// assert_eq!((header.layer, header.ports()), ("tcp", Some((12345, 80))));
/// assert_eq!((header.sequence(), header.acknowledgement()), (Some(7), None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutHeader<'a> {
    /// Name of the layer that it would be.
    pub layer: &'static str,
    /// As many of the header's bytes as there are, one at least.
    pub bytes: &'a [u8],
}

impl<'a> CutHeader<'a> {
    pub(crate) fn of(packet: &Packet<'a>) -> Option<CutHeader<'a>> {
        let stop = packet.stop?;
        let (Reason::Cut { .. } | Reason::TooShort { .. }) = stop.reason else {
            return None;
        };
        let is_layer = packet.layers.last().is_some_and(|last| {
            last.name() == stop.layer && last.span().start as usize == stop.offset
        });
        let had = stop.shortage?.had;
        let data: &'a [u8] = packet.data;
        let bytes = data.get(stop.offset..data.len().min(stop.offset + had))?;
        (!is_layer && !bytes.is_empty()).then_some(CutHeader {
            layer: stop.layer,
            bytes,
        })
    }

    /// Source and destination port of TCP, UDP, UDP-Lite and SCTP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        matches!(self.layer, "tcp" | "udp" | "udplite" | "sctp")
            .then(|| Some((self.word(0)?, self.word(2)?)))?
    }

    /// TCP's sequence number.
    pub fn sequence(&self) -> Option<u32> {
        (self.layer == "tcp").then(|| self.long(4))?
    }

    /// TCP's acknowledgement number.
    pub fn acknowledgement(&self) -> Option<u32> {
        (self.layer == "tcp").then(|| self.long(8))?
    }

    /// UDP's own length field: bytes, header included.
    pub fn udp_length(&self) -> Option<u16> {
        (self.layer == "udp").then(|| self.word(4))?
    }

    /// Type of an ICMP or ICMPv6 message.
    pub fn icmp_type(&self) -> Option<u8> {
        matches!(self.layer, "icmp" | "icmpv6").then(|| self.bytes.first().copied())?
    }

    /// Code of an ICMP or ICMPv6 message.
    pub fn icmp_code(&self) -> Option<u8> {
        matches!(self.layer, "icmp" | "icmpv6").then(|| self.bytes.get(1).copied())?
    }

    fn word(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }
}
