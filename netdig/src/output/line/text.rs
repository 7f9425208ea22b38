//! Numbers, addresses and untrusted bytes, appended to a line.

use std::io::Write;
use std::net::IpAddr;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The numbers 00 to 99, two digits each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Appends a number in decimal.
///
/// ```
/// let mut out = Vec::new();
/// netdig::output::line::text::push_decimal(&mut out, 26_799);
/// assert_eq!(out, b"26799");
/// ```
#[inline]
pub fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    let [tens, ones] = PAIRS[number as usize];
    at -= 1;
    digits[at] = ones;
    if number >= 10 {
        at -= 1;
        digits[at] = tens;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the last `width` hexadecimal digits of a number, 16 at most.
pub fn push_hex(out: &mut Vec<u8>, number: u64, width: u32) {
    for digit in (0..width.min(16)).rev() {
        out.push(DIGITS[(number >> (digit * 4) & 0xf) as usize]);
    }
}

/// Appends an address: dotted, or as RFC 5952 says.
#[inline]
pub fn push_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut text = [b'.'; 16];
            let mut at = 0;
            for octet in address.octets() {
                let [tens, ones] = PAIRS[usize::from(octet % 100)];
                if octet >= 100 {
                    text[at] = b'0' + octet / 100;
                    at += 1;
                }
                if octet >= 10 {
                    text[at] = tens;
                    at += 1;
                }
                text[at] = ones;
                at += 1;
                if at < text.len() {
                    text[at] = b'.';
                }
                at += 1;
            }
            out.extend_from_slice(&text[..at - 1]);
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends a link-layer address of any length, with colons.
pub fn push_mac(out: &mut Vec<u8>, address: &[u8]) {
    for (at, byte) in address.iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        push_hex(out, u64::from(*byte), 2);
    }
}

/// Appends untrusted bytes: UTF-8 as it is, but control characters (C0, DEL,
/// C1), marks that turn or hide text, backslashes and what is not UTF-8 as
/// `\xNN`, a byte each.
///
/// ```
/// let mut out = Vec::new();
/// netdig::output::line::text::push_escaped(&mut out, b"caf\xc3\xa9 \x1b[31m\xff");
/// assert_eq!(String::from_utf8(out).unwrap(), r"café \x1b[31m\xff");
/// ```
pub fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\')
    {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let encoded = character.encode_utf8(&mut buffer).as_bytes();
            if is_harmless(character) {
                out.extend_from_slice(encoded);
            } else {
                encoded.iter().for_each(|byte| push_byte(out, *byte));
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| push_byte(out, *byte));
    }
}

/// Not a control character, nor one that makes a terminal show other text than
/// is there: line separators, and marks that are invisible or turn direction.
pub(in crate::output) fn is_harmless(character: char) -> bool {
    let misleads = matches!(character,
        '\\' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !misleads && !character.is_control()
}

fn push_byte(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\x");
    push_hex(out, u64::from(byte), 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_addresses_are_those_of_the_standard_library() {
        for number in (0..100_000).chain([u64::MAX, u64::MAX / 10, 1 << 40]) {
            assert_eq!(text(|out| push_decimal(out, number)), number.to_string());
        }
        for octet in 0..=255 {
            for address in [
                [octet, 0, 99, octet],
                [255, 255, 255, octet],
                [10, octet, 100, 1],
            ] {
                let address = IpAddr::from(address);
                assert_eq!(text(|out| push_ip(out, address)), address.to_string());
            }
        }
    }

    #[test]
    fn hostile_bytes_stay_visible() {
        let escaped = |bytes: &[u8]| text(|out| push_escaped(out, bytes));
        assert_eq!(escaped(b"a\0b\r\n\x7f"), r"a\x00b\x0d\x0a\x7f");
        assert_eq!(escaped("\u{9b}31m".as_bytes()), r"\xc2\x9b31m");
        assert_eq!(escaped(b"\x9b31m\xe2\x82"), r"\x9b31m\xe2\x82");
        assert_eq!(escaped("\u{202e}gnp".as_bytes()), r"\xe2\x80\xaegnp");
        assert_eq!(escaped(br"\x1b"), r"\x5cx1b");
        assert_eq!(escaped("grüße".as_bytes()), "grüße");
    }
}
