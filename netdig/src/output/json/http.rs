//! The object of an HTTP/1 message's head.

use serde::Serialize;

use crate::output::hexdump::mask;
use decoders::Packet;
use decoders::http::HeaderLine;

/// Header lines in one object; a hostile head could have thousands.
const MAX_LINES: usize = 100;

#[derive(Serialize)]
pub(super) struct Http {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    headers: Vec<Header>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    illegal: Vec<Illegal>,
    complete: bool,
}

#[derive(Serialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Illegal {
    offset: usize,
    line: String,
    reason: String,
}

/// Credentials are masked, as they are in the text.
pub(super) fn object(packet: &Packet<'_>) -> Option<Http> {
    let http = packet.http()?;
    let illegal = http.header_lines().filter_map(|line| {
        Some(Illegal {
            offset: line.offset,
            line: text(&mask_line(&line)),
            reason: line.fault?.to_string(),
        })
    });
    let headers = http.headers().map(|(name, value)| {
        let masked = mask(&[name, b": ", value].concat());
        Header {
            name: text(name),
            value: text(&masked[name.len() + 2..]),
        }
    });
    Some(Http {
        method: http.method().map(text),
        target: http.target().map(|target| text(&mask(target))),
        status: http.status(),
        headers: headers.take(MAX_LINES).collect(),
        illegal: illegal.take(MAX_LINES).collect(),
        complete: http.head_is_whole(),
    })
}

/// Where a line is not what it should be, a credential may stand on either side
/// of the colon, or none.
fn mask_line(line: &HeaderLine<'_>) -> Vec<u8> {
    const WORDS: [&[u8]; 2] = [b"authorization", b"cookie"];
    let lower = line.line.to_ascii_lowercase();
    let found = WORDS.iter().find_map(|word| {
        let at = lower.windows(word.len()).position(|bytes| bytes == *word)?;
        Some((at, at + word.len()))
    });
    match found {
        Some((from, to)) => {
            let stars = |bytes: &[u8]| vec![b'*'; bytes.len()];
            let (before, after) = (stars(&line.line[..from]), stars(&line.line[to..]));
            [&before, &line.line[from..to], &after].concat()
        }
        None => mask(line.line),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decoders::{LinkType, Ports, decode};

    #[test]
    fn illegal_lines_are_kept_and_credentials_are_not() {
        let mut frame = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1];
        frame.extend([10, 0, 0, 2, 0, 80, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 1]);
        frame.extend([0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        frame.extend(b"GET /a?token=abc HTTP/1.1\r\nCookie: abc\r\nAuthorization : abc\r\n");
        frame.extend(b"text/plain: Content-type\r\nabc: Cookie\r\n\r\n");
        let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
        let json = serde_json::to_string(&object(&packet)).unwrap();
        let illegal = r#""illegal":[{"offset":80,"line":"Authorization******","reason":"whitespace before the colon"},{"offset":101,"line":"text/plain: Content-type","reason":"'/' in the name"}],"complete":true}"#;
        assert!(json.ends_with(illegal), "{json}");
        assert!(
            json.contains(r#"{"name":"Cookie","value":"***"}"#),
            "{json}"
        );
        assert!(json.contains(r#""target":"/a?token=***""#), "{json}");
        assert!(
            json.contains(r#"{"name":"Authorization","value":"***"}"#),
            "{json}"
        );
    }
}
