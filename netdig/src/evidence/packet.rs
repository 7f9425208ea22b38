//! A packet understood: all that an output says of it.
use std::net::SocketAddr;
use std::sync::Arc;

use super::flow::Relative;
use crate::observation::{Frame, Interface};
use crate::tracker::Process;
use decoders::reassembly::Reassembled;

/// What is known of a packet's other side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fate {
    /// It has none: it was seen on a link, or is no packet.
    #[default]
    Alone,
    /// Its other side is awaited; at the end of a run, nobody knows.
    Open,
    /// Joined with packet `n`, whose end of the tunnel is `other`.
    Joined { n: u64, second: bool, other: Other },
    /// Read and never sent, or received and never written, within the deadline.
    /// `doubtful` when events were lost meanwhile.
    Unanswered { doubtful: bool },
    /// Of a tun that was not asked for, as its other side told.
    Elsewhere,
    /// Sent or written by the daemon without having been read or received.
    Originated,
}

/// What the other side of a joined packet adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Other {
    /// The tun's name, of a tun side.
    pub interface: Option<Arc<str>>,
    /// The peer, of a UDP side.
    pub peer: Option<SocketAddr>,
    /// errno of the call on the other side, where it failed.
    pub errno: Option<i32>,
}

/// A packet as an output gets it.
pub struct PacketView<'a> {
    /// Number in this run; for a file, the frame's number.
    pub n: u64,
    pub frame: &'a Frame<'a>,
    pub interface: &'a Interface,
    pub packet: &'a decoders::Packet<'a>,
    pub tcp: Option<Relative>,
    /// What this frame completed, where it did.
    pub reassembled: Option<&'a Reassembled>,
    pub process: Option<&'a Process>,
    pub fd_name: Option<&'a str>,
    pub fate: &'a Fate,
}
