//! ND305: SYNs in VXLAN are repeated, and their outer UDP checksum is wrong.
use std::net::IpAddr;

use super::renumber::quoted;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::net::{Link, LinkKind};
use crate::evidence::traffic::{Kind, Question, Traffic, TunnelKey};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(305),
    name: "vxlan-checksum-offload",
    severity: Severity::High,
    title: "VXLAN packets leave with a wrong UDP checksum, and connections open late or never",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd305_vxlan_checksum_offload.md"),
    check,
};

/// ethtool's name of the offload that computes such checksums, and gets them wrong.
const OFFLOAD: &str = "tx-checksum-ip-generic";
/// SYNs of one connection.
const TIMES: u32 = 3;
/// The same, of this host's own, for more than a suspicion: they were seen before the card.
const MANY: u32 = 5;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let mut seen: Vec<IpAddr> = Vec::new();
    for (_, question) in traffic.questions.iter() {
        let Some(key) = question.tunnel.filter(|key| key.protocol == "vxlan") else {
            continue;
        };
        let is_syn = matches!(question.asked.kind, Kind::Syn { .. });
        if !is_syn || question.times < TIMES || seen.contains(&key.far) {
            continue;
        }
        if let Some(draft) = judge(view, traffic, &key, question) {
            seen.push(key.far);
            found.push(draft);
        }
    }
}

/// What leaves this host is captured before the card adds the checksum, so a wrong one there
/// proves nothing unless the offload is on; what came in from a peer is as it was on the wire.
fn judge(
    view: &View<'_>,
    traffic: &Traffic,
    key: &TunnelKey,
    question: &Question,
) -> Option<Draft> {
    let bad = question.bad_checksum?;
    let tunnel = traffic.tunnels().find(|(other, _)| *other == key)?.1;
    let incoming = tunnel.oriented && tunnel.received.questions > 0 && tunnel.sent.questions == 0;
    let device = offloading(view, key);
    if !incoming && device.is_none() {
        return None;
    }
    let device = device.filter(|_| !incoming);
    let what = format!(
        "{} from {} in VXLAN {}, sent {} times: its outer UDP checksum is wrong",
        question.what(),
        question.asked.source,
        key.vni.unwrap_or_default(),
        question.times
    );
    let (sender, at) = match device {
        Some(link) => ("this host".to_owned(), link.name.as_str()),
        None => (key.far.to_string(), "flannel.1"),
    };
    let title = format!(
        "SYNs to {} are repeated in VXLAN between {} and {}, with a wrong outer UDP checksum made by {sender}",
        question.asked.destination, key.near, key.far
    );
    let evidence =
        device.map(|link| Evidence::new("link", link.name.clone(), format!("{OFFLOAD} is on")));
    let since = question.first().ts_ns;
    let draft = Draft::new(key.far.to_string(), title)
        .because(
            "Checksum offload on the VXLAN device leaves the outer UDP checksum to a card or a \
             driver that computes it wrongly once the packet was also masqueraded. The receiver \
             drops such packets without a word, and a connection opens only when a SYN is sent \
             without it, after about 63 seconds.",
        )
        .seen(bad.evidence(what))
        .seen_all(evidence);
    let draft = match device {
        Some(_) => draft,
        None => draft.fix(format!("# on {}:", key.far)),
    };
    let confidence = match incoming || question.answer.is_some() || question.times >= MANY {
        true => Confidence::Likely,
        false => Confidence::Inconclusive,
    };
    let draft = draft
        .fix(format!("ethtool -K {} {OFFLOAD} off", quoted(at)))
        .confidence(traffic.trust(confidence, since, traffic.now_ns));
    Some(draft)
}

/// The VXLAN device of the tunnel, where its offload is on.
fn offloading<'a>(view: &View<'a>, key: &TunnelKey) -> Option<&'a Link> {
    view.context.net.links.iter().find(|link| match &link.kind {
        LinkKind::Vxlan(vxlan) => {
            key.vni == Some(vxlan.vni) && link.offloads.get(OFFLOAD) == Some(&true)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use crate::finding::{Confidence, Finding};
    use crate::observation::PacketType;
    use crate::rules::testing::context;
    use crate::rules::wire::{Wire, tcp_syn, vxlan_with_checksum};

    fn syns(
        times: usize,
        checksum: Option<u16>,
        packet_type: PacketType,
        on: bool,
    ) -> Vec<Finding> {
        let mut wire = Wire::default();
        let inner = tcp_syn("192.168.69.2", "192.168.13.2", 40000, 100);
        let (near, far) = match packet_type {
            PacketType::Outgoing => ("10.1.1.95", "10.1.1.187"),
            _ => ("10.1.1.187", "10.1.1.95"),
        };
        for _ in 0..times {
            let outer = vxlan_with_checksum(near, far, 1, &inner, checksum);
            wire.on_link("eth0", Some(packet_type), &outer);
            wire.pass(1000);
        }
        let mut context = context("link flannel.1 vxlan vni 1 port 8472");
        let offloads = &mut context.net.links[0].offloads;
        offloads.insert(super::OFFLOAD.to_owned(), on);
        wire.findings_in(&context, 305)
    }

    #[test]
    fn repeated_syns_with_a_wrong_checksum() {
        let found = syns(4, Some(0x1234), PacketType::Outgoing, true);
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .fix
                .iter()
                .any(|line| line.contains("ethtool -K flannel.1"))
        );
        let found = syns(4, Some(0x1234), PacketType::Host, false);
        assert!(
            found[0].title.contains("made by 10.1.1.187"),
            "{}",
            found[0].title
        );
    }

    #[test]
    fn what_is_sent_here_is_a_suspicion_until_there_is_more() {
        let confidence =
            |times, packet_type, on| syns(times, Some(0x1234), packet_type, on)[0].confidence;
        use Confidence::{Inconclusive, Likely};
        assert_eq!(confidence(4, PacketType::Outgoing, true), Inconclusive);
        assert_eq!(confidence(5, PacketType::Outgoing, true), Likely);
        assert_eq!(confidence(4, PacketType::Host, false), Likely);
    }

    #[test]
    fn what_a_card_has_yet_to_complete_is_not_wrong() {
        let inner = tcp_syn("192.168.69.2", "192.168.13.2", 40000, 100);
        let datagram = vxlan_with_checksum("10.1.1.95", "10.1.1.187", 1, &inner, None).len() - 20;
        // The sum of the pseudo-header alone: addresses, protocol, length (RFC 768).
        let words = [0x0a01, 0x015f, 0x0a01, 0x01bb, 17, datagram as u32];
        let partial = words.iter().sum::<u32>() as u16;
        assert!(syns(6, Some(partial), PacketType::Outgoing, true).is_empty());
        assert_eq!(
            syns(6, Some(partial ^ 1), PacketType::Outgoing, true).len(),
            1
        );
    }

    #[test]
    fn absent_checksums_and_single_syns_are_none() {
        assert!(syns(4, None, PacketType::Outgoing, true).is_empty());
        assert!(syns(2, Some(0x1234), PacketType::Outgoing, true).is_empty());
        // Captured before the card has computed it.
        assert!(syns(4, Some(0x1234), PacketType::Outgoing, false).is_empty());
    }
}
