//! EDNS: RFC 6891; cookies: RFC 7873; client subnet: RFC 7871; extended errors:
//! RFC 8914.

use super::data::push_hex;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hickory_proto::rr::rdata::OPT;
use hickory_proto::rr::rdata::opt::EdnsOption as ProtoOption;
use hickory_proto::rr::{RData, Record, RecordType};

/// What a message's OPT record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edns {
    /// Largest UDP payload that the sender takes, bytes.
    pub udp_size: u16,
    pub version: u8,
    /// DO: the sender wants DNSSEC's records.
    pub dnssec_ok: bool,
    /// Upper eight of the response code's twelve bits.
    pub rcode_high: u8,
    pub options: Vec<EdnsOption>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdnsOption {
    pub code: u16,
    /// `COOKIE`, `ECS`, …; `OPT65001` where it has no name.
    pub name: String,
    /// Client subnet as `192.0.2.0/24`, an extended error as number and text,
    /// all others as hexadecimal digits.
    pub data: String,
}

pub(super) fn edns(record: &Record) -> Option<Edns> {
    // Without data it is one too, which hickory-proto has in another form.
    let options = match &record.data {
        RData::OPT(opt) => options(opt),
        _ if record.record_type() == RecordType::OPT => Vec::new(),
        _ => return None,
    };
    let [rcode_high, version, flags, _] = record.ttl.to_be_bytes();
    Some(Edns {
        udp_size: u16::from(record.dns_class),
        version,
        dnssec_ok: flags & 0x80 != 0,
        rcode_high,
        options,
    })
}

fn options(opt: &OPT) -> Vec<EdnsOption> {
    let options = opt.options.iter();
    options
        .map(|(code, option)| {
            let code = u16::from(*code);
            EdnsOption {
                code,
                name: name(code),
                data: data(code, option),
            }
        })
        .collect()
}

fn name(code: u16) -> String {
    match code {
        1 => "LLQ",
        2 => "UL",
        3 => "NSID",
        5 => "DAU",
        6 => "DHU",
        7 => "N3U",
        8 => "ECS",
        9 => "EXPIRE",
        10 => "COOKIE",
        11 => "TCP-KEEPALIVE",
        12 => "PADDING",
        13 => "CHAIN",
        14 => "KEY-TAG",
        15 => "EDE",
        other => return format!("OPT{other}"),
    }
    .to_owned()
}

fn data(code: u16, option: &ProtoOption) -> String {
    let mut text = String::new();
    match option {
        ProtoOption::Subnet(subnet) => {
            text = format!("{}/{}", subnet.addr(), subnet.source_prefix());
        }
        ProtoOption::Unknown(_, bytes) if code == 15 && bytes.len() >= 2 => {
            text = u16::from_be_bytes([bytes[0], bytes[1]]).to_string();
            if bytes.len() > 2 {
                text.push(' ');
                text += &String::from_utf8_lossy(&bytes[2..]);
            }
        }
        ProtoOption::Unknown(_, bytes) => push_hex(&mut text, bytes),
        ProtoOption::NSID(payload) => push_hex(&mut text, payload.as_ref()),
        _ => {}
    }
    text
}
