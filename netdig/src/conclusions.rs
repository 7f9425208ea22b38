//! What a run concludes while packets flow: the rules over its traffic and its context.
//!
//! Rules run when something rare was seen, at most ten times a second and for no more
//! than a twentieth of the time; at once for the first packet of a kind that tells of
//! trouble. A finding is said as it arises where packets show it, or where the context
//! alone gives it and it is critical or high: that is with the run's first packet. The
//! others of the context are said at the end. It is said again only where its title,
//! severity or confidence has changed.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::context::{Context, Part};
use crate::evidence::traffic::{Event, Sight, Traffic};
use crate::finding::{Code, Confidence, Finding, Severity};
use crate::observation::{Loss, UnixNanos};
use crate::output::Output;
use crate::rules::{self, View};

/// Shortest time between two evaluations.
const INTERVAL_NS: u64 = 100_000_000;
/// How often waiting alone is judged, and for how long after the last rare packet.
const WAITING_NS: u64 = 1_000_000_000;
const LINGER_NS: u64 = 10_000_000_000;
/// Packets of a file between two evaluations, at first: its time costs nothing.
const FILE_INTERVAL: u64 = 10_000;
/// An evaluation costs at most one part of so many.
const SHARE: u32 = 20;

/// Findings of one code that are told apart: whoever sends packets chooses what some are keyed
/// by.
const MAX_SAID: usize = 1000;

/// ND903: parts of the host could not be read.
const UNREAD: Code = Code(903);

/// Parts that are not known where nobody looked at the host, as with a file.
const UNKNOWN: [Part; 18] = [
    Part::Links,
    Part::Addresses,
    Part::Routes,
    Part::PolicyRules,
    Part::Neighbours,
    Part::Fdb,
    Part::Lookups,
    Part::Sysctls,
    Part::Firewall,
    Part::Counters,
    Part::Sockets,
    Part::Processes,
    Part::Containers,
    Part::Resolver,
    Part::SubnetEnv,
    Part::Configuration,
    Part::Registry,
    Part::Earlier,
];

/// Brings a context up to date; whether anything changed.
type Follow = dyn FnMut(&mut Context, When) -> bool;

/// The context of the host that packets are seen on, kept current.
pub struct Live {
    pub context: Context,
    /// Brings the context up to date; whether anything changed.
    follow: Box<Follow>,
}

/// When a context is brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Packets wait: it must not take time.
    Running,
    /// For the last time: what is about to come may be waited for.
    Ending,
}

impl Live {
    pub fn new(context: Context, follow: impl FnMut(&mut Context, When) -> bool + 'static) -> Live {
        Live {
            context,
            follow: Box::new(follow),
        }
    }

    /// Packets alone: rules that need anything else are silent.
    pub fn nothing_known() -> Live {
        Live::new(Live::unknown("only packets are looked at"), |_, _| false)
    }

    /// A context of which nothing could be read, and why.
    pub fn unknown(why: &str) -> Context {
        let mut context = Context::default();
        for part in UNKNOWN {
            context.lacks(part, why, None);
        }
        context
    }

    /// Brings the context up to date; whether anything changed.
    pub fn refresh(&mut self, when: When) -> bool {
        (self.follow)(&mut self.context, when)
    }
}

/// What was last said of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    severity: Severity,
    confidence: Confidence,
    title: String,
}

/// Evidence of a run, and what was concluded of it.
pub struct Conclusions {
    traffic: Traffic,
    live: Live,
    is_file: bool,
    said: BTreeMap<(Code, String), Said>,
    /// How many of them there are of each code.
    said_of: BTreeMap<Code, usize>,
    /// Concluded and not yet handed out.
    fresh: Vec<Finding>,
    /// What to write on packets, by number, of findings whose evidence they are.
    notes: BTreeMap<u64, BTreeSet<String>>,
    /// Events that were seen before.
    known: Vec<Event>,
    /// Something was seen since the last evaluation.
    dirty: bool,
    last_event_ns: UnixNanos,
    next_ns: UnixNanos,
    /// When waiting alone is judged again.
    waiting_ns: UnixNanos,
    evaluated_at: u64,
}

impl Conclusions {
    /// Of packets from a file: nothing else is known.
    pub fn of_file() -> Conclusions {
        Conclusions::new(Live::nothing_known(), true)
    }

    /// Of this host's packets.
    pub fn of_host(live: Live) -> Conclusions {
        Conclusions::new(live, false)
    }

    fn new(live: Live, is_file: bool) -> Conclusions {
        Conclusions {
            traffic: Traffic::new(live.context.counters.clone()),
            live,
            is_file,
            said: BTreeMap::new(),
            said_of: BTreeMap::new(),
            fresh: Vec::new(),
            notes: BTreeMap::new(),
            known: Vec::new(),
            dirty: false,
            last_event_ns: 0,
            next_ns: 0,
            waiting_ns: 0,
            evaluated_at: 0,
        }
    }

    /// Takes note of a packet.
    #[inline]
    pub fn observe(&mut self, sight: &Sight<'_>) {
        // What is wrong with the host is said with its first packet.
        self.dirty |= self.traffic.packets == 0;
        if let Some(event) = self.traffic.observe(sight) {
            self.happened(event, sight.n, sight.frame.ts_ns);
        }
    }

    /// No other side came for packet `n`; events were lost until `lost_until`.
    pub fn unanswered(&mut self, n: u64, lost_until: UnixNanos) {
        if let Some(event) = self.traffic.unanswered(n, lost_until) {
            self.happened(event, n, self.traffic.now_ns);
        }
    }

    /// Packet `n` belongs to a tun that was not asked for.
    pub fn leave_out(&mut self, n: u64) {
        self.traffic.leave_out(n);
    }

    pub fn add_loss(&mut self, loss: &Loss) {
        self.traffic.add_loss(loss);
        self.dirty = true;
    }

    /// Evaluates where it is time.
    #[inline]
    pub fn tick(&mut self, now: UnixNanos) {
        if now >= self.next_ns {
            self.look(now);
        }
    }

    /// The last evaluation: what the context gives beside the packets is said too.
    pub fn finish(&mut self, now: UnixNanos) {
        if !self.is_file {
            self.traffic.now_ns = self.traffic.now_ns.max(now);
            self.live.refresh(When::Ending);
        }
        self.traffic.ended = true;
        self.evaluate(u64::MAX);
    }

    /// When what is concluded last is concluded: at `now`, or with a file's last packet.
    pub fn end_ns(&self, now: UnixNanos) -> UnixNanos {
        match self.is_file {
            true => self.traffic.now_ns,
            false => now,
        }
    }

    /// Tells `output` of what was concluded since the last time.
    #[inline]
    pub fn say(&mut self, output: &mut Output, at: UnixNanos) {
        for finding in self.fresh.drain(..) {
            output.finding(&finding, at);
        }
    }

    /// Comments for packet `n`: what it is evidence of.
    pub fn comments(&mut self, n: u64) -> Vec<String> {
        if self.notes.is_empty() {
            return Vec::new();
        }
        // Packets before it are written already.
        self.notes = self.notes.split_off(&n);
        let notes = self.notes.remove(&n);
        notes.map_or_else(Vec::new, |notes| notes.into_iter().collect())
    }

    /// Findings said, by severity.
    pub fn counts(&self) -> BTreeMap<Severity, u64> {
        let mut counts = BTreeMap::new();
        for said in self.said.values() {
            *counts.entry(said.severity).or_default() += 1;
        }
        counts
    }

    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn happened(&mut self, event: Event, n: u64, ts_ns: UnixNanos) {
        self.dirty = true;
        self.last_event_ns = self.last_event_ns.max(ts_ns);
        let tells = matches!(event, Event::NotSent | Event::Complaint | Event::Tunnel);
        if tells && !self.known.contains(&event) {
            self.known.push(event);
            self.evaluate(n);
        }
    }

    /// Evaluates if there is something new to judge: an event, the context, or that
    /// something has been waited for in vain.
    fn look(&mut self, now: UnixNanos) {
        self.next_ns = now.saturating_add(INTERVAL_NS);
        if self.is_file {
            // More rarely as it goes on, so that long files pay no more than short ones.
            let interval = FILE_INTERVAL.max(self.evaluated_at / 2);
            if self.dirty && self.traffic.packets >= self.evaluated_at + interval {
                self.evaluate(0);
            }
            return;
        }
        self.traffic.now_ns = self.traffic.now_ns.max(now);
        self.dirty |= self.live.refresh(When::Running);
        let waiting = now >= self.waiting_ns && now < self.last_event_ns + LINGER_NS;
        if !self.dirty && !waiting {
            return;
        }
        let began = Instant::now();
        self.evaluate(0);
        let cost = (began.elapsed() * SHARE).as_nanos() as u64;
        self.next_ns = now.saturating_add(cost.max(INTERVAL_NS));
        self.waiting_ns = now.saturating_add(cost.max(WAITING_NS));
    }

    /// Runs the rules. `shown` is the packet that is about to be written, if one is.
    fn evaluate(&mut self, shown: u64) {
        if self.traffic.packets == 0 && !self.traffic.ended {
            return;
        }
        self.dirty = false;
        self.evaluated_at = self.traffic.packets;
        let view = View::new(&self.live.context, Some(&self.traffic));
        let report = rules::evaluate(&view);
        for finding in report.findings {
            // A file is no look at a host: nothing of one was to be read.
            if self.is_file && finding.code == UNREAD {
                continue;
            }
            let packets: Vec<u64> = packets(&finding).collect();
            let arises = !packets.is_empty()
                || finding.severity >= Severity::High
                || rules::rule(finding.code).is_some_and(rules::Rule::needs_packets);
            if !arises && !self.traffic.ended {
                continue;
            }
            for n in packets.into_iter().filter(|&n| n >= shown) {
                let note = format!("Finding: {} {}", finding.code, finding.title);
                self.notes.entry(n).or_default().insert(note);
            }
            self.add(finding);
        }
    }

    fn add(&mut self, finding: Finding) {
        let said = Said {
            severity: finding.severity,
            confidence: finding.confidence,
            title: finding.title.clone(),
        };
        let key = (finding.code, finding.key.clone());
        if !self.said.contains_key(&key) {
            let count = self.said_of.entry(finding.code).or_default();
            if *count >= MAX_SAID {
                return;
            }
            *count += 1;
        }
        if self.said.insert(key, said.clone()).as_ref() != Some(&said) {
            self.fresh.push(finding);
        }
    }
}

/// Numbers of the packets that a finding names.
fn packets(finding: &Finding) -> impl Iterator<Item = u64> + '_ {
    finding
        .evidence
        .iter()
        .filter(|evidence| evidence.source == "packet")
        .filter_map(|evidence| evidence.place.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_cannot_fill_memory_nor_silence_another() {
        let finding = |code, key: String| Finding {
            code: Code(code),
            name: "a",
            severity: Severity::Info,
            title: "a".to_owned(),
            explanation: String::new(),
            fix: Vec::new(),
            evidence: Vec::new(),
            confidence: Confidence::Certain,
            key,
            consequences: Vec::new(),
            cause: None,
        };
        let mut conclusions = Conclusions::of_file();
        for sender in 0..MAX_SAID + 10 {
            conclusions.add(finding(310, sender.to_string()));
        }
        assert_eq!(conclusions.fresh.len(), MAX_SAID);
        conclusions.add(finding(101, String::new()));
        // What was said is known still, and said again when it changes.
        conclusions.add(finding(310, "0".to_owned()));
        assert_eq!(conclusions.fresh.len(), MAX_SAID + 1);
        let worse = Finding {
            severity: Severity::High,
            ..finding(310, "0".to_owned())
        };
        conclusions.add(worse);
        assert_eq!(conclusions.fresh.len(), MAX_SAID + 2);
    }
}
