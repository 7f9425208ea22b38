//! ND902: packets were captured only in part, and their decoding ended there.
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::finding::{Code, Severity};

pub const RULE: Rule = Rule {
    code: Code(902),
    name: "payload-cut",
    severity: Severity::Info,
    title: "packets were longer than the snap length, and decoding was cut",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd902_payload_cut.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    for ((number, layer), (interface, cut)) in traffic.cuts.iter() {
        let place = match interface.is_empty() {
            true => "the capture".to_owned(),
            false => interface.to_string(),
        };
        let title = format!("packets of {place} were captured only in part: {layer} is not whole");
        let what = format!(
            "{} of {} bytes captured; {} such packets",
            cut.captured, cut.length, cut.count
        );
        let draft = Draft::new(format!("{number} {layer}"), title)
            .because(
                "The snap length is shorter than these packets, so what lies behind it was not \
                 decoded: names, headers and checksums in it could not be judged.",
            )
            .seen(cut.first.evidence(what))
            .fix("# capture whole packets: -s 0 (tcpdump's too)");
        found.push(draft);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::wire::{Wire, dns_query};

    #[test]
    fn a_query_that_was_cut() {
        let mut wire = Wire::default();
        let query = dns_query("192.168.69.2", "10.1.0.2", 7, "www.example.org");
        wire.on_link("eth0", None, &query);
        assert!(wire.findings("", 902).is_empty());
        wire.cut("eth0", &query, 36);
        let found = wire.findings("", 902);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("eth0"), "{}", found[0].title);
        assert_eq!(found[0].evidence[0].place, "2");
    }
}
