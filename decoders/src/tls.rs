//! TLS: RFC 8446, RFC 5246; extensions: RFC 6066 (server name), RFC 7301 (ALPN).
//! Known by its records on any port; nothing is decrypted.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const RECORD_LEN: usize = 5;
const HANDSHAKE_LEN: usize = 4;
/// Most that a record holds: 2^14 bytes, and what encryption adds.
const MAX_RECORD: usize = 16384 + 2048;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The records of a segment that begins with one.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

/// One record, as far as it is in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// 20 change cipher spec, 21 alert, 22 handshake, 23 application data.
    pub kind: u8,
    /// As in the record's header: 0x0301 to 0x0303, whatever is spoken.
    pub version: u16,
    /// As the header says, bytes.
    pub length: usize,
    pub body: &'a [u8],
}

/// What a client offers.
#[derive(Debug, Clone, Copy)]
pub struct ClientHello<'a> {
    /// Highest version offered: 0x0304 is TLS 1.3.
    pub version: u16,
    /// Server name (SNI): the bytes as they came.
    pub server_name: Option<&'a [u8]>,
    alpn: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Application protocols offered, the dearest first: `h2`, `http/1.1`.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        protocols(self.alpn)
    }
}

/// What a server chose.
#[derive(Debug, Clone, Copy)]
pub struct ServerHello<'a> {
    pub version: u16,
    pub cipher_suite: u16,
    /// Application protocol; in TLS 1.3 it is encrypted elsewhere.
    pub alpn: Option<&'a [u8]>,
}

/// An alert that is not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// 1 warning, 2 fatal.
    pub level: u8,
    pub description: u8,
}

impl Alert {
    /// `Warning`, `Fatal`.
    pub fn level_name(&self) -> Option<&'static str> {
        match self.level {
            1 => Some("Warning"),
            2 => Some("Fatal"),
            _ => None,
        }
    }

    /// `Handshake Failure`, …
    pub fn description_name(&self) -> Option<&'static str> {
        Some(match self.description {
            0 => "Close Notify",
            10 => "Unexpected Message",
            20 => "Bad Record MAC",
            21 => "Decryption Failed",
            22 => "Record Overflow",
            30 => "Decompression Failure",
            40 => "Handshake Failure",
            41 => "No Certificate",
            42 => "Bad Certificate",
            43 => "Unsupported Certificate",
            44 => "Certificate Revoked",
            45 => "Certificate Expired",
            46 => "Certificate Unknown",
            47 => "Illegal Parameter",
            48 => "Unknown CA",
            49 => "Access Denied",
            50 => "Decode Error",
            51 => "Decrypt Error",
            60 => "Export Restriction",
            70 => "Protocol Version",
            71 => "Insufficient Security",
            80 => "Internal Error",
            86 => "Inappropriate Fallback",
            90 => "User Canceled",
            100 => "No Renegotiation",
            109 => "Missing Extension",
            110 => "Unsupported Extension",
            111 => "Certificate Unobtainable",
            112 => "Unrecognized Name",
            113 => "Bad Certificate Status Response",
            114 => "Bad Certificate Hash Value",
            115 => "Unknown PSK Identity",
            116 => "Certificate Required",
            120 => "No application Protocol",
            _ => return None,
        })
    }
}

impl Record<'_> {
    /// What it is in Wireshark's words; of several handshake messages in one
    /// record, the first.
    pub fn name(&self) -> &'static str {
        match (self.kind, self.body.first()) {
            (20, _) => "Change Cipher Spec",
            (ALERT, _) if self.length == 2 => "Alert",
            (ALERT, _) => "Encrypted Alert",
            (HANDSHAKE, Some(kind)) if handshake_fits(self.body, self.length) => {
                handshake_name(*kind).unwrap_or("Encrypted Handshake Message")
            }
            (HANDSHAKE, _) => "Encrypted Handshake Message",
            (23, _) => "Application Data",
            _ => "Heartbeat",
        }
    }
}

fn handshake_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0 => "Hello Request",
        CLIENT_HELLO => "Client Hello",
        SERVER_HELLO => "Server Hello",
        4 => "New Session Ticket",
        8 => "Encrypted Extensions",
        11 => "Certificate",
        12 => "Server Key Exchange",
        13 => "Certificate Request",
        14 => "Server Hello Done",
        15 => "Certificate Verify",
        16 => "Client Key Exchange",
        20 => "Finished",
        22 => "Certificate Status",
        _ => return None,
    })
}

impl<'a> Tls<'a> {
    /// The records, the last one perhaps not whole.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let record = record(rest)?;
            rest = rest.get(RECORD_LEN + record.length..).unwrap_or(&[]);
            Some(record)
        })
    }

    /// The client's offer, where the segment begins with one: as far as it is
    /// there.
    pub fn client_hello(&self) -> Option<ClientHello<'a>> {
        let (mut fields, version) = self.hello(CLIENT_HELLO)?;
        let mut hello = ClientHello {
            version,
            server_name: None,
            alpn: &[],
        };
        let suites = fields.word().unwrap_or(0);
        fields.take(usize::from(suites));
        let compressions = fields.byte().unwrap_or(0);
        fields.take(usize::from(compressions));
        for (kind, data) in fields.extensions() {
            match kind {
                SERVER_NAME => hello.server_name = host_name(data),
                ALPN => hello.alpn = data.get(2..).unwrap_or(&[]),
                SUPPORTED_VERSIONS => {
                    let (words, _) = data.get(1..).unwrap_or(&[]).as_chunks::<2>();
                    let versions = words.iter().map(|word| u16::from_be_bytes(*word));
                    // Others are grease (RFC 8701).
                    let known = versions.filter(|version| (0x0300..=0x0304).contains(version));
                    hello.version = known.max().unwrap_or(hello.version);
                }
                _ => {}
            }
        }
        Some(hello)
    }

    /// The server's choice, where the segment begins with it.
    pub fn server_hello(&self) -> Option<ServerHello<'a>> {
        let (mut fields, version) = self.hello(SERVER_HELLO)?;
        let mut hello = ServerHello {
            version,
            cipher_suite: fields.word()?,
            alpn: None,
        };
        fields.byte();
        for (kind, data) in fields.extensions() {
            match (kind, data) {
                (SUPPORTED_VERSIONS, [high, low]) => {
                    hello.version = u16::from_be_bytes([*high, *low]);
                }
                (ALPN, data) => hello.alpn = protocols(data.get(2..).unwrap_or(&[])).next(),
                _ => {}
            }
        }
        Some(hello)
    }

    /// The first alert in clear.
    pub fn alert(&self) -> Option<Alert> {
        let mut records = self.records();
        let record = records.find(|record| record.kind == ALERT && record.length == 2)?;
        let &[level, description] = record.body.first_chunk::<2>()?;
        Some(Alert { level, description })
    }

    /// Where a record begins that goes on behind these bytes, and how many bytes
    /// it lacks: of its header, where that is not whole.
    pub fn goes_on(&self) -> Option<(usize, usize)> {
        let mut at = 0;
        loop {
            let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
            if rest.len() < RECORD_LEN {
                let begins = matches!(rest, [20..=24] | [20..=24, 3, ..]);
                return begins.then(|| (at, RECORD_LEN - rest.len()));
            }
            let record = record(rest)?;
            if record.body.len() < record.length {
                return Some((at, record.length - record.body.len()));
            }
            at += RECORD_LEN + record.length;
        }
    }

    /// The captured bytes of the segment's data.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes: all of the segment are records.
    pub fn header_len(&self) -> usize {
        self.bytes.len()
    }

    /// A hello's fields behind its session, and its own word on the version.
    fn hello(&self, kind: u8) -> Option<(Fields<'a>, u16)> {
        let first = self.records().next()?;
        if first.kind != HANDSHAKE || *first.body.first()? != kind {
            return None;
        }
        let mut fields = Fields(first.body.get(HANDSHAKE_LEN..)?);
        let version = fields.word()?;
        fields.take(32);
        let session = fields.byte().unwrap_or(0);
        fields.take(usize::from(session));
        Some((fields, version))
    }
}

/// Name of a version: `TLSv1.3`.
pub fn version_name(version: u16) -> Option<&'static str> {
    Some(match version {
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLSv1.1",
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => return None,
    })
}

/// What is left of a message; what is not there is taken as nothing.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).first().copied()
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2)
            .first_chunk()
            .map(|word| u16::from_be_bytes(*word))
    }

    /// Kind and data, as many as are whole.
    fn extensions(mut self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let len = self.word().unwrap_or(0);
        let mut list = Fields(self.take(usize::from(len)));
        core::iter::from_fn(move || {
            let (kind, len) = (list.word()?, usize::from(list.word()?));
            let data = list.take(len);
            (data.len() == len).then_some((kind, data))
        })
    }
}

fn host_name(list: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(list.get(2..)?);
    let (kind, len) = (fields.byte()?, usize::from(fields.word()?));
    let name = fields.take(len);
    (kind == 0 && name.len() == len).then_some(name)
}

fn protocols(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields(list);
    core::iter::from_fn(move || {
        let len = usize::from(fields.byte()?);
        let name = fields.take(len);
        (name.len() == len).then_some(name)
    })
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let &[kind, high, low, long, short] = bytes.first_chunk::<RECORD_LEN>()?;
    let length = usize::from(u16::from_be_bytes([long, short]));
    let fits = matches!(kind, 20..=24) && high == 3 && low <= 4 && length <= MAX_RECORD;
    let rest = &bytes[RECORD_LEN..];
    fits.then(|| Record {
        kind,
        version: u16::from_be_bytes([high, low]),
        length,
        body: &rest[..rest.len().min(length)],
    })
}

/// Whether a record's content begins as a message of a handshake in clear.
fn handshake_fits(body: &[u8], length: usize) -> bool {
    match body.first_chunk::<HANDSHAKE_LEN>() {
        Some(&[kind, a, b, c]) => {
            let declared = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let hello = matches!(kind, CLIENT_HELLO | SERVER_HELLO);
            // A hello has a version of its own, 3.x again.
            handshake_name(kind).is_some()
                && (declared + HANDSHAKE_LEN <= length || kind == 11)
                && (!hello || body.get(HANDSHAKE_LEN).is_none_or(|major| *major == 3))
        }
        None => false,
    }
}

/// Whether a segment's data, `length` on the wire, begin with a record: a hello
/// or an alert in clear, or a record that another follows or the segment ends.
#[inline]
pub(crate) fn fits(payload: &[u8], length: usize) -> bool {
    match payload {
        [20..=23, 3, 0..=4, ..] => is_record(payload, length),
        _ => false,
    }
}

#[cold]
fn is_record(payload: &[u8], length: usize) -> bool {
    let Some(first) = record(payload) else {
        return false;
    };
    let end = RECORD_LEN + first.length;
    match first.kind {
        20 => first.length == 1 && first.body.first().is_none_or(|byte| *byte == 1),
        ALERT if first.length == 2 => first
            .body
            .first()
            .is_none_or(|level| matches!(level, 1 | 2)),
        HANDSHAKE if handshake_fits(first.body, first.length) => true,
        _ => {
            first.length > 0
                && (end >= length || payload.get(end).is_none_or(|k| matches!(k, 20..=23)))
        }
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let bytes = cursor.rest();
    let view = Tls {
        bytes,
        span: cursor.span(),
    };
    let hello = record(bytes).filter(|first| {
        first.kind == HANDSHAKE
            && matches!(first.body.first(), Some(&(CLIENT_HELLO | SERVER_HELLO)))
    });
    let available = cursor.wire_len();
    // Only of a hello: data's records often span segments.
    if let Some(hello) = hello
        && bytes.len() == available
        && hello.length + RECORD_LEN > available
    {
        let missing = hello.length + RECORD_LEN - available;
        cursor.stop("tls", Reason::Segmented { missing });
    }
    cursor.push(Layer::Tls(view), bytes.len(), Next::Done)
}
