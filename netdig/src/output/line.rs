//! The line of a packet, worded as tshark 4.0 words it: innermost source and
//! destination, protocol, length of the frame, and what the packet says. What
//! tshark adds from other packets (`[TCP Retransmission]`, `(reply in 7)`) is
//! not there; what netdig adds stands in brackets at the end (`[etcd v2]`).
//! Untrusted bytes are escaped.

mod dhcp;
mod dns;
mod http2;
mod icmp;
mod network;
mod protocols;
mod tcp;
pub mod text;
mod tls;
mod tunnel;

use super::hexdump::mask;
use crate::evidence::flow::Relative;
use decoders::reassembly::Reassembled;
use decoders::udp::Udp;
use decoders::{Ip, Layer, Packet, Reason, Stop};
use text::{push_decimal, push_escaped, push_ip, push_mac};

const CUT: &[u8] = b"[Packet size limited during capture]";
const MALFORMED: &[u8] = b"[Malformed Packet]";

/// Frames that are named one by one.
const MAX_FRAMES: usize = 8;

/// Bytes of a first line of HTTP that are shown.
const MAX_HTTP_LINE: usize = 2048;

/// Writes the line, without an end of line. `tcp` is what the flow table made
/// of this packet; without it the numbers are those of the header.
///
/// ```
/// use decoders::{LinkType, Ports, decode};
/// let frame = [
///     0x45, 0, 0, 31, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
///     0x30, 0x39, 0x1f, 0x90, 0, 11, 0, 0, b'a', b'b', b'c',
/// ];
/// let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
/// let mut line = Vec::new();
/// netdig::output::line::write_line(&mut line, &packet, None);
/// assert_eq!(String::from_utf8(line).unwrap(), "10.0.0.1 → 10.0.0.2 UDP 31 12345 → 8080 Len=3");
/// ```
pub fn write_line(out: &mut Vec<u8>, packet: &Packet<'_>, tcp: Option<&Relative>) {
    let subject = Subject::of(packet);
    write_addresses(out, &subject);
    out.push(b' ');
    let line = Line {
        out,
        packet,
        length: packet.frame_len(),
    };
    match subject {
        Subject::Ip(ip) => write_ip(line, &ip, tcp),
        Subject::Link(..) | Subject::Nothing => network::write_without_ip(line),
    }
}

/// Writes behind a line which frames were put together for it, where any were:
/// ` [put together of frames 1, 2: 2008 bytes]`.
pub fn write_reassembled(out: &mut Vec<u8>, reassembled: Option<&Reassembled>) {
    let Some(whole) = reassembled else {
        return;
    };
    let mut before: &[u8] = b" [put together of frames ";
    for frame in whole.frames.iter().take(MAX_FRAMES) {
        out.extend_from_slice(before);
        push_decimal(out, *frame);
        before = b", ";
    }
    if whole.frames.len() > MAX_FRAMES {
        out.extend_from_slice(", …".as_bytes());
    }
    out.extend_from_slice(b": ");
    push_decimal(out, whole.len as u64);
    out.extend_from_slice(b" bytes]");
}

/// The line under way: the protocol comes first, then the length.
struct Line<'o, 'p, 'a> {
    out: &'o mut Vec<u8>,
    packet: &'p Packet<'a>,
    length: usize,
}

impl<'o> Line<'o, '_, '_> {
    /// Writes protocol and length; what the packet says is to follow.
    fn protocol(self, name: &[u8]) -> &'o mut Vec<u8> {
        if tunnel::is_in_gtp(self.packet) {
            self.out.extend_from_slice(b"GTP <");
            push_escaped(self.out, name);
            self.out.push(b'>');
        } else {
            push_escaped(self.out, name);
        }
        self.out.push(b' ');
        push_decimal(self.out, self.length as u64);
        self.out.push(b' ');
        self.out
    }
}

/// Whose addresses the line shows.
enum Subject<'p, 'a> {
    Ip(Ip<'a>),
    /// The innermost link layer, where no IP layer is within it.
    Link(&'p Layer<'a>),
    Nothing,
}

impl<'p, 'a> Subject<'p, 'a> {
    fn of(packet: &'p Packet<'a>) -> Subject<'p, 'a> {
        for layer in packet.layers.iter().rev() {
            match layer {
                Layer::Ipv4(_) | Layer::Ipv6(_) => {
                    return packet.innermost_ip().map_or(Subject::Nothing, Subject::Ip);
                }
                Layer::Ethernet(_) | Layer::LinuxSll(_) | Layer::LinuxSll2(_) => {
                    return Subject::Link(layer);
                }
                _ => {}
            }
        }
        Subject::Nothing
    }
}

fn write_addresses(out: &mut Vec<u8>, subject: &Subject<'_, '_>) {
    const ARROW: &[u8] = " → ".as_bytes();
    match subject {
        Subject::Ip(ip) => {
            push_ip(out, ip.source());
            out.extend_from_slice(ARROW);
            push_ip(out, ip.destination());
        }
        Subject::Link(Layer::Ethernet(header)) => {
            push_mac(out, &header.source());
            out.extend_from_slice(ARROW);
            push_mac(out, &header.destination());
        }
        // A cooked frame tells its sender alone.
        Subject::Link(Layer::LinuxSll(header)) => {
            push_mac(out, header.address());
            out.extend_from_slice(ARROW);
        }
        Subject::Link(Layer::LinuxSll2(header)) => {
            push_mac(out, header.address());
            out.extend_from_slice(ARROW);
        }
        Subject::Link(_) | Subject::Nothing => {
            out.extend_from_slice("N/A → N/A".as_bytes());
        }
    }
}

fn write_ip(line: Line<'_, '_, '_>, ip: &Ip<'_>, relative: Option<&Relative>) {
    let packet = line.packet;
    if packet.is_fragment() {
        return network::write_fragment(line, ip);
    }
    match packet.layers.last() {
        Some(Layer::Tcp(tcp)) => tcp::write(line, tcp, relative),
        Some(Layer::Udp(udp)) => write_udp(line, udp, ip.version()),
        Some(Layer::Icmp(icmp)) => icmp::write_v4(line, icmp, ip.ttl()),
        Some(Layer::Icmpv6(icmp)) => icmp::write_v6(line, icmp, ip.ttl()),
        Some(Layer::Dns(dns)) => dns::write(line, dns),
        Some(Layer::Http(http)) => write_http(line, http),
        Some(layer) if tunnel::is_named(layer) => tunnel::write(line, layer),
        Some(Layer::Http2(http)) => http2::write(line, http),
        Some(Layer::Tls(tls)) => tls::write(line, tls),
        Some(Layer::Dhcp(message)) => dhcp::write_v4(line, message),
        Some(Layer::Dhcpv6(message)) => dhcp::write_v6(line, message),
        _ => protocols::write(line, ip),
    }
}

fn write_udp(line: Line<'_, '_, '_>, udp: &Udp<'_>, version: u8) {
    let stop = line.packet.stop;
    let out = line.protocol(b"UDP");
    push_ports(out, udp.source_port(), udp.destination_port());
    let length = udp.length();
    match stop {
        Some(Stop {
            layer: "udp",
            reason: Reason::LengthTooSmall { .. },
            ..
        }) => {
            out.extend_from_slice(b" [BAD UDP LENGTH ");
            push_decimal(out, u64::from(length));
            out.extend_from_slice(b" < 8]");
            return;
        }
        Some(Stop {
            layer: "udp",
            reason: Reason::LengthBeyond { .. },
            ..
        }) => {
            out.extend_from_slice(b" [BAD UDP LENGTH ");
            push_decimal(out, u64::from(length));
            out.extend_from_slice(b" > IP PAYLOAD LENGTH]");
        }
        _ => {}
    }
    out.extend_from_slice(b" Len=");
    push_decimal(out, udp.payload_length() as u64);
    if version == 6 && udp.checksum() == 0 {
        out.extend_from_slice(b" [ILLEGAL CHECKSUM (0)]");
    }
    push_tunnel_stop(out, stop);
}

/// What kept a tunnel in the datagram from being decoded.
fn push_tunnel_stop(out: &mut Vec<u8>, stop: Option<Stop>) {
    match stop {
        Some(Stop { layer, reason, .. }) if decoders::Encap::from_name(layer).is_some() => {
            out.extend_from_slice(if let Reason::Cut { .. } = reason {
                CUT
            } else {
                MALFORMED
            });
        }
        _ => {}
    }
}

fn write_http(line: Line<'_, '_, '_>, http: &decoders::http::Http<'_>) {
    let packet = line.packet;
    let out = line.protocol(b"HTTP");
    let first = http.first_line();
    match &first[..first.len().min(MAX_HTTP_LINE)] {
        // Credentials can stand in an address too.
        shown if shown.contains(&b'?') => push_escaped(out, &mask(shown)),
        shown => push_escaped(out, shown),
    }
    if first.len() > MAX_HTTP_LINE {
        out.extend_from_slice("…".as_bytes());
    }
    let kind = http
        .headers()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    if let Some((_, value)) = kind {
        let end = value
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(value.len());
        out.extend_from_slice(b"  (");
        push_escaped(out, value[..end].trim_ascii());
        out.push(b')');
    }
    // Not tshark's, but why a proxy may refuse the message.
    if let Some((line, fault)) = http
        .header_lines()
        .find_map(|line| Some((line, line.fault?)))
    {
        out.extend_from_slice(b" [Illegal header at byte ");
        push_decimal(out, line.offset as u64);
        out.extend_from_slice(b": ");
        push_escaped(out, fault.to_string().as_bytes());
        out.push(b']');
    }
    http2::push_etcd(out, packet);
}

fn push_ports(out: &mut Vec<u8>, source: u16, destination: u16) {
    push_decimal(out, u64::from(source));
    out.extend_from_slice(" → ".as_bytes());
    push_decimal(out, u64::from(destination));
}

#[cfg(test)]
mod tests {
    use super::*;
    use decoders::{LinkType, Ports, decode};

    #[test]
    fn what_tshark_does_not_tell_of_http() {
        let line = |port: u16, text: &[u8]| {
            let mut frame = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1];
            frame.extend([10, 0, 0, 2, 0x30, 0x39]);
            frame.extend(port.to_be_bytes());
            frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
            frame.extend(text);
            let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
            let mut line = Vec::new();
            write_line(&mut line, &packet, None);
            let line = String::from_utf8(line).unwrap();
            line.split_once(" HTTP").unwrap().1.to_owned()
        };
        assert_eq!(
            line(80, b"HTTP/1.1 200 OK\r\ntext/plain: Content-type\r\n\r\n"),
            " 85 HTTP/1.1 200 OK [Illegal header at byte 57: '/' in the name]"
        );
        assert_eq!(
            line(4001, b"GET /v2/keys/skydns HTTP/1.1\r\n\r\n"),
            " 72 GET /v2/keys/skydns HTTP/1.1 [etcd v2]"
        );
        assert_eq!(
            line(
                2379,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
            ),
            "2 73 Magic, SETTINGS[0] [etcd v3]"
        );
    }
}
