//! TCP: RFC 9293; options: RFC 7323, RFC 2018, RFC 7413, RFC 8684.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::{dns, http, http2, stt, tls};
use etherparse::TcpHeaderSlice;
use etherparse::err::tcp::{HeaderError, HeaderSliceError};

const MIN_LEN: usize = 20;
/// Up to the window: with these a segment has its place in a flow.
const NUMBERS_LEN: usize = 16;

/// Kind of the option that asks for a fast open or brings its cookie.
pub const FAST_OPEN: u8 = 34;
/// Kind of multipath TCP's option.
pub const MULTIPATH: u8 = 30;

/// A TCP header with its options. Where the capture was cut behind the window, it
/// has what is there.
#[derive(Debug, Clone)]
pub struct Tcp<'a> {
    /// `NUMBERS_LEN` bytes at least, and as many more as were captured.
    header: &'a [u8],
    pub span: Span,
}

/// The flags as in the header's word: FIN is 0x001, AE is 0x100, the three
/// reserved bits are 0xe00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    pub const FIN: u16 = 0x001;
    pub const SYN: u16 = 0x002;
    pub const RST: u16 = 0x004;
    pub const PSH: u16 = 0x008;
    pub const ACK: u16 = 0x010;
    pub const URG: u16 = 0x020;
    pub const ECE: u16 = 0x040;
    pub const CWR: u16 = 0x080;
    /// RFC 3540's nonce sum, since RFC 9768 Accurate ECN's AE.
    pub const AE: u16 = 0x100;

    /// In the order of the header's bits from the least, as tshark lists them.
    const NAMES: [(u16, &'static str); 9] = [
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::PSH, "PSH"),
        (TcpFlags::ACK, "ACK"),
        (TcpFlags::URG, "URG"),
        (TcpFlags::ECE, "ECE"),
        (TcpFlags::CWR, "CWR"),
        (TcpFlags::AE, "AE"),
    ];

    /// Whether all these bits are set.
    #[inline]
    pub fn has(self, flags: u16) -> bool {
        self.0 & flags == flags
    }

    /// Names of the flags that are set.
    ///
    /// ```
    /// use decoders::tcp::TcpFlags;
    /// let flags = TcpFlags(TcpFlags::SYN | TcpFlags::ACK);
    /// assert_eq!(flags.names().collect::<Vec<_>>(), ["SYN", "ACK"]);
    /// ```
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let reserved = (self.0 & 0xe00 != 0).then_some("Reserved");
        let named = TcpFlags::NAMES
            .into_iter()
            .filter(move |(bit, _)| self.has(*bit));
        named.map(|(_, name)| name).chain(reserved)
    }
}

/// One option of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Maximum segment size, bytes.
    Mss(u16),
    /// Shift count of the window, 0 to 14 where it is legal.
    WindowScale(u8),
    SackPermitted,
    /// Blocks of left edge (included) and right edge (excluded), 8 bytes each.
    Sack(&'a [u8]),
    /// TSval and TSecr.
    Timestamps(u32, u32),
    Nop,
    /// Any other: kind and the bytes after kind and length.
    Other(u8, &'a [u8]),
}

impl<'a> TcpOption<'a> {
    /// Fast open's cookie, empty where one is asked for; also in the form that it
    /// had as an experiment (RFC 7413, section 4.1.1; RFC 6994).
    ///
    /// ```
    /// use decoders::tcp::TcpOption;
    /// assert_eq!(TcpOption::Other(34, &[1, 2]).fast_open(), Some(&[1, 2][..]));
    /// assert_eq!(TcpOption::Other(254, &[0xf9, 0x89]).fast_open(), Some(&[][..]));
    /// assert_eq!(TcpOption::Other(254, &[0xe2, 0xd4]).fast_open(), None);
    /// ```
    pub fn fast_open(&self) -> Option<&'a [u8]> {
        match *self {
            TcpOption::Other(FAST_OPEN, cookie) => Some(cookie),
            TcpOption::Other(253 | 254, [0xf9, 0x89, cookie @ ..]) => Some(cookie),
            _ => None,
        }
    }

    /// What multipath TCP's option is about, by its subtype's name.
    ///
    /// ```
    /// use decoders::tcp::TcpOption;
    /// let option = TcpOption::Other(30, &[0x01, 0x81]);
    /// assert_eq!(option.multipath(), Some("MP_CAPABLE"));
    /// ```
    pub fn multipath(&self) -> Option<&'static str> {
        const NAMES: [&str; 9] = [
            "MP_CAPABLE",
            "MP_JOIN",
            "DSS",
            "ADD_ADDR",
            "REMOVE_ADDR",
            "MP_PRIO",
            "MP_FAIL",
            "MP_FASTCLOSE",
            "MP_TCPRST",
        ];
        match self {
            TcpOption::Other(MULTIPATH, [first, ..]) => {
                let name = NAMES.get(usize::from(first >> 4)).copied();
                Some(name.unwrap_or("unknown"))
            }
            _ => None,
        }
    }
}

impl<'a> Tcp<'a> {
    #[inline]
    pub fn source_port(&self) -> u16 {
        self.word(0)
    }

    #[inline]
    pub fn destination_port(&self) -> u16 {
        self.word(2)
    }

    #[inline]
    pub fn sequence(&self) -> u32 {
        self.long(4)
    }

    /// The acknowledgement number; it means something only with ACK set.
    #[inline]
    pub fn acknowledgement(&self) -> u32 {
        self.long(8)
    }

    #[inline]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.word(12) & 0x0fff)
    }

    /// The window as it stands in the header, unscaled.
    #[inline]
    pub fn window(&self) -> u16 {
        self.word(14)
    }

    /// `None` where the capture was cut before it.
    pub fn checksum(&self) -> Option<u16> {
        (self.header.len() >= MIN_LEN).then(|| self.word(16))
    }

    /// `None` where the capture was cut before it.
    pub fn urgent_pointer(&self) -> Option<u16> {
        (self.header.len() >= MIN_LEN).then(|| self.word(18))
    }

    /// The options up to the end-of-list, as far as their lengths make sense.
    #[inline]
    pub fn options(&self) -> impl Iterator<Item = TcpOption<'a>> + use<'a> {
        let mut rest = self.header.get(MIN_LEN..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let (option, after) = split_option(rest)?;
            rest = after;
            Some(option)
        })
    }

    /// Shift count of the window scale option, where there is one.
    #[inline]
    pub fn window_scale(&self) -> Option<u8> {
        self.options().find_map(|option| match option {
            TcpOption::WindowScale(shift) => Some(shift),
            _ => None,
        })
    }

    /// Bytes, options included, also those that were not captured. Less than 20 or
    /// more than the segment has is what the header says and cannot be.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.header[12] >> 4) * 4
    }

    /// Bytes of the segment's data on the wire.
    #[inline]
    pub fn payload_len(&self) -> usize {
        let len = (self.span.end - self.span.start) as usize;
        len.saturating_sub(self.header_len())
    }

    /// Whether there is less of the header than it has.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.header.len() < self.header_len()
    }

    #[inline]
    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.header[at], self.header[at + 1]])
    }

    #[inline]
    fn long(&self, at: usize) -> u32 {
        u32::from(self.word(at)) << 16 | u32::from(self.word(at + 2))
    }
}

/// The next option and what follows it; `None` at the end of the list and
/// where a length makes no sense.
#[inline]
fn split_option(bytes: &[u8]) -> Option<(TcpOption<'_>, &[u8])> {
    let (&kind, after) = bytes.split_first()?;
    match kind {
        0 => return None,
        1 => return Some((TcpOption::Nop, after)),
        _ => {}
    }
    let len = usize::from(*after.first()?);
    let data = bytes.get(2..len)?;
    let option = match (kind, data) {
        (2, [a, b]) => TcpOption::Mss(u16::from_be_bytes([*a, *b])),
        (3, [shift]) => TcpOption::WindowScale(*shift),
        (4, []) => TcpOption::SackPermitted,
        (5, blocks) if !blocks.is_empty() && blocks.len() % 8 == 0 => TcpOption::Sack(blocks),
        (8, [a, b, c, d, e, f, g, h]) => TcpOption::Timestamps(
            u32::from_be_bytes([*a, *b, *c, *d]),
            u32::from_be_bytes([*e, *f, *g, *h]),
        ),
        (kind, data) => TcpOption::Other(kind, data),
    };
    Some((option, &bytes[len..]))
}

#[inline]
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let header = match TcpHeaderSlice::from_slice(cursor.rest()) {
        Ok(header) => header,
        Err(error) => return refuse(cursor, &error),
    };
    let header = header.slice();
    let header_len = header.len();
    let view = Tcp {
        header,
        span: cursor.span(),
    };
    let (source, destination) = (view.source_port(), view.destination_port());
    let begins_stt = destination == stt::PORT
        && stt::fits(&view, cursor.rest().get(header_len..).unwrap_or(&[]));
    if let Next::Done = cursor.push(Layer::Tcp(view), header_len, Next::Tcp) {
        return Next::Done;
    }
    application(cursor, (source, destination), begins_stt)
}

/// What a segment's data are, or a message's that was put together of several.
#[inline(always)]
pub(crate) fn application(
    cursor: &mut Cursor<'_, '_>,
    (source, destination): (u16, u16),
    begins_stt: bool,
) -> Next {
    let payload = cursor.rest();
    if payload.is_empty() {
        return Next::Done;
    }
    if http::fits(payload) {
        return http::decode(cursor);
    }
    if begins_stt {
        return stt::decode(cursor);
    }
    if dns::is_tcp_port(source) || dns::is_tcp_port(destination) {
        return dns::decode_tcp(cursor);
    }
    if http2::fits(payload) {
        return http2::decode(cursor);
    }
    if tls::fits(payload, cursor.wire_len()) {
        return tls::decode(cursor);
    }
    if dns::is_unmistakable_tcp(payload) {
        return dns::decode_tcp(cursor);
    }
    Next::Done
}

/// The header is not whole, or its length is wrong: what is there still tells most.
#[cold]
fn refuse(cursor: &mut Cursor<'_, '_>, error: &HeaderSliceError) -> Next {
    let rest = cursor.rest();
    let span = cursor.span();
    let needed = match error {
        HeaderSliceError::Len(error) => error.required_len,
        HeaderSliceError::Content(HeaderError::DataOffsetTooSmall { data_offset }) => {
            let declared = usize::from(*data_offset) * 4;
            cursor.too_small(LengthSource::TcpDataOffset, declared, MIN_LEN);
            MIN_LEN
        }
    };
    let is_cut = rest.len() < cursor.wire_len();
    if rest.len() < NUMBERS_LEN || needed > cursor.wire_len() && is_cut {
        return cursor.too_short("tcp", needed);
    }
    if needed > cursor.wire_len() {
        cursor.too_short("tcp", needed);
    }
    // That the capture was cut is noted when decoding ends.
    cursor.push(Layer::Tcp(Tcp { header: rest, span }), needed, Next::Done)
}
