//! The two sides of one tunnelled packet: read from the tun and sent on UDP, or
//! received on UDP and written to the tun, by one daemon.
//!
//! The sides carry the same bytes but for the time to live and the header
//! checksum, so they are matched by a hash that leaves those out
//! ([`decoders::identity`]), first come first matched among equals: a tunnel
//! keeps the order of its packets.

use rustc_hash::FxHashMap;

use decoders::LinkType;

use crate::observation::{Frame, UnixNanos, Via};

/// First sides that wait at most; beyond, the oldest is given up as unanswered.
const MAX_PENDING: usize = 65_536;
const NONE: u32 = u32::MAX;

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It has no other side: a link's or a file's frame, or one that is no packet.
    Alone,
    /// The tunnel's first side; the second is awaited.
    First,
    /// The second side of the packet `first`.
    Second { first: u64 },
    /// A second side that no first one came before: the daemon made the packet
    /// itself, or what came before was not seen.
    Orphan,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    n: u64,
    ts_ns: UnixNanos,
    key: u64,
    /// Next of the same key, younger.
    next: u32,
    waiting: bool,
    /// It came from a peer, rather than from a tun.
    inward: bool,
}

/// The first sides that wait, and the matching.
#[derive(Debug)]
pub struct Joiner {
    deadline_ns: u64,
    /// Oldest waiting of each key, and the youngest.
    waiting: FxHashMap<u64, (u32, u32)>,
    slots: Vec<Pending>,
    /// Ring order: `slots` in order of arrival, from `head` on.
    head: usize,
    count: usize,
    joined: u64,
}

impl Joiner {
    /// `deadline_ns`: how long a first side waits for its second.
    pub fn new(deadline_ns: u64) -> Joiner {
        Joiner {
            deadline_ns,
            waiting: FxHashMap::default(),
            slots: Vec::new(),
            head: 0,
            count: 0,
            joined: 0,
        }
    }

    /// Pairs matched so far.
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// First sides that still wait.
    pub fn pending(&self) -> usize {
        self.waiting.len()
    }

    /// Takes note of packet number `n`. A first side that had to be given up for
    /// lack of room goes to `given_up`, with whether it came from a peer.
    pub fn observe(&mut self, n: u64, frame: &Frame<'_>, given_up: impl FnMut(u64, bool)) -> Side {
        let Some(key) = key(frame) else {
            return Side::Alone;
        };
        match frame.via {
            // A datagram that the kernel refused has no effect, but it is what
            // became of the packet: it matches as one that left.
            Via::UdpSend | Via::TunWrite => match self.take(key) {
                Some(first) => {
                    self.joined += 1;
                    Side::Second { first }
                }
                None => Side::Orphan,
            },
            _ => {
                self.push(n, frame, key, given_up);
                Side::First
            }
        }
    }

    /// Gives up what has waited past its deadline at `now`.
    pub fn expire(&mut self, now: UnixNanos, mut given_up: impl FnMut(u64, bool)) {
        while let Some(oldest) = self.oldest() {
            if oldest.waiting {
                if oldest.ts_ns.saturating_add(self.deadline_ns) > now {
                    return;
                }
                self.take(oldest.key);
                given_up(oldest.n, oldest.inward);
            }
            self.pop();
        }
    }

    fn oldest(&self) -> Option<Pending> {
        (self.count > 0).then(|| self.slots[self.head])
    }

    fn pop(&mut self) {
        self.head = (self.head + 1) % self.slots.len();
        self.count -= 1;
    }

    fn push(&mut self, n: u64, frame: &Frame<'_>, key: u64, mut given_up: impl FnMut(u64, bool)) {
        // Room is made first: answered ones at the front are mere gaps.
        while let Some(oldest) = self.oldest()
            && (!oldest.waiting || self.count == MAX_PENDING)
        {
            if oldest.waiting {
                self.take(oldest.key);
                given_up(oldest.n, oldest.inward);
            }
            self.pop();
        }
        if self.slots.is_empty() {
            let empty = Pending {
                n: 0,
                ts_ns: 0,
                key: 0,
                next: NONE,
                waiting: false,
                inward: false,
            };
            self.slots = vec![empty; MAX_PENDING];
        }
        let slot = (self.head + self.count) % self.slots.len();
        self.slots[slot] = Pending {
            n,
            ts_ns: frame.ts_ns,
            key,
            next: NONE,
            waiting: true,
            inward: frame.via == Via::UdpRecv,
        };
        self.count += 1;
        let slot = slot as u32;
        let ends = self.waiting.entry(key).or_insert((slot, slot));
        if ends.1 != slot {
            self.slots[ends.1 as usize].next = slot;
            ends.1 = slot;
        }
    }

    /// The oldest waiting packet of this key, which then waits no longer.
    fn take(&mut self, key: u64) -> Option<u64> {
        let ends = self.waiting.get_mut(&key)?;
        let pending = &mut self.slots[ends.0 as usize];
        pending.waiting = false;
        let (n, next) = (pending.n, pending.next);
        match next {
            NONE => {
                self.waiting.remove(&key);
            }
            next => ends.0 = next,
        }
        Some(n)
    }
}

/// What both sides of a packet have in common: bytes, daemon, direction.
fn key(frame: &Frame<'_>) -> Option<u64> {
    let inward = match frame.via {
        Via::TunRead | Via::UdpSend => 0,
        Via::UdpRecv | Via::TunWrite => 1,
        Via::Link | Via::File => return None,
    };
    let identity = match frame.link {
        LinkType::RawIp | LinkType::Ipv4 | LinkType::Ipv6 => decoders::identity(frame.data)?,
        // A tap's frames: the packet within, addresses of the link aside.
        LinkType::Ethernet => decoders::identity(frame.data.get(14..)?)?,
        _ => return None,
    };
    let pid = frame.process.map_or(0, |actor| u64::from(actor.pid));
    Some(identity.0 ^ pid.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ inward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Actor;

    const SYN: [u8; 40] = [
        0x45, 0, 0, 40, 0xd4, 0x4f, 0x40, 0, 64, 6, 0, 0, 192, 168, 69, 0, 192, 168, 13, 2, //
        0xcc, 0x37, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0,
    ];

    fn frame(via: Via, data: &[u8], ts_ns: u64, pid: u32) -> Frame<'_> {
        Frame {
            process: Some(Actor {
                pid,
                tid: pid,
                comm: [0; 16],
            }),
            ..Frame::new(ts_ns, via, LinkType::RawIp, data)
        }
    }

    fn never(n: u64, _inward: bool) {
        panic!("{n} was given up");
    }

    #[test]
    fn sides_match_in_order_whatever_the_ttl() {
        let mut joiner = Joiner::new(1000);
        let mut sent = SYN;
        sent[8] -= 1;
        assert_eq!(
            joiner.observe(1, &frame(Via::TunRead, &SYN, 1, 7), never),
            Side::First
        );
        assert_eq!(
            joiner.observe(2, &frame(Via::TunRead, &SYN, 2, 7), never),
            Side::First
        );
        let send = frame(Via::UdpSend, &sent, 3, 7);
        assert_eq!(joiner.observe(3, &send, never), Side::Second { first: 1 });
        assert_eq!(joiner.observe(4, &send, never), Side::Second { first: 2 });
        assert_eq!(joiner.observe(5, &send, never), Side::Orphan);
        assert_eq!(joiner.joined(), 2);
        assert_eq!(joiner.pending(), 0);
    }

    #[test]
    fn daemons_and_directions_are_kept_apart() {
        let mut joiner = Joiner::new(1000);
        joiner.observe(1, &frame(Via::TunRead, &SYN, 1, 7), never);
        assert_eq!(
            joiner.observe(2, &frame(Via::UdpSend, &SYN, 2, 8), never),
            Side::Orphan
        );
        assert_eq!(
            joiner.observe(3, &frame(Via::TunWrite, &SYN, 3, 7), never),
            Side::Orphan
        );
    }

    #[test]
    fn what_waits_past_its_deadline_is_given_up() {
        let mut joiner = Joiner::new(1000);
        joiner.observe(1, &frame(Via::TunRead, &SYN, 100, 7), never);
        joiner.observe(2, &frame(Via::TunRead, &SYN, 600, 7), never);
        joiner.expire(1099, never);
        let mut given_up = Vec::new();
        joiner.expire(1100, |n, inward| given_up.push((n, inward)));
        assert_eq!(given_up, [(1, false)]);
        let send = frame(Via::UdpSend, &SYN, 1200, 7);
        assert_eq!(joiner.observe(3, &send, never), Side::Second { first: 2 });
    }

    #[test]
    fn a_flood_of_unanswered_packets_is_bounded() {
        let mut joiner = Joiner::new(u64::MAX);
        let mut given_up = 0u64;
        let total = MAX_PENDING as u64 * 3;
        for n in 0..total {
            let mut packet = SYN;
            packet[24..28].copy_from_slice(&(n as u32).to_be_bytes());
            joiner.observe(n, &frame(Via::TunRead, &packet, n, 7), |_, _| given_up += 1);
        }
        assert_eq!(given_up, total - MAX_PENDING as u64);
        assert_eq!(joiner.pending(), MAX_PENDING);
    }
}
