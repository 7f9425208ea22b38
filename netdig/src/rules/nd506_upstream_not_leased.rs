//! ND506: an upstream's address is in the overlay's network and in no live lease.
use std::net::IpAddr;

use super::upstreams::{correct, example, key, list, services, shown};
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Answer, Service, Upstream};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(506),
    name: "upstream-not-leased",
    severity: Severity::High,
    title: "an upstream's address is in the overlay's network and in no live lease",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd506_upstream_not_leased.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    // A lease that was not read is no lease that is gone.
    if !view.context.has_all(Part::Registry) {
        return;
    }
    for service in services(view) {
        let lost = service.upstreams.iter().filter_map(|one| {
            let overlay = overlay_without(view, one)?;
            Some((one, overlay))
        });
        let (lost, overlays): (Vec<_>, Vec<_>) = lost.unzip();
        if let Some(overlay) = overlays.first() {
            found.push(draft(view, service, &lost, overlay));
        }
    }
}

/// The overlay that its address is in, where no lease of it has the address.
pub fn overlay_without<'v>(view: &'v View<'_>, upstream: &Upstream<'_>) -> Option<&'v Overlay<'v>> {
    let ip = upstream.ip()?;
    let overlay = view.joined().find(|one| one.contains(ip))?;
    let answers = upstream.address().and_then(|at| view.probes?.get(&at));
    let leased = overlay.lease_of(ip).is_some() || overlay.is_own(ip.into()) || view.is_local(ip);
    let unsure = !overlay.knows_leases()
        || !knows_family(overlay, ip)
        || is_on_a_link(view, ip)
        || matches!(answers, Some(Answer::Accepts | Answer::Refuses));
    (!leased && !unsure).then_some(overlay)
}

fn knows_family(overlay: &Overlay<'_>, ip: IpAddr) -> bool {
    overlay
        .leases
        .iter()
        .any(|lease| lease.subnet_in(ip.is_ipv6()).is_some())
}

/// Whether a link of the underlay has a range with the address in it: overlay and underlay
/// overlap then, which is another trouble.
fn is_on_a_link(view: &View<'_>, ip: IpAddr) -> bool {
    let addresses = view.context.net.addresses.iter();
    let mut outside = addresses.filter(|one| !view.is_overlay_link(&one.link));
    outside.any(|one| one.net.contains(&ip))
}

fn draft(
    view: &View<'_>,
    service: &Service<'_>,
    lost: &[&Upstream<'_>],
    overlay: &Overlay<'_>,
) -> Draft {
    let name = &service.name;
    let what = match lost.len() {
        1 => "an upstream",
        _ => "upstreams",
    };
    let title = format!(
        "the service {name} has {what} in {} and in no lease of it: {}",
        overlay.name(),
        list(lost)
    );
    let draft = Draft::new(key(service), title).because(format!(
        "No host of the overlay has the subnet: flanneld has nowhere to send the packets, and \
         connections end with a timeout or `no route to host`. The host that had it is gone or \
         has another subnet since, and its service was not taken out of the registry. Leases of \
         {} hosts are there.",
        overlay.leases.len()
    ));
    let mut draft = shown(draft, lost);
    draft = draft.seen_all(overlay.origin.first().cloned());
    if let Some(lease) = overlay.leases.first() {
        let what = format!("lease {}, one of {}", lease.subnet, overlay.leases.len());
        let origin = &lease.origin;
        draft = draft.seen(Evidence::new(origin.source(), origin.place(), what));
    }
    correct(view, draft, lost[0], &example(lost[0]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::titles;
    use crate::evidence::services::Answer;

    const OVERLAY: &str = r#"
        link eth0
        link flannel0 tun
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/16 dev flannel0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
        key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
    "#;

    fn of(value: &str, more: &str) -> Vec<String> {
        let key = "key v3 /haproxy-discover/services/myapp/upstreams/gone";
        titles(&format!("{OVERLAY}{key} {value}\n{more}"), &[], 506)
    }

    #[test]
    fn nobody_has_the_subnet() {
        let found = of("192.168.77.2:80", "");
        assert!(found.len() == 1, "{found:?}");
        assert!(found[0].contains("192.168.77.2") && found[0].contains("192.168.0.0/16"));
    }

    #[test]
    fn leased_and_other_addresses() {
        for value in [
            "192.168.13.2:80",
            "192.168.69.7:80",
            "10.1.1.187:80",
            "8.8.8.8:80",
            "web:80",
        ] {
            assert!(of(value, "").is_empty(), "{value}");
        }
        assert!(of("192.168.77.2:80", "unread /coreos.com/network/subnets").is_empty());
        let beside = "link eth1\naddress 192.168.77.9/24 dev eth1";
        assert!(of("192.168.77.2:80", beside).is_empty(), "a link has it");
    }

    #[test]
    fn one_that_answers_is_somebodys() {
        let key = "key v3 /haproxy-discover/services/myapp/upstreams/gone 192.168.77.2:80";
        let text = format!("{OVERLAY}{key}");
        let probes = [("192.168.77.2:80", Answer::Accepts)];
        assert!(titles(&text, &probes, 506).is_empty());
        let probes = [("192.168.77.2:80", Answer::Silent)];
        assert_eq!(titles(&text, &probes, 506).len(), 1);
    }

    #[test]
    fn without_leases_nothing_is_known() {
        let key = "key v3 /haproxy-discover/services/myapp/upstreams/gone 192.168.77.2:80";
        let config = r#"key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}"#;
        assert!(titles(&format!("{key}\n{config}"), &[], 506).is_empty());
        assert!(titles(key, &[], 506).is_empty());
    }
}
