//! The highest rate of tunnel packets that `netdig overlay -q` captures, decodes,
//! joins and counts without loss, and how loss grows above it.
//!
//! One process, in a network namespace of its own, does what a tunnel daemon
//! does: packets of 1400 bytes are queued in its tun, it reads each and sends it
//! on UDP port 8285. netdig shares the two CPUs with it. What netdig counts is
//! held against what was sent: decoded and lost together must be all of it.
//!
//! `cargo bench -p netdig --bench overlay_rate [-- text]`, as root; with `text`,
//! every pair is printed as a line into a file instead of `-q`.
use std::fs::File;
use std::io::Read;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PACKET: usize = 1400;
const BATCH: u64 = 64;
/// Packets a second that are asked for; 0 is as many as the machine makes.
const RATES: [u64; 7] = [50_000, 100_000, 150_000, 200_000, 250_000, 300_000, 0];
const SECONDS: u64 = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments
        .iter()
        .position(|argument| argument == "--generate")
    {
        return generate(arguments[at + 1].parse().expect("a rate"));
    }
    let text = arguments.iter().any(|argument| argument == "text");
    println!("each packet is seen twice, read from the tun and sent on UDP; {SECONDS} s a line");
    println!("   offered/s      made/s   decoded/s    joined/s   lost   unaccounted");
    for rate in RATES {
        measure(rate, text);
    }
}

fn measure(rate: u64, text: bool) {
    let folder = PathBuf::from("/dev/shm").join(format!("netdig-rate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let ready = folder.join("ready");
    let own = std::env::current_exe().expect("own path");
    let mut generator = Command::new(own)
        .args(["--generate", &rate.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the generator starts");
    let printed = folder.join("printed");
    let netdig = start_netdig(&generator, &ready, text.then_some(&printed));
    // Its input closed is the sign to begin.
    drop(generator.stdin.take());
    let mut told = String::new();
    generator
        .stdout
        .take()
        .expect("its output")
        .read_to_string(&mut told)
        .expect("its count");
    generator.wait().expect("it ends");
    let summary = stop(netdig, text.then_some(&printed));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let (made, seconds) = told.trim().split_once(' ').expect("count and time");
    let (made, seconds): (u64, f64) = (made.parse().unwrap(), seconds.parse().unwrap());
    let count = |key: &str| summary[key].as_u64().expect("a count");
    let a_second = |count: u64| count as f64 / seconds;
    let unaccounted = 2 * made as i64 - count("packets") as i64 - count("lost") as i64;
    println!(
        "{rate:>12} {:>11.0} {:>11.0} {:>11.0} {:>6} {unaccounted:>13}",
        a_second(made),
        a_second(count("packets")),
        a_second(count("joined")),
        count("lost"),
    );
}

/// `RING_KIB` in the environment tries another ring size.
fn ring_size() -> Vec<String> {
    let size = std::env::var("RING_KIB").map(|kib| vec!["-B".to_owned(), kib]);
    size.unwrap_or_default()
}

fn start_netdig(generator: &Child, ready: &PathBuf, printed: Option<&PathBuf>) -> Child {
    let _ = std::fs::remove_file(ready);
    let child = Command::new(env!("CARGO_BIN_EXE_netdig"))
        .args(["overlay", "--pid", &generator.id().to_string()])
        .args(match printed {
            Some(_) => &[][..],
            None => &["-q", "--format", "json"],
        })
        .args(ring_size())
        .arg("--ready-file")
        .arg(ready)
        .stdout(match printed {
            Some(path) => Stdio::from(File::create(path).expect("a file")),
            None => Stdio::piped(),
        })
        .spawn()
        .expect("netdig starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready.exists() {
        assert!(Instant::now() < deadline, "netdig is not ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Ends netdig; returns its summary, with `lost` being packets alone and not
/// changes of state, which the rest of the machine makes.
fn stop(mut netdig: Child, printed: Option<&PathBuf>) -> serde_json::Value {
    // SAFETY: a child that was not waited for yet.
    unsafe { libc::kill(netdig.id() as i32, libc::SIGINT) };
    if let Some(path) = printed {
        netdig.wait().expect("it ends");
        return count_lines(path);
    }
    let mut output = String::new();
    netdig
        .stdout
        .take()
        .expect("its output")
        .read_to_string(&mut output)
        .expect("its output");
    netdig.wait().expect("it ends");
    let objects = output
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"));
    let objects: Vec<serde_json::Value> = objects.collect();
    let packets = |object: &&serde_json::Value| {
        object["kind"] == "loss" && (object["event_kind"] == "tun" || object["event_kind"] == "udp")
    };
    let lost = objects
        .iter()
        .filter(packets)
        .filter_map(|object| object["count"].as_u64());
    let mut summary = objects.last().expect("a summary").clone();
    summary["lost"] = lost.sum::<u64>().into();
    summary
}

/// The same from printed text: each line is a joined pair, but for the last ones.
fn count_lines(path: &PathBuf) -> serde_json::Value {
    let text = std::fs::read_to_string(path).expect("what was printed");
    let lines = text
        .lines()
        .filter(|line| line.contains(" → 192.0.2.2:8285 "))
        .count() as u64;
    let lost = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [_, count, "tun" | "udp", "events", "lost", ..] => count.parse::<u64>().ok(),
            _ => None,
        }
    });
    serde_json::json!({ "packets": 2 * lines, "joined": lines, "lost": lost.sum::<u64>() })
}

/// The tunnel daemon: tells how many packets it forwarded, and in how long.
fn generate(rate: u64) {
    // SAFETY: takes no pointer.
    assert_eq!(
        unsafe { libc::unshare(libc::CLONE_NEWNET) },
        0,
        "a namespace needs root"
    );
    let tun = open_tun(b"flannel0");
    // The underlay takes what it is given and drops it: nobody reads it.
    let _underlay = open_tun(b"under0");
    for command in [
        "link set lo up",
        "address add 10.244.0.1/16 dev flannel0",
        "link set flannel0 up txqueuelen 1000",
        "address add 192.0.2.1/24 dev under0",
        "link set under0 up",
    ] {
        let done = Command::new("ip")
            .args(command.split(' '))
            .status()
            .expect("ip runs");
        assert!(done.success(), "ip {command}");
    }
    let inner = UdpSocket::bind("10.244.0.1:0").expect("a socket");
    inner.connect("10.244.1.2:9").expect("a route");
    let outer = UdpSocket::bind("192.0.2.1:8285").expect("a socket");
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("the sign");
    let start = Instant::now();
    let mut made = 0;
    while start.elapsed() < Duration::from_secs(SECONDS) {
        made += forward_batch(&tun, &inner, &outer);
        if rate > 0 {
            let due = Duration::from_secs_f64(made as f64 / rate as f64);
            while start.elapsed() < due {
                // Short waits are spun: a sleep is too coarse at these rates.
                if due.saturating_sub(start.elapsed()) > Duration::from_millis(1) {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
    }
    println!("{made} {}", start.elapsed().as_secs_f64());
}

fn forward_batch(mut tun: &File, inner: &UdpSocket, outer: &UdpSocket) -> u64 {
    // 20 bytes of IP and 8 of UDP are the kernel's.
    let payload = [0x55u8; PACKET - 28];
    let mut buffer = [0u8; 2048];
    for _ in 0..BATCH {
        inner.send(&payload).expect("sent into the tun");
    }
    let mut forwarded = 0;
    for _ in 0..BATCH {
        let length = tun.read(&mut buffer).expect("read from the tun");
        outer
            .send_to(&buffer[..length], "192.0.2.2:8285")
            .expect("sent on UDP");
        forwarded += 1;
    }
    forwarded
}

fn open_tun(called: &[u8]) -> File {
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let mut name = [0; 16];
    name[..called.len()].copy_from_slice(called);
    let request = Request {
        name,
        flags: (libc::IFF_TUN | libc::IFF_NO_PI) as u16,
        rest: [0; 22],
    };
    let path = c"/dev/net/tun";
    // SAFETY: a literal path, a request that outlives the call, and a descriptor
    // that nobody else owns.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDWR);
        assert!(fd >= 0, "/dev/net/tun needs root");
        assert_eq!(
            libc::ioctl(fd, 0x4004_54ca, &raw const request),
            0,
            "TUNSETIFF"
        );
        let file = File::from_raw_fd(fd);
        assert_eq!(file.as_raw_fd(), fd);
        file
    }
}
