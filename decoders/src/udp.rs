//! UDP: RFC 768.

use crate::cursor::{Cursor, Next};
use crate::dhcp;
use crate::dns;
use crate::encap::{Encap, Ports};
use crate::esp;
use crate::ike;
use crate::l2tp;
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::named;
use crate::nbns;
use crate::wireguard;
use crate::{flannel_udp, fou, geneve, gtp_u, gue, mpls, teredo, vxlan, vxlan_gpe, weave_sleeve};
use etherparse::UdpHeaderSlice;

const LEN: usize = 8;
const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;
const PTP_EVENT: u16 = 319;
const PTP_GENERAL: u16 = 320;
/// Header that all messages of PTP have.
const PTP_LEN: usize = 34;

/// A UDP header.
#[derive(Debug, Clone)]
pub struct Udp<'a> {
    header: UdpHeaderSlice<'a>,
    pub span: Span,
}

impl Udp<'_> {
    pub fn source_port(&self) -> u16 {
        self.header.source_port()
    }

    pub fn destination_port(&self) -> u16 {
        self.header.destination_port()
    }

    /// The header's own word: bytes, header included.
    pub fn length(&self) -> u16 {
        self.header.length()
    }

    /// Bytes of payload that the header promises: more than there are in a
    /// first fragment.
    pub fn payload_length(&self) -> usize {
        match self.length() {
            0 => (self.span.end - self.span.start) as usize - LEN,
            length => usize::from(length).saturating_sub(LEN),
        }
    }

    pub fn checksum(&self) -> u16 {
        self.header.checksum()
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, ports: &Ports) -> Next {
    let Ok(header) = UdpHeaderSlice::from_slice(cursor.rest()) else {
        return cursor.too_short("udp", LEN);
    };
    let length = usize::from(header.length());
    // 0 is a jumbogram's, longer than the field can say (RFC 2675).
    if length != 0 || cursor.wire_len() <= usize::from(u16::MAX) {
        if length < LEN {
            let layer = Layer::Udp(Udp {
                header,
                span: cursor.span(),
            });
            cursor.too_small(LengthSource::UdpLength, length, LEN);
            return cursor.push(layer, LEN, Next::Done);
        }
        cursor.limit(LengthSource::UdpLength, length);
    }
    let (source, destination) = (header.source_port(), header.destination_port());
    let view = Udp {
        header,
        span: cursor.span(),
    };
    let promised = view.payload_length();
    if let Next::Done = cursor.push(Layer::Udp(view), LEN, Next::Udp) {
        return Next::Done;
    }
    let payload = cursor.rest();
    if let Some(encap) = ports
        .get(destination)
        .or_else(|| listening_source(ports, source))
        && fits(encap, payload, promised, source == destination)
    {
        return encap.into();
    }
    let has_port = dns::is_port(source) || dns::is_port(destination);
    // NetBIOS's names look like DNS's.
    let is_nbns = (source == nbns::PORT || destination == nbns::PORT) && nbns::fits(payload);
    if is_nbns {
        return nbns::decode(cursor);
    }
    if has_port && dns::is_cut(cursor) {
        return cursor.too_short("dns", dns::HEADER_LEN);
    }
    if has_port || dns::is_unmistakable(payload, cursor.first_fragment) {
        let next = dns::decode(cursor, promised);
        if cursor.rest().len() < payload.len() {
            return next;
        }
    }
    if wireguard::begins(payload) && wireguard::fits(payload, promised, (source, destination)) {
        return wireguard::decode(cursor);
    }
    by_port(cursor, payload, promised, (source, destination))
}

/// Protocols that both or one of the ends have on a port of their own.
#[inline]
fn by_port(cursor: &mut Cursor<'_, '_>, payload: &[u8], length: usize, ports: (u16, u16)) -> Next {
    let is = |port| ports.0 == port || ports.1 == port;
    if is(IKE) && ike::fits(payload, length) {
        return ike::decode(cursor);
    }
    if is(NAT_TRAVERSAL) {
        return esp::decode_nat_traversal(cursor, length).unwrap_or(Next::Done);
    }
    if is(l2tp::PORT) && l2tp::fits(payload, length) {
        return l2tp::decode(cursor);
    }
    if (is(PTP_EVENT) || is(PTP_GENERAL)) && is_ptp(payload, length) {
        return named::decode(cursor, named::Kind::Ptp, PTP_LEN as u16);
    }
    if dhcp::is_port(ports.1) || dhcp::is_port(ports.0) {
        return dhcp::decode(cursor, ports.1.min(ports.0));
    }
    Next::Done
}

/// Whether the payload can be a message of PTP, version 2 (IEEE 1588, 13.3): one
/// of its types, as long as it says.
fn is_ptp(payload: &[u8], length: usize) -> bool {
    let Some(&[kind, version, high, low, ..]) = payload.first_chunk::<PTP_LEN>() else {
        return false;
    };
    let declared = usize::from(u16::from_be_bytes([high, low]));
    matches!(kind & 0xf, 0..=3 | 8..=13)
        && version & 0xf == 2
        && (PTP_LEN..=length).contains(&declared)
}

/// flannel sends from the port on which it listens, so its packets to a NAT or
/// to a peer with another port are known by their source; so do the ends of
/// GTP-U, Teredo's servers and weave's routers. VXLAN, Geneve and others choose
/// any source port.
#[inline]
fn listening_source(ports: &Ports, source: u16) -> Option<Encap> {
    ports.get(source).filter(|encap| {
        matches!(
            encap,
            Encap::FlannelUdp | Encap::GtpU | Encap::Teredo | Encap::WeaveSleeve
        )
    })
}

#[inline]
pub(crate) fn fits(encap: Encap, payload: &[u8], length: usize, same_ports: bool) -> bool {
    match encap {
        Encap::FlannelUdp => flannel_udp::fits(payload, length),
        Encap::Vxlan => vxlan::fits(payload),
        Encap::Geneve => geneve::fits(payload),
        Encap::VxlanGpe => vxlan_gpe::fits(payload),
        Encap::GtpU => gtp_u::fits(payload, length),
        Encap::Mpls => mpls::fits(payload, length),
        Encap::Gue => gue::fits(payload, length),
        Encap::Fou => fou::fits(payload, length),
        Encap::Teredo => teredo::fits(payload, length),
        Encap::WeaveSleeve => weave_sleeve::fits(payload, length, same_ports),
    }
}
