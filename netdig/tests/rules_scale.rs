//! The rules on a big host: what grows with the square of routes or leases is noticed.
//!
//! benches/rules_scale.rs measures; here a bound so generous that no slow machine trips
//! over it, and only growth of another kind does.

#[path = "rules_scale/world.rs"]
mod world;

use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use netdig::rules::prefixes::Index;
use netdig::rules::{View, evaluate};

/// Seconds where it is n log n are hundredths; the square of 40,000 takes minutes.
const BOUND: Duration = Duration::from_secs(10);

#[test]
fn forty_thousand_routes_with_their_leases_are_judged_at_once() {
    let mut context = world::world(40_000);
    // Something for the rules to find: the underlay takes one lease's subnet.
    context.net.routes[10].hops[0].dev = Some("eth0".to_owned());
    let start = Instant::now();
    let report = evaluate(&View::new(&context, None));
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    let first = report.findings.first().expect("a finding");
    assert_eq!(first.code.to_string(), "ND101", "{}", first.title);
}

/// Seconds that the rules take, the best of three.
fn judged(routes: usize) -> f64 {
    let context = world::broken(routes);
    let once = |_| {
        let start = Instant::now();
        let report = evaluate(&View::new(&context, None));
        assert!(!report.findings.is_empty());
        start.elapsed().as_secs_f64()
    };
    (0..3).map(once).fold(f64::INFINITY, f64::min)
}

#[test]
fn a_host_on_which_nothing_is_right_takes_four_times_as_long_with_four_times_as_much() {
    let (some, more) = (judged(10_000), judged(40_000));
    // With n log n it is 4.6, with the square 16. What is over at once tells nothing.
    let growth = more / some.max(0.02);
    assert!(growth < 9.0, "{some} s, then {more} s");
}

#[test]
fn pairs_among_many_prefixes_are_found_at_once() {
    let prefixes: Vec<IpNet> = (0..200_000u32)
        .map(|n| Ipv4Net::new((n << 12).into(), if n % 16 == 0 { 16 } else { 20 }))
        .map(|net| IpNet::V4(net.expect("a length")))
        .collect();
    let start = Instant::now();
    let index = Index::new(prefixes.iter().copied().zip(0..));
    // Each holds itself as well.
    let held = prefixes.iter().map(|net| index.holding(*net).count() - 1);
    let pairs: usize = held.sum();
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    // Each /16 holds the fifteen /20 behind its first.
    assert_eq!(pairs, 200_000 / 16 * 15);
}
