//! TCP's part of the line.

use super::text::{push_decimal, push_hex};
use super::{Line, MALFORMED, push_ports};
use crate::evidence::flow::Relative;
use decoders::tcp::{MULTIPATH, Tcp, TcpFlags, TcpOption};
use decoders::{Reason, Stop};

/// Option kinds that are shown by their number alone (IANA's registry).
const MD5: u8 = 19;
const USER_TIMEOUT: u8 = 28;
const EXPERIMENTS: [u8; 2] = [253, 254];

pub(super) fn write(line: Line<'_, '_, '_>, tcp: &Tcp<'_>, relative: Option<&Relative>) {
    let column = line.out.len();
    let stop = line.packet.stop;
    let out = line.protocol(b"TCP");
    let flags = tcp.flags();
    let numbers = relative
        .copied()
        .unwrap_or_else(|| Relative::of_header(tcp));
    push_ports(out, tcp.source_port(), tcp.destination_port());
    if let Some(Stop {
        layer: "tcp",
        reason: Reason::LengthTooSmall { declared, minimum },
        ..
    }) = stop
    {
        out.extend_from_slice(b", bogus TCP header length (");
        push_decimal(out, declared as u64);
        out.extend_from_slice(b", must be at least ");
        push_decimal(out, minimum as u64);
        return out.push(b')');
    }
    push_flags(out, flags);
    push_field(out, b" Seq=", numbers.seq);
    if flags.has(TcpFlags::ACK) {
        push_field(out, b" Ack=", numbers.ack);
    }
    push_field(out, b" Win=", numbers.window);
    if flags.has(TcpFlags::URG)
        && let Some(pointer) = tcp.urgent_pointer()
    {
        push_field(out, b" Urg=", u32::from(pointer));
    }
    push_field(out, b" Len=", tcp.payload_len() as u32);
    for option in tcp.options() {
        if let TcpOption::Other(MULTIPATH, _) = option
            && out[column..].starts_with(b"TCP")
        {
            // Too rare to be looked for before the column is written.
            out.splice(column..column, *b"MP");
        }
        push_option(out, option, numbers.ack_base);
    }
    match stop {
        Some(Stop {
            reason: Reason::Segmented { .. },
            ..
        }) => out.extend_from_slice(b" [TCP segment of a reassembled PDU]"),
        Some(Stop {
            layer: "tcp",
            reason: Reason::TooShort { .. },
            ..
        }) => out.extend_from_slice(MALFORMED),
        _ => {}
    }
}

fn push_flags(out: &mut Vec<u8>, flags: TcpFlags) {
    // The two that most segments have.
    match flags.0 {
        TcpFlags::ACK => return out.extend_from_slice(b" [ACK]"),
        0x018 => return out.extend_from_slice(b" [PSH, ACK]"),
        0 => return out.extend_from_slice(b" [<None>]"),
        _ => {}
    }
    let mut before: &[u8] = b" [";
    for name in flags.names() {
        out.extend_from_slice(before);
        out.extend_from_slice(name.as_bytes());
        before = b", ";
    }
    out.push(b']');
}

fn push_option(out: &mut Vec<u8>, option: TcpOption<'_>, ack_base: u32) {
    if let Some(cookie) = option.fast_open() {
        let word: &[u8] = match cookie {
            [] => b" TFO=R",
            _ => b" TFO=C",
        };
        return out.extend_from_slice(word);
    }
    match option {
        TcpOption::Mss(bytes) => push_field(out, b" MSS=", u32::from(bytes)),
        TcpOption::WindowScale(shift) => push_field(out, b" WS=", 1 << shift.min(14)),
        TcpOption::SackPermitted => out.extend_from_slice(b" SACK_PERM"),
        TcpOption::Timestamps(value, echo) => {
            push_field(out, b" TSval=", value);
            push_field(out, b" TSecr=", echo);
        }
        TcpOption::Sack(blocks) => {
            for [a, b, c, d, e, f, g, h] in blocks.as_chunks::<8>().0 {
                let left = u32::from_be_bytes([*a, *b, *c, *d]);
                let right = u32::from_be_bytes([*e, *f, *g, *h]);
                push_field(out, b" SLE=", left.wrapping_sub(ack_base));
                push_field(out, b" SRE=", right.wrapping_sub(ack_base));
            }
        }
        TcpOption::Other(MD5, _) => out.extend_from_slice(b" MD5"),
        TcpOption::Other(USER_TIMEOUT, [a, b]) => {
            let timeout = u16::from_be_bytes([*a, *b]) & 0x7fff;
            push_field(out, b" USER_TO=", u32::from(timeout));
        }
        TcpOption::Other(kind, [a, b, ..]) if EXPERIMENTS.contains(&kind) => {
            out.extend_from_slice(b" ExID=");
            push_hex(out, u64::from(u16::from_be_bytes([*a, *b])), 4);
        }
        TcpOption::Nop | TcpOption::Other(..) => {}
    }
}

#[inline]
fn push_field(out: &mut Vec<u8>, name: &[u8], number: u32) {
    out.extend_from_slice(name);
    push_decimal(out, u64::from(number));
}
