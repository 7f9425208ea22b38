//! ND901: the kernel side dropped events; what was not seen may have been there.
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(901),
    name: "events-lost",
    severity: Severity::Info,
    title: "events were lost on their way from the kernel",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd901_events_lost.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    for lost in &traffic.lost {
        // No count in the title: it grows, and is in the summary.
        let title = format!(
            "{} events of {} were lost ({})",
            lost.event_kind, lost.source, lost.cause
        );
        let seconds = lost.window.1.saturating_sub(lost.window.0) as f64 / 1e9;
        let what = format!("{} lost in {seconds:.1} s", lost.count);
        let fix = match lost.cause {
            "ring-full" | "socket-full" => {
                "# give events more memory: -B 131072 (KiB), or choose fewer with -i, --pid, -s"
            }
            "too-many-vectors" | "compat-syscall" => {
                "# that daemon's calls are not followed; watch its link instead: -i eth0"
            }
            _ => "# watch again; what is lost again is told again",
        };
        let draft = Draft::new(
            format!("{} {} {}", lost.source, lost.event_kind, lost.cause),
            title,
        )
        .because(
            "netdig did not see all that happened. Findings that rest on something not having \
                 been seen are marked inconclusive where their time and this loss's meet.",
        )
        .seen(Evidence::new(
            "counter",
            format!("{} {}", lost.source, lost.cause),
            what,
        ))
        .fix(fix);
        found.push(draft);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::wire::Wire;

    #[test]
    fn what_was_lost_is_said_once_a_cause() {
        let mut wire = Wire::default();
        assert!(wire.findings("", 901).is_empty());
        wire.lose();
        wire.lose();
        let found = wire.findings("", 901);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("ring-full"), "{}", found[0].title);
        assert!(
            found[0].evidence[0].what.starts_with("2 lost"),
            "{:?}",
            found[0].evidence
        );
    }
}
