//! ND102: a nameserver is reached through the overlay, and is no container of it.
use super::collisions::{self, Caught, Links};
use super::nd101_overlay_underlay_overlap::caught_evidence;
use super::{Draft, Rule, View, way_out};
use crate::context::Part;
use crate::context::net::Role;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(102),
    name: "nameserver-via-overlay",
    severity: Severity::Critical,
    title: "the route to a nameserver leaves by the overlay, and no lease has the nameserver",
    needs: &[Part::Links, Part::Addresses, Part::Routes, Part::Resolver],
    page: include_str!("../../../docs/playbooks/nd102_nameserver_via_overlay.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let links = Links::new(view);
    for overlay in view.joined() {
        let collides = collisions::collisions(view, &links, overlay)
            .iter()
            .any(|one| !one.weak);
        let mut caught = collisions::caught(view, overlay, collides);
        caught.retain(|one| one.role == Role::Nameserver && !is_answered(view, one));
        for one in &mut caught {
            one.confidence = confirmed(view, one);
        }
        if let Some(first) = caught.first() {
            let key = overlay.key();
            let title = title(&caught, first, &overlay.name());
            found.push(draft(view, key, title, &caught));
        }
    }
}

/// Whoever answers through the tunnel is in the overlay, whatever the leases say.
fn is_answered(view: &View<'_>, one: &Caught<'_>) -> bool {
    view.traffic.is_some_and(|traffic| {
        let mut queries = traffic.dns_to(one.address);
        queries.any(|query| query.answer.is_some())
    })
}

/// What the context makes of it, and what its queries do: one that is seen in the tunnel
/// leaves nothing open beside an overlap, and without one where the daemon does not send it.
fn confirmed(view: &View<'_>, one: &Caught<'_>) -> Confidence {
    let Some(traffic) = view.traffic else {
        return one.confidence;
    };
    let is_seen = traffic.dns_to(one.address).next().is_some();
    let not_sent = traffic.not_sent.iter();
    let is_dropped = not_sent
        .filter(|((destination, _), lost)| *destination == one.address && !lost.doubtful)
        .count()
        > 0;
    match one.confidence {
        Confidence::Likely if is_seen => Confidence::Certain,
        Confidence::Inconclusive if is_seen && is_dropped => Confidence::Certain,
        known => known,
    }
}

fn title(caught: &[Caught<'_>], first: &Caught<'_>, network: &str) -> String {
    let addresses: Vec<String> = caught.iter().map(|one| one.address.to_string()).collect();
    let (what, verb) = match addresses.len() {
        1 => ("nameserver", "is"),
        _ => ("nameservers", "are"),
    };
    format!(
        "{what} {} {verb} looked for in the overlay {network}: the route leaves by {}, and no lease covers {}",
        addresses.join(" and "),
        first.dev,
        if addresses.len() == 1 { "it" } else { "them" },
    )
}

fn draft(view: &View<'_>, key: String, title: String, caught: &[Caught<'_>]) -> Draft {
    let least = caught.iter().map(|one| one.confidence).min();
    let mut draft = Draft::new(key, title)
        .because(
            "Queries go into the tunnel, whose daemon knows no host for that address and drops \
             them; its ICMP answer never reaches the sender. Names are not resolved, and \
             programs hang until their time is up instead of failing at once.",
        )
        .confidence(least.unwrap_or(Confidence::Likely))
        .comes_of(Code(101))
        .comes_of(Code(204));
    for one in caught {
        let packets = view
            .traffic
            .map(|traffic| traffic.confirmation(one.address));
        draft = draft
            .seen(caught_evidence(one))
            .seen_all(places(view, one))
            .seen_all(packets.unwrap_or_default());
    }
    if let Some(route) = caught.first().and_then(|one| view.routing.way(one.address)) {
        draft = draft.seen(Evidence::new(
            "route",
            route.to_string(),
            "takes the queries",
        ));
    }
    let why = "# until the overlay has another range, a route of its own by the underlay:";
    draft.fix_all(way_out::commands(view, caught, why))
}

/// The lines that name it.
fn places(view: &View<'_>, one: &Caught<'_>) -> Vec<Evidence> {
    let host = view.context.files.nameservers.iter();
    let containers = view
        .context
        .containers
        .iter()
        .flat_map(|each| &each.nameservers);
    let named = host
        .chain(containers)
        .filter(|each| each.address == one.address);
    let mut places: Vec<String> = named.map(|each| each.place.to_string()).collect();
    places.dedup();
    let places = places.into_iter().take(3);
    let what = format!("nameserver {}", one.address);
    places
        .map(|place| Evidence::new("file", place, what.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::finding::{Code, Confidence};
    use crate::rules::testing::{findings, report};
    use crate::rules::wire::{Wire, dns_answer_to, dns_query};

    /// The field's case: the hosts live in the overlay's range.
    const CASE: &str = r#"
        link eth0 mtu 9001
        link flannel0 tun mtu 8973
        link docker0 bridge
        address 10.1.1.95/24 dev eth0
        address 10.1.88.0/32 dev flannel0
        address 10.1.88.1/24 dev docker0
        route default via 10.1.1.1 dev eth0
        route 10.1.0.0/16 dev flannel0
        route 10.1.1.0/24 dev eth0 proto kernel scope link
        route 10.1.88.0/24 dev docker0 proto kernel scope link
        nameserver 10.1.0.2
    "#;
    const KEYS: &str = r#"
        key v2 /coreos.com/network/config {"Network":"10.1.0.0/16"}
        key v2 /coreos.com/network/subnets/10.1.88.0-24 {"PublicIP":"10.1.1.95"}
        key v2 /coreos.com/network/subnets/10.1.13.0-24 {"PublicIP":"10.1.1.187"}
    "#;

    fn with(text: &str) -> String {
        format!("{CASE}{KEYS}{text}")
    }

    #[test]
    fn the_field_case_is_told_without_traffic_and_comes_of_the_overlap() {
        let report = report(&with("lookup nameserver 10.1.0.2 dev flannel0"));
        let one = report
            .findings
            .iter()
            .find(|one| one.code == Code(102))
            .expect("ND102");
        assert!(
            one.title.contains("10.1.0.2") && one.title.contains("flannel0"),
            "{}",
            one.title
        );
        assert_eq!(
            (one.cause, one.confidence),
            (Some(Code(101)), Confidence::Certain)
        );
        assert!(
            one.fix
                .contains(&"ip route replace 10.1.0.2/32 via 10.1.1.1 dev eth0".to_owned()),
            "{:?}",
            one.fix
        );
        let cause = report
            .findings
            .iter()
            .find(|one| one.code == Code(101))
            .expect("ND101");
        assert!(cause.consequences.contains(&Code(102)));
    }

    #[test]
    fn the_kernel_decides_against_what_its_tables_seem_to_say() {
        let text = with("lookup nameserver 10.1.0.2 dev eth0 via 10.1.1.1");
        assert!(findings(&text, 102).is_empty());
        let ruled = with(
            "route 10.1.0.2 via 10.1.1.1 dev eth0 table 7\nrule 100 to 10.1.0.2 lookup 7\nrule 32766 lookup 254",
        );
        assert!(findings(&ruled, 102).is_empty());
    }

    fn fix(more: &str) -> Vec<String> {
        findings(&with(more), 102).remove(0).fix
    }

    #[test]
    fn the_stop_gap_stands_in_the_table_that_decides_and_replaces_what_is_there() {
        let ruled = "rule 0 lookup 255\nrule 100 lookup 7\nrule 32766 lookup 254\nroute 10.1.0.0/16 dev flannel0 table 7";
        let wanted = "ip route replace 10.1.0.2/32 via 10.1.1.1 dev eth0 table 7";
        assert!(fix(ruled).contains(&wanted.to_owned()), "{:?}", fix(ruled));
        let asked = "lookup nameserver 10.1.0.2 dev flannel0 table 7";
        assert!(fix(asked).contains(&wanted.to_owned()), "{:?}", fix(asked));
        let known = "route 10.1.0.2 dev flannel0 metric 50 proto kernel";
        let wanted = "ip route replace 10.1.0.2/32 via 10.1.1.1 dev eth0 metric 50";
        assert!(fix(known).contains(&wanted.to_owned()), "{:?}", fix(known));
    }

    #[test]
    fn a_route_set_by_hand_is_taken_away() {
        let apart = with("route 192.0.2.0/24 dev flannel0").replace("10.1.0.2", "192.0.2.53");
        let report = report(&apart);
        let fixes: Vec<_> = report
            .findings
            .iter()
            .filter(|one| one.fix == ["ip route del 192.0.2.0/24 dev flannel0"])
            .map(|one| (one.code, one.cause))
            .collect();
        let expected = [(Code(101), None), (Code(102), Some(Code(101)))];
        assert_eq!(fixes, expected, "{:?}", report.findings);
    }

    #[test]
    fn a_nameserver_in_a_lease_or_in_a_container_of_this_host_is_meant() {
        for address in [
            "10.1.13.2",
            "10.1.88.7",
            "127.0.0.53",
            "10.1.1.1",
            "192.0.2.53",
            "10.1.1.95",
        ] {
            let text = with("").replace("nameserver 10.1.0.2", &format!("nameserver {address}"));
            assert!(findings(&text, 102).is_empty(), "{address}");
        }
    }

    #[test]
    fn several_nameservers_are_one_finding() {
        let found = findings(&with("nameserver 10.1.0.3\nnameserver 192.0.2.53"), 102);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].title.contains("10.1.0.2 and 10.1.0.3"),
            "{}",
            found[0].title
        );
        assert!(!found[0].title.contains("192.0.2.53"));
    }

    #[test]
    fn without_the_registry_it_is_likely_beside_an_overlap_and_open_without_one() {
        let found = findings(CASE, 102);
        assert_eq!(found[0].confidence, Confidence::Likely);
        let apart = CASE
            .replace("10.1.1.95/24", "192.0.2.95/24")
            .replace("10.1.1.0/24", "192.0.2.0/24")
            .replace("10.1.1.1", "192.0.2.1");
        let found = findings(&apart, 102);
        assert_eq!(found[0].confidence, Confidence::Inconclusive);
        assert!(findings(&apart, 101).is_empty());
    }

    #[test]
    fn a_wide_route_through_a_vtep_swallows_too_and_one_of_a_lease_does_not() {
        let text = "link eth0\nlink flannel-v6.1 vxlan vni 1 port 8472\naddress 2001:db8::95/64 dev eth0\naddress fd00:1:0:5::/128 dev flannel-v6.1\nnameserver fd00:1::53\n";
        let wide = format!("{text}route fd00:1::/48 dev flannel-v6.1");
        let found = findings(&wide, 102);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].confidence, Confidence::Inconclusive);
        let lease = format!("{text}route fd00:1::/64 via fd00:1:: dev flannel-v6.1 onlink");
        assert!(findings(&lease, 102).is_empty());
    }

    #[test]
    fn ipv6_nameservers_as_well() {
        let text = r#"
            link eth0
            link flannel-v6.1 vxlan
            address 2001:db8::95/64 dev eth0
            address fd00:1:0:1::/128 dev flannel-v6.1
            route default6 via 2001:db8::1 dev eth0
            route fd00:1:0:2::/64 via fd00:1:0:2:: dev flannel-v6.1 onlink
            nameserver fd00:1:0:2::53
            nameserver 2001:db8::53
            key v3 /coreos.com/network/config {"EnableIPv6":true,"EnableIPv4":false,"IPv6Network":"fd00:1::/56","Backend":{"Type":"vxlan"}}
            key v3 /coreos.com/network/subnets/192.0.2.0-24&fd00:1:0:1::-64 {"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::95","BackendType":"vxlan"}
        "#;
        let found = findings(text, 102);
        assert!(
            found[0].title.contains("fd00:1:0:2::53"),
            "{}",
            found[0].title
        );
    }

    const TUN: &str = "10.1.88.0";

    #[test]
    fn queries_in_the_tunnel_confirm_it() {
        let mut wire = Wire::default();
        wire.never_sent("flannel0", &dns_query(TUN, "10.1.0.2", 7, "www.google.com"));
        let found = wire.findings(CASE, 102);
        assert_eq!(found[0].confidence, Confidence::Certain);
        let packet = found[0]
            .evidence
            .iter()
            .find(|one| one.source == "packet")
            .expect("the query");
        assert_eq!(packet.place, "1");
        assert!(packet.what.contains("www.google.com"), "{}", packet.what);
    }

    #[test]
    fn queries_elsewhere_confirm_nothing() {
        let mut wire = Wire::default();
        wire.never_sent("flannel0", &dns_query(TUN, "10.1.0.9", 7, "www.google.com"));
        wire.on_link("eth0", None, &dns_query(TUN, "10.1.0.2", 8, "example.org"));
        let found = wire.findings(CASE, 102);
        assert_eq!(found[0].confidence, Confidence::Likely);
        assert!(found[0].evidence.iter().all(|one| one.source != "packet"));
    }

    #[test]
    fn a_nameserver_that_answers_through_the_tunnel_is_meant() {
        let mut wire = Wire::default();
        let query = dns_query(TUN, "10.1.0.2", 7, "www.google.com");
        wire.joined("flannel0", &query, "10.1.1.187:8285");
        wire.received("flannel0", &dns_answer_to(&query), "10.1.1.187:8285");
        assert!(wire.findings(CASE, 102).is_empty());
    }
}
