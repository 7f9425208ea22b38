//! How long the rules take on a big host, and how that grows; and the search for overlaps.
//!
//! `cargo bench -p netdig --bench rules_scale`. Each size runs in a process of its own, so
//! that its peak memory is its own.

#[path = "../tests/rules_scale/world.rs"]
mod world;

use std::process::Command;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};
use netdig::rules::prefixes::Index;
use netdig::rules::{View, evaluate};

/// Numbers of routes; a fifth of them have a lease behind.
const SIZES: [usize; 4] = [50_000, 100_000, 200_000, 400_000];
const PREFIXES: u32 = 1_000_000;

fn main() {
    if let Some(routes) = std::env::var("NETDIG_ROUTES")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        return one(routes);
    }
    println!(
        "{:>9} {:>8} {:>10} {:>10} {:>8} {:>9}",
        "routes", "leases", "s", "ns/n log n", "growth", "peak MiB"
    );
    let mut last = None;
    for routes in SIZES {
        let (seconds, peak_kib) = apart(routes);
        let n = routes as f64;
        let per = seconds * 1e9 / (n * n.log2());
        let growth = last.map_or_else(String::new, |last: f64| format!("{:.2}", seconds / last));
        println!(
            "{routes:>9} {:>8} {seconds:>10.3} {per:>10.1} {growth:>8} {:>9}",
            routes / 5,
            peak_kib / 1024
        );
        last = Some(seconds);
    }
    println!();
    for (name, prefixes) in [("side by side", flat()), ("nested by four", nested())] {
        let start = Instant::now();
        let index = Index::new(prefixes.iter().copied().zip(0..));
        let made = start.elapsed().as_secs_f64();
        let pairs: usize = prefixes.iter().map(|net| overlaps(&index, *net)).sum();
        println!(
            "{PREFIXES} prefixes {name}: {pairs} overlaps in {:.3} s, {made:.3} s of it to sort",
            start.elapsed().as_secs_f64()
        );
    }
}

/// As the rules ask: who holds it, and who lies in it; each counts itself among both.
fn overlaps(index: &Index, net: IpNet) -> usize {
    let within = index.within(net).len() - 1;
    std::hint::black_box(within);
    index.holding(net).count() - 1
}

/// Runs one size in a process of its own: seconds and peak KiB, the context itself included.
fn apart(routes: usize) -> (f64, u64) {
    let this = std::env::current_exe().expect("a path");
    let output = Command::new(this)
        .env("NETDIG_ROUTES", routes.to_string())
        .output();
    let output = output.expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut words = text.split_whitespace();
    let seconds = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("seconds");
    let peak = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("KiB");
    (seconds, peak)
}

fn one(routes: usize) {
    let context = world::world(routes);
    let best = (0..3)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(evaluate(&View::new(&context, None)));
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak
        .and_then(|rest| rest.split_whitespace().next())
        .expect("VmHWM");
    println!("{best} {peak}");
}

fn flat() -> Vec<IpNet> {
    (0..PREFIXES).map(|n| net(n << 8, 24)).collect()
}

/// Chains of four, each prefix within the one before.
fn nested() -> Vec<IpNet> {
    (0..PREFIXES)
        .map(|n| net((n / 4) << 10, 22 + (n % 4) as u8))
        .collect()
}

fn net(address: u32, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new(address.into(), length).expect("a length"))
}
