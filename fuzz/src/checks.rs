//! One function for each fuzz target: makes frames or a file of any bytes,
//! decodes them and shows them in every form, and asserts what must hold of all.

use std::cell::RefCell;
use std::io::Cursor;
use std::sync::Once;

use decoders::{LinkType, Packet, Ports, decode};
use netdig::engine::Engine;
use netdig::observation::{Frame, Interface, Observation, Via};
use netdig::output::hexdump::Payload;
use netdig::output::json::JsonWriter;
use netdig::output::text::{TextOptions, TextWriter};
use netdig::output::{Output, Printer, Stream};
use netdig::selection::Selection;
use netdig::source::pcap::CaptureReader;
use netdig::tracker::Tracker;

/// The link types that are decoded, and one that is not.
const LINKS: [u16; 24] = [
    0, 1, 101, 108, 113, 228, 229, 276, 147, 9, 51, 100, 104, 105, 107, 119, 127, 163, 166, 178,
    204, 226, 239, 242,
];
/// Ports behind which something is looked for.
const PORTS: [u16; 24] = [
    8285, 8472, 4789, 4790, 6081, 6784, 6080, 5555, 3544, 2152, 6635, 6783, 4500, 500, 51820, 1701,
    53, 5353, 5355, 67, 68, 546, 547, 9999,
];
const TCP_PORTS: [u16; 8] = [80, 53, 443, 2379, 4001, 7471, 8080, 9999];

/// A frame of any link type; the first byte chooses it, the second how much
/// longer than its bytes the frame was.
pub fn link(data: &[u8]) {
    if let [link, longer, frame @ ..] = data {
        let link = LINKS[usize::from(*link) % LINKS.len()];
        frame_of(link, frame, usize::from(*longer));
    }
}

/// A bare IP packet.
pub fn ip(data: &[u8]) {
    frame_of(101, data, 0);
}

/// The payload of a UDP datagram on the port that the first byte chooses.
pub fn tunnel(data: &[u8]) {
    if let [port, payload @ ..] = data {
        let port = PORTS[usize::from(*port) % PORTS.len()];
        frame_of(101, &in_udp(port, payload), 0);
    }
}

/// The payload of a TCP segment or UDP datagram, by the first byte.
pub fn application(data: &[u8]) {
    if let [choice, payload @ ..] = data {
        let choice = usize::from(*choice);
        let packet = match choice % 2 {
            0 => in_tcp(TCP_PORTS[choice / 2 % TCP_PORTS.len()], payload),
            _ => in_udp(PORTS[choice / 2 % PORTS.len()], payload),
        };
        frame_of(101, &packet, 0);
    }
}

/// A classic capture: its magic number is put right.
pub fn pcap(data: &[u8]) {
    const MAGICS: [[u8; 4]; 4] = [
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0x4d, 0x3c, 0xb2, 0xa1],
    ];
    if let [magic, rest @ ..] = data {
        let magic = MAGICS[usize::from(*magic) % MAGICS.len()];
        shown([&magic, rest].concat());
    }
}

/// A pcapng capture: its first block's type is put right.
pub fn pcapng(data: &[u8]) {
    shown([&[0x0a, 0x0d, 0x0d, 0x0a], data].concat());
}

fn in_ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    packet.extend(payload);
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

fn in_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(60_000)];
    let words = [40000, port, 8 + payload.len() as u16, 0];
    let mut datagram: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    datagram.extend(payload);
    in_ipv4(17, &datagram)
}

fn in_tcp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40];
    segment.extend(port.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    segment.extend(&payload[..payload.len().min(60_000)]);
    in_ipv4(6, &segment)
}

fn frame_of(link: u16, frame: &[u8], longer: usize) {
    let orig_len = frame.len() + longer;
    let link_type = LinkType::from_number(link);
    let ports = Ports::default();
    let whole = decode(link_type, frame, orig_len, &ports);
    sound(&whole);
    // Cut anywhere, the layers are the first ones of the whole.
    let len = frame.len() / 2;
    let cut = decode(link_type, &frame[..len], orig_len, &ports);
    sound(&cut);
    for (cut, whole) in cut.layers.iter().zip(&whole.layers) {
        if cut.name() != whole.name() {
            // What has a shape is only known where enough of it is there.
            break;
        }
        assert_eq!(cut.span(), whole.span(), "{} cut at {len}", cut.name());
    }
    no_output();
    ENGINES.with_borrow_mut(|engines| {
        for engine in engines {
            let frame = Frame {
                orig_len: orig_len as u32,
                ..Frame::new(1, Via::File, link_type, frame)
            };
            let interface = Interface {
                name: "any".to_owned(),
                link: link_type,
                snaplen: 0,
                addresses: Vec::new(),
            };
            let observation = Observation::Frame(frame);
            engine
                .observe(0, &[interface], &observation, None)
                .expect("shown");
            engine.tick(u64::MAX).expect("shown");
        }
    });
}

thread_local! {
    /// One for each form. They live on, as they would over the frames of a file:
    /// flows of earlier inputs meet those of later ones.
    static ENGINES: RefCell<[Engine; 2]> = RefCell::new([
        engine(text()),
        engine(Printer::Json(JsonWriter::default())),
    ]);
}

fn text() -> Printer {
    Printer::Text(TextWriter::new(TextOptions {
        color: true,
        verbose: true,
        payload: Payload::Both,
        show_secrets: false,
    }))
}

fn engine(printer: Printer) -> Engine {
    Engine::new(
        Tracker::empty(),
        Ports::default(),
        Selection::default(),
        Output::new(printer, Stream::Stdout, true, None),
        None,
    )
}

/// What must hold of every decoded packet.
fn sound(packet: &Packet<'_>) {
    let mut before = 0;
    for layer in &packet.layers {
        let span = layer.span();
        assert!(span.start >= before && span.start <= span.end, "{span:?}");
        assert!(span.end as usize <= packet.orig_len, "{span:?}");
        before = span.start;
        assert!(packet.payload(layer).len() <= layer.payload_len());
    }
    if let Some(stop) = packet.stop {
        assert!(stop.offset <= packet.orig_len, "{stop}");
    }
}

/// Reads a capture to its end and shows it as text with all bytes, and as JSON,
/// which must be of as many frames.
fn shown(file: Vec<u8>) {
    no_output();
    let frames = show(file.clone(), text());
    assert_eq!(show(file, Printer::Json(JsonWriter::default())), frames);
}

fn show(file: Vec<u8>, printer: Printer) -> u64 {
    let mut reader = CaptureReader::new(Cursor::new(file), "any bytes");
    let mut engine = engine(printer);
    let mut last = 0;
    while let Ok(Some(seen)) = reader.next_in_context() {
        if let Observation::Frame(frame) = &seen.observation {
            last = frame.ts_ns.max(last);
        }
        engine
            .observe(0, seen.interfaces, &seen.observation, seen.packet_type)
            .expect("shown");
        engine.tick(last).expect("shown");
    }
    engine.tick(u64::MAX).expect("shown");
    engine.finish(last).expect("shown");
    reader.frames()
}

/// What is printed is of no interest here.
fn no_output() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a literal C string, and a descriptor that stays open.
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
            libc::dup2(null, 1);
        }
    });
}
