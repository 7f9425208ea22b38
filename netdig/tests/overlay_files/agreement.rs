//! netdig's packets against tshark's, field by field.

use super::cut;
use super::facts::{self, Facts};
use super::pdml::{Node, dissect, dissect_some, dissect_some_by_shape};
use super::program::{packets, packets_if_read};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// How far two readings of one file agree.
#[derive(Default)]
pub struct Agreement {
    pub frames: usize,
    pub frames_alike: usize,
    pub fields: usize,
    pub fields_alike: usize,
    /// One line a field that differs.
    pub different: Vec<String>,
    /// The first frame of each cause, with the frames that it has.
    pub causes: BTreeMap<String, (String, usize)>,
    /// Why netdig is right to differ, with the frames in which it does.
    pub excused: BTreeMap<&'static str, usize>,
}

const SENT_AGAIN: &str = "what a segment says that was sent again is told again";
const BY_SHAPE: &str =
    "TLS on another's port is known by its shape: asked for shapes first, tshark agrees";
const DECRYPTED: &str = "tshark decrypts with keys that it is given";
const BOGUS: &str = "all numbers of a TCP header are told though its length is too small";
const FIRST_FRAGMENT: &str = "a first fragment keeps its ports and what it holds beyond";

/// A field (`*` at its end: all that begin so) in which the two are known to differ, and why that is right.
pub struct Known {
    pub file: &'static str,
    pub frame: usize,
    pub field: &'static str,
    pub reason: &'static str,
}

/// Compares; `None` where there is no tshark.
pub fn compare(name: &str, file: &Path, known: &[Known]) -> Option<Agreement> {
    let packets = packets(file);
    let nodes = dissect(file)?;
    assert_eq!(packets.len(), nodes.len(), "frames of {name}");
    let mut agreement = Agreement::default();
    for (at, (packet, node)) in packets.iter().zip(&nodes).enumerate() {
        let (ours, theirs) = agreement.both(packet, node);
        agreement.frame(name, at + 1, &ours, &theirs, known);
    }
    Some(agreement)
}

/// The same for a file of anyone, which may be cut or of a kind that one of the
/// two does not read: the frames that both have, at most so many.
pub fn compare_what_both_read(name: &str, file: &Path, most: usize) -> Result<Agreement, String> {
    let ours = packets_if_read(file, most);
    let theirs = dissect_some(file, most).ok_or("there is no tshark")?;
    let ours = match ours {
        Err(why) if theirs.is_empty() => return Err(format!("neither reads it: {why}")),
        other => other?,
    };
    if ours.len() != theirs.len() {
        let (ours, theirs) = (ours.len(), theirs.len());
        return Err(format!("netdig has {ours} frames, tshark {theirs}"));
    }
    let mut agreement = Agreement::default();
    let mut by_shape = None;
    for (at, (packet, node)) in ours.iter().zip(&theirs).enumerate() {
        let (mut ours, mut theirs) = agreement.both(packet, node);
        agreement.excuse_sent_again(&mut ours, &theirs, node);
        agreement.excuse_decrypted(&ours, &mut theirs);
        if layers(&ours).ends_with("tls") && ours["layers"] != theirs["layers"] {
            let again = || dissect_some_by_shape(file, most).unwrap_or_default();
            let node = by_shape.get_or_insert_with(again).get(at);
            let told = node.map(|node| agreement.both(packet, node).1);
            if let Some(told) = told.filter(|told| layers(told) == layers(&ours)) {
                theirs = told;
                *agreement.excused.entry(BY_SHAPE).or_default() += 1;
            }
        }
        let before = agreement.different.len();
        agreement.frame(name, at + 1, &ours, &theirs, &[]);
        if let Some(first) = agreement.different.get(before) {
            let cause = cause(packet, &ours, &theirs, first);
            let place = || (format!("{name} frame {}", at + 1), 0);
            agreement.causes.entry(cause).or_insert_with(place).1 += 1;
        }
    }
    Ok(agreement)
}

fn layers(facts: &Facts) -> &str {
    facts.get("layers").map_or("", String::as_str)
}

/// The layer at which netdig stops is tshark's last: it names a layer before it has
/// read of it.
fn end_alike(packet: &Value, ours: &mut Facts, theirs: &Facts) {
    let stop = packet.pointer("/stop/layer").and_then(Value::as_str);
    let last = layers(theirs).rsplit(':').next();
    let before = last.and_then(|last| layers(theirs).strip_suffix(last));
    let alike = match (stop, last) {
        (Some("ip"), Some("ipv4" | "ipv6")) => true,
        (stop, last) => stop.is_some() && stop == last,
    };
    if alike && before.is_some_and(|before| before.trim_end_matches(':') == layers(ours)) {
        ours.insert("layers", layers(theirs).to_owned());
    }
}

/// Where the chains of layers part, or the first field that differs.
fn cause(packet: &Value, ours: &Facts, theirs: &Facts, first: &str) -> String {
    let chain = |facts| -> Vec<String> { layers(facts).split(':').map(str::to_owned).collect() };
    let (ours, theirs) = (chain(ours), chain(theirs));
    let alike = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    if alike == ours.len() && alike == theirs.len() {
        let field = first.split(": netdig ").next().unwrap_or(first);
        return field.rsplit(' ').next().unwrap_or(field).to_owned();
    }
    let after = alike.checked_sub(1).map_or("nothing", |at| &ours[at]);
    let next = |chain: &[String]| chain.get(alike).map_or("an end".to_owned(), Clone::clone);
    let stop = packet.pointer("/stop/reason").and_then(Value::as_str);
    format!(
        "after {after}: netdig {}, tshark {}; stop: {}",
        next(&ours),
        next(&theirs),
        stop.unwrap_or("none")
    )
}

impl Agreement {
    /// What the two say, less that in which netdig is known to be right to differ.
    fn both(&mut self, packet: &Value, node: &Node) -> (Facts, Facts) {
        let cut = cut::header(packet);
        let (mut ours, mut theirs) = (facts::ours(packet), facts::theirs(node, cut));
        self.excuse_first_part(&mut ours, &theirs);
        end_alike(packet, &mut ours, &theirs);
        let length_from = packet.pointer("/stop/length_from");
        if length_from.is_some_and(|from| from == "tcp-data-offset") {
            ours.retain(|field, _| !field.starts_with("tcp.") || theirs.contains_key(field));
            *self.excused.entry(BOGUS).or_default() += 1;
        }
        let mut excuse = |reason| *self.excused.entry(reason).or_default() += 1;
        if cut::is_cut(packet) {
            cut::excuse(packet, &mut ours, &mut theirs, &mut excuse);
        }
        (ours, theirs)
    }

    /// A first fragment is decoded as far as it goes, since nobody knows whether the
    /// rest will come; tshark leaves it for the last. What netdig tells beyond is
    /// not compared.
    fn excuse_first_part(&mut self, ours: &mut Facts, theirs: &Facts) {
        let is = |field, value: &str| theirs.get(field).is_some_and(|their| their == value);
        if !is("ip.frag.more", "true") || !is("ip.frag.offset", "0") {
            return;
        }
        let (Some(mine), Some(their)) = (ours.get("layers"), theirs.get("layers")) else {
            return;
        };
        let ends = ["ipv4", "ipv6.fraghdr"];
        let beyond = mine.strip_prefix(their.as_str());
        if !ends.iter().any(|end| their.ends_with(end))
            || !beyond.is_some_and(|beyond| beyond.starts_with(':'))
        {
            return;
        }
        if !ours.contains_key("ip.frag.more") {
            // What is in the tunnel stands where the fragment does with tshark.
            ours.retain(|field, _| ["n", "len", "caplen"].contains(field));
            let rest = theirs
                .iter()
                .filter(|(field, _)| !ours.contains_key(*field));
            let rest: Vec<_> = rest.map(|(field, value)| (*field, value.clone())).collect();
            ours.extend(rest);
        }
        ours.retain(|field, _| theirs.contains_key(field));
        ours.insert("layers", their.clone());
        *self.excused.entry(FIRST_FRAGMENT).or_default() += 1;
    }

    /// tshark leaves out what it has shown of a segment's first sending.
    fn excuse_sent_again(&mut self, ours: &mut Facts, theirs: &Facts, node: &Node) {
        let again = ["", "fast_", "spurious_"];
        let again = again.map(|kind| format!("tcp.analysis.{kind}retransmission"));
        let beyond = layers(ours).strip_prefix(layers(theirs));
        if beyond.is_some_and(|beyond| beyond.starts_with(':'))
            && again.iter().any(|field| node.get(field).is_some())
        {
            ours.retain(|field, _| theirs.contains_key(field));
            ours.insert("layers", layers(theirs).to_owned());
            *self.excused.entry(SENT_AGAIN).or_default() += 1;
        }
    }

    /// Keys may stand in the file, or be in what is said.
    fn excuse_decrypted(&mut self, ours: &Facts, theirs: &mut Facts) {
        let told = layers(ours);
        let within = layers(theirs).strip_prefix(told);
        let secret = ["tls", "wireguard", "wlan", "esp"];
        if secret.iter().any(|name| told.ends_with(name))
            && within.is_some_and(|within| within.starts_with(':'))
        {
            theirs.retain(|field, _| ours.contains_key(field));
            theirs.extend(ours.iter().map(|(field, value)| (*field, value.clone())));
            *self.excused.entry(DECRYPTED).or_default() += 1;
        }
    }

    fn frame(&mut self, name: &str, n: usize, ours: &Facts, theirs: &Facts, known: &[Known]) {
        let fields = ours
            .keys()
            .chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
        let is_query = ours.get("dns.qr").is_some_and(|qr| qr == "false");
        let before = self.different.len();
        for &field in fields {
            // tshark does not show a query's response code.
            if is_query && field == "dns.rcode" {
                continue;
            }
            self.fields += 1;
            let (ours, theirs) = (ours.get(field), theirs.get(field));
            let excused = known.iter().any(|known| {
                (known.file, known.frame) == (name, n)
                    && match known.field.strip_suffix('*') {
                        Some(start) => field.starts_with(start),
                        None => field == known.field,
                    }
            });
            let same = match (field, ours, theirs) {
                ("time", Some(ours), Some(theirs)) => facts::same_time(ours, theirs),
                _ => ours == theirs,
            };
            if same || excused {
                self.fields_alike += 1;
                continue;
            }
            let text =
                |side: Option<&String>| side.map_or("(nothing)".to_owned(), |s| format!("{s:?}"));
            self.different.push(format!(
                "{name} frame {n} {field}: netdig {}, tshark {}",
                text(ours),
                text(theirs)
            ));
        }
        self.frames += 1;
        self.frames_alike += usize::from(self.different.len() == before);
    }

    pub fn add(&mut self, other: Agreement) {
        self.frames += other.frames;
        self.frames_alike += other.frames_alike;
        self.fields += other.fields;
        self.fields_alike += other.fields_alike;
        self.different.extend(other.different);
        for (reason, frames) in other.excused {
            *self.excused.entry(reason).or_default() += frames;
        }
        for (cause, (place, frames)) in other.causes {
            self.causes.entry(cause).or_insert((place, 0)).1 += frames;
        }
    }

    /// `1234 of 1234 fields (100.00 %)`, and of frames.
    pub fn share(&self) -> String {
        let percent = |alike: usize, all: usize| 100.0 * alike as f64 / all.max(1) as f64;
        format!(
            "{} of {} fields ({:.2} %), {} of {} frames ({:.2} %)",
            self.fields_alike,
            self.fields,
            percent(self.fields_alike, self.fields),
            self.frames_alike,
            self.frames,
            percent(self.frames_alike, self.frames),
        )
    }
}
