//! What a run comes to: the last lines, and the last object.
use std::collections::BTreeMap;
use std::fmt;

use decoders::reassembly::{Cause, Totals};

use crate::finding::Severity;
use crate::observation::{Loss, LossCause};

/// Totals of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub packets: u64,
    /// Bytes of those packets, on the wire.
    pub bytes: u64,
    /// Pairs of sides of one packet.
    pub joined: u64,
    /// Read from a tun, never sent.
    pub unsent: u64,
    /// Received from a peer, never written to a tun.
    pub unwritten: u64,
    /// Pairs whose second call the kernel refused; they are not counted as joined.
    pub refused: u64,
    /// Packets of which nothing could be decoded.
    pub undecoded: u64,
    /// Datagrams put together of fragments, and those given up.
    pub datagrams: Totals,
    /// Messages put together of segments, and those given up.
    pub messages: Totals,
    /// Datagrams whose rest had not come at the end.
    pub unfinished_datagrams: u64,
    /// Messages whose rest had not come at the end.
    pub unfinished_messages: u64,
    /// All that sources delivered: packets and changes of state.
    pub events: u64,
    /// By source, kind and cause.
    pub lost: BTreeMap<(String, &'static str, LossCause), u64>,
    /// What was concluded.
    pub findings: BTreeMap<Severity, u64>,
}

impl Summary {
    pub fn add_loss(&mut self, loss: &Loss) {
        let key = (loss.source.clone(), loss.event_kind, loss.cause);
        *self.lost.entry(key).or_default() += loss.count;
    }

    /// Whether anything came in parts that were, or should have been, put together.
    pub fn has_parts(&self) -> bool {
        let any = |totals: &Totals| {
            totals.whole > 0 || Cause::ALL.iter().any(|cause| totals.given_up(*cause) > 0)
        };
        any(&self.datagrams)
            || any(&self.messages)
            || self.unfinished_datagrams + self.unfinished_messages > 0
    }

    pub fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }
}

impl Summary {
    /// `3 findings: 1 critical, 2 info`, the worst first.
    fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.findings.values().sum::<u64>() {
            0 => return f.write_str("no findings"),
            1 => f.write_str("1 finding")?,
            count => write!(f, "{count} findings")?,
        }
        let mut separator = ": ";
        for (severity, count) in self.findings.iter().rev() {
            write!(f, "{separator}{count} {}", severity.name())?;
            separator = ", ";
        }
        Ok(())
    }

    /// `2 datagrams put together, 1 given up (1 age); 1 message put together`.
    fn write_parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("datagram", &self.datagrams, self.unfinished_datagrams),
            ("message", &self.messages, self.unfinished_messages),
        ];
        let mut before = "\n";
        for (what, totals, unfinished) in kinds {
            let causes = Cause::ALL.map(|cause| (cause.name(), totals.given_up(cause)));
            let lost = causes.into_iter().chain([("unfinished", unfinished)]);
            let lost: Vec<_> = lost.filter(|(_, count)| *count > 0).collect();
            if totals.whole == 0 && lost.is_empty() {
                continue;
            }
            let plural = if totals.whole == 1 { "" } else { "s" };
            write!(f, "{before}{} {what}{plural} put together", totals.whole)?;
            before = "; ";
            if !lost.is_empty() {
                let total: u64 = lost.iter().map(|(_, count)| count).sum();
                let named: Vec<_> = lost.iter().map(|(name, n)| format!("{n} {name}")).collect();
                write!(f, ", {total} given up ({})", named.join(", "))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: u64, what: &str| match n {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        write!(f, "{} decoded", plural(self.packets, "packet"))?;
        if self.undecoded > 0 {
            write!(f, " ({} not beyond their first bytes)", self.undecoded)?;
        }
        write!(f, ", {} joined", plural(self.joined, "pair"))?;
        if self.unsent > 0 {
            write!(f, ", {} never sent", self.unsent)?;
        }
        if self.refused > 0 {
            write!(f, ", {} refused", self.refused)?;
        }
        if self.unwritten > 0 {
            write!(f, ", {} never written to a tun", self.unwritten)?;
        }
        if self.has_parts() {
            self.write_parts(f)?;
        }
        write!(f, "\n{} lost", plural(self.lost_total(), "event"))?;
        let mut separator = ": ";
        for ((source, kind, cause), count) in &self.lost {
            write!(f, "{separator}{count} {kind} ({}, {source})", cause.name())?;
            separator = ", ";
        }
        f.write_str("\n")?;
        self.write_findings(f)
    }
}
