//! IGMP: RFC 1112 (version 1), RFC 2236 (version 2), RFC 3376 (version 3).

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use core::net::Ipv4Addr;

const LEN: usize = 8;
/// Least length of a query of version 3.
const QUERY_V3: usize = 12;
const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;

/// An IGMP message: its captured bytes.
#[derive(Debug, Clone, Copy)]
pub struct Igmp<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

/// What a report of version 3 says of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// 1, 3: only these sources; 2, 4: all but these; 5: these too; 6: these no
    /// longer.
    pub kind: u8,
    pub group: Ipv4Addr,
    /// Four bytes each.
    sources: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn sources(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        addresses(self.sources)
    }
}

impl<'a> Igmp<'a> {
    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// What the type means, where it is one of the three versions'.
    pub fn kind_name(&self) -> Option<&'static str> {
        match self.kind() {
            QUERY => Some("Membership Query"),
            REPORT_V1 | REPORT_V2 | REPORT_V3 => Some("Membership Report"),
            LEAVE => Some("Leave Group"),
            _ => None,
        }
    }

    /// 1, 2 or 3; a query's by its length and its time to answer.
    pub fn version(&self) -> Option<u8> {
        let length = (self.span.end - self.span.start) as usize;
        match self.kind() {
            QUERY if length >= QUERY_V3 => Some(3),
            QUERY if self.bytes[1] == 0 => Some(1),
            QUERY | REPORT_V2 | LEAVE => Some(2),
            REPORT_V1 => Some(1),
            REPORT_V3 => Some(3),
            _ => None,
        }
    }

    /// The group in question; `None` of a general query and where records tell.
    pub fn group(&self) -> Option<Ipv4Addr> {
        let [a, b, c, d] = [self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7]];
        let group = Ipv4Addr::new(a, b, c, d);
        match self.kind() {
            QUERY | REPORT_V1 | REPORT_V2 | LEAVE => (!group.is_unspecified()).then_some(group),
            _ => None,
        }
    }

    /// Sources that a query of version 3 asks about.
    pub fn sources(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        let all = match self.bytes {
            [QUERY, _, _, _, _, _, _, _, _, _, high, low, sources @ ..] => {
                let len = usize::from(u16::from_be_bytes([*high, *low])) * 4;
                &sources[..len.min(sources.len())]
            }
            _ => &[],
        };
        addresses(all)
    }

    /// Records of a report of version 3, as far as they were captured.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let is_report = self.kind() == REPORT_V3;
        let count = u16::from_be_bytes([self.bytes[6], self.bytes[7]]);
        let mut left = if is_report { count } else { 0 };
        let mut rest = &self.bytes[LEN..];
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let (&[kind, auxiliary, high, low, a, b, c, d], after) =
                rest.split_first_chunk::<8>()?;
            let len = usize::from(u16::from_be_bytes([high, low])) * 4;
            let (sources, after) = after.split_at_checked(len)?;
            rest = after.get(usize::from(auxiliary) * 4..).unwrap_or(&[]);
            let group = Ipv4Addr::new(a, b, c, d);
            Some(Record {
                kind,
                group,
                sources,
            })
        })
    }

    /// Bytes of what all kinds have.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

fn addresses(bytes: &[u8]) -> impl Iterator<Item = Ipv4Addr> + use<'_> {
    let (addresses, _) = bytes.as_chunks::<4>();
    addresses.iter().map(|bytes| Ipv4Addr::from(*bytes))
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let bytes = cursor.rest();
    if bytes.len() < LEN {
        return cursor.too_short("igmp", LEN);
    }
    let span = cursor.span();
    cursor.push(Layer::Igmp(Igmp { bytes, span }), LEN, Next::Done)
}
