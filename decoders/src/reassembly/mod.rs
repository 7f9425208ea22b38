//! Putting together what several frames carry: fragments of IP datagrams
//! (RFC 791, RFC 8200 section 4.5), and messages of TCP that go on in later
//! segments (RFC 9293).
//!
//! This is apart from plain decoding: a frame is decoded by itself first, and
//! only where [`Reassembly::concerns`] says so, by what decoding noticed
//! anyway, is there more to do. It allocates; all that it keeps is bounded by
//! [`Limits`], and what is thrown away is counted by its [`Cause`].
//!
//! # Datagrams
//! Fragments belong together by addresses, identification, for IPv4 the
//! protocol, the tunnels and VLANs around them, and what the caller says. They
//! may come in any order, and twice.
//! - What overlaps in IPv4 is taken as tshark takes it: the fragment that begins
//!   first wins, of equal beginnings the one that came first. In IPv6 the whole
//!   datagram is dropped (RFC 5722), but for a fragment that merely came twice.
//! - A datagram longer than 65535 bytes, one with two ends, one with bytes behind
//!   its end, and in IPv6 a fragment that is not the last and no multiple of 8
//!   bytes long, gives the datagram up. Its later fragments are not kept.
//! - A fragment that was not captured wholly is not kept.
//!
//! # Messages
//! A message of DNS, the head of one of HTTP/1, a record of TLS and the preface
//! of HTTP/2 are kept from the segment that begins them on, in the order of
//! sequence numbers. Of bytes that came twice those are kept that first came in
//! order, of those ahead of a gap the first. One message is under way in a
//! direction at most; another that begins beyond a gap ends it.
//!
//! ```
//! use decoders::reassembly::{Arrival, Buffers, Limits, Reassembly};
//! use decoders::{LinkType, Packet, Ports, decode_into};
//!
//! let header = |word: u8, offset: u8, id: u8| {
//!     [0x45, 0, 0, 28, 0, id, word, offset, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
//! };
//! let first = [&header(0x20, 0, 7)[..], &[0x30, 0x39, 0x1f, 0x90, 0, 16, 0, 0]].concat();
//! let last = [&header(0, 1, 7)[..], b"payload!"].concat();
//! let mut reassembly = Reassembly::new(Limits::default());
//! for (frame, bytes) in [(1, &first), (2, &last)] {
//!     let buffers = Buffers::new();
//!     let mut packet = Packet::new();
//!     let ports = Ports::default();
//!     decode_into(&mut packet, LinkType::RawIp, bytes, bytes.len(), &ports);
//!     assert!(reassembly.concerns(&packet));
//!     let arrival = Arrival { frame, context: 0, time_ns: 0 };
//!     let whole = reassembly.complete(&mut packet, arrival, &ports, &buffers);
//!     if frame == 2 {
//!         assert_eq!(whole.unwrap().frames, [1, 2]);
//!         assert_eq!(packet.layer_names().collect::<Vec<_>>(), ["ipv4", "udp"]);
//!         assert_eq!(packet.udp().unwrap().destination_port(), 8080);
//!     }
//! }
//! ```

mod datagrams;
mod place;
mod streams;

use crate::cursor::{Cursor, Next};
use crate::encap::Ports;
use crate::layer::Layer;
use crate::length::{LengthSource, Shortage};
use crate::packet::{MAX_ENCAPSULATIONS, Packet, PutTogether};
use crate::stop::{Reason, Stop};
use alloc::{boxed::Box, vec::Vec};
use datagrams::Datagrams;
use place::SegmentPlace;
use std::cell::OnceCell;
use std::hash::RandomState;
use streams::{GoesOn, Streams, Verdict};

/// Longest IPv4 packet, and longest payload of IPv6 that is no jumbogram, bytes.
const MAX_IP: usize = 65_535;
/// Longest message that is put together, bytes: DNS over TCP with its length.
pub const MAX_MESSAGE: usize = 2 + 65_535;
/// Most segments of one message.
pub const MAX_SEGMENTS: usize = 1024;

const SECOND: u64 = 1_000_000_000;

/// What is kept at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of fragments, and bytes of segments: each of the two stays below
    /// it, what it takes to keep them counted in.
    pub bytes: usize,
    /// Datagrams under way.
    pub datagrams: usize,
    /// Fragments of one datagram.
    pub parts: usize,
    /// Streams under way, and those whose last message is done.
    pub streams: usize,
    /// Nanoseconds from a datagram's first fragment seen, by the packets' time.
    pub ipv4_age_ns: u64,
    pub ipv6_age_ns: u64,
    /// Nanoseconds from a message's beginning.
    pub stream_age_ns: u64,
}

impl Default for Limits {
    /// 4 MiB, as Linux's `ipfrag_high_thresh`; 30 s for IPv4, as its
    /// `ipfrag_time`: identifications of 16 bits come again soon on a busy path;
    /// 60 s for IPv6, as RFC 8200 has it. A message of TCP may wait for a segment
    /// sent again after the longest usual time-out, 60 s.
    fn default() -> Limits {
        Limits {
            bytes: 4 << 20,
            datagrams: 4096,
            parts: 2048,
            streams: 4096,
            ipv4_age_ns: 30 * SECOND,
            ipv6_age_ns: 60 * SECOND,
            stream_age_ns: 60 * SECOND,
        }
    }
}

/// Why a datagram or message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It was not whole in time.
    Age,
    /// It was the oldest when the bytes became too many.
    Memory,
    /// It was the oldest when there were too many.
    Number,
    /// It was in too many parts.
    Parts,
    /// Fragments of IPv6 overlapped.
    Overlap,
    /// It was too long, or its lengths contradict each other.
    Length,
    /// Another message began beyond a gap.
    Gap,
    /// What was put together is no message.
    Shape,
    /// The connection was reset, or began anew.
    Ended,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 9] = [
        Cause::Age,
        Cause::Memory,
        Cause::Number,
        Cause::Parts,
        Cause::Overlap,
        Cause::Length,
        Cause::Gap,
        Cause::Shape,
        Cause::Ended,
    ];

    /// `age`, `memory`, `number`, …
    pub fn name(self) -> &'static str {
        match self {
            Cause::Age => "age",
            Cause::Memory => "memory",
            Cause::Number => "number",
            Cause::Parts => "parts",
            Cause::Overlap => "overlap",
            Cause::Length => "length",
            Cause::Gap => "gap",
            Cause::Shape => "shape",
            Cause::Ended => "ended",
        }
    }
}

/// How many were put together and given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub whole: u64,
    given_up: [u64; Cause::ALL.len()],
}

impl Totals {
    /// How many were given up for that cause.
    pub fn given_up(&self, cause: Cause) -> u64 {
        self.given_up[cause as usize]
    }

    fn give_up(&mut self, cause: Cause) {
        self.given_up[cause as usize] += 1;
    }
}

/// A frame, as far as it is not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The caller's number of it.
    pub frame: u64,
    /// Frames of different contexts have nothing to do with each other: a number
    /// of the interface, for example.
    pub context: u64,
    /// When it was seen, nanoseconds.
    pub time_ns: u64,
}

/// What was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassembled {
    /// The frames that it came in, in the order of its bytes.
    pub frames: Vec<u64>,
    /// Bytes: of the datagram without IP's headers, of the message.
    pub len: usize,
}

/// Room for the bytes that a packet's layers are views into once they were put
/// together.
#[derive(Debug, Default)]
pub struct Buffers {
    filled: OnceCell<Box<[OnceCell<Vec<u8>>; BUFFERS]>>,
}

/// Each tunnel's datagram, the innermost, and a message.
const BUFFERS: usize = MAX_ENCAPSULATIONS + 2;

impl Buffers {
    /// No room yet: it is made when it is needed.
    #[inline]
    pub const fn new() -> Buffers {
        Buffers {
            filled: OnceCell::new(),
        }
    }

    fn keep(&self, head: &[u8], bytes: &[u8]) -> Option<&[u8]> {
        let cells = self.filled.get_or_init(Default::default);
        let cell = cells.iter().find(|cell| cell.get().is_none())?;
        Some(cell.get_or_init(|| [head, bytes].concat()))
    }
}

/// Fragments and segments that wait for others. See the [module](self).
#[derive(Debug)]
pub struct Reassembly {
    limits: Limits,
    datagrams: Datagrams,
    streams: Streams,
    /// Nobody can choose packets of other networks that seem of the same.
    seed: RandomState,
}

impl Reassembly {
    pub fn new(limits: Limits) -> Reassembly {
        Reassembly {
            limits,
            datagrams: Datagrams::default(),
            streams: Streams::default(),
            seed: RandomState::new(),
        }
    }

    /// Whether [`Reassembly::complete`] has to do with a packet: it is a fragment,
    /// leaves a message open, or is of TCP while a message is under way. It looks
    /// at nothing but what decoding left.
    #[inline]
    pub fn concerns(&self, packet: &Packet<'_>) -> bool {
        packet.fragmented
            || place::leaves_open(packet)
            || (self.streams.waiting() > 0 && packet.tcp().is_some())
    }

    /// Takes in a packet just decoded. Where its frame completes a datagram or a
    /// message, that is decoded within the frame's own headers: the packet's
    /// layers go on into it, views into `buffers`, and
    /// [`Packet::put_together`] is set. Where several are completed, one in the
    /// other, the innermost is told.
    ///
    /// A part of a message that is not whole yet has no layer above TCP and stops
    /// with [`Reason::Segmented`], of the first part at the message's own layer;
    /// what is whole before it in the segment, and first fragments, stay as they
    /// are.
    pub fn complete<'b>(
        &mut self,
        packet: &mut Packet<'b>,
        arrival: Arrival,
        ports: &Ports,
        buffers: &'b Buffers,
    ) -> Option<Reassembled> {
        let (mut result, mut from) = (None, 0);
        while packet.fragmented {
            let Some(place) = self.fragment(packet, from, arrival) else {
                return result;
            };
            let Some(whole) = self.datagrams.add(&place.fragment, &self.limits) else {
                return result;
            };
            let Some(data) = buffers.keep(&packet.data[..place.at], &whole.bytes) else {
                return result;
            };
            from = place.layer + 1;
            let next = Next::Protocol {
                number: whole.next,
                version: place.version,
            };
            let mut cursor = resume(packet, from, place.at, data);
            crate::run(&mut cursor, next, ports);
            result = Some(Reassembled {
                frames: whole.frames,
                len: whole.bytes.len(),
            });
        }
        self.segment_of(packet, arrival, ports, buffers).or(result)
    }

    fn segment_of<'b>(
        &mut self,
        packet: &mut Packet<'b>,
        arrival: Arrival,
        ports: &Ports,
        buffers: &'b Buffers,
    ) -> Option<Reassembled> {
        let place = self.segment(packet, arrival)?;
        let goes_on = place::goes_on(packet, place.layer);
        let stands = packet.layers.len() > place.layer + 1;
        match self
            .streams
            .add(&place.segment, stands, goes_on, &self.limits)
        {
            Verdict::Alone => {
                // What is whole before it stays.
                if let Some(GoesOn { from: 0, missing }) = goes_on {
                    let begun = packet
                        .layers
                        .get(place.layer + 1)
                        .map_or("tcp", Layer::name);
                    leave_open(packet, &place, begun, missing);
                }
                None
            }
            Verdict::Part { missing } => {
                leave_open(packet, &place, "tcp", missing);
                None
            }
            Verdict::Try => self.try_message(packet, &place, ports, buffers),
        }
    }

    /// Decodes what a stream has, and keeps it if a message ends in it.
    fn try_message<'b>(
        &mut self,
        packet: &mut Packet<'b>,
        place: &SegmentPlace<'_>,
        ports: &Ports,
        buffers: &'b Buffers,
    ) -> Option<Reassembled> {
        let key = &place.segment.key;
        let data = buffers.keep(&packet.data[..place.at], self.streams.bytes(key))?;
        let mut whole = packet.clone();
        let mut cursor = resume(&mut whole, place.layer + 1, place.at, data);
        let next = crate::tcp::application(&mut cursor, key.ports, false);
        crate::run(&mut cursor, next, ports);
        let rest = place::goes_on(&whole, place.layer);
        if rest.is_none() && whole.layers.len() == place.layer + 1 {
            self.streams.give_up(key, Cause::Shape);
            return None;
        }
        match self.streams.settle(key, rest, place.segment.time_ns) {
            Ok((frames, len)) => {
                *packet = whole;
                Some(Reassembled { frames, len })
            }
            Err(missing) => {
                leave_open(packet, place, "tcp", missing);
                None
            }
        }
    }

    /// Of datagrams.
    pub fn datagrams(&self) -> Totals {
        self.datagrams.totals
    }

    /// Of messages over TCP.
    pub fn messages(&self) -> Totals {
        self.streams.totals
    }

    /// Datagrams, and messages, that still wait for their rest.
    pub fn waiting(&self) -> (u64, u64) {
        (self.datagrams.waiting(), self.streams.waiting() as u64)
    }

    /// Bytes that are kept, what it takes to keep them counted in; at most twice
    /// [`Limits::bytes`].
    pub fn kept_bytes(&self) -> usize {
        self.datagrams.cost() + self.streams.cost()
    }
}

/// Leaves a packet its first `keep` layers, and gives it other bytes, of which
/// those before `at` are its own.
fn resume<'p, 'b>(
    packet: &'p mut Packet<'b>,
    keep: usize,
    at: usize,
    data: &'b [u8],
) -> Cursor<'p, 'b> {
    packet.layers.truncate(keep);
    packet.put_together = Some(PutTogether {
        at,
        frame_len: packet.frame_len(),
    });
    packet.data = data;
    packet.orig_len = data.len();
    packet.stop = None;
    packet.fragmented = false;
    Cursor::resume(packet, at)
}

/// Leaves a packet no layer above TCP: its data are in the middle of a message.
fn leave_open(
    packet: &mut Packet<'_>,
    place: &SegmentPlace<'_>,
    layer: &'static str,
    missing: usize,
) {
    let had = place.segment.payload.len();
    packet.layers.truncate(place.layer + 1);
    packet.stop = Some(Stop {
        layer,
        offset: place.at,
        reason: Reason::Segmented { missing },
        shortage: (missing > 0).then(|| Shortage {
            needed: had + missing,
            had,
            length_from: LengthSource::TcpSegment,
        }),
    });
}
