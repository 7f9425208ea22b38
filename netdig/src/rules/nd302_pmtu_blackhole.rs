//! ND302: small packets pass, those of full size with DF vanish, and no router complains.
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::renumber::quoted;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::{FULL_SIZE, Kind, Question, Stuck, Traffic};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(302),
    name: "pmtu-blackhole",
    severity: Severity::High,
    title: "full-size packets with DF vanish while small ones pass, and nobody says so",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd302_pmtu_blackhole.md"),
    check,
};

/// How long an echo is waited for.
const WAIT_NS: u64 = 900_000_000;
/// Retransmissions of one segment, each some 200 ms or more after the last.
const TIMES: u32 = 2;
/// Packets that vanished, for more than a suspicion.
const MANY: u32 = 3;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let mut seen: Vec<IpAddr> = Vec::new();
    for (ends, stuck) in traffic.stuck.iter() {
        let to = ends.destination.ip();
        let is_new = !seen.contains(&to) && stuck.times >= TIMES && !stuck.arrived;
        if is_new && !is_told(traffic, to) {
            seen.push(to);
            found.push(draft(view, traffic, to, of_segment(traffic, stuck, to)));
        }
    }
    let echoes = echoes(traffic);
    for (asked, question) in traffic.questions.iter() {
        let to = asked.destination;
        if seen.contains(&to) || !is_large_and_lost(traffic, question) || is_told(traffic, to) {
            continue;
        }
        let between = echoes.get(&(asked.source, to));
        if let Some(hole) = between.and_then(|echoes| of_echo(echoes, question)) {
            seen.push(to);
            found.push(draft(view, traffic, to, hole));
        }
    }
}

struct Hole {
    /// Bytes of the IP packets that vanish, and of one that passed.
    large: usize,
    small: Option<usize>,
    evidence: Vec<Evidence>,
    confidence: Confidence,
    since_ns: u64,
}

fn of_segment(traffic: &Traffic, stuck: &Stuck, to: IpAddr) -> Hole {
    let what = format!(
        "TCP segment of {} bytes with DF to {to}, sent again {} times and never acknowledged",
        stuck.len, stuck.times
    );
    let handshake = traffic.questions.iter().map(|(_, one)| one).find(|one| {
        let is_syn = matches!(one.asked.kind, Kind::Syn { .. });
        is_syn && one.asked.destination == to && one.answer.is_some()
    });
    let passed = handshake.and_then(|one| one.answer);
    let passed = passed.map(|at| at.evidence("the handshake's small packets passed"));
    Hole {
        large: stuck.len,
        small: handshake.map(|one| one.len),
        evidence: passed
            .into_iter()
            .chain([stuck.last.evidence(what)])
            .collect(),
        // Without the handshake nothing shows that anything passes.
        confidence: match handshake {
            Some(_) => Confidence::Likely,
            None => Confidence::Inconclusive,
        },
        since_ns: stuck.first.ts_ns,
    }
}

fn is_large_and_lost(traffic: &Traffic, question: &Question) -> bool {
    matches!(question.asked.kind, Kind::Echo { .. })
        && question.whole
        && question.len >= FULL_SIZE
        && traffic.is_unanswered(question, WAIT_NS)
}

/// Echoes between two addresses.
#[derive(Default)]
struct Echoes<'a> {
    /// The largest that was answered.
    passed: Option<&'a Question>,
    vanished: u32,
}

type Between = (IpAddr, IpAddr);

fn echoes(traffic: &Traffic) -> FxHashMap<Between, Echoes<'_>> {
    let mut echoes: FxHashMap<Between, Echoes<'_>> = FxHashMap::default();
    for (asked, question) in traffic.questions.iter() {
        if !matches!(asked.kind, Kind::Echo { .. }) {
            continue;
        }
        let entry = echoes.entry((asked.source, asked.destination)).or_default();
        if is_large_and_lost(traffic, question) {
            entry.vanished += question.times;
        }
        let is_larger = entry.passed.is_none_or(|known| question.len > known.len);
        if question.answer.is_some() && is_larger {
            entry.passed = Some(question);
        }
    }
    echoes
}

/// A smaller echo was answered, and none as large.
fn of_echo(echoes: &Echoes<'_>, lost: &Question) -> Option<Hole> {
    let passed = echoes.passed.filter(|passed| passed.len < lost.len)?;
    let confidence = match echoes.vanished >= MANY {
        true => Confidence::Likely,
        false => Confidence::Inconclusive,
    };
    let small = format!("echo request of {} bytes is answered", passed.len);
    let large = format!(
        "echo request of {} bytes with DF is not; {} such",
        lost.len, echoes.vanished
    );
    Some(Hole {
        large: lost.len,
        small: Some(passed.len),
        evidence: vec![passed.first().evidence(small), lost.first().evidence(large)],
        confidence,
        since_ns: lost.first().ts_ns,
    })
}

/// Whether a router said that packets to `to` are too large: then nothing is hidden.
fn is_told(traffic: &Traffic, to: IpAddr) -> bool {
    let mut complaints = traffic.complaints.iter().map(|(complaint, _)| complaint);
    complaints.any(|one| one.is_too_big() && one.about.is_some_and(|(_, about)| about == to))
}

fn draft(view: &View<'_>, traffic: &Traffic, to: IpAddr, hole: Hole) -> Draft {
    let passes = match hole.small {
        Some(small) => format!("those of {small} pass"),
        None => "small ones pass".to_owned(),
    };
    let large = hole.large;
    let title =
        format!("packets of {large} bytes to {to} vanish, {passes}, and no router says why");
    let way = view.way(to);
    let smaller = way.as_ref().and_then(|way| way.dev).map(|dev| {
        let dev = quoted(dev);
        format!("# or, at once, with the pmtu that tracepath tells: ip link set {dev} mtu PMTU")
    });
    let tables = match to.is_ipv6() {
        true => "ip6tables",
        false => "iptables",
    };
    let draft = Draft::new(to.to_string(), title)
        .because(
            "A link on the way takes only smaller packets. The sender set DF, so a router must \
             drop what is too large and say so with ICMP fragmentation-needed; none came, so the \
             sender never learns it and sends the same again. Connections open and then hang with \
             the first full-size packet. As a rule a filter drops that ICMP, or a tunnel on the way \
             has a larger MTU than what it stands on.",
        )
        .seen_all(hole.evidence)
        .fix(format!("tracepath -n {to}  # where it ends"))
        .fix("# let ICMP type 3 code 4 (ICMPv6 type 2) pass on the way");
    let draft = match smaller {
        Some(line) => draft.fix(line),
        None => draft,
    };
    draft
        .fix("# of connections that this host forwards, once the route's MTU is right:")
        .fix(format!(
            "{tables} -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
        ))
        .confidence(traffic.trust(hole.confidence, hole.since_ns, traffic.now_ns))
        .comes_of(Code(301))
}

#[cfg(test)]
mod tests {
    use crate::finding::Confidence;
    use crate::rules::wire::{
        Wire, echo_reply_to, echo_request, icmp_error, syn_ack_to, tcp_ack, tcp_data, tcp_syn,
    };

    const FROM: &str = "10.1.1.95";
    const TO: &str = "10.2.1.2";

    fn large_echoes(times: usize) -> Wire {
        let mut wire = Wire::default();
        let small = echo_request(FROM, TO, 64, 84);
        wire.on_link("eth0", None, &small);
        wire.on_link("eth0", None, &echo_reply_to(&small));
        for _ in 0..times {
            wire.on_link("eth0", None, &echo_request(FROM, TO, 64, 1500));
            wire.pass(1000);
        }
        wire
    }

    #[test]
    fn large_echoes_vanish() {
        let found = large_echoes(3).findings("", 302);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains(TO) && found[0].title.contains("1500"));
        assert_eq!(found[0].confidence, Confidence::Likely);
        assert_eq!(
            large_echoes(1).findings("", 302)[0].confidence,
            Confidence::Inconclusive
        );
        assert!(large_echoes(0).findings("", 302).is_empty());
    }

    #[test]
    fn a_router_that_complains_hides_nothing() {
        let mut wire = large_echoes(3);
        let large = echo_request(FROM, TO, 64, 1500);
        wire.on_link("eth0", None, &icmp_error("10.1.1.1", FROM, 3, 4, &large));
        assert!(wire.findings("", 302).is_empty());
    }

    #[test]
    fn a_dead_host_answers_nothing_at_all() {
        let mut wire = Wire::default();
        for _ in 0..3 {
            wire.on_link("eth0", None, &echo_request(FROM, TO, 64, 1500));
            wire.pass(1000);
        }
        assert!(wire.findings("", 302).is_empty());
    }

    #[test]
    fn full_size_segments_are_sent_again() {
        let mut wire = Wire::default();
        wire.on_link("eth0", None, &tcp_syn(FROM, TO, 40000, 100));
        for pause in [200, 400, 800, 1600] {
            wire.on_link("eth0", None, &tcp_data(FROM, TO, 40000, 101, 1400));
            wire.pass(pause);
        }
        let found = wire.findings("", 302);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains(TO), "{}", found[0].title);
        // No handshake was seen to succeed.
        assert_eq!(found[0].confidence, Confidence::Inconclusive);
    }

    #[test]
    fn a_handshake_that_passed_makes_it_likely() {
        let syn = tcp_syn(FROM, TO, 40000, 100);
        let mut wire = Wire::default();
        wire.on_link("eth0", None, &syn);
        wire.on_link("eth0", None, &syn_ack_to(&syn));
        for pause in [200, 400, 800] {
            wire.on_link("eth0", None, &tcp_data(FROM, TO, 40000, 101, 1400));
            wire.pass(pause);
        }
        assert_eq!(wire.findings("", 302)[0].confidence, Confidence::Likely);
        // It was slow, and arrived.
        wire.on_link("eth0", None, &tcp_ack(TO, FROM, 40000, 1461));
        assert!(wire.findings("", 302).is_empty());
    }

    #[test]
    fn what_acknowledges_less_delivers_nothing() {
        let syn = tcp_syn(FROM, TO, 40000, 100);
        let mut wire = Wire::default();
        wire.on_link("eth0", None, &syn);
        for pause in [200, 400, 800] {
            wire.on_link("eth0", None, &tcp_data(FROM, TO, 40000, 101, 1400));
            wire.on_link("eth0", None, &tcp_ack(TO, FROM, 40000, 101));
            wire.pass(pause);
        }
        assert_eq!(wire.findings("", 302).len(), 1);
    }

    #[test]
    fn commands_are_those_of_the_family_and_of_a_known_device() {
        let lines = |context| {
            large_echoes(3)
                .findings(context, 302)
                .remove(0)
                .fix
                .join("\n")
        };
        let unknown = lines("");
        assert!(
            unknown.contains("\niptables ") && !unknown.contains("mtu PMTU"),
            "{unknown}"
        );
        let known = lines("route 10.2.0.0/16 via 10.1.1.1 dev eth0\nlink eth0 physical");
        assert!(known.contains("ip link set eth0 mtu PMTU"), "{known}");
    }

    #[test]
    fn small_or_late_retransmissions_are_no_sign() {
        let mut wire = Wire::default();
        wire.on_link("eth0", None, &tcp_syn(FROM, TO, 40000, 100));
        wire.on_link("eth0", None, &tcp_data(FROM, TO, 40000, 101, 1400));
        for pause in [200, 400, 800, 1600] {
            wire.on_link("eth0", None, &tcp_data(FROM, TO, 40000, 900_101, 1400));
            wire.on_link("eth0", None, &tcp_data(FROM, TO, 40001, 101, 400));
            wire.pass(pause);
        }
        assert!(wire.findings("", 302).is_empty());
    }
}
