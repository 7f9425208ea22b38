//! How fast `netdig overlay -r` reads a capture of flannel-UDP, beside tshark and
//! tcpdump on the same file, and how much memory it takes for it.
//!
//! `cargo bench -p netdig --bench overlay_files [-- MEGABYTES]`; needs tshark and
//! tcpdump. The file is made in the temporary folder and removed.
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use etherparse::{SlicedPacket, TransportSlice};

const ROUNDS: usize = 3;

/// Removes the capture also when the benchmark fails.
struct Capture(PathBuf);

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn main() {
    let megabytes = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(512);
    let path = std::env::temp_dir().join(format!("netdig-bench-{}.pcap", std::process::id()));
    let capture = Capture(path);
    let packets = write_capture(&capture.0, megabytes * 1_000_000).expect("the capture is made");
    let file = capture.0.to_str().expect("a plain path");
    println!("{megabytes} MB of flannel-UDP, {packets} packets; least of {ROUNDS} runs\n");
    let netdig = env!("CARGO_BIN_EXE_netdig");
    let one = time(
        &["taskset", "-c", "0", netdig, "overlay", "-r", file, "-q"],
        ROUNDS,
    );
    let quiet = time(&[netdig, "overlay", "-r", file, "-q"], ROUNDS);
    let text = time(&[netdig, "overlay", "-r", file], ROUNDS);
    let json = time(&[netdig, "overlay", "-r", file, "--format", "json"], 1);
    let dump = time(&["tcpdump", "-nn", "-r", file], ROUNDS);
    let flannel = ["-d", "udp.port==8285,ip"];
    let stat = [
        &["tshark", "-r", file][..],
        &flannel,
        &["-q", "-z", "io,stat,0"],
    ]
    .concat();
    let stat = time(&stat, 1);
    let fields = [
        "ip.src",
        "ip.dst",
        "tcp.srcport",
        "tcp.dstport",
        "tcp.seq",
        "tcp.flags",
    ];
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let mut command = vec!["tshark", "-n", "-r", file, "-T", "fields"];
    command.extend(flannel);
    command.extend(fields);
    let fields = time(&command, 1);
    // Last: what is mapped here would count as the memory of programs started here.
    let floor = floor(&capture.0, packets);
    println!();
    ratio("-q against tshark -q -z io,stat,0", &stat, &quiet, 60.0);
    ratio("-q against tcpdump -nn", &dump, &quiet, 5.0);
    ratio("text against tshark -T fields", &fields, &text, 20.0);
    ratio("text against tcpdump -nn", &dump, &text, 1.0);
    println!(
        "-q on one CPU: {:.2} times the floor's time (goal: at most 2.5), {:.1} million packets, \
         {:.0} MB a second; on two CPUs {:.2} times",
        one.seconds / floor.seconds,
        packets as f64 / one.seconds / 1e6,
        megabytes as f64 / one.seconds,
        quiet.seconds / floor.seconds,
    );
    println!("text: {:.0} lines a second", packets as f64 / text.seconds);
    println!(
        "JSON: {:.0} objects a second",
        packets as f64 / json.seconds
    );
}

struct Run {
    seconds: f64,
}

fn ratio(what: &str, theirs: &Run, ours: &Run, goal: f64) {
    println!(
        "{what}: {:.1} times as fast (goal: {goal})",
        theirs.seconds / ours.seconds
    );
}

/// Runs a command with its output thrown away, and prints its time and memory.
fn time(command: &[&str], rounds: usize) -> Run {
    let mut least = f64::INFINITY;
    let mut memory = 0;
    for _ in 0..rounds {
        let start = Instant::now();
        #[allow(clippy::zombie_processes)] // waited for by pid, with its usage
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        let mut said = String::new();
        let _ = child
            .stderr
            .take()
            .map(|mut stderr| stderr.read_to_string(&mut said));
        let (status, peak_kib) = wait(&child);
        assert_eq!(status, 0, "{command:?}: {said}");
        least = least.min(start.elapsed().as_secs_f64());
        memory = memory.max(peak_kib);
    }
    let shown = Path::new(command[0])
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let arguments = command[1..]
        .iter()
        .filter(|argument| !argument.contains("netdig-bench"));
    let arguments: Vec<&str> = arguments.copied().collect();
    println!(
        "{least:8.3} s {:6} MiB  {} {}",
        memory / 1024,
        shown.unwrap_or_default(),
        arguments.join(" ")
    );
    Run { seconds: least }
}

/// The least that reading such a file takes: it is mapped, and of each record the
/// outer and the inner packet are sliced by etherparse. On one CPU, in this process.
fn floor(path: &Path, packets: u64) -> Run {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let map = Map::of(path).expect("the capture is mapped");
        let mut rest = &map.bytes()[24..];
        let mut tunnelled = 0;
        while let Some((head, more)) = rest.split_at_checked(16) {
            let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
            let (frame, more) = more.split_at(length as usize);
            rest = more;
            let outer = SlicedPacket::from_ethernet(frame).expect("an outer packet");
            let Some(TransportSlice::Udp(udp)) = outer.transport else {
                continue;
            };
            let inner = SlicedPacket::from_ip(udp.payload()).expect("an inner packet");
            tunnelled += u64::from(black_box(inner).transport.is_some());
        }
        assert_eq!(tunnelled, packets);
        least = least.min(start.elapsed().as_secs_f64());
    }
    println!("{least:8.3} s             mapped, outer and inner packet sliced by etherparse");
    Run { seconds: least }
}

/// A file in memory.
struct Map(*mut libc::c_void, usize);

impl Map {
    fn of(path: &Path) -> std::io::Result<Map> {
        use std::os::fd::AsRawFd;
        let file = File::open(path)?;
        let length = file.metadata()?.len() as usize;
        let (read, private, fd) = (libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd());
        // SAFETY: a new mapping of a file that nobody changes while it lives.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, read, private, fd, 0) };
        match at {
            libc::MAP_FAILED => Err(std::io::Error::last_os_error()),
            at => Ok(Map(at, length)),
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.0.cast(), self.1) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `of`; nothing borrows from it any more.
        unsafe { libc::munmap(self.0, self.1) };
    }
}

/// Exit status and peak resident memory, KiB.
fn wait(child: &std::process::Child) -> (i32, i64) {
    let mut status = 0;
    // SAFETY: zeroed plain data, filled by the call, for a child not waited for.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage);
        (status, usage.ru_maxrss)
    }
}

/// Writes a classic pcap of Ethernet frames: flannel-UDP with TCP inside, data
/// one way and acknowledgements the other, in 500 flows.
fn write_capture(path: &Path, bytes: u64) -> std::io::Result<u64> {
    const FLOWS: u32 = 500;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(&0xa1b2_c3d4u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&65_535u32.to_le_bytes())?;
    out.write_all(&1u32.to_le_bytes())?;
    let (mut written, mut packets) = (24u64, 0u64);
    let mut sequences = vec![1_000u32; FLOWS as usize];
    while written < bytes {
        let flow = packets as u32 % FLOWS;
        let data = (packets as u32 / FLOWS).is_multiple_of(2);
        let payload = if data { 1_360 } else { 0 };
        let frame = frame(flow, data, sequences[flow as usize], payload, packets);
        if data {
            sequences[flow as usize] = sequences[flow as usize].wrapping_add(payload as u32);
        }
        let micros = packets * 10;
        for word in [micros / 1_000_000 + 1_700_000_000, micros % 1_000_000] {
            out.write_all(&(word as u32).to_le_bytes())?;
        }
        for _ in 0..2 {
            out.write_all(&(frame.len() as u32).to_le_bytes())?;
        }
        out.write_all(&frame)?;
        written += 16 + frame.len() as u64;
        packets += 1;
    }
    out.flush()?;
    Ok(packets)
}

fn frame(flow: u32, data: bool, sequence: u32, payload: usize, id: u64) -> Vec<u8> {
    let (client, server) = ([192, 168, 69, 0], [192, 168, 13, 2]);
    let port = 30_000 + flow as u16;
    let inner_ends = if data {
        (client, server)
    } else {
        (server, client)
    };
    let ports = if data { (port, 80) } else { (80, port) };
    let mut tcp = Vec::with_capacity(32 + payload);
    tcp.extend(ports.0.to_be_bytes());
    tcp.extend(ports.1.to_be_bytes());
    let (seq, ack) = if data { (sequence, 7) } else { (7, sequence) };
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([0x80, if data { 0x18 } else { 0x10 }, 1, 0xf5, 0, 0, 0, 0]);
    tcp.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    tcp.resize(32 + payload, b'x');
    let inner = ipv4(inner_ends.0, inner_ends.1, 6, id as u16, &tcp);
    let mut udp = Vec::with_capacity(8 + inner.len());
    udp.extend(8285u16.to_be_bytes());
    udp.extend(8285u16.to_be_bytes());
    udp.extend((8 + inner.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(inner);
    let outer_ends = if data {
        ([10, 1, 1, 95], [10, 1, 1, 187])
    } else {
        ([10, 1, 1, 187], [10, 1, 1, 95])
    };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(ipv4(outer_ends.0, outer_ends.1, 17, id as u16, &udp));
    frame
}

fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend([0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    let mut sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet.extend(payload);
    packet
}
