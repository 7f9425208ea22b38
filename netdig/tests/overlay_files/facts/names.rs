//! What DNS and NetBIOS's name service say.

use super::{Facts, Node, number, numbers, plainly, put};
use serde_json::Value;

pub(super) fn our_record(record: &Value) -> String {
    let text = |key: &str| record.get(key).map(plainly).unwrap_or_default();
    let data = match text("type").as_str() {
        "A" | "AAAA" | "CNAME" | "NS" | "PTR" | "MX" | "SRV" | "SOA" => text("data"),
        // tshark shows it up to its first NUL.
        "TXT" => text("data")
            .split('\0')
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => String::new(),
    };
    let text = format!("{} {} {data};", text("name"), text("type"));
    text.chars().fold(String::new(), push_visible)
}

/// A character of others' text; one or several that nobody can read are one
/// mark, since each program has them in another way.
fn push_visible(mut text: String, character: char) -> String {
    let is_visible = character == ' ' || character.is_ascii_graphic();
    let shown = if is_visible { character } else { '?' };
    if shown != '?' || !text.ends_with('?') {
        text.push(shown);
    }
    text
}

/// tshark's `\004` and `\n` as the characters that they stand for, or a mark.
fn without_escapes(escaped: &str) -> String {
    let mut text = String::new();
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        let character = match (character, rest.clone().next()) {
            ('\\', Some('0'..='7')) => {
                rest.nth(2);
                '\0'
            }
            ('\\', Some(quoted)) => {
                rest.next();
                match quoted {
                    '\\' | '"' => quoted,
                    _ => '\0',
                }
            }
            _ => character,
        };
        text = push_visible(text, character);
    }
    text
}

pub(super) fn dns(facts: &mut Facts, dns: &Node) {
    numbers(
        facts,
        dns,
        &[("dns.id", "dns.id"), ("dns.rcode", "dns.flags.rcode")],
    );
    facts.entry("dns.rcode").or_insert_with(|| "0".to_owned());
    let response = dns.get("dns.flags.response").and_then(number);
    put(facts, "dns.qr", response.map(|bit| (bit == 1).to_string()));
    // A query's code is not shown.
    if response == Some(0) {
        facts.remove("dns.rcode");
    }
    let records = |section: &str, name: &str, kind: &str| {
        let records = dns
            .line(section)
            .map(|line| line.children.iter().collect::<Vec<_>>());
        let record = |node: &&Node| {
            let name = node.get(name).map_or_else(|| service(node), str::to_owned);
            let kind = node.get(kind).and_then(number).unwrap_or(0);
            let text = format!("{name} {} {};", kind_name(kind), record_data(kind, node));
            without_escapes(&text)
        };
        records
            .unwrap_or_default()
            .iter()
            .map(record)
            .collect::<String>()
    };
    numbers(facts, dns, &[("edns.udp_size", "dns.rr.udp_payload_size")]);
    facts.insert(
        "dns.queries",
        records("Queries", "dns.qry.name", "dns.qry.type"),
    );
    facts.insert(
        "dns.answers",
        records("Answers", "dns.resp.name", "dns.resp.type"),
    );
}

pub(super) fn nbns(facts: &mut Facts, nbns: &Node) {
    let fields = [("nbns.id", "nbns.id"), ("nbns.opcode", "nbns.flags.opcode")];
    numbers(facts, nbns, &fields);
    let response = nbns.get("nbns.flags.response").and_then(number);
    put(facts, "nbns.qr", response.map(|bit| (bit == 1).to_string()));
    let address = nbns.get("nbns.addr").map(str::to_owned);
    put(facts, "nbns.address", address);
}

/// tshark takes the names of services apart.
fn service(record: &Node) -> String {
    let parts = ["dns.srv.service", "dns.srv.proto", "dns.srv.name"];
    let parts: Vec<&str> = parts.iter().filter_map(|part| record.get(part)).collect();
    parts.join(".")
}

fn kind_name(number: u64) -> String {
    const NAMES: [(u64, &str); 41] = [
        (10, "NULL"),
        (11, "WKS"),
        (14, "MINFO"),
        (17, "RP"),
        (18, "AFSDB"),
        (29, "LOC"),
        (36, "KX"),
        (42, "APL"),
        (45, "IPSECKEY"),
        (249, "TKEY"),
        (256, "URI"),
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (12, "PTR"),
        (13, "HINFO"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (35, "NAPTR"),
        (41, "OPT"),
        (43, "DS"),
        (44, "SSHFP"),
        (46, "RRSIG"),
        (47, "NSEC"),
        (48, "DNSKEY"),
        (50, "NSEC3"),
        (51, "NSEC3PARAM"),
        (52, "TLSA"),
        (59, "CDS"),
        (60, "CDNSKEY"),
        (61, "OPENPGPKEY"),
        (64, "SVCB"),
        (65, "HTTPS"),
        (99, "SPF"),
        (250, "TSIG"),
        (251, "IXFR"),
        (252, "AXFR"),
        (255, "ANY"),
    ];
    match NAMES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => (*name).to_owned(),
        None if number == 257 => "CAA".to_owned(),
        None => format!("TYPE{number}"),
    }
}

fn record_data(kind: u64, node: &Node) -> String {
    let fields: &[&str] = match kind {
        1 => &["dns.a"],
        2 => &["dns.ns"],
        5 => &["dns.cname"],
        6 => &[
            "dns.soa.mname",
            "dns.soa.rname",
            "dns.soa.serial_number",
            "dns.soa.refresh_interval",
            "dns.soa.retry_interval",
            "dns.soa.expire_limit",
            "dns.soa.minimum_ttl",
        ],
        12 => &["dns.ptr.domain_name"],
        15 => &["dns.mx.preference", "dns.mx.mail_exchange"],
        16 => &["dns.txt"],
        28 => &["dns.aaaa"],
        33 => &[
            "dns.srv.priority",
            "dns.srv.weight",
            "dns.srv.port",
            "dns.srv.target",
        ],
        _ => &[],
    };
    let values = fields.iter().flat_map(|field| node.all(field));
    let values: Vec<&str> = values.map(|node| node.show.as_str()).collect();
    values.join(" ")
}
