//! The line of packets that have no transport layer: fragments, other
//! protocols, ARP, frames that could not be decoded.

use super::text::{push_decimal, push_hex, push_ip, push_mac};
use super::{CUT, Line, MALFORMED, push_ports};
use decoders::arp::Arp;
use decoders::ip::protocol_name;
use decoders::named::{Kind, Named};
use decoders::{CutHeader, Ip, Layer, Reason, Stop};
use std::io::Write;
use std::net::IpAddr;

pub(super) fn write_fragment(line: Line<'_, '_, '_>, ip: &Ip<'_>) {
    let Some(fragment) = ip.fragment() else {
        return;
    };
    let (version, next) = match ip {
        Ip::V4(header) => (4, header.protocol()),
        Ip::V6(header, extension) => (
            6,
            extension.map_or(header.next_header(), |extension| extension.next_header()),
        ),
    };
    if version == 6 {
        let out = line.protocol(b"IPv6");
        out.extend_from_slice(b"IPv6 fragment (off=");
        push_decimal(out, fragment.offset as u64);
        out.extend_from_slice(if fragment.more {
            b" more=y"
        } else {
            b" more=n"
        });
        out.extend_from_slice(b" ident=0x");
        push_hex(out, u64::from(fragment.id), 8);
        out.extend_from_slice(b" nxt=");
        push_decimal(out, u64::from(next));
        return out.push(b')');
    }
    let out = line.protocol(b"IPv4");
    out.extend_from_slice(b"Fragmented IP protocol (proto=");
    out.extend_from_slice(protocol_name(next).unwrap_or("Unknown").as_bytes());
    out.push(b' ');
    push_decimal(out, u64::from(next));
    out.extend_from_slice(b", off=");
    push_decimal(out, fragment.offset as u64);
    out.extend_from_slice(b", ID=");
    push_hex(out, u64::from(fragment.id), 4);
    out.push(b')');
}

/// An IP packet in which nothing further was decoded.
pub(super) fn write_bare_ip(line: Line<'_, '_, '_>, ip: &Ip<'_>) {
    let packet = line.packet;
    let version: &[u8] = if ip.version() == 4 { b"IPv4" } else { b"IPv6" };
    if let Some(Layer::Gre(gre)) = packet.layers.last()
        && gre.version() == 1
    {
        return line.protocol(b"GRE").extend_from_slice(b"Encapsulated PPP");
    }
    if let Some(column) = packet.layers.last().and_then(carrier_column) {
        let out = line.protocol(column);
        if let Some(stop) = packet.stop {
            push_reason(out, stop);
        }
        return;
    }
    if let Some(Layer::Pim(pim)) = packet.layers.last() {
        let out = line.protocol(if pim.version() == 1 {
            b"PIMv1"
        } else {
            b"PIMv2"
        });
        return out.extend_from_slice(pim.kind_name().unwrap_or("Unknown").as_bytes());
    }
    if let Some(Layer::Named(named)) = packet.layers.last() {
        return write_named(line, named);
    }
    let Some(stop) = packet.stop else {
        if let Some(name) = extension_column(packet.layers.last()) {
            line.protocol(name);
            return;
        }
        let out = line.protocol(version);
        if ip.version() == 6 {
            out.extend_from_slice(b"IPv6 no next header");
        }
        return;
    };
    if let Some(header) = packet.cut_header()
        && let Some(ports) = header.ports()
    {
        return write_ports_alone(line, stop, header, ports);
    }
    match (stop.reason, stop.layer) {
        (Reason::IpProtocol(number), _) => write_protocol(line, number, ip.version(), version),
        (Reason::EtherType(number), _) if is_gre(packet.layers.last()) => {
            let out = line.protocol(b"GRE");
            out.extend_from_slice(b"Encapsulated 0x");
            push_hex(out, u64::from(number), 4);
            out.extend_from_slice(b" (unknown)");
        }
        _ => {
            let column: &[u8] = match packet.layers.last() {
                Some(Layer::Vxlan(_)) => b"VXLAN",
                Some(Layer::Geneve(_)) => b"Geneve",
                Some(Layer::Gre(_)) => b"GRE",
                Some(Layer::Erspan(_)) => b"ERSPAN",
                _ => version,
            };
            push_stop(line.protocol(column), stop);
        }
    }
}

/// A layer of which the name is known, and of PPP's control protocols the message.
fn write_named(line: Line<'_, '_, '_>, named: &Named) {
    let packet = line.packet;
    let code = packet.data.get(named.span.start as usize).copied();
    let out = line.protocol(named.kind.column().as_bytes());
    let is_control = matches!(
        named.kind,
        Kind::Lcp | Kind::Ipcp | Kind::Ipv6cp | Kind::Osinlcp | Kind::Mplscp | Kind::Cdpcp
    );
    if let Some(message) = code.filter(|_| is_control).and_then(ppp_message) {
        out.extend_from_slice(message);
    }
    if let Some(stop) = packet.stop {
        push_reason(out, stop);
    }
}

/// Messages of PPP's control protocols (RFC 1661).
fn ppp_message(code: u8) -> Option<&'static [u8]> {
    Some(match code {
        1 => b"Configuration Request",
        2 => b"Configuration Ack",
        3 => b"Configuration Nak",
        4 => b"Configuration Reject",
        5 => b"Termination Request",
        6 => b"Termination Ack",
        7 => b"Code Reject",
        8 => b"Protocol Reject",
        9 => b"Echo Request",
        10 => b"Echo Reply",
        11 => b"Discard Request",
        _ => return None,
    })
}

/// Links and carriers of whose content nothing is known.
fn carrier_column(layer: &Layer<'_>) -> Option<&'static [u8]> {
    Some(match layer {
        Layer::Ppp(_) => b"PPP",
        Layer::FrameRelay(_) => b"FR",
        Layer::Nsh(_) => b"NSH",
        _ => return None,
    })
}

/// Extension headers behind which nothing follows, as a rule.
fn extension_column(layer: Option<&Layer<'_>>) -> Option<&'static [u8]> {
    let Some(Layer::Ipv6Extension(extension)) = layer else {
        return None;
    };
    match extension.name() {
        "mipv6" => Some(b"MIPv6"),
        "hip" => Some(b"HIP"),
        "shim6" => Some(b"SHIM6"),
        _ => None,
    }
}

fn is_gre(layer: Option<&Layer<'_>>) -> bool {
    matches!(layer, Some(Layer::Gre(_)))
}

/// A transport header that is not whole, but has its ports.
fn write_ports_alone(
    line: Line<'_, '_, '_>,
    stop: Stop,
    header: CutHeader<'_>,
    (source, destination): (u16, u16),
) {
    let column: &[u8] = match header.layer {
        "tcp" => b"TCP",
        "sctp" => b"SCTP",
        "udplite" => b"UDP-Lite",
        _ => b"UDP",
    };
    let out = line.protocol(column);
    push_ports(out, source, destination);
    if let Some(length) = header.udp_length() {
        out.extend_from_slice(b" Len=");
        push_decimal(out, u64::from(length).saturating_sub(8));
    }
    push_stop(out, stop);
}

fn write_protocol(line: Line<'_, '_, '_>, number: u8, ip_version: u8, column: &[u8]) {
    match protocol_name(number) {
        Some(name) => {
            let out = line.protocol(name.as_bytes());
            out.extend_from_slice(b"IP protocol ");
            push_decimal(out, u64::from(number));
        }
        None => {
            let out = line.protocol(column);
            if ip_version == 6 {
                out.extend_from_slice(b"Unknown IP Protocol: ");
            }
            let what: &[u8] = if (147..=252).contains(&number) {
                b"Unassigned ("
            } else {
                b"IP protocol ("
            };
            out.extend_from_slice(what);
            push_decimal(out, u64::from(number));
            out.push(b')');
        }
    }
}

/// A frame whose innermost addresses are of a link, or that has none.
pub(super) fn write_without_ip(line: Line<'_, '_, '_>) {
    let packet = line.packet;
    if let Some(arp) = packet.arp() {
        return write_arp(line, arp);
    }
    if let Some(layer @ Layer::Mpls(_)) = packet.layers.last() {
        return super::tunnel::write(line, layer);
    }
    if let Some(column) = packet.layers.last().and_then(carrier_column) {
        let out = line.protocol(column);
        if let Some(stop) = packet.stop {
            push_reason(out, stop);
        }
        return;
    }
    if let Some(Layer::Named(named)) = packet.layers.last() {
        return write_named(line, named);
    }
    let Some(stop) = packet.stop else {
        let is_llc = matches!(packet.layers.last(), Some(Layer::Llc(_)));
        let column: &[u8] = if is_llc { b"LLC" } else { b"Ethernet" };
        line.protocol(column);
        return;
    };
    match (stop.layer, stop.reason) {
        (_, Reason::EtherType(number)) => {
            let mut name = b"0x".to_vec();
            push_hex(&mut name, u64::from(number), 4);
            push_reason(line.protocol(&name), stop);
        }
        ("llc", _) => push_stop(line.protocol(b"LLC"), stop),
        ("ipv4", reason) => {
            let first = packet.data.get(stop.offset).map_or(5, |byte| byte & 0xf);
            write_bad_ipv4(line, stop, reason, first);
        }
        ("ipv6", _) => push_stop(line.protocol(b"IPv6"), stop),
        ("arp", _) => push_stop(line.protocol(b"ARP"), stop),
        ("mpls", _) => push_stop(line.protocol(b"MPLS"), stop),
        ("vlan", _) => push_stop(line.protocol(b"VLAN"), stop),
        ("sll" | "sll2", _) => push_stop(line.protocol(b"SLL"), stop),
        ("eth", _) => push_stop(line.protocol(b"Ethernet"), stop),
        ("ip", Reason::Version { .. }) => {
            line.protocol(b"N/A").extend_from_slice(b"Raw packet data");
        }
        ("ip", _) => {
            let out = line.protocol(b"N/A");
            out.extend_from_slice(b"Raw packet data");
            push_stop(out, stop);
        }
        _ => push_reason(line.protocol(b"N/A"), stop),
    }
}

fn write_bad_ipv4(line: Line<'_, '_, '_>, stop: Stop, reason: Reason, header_words: u8) {
    let out = line.protocol(b"IPv4");
    let Reason::LengthTooSmall { declared, minimum } = reason else {
        return push_stop(out, stop);
    };
    // Either length may be the one that cannot be.
    let (before, between, after): (&[u8], &[u8], &[u8]) = if header_words < 5 {
        (b"Bogus IP header length (", b", must be at least ", b")")
    } else {
        (b"Bogus IP length (", b", less than header length ", b")")
    };
    out.extend_from_slice(before);
    push_decimal(out, declared as u64);
    out.extend_from_slice(between);
    push_decimal(out, minimum as u64);
    out.extend_from_slice(after);
}

fn write_arp(line: Line<'_, '_, '_>, arp: &Arp<'_>) {
    let name: &[u8] = match arp.operation() {
        3 | 4 => b"RARP",
        8 | 9 => b"Inverse ARP",
        _ => b"ARP",
    };
    let out = line.protocol(name);
    let Some((sender, target)) = arp.ipv4() else {
        return drop(write!(
            out,
            "ARP operation {} about other than IPv4",
            arp.operation()
        ));
    };
    let (sender, target) = (IpAddr::V4(sender), IpAddr::V4(target));
    match arp.operation() {
        1 | 2 if sender == target => push_gratuitous(out, arp, sender),
        1 => {
            out.extend_from_slice(b"Who has ");
            push_ip(out, target);
            if sender.is_unspecified() && is_unknown(arp.target_hardware()) {
                return out.extend_from_slice(b"? (ARP Probe)");
            }
            out.extend_from_slice(b"? Tell ");
            push_ip(out, sender);
        }
        2 | 9 => push_is_at(out, arp.sender_hardware(), sender, arp.operation()),
        3 | 8 => {
            out.extend_from_slice(b"Who is ");
            push_mac(out, arp.target_hardware());
            out.extend_from_slice(b"? Tell ");
            push_mac(out, arp.sender_hardware());
        }
        4 => push_is_at(out, arp.target_hardware(), target, 4),
        other => {
            out.extend_from_slice(b"Unknown ARP opcode 0x");
            push_hex(out, u64::from(other), 4);
        }
    }
}

/// Sender and target are one: somebody makes an address known.
fn push_gratuitous(out: &mut Vec<u8>, arp: &Arp<'_>, sender: IpAddr) {
    let is_request = arp.operation() == 1;
    let is_announcement = is_request && is_unknown(arp.target_hardware());
    let before: &[u8] = if is_announcement {
        b"ARP Announcement for "
    } else {
        b"Gratuitous ARP for "
    };
    let after: &[u8] = match (is_announcement, is_request) {
        (true, _) => b"",
        (_, true) => b" (Request)",
        _ => b" (Reply)",
    };
    out.extend_from_slice(before);
    push_ip(out, sender);
    out.extend_from_slice(after);
}

fn is_unknown(hardware: &[u8]) -> bool {
    hardware.iter().all(|byte| *byte == 0)
}

/// Replies tell a link-layer address; those of the reverse kinds an IP address.
fn push_is_at(out: &mut Vec<u8>, hardware: &[u8], address: IpAddr, operation: u16) {
    if operation == 2 {
        push_ip(out, address);
    } else {
        push_mac(out, hardware);
    }
    out.extend_from_slice(b" is at ");
    if operation == 2 {
        push_mac(out, hardware);
    } else {
        push_ip(out, address);
    }
}

pub(super) fn push_stop(out: &mut Vec<u8>, stop: Stop) {
    out.extend_from_slice(if let Reason::Cut { .. } = stop.reason {
        CUT
    } else {
        MALFORMED
    });
}

pub(super) fn push_reason(out: &mut Vec<u8>, stop: Stop) {
    // Writing to memory does not fail.
    drop(write!(out, "{}", stop.reason));
}
