//! Messages that go on in later segments of TCP, kept until they are whole.

use super::{Cause, Limits, MAX_MESSAGE, MAX_SEGMENTS, Totals};
use alloc::{boxed::Box, vec, vec::Vec};
use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

/// What a stream costs beside its bytes: its place in both maps.
const OVERHEAD: usize = 384;
/// Bytes before what comes next within which a segment is one sent again.
const SENT_AGAIN: u32 = 1 << 20;

/// One direction of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ports: (u16, u16),
    pub(super) context: u64,
}

/// A segment with data, or one that begins or ends a connection.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) key: Key,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
    /// SYN or RST.
    pub(super) is_reset: bool,
    pub(super) frame: u64,
    pub(super) time_ns: u64,
}

/// A message that a segment's data do not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GoesOn {
    /// Bytes of the data before it.
    pub(super) from: usize,
    /// Bytes that it lacks at least; 0 where nobody can tell.
    pub(super) missing: usize,
}

/// What a segment is to its stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it is decoded by itself.
    Alone,
    /// A part of a message that lacks as many bytes still.
    Part { missing: usize },
    /// The message may be whole: [`Streams::bytes`] has it.
    Try,
}

/// A segment ahead of a gap.
#[derive(Debug)]
struct Ahead {
    start: usize,
    frame: u64,
    bytes: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Stream {
    serial: u64,
    begun_ns: u64,
    /// Whether a message is under way; else only `base` counts.
    is_waiting: bool,
    /// Sequence number of the message's first byte, or of what comes next.
    base: u32,
    bytes: Vec<u8>,
    /// Where the bytes of each frame end.
    frames: Vec<(usize, u64)>,
    ahead: Vec<Ahead>,
    ahead_len: usize,
    /// Length of the message; 0 where it is not known: that of a head of HTTP,
    /// which ends with an empty line.
    needed: usize,
    /// Bytes in which no empty line ends.
    searched: usize,
}

impl Stream {
    fn begin(&mut self, segment: &Segment<'_>, goes_on: GoesOn) {
        let message = segment.payload.get(goes_on.from..).unwrap_or(&[]);
        *self = Stream {
            serial: self.serial,
            begun_ns: segment.time_ns,
            is_waiting: true,
            base: segment.sequence.wrapping_add(goes_on.from as u32),
            bytes: message.to_vec(),
            frames: vec![(message.len(), segment.frame)],
            ..Stream::default()
        };
        self.needs(goes_on.missing);
    }

    fn needs(&mut self, missing: usize) {
        self.needed = match missing {
            0 => 0,
            missing => self.bytes.len() + missing,
        };
    }

    fn cost(&self) -> usize {
        OVERHEAD
            + self.bytes.capacity()
            + self.frames.capacity() * size_of::<(usize, u64)>()
            + self.ahead.capacity() * size_of::<Ahead>()
            + self.ahead_len
    }

    /// Takes in a segment that begins `start` bytes after the message does.
    fn add(&mut self, segment: &Segment<'_>, start: i64) -> Result<Verdict, Cause> {
        let end = start + segment.payload.len() as i64;
        let have = self.bytes.len() as i64;
        let limit = if self.needed == 0 {
            MAX_MESSAGE
        } else {
            self.needed
        };
        if start > have && start < limit as i64 {
            self.keep_ahead(segment, start as usize)?;
        } else if end > have {
            // What comes with the end of a message may be long: it is no part of it.
            if have > MAX_MESSAGE as i64 {
                return Err(Cause::Length);
            }
            self.extend((have - start) as usize, segment.payload, segment.frame);
            self.absorb();
            if self.frames.len() > MAX_SEGMENTS {
                return Err(Cause::Parts);
            }
            if self.may_be_whole() {
                return Ok(Verdict::Try);
            }
        }
        Ok(Verdict::Part {
            missing: self.needed.saturating_sub(self.bytes.len()),
        })
    }

    /// Whether the message's last byte may be there.
    fn may_be_whole(&mut self) -> bool {
        if self.needed > 0 {
            return self.bytes.len() >= self.needed;
        }
        // An empty line may begin in what was searched already.
        let from = self.searched.saturating_sub(2);
        self.searched = self.bytes.len();
        let fresh = &self.bytes[from..];
        fresh.windows(2).any(|two| two == b"\n\n")
            || fresh.windows(3).any(|three| three == b"\n\r\n")
    }

    fn extend(&mut self, known: usize, bytes: &[u8], frame: u64) {
        let fresh = bytes.get(known..).unwrap_or(&[]);
        if !fresh.is_empty() {
            self.bytes.extend_from_slice(fresh);
            self.frames.push((self.bytes.len(), frame));
        }
    }

    fn keep_ahead(&mut self, segment: &Segment<'_>, start: usize) -> Result<(), Cause> {
        let bytes = segment.payload;
        let is_known = |kept: &Ahead| kept.start == start && kept.bytes.len() >= bytes.len();
        if self.ahead.iter().any(is_known) {
            return Ok(());
        }
        if self.ahead.len() >= MAX_SEGMENTS {
            return Err(Cause::Parts);
        }
        if self.ahead_len + bytes.len() > 2 * MAX_MESSAGE {
            return Err(Cause::Length);
        }
        self.ahead_len += bytes.len();
        self.ahead.push(Ahead {
            start,
            frame: segment.frame,
            bytes: bytes.into(),
        });
        Ok(())
    }

    /// Adds what was ahead and no longer is.
    fn absorb(&mut self) {
        loop {
            let have = self.bytes.len();
            let Some(at) = self.ahead.iter().position(|kept| kept.start <= have) else {
                return;
            };
            // In the order in which they came.
            let kept = self.ahead.remove(at);
            self.ahead_len -= kept.bytes.len();
            self.extend(have - kept.start, &kept.bytes, kept.frame);
        }
    }

    /// Takes the first `done` bytes off; the frames that they came in.
    fn finish(&mut self, done: usize, rest: Option<GoesOn>) -> Vec<u64> {
        self.searched = 0;
        let begins_before = |at: usize| at == 0 || self.frames[at - 1].0 < done;
        let count = (0..self.frames.len()).take_while(|&at| begins_before(at));
        let frames = count.map(|at| self.frames[at].1).collect();
        self.base = self.base.wrapping_add(done as u32);
        self.bytes.drain(..done);
        self.frames.retain_mut(|(end, _)| {
            let is_left = *end > done;
            *end = end.saturating_sub(done);
            is_left
        });
        match rest {
            Some(rest) => self.needs(rest.missing),
            None => {
                *self = Stream {
                    serial: self.serial,
                    begun_ns: self.begun_ns,
                    base: self.base,
                    ..Stream::default()
                }
            }
        }
        frames
    }
}

/// Whether what began then has waited too long; a time to come is as wrong.
fn is_older(begun_ns: u64, now: u64, limits: &Limits) -> bool {
    now.abs_diff(begun_ns) > limits.stream_age_ns
}

/// The streams that have, or had, a message under way.
#[derive(Debug, Default)]
pub(super) struct Streams {
    known: HashMap<Key, Stream>,
    /// From the oldest on.
    order: BTreeMap<u64, Key>,
    serial: u64,
    cost: usize,
    waiting: usize,
    pub(super) totals: Totals,
}

impl Streams {
    /// Streams in which a message is under way.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Tells what a segment is, and keeps what is to be kept of it. Where it is
    /// decoded by itself, `stands` says whether there is something in it, and
    /// `goes_on` what is left open.
    pub(super) fn add(
        &mut self,
        segment: &Segment<'_>,
        stands: bool,
        goes_on: Option<GoesOn>,
        limits: &Limits,
    ) -> Verdict {
        self.expire(segment.time_ns, limits);
        let is_too_old = |stream: &Stream| is_older(stream.begun_ns, segment.time_ns, limits);
        if self.known.get(&segment.key).is_some_and(is_too_old) {
            self.give_up(&segment.key, Cause::Age);
        }
        if segment.is_reset {
            self.give_up(&segment.key, Cause::Ended);
        }
        let verdict = match self.known.get(&segment.key) {
            Some(stream) if stream.is_waiting => self.go_on(segment, stands, goes_on),
            Some(stream) => {
                let back = stream.base.wrapping_sub(segment.sequence);
                let sent_again = back != 0 && back <= SENT_AGAIN;
                self.begin(segment, goes_on.filter(|_| !sent_again))
            }
            None => self.begin(segment, goes_on),
        };
        while self.known.len() > limits.streams {
            self.give_up_oldest(Cause::Number);
        }
        while self.cost > limits.bytes {
            self.give_up_oldest(Cause::Memory);
        }
        match self.known.contains_key(&segment.key) {
            true => verdict,
            false => Verdict::Alone,
        }
    }

    fn begin(&mut self, segment: &Segment<'_>, goes_on: Option<GoesOn>) -> Verdict {
        let Some(goes_on) = goes_on else {
            return Verdict::Alone;
        };
        let mut stream = self.take(&segment.key).unwrap_or_default();
        self.serial += 1;
        stream.serial = self.serial;
        stream.begin(segment, goes_on);
        self.put(segment.key.clone(), stream);
        Verdict::Alone
    }

    fn go_on(&mut self, segment: &Segment<'_>, stands: bool, goes_on: Option<GoesOn>) -> Verdict {
        let Some(mut stream) = self.take(&segment.key) else {
            return Verdict::Alone;
        };
        let start = i64::from(segment.sequence.wrapping_sub(stream.base) as i32);
        let end = start + segment.payload.len() as i64;
        // Where a message's end is not known, the beginning of another tells it.
        let is_beyond = start > stream.bytes.len() as i64
            && start >= stream.needed as i64
            && (stream.needed > 0 || start >= MAX_MESSAGE as i64 || stands);
        if is_beyond && (goes_on.is_some() || (stands && stream.needed == 0)) {
            self.totals.give_up(Cause::Gap);
            return self.begin(segment, goes_on);
        }
        if is_beyond || end <= 0 {
            self.put(segment.key.clone(), stream);
            return Verdict::Alone;
        }
        match stream.add(segment, start) {
            Ok(verdict) => {
                self.put(segment.key.clone(), stream);
                verdict
            }
            Err(cause) => {
                self.totals.give_up(cause);
                Verdict::Alone
            }
        }
    }

    /// The bytes of a stream's message without a gap, as far as they are there.
    pub(super) fn bytes(&self, key: &Key) -> &[u8] {
        self.known.get(key).map_or(&[], |stream| &stream.bytes)
    }

    /// What decoding made of [`Streams::bytes`]: where no message ends in them,
    /// they wait on, and it is `Err` with how many are missing.
    pub(super) fn settle(
        &mut self,
        key: &Key,
        rest: Option<GoesOn>,
        time_ns: u64,
    ) -> Result<(Vec<u64>, usize), usize> {
        let Some(mut stream) = self.take(key) else {
            return Err(0);
        };
        let settled = match rest {
            Some(GoesOn { from: 0, missing }) => {
                stream.needs(missing);
                Err(missing)
            }
            rest => {
                let done = rest.map_or(stream.bytes.len(), |rest| rest.from);
                let done = done.min(stream.bytes.len());
                self.totals.whole += 1;
                let frames = stream.finish(done, rest);
                // What is left is another message, and as young as its segment.
                self.serial += 1;
                (stream.serial, stream.begun_ns) = (self.serial, time_ns);
                Ok((frames, done))
            }
        };
        self.put(key.clone(), stream);
        settled
    }

    /// Gives a stream's message up, if one is under way, and forgets the stream.
    pub(super) fn give_up(&mut self, key: &Key, cause: Cause) {
        if let Some(stream) = self.take(key)
            && stream.is_waiting
        {
            self.totals.give_up(cause);
        }
    }

    fn expire(&mut self, now: u64, limits: &Limits) {
        while let Some((_, key)) = self.order.first_key_value() {
            let begun = self.known.get(key).map_or(now, |stream| stream.begun_ns);
            if !is_older(begun, now, limits) {
                return;
            }
            self.give_up_oldest(Cause::Age);
        }
    }

    fn give_up_oldest(&mut self, cause: Cause) {
        if let Some((_, key)) = self.order.first_key_value() {
            let key = key.clone();
            self.give_up(&key, cause);
        }
    }

    fn take(&mut self, key: &Key) -> Option<Stream> {
        let stream = self.known.remove(key)?;
        self.order.remove(&stream.serial);
        self.cost -= stream.cost();
        self.waiting -= usize::from(stream.is_waiting);
        Some(stream)
    }

    fn put(&mut self, key: Key, stream: Stream) {
        self.cost += stream.cost();
        self.waiting += usize::from(stream.is_waiting);
        self.order.insert(stream.serial, key.clone());
        self.known.insert(key, stream);
    }

    pub(super) fn cost(&self) -> usize {
        self.cost
    }
}
