use netdig::source::probe;
fn main() {
    let o = probe::ProbeOptions { no_typed_reads: std::env::args().nth(1).is_some(), ..Default::default() };
    let t = std::time::Instant::now();
    let mut l = match probe::load(&o) { Ok(l) => l, Err(e) => { println!("{e}"); return } };
    println!("loaded {:?}", t.elapsed());
    l.attach().unwrap();
    println!("attached {:?}", t.elapsed());
    std::thread::sleep(std::time::Duration::from_secs(4));
    let r = aya::maps::RingBuf::try_from(l.ebpf.take_map("EVENTS").unwrap());
    let mut r = r.unwrap(); let mut n = 0; while let Some(i) = r.next() { n += 1; if n < 20 { println!("{} kind {}", i.len(), i[8]); } } println!("{n}");
}
