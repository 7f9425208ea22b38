//! What a run comes to: the last lines, and the last object.
use std::collections::BTreeMap;
use std::fmt;

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
    /// All that sources delivered: packets and changes of state.
    pub events: u64,
    /// By source, kind and cause.
    pub lost: BTreeMap<(String, &'static str, LossCause), u64>,
}

impl Summary {
    pub fn add_loss(&mut self, loss: &Loss) {
        let key = (loss.source.clone(), loss.event_kind, loss.cause);
        *self.lost.entry(key).or_default() += loss.count;
    }

    pub fn lost_total(&self) -> u64 {
        self.lost.values().sum()
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
        write!(f, "\n{} lost", plural(self.lost_total(), "event"))?;
        let mut separator = ": ";
        for ((source, kind, cause), count) in &self.lost {
            write!(f, "{separator}{count} {kind} ({}, {source})", cause.name())?;
            separator = ", ";
        }
        write!(f, "\nno findings")
    }
}
