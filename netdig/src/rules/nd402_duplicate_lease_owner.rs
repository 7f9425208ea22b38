//! One lease that two hosts hold.
use std::net::IpAddr;

use ipnet::IpNet;

use super::view::Overlay;
use super::{Draft, Rule, View, backend, nd401_nat_public_ip::nat, renumber};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::{Address, LinkKind};
use crate::context::registry::{Key, Value};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(402),
    name: "duplicate-lease-owner",
    severity: Severity::Critical,
    title: "Two hosts hold one lease",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd402_duplicate_lease_owner.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        for lease in &overlay.leases {
            if let Some(owners) = owners(view, overlay, lease) {
                found.push(draft(view, lease, &owners));
            }
        }
        found.extend(overlapping(view, overlay));
    }
}

/// A lease whose subnet lies in a wider one of another host. flanneld gives no such lease out:
/// it is made where SubnetLen or the keys are changed by hand.
fn overlapping(view: &View<'_>, overlay: &Overlay<'_>) -> Option<Draft> {
    let mut pairs = Vec::new();
    for narrow in &overlay.leases {
        let nets = narrow.subnets();
        let wide = nets.filter_map(|net| holder(overlay, narrow, net)).next();
        pairs.extend(wide.map(|wide| (narrow, wide)));
    }
    let &(narrow, wide) = pairs.first()?;
    let more = backend::and_more(pairs.len());
    let title = format!(
        "two hosts' leases overlap{more}: {} lies in {}",
        backend::named(narrow),
        backend::named(wide)
    );
    let host = narrow
        .public()
        .map_or_else(String::new, |ip| ip.to_string());
    let draft = Draft::new(format!("overlap {}", narrow.origin.key), title)
        .because(format!(
            "Both hosts give addresses of {} to their containers. The kernel takes the longer \
             prefix, so that what is for the wider lease's containers there goes to the other \
             host. flanneld leases no subnet that overlaps another: SubnetLen was changed and a \
             key written by hand, or two flanneld that do not see each other's leases wrote them.",
            narrow.subnet
        ))
        .seen_all(pairs.iter().take(4).flat_map(|(narrow, wide)| {
            [*narrow, *wide].map(|lease| {
                let origin = &lease.origin;
                Evidence::new(origin.source(), origin.place(), backend::named(lease))
            })
        }))
        .fix(format!("# on {host}, which takes another subnet then:"))
        .fix_all(forget())
        .fix(renumber::delete(view, &narrow.origin))
        .fix("systemctl start flanneld docker");
    Some(draft)
}

/// Commands by which another host forgets its subnet; docker0 would keep its address of it.
fn forget() -> [String; 2] {
    [
        "systemctl stop flanneld docker".to_owned(),
        "rm /run/flannel/subnet.env && ip link delete docker0".to_owned(),
    ]
}

/// The lease of another host whose subnet holds `net` and more.
fn holder<'v>(overlay: &'v Overlay<'_>, narrow: &Lease, net: IpNet) -> Option<&'v Lease> {
    let host = narrow.public()?;
    overlay.leases_in(net).find(|wide| {
        let of = wide.subnet_of(net);
        // Leases of etcd's other store may be of a time before this one.
        wide.origin.api == narrow.origin.api
            && of.is_some_and(|of| of.contains(&net) && of != net)
            && wide.public().is_some_and(|other| other != host)
    })
}

/// Who writes a lease, the present one first.
pub struct Owners {
    now: IpAddr,
    before: IpAddr,
    /// What tells of the other one.
    by: Evidence,
    certain: bool,
}

/// The two owners of a lease: its PublicIP goes to and fro; or it is the lease of this host's
/// own subnet, and another host that lives has it.
pub fn owners(view: &View<'_>, overlay: &Overlay<'_>, lease: &Lease) -> Option<Owners> {
    let now = lease.public().filter(|ip| nat(*ip).is_none())?;
    let key = view.key(&lease.origin)?;
    if let Some(owners) = alternating(view, key, now) {
        return Some(owners);
    }
    in_use(view, overlay, lease, now)
}

fn alternating(view: &View<'_>, key: &Key, now: IpAddr) -> Option<Owners> {
    let past: Vec<IpAddr> = key
        .history
        .iter()
        .map_while(|past| public_ip(&past.value, now.is_ipv6()))
        .collect();
    let at = past.iter().position(|ip| *ip != now)?;
    let back = past[at..].contains(&now);
    // A host that got a new address writes it once; that this host still has the old one
    // shows that there are two.
    let still_here = view.is_local(past[at]);
    (back || still_here).then(|| Owners {
        now,
        before: past[at],
        by: Evidence::new(
            key.source(),
            format!("{} @ {}", key.key, key.history[at].modified),
            format!("PublicIP was {} then", past[at]),
        ),
        certain: back,
    })
}

fn public_ip(value: &Value, ipv6: bool) -> Option<IpAddr> {
    let value: serde_json::Value = serde_json::from_str(value.text()?).ok()?;
    let field = if ipv6 { "PublicIPv6" } else { "PublicIP" };
    value[field].as_str()?.parse().ok()
}

fn in_use(view: &View<'_>, overlay: &Overlay<'_>, lease: &Lease, now: IpAddr) -> Option<Owners> {
    if let Some(owners) = by_device(view, overlay, lease, now) {
        return Some(owners);
    }
    let file = overlay.subnet_env?;
    let mine = file.subnet.or(file.ipv6_subnet)?.trunc() == lease.subnet;
    let net = &view.context.net;
    if !mine {
        return None;
    }
    let neighbour = net
        .neighbours
        .iter()
        .find(|one| one.address == now && one.mac.is_some())?;
    if view.is_local(now) || neighbour.state == "FAILED" {
        return None;
    }
    let way = net
        .addresses
        .iter()
        .filter(|one| one.link == neighbour.link && one.scope == "global");
    let before = way
        .map(|one| one.net.addr())
        .find(|address| address.is_ipv6() == now.is_ipv6())?;
    Some(Owners {
        now,
        before,
        by: Evidence::new(
            "file",
            file.file.clone(),
            format!(
                "this host, {before}, has FLANNEL_SUBNET in {}",
                lease.subnet
            ),
        ),
        certain: false,
    })
}

/// The lease of this host's device has another host's address, and the hardware address of
/// another device.
fn by_device(view: &View<'_>, overlay: &Overlay<'_>, lease: &Lease, now: IpAddr) -> Option<Owners> {
    let link = backend::vtep_of(view, overlay, lease.ipv4_subnet().is_none())?;
    let mut on_it = view.context.net.addresses_of(&link.name);
    let ours = on_it.any(|one| lease.subnets().any(|net| net.contains(&one.net.addr())));
    let ipv6 = lease.ipv4_subnet().is_none();
    let (mac, named) = (link.mac.as_deref()?, lease.vtep_mac_of(ipv6)?);
    let others =
        !mac.eq_ignore_ascii_case(named) && !view.is_local(now) && !backend::was_told(view, now);
    let underlay = |one: &&Address| {
        let link = view.context.net.link(&one.link);
        let inside = link.is_none_or(|link| link.loopback || link.kind == LinkKind::Bridge);
        one.scope == "global" && !inside && !view.is_overlay_link(&one.link)
    };
    let addresses = view.context.net.addresses.iter().filter(underlay);
    let before = addresses
        .map(|one| one.net.addr())
        .find(|address| address.is_ipv6() == now.is_ipv6())?;
    (ours && others).then(|| Owners {
        now,
        before,
        by: Evidence::new(
            "link",
            link.name.clone(),
            format!("has {mac}, and the lease names {named}: another host's device"),
        ),
        certain: false,
    })
}

fn draft(view: &View<'_>, lease: &Lease, owners: &Owners) -> Draft {
    let Owners { now, before, .. } = owners;
    let subnet = lease.subnet;
    let own = |ip: &IpAddr| match view.is_local(*ip) {
        true => " (this host)",
        false => "",
    };
    let draft = Draft::new(
        lease.origin.key.clone(),
        format!(
            "the lease {subnet} has two owners: {now}{} and {before}{}",
            own(now),
            own(before)
        ),
    )
    .because(format!(
        "Both hosts give addresses of {subnet} to their containers, and the others send to the \
         one that wrote last. Half of what goes to either arrives at the other. A copied disk \
         brings that about: the copy has the first host's subnet.env and asks for its lease."
    ))
    .seen(Evidence::new(
        lease.origin.source(),
        lease.origin.place(),
        format!("lease {subnet}, PublicIP {now} now"),
    ))
    .seen(owners.by.clone())
    .fix("# on the host that is to move, the copy:")
    .fix_all(forget())
    .fix("systemctl start flanneld docker")
    .fix(format!(
        "# on the other one, which writes {} again",
        lease.origin.key
    ))
    .fix("systemctl restart flanneld");
    match owners.certain {
        true => draft,
        false => draft.confidence(Confidence::Likely),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, findings};
    use super::super::{View, evaluate};
    use super::*;
    use crate::context::files::SubnetEnv;
    use crate::context::registry::Past;

    const HOST: &str = r#"
        link eth0
        address 10.1.1.95/24 dev eth0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.187"}
    "#;

    fn with_past(addresses: &[&str]) -> Vec<String> {
        let mut context = context(HOST);
        let past = addresses.iter().map(|ip| Past {
            value: Value::Text(format!(r#"{{"PublicIP":"{ip}"}}"#)),
            modified: 7,
        });
        context.registry.keys[1].history = past.collect();
        let report = evaluate(&View::new(&context, None));
        let mine = report
            .findings
            .into_iter()
            .filter(|one| one.code == Code(402));
        mine.map(|one| format!("{} {:?}", one.title, one.confidence))
            .collect()
    }

    #[test]
    fn the_address_goes_to_and_fro() {
        let found = with_past(&["10.1.1.200", "10.1.1.187", "10.1.1.200"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("192.168.69.0/24") && found[0].contains("10.1.1.187"));
        assert!(found[0].contains("Certain"));
    }

    #[test]
    fn this_host_had_it_and_still_lives() {
        let found = with_past(&["10.1.1.95"]);
        assert!(found[0].contains("10.1.1.95 (this host)"), "{found:?}");
    }

    #[test]
    fn a_new_address_of_one_host_is_none() {
        assert!(with_past(&["10.1.1.200", "10.1.1.200"]).is_empty());
        assert!(with_past(&["10.1.1.187", "10.1.1.187"]).is_empty());
        assert!(with_past(&[]).is_empty());
        assert!(with_past(&["nonsense", "10.1.1.200"]).is_empty());
        assert!(findings(HOST, 402).is_empty());
    }

    #[test]
    fn a_lease_in_anothers() {
        let titles = |lines: &str| {
            let found = findings(&format!("{HOST}{lines}"), 402);
            found.into_iter().map(|one| one.title).collect::<Vec<_>>()
        };
        let wide = |ip: &str| {
            format!(
                r#"
        key v3 /coreos.com/network/subnets/192.168.4.0-23 {{"PublicIP":"{ip}"}}
        key v3 /coreos.com/network/subnets/192.168.5.0-24 {{"PublicIP":"10.1.1.188"}}"#
            )
        };
        let fix = &findings(&format!("{HOST}{}", wide("10.1.1.189")), 402)[0].fix;
        let (stop, forget) = (&fix[1], &fix[2]);
        assert_eq!(stop, "systemctl stop flanneld docker");
        assert!(forget.ends_with("ip link delete docker0"), "{forget}");
        assert_eq!(
            titles(&wide("10.1.1.189")),
            [
                "two hosts' leases overlap: 192.168.5.0/24 (lease of 10.1.1.188) lies in \
                 192.168.4.0/23 (lease of 10.1.1.189)"
            ]
        );
        assert!(
            titles(&wide("10.1.1.188")).is_empty(),
            "one host's, old and new"
        );
        let beside = wide("10.1.1.189").replace("192.168.5.0-24", "192.168.6.0-24");
        assert!(titles(&beside).is_empty());
        let stores = wide("10.1.1.189").replacen("key v3", "key v2", 1);
        assert!(titles(&stores).is_empty(), "of etcd's other store");
    }

    #[test]
    fn our_subnet_is_leased_by_a_neighbour_that_answers() {
        let told = |state: &str| {
            let mut context = context(&format!(
                "{HOST}neigh 10.1.1.187 dev eth0 lladdr 02:00:00:00:00:01 {state}"
            ));
            context.files.subnet_env.push(SubnetEnv {
                file: "/run/flannel/subnet.env".to_owned(),
                network: vec!["192.168.0.0/16".parse().unwrap()],
                subnet: Some("192.168.69.1/24".parse().unwrap()),
                ..SubnetEnv::default()
            });
            let report = evaluate(&View::new(&context, None));
            report
                .findings
                .iter()
                .filter(|one| one.code == Code(402))
                .count()
        };
        assert_eq!((told("REACHABLE"), told("FAILED")), (1, 0));
    }
}
