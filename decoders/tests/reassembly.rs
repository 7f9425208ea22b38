//! Fragments and segments put together: every corner, any cut, and floods.

mod build;

use build::{ethernet, names, udp, udp_between};
use decoders::reassembly::{Arrival, Buffers, Cause, Limits, Reassembled, Reassembly};
use decoders::{LinkType, Packet, Ports, Reason, decode_into};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that are held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
/// Tests run in one process: only one may allocate while bytes are counted.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: the system's allocator does all; only sums are kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A capture as it goes through: what each frame shows.
struct Run {
    reassembly: Reassembly,
    frame: u64,
    time_ns: u64,
    context: u64,
}

struct Shown {
    layers: Vec<&'static str>,
    stop: Option<Reason>,
    whole: Option<Reassembled>,
    /// Payload of the last layer.
    payload: Vec<u8>,
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Run {
    fn new(limits: Limits) -> Run {
        Run {
            reassembly: Reassembly::new(limits),
            frame: 0,
            time_ns: 1_700_000_000_000_000_000,
            context: 0,
        }
    }

    fn link(&mut self, link: LinkType, data: &[u8], len: usize) -> Shown {
        self.frame += 1;
        let buffers = Buffers::new();
        let mut packet = Packet::new();
        let ports = Ports::default();
        decode_into(&mut packet, link, data, len, &ports);
        let arrival = Arrival {
            frame: self.frame,
            context: self.context,
            time_ns: self.time_ns,
        };
        let whole = match self.reassembly.concerns(&packet) {
            true => self
                .reassembly
                .complete(&mut packet, arrival, &ports, &buffers),
            false => None,
        };
        assert_eq!(packet.frame_len(), len);
        Shown {
            layers: names(&packet),
            stop: packet.stop.map(|stop| stop.reason),
            whole,
            payload: packet
                .layers
                .last()
                .map_or(&[][..], |layer| packet.payload(layer))
                .to_vec(),
        }
    }

    fn raw(&mut self, data: &[u8]) -> Shown {
        self.link(LinkType::RawIp, data, data.len())
    }

    fn frames(&mut self, data: &[u8]) -> Option<Vec<u64>> {
        self.raw(data).whole.map(|whole| whole.frames)
    }

    fn given_up(&self, cause: Cause) -> u64 {
        self.reassembly.datagrams().given_up(cause)
    }

    fn lost_messages(&self, cause: Cause) -> u64 {
        self.reassembly.messages().given_up(cause)
    }
}

fn v4(id: u16, offset: usize, more: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = build::ipv4(protocol, payload);
    let word = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&word.to_be_bytes());
    packet
}

fn v6(id: u16, offset: usize, more: bool, next: u8, payload: &[u8]) -> Vec<u8> {
    let word = (offset as u16 | u16::from(more)).to_be_bytes();
    let id = id.to_be_bytes();
    let header = [next, 0, word[0], word[1], 0, 0, id[0], id[1]];
    build::ipv6(44, &[&header, payload].concat())
}

type Form = fn(u16, usize, bool, u8, &[u8]) -> Vec<u8>;

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

#[test]
fn any_cut_in_any_order_gives_the_same_bytes() {
    let _alone = alone();
    let mut numbers = Numbers(7);
    for round in 0..400u16 {
        let len = 1 + numbers.below(if round % 10 == 0 { 60_000 } else { 3000 });
        let payload: Vec<u8> = (0..len).map(|_| numbers.below(256) as u8).collect();
        let datagram = udp_between(1000, 2000, &payload);
        let form: Form = if round % 2 == 0 { v4 } else { v6 };
        let mut parts = Vec::new();
        let mut at = 0;
        while at < datagram.len() {
            let size = 8 * (1 + numbers.below(1 + datagram.len() / 16));
            let end = datagram.len().min(at + size);
            let more = end < datagram.len();
            parts.push(form(round, at, more, 17, &datagram[at..end]));
            at = end;
        }
        if parts.len() < 2 {
            continue;
        }
        for _ in 0..numbers.below(4) {
            let again = parts[numbers.below(parts.len())].clone();
            parts.insert(numbers.below(parts.len()), again);
        }
        for at in 0..parts.len() {
            let other = numbers.below(parts.len());
            parts.swap(at, other);
        }
        let mut run = Run::new(Limits::default());
        let whole = parts
            .iter()
            .map(|part| run.raw(part))
            .filter(|shown| shown.whole.is_some())
            .collect::<Vec<_>>();
        // Duplicates alone cannot make it whole again, but all of them might.
        assert!(!whole.is_empty(), "round {round}: {} parts", parts.len());
        for shown in whole {
            assert_eq!(shown.layers.last(), Some(&"udp"));
            assert_eq!(shown.payload, payload, "round {round}");
            assert_eq!(shown.stop, None);
        }
    }
}

#[test]
fn networks_do_not_mix() {
    let _alone = alone();
    let datagram = udp_between(1000, 2000, &[7; 16]);
    let first = v4(9, 0, true, 17, &datagram[..8]);
    let last = v4(9, 8, false, 17, &datagram[8..]);
    let vxlan = |vni: u8, inner: &[u8]| {
        let header = [8, 0, 0, 0, 0, 0, vni, 0];
        let frame = ethernet(0x0800, inner);
        build::ipv4(17, &udp(4789, &[&header[..], &frame].concat()))
    };
    let mut run = Run::new(Limits::default());
    assert_eq!(run.frames(&vxlan(1, &first)), None);
    assert_eq!(run.frames(&vxlan(2, &last)), None);
    assert_eq!(run.frames(&last), None);
    run.context = 1;
    assert_eq!(run.frames(&vxlan(1, &last)), None);
    run.context = 0;
    let shown = run.raw(&vxlan(1, &last));
    assert_eq!(shown.whole.unwrap().frames, [1, 5]);
    assert_eq!(shown.layers, ["ipv4", "udp", "vxlan", "eth", "ipv4", "udp"]);
    assert_eq!(run.reassembly.waiting(), (3, 0));
    // Other protocol, other identification.
    let mut run = Run::new(Limits::default());
    assert_eq!(run.frames(&first), None);
    assert_eq!(run.frames(&v4(9, 8, false, 6, &datagram[8..])), None);
    assert_eq!(run.frames(&v4(8, 8, false, 17, &datagram[8..])), None);
    assert_eq!(run.frames(&last), Some(vec![1, 4]));
}

#[test]
fn fragments_of_a_tunnel_and_fragments_within() {
    let _alone = alone();
    let inner = udp_between(1000, 2000, &[7; 32]);
    let header = [8, 0, 0, 0, 0, 0, 5, 0];
    let outer = |part: &[u8]| {
        let frame = ethernet(0x0800, part);
        udp(4789, &[&header[..], &frame].concat())
    };
    let one = outer(&v4(9, 0, true, 17, &inner[..16]));
    let two = outer(&v4(9, 16, false, 17, &inner[16..]));
    let mut run = Run::new(Limits::default());
    let show = |run: &mut Run, id, datagram: &[u8]| {
        let first = run.raw(&v4(id, 0, true, 17, &datagram[..40]));
        assert_eq!(first.layers[..3], ["ipv4", "udp", "vxlan"]);
        run.raw(&v4(id, 40, false, 17, &datagram[40..]))
    };
    let shown = show(&mut run, 1, &one);
    assert_eq!(shown.whole.unwrap().frames, [1, 2]);
    assert_eq!(shown.layers, ["ipv4", "udp", "vxlan", "eth", "ipv4", "udp"]);
    // The innermost is told: its parts became whole in frames 2 and 4.
    let shown = show(&mut run, 2, &two);
    assert_eq!(shown.whole.unwrap().frames, [2, 4]);
    assert_eq!(shown.payload, [7; 32]);
    assert_eq!(run.reassembly.datagrams().whole, 3);
}

#[test]
fn checksums_of_what_was_put_together() {
    use decoders::checksum::{Verdict, verify};
    let _alone = alone();
    let mut datagram = udp_between(1000, 2000, &[7; 40]);
    datagram[7] = 1;
    let verdict = |datagram: &[u8]| {
        let mut reassembly = Reassembly::new(Limits::default());
        let first = v4(9, 0, true, 17, &datagram[..16]);
        let last = v4(9, 16, false, 17, &datagram[16..]);
        let (buffers, ports) = (Buffers::new(), Ports::default());
        let mut packet = Packet::new();
        for data in [&first, &last] {
            decode_into(&mut packet, LinkType::RawIp, data, data.len(), &ports);
            let arrival = Arrival {
                frame: 1,
                context: 0,
                time_ns: 0,
            };
            reassembly.complete(&mut packet, arrival, &ports, &buffers);
        }
        let mut sums = verify(&packet);
        sums.find(|sum| sum.layer == "udp").unwrap().verdict
    };
    let Verdict::Wrong { expected, found: 1 } = verdict(&datagram) else {
        panic!("{:?}", verdict(&datagram));
    };
    datagram[6..8].copy_from_slice(&expected.to_be_bytes());
    assert_eq!(verdict(&datagram), Verdict::Right);
}

#[test]
fn overlaps() {
    let _alone = alone();
    let datagram: Vec<u8> = udp_between(1, 2, &(0..40).collect::<Vec<u8>>());
    // IPv4: what begins first wins, of equal beginnings the earlier.
    let mut run = Run::new(Limits::default());
    assert_eq!(run.frames(&v4(1, 16, false, 17, &[0xee; 32])), None);
    assert_eq!(run.frames(&v4(1, 8, true, 17, &datagram[8..32])), None);
    assert_eq!(run.frames(&v4(1, 8, true, 17, &[0xdd; 24])), None);
    let shown = run.raw(&v4(1, 0, true, 17, &datagram[..8]));
    assert_eq!(shown.whole.unwrap().frames, [4, 2, 3, 1]);
    assert_eq!(shown.payload, [&datagram[8..32], &[0xee; 16]].concat());
    // IPv6: the datagram is dropped, and what still comes of it.
    let mut run = Run::new(Limits::default());
    assert_eq!(run.frames(&v6(1, 16, false, 17, &datagram[16..])), None);
    assert_eq!(run.frames(&v6(1, 8, true, 17, &datagram[8..32])), None);
    assert_eq!(run.given_up(Cause::Overlap), 1);
    assert_eq!(run.frames(&v6(1, 8, true, 17, &datagram[8..16])), None);
    assert_eq!(run.frames(&v6(1, 0, true, 17, &datagram[..8])), None);
    assert_eq!(run.reassembly.waiting(), (0, 0));
    // A fragment that merely came twice does no harm.
    assert_eq!(run.frames(&v6(2, 0, true, 17, &datagram[..8])), None);
    assert_eq!(run.frames(&v6(2, 0, true, 17, &datagram[..8])), None);
    assert_eq!(
        run.frames(&v6(2, 8, false, 17, &datagram[8..])),
        Some(vec![5, 7])
    );
}

#[test]
fn wrong_lengths() {
    let _alone = alone();
    let mut run = Run::new(Limits::default());
    // Longer than IP can be.
    assert_eq!(run.frames(&v4(1, 65_528, false, 17, &[1; 8])), None);
    assert_eq!(run.given_up(Cause::Length), 1);
    assert_eq!(run.frames(&v6(1, 65_528, false, 17, &[1; 8])), None);
    assert_eq!(run.given_up(Cause::Length), 2);
    // Two ends, bytes behind the end, no multiple of eight in IPv6.
    run.raw(&v4(2, 8, false, 17, &[1; 8]));
    run.raw(&v4(2, 16, false, 17, &[1; 8]));
    assert_eq!(run.given_up(Cause::Length), 3);
    run.raw(&v4(3, 64, true, 17, &[1; 8]));
    run.raw(&v4(3, 8, false, 17, &[1; 8]));
    assert_eq!(run.given_up(Cause::Length), 4);
    run.raw(&v6(4, 0, true, 17, &[1; 9]));
    assert_eq!(run.given_up(Cause::Length), 5);
    // As long as IP can be.
    let datagram = udp_between(1, 2, &[7; 65_535 - 28]);
    run.raw(&v4(5, 0, true, 17, &datagram[..65_504]));
    let shown = run.raw(&v4(5, 65_504, false, 17, &datagram[65_504..]));
    assert_eq!(shown.whole.unwrap().len, 65_515);
    // Cut by the capture: not kept.
    let part = v4(6, 0, true, 17, &datagram[..800]);
    run.link(LinkType::RawIp, &part[..100], part.len());
    assert_eq!(run.reassembly.waiting(), (0, 0));
}

#[test]
fn age_parts_and_number_are_bounded() {
    let _alone = alone();
    let limits = Limits {
        datagrams: 3,
        parts: 4,
        ..Limits::default()
    };
    for (form, age) in [(v4 as Form, limits.ipv4_age_ns), (v6, limits.ipv6_age_ns)] {
        let mut run = Run::new(limits);
        let datagram = udp_between(1, 2, &[7; 40]);
        run.raw(&form(1, 0, true, 17, &datagram[..8]));
        run.time_ns += age;
        let last = form(1, 8, false, 17, &datagram[8..]);
        assert_eq!(run.frames(&last), Some(vec![1, 2]), "in time");
        run.raw(&form(1, 0, true, 17, &datagram[..8]));
        run.time_ns += age + 1;
        assert_eq!(run.frames(&last), None, "too late");
        assert_eq!(run.given_up(Cause::Age), 1);
        // A time long before is as far away.
        run.time_ns = 0;
        let first = form(1, 0, true, 17, &datagram[..8]);
        assert_eq!(run.frames(&first), None);
        assert_eq!(run.given_up(Cause::Age), 2);
        assert_eq!(run.frames(&last), Some(vec![5, 6]));
        for at in 0..5 {
            run.raw(&form(2, 16 * at, true, 17, &datagram[..8]));
        }
        assert_eq!(run.given_up(Cause::Parts), 1);
        for id in 3..6 {
            run.raw(&form(id, 0, true, 17, &datagram[..8]));
        }
        assert_eq!(run.given_up(Cause::Number), 0, "the one given up went");
        run.raw(&form(6, 0, true, 17, &datagram[..8]));
        assert_eq!(run.given_up(Cause::Number), 1, "the oldest");
        run.frames(&form(3, 8, false, 17, &datagram[8..]));
        assert_eq!(run.reassembly.waiting().0, 3);
    }
}

fn segment(sequence: u32, flags: u8, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut bytes = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    bytes.extend(data);
    build::ipv4(6, &bytes)
}

fn dns_message(id: u8, padding: usize) -> Vec<u8> {
    let mut message = vec![0, id, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    message.extend([1, b'a', 0, 0, 1, 0, 1]);
    message.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9]);
    message.extend((padding as u16).to_be_bytes());
    message.extend(vec![0; padding]);
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

#[test]
fn messages_in_any_segments() {
    let _alone = alone();
    let dns = [dns_message(1, 300), dns_message(2, 200)].concat();
    let http = b"GET /a HTTP/1.1\r\nHost: x\r\nAccept: y\r\n\r\n".to_vec();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let tls = [&[22, 3, 1, 1, 44, 1, 0, 1, 40, 3, 3][..], &[9; 294]].concat();
    let records = [
        &[23, 3, 3, 0, 90][..],
        &[1; 90],
        &[23, 3, 3, 0, 60],
        &[2; 60],
    ]
    .concat();
    let cases: [(&str, u16, &[u8], usize); 5] = [
        ("dns", 53, &dns, 2),
        ("http", 8080, &http, 5),
        ("http2", 2379, &preface, 3),
        ("tls", 443, &tls, 12),
        ("tls", 443, &records, 12),
    ];
    let mut numbers = Numbers(3);
    for round in 0..300u32 {
        let (name, port, bytes, least) = cases[round as usize % cases.len()];
        // Sequence numbers that wrap too.
        let base = 0u32.wrapping_sub(round * 3);
        let first = least + numbers.below(bytes.len() - least);
        let mut cuts: Vec<usize> = (0..numbers.below(6))
            .map(|_| numbers.below(bytes.len()))
            .collect();
        cuts.retain(|cut| *cut > first);
        cuts.extend([first, bytes.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut run = Run::new(Limits::default());
        let mut send = |from: usize, to: usize| {
            let data = segment(
                base.wrapping_add(from as u32),
                0x18,
                (40_000, port),
                &bytes[from..to],
            );
            run.raw(&data)
        };
        send(0, first);
        let mut parts: Vec<_> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        if name != "dns" && bytes != records {
            // Out of order, and with overlaps.
            for at in 0..parts.len() {
                parts.swap(at, numbers.below(usize::MAX) % (at + 1));
            }
            if let Some(part) = parts.last().copied() {
                parts.push((part.0.saturating_sub(3).max(1), part.1));
            }
        }
        let seen: Vec<_> = parts.iter().map(|&(from, to)| send(from, to)).collect();
        let whole: Vec<_> = seen.iter().filter(|shown| shown.whole.is_some()).collect();
        let between =
            (name == "dns" && first == dns_message(1, 300).len()) || (name == "tls" && first == 95);
        assert!(
            !whole.is_empty() || between || first == bytes.len(),
            "{name} {parts:?}"
        );
        for shown in &whole {
            assert_eq!(shown.layers[2], name, "{parts:?}");
        }
        assert_eq!(run.reassembly.waiting(), (0, 0), "{name} {first} {parts:?}");
    }
}

#[test]
fn parts_have_no_layer_of_their_own() {
    let _alone = alone();
    let bytes = dns_message(1, 300);
    let ports = (40_000, 53);
    let mut run = Run::new(Limits::default());
    let first = run.raw(&segment(100, 0x18, ports, &bytes[..100]));
    assert_eq!(first.layers, ["ipv4", "tcp"]);
    let ahead = run.raw(&segment(300, 0x18, ports, &bytes[200..300]));
    assert_eq!(ahead.layers, ["ipv4", "tcp"]);
    assert_eq!(
        ahead.stop,
        Some(Reason::Segmented {
            missing: bytes.len() - 100
        })
    );
    let again = run.raw(&segment(100, 0x18, ports, &bytes[..100]));
    assert_eq!((again.layers.len(), again.whole), (2, None));
    assert_eq!(
        run.frames(&segment(150, 0x18, ports, &bytes[50..200])),
        None
    );
    let shown = run.raw(&segment(400, 0x18, ports, &bytes[300..]));
    assert_eq!(shown.whole.unwrap().frames, [1, 4, 2, 5]);
    assert_eq!(
        (shown.layers.as_slice(), shown.stop),
        (&["ipv4", "tcp", "dns"][..], None)
    );
    // Sent again, it is not begun again.
    run.raw(&segment(100, 0x18, ports, &bytes[..100]));
    assert_eq!(run.reassembly.waiting(), (0, 0));
    assert_eq!(run.reassembly.messages().whole, 1);
}

#[test]
fn what_ends_a_message_that_is_not_whole() {
    let _alone = alone();
    let bytes = dns_message(1, 300);
    let ports = (40_000, 53);
    let begun = || {
        let mut run = Run::new(Limits::default());
        run.raw(&segment(100, 0x18, ports, &bytes[..100]));
        assert_eq!(run.reassembly.waiting(), (0, 1));
        run
    };
    let mut run = begun();
    run.raw(&segment(200, 0x04, ports, b""));
    assert_eq!(
        (run.lost_messages(Cause::Ended), run.reassembly.waiting().1),
        (1, 0)
    );
    let mut run = begun();
    run.time_ns += Limits::default().stream_age_ns + 1;
    run.raw(&segment(200, 0x18, ports, &bytes[100..]));
    assert_eq!(
        (run.lost_messages(Cause::Age), run.reassembly.waiting().1),
        (1, 0)
    );
    let mut run = begun();
    run.raw(&segment(9000, 0x18, ports, &bytes[..50]));
    assert_eq!(
        (run.lost_messages(Cause::Gap), run.reassembly.waiting().1),
        (1, 1)
    );
    // A head without end.
    let mut run = Run::new(Limits::default());
    run.raw(&segment(0, 0x18, (1, 80), b"GET / HTTP/1.1\r\n"));
    for at in 0..60 {
        let line = [b"X: ".as_slice(), &[b'y'; 1395], b"\r\n"].concat();
        run.raw(&segment(16 + 1400 * at, 0x18, (1, 80), &line));
    }
    assert_eq!(
        (run.lost_messages(Cause::Length), run.reassembly.waiting().1),
        (1, 0)
    );
    // One of very many segments.
    let mut run = Run::new(Limits::default());
    run.raw(&segment(0, 0x18, (1, 80), b"GET / HTTP/1.1\r\nX: "));
    for at in 0..1100 {
        run.raw(&segment(19 + at, 0x18, (1, 80), b"y"));
    }
    assert_eq!(
        (run.lost_messages(Cause::Parts), run.reassembly.waiting().1),
        (1, 0)
    );
}

/// Bytes that are held once `flood` went through, and the most while it did.
fn held_under(limits: Limits, mut flood: impl FnMut(&mut Run, u32)) -> (Run, usize) {
    let before = HELD.load(Ordering::SeqCst);
    let mut run = Run::new(limits);
    let mut most = 0;
    for at in 0..60_000 {
        flood(&mut run, at);
        run.time_ns += 1000;
        most = most.max(HELD.load(Ordering::SeqCst) - before);
        assert!(run.reassembly.kept_bytes() <= 2 * limits.bytes);
    }
    (run, most)
}

#[test]
fn floods_are_bounded() {
    let _alone = alone();
    let small = Limits {
        bytes: 512 << 10,
        ..Limits::default()
    };
    // Maps of that many entries, however full, and one frame under way.
    let maps = 4096 * 2 * 320;
    let address = |packet: &mut [u8], at: u32| packet[12..16].copy_from_slice(&at.to_be_bytes());
    let fragments = [(8, true), (1400, true), (64_000, false)];
    for (len, by_number) in fragments {
        let mut packet = v4(1, 8, true, 17, &vec![1; len]);
        let (run, most) = held_under(small, |run, at| {
            address(&mut packet, at);
            run.raw(&packet);
        });
        assert!(most < small.bytes + maps + 200_000, "{len}: {most} bytes");
        let lost = run.given_up(Cause::Memory) + run.given_up(Cause::Number);
        assert_eq!(lost + run.reassembly.waiting().0, 60_000);
        assert!(by_number || run.given_up(Cause::Memory) > 50_000);
    }
    let bytes = dns_message(1, 60_000);
    for len in [40, 1400, 50_000] {
        let mut packet = segment(1, 0x18, (40_000, 53), &bytes[..len]);
        let (run, most) = held_under(small, |run, at| {
            address(&mut packet, at);
            run.raw(&packet);
        });
        assert!(most < small.bytes + maps + 300_000, "{len}: {most} bytes");
        let lost = run.lost_messages(Cause::Memory) + run.lost_messages(Cause::Number);
        assert_eq!(lost + run.reassembly.waiting().1, 60_000);
    }
}

#[test]
fn ordinary_packets_are_none_of_its_business() {
    let _alone = alone();
    let run = Run::new(Limits::default());
    let plain = [
        build::ipv4(17, &udp_between(1, 2, b"abc")),
        segment(1, 0x18, (1, 2), b"some bytes of nothing known"),
        segment(1, 0x18, (1, 80), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        segment(1, 0x18, (1, 53), &dns_message(1, 10)),
        segment(1, 0x18, (1, 443), &[23, 3, 3, 0, 3, 1, 2, 3]),
    ];
    for data in &plain {
        let mut packet = Packet::new();
        decode_into(
            &mut packet,
            LinkType::RawIp,
            data,
            data.len(),
            &Ports::default(),
        );
        assert!(!run.reassembly.concerns(&packet), "{:?}", names(&packet));
    }
}

const HTTP: (u16, u16) = (40_000, 80);
const TLS: (u16, u16) = (40_000, 443);

/// Records of application data, `body` bytes each.
fn tls_records(count: usize, body: usize) -> Vec<u8> {
    let mut record = vec![23, 3, 3];
    record.extend((body as u16).to_be_bytes());
    record.resize(5 + body, 0x55);
    record.repeat(count)
}

#[test]
fn what_stands_behind_a_gap_ends_a_head_without_an_end() {
    let _alone = alone();
    let mut run = Run::new(Limits::default());
    run.raw(&segment(100, 0x18, HTTP, b"GET /lost HTTP/1.1\r\nHost: a"));
    for at in 0..3 {
        let request = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
        let shown = run.raw(&segment(900 + at * 29, 0x18, HTTP, request));
        assert_eq!(shown.layers, ["ipv4", "tcp", "http"], "{at}");
    }
    assert_eq!(run.reassembly.waiting(), (0, 0));
}

/// As segmentation offload makes them: larger than any message.
#[test]
fn large_segments_end_messages_and_begin_others() {
    let _alone = alone();
    let mut run = Run::new(Limits::default());
    let bytes = tls_records(40, 16_390);
    for (at, part) in bytes.chunks(65_000).enumerate() {
        let shown = run.raw(&segment(at as u32 * 65_000, 0x10, TLS, part));
        assert_eq!(shown.layers.last(), Some(&"tls"), "{at}");
    }
    assert_eq!(run.reassembly.waiting(), (0, 0));
}

#[test]
fn a_busy_stream_does_not_age() {
    let _alone = alone();
    let limits = Limits::default();
    let mut run = Run::new(limits);
    let bytes = tls_records(200, 1400);
    for (at, part) in bytes.chunks(1000).enumerate() {
        run.raw(&segment(at as u32 * 1000, 0x10, TLS, part));
        run.time_ns += limits.stream_age_ns / 10;
    }
    assert_eq!(run.lost_messages(Cause::Age), 0);
    assert!(run.reassembly.messages().whole > 100);
}

#[test]
fn data_of_a_syn_begin_behind_it() {
    let _alone = alone();
    let mut run = Run::new(Limits::default());
    run.raw(&segment(100, 0x02, HTTP, b"GET / HTTP/1.1\r\nHo"));
    let shown = run.raw(&segment(119, 0x18, HTTP, b"st: a\r\n\r\n"));
    assert_eq!(shown.whole.expect("whole").frames, [1, 2]);
}

#[test]
fn a_message_may_begin_with_a_single_byte() {
    let _alone = alone();
    let bytes = dns_message(1, 40);
    let ports = (40_000, 53);
    let mut run = Run::new(Limits::default());
    run.raw(&segment(100, 0x18, ports, &bytes[..1]));
    run.raw(&segment(101, 0x18, ports, &bytes[1..2]));
    let shown = run.raw(&segment(102, 0x18, ports, &bytes[2..]));
    assert_eq!(shown.layers, ["ipv4", "tcp", "dns"]);
    assert_eq!(shown.whole.expect("whole").frames, [1, 2, 3]);
    // One that only asks whether the other end is alive begins nothing.
    run.raw(&segment(900, 0x10, ports, &[0]));
    assert_eq!(run.reassembly.waiting(), (0, 0));
}

#[test]
fn the_end_of_a_method_is_none() {
    let _alone = alone();
    let mut run = Run::new(Limits::default());
    let shown = run.raw(&segment(
        100,
        0x18,
        HTTP,
        b"T /x HTTP/1.1\r\nHost: a\r\n\r\n",
    ));
    assert_eq!(shown.layers, ["ipv4", "tcp"]);
}
