//! Checksums, computed when asked for: RFC 1071; which bytes they cover:
//! RFC 791 (IPv4), RFC 9293 (TCP), RFC 768 and RFC 6935 (UDP), RFC 792 (ICMP),
//! RFC 8200, section 8.1 (over IPv6), RFC 4443 (ICMPv6).

use crate::ip;
use crate::layer::{Layer, Span};
use crate::packet::Packet;
use core::net::IpAddr;

/// What a layer's checksum is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong {
        expected: u16,
        found: u16,
    },
    /// The sender left it out: 0 over IPv4, or around a tunnel.
    Absent,
    /// It is the pseudo-header's sum alone: the network card, or nobody within
    /// one host, was to add the rest.
    Offloaded,
    /// Not all bytes that it covers are there: a cut capture, a fragment, or a
    /// header that promises more.
    Unknown,
}

/// The checksum of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// Name of the layer.
    pub layer: &'static str,
    /// Byte of the frame at which the checksum stands.
    pub offset: usize,
    pub verdict: Verdict,
}

/// The addresses that a checksum over IP covers.
#[derive(Clone, Copy)]
struct Around {
    source: IpAddr,
    destination: IpAddr,
    /// Whether what is in it is all there, as far as the headers say.
    is_whole: bool,
}

/// Computes the checksums of all IPv4, TCP, UDP, ICMP and ICMPv6 layers,
/// outermost first.
///
/// ```
/// use decoders::checksum::{self, Verdict};
/// use decoders::{LinkType, Ports, decode};
/// let mut frame = [
///     0x45, 0, 0, 28, 0, 7, 0x40, 0, 64, 1, 0x26, 0xd8, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
///     8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1, // ICMP
/// ];
/// frame[23] ^= 1;
/// let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
/// let sums: Vec<_> = checksum::verify(&packet).collect();
/// assert_eq!((sums[0].layer, sums[0].verdict), ("ipv4", Verdict::Right));
/// let wrong = Verdict::Wrong { expected: 0xe5ca, found: 0xe5cb };
/// assert_eq!((sums[1].offset, sums[1].verdict), (22, wrong));
/// ```
pub fn verify<'p>(packet: &'p Packet<'_>) -> impl Iterator<Item = Checksum> + 'p {
    let mut around = None;
    packet
        .layers
        .iter()
        .enumerate()
        .filter_map(move |(at, layer)| {
            let span = layer.span();
            let (place, verdict) = match layer {
                Layer::Ipv4(header) => {
                    around = Some(Around {
                        source: header.source().into(),
                        destination: header.destination().into(),
                        is_whole: (header.fragment().is_none() || is_around(packet, span))
                            && usize::from(header.total_length()) <= len(span),
                    });
                    let bytes = header.header();
                    (10, judge(sum(0, bytes), None, word(bytes, 10)))
                }
                Layer::Ipv6(header) => {
                    let length = usize::from(header.payload_length()) + header.header_len();
                    around = Some(Around {
                        source: header.source().into(),
                        destination: header.destination().into(),
                        is_whole: length <= len(span),
                    });
                    return None;
                }
                Layer::Ipv6Extension(header) => {
                    let part = header.fragment();
                    let is_part = part.is_some_and(|part| part.more || part.offset != 0);
                    // The checksum is over the last address of the route.
                    let is_routed = header.routing().is_some_and(|(_, left)| left != 0);
                    if let Some(around) = &mut around {
                        around.is_whole &= (!is_part || is_around(packet, span)) && !is_routed;
                    }
                    return None;
                }
                Layer::Tcp(_) => (16, over_ip(packet, span, around?, ip::TCP, 16)),
                Layer::Udp(header) => (6, {
                    let next = packet.layers.get(at + 1);
                    let may_be_absent = matches!(around?.source, IpAddr::V4(_))
                        || next.is_some_and(Layer::is_tunnel);
                    match header.checksum() {
                        0 if may_be_absent => Verdict::Absent,
                        _ if usize::from(header.length()) > len(span) => Verdict::Unknown,
                        _ => over_ip(packet, span, around?, ip::UDP, 6),
                    }
                }),
                Layer::Icmp(_) => (2, {
                    let covered = bytes(packet, span).filter(|_| around.is_none_or(|a| a.is_whole));
                    covered.map_or(Verdict::Unknown, |bytes| {
                        judge(sum(0, bytes), None, word(bytes, 2))
                    })
                }),
                Layer::Icmpv6(_) => (2, over_ip(packet, span, around?, ip::ICMPV6, 2)),
                _ => return None,
            };
            Some(Checksum {
                layer: layer.name(),
                offset: span.start as usize + place,
                verdict,
            })
        })
}

fn over_ip(packet: &Packet<'_>, span: Span, around: Around, protocol: u8, at: usize) -> Verdict {
    let Some(bytes) = bytes(packet, span).filter(|bytes| around.is_whole && bytes.len() > at + 1)
    else {
        return Verdict::Unknown;
    };
    let pseudo = pseudo_header(around, protocol, bytes.len());
    let found = word(bytes, at);
    let verdict = judge(sum(pseudo, bytes), Some(pseudo), found);
    match verdict {
        // 0 would say that there is none.
        Verdict::Wrong { expected: 0, found } if protocol == ip::UDP => Verdict::Wrong {
            expected: 0xffff,
            found,
        },
        // Without one, it is not what the pseudo-header's sum happens to be.
        Verdict::Right if protocol == ip::UDP && found == 0 => Verdict::Wrong {
            expected: 0xffff,
            found,
        },
        other => other,
    }
}

/// `total`: the sum of all that is covered, the checksum included.
fn judge(total: u64, pseudo: Option<u64>, found: u16) -> Verdict {
    if fold(total) == 0xffff {
        return Verdict::Right;
    }
    if pseudo.is_some_and(|pseudo| fold(pseudo) == found) {
        return Verdict::Offloaded;
    }
    Verdict::Wrong {
        expected: !fold(total - u64::from(found)),
        found,
    }
}

fn pseudo_header(around: Around, protocol: u8, length: usize) -> u64 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => sum(0, &address.octets()),
        IpAddr::V6(address) => sum(0, &address.octets()),
    };
    address(around.source) + address(around.destination) + u64::from(protocol) + length as u64
}

/// The bytes of a layer, if all were captured.
fn bytes<'a>(packet: &Packet<'a>, span: Span) -> Option<&'a [u8]> {
    let bytes = packet.data.get(span.start as usize..span.end as usize);
    bytes.filter(|_| !is_around(packet, span))
}

/// Whether what a layer carries was put together: not all of it was in the frame
/// of which its own header is.
fn is_around(packet: &Packet<'_>, span: Span) -> bool {
    let whole = packet.put_together;
    whole.is_some_and(|whole| (span.start as usize) < whole.at)
}

fn len(span: Span) -> usize {
    (span.end - span.start) as usize
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Adds words; a last odd byte is a word's upper half.
fn sum(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words = words
        .iter()
        .map(|word| u64::from(u16::from_be_bytes(*word)));
    start + words.sum::<u64>() + rest.first().map_or(0, |byte| u64::from(*byte) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinkType, Ports, decode};

    fn verdicts(frame: &[u8], orig_len: usize) -> Vec<Verdict> {
        let packet = decode(LinkType::RawIp, frame, orig_len, &Ports::default());
        verify(&packet).map(|sum| sum.verdict).collect()
    }

    /// UDP over IPv4 with an odd length: right, left to the card, absent, cut.
    #[test]
    fn udp_in_every_way() {
        let mut frame = vec![0x45, 0, 0, 31, 0, 1, 0, 0, 64, 17, 0x66, 0xcb];
        frame.extend([
            10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0x1f, 0x90, 0, 11, 0, 0,
        ]);
        frame.extend(b"abc");
        assert_eq!(verdicts(&frame, 31), [Verdict::Right, Verdict::Absent]);
        frame[27] = 1;
        let [_, Verdict::Wrong { expected, found: 1 }] = verdicts(&frame, 31)[..] else {
            panic!("wrong")
        };
        frame[26..28].copy_from_slice(&expected.to_be_bytes());
        assert_eq!(verdicts(&frame, 31)[1], Verdict::Right);
        assert_eq!(verdicts(&frame[..30], 31)[1], Verdict::Unknown);
        // 10.0 + 0.1 + 10.0 + 0.2 + 17 + 11.
        frame[26..28].copy_from_slice(&[0x14, 0x1f]);
        assert_eq!(verdicts(&frame, 31)[1], Verdict::Offloaded);
        frame[10] ^= 1;
        assert!(matches!(
            verdicts(&frame, 31)[0],
            Verdict::Wrong { found: 0x67cb, .. }
        ));
        // The first fragment of more.
        frame[6] = 0x20;
        assert_eq!(verdicts(&frame, 31)[1], Verdict::Unknown);
    }
}
