//! Classic pcap, nanosecond magic: packets and times, nothing else.

use decoders::LinkType;

use super::capture::{MAX_PACKET, WriteError, link_name};
use super::sink::Sink;
use crate::observation::{Frame, Interface};

/// Writes a classic pcap. Its header is written with the first packet, which
/// decides the one link type that the file can hold.
pub struct PcapWriter {
    pub(super) sink: Sink,
    link: Option<LinkType>,
}

/// The link type that the file gets: bare IPv4 and IPv6 go together as raw IP.
fn family(link: LinkType) -> LinkType {
    match link {
        LinkType::Ipv4 | LinkType::Ipv6 => LinkType::RawIp,
        other => other,
    }
}

impl PcapWriter {
    pub(super) fn new(sink: Sink) -> PcapWriter {
        PcapWriter { sink, link: None }
    }

    pub(super) fn write_frame(
        &mut self,
        interface: &Interface,
        frame: &Frame<'_>,
    ) -> Result<(), WriteError> {
        let link = family(frame.link);
        match self.link {
            Some(first) if first != link => {
                return Err(WriteError::MixedLinks {
                    name: self.sink.name().to_owned(),
                    interface: interface.name.clone(),
                    link: link_name(frame.link),
                    first: link_name(first),
                });
            }
            Some(_) => {}
            None => self.header(link)?,
        }
        let data = &frame.data[..frame.data.len().min(MAX_PACKET)];
        // 32 bits of seconds last until 2106; later times are held there.
        let seconds = u32::try_from(frame.ts_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let buf = &mut self.sink.buf;
        let original = frame.orig_len.max(data.len() as u32);
        for word in [
            seconds,
            (frame.ts_ns % 1_000_000_000) as u32,
            data.len() as u32,
            original,
        ] {
            buf.extend_from_slice(&word.to_le_bytes());
        }
        buf.extend_from_slice(data);
        self.sink.end_block(true)
    }

    fn header(&mut self, link: LinkType) -> Result<(), WriteError> {
        self.link = Some(link);
        let buf = &mut self.sink.buf;
        buf.extend_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
        buf.extend_from_slice(&2_u16.to_le_bytes());
        buf.extend_from_slice(&4_u16.to_le_bytes());
        for word in [0, 0, MAX_PACKET as u32, u32::from(link.number())] {
            buf.extend_from_slice(&word.to_le_bytes());
        }
        self.sink.end_block(false)
    }

    /// A file without packets is still a capture.
    pub(super) fn end(&mut self) -> Result<(), WriteError> {
        if self.link.is_none() {
            self.header(LinkType::RawIp)
        } else {
            Ok(())
        }
    }
}
