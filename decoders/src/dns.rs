//! DNS: RFC 1035; multicast DNS: RFC 6762. The view checks the shape; names and
//! records are parsed by hickory-proto when asked for.

mod kind;

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use hickory_proto::op::Query;
use hickory_proto::rr::rdata::svcb::SVCB;
use hickory_proto::rr::{Name, RData, Record as ProtoRecord, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

const HEADER_LEN: usize = 12;
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

    /// Parses questions and records, as many as there are whole. This
    /// allocates.
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
            complete: false,
        };
        message.complete = self.parse_into(&mut message).is_some();
        message
    }

    fn parse_into(&self, message: &mut Message) -> Option<()> {
        let mut decoder = BinDecoder::new(self.message);
        decoder.read_slice(HEADER_LEN).ok()?;
        for _ in 0..self.question_count() {
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
                section.push(record(&ProtoRecord::read(&mut decoder).ok()?));
            }
        }
        Some(())
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
        data: record_data(&record.data),
        cache_flush: !is_opt && u16::from(record.dns_class) & 0x8000 != 0,
    }
}

fn name_bytes(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    for label in name.iter() {
        if !bytes.is_empty() {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(label);
    }
    if bytes.is_empty() {
        bytes.extend_from_slice(b"<Root>");
    }
    bytes
}

/// Words before a name, then the name.
fn before_name(words: &[u16], name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(word.to_string().as_bytes());
        bytes.push(b' ');
    }
    bytes.extend_from_slice(&name_bytes(name));
    bytes
}

fn record_data(data: &RData) -> Vec<u8> {
    match data {
        RData::A(address) => address.to_string().into_bytes(),
        RData::AAAA(address) => address.to_string().into_bytes(),
        RData::CNAME(name) => name_bytes(&name.0),
        RData::NS(name) => name_bytes(&name.0),
        RData::PTR(name) => name_bytes(&name.0),
        RData::ANAME(name) => name_bytes(&name.0),
        RData::MX(mx) => before_name(&[mx.preference], &mx.exchange),
        RData::SRV(srv) => before_name(&[srv.priority, srv.weight, srv.port], &srv.target),
        RData::SOA(soa) => name_bytes(&soa.mname),
        RData::TXT(txt) => txt.txt_data.join(&b' '),
        RData::HINFO(hinfo) => [&*hinfo.cpu, &*hinfo.os].join(&b' '),
        RData::HTTPS(https) => service(&https.0),
        RData::SVCB(svcb) => service(svcb),
        RData::OPT(_) | RData::NULL(_) | RData::Update0(_) => Vec::new(),
        other => other.to_string().into_bytes(),
    }
}

fn service(svcb: &SVCB) -> Vec<u8> {
    before_name(&[svcb.svc_priority], &svcb.target_name)
}

/// DNS, multicast DNS, link-local multicast name resolution (RFC 4795).
#[inline]
pub(crate) fn is_port(port: u16) -> bool {
    matches!(port, 53 | 5353 | 5355)
}

#[inline]
pub(crate) fn is_tcp_port(port: u16) -> bool {
    port == 53
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

/// A message, if it has the shape of one.
pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let message = cursor.rest();
    if !fits(message, cursor.wire_len()) {
        return Next::Done;
    }
    let span = cursor.span();
    cursor.push(Layer::Dns(Dns { message, span }), HEADER_LEN, Next::Done)
}

/// A message that fills its segment; one that spans several is left alone.
pub(crate) fn decode_tcp(cursor: &mut Cursor<'_, '_>) -> Next {
    match cursor.rest().first_chunk::<2>() {
        Some(&length) if usize::from(u16::from_be_bytes(length)) + 2 == cursor.wire_len() => {
            cursor.skip(2);
            decode(cursor)
        }
        _ => Next::Done,
    }
}
