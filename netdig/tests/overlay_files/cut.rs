//! Frames that the capture cut: where netdig and tshark differ by choice.

use super::facts::Facts;
use serde_json::Value;

const EARLY: &str = "each number of a cut header is told that is there";
const NEXT: &str = "what the last whole header announces is named where the capture ends";
const SHAPE: &str = "what a port alone suggests is not named before its shape is there";
const HEAD: &str = "the first line of a message is told though the capture cut its head";
const OPTION: &str = "an option of TCP is told when all of it is there";
const WHOLE: &str = "of routes, authentication and stacks of labels all or nothing is told";
const TUNNEL: &str = "a tunnel is told though nothing of what it carries is there";
const ICMP: &str = "of a cut ICMP message type and code are told, and no quoted packet";

/// Whether the capture ends before the frame does.
pub fn is_cut(packet: &Value) -> bool {
    packet["caplen"].as_u64() < packet["len"].as_u64()
}

/// The layer in whose header the capture ends, where netdig tells nothing of it.
pub fn header(packet: &Value) -> Option<&str> {
    let layer = packet.pointer("/stop/layer").and_then(Value::as_str)?;
    let by_the_capture = packet.pointer("/stop/length_from")? == "capture";
    let told = packet["layers"].as_array()?.last();
    let told = told.is_some_and(|last| last == layer);
    (by_the_capture && !told).then_some(layer)
}

/// Takes out of both what netdig is right to tell otherwise.
pub fn excuse(
    packet: &Value,
    ours: &mut Facts,
    theirs: &mut Facts,
    excused: &mut impl FnMut(&'static str),
) {
    let mut rule = |applies: bool, reason| {
        if applies {
            excused(reason);
        }
    };
    for (begin, later, early) in [
        ("tcp.sport", "tcp.flags", &["tcp.seq_raw", "tcp.ack_raw"]),
        ("icmp.type", "icmp.type", &["icmp.type", "icmp.code"]),
    ] {
        let begun = ours.contains_key(begin) && !theirs.contains_key(later);
        rule(begun && without(ours, theirs, early), EARLY);
    }
    rule(without(theirs, ours, &["tcp.tsval"]), OPTION);
    let icmp = [
        "icmp.id",
        "icmp.mtu",
        "icmp.quoted.src",
        "icmp.quoted.dst",
        "icmp.quoted.proto",
    ];
    rule(without(theirs, ours, &icmp), ICMP);
    let beyond = [
        "routing.type",
        "routing.left",
        "routing.segments",
        "ah.spi",
        "ah.seq",
        "mpls",
    ];
    rule(without(theirs, ours, &beyond), WHOLE);
    rule(without(ours, theirs, &["outer.src", "outer.dst"]), TUNNEL);
    let chains = [&*ours, &*theirs].map(|facts| facts.get("layers").cloned().unwrap_or_default());
    let [mine, other] = &chains;
    if let Some(named) = header(packet)
        && mine
            .strip_suffix(named)
            .map(|before| before.trim_end_matches(':'))
            == Some(other)
    {
        ours.insert("layers", other.clone());
        rule(true, NEXT);
    }
    let ends_with = |names: &[&str]| names.iter().any(|name| mine.ends_with(name));
    if ends_with(&["udp", "tcp", "mpls"]) && other.starts_with(&format!("{mine}:")) {
        // What is shown within is of a cut header, or of none.
        for field in ours.keys() {
            theirs.insert(field, ours[field].clone());
        }
        theirs.retain(|field, _| ours.contains_key(field));
        rule(true, SHAPE);
    }
    if mine.strip_suffix(":http") == Some(other.as_str()) {
        ours.insert("layers", other.clone());
        without(ours, theirs, &["http.method", "http.status"]);
        rule(true, HEAD);
    }
    rule(without(ours, theirs, &["tls.server_name"]), HEAD);
    let stopped = packet.pointer("/stop/layer").and_then(Value::as_str);
    if stopped == Some("vlan") && *other == format!("{mine}:vlan") {
        theirs.insert("layers", mine.clone());
        rule(true, NEXT);
    }
}

/// Takes out of the one what the other has not of these fields; whether any.
fn without(of: &mut Facts, other: &Facts, fields: &[&str]) -> bool {
    let before = of.len();
    of.retain(|field, _| !fields.contains(field) || other.contains_key(field));
    of.len() < before
}
