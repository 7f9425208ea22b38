//! ND309: a packet was read from the tun and never left on the tunnel's socket.
use std::net::IpAddr;

use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::traffic::{NotSent, Traffic};
use crate::finding::{Code, Confidence, Evidence, Severity};
use crate::output::text::errno_name;

pub const RULE: Rule = Rule {
    code: Code(309),
    name: "inner-not-sent",
    severity: Severity::Critical,
    title: "a packet is read from the tun and never sent to a peer",
    needs: &[Part::Packets],
    page: include_str!("../../../docs/playbooks/nd309_inner_not_sent.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let Some(traffic) = view.traffic else { return };
    // One cause for many destinations is one finding: refused by the same error on the way
    // to the same peer, without a lease in the same network, or at the end of their life.
    let mut groups: Vec<(Cause, Vec<(IpAddr, &NotSent)>)> = Vec::new();
    for ((destination, errno), lost) in traffic.not_sent.iter() {
        if !is_unicast(*destination) || !is_tunnel(view, traffic, lost) {
            continue;
        }
        let cause = Cause::of(view, *destination, *errno, lost);
        match groups.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, members)) => members.push((*destination, lost)),
            None => groups.push((cause, vec![(*destination, lost)])),
        }
    }
    for (cause, members) in groups {
        found.push(draft(view, traffic, cause, &members));
    }
}

/// Why the daemon did not send.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// The kernel refused the datagram to this peer.
    Refused(String, Option<IpAddr>),
    /// The daemon lowers the time to live, and drops what would have none left.
    NoTtl,
    /// Leases are known, and none covers it.
    NoLease,
    Unknown,
}

impl Cause {
    fn of(view: &View<'_>, destination: IpAddr, errno: Option<i32>, lost: &NotSent) -> Cause {
        if let Some(errno) = errno {
            return Cause::Refused(errno_name(errno), lost.peer.map(|peer| peer.ip()));
        }
        if lost.ttl <= 1 {
            return Cause::NoTtl;
        }
        let overlay = view.overlay_of(destination);
        // Of leases of which some were not read, one may cover it.
        let all_read = view.context.has_all(Part::Registry);
        match overlay.filter(|overlay| all_read && !overlay.leases.is_empty()) {
            Some(overlay) if overlay.lease_of(destination).is_none() => Cause::NoLease,
            _ => Cause::Unknown,
        }
    }
}

/// Multicast and broadcast go to no lease, and nobody misses them.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_multicast() && !address.is_broadcast() && !address.is_link_local()
        }
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unicast_link_local(),
    }
}

/// Whether the daemon sends what it reads as it is: a VPN's packets leave encrypted, and
/// are not seen leaving.
fn is_tunnel(view: &View<'_>, traffic: &Traffic, lost: &NotSent) -> bool {
    let sends = lost.first.pid.and_then(|pid| traffic.carried.get(&pid));
    lost.peer.is_some()
        || sends.is_some()
        || lost.first.device.starts_with("flannel")
        || view.is_overlay_link(&lost.first.device)
}

fn draft(
    view: &View<'_>,
    traffic: &Traffic,
    cause: Cause,
    members: &[(IpAddr, &NotSent)],
) -> Draft {
    let (destination, lost) = members[0];
    let daemon = match lost.first.comm.is_empty() {
        true => "the tunnel daemon".to_owned(),
        false => lost.first.comm.clone(),
    };
    let device = &lost.first.device;
    let why = match &cause {
        Cause::Refused(errno, Some(peer)) => format!("sending to {peer} fails with {errno}"),
        Cause::Refused(errno, None) => format!("sending fails with {errno}"),
        Cause::NoTtl => "their time to live ends in the tunnel".to_owned(),
        Cause::NoLease => "no lease covers it".to_owned(),
        Cause::Unknown => format!("{daemon} does not send them on"),
    };
    let title = format!("packets to {destination} are read from {device} and never sent: {why}");
    let key = match &cause {
        Cause::Refused(errno, peer) => format!("{errno} {peer:?}"),
        Cause::NoTtl => "ttl".to_owned(),
        Cause::NoLease => "no-lease".to_owned(),
        Cause::Unknown => "unknown".to_owned(),
    };
    let doubtful = members.iter().all(|(_, lost)| lost.doubtful);
    let confidence = match (&cause, doubtful) {
        (Cause::Refused(..), _) => Confidence::Certain,
        (_, true) => Confidence::Inconclusive,
        (Cause::NoLease | Cause::NoTtl, _) => Confidence::Certain,
        (Cause::Unknown, _) => Confidence::Likely,
    };
    let draft = Draft::new(format!("{device} {key}"), title)
        .because(explanation(&cause, &daemon))
        .seen(lost.first.at.evidence(seen(lost, destination)))
        .seen_all(others(members))
        .seen_all(complaint(traffic, destination))
        .seen_all(registry(view, &cause, destination))
        .confidence(confidence)
        .comes_of(Code(102))
        .comes_of(Code(103))
        .comes_of(Code(101));
    fixes(draft, &cause, destination)
}

fn explanation(cause: &Cause, daemon: &str) -> String {
    let tail = match cause {
        Cause::Refused(errno, _) => format!(
            "{daemon} handed it to its UDP socket and the kernel refused it ({errno}): the way \
             to the peer's public address is closed on this host. The packet is lost."
        ),
        Cause::NoTtl => format!(
            "{daemon} lowers the time to live by one, as a router does, and drops what has none \
             left. With a traceroute this is its first step; otherwise the packet goes in a circle."
        ),
        Cause::NoLease => format!(
            "{daemon} looks for the lease whose subnet has the destination, and there is none. \
             The packet is lost, and the answer that {daemon} makes cannot arrive either."
        ),
        Cause::Unknown => format!(
            "It did not leave within a quarter of a second. As a rule no lease covers its \
             destination, so that {daemon} has nobody to send it to; the registry's keys were \
             not there to say, or not all of them."
        ),
    };
    format!("The kernel routed the packet into the overlay, and {daemon} read it. {tail}")
}

fn seen(lost: &NotSent, destination: IpAddr) -> String {
    let protocol = decoders::ip::protocol_name(lost.first.protocol).unwrap_or("IP");
    format!(
        "{protocol} from {} to {destination}, time to live {}, read from {}; {} such",
        lost.first.source, lost.first.ttl, lost.first.device, lost.count
    )
}

fn others(members: &[(IpAddr, &NotSent)]) -> Option<Evidence> {
    let (destination, lost) = members.get(1)?;
    let more = match members.len() {
        2 => String::new(),
        count => format!(" and {} more destinations", count - 2),
    };
    Some(
        lost.first
            .at
            .evidence(format!("the same to {destination}{more}")),
    )
}

/// The daemon's own answer.
fn complaint(traffic: &Traffic, destination: IpAddr) -> Option<Evidence> {
    let (complaint, told) = traffic.complaints.iter().find(|(complaint, told)| {
        told.forged && complaint.about.is_some_and(|(_, to)| to == destination)
    })?;
    let what = format!(
        "the daemon answers with ICMP {}/{} to {}",
        complaint.kind, complaint.code, complaint.destination
    );
    Some(told.first.evidence(what))
}

fn registry(view: &View<'_>, cause: &Cause, destination: IpAddr) -> Option<Evidence> {
    let overlay = view.overlay_of(destination)?;
    if *cause != Cause::NoLease {
        return None;
    }
    let what = format!("{} leases, none with {destination}", overlay.leases.len());
    let origin = &overlay.leases.first()?.origin;
    Some(Evidence::new(
        origin.source(),
        format!("{}/subnets", overlay.prefix),
        what,
    ))
}

fn fixes(draft: Draft, cause: &Cause, destination: IpAddr) -> Draft {
    match cause {
        Cause::Refused(_, Some(peer)) => draft
            .fix(format!("ip route get {peer}  # what closes the way to the peer"))
            .fix("ip rule; nft list ruleset"),
        Cause::Refused(_, None) => draft.fix("ip rule; nft list ruleset"),
        Cause::NoTtl => draft.fix(format!("traceroute -n {destination}  # is there a circle?")),
        Cause::NoLease | Cause::Unknown => draft
            .fix(format!("ip route get {destination}  # why it goes into the overlay"))
            .fix("# if it is a container's address: start flanneld on its host, and look at its lease"),
    }
}

#[cfg(test)]
mod tests {
    use crate::finding::{Code, Confidence};
    use crate::observation::Via;
    use crate::rules::wire::{Wire, echo_request};

    const LEASES: &str = "
        link flannel0 tun
        address 192.168.69.0/16 dev flannel0
        key v2 /coreos.com/network/config {\"Network\":\"192.168.0.0/16\"}
        key v2 /coreos.com/network/subnets/192.168.13.0-24 {\"PublicIP\":\"10.1.1.187\"}";

    #[test]
    fn no_lease_covers_it() {
        let mut wire = Wire::default();
        wire.never_sent(
            "flannel0",
            &echo_request("192.168.69.0", "192.168.99.9", 64, 84),
        );
        wire.never_sent(
            "flannel0",
            &echo_request("192.168.69.0", "192.168.98.9", 64, 84),
        );
        let found = wire.findings(LEASES, 309);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].title.contains("192.168.99.9") && found[0].title.contains("no lease"));
        assert_eq!(found[0].confidence, Confidence::Certain);
        let partly = format!("{LEASES}\nunread /coreos.com/network");
        let found = wire.findings(&partly, 309);
        assert_eq!(found[0].confidence, Confidence::Likely);
        assert!(!found[0].title.contains("no lease"), "{}", found[0].title);
        // Without the registry it is likely, and says so.
        let found = wire.findings("", 309);
        assert_eq!(found[0].confidence, Confidence::Likely);
    }

    #[test]
    fn the_kernels_error_is_named() {
        let mut wire = Wire::default();
        let request = echo_request("192.168.69.0", "192.168.13.2", 64, 84);
        wire.refused("flannel0", &request, "10.1.1.187:8285", libc::EACCES);
        let found = wire.findings(LEASES, 309);
        assert_eq!(found.len(), 1);
        let title = &found[0].title;
        assert!(
            title.contains("192.168.13.2") && title.contains("EACCES"),
            "{title}"
        );
    }

    #[test]
    fn an_end_of_life_is_told_from_a_missing_lease() {
        let mut wire = Wire::default();
        wire.never_sent(
            "flannel0",
            &echo_request("192.168.69.0", "192.168.13.2", 1, 84),
        );
        let found = wire.findings(LEASES, 309);
        assert!(
            found[0].title.contains("time to live"),
            "{}",
            found[0].title
        );
    }

    #[test]
    fn lost_events_make_it_doubtful() {
        let mut wire = Wire::default();
        wire.lose();
        wire.never_sent(
            "flannel0",
            &echo_request("192.168.69.0", "192.168.99.9", 64, 84),
        );
        assert_eq!(
            wire.findings("", 309)[0].confidence,
            Confidence::Inconclusive
        );
    }

    #[test]
    fn a_vpn_multicast_and_what_is_sent_are_none() {
        let mut vpn = Wire::default();
        vpn.never_sent("tun0", &echo_request("10.8.0.6", "10.8.0.1", 64, 84));
        assert!(vpn.findings("", 309).is_empty());
        let mut wire = Wire::default();
        wire.never_sent(
            "flannel0",
            &echo_request("192.168.69.0", "224.0.0.22", 1, 40),
        );
        let request = echo_request("192.168.69.0", "192.168.13.2", 64, 84);
        wire.joined("flannel0", &request, "10.1.1.187:8285");
        assert!(wire.findings(LEASES, 309).is_empty());
    }

    #[test]
    fn with_an_overlap_it_is_a_consequence() {
        let mut wire = Wire::default();
        wire.orphan(
            Via::TunWrite,
            "flannel0",
            &echo_request("192.168.13.2", "192.168.69.0", 9, 84),
        );
        wire.never_sent("flannel0", &echo_request("10.1.88.0", "10.1.0.2", 64, 84));
        let found = wire.findings("", 309);
        assert_ne!(found[0].cause, Some(Code(309)));
        assert_eq!(found.len(), 1);
    }
}
