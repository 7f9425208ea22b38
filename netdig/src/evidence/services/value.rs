//! What a value means to who connects to it.
//!
//! [`of_server`] takes a value as haproxy 2.6 takes the address of a `server` line; a test
//! compares the two over a list (tests/haproxy_values.rs).
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value as Json;

use super::{Host, Target};
use crate::context::registry::Value;

/// How much of a value is kept for people.
const LONGEST_SHOWN: usize = 200;
/// Words that a template, a script or a program writes where it has no value.
const NOTHING: [&str; 10] = [
    "null",
    "nil",
    "none",
    "undefined",
    "nan",
    "<nil>",
    "<none>",
    "<null>",
    "<no value>",
    "<no-value>",
];
/// What may follow an address on a `server` line; the rest is refused as `unknown keyword`.
const OPTIONS: [&str; 24] = [
    "agent-check",
    "backup",
    "check",
    "check-ssl",
    "cookie",
    "disabled",
    "downinter",
    "enabled",
    "fall",
    "fastinter",
    "init-addr",
    "inter",
    "maxconn",
    "maxqueue",
    "minconn",
    "no-check",
    "port",
    "proto",
    "resolvers",
    "rise",
    "send-proxy",
    "slowstart",
    "ssl",
    "weight",
];

/// A value as text: what is no UTF-8 is replaced, long ones are cut.
pub fn shown(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Bytes { .. } => {
            String::from_utf8_lossy(&value.bytes().unwrap_or_default()).into_owned()
        }
        Value::Cut { begins, .. } => begins.clone(),
    };
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Whether it is a word for nothing, with or without a port: ``, `null`, `<no value>:80`.
pub fn says_nothing(text: &str) -> bool {
    let text = text.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|one| one.is_ascii_digit()) => host,
        _ => &text,
    };
    host.is_empty() || NOTHING.contains(&host)
}

fn refused(why: impl Into<String>) -> Target {
    Target::Refused(why.into())
}

/// A value that a template writes into a `server` line as it is.
pub fn of_server(value: &Value) -> Target {
    match value {
        Value::Text(text) => of_line(text),
        Value::Bytes { .. } => refused("it is no text"),
        Value::Cut { bytes, .. } => refused(format!("it is {bytes} bytes long")),
    }
}

fn of_line(text: &str) -> Target {
    if text.contains('\0') {
        return refused("a NUL byte in it");
    }
    let text = text.trim_end();
    if text.contains('\n') {
        return refused("it is more than one line");
    }
    let words = match words(text) {
        Some(words) => words,
        None => return refused("a quote in it is not closed"),
    };
    let Some(address) = words.first().filter(|word| !word.is_empty()) else {
        return refused("there is nothing");
    };
    if let Some(second) = words.get(1)
        && !OPTIONS.contains(&second.as_str())
    {
        if says_nothing(text) {
            return refused("it says that there is no value");
        }
        return refused(format!("`{second}` behind the address is no option"));
    }
    of_address(address)
}

/// Words of a line as haproxy takes them apart; none where a quote is open.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') => break,
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The address of a `server` line, as `str2sa_range` of haproxy reads it.
fn of_address(text: &str) -> Target {
    let families = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"];
    let text = families
        .iter()
        .find_map(|family| text.strip_prefix(family))
        .unwrap_or(text);
    if is_path(text) {
        return Target::Upstream {
            host: Host::Name(text.to_owned()),
            port: None,
        };
    }
    for family in ["udp@", "udp4@", "udp6@", "fd@", "sockpair@"] {
        if text.starts_with(family) {
            return refused(format!("`{family}` is no address of a server"));
        }
    }
    if text.contains("://") {
        return refused("it is a URL, not an address with a port");
    }
    if text.starts_with(['{', '[']) && text.contains([',', '{']) {
        return refused("it is JSON, not an address with a port");
    }
    let (host, port) = split(text);
    let port = match port.map(port_of) {
        None => None,
        Some(Ok(port)) => port,
        Some(Err(why)) => return refused(why),
    };
    match host_of(host) {
        Err(why) => refused(why),
        // Where the server is checked there is no port to check; where it is not, it is the client's.
        Ok(Host::Address(_) | Host::Name(_)) if text.ends_with(':') => {
            refused("there is no port behind the colon")
        }
        Ok(host) => Target::Upstream { host, port },
    }
}

/// `unix@/run/app.sock`, `/run/app.sock`, `abns@app`: a socket of the host's.
pub fn is_path(text: &str) -> bool {
    ["unix@", "abns@", "/"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Host and port: at the last colon that is behind a closing bracket.
fn split(text: &str) -> (&str, Option<&str>) {
    let from = text.rfind(']').unwrap_or(0);
    match text[from..].rfind(':') {
        Some(at) => (&text[..from + at], Some(&text[from + at + 1..])),
        None => (text, None),
    }
}

/// A port; none where it is the client's, as 0 and `+100` say.
fn port_of(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() || text.starts_with(['+', '-']) {
        return Ok(None);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("`{text}` is no port"));
    }
    if rest.starts_with('-') {
        return Err(format!("`{text}` is more than one port"));
    }
    match number.parse() {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(format!("port {number} is above 65535")),
    }
}

fn host_of(text: &str) -> Result<Host, String> {
    let inner = text.strip_prefix('[').and_then(|one| one.strip_suffix(']'));
    let text = inner.unwrap_or(text);
    // A variable that its environment does not have is nothing to haproxy.
    if text.is_empty() || text.starts_with('$') {
        return Ok(Host::Blank);
    }
    if text == "*" {
        return Ok(Host::Any);
    }
    if let Some(address) = v4(text) {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if NOTHING.contains(&text.to_ascii_lowercase().as_str()) {
        return Err(format!("`{text}` says that there is no value"));
    }
    match is_name(text) {
        true => Ok(Host::Name(text.to_owned())),
        false => Err(format!("`{text}` is neither an address nor a name")),
    }
}

/// An IPv4 address in the forms of inet_aton(3), which getaddrinfo(3) takes: `10.9` is 10.0.0.9.
fn v4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, heads) = parts.split_last()?;
    let room = 32u32.checked_sub(8 * u32::try_from(heads.len()).ok()?)?;
    if heads.len() > 3 || heads.iter().any(|one| *one > 255) || u64::from(*last) >> room != 0 {
        return None;
    }
    let heads = heads.iter().zip([24, 16, 8]);
    let bits = heads.fold(*last, |bits, (one, shift)| bits | one << shift);
    Some(Ipv4Addr::from_bits(bits))
}

fn number(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// Whether a name can be one of a host: with a letter in it (RFC 1123), and `_` as containers have.
fn is_name(text: &str) -> bool {
    let sound = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    text.chars().all(sound)
        && text.len() <= 253
        && !text.starts_with(['-', '.'])
        && last.contains(char::is_alphabetic)
        && !text.contains("..")
}

/// A URL: its host, and its port or its scheme's.
pub fn of_url(text: &str) -> Option<Target> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let sound = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(sound) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let authority = authority.rsplit('@').next().unwrap_or("");
    let (host, port) = split(authority);
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" | "h2c" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    let port = match port.filter(|one| !one.is_empty()).map(port_of) {
        None => usual,
        Some(Ok(port)) => port,
        Some(Err(why)) => return Some(refused(why)),
    };
    Some(match host_of(host) {
        Ok(host) => Target::Upstream { host, port },
        Err(why) => refused(why),
    })
}

/// A JSON object with a host or a URL, in the spellings of those who write them; none where it
/// is another object, `{"text":…}` of SkyDNS among them.
pub fn of_json(text: &str) -> Option<Target> {
    let value: Json = serde_json::from_str(text.trim()).ok()?;
    let map = value.as_object()?;
    let field = |names: &[&str]| {
        let mut all = map.iter();
        let found = all.find(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()));
        found.map(|(_, value)| value)
    };
    if let Some(url) = field(&["url"]).and_then(Json::as_str) {
        return of_url(url);
    }
    let host = field(&["host", "address", "addr", "ip"])?;
    let port = field(&["port"]);
    let host = match host {
        Json::Null => "",
        Json::String(host) => host.trim(),
        _ => return None,
    };
    if host.is_empty() && port.is_none() {
        return None;
    }
    let port = match port {
        None | Some(Json::Null) => None,
        Some(Json::Number(number)) => match number.as_u64().map(u16::try_from) {
            Some(Ok(0)) => None,
            Some(Ok(port)) => Some(port),
            _ => return Some(refused(format!("port {number} is none"))),
        },
        Some(Json::String(text)) => match port_of(text) {
            Ok(port) => port,
            Err(why) => return Some(refused(why)),
        },
        Some(_) => return None,
    };
    // `address` often has the port too.
    let (host, port) = match (port, split(host)) {
        (None, (name, Some(port))) if host.parse::<IpAddr>().is_err() => {
            (name, port_of(port).ok().flatten())
        }
        _ => (host, port),
    };
    Some(match host_of(host) {
        Ok(host) => Target::Upstream { host, port },
        Err(why) => refused(why),
    })
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
