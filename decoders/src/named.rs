//! Protocols that are told by their name alone.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

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
        }
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
            0x8864 => Kind::PppoeSession,
            0x888e => Kind::Eapol,
            0x88a2 => Kind::Aoe,
            0x88cc => Kind::Lldp,
            0x88e5 => Kind::Macsec,
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

/// Goes past the layer.
pub(crate) fn go_on(cursor: &mut Cursor<'_, '_>, kind: Kind, len: usize, next: Next) -> Next {
    let span = cursor.span();
    let view = Named {
        kind,
        span,
        len: len as u16,
    };
    cursor.push(Layer::Named(view), len, next)
}
