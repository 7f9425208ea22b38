//! Tunnels that carry packets away and bring none back: what ND303 and ND308 share.
use std::net::IpAddr;

use super::View;
use crate::evidence::traffic::{Kind, Question, Sums, Traffic, TunnelKey};
use crate::finding::{Confidence, Evidence};

/// How long nothing must have come back, while packets flow.
const WAIT_NS: u64 = 3_000_000_000;
/// The same at the end of a run, when there is no more time.
const LAST_WAIT_NS: u64 = 900_000_000;
/// Packets that wanted an answer, for more than a suspicion.
const MANY: u64 = 3;

/// A tunnel that brings nothing back.
pub struct OneWay<'a> {
    pub key: &'a TunnelKey,
    pub sent: Sums,
    pub confidence: Confidence,
    /// What shows it.
    pub evidence: Vec<Evidence>,
}

/// Tunnels of these protocols in which questions leave and nothing returns.
pub fn one_way<'a>(
    view: &View<'_>,
    traffic: &'a Traffic,
    wanted: fn(&TunnelKey) -> bool,
) -> Vec<OneWay<'a>> {
    let mut found: Vec<OneWay<'a>> = Vec::new();
    for (key, tunnel) in traffic.tunnels().filter(|(key, _)| wanted(key)) {
        let sent = tunnel.sent;
        let oriented = tunnel.oriented || view.context.net.is_local(key.near);
        if !oriented || sent.questions == 0 || is_heard(traffic, key) {
            continue;
        }
        let waited = traffic.now_ns.saturating_sub(sent.first_question.ts_ns);
        let enough = match traffic.ended {
            true => LAST_WAIT_NS,
            false => WAIT_NS,
        };
        // One peer is one finding, on whatever interfaces it was seen.
        if waited < enough || found.iter().any(|one| one.key.far == key.far) {
            continue;
        }
        let confidence = match sent.questions >= MANY && waited >= WAIT_NS {
            true => Confidence::Likely,
            false => Confidence::Inconclusive,
        };
        found.push(OneWay {
            key,
            sent,
            confidence: traffic.trust(confidence, sent.first.ts_ns, traffic.now_ns),
            evidence: evidence(view, traffic, key, sent, waited),
        });
    }
    found
}

/// Whether anything came from the peer by this protocol, on any interface.
fn is_heard(traffic: &Traffic, key: &TunnelKey) -> bool {
    traffic.tunnels().any(|(other, tunnel)| {
        let same = other.protocol == key.protocol;
        same && ((other.far == key.far && tunnel.received.packets > 0)
            || (other.near == key.far && tunnel.sent.packets > 0))
    })
}

fn evidence(
    view: &View<'_>,
    traffic: &Traffic,
    key: &TunnelKey,
    sent: Sums,
    waited: u64,
) -> Vec<Evidence> {
    let what = match question(traffic, key) {
        Some(question) => format!(
            "{} from {} to {} leaves in {} for {}, and nothing returns in {:.1} s",
            question.what(),
            question.asked.source,
            question.asked.destination,
            key.protocol,
            key.far,
            waited as f64 / 1e9
        ),
        None => format!("a packet leaves in {} for {}", key.protocol, key.far),
    };
    let mut evidence = vec![sent.first_question.evidence(what)];
    evidence.extend(alive(view, traffic, key.far));
    evidence
}

fn question<'a>(traffic: &'a Traffic, key: &TunnelKey) -> Option<&'a Question> {
    let mut questions = traffic.questions.iter().map(|(_, question)| question);
    questions.find(|question| question.tunnel.as_ref() == Some(key))
}

/// What tells that the peer answers otherwise.
fn alive(view: &View<'_>, traffic: &Traffic, peer: IpAddr) -> Option<Evidence> {
    let answered = traffic
        .questions
        .iter()
        .map(|(_, question)| question)
        .find(|one| {
            one.asked.destination == peer
                && one.answer.is_some()
                && !one.in_tunnel
                && !matches!(one.asked.kind, Kind::Dns { .. })
        });
    if let Some(answer) = answered.and_then(|one| one.answer) {
        return Some(answer.evidence(format!("{peer} answers otherwise")));
    }
    let neighbours = &view.context.net.neighbours;
    let known = neighbours.iter().find(|one| one.address == peer)?;
    let place = format!("{peer} dev {} {}", known.link, known.state);
    let what = match known.state.as_str() {
        "REACHABLE" | "DELAY" | "PROBE" => "the peer is there, on the link",
        "FAILED" | "INCOMPLETE" => "the peer does not answer on the link either",
        _ => "what the link knows of the peer",
    };
    Some(Evidence::new("neighbour", place, what))
}
