//! pcapng (draft-ietf-opsawg-pcapng): blocks, sections and their interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::input::Input;
use super::{Fault, MAX_PACKET, Record, Stream, link_from_number, u16_at, u32_at};
use crate::annotation::{self, Annotations};
use crate::observation::Interface;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_IPV4ADDR: u16 = 4;
const IF_IPV6ADDR: u16 = 5;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// Type, length and trailing length.
const FRAMING: usize = 12;
/// No block of a kind that is read is larger; others are passed over unbuffered.
const MAX_BLOCK: u32 = MAX_PACKET + 1024 * 1024;

/// How an interface's timestamps become nanoseconds.
struct Clock {
    per_second: u128,
    offset_s: i64,
}

impl Clock {
    /// Of an `if_tsresol` value: a power of ten, or of two with the top bit set.
    fn new(resolution: u8, offset_s: i64) -> Clock {
        let exponent = u32::from(resolution & 0x7f);
        let base: u128 = if resolution & 0x80 != 0 { 2 } else { 10 };
        // Nothing finer than 2^-127 fits; such a clock never leaves 0.
        Clock {
            per_second: base.checked_pow(exponent).unwrap_or(u128::MAX),
            offset_s,
        }
    }

    #[inline]
    fn to_ns(&self, ticks: u64) -> u64 {
        let ns = match self.per_second {
            1_000_000_000 => ticks,
            1_000_000 => ticks.saturating_mul(1000),
            per_second => {
                let whole = u128::from(ticks) / per_second;
                let rest = u128::from(ticks) % per_second;
                let fraction = rest.saturating_mul(1_000_000_000) / per_second;
                u64::try_from(whole * 1_000_000_000 + fraction).unwrap_or(u64::MAX)
            }
        };
        if self.offset_s == 0 {
            return ns;
        }
        let offset = i128::from(self.offset_s) * 1_000_000_000;
        u64::try_from((i128::from(ns) + offset).max(0)).unwrap_or(u64::MAX)
    }
}

/// State of the reading of one pcapng stream.
pub(super) struct Blocks {
    big: bool,
    /// The section header's application is netdig: its comments are believed.
    trusted: bool,
    /// Index of the section's first interface in the list of all.
    base: usize,
    clocks: Vec<Clock>,
    /// What is left of a block that is being passed over.
    passing: u64,
    annotations: Annotations,
}

impl Blocks {
    pub(super) fn recognises(start: &[u8]) -> bool {
        start.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    pub(super) fn new() -> Blocks {
        Blocks {
            big: false,
            trusted: false,
            base: 0,
            clocks: Vec::new(),
            passing: 0,
            annotations: Annotations::default(),
        }
    }

    /// The next packet; `None` at the end of the stream. New interfaces and
    /// what comments tell beside frames go to `stream`.
    #[inline]
    pub(super) fn next(
        &mut self,
        input: &mut Input,
        stream: &mut Stream,
    ) -> Result<Option<Record>, Fault> {
        loop {
            self.pass_over(input)?;
            if !input.need(FRAMING)? {
                return match input.available().len() {
                    0 => Ok(None),
                    _ => Err(Fault::cut("a block's header", FRAMING, input)),
                };
            }
            let kind = u32_at(input.available(), 0, self.big);
            if kind == SECTION_HEADER {
                self.byte_order(input.available())?;
            }
            let Some(len) = self.whole_block(kind, input)? else {
                continue;
            };
            let start = input.position() + 8;
            let body = start..start + len - FRAMING;
            let record = match kind {
                ENHANCED_PACKET | PACKET => Some(self.timed(kind, input.bytes(), body, stream)?),
                SIMPLE_PACKET => Some(self.simple(input.bytes(), body, stream)?),
                SECTION_HEADER => self.section(&input.bytes()[body], stream)?,
                INTERFACE => self.interface(&input.bytes()[body], stream)?,
                _ => self.statistics(&input.bytes()[body], stream),
            };
            input.consume(len);
            if record.is_some() {
                return Ok(record);
            }
        }
    }

    fn pass_over(&mut self, input: &mut Input) -> Result<(), Fault> {
        while self.passing > 0 {
            match input.discard(self.passing)? {
                0 => return Err(Fault::cut("a block", self.passing as usize, input)),
                n => self.passing -= n,
            }
        }
        Ok(())
    }

    fn byte_order(&mut self, head: &[u8]) -> Result<(), Fault> {
        self.big = match head[8..12] {
            [0x1a, 0x2b, 0x3c, 0x4d] => true,
            [0x4d, 0x3c, 0x2b, 0x1a] => false,
            _ => {
                return Err(Fault::Corrupt(
                    "a section header has no byte-order magic".to_owned(),
                ));
            }
        };
        Ok(())
    }

    /// Makes the block at hand available and returns its length; `None` when it
    /// is of no interest and will be passed over.
    #[inline]
    fn whole_block(&mut self, kind: u32, input: &mut Input) -> Result<Option<usize>, Fault> {
        let claimed = u32_at(input.available(), 4, self.big);
        if claimed < FRAMING as u32 {
            return Err(Fault::Corrupt(format!(
                "a block claims {claimed} bytes, fewer than its framing"
            )));
        }
        // Some writers do not count the padding; wiretap reads those, too.
        let len = u64::from(claimed).next_multiple_of(4);
        let wanted = matches!(
            kind,
            ENHANCED_PACKET | SIMPLE_PACKET | PACKET | SECTION_HEADER | INTERFACE
        ) || (kind == STATISTICS && self.trusted);
        if !wanted && claimed > super::SMALL_BLOCK {
            self.passing = len;
            return Ok(None);
        }
        if claimed > MAX_BLOCK {
            return Err(Fault::Corrupt(format!(
                "a block claims {claimed} bytes, more than any packet needs"
            )));
        }
        let len = len as usize;
        if !input.need(len)? {
            return Err(Fault::cut("a packet's block", len, input));
        }
        let trailer = u32_at(input.available(), len - 4, self.big);
        if trailer != claimed && trailer as usize != len {
            return Err(Fault::Corrupt(format!(
                "a block's two lengths differ: {claimed} before it, {trailer} after it"
            )));
        }
        if !wanted {
            input.consume(len);
            return Ok(None);
        }
        Ok(Some(len))
    }

    fn section(&mut self, body: &[u8], stream: &mut Stream) -> Result<Option<Record>, Fault> {
        if body.len() < 16 {
            return Err(Fault::Corrupt("a section header is too short".to_owned()));
        }
        let (major, minor) = (u16_at(body, 4, self.big), u16_at(body, 6, self.big));
        if major != 1 {
            return Err(Fault::Corrupt(format!(
                "a section header says version {major}.{minor}; known is 1.0"
            )));
        }
        self.base = stream.interfaces.len();
        self.clocks.clear();
        self.annotations = Annotations::default();
        self.trusted = Options::new(&body[16..], self.big)
            .any(|(code, value)| code == SHB_USERAPPL && value.starts_with(b"netdig "));
        Ok(None)
    }

    fn interface(&mut self, body: &[u8], stream: &mut Stream) -> Result<Option<Record>, Fault> {
        if body.len() < 8 {
            return Err(Fault::Corrupt(
                "an interface description is too short".to_owned(),
            ));
        }
        let mut interface = Interface {
            name: String::new(),
            link: link_from_number(u32::from(u16_at(body, 0, self.big))),
            snaplen: u32_at(body, 4, self.big),
            addresses: Vec::new(),
        };
        let (mut resolution, mut offset_s) = (6, 0);
        for (code, value) in Options::new(&body[8..], self.big) {
            match (code, value.len()) {
                (IF_NAME, _) => interface.name = self.name(value),
                (IF_TSRESOL, 1..) => resolution = value[0],
                (IF_TSOFFSET, 8..) => offset_s = i64_at(value, self.big),
                (IF_IPV4ADDR, 4..) => interface.addresses.extend(address(&value[..4])),
                (IF_IPV6ADDR, 16..) => interface.addresses.extend(address(&value[..16])),
                _ => {}
            }
        }
        self.clocks.push(Clock::new(resolution, offset_s));
        stream.interfaces.push(interface);
        Ok(None)
    }

    fn name(&self, value: &[u8]) -> String {
        // Some writers count a terminating NUL.
        let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
        let value = &value[..end];
        match self.trusted {
            true => String::from_utf8_lossy(&annotation::unescape(value)).into_owned(),
            false => String::from_utf8_lossy(value).into_owned(),
        }
    }

    /// An enhanced packet, or the obsolete one, which has 16 bits of interface and
    /// then its count of drops.
    #[inline]
    fn timed(
        &mut self,
        kind: u32,
        bytes: &[u8],
        body: std::ops::Range<usize>,
        stream: &mut Stream,
    ) -> Result<Record, Fault> {
        let head = fixed(bytes, &body, 20)?;
        let head = Head {
            interface: match kind {
                PACKET => u32::from(u16_at(head, 0, self.big)),
                _ => u32_at(head, 0, self.big),
            },
            ticks: u64::from(u32_at(head, 4, self.big)) << 32
                | u64::from(u32_at(head, 8, self.big)),
            captured: u32_at(head, 12, self.big),
            original: u32_at(head, 16, self.big),
        };
        self.packet(bytes, body.start + 20..body.end, &head, stream)
    }

    /// A simple packet has no time (0), no options, and belongs to interface 0.
    fn simple(
        &mut self,
        bytes: &[u8],
        body: std::ops::Range<usize>,
        stream: &mut Stream,
    ) -> Result<Record, Fault> {
        let original = u32_at(fixed(bytes, &body, 4)?, 0, self.big);
        let snaplen = stream
            .interfaces
            .get(self.base)
            .map_or(0, |interface| interface.snaplen);
        let limit = if snaplen == 0 { u32::MAX } else { snaplen };
        let room = (body.end - body.start - 4) as u32;
        let head = Head {
            interface: 0,
            ticks: 0,
            captured: original.min(limit).min(room),
            original,
        };
        let mut record = self.packet(bytes, body.start + 4..body.end, &head, stream)?;
        record.ts_ns = 0;
        record.options = 0..0;
        Ok(record)
    }

    #[inline]
    fn packet(
        &mut self,
        bytes: &[u8],
        room: std::ops::Range<usize>,
        head: &Head,
        stream: &mut Stream,
    ) -> Result<Record, Fault> {
        let Some(clock) = self.clocks.get(head.interface as usize) else {
            return Err(Fault::Corrupt(format!(
                "a packet names interface {}, and the section has described {}",
                head.interface,
                self.clocks.len()
            )));
        };
        let captured = head.captured as usize;
        if captured > room.end - room.start {
            return Err(Fault::Corrupt(format!(
                "a packet claims {captured} bytes, and its block has room for {}",
                room.end - room.start
            )));
        }
        let options = (room.start + captured.next_multiple_of(4)).min(room.end)..room.end;
        let record = Record {
            ts_ns: clock.to_ns(head.ticks),
            interface: self.base as u32 + head.interface,
            data: room.start..room.start + captured,
            original: head.original,
            options,
        };
        if self.trusted {
            self.annotate(&bytes[record.options.clone()], &record, stream);
        }
        Ok(record)
    }

    /// Believes the comments of a packet in a section that netdig wrote.
    fn annotate(&mut self, options: &[u8], record: &Record, stream: &mut Stream) {
        let comments = Options::new(options, self.big)
            .filter(|(code, _)| *code == OPT_COMMENT)
            .map(|(_, v)| v);
        let base = self.base as u32;
        let annotation = self
            .annotations
            .read(comments, record.ts_ns, base, &mut |told| {
                stream.told.push_back(told)
            });
        stream.annotation = Some(annotation);
    }

    /// Losses that no later packet could carry stand in the statistics.
    fn statistics(&mut self, body: &[u8], stream: &mut Stream) -> Option<Record> {
        let options = Options::new(body.get(12..)?, self.big);
        let comments = options
            .filter(|(code, _)| *code == OPT_COMMENT)
            .map(|(_, v)| v);
        let base = self.base as u32;
        self.annotations
            .read(comments, 0, base, &mut |told| stream.told.push_back(told));
        None
    }

    /// Bytes of the block that `available` begins with; `None` where its head is
    /// not there.
    pub(super) fn block_len(&self, available: &[u8]) -> Option<u64> {
        let head = available.get(..8)?;
        Some(u64::from(u32_at(head, 4, self.big)))
    }

    pub(super) fn big(&self) -> bool {
        self.big
    }
}

/// The fixed fields of a packet block, in host order.
struct Head {
    interface: u32,
    ticks: u64,
    captured: u32,
    original: u32,
}

#[inline]
fn fixed<'a>(
    bytes: &'a [u8],
    body: &std::ops::Range<usize>,
    len: usize,
) -> Result<&'a [u8], Fault> {
    let body = &bytes[body.clone()];
    match body.get(..len) {
        Some(head) => Ok(head),
        None => Err(Fault::Corrupt(format!(
            "a packet's block has {} bytes, and its fixed part needs {len}",
            body.len()
        ))),
    }
}

fn i64_at(value: &[u8], big: bool) -> i64 {
    let (first, second) = (
        u64::from(u32_at(value, 0, big)),
        u64::from(u32_at(value, 4, big)),
    );
    let whole = if big {
        first << 32 | second
    } else {
        second << 32 | first
    };
    whole.cast_signed()
}

fn address(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value)
        .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        .or_else(|_| <[u8; 16]>::try_from(value).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
        .ok()
}

/// The options of a block: code and value, until the end mark or the first that
/// is cut. What comes after garbage is not known, and costs no packet.
#[derive(Clone)]
pub(super) struct Options<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl<'a> Options<'a> {
    pub(super) fn new(bytes: &'a [u8], big: bool) -> Options<'a> {
        Options { bytes, big }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.len() < 4 {
            return None;
        }
        let code = u16_at(self.bytes, 0, self.big);
        let len = usize::from(u16_at(self.bytes, 2, self.big));
        if code == 0 {
            return None;
        }
        let value = self.bytes.get(4..4 + len)?;
        self.bytes = self.bytes.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((code, value))
    }
}
