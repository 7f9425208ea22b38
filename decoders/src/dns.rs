//! DNS: RFC 1035; multicast DNS: RFC 6762. The view checks the shape; names and
//! records are parsed by hickory-proto when asked for.

mod data;
mod edns;
mod jumps;
mod kind;
mod raw;

pub use edns::{Edns, EdnsOption};

use alloc::string::String;
use alloc::vec::Vec;

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, Record as ProtoRecord, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use jumps::Jumps;

pub(crate) const HEADER_LEN: usize = 12;
/// Least bytes of a question and of a record: the root's name and the fixed words.
const MIN_QUESTION: usize = 5;
const MIN_RECORD: usize = 11;
const MAX_OPCODE: u8 = 6;

/// A DNS message: the captured bytes of it, at least the header.
#[derive(Debug, Clone, Copy)]
pub struct Dns<'a> {
    message: &'a [u8],
    /// From the header on: TCP's two bytes of length are before it.
    pub span: Span,
}

/// What a message says, parsed as far as that was possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub questions: Vec<Question>,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
    /// What the OPT record among the additionals says, where there is one.
    pub edns: Option<Edns>,
    /// Whether all of it could be parsed: not so where the message was cut or
    /// is malformed.
    pub complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Labels joined by dots, as they came: any bytes. `<Root>` for the root.
    pub name: Vec<u8>,
    /// `A`, `AAAA`, …; `TYPE65280` where it has no name (RFC 3597).
    pub kind: String,
    /// Multicast DNS: the answer is wanted by unicast ("QU" question).
    pub unicast: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As in [`Question::name`].
    pub name: Vec<u8>,
    /// As in [`Question::kind`].
    pub kind: String,
    /// Time to live, seconds.
    pub ttl: u32,
    /// What the record says, as in a zone file's line but with names as in
    /// [`Question::name`]: untrusted bytes. Empty where there is nothing to say.
    pub data: Vec<u8>,
    /// Multicast DNS: receivers are to forget other records of that name.
    pub cache_flush: bool,
}

impl<'a> Dns<'a> {
    pub fn id(&self) -> u16 {
        self.word(0)
    }

    pub fn is_response(&self) -> bool {
        self.message[2] & 0x80 != 0
    }

    pub fn opcode(&self) -> u8 {
        self.message[2] >> 3 & 0xf
    }

    pub fn is_authoritative(&self) -> bool {
        self.message[2] & 0x04 != 0
    }

    /// TC: the answer did not fit.
    pub fn is_truncated(&self) -> bool {
        self.message[2] & 0x02 != 0
    }

    pub fn recursion_desired(&self) -> bool {
        self.message[2] & 0x01 != 0
    }

    /// Response code, 0 to 15; without EDNS's upper bits.
    pub fn rcode(&self) -> u8 {
        self.message[3] & 0xf
    }

    pub fn question_count(&self) -> u16 {
        self.word(4)
    }

    pub fn answer_count(&self) -> u16 {
        self.word(6)
    }

    pub fn authority_count(&self) -> u16 {
        self.word(8)
    }

    pub fn additional_count(&self) -> u16 {
        self.word(10)
    }

    /// The captured bytes of the message, from its header on.
    pub fn bytes(&self) -> &'a [u8] {
        self.message
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        HEADER_LEN
    }

    /// Parses questions and records, as many as there are whole; ends before one
    /// with a name of more than 127 pointers, or with whose names there are more
    /// than the message has bytes. This allocates.
    ///
    /// ```
    /// use decoders::{LinkType, Ports, decode};
    /// let query = [
    ///     0x45, 0, 0, 49, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    ///     0x30, 0x39, 0, 53, 0, 29, 0, 0, // UDP
    ///     0x93, 0x17, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, // header
    ///     3, b'w', b'w', b'w', 0, 0, 1, 0, 1,
    /// ];
    /// let packet = decode(LinkType::RawIp, &query, query.len(), &Ports::default());
    /// let message = packet.dns().unwrap().parse();
    /// assert_eq!(message.questions[0].name, b"www");
    /// assert_eq!(message.questions[0].kind, "A");
    /// ```
    pub fn parse(&self) -> Message {
        let mut message = Message {
            questions: Vec::new(),
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            edns: None,
            complete: false,
        };
        message.complete = self.parse_into(&mut message).is_some();
        message
    }

    fn parse_into(&self, message: &mut Message) -> Option<()> {
        let mut decoder = BinDecoder::new(self.message);
        let mut jumps = Jumps::new(self.message);
        let mut is_sound = true;
        decoder.read_slice(HEADER_LEN).ok()?;
        for _ in 0..self.question_count() {
            jumps.name(decoder.index()).ok()?;
            message
                .questions
                .push(question(&Query::read(&mut decoder).ok()?));
        }
        let sections = [
            (self.answer_count(), &mut message.answers),
            (self.authority_count(), &mut message.authorities),
            (self.additional_count(), &mut message.additionals),
        ];
        for (count, section) in sections {
            for _ in 0..count {
                let start = decoder.index();
                jumps.record(start).ok()?;
                let Ok(parsed) = ProtoRecord::read(&mut decoder) else {
                    // Of data that make no sense the record is kept.
                    let (record, end) = raw::record(self.message, start)?;
                    section.push(record);
                    is_sound = false;
                    decoder = BinDecoder::new(self.message);
                    decoder.read_slice(end).ok()?;
                    continue;
                };
                message.edns = message.edns.take().or_else(|| edns::edns(&parsed));
                section.push(record(&parsed));
            }
        }
        is_sound.then_some(())
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.message[at], self.message[at + 1]])
    }
}

fn question(query: &Query) -> Question {
    Question {
        name: name_bytes(query.name()),
        kind: kind::name(query.query_type()),
        unicast: u16::from(query.query_class()) & 0x8000 != 0,
    }
}

fn record(record: &ProtoRecord) -> Record {
    // The class of an OPT record is the sender's buffer size.
    let is_opt = record.record_type() == RecordType::OPT;
    Record {
        name: name_bytes(&record.name),
        kind: kind::name(record.record_type()),
        ttl: record.ttl,
        data: data::record_data(&record.data),
        cache_flush: !is_opt && u16::from(record.dns_class) & 0x8000 != 0,
    }
}

fn name_bytes(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    for label in name.iter() {
        push_label(&mut bytes, label);
    }
    if bytes.is_empty() {
        bytes.extend_from_slice(b"<Root>");
    }
    bytes
}

fn push_label(name: &mut Vec<u8>, label: &[u8]) {
    if !name.is_empty() {
        name.push(b'.');
    }
    name.extend_from_slice(label);
}

/// DNS, multicast DNS, link-local multicast name resolution (RFC 4795).
#[inline]
pub(crate) fn is_port(port: u16) -> bool {
    matches!(port, 53 | 5353 | 5355)
}

/// Multicast DNS knows no TCP.
#[inline]
pub(crate) fn is_tcp_port(port: u16) -> bool {
    matches!(port, 53 | 5355)
}

/// Whether these bytes, of a message of `length`, can be DNS: a known opcode,
/// counts that the length has room for, and labels where the first name is.
fn fits(message: &[u8], length: usize) -> bool {
    let Some(header) = message.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let records = count(6) + count(8) + count(10);
    let least = HEADER_LEN + count(4) * MIN_QUESTION + records * MIN_RECORD;
    header[2] >> 3 & 0xf <= MAX_OPCODE
        && least <= length
        && (count(4) + records == 0 || is_name(&message[HEADER_LEN..]))
}

/// Whether a name, as far as it was captured, is made of labels and perhaps a
/// pointer.
fn is_name(mut bytes: &[u8]) -> bool {
    let mut len = 0;
    loop {
        match bytes.first() {
            None | Some(0 | 0xc0..) => return len <= 255,
            Some(64..) => return false,
            Some(&label) => {
                len += usize::from(label) + 1;
                bytes = bytes.get(usize::from(label) + 1..).unwrap_or(&[]);
            }
        }
        if len > 255 {
            return false;
        }
    }
}

/// A message of `length` bytes, if it has the shape of one; of a first fragment
/// they are more than there are.
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>, length: usize) -> Next {
    let message = cursor.rest();
    if !fits(message, length.max(cursor.wire_len())) {
        return Next::Done;
    }
    let span = cursor.span();
    cursor.push(Layer::Dns(Dns { message, span }), HEADER_LEN, Next::Done)
}

/// Whether the capture ends in a message's header.
#[inline]
pub(crate) fn is_cut(cursor: &Cursor<'_, '_>) -> bool {
    cursor.rest().len() < HEADER_LEN && cursor.wire_len() >= HEADER_LEN
}

/// Whether the bytes can be nothing but a whole message: one question of class
/// IN and a known type, no bit where none should be, and records that end where
/// the message does. `goes_on`: in further fragments.
#[inline]
pub(crate) fn is_unmistakable(message: &[u8], goes_on: bool) -> bool {
    match message.first_chunk::<HEADER_LEN>() {
        // Opcode 0, the reserved bit unset, one question.
        Some([_, _, flags, more, 0, 1, ..]) if flags & 0x78 == 0 && more & 0x40 == 0 => {
            ends_where_it_should(message, goes_on).is_some()
        }
        _ => false,
    }
}

#[cold]
fn ends_where_it_should(message: &[u8], goes_on: bool) -> Option<()> {
    let word = |at: usize| {
        Some(u16::from_be_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let mut at = after_name(message, HEADER_LEN)?;
    let known = matches!(word(at)?, 1..=65 | 99 | 249..=258);
    if !known || word(at + 2)? != 1 {
        return None;
    }
    at += 4;
    let records = usize::from(word(6)?) + usize::from(word(8)?) + usize::from(word(10)?);
    for _ in 0..records {
        at = after_name(message, at)?;
        at += 10 + usize::from(word(at + 8)?);
        if at > message.len() {
            return goes_on.then_some(());
        }
    }
    (at == message.len()).then_some(())
}

/// Where a name of printable labels ends.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => return Some(at + 1),
            1..64 => {
                let label = message.get(at + 1..at + 1 + len)?;
                if !label.iter().all(u8::is_ascii_graphic) {
                    return None;
                }
                at += 1 + len;
            }
            0xc0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

/// Over TCP, whether the segment is one message that can be nothing else.
#[inline]
pub(crate) fn is_unmistakable_tcp(payload: &[u8]) -> bool {
    match payload.first_chunk::<2>() {
        Some(&length) if usize::from(u16::from_be_bytes(length)) + 2 == payload.len() => {
            is_unmistakable(&payload[2..], false)
        }
        _ => false,
    }
}

/// How many bytes data over TCP lack that are too short to be told, if they
/// begin as a message does: with its length.
pub(crate) fn missing_of_header(payload: &[u8]) -> Option<usize> {
    let needed = 2 + HEADER_LEN;
    let length = match payload {
        [] => return None,
        // Of the length itself only half is there.
        [_] => HEADER_LEN,
        [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
    };
    (length >= HEADER_LEN && payload.len() < needed).then(|| needed - payload.len())
}

/// The messages of a segment, each behind its length (RFC 1035, section 4.2.2).
/// The last may go on in later segments.
pub(crate) fn decode_tcp(cursor: &mut Cursor<'_, '_>) -> Next {
    let mut is_first = true;
    while cursor.wire_len() > 0 {
        let Some(&length) = cursor.rest().first_chunk::<2>() else {
            return end(cursor, is_first, 2);
        };
        let declared = usize::from(u16::from_be_bytes(length));
        let available = cursor.wire_len() - 2;
        let bytes = &cursor.rest()[2..];
        let message = &bytes[..bytes.len().min(declared)];
        if message.len() < HEADER_LEN.min(declared) {
            return end(cursor, is_first, 2 + HEADER_LEN);
        }
        if !fits(message, declared) {
            return match is_first {
                true => Next::Done,
                false => cursor.stop("dns", Reason::Malformed("what follows is no DNS message")),
            };
        }
        cursor.skip(2);
        let goes_on = declared > available;
        // Where the capture was cut, that is the first to be told.
        if goes_on && bytes.len() == available {
            let missing = declared - available;
            cursor.stop("dns", Reason::Segmented { missing });
        }
        let mut span = cursor.span();
        span.end = span.start + declared.min(available) as u32;
        let len = declared.min(available);
        if let Next::Done = cursor.push(Layer::Dns(Dns { message, span }), len, Next::Tcp) {
            return Next::Done;
        }
        is_first = false;
    }
    Next::Done
}

/// The segment or the capture ends before a message's header does.
#[cold]
fn end(cursor: &mut Cursor<'_, '_>, is_first: bool, needed: usize) -> Next {
    let available = cursor.wire_len();
    match is_first {
        true => Next::Done,
        false if cursor.rest().len() < available => {
            let missing = available - cursor.rest().len();
            cursor.stop("dns", Reason::Cut { missing })
        }
        false => cursor.stop(
            "dns",
            Reason::Segmented {
                missing: needed - available,
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_behind_one_that_makes_no_sense_are_kept() {
        let mut message = b"\0\x07\x81\x80\0\0\0\x02\0\0\0\0".to_vec();
        message.extend(b"\x01a\0\0\x01\0\x01\0\0\0\x3c\0\x03\xc0\0\x02");
        message.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        let end = message.len() as u32;
        let span = Span { start: 0, end };
        let parsed = Dns {
            message: &message,
            span,
        };
        let parsed = parsed.parse();
        assert!(!parsed.complete);
        let found: Vec<_> = parsed
            .answers
            .iter()
            .map(|r| (&r.name[..], &r.data[..]))
            .collect();
        assert_eq!(
            found,
            [(&b"a"[..], &b"\\# 3 c00002"[..]), (b"a", b"192.0.2.1")]
        );
    }

    #[test]
    fn only_whole_messages_are_unmistakable() {
        let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01".to_vec();
        query.extend(b"\x03www\x07example\0\0\x1c\0\x01");
        query.extend(b"\0\0\x29\x10\0\0\0\0\0\0\0");
        assert!(is_unmistakable(&query, false));
        for len in 0..query.len() {
            assert!(!is_unmistakable(&query[..len], false), "{len}");
        }
        for (at, byte) in [
            (2, 0x21),
            (3, 0x40),
            (5, 2),
            (11, 2),
            (13, 1),
            (24, 0x99),
            (28, 3),
        ] {
            let mut other = query.clone();
            other[at] = byte;
            assert!(!is_unmistakable(&other, false), "{at}");
        }
        query.push(0);
        assert!(!is_unmistakable(&query, true));
        // The last record's data go on: in the next fragment, or not at all.
        let at = query.len() - 2;
        query[at] = 9;
        assert!(is_unmistakable(&query, true));
        assert!(!is_unmistakable(&query, false));
    }
}
