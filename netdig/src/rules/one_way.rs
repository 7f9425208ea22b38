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
        let peer = peer(view, traffic, key.far);
        // A host that is down carries nothing, whatever its tunnels are like.
        if matches!(peer, Peer::Down) {
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
        let enough = sent.questions >= MANY && waited >= WAIT_NS;
        let confidence = match enough && matches!(peer, Peer::Alive(_)) {
            true => Confidence::Likely,
            false => Confidence::Inconclusive,
        };
        found.push(OneWay {
            key,
            sent,
            confidence: traffic.trust(confidence, sent.first.ts_ns, traffic.now_ns),
            evidence: evidence(traffic, key, sent, waited, peer),
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
    traffic: &Traffic,
    key: &TunnelKey,
    sent: Sums,
    waited: u64,
    peer: Peer,
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
    if let Peer::Alive(how) | Peer::Unknown(Some(how)) = peer {
        evidence.push(how);
    }
    evidence
}

fn question<'a>(traffic: &'a Traffic, key: &TunnelKey) -> Option<&'a Question> {
    let mut questions = traffic.questions.iter().map(|(_, question)| question);
    questions.find(|question| question.tunnel.as_ref() == Some(key))
}

/// Whether the host at the tunnel's other end is there at all, and what tells it.
enum Peer {
    Alive(Evidence),
    /// ND408 speaks of it.
    Down,
    Unknown(Option<Evidence>),
}

fn peer(view: &View<'_>, traffic: &Traffic, peer: IpAddr) -> Peer {
    let answer = traffic
        .questions
        .iter()
        .map(|(_, question)| question)
        .filter(|one| one.asked.destination == peer && !one.in_tunnel)
        .filter(|one| !matches!(one.asked.kind, Kind::Dns { .. }))
        .find_map(|one| one.answer);
    if let Some(answer) = answer {
        return Peer::Alive(answer.evidence(format!("{peer} answers otherwise")));
    }
    let asked_itself = traffic.questions.iter().find(|(asked, question)| {
        asked.source == peer && !question.in_tunnel && question.tunnel.is_none()
    });
    if let Some((_, question)) = asked_itself {
        let what = format!("{} comes from {peer} itself", question.what());
        return Peer::Alive(question.first().evidence(what));
    }
    on_link(view, peer)
}

/// What the links know of a peer; it is down where all that know it got no answer.
fn on_link(view: &View<'_>, peer: IpAddr) -> Peer {
    let mut failed = false;
    let mut known = None;
    for one in &view.context.net.neighbours {
        if one.address != peer {
            continue;
        }
        let place = format!("{peer} dev {} {}", one.link, one.state);
        let evidence = |what: &str| Evidence::new("neighbour", place, what);
        match one.state.as_str() {
            "FAILED" | "INCOMPLETE" => failed = true,
            "REACHABLE" | "DELAY" | "PROBE" => {
                return Peer::Alive(evidence("the peer is there, on the link"));
            }
            _ => known = Some(evidence("what the link knows of the peer")),
        }
    }
    match failed && known.is_none() {
        true => Peer::Down,
        false => Peer::Unknown(known),
    }
}
