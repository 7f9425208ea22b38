//! ND303: encapsulated packets leave for a peer, and none comes back.
use super::one_way::{OneWay, one_way};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::TunnelKey;
use crate::finding::{Code, Severity};

pub const RULE: Rule = Rule {
    code: Code(303),
    name: "one-way-tunnel",
    severity: Severity::Critical,
    title: "encapsulated packets leave for a peer and none returns",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd303_one_way_tunnel.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let has_port = |key: &TunnelKey| key.port.is_some();
    let one_ways = one_way(view, traffic, has_port);
    found.extend(one_ways.into_iter().map(draft));
}

fn draft(one: OneWay<'_>) -> Draft {
    let (far, protocol) = (one.key.far, one.key.protocol);
    let port = one.key.port.unwrap_or_default();
    let title = format!(
        "the tunnel to {far} carries one way: {protocol} packets leave for UDP port {port} and \
         none returns"
    );
    Draft::new(far.to_string(), title)
        .because(format!(
            "Packets that want an answer were encapsulated and sent, and nothing encapsulated \
             came from {far}. Something between the hosts, or the peer's own filter, drops UDP \
             port {port} (hypervisors take 8472 for their own), or the peer sends its answers \
             another way. Of {} packets none is known to have arrived.",
            one.sent.packets
        ))
        .seen_all(one.evidence)
        .fix(format!("# on {far}: do they arrive?"))
        .fix(format!("tcpdump -ni any udp port {port}"))
        .fix(format!(
            "# if not, open UDP port {port} between the hosts, both ways; if they do, look there:"
        ))
        .fix("nft list ruleset; ip rule")
        .confidence(one.confidence)
        .comes_of(Code(103))
        .comes_of(Code(305))
}

#[cfg(test)]
mod tests {
    use crate::finding::Confidence;
    use crate::observation::PacketType;
    use crate::rules::wire::{Wire, echo_reply, echo_request, vxlan};

    const NEAR: &str = "10.1.1.95";
    const FAR: &str = "10.1.1.187";

    fn ask(wire: &mut Wire, times: u16) {
        for _ in 0..times {
            let request = echo_request("192.168.69.0", "192.168.13.2", 64, 84);
            wire.joined("flannel0", &request, "10.1.1.187:8285");
            wire.pass(1100);
        }
    }

    #[test]
    fn questions_leave_and_nothing_returns() {
        let mut wire = Wire::default();
        ask(&mut wire, 4);
        let context = "neigh 10.1.1.187 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE";
        let found = wire.findings(context, 303);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains(FAR) && found[0].title.contains("8285"));
        assert_eq!(found[0].confidence, Confidence::Likely);
        assert!(
            found[0]
                .evidence
                .iter()
                .any(|one| one.source == "neighbour")
        );
    }

    #[test]
    fn a_peer_that_is_down_is_another_matter() {
        let mut wire = Wire::default();
        ask(&mut wire, 4);
        for state in ["FAILED", "INCOMPLETE"] {
            let context = format!("neigh {FAR} dev eth0 lladdr 02:00:00:00:00:02 {state}");
            assert!(wire.findings(&context, 303).is_empty(), "{state}");
        }
        // Nothing shows that it is there.
        for context in [
            "",
            "neigh 10.1.1.187 dev eth0 lladdr 02:00:00:00:00:02 STALE",
        ] {
            let confidence = wire.findings(context, 303)[0].confidence;
            assert_eq!(confidence, Confidence::Inconclusive, "{context}");
        }
        let ping = echo_request(NEAR, FAR, 64, 84);
        wire.on_link("eth0", Some(PacketType::Outgoing), &ping);
        wire.on_link("eth0", Some(PacketType::Host), &echo_reply(FAR, NEAR, 84));
        let confidence = wire.findings("", 303)[0].confidence;
        assert_eq!(confidence, Confidence::Likely);
    }

    #[test]
    fn one_question_is_a_suspicion_and_only_at_the_end() {
        let mut wire = Wire::default();
        ask(&mut wire, 1);
        assert!(wire.findings("", 303).is_empty());
        wire.end();
        assert_eq!(
            wire.findings("", 303)[0].confidence,
            Confidence::Inconclusive
        );
    }

    #[test]
    fn one_answer_of_any_kind_is_enough() {
        let mut wire = Wire::default();
        ask(&mut wire, 4);
        let reply = echo_reply("192.168.13.9", "192.168.69.0", 84);
        wire.received("flannel0", &reply, "10.1.1.187:8285");
        assert!(wire.findings("", 303).is_empty());
    }

    #[test]
    fn on_a_link_the_direction_must_be_known() {
        let inner = echo_request("192.168.69.0", "192.168.13.2", 64, 84);
        let outer = vxlan(NEAR, FAR, 1, &inner);
        let told = |packet_type, context| {
            let mut wire = Wire::default();
            for _ in 0..4 {
                wire.on_link("eth0", packet_type, &outer);
                wire.pass(1100);
            }
            wire.findings(context, 303).len()
        };
        assert_eq!(told(Some(PacketType::Outgoing), ""), 1);
        assert_eq!(told(None, ""), 0);
        assert_eq!(told(None, "address 10.1.1.95/24 dev eth0"), 1);
        // What comes in and is not answered is another matter.
        assert_eq!(told(Some(PacketType::Host), ""), 0);
    }

    #[test]
    fn lost_events_make_it_doubtful() {
        let mut wire = Wire::default();
        ask(&mut wire, 4);
        wire.lose();
        assert_eq!(
            wire.findings("", 303)[0].confidence,
            Confidence::Inconclusive
        );
    }
}
