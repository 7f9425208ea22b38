use super::*;
use decoders::{LinkType, Ports, decode};

const SYN: u16 = TcpFlags::SYN;
const ACK: u16 = TcpFlags::ACK;

/// One segment; `forth` goes from 10.0.0.1:1000 to 10.0.0.2:80.
fn segment(forth: bool, port: u16, seq: u32, ack: u32, flags: u16, shift: Option<u8>) -> Vec<u8> {
    let options: &[u8] = match shift {
        Some(shift) => &[3, 3, shift, 1],
        None => &[],
    };
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let (source, destination) = if forth { (a, b) } else { (b, a) };
    let (sport, dport) = if forth { (port, 80) } else { (80, port) };
    let len = 40 + options.len() as u8;
    let mut bytes = vec![0x45, 0, 0, len, 0, 0, 0, 0, 64, 6, 0, 0];
    bytes.extend(source);
    bytes.extend(destination);
    bytes.extend(sport.to_be_bytes());
    bytes.extend(dport.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([(5 + options.len() as u8 / 4) << 4, flags as u8]);
    bytes.extend(1000u16.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes
}

fn observe(flows: &mut FlowTable, bytes: &[u8]) -> (u32, u32, u32) {
    let packet = decode(LinkType::RawIp, bytes, bytes.len(), &Ports::default());
    let first = flows.observe(&packet).unwrap();
    assert_eq!(
        flows.observe(&packet),
        Some(first),
        "the same packet, shown twice"
    );
    (first.seq, first.ack, first.window)
}

#[test]
fn a_whole_handshake() {
    let mut flows = FlowTable::new();
    assert_eq!(
        observe(&mut flows, &segment(true, 1, 100, 0, SYN, Some(7))),
        (0, 0, 1000)
    );
    let answer = segment(false, 1, u32::MAX, 101, SYN | ACK, Some(5));
    assert_eq!(observe(&mut flows, &answer), (0, 1, 1000));
    assert_eq!(
        observe(&mut flows, &segment(true, 1, 101, 0, ACK, None)),
        (1, 1, 128_000)
    );
    assert_eq!(
        observe(&mut flows, &segment(false, 1, 9, 111, ACK, None)),
        (10, 11, 32_000)
    );
    assert_eq!(flows.len(), 1);
}

#[test]
fn the_middle_of_a_flow_begins_at_one() {
    let mut flows = FlowTable::new();
    assert_eq!(
        observe(&mut flows, &segment(true, 1, 500, 900, ACK, None)),
        (1, 1, 1000)
    );
    assert_eq!(
        observe(&mut flows, &segment(false, 1, 905, 510, ACK, None)),
        (6, 11, 1000)
    );
}

#[test]
fn ports_used_again_begin_anew() {
    let mut flows = FlowTable::new();
    observe(&mut flows, &segment(true, 1, 100, 0, SYN, Some(7)));
    observe(&mut flows, &segment(false, 1, 300, 101, SYN | ACK, Some(7)));
    assert_eq!(
        observe(&mut flows, &segment(true, 1, 7000, 0, SYN, None)),
        (0, 0, 1000)
    );
    assert_eq!(
        observe(&mut flows, &segment(false, 1, 9, 7001, SYN | ACK, Some(7))),
        (0, 1, 1000)
    );
    assert_eq!(
        observe(&mut flows, &segment(false, 1, 10, 7001, ACK, None)),
        (1, 1, 1000)
    );
}

#[test]
fn scaling_needs_both() {
    let mut flows = FlowTable::new();
    observe(&mut flows, &segment(true, 1, 100, 0, SYN, Some(7)));
    observe(&mut flows, &segment(false, 1, 300, 101, SYN | ACK, None));
    assert_eq!(
        observe(&mut flows, &segment(true, 1, 101, 301, ACK, None)),
        (1, 1, 1000)
    );
    let shift = segment(true, 2, 100, 0, SYN, Some(200));
    observe(&mut flows, &shift);
    assert_eq!(
        observe(&mut flows, &segment(true, 2, 101, 0, ACK, None)).2,
        1000 << 14
    );
}

#[test]
fn the_least_recently_seen_goes() {
    let mut flows = FlowTable::with_limit(3);
    for port in 1..=3 {
        observe(&mut flows, &segment(true, port, 100, 0, SYN, None));
    }
    observe(&mut flows, &segment(true, 1, 101, 0, ACK, None));
    observe(&mut flows, &segment(true, 4, 100, 0, SYN, None));
    assert_eq!(flows.len(), 3);
    // 2 went: what comes now is the middle of something unknown.
    assert_eq!(
        observe(&mut flows, &segment(true, 1, 111, 0, ACK, None)).0,
        11
    );
    assert_eq!(
        observe(&mut flows, &segment(true, 3, 111, 0, ACK, None)).0,
        11
    );
    assert_eq!(
        observe(&mut flows, &segment(true, 2, 111, 0, ACK, None)).0,
        1
    );
    for port in 5..1000 {
        observe(&mut flows, &segment(true, port, 100, 0, SYN, None));
        assert_eq!(flows.len(), 3);
        assert_eq!(flows.index.len(), 3);
    }
}

#[test]
fn a_flood_of_flows_is_bounded() {
    let mut flows = FlowTable::new();
    let mut capacity = 0;
    for flow in 0..3 * MAX_FLOWS as u32 {
        let mut bytes = segment(true, flow as u16, 100, 0, SYN, None);
        bytes[13] = (flow >> 16) as u8;
        observe(&mut flows, &bytes);
        if flow as usize == MAX_FLOWS {
            capacity = flows.slots.capacity() + flows.index.capacity();
        }
    }
    assert_eq!((flows.len(), flows.index.len()), (MAX_FLOWS, MAX_FLOWS));
    assert!(flows.slots.capacity() + flows.index.capacity() <= capacity);
}
