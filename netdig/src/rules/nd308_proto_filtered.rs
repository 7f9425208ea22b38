//! ND308: packets of an IP protocol without ports, IPIP or GRE, leave and none returns.
use super::one_way::{OneWay, one_way};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::TunnelKey;
use crate::finding::{Code, Severity};

pub const RULE: Rule = Rule {
    code: Code(308),
    name: "proto-filtered",
    severity: Severity::High,
    title: "IPIP or GRE packets leave for a peer and none returns",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd308_proto_filtered.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let portless = |key: &TunnelKey| number(key.protocol).is_some();
    let one_ways = one_way(view, traffic, portless);
    found.extend(one_ways.into_iter().map(draft));
}

/// IP protocol number of tunnels that stand directly on IP.
fn number(protocol: &str) -> Option<u8> {
    match protocol {
        "ipip" => Some(4),
        "sit" => Some(41),
        "gre" => Some(47),
        _ => None,
    }
}

fn draft(one: OneWay<'_>) -> Draft {
    let (far, protocol) = (one.key.far, one.key.protocol);
    let number = number(protocol).unwrap_or_default();
    let title =
        format!("{protocol} packets (IP protocol {number}) leave for {far} and none returns");
    Draft::new(format!("{far} {protocol}"), title)
        .because(format!(
            "Packets that want an answer were encapsulated and sent, and no {protocol} came from \
             {far}. Many networks pass TCP, UDP and ICMP only: security groups of clouds, home \
             routers and firewalls drop other IP protocols without a word."
        ))
        .seen_all(one.evidence)
        .fix(format!("# on {far}: do they arrive?"))
        .fix(format!("tcpdump -ni any ip proto {number}"))
        .fix(format!(
            "# if not, allow IP protocol {number} between the hosts, or use VXLAN, which is UDP"
        ))
        .confidence(one.confidence)
}

#[cfg(test)]
mod tests {
    use crate::observation::PacketType;
    use crate::rules::wire::{Wire, echo_reply, echo_request, ipip};

    #[test]
    fn ipip_leaves_and_none_returns() {
        let inner = echo_request("192.168.69.0", "192.168.13.2", 64, 84);
        let mut wire = Wire::default();
        for _ in 0..4 {
            let outer = ipip("10.1.1.95", "10.1.1.187", &inner);
            wire.on_link("eth0", Some(PacketType::Outgoing), &outer);
            wire.pass(1100);
        }
        let found = wire.findings("", 308);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("10.1.1.187") && found[0].title.contains("protocol 4"));
        assert!(wire.findings("", 303).is_empty());
        let reply = echo_reply("192.168.13.2", "192.168.69.0", 84);
        let outer = ipip("10.1.1.187", "10.1.1.95", &reply);
        wire.on_link("eth0", Some(PacketType::Host), &outer);
        assert!(wire.findings("", 308).is_empty());
    }
}
