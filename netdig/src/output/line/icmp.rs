//! ICMP's and ICMPv6's parts of the line.

use super::Line;
use super::text::{push_decimal, push_hex, push_ip, push_mac};
use decoders::icmp::{Echo, Icmp};
use decoders::icmpv6::Icmpv6;
use std::net::IpAddr;

const UNREACHABLE: [&str; 16] = [
    "Network unreachable",
    "Host unreachable",
    "Protocol unreachable",
    "Port unreachable",
    "Fragmentation needed",
    "Source route failed",
    "Destination network unknown",
    "Destination host unknown",
    "Source host isolated",
    "Network administratively prohibited",
    "Host administratively prohibited",
    "Network unreachable for TOS",
    "Host unreachable for TOS",
    "Communication administratively filtered",
    "Host precedence violation",
    "Precedence cutoff in effect",
];
const REDIRECT: [&str; 4] = [
    "Redirect for network",
    "Redirect for host",
    "Redirect for TOS and network",
    "Redirect for TOS and host",
];
const EXCEEDED: [&str; 2] = [
    "Time to live exceeded in transit",
    "Fragment reassembly time exceeded",
];
const PARAMETER: [&str; 3] = [
    "Pointer indicates the error",
    "Required option missing",
    "Bad length",
];

const UNREACHABLE_V6: [&str; 8] = [
    "no route to destination",
    "Administratively prohibited",
    "Beyond scope of source address",
    "Address unreachable",
    "Port unreachable",
    "Source address failed ingress/egress policy",
    "Reject route to destination",
    "Error in Source Routing Header",
];
const EXCEEDED_V6: [&str; 2] = [
    "hop limit exceeded in transit",
    "fragment reassembly time exceeded",
];
const PARAMETER_V6: [&str; 4] = [
    "erroneous header field encountered",
    "unrecognized Next Header type encountered",
    "unrecognized IPv6 option encountered",
    "IPv6 First Fragment has incomplete IPv6 Header Chain",
];

/// Option types of neighbour discovery (RFC 4861, 4.6).
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

pub(super) fn write_v4(line: Line<'_, '_, '_>, icmp: &Icmp<'_>, ttl: u8) {
    let out = line.protocol(b"ICMP");
    let name = match icmp.kind() {
        0 => "Echo (ping) reply   ",
        3 => "Destination unreachable",
        4 => "Source quench (flow control)",
        5 => "Redirect            ",
        8 => "Echo (ping) request ",
        9 => "Mobile IP Advertisement",
        10 => "Router solicitation",
        11 => "Time-to-live exceeded",
        12 => "Parameter problem   ",
        13 => "Timestamp request   ",
        14 => "Timestamp reply     ",
        15 => "Information request ",
        16 => "Information reply   ",
        17 => "Address mask request",
        18 => "Address mask reply  ",
        30 => "Traceroute",
        _ => "Unknown ICMP (obsolete or malformed?)",
    };
    out.extend_from_slice(name.as_bytes());
    let code = icmp.code();
    match icmp.kind() {
        0 | 8 | 13..=18 => {
            let [a, b, c, d] = icmp.rest_of_header();
            let (id, seq) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            push_id(out, b" id=0x", id, seq);
            out.push(b'/');
            push_decimal(out, u64::from(seq.swap_bytes()));
            out.extend_from_slice(b", ttl=");
            push_decimal(out, u64::from(ttl));
        }
        3 => push_code(out, &UNREACHABLE, code, "Unknown code: ", ""),
        5 => push_code(out, &REDIRECT, code, "Unknown code: ", ""),
        11 => push_code(out, &EXCEEDED, code, "Unknown code: ", ""),
        12 => push_code(out, &PARAMETER, code, "Unknown code: ", ""),
        _ => {}
    }
}

pub(super) fn write_v6(line: Line<'_, '_, '_>, icmp: &Icmpv6<'_>, hop_limit: u8) {
    let out = line.protocol(b"ICMPv6");
    let name = match icmp.kind() {
        1 => "Destination Unreachable",
        2 => "Packet Too Big",
        3 => "Time Exceeded",
        4 => "Parameter Problem",
        128 => "Echo (ping) request",
        129 => "Echo (ping) reply",
        130 => "Multicast Listener Query",
        131 => "Multicast Listener Report",
        132 => "Multicast Listener Done",
        133 => "Router Solicitation",
        134 => "Router Advertisement",
        135 => "Neighbor Solicitation",
        136 => "Neighbor Advertisement",
        137 => "Redirect",
        143 => "Multicast Listener Report Message v2",
        151 => "Multicast Router Advertisement",
        100 | 101 | 200 | 201 => "Private experimentation",
        _ => "Unknown",
    };
    out.extend_from_slice(name.as_bytes());
    match icmp.kind() {
        1 if icmp.code() > 7 => out.extend_from_slice(b" (Unknown)"),
        1 => push_code(out, &UNREACHABLE_V6, icmp.code(), "", ""),
        3 => push_code(out, &EXCEEDED_V6, icmp.code(), "Unknown (", ")"),
        4 => push_code(out, &PARAMETER_V6, icmp.code(), "Unknown (", ")"),
        128 | 129 => {
            if let Some(Echo { id, sequence }) = icmp.echo() {
                push_id(out, b" id=0x", id, sequence);
                out.extend_from_slice(b", hop limit=");
                push_decimal(out, u64::from(hop_limit));
            }
        }
        133 | 134 => push_link_address(out, icmp, SOURCE_LINK_ADDRESS, b" from "),
        135 => {
            push_target(out, icmp, b" for ");
            push_link_address(out, icmp, SOURCE_LINK_ADDRESS, b" from ");
        }
        136 => push_advertisement(out, icmp),
        _ => {}
    }
}

fn push_advertisement(out: &mut Vec<u8>, icmp: &Icmpv6<'_>) {
    push_target(out, icmp, b" ");
    let Some((router, solicited, replaces)) = icmp.advertisement_flags() else {
        return;
    };
    let names = [(router, "rtr"), (solicited, "sol"), (replaces, "ovr")];
    let mut before: &[u8] = b" (";
    for (_, name) in names.iter().filter(|(set, _)| *set) {
        out.extend_from_slice(before);
        out.extend_from_slice(name.as_bytes());
        before = b", ";
    }
    out.extend_from_slice(if router || solicited || replaces {
        b")"
    } else {
        b" (none)"
    });
    push_link_address(out, icmp, TARGET_LINK_ADDRESS, b" is at ");
}

fn push_target(out: &mut Vec<u8>, icmp: &Icmpv6<'_>, before: &[u8]) {
    if let Some(target) = icmp.target() {
        out.extend_from_slice(before);
        push_ip(out, IpAddr::V6(target));
    }
}

fn push_link_address(out: &mut Vec<u8>, icmp: &Icmpv6<'_>, kind: u8, before: &[u8]) {
    if let Some((_, address)) = icmp.options().find(|(found, _)| *found == kind) {
        out.extend_from_slice(before);
        push_mac(out, &address[..address.len().min(6)]);
    }
}

fn push_id(out: &mut Vec<u8>, before: &[u8], id: u16, sequence: u16) {
    out.extend_from_slice(before);
    push_hex(out, u64::from(id), 4);
    out.extend_from_slice(b", seq=");
    push_decimal(out, u64::from(sequence));
}

fn push_code(out: &mut Vec<u8>, names: &[&str], code: u8, before: &str, after: &str) {
    out.extend_from_slice(b" (");
    match names.get(usize::from(code)) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(before.as_bytes());
            push_decimal(out, u64::from(code));
            out.extend_from_slice(after.as_bytes());
        }
    }
    out.push(b')');
}
