//! ND310: encapsulated packets come from an address that is no lease's.
use std::net::IpAddr;

use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::evidence::traffic::{Traffic, Tunnel, TunnelKey};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(310),
    name: "unknown-peer",
    severity: Severity::Medium,
    title: "encapsulated packets come from an address that is no lease's",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd310_unknown_peer.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let mut seen: Vec<IpAddr> = Vec::new();
    for (key, tunnel) in traffic.tunnels() {
        if tunnel.received.packets == 0 || !tunnel.oriented || seen.contains(&key.far) {
            continue;
        }
        let Some((why, confidence)) = stranger(view, traffic, key, tunnel) else {
            continue;
        };
        seen.push(key.far);
        found.push(draft(view, key, tunnel, why, confidence));
    }
}

/// Why the sender is taken for a stranger.
enum Why<'a> {
    /// None of these leases is its.
    NoLease(&'a [Lease]),
    /// A daemon of flannel's sends from the tunnel's port.
    Port(u16, u16),
}

fn stranger<'a>(
    view: &'a View<'_>,
    traffic: &Traffic,
    key: &TunnelKey,
    tunnel: &Tunnel,
) -> Option<(Why<'a>, Confidence)> {
    if view.context.net.is_local(key.far) {
        return None;
    }
    // The overlay of the inner packet, or the only one: other tunnels have no leases.
    let by_inner = tunnel.far_inner.and_then(|inner| view.overlay_of(inner));
    let leases = by_inner.map_or(&[][..], |overlay| &overlay.leases[..]);
    if !leases.is_empty() {
        let owns = |lease: &Lease| lease.publics().any(|public| public == key.far);
        // A lease that was not read may be the sender's.
        let known = leases.iter().any(owns) || !view.context.has_all(Part::Registry);
        return (!known).then_some((Why::NoLease(leases), Confidence::Likely));
    }
    // Without leases: whom this host sends to is a peer.
    let (port, source) = (key.port?, tunnel.far_port?);
    let sent_to = traffic
        .tunnels()
        .any(|(other, tunnel)| other.far == key.far && tunnel.sent.packets > 0);
    let odd = key.protocol == "flannel-udp" && source != port && !sent_to;
    odd.then_some((Why::Port(source, port), Confidence::Inconclusive))
}

fn draft(
    view: &View<'_>,
    key: &TunnelKey,
    tunnel: &Tunnel,
    why: Why<'_>,
    confidence: Confidence,
) -> Draft {
    let (far, protocol) = (key.far, key.protocol);
    let received = tunnel.received;
    let inner = match tunnel.far_inner {
        Some(inner) => format!(", with an inner packet from {inner}"),
        None => String::new(),
    };
    let (short, long, evidence) = reason(view, &why, far);
    let title = format!("{protocol} packets come from {far}, {short}");
    Draft::new(far.to_string(), title)
        .because(format!(
            "{long} It may be a host whose lease has expired and whose daemon still runs, one \
             behind address translation, or somebody who is not of the overlay: flannel's tunnels \
             take packets from anyone who can reach their port."
        ))
        .seen(received.first.evidence(format!(
            "{protocol} from {far}{inner}; {} such",
            received.packets
        )))
        .seen_all(evidence)
        .fix(format!(
            "# find the sender, and stop it or give it a lease: who is {far}?"
        ))
        .fix(format!("ip neigh show {far}"))
        .fix(match key.port {
            Some(port) => format!("# let only peers reach UDP port {port}"),
            None => "# let only peers send here".to_owned(),
        })
        .confidence(confidence)
}

fn reason(view: &View<'_>, why: &Why<'_>, far: IpAddr) -> (String, String, Option<Evidence>) {
    match why {
        Why::NoLease(leases) => {
            let place = leases.first().and_then(|lease| {
                let overlay = view.overlay_of(lease.subnet.network())?;
                let what = format!("{} leases, none with PublicIP {far}", leases.len());
                let place = format!("{}/subnets", overlay.prefix);
                Some(Evidence::new(lease.origin.source(), place, what))
            });
            (
                "which is no lease's PublicIP".to_owned(),
                format!("None of the registry's leases has {far} as its PublicIP."),
                place,
            )
        }
        Why::Port(source, port) => (
            format!("from UDP port {source} instead of {port}"),
            format!(
                "flannel's daemons send from the tunnel's port, {port}; this came from {source}."
            ),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::wire::{Wire, echo_request};

    const LEASES: &str = "
        link flannel0 tun
        address 192.168.69.0/16 dev flannel0
        key v2 /coreos.com/network/config {\"Network\":\"192.168.0.0/16\"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {\"PublicIP\":\"10.1.1.187\"}";

    fn from(peer: &str, context: &str) -> Vec<String> {
        let mut wire = Wire::default();
        let request = echo_request("192.168.66.2", "192.168.69.0", 64, 84);
        wire.received("flannel0", &request, peer);
        let found = wire.findings(context, 310);
        found.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn a_sender_without_a_lease() {
        let titles = from("10.1.1.66:8285", LEASES);
        assert_eq!(titles.len(), 1);
        assert!(titles[0].contains("10.1.1.66"), "{titles:?}");
        assert!(from("10.1.1.187:8285", LEASES).is_empty());
        let partly = format!("{LEASES}\nunread /coreos.com/network");
        assert!(
            from("10.1.1.66:8285", &partly).is_empty(),
            "its lease may be unread"
        );
    }

    #[test]
    fn without_leases_the_port_tells() {
        let titles = from("10.1.1.66:40123", "");
        assert!(
            titles[0].contains("10.1.1.66") && titles[0].contains("40123"),
            "{titles:?}"
        );
        assert!(from("10.1.1.66:8285", "").is_empty());
    }
}
