//! What a line costs, step by step: `cargo run --release --example line_speed`.

use decoders::{LinkType, Ports, decode};
use netdig::evidence::flow::FlowTable;
use netdig::output::line::write_line;
use std::hint::black_box;
use std::time::Instant;

const CALLS: u32 = 2_000_000;

fn main() {
    let ports = Ports::default();
    let syn = packet(1, 2);
    let data = packet(1, 0x18);
    let many: Vec<Vec<u8>> = (0..50_000).map(|port| packet(port, 0x10)).collect();
    let mut flows = FlowTable::new();
    let mut out = Vec::with_capacity(4096);

    measure("decode", |_| {
        black_box(&decode(
            LinkType::RawIp,
            black_box(&data),
            data.len(),
            &ports,
        ));
    });
    measure("decode, flow (one)", |_| {
        let packet = decode(LinkType::RawIp, black_box(&data), data.len(), &ports);
        black_box(flows.observe(&packet));
    });
    measure("decode, flow (50,000 in turn)", |at| {
        let data = &many[at as usize % many.len()];
        let packet = decode(LinkType::RawIp, data, data.len(), &ports);
        black_box(flows.observe(&packet));
    });
    for (name, data) in [
        ("decode, flow, line of a SYN", &syn),
        ("decode, flow, line of data", &data),
    ] {
        measure(name, |_| {
            let packet = decode(LinkType::RawIp, black_box(data), data.len(), &ports);
            let relative = flows.observe(&packet);
            out.clear();
            write_line(&mut out, &packet, relative.as_ref());
            black_box(&out);
        });
    }
}

fn measure(name: &str, mut call: impl FnMut(u32)) {
    let mut costs: Vec<u128> = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(&mut call);
            start.elapsed().as_nanos()
        })
        .collect();
    costs.sort_unstable();
    println!("{name:<32} {:6.1} ns", costs[2] as f64 / f64::from(CALLS));
}

fn packet(port: u16, flags: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 60, 0, 1, 0, 0, 64, 6, 0, 0];
    packet.extend([
        192,
        168,
        69,
        0,
        192,
        168,
        13,
        2,
        (port >> 8) as u8,
        port as u8,
        0,
        80,
    ]);
    packet.extend([
        0xd8, 6, 0xcd, 0x22, 0, 0, 0, 0, 0xa0, flags, 0x68, 0xaf, 0, 0, 0, 0,
    ]);
    packet.extend([
        2, 4, 0x22, 0xe5, 4, 2, 8, 10, 0, 0x58, 0x19, 0x6d, 0, 0, 0, 0, 1, 3, 3, 7,
    ]);
    packet
}
