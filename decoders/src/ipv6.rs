//! IPv6 and its extension headers: RFC 8200.

use crate::cursor::{Cursor, Next};
use crate::ip;
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::packet::{FragmentInfo, Packet};
use crate::stop::Reason;
use core::net::Ipv6Addr;
use etherparse::Ipv6HeaderSlice;
use etherparse::err::ipv6::{HeaderError, HeaderSliceError};

const LEN: usize = 40;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const MOBILITY: u8 = 135;
/// Its number in early drafts, still met with home agents.
const MOBILITY_DRAFT: u8 = 62;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
/// Jumbo payload (RFC 2675).
const OPTION_JUMBO: u8 = 0xc2;

/// An IPv6 header.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6<'a> {
    header: Ipv6HeaderSlice<'a>,
    pub span: Span,
}

impl<'a> Ipv6<'a> {
    pub fn source(&self) -> Ipv6Addr {
        self.header.source_addr()
    }

    pub fn destination(&self) -> Ipv6Addr {
        self.header.destination_addr()
    }

    /// IANA number of what follows: a protocol or an extension header.
    pub fn next_header(&self) -> u8 {
        self.header.next_header().0
    }

    pub fn hop_limit(&self) -> u8 {
        self.header.hop_limit()
    }

    /// The header's own word: bytes after the header.
    pub fn payload_length(&self) -> u16 {
        self.header.payload_length()
    }

    pub fn traffic_class(&self) -> u8 {
        self.header.traffic_class()
    }

    pub fn flow_label(&self) -> u32 {
        self.header.flow_label().value()
    }

    /// The header's bytes.
    pub fn header(&self) -> &'a [u8] {
        self.header.slice()
    }

    /// Bytes, without extension headers.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

/// An extension header.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6Extension<'a> {
    /// All that is read of any of them.
    first: &'a [u8; 8],
    pub span: Span,
    len: u16,
    kind: u8,
}

impl Ipv6Extension<'_> {
    /// Its IANA number: 0 hop-by-hop, 43 routing, 44 fragment, 60 destination
    /// options, 135 mobility (62 in early drafts), 139 host identity, 140 shim6.
    pub fn number(&self) -> u8 {
        self.kind
    }

    /// `ipv6.hopopts`, `ipv6.routing`, `ipv6.fraghdr`, `ipv6.dstopts`,
    /// `mipv6`, `hip`, `shim6`.
    pub fn name(&self) -> &'static str {
        name(self.kind)
    }

    /// IANA number of what follows.
    pub fn next_header(&self) -> u8 {
        self.first[0]
    }

    /// Routing type and segments left, of a routing header.
    pub fn routing(&self) -> Option<(u8, u8)> {
        (self.kind == ROUTING).then(|| (self.first[2], self.first[3]))
    }

    /// Name of the routing header's type, where it has one.
    pub fn routing_name(&self) -> Option<&'static str> {
        match self.routing()?.0 {
            0 => Some("source-route"),
            2 => Some("mobile-ip"),
            3 => Some("rpl"),
            4 => Some("srv6"),
            5 => Some("crh-16"),
            6 => Some("crh-32"),
            _ => None,
        }
    }

    /// Addresses in a routing header, in the order of its bytes: of SRv6 (RFC 8754)
    /// the segments, the last of the path first, of a source route (RFC 2460) the
    /// hops, of mobile IP (RFC 6275) the home address. `packet` is the one that has
    /// this header.
    ///
    /// ```
    /// use decoders::{Layer, LinkType, Ports, decode};
    /// let mut frame = vec![0x60, 0, 0, 0, 0, 24, 43, 64];
    /// frame.extend([[0x20; 16], [0x30; 16]].concat());
    /// frame.extend([59, 2, 4, 0, 0, 0, 0, 0]); // SRv6, one segment
    /// frame.extend([0x40; 16]);
    /// let packet = decode(LinkType::Ipv6, &frame, frame.len(), &Ports::default());
    /// let Some(Layer::Ipv6Extension(header)) = packet.layers.last() else { panic!() };
    /// let segments: Vec<_> = header.segments(&packet).collect();
    /// assert_eq!(segments, ["4040:4040:4040:4040:4040:4040:4040:4040".parse::<core::net::Ipv6Addr>().unwrap()]);
    /// ```
    pub fn segments<'a>(&self, packet: &Packet<'a>) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        let begin = self.span.start as usize + self.first.len();
        let end = self.span.start as usize + self.header_len();
        let most = match self.routing().map(|(kind, _)| kind) {
            Some(0) => usize::MAX,
            Some(2) => 1,
            // The number of the last, counted from 0; options may follow.
            Some(4) => usize::from(self.first[4]) + 1,
            _ => 0,
        };
        let data: &'a [u8] = packet.data;
        let (addresses, _) = data.get(begin..end).unwrap_or(&[]).as_chunks::<16>();
        let addresses = addresses.iter().take(most);
        addresses.map(|bytes| Ipv6Addr::from_octets(*bytes))
    }

    /// Length of a jumbogram's payload, of a hop-by-hop header whose first
    /// option tells it, as it does unless others must come before.
    pub fn jumbo_length(&self) -> Option<u32> {
        match *self.first {
            [_, _, OPTION_JUMBO, 4, a, b, c, d] if self.kind == HOP_BY_HOP => {
                Some(u32::from_be_bytes([a, b, c, d]))
            }
            _ => None,
        }
    }

    /// The fragment's place, of a fragment header; also where it is the only
    /// fragment of its packet (RFC 6946).
    pub fn fragment(&self) -> Option<FragmentInfo> {
        let [_, _, high, low, a, b, c, d] = *self.first;
        if self.kind != FRAGMENT {
            return None;
        }
        let word = u16::from_be_bytes([high, low]);
        let id = u32::from_be_bytes([a, b, c, d]);
        Some(FragmentInfo {
            offset: usize::from(word & 0xfff8),
            more: word & 1 != 0,
            id,
        })
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        usize::from(self.len)
    }
}

fn name(number: u8) -> &'static str {
    match number {
        HOP_BY_HOP => "ipv6.hopopts",
        ROUTING => "ipv6.routing",
        FRAGMENT => "ipv6.fraghdr",
        MOBILITY | MOBILITY_DRAFT => "mipv6",
        HIP => "hip",
        SHIM6 => "shim6",
        _ => "ipv6.dstopts",
    }
}

#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let header = match Ipv6HeaderSlice::from_slice(cursor.rest()) {
        Ok(header) => header,
        Err(error) => return refuse(cursor, &error),
    };
    let payload = usize::from(header.payload_length());
    let number = header.next_header().0;
    // 0 with something behind it is a jumbogram (RFC 2675) or a packet whose
    // segmentation was left to the network card: it reaches as far as the frame.
    if payload != 0 || number == ip::NO_NEXT_HEADER {
        cursor.limit(LengthSource::Ipv6PayloadLength, LEN + payload);
    }
    let view = Ipv6 {
        header,
        span: cursor.span(),
    };
    cursor.push(
        Layer::Ipv6(view),
        LEN,
        Next::Protocol { number, version: 6 },
    )
}

#[cold]
fn refuse(cursor: &mut Cursor<'_, '_>, error: &HeaderSliceError) -> Next {
    match error {
        HeaderSliceError::Len(error) => cursor.too_short("ipv6", error.required_len),
        HeaderSliceError::Content(HeaderError::UnexpectedVersion { version_number }) => cursor
            .stop(
                "ipv6",
                Reason::Version {
                    found: *version_number,
                },
            ),
    }
}

pub(crate) fn decode_extension(cursor: &mut Cursor<'_, '_>, kind: u8) -> Next {
    let rest = cursor.rest();
    let len = match (kind, rest) {
        (FRAGMENT, _) => 8,
        (_, [_, len, ..]) => (usize::from(*len) + 1) * 8,
        _ => 8,
    };
    let Some(first) = rest.first_chunk::<8>().filter(|_| rest.len() >= len) else {
        return cursor.too_short(name(kind), len.max(8));
    };
    // 255 units of 8 bytes and one more are the most there can be.
    let view = Ipv6Extension {
        first,
        span: cursor.span(),
        len: len as u16,
        kind,
    };
    if let Some(jumbo) = view.jumbo_length() {
        // It counts from the end of IPv6's header, which is where this one begins.
        cursor.limit(LengthSource::Ipv6JumboLength, jumbo as usize);
    }
    let view = Ipv6Extension {
        span: cursor.span(),
        ..view
    };
    let next = Next::Protocol {
        number: first[0],
        version: 6,
    };
    let next = cursor.push(Layer::Ipv6Extension(view), len, next);
    match view.fragment() {
        Some(FragmentInfo { offset, .. }) if offset != 0 => {
            cursor.is_fragment();
            cursor.stop(name(kind), Reason::Fragment { offset })
        }
        Some(FragmentInfo { more: true, .. }) => {
            cursor.is_fragment();
            cursor.first_fragment = true;
            next
        }
        _ => next,
    }
}
