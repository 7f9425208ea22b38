//! What the probe adds to a system call, beside what bare programs add: one
//! process makes calls on one CPU, its records are taken on the other. All kinds
//! take turns within each round, the least of the rounds counts (what else runs
//! on the machine only ever adds), and ratios are of what is *added* to the call
//! without any program.
//!
//! `cargo bench -p netdig --bench probe_cost`, as root; CPUs 0 and 1 are used.
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aya::maps::{MapData, RingBuf};
use aya::programs::BtfTracePoint;
use aya::{Ebpf, EbpfLoader};
use netdig::btf::Btf;
use netdig::source::idle::Idle;
use netdig::source::probe::{Probe, ProbeOptions};
use netdig_ebpf::class;

static BASELINE: &[u8] =
    aya::include_bytes_aligned!("../../netdig-ebpf/prebuilt/netdig-baseline.o");
const ROUNDS: usize = 15;
/// Times that the calls are made in a round with the same programs attached.
const REPEATS: usize = 5;

/// What is attached while calls are made.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Nothing,
    Baseline(&'static str),
    /// netdig, watching these classes.
    Netdig(&'static [u8]),
    /// The same where a process holds a tun: what hosts receive is looked at too.
    NetdigWire(&'static [u8]),
}

/// Calls that are made, and how many of them in a round.
struct Workload {
    name: &'static str,
    what: &'static str,
    calls: u64,
}

const GETPPID: Workload = Workload {
    name: "getppid",
    what: "getppid",
    calls: 300_000,
};
const FILE: Workload = Workload {
    name: "file",
    what: "write of 64 bytes to a file",
    calls: 200_000,
};
const UDP: Workload = Workload {
    name: "udp",
    what: "1400 bytes sent and received on a tunnel's UDP port",
    calls: 50_000,
};

const WIRE: Workload = Workload {
    name: "wire",
    what: "64 bytes sent and received on a UDP port of no tunnel",
    calls: 100_000,
};

const TUNNEL: &[u8] = &[class::TUN, class::TUNNEL];
const FILES: &[u8] = &[class::REGULAR];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--calls") {
        return make_calls();
    }
    pin(1);
    let mut caller = Caller::start();
    println!("ns a call, least of {ROUNDS} rounds of {REPEATS}; in brackets what is added");
    let wanted = |workload: &Workload| {
        let named = |name: &str| arguments.iter().any(|argument| argument == name);
        named(workload.name)
            || ![&GETPPID, &FILE, &UDP, &WIRE]
                .iter()
                .any(|other| named(other.name))
    };
    if wanted(&GETPPID) {
        uninteresting(&mut caller);
    }
    if wanted(&FILE) {
        file(&mut caller);
    }
    if wanted(&UDP) {
        tunnel(&mut caller);
    }
    if wanted(&WIRE) {
        wire(&mut caller);
    }
}

const EMPTY: Kind = Kind::Baseline("empty");
const BARE: Kind = Kind::Baseline("bare_record");
const PAYLOAD: Kind = Kind::Baseline("payload_record");

fn uninteresting(caller: &mut Caller) {
    let kinds = [Kind::Nothing, EMPTY, Kind::Netdig(TUNNEL)];
    let [none, least, ours] = measure(caller, &GETPPID, kinds);
    ratio(
        "getppid: netdig against an empty program",
        ours - none,
        least - none,
        1.25,
    );
}

fn file(caller: &mut Caller) {
    let kinds = [
        Kind::Nothing,
        EMPTY,
        Kind::Netdig(TUNNEL),
        BARE,
        Kind::Netdig(FILES),
    ];
    let [none, least, turned_away, record, captured] = measure(caller, &FILE, kinds);
    let what = "write turned away: netdig against an empty program";
    ratio(what, turned_away - none, least - none, 2.5);
    let what = "write captured: netdig against a bare record";
    ratio(what, captured - none, record - none, 1.4);
}

/// falcosecurity's modern BPF with its 80-byte snap was measured to add 1.41
/// times what a bare record adds to this pair of calls, and 0.91 times what a
/// record with the whole payload adds.
fn tunnel(caller: &mut Caller) {
    let kinds = [Kind::Nothing, BARE, PAYLOAD, Kind::Netdig(TUNNEL)];
    let [none, record, whole, ours] = measure(caller, &UDP, kinds);
    let what = "tunnel packet whole: netdig against a bare record without it";
    ratio(what, ours - none, record - none, 1.41);
    let what = "tunnel packet whole: netdig against a bare record with it";
    ratio(what, ours - none, whole - none, 0.91);
}

/// What the program on the receiving side of links adds to a packet that is no
/// tunnel's.
fn wire(caller: &mut Caller) {
    let kinds = [
        Kind::Nothing,
        EMPTY,
        Kind::Netdig(TUNNEL),
        Kind::NetdigWire(TUNNEL),
    ];
    let [_, _, without, with] = measure(caller, &WIRE, kinds);
    println!(
        "a received packet of no tunnel: {:.1} ns more",
        with - without
    );
}

fn ratio(what: &str, ours: f64, theirs: f64, goal: f64) {
    println!("{what}: {:.2} (goal: at most {goal})", ours / theirs);
}

fn measure<const N: usize>(caller: &mut Caller, workload: &Workload, kinds: [Kind; N]) -> [f64; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (kind, times) in kinds.iter().zip(&mut times) {
            let attached = Attached::new(*kind);
            times.extend((0..REPEATS).map(|_| caller.run(workload)));
            drop(attached);
        }
    }
    let least = times.map(|times| times.into_iter().fold(f64::INFINITY, f64::min));
    println!("\n{}", workload.what);
    for (kind, time) in kinds.iter().zip(&least) {
        println!("  {:8.1} [{:6.1}]  {kind:?}", time, time - least[0]);
    }
    least
}

/// Programs that are attached, and a thread that takes their records.
struct Attached {
    stop: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<u64>>,
}

impl Attached {
    fn new(kind: Kind) -> Attached {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let reader = match kind {
            Kind::Nothing => None,
            Kind::Baseline(name) => {
                let (ebpf, mut ring) = baseline(name);
                Some(std::thread::spawn(move || {
                    let _attached = ebpf;
                    drain(&seen, || {
                        std::iter::from_fn(|| ring.next().map(drop)).count()
                    })
                }))
            }
            Kind::Netdig(classes) | Kind::NetdigWire(classes) => {
                let ports = decoders::Ports::default();
                let options = ProbeOptions {
                    classes: classes.to_vec(),
                    ports: ports.iter().map(|(port, _)| port).collect(),
                    ring_bytes: ring_bytes(),
                    ..ProbeOptions::default()
                };
                let holder = matches!(kind, Kind::NetdigWire(_)).then(std::process::id);
                let mut probe = Probe::start(&options, ports, holder).expect("the probe starts");
                Some(std::thread::spawn(move || {
                    drain(&seen, || probe.poll(usize::MAX, |_, _| {}))
                }))
            }
        };
        Attached { stop, reader }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
    }
}

fn drain(stop: &AtomicBool, mut take: impl FnMut() -> usize) -> u64 {
    let mut idle = Idle::default();
    let mut total = 0;
    while !stop.load(Ordering::Relaxed) {
        let count = take();
        total += count as u64;
        match count {
            0 => idle.sleep(),
            _ => idle.reset(),
        }
    }
    total
}

/// Size of all rings: `RING_KIB` in the environment, or what overlay takes.
fn ring_bytes() -> u32 {
    let kib = std::env::var("RING_KIB")
        .ok()
        .and_then(|kib| kib.parse::<u32>().ok());
    kib.map_or(ProbeOptions::default().ring_bytes, |kib| kib * 1024)
}

fn baseline(name: &str) -> (Ebpf, RingBuf<MapData>) {
    let btf = Btf::load().expect("the kernel has type information");
    let registers: Vec<u32> = ["orig_ax", "di", "si", "dx", "r10", "r8", "r9"]
        .iter()
        .map(|name| btf.offset("pt_regs", name).expect("a register").byte_offset)
        .collect();
    let btf = aya::Btf::from_sys_fs().expect("the kernel has type information");
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .override_global("REGISTERS", &registers[..], true)
        .map_max_entries("EVENTS", ring_bytes())
        .load(BASELINE)
        .expect("the baseline loads");
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .expect("a program")
        .try_into()
        .expect("a tracepoint");
    program.load("sys_exit", &btf).expect("the program loads");
    program.attach().expect("the program attaches");
    let ring = ebpf.take_map("EVENTS").expect("a ring");
    (ebpf, RingBuf::try_from(ring).expect("a ring"))
}

/// The process that makes the calls.
struct Caller {
    _child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Caller {
    fn start() -> Caller {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .arg("--calls")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the caller starts");
        let commands = child.stdin.take().expect("its input");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Caller {
            _child: child,
            commands,
            answers,
        }
    }

    /// Nanoseconds a call.
    fn run(&mut self, workload: &Workload) -> f64 {
        writeln!(self.commands, "{} {}", workload.name, workload.calls).expect("a command");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim().parse().expect("a number")
    }
}

fn make_calls() {
    pin(0);
    let file = temporary_file();
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let sender = UdpSocket::bind("127.0.0.1:8472").or_else(|_| UdpSocket::bind("127.0.0.1:6081"));
    let sender = sender.expect("a tunnel's port is free");
    sender
        .connect(receiver.local_addr().expect("an address"))
        .expect("connected");
    receiver
        .connect(sender.local_addr().expect("an address"))
        .expect("connected");
    let plain = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    plain
        .connect(plain.local_addr().expect("an address"))
        .expect("connected to itself");
    // Tunnel port on both ends, so that the receive is captured too.
    let packet = [0x45u8; 1400];
    let mut buffer = [0u8; 2048];
    for line in std::io::stdin().lines() {
        let line = line.expect("a command");
        let (name, calls) = line.split_once(' ').expect("a command");
        let calls: u64 = calls.parse().expect("a number");
        let start = Instant::now();
        match name {
            "getppid" => (0..calls).for_each(|_| {
                // SAFETY: takes nothing, touches nothing.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }),
            "file" => (0..calls).for_each(|_| {
                // SAFETY: 64 bytes of a live array.
                unsafe { libc::pwrite(file, packet.as_ptr().cast(), 64, 0) };
            }),
            "wire" => (0..calls).for_each(|_| {
                plain.send(&packet[..64]).expect("sent");
                plain.recv(&mut buffer).expect("received");
            }),
            _ => (0..calls).for_each(|_| {
                sender.send(&packet).expect("sent");
                receiver.recv(&mut buffer).expect("received");
            }),
        }
        let nanos = start.elapsed().as_nanos() as f64 / calls as f64;
        println!("{nanos}");
    }
}

fn temporary_file() -> i32 {
    // SAFETY: a literal C string; the descriptor lives as long as the process.
    unsafe { libc::open(c"/dev/shm".as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o600) }
}

fn pin(cpu: usize) {
    // SAFETY: a zeroed set is empty, and its size is told.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}
