//! What a packet is made of.

use crate::ah::Ah;
use crate::arp::Arp;
use crate::dhcp::{Dhcp, Dhcpv6};
use crate::dns::Dns;
use crate::erspan::Erspan;
use crate::esp::Esp;
use crate::ethernet::Ethernet;
use crate::flannel_udp::FlannelUdp;
use crate::fou::Fou;
use crate::frame_relay::FrameRelay;
use crate::geneve::Geneve;
use crate::gre::Gre;
use crate::gtp_u::GtpU;
use crate::gue::Gue;
use crate::http::Http;
use crate::http2::Http2;
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::igmp::Igmp;
use crate::ike::Ike;
use crate::ip_in_ip::IpInIp;
use crate::ipv4::Ipv4;
use crate::ipv6::{Ipv6, Ipv6Extension};
use crate::l2tp::L2tp;
use crate::linux_sll::{LinuxSll, LinuxSll2};
use crate::llc::Llc;
use crate::loopback::Loopback;
use crate::mpls::Mpls;
use crate::named::Named;
use crate::nbns::Nbns;
use crate::nsh::Nsh;
use crate::pim::Pim;
use crate::ppp::Ppp;
use crate::sctp::Sctp;
use crate::stt::Stt;
use crate::tcp::Tcp;
use crate::teredo::Teredo;
use crate::tls::Tls;
use crate::udp::Udp;
use crate::udp_lite::UdpLite;
use crate::vlan::Vlan;
use crate::vxlan::Vxlan;
use crate::vxlan_gpe::VxlanGpe;
use crate::weave_sleeve::WeaveSleeve;
use crate::wireguard::Wireguard;

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
    Erspan(Erspan<'a>),
    Esp(Esp<'a>),
    Ah(Ah<'a>),
    Ike(Ike<'a>),
    Wireguard(Wireguard<'a>),
    L2tp(L2tp<'a>),
    Stt(Stt<'a>),
    Named(Named),
    Ppp(Ppp<'a>),
    FrameRelay(FrameRelay<'a>),
    Nsh(Nsh<'a>),
    Pim(Pim<'a>),
    Sctp(Sctp<'a>),
    UdpLite(UdpLite<'a>),
    Igmp(Igmp<'a>),
    Llc(Llc<'a>),
    Tcp(Tcp<'a>),
    Udp(Udp<'a>),
    Icmp(Icmp<'a>),
    Icmpv6(Icmpv6<'a>),
    /// A marker without bytes of its own: the payload is a bare IPv4 packet.
    FlannelUdp(FlannelUdp),
    Vxlan(Vxlan<'a>),
    Geneve(Geneve<'a>),
    VxlanGpe(VxlanGpe<'a>),
    GtpU(GtpU<'a>),
    Mpls(Mpls<'a>),
    Gue(Gue<'a>),
    /// A marker without bytes of its own: the payload is a bare IP packet.
    Fou(Fou),
    Teredo(Teredo<'a>),
    WeaveSleeve(WeaveSleeve<'a>),
    Dns(Dns<'a>),
    Nbns(Nbns<'a>),
    Http(Http<'a>),
    Http2(Http2<'a>),
    Tls(Tls<'a>),
    Dhcpv6(Dhcpv6<'a>),
    Dhcp(Dhcp<'a>),
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
            Layer::Erspan($view) => $result,
            Layer::Esp($view) => $result,
            Layer::Ah($view) => $result,
            Layer::Ike($view) => $result,
            Layer::Wireguard($view) => $result,
            Layer::L2tp($view) => $result,
            Layer::Stt($view) => $result,
            Layer::Named($view) => $result,
            Layer::Ppp($view) => $result,
            Layer::FrameRelay($view) => $result,
            Layer::Nsh($view) => $result,
            Layer::Pim($view) => $result,
            Layer::Sctp($view) => $result,
            Layer::UdpLite($view) => $result,
            Layer::Igmp($view) => $result,
            Layer::Llc($view) => $result,
            Layer::Tcp($view) => $result,
            Layer::Udp($view) => $result,
            Layer::Icmp($view) => $result,
            Layer::Icmpv6($view) => $result,
            Layer::FlannelUdp($view) => $result,
            Layer::Vxlan($view) => $result,
            Layer::Geneve($view) => $result,
            Layer::VxlanGpe($view) => $result,
            Layer::GtpU($view) => $result,
            Layer::Mpls($view) => $result,
            Layer::Gue($view) => $result,
            Layer::Fou($view) => $result,
            Layer::Teredo($view) => $result,
            Layer::WeaveSleeve($view) => $result,
            Layer::Dns($view) => $result,
            Layer::Nbns($view) => $result,
            Layer::Http($view) => $result,
            Layer::Http2($view) => $result,
            Layer::Tls($view) => $result,
            Layer::Dhcpv6($view) => $result,
            Layer::Dhcp($view) => $result,
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
            Layer::Erspan(_) => "erspan",
            Layer::Esp(_) => "esp",
            Layer::Ah(_) => "ah",
            Layer::Ike(_) => "ike",
            Layer::Wireguard(_) => "wireguard",
            Layer::L2tp(_) => "l2tp",
            Layer::Stt(_) => "stt",
            Layer::Named(named) => named.kind.name(),
            Layer::Ppp(_) => "ppp",
            Layer::FrameRelay(_) => "fr",
            Layer::Nsh(_) => "nsh",
            Layer::Pim(_) => "pim",
            Layer::Sctp(_) => "sctp",
            Layer::UdpLite(_) => "udplite",
            Layer::Igmp(_) => "igmp",
            Layer::Llc(_) => "llc",
            Layer::Tcp(_) => "tcp",
            Layer::Udp(_) => "udp",
            Layer::Icmp(_) => "icmp",
            Layer::Icmpv6(_) => "icmpv6",
            Layer::FlannelUdp(_) => "flannel-udp",
            Layer::Vxlan(_) => "vxlan",
            Layer::Geneve(_) => "geneve",
            Layer::VxlanGpe(_) => "vxlan-gpe",
            Layer::GtpU(_) => "gtp-u",
            Layer::Mpls(_) => "mpls",
            Layer::Gue(_) => "gue",
            Layer::Fou(_) => "fou",
            Layer::Teredo(_) => "teredo",
            Layer::WeaveSleeve(_) => "weave-sleeve",
            Layer::Dns(_) => "dns",
            Layer::Nbns(_) => "nbns",
            Layer::Http(_) => "http",
            Layer::Http2(_) => "http2",
            Layer::Tls(_) => "tls",
            Layer::Dhcpv6(_) => "dhcpv6",
            Layer::Dhcp(_) => "dhcp",
        }
    }

    /// Whether what follows is another packet, and this one its carrier.
    pub fn is_tunnel(&self) -> bool {
        match self {
            Layer::FlannelUdp(_)
            | Layer::Vxlan(_)
            | Layer::Geneve(_)
            | Layer::Gre(_)
            | Layer::IpInIp(_) => true,
            // Messages of the ends' own carry no packet.
            Layer::GtpU(gtp) => gtp.carries_packet(),
            Layer::Gue(gue) => !gue.is_control(),
            Layer::L2tp(l2tp) => !l2tp.is_control(),
            Layer::Pim(pim) => pim.carries_packet(),
            Layer::Named(named) => named.kind.is_tunnel(),
            Layer::VxlanGpe(_)
            | Layer::Mpls(_)
            | Layer::Fou(_)
            | Layer::Teredo(_)
            | Layer::WeaveSleeve(_)
            | Layer::Nsh(_)
            | Layer::Erspan(_) => true,
            _ => false,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Decoding writes a layer for every header: a larger one would be felt.
    #[test]
    fn a_layer_stays_small() {
        assert!(size_of::<Layer<'_>>() <= 32, "{}", size_of::<Layer<'_>>());
    }
}
