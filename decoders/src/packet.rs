//! What decoding gives: layers, and where it stopped.

use arrayvec::ArrayVec;
use core::net::IpAddr;

use crate::arp::Arp;
use crate::cut_header::CutHeader;
use crate::dhcp::{Dhcp, Dhcpv6};
use crate::dns::Dns;
use crate::erspan::Erspan;
use crate::gre::Gre;
use crate::http::Http;
use crate::http2::Http2;
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::ipv4::Ipv4;
use crate::ipv6::{Ipv6, Ipv6Extension};
use crate::layer::Layer;
use crate::stop::Stop;
use crate::tcp::Tcp;
use crate::tls::Tls;
use crate::udp::Udp;

/// Tunnels within tunnels that are followed; one more is a [`Reason::TooDeep`].
pub const MAX_ENCAPSULATIONS: usize = 8;

/// Layers that a packet can have; one more is a [`Reason::TooManyLayers`].
pub const MAX_LAYERS: usize = 48;

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
    /// Where the bytes are not one frame's alone, as
    /// [`Reassembly`](crate::reassembly::Reassembly) leaves them.
    pub put_together: Option<PutTogether>,
    /// Whether an IP packet is a fragment of a larger one.
    pub(crate) fragmented: bool,
}

/// Where bytes of several frames begin in [`Packet::data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutTogether {
    /// Byte of `data`: before it are the headers of the frame that completed
    /// them, from it on the bytes of all. The spans of layers that begin before
    /// it are those of that frame.
    pub at: usize,
    /// Bytes that the frame really had.
    pub frame_len: usize,
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
    /// Network identifier of VXLAN, VXLAN-GPE, Geneve and NVGRE; the key of GRE.
    pub vni: Option<u32>,
    /// Tunnel endpoint identifier of GTP-U.
    pub teid: Option<u32>,
    /// The label at the bottom of an MPLS stack.
    pub label: Option<u32>,
    /// Whole key of GRE.
    pub key: Option<u32>,
    /// Flow within NVGRE's network.
    pub flow_id: Option<u8>,
    /// Call of PPTP, whose GRE has version 1.
    pub call_id: Option<u16>,
    /// Mirroring session of ERSPAN.
    pub session: Option<u16>,
    /// VLAN of the frame that ERSPAN mirrors.
    pub vlan: Option<u16>,
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
            put_together: None,
            fragmented: false,
        }
    }

    #[inline]
    pub(crate) fn reset(&mut self, data: &'a [u8], orig_len: usize) {
        self.data = data;
        self.orig_len = orig_len.max(data.len());
        self.layers.clear();
        self.stop = None;
        self.put_together = None;
        self.fragmented = false;
    }

    /// Bytes that the frame really had, also where more were put together.
    pub fn frame_len(&self) -> usize {
        self.put_together
            .map_or(self.orig_len, |whole| whole.frame_len)
    }

    /// Whether the innermost IP packet is a fragment whose others are not here:
    /// not so where they were put together.
    pub fn is_fragment(&self) -> bool {
        let is_ip = |layer: &Layer<'_>| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_));
        let Some(at) = self.layers.iter().rposition(is_ip) else {
            return false;
        };
        let begin = self.layers[at].span().start as usize;
        self.put_together.is_none_or(|whole| begin >= whole.at)
            && self
                .ip_at(at)
                .and_then(|ip| ip.fragment())
                .is_some_and(|fragment| fragment.offset != 0 || fragment.more)
    }

    /// Names of the layers, outermost first, as JSON has them.
    pub fn layer_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.layers.iter().map(Layer::name)
    }

    /// The captured part of a layer's payload; of one around bytes that were put
    /// together, all of those.
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
        let to = match self.put_together {
            Some(whole) if (span.start as usize) < whole.at => self.data.len(),
            _ => (span.end as usize).min(self.data.len()),
        };
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
            if !layer.is_tunnel() {
                return None;
            }
            let vni = match layer {
                Layer::Vxlan(vxlan) => Some(vxlan.vni()),
                Layer::VxlanGpe(vxlan) => Some(vxlan.vni()),
                Layer::Geneve(geneve) => Some(geneve.vni()),
                Layer::Gre(gre) => gre.vni(),
                _ => None,
            };
            let teid = match layer {
                Layer::GtpU(gtp) => Some(gtp.teid()),
                _ => None,
            };
            let label = match layer {
                Layer::Mpls(stack) => Some(stack.label()),
                _ => None,
            };
            let gre = match layer {
                Layer::Gre(gre) => Some(gre),
                _ => None,
            };
            let erspan = match layer {
                Layer::Erspan(erspan) => Some(erspan),
                _ => None,
            };
            Some(Encapsulation {
                protocol: layer.name(),
                vni,
                teid,
                label,
                key: gre.and_then(Gre::key),
                flow_id: gre.and_then(Gre::flow_id),
                call_id: gre.and_then(Gre::call_id),
                session: erspan.and_then(Erspan::session),
                vlan: erspan.and_then(Erspan::vlan),
                outer: self.endpoints_before(at),
            })
        })
    }

    /// What is there of the header at which decoding stopped, where it ends too
    /// early: ports of a TCP header that the capture cut, and the like.
    pub fn cut_header(&self) -> Option<CutHeader<'a>> {
        CutHeader::of(self)
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

    /// The innermost DNS message; over TCP, the first of the segment.
    pub fn dns(&self) -> Option<&Dns<'a>> {
        self.dns_messages().next()
    }

    /// All DNS messages of a segment; over UDP there is one.
    pub fn dns_messages(&self) -> impl Iterator<Item = &Dns<'a>> {
        let is_dns = |layer: &&Layer<'_>| matches!(layer, Layer::Dns(_));
        let count = self.layers.iter().rev().take_while(is_dns).count();
        self.layers[self.layers.len() - count..]
            .iter()
            .filter_map(|layer| match layer {
                Layer::Dns(view) => Some(view),
                _ => None,
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

    /// The innermost beginning of an HTTP/2 connection.
    pub fn http2(&self) -> Option<&Http2<'a>> {
        self.find(|layer| {
            if let Layer::Http2(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost records of TLS.
    pub fn tls(&self) -> Option<&Tls<'a>> {
        self.find(|layer| {
            if let Layer::Tls(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost DHCP message.
    pub fn dhcp(&self) -> Option<&Dhcp<'a>> {
        self.find(|layer| {
            if let Layer::Dhcp(view) = layer {
                Some(view)
            } else {
                None
            }
        })
    }

    /// The innermost DHCPv6 message.
    pub fn dhcpv6(&self) -> Option<&Dhcpv6<'a>> {
        self.find(|layer| {
            if let Layer::Dhcpv6(view) = layer {
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
            if matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)) {
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
                        Layer::Ipv6Extension(extension) => Some(Some(extension)),
                        Layer::Ah(_) => Some(None),
                        _ => None,
                    })
                    .flatten()
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
