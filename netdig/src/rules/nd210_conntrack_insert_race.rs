//! ND210: DNS queries are answered only after five seconds, while conntrack refuses entries.
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::{Kind, Question};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(210),
    name: "conntrack-insert-race",
    severity: Severity::High,
    title: "DNS queries are lost to a race in conntrack and sent again after five seconds",
    needs: &[Part::Packets, Part::Counters],
    page: include_str!("../../../docs/playbooks/nd210_conntrack_insert_race.md"),
    check,
};

const COUNTER: &str = "nf_conntrack.insert_failed";
/// The resolver's time-out (resolv.conf(5)), nanoseconds, with room for its timer.
const GAP_NS: std::ops::RangeInclusive<u64> = 4_800_000_000..=5_500_000_000;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let counters = &view.context.counters;
    let (Some(&now), Some(&before)) = (counters.get(COUNTER), traffic.counters_before.get(COUNTER))
    else {
        return;
    };
    let is_late = |question: &&Question| {
        matches!(question.asked.kind, Kind::Dns { .. }) && GAP_NS.contains(&question.gap_ns)
    };
    let mut late = traffic.questions.iter().map(|(_, one)| one).filter(is_late);
    let Some(query) = late.next() else { return };
    if now <= before {
        return;
    }
    let more = late.count();
    let server = query.asked.destination;
    let title = format!(
        "DNS queries to {server} are sent again after 5 s while conntrack refuses entries ({COUNTER} rises)"
    );
    let what = format!(
        "{} from {} is sent again after {:.1} s; {more} more such queries",
        query.what(),
        query.asked.source,
        query.gap_ns as f64 / 1e9
    );
    let rose = format!("rose from {before} to {now} in this run");
    let draft = Draft::new("dns", title)
        .because(
            "The resolver sends its A and AAAA queries at once from one socket. Both pass address \
             translation at the same time, conntrack confirms one and drops the other, and the \
             resolver waits its time-out of 5 seconds before it asks again.",
        )
        .seen(query.last.evidence(what))
        .seen(Evidence::new("counter", COUNTER, rose))
        .fix("# masquerade with random ports: --random-fully (iptables), fully-random (nft)")
        .fix(
            "# or a cache of names on each node, or, in resolv.conf: options single-request-reopen",
        )
        .confidence(Confidence::Likely);
    found.push(draft);
}

#[cfg(test)]
mod tests {
    use crate::rules::wire::{Wire, dns_query};

    const FAILED: &str = "counter nf_conntrack.insert_failed 9";

    fn asked_again_after(pause_ms: u64) -> Wire {
        let mut wire = Wire::with_counters(&[("nf_conntrack.insert_failed", 4)]);
        let query = dns_query("192.168.69.2", "10.1.0.2", 7, "www.example.org");
        wire.on_link("cni0", None, &query);
        wire.pass(pause_ms);
        wire.on_link("cni0", None, &query);
        wire
    }

    #[test]
    fn five_seconds_and_a_counter_that_rises() {
        let found = asked_again_after(5005).findings(FAILED, 210);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("10.1.0.2"), "{}", found[0].title);
    }

    #[test]
    fn either_alone_is_no_sign() {
        let same = "counter nf_conntrack.insert_failed 4";
        assert!(asked_again_after(5005).findings(same, 210).is_empty());
        assert!(asked_again_after(1000).findings(FAILED, 210).is_empty());
        assert!(asked_again_after(5005).findings("", 210).is_empty());
    }
}
