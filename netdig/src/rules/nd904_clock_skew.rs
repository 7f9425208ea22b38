//! ND904: two sources of one story disagree about the time.
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::{Kind, Place, Question};
use crate::finding::{Code, Confidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(904),
    name: "clock-skew",
    severity: Severity::Info,
    title: "two sources disagree by more than a second about when something was",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd904_clock_skew.md"),
    check,
};

/// What is more than this is no delay of a queue's.
const SKEW_NS: u64 = 1_000_000_000;
/// Handshakes that tell the same, so that ports used again are none.
const MANY: usize = 2;

/// Two places that disagree, and the questions that tell so, each with by how much.
type Pair<'a> = (usize, usize, Vec<(&'a Question, u64)>);

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for (_, question) in traffic.questions.iter() {
        for (early, late) in contradictions(question) {
            let by = late.first.ts_ns - early.answer.map_or(late.first.ts_ns, |at| at.ts_ns);
            let known = pairs
                .iter_mut()
                .find(|(one, other, _)| (*one, *other) == (early.number, late.number));
            match known {
                Some((.., told)) => told.push((question, by)),
                None => pairs.push((early.number, late.number, vec![(question, by)])),
            }
        }
    }
    for (early, late, told) in pairs {
        if told.len() >= MANY {
            found.extend(draft(early, late, &told));
        }
    }
}

/// Places of which one saw the answer more than a second before the other saw the question.
fn contradictions(question: &Question) -> impl Iterator<Item = (&Place, &Place)> {
    let is_syn = matches!(question.asked.kind, Kind::Syn { .. }) && question.times == 1;
    let places = question.places.iter().filter(move |_| is_syn);
    places.flat_map(move |early| {
        let late = question.places.iter().filter(move |late| {
            let answered = early.answer.map(|at| at.ts_ns);
            answered.is_some_and(|at| late.first.ts_ns > at.saturating_add(SKEW_NS))
        });
        late.map(move |late| (early, late))
    })
}

fn draft(early: usize, late: usize, told: &[(&Question, u64)]) -> Option<Draft> {
    let (question, by) = told.first()?;
    let of = |number| question.places.iter().find(|place| place.number == number);
    let (early, late) = (of(early)?, of(late)?);
    let name = |place: &Place| match place.interface.is_empty() {
        true => format!("interface {}", place.number),
        false => place.interface.to_string(),
    };
    let title = format!(
        "the clocks of {} and {} disagree by more than a second",
        name(early),
        name(late)
    );
    let answered = format!("{}: {} is answered", name(early), question.what());
    let asked = format!(
        "{}: the same is asked only {:.1} s later; {} such handshakes",
        name(late),
        *by as f64 / 1e9,
        told.len()
    );
    let draft = Draft::new(format!("{} {}", early.number, late.number), title)
        .because(
            "An answer cannot come before its question, so the two captures were stamped by clocks \
             that differ. The order of events between them, and times that rest on it, are not to be \
             believed.",
        )
        .seen_all(early.answer.map(|at| at.evidence(answered)))
        .seen(late.first.evidence(asked))
        .fix("chronyc tracking  # on both hosts: is the clock synchronised?")
        .fix("# for captures that are there: editcap -t SECONDS shifts one, mergecap joins them")
        .confidence(Confidence::Likely);
    Some(draft)
}

#[cfg(test)]
mod tests {
    use crate::rules::wire::{Wire, syn_ack_to, tcp_syn};

    fn seen_with(delay_ms: u64) -> Wire {
        let mut wire = Wire::default();
        for port in [40000, 40001] {
            let syn = tcp_syn("192.168.69.2", "192.168.13.2", port, 100);
            wire.on_link("eth0", None, &syn);
            wire.pass(1);
            wire.on_link("eth0", None, &syn_ack_to(&syn));
            wire.pass(delay_ms);
            wire.on_link("eth1", None, &syn);
            wire.pass(1);
            wire.on_link("eth1", None, &syn_ack_to(&syn));
        }
        wire
    }

    #[test]
    fn an_answer_before_its_question() {
        let found = seen_with(10_000).findings("", 904);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].title.contains("eth0") && found[0].title.contains("eth1"));
        assert!(seen_with(10).findings("", 904).is_empty());
    }
}
