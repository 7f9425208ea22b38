//! DNS's part of the line.

use super::text::{push_decimal, push_escaped, push_hex};
use super::{CUT, Line, MALFORMED};
use decoders::Reason;
use decoders::dns::{Dns, Record};

const RCODES: [&str; 12] = [
    "",
    "Format error",
    "Server failure",
    "No such name",
    "Not implemented",
    "Refused",
    "Name exists",
    "RRset exists",
    "RRset does not exist",
    "Not authoritative",
    "Name out of zone",
    "DSO-Type not implemented",
];

/// Records whose data tshark shows; of others it shows the type alone.
const WITH_DATA: [&str; 9] = [
    "A", "AAAA", "CNAME", "NS", "PTR", "MX", "SRV", "SOA", "HINFO",
];

/// Bytes of records after which a line ends, as tshark's does: a hostile answer
/// could make it a megabyte.
const MAX_RECORDS: usize = 4096;

/// Questions shown; real messages have one, multicast ones a few.
const MAX_QUESTIONS: usize = 32;

pub(super) fn write(line: Line<'_, '_, '_>, dns: &Dns<'_>) {
    let packet = line.packet;
    let is_multicast = has_port(packet, 5353);
    let name: &[u8] = match () {
        () if is_multicast => b"MDNS",
        () if has_port(packet, 5355) => b"LLMNR",
        () => b"DNS",
    };
    let out = line.protocol(name);
    push_operation(out, dns);
    let message = dns.parse();
    for question in message.questions.iter().take(MAX_QUESTIONS) {
        out.push(b' ');
        push_kind(out, &question.kind);
        out.push(b' ');
        push_escaped(out, &question.name);
        if is_multicast {
            let kind: &[u8] = if question.unicast {
                b", \"QU\" question"
            } else {
                b", \"QM\" question"
            };
            out.extend_from_slice(kind);
        }
    }
    // tshark's one line has the records of all sections.
    let records = message
        .answers
        .iter()
        .chain(&message.authorities)
        .chain(&message.additionals);
    let start = out.len();
    for record in records {
        if out.len() - start > MAX_RECORDS {
            out.extend_from_slice(" …".as_bytes());
            break;
        }
        push_record(out, record, is_multicast);
    }
    if !message.complete {
        let cut = dns.span.end as usize > packet.data.len();
        let goes_on = matches!(
            packet.stop.map(|stop| stop.reason),
            Some(Reason::Segmented { .. })
        );
        match () {
            () if cut => out.extend_from_slice(CUT),
            () if goes_on => out.extend_from_slice(b"[Unreassembled Packet]"),
            () => out.extend_from_slice(MALFORMED),
        }
    }
}

fn has_port(packet: &decoders::Packet<'_>, port: u16) -> bool {
    let udp = packet
        .udp()
        .map(|udp| (udp.source_port(), udp.destination_port()));
    let tcp = || {
        packet
            .tcp()
            .map(|tcp| (tcp.source_port(), tcp.destination_port()))
    };
    udp.or_else(tcp)
        .is_some_and(|ports| ports.0 == port || ports.1 == port)
}

/// `Standard query response 0x9317 No such name`.
fn push_operation(out: &mut Vec<u8>, dns: &Dns<'_>) {
    match dns.opcode() {
        0 => out.extend_from_slice(b"Standard query"),
        1 => out.extend_from_slice(b"Inverse query"),
        2 => out.extend_from_slice(b"Server status request"),
        4 => out.extend_from_slice(b"Zone change notification"),
        5 => out.extend_from_slice(b"Dynamic update"),
        6 => out.extend_from_slice(b"DNS Stateful operations (DSO)"),
        other => {
            out.extend_from_slice(b"Unknown operation (");
            push_decimal(out, u64::from(other));
            out.push(b')');
        }
    }
    if dns.is_response() {
        out.extend_from_slice(b" response");
    }
    out.extend_from_slice(b" 0x");
    push_hex(out, u64::from(dns.id()), 4);
    if dns.is_response() && dns.rcode() != 0 {
        out.push(b' ');
        match RCODES.get(usize::from(dns.rcode())) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => {
                out.extend_from_slice(b"Unknown error (");
                push_decimal(out, u64::from(dns.rcode()));
                out.push(b')');
            }
        }
    }
}

fn push_record(out: &mut Vec<u8>, record: &Record, is_multicast: bool) {
    out.push(b' ');
    push_kind(out, &record.kind);
    if is_multicast && record.cache_flush {
        out.extend_from_slice(b", cache flush");
    }
    if WITH_DATA.contains(&record.kind.as_str()) && !record.data.is_empty() {
        out.push(b' ');
        let shown = match record.kind.as_str() {
            // Of an SOA, the primary server alone.
            "SOA" => record.data.split(|byte| *byte == b' ').next(),
            _ => None,
        };
        push_escaped(out, shown.unwrap_or(&record.data));
    }
    if record.kind == "NAPTR" {
        // Order, preference and flags, of what is six words long.
        for word in record.data.splitn(4, |byte| *byte == b' ').take(3) {
            out.push(b' ');
            push_escaped(
                out,
                word.strip_prefix(b"\"")
                    .and_then(|word| word.strip_suffix(b"\""))
                    .unwrap_or(word),
            );
        }
    }
}

/// A type without a name is `TYPE65280` elsewhere and `Unknown (65280)` here.
fn push_kind(out: &mut Vec<u8>, kind: &str) {
    match kind.strip_prefix("TYPE") {
        Some(number) => {
            out.extend_from_slice(b"Unknown (");
            out.extend_from_slice(number.as_bytes());
            out.push(b')');
        }
        None => out.extend_from_slice(kind.as_bytes()),
    }
}
