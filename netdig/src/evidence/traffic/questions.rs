//! Packets that want an answer, and their answers: SYNs, echo requests, DNS queries.
//! Few of all packets are of these, and they tell whether traffic arrives.
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use decoders::tcp::{TcpFlags, TcpOption};
use decoders::{Ip, Layer, Packet};
use smallvec::SmallVec;

use super::{Moment, TunnelKey};
use crate::evidence::flow::words;

/// Places that a question is followed over: interfaces of a run.
pub const MAX_PLACES: usize = 6;

/// What tells a question from others; its answer names the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Syn {
        source_port: u16,
        destination_port: u16,
        sequence: u32,
    },
    Echo {
        id: u16,
        sequence: u16,
    },
    Dns {
        source_port: u16,
        destination_port: u16,
        id: u16,
    },
}

impl Hash for Asked {
    /// Words are quicker than the bytes of each part.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in [words(self.source), words(self.destination)].as_flattened() {
            state.write_u64(*word);
        }
        let ports = |near: u16, far: u16| u64::from(near) << 16 | u64::from(far);
        state.write_u64(match self.kind {
            Kind::Syn {
                source_port,
                destination_port,
                sequence,
            } => u64::from(sequence) << 32 | ports(source_port, destination_port),
            Kind::Echo { id, sequence } => ports(id, sequence),
            Kind::Dns {
                source_port,
                destination_port,
                id,
            } => u64::from(id) << 32 | ports(source_port, destination_port),
        });
    }
}

/// A packet that is a question or an answer to one.
pub enum Spoken {
    Question(Asked),
    Answer(Asked),
}

/// A name that DNS was asked for; most are short.
pub type Name = SmallVec<[u8; 32]>;

/// A question and what became of it.
#[derive(Debug, Clone)]
pub struct Question {
    pub asked: Asked,
    /// Where it was seen, in order of sight; the first one counts for `times`.
    pub places: SmallVec<[Place; 1]>,
    /// How often it was sent, as its first place saw it.
    pub times: u32,
    pub last: Moment,
    /// The longest time between two sendings, nanoseconds.
    pub gap_ns: u64,
    pub answer: Option<Moment>,
    /// Bytes of the IP packet.
    pub len: usize,
    /// Whether nobody on the way may cut it: DF is set, or it is IPv6.
    pub whole: bool,
    /// The name that was asked for, of DNS: labels joined by dots, any bytes.
    pub name: Option<Name>,
    /// The tunnel that it was seen in.
    pub tunnel: Option<TunnelKey>,
    /// Seen on a tun, or within a tunnel.
    pub in_tunnel: bool,
    /// The largest segment that who asks and who answers say they take, of a SYN.
    pub mss: (Option<u16>, Option<u16>),
    /// First packet whose outer UDP checksum is not what it should be.
    pub bad_checksum: Option<Moment>,
}

/// One interface's view of a question.
#[derive(Debug, Clone)]
pub struct Place {
    /// The run's number of the interface.
    pub number: usize,
    /// `flannel0`, `udp:8285`, `eth0`; empty where the file does not tell.
    pub interface: Arc<str>,
    pub first: Moment,
    pub answer: Option<Moment>,
}

impl Question {
    pub fn first(&self) -> Moment {
        self.places.first().map_or(self.last, |place| place.first)
    }

    /// `echo request`, `SYN to port 80`, `DNS query for www.google.com`.
    pub fn what(&self) -> String {
        match (&self.asked.kind, &self.name) {
            (Kind::Echo { .. }, _) => "echo request".to_owned(),
            (
                Kind::Syn {
                    destination_port, ..
                },
                _,
            ) => format!("SYN to port {destination_port}"),
            (Kind::Dns { .. }, Some(name)) => {
                format!("DNS query for {}", String::from_utf8_lossy(name))
            }
            (Kind::Dns { .. }, None) => "DNS query".to_owned(),
        }
    }
}

/// Whether a packet is a question or an answer.
pub fn spoken(packet: &Packet<'_>, ip: &Ip<'_>) -> Option<Spoken> {
    let (source, destination) = (ip.source(), ip.destination());
    let forth = |kind| Asked {
        source,
        destination,
        kind,
    };
    let back = |kind| Asked {
        source: destination,
        destination: source,
        kind,
    };
    match packet.innermost_layers().get(1..)?.iter().find(is_upper)? {
        Layer::Tcp(tcp) => {
            let flags = tcp.flags();
            let (syn, ack) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK));
            let (near, far) = (tcp.source_port(), tcp.destination_port());
            let kind = |source_port, destination_port, sequence| Kind::Syn {
                source_port,
                destination_port,
                sequence,
            };
            if syn && !ack {
                return Some(Spoken::Question(forth(kind(near, far, tcp.sequence()))));
            }
            // A refusal is an answer too.
            let answers = ack && (syn || flags.has(TcpFlags::RST));
            let asked = tcp.acknowledgement().wrapping_sub(1);
            answers.then(|| Spoken::Answer(back(kind(far, near, asked))))
        }
        Layer::Icmp(icmp) => {
            let echo = icmp.echo()?;
            let kind = Kind::Echo {
                id: echo.id,
                sequence: echo.sequence,
            };
            match icmp.kind() {
                8 => Some(Spoken::Question(forth(kind))),
                0 => Some(Spoken::Answer(back(kind))),
                _ => None,
            }
        }
        Layer::Icmpv6(icmp) => {
            let echo = icmp.echo()?;
            let kind = Kind::Echo {
                id: echo.id,
                sequence: echo.sequence,
            };
            match icmp.kind() {
                128 => Some(Spoken::Question(forth(kind))),
                129 => Some(Spoken::Answer(back(kind))),
                _ => None,
            }
        }
        Layer::Udp(udp) => {
            let dns = packet.dns()?;
            let (near, far) = (udp.source_port(), udp.destination_port());
            // Multicast DNS and its like are answered to all, or not at all.
            if destination.is_multicast() || near == far {
                return None;
            }
            let kind = |source_port, destination_port| Kind::Dns {
                source_port,
                destination_port,
                id: dns.id(),
            };
            Some(match dns.is_response() {
                false => Spoken::Question(forth(kind(near, far))),
                true => Spoken::Answer(back(kind(far, near))),
            })
        }
        _ => None,
    }
}

fn is_upper(layer: &&Layer<'_>) -> bool {
    matches!(
        layer,
        Layer::Tcp(_) | Layer::Icmp(_) | Layer::Icmpv6(_) | Layer::Udp(_)
    )
}

/// The largest segment that a SYN's sender takes.
pub fn mss(packet: &Packet<'_>) -> Option<u16> {
    packet.tcp()?.options().find_map(|option| match option {
        TcpOption::Mss(bytes) => Some(bytes),
        _ => None,
    })
}

/// Bytes of a DNS header (RFC 1035, section 4.1.1), and most of a name (section 2.3.4).
const DNS_HEADER: usize = 12;
const MAX_NAME: usize = 255;

/// The name that a query asks for, first of several. It is read here since parsing all of
/// each query costs more than everything else that is noted of it.
pub fn name(packet: &Packet<'_>) -> Option<Name> {
    let dns = packet.dns()?;
    if dns.question_count() == 0 {
        return None;
    }
    let mut rest = dns.bytes().get(DNS_HEADER..)?;
    let mut name = Name::new();
    while let Some((&length, after)) = rest.split_first() {
        let length = usize::from(length);
        if length == 0 {
            return Some(name);
        }
        // Names before it, which a pointer could mean, there are none; its length byte is 192 or more.
        let label = after.get(..length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend_from_slice(label);
        if name.len() > MAX_NAME {
            return None;
        }
        rest = &after[length..];
    }
    None
}
