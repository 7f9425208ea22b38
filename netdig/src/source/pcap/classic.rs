//! The classic pcap format (draft-ietf-opsawg-pcap): a header, then records.

use decoders::LinkType;

use super::input::Input;
use super::{Fault, MAX_PACKET, Record, link_from_number, u16_at, u32_at};
use crate::observation::Interface;

/// Length of the file header.
const FILE_HEADER: usize = 24;

/// Which of the two length fields of a record comes first: writers before
/// version 2.3 had it the other way round, those of 2.3 may have.
#[derive(Clone, Copy, PartialEq)]
enum Lengths {
    InOrder,
    Swapped,
    Perhaps,
}

/// What the file header says about the records.
pub(super) struct Classic {
    big: bool,
    /// Nanoseconds in a unit of the second timestamp field.
    fraction_ns: u64,
    /// 16, or 24 with Kuznetzov's modified magic.
    record_header: usize,
    lengths: Lengths,
}

/// Byte order, nanoseconds of the fraction, record header length.
fn magic(start: &[u8]) -> Option<(bool, u64, usize)> {
    let first = [start[0], start[1], start[2], start[3]];
    [
        (true, u32::from_be_bytes(first)),
        (false, u32::from_le_bytes(first)),
    ]
    .into_iter()
    .find_map(|(big, number)| match number {
        0xa1b2_c3d4 => Some((big, 1000, 16)),
        0xa1b2_3c4d => Some((big, 1, 16)),
        // Alexey Kuznetzov's patched libpcap: interface, protocol and
        // packet type follow the lengths.
        0xa1b2_cd34 => Some((big, 1000, 24)),
        _ => None,
    })
}

impl Classic {
    /// Whether a stream that begins so is a classic pcap file.
    pub(super) fn recognises(start: &[u8]) -> bool {
        start.len() >= 4 && magic(start).is_some()
    }

    /// Reads the file header. The interface has no name: the format has none.
    pub(super) fn open(input: &mut Input) -> Result<(Classic, Interface), Fault> {
        if !input.need(FILE_HEADER)? {
            return Err(Fault::cut("the file header", FILE_HEADER, input));
        }
        let head = input.available();
        let Some((big, fraction_ns, record_header)) = magic(head) else {
            return Err(Fault::Corrupt("the magic number is not pcap's".to_owned()));
        };
        let (major, minor) = (u16_at(head, 4, big), u16_at(head, 6, big));
        if major != 2 {
            return Err(Fault::Corrupt(format!(
                "the header says version {major}.{minor}; known is 2.4"
            )));
        }
        let lengths = match minor {
            0..=2 => Lengths::Swapped,
            3 => Lengths::Perhaps,
            _ => Lengths::InOrder,
        };
        let snaplen = u32_at(head, 16, big);
        // The upper bits tell the length of a frame check sequence.
        let link: LinkType = link_from_number(u32_at(head, 20, big) & 0x03ff_ffff);
        input.consume(FILE_HEADER);
        let interface = Interface {
            name: String::new(),
            link,
            snaplen,
            addresses: Vec::new(),
        };
        Ok((
            Classic {
                big,
                fraction_ns,
                record_header,
                lengths,
            },
            interface,
        ))
    }

    /// The next record; `None` at the end of the stream.
    #[inline]
    /// Bytes of the record that `available` begins with, header included; `None`
    /// where even that is not there.
    pub(super) fn record_len(&self, available: &[u8]) -> Option<u64> {
        let head = available.get(..self.record_header)?;
        let (first, second) = (u32_at(head, 8, self.big), u32_at(head, 12, self.big));
        Some(self.record_header as u64 + u64::from(first.min(second)))
    }

    pub(super) fn next(&self, input: &mut Input) -> Result<Option<Record>, Fault> {
        if !input.need(self.record_header)? {
            return match input.available().len() {
                0 => Ok(None),
                _ => Err(Fault::cut("a packet's header", self.record_header, input)),
            };
        }
        let head = input.available();
        let seconds = u64::from(u32_at(head, 0, self.big));
        let fraction = u64::from(u32_at(head, 4, self.big));
        let (captured, original) =
            self.lengths(u32_at(head, 8, self.big), u32_at(head, 12, self.big));
        if captured > MAX_PACKET {
            return Err(Fault::Corrupt(format!(
                "a packet claims {captured} bytes, more than the {MAX_PACKET} that any link has"
            )));
        }
        let len = self.record_header + captured as usize;
        if !input.need(len)? {
            return Err(Fault::cut("a packet", len, input));
        }
        let start = input.position() + self.record_header;
        input.consume(len);
        Ok(Some(Record {
            ts_ns: seconds * 1_000_000_000 + fraction * self.fraction_ns,
            interface: 0,
            data: start..start + captured as usize,
            original,
            options: 0..0,
        }))
    }

    fn lengths(&self, first: u32, second: u32) -> (u32, u32) {
        match self.lengths {
            Lengths::InOrder => (first, second),
            Lengths::Swapped => (second, first),
            Lengths::Perhaps if first > second => (second, first),
            Lengths::Perhaps => (first, second),
        }
    }
}
