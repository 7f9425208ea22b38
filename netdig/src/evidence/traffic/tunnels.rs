//! Who exchanges encapsulated packets with whom.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use decoders::{Layer, Packet};

use super::Moment;
use crate::observation::{FdKind, Frame, Interface, PacketType, Via};

/// One tunnel between two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TunnelKey {
    /// This host's end; unspecified where only the socket was seen. Where the direction
    /// is not known, the lesser of both.
    pub near: IpAddr,
    /// The peer.
    pub far: IpAddr,
    /// `flannel-udp`, `vxlan`, `ipip` …
    pub protocol: &'static str,
    /// The tunnel's UDP port, of one that has one.
    pub port: Option<u16>,
    pub vni: Option<u32>,
}

/// Packets of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    pub packets: u64,
    pub first: Moment,
    pub last: Moment,
    /// Packets that want an answer.
    pub questions: u64,
    pub first_question: Moment,
}

#[derive(Debug, Clone)]
pub struct Tunnel {
    /// From near to far, and from far to near.
    pub sent: Sums,
    pub received: Sums,
    /// Whether near is known to be this host's end.
    pub oriented: bool,
    /// UDP source port of the first packet from the far end.
    pub far_port: Option<u16>,
    /// Inner source address of the first packet from the far end.
    pub far_inner: Option<IpAddr>,
    /// Where it was first seen.
    pub interface: Arc<str>,
}

/// A packet's tunnel and which way the packet goes through it. Addresses are numbers here:
/// every packet makes one of these and compares it, and few need more.
#[derive(Clone, Copy)]
pub struct Within {
    near: u128,
    far: u128,
    is_v6: bool,
    protocol: &'static str,
    port: Option<u16>,
    vni: Option<u32>,
    pub outward: bool,
    pub oriented: bool,
    pub source_port: Option<u16>,
}

/// What tells tunnels apart; of one tunnel it is mostly the same. Fields are compared one by
/// one, where an array would be handed to a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Words {
    near: u128,
    far: u128,
    protocol: usize,
    rest: u64,
}

impl Within {
    #[inline]
    pub fn words(&self) -> Words {
        let port = self.port.map_or(0, |port| 1 << 16 | u64::from(port));
        let vni = self.vni.map_or(0, |vni| 1 << 32 | u64::from(vni));
        Words {
            near: self.near,
            far: self.far,
            // Where a name stands twice in the program, it is looked for once more.
            protocol: self.protocol.as_ptr() as usize,
            rest: vni << 18 | port << 1 | u64::from(self.is_v6),
        }
    }

    pub fn key(&self) -> TunnelKey {
        let address = |bits: u128| match self.is_v6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            false => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        };
        TunnelKey {
            near: address(self.near),
            far: address(self.far),
            protocol: self.protocol,
            port: self.port,
            vni: self.vni,
        }
    }
}

impl Words {
    /// A number that tells tunnels of one host apart, as a rule.
    #[inline]
    pub fn place(&self) -> usize {
        (self.near ^ self.far) as usize
    }
}

impl Sums {
    pub fn add(&mut self, at: Moment) {
        if self.packets == 0 {
            self.first = at;
        }
        self.packets += 1;
        self.last = at;
    }

    pub fn ask(&mut self, at: Moment) {
        if self.questions == 0 {
            self.first_question = at;
        }
        self.questions += 1;
    }
}

/// The outermost tunnel that a packet is in.
#[inline]
pub fn within(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    packet_type: Option<PacketType>,
) -> Option<Within> {
    match frame.via {
        Via::UdpSend | Via::UdpRecv => of_socket(frame),
        Via::TunRead | Via::TunWrite => None,
        Via::Link | Via::File => {
            let (tunnel, outer) = outermost(packet)?;
            Some(of_link(tunnel.name(), vni(tunnel), &outer, packet_type))
        }
    }
}

/// Ends of a packet around a tunnel.
struct Outer {
    source: u128,
    destination: u128,
    is_v6: bool,
    /// Source and destination.
    ports: Option<(u16, u16)>,
}

/// The first of [`Packet::encapsulations`] and its ends, in one pass: every packet is asked.
#[inline]
fn outermost<'a, 'p>(packet: &'a Packet<'p>) -> Option<(&'a Layer<'p>, Outer)> {
    let mut outer: Option<Outer> = None;
    for layer in &packet.layers {
        match layer {
            Layer::Ethernet(_) => {}
            Layer::Ipv4(ip) => {
                outer = Some(Outer {
                    source: ip.source().to_bits().into(),
                    destination: ip.destination().to_bits().into(),
                    is_v6: false,
                    ports: None,
                });
            }
            Layer::Ipv6(ip) => {
                outer = Some(Outer {
                    source: ip.source().to_bits(),
                    destination: ip.destination().to_bits(),
                    is_v6: true,
                    ports: None,
                });
            }
            Layer::Udp(udp) => {
                outer.as_mut()?.ports = Some((udp.source_port(), udp.destination_port()));
            }
            Layer::Tcp(_) => return None,
            layer if layer.is_tunnel() => return Some((layer, outer?)),
            _ => {}
        }
    }
    None
}

fn vni(tunnel: &Layer<'_>) -> Option<u32> {
    match tunnel {
        Layer::Vxlan(vxlan) => Some(vxlan.vni()),
        Layer::VxlanGpe(vxlan) => Some(vxlan.vni()),
        Layer::Geneve(geneve) => Some(geneve.vni()),
        Layer::Gre(gre) => gre.vni(),
        _ => None,
    }
}

fn of_socket(frame: &Frame<'_>) -> Option<Within> {
    let (peer, encap) = (frame.peer?, frame.encap?);
    let outward = frame.via == Via::UdpSend;
    let bound = match frame.fd.as_ref().map(|fd| &fd.kind) {
        Some(FdKind::Inet { local, .. }) if local.port() != 0 => Some(local.port()),
        _ => None,
    };
    let port = match outward {
        true => peer.port(),
        // Where the socket's own port is not known, peers' are the same, as a rule.
        false => bound.unwrap_or(peer.port()),
    };
    let (far, is_v6) = match peer.ip() {
        IpAddr::V4(address) => (address.to_bits().into(), false),
        IpAddr::V6(address) => (address.to_bits(), true),
    };
    Some(Within {
        // Unspecified.
        near: 0,
        far,
        is_v6,
        protocol: encap.name(),
        port: Some(port),
        vni: None,
        outward,
        oriented: true,
        source_port: (!outward).then_some(peer.port()),
    })
}

#[inline]
fn of_link(
    protocol: &'static str,
    vni: Option<u32>,
    outer: &Outer,
    packet_type: Option<PacketType>,
) -> Within {
    let (source, destination) = (outer.source, outer.destination);
    let (outward, oriented) = match packet_type {
        Some(PacketType::Outgoing) => (true, true),
        Some(PacketType::Host) => (false, true),
        _ => (source <= destination, false),
    };
    let (near, far) = match outward {
        true => (source, destination),
        false => (destination, source),
    };
    Within {
        near,
        far,
        is_v6: outer.is_v6,
        protocol,
        port: outer.ports.map(|ports| ports.1),
        vni,
        outward,
        oriented,
        source_port: outer.ports.map(|ports| ports.0),
    }
}

impl Tunnel {
    pub fn new(within: &Within, interface: &Interface) -> Tunnel {
        Tunnel {
            sent: Sums::default(),
            received: Sums::default(),
            oriented: within.oriented,
            far_port: None,
            far_inner: None,
            interface: Arc::from(interface.name.as_str()),
        }
    }

    pub fn sums(&mut self, outward: bool) -> &mut Sums {
        match outward {
            true => &mut self.sent,
            false => &mut self.received,
        }
    }
}
