//! What a capture says of a frame beside its bytes: comments, one group a
//! comment, `Key: value` a line. Keys of processes and containers are
//! ptcpdump's (<https://github.com/mozillazg/ptcpdump>), so that tools made for
//! its files read these; netdig's own begin with `Netdig`.
//!
//! | comment | keys |
//! |---|---|
//! | process | `PID` `Cmd` (comm of the process), `Args` (only where the process is known), `NetdigArgsCut` `NetdigStart` (Unix time, ns) `NetdigProcessNetns` |
//! | thread | `ThreadId` `ThreadName` |
//! | user | `UserId` `NetdigUser` |
//! | parent | `ParentPID` |
//! | container | `ContainerName` `ContainerId` |
//! | frame | `NetdigVia` `NetdigFd` `NetdigFdKind` `NetdigFdInode` `NetdigFdName` `NetdigPeer` `NetdigEncap` `NetdigErrno` `NetdigNetns` `NetdigCgroup` `NetdigN` `NetdigJoined` |
//! | loss | `NetdigLoss` |
//!
//! Values are bytes that nobody vouches for. Control characters, bytes that are
//! not UTF-8 and the backslash are escaped (`\n` `\r` `\t` `\\` `\xHH`), so a
//! value never begins a line of its own, and reading gives the same bytes back.
//! They are read back only from sections whose header names netdig as the
//! application; a program that rewrites a file (editcap, mergecap) puts its own
//! name there, and the comments are then text for people only.

mod escape;
mod read;
mod write;

pub use escape::{escape_into, unescape};
pub use read::{Annotation, Annotations, Told};
pub use write::{FrameMeta, Group, write_free, write_group, write_loss};

use crate::observation::{PacketType, Via};

/// epb_flags bits 0 and 1.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

impl PacketType {
    /// The `epb_flags` word: direction in bits 0 to 1, kind of reception in
    /// bits 2 to 4 (draft-ietf-opsawg-pcapng, section 4.3.1).
    pub const fn epb_flags(self) -> u32 {
        match self {
            PacketType::Host => INBOUND | 1 << 2,
            PacketType::Multicast => INBOUND | 2 << 2,
            PacketType::Broadcast => INBOUND | 3 << 2,
            PacketType::OtherHost => INBOUND | 4 << 2,
            PacketType::Outgoing => OUTBOUND,
        }
    }

    /// The inverse of [`PacketType::epb_flags`]; `None` where the flags do not tell.
    pub const fn from_epb_flags(flags: u32) -> Option<PacketType> {
        match (flags & 3, flags >> 2 & 7) {
            (OUTBOUND, _) => Some(PacketType::Outgoing),
            (_, 2) => Some(PacketType::Multicast),
            (_, 3) => Some(PacketType::Broadcast),
            (_, 4) => Some(PacketType::OtherHost),
            (_, 1) | (INBOUND, _) => Some(PacketType::Host),
            _ => None,
        }
    }
}

/// `epb_flags` of a frame, direction as the host sees it: what a tun hands to
/// its daemon and what the daemon sends leaves the host (outbound); what the
/// daemon receives and writes to its tun comes in. 0 where it is not known.
pub fn epb_flags(via: Via, packet_type: Option<PacketType>) -> u32 {
    match (packet_type, via) {
        (Some(packet_type), _) => packet_type.epb_flags(),
        (None, Via::TunRead | Via::UdpSend) => OUTBOUND,
        (None, Via::TunWrite | Via::UdpRecv) => INBOUND,
        (None, Via::Link | Via::File) => 0,
    }
}
