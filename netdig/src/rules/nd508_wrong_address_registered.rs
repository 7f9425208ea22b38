//! ND508: a registrar wrote its own address, or its host's, where the service's is meant.
use std::net::IpAddr;

use super::nd502_self_loop_upstream::is_certain;
use super::upstreams::{Listener, correct, example, key, list, listener, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::evidence::services::{Answer, Host, Schema, Service, Upstream};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(508),
    name: "wrong-address-registered",
    severity: Severity::High,
    title: "a host's own address is registered where a container's is meant",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd508_wrong_address_registered.md"),
    check,
};

/// What Debian's /etc/hosts has for the host's own name.
const DEBIAN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 1, 1));

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let published = is_published(view);
    for service in services(view) {
        let debian = service.upstreams.iter().filter(|one| {
            one.ip() == Some(DEBIAN)
                && service.schema != Schema::SkyDns
                && !is_certain(view, service, one)
                && listener(view, &Host::Address(DEBIAN), one.port()) != Listener::Service
        });
        let debian: Vec<_> = debian.collect();
        if !debian.is_empty() {
            found.push(of_debian(view, service, &debian));
        }
        let hosts = service.upstreams.iter().filter_map(|one| {
            let lease = host_of(view, one)?;
            let meant = is_beside(view, service, one) || !published && is_refused(view, one);
            meant.then_some((one, lease))
        });
        let (hosts, leases): (Vec<_>, Vec<_>) = hosts.unzip();
        if let Some(lease) = leases.first() {
            found.push(of_host(view, service, &hosts, lease));
        }
    }
}

/// The lease of the host that the address is of; a balancer's own is another trouble.
fn host_of<'v>(view: &'v View<'_>, upstream: &Upstream<'_>) -> Option<&'v Lease> {
    let ip = upstream.ip().filter(|ip| !view.is_local(*ip))?;
    if answer(view, upstream) == Some(&Answer::Accepts) {
        return None;
    }
    let mut joined = view.joined().filter(|one| !one.contains(ip));
    joined.find_map(|one| one.lease_of_host(ip))
}

fn answer<'v>(view: &'v View<'_>, upstream: &Upstream<'_>) -> Option<&'v Answer> {
    view.probes?.get(&upstream.address()?)
}

fn is_refused(view: &View<'_>, upstream: &Upstream<'_>) -> bool {
    answer(view, upstream) == Some(&Answer::Refuses)
}

/// Whether all others of its service are containers on the overlay.
fn is_beside(view: &View<'_>, service: &Service<'_>, upstream: &Upstream<'_>) -> bool {
    let others = service
        .upstreams
        .iter()
        .filter(|one| !std::ptr::eq(*one, upstream));
    let hosts = others.clone().filter(|one| host_of(view, one).is_some());
    let inside = others.filter(|one| {
        let ip = one.ip();
        ip.is_some_and(|ip| view.joined().any(|overlay| overlay.contains(ip)))
    });
    inside.count() > hosts.count()
}

/// Whether somebody is reached by a host's address: ports are published there, then.
fn is_published(view: &View<'_>) -> bool {
    let all = services(view).iter().flat_map(|one| &one.upstreams);
    let mut accepting = all.filter(|one| answer(view, one) == Some(&Answer::Accepts));
    accepting.any(|one| {
        let ip = one.ip();
        ip.is_some_and(|ip| {
            view.joined()
                .any(|overlay| overlay.lease_of_host(ip).is_some())
        })
    })
}

fn of_debian(view: &View<'_>, service: &Service<'_>, all: &[&Upstream<'_>]) -> Draft {
    let name = &service.name;
    let title = format!(
        "the service {name} is registered by what /etc/hosts has for a host's own name: {}",
        list(all)
    );
    let draft = Draft::new(format!("{} loopback", key(service)), title).because(
        "Debian's installer writes `127.0.1.1 NAME` into /etc/hosts. Whoever looks its own name up \
         to register itself gets that address, and whoever reads the registry connects to \
         itself with it.",
    );
    let draft = shown(draft, all)
        .fix("# on the host that registers: what its name leads to, and an address that others reach")
        .fix("getent ahosts \"$(hostname)\"; ip -brief address")
        .fix("# registrator: -ip=ADDRESS; a unit: the address itself in place of the name");
    correct(view, draft, all[0], &example(all[0]))
}

fn of_host(view: &View<'_>, service: &Service<'_>, all: &[&Upstream<'_>], lease: &Lease) -> Draft {
    let name = &service.name;
    let subnet = lease.subnet;
    let title = format!(
        "the service {name} is registered by the address of the host with {subnet}, not of a container: {}",
        list(all)
    );
    let draft = Draft::new(key(service), title).because(format!(
        "The address is that of the host whose containers are in {subnet}. A container's port is \
         reached there only where it is published, and nothing that was seen shows that it is. \
         A registrar takes its host's address unless it is told to take the container's."
    ));
    let origin = &lease.origin;
    let what = format!("lease {subnet} of that host");
    let draft = shown(draft, all)
        .seen(Evidence::new(origin.source(), origin.place(), what))
        .confidence(Confidence::Likely)
        .fix("# registrator: -internal registers the container's address and port;")
        .fix("# a unit: that of the container NAME, on its host:")
        .fix("docker inspect -f '{{.NetworkSettings.IPAddress}}' NAME")
        .fix("# or publish the port there: docker run -p PORT:PORT");
    correct(view, draft, all[0], &example(all[0]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{titles, watched};
    use crate::evidence::services::Answer;
    use crate::finding::Code;

    const OVERLAY: &str = r#"
        link eth0
        link flannel0 tun
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/16 dev flannel0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
        key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
    "#;
    const UP: &str = "key v3 /haproxy-discover/services/myapp/upstreams";

    #[test]
    fn debians_own_name() {
        let text = format!("{OVERLAY}{UP}/frontend1 127.0.1.1:80\nbind 10.1.1.95:80");
        let found = titles(&text, &[], 508);
        assert!(
            found.len() == 1 && found[0].contains("127.0.1.1:80"),
            "{found:?}"
        );
        assert!(titles(&text, &[], 502).is_empty());
        let text = format!("{UP}/frontend1 127.0.1.1:80\nbind :80");
        assert!(titles(&text, &[], 508).is_empty(), "ND502 names it");
    }

    #[test]
    fn a_host_where_nothing_listens() {
        let text = format!("{OVERLAY}{UP}/frontend1 10.1.1.187:80");
        let refuses = [("10.1.1.187:80", Answer::Refuses)];
        let found = titles(&text, &refuses, 508);
        assert!(
            found.len() == 1 && found[0].contains("10.1.1.187:80"),
            "{found:?}"
        );
        let found = watched(&text, &refuses);
        let stale = found
            .iter()
            .find(|one| one.code == Code(507))
            .expect("ND507");
        assert_eq!(stale.cause, Some(Code(508)));
        let published = format!("{text}\n{UP}/other 10.1.1.187:81");
        let probes = [refuses[0].clone(), ("10.1.1.187:81", Answer::Accepts)];
        assert!(titles(&published, &probes, 508).is_empty());
    }

    #[test]
    fn a_host_among_containers() {
        let text = format!("{OVERLAY}{UP}/frontend1 10.1.1.187:80\n{UP}/frontend2 192.168.13.3:80");
        assert_eq!(titles(&text, &[], 508).len(), 1);
        let probes = [("10.1.1.187:80", Answer::Accepts)];
        assert!(titles(&text, &probes, 508).is_empty());
    }

    #[test]
    fn hosts_that_are_meant() {
        let hosts = format!("{OVERLAY}{UP}/a 10.1.1.187:80\n{UP}/b 10.1.1.188:80");
        assert!(titles(&hosts, &[], 508).is_empty());
        let plain = format!("{UP}/a 10.1.1.187:80");
        let probes = [("10.1.1.187:80", Answer::Refuses)];
        assert!(titles(&plain, &probes, 508).is_empty(), "no overlay");
        let containers = format!("{OVERLAY}{UP}/a 192.168.13.2:80\n{UP}/b 192.168.13.3:80");
        assert!(titles(&containers, &[], 508).is_empty());
    }
}
