//! What a record says, as zone files write it: RFC 1035, section 5.1; RFC 4034
//! for DNSSEC, RFC 9460 for SVCB and HTTPS.

use super::{kind, name_bytes};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hickory_proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_proto::rr::rdata::{CAA, NAPTR, SOA, TLSA};
use hickory_proto::rr::{Name, RData, RecordType};

pub(super) fn record_data(data: &RData) -> Vec<u8> {
    match data {
        RData::A(address) => address.to_string().into_bytes(),
        RData::AAAA(address) => address.to_string().into_bytes(),
        RData::CNAME(name) => name_bytes(&name.0),
        RData::NS(name) => name_bytes(&name.0),
        RData::PTR(name) => name_bytes(&name.0),
        RData::ANAME(name) => name_bytes(&name.0),
        RData::MX(mx) => before_name(&[mx.preference], &mx.exchange),
        RData::SRV(srv) => before_name(&[srv.priority, srv.weight, srv.port], &srv.target),
        RData::SOA(record) => soa(record),
        RData::TXT(txt) => txt.txt_data.join(&b' '),
        RData::HINFO(hinfo) => [&*hinfo.cpu, &*hinfo.os].join(&b' '),
        RData::HTTPS(https) => service(&https.0),
        RData::SVCB(svcb) => service(svcb),
        RData::CAA(record) => caa(record),
        RData::NAPTR(record) => naptr(record),
        RData::TLSA(record) => tlsa(record),
        RData::Unknown { code, rdata } => {
            dnssec(*code, &rdata.anything).unwrap_or_else(|| unknown(&rdata.anything))
        }
        RData::NULL(null) => unknown(&null.anything),
        RData::OPT(_) | RData::Update0(_) => Vec::new(),
        other => other.to_string().into_bytes(),
    }
}

/// Words before a name, then the name.
fn before_name(words: &[u16], name: &Name) -> Vec<u8> {
    let mut text = String::new();
    for word in words {
        // Writing to a String does not fail; so below.
        let _ = write!(text, "{word} ");
    }
    let mut bytes = text.into_bytes();
    bytes.extend(name_bytes(name));
    bytes
}

/// A name as one word of several.
fn word(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    for byte in name_bytes(name) {
        match byte {
            b' ' => bytes.extend(b"\\032"),
            byte => bytes.push(byte),
        }
    }
    bytes
}

/// Primary server, mailbox, and the five numbers.
fn soa(soa: &SOA) -> Vec<u8> {
    let numbers = format!(
        "{} {} {} {} {}",
        soa.serial, soa.refresh as u32, soa.retry as u32, soa.expire as u32, soa.minimum
    );
    [word(&soa.mname), word(&soa.rname), numbers.into_bytes()].join(&b' ')
}

fn caa(caa: &CAA) -> Vec<u8> {
    let mut bytes = format!("{} {} \"", caa.flags(), caa.tag).into_bytes();
    bytes.extend_from_slice(&caa.value);
    bytes.push(b'"');
    bytes
}

fn naptr(naptr: &NAPTR) -> Vec<u8> {
    let mut bytes = format!("{} {}", naptr.order, naptr.preference).into_bytes();
    for text in [&naptr.flags, &naptr.services, &naptr.regexp] {
        bytes.extend_from_slice(b" \"");
        bytes.extend_from_slice(text);
        bytes.push(b'"');
    }
    bytes.push(b' ');
    bytes.extend(name_bytes(&naptr.replacement));
    bytes
}

fn tlsa(tlsa: &TLSA) -> Vec<u8> {
    let numbers = (
        u8::from(tlsa.cert_usage),
        u8::from(tlsa.selector),
        u8::from(tlsa.matching),
    );
    let mut text = format!("{} {} {} ", numbers.0, numbers.1, numbers.2);
    push_hex(&mut text, &tlsa.cert_data);
    text.into_bytes()
}

/// `1 svc.example alpn=h2,h3 port=8443 ipv4hint=192.0.2.1`.
fn service(svcb: &SVCB) -> Vec<u8> {
    let mut bytes = before_name(&[svcb.svc_priority], &svcb.target_name);
    for (key, value) in &svcb.svc_params {
        let name = match u16::from(*key) {
            0 => "mandatory".to_owned(),
            1 => "alpn".to_owned(),
            2 => "no-default-alpn".to_owned(),
            3 => "port".to_owned(),
            4 => "ipv4hint".to_owned(),
            5 => "ech".to_owned(),
            6 => "ipv6hint".to_owned(),
            number => format!("key{number}"),
        };
        bytes.push(b' ');
        bytes.extend(name.into_bytes());
        let text = parameter(value);
        if !text.is_empty() {
            bytes.push(b'=');
            bytes.extend(text.into_bytes());
        }
    }
    bytes
}

fn parameter(value: &SvcParamValue) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        SvcParamValue::Alpn(alpn) => alpn.0.join(","),
        SvcParamValue::NoDefaultAlpn => String::new(),
        SvcParamValue::Port(port) => port.to_string(),
        SvcParamValue::Ipv4Hint(hint) => list(hint.0.iter().map(|a| a.to_string()).collect()),
        SvcParamValue::Ipv6Hint(hint) => list(hint.0.iter().map(|a| a.to_string()).collect()),
        SvcParamValue::Mandatory(keys) => list(keys.0.iter().map(|key| key.to_string()).collect()),
        SvcParamValue::EchConfigList(bytes) => base64(&bytes.0),
        SvcParamValue::Unknown(bytes) => {
            let mut text = String::new();
            push_hex(&mut text, &bytes.0);
            text
        }
    }
}

/// DS, RRSIG, NSEC and DNSKEY; `None` where the data are none.
fn dnssec(kind: RecordType, data: &[u8]) -> Option<Vec<u8>> {
    let short = |at: usize| Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]));
    let long = |at: usize| Some(u32::from(short(at)?) << 16 | u32::from(short(at + 2)?));
    let mut text = String::new();
    match kind {
        RecordType::DS | RecordType::CDS => {
            let _ = write!(text, "{} {} {} ", short(0)?, data.get(2)?, data.get(3)?);
            push_hex(&mut text, &data[4..]);
        }
        RecordType::DNSKEY | RecordType::CDNSKEY => {
            let _ = write!(text, "{} {} {} ", short(0)?, data.get(2)?, data.get(3)?);
            text += &base64(&data[4..]);
        }
        RecordType::RRSIG => {
            let covered = kind::name(RecordType::from(short(0)?));
            let (algorithm, labels) = (data.get(2)?, data.get(3)?);
            let (ttl, expiration, inception) = (long(4)?, long(8)?, long(12)?);
            let _ = write!(
                text,
                "{covered} {algorithm} {labels} {ttl} {expiration} {inception} {} ",
                short(16)?
            );
            let (signer, signature) = split_name(data.get(18..)?)?;
            let signature = base64(signature);
            return Some([text.as_bytes(), &signer, b" ", signature.as_bytes()].concat());
        }
        RecordType::NSEC => {
            let (mut bytes, maps) = split_name(data)?;
            bytes.extend(types(maps)?.into_bytes());
            return Some(bytes);
        }
        _ => return None,
    }
    Some(text.into_bytes())
}

/// An uncompressed name, as all in DNSSEC's records, and what follows it.
fn split_name(mut data: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    loop {
        let (&len, rest) = data.split_first()?;
        match len {
            0 => {
                if name.is_empty() {
                    name.extend(b"<Root>");
                }
                return Some((name, rest));
            }
            1..64 => {
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(rest.get(..usize::from(len))?);
                data = &rest[usize::from(len)..];
            }
            _ => return None,
        }
    }
}

/// The bitmaps of NSEC: ` A AAAA RRSIG`.
fn types(mut maps: &[u8]) -> Option<String> {
    let mut text = String::new();
    while let [window, len, rest @ ..] = maps {
        let map = rest.get(..usize::from(*len))?;
        for (at, byte) in map.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                let number = u16::from(*window) << 8 | (at * 8 + bit) as u16;
                text.push(' ');
                text += &kind::name(RecordType::from(number));
            }
        }
        maps = &rest[usize::from(*len)..];
    }
    maps.is_empty().then_some(text)
}

/// RFC 3597, section 5.
pub(super) fn unknown(data: &[u8]) -> Vec<u8> {
    let mut text = format!("\\# {}", data.len());
    if !data.is_empty() {
        text.push(' ');
        push_hex(&mut text, data);
    }
    text.into_bytes()
}

pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit > chunk.len() {
                text.push('=');
            } else {
                let at = bits >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[at as usize]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_it_should() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn dnssec_records_in_words() {
        let text = |kind, data: &[u8]| String::from_utf8(dnssec(kind, data).unwrap()).unwrap();
        assert_eq!(
            text(RecordType::DS, b"\x12\x34\x08\x02\xab\xcd"),
            "4660 8 2 abcd"
        );
        assert_eq!(
            text(RecordType::DNSKEY, b"\x01\x01\x03\x08foo"),
            "257 3 8 Zm9v"
        );
        assert_eq!(
            text(RecordType::NSEC, b"\x01b\x01c\0\0\x06\x40\0\0\x08\0\x03"),
            "b.c A AAAA RRSIG NSEC"
        );
        let signature = b"\0\x01\x08\x02\0\0\0\x3c\0\0\0\x02\0\0\0\x01\0\x07\x01x\0foo";
        assert_eq!(text(RecordType::RRSIG, signature), "A 8 2 60 2 1 7 x Zm9v");
        for len in 0..signature.len() - 3 {
            assert_eq!(dnssec(RecordType::RRSIG, &signature[..len]), None, "{len}");
        }
        assert_eq!(dnssec(RecordType::NSEC, b"\0\0\x06\x40"), None);
        assert_eq!(unknown(b"\x01\xff"), b"\\# 2 01ff");
    }
}
