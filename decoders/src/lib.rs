#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod arista;
mod cisco_hdlc;
mod cursor;
mod cut_header;
mod encap;
mod error;
mod identity;
mod ipnet;
mod ipoib;
mod juniper;
mod layer;
mod length;
mod link_type;
mod macsec;
mod nflog;
mod osi;
mod packet;
mod pppoe;
mod radio;
mod stop;
mod wlan;

pub mod ah;
pub mod arp;
pub mod checksum;
pub mod dhcp;
pub mod dns;
pub mod erspan;
pub mod esp;
pub mod etcd;
pub mod ethernet;
pub mod flannel_udp;
pub mod fou;
pub mod frame_relay;
pub mod geneve;
pub mod gre;
pub mod gtp_u;
pub mod gue;
pub mod http;
pub mod http2;
pub mod icmp;
pub mod icmpv6;
pub mod igmp;
pub mod ike;
pub mod ip;
pub mod ip_in_ip;
pub mod ipv4;
pub mod ipv6;
pub mod l2tp;
pub mod linux_sll;
pub mod llc;
pub mod loopback;
pub mod mpls;
pub mod named;
pub mod nbns;
pub mod nsh;
pub mod pim;
pub mod ppp;
#[cfg(feature = "std")]
pub mod reassembly;
pub mod sctp;
pub mod stt;
pub mod tcp;
pub mod teredo;
pub mod tls;
pub mod udp;
pub mod udp_lite;
pub mod vlan;
pub mod vxlan;
pub mod vxlan_gpe;
pub mod weave_sleeve;
pub mod wireguard;

pub use cut_header::CutHeader;
pub use encap::{Encap, Ports};
pub use error::Error;
pub use identity::{Identity, identity};
pub use layer::{Layer, Span};
pub use length::{LengthSource, Shortage};
pub use link_type::LinkType;
pub use packet::{
    Encapsulation, Endpoints, FragmentInfo, Ip, MAX_ENCAPSULATIONS, MAX_LAYERS, Packet, PutTogether,
};
pub use stop::{Reason, Stop};

use cursor::{Cursor, Next};

/// Decodes one frame.
///
/// `data` are the captured bytes, `orig_len` how many the frame really had
/// (fewer than captured is taken as captured), `ports` the UDP ports on which
/// tunnels are looked for.
#[inline]
pub fn decode<'a>(link: LinkType, data: &'a [u8], orig_len: usize, ports: &Ports) -> Packet<'a> {
    let mut packet = Packet::new();
    decode_into(&mut packet, link, data, orig_len, ports);
    packet
}

/// As [`decode`], in the place of a packet that is no longer needed: this saves
/// moving the list of layers, a fifth of the time.
///
/// ```
/// use decoders::{LinkType, Packet, Ports, decode_into};
/// let frames: [&[u8]; 2] = [&[0x45], &[0x60]];
/// let ports = Ports::default();
/// let mut packet = Packet::new();
/// for frame in frames {
///     decode_into(&mut packet, LinkType::RawIp, frame, frame.len(), &ports);
///     assert!(packet.stop.is_some());
/// }
/// ```
pub fn decode_into<'a>(
    packet: &mut Packet<'a>,
    link: LinkType,
    data: &'a [u8],
    orig_len: usize,
    ports: &Ports,
) {
    packet.reset(data, orig_len);
    run(&mut Cursor::new(packet), Next::first(link), ports);
}

/// As [`decode`], but a frame that is cut or contradicts itself is an [`Error`]:
/// there stands what is one. A protocol that is not known is none; decoding just
/// ends there, and [`Packet::stop`] says it.
///
/// ```
/// use decoders::{LengthSource, LinkType, Ports, decode_strict};
/// // UDP, where IPv4's total length leaves room for four of its eight bytes.
/// let frame = [
///     0x45, 0, 0, 24, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
///     0x30, 0x39, 0x1f, 0x90, 0, 8, 0, 0,
/// ];
/// let error = decode_strict(LinkType::RawIp, &frame, frame.len(), &Ports::default()).unwrap_err();
/// let shortage = error.shortage.unwrap();
/// assert_eq!((error.layer, error.offset), ("udp", 20));
/// assert_eq!((shortage.needed, shortage.had), (8, 4));
/// assert_eq!(shortage.length_from, LengthSource::Ipv4TotalLength);
/// assert_eq!(
///     error.to_string(),
///     "udp at byte 20: 8 bytes are needed and 4 are there, by IPv4's total length"
/// );
/// ```
pub fn decode_strict<'a>(
    link: LinkType,
    data: &'a [u8],
    orig_len: usize,
    ports: &Ports,
) -> Result<Packet<'a>, Error> {
    let mut packet = Packet::new();
    decode_strict_into(&mut packet, link, data, orig_len, ports)?;
    Ok(packet)
}

/// As [`decode_strict`], in the place of a packet that is no longer needed. With an
/// error too, `packet` has then what [`decode_into`] would have put there.
pub fn decode_strict_into<'a>(
    packet: &mut Packet<'a>,
    link: LinkType,
    data: &'a [u8],
    orig_len: usize,
    ports: &Ports,
) -> Result<(), Error> {
    packet.reset(data, orig_len);
    let mut cursor = Cursor::new(packet);
    run(&mut cursor, Next::first(link), ports);
    match cursor.error() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The list of protocols: who decodes what comes next.
// Always within its callers: every packet's way stays one loop, though there are
// the rarer ones of strict decoding and of what was put together.
#[inline(always)]
fn run(cursor: &mut Cursor<'_, '_>, mut next: Next, ports: &Ports) {
    loop {
        next = match next {
            Next::Ethernet => ethernet::decode(cursor),
            Next::EtherType(number) => ethernet::next(cursor, number),
            Next::Vlan => vlan::decode(cursor),
            Next::LinuxSll => linux_sll::decode(cursor),
            Next::LinuxSll2 => linux_sll::decode_v2(cursor),
            Next::Loopback { network_order } => loopback::decode(cursor, network_order),
            Next::Arp => arp::decode(cursor),
            Next::Ip => ip::decode(cursor),
            Next::Ipv4 => ipv4::decode(cursor),
            Next::Ipv6 => ipv6::decode(cursor),
            Next::Protocol { number, version } => ip::next(cursor, number, version),
            Next::Udp => udp::decode(cursor, ports),
            Next::Tcp => tcp::decode(cursor),
            Next::FlannelUdp => flannel_udp::decode(cursor),
            Next::Vxlan => vxlan::decode(cursor),
            Next::Geneve => geneve::decode(cursor),
            Next::RareTunnel(encap) => rare_tunnel(cursor, encap),
            Next::ErspanI => erspan::decode_i(cursor),
            Next::Erspan => erspan::decode(cursor),
            Next::RareLink(link) => rare_link(cursor, link),
            Next::Done => break,
        };
    }
    cursor.finish();
}

/// What a datagram of `length` bytes, of which `payload` was captured, carries,
/// and after how many bytes: where only the payload is known, as on a socket.
/// `None` where it has not the encapsulation's shape or carries no packet.
///
/// ```
/// use decoders::{Encap, LinkType, inside};
/// let mut payload = vec![0x30, 255, 0, 20, 0, 0, 0, 7];
/// payload.extend([0x45, 0, 0, 20, 0, 1, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
/// assert_eq!(inside(Encap::GtpU, &payload, 28), Some((LinkType::RawIp, 8)));
/// assert_eq!(inside(Encap::GtpU, b"hello", 5), None);
/// ```
pub fn inside(encap: Encap, payload: &[u8], length: usize) -> Option<(LinkType, usize)> {
    if !udp::fits(encap, payload, length, true) {
        return None;
    }
    let mut packet = Packet::new();
    packet.reset(payload, length);
    let mut cursor = Cursor::new(&mut packet);
    let mut next = rare_tunnel(&mut cursor, encap);
    next = match next {
        Next::FlannelUdp => flannel_udp::decode(&mut cursor),
        Next::Vxlan => vxlan::decode(&mut cursor),
        Next::Geneve => geneve::decode(&mut cursor),
        other => other,
    };
    let link = match next {
        Next::Ethernet => LinkType::Ethernet,
        Next::Ip | Next::Ipv4 | Next::Ipv6 => LinkType::RawIp,
        _ => return None,
    };
    Some((link, cursor.position()))
}

/// Links that are not met often.
#[cold]
fn rare_link(cursor: &mut Cursor<'_, '_>, link: LinkType) -> Next {
    match link {
        LinkType::Ppp => ppp::decode_framed(cursor),
        LinkType::PppPppd => ppp::decode_after(cursor, 2),
        LinkType::PppWithDirection => {
            cursor.skip(1);
            ppp::decode_framed(cursor)
        }
        LinkType::PppoeSession => pppoe::decode(cursor),
        LinkType::AtmRfc1483 => llc::decode(cursor),
        LinkType::CiscoHdlc => cisco_hdlc::decode(cursor),
        LinkType::FrameRelay => frame_relay::decode(cursor),
        LinkType::Ieee80211 => wlan::decode(cursor, false),
        LinkType::Prism => radio::decode_prism(cursor),
        LinkType::Avs => radio::decode_avs(cursor),
        LinkType::Radiotap => radio::decode_radiotap(cursor),
        LinkType::JuniperEthernet => juniper::decode(cursor),
        LinkType::Ipnet => ipnet::decode(cursor),
        LinkType::Nflog => nflog::decode(cursor),
        LinkType::IpOverInfiniband => ipoib::decode(cursor),
        other => cursor.stop("frame", Reason::LinkType(other.number())),
    }
}

/// Encapsulations that are not met often: the loop above stays short for those
/// that are.
#[cold]
fn rare_tunnel(cursor: &mut Cursor<'_, '_>, encap: Encap) -> Next {
    match encap {
        Encap::FlannelUdp => Next::FlannelUdp,
        Encap::Vxlan => Next::Vxlan,
        Encap::Geneve => Next::Geneve,
        Encap::VxlanGpe => vxlan_gpe::decode(cursor),
        Encap::GtpU => gtp_u::decode(cursor),
        Encap::Mpls => mpls::decode(cursor),
        Encap::Gue => gue::decode(cursor),
        Encap::Fou => fou::decode(cursor),
        Encap::Teredo => teredo::decode(cursor),
        Encap::WeaveSleeve => weave_sleeve::decode(cursor),
    }
}
