//! Escaping that can be undone: any bytes become one line of UTF-8.

/// Appends `value` to `out` so that it is UTF-8 without control characters.
/// `spaces` escapes blanks too, for values that are separated by them; an empty
/// value is then written `\e`. Returns `false` when `limit` bytes were not
/// enough: then the value is cut at a character or escape.
pub fn escape_into(out: &mut Vec<u8>, value: &[u8], spaces: bool, limit: usize) -> bool {
    let plain = |b: &u8| (b' '..0x7f).contains(b) && *b != b'\\' && !(spaces && *b == b' ');
    if value.len() <= limit && value.iter().all(plain) {
        match (spaces, value) {
            (true, []) => out.extend_from_slice(b"\\e"),
            _ => out.extend_from_slice(value),
        }
        return true;
    }
    let end = out.len() + limit;
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            let before = out.len();
            escape_char(out, character, spaces);
            if out.len() > end {
                out.truncate(before);
                return false;
            }
        }
        for &byte in chunk.invalid() {
            if out.len() + 4 > end {
                return false;
            }
            escape_byte(out, byte);
        }
    }
    true
}

fn escape_char(out: &mut Vec<u8>, character: char, spaces: bool) {
    let mut utf8 = [0; 4];
    let bytes = character.encode_utf8(&mut utf8).as_bytes();
    match character {
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        ' ' if spaces => escape_byte(out, b' '),
        // Line and paragraph separators break lines in some viewers;
        // directional marks reorder them.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            bytes.iter().for_each(|&b| escape_byte(out, b))
        }
        other if other.is_control() => bytes.iter().for_each(|&b| escape_byte(out, b)),
        _ => out.extend_from_slice(bytes),
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[
        b'\\',
        b'x',
        HEX[usize::from(byte >> 4)],
        HEX[usize::from(byte & 15)],
    ]);
}

/// The bytes that [`escape_into`] was given. What is no escape stays as it is.
pub fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'e', after @ ..]) => {
                rest = after;
                continue;
            }
            (b'\\', [b'x', high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (*first, tail),
            },
            _ => (*first, tail),
        };
        out.push(byte);
        rest = after;
    }
    out
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(value: &[u8]) {
        for spaces in [false, true] {
            let mut out = Vec::new();
            assert!(escape_into(&mut out, value, spaces, 100_000));
            let text = std::str::from_utf8(&out).expect("escaped text is UTF-8");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(!(spaces && text.contains(' ')), "{text:?}");
            assert_eq!(unescape(&out), value);
        }
    }

    #[test]
    fn any_bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        round_trip(&all);
        round_trip(b"");
        round_trip(b"plain");
        round_trip(b"\\n\\x41\\e");
        round_trip("Grüße\u{202e}\u{85}\u{1b}[31m → \u{2028}".as_bytes());
        round_trip(b"\xe2\x82");
        for byte in 0..=255 {
            round_trip(&[byte]);
            round_trip(&[b'\\', byte, b'x']);
        }
    }

    #[test]
    fn a_cut_never_splits_an_escape() {
        for limit in 0..20 {
            let mut out = Vec::new();
            assert!(!escape_into(
                &mut out,
                "a\n\u{1b}ü\\\u{85}→zzzzzzzz".as_bytes(),
                false,
                limit
            ));
            assert!(out.len() <= limit);
            let text = std::str::from_utf8(&out).expect("UTF-8");
            let whole = "a\n\u{1b}ü\\\u{85}→zzzzzzzz".as_bytes();
            assert!(whole.starts_with(&unescape(text.as_bytes())), "{text:?}");
        }
    }
}
