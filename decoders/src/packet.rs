//! What decoding gives: layers, and where it stopped.

use arrayvec::ArrayVec;
use core::fmt;
use core::net::IpAddr;

use crate::arp::Arp;
use crate::dns::Dns;
use crate::ethernet::Ethernet;
use crate::flannel_udp::FlannelUdp;
use crate::geneve::Geneve;
use crate::gre::Gre;
use crate::http::Http;
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::ip_in_ip::IpInIp;
use crate::ipv4::Ipv4;
use crate::ipv6::{Ipv6, Ipv6Extension};
use crate::linux_sll::{LinuxSll, LinuxSll2};
use crate::loopback::Loopback;
use crate::tcp::Tcp;
use crate::udp::Udp;
use crate::vlan::Vlan;
use crate::vxlan::Vxlan;

/// Tunnels within tunnels that are followed; one more is a [`Reason::TooDeep`].
pub const MAX_ENCAPSULATIONS: usize = 8;

/// Layers that a packet can have; one more is a [`Reason::TooManyLayers`].
pub const MAX_LAYERS: usize = 48;

/// Where a layer lies in its frame: offsets in bytes from the frame's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte of the layer's header.
    pub start: u32,
    /// One past the layer's last byte, as the lengths in the headers say and
    /// as far as they fit into the layer around it. It lies beyond the
    /// captured bytes where the capture was cut.
    pub end: u32,
}

/// One layer, as a view into the frame.
#[derive(Debug, Clone)]
pub enum Layer<'a> {
    Ethernet(Ethernet<'a>),
    Vlan(Vlan<'a>),
    LinuxSll(LinuxSll<'a>),
    LinuxSll2(LinuxSll2<'a>),
    Loopback(Loopback<'a>),
    Arp(Arp<'a>),
    Ipv4(Ipv4<'a>),
    Ipv6(Ipv6<'a>),
    Ipv6Extension(Ipv6Extension<'a>),
    /// A marker without bytes of its own: IP directly in IP.
    IpInIp(IpInIp),
    Gre(Gre<'a>),
    Tcp(Tcp<'a>),
    Udp(Udp<'a>),
    Icmp(Icmp<'a>),
    Icmpv6(Icmpv6<'a>),
    /// A marker without bytes of its own: the payload is a bare IPv4 packet.
    FlannelUdp(FlannelUdp),
    Vxlan(Vxlan<'a>),
    Geneve(Geneve<'a>),
    Dns(Dns<'a>),
    Http(Http<'a>),
}

/// Applies one expression to the view in each kind of layer.
macro_rules! each {
    ($layer:expr, $view:ident => $result:expr) => {
        match $layer {
            Layer::Ethernet($view) => $result,
            Layer::Vlan($view) => $result,
            Layer::LinuxSll($view) => $result,
            Layer::LinuxSll2($view) => $result,
            Layer::Loopback($view) => $result,
            Layer::Arp($view) => $result,
            Layer::Ipv4($view) => $result,
            Layer::Ipv6($view) => $result,
            Layer::Ipv6Extension($view) => $result,
            Layer::IpInIp($view) => $result,
            Layer::Gre($view) => $result,
            Layer::Tcp($view) => $result,
            Layer::Udp($view) => $result,
            Layer::Icmp($view) => $result,
            Layer::Icmpv6($view) => $result,
            Layer::FlannelUdp($view) => $result,
            Layer::Vxlan($view) => $result,
            Layer::Geneve($view) => $result,
            Layer::Dns($view) => $result,
            Layer::Http($view) => $result,
        }
    };
}

impl Layer<'_> {
    /// Name as in netdig's JSON (`eth`, `ipv4`, `flannel-udp`, …).
    pub fn name(&self) -> &'static str {
        match self {
            Layer::Ethernet(_) => "eth",
            Layer::Vlan(_) => "vlan",
            Layer::LinuxSll(_) => "sll",
            Layer::LinuxSll2(_) => "sll2",
            Layer::Loopback(_) => "loopback",
            Layer::Arp(_) => "arp",
            Layer::Ipv4(_) => "ipv4",
            Layer::Ipv6(_) => "ipv6",
            Layer::Ipv6Extension(extension) => extension.name(),
            Layer::IpInIp(marker) => marker.name(),
            Layer::Gre(_) => "gre",
            Layer::Tcp(_) => "tcp",
            Layer::Udp(_) => "udp",
            Layer::Icmp(_) => "icmp",
            Layer::Icmpv6(_) => "icmpv6",
            Layer::FlannelUdp(_) => "flannel-udp",
            Layer::Vxlan(_) => "vxlan",
            Layer::Geneve(_) => "geneve",
            Layer::Dns(_) => "dns",
            Layer::Http(_) => "http",
        }
    }

    /// Whether what follows is another packet, and this one its carrier.
    pub fn is_tunnel(&self) -> bool {
        matches!(
            self,
            Layer::FlannelUdp(_)
                | Layer::Vxlan(_)
                | Layer::Geneve(_)
                | Layer::Gre(_)
                | Layer::IpInIp(_)
        )
    }

    /// Where the layer lies in the frame.
    pub fn span(&self) -> Span {
        each!(self, view => view.span)
    }

    /// Length of the layer's header, in bytes: what is not payload.
    pub fn header_len(&self) -> usize {
        each!(self, view => view.header_len())
    }

    /// Length of the layer's payload on the wire, in bytes.
    pub fn payload_len(&self) -> usize {
        let span = self.span();
        (span.end as usize).saturating_sub(span.start as usize + self.header_len())
    }
}

/// Why decoding went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The capture ends before the packet does; `missing` bytes of the
    /// innermost decoded layer were not captured.
    Cut { missing: usize },
    /// The packet itself ends inside the layer's header.
    TooShort { needed: usize, available: usize },
    /// A length field says more than the layer around it holds.
    LengthBeyond { declared: usize, available: usize },
    /// A length field says less than the header needs.
    LengthTooSmall { declared: usize, minimum: usize },
    /// The version field has another value than the layer's.
    Version { found: u8 },
    /// A fragment other than the first: its bytes are in the middle of something.
    Fragment { offset: usize },
    /// The EtherType is none that is decoded.
    EtherType(u16),
    /// The frame's EtherType is a length: IEEE 802.3 with LLC.
    Llc,
    /// The IP protocol is none that is decoded.
    IpProtocol(u8),
    /// The link type is none that is decoded.
    LinkType(u16),
    /// The address family of a loopback frame is none that is decoded.
    Family(u32),
    /// A form of the protocol that is not decoded.
    Form(&'static str),
    /// Bytes that contradict the layer.
    Malformed(&'static str),
    /// More than [`MAX_ENCAPSULATIONS`] tunnels within each other.
    TooDeep,
    /// More than [`MAX_LAYERS`] layers.
    TooManyLayers,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Cut { missing } => write!(f, "capture was cut, {missing} bytes are missing"),
            Reason::TooShort { needed, available } => {
                write!(f, "needs {needed} bytes and has {available}")
            }
            Reason::LengthBeyond {
                declared,
                available,
            } => {
                write!(
                    f,
                    "length says {declared} bytes where there are {available}"
                )
            }
            Reason::LengthTooSmall { declared, minimum } => {
                write!(
                    f,
                    "length says {declared} bytes where {minimum} is the least"
                )
            }
            Reason::Version { found } => write!(f, "version is {found}"),
            Reason::Fragment { offset } => write!(f, "fragment that begins at byte {offset}"),
            Reason::EtherType(number) => write!(f, "ethertype 0x{number:04x} is not decoded"),
            Reason::Llc => f.write_str("IEEE 802.3 LLC is not decoded"),
            Reason::IpProtocol(number) => match crate::ip::protocol_name(number) {
                Some(name) => write!(f, "IP protocol {number} ({name}) is not decoded"),
                None => write!(f, "IP protocol {number} is not decoded"),
            },
            Reason::LinkType(number) => write!(f, "link type {number} is not decoded"),
            Reason::Family(number) => write!(f, "address family {number} is not decoded"),
            Reason::Form(what) => write!(f, "{what} is not decoded"),
            Reason::Malformed(what) => f.write_str(what),
            Reason::TooDeep => write!(f, "more than {MAX_ENCAPSULATIONS} tunnels in each other"),
            Reason::TooManyLayers => write!(f, "more than {MAX_LAYERS} layers"),
        }
    }
}

/// Where decoding ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The layer that could not be decoded, or not wholly.
    pub layer: &'static str,
    /// Byte of the frame at which it was noticed.
    pub offset: usize,
    pub reason: Reason,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.layer, self.offset, self.reason)
    }
}

/// A decoded frame: what could be parsed, and where that ended.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    /// The captured bytes.
    pub data: &'a [u8],
    /// Bytes that the frame really had; never less than `data.len()`.
    pub orig_len: usize,
    /// Outermost first.
    pub layers: ArrayVec<Layer<'a>, MAX_LAYERS>,
    /// `None` where everything known was decoded and nothing was cut.
    pub stop: Option<Stop>,
}

/// The innermost or outermost IP layer, of either version.
#[derive(Debug, Clone, Copy)]
pub enum Ip<'a> {
    V4(Ipv4<'a>),
    /// With the fragment header that follows it, if one does.
    V6(Ipv6<'a>, Option<Ipv6Extension<'a>>),
}

/// A fragment's place in its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Bytes before this fragment's first.
    pub offset: usize,
    pub more: bool,
    pub id: u32,
}

impl<'a> Ip<'a> {
    /// 4 or 6.
    pub fn version(&self) -> u8 {
        match self {
            Ip::V4(_) => 4,
            Ip::V6(..) => 6,
        }
    }

    pub fn source(&self) -> IpAddr {
        match self {
            Ip::V4(ip) => IpAddr::V4(ip.source()),
            Ip::V6(ip, _) => IpAddr::V6(ip.source()),
        }
    }

    pub fn destination(&self) -> IpAddr {
        match self {
            Ip::V4(ip) => IpAddr::V4(ip.destination()),
            Ip::V6(ip, _) => IpAddr::V6(ip.destination()),
        }
    }

    /// Protocol (IPv4) or next header (IPv6), IANA numbers.
    pub fn protocol(&self) -> u8 {
        match self {
            Ip::V4(ip) => ip.protocol(),
            Ip::V6(ip, _) => ip.next_header(),
        }
    }

    /// Time to live or hop limit.
    pub fn ttl(&self) -> u8 {
        match self {
            Ip::V4(ip) => ip.ttl(),
            Ip::V6(ip, _) => ip.hop_limit(),
        }
    }

    /// Length of the whole IP packet in bytes, header included: what the header
    /// says, or as far as the frame reaches where it leaves that open.
    pub fn len(&self) -> usize {
        let (declared, span) = match self {
            Ip::V4(ip) => (usize::from(ip.total_length()), ip.span),
            Ip::V6(ip, _) if ip.payload_length() == 0 => (0, ip.span),
            Ip::V6(ip, _) => (ip.header_len() + usize::from(ip.payload_length()), ip.span),
        };
        if declared != 0 {
            declared
        } else {
            (span.end - span.start) as usize
        }
    }

    /// Whether not even a header is there; it never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Identification: of every IPv4 packet, and of IPv6 fragments.
    pub fn id(&self) -> Option<u32> {
        match self {
            Ip::V4(ip) => Some(u32::from(ip.identification())),
            Ip::V6(..) => self.fragment().map(|fragment| fragment.id),
        }
    }

    /// Where the packet is a fragment: which.
    pub fn fragment(&self) -> Option<FragmentInfo> {
        match self {
            Ip::V4(ip) => ip.fragment(),
            Ip::V6(_, extension) => extension.as_ref().and_then(|header| header.fragment()),
        }
    }
}

/// The outermost addresses of a packet, and the ports above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: Option<u16>,
    pub destination_port: Option<u16>,
}

/// One tunnel around the innermost packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation {
    /// Name of the layer: `flannel-udp`, `vxlan`, `geneve`, `gre`, `ipip`, ….
    pub protocol: &'static str,
    /// Network identifier of VXLAN, Geneve and NVGRE; the key of GRE.
    pub vni: Option<u32>,
    /// Who talks to whom around it; `None` where the capture begins within.
    pub outer: Option<Endpoints>,
}

impl Default for Packet<'_> {
    fn default() -> Self {
        Packet::new()
    }
}

impl<'a> Packet<'a> {
    /// A packet of no bytes, for [`decode_into`](crate::decode_into).
    #[inline]
    pub const fn new() -> Packet<'a> {
        Packet {
            data: &[],
            orig_len: 0,
            layers: ArrayVec::new_const(),
            stop: None,
        }
    }

    #[inline]
    pub(crate) fn reset(&mut self, data: &'a [u8], orig_len: usize) {
        self.data = data;
        self.orig_len = orig_len.max(data.len());
        self.layers.clear();
        self.stop = None;
    }

    /// Names of the layers, outermost first, as JSON has them.
    pub fn layer_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.layers.iter().map(Layer::name)
    }

    /// The captured part of a layer's payload.
    ///
    /// ```
    /// use decoders::{LinkType, Ports, decode};
    /// let udp = [
    ///     0x45, 0, 0, 31, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    ///     0x30, 0x39, 0x1f, 0x90, 0, 11, 0, 0, // UDP 12345 to 8080
    ///     b'a', b'b', b'c',
    /// ];
    /// let packet = decode(LinkType::RawIp, &udp, udp.len(), &Ports::default());
    /// assert_eq!(packet.payload(&packet.layers[1]), b"abc");
    /// ```
    pub fn payload(&self, layer: &Layer<'_>) -> &'a [u8] {
        let span = layer.span();
        let from = span.start as usize + layer.header_len();
        let to = (span.end as usize).min(self.data.len());
        self.data.get(from..to).unwrap_or(&[])
    }

    /// The innermost IP layer: the packet that somebody really meant to send.
    pub fn innermost_ip(&self) -> Option<Ip<'a>> {
        let at = self
            .layers
            .iter()
            .rposition(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))?;
        self.ip_at(at)
    }

    /// The layers from the innermost IP on, that one included; all of them
    /// where there is no IP.
    pub fn innermost_layers(&self) -> &[Layer<'a>] {
        let at = self
            .layers
            .iter()
            .rposition(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
            .unwrap_or(0);
        &self.layers[at..]
    }

    /// Addresses and UDP ports of the outermost IP layer, where the packet is
    /// in a tunnel.
    pub fn outer(&self) -> Option<Endpoints> {
        self.encapsulations()
            .find_map(|encapsulation| encapsulation.outer)
    }

    /// The tunnels around the innermost packet, outermost first.
    pub fn encapsulations(&self) -> impl Iterator<Item = Encapsulation> + '_ {
        self.layers.iter().enumerate().filter_map(|(at, layer)| {
            let vni = match layer {
                Layer::Vxlan(vxlan) => Some(vxlan.vni()),
                Layer::Geneve(geneve) => Some(geneve.vni()),
                Layer::Gre(gre) => gre.vni(),
                Layer::FlannelUdp(_) | Layer::IpInIp(_) => None,
                _ => return None,
            };
            Some(Encapsulation {
                protocol: layer.name(),
                vni,
                outer: self.endpoints_before(at),
            })
        })
    }

    /// The innermost TCP layer. Like the others below, `None` where that layer
    /// belongs to a tunnel around the innermost IP packet.
    pub fn tcp(&self) -> Option<&Tcp<'a>> {
        self.find(|layer| {
            if let Layer::Tcp(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost UDP layer.
    pub fn udp(&self) -> Option<&Udp<'a>> {
        self.find(|layer| {
            if let Layer::Udp(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost ICMP layer.
    pub fn icmp(&self) -> Option<&Icmp<'a>> {
        self.find(|layer| {
            if let Layer::Icmp(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost ICMPv6 layer.
    pub fn icmpv6(&self) -> Option<&Icmpv6<'a>> {
        self.find(|layer| {
            if let Layer::Icmpv6(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost DNS message.
    pub fn dns(&self) -> Option<&Dns<'a>> {
        self.find(|layer| {
            if let Layer::Dns(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost HTTP message.
    pub fn http(&self) -> Option<&Http<'a>> {
        self.find(|layer| {
            if let Layer::Http(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The ARP packet.
    pub fn arp(&self) -> Option<&Arp<'a>> {
        self.find(|layer| {
            if let Layer::Arp(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    fn find<'s, T>(&'s self, pick: impl Fn(&'s Layer<'a>) -> Option<&'s T>) -> Option<&'s T> {
        for layer in self.layers.iter().rev() {
            if let Some(view) = pick(layer) {
                return Some(view);
            }
            if layer.is_tunnel() || matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)) {
                return None;
            }
        }
        None
    }

    fn ip_at(&self, at: usize) -> Option<Ip<'a>> {
        match self.layers.get(at)? {
            Layer::Ipv4(ip) => Some(Ip::V4(*ip)),
            Layer::Ipv6(ip) => {
                let fragment = self.layers[at + 1..]
                    .iter()
                    .map_while(|layer| match layer {
                        Layer::Ipv6Extension(extension) => Some(extension),
                        _ => None,
                    })
                    .find(|extension| extension.fragment().is_some());
                Some(Ip::V6(*ip, fragment.copied()))
            }
            _ => None,
        }
    }

    fn endpoints_before(&self, at: usize) -> Option<Endpoints> {
        let ip_at = self.layers[..at]
            .iter()
            .rposition(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))?;
        let ip = self.ip_at(ip_at)?;
        let ports = self.layers[ip_at..at].iter().find_map(|layer| match layer {
            Layer::Udp(udp) => Some((udp.source_port(), udp.destination_port())),
            _ => None,
        });
        Some(Endpoints {
            source: ip.source(),
            destination: ip.destination(),
            source_port: ports.map(|ports| ports.0),
            destination_port: ports.map(|ports| ports.1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decoding writes a layer for every header: a larger one would be felt.
    #[test]
    fn a_layer_stays_small() {
        assert!(size_of::<Layer<'_>>() <= 32, "{}", size_of::<Layer<'_>>());
    }
}
