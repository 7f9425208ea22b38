//! Protocols and links' headers that are told by their name alone.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

/// Which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What marks ESP and IKE in UDP (RFC 3948): nothing, four zeros or a
    /// keep-alive.
    UdpEncapsulation,
    /// Spanning tree: IEEE 802.1D.
    Stp,
    /// Cisco discovery.
    Cdp,
    Ipx,
    Netbios,
    /// IS-IS and others of ISO.
    Osi,
    /// IEEE 802.1AB.
    Lldp,
    /// IEEE 802.1X.
    Eapol,
    /// RFC 2516.
    PppoeDiscovery,
    /// RFC 2516; PPP within.
    PppoeSession,
    /// Slow protocols, LACP among them: IEEE 802.3.
    Slow,
    /// IEEE 802.1AE; encrypted or not.
    Macsec,
    /// Configuration test.
    Loop,
    /// IEEE 1588.
    Ptp,
    Fcoe,
    /// FCoE initialisation.
    Fip,
    /// ATA over Ethernet.
    Aoe,
    /// IEEE 802.1ag.
    Cfm,
    /// batman-adv.
    Batadv,
    /// Pause frames: IEEE 802.3.
    MacControl,
    /// IEEE 802.1Q.
    Mvrp,
    Aarp,
    /// PPP multilink: RFC 1990.
    Multilink,
    /// Compressed datagrams of PPP: RFC 1962.
    CompressedData,
    /// PPP's link control: RFC 1661.
    Lcp,
    /// RFC 1332.
    Ipcp,
    /// RFC 5072.
    Ipv6cp,
    /// RFC 1377.
    Osinlcp,
    /// RFC 3032.
    Mplscp,
    /// Cisco discovery over PPP.
    Cdpcp,
    /// RFC 1962.
    Ccp,
    /// Callback control of PPP.
    Cbcp,
    /// RFC 1334.
    Pap,
    /// RFC 1994.
    Chap,
    /// RFC 3748.
    Eap,
    /// Cisco's HDLC: a link's header.
    CiscoHdlc,
    /// Addresses on Cisco's HDLC.
    Slarp,
    /// ISO 8473.
    Clnp,
    /// ISO 9542.
    Esis,
    /// ISO 10589.
    Isis,
    /// Arista's time stamp.
    Arista,
    /// A log of netfilter.
    Nflog,
    /// Solaris's link header.
    Ipnet,
    /// IP over InfiniBand.
    Ipoib,
    /// What Juniper's routers put in front.
    Juniper,
    /// What radio cards tell: radiotap.
    Radiotap,
    /// The same of Prism's cards.
    Prism,
    /// The same of AVS.
    Avs,
    /// IEEE 802.11.
    Wlan,
    /// A pseudowire's associated channel: RFC 4385.
    PwAch,
    /// A marker without bytes of its own: an Ethernet frame directly in IP
    /// (RFC 8986).
    EthernetInIp,
    /// RFC 3378.
    EtherIp,
}

impl Kind {
    /// Name as in the list of layers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::UdpEncapsulation => "udpencap",
            Kind::Stp => "stp",
            Kind::Cdp => "cdp",
            Kind::Ipx => "ipx",
            Kind::Netbios => "netbios",
            Kind::Osi => "osi",
            Kind::Lldp => "lldp",
            Kind::Eapol => "eapol",
            Kind::PppoeDiscovery => "pppoed",
            Kind::PppoeSession => "pppoes",
            Kind::Slow => "slow",
            Kind::Macsec => "macsec",
            Kind::Loop => "loop",
            Kind::Ptp => "ptp",
            Kind::Fcoe => "fcoe",
            Kind::Fip => "fip",
            Kind::Aoe => "aoe",
            Kind::Cfm => "cfm",
            Kind::Batadv => "batadv",
            Kind::MacControl => "macc",
            Kind::Mvrp => "mrp-mvrp",
            Kind::Aarp => "aarp",
            Kind::Multilink => "mp",
            Kind::CompressedData => "comp_data",
            Kind::Lcp => "lcp",
            Kind::Ipcp => "ipcp",
            Kind::Ipv6cp => "ipv6cp",
            Kind::Osinlcp => "osinlcp",
            Kind::Mplscp => "mplscp",
            Kind::Cdpcp => "cdpcp",
            Kind::Ccp => "ccp",
            Kind::Cbcp => "cbcp",
            Kind::Pap => "pap",
            Kind::Chap => "chap",
            Kind::Eap => "eap",
            Kind::CiscoHdlc => "chdlc",
            Kind::Slarp => "slarp",
            Kind::Clnp => "clnp",
            Kind::Esis => "esis",
            Kind::Isis => "isis",
            Kind::Arista => "avsp",
            Kind::Nflog => "nflog",
            Kind::Ipnet => "ipnet",
            Kind::Ipoib => "ipoib",
            Kind::Juniper => "juniper",
            Kind::Radiotap => "radiotap",
            Kind::Prism => "prism",
            Kind::Avs => "wlancap",
            Kind::Wlan => "wlan",
            Kind::PwAch => "pwach",
            Kind::EthernetInIp => "eth-in-ip",
            Kind::EtherIp => "etherip",
        }
    }

    /// Name as in the text line: tshark's, of the protocol alone.
    pub fn column(self) -> &'static str {
        match self {
            Kind::UdpEncapsulation => "UDPENCAP",
            Kind::Stp => "STP",
            Kind::Cdp => "CDP",
            Kind::Ipx => "IPX",
            Kind::Netbios => "NetBIOS",
            Kind::Osi => "OSI",
            Kind::Lldp => "LLDP",
            Kind::Eapol => "EAPOL",
            Kind::PppoeDiscovery => "PPPoED",
            Kind::PppoeSession => "PPPoES",
            Kind::Slow => "LACP",
            Kind::Macsec => "MACSEC",
            Kind::Loop => "LOOP",
            Kind::Ptp => "PTPv2",
            Kind::Fcoe => "FCoE",
            Kind::Fip => "FIP",
            Kind::Aoe => "AoE",
            Kind::Cfm => "CFM",
            Kind::Batadv => "BATADV",
            Kind::MacControl => "MAC CTRL",
            Kind::Mvrp => "MRP-MVRP",
            Kind::Aarp => "AARP",
            Kind::Multilink => "PPP MP",
            Kind::CompressedData => "PPP Comp",
            Kind::Lcp => "PPP LCP",
            Kind::Ipcp => "PPP IPCP",
            Kind::Ipv6cp => "PPP IPV6CP",
            Kind::Osinlcp => "PPP OSINLCP",
            Kind::Mplscp => "PPP MPLSCP",
            Kind::Cdpcp => "PPP CDPCP",
            Kind::Ccp => "PPP CCP",
            Kind::Cbcp => "PPP CBCP",
            Kind::Pap => "PPP PAP",
            Kind::Chap => "PPP CHAP",
            Kind::Eap => "EAP",
            Kind::CiscoHdlc => "CHDLC",
            Kind::Slarp => "SLARP",
            Kind::Clnp => "CLNP",
            Kind::Esis => "ES-IS",
            Kind::Isis => "ISIS",
            Kind::Arista => "AVSP",
            Kind::Nflog => "NFLOG",
            Kind::Ipnet => "IPNET",
            Kind::Ipoib => "IPoIB",
            Kind::Juniper => "Juniper Ethernet",
            Kind::Radiotap => "Radiotap",
            Kind::Prism => "Prism",
            Kind::Avs => "AVS WLANCAP",
            Kind::Wlan => "802.11",
            Kind::PwAch => "MPLS",
            Kind::EthernetInIp => "Ethernet",
            Kind::EtherIp => "EtherIP",
        }
    }

    /// Whether what follows is another packet, and this one its carrier.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Kind::EtherIp | Kind::EthernetInIp)
    }

    /// By EtherType.
    pub(crate) fn of_ethertype(number: u16) -> Option<Kind> {
        Some(match number {
            0x4305 => Kind::Batadv,
            0x80f3 => Kind::Aarp,
            0x8137 => Kind::Ipx,
            0x8808 => Kind::MacControl,
            0x8809 => Kind::Slow,
            0x8863 => Kind::PppoeDiscovery,
            0x888e => Kind::Eapol,
            0x88a2 => Kind::Aoe,
            0x88cc => Kind::Lldp,
            0x88f5 => Kind::Mvrp,
            0x88f7 => Kind::Ptp,
            0x8902 => Kind::Cfm,
            0x8906 => Kind::Fcoe,
            0x8914 => Kind::Fip,
            0x9000 => Kind::Loop,
            _ => return None,
        })
    }
}

/// A layer of which no more than the name is known.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    pub kind: Kind,
    pub span: Span,
    len: u16,
}

impl Named {
    /// Bytes that are the protocol's own, of those that could be told apart.
    pub fn header_len(&self) -> usize {
        usize::from(self.len)
    }
}

/// Ends decoding with a layer that has `len` bytes of its own.
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, kind: Kind, len: u16) -> Next {
    go_on(cursor, kind, usize::from(len), Next::Done)
}

/// Goes past the layer. Refuses one whose own bytes are more than its view can
/// count, as no sound header has.
pub(crate) fn go_on(cursor: &mut Cursor<'_, '_>, kind: Kind, len: usize, next: Next) -> Next {
    let Ok(own) = u16::try_from(len) else {
        return cursor.stop(
            kind.name(),
            Reason::Malformed("a header of more than 65535 bytes"),
        );
    };
    let view = Named {
        kind,
        span: cursor.span(),
        len: own,
    };
    cursor.push(Layer::Named(view), len, next)
}
