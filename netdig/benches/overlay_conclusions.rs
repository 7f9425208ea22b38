//! What the rules cost where packets flow: the engine over one capture with and without
//! conclusions, by turns in one process, for `-q`, text and JSON.
//!
//! `cargo bench -p netdig --bench overlay_conclusions [-- THOUSANDS_OF_PACKETS] [OUTPUT]`,
//! where OUTPUT is one of them, for a profile. The goal is a ratio of at most 1.10. Lines of
//! text and JSON go to /dev/null.
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use decoders::Ports;
use netdig::conclusions::Conclusions;
use netdig::engine::Engine;
use netdig::observation::Observation;
use netdig::output::json::JsonWriter;
use netdig::output::text::{TextOptions, TextWriter};
use netdig::output::{Output, Printer, Stream};
use netdig::selection::Selection;
use netdig::source::pcap::CaptureReader;
use netdig::tracker::Tracker;

/// Runs of each kind; their medians are compared.
const ROUNDS: usize = 9;

const NAMES: [&str; 3] = ["quiet", "text", "json"];

/// Removes the capture also when the benchmark fails.
struct Capture(PathBuf);

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Clone, Copy)]
enum Shown {
    Nothing,
    Text,
    Json,
}

fn main() {
    let thousands: u32 = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1000);
    let only: Option<String> = std::env::args()
        .skip(1)
        .find(|argument| NAMES.contains(&argument.as_str()));
    let path = std::env::temp_dir().join(format!("netdig-bench-{}.pcap", std::process::id()));
    let capture = Capture(path);
    let packets = thousands * 1000;
    write_capture(&capture.0, packets).expect("the capture is made");
    let quiet = Silence::begin();
    let results: Vec<(&str, [f64; 2])> = NAMES
        .into_iter()
        .zip([Shown::Nothing, Shown::Text, Shown::Json])
        .filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
        .map(|(name, shown)| (name, medians(&capture.0, packets, shown)))
        .collect();
    drop(quiet);
    println!("{packets} packets; medians of {ROUNDS} runs by turns, ns a packet\n");
    println!("{:>6} {:>9} {:>9} {:>7}", "", "without", "with", "ratio");
    for (name, [without, with]) in results {
        let per = |seconds: f64| seconds * 1e9 / f64::from(packets);
        println!(
            "{name:>6} {:>9.1} {:>9.1} {:>7.3}",
            per(without),
            per(with),
            with / without
        );
    }
    println!("\ngoal: a ratio of at most 1.10 with -q (quiet)");
}

/// Seconds without and with conclusions.
fn medians(path: &Path, packets: u32, shown: Shown) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    // The first of each only warms up.
    for round in 0..=ROUNDS {
        for (concludes, times) in times.iter_mut().enumerate() {
            let seconds = run(path, packets, shown, concludes == 1);
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// As `netdig overlay -r` reads.
fn run(path: &Path, packets: u32, shown: Shown, concludes: bool) -> f64 {
    let printer = match shown {
        Shown::Json => Printer::Json(JsonWriter::default()),
        _ => Printer::Text(TextWriter::new(TextOptions::default())),
    };
    let wants_packets = !matches!(shown, Shown::Nothing);
    let output = Output::new(printer, Stream::Stderr, wants_packets, None);
    let mut engine = Engine::new(
        Tracker::empty(),
        Ports::default(),
        Selection::default(),
        output,
        None,
    );
    if concludes {
        engine.conclude(Conclusions::of_file());
    }
    let start = Instant::now();
    let mut reader = CaptureReader::open(path).expect("the capture opens");
    let mut last_ts = 0;
    while let Some(seen) = reader.next_in_context().expect("it is whole") {
        if let Observation::Frame(frame) = &seen.observation {
            last_ts = frame.ts_ns.max(last_ts);
        }
        engine
            .observe(0, seen.interfaces, &seen.observation, seen.packet_type)
            .expect("nothing is refused");
        engine.tick(last_ts).expect("nothing is refused");
    }
    engine.finish(last_ts).expect("nothing is refused");
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(engine.summary.packets, u64::from(packets));
    seconds
}

/// Standard error is /dev/null as long as this lives.
struct Silence(libc::c_int);

impl Silence {
    fn begin() -> Silence {
        let null = File::options()
            .write(true)
            .open("/dev/null")
            .expect("there is one");
        // SAFETY: descriptors of this process, which has one thread.
        unsafe {
            let saved = libc::dup(libc::STDERR_FILENO);
            libc::dup2(null.as_raw_fd(), libc::STDERR_FILENO);
            Silence(saved)
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // SAFETY: the descriptor saved in `begin`.
        unsafe {
            libc::dup2(self.0, libc::STDERR_FILENO);
            libc::close(self.0);
        }
    }
}

/// Classic pcap of Ethernet frames; see [`frame`].
fn write_capture(path: &Path, packets: u32) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(&0xa1b2_c3d4u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&65_535u32.to_le_bytes())?;
    out.write_all(&1u32.to_le_bytes())?;
    for n in 0..packets {
        let frame = frame(n);
        let micros = u64::from(n) * 10;
        for word in [micros / 1_000_000 + 1_700_000_000, micros % 1_000_000] {
            out.write_all(&(word as u32).to_le_bytes())?;
        }
        for _ in 0..2 {
            out.write_all(&(frame.len() as u32).to_le_bytes())?;
        }
        out.write_all(&frame)?;
    }
    out.flush()
}

/// Of fifty packets forty are data and acknowledgements in flannel-UDP, between eight pairs
/// of hosts; two open a connection there and two are a DNS query and its answer; five are
/// TCP beside the tunnel, and one is DNS.
fn frame(n: u32) -> Vec<u8> {
    let round = n / 50;
    let pair = (n / 2 % 8) as u8;
    let forth = n.is_multiple_of(2);
    let (near, far) = ([10, 1, 1, 1], [10, 1, 1, 100 + pair]);
    let (client, server) = ([192, 168, 69, 2], [192, 168, 100 + pair, 2]);
    match n % 50 {
        0 | 1 => tunnel(near, far, &dns(client, server, round, forth), forth),
        2 | 3 => tunnel(near, far, &syn(client, server, round, forth), forth),
        4 => ethernet(&dns(
            near,
            [10, 1, 0, 2],
            round / 2,
            round.is_multiple_of(2),
        )),
        5..=9 => ethernet(&tcp(near, far, n / 2, forth)),
        _ => tunnel(near, far, &tcp(client, server, n / 2, forth), forth),
    }
}

/// A SYN of a connection that carries nothing, or its answer.
fn syn(client: [u8; 4], server: [u8; 4], round: u32, forth: bool) -> Vec<u8> {
    let port = 1000 + (round % 20_000) as u16;
    let (ports, numbers, flags) = match forth {
        true => ([port, 80], [round, 0], 0x02),
        false => ([80, port], [7, round + 1], 0x12),
    };
    ipv4(client, server, forth, 6, &segment(ports, numbers, flags, 0))
}

/// A segment of one of 512 connections, with data one way.
fn tcp(client: [u8; 4], server: [u8; 4], round: u32, data: bool) -> Vec<u8> {
    let port = 30_000 + (round % 512) as u16;
    let sequence = 1000 + round / 512 * 1000;
    let payload = if data { 1000 } else { 0 };
    let (ports, numbers, flags) = match data {
        true => ([port, 80], [sequence, 7], 0x18),
        false => ([80, port], [7, sequence], 0x10),
    };
    let segment = segment(ports, numbers, flags, payload);
    ipv4(client, server, data, 6, &segment)
}

fn segment(ports: [u16; 2], numbers: [u32; 2], flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload);
    segment.extend(ports.map(u16::to_be_bytes).as_flattened());
    segment.extend(numbers.map(u32::to_be_bytes).as_flattened());
    segment.extend([0x50, flags, 1, 0xf5, 0, 0, 0, 0]);
    segment.resize(20 + payload, b'x');
    segment
}

/// A query for www.google.com, or an answer without records.
fn dns(client: [u8; 4], server: [u8; 4], round: u32, query: bool) -> Vec<u8> {
    let port = 20_000 + (round % 10_000) as u16;
    let mut message = (round as u16).to_be_bytes().to_vec();
    message.extend([if query { 1 } else { 0x81 }, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(b"\x03www\x06google\x03com\0\0\x01\0\x01");
    let ports = if query { [port, 53] } else { [53, port] };
    ipv4(client, server, query, 17, &udp(ports, &message))
}

fn udp(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let head = [ports[0], ports[1], length, 0].map(u16::to_be_bytes);
    [head.as_flattened(), payload].concat()
}

fn tunnel(near: [u8; 4], far: [u8; 4], inner: &[u8], outward: bool) -> Vec<u8> {
    ethernet(&ipv4(near, far, outward, 17, &udp([8285, 8285], inner)))
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0], packet].concat()
}

/// From `near` to `far`, or back.
fn ipv4(near: [u8; 4], far: [u8; 4], forth: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let ends = if forth { [near, far] } else { [far, near] };
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(ends.as_flattened());
    packet.extend(payload);
    packet
}
