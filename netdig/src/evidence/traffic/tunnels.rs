//! Who exchanges encapsulated packets with whom.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use decoders::{Endpoints, Layer, Packet};

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

/// A packet's tunnel and which way the packet goes through it.
pub struct Within {
    pub key: TunnelKey,
    pub outward: bool,
    pub oriented: bool,
    pub source_port: Option<u16>,
}

impl TunnelKey {
    /// A number that tells tunnels of one host apart, as a rule.
    #[inline]
    pub fn place(&self) -> usize {
        let last = |address: IpAddr| match address {
            IpAddr::V4(v4) => usize::from(v4.octets()[3]),
            IpAddr::V6(v6) => usize::from(v6.octets()[15]),
        };
        last(self.near) ^ last(self.far)
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
            of_link(tunnel.name(), vni(tunnel), outer, packet_type)
        }
    }
}

/// The first of [`Packet::encapsulations`] and its ends, in one pass: every packet is asked.
#[inline]
fn outermost<'a, 'p>(packet: &'a Packet<'p>) -> Option<(&'a Layer<'p>, Endpoints)> {
    let mut ends: Option<(IpAddr, IpAddr)> = None;
    let mut ports = None;
    for layer in &packet.layers {
        match layer {
            Layer::Ethernet(_) => {}
            Layer::Ipv4(ip) => {
                ends = Some((ip.source().into(), ip.destination().into()));
                ports = None;
            }
            Layer::Ipv6(ip) => {
                ends = Some((ip.source().into(), ip.destination().into()));
                ports = None;
            }
            Layer::Udp(udp) => ports = Some((udp.source_port(), udp.destination_port())),
            Layer::Tcp(_) => return None,
            layer if layer.is_tunnel() => {
                let (source, destination) = ends?;
                let outer = Endpoints {
                    source,
                    destination,
                    source_port: ports.map(|ports| ports.0),
                    destination_port: ports.map(|ports| ports.1),
                };
                return Some((layer, outer));
            }
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
    Some(Within {
        key: TunnelKey {
            near: unspecified(peer),
            far: peer.ip(),
            protocol: encap.name(),
            port: Some(port),
            vni: None,
        },
        outward,
        oriented: true,
        source_port: (!outward).then_some(peer.port()),
    })
}

fn unspecified(peer: SocketAddr) -> IpAddr {
    match peer.is_ipv4() {
        true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[inline]
fn of_link(
    protocol: &'static str,
    vni: Option<u32>,
    outer: Endpoints,
    packet_type: Option<PacketType>,
) -> Option<Within> {
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
    Some(Within {
        key: TunnelKey {
            near,
            far,
            protocol,
            port: outer.destination_port,
            vni,
        },
        outward,
        oriented,
        source_port: outer.source_port,
    })
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
