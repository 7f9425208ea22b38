//! Frames cut at every length, against tshark.

use super::agreement::{Agreement, compare};
use super::craft::Pcap;
use super::program::Scratch;
use super::sets::{self, Set};
use decoders::{LinkType, Ports, decode};
use std::collections::{BTreeMap, BTreeSet};

/// Headers of a tunnel and of what it carries take less; what is beyond has been
/// cut in the same way in a smaller frame.
const LONGEST: usize = 150;

/// Sets that are not compared cut, and why.
const NOT_COMPARED: [(&str, &str); 4] = [
    (
        "ipnet",
        "of a cut frame tshark reads the packet from another byte",
    ),
    (
        "nflog",
        "tshark shows nothing of an attribute that is not whole",
    ),
    (
        "links",
        "two tags of 802.1ad are two layers, where tshark names one for both",
    ),
    (
        "wrong-lengths",
        "a payload length of 0 is the network card's to fill in",
    ),
];

/// The first frame of each kind that the set has.
fn kinds(set: &Set) -> Vec<&[u8]> {
    let ports = Ports::default();
    let link = LinkType::from_number(set.link as u16);
    let mut seen = BTreeSet::new();
    let frames = set.frames.iter().map(Vec::as_slice);
    frames
        .filter(|frame| {
            let packet = decode(link, frame, frame.len(), &ports);
            seen.insert(packet.layer_names().collect::<Vec<_>>())
        })
        .collect()
}

#[test]
fn cut_at_every_length() {
    let scratch = Scratch::new("snapped");
    // tshark takes its time to start: one file for each link.
    let mut files = BTreeMap::new();
    let is_compared = |set: &Set| NOT_COMPARED.iter().all(|(name, _)| *name != set.name);
    for set in sets::all().into_iter().filter(is_compared) {
        let new = || Pcap::new(false, 0xa1b2_3c4d, 262_144, set.link);
        let pcap = files.entry(set.link).or_insert_with(new);
        for frame in kinds(&set) {
            for snap in 1..frame.len().min(LONGEST) {
                pcap.record(1, snap as u32, frame.len() as u32, &frame[..snap]);
            }
        }
    }
    let mut total = Agreement::default();
    for (link, pcap) in files {
        let name = format!("link-{link}");
        let file = scratch.file(&name, &pcap.0.out);
        match compare(&name, &file, &[]) {
            Some(agreement) => total.add(agreement),
            None => return,
        }
    }
    println!("on cut frames they agree on {}", total.share());
    for (reason, frames) in &total.excused {
        println!("{frames} frames differ: {reason}");
    }
    for (set, reason) in NOT_COMPARED {
        println!("{set} is not compared: {reason}");
    }
    assert!(total.frames > 30_000);
    assert!(total.different.is_empty(), "{}", total.different.join("\n"));
}
