//! The line of protocols that are known, but whose payload is not decoded:
//! encrypted ones, other transports, group membership.

use super::text::{push_decimal, push_escaped, push_hex, push_ip};
use super::{Line, network, push_ports};
use decoders::igmp::{Igmp, Record};
use decoders::ike::Ike;
use decoders::l2tp::L2tp;
use decoders::named::Kind;
use decoders::nbns::Nbns;
use decoders::sctp::Sctp;
use decoders::udp_lite::UdpLite;
use decoders::wireguard::Wireguard;
use decoders::{Ip, Layer};
use std::net::{IpAddr, Ipv4Addr};

/// By the packet's last layer.
pub(super) fn write(line: Line<'_, '_, '_>, ip: &Ip<'_>) {
    match line.packet.layers.last() {
        Some(Layer::Esp(esp)) => {
            let out = line.protocol(b"ESP");
            out.extend_from_slice(b"ESP (SPI=0x");
            push_hex(out, u64::from(esp.spi()), 8);
            out.push(b')');
        }
        Some(Layer::Ike(ike)) => write_ike(line, ike),
        Some(Layer::Wireguard(message)) => write_wireguard(line, message),
        Some(Layer::L2tp(l2tp)) => write_l2tp(line, l2tp),
        Some(Layer::Stt(stt)) => {
            let out = line.protocol(b"STT");
            push_number(out, b"Context=0x", stt.context(), 16);
        }
        Some(Layer::Named(named)) if named.kind == Kind::UdpEncapsulation => {
            // After the marks of ESP and IKE in UDP nothing follows but in
            // keep-alives.
            line.protocol(b"UDPENCAP")
                .extend_from_slice(b"NAT-keepalive");
        }
        Some(Layer::Named(named)) => {
            line.protocol(named.kind.column().as_bytes());
        }
        Some(Layer::Sctp(sctp)) => write_sctp(line, sctp),
        Some(Layer::UdpLite(udp)) => write_udp_lite(line, udp),
        Some(Layer::Igmp(igmp)) => write_igmp(line, igmp),
        Some(Layer::Nbns(message)) => write_nbns(line, message),
        _ => network::write_bare_ip(line, ip),
    }
}

/// `Name query NB WORKGROUP<1d>`.
fn write_nbns(line: Line<'_, '_, '_>, message: &Nbns<'_>) {
    let out = line.protocol(b"NBNS");
    let operation = message.opcode_name().unwrap_or("Unknown operation");
    out.extend_from_slice(operation.as_bytes());
    if message.is_response() {
        out.extend_from_slice(b" response");
    }
    out.push(b' ');
    out.extend_from_slice(message.kind_name().unwrap_or("Unknown").as_bytes());
    if message.is_response() {
        if let Some(address) = message.address() {
            out.push(b' ');
            push_ip(out, IpAddr::V4(address));
        }
        return;
    }
    let Some(name) = message.name() else {
        return;
    };
    out.push(b' ');
    for byte in name.text() {
        match byte {
            0x20..0x7f => push_escaped(out, &[*byte]),
            byte => push_suffix(out, *byte),
        }
    }
    push_suffix(out, name.suffix());
}

fn push_suffix(out: &mut Vec<u8>, byte: u8) {
    out.push(b'<');
    push_hex(out, u64::from(byte), 2);
    out.push(b'>');
}

fn push_number(out: &mut Vec<u8>, name: &[u8], number: u64, digits: u32) {
    out.extend_from_slice(name);
    push_hex(out, number, digits);
}

fn write_ike(line: Line<'_, '_, '_>, ike: &Ike<'_>) {
    let out = line.protocol(b"ISAKMP");
    match ike.exchange_name() {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(b"Exchange ");
            push_decimal(out, u64::from(ike.exchange()));
        }
    }
    if ike.version() == 2 {
        push_number(out, b" MID=", u64::from(ike.message_id()), 2);
        let who: &[u8] = match (ike.is_initiator(), ike.is_response()) {
            (true, false) => b" Initiator Request",
            (true, true) => b" Initiator Response",
            (false, false) => b" Responder Request",
            (false, true) => b" Responder Response",
        };
        out.extend_from_slice(who);
    }
}

fn write_wireguard(line: Line<'_, '_, '_>, message: &Wireguard<'_>) {
    let out = line.protocol(b"WireGuard");
    out.extend_from_slice(message.kind_name().as_bytes());
    if let Some(sender) = message.sender() {
        push_number(out, b", sender=0x", u64::from(sender), 8);
    }
    if let Some(receiver) = message.receiver() {
        push_number(out, b", receiver=0x", u64::from(receiver), 8);
    }
    if let Some(counter) = message.counter() {
        out.extend_from_slice(b", counter=");
        push_decimal(out, counter);
    }
    if let Some(length) = message.data_len().filter(|length| *length > 0) {
        out.extend_from_slice(b", datalen=");
        push_decimal(out, length as u64);
    }
}

fn write_l2tp(line: Line<'_, '_, '_>, l2tp: &L2tp<'_>) {
    let out = line.protocol(if l2tp.version() == 3 {
        b"L2TPv3"
    } else {
        b"L2TP"
    });
    let what: &[u8] = match (l2tp.is_control(), l2tp.version()) {
        (true, _) => b"Control Message",
        (false, 2) => b"Data    Message           ",
        _ => b"Data Message",
    };
    out.extend_from_slice(what);
    let (tunnel, session) = (l2tp.tunnel(), l2tp.session());
    match (tunnel, session) {
        (Some(tunnel), Some(session)) => {
            out.extend_from_slice(b" (tunnel id=");
            push_decimal(out, u64::from(tunnel));
            out.extend_from_slice(b", session id=");
            push_decimal(out, u64::from(session));
        }
        (Some(tunnel), None) => push_number(out, b" (ccid=0x", u64::from(tunnel), 8),
        (None, session) => {
            push_number(out, b" (session=0x", u64::from(session.unwrap_or(0)), 8);
        }
    }
    out.push(b')');
}

fn write_sctp(line: Line<'_, '_, '_>, sctp: &Sctp<'_>) {
    const SACK: u8 = 3;
    const DATA: [u8; 2] = [0, 0x40];
    let out = line.protocol(b"SCTP");
    let mut between: &[u8] = b"";
    for chunk in sctp.chunks() {
        out.extend_from_slice(between);
        between = b" ";
        out.extend_from_slice(chunk.name().unwrap_or("RESERVED").as_bytes());
        let long = |at: usize| {
            let bytes = chunk.value.get(at..)?.first_chunk::<4>()?;
            Some(u64::from(u32::from_be_bytes(*bytes)))
        };
        match (chunk.kind, long(0), long(4)) {
            (SACK, Some(acknowledged), Some(window)) => {
                out.extend_from_slice(b" (Ack=");
                push_decimal(out, acknowledged);
                out.extend_from_slice(b", Arwnd=");
                push_decimal(out, window);
                out.push(b')');
            }
            (kind, Some(number), _) if DATA.contains(&kind) => {
                out.extend_from_slice(b" (TSN=");
                push_decimal(out, number);
                out.push(b')');
            }
            _ => {}
        }
    }
}

fn write_udp_lite(line: Line<'_, '_, '_>, udp: &UdpLite<'_>) {
    let out = line.protocol(b"UDP-Lite");
    push_ports(out, udp.source_port(), udp.destination_port());
    if !udp.coverage_is_right() {
        out.extend_from_slice(b" [BAD LIGHTWEIGHT UDP CHECKSUM COVERAGE LENGTH ");
        push_decimal(out, u64::from(udp.coverage()));
        out.extend_from_slice(b" < 8 or > ");
        push_decimal(out, udp.payload_length() as u64 + 8);
        out.push(b']');
    }
    out.extend_from_slice(b" Len=");
    push_decimal(out, udp.payload_length() as u64);
    if udp.checksum() == 0 {
        out.extend_from_slice(b" [ILLEGAL CHECKSUM (0)]");
    }
}

fn write_igmp(line: Line<'_, '_, '_>, igmp: &Igmp<'_>) {
    const QUERY: u8 = 0x11;
    let name: &[u8] = match igmp.version() {
        Some(1) => b"IGMPv1",
        Some(2) => b"IGMPv2",
        Some(3) => b"IGMPv3",
        _ => b"IGMP",
    };
    let out = line.protocol(name);
    let Some(kind) = igmp.kind_name() else {
        return push_number(out, b"Type 0x", u64::from(igmp.kind()), 2);
    };
    out.extend_from_slice(kind.as_bytes());
    match (igmp.kind(), igmp.version(), igmp.group()) {
        (QUERY, Some(2 | 3), None) => out.extend_from_slice(b", general"),
        (QUERY, Some(2 | 3), Some(group)) => {
            out.extend_from_slice(b", specific for group ");
            push_ip(out, IpAddr::V4(group));
            if igmp.sources().next().is_some() {
                out.extend_from_slice(b", source");
                push_sources(out, igmp.sources(), b"");
            }
        }
        (_, Some(2), Some(group)) => {
            let before: &[u8] = if igmp.kind() == 0x16 {
                b" group "
            } else {
                b" "
            };
            out.extend_from_slice(before);
            push_ip(out, IpAddr::V4(group));
        }
        (0x22, ..) => push_records(out, igmp),
        _ => {}
    }
}

fn push_records(out: &mut Vec<u8>, igmp: &Igmp<'_>) {
    if igmp.records().next().is_none() {
        out.extend_from_slice(b" - General query");
    }
    for record in igmp.records() {
        out.extend_from_slice(b" / ");
        push_record(out, &record);
    }
}

/// Which sources of a group are wanted from now on.
fn push_record(out: &mut Vec<u8>, record: &Record<'_>) {
    let any = record.sources().next().is_some();
    let (before, after, plural): (&[u8], &[u8], &[u8]) = match (record.kind, any) {
        (1 | 3, false) => (b"Leave group ", b"", b""),
        (1 | 3, true) => (b"Join group ", b" for source", b" in"),
        (2 | 4, false) => (b"Join group ", b" for any sources", b""),
        (2 | 4, true) => (b"Join group ", b", for source", b" not in"),
        (5, false) => (
            b"Group ",
            b", ALLOW_NEW_SOURCES but no source specified (?)",
            b"",
        ),
        (5, true) => (b"Group ", b", new source", b""),
        (6, false) => (
            b"Group ",
            b", BLOCK_OLD_SOURCES but no source specified (?)",
            b"",
        ),
        (6, true) => (b"Group ", b", block source", b""),
        (_, false) => (b"Group ", b", unknown record type (?)", b""),
        (_, true) => (b"Group ", b", unknown record type (?), source", b""),
    };
    out.extend_from_slice(before);
    push_ip(out, IpAddr::V4(record.group));
    out.extend_from_slice(after);
    if any {
        push_sources(out, record.sources(), plural);
    }
}

/// ` {10.0.0.9}` or `s in {10.0.0.9, 10.0.0.8}`.
fn push_sources(out: &mut Vec<u8>, sources: impl Iterator<Item = Ipv4Addr>, before_many: &[u8]) {
    let sources: Vec<Ipv4Addr> = sources.collect();
    if sources.len() > 1 {
        out.push(b's');
        out.extend_from_slice(before_many);
    } else if before_many == b" not in" {
        out.extend_from_slice(b" not");
    }
    let mut between: &[u8] = b" {";
    for source in sources {
        out.extend_from_slice(between);
        push_ip(out, IpAddr::V4(source));
        between = b", ";
    }
    out.push(b'}');
}
