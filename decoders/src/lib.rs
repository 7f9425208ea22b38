//! Packets in, layers out: no I/O, no clock, no allocation on the way.
//!
//! Decoding is lax. [`decode`] gives the layers that could be parsed, as views
//! into the frame, and says where and why it went no further. No bytes make it
//! panic. What goes over several frames, [`reassembly`] puts together.
//!
//! ```
//! use decoders::{Layer, LinkType, Ports, decode};
//!
//! // An ICMP echo request from 10.0.0.1 to 10.0.0.2.
//! let frame = [
//!     0x45, 0, 0, 28, 0, 7, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
//!     8, 0, 0, 0, 0x12, 0x34, 0, 1,
//! ];
//! let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
//! assert!(packet.stop.is_none());
//! assert_eq!(packet.layer_names().collect::<Vec<_>>(), ["ipv4", "icmp"]);
//! assert_eq!(packet.innermost_ip().unwrap().ttl(), 64);
//! assert_eq!(packet.icmp().unwrap().echo().unwrap().sequence, 1);
//! ```
#![forbid(unsafe_code)]

mod cursor;
mod encap;
mod identity;
mod layer;
mod link_type;
mod packet;
mod stop;

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

pub use encap::{Encap, Ports};
pub use identity::{Identity, identity};
pub use layer::{Layer, Span};
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
    run(Cursor::new(packet), Next::first(link), ports);
}

/// The list of protocols: who decodes what comes next.
// Always within its callers: every packet's way stays one loop, though there is
// the rarer one of what was put together.
#[inline(always)]
fn run(mut cursor: Cursor<'_, '_>, mut next: Next, ports: &Ports) {
    loop {
        next = match next {
            Next::Ethernet => ethernet::decode(&mut cursor),
            Next::EtherType(number) => ethernet::next(&mut cursor, number),
            Next::Vlan => vlan::decode(&mut cursor),
            Next::LinuxSll => linux_sll::decode(&mut cursor),
            Next::LinuxSll2 => linux_sll::decode_v2(&mut cursor),
            Next::Loopback { network_order } => loopback::decode(&mut cursor, network_order),
            Next::Arp => arp::decode(&mut cursor),
            Next::Ip => ip::decode(&mut cursor),
            Next::Ipv4 => ipv4::decode(&mut cursor),
            Next::Ipv6 => ipv6::decode(&mut cursor),
            Next::Protocol { number, version } => ip::next(&mut cursor, number, version),
            Next::Udp => udp::decode(&mut cursor, ports),
            Next::Tcp => tcp::decode(&mut cursor),
            Next::FlannelUdp => flannel_udp::decode(&mut cursor),
            Next::Vxlan => vxlan::decode(&mut cursor),
            Next::Geneve => geneve::decode(&mut cursor),
            Next::RareTunnel(encap) => rare_tunnel(&mut cursor, encap),
            Next::ErspanI => erspan::decode_i(&mut cursor),
            Next::Erspan => erspan::decode(&mut cursor),
            Next::UnknownLink(number) => cursor.stop("frame", Reason::LinkType(number)),
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
