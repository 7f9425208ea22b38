//! Packets that tell of trouble by themselves: lost between tun and socket, refused,
//! complaints by ICMP, segments sent again and again, captures cut.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use decoders::icmp::Quoted;
use decoders::{Ip, Packet};

use super::Moment;

/// What is kept of a packet that was read from a tun until it is sent, or is not.
#[derive(Debug, Clone)]
pub struct Brief {
    pub at: Moment,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub protocol: u8,
    /// The tun's name.
    pub device: Arc<str>,
    pub pid: Option<u32>,
    pub comm: String,
}

/// Packets to one inner destination that were read from a tun and never left.
#[derive(Debug, Clone)]
pub struct NotSent {
    pub first: Brief,
    pub last: Moment,
    pub count: u64,
    /// The greatest time to live among them.
    pub ttl: u8,
    /// Where the daemon wanted to send them, where the kernel refused it.
    pub peer: Option<SocketAddr>,
    /// Whether events were lost while each was waited for.
    pub doubtful: bool,
}

/// An ICMP error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Complaint {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub v6: bool,
    pub kind: u8,
    pub code: u8,
    /// Ends of the packet that it is about.
    pub about: Option<(IpAddr, IpAddr)>,
}

#[derive(Debug, Clone)]
pub struct Complained {
    pub first: Moment,
    pub last: Moment,
    pub count: u64,
    pub quoted: Option<Quoted>,
    /// A tunnel daemon made it and wrote it to its tun.
    pub forged: bool,
    /// Seen on a tun: all that is on it belongs to the overlay.
    pub on_tun: bool,
    pub interface: Arc<str>,
    /// Addresses of that interface, where the capture tells them.
    pub addresses: Vec<IpAddr>,
    pub mtu: Option<u32>,
}

impl Complaint {
    /// The ICMP or ICMPv6 error that a packet is.
    pub fn of(
        packet: &Packet<'_>,
        ip: &Ip<'_>,
    ) -> Option<(Complaint, Option<Quoted>, Option<u32>)> {
        let (v6, kind, code, quoted, mtu) = match (packet.icmp(), packet.icmpv6()) {
            (Some(icmp), _) if matches!(icmp.kind(), 3 | 11 | 12) => {
                let mtu = icmp.next_hop_mtu().map(u32::from);
                (false, icmp.kind(), icmp.code(), icmp.quoted(), mtu)
            }
            (_, Some(icmp)) if matches!(icmp.kind(), 1..=4) => {
                (true, icmp.kind(), icmp.code(), icmp.quoted(), icmp.mtu())
            }
            _ => return None,
        };
        let complaint = Complaint {
            source: ip.source(),
            destination: ip.destination(),
            v6,
            kind,
            code,
            about: quoted.map(|quoted| (quoted.source, quoted.destination)),
        };
        Some((complaint, quoted, mtu))
    }

    /// "Fragmentation needed" or "packet too big".
    pub fn is_too_big(&self) -> bool {
        matches!(
            (self.v6, self.kind, self.code),
            (false, 3, 4) | (true, 2, _)
        )
    }
}

/// A TCP direction by its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// A full-size segment near a connection's beginning that is sent again and again.
#[derive(Debug, Clone)]
pub struct Stuck {
    pub sequence: u32,
    /// Bytes of its IP packet.
    pub len: usize,
    pub first: Moment,
    pub last: Moment,
    /// Retransmissions, at least [`super::APART_NS`] apart.
    pub times: u32,
    /// The other end has acknowledged it.
    pub arrived: bool,
}

/// Frames of one interface whose decoding the snap length cut.
#[derive(Debug, Clone)]
pub struct Cut {
    pub first: Moment,
    pub last: Moment,
    pub count: u64,
    pub captured: usize,
    pub length: usize,
}

/// Events that were lost, of one source, kind and cause.
#[derive(Debug, Clone)]
pub struct Lost {
    pub source: String,
    pub event_kind: &'static str,
    pub cause: &'static str,
    pub count: u64,
    /// Since when, until when, Unix time in nanoseconds.
    pub window: (u64, u64),
}
