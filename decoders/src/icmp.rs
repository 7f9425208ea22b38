//! ICMP: RFC 792; next-hop MTU: RFC 1191; extensions: RFC 4884.

use crate::cursor::{Cursor, Next};
use crate::ip;
use crate::layer::{Layer, Span};
use core::net::{IpAddr, Ipv6Addr};

const LEN: usize = 8;

/// An ICMP message.
#[derive(Debug, Clone, Copy)]
pub struct Icmp<'a> {
    message: &'a [u8],
    pub span: Span,
}

/// Identifier and sequence number of an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    pub id: u16,
    pub sequence: u16,
}

/// The packet that an error message is about, as far as it was quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IANA protocol number; of IPv6 that after the extension headers.
    pub protocol: u8,
    /// Of TCP, UDP, SCTP and DCCP.
    pub source_port: Option<u16>,
    pub destination_port: Option<u16>,
    pub ttl: u8,
    /// Of an ICMP echo.
    pub echo: Option<Echo>,
}

impl<'a> Icmp<'a> {
    pub fn kind(&self) -> u8 {
        self.message[0]
    }

    pub fn code(&self) -> u8 {
        self.message[1]
    }

    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.message[2], self.message[3]])
    }

    /// The four bytes after the checksum; what they are is the type's affair.
    pub fn rest_of_header(&self) -> [u8; 4] {
        [
            self.message[4],
            self.message[5],
            self.message[6],
            self.message[7],
        ]
    }

    /// Of an echo request (8) or reply (0), and of timestamps (13, 14).
    pub fn echo(&self) -> Option<Echo> {
        matches!(self.kind(), 0 | 8 | 13 | 14).then(|| echo(self.message))
    }

    /// Next-hop MTU in bytes, of "fragmentation needed" (3/4).
    pub fn next_hop_mtu(&self) -> Option<u16> {
        let [_, _, high, low] = self.rest_of_header();
        ((self.kind(), self.code()) == (3, 4)).then(|| u16::from_be_bytes([high, low]))
    }

    /// Address of the better gateway, of a redirect (5).
    pub fn gateway(&self) -> Option<core::net::Ipv4Addr> {
        (self.kind() == 5).then(|| self.rest_of_header().into())
    }

    /// The quoted packet of an error message (3, 4, 5, 11, 12).
    pub fn quoted(&self) -> Option<Quoted> {
        let is_error = matches!(self.kind(), 3 | 4 | 5 | 11 | 12);
        if !is_error {
            return None;
        }
        quoted_ipv4(&self.message[LEN..])
    }

    /// The captured bytes of the message.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

/// The identifier and sequence number in a message of at least 8 bytes.
pub(crate) fn echo(message: &[u8]) -> Echo {
    Echo {
        id: u16::from_be_bytes([message[4], message[5]]),
        sequence: u16::from_be_bytes([message[6], message[7]]),
    }
}

pub(crate) fn quoted_ipv4(bytes: &[u8]) -> Option<Quoted> {
    let header = bytes.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || header_len < 20 {
        return None;
    }
    let source: [u8; 4] = [header[12], header[13], header[14], header[15]];
    let destination: [u8; 4] = [header[16], header[17], header[18], header[19]];
    let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let after = bytes.get(header_len..).filter(|_| first).unwrap_or(&[]);
    Some(quoted(
        source.into(),
        destination.into(),
        header[9],
        header[8],
        after,
    ))
}

pub(crate) fn quoted_ipv6(bytes: &[u8]) -> Option<Quoted> {
    let header = bytes.first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let mut protocol = header[6];
    let mut after = &bytes[40..];
    while let (0 | 43 | 44 | 60, Some(&[next, len, high, low])) =
        (protocol, after.first_chunk::<4>())
    {
        let is_fragment = protocol == 44;
        let later = is_fragment && u16::from_be_bytes([high, low]) & 0xfff8 != 0;
        let len = if is_fragment {
            8
        } else {
            (usize::from(len) + 1) * 8
        };
        after = after.get(len..).filter(|_| !later).unwrap_or(&[]);
        protocol = next;
    }
    let (source, destination) = (address(8).into(), address(24).into());
    Some(quoted(source, destination, protocol, header[7], after))
}

fn quoted(source: IpAddr, destination: IpAddr, protocol: u8, ttl: u8, after: &[u8]) -> Quoted {
    let ports = match (protocol, after.first_chunk::<4>()) {
        (ip::TCP | ip::UDP | 132 | 33, Some(&[a, b, c, d])) => {
            Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        }
        _ => None,
    };
    let echo = match (protocol, after) {
        (ip::ICMP, [0 | 8, ..]) | (ip::ICMPV6, [128 | 129, ..]) if after.len() >= LEN => {
            Some(echo(after))
        }
        _ => None,
    };
    Quoted {
        source,
        destination,
        protocol,
        source_port: ports.map(|ports| ports.0),
        destination_port: ports.map(|ports| ports.1),
        ttl,
        echo,
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let message = cursor.rest();
    if message.len() < LEN {
        return cursor.too_short("icmp", LEN);
    }
    cursor.push(
        Layer::Icmp(Icmp {
            message,
            span: cursor.span(),
        }),
        LEN,
        Next::Done,
    )
}
