//! TCP flows, as far as they are needed to show sequence numbers and windows
//! the way tshark 4.0 shows them (`epan/dissectors/packet-tcp.c`): numbers
//! relative to each direction's first, windows scaled.

use decoders::tcp::{Tcp, TcpFlags};
use decoders::{Ip, Packet};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

/// The shortest header of TCP, bytes.
const TCP_LEN: usize = 20;

/// Flows kept; the least recently seen one goes when one more comes.
pub const MAX_FLOWS: usize = 65_536;

/// The largest shift count of RFC 7323.
const MAX_SHIFT: u8 = 14;

/// A segment's numbers, seen from its flow's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relative {
    /// Sequence number less the direction's first; 0 for the SYN.
    pub seq: u32,
    /// Acknowledgement number less the other direction's first; as it stands in
    /// the header where ACK is not set.
    pub ack: u32,
    /// Bytes: the window, scaled where the scaling is known; never of a SYN.
    pub window: u32,
    /// What to take from the edges of SACK blocks to make them relative.
    pub ack_base: u32,
    /// A SYN or a reset: what opens a connection, or refuses it.
    pub edge: bool,
    /// Its data were all seen before: a retransmission, or the same segment at its
    /// second place.
    pub repeated: bool,
}

impl Relative {
    /// Those of the header, where no flow is known.
    pub fn of_header(tcp: &Tcp<'_>) -> Relative {
        Relative {
            seq: tcp.sequence(),
            ack: tcp.acknowledgement(),
            window: u32::from(tcp.window()),
            ack_base: 0,
            edge: is_edge(tcp.flags()),
            repeated: false,
        }
    }
}

/// What is known about the scaling of one direction's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// No SYN was seen: the header's window is all there is.
    Unknown,
    /// A SYN without the option: the header's window is the window.
    Unused,
    Shift(u8),
}

#[derive(Debug, Clone, Copy)]
struct Direction {
    /// First sequence number, once it is known.
    base: Option<u32>,
    /// The sequence number behind the last data seen.
    next: Option<u32>,
    scale: Scale,
}

const FRESH: Direction = Direction {
    base: None,
    next: None,
    scale: Scale::Unknown,
};

/// Both ends of a flow, the lesser first, so that both directions find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    lesser: [u64; 2],
    greater: [u64; 2],
    /// Ports of the lesser and the greater, and the IP version, so that IPv4
    /// addresses are never taken for IPv6's.
    rest: u64,
}

/// Neighbours in the list from the most to the least recently seen flow.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: Key,
    directions: [Direction; 2],
    newer: u32,
    older: u32,
}

/// No neighbour.
const NONE: u32 = u32::MAX;

/// The flows seen last, [`MAX_FLOWS`] at most.
pub struct FlowTable {
    index: HashMap<Key, u32, FoldBuilder>,
    slots: Vec<Slot>,
    newest: u32,
    oldest: u32,
    limit: usize,
}

impl Default for FlowTable {
    fn default() -> FlowTable {
        FlowTable::new()
    }
}

impl FlowTable {
    /// An empty table of [`MAX_FLOWS`].
    pub fn new() -> FlowTable {
        FlowTable::with_limit(MAX_FLOWS)
    }

    /// An empty table of another size, at least 1.
    pub fn with_limit(limit: usize) -> FlowTable {
        FlowTable {
            index: HashMap::with_hasher(FoldBuilder::new()),
            slots: Vec::new(),
            newest: NONE,
            oldest: NONE,
            limit: limit.clamp(1, NONE as usize),
        }
    }

    /// Takes note of a packet's innermost TCP segment; `None` where it has none.
    /// A packet may be shown twice, as from both sides of a tunnel: its numbers
    /// are the same.
    pub fn observe(&mut self, packet: &Packet<'_>) -> Option<Relative> {
        // Where the header's length cannot be, its numbers are doubtful too.
        let tcp = packet.tcp().filter(|tcp| tcp.header_len() >= TCP_LEN)?;
        let (key, direction) = key_of(&packet.innermost_ip()?, tcp);
        let slot = self.find_or_add(key);
        Some(advance(&mut self.slots[slot].directions, direction, tcp))
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no flow was seen yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn find_or_add(&mut self, key: Key) -> usize {
        if let Some(newest) = self.slots.get(self.newest as usize)
            && newest.key == key
        {
            return self.newest as usize;
        }
        if let Some(&at) = self.index.get(&key) {
            self.unlink(at);
            self.link_newest(at);
            return at as usize;
        }
        let fresh = Slot {
            key,
            directions: [FRESH; 2],
            newer: NONE,
            older: NONE,
        };
        let at = if self.slots.len() < self.limit {
            self.slots.push(fresh);
            (self.slots.len() - 1) as u32
        } else {
            let at = self.oldest;
            self.unlink(at);
            self.index.remove(&self.slots[at as usize].key);
            self.slots[at as usize] = fresh;
            at
        };
        self.index.insert(key, at);
        self.link_newest(at);
        at as usize
    }

    fn unlink(&mut self, at: u32) {
        let Slot { newer, older, .. } = self.slots[at as usize];
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = self.newest;
        self.slots[at as usize].newer = NONE;
        self.slots[at as usize].older = older;
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

/// The flow's key, and which of its directions the segment goes: 0 from the
/// lesser end.
#[inline]
fn key_of(ip: &Ip<'_>, tcp: &Tcp<'_>) -> (Key, usize) {
    let source = (words(ip.source()), tcp.source_port());
    let destination = (words(ip.destination()), tcp.destination_port());
    let swap = source > destination;
    let (lesser, greater) = if swap {
        (destination, source)
    } else {
        (source, destination)
    };
    let ports = u64::from(lesser.1) << 16 | u64::from(greater.1);
    let rest = u64::from(ip.version()) << 32 | ports;
    (
        Key {
            lesser: lesser.0,
            greater: greater.0,
            rest,
        },
        usize::from(swap),
    )
}

/// An address as two words; an IPv4 one may be an IPv6 one's.
#[inline]
pub(super) fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => [0, u64::from(address.to_bits())],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

/// Moves a flow on by one segment.
fn advance(directions: &mut [Direction; 2], forward: usize, tcp: &Tcp<'_>) -> Relative {
    let reverse = 1 - forward;
    let flags = tcp.flags();
    let (syn, ack) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK));
    let (seq, ack_number) = (tcp.sequence(), tcp.acknowledgement());
    if syn && directions[forward].base.is_some_and(|base| base != seq) {
        // The ports are used again; of an answer the question was seen anew.
        match ack {
            true => directions[forward].base = Some(seq),
            false => *directions = [FRESH; 2],
        }
    }
    // Without the SYN the first byte seen is number 1, as it would be after it.
    let first = if syn { seq } else { seq.wrapping_sub(1) };
    let base = *directions[forward].base.get_or_insert(first);
    if ack && directions[reverse].base.is_none() {
        directions[reverse].base = Some(ack_number.wrapping_sub(1));
    }
    let ack_base = directions[reverse].base.unwrap_or(0);
    // Options that were not captured tell nothing of scaling, nor that there is none.
    if syn && (tcp.window_scale().is_some() || !tcp.is_cut()) {
        learn_scale(directions, forward, ack, tcp.window_scale());
    }
    let window = u32::from(tcp.window());
    let repeated = is_repeated(&mut directions[forward].next, tcp);
    Relative {
        seq: seq.wrapping_sub(base),
        // Without ACK the field means nothing and stays as it came.
        ack: match ack {
            true => ack_number.wrapping_sub(ack_base),
            false => ack_number,
        },
        window: match directions[forward].scale {
            Scale::Shift(shift) if !syn => window << shift,
            _ => window,
        },
        ack_base,
        edge: is_edge(flags),
        repeated,
    }
}

#[inline]
fn is_edge(flags: TcpFlags) -> bool {
    flags.has(TcpFlags::SYN) || flags.has(TcpFlags::RST)
}

/// Whether a segment's data end at or before `next`, which is moved on otherwise.
#[inline]
fn is_repeated(next: &mut Option<u32>, tcp: &Tcp<'_>) -> bool {
    let length = tcp.payload_len();
    if length == 0 {
        return false;
    }
    let end = tcp.sequence().wrapping_add(length as u32);
    // Numbers wrap (RFC 9293, section 3.4): behind is what is less than half of them away.
    let repeated = next.is_some_and(|next| next.wrapping_sub(end) < 1 << 31);
    if !repeated {
        *next = Some(end);
    }
    repeated
}

/// Windows are scaled where no SYN without the option says otherwise.
fn learn_scale(
    directions: &mut [Direction; 2],
    forward: usize,
    is_answer: bool,
    shift: Option<u8>,
) {
    let reverse = 1 - forward;
    if let Some(shift) = shift {
        directions[forward].scale = Scale::Shift(shift.min(MAX_SHIFT));
    }
    match directions[forward].scale {
        Scale::Unknown => {
            directions[forward].scale = Scale::Unused;
            directions[reverse].scale = Scale::Unused;
        }
        _ if is_answer && directions[reverse].scale == Scale::Unused => {
            directions[forward].scale = Scale::Unused;
        }
        _ => {}
    }
}

impl std::hash::Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in [
            self.lesser[0],
            self.lesser[1],
            self.greater[0],
            self.greater[1],
            self.rest,
        ] {
            state.write_u64(word);
        }
    }
}

/// Odd, with as many ones as zeros, so that products mix well.
const FACTOR: u64 = 0xa076_1d64_78bd_642f;

/// A hasher of few words, with a seed of its own in each table so that nobody
/// can choose addresses that all collide.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoldBuilder {
    seed: u64,
}

pub(super) struct FoldHasher {
    state: u64,
}

impl FoldBuilder {
    pub(super) fn new() -> FoldBuilder {
        FoldBuilder {
            seed: RandomState::new().hash_one(0),
        }
    }
}

impl BuildHasher for FoldBuilder {
    type Hasher = FoldHasher;

    #[inline]
    fn build_hasher(&self) -> FoldHasher {
        FoldHasher { state: self.seed }
    }
}

impl Hasher for FoldHasher {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(FACTOR);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    /// Eight bytes at a time; what is left counts as a word of its own.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
