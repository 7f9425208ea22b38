//! IPv4: RFC 791.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::packet::FragmentInfo;
use crate::stop::Reason;
use core::net::Ipv4Addr;
use etherparse::Ipv4HeaderSlice;
use etherparse::err::ipv4::{HeaderError, HeaderSliceError};

const MIN_LEN: usize = 20;

/// An IPv4 header with its options.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4<'a> {
    header: Ipv4HeaderSlice<'a>,
    pub span: Span,
}

impl<'a> Ipv4<'a> {
    pub fn source(&self) -> Ipv4Addr {
        self.header.source_addr()
    }

    pub fn destination(&self) -> Ipv4Addr {
        self.header.destination_addr()
    }

    /// IANA protocol number.
    pub fn protocol(&self) -> u8 {
        self.header.protocol().0
    }

    pub fn ttl(&self) -> u8 {
        self.header.ttl()
    }

    pub fn identification(&self) -> u16 {
        self.header.identification()
    }

    /// The header's own word, in bytes; 0 where segmentation was left to the
    /// network card. [`Ipv4::span`] has the length that was used.
    pub fn total_length(&self) -> u16 {
        self.header.total_len()
    }

    pub fn dont_fragment(&self) -> bool {
        self.header.dont_fragment()
    }

    pub fn more_fragments(&self) -> bool {
        self.header.more_fragments()
    }

    /// Bytes.
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.header.fragments_offset().value()) * 8
    }

    /// Where the packet is a fragment: which.
    pub fn fragment(&self) -> Option<FragmentInfo> {
        if !self.header.is_fragmenting_payload() {
            return None;
        }
        let id = u32::from(self.identification());
        Some(FragmentInfo {
            offset: self.fragment_offset(),
            more: self.more_fragments(),
            id,
        })
    }

    /// Differentiated services code point.
    pub fn dscp(&self) -> u8 {
        self.header.dcp().value()
    }

    /// Explicit congestion notification, 0 to 3.
    pub fn ecn(&self) -> u8 {
        self.header.ecn().value()
    }

    pub fn header_checksum(&self) -> u16 {
        self.header.header_checksum()
    }

    /// Whether the header's checksum is right. It often is not where the
    /// network card was to compute it.
    pub fn checksum_is_right(&self) -> bool {
        ones_complement_sum(self.header.slice()) == 0xffff
    }

    /// The options' bytes.
    pub fn options(&self) -> &'a [u8] {
        self.header.options()
    }

    /// The header's bytes.
    pub fn header(&self) -> &'a [u8] {
        self.header.slice()
    }

    /// Bytes, options included.
    pub fn header_len(&self) -> usize {
        self.header.slice().len()
    }
}

/// RFC 1071, without the final complement. The slice's length is even.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let header = match Ipv4HeaderSlice::from_slice(cursor.rest()) {
        Ok(header) => header,
        Err(error) => return refuse(cursor, &error),
    };
    let header_len = header.slice().len();
    let total = usize::from(header.total_len());
    // A total length of 0 is a packet whose segmentation was left to the
    // network card: then it reaches as far as the frame, as tshark has it.
    if total != 0 {
        if total < header_len {
            return cursor.too_small(LengthSource::Ipv4TotalLength, total, header_len);
        }
        cursor.limit(LengthSource::Ipv4TotalLength, total);
    }
    let view = Ipv4 {
        header,
        span: cursor.span(),
    };
    let next = Next::Protocol {
        number: header.protocol().0,
        version: 4,
    };
    let next = cursor.push(Layer::Ipv4(view), header_len, next);
    if header.is_fragmenting_payload() {
        return fragment(cursor, view, next);
    }
    next
}

#[cold]
fn fragment(cursor: &mut Cursor<'_, '_>, view: Ipv4<'_>, next: Next) -> Next {
    cursor.is_fragment();
    let offset = view.fragment_offset();
    if offset != 0 {
        return cursor.stop("ipv4", Reason::Fragment { offset });
    }
    cursor.first_fragment = true;
    next
}

#[cold]
fn refuse(cursor: &mut Cursor<'_, '_>, error: &HeaderSliceError) -> Next {
    match error {
        HeaderSliceError::Len(error) => cursor.too_short("ipv4", error.required_len),
        HeaderSliceError::Content(HeaderError::UnexpectedVersion { version_number }) => cursor
            .stop(
                "ipv4",
                Reason::Version {
                    found: *version_number,
                },
            ),
        HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { ihl }) => {
            let declared = usize::from(*ihl) * 4;
            cursor.too_small(LengthSource::Ipv4HeaderLength, declared, MIN_LEN)
        }
    }
}
