//! ND105: the range of Kubernetes' services overlaps the overlay's or a link's.
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::collisions::Links;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::net::{LinkKind, RouteKind};
use crate::context::service_ranges;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(105),
    name: "service-cidr-overlap",
    severity: Severity::High,
    title: "the range of Kubernetes' services overlaps the overlay's network, a link's or a route's",
    needs: &[Part::Links, Part::Addresses, Part::Routes],
    page: include_str!("../../../docs/playbooks/nd105_service_cidr_overlap.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let links = Links::new(view);
    for (range, said) in ranges(view) {
        let mut hit: Vec<(String, Evidence)> = Vec::new();
        for overlay in view.joined() {
            hit.extend(with_overlay(overlay, range));
        }
        hit.extend(with_links(view, &links, range));
        hit.extend(with_routes(view, &links, range));
        if let Some((first, _)) = hit.first() {
            let more = match hit.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let title = format!("the services' range {range} overlaps {first}{more}");
            found.push(draft(range, title, said, hit));
        }
    }
}

fn draft(range: IpNet, title: String, said: Evidence, hit: Vec<(String, Evidence)>) -> Draft {
    let evidence = hit.into_iter().map(|(_, evidence)| evidence);
    Draft::new(range.to_string(), title)
        .because(format!(
            "kube-proxy takes every packet for an address of {range} that a service has, \
             wherever it was meant for. A container or machine with the same address cannot be \
             reached from this host, and an address of a service may belong to a container \
             tomorrow."
        ))
        .seen(said)
        .seen_all(evidence.take(8))
        .fix("# give the services another range: --service-cluster-ip-range of kube-apiserver and")
        .fix("# kube-controller-manager, then delete and create the services anew; or renumber the overlay:")
        .fix("kubectl get services --all-namespaces -o wide")
}

/// The ranges, each with who says so.
fn ranges(view: &View<'_>) -> BTreeMap<IpNet, Evidence> {
    let mut ranges = BTreeMap::new();
    for one in &view.context.files.service_ranges {
        let what = format!("services' range {}", one.net);
        let said = Evidence::new("file", one.place.to_string(), what);
        ranges.entry(one.net.trunc()).or_insert(said);
    }
    for process in &view.context.processes {
        for net in service_ranges::in_words(&process.args) {
            let what = format!("{} is told the services' range {net}", process.comm);
            let said = Evidence::new("process", format!("pid {}", process.pid), what);
            ranges.entry(net.trunc()).or_insert(said);
        }
    }
    ranges
}

/// The overlay's range, and the leases in the services'.
fn with_overlay(overlay: &super::view::Overlay<'_>, range: IpNet) -> Option<(String, Evidence)> {
    let network = overlay.ranges_of(range).next()?;
    let leases = overlay.leases_in(range).count();
    let first = overlay.leases_in(range).next();
    let name = match first {
        Some(lease) if leases > 1 => {
            format!(
                "the overlay network {network} and {leases} leases, {} first",
                lease.subnet
            )
        }
        Some(lease) => format!(
            "the overlay network {network} and its lease {}",
            lease.subnet
        ),
        None => format!("the overlay network {network}"),
    };
    let evidence = match first {
        Some(lease) => {
            let what = format!("lease {} is in the services' range", lease.subnet);
            Evidence::new(lease.origin.source(), lease.origin.place(), what)
        }
        None => overlay.origin.first()?.clone(),
    };
    Some((name, evidence))
}

/// Links whose prefix has a part of the range. Addresses of services stand on a dummy link.
fn with_links(view: &View<'_>, links: &Links<'_>, range: IpNet) -> Vec<(String, Evidence)> {
    let addresses = view.context.net.addresses.iter().filter(|one| {
        let link = links.get(&one.link);
        let services = link.is_none_or(|link| {
            link.loopback || matches!(&link.kind, LinkKind::Other(kind) if kind == "dummy")
        });
        let net = one.net.trunc();
        let touches = range.contains(&net) || net.contains(&range);
        // The overlay's devices and bridges are told by its range.
        let overlays = view.is_overlay_link(&one.link)
            || view
                .joined()
                .any(|overlay| overlay.contains(one.net.addr()));
        touches && !services && !overlays && one.link != "kube-ipvs0" && one.scope != "link"
    });
    addresses
        .map(|one| {
            let what = format!("{} has {}", one.link, one.net);
            let evidence = Evidence::new("address", one.link.clone(), what);
            (format!("{} on {}", one.net.trunc(), one.link), evidence)
        })
        .collect()
}

/// Routes to a part of the range. One to all of it, or wider, is how services are reached where
/// no default route leads there, or a VPN's; one to a single address is an announced service.
fn with_routes(view: &View<'_>, links: &Links<'_>, range: IpNet) -> Vec<(String, Evidence)> {
    let is_of_services = |dev: &str| {
        let link = links.get(dev);
        let kind = link.map(|link| &link.kind);
        let dummy = matches!(kind, Some(LinkKind::Other(kind)) if kind == "dummy");
        dummy || dev == "kube-ipvs0" || link.is_some_and(|link| link.loopback)
    };
    let routes = view.context.net.routes.iter().filter(|route| {
        let to = route.to;
        range.contains(&to)
            && to != range
            && to.prefix_len() < to.max_prefix_len()
            && route.kind == RouteKind::Unicast
            // What a link's own address brings is told with the link.
            && route.protocol != "kernel"
            && view.routing.is_used(route.table)
            && !route.dev().is_none_or(|dev| {
                is_of_services(dev) || links.is_inside(dev) || view.is_overlay_link(dev)
            })
            && !view.joined().any(|overlay| overlay.contains(to.network()))
    });
    routes
        .map(|route| {
            let way = match (route.via(), route.dev()) {
                (Some(via), Some(dev)) => format!(" via {via} dev {dev}"),
                (_, dev) => format!(" dev {}", dev.unwrap_or_default()),
            };
            let what = format!("{} is in the services' range", route.to);
            let evidence = Evidence::new("route", route.to_string(), what);
            (format!("the route {}{way}", route.to), evidence)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::context::files::{Place, ServiceRange};
    use crate::context::{Context, Process};
    use crate::finding::{Code, Finding};
    use crate::rules::{View, evaluate, testing};

    const HOST: &str = r#"
        link eth0
        link flannel0 tun
        link kube-ipvs0 bridge
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/32 dev flannel0
        address 192.168.128.1/32 dev kube-ipvs0
        address 192.168.130.2/32 dev kube-ipvs0
        route 192.168.0.0/16 dev flannel0
    "#;

    fn found(context: &Context) -> Vec<Finding> {
        evaluate(&View::new(context, None)).findings
    }

    fn with_manifest(text: &str, range: &str) -> Context {
        let mut context = testing::context(text);
        context.files.service_ranges.push(ServiceRange {
            place: Place {
                file: "/etc/kubernetes/manifests/kube-apiserver.yaml".to_owned(),
                line: 5,
            },
            net: range.parse().expect("a range"),
        });
        context
    }

    #[test]
    fn the_overlays_network_is_named_and_nothing_else_is_said() {
        let found = found(&with_manifest(HOST, "192.168.128.0/20"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, Code(105));
        assert!(
            found[0]
                .title
                .contains("192.168.128.0/20 overlaps the overlay network 192.168.0.0/16"),
            "{}",
            found[0].title
        );
    }

    #[test]
    fn a_command_line_tells_it_and_the_lan_counts() {
        let mut context = testing::context(HOST);
        let args = [
            "kube-apiserver",
            "--service-cluster-ip-range",
            "10.1.0.0/16,fd00::/112",
        ];
        context.processes.push(Process {
            pid: 7,
            comm: "kube-apiserver".to_owned(),
            args: args.map(str::to_owned).to_vec(),
            ..Process::default()
        });
        let found = found(&context);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .title
                .contains("10.1.0.0/16 overlaps 10.1.1.0/24 on eth0"),
            "{}",
            found[0].title
        );
    }

    #[test]
    fn a_route_into_the_range_is_named() {
        let text = format!("{HOST}\nroute 10.96.40.0/24 via 10.1.1.9 dev eth0");
        let found = found(&with_manifest(&text, "10.96.0.0/12"));
        assert_eq!(found.len(), 1, "{found:?}");
        let wanted = "10.96.0.0/12 overlaps the route 10.96.40.0/24 via 10.1.1.9 dev eth0";
        assert!(found[0].title.contains(wanted), "{}", found[0].title);
    }

    #[test]
    fn routes_of_vpns_and_of_services_themselves_are_usual() {
        for line in [
            "route 10.0.0.0/8 via 10.1.1.9 dev eth0",
            "route default via 10.1.1.1 dev eth0",
            "route 10.96.0.0/12 via 10.1.1.9 dev eth0",
            "route 10.96.0.10 via 10.1.1.9 dev eth0 proto bird",
            "link dummy0 dummy\nroute 10.96.0.0/16 dev dummy0",
            "route 10.96.0.0/16 dev kube-ipvs0",
            "route 10.96.40.0/24 via 10.1.1.9 dev eth0 table 7",
            "route 10.96.40.0/24 kind blackhole",
        ] {
            let text = format!("{HOST}\n{line}");
            let mut found = found(&with_manifest(&text, "10.96.0.0/12"));
            found.retain(|one| one.code == Code(105));
            assert!(found.is_empty(), "{line}: {found:?}");
        }
    }

    #[test]
    fn ranges_apart_and_services_on_their_own_link_are_usual() {
        assert!(found(&with_manifest(HOST, "10.96.0.0/12")).is_empty());
        let text =
            format!("{HOST}\naddress 10.96.0.1/32 dev kube-ipvs0\nroute 10.96.0.0/12 dev eth0");
        assert!(found(&with_manifest(&text, "10.96.0.0/12")).is_empty());
    }
}
