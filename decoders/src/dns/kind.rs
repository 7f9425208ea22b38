//! Names of record types that hickory-proto knows by number alone.
//! <https://www.iana.org/assignments/dns-parameters>

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use hickory_proto::rr::RecordType;

/// `A`, `AAAA`, …; `TYPE65280` where there is no name (RFC 3597).
pub(super) fn name(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(number) => match registered(number) {
            Some(name) => name.to_owned(),
            None => format!("TYPE{number}"),
        },
        known => known.to_string(),
    }
}

fn registered(number: u16) -> Option<&'static str> {
    Some(match number {
        3 => "MD",
        4 => "MF",
        7 => "MB",
        8 => "MG",
        9 => "MR",
        11 => "WKS",
        14 => "MINFO",
        17 => "RP",
        18 => "AFSDB",
        19 => "X25",
        20 => "ISDN",
        21 => "RT",
        22 => "NSAP",
        23 => "NSAP-PTR",
        26 => "PX",
        27 => "GPOS",
        29 => "LOC",
        30 => "NXT",
        31 => "EID",
        32 => "NIMLOC",
        34 => "ATMA",
        36 => "KX",
        38 => "A6",
        40 => "SINK",
        42 => "APL",
        45 => "IPSECKEY",
        49 => "DHCID",
        55 => "HIP",
        57 => "RKEY",
        58 => "TALINK",
        63 => "ZONEMD",
        99 => "SPF",
        100 => "UINFO",
        101 => "UID",
        102 => "GID",
        103 => "UNSPEC",
        104 => "NID",
        105 => "L32",
        106 => "L64",
        107 => "LP",
        108 => "EUI48",
        109 => "EUI64",
        249 => "TKEY",
        253 => "MAILB",
        254 => "MAILA",
        256 => "URI",
        32768 => "TA",
        32769 => "DLV",
        65281 => "WINS",
        65282 => "WINS-R",
        _ => return None,
    })
}
