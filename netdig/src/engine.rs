//! From observations to outputs: one thread, in the order of events.
//!
//! A packet that is one side of a tunnel is held back until its other side
//! shows up or its deadline passes, so that both can name each other; all that
//! comes after it waits behind it. Packets that no output wants to see, as with
//! `-q`, are decoded and joined in place.
use std::collections::VecDeque;
use std::sync::Arc;

use decoders::reassembly::{Arrival, Buffers, Limits, Reassembled, Reassembly};
use decoders::{Packet, Ports};

use crate::conclusions::Conclusions;
use crate::evidence::{
    flow::FlowTable,
    join::{Joiner, Side},
    packet::{Fate, Other, PacketView},
    traffic::Sight,
};
use crate::finding::Severity;
use crate::observation::{FdKind, Frame, Interface, Loss, Observation, PacketType, UnixNanos};
use crate::output::{Output, OutputError, summary::Summary};
use crate::selection::Selection;
use crate::tracker::{Process, Tracker};

/// How long a packet waits for its other side. A tunnel daemon takes
/// microseconds; one that needs longer has lost the packet.
pub const JOIN_DEADLINE_NS: u64 = 250_000_000;
/// Held packets at most; beyond, the oldest goes out as it is.
const MAX_HELD: usize = 16_384;

/// Stands for the number of packets of tuns that were not asked for.
const UNWANTED: u64 = 0;

/// A packet that waits, with bytes of its own.
struct Held {
    n: u64,
    frame: Frame<'static>,
    data: Vec<u8>,
    interface: usize,
    process: Option<Arc<Process>>,
    fd_name: Option<Arc<str>>,
    fate: Fate,
    packet_type: Option<PacketType>,
}

/// What a run does with its observations.
pub struct Engine {
    pub tracker: Tracker,
    pub summary: Summary,
    ports: Ports,
    joiner: Joiner,
    flows: FlowTable,
    reassembly: Reassembly,
    conclusions: Option<Conclusions>,
    selection: Selection,
    output: Output,
    held: VecDeque<Held>,
    spare: Vec<Vec<u8>>,
    interfaces: Vec<Interface>,
    /// For each source, the engine's index of each of its interfaces.
    numbers: Vec<Vec<usize>>,
    count: u64,
    /// Packets that the person asked for; the run ends with them.
    limit: Option<u64>,
    shown: u64,
    lost_until: UnixNanos,
}

impl Engine {
    pub fn new(
        tracker: Tracker,
        ports: Ports,
        selection: Selection,
        output: Output,
        limit: Option<u64>,
    ) -> Engine {
        Engine {
            tracker,
            summary: Summary::default(),
            ports,
            joiner: Joiner::new(JOIN_DEADLINE_NS),
            flows: FlowTable::new(),
            reassembly: Reassembly::new(Limits::default()),
            conclusions: None,
            selection,
            output,
            held: VecDeque::new(),
            spare: Vec::new(),
            interfaces: Vec::new(),
            numbers: Vec::new(),
            count: 0,
            limit,
            shown: 0,
            lost_until: 0,
        }
    }

    /// Concludes from what it sees; without this it only shows.
    pub fn conclude(&mut self, conclusions: Conclusions) {
        self.conclusions = Some(conclusions);
    }

    /// The worst of all findings so far.
    pub fn worst(&self) -> Option<Severity> {
        self.conclusions.as_ref()?.counts().into_keys().next_back()
    }

    /// Whether as many packets were shown as were asked for.
    pub fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| self.shown >= limit)
    }

    /// Takes one observation of source number `source`, whose interfaces are
    /// `interfaces`. `packet_type` tells how a link's frame met its link.
    pub fn observe(
        &mut self,
        source: usize,
        interfaces: &[Interface],
        observation: &Observation<'_>,
        packet_type: Option<PacketType>,
    ) -> Result<(), OutputError> {
        match observation {
            Observation::Frame(frame) => {
                self.summary.events += 1;
                let Some(interface) = interfaces.get(frame.interface as usize) else {
                    return Ok(());
                };
                let number = self.interface(source, frame.interface, interface);
                self.frame(number, frame, packet_type)
            }
            Observation::Loss(loss) => {
                let interface = loss
                    .interface
                    .and_then(|index| interfaces.get(index as usize).map(|known| (index, known)))
                    .map(|(index, known)| self.interface(source, index, known));
                self.loss(loss, interface)
            }
            other => {
                self.summary.events += 1;
                self.selection.notice(other);
                self.tracker.apply(other);
                Ok(())
            }
        }
    }

    /// Gives up what has waited too long at `now`, and shows what is ready.
    pub fn tick(&mut self, now: UnixNanos) -> Result<(), OutputError> {
        let mut given_up = Vec::new();
        self.joiner
            .expire(now, |n, inward| given_up.push((n, inward)));
        for (n, inward) in given_up {
            self.give_up(n, inward);
        }
        self.release(false)?;
        if let Some(conclusions) = &mut self.conclusions {
            conclusions.tick(now);
        }
        self.say(now);
        Ok(())
    }

    /// Tells of what was concluded since the last time.
    fn say(&mut self, at: UnixNanos) {
        if let Some(conclusions) = &mut self.conclusions {
            conclusions.say(&mut self.output, at);
        }
    }

    /// Writes out what was shown so far.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.output.flush()
    }

    /// See [`Output::check_reader`].
    pub fn check_reader(&self) -> Result<(), OutputError> {
        self.output.check_reader()
    }

    /// Totals of an interface, for the capture's statistics.
    pub fn statistics(
        &mut self,
        interface: &Interface,
        received: u64,
        dropped: u64,
    ) -> Result<(), OutputError> {
        self.output.statistics(interface, received, dropped)
    }

    /// Ends the run: shows what still waits, the summary, and closes the files.
    pub fn finish(&mut self, now: UnixNanos) -> Result<(), OutputError> {
        let shown = self.release(true);
        if let Some(conclusions) = &mut self.conclusions {
            conclusions.finish(now);
            conclusions.say(&mut self.output, conclusions.end_ns(now));
            self.summary.findings = conclusions.counts();
        }
        self.summary.datagrams = self.reassembly.datagrams();
        self.summary.messages = self.reassembly.messages();
        (
            self.summary.unfinished_datagrams,
            self.summary.unfinished_messages,
        ) = self.reassembly.waiting();
        let ended = self.output.finish(&self.summary, now);
        shown.and(ended)
    }

    fn interface(&mut self, source: usize, index: u32, interface: &Interface) -> usize {
        if let Some(&number) = self
            .numbers
            .get(source)
            .and_then(|numbers| numbers.get(index as usize))
            && number != usize::MAX
        {
            return number;
        }
        if self.numbers.len() <= source {
            self.numbers.resize(source + 1, Vec::new());
        }
        let numbers = &mut self.numbers[source];
        if numbers.len() <= index as usize {
            numbers.resize(index as usize + 1, usize::MAX);
        }
        numbers[index as usize] = self.interfaces.len();
        self.interfaces.push(interface.clone());
        self.interfaces.len() - 1
    }

    fn frame(
        &mut self,
        interface: usize,
        frame: &Frame<'_>,
        packet_type: Option<PacketType>,
    ) -> Result<(), OutputError> {
        let described = self.output.wants_packets() || self.selection.needs_processes();
        let process = match frame.process {
            Some(actor) if described => {
                Some(self.tracker.process_of(&actor, frame.netns, frame.cgroup))
            }
            _ => None,
        };
        if !self.selection.admits(frame, process.as_deref()) {
            return Ok(());
        }
        if self.is_done() {
            return Ok(());
        }
        // Packets of tuns that were not asked for are joined like all others: a
        // socket's side is told by the tun's. They have no number.
        let number = frame.file_n.unwrap_or(self.count + 1);
        let n = if self.selection.admits_tun(frame) {
            number
        } else {
            UNWANTED
        };
        let mut given_up = None;
        let side = self
            .joiner
            .observe(n, frame, |n, inward| given_up = Some((n, inward)));
        if let Some((n, inward)) = given_up {
            self.give_up(n, inward);
        }
        if n == UNWANTED || matches!(side, Side::Second { first: UNWANTED }) {
            self.leave_out(side);
            return Ok(());
        }
        self.count += 1;
        self.summary.packets += 1;
        self.summary.bytes += u64::from(frame.orig_len);
        if let Side::Second { .. } = side {
            match frame.errno {
                Some(_) => self.summary.refused += 1,
                None => self.summary.joined += 1,
            }
        }
        if !self.output.wants_packets() {
            let buffers = Buffers::new();
            let mut packet = Packet::new();
            let arrival = arrival_of(n, interface, frame);
            decode(
                &mut packet,
                frame,
                arrival,
                &self.ports,
                &mut self.reassembly,
                &buffers,
            );
            let tcp = self.flows.observe(&packet);
            if let Some(conclusions) = &mut self.conclusions {
                conclusions.observe(&Sight {
                    n,
                    frame,
                    number: interface,
                    interface: &self.interfaces[interface],
                    packet: &packet,
                    tcp,
                    fate: &unsettled(side),
                    packet_type,
                });
            }
            self.summary.undecoded += u64::from(packet.layers.is_empty());
            self.shown += 1;
            return Ok(());
        }
        let fate = self.settle(n, frame, side);
        let fd_name = match (frame.process, &frame.fd) {
            (Some(actor), Some(fd)) if self.output.wants_fd_names() => {
                self.tracker.fd_name_of(&actor, fd)
            }
            _ => None,
        };
        if self.held.is_empty() && fate != Fate::Open {
            let shown = show(
                &mut self.output,
                &mut self.flows,
                &mut self.summary,
                &self.ports,
                &mut self.reassembly,
                &mut self.conclusions,
                Shown {
                    n,
                    interface: &self.interfaces[interface],
                    context: interface,
                    frame,
                    process: process.as_deref(),
                    fd_name: fd_name.as_deref(),
                    fate: &fate,
                    packet_type,
                },
            )?;
            self.shown += u64::from(shown);
            return Ok(());
        }
        let mut data = self.spare.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(frame.data);
        let frame = Frame {
            data: &[],
            fd: frame.fd.clone(),
            ..*frame
        };
        self.held.push_back(Held {
            n,
            frame,
            data,
            interface,
            process,
            fd_name,
            fate,
            packet_type,
        });
        self.release(false)
    }

    /// What is known of a packet's other side as it comes in; tells the first
    /// side, which is held, of its second.
    fn settle(&mut self, n: u64, frame: &Frame<'_>, side: Side) -> Fate {
        match side {
            Side::Alone => Fate::Alone,
            Side::First => Fate::Open,
            Side::Orphan => Fate::Originated,
            Side::Second { first } => {
                let mine = end_of(frame);
                let mut other = Other::default();
                if let Some(held) = find(&mut self.held, first) {
                    other = end_of(&held.frame);
                    held.fate = Fate::Joined {
                        n,
                        second: false,
                        other: mine,
                    };
                }
                Fate::Joined {
                    n: first,
                    second: true,
                    other,
                }
            }
        }
    }

    /// No other side came for packet `n`.
    fn give_up(&mut self, n: u64, inward: bool) {
        if n == UNWANTED {
            return;
        }
        match inward {
            true => self.summary.unwritten += 1,
            false => self.summary.unsent += 1,
        }
        let lost_until = self.lost_until;
        if let Some(held) = find(&mut self.held, n) {
            let doubtful = held.frame.ts_ns <= lost_until;
            held.fate = Fate::Unanswered { doubtful };
        } else if let Some(conclusions) = &mut self.conclusions {
            conclusions.unanswered(n, lost_until);
        }
    }

    /// A packet turned out to belong to a tun that was not asked for: its first
    /// side, taken in before that was known, goes too.
    fn leave_out(&mut self, side: Side) {
        let Side::Second { first } = side else {
            return;
        };
        if first == UNWANTED {
            return;
        }
        self.summary.packets -= 1;
        if let Some(conclusions) = &mut self.conclusions {
            conclusions.leave_out(first);
        }
        if let Some(held) = find(&mut self.held, first) {
            self.summary.bytes -= u64::from(held.frame.orig_len);
            held.fate = Fate::Elsewhere;
        }
    }

    /// Shows held packets from the oldest on, up to one whose other side is
    /// still awaited; all of them at the end of a run.
    fn release(&mut self, all: bool) -> Result<(), OutputError> {
        while let Some(front) = self.held.front() {
            let ready = front.fate != Fate::Open || all || self.held.len() > MAX_HELD;
            if !ready {
                return Ok(());
            }
            let Some(held) = self.held.pop_front() else {
                return Ok(());
            };
            if !self.is_done() && held.fate != Fate::Elsewhere {
                let frame = Frame {
                    data: &held.data,
                    ..held.frame
                };
                let shown = show(
                    &mut self.output,
                    &mut self.flows,
                    &mut self.summary,
                    &self.ports,
                    &mut self.reassembly,
                    &mut self.conclusions,
                    Shown {
                        n: held.n,
                        interface: &self.interfaces[held.interface],
                        context: held.interface,
                        frame: &frame,
                        process: held.process.as_deref(),
                        fd_name: held.fd_name.as_deref(),
                        fate: &held.fate,
                        packet_type: held.packet_type,
                    },
                )?;
                self.shown += u64::from(shown);
            }
            if self.spare.len() < 1024 {
                self.spare.push(held.data);
            }
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss, interface: Option<usize>) -> Result<(), OutputError> {
        self.summary.add_loss(loss);
        self.lost_until = self.lost_until.max(loss.window.1);
        self.tracker.apply_loss(loss);
        if let Some(conclusions) = &mut self.conclusions {
            conclusions.add_loss(loss);
        }
        self.output
            .loss(loss, interface.map(|number| &self.interfaces[number]))
    }
}

/// All of one packet that an output needs.
struct Shown<'a> {
    n: u64,
    interface: &'a Interface,
    /// The engine's number of the interface.
    context: usize,
    frame: &'a Frame<'a>,
    process: Option<&'a Process>,
    fd_name: Option<&'a str>,
    fate: &'a Fate,
    packet_type: Option<PacketType>,
}

/// Decodes a packet and gives it to the outputs; false where it is shown on the
/// line of its other side.
fn show(
    output: &mut Output,
    flows: &mut FlowTable,
    summary: &mut Summary,
    ports: &Ports,
    reassembly: &mut Reassembly,
    conclusions: &mut Option<Conclusions>,
    shown: Shown<'_>,
) -> Result<bool, OutputError> {
    let (frame, interface) = (shown.frame, shown.interface);
    let buffers = Buffers::new();
    let mut packet = Packet::new();
    let arrival = arrival_of(shown.n, shown.context, frame);
    let reassembled = decode(&mut packet, frame, arrival, ports, reassembly, &buffers);
    summary.undecoded += u64::from(packet.layers.is_empty());
    let view = PacketView {
        n: shown.n,
        frame,
        interface,
        tcp: flows.observe(&packet),
        reassembled: reassembled.as_ref(),
        packet: &packet,
        process: shown.process,
        fd_name: shown.fd_name,
        fate: shown.fate,
    };
    let Some(conclusions) = conclusions else {
        return output.packet(&view, shown.packet_type, &[]);
    };
    conclusions.observe(&Sight {
        n: shown.n,
        frame,
        number: shown.context,
        interface,
        packet: &packet,
        tcp: view.tcp,
        fate: shown.fate,
        packet_type: shown.packet_type,
    });
    let comments = match output.wants_comments() {
        true => conclusions.comments(shown.n),
        false => Vec::new(),
    };
    let comments: Vec<&str> = comments.iter().map(String::as_str).collect();
    let is_shown = output.packet(&view, shown.packet_type, &comments)?;
    // Behind the packet that shows it.
    conclusions.say(output, frame.ts_ns);
    Ok(is_shown)
}

/// What is known of a packet's other side where packets are not held for it.
fn unsettled(side: Side) -> Fate {
    match side {
        Side::Alone => Fate::Alone,
        Side::First => Fate::Open,
        Side::Orphan => Fate::Originated,
        Side::Second { first } => Fate::Joined {
            n: first,
            second: true,
            other: Other::default(),
        },
    }
}

/// Decodes a frame, and what it completes.
fn decode<'b>(
    packet: &mut Packet<'b>,
    frame: &Frame<'b>,
    arrival: Arrival,
    ports: &Ports,
    reassembly: &mut Reassembly,
    buffers: &'b Buffers,
) -> Option<Reassembled> {
    let orig_len = frame.orig_len as usize;
    decoders::decode_into(packet, frame.link, frame.data, orig_len, ports);
    if !reassembly.concerns(packet) {
        return None;
    }
    reassembly.complete(packet, arrival, ports, buffers)
}

/// The sides of a tunnel and the links are each a network of its own: the same
/// fragments on two of them are not put together twice.
fn arrival_of(n: u64, interface: usize, frame: &Frame<'_>) -> Arrival {
    Arrival {
        frame: n,
        context: interface as u64,
        time_ns: frame.ts_ns,
    }
}

/// The held packet number `n`; numbers grow, so it is found by halving.
fn find(held: &mut VecDeque<Held>, n: u64) -> Option<&mut Held> {
    let index = held.binary_search_by_key(&n, |held| held.n).ok()?;
    held.get_mut(index)
}

/// What this side tells the other.
fn end_of(frame: &Frame<'_>) -> Other {
    let interface = match frame.fd.as_ref().map(|fd| &fd.kind) {
        Some(FdKind::Tun { interface, .. }) if !interface.is_empty() => Some(interface.clone()),
        _ => None,
    };
    Other {
        interface,
        peer: frame.peer,
        errno: frame.errno,
    }
}
