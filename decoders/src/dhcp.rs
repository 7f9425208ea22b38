//! DHCP over IPv4: RFC 2131; options: RFC 2132. Over IPv6: RFC 8415.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use core::net::Ipv4Addr;

/// BOOTP's fixed fields, and the cookie that says that options follow.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

/// A message of a client or a server, as far as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Dhcp<'a> {
    message: &'a [u8],
    pub span: Span,
}

impl<'a> Dhcp<'a> {
    pub fn transaction_id(&self) -> u32 {
        u32::from_be_bytes(self.four(4))
    }

    /// Whether a server sent it (or a relay for one).
    pub fn is_reply(&self) -> bool {
        self.message[0] == 2
    }

    /// 1 discover to 8 inform (option 53); `None` where it is plain BOOTP.
    pub fn message_type(&self) -> Option<u8> {
        self.option(53)?.first().copied()
    }

    /// `Discover`, `Offer`, …
    pub fn message_name(&self) -> Option<&'static str> {
        Some(match self.message_type()? {
            1 => "Discover",
            2 => "Offer",
            3 => "Request",
            4 => "Decline",
            5 => "ACK",
            6 => "NAK",
            7 => "Release",
            8 => "Inform",
            9 => "Force Renew",
            10 => "Lease query",
            11 => "Lease Unassigned",
            12 => "Lease Unknown",
            13 => "Lease Active",
            _ => return None,
        })
    }

    /// The address that the client has, where it says one.
    pub fn client_address(&self) -> Option<Ipv4Addr> {
        address(self.four(12))
    }

    /// The address that the server gives.
    pub fn your_address(&self) -> Option<Ipv4Addr> {
        address(self.four(16))
    }

    /// The relay through which it went.
    pub fn relay_address(&self) -> Option<Ipv4Addr> {
        address(self.four(24))
    }

    /// The client's link-layer address, 16 bytes at most.
    pub fn client_hardware(&self) -> &'a [u8] {
        &self.message[28..28 + usize::from(self.message[2]).min(16)]
    }

    /// The address that the client asks for (option 50).
    pub fn requested_address(&self) -> Option<Ipv4Addr> {
        address(*self.option(50)?.first_chunk()?)
    }

    /// The server that is meant, or answers (option 54).
    pub fn server(&self) -> Option<Ipv4Addr> {
        address(*self.option(54)?.first_chunk()?)
    }

    /// The client's name (option 12), as it came.
    pub fn host_name(&self) -> Option<&'a [u8]> {
        self.option(12)
    }

    /// The first option of that code.
    pub fn option(&self, code: u8) -> Option<&'a [u8]> {
        let mut options = self.options();
        options
            .find(|option| option.0 == code)
            .map(|(_, data)| data)
    }

    /// Codes and data, as far as the lengths make sense.
    pub fn options(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = &self.message[FIXED..];
        core::iter::from_fn(move || {
            while let [0, after @ ..] = rest {
                rest = after;
            }
            let (&code, after) = rest.split_first()?;
            let len = usize::from(*after.first().filter(|_| code != 255)?);
            let data = after.get(1..=len)?;
            rest = &after[len + 1..];
            Some((code, data))
        })
    }

    /// Bytes, the cookie included.
    pub fn header_len(&self) -> usize {
        FIXED
    }

    fn four(&self, at: usize) -> [u8; 4] {
        let bytes = &self.message[at..at + 4];
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    }
}

fn address(octets: [u8; 4]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
}

/// A DHCPv6 message, as far as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Dhcpv6<'a> {
    message: &'a [u8],
    pub span: Span,
}

impl<'a> Dhcpv6<'a> {
    pub fn message_type(&self) -> u8 {
        self.message[0]
    }

    /// `Solicit`, `Advertise`, …
    pub fn message_name(&self) -> &'static str {
        match self.message_type() {
            1 => "Solicit",
            2 => "Advertise",
            3 => "Request",
            4 => "Confirm",
            5 => "Renew",
            6 => "Rebind",
            7 => "Reply",
            8 => "Release",
            9 => "Decline",
            10 => "Reconfigure",
            11 => "Information-request",
            12 => "Relay-forw",
            _ => "Relay-reply",
        }
    }

    /// Of a client's and a server's message; a relay's has none.
    pub fn transaction_id(&self) -> Option<u32> {
        let [kind, a, b, c] = *self.message.first_chunk()?;
        (kind < 12).then(|| u32::from_be_bytes([0, a, b, c]))
    }

    /// Codes and data, as far as the lengths make sense.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = self.message.get(self.header_len()..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let [a, b, c, d] = *rest.first_chunk()?;
            let len = usize::from(u16::from_be_bytes([c, d]));
            let data = rest.get(4..4 + len)?;
            rest = &rest[4 + len..];
            Some((u16::from_be_bytes([a, b]), data))
        })
    }

    /// Bytes before the options.
    pub fn header_len(&self) -> usize {
        if self.message[0] < 12 { 4 } else { 34 }
    }
}

#[inline]
pub(crate) fn is_port(port: u16) -> bool {
    matches!(port, 67 | 68 | 546 | 547)
}

/// A message of the version that the port is for, if it has the shape of one.
#[cold]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, port: u16) -> Next {
    let (message, span) = (cursor.rest(), cursor.span());
    if port < 500 {
        let fits = message.len() >= FIXED
            && matches!(message[0], 1 | 2)
            && message[2] <= 16
            && message[FIXED - 4..FIXED] == COOKIE;
        return match fits {
            true => cursor.push(Layer::Dhcp(Dhcp { message, span }), FIXED, Next::Done),
            false => Next::Done,
        };
    }
    let view = Dhcpv6 { message, span };
    if fits_v6(message, cursor.wire_len()) {
        return cursor.push(Layer::Dhcpv6(view), view.header_len(), Next::Done);
    }
    Next::Done
}

/// A known type, and options whose lengths end where the message does, as far
/// as it was captured.
fn fits_v6(message: &[u8], length: usize) -> bool {
    let header = match message.first() {
        Some(1..=11) => 4,
        Some(12 | 13) => 34,
        _ => return false,
    };
    let mut at = header;
    while let Some(&[_, _, high, low]) = message.get(at..).and_then(|rest| rest.first_chunk()) {
        at += 4 + usize::from(u16::from_be_bytes([high, low]));
    }
    message.len() >= header && at <= length
}
