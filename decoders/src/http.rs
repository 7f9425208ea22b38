//! HTTP/1: RFC 9112. Known by its first line alone, on any port.

use core::fmt;

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};

const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
];
/// Longest name of a method that is none of the above (IANA's longest has 16).
const MAX_METHOD: usize = 20;
/// Longest first line that is looked for, bytes.
const MAX_LINE: usize = 8192;

/// The beginning of an HTTP/1 message: the captured bytes of a segment that
/// begins with a request's or an answer's first line.
#[derive(Debug, Clone, Copy)]
pub struct Http<'a> {
    bytes: &'a [u8],
    pub span: Span,
}

/// A line between the first one and the empty one that ends the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderLine<'a> {
    /// Byte of the frame at which the line begins.
    pub offset: usize,
    /// As it came, without its end.
    pub line: &'a [u8],
    /// What stands before the colon; all of the line where there is none.
    pub name: &'a [u8],
    /// What stands behind it, without the spaces around.
    pub value: &'a [u8],
    /// What makes the line illegal: strict parsers refuse such a message.
    pub fault: Option<HeaderFault>,
}

/// What is wrong with a header line, by RFC 9112, section 5, and RFC 9110,
/// section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    NoColon,
    EmptyName,
    /// Between name and colon.
    SpaceBeforeColon,
    /// The line begins with a space or a tab: it goes on with the line before
    /// (obs-fold), or stands before the first header.
    Folded,
    /// A byte in the name that no token has.
    NameByte(u8),
    /// A control character in the value; a tab is none.
    ValueByte(u8),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            HeaderFault::NoColon => f.write_str("no colon"),
            HeaderFault::EmptyName => f.write_str("empty name"),
            HeaderFault::SpaceBeforeColon => f.write_str("whitespace before the colon"),
            HeaderFault::Folded => f.write_str("begins with whitespace (obs-fold)"),
            HeaderFault::NameByte(byte @ b'!'..=b'~') => {
                write!(f, "'{}' in the name", char::from(byte))
            }
            HeaderFault::NameByte(byte) => write!(f, "byte 0x{byte:02x} in the name"),
            HeaderFault::ValueByte(byte) => write!(f, "byte 0x{byte:02x} in the value"),
        }
    }
}

impl<'a> Http<'a> {
    /// The first line without its end; as much of it as was captured.
    pub fn first_line(&self) -> &'a [u8] {
        let line = &self.bytes[..self.bytes.len().min(MAX_LINE)];
        let end = line
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(line.len());
        without_cr(&line[..end])
    }

    pub fn is_response(&self) -> bool {
        self.bytes.starts_with(b"HTTP/1.")
    }

    /// Method of a request.
    pub fn method(&self) -> Option<&'a [u8]> {
        let mut words = self.first_line().split(|byte| *byte == b' ');
        words.next().filter(|_| !self.is_response())
    }

    /// Target of a request, as it came: `/v2/keys?wait=true`.
    pub fn target(&self) -> Option<&'a [u8]> {
        let line = self.first_line();
        let after = &line[self.method()?.len()..];
        let end = after
            .iter()
            .rposition(|byte| *byte == b' ')
            .filter(|&end| end > 0 && after[end..].starts_with(b" HTTP/1."));
        after.get(1..end.unwrap_or(after.len()))
    }

    /// Status code of an answer; `None` where there are no three digits.
    pub fn status(&self) -> Option<u16> {
        let mut words = self.first_line().split(|byte| *byte == b' ');
        let code = words.nth(1).filter(|_| self.is_response())?;
        let digits = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
        digits.then(|| {
            code.iter()
                .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
        })
    }

    /// Lines of the head after the first, as far as they are whole in this
    /// segment, the illegal ones too.
    ///
    /// ```
    /// use decoders::{LinkType, Ports, decode, http::HeaderFault};
    /// let mut frame = vec![
    ///     0x45, 0, 0, 97, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    ///     0, 80, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0, // TCP
    /// ];
    /// frame.extend(b"HTTP/1.1 200 OK\r\ntext/plain: Content-type\r\nServer: x\r\n\r\n");
    /// let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
    /// let lines: Vec<_> = packet.http().unwrap().header_lines().collect();
    /// assert_eq!((lines[0].offset, lines[0].name), (57, &b"text/plain"[..]));
    /// assert_eq!(lines[0].fault, Some(HeaderFault::NameByte(b'/')));
    /// assert_eq!(lines[0].fault.unwrap().to_string(), "'/' in the name");
    /// assert_eq!(lines[1].fault, None);
    /// ```
    pub fn header_lines(&self) -> impl Iterator<Item = HeaderLine<'a>> + use<'a> {
        let mut at = self.first_line_end();
        let (bytes, start) = (self.bytes, self.span.start as usize);
        core::iter::from_fn(move || {
            let rest = bytes.get(at..)?;
            // A line that was cut might be whole on the wire.
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = without_cr(&rest[..end]);
            if line.is_empty() {
                return None;
            }
            let offset = start + at;
            at += end + 1;
            Some(header_line(line, offset))
        })
    }

    /// Names and values of header lines, as far as they are whole in this
    /// segment, the value without the spaces around it. Illegal lines are in it
    /// as far as they have a name.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.header_lines()
            .filter(|line| {
                !matches!(
                    line.fault,
                    Some(HeaderFault::NoColon | HeaderFault::Folded | HeaderFault::EmptyName)
                )
            })
            .map(|line| (line.name.trim_ascii_end(), line.value))
    }

    /// The first header line that is illegal.
    pub fn fault(&self) -> Option<HeaderLine<'a>> {
        self.header_lines().find(|line| line.fault.is_some())
    }

    /// Whether the empty line that ends the head is in this segment.
    pub fn head_is_whole(&self) -> bool {
        let head = self
            .header_lines()
            .last()
            .map_or(self.first_line_end(), |line| {
                line.offset - self.span.start as usize + line.line.len()
            });
        let mut rest = self.bytes.get(head..).unwrap_or(&[]);
        if head > self.first_line_end() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            rest = end.map_or(&[], |end| &rest[end + 1..]);
        }
        rest.starts_with(b"\r\n") || rest.starts_with(b"\n")
    }

    /// The captured bytes of the segment's data.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes: the whole segment counts as the message.
    pub fn header_len(&self) -> usize {
        self.bytes.len()
    }

    fn first_line_end(&self) -> usize {
        let end = self.bytes.iter().position(|byte| *byte == b'\n');
        end.map_or(self.bytes.len(), |end| end + 1)
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn header_line(line: &[u8], offset: usize) -> HeaderLine<'_> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = match colon {
        Some(colon) => (&line[..colon], line[colon + 1..].trim_ascii()),
        None => (line, &[][..]),
    };
    HeaderLine {
        offset,
        line,
        name,
        value,
        fault: header_fault(line, name, value, colon.is_some()),
    }
}

fn header_fault(line: &[u8], name: &[u8], value: &[u8], has_colon: bool) -> Option<HeaderFault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some(HeaderFault::Folded);
    }
    if !has_colon {
        return Some(HeaderFault::NoColon);
    }
    if name.is_empty() {
        return Some(HeaderFault::EmptyName);
    }
    let bare = name.trim_ascii_end();
    if let Some(byte) = bare.iter().find(|byte| !is_token(**byte)) {
        return Some(HeaderFault::NameByte(*byte));
    }
    if bare.len() < name.len() {
        return Some(HeaderFault::SpaceBeforeColon);
    }
    value
        .iter()
        .find(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
        .map(|byte| HeaderFault::ValueByte(*byte))
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a segment's data begin with the first line of a request or answer.
#[inline]
pub(crate) fn fits(payload: &[u8]) -> bool {
    match payload.first() {
        Some(b'H') if payload.starts_with(b"HTTP/1.") => true,
        Some(b'A'..=b'Z') => {
            if METHODS.iter().any(|method| payload.starts_with(method)) {
                line_is_request(payload).unwrap_or(true)
            } else {
                has_other_method(payload) && line_is_request(payload) == Some(true)
            }
        }
        _ => false,
    }
}

/// Letters of the shortest method (GET, PUT, ACL).
const MIN_METHOD: usize = 3;

/// A method of WebDAV or of somebody's own: only a whole line proves it.
fn has_other_method(payload: &[u8]) -> bool {
    let word = &payload[..payload.len().min(MAX_METHOD + 1)];
    let end = word
        .iter()
        .position(|byte| !matches!(byte, b'A'..=b'Z' | b'-' | b'_'));
    // A shorter one is rather the end of one that began in another segment.
    end.is_some_and(|end| end >= MIN_METHOD && word[end] == b' ')
}

/// Whether the line ends in a version; `None` where its end was not captured.
fn line_is_request(payload: &[u8]) -> Option<bool> {
    let line = &payload[..payload.len().min(MAX_LINE)];
    let end = line.iter().position(|byte| *byte == b'\n')?;
    let line = without_cr(&line[..end]);
    Some(line.len() > 9 && line[..line.len() - 1].ends_with(b" HTTP/1."))
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let bytes = cursor.rest();
    cursor.push(
        Layer::Http(Http {
            bytes,
            span: cursor.span(),
        }),
        bytes.len(),
        Next::Done,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(bytes: &[u8]) -> Http<'_> {
        let end = bytes.len() as u32 + 40;
        Http {
            bytes,
            span: Span { start: 40, end },
        }
    }

    #[test]
    fn each_illegal_line_is_told_with_its_place() {
        let text = b"GET /a b HTTP/1.1\r\nHost : x\r\nbare\r\n: y\r\nA: b\x01c\r\n fold\r\n\
                     text/plain: Content-type\r\nX-\x80: 1\r\nOk: \xff\tz\r\n\r\nbody: x\r\n";
        let view = http(text);
        let faults: Vec<_> = view
            .header_lines()
            .filter_map(|line| Some((line.offset - 40, line.fault?)))
            .collect();
        let at = |line: &[u8]| text.windows(line.len()).position(|w| w == line).unwrap();
        assert_eq!(
            faults,
            [
                (at(b"Host"), HeaderFault::SpaceBeforeColon),
                (at(b"bare"), HeaderFault::NoColon),
                (at(b": y"), HeaderFault::EmptyName),
                (at(b"A: b"), HeaderFault::ValueByte(1)),
                (at(b" fold"), HeaderFault::Folded),
                (at(b"text/"), HeaderFault::NameByte(b'/')),
                (at(b"X-"), HeaderFault::NameByte(0x80)),
            ]
        );
        assert_eq!(view.fault().unwrap().line, b"Host : x");
        assert_eq!(view.target(), Some(&b"/a b"[..]));
        assert_eq!((view.method(), view.status()), (Some(&b"GET"[..]), None));
        assert!(view.head_is_whole());
        let names: Vec<_> = view.headers().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"Host"[..], b"A", b"text/plain", b"X-\x80", b"Ok"]);
    }

    #[test]
    fn a_head_that_goes_on_is_not_judged_before_its_end() {
        let view = http(b"HTTP/1.1 200 OK\r\nA: b\r\nbare");
        assert_eq!((view.fault(), view.head_is_whole()), (None, false));
        assert_eq!(view.status(), Some(200));
        assert!(!http(b"HTTP/1.1 200 OK\r\nA: b\r\n").head_is_whole());
        assert!(!http(b"HTTP/1.1 200").head_is_whole());
        assert!(http(b"HTTP/1.1 200 OK\n\n").head_is_whole());
        assert_eq!(http(b"HTTP/1.1 OK\n\n").status(), None);
    }

    #[test]
    fn other_methods_need_a_whole_line() {
        for (text, is_http) in [
            (&b"PROPFIND /x HTTP/1.1\r\n"[..], true),
            (b"PROPFIND /x HTT", false),
            (b"GET /x HTT", true),
            (b"EHLO mail.example\r\n", false),
            (b"GET me a beer\r\n", false),
            (b"M-SEARCH * HTTP/1.1\r\n", true),
            (b"HTTP/1.0 200 OK\r\n", true),
            (b"HTTP/2 200\r\n", false),
            (b"A", false),
        ] {
            assert_eq!(fits(text), is_http, "{}", text.escape_ascii());
        }
    }
}
