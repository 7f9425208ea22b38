//! What decoding costs beside etherparse, in one run:
//! `cargo bench -p decoders`. Compare the ratios; nanoseconds differ between
//! machines.

use decoders::{LinkType, Packet, Ports, decode, decode_into, identity};
use etherparse::SlicedPacket;
use hickory_proto::op::Message;
use pnet_packet::FromPacket;
use pnet_packet::dns::DnsPacket;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts allocations, to prove that decoding makes none.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's own promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(20);

fn main() {
    let ports = Ports::default();
    let inner = tcp_packet(1348);
    let tunnelled = carried(&inner);
    let short = tcp_packet(20);
    let outer_len = 14 + 20 + 8;

    let reference = measure("etherparse: outer and inner packet", None, || {
        let outer = SlicedPacket::from_ethernet(black_box(&tunnelled));
        let inner = SlicedPacket::from_ip(black_box(&tunnelled[outer_len..]));
        (outer.is_ok(), inner.is_ok())
    });
    measure("decode: flannel-udp in Ethernet", Some(reference), || {
        let packet = decode(
            LinkType::Ethernet,
            black_box(&tunnelled),
            tunnelled.len(),
            &ports,
        );
        black_box(&packet).layers.len()
    });
    measure("decode_into: the same", Some(reference), || {
        let mut packet = Packet::new();
        let data = black_box(&tunnelled[..]);
        decode_into(&mut packet, LinkType::Ethernet, data, data.len(), &ports);
        black_box(&packet).layers.len()
    });
    let in_vxlan = carried_by_vxlan(&inner);
    let reference = measure("etherparse: outer and inner frame", None, || {
        let outer = SlicedPacket::from_ethernet(black_box(&in_vxlan));
        let inner = SlicedPacket::from_ethernet(black_box(&in_vxlan[outer_len + 8..]));
        (outer.is_ok(), inner.is_ok())
    });
    measure("decode_into: VXLAN in Ethernet", Some(reference), || {
        let mut packet = Packet::new();
        let data = black_box(&in_vxlan[..]);
        decode_into(&mut packet, LinkType::Ethernet, data, data.len(), &ports);
        black_box(&packet).layers.len()
    });
    let reference = measure("etherparse: bare packet", None, || {
        SlicedPacket::from_ip(black_box(&inner)).is_ok()
    });
    measure("decode: bare packet", Some(reference), || {
        let packet = decode(LinkType::RawIp, black_box(&inner), inner.len(), &ports);
        black_box(&packet).layers.len()
    });
    measure("decode_into: the same", Some(reference), || {
        let mut packet = Packet::new();
        let data = black_box(&inner[..]);
        decode_into(&mut packet, LinkType::RawIp, data, data.len(), &ports);
        black_box(&packet).layers.len()
    });
    measure("identity: 1400 bytes", Some(reference), || {
        identity(black_box(&inner))
    });
    measure("identity: 60 bytes", Some(reference), || {
        identity(black_box(&short))
    });
    dns(&ports);
    let frames = [&tunnelled, &in_vxlan, &dns_frame(true)];
    without_allocation(&frames.map(|frame| frame.as_slice()), &ports);
}

/// A query and an answer: found in their packet, and with every record read,
/// beside hickory-proto and pnet_packet on the bare message. The latter leaves names
/// and data as bytes, and takes as many records for answers as there are questions:
/// of the answer here it finds the second record among the authorities.
fn dns(ports: &Ports) {
    for (what, frame) in [("query", dns_frame(false)), ("answer", dns_frame(true))] {
        let reference = measure(&format!("hickory-proto: DNS {what}"), None, || {
            Message::from_vec(black_box(&frame[14 + 20 + 8..])).is_ok()
        });
        measure(&format!("pnet_packet: DNS {what}"), Some(reference), || {
            let message = DnsPacket::new(black_box(&frame[14 + 20 + 8..])).expect("DNS");
            let parsed = message.from_packet();
            parsed.responses.len() + parsed.authorities.len()
        });
        let decode = || decode(LinkType::Ethernet, black_box(&frame), frame.len(), ports);
        measure(
            &format!("decode: frame with it, {what}"),
            Some(reference),
            || black_box(decode()).layers.len(),
        );
        measure(
            &format!("decode and read it, {what}"),
            Some(reference),
            || {
                let packet = decode();
                let parsed = packet.dns().expect("DNS").parse();
                parsed.answers.len()
            },
        );
    }
}

fn without_allocation(frames: &[&[u8]], ports: &Ports) {
    const TIMES: u64 = 10_000;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for frame in frames {
        for _ in 0..TIMES {
            let packet = decode(LinkType::Ethernet, black_box(frame), frame.len(), ports);
            assert!(packet.layers.len() > 3 && packet.stop.is_none());
            black_box(&packet);
        }
    }
    let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!(
        "allocations in {} packets: {made}",
        TIMES * frames.len() as u64
    );
    assert_eq!(made, 0);
}

/// Prints and returns the median cost of one call, in nanoseconds.
fn measure<T>(name: &str, reference: Option<f64>, mut call: impl FnMut() -> T) -> f64 {
    let mut costs: Vec<f64> = (0..ROUNDS).map(|_| round(&mut call)).collect();
    costs.sort_by(f64::total_cmp);
    let cost = costs[ROUNDS / 2];
    match reference {
        Some(reference) => println!("{name:<40} {cost:7.1} ns  {:5.2} ×", cost / reference),
        None => println!("{name:<40} {cost:7.1} ns  1"),
    }
    cost
}

fn round<T>(call: &mut impl FnMut() -> T) -> f64 {
    const BATCH: u32 = 1000;
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < ROUND {
        for _ in 0..BATCH {
            black_box(call());
        }
        calls += BATCH;
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// A data segment with timestamps, as most packets of a tunnel are.
fn tcp_packet(payload: usize) -> Vec<u8> {
    let len = (20 + 32 + payload) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 63, 6, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend([192, 168, 69, 0, 192, 168, 13, 2]);
    packet.extend([
        0xcc, 0x37, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 1, 0, 0, 0, 0, 0,
    ]);
    packet.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    packet.extend((0..payload).map(|at| at as u8));
    packet
}

/// flannel's datagram around it, in an Ethernet frame.
fn carried(inner: &[u8]) -> Vec<u8> {
    in_udp(8285, inner)
}

fn carried_by_vxlan(inner: &[u8]) -> Vec<u8> {
    let ethernet = [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4, 8, 0];
    in_udp(
        4789,
        &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet, inner].concat(),
    )
}

fn dns_frame(answer: bool) -> Vec<u8> {
    let mut message = vec![0x93, 0x17, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x05nginx\x03svc\x07cluster\x05local\0\0\x01\0\x01");
    if answer {
        message[2] = 0x81;
        message[7] = 2;
        for last in [1, 2] {
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 1, 13, last]);
        }
    }
    in_udp(53, &message)
}

fn in_udp(port: u16, inner: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let len = (20 + 8 + inner.len()) as u16;
    frame.extend([
        0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 1, 1, 95, 10, 1, 1, 187,
    ]);
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    frame.extend([0x20, 0x5d]);
    frame.extend(port.to_be_bytes());
    frame.extend((8 + inner.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(inner);
    frame
}
