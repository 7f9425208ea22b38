//! What holds of every frame of every set, cut at any length.

use super::build::{A, B, ipv4, udp};
use super::craft::Pcap;
use super::program::{Scratch, packets};
use super::sets;
use decoders::{Error, LengthSource, LinkType, Packet, Ports, decode, decode_strict};
use serde_json::json;

/// The frame as any link's: what it is not is decoded without harm.
const LINKS: [u32; 24] = [
    0, 1, 101, 108, 113, 228, 229, 276, 147, 9, 51, 100, 104, 105, 107, 119, 127, 163, 166, 178,
    204, 226, 239, 242,
];

fn shape(packet: &Packet<'_>) -> Vec<(&'static str, decoders::Span)> {
    let layers = packet.layers.iter();
    layers.map(|layer| (layer.name(), layer.span())).collect()
}

/// Its layers, all of them in the bytes that there are or may be.
fn looked_at(packet: &Packet<'_>, set: &str) -> Vec<(&'static str, decoders::Span)> {
    for layer in &packet.layers {
        let span = layer.span();
        assert!(span.start <= span.end, "{set}");
        assert!(span.end as usize <= packet.orig_len, "{set}");
        assert!(packet.payload(layer).len() <= layer.payload_len(), "{set}");
    }
    shape(packet)
}

/// How far into the frame decoding wants to see.
fn wanted(error: &Error) -> usize {
    error.offset + error.needed().expect("a number of bytes")
}

fn cut_everywhere(link: LinkType, frame: &[u8], set: &str) {
    let ports = Ports::default();
    let whole = looked_at(&decode(link, frame, frame.len(), &ports), set);
    let fault = decode_strict(link, frame, frame.len(), &ports).err();
    for len in 0..frame.len() {
        // Nothing is behind the cut that could be read.
        let cut: Box<[u8]> = frame[..len].into();
        let layers = looked_at(&decode(link, &cut, frame.len(), &ports), set);
        assert!(whole.starts_with(&layers), "{set} cut at {len}");
        let strict = decode_strict(link, &cut, frame.len(), &ports);
        let Err(error) = strict else {
            // What is missing belongs to no layer.
            let end = whole.last().map_or(0, |(_, span)| span.end as usize);
            assert!(end <= len && layers == whole, "{set} cut at {len}");
            continue;
        };
        if Some(error) == fault {
            continue;
        }
        let shortage = error.shortage.unwrap_or_else(|| panic!("{set}: {error}"));
        assert_eq!(shortage.length_from, LengthSource::Capture, "{set}");
        assert_eq!(error.offset + shortage.had, len, "{set}: {error}");
        assert!(wanted(&error) > len, "{set} cut at {len}: {error}");
        assert!(wanted(&error) <= frame.len(), "{set} at {len}: {error}");
        let longer = decode_strict(link, &frame[..wanted(&error)], frame.len(), &ports);
        if let Err(next) = longer
            && Some(next) != fault
        {
            assert!(wanted(&next) > wanted(&error), "{set}: {error}, {next}");
        }
    }
}

#[test]
fn cut_anywhere_the_layers_are_a_prefix_and_what_is_missing_is_told() {
    let sets = sets::all();
    assert!(sets.iter().map(|set| set.frames.len()).sum::<usize>() > 200);
    for set in sets {
        for frame in &set.frames {
            cut_everywhere(LinkType::from_number(set.link as u16), frame, set.name);
        }
    }
}

#[test]
fn as_any_link_nothing_is_read_past_the_end() {
    let ports = Ports::default();
    for set in sets::all() {
        for frame in &set.frames {
            for link in LINKS {
                let link = LinkType::from_number(link as u16);
                for len in (0..frame.len()).step_by(7) {
                    let cut: Box<[u8]> = frame[..len].into();
                    for orig_len in [len, frame.len()] {
                        let packet = decode(link, &cut, orig_len, &ports);
                        looked_at(&packet, set.name);
                        if let Err(error) = decode_strict(link, &cut, orig_len, &ports) {
                            assert!(error.offset <= len, "{}: {error}", set.name);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn json_says_what_is_missing_and_by_which_length() {
    let whole = ipv4(A, B, 17, &udp(40000, 7, b"payload"));
    let short = ipv4(A, B, 17, &udp(40000, 7, b"")[..4]);
    let behind = [&short[..], &[0; 20]].concat();
    let unknown = ipv4(A, B, 253, b"abc");
    let mut pcap = Pcap::new(false, 0xa1b2_c3d4, 262_144, 101);
    for (frame, captured) in [
        (&whole, 25),
        (&behind, behind.len()),
        (&unknown, unknown.len()),
    ] {
        pcap.record(1, 2, frame.len() as u32, &frame[..captured]);
    }
    let scratch = Scratch::new("numbers");
    let told = packets(&scratch.file("numbers.pcap", &pcap.0.out));
    let stops: Vec<_> = told.iter().map(|packet| packet["stop"].clone()).collect();
    assert_eq!(
        stops[0],
        json!({"layer": "udp", "offset": 20, "reason": "capture was cut, 10 bytes are missing",
            "needed": 8, "had": 5, "length_from": "capture"})
    );
    assert_eq!(
        stops[1],
        json!({"layer": "udp", "offset": 20, "reason": "needs 8 bytes and has 4",
            "needed": 8, "had": 4, "length_from": "ipv4-total-length"})
    );
    let keys: Vec<_> = stops[2].as_object().expect("a stop").keys().collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
}
