//! Payloads shown as text, as hexadecimal, or both, as tcpdump lays them out.

/// What to show of a payload (`-A`, `-x`, `-X`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    #[default]
    None,
    Text,
    Hex,
    Both,
}

const PER_LINE: usize = 16;
/// Header lines whose values are credentials.
const SECRET_HEADERS: [&[u8]; 4] = [
    b"authorization:",
    b"proxy-authorization:",
    b"cookie:",
    b"set-cookie:",
];
/// Ends of names, in forms, JSON and headers, whose values are credentials.
const SECRET_KEYS: [&[u8]; 7] = [
    b"password",
    b"passwd",
    b"token",
    b"secret",
    b"api-key",
    b"api_key",
    b"apikey",
];

/// Appends the bytes of one packet; credentials are shown as asterisks unless
/// `show_secrets`.
pub fn write(out: &mut Vec<u8>, data: &[u8], payload: Payload, show_secrets: bool) {
    if payload == Payload::None || data.is_empty() {
        return;
    }
    let masked;
    let data = if show_secrets {
        data
    } else {
        masked = mask(data);
        &masked
    };
    match payload {
        Payload::None => {}
        Payload::Text => write_text(out, data),
        Payload::Hex => write_hex(out, data, false),
        Payload::Both => write_hex(out, data, true),
    }
}

fn write_text(out: &mut Vec<u8>, data: &[u8]) {
    for &byte in data {
        match byte {
            b'\n' | b'\t' | b' '..=b'~' => out.push(byte),
            b'\r' => {}
            _ => out.push(b'.'),
        }
    }
    if out.last() != Some(&b'\n') {
        out.push(b'\n');
    }
}

fn write_hex(out: &mut Vec<u8>, data: &[u8], text: bool) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (line, bytes) in data.chunks(PER_LINE).enumerate() {
        out.extend_from_slice(format!("\t0x{:04x}: ", line * PER_LINE).as_bytes());
        let start = out.len();
        for (index, &byte) in bytes.iter().enumerate() {
            if index % 2 == 0 {
                out.push(b' ');
            }
            out.extend([
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
        if text {
            out.resize(start + PER_LINE / 2 * 5 + 2, b' ');
            out.extend(
                bytes
                    .iter()
                    .map(|&b| if (b' '..=b'~').contains(&b) { b } else { b'.' }),
            );
        }
        out.push(b'\n');
    }
}

/// A copy in which the values of credentials are asterisks.
pub(super) fn mask(data: &[u8]) -> Vec<u8> {
    let mut copy = data.to_vec();
    let lower = data.to_ascii_lowercase();
    for key in SECRET_HEADERS {
        hide(&mut copy, &lower, key, |after| {
            let spaces = count(after, |byte| byte == b' ');
            let value = count(&after[spaces..], |byte| !matches!(byte, b'\r' | b'\n'));
            Some((spaces, value))
        });
    }
    for key in SECRET_KEYS {
        hide(&mut copy, &lower, key, value_after_name);
    }
    copy
}

/// Where a value lies behind its name, and how long it is: `=v`, `: v`,
/// `" : "v"`.
fn value_after_name(after: &[u8]) -> Option<(usize, usize)> {
    let mut at = usize::from(after.first() == Some(&b'"'));
    at += count(&after[at..], |byte| byte == b' ');
    if !matches!(after.get(at), Some(b'=' | b':')) {
        return None;
    }
    at += 1 + count(&after[at + 1..], |byte| byte == b' ');
    let quoted = after.get(at) == Some(&b'"');
    at += usize::from(quoted);
    let rest = &after[at..];
    let len = match quoted {
        true => quoted_len(rest),
        false => count(rest, |b| {
            !b.is_ascii_whitespace() && !matches!(b, b'&' | b',' | b'}')
        }),
    };
    Some((at, len))
}

/// Bytes up to the quote that ends a JSON string; all where none does.
fn quoted_len(bytes: &[u8]) -> usize {
    let mut escaped = false;
    count(bytes, |byte| {
        let goes_on = escaped || byte != b'"';
        escaped = !escaped && byte == b'\\';
        goes_on
    })
}

/// Bytes at the beginning for which that holds.
fn count(bytes: &[u8], mut holds: impl FnMut(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| holds(**byte)).count()
}

/// Overwrites what `value` finds behind each `key`: the bytes before it and its
/// length.
fn hide(
    copy: &mut [u8],
    lower: &[u8],
    key: &[u8],
    value: impl Fn(&[u8]) -> Option<(usize, usize)>,
) {
    let mut from = 0;
    while let Some(at) = lower[from..]
        .windows(key.len())
        .position(|window| window == key)
    {
        from += at + key.len();
        if let Some((before, len)) = value(&lower[from..]) {
            copy[from + before..from + before + len].fill(b'*');
            from += before + len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data: &[u8], payload: Payload, secrets: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, data, payload, secrets);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hexadecimal_and_text_stand_as_in_tcpdump() {
        let text = shown(b"E\0\0<GET / HTTP/1.1\r\n", Payload::Both, false);
        assert_eq!(
            text,
            "\t0x0000:  4500 003c 4745 5420 2f20 4854 5450 2f31  E..<GET./.HTTP/1\n\
             \t0x0010:  2e31 0d0a                                .1..\n"
                .replace("GET./.HTTP", "GET / HTTP")
        );
        assert_eq!(shown(b"ab", Payload::Hex, false), "\t0x0000:  6162\n");
    }

    #[test]
    fn text_cannot_command_a_terminal() {
        assert_eq!(
            shown(b"a\x1b[31m\x9bb\r\n", Payload::Text, false),
            "a.[31m.b\n"
        );
    }

    #[test]
    fn credentials_are_masked_unless_asked_for() {
        let request =
            b"PUT /v2 HTTP/1.1\r\nAuthorization: Basic cm9vdDp4\r\n\r\nuser=a&password=b&c=d";
        let masked = shown(request, Payload::Text, false);
        assert!(
            masked.contains("Authorization: **************\n"),
            "{masked}"
        );
        assert!(masked.ends_with("user=a&password=*&c=d\n"), "{masked}");
        assert!(shown(request, Payload::Text, true).contains("Basic cm9vdDp4"));
        let masked = |data: &[u8]| shown(data, Payload::Text, false);
        assert_eq!(
            masked(br#"{"password" : "a\"b,c"}"#),
            "{\"password\" : \"******\"}\n"
        );
        assert_eq!(
            masked(b"X-Auth-Token: abc\r\nA: b"),
            "X-Auth-Token: ***\nA: b\n"
        );
        assert_eq!(
            masked(b"tokens: 7, the password is"),
            "tokens: 7, the password is\n"
        );
        shown(b"password=", Payload::Text, false);
        shown(b"Cookie:   ", Payload::Text, false);
    }
}
