//! What packets showed, gathered for the rules: sums of each tunnel, and what few packets
//! tell. All tables are bounded; most packets cost a look at the last tunnel and no more.
mod oddities;
mod questions;
mod table;
mod tunnels;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use decoders::checksum::{self, Verdict};
use decoders::tcp::TcpFlags;
use decoders::{Ip, Layer, LinkType, Packet};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::flow::Relative;
use super::packet::Fate;
use crate::finding::{Confidence, Evidence};
use crate::observation::{Frame, Interface, Loss, PacketType, UnixNanos, Via};
use crate::output::text::tun_name;

pub use oddities::{Brief, Complained, Complaint, Cut, Ends, Lost, NotSent, Stuck};
pub use questions::{Asked, Kind, Place, Question};
pub use table::{MAX_ENTRIES, Table};
pub use tunnels::{Sums, Tunnel, TunnelKey};

use questions::{MAX_PLACES, Spoken};
use tunnels::{Within, Words};

/// Retransmissions closer than this are one, seen at two places: TCP waits 200 ms at least.
pub const APART_NS: u64 = 150_000_000;
/// Bytes from which a packet is one of full size.
pub const FULL_SIZE: usize = 1000;
/// Data at a connection's beginning, bytes, among which a first full-size segment is.
const BEGINNING: u32 = 4096;

/// A packet's number in the run, and when it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub n: u64,
    pub ts_ns: UnixNanos,
}

impl Moment {
    /// The packet as evidence.
    pub fn evidence(self, what: impl Into<String>) -> Evidence {
        Evidence::new("packet", self.n.to_string(), what)
    }
}

/// What a packet tells of, where it is a rare one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Question,
    Answer,
    Complaint,
    /// Read from a tun and not sent.
    NotSent,
    /// A tunnel's first packet.
    Tunnel,
    Retransmission,
    Cut,
}

/// A packet as traffic takes note of it.
pub struct Sight<'a> {
    pub n: u64,
    pub frame: &'a Frame<'a>,
    /// The run's number of the interface.
    pub number: usize,
    pub interface: &'a Interface,
    pub packet: &'a Packet<'a>,
    pub tcp: Option<Relative>,
    pub fate: &'a Fate,
    pub packet_type: Option<PacketType>,
}

/// Sums over all packets of a run, as far as a rule asks for them.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    pub packets: u64,
    /// The latest time that is known to have come.
    pub now_ns: UnixNanos,
    /// No more packets come.
    pub ended: bool,
    pub tunnels: Table<TunnelKey, Tunnel>,
    pub questions: Table<Asked, Question>,
    pub not_sent: Table<(IpAddr, Option<i32>), NotSent>,
    pub complaints: Table<Complaint, Complained>,
    pub stuck: Table<Ends, Stuck>,
    /// By interface and the layer that is not whole.
    pub cuts: Table<(usize, &'static str), (Arc<str>, Cut)>,
    pub lost: Vec<Lost>,
    /// Packets that each daemon read and sent on, by process.
    pub carried: BTreeMap<u32, u64>,
    /// Counters as they were when the run began.
    pub counters_before: BTreeMap<String, u64>,
    /// Read from a tun, and not known yet whether it was sent.
    open: FxHashMap<u64, Brief>,
    /// Names of devices, shared by all that was seen on them.
    devices: Vec<Arc<str>>,
    /// Tunnels seen last and their slots, by [`Words::place`].
    recent: [(Words, usize); RECENT],
}

/// Tunnels that are found without hashing.
const RECENT: usize = 16;

/// Processes whose packets are counted, and sources of losses.
const MAX_FEW: usize = 256;

impl Traffic {
    /// Nothing seen yet, with the host's counters as they are.
    pub fn new(counters: BTreeMap<String, u64>) -> Traffic {
        Traffic {
            counters_before: counters,
            ..Traffic::default()
        }
    }

    /// Takes note of a packet; tells what it is if it is none of the many.
    #[inline]
    pub fn observe(&mut self, sight: &Sight<'_>) -> Option<Event> {
        self.packets += 1;
        self.now_ns = self.now_ns.max(sight.frame.ts_ns);
        let within = tunnels::within(sight.frame, sight.packet, sight.packet_type);
        let mut event = within
            .as_ref()
            .and_then(|within| self.add_to_tunnel(within, sight));
        if sight.frame.via.is_tunnel_side() {
            event = self.follow(sight).or(event);
        }
        if sight.frame.data.len() < sight.frame.orig_len as usize && sight.packet.stop.is_some() {
            event = self.note_cut(sight).or(event);
        }
        if let Some(tcp) = sight.tcp
            && !self.stuck.is_empty()
            && !tcp.edge
        {
            self.note_arrived(sight);
        }
        match sight.tcp {
            Some(tcp) if !tcp.edge && !tcp.repeated => event,
            Some(tcp) if tcp.repeated => self.note_repeated(sight, tcp).or(event),
            _ => self.note_rare(sight, within.as_ref()).or(event),
        }
    }

    /// No other side came for packet `n`; events were lost until `lost_until`.
    pub fn unanswered(&mut self, n: u64, lost_until: UnixNanos) -> Option<Event> {
        let brief = self.open.remove(&n)?;
        let doubtful = brief.at.ts_ns <= lost_until;
        Some(self.add_not_sent(brief, None, None, doubtful))
    }

    /// Packet `n` belongs to a tun that was not asked for.
    pub fn leave_out(&mut self, n: u64) {
        self.open.remove(&n);
    }

    pub fn add_loss(&mut self, loss: &Loss) {
        let same = |lost: &&mut Lost| {
            lost.source == loss.source
                && lost.event_kind == loss.event_kind
                && lost.cause == loss.cause.name()
        };
        match self.lost.iter_mut().find(same) {
            Some(known) => {
                known.count += loss.count;
                known.window.0 = known.window.0.min(loss.window.0);
                known.window.1 = known.window.1.max(loss.window.1);
            }
            None => self.lost.push(Lost {
                source: loss.source.clone(),
                event_kind: loss.event_kind,
                cause: loss.cause.name(),
                count: loss.count,
                window: loss.window,
            }),
        }
        // Sources are this run's own interfaces: few, whatever a file says.
        self.lost.truncate(MAX_FEW);
    }

    /// `confidence`, unless events were lost between these times: then what was not seen
    /// may have been there.
    pub fn trust(&self, confidence: Confidence, since: UnixNanos, until: UnixNanos) -> Confidence {
        let lost = |lost: &Lost| lost.count > 0 && lost.window.0 <= until && since <= lost.window.1;
        match self.lost.iter().any(lost) {
            true => Confidence::Inconclusive,
            false => confidence,
        }
    }

    /// The tunnels' sums.
    pub fn tunnels(&self) -> impl Iterator<Item = (&TunnelKey, &Tunnel)> {
        self.tunnels.iter()
    }

    /// DNS queries to `server` that went into a tunnel.
    pub fn dns_to(&self, server: IpAddr) -> impl Iterator<Item = &Question> {
        self.questions
            .iter()
            .map(|(_, one)| one)
            .filter(move |one| {
                one.in_tunnel
                    && one.asked.destination == server
                    && matches!(one.asked.kind, Kind::Dns { .. })
            })
    }

    /// The questions as the evidence of packets, three at most: for rules that the context
    /// alone decides and packets confirm.
    pub fn confirmation(&self, server: IpAddr) -> Vec<Evidence> {
        let of = |query: &Question| {
            let place = query.places.first();
            let device = place.map_or("", |place| &place.interface);
            let how = match query.answer {
                Some(_) => "answered",
                None => "not answered",
            };
            let what = format!(
                "{} from {} to {server} went into {device}, {how}",
                query.what(),
                query.asked.source
            );
            query.first().evidence(what)
        };
        self.dns_to(server).take(3).map(of).collect()
    }

    /// Whether a question has waited in vain for `wait_ns`.
    pub fn is_unanswered(&self, question: &Question, wait_ns: u64) -> bool {
        question.answer.is_none() && self.now_ns >= question.last.ts_ns.saturating_add(wait_ns)
    }

    #[inline]
    fn add_to_tunnel(&mut self, within: &Within, sight: &Sight<'_>) -> Option<Event> {
        let at = moment(sight);
        let (slot, is_new) = self.slot_of(within, sight.interface);
        let tunnel = self.tunnels.at(slot)?;
        let first_received = !within.outward && tunnel.received.packets == 0;
        if first_received {
            tunnel.far_port = within.source_port;
            tunnel.far_inner = sight.packet.innermost_ip().map(|ip| ip.source());
        }
        tunnel.sums(within.outward).add(at);
        (is_new || first_received).then_some(Event::Tunnel)
    }

    #[inline]
    fn slot_of(&mut self, within: &Within, interface: &Interface) -> (usize, bool) {
        let words = within.words();
        let (known, slot) = self.recent[words.place() % RECENT];
        match known == words {
            true => (slot, false),
            false => self.look_up(within, words, interface),
        }
    }

    #[cold]
    fn look_up(&mut self, within: &Within, words: Words, interface: &Interface) -> (usize, bool) {
        let forgotten = self.tunnels.forgotten;
        let make = || Tunnel::new(within, interface);
        let (slot, is_new) = self.tunnels.slot(within.key(), make);
        if self.tunnels.forgotten > forgotten {
            // Its slot was another's.
            self.recent.fill((Words::default(), 0));
        }
        self.recent[words.place() % RECENT] = (words, slot);
        (slot, is_new)
    }

    /// A packet between a tun and its daemon's socket.
    fn follow(&mut self, sight: &Sight<'_>) -> Option<Event> {
        let frame = sight.frame;
        match sight.fate {
            Fate::Open if frame.via == Via::TunRead => {
                self.open.insert(sight.n, brief(sight)?);
            }
            Fate::Unanswered { doubtful } if frame.via == Via::TunRead => {
                return Some(self.add_not_sent(brief(sight)?, None, None, *doubtful));
            }
            Fate::Joined {
                n, second: true, ..
            } => {
                let first = self.open.remove(n);
                if frame.via != Via::UdpSend {
                    return None;
                }
                if let Some(errno) = frame.errno {
                    let brief = first.or_else(|| brief(sight))?;
                    return Some(self.add_not_sent(brief, Some(errno), frame.peer, false));
                }
                self.count_carried(frame);
            }
            _ => {}
        }
        None
    }

    fn count_carried(&mut self, frame: &Frame<'_>) {
        let Some(actor) = frame.process else { return };
        if self.carried.len() < MAX_FEW || self.carried.contains_key(&actor.pid) {
            *self.carried.entry(actor.pid).or_default() += 1;
        }
    }

    fn add_not_sent(
        &mut self,
        brief: Brief,
        errno: Option<i32>,
        peer: Option<SocketAddr>,
        doubtful: bool,
    ) -> Event {
        let (at, ttl) = (brief.at, brief.ttl);
        let make = || NotSent {
            first: brief.clone(),
            last: at,
            count: 0,
            ttl,
            peer,
            doubtful,
        };
        let (entry, _) = self.not_sent.entry((brief.destination, errno), make);
        entry.last = at;
        entry.count += 1;
        entry.ttl = entry.ttl.max(ttl);
        entry.doubtful &= doubtful;
        Event::NotSent
    }

    fn note_cut(&mut self, sight: &Sight<'_>) -> Option<Event> {
        let stop = sight.packet.stop?;
        let decoders::Reason::Cut { .. } = stop.reason else {
            return None;
        };
        let at = moment(sight);
        let make = || {
            let cut = Cut {
                first: at,
                last: at,
                count: 0,
                captured: sight.frame.data.len(),
                length: sight.frame.orig_len as usize,
            };
            (Arc::from(sight.interface.name.as_str()), cut)
        };
        let ((_, cut), is_new) = self.cuts.entry((sight.number, stop.layer), make);
        cut.last = at;
        cut.count += 1;
        is_new.then_some(Event::Cut)
    }

    /// A segment whose data were seen before: of full size, near the beginning, and where
    /// nobody may cut it, it may be one that no path takes.
    fn note_repeated(&mut self, sight: &Sight<'_>, relative: Relative) -> Option<Event> {
        if matches!(sight.fate, Fate::Joined { second: true, .. }) || relative.seq > BEGINNING {
            return None;
        }
        let (ip, tcp) = (sight.packet.innermost_ip()?, sight.packet.tcp()?);
        if ip.len() < FULL_SIZE || !is_whole(&ip) {
            return None;
        }
        let ends = Ends {
            source: SocketAddr::new(ip.source(), tcp.source_port()),
            destination: SocketAddr::new(ip.destination(), tcp.destination_port()),
        };
        let at = moment(sight);
        let (sequence, len) = (tcp.sequence(), ip.len());
        let make = || Stuck {
            sequence,
            len,
            first: at,
            last: at,
            times: 1,
            arrived: false,
        };
        let (stuck, is_new) = self.stuck.entry(ends, make);
        if stuck.sequence != sequence {
            // Another one: the first has arrived.
            *stuck = make();
        } else if !is_new && at.ts_ns.saturating_sub(stuck.last.ts_ns) >= APART_NS {
            stuck.times += 1;
            stuck.last = at;
        }
        Some(Event::Retransmission)
    }

    /// What a segment acknowledges was not lost on the way, however often it was sent.
    fn note_arrived(&mut self, sight: &Sight<'_>) {
        let Some((ip, tcp)) = sight.packet.innermost_ip().zip(sight.packet.tcp()) else {
            return;
        };
        if !tcp.flags().has(TcpFlags::ACK) {
            return;
        }
        let acknowledged = Ends {
            source: SocketAddr::new(ip.destination(), tcp.destination_port()),
            destination: SocketAddr::new(ip.source(), tcp.source_port()),
        };
        if let Some(stuck) = self.stuck.get_mut(&acknowledged) {
            // Numbers wrap: beyond is what is less than half of them ahead.
            let beyond = tcp.acknowledgement().wrapping_sub(stuck.sequence);
            stuck.arrived |= (1..1 << 31).contains(&beyond);
        }
    }

    fn note_rare(&mut self, sight: &Sight<'_>, within: Option<&Within>) -> Option<Event> {
        let ip = sight.packet.innermost_ip()?;
        match questions::spoken(sight.packet, &ip) {
            Some(Spoken::Question(asked)) => {
                self.ask(asked, &ip, sight, within);
                return Some(Event::Question);
            }
            Some(Spoken::Answer(asked)) => {
                return self.answer(&asked, sight).then_some(Event::Answer);
            }
            None => {}
        }
        let (complaint, quoted, mtu) = Complaint::of(sight.packet, &ip)?;
        let at = moment(sight);
        let interface = sight.interface;
        let forged = sight.frame.via == Via::TunWrite && *sight.fate == Fate::Originated;
        let make = || Complained {
            first: at,
            last: at,
            count: 0,
            quoted,
            forged,
            on_tun: is_on_tun(sight),
            interface: device(sight),
            addresses: interface.addresses.clone(),
            mtu,
        };
        let (entry, _) = self.complaints.entry(complaint, make);
        entry.last = at;
        entry.count += 1;
        Some(Event::Complaint)
    }

    fn ask(&mut self, asked: Asked, ip: &Ip<'_>, sight: &Sight<'_>, within: Option<&Within>) {
        let at = moment(sight);
        if let Some(within) = within {
            // The packet was added to it just now.
            let (slot, _) = self.slot_of(within, sight.interface);
            if let Some(tunnel) = self.tunnels.at(slot) {
                tunnel.sums(within.outward).ask(at);
            }
        }
        let make = || Question {
            asked,
            places: SmallVec::new(),
            times: 0,
            last: at,
            gap_ns: 0,
            answer: None,
            len: ip.len(),
            whole: is_whole(ip),
            name: questions::name(sight.packet),
            tunnel: None,
            in_tunnel: false,
            mss: (questions::mss(sight.packet), None),
            bad_checksum: None,
        };
        let (question, _) = self.questions.entry(asked, make);
        question.see(at, sight.number, || known_device(&mut self.devices, sight));
        question.in_tunnel |= within.is_some() || is_on_tun(sight);
        if let Some(within) = within {
            question.tunnel = Some(within.key());
        }
        // Only where it is suspect: a sum over all bytes is dear.
        if question.times > 1 && question.bad_checksum.is_none() && is_bad(sight.packet) {
            question.bad_checksum = Some(at);
        }
    }

    fn answer(&mut self, asked: &Asked, sight: &Sight<'_>) -> bool {
        let at = moment(sight);
        let Some(question) = self.questions.get_mut(asked) else {
            return false;
        };
        if question.answer.is_none() {
            question.answer = Some(at);
            question.mss.1 = questions::mss(sight.packet);
        }
        let mut places = question.places.iter_mut();
        if let Some(place) = places.find(|place| place.number == sight.number) {
            place.answer.get_or_insert(at);
        }
        true
    }
}

impl Question {
    /// One more sight of it.
    fn see(&mut self, at: Moment, number: usize, interface: impl FnOnce() -> Arc<str>) {
        let known = self.places.iter().position(|place| place.number == number);
        match known {
            None if self.places.len() < MAX_PLACES => self.places.push(Place {
                number,
                interface: interface(),
                first: at,
                answer: None,
            }),
            // Only its first place counts: the others see the same packet again.
            Some(0) => {
                self.gap_ns = self.gap_ns.max(at.ts_ns.saturating_sub(self.last.ts_ns));
                self.last = at;
            }
            _ => return,
        }
        self.times += u32::from(known == Some(0) || self.places.len() == 1);
    }
}

fn moment(sight: &Sight<'_>) -> Moment {
    Moment {
        n: sight.n,
        ts_ns: sight.frame.ts_ns,
    }
}

/// The tun's name, or the interface's.
fn device(sight: &Sight<'_>) -> Arc<str> {
    Arc::from(tun_name(sight.frame).unwrap_or(&sight.interface.name))
}

/// The same, named once for all.
fn known_device(devices: &mut Vec<Arc<str>>, sight: &Sight<'_>) -> Arc<str> {
    let name = tun_name(sight.frame).unwrap_or(&sight.interface.name);
    if let Some(known) = devices.iter().find(|known| ***known == *name) {
        return Arc::clone(known);
    }
    let new: Arc<str> = Arc::from(name);
    if devices.len() < MAX_FEW {
        devices.push(Arc::clone(&new));
    }
    new
}

/// Read from or written to a tun, or captured on a device without a link layer.
fn is_on_tun(sight: &Sight<'_>) -> bool {
    match sight.frame.via {
        Via::TunRead | Via::TunWrite => true,
        Via::UdpSend | Via::UdpRecv => false,
        Via::Link | Via::File => matches!(
            sight.frame.link,
            LinkType::RawIp | LinkType::Ipv4 | LinkType::Ipv6
        ),
    }
}

fn brief(sight: &Sight<'_>) -> Option<Brief> {
    let ip = sight.packet.innermost_ip()?;
    let actor = sight.frame.process;
    Some(Brief {
        at: moment(sight),
        source: ip.source(),
        destination: ip.destination(),
        ttl: ip.ttl(),
        protocol: ip.protocol(),
        device: device(sight),
        pid: actor.map(|actor| actor.pid),
        comm: actor.map_or_else(String::new, |actor| {
            String::from_utf8_lossy(actor.comm()).into_owned()
        }),
    })
}

/// Whether routers may not cut it in parts.
fn is_whole(ip: &Ip<'_>) -> bool {
    match ip {
        Ip::V4(header) => header.dont_fragment(),
        Ip::V6(..) => ip.fragment().is_none(),
    }
}

/// Whether the outermost UDP checksum around a tunnel is wrong; one that a card has yet to
/// complete is none.
fn is_bad(packet: &Packet<'_>) -> bool {
    if !packet.layers.iter().any(Layer::is_tunnel) {
        return false;
    }
    let outer = checksum::verify(packet).find(|sum| sum.layer == "udp");
    outer.is_some_and(|sum| matches!(sum.verdict, Verdict::Wrong { .. }))
}

#[cfg(test)]
#[path = "traffic/tests.rs"]
mod tests;
