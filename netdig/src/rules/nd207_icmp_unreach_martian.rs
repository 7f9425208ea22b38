//! ND207: an ICMP error with one of the host's own addresses as its source, written to the
//! tun, cannot arrive.
use std::net::IpAddr;

use super::renumber::quoted;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::{Complained, Complaint, Traffic};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(207),
    name: "icmp-unreach-martian",
    severity: Severity::Info,
    title: "an ICMP error from the host's own address is written to the tun and cannot arrive",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd207_icmp_unreach_martian.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    let mut seen: Vec<IpAddr> = Vec::new();
    for (complaint, told) in traffic.complaints.iter() {
        // One daemon's answers are one finding, whoever they go to.
        if seen.contains(&complaint.source) || !is_lost(view, complaint, told) {
            continue;
        }
        seen.push(complaint.source);
        found.push(draft(view, traffic, complaint, told));
    }
}

/// Whether the kernel throws it away: it comes out of a tun with a local source.
fn is_lost(view: &View<'_>, complaint: &Complaint, told: &Complained) -> bool {
    let source = complaint.source;
    let is_local = source == complaint.destination
        || told.addresses.contains(&source)
        || view
            .context
            .net
            .addresses
            .iter()
            .any(|one| one.net.addr() == source);
    // What the kernel itself sends into a tun has a local source too, but another destination,
    // and it is read there, not written.
    let came_out = told.forged || (told.on_tun && source == complaint.destination);
    let accepted = ["all", &told.interface].iter().any(|link| {
        let name = format!("net.ipv4.conf.{link}.accept_local");
        view.context.sysctl(&name) == Some(1)
    });
    is_local && came_out && !accepted && !complaint.v6
}

fn draft(view: &View<'_>, traffic: &Traffic, complaint: &Complaint, told: &Complained) -> Draft {
    let (source, destination) = (complaint.source, complaint.destination);
    let device = match told.interface.is_empty() {
        true => "the tun",
        false => &told.interface,
    };
    let title = format!(
        "ICMP {} from {source} to {destination} is written to {device}, and the kernel drops it: \
         its source is this host's own address",
        what(complaint)
    );
    let about = match complaint.about {
        Some((from, to)) => format!(", about a packet from {from} to {to}"),
        None => String::new(),
    };
    let seen = format!(
        "ICMP {} from {source} to {destination}{about}",
        what(complaint)
    );
    let known = view.context.net.is_local(source);
    let confidence = match known || told.addresses.contains(&source) || told.forged {
        true => Confidence::Certain,
        false => Confidence::Likely,
    };
    Draft::new(source.to_string(), title)
        .because(
            "The tunnel daemon answers a packet that it has no lease for with an ICMP error from \
             its own tun address. Input routing refuses a source that is local (martian source) \
             while accept_local is 0, so the error dies before ICMP looks for a socket, and the \
             client only times out. Even if it arrived, network-unreachable (3/0) is a soft error \
             that most UDP sockets ignore. The error is honest: what it complains about is the \
             cause to cure.",
        )
        .seen(told.first.evidence(seen))
        .seen_all(counter(view, traffic))
        .fix(match complaint.about {
            Some((_, to)) => format!("ip route get {to}  # why it goes into the overlay"),
            None if told.interface.is_empty() => "ip route show".to_owned(),
            None => format!("ip route show dev {}", quoted(device)),
        })
        .fix("# cure what sends these packets into the overlay; accept_local=1 is a diagnosis, no cure")
        .confidence(confidence)
        // The overlap before what it does to a nameserver.
        .comes_of(Code(101))
        .comes_of(Code(102))
        .comes_of(Code(309))
}

fn what(complaint: &Complaint) -> &'static str {
    match (complaint.kind, complaint.code) {
        (3, 0) => "network-unreachable",
        (3, 1) => "host-unreachable",
        (3, 3) => "port-unreachable",
        (3, 4) => "fragmentation-needed",
        (3, 13) => "communication-prohibited",
        (3, _) => "destination-unreachable",
        (11, _) => "time-exceeded",
        _ => "error",
    }
}

/// The only counter that moves, where it did.
fn counter(view: &View<'_>, traffic: &Traffic) -> Option<Evidence> {
    const NAME: &str = "rt_cache.in_martian_src";
    let now = *view.context.counters.get(NAME)?;
    let before = *traffic.counters_before.get(NAME)?;
    (now > before).then(|| {
        let what = format!("rose from {before} to {now} in this run");
        Evidence::new("counter", NAME, what)
    })
}

#[cfg(test)]
mod tests {
    use crate::finding::{Code, Confidence};
    use crate::observation::Via;
    use crate::rules::wire::{Wire, dns_query, icmp_error};

    const SELF: &str = "10.1.88.0";

    fn answered(wire: &mut Wire, source: &str) {
        let query = dns_query(SELF, "10.1.0.2", 7, "www.google.com");
        wire.never_sent("flannel0", &query);
        wire.orphan(
            Via::TunWrite,
            "flannel0",
            &icmp_error(source, SELF, 3, 0, &query),
        );
    }

    #[test]
    fn the_field_case() {
        let mut wire = Wire::default();
        answered(&mut wire, SELF);
        let found = wire.findings("address 10.1.88.0/16 dev flannel0", 207);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("flannel0") && found[0].title.contains(SELF));
        assert_eq!(found[0].confidence, Confidence::Certain);
        assert_eq!(found[0].evidence[0].place, "2");
        assert_eq!(found[0].cause, Some(Code(309)));
    }

    #[test]
    fn a_router_behind_the_tunnel_may_complain() {
        let mut wire = Wire::default();
        answered(&mut wire, "192.168.13.1");
        assert!(
            wire.findings("address 10.1.88.0/16 dev flannel0", 207)
                .is_empty()
        );
    }

    #[test]
    fn where_local_sources_are_accepted_it_arrives() {
        let mut wire = Wire::default();
        answered(&mut wire, SELF);
        let context = "address 10.1.88.0/16 dev flannel0
                       sysctl net.ipv4.conf.flannel0.accept_local 1";
        assert!(wire.findings(context, 207).is_empty());
    }

    #[test]
    fn on_loopback_a_host_tells_itself() {
        let mut wire = Wire::default();
        let query = dns_query("127.0.0.1", "127.0.0.1", 7, "a.example");
        let error = icmp_error("127.0.0.1", "127.0.0.1", 3, 3, &query);
        wire.on_link("lo", None, &error);
        assert!(wire.findings("", 207).is_empty());
    }
}
