//! This host's subnet is another than it was.
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::etcdctl;
use super::renumber;
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::flannel::Lease;
use crate::context::net::LinkKind;
use crate::context::{Context, Part};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(403),
    name: "lease-renumbered",
    severity: Severity::High,
    title: "This host has another subnet than it had",
    needs: &[Part::Addresses],
    page: include_str!("../../../docs/playbooks/nd403_lease_renumbered.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        let Some((now, place, lease)) = present(view, overlay) else {
            continue;
        };
        let stale = [
            // Beside subnet.env alone it may be of anything: ND106 says that they differ.
            bridge(view, overlay, now).filter(|_| lease.is_some()),
            file(overlay, now),
            earlier(view, overlay, now),
        ];
        let stale: Vec<Stale> = stale.into_iter().flatten().collect();
        if !stale.is_empty() {
            found.push(draft(view, overlay, (now, place, lease), &stale));
        }
    }
}

/// The subnets that this host has, by network: what a later look is compared with.
pub fn own_subnets(context: &Context) -> BTreeMap<String, String> {
    let view = View::new(context, None);
    let of = |overlay: &Overlay<'_>| {
        let subnet = present(&view, overlay).map(|(net, ..)| net.to_string());
        let networks = overlay.networks.iter().map(ToString::to_string);
        Vec::from_iter(networks.zip(std::iter::repeat(subnet)))
    };
    let all = view.overlays.iter().flat_map(of);
    all.filter_map(|(network, subnet)| Some((network, subnet?)))
        .collect()
}

/// A subnet, what shows it, and the lease that it is by.
type Present<'a> = (IpNet, Evidence, Option<&'a Lease>);

/// The subnet that this host has by its lease; where there is none to see, by subnet.env.
fn present<'a>(view: &View<'_>, overlay: &'a Overlay<'_>) -> Option<Present<'a>> {
    let file = overlay
        .subnet_env
        .and_then(|file| Some((file, file.subnet.or(file.ipv6_subnet)?.trunc())));
    let own = |lease: &&Lease| view.is_ours(lease);
    let leases = || overlay.leases.iter().filter(own);
    let agreed = leases().find(|lease| file.is_some_and(|(_, net)| net == lease.subnet));
    let newest = agreed.or_else(|| leases().max_by_key(|lease| lease.origin.modified));
    if let Some(lease) = newest {
        let what = format!("this host's lease {}", lease.subnet);
        let place = Evidence::new(lease.origin.source(), lease.origin.place(), what);
        return Some((lease.subnet, place, Some(lease)));
    }
    let (file, net) = file?;
    let place = Evidence::new(
        "file",
        file.file.clone(),
        format!("FLANNEL_SUBNET is in {net}"),
    );
    Some((net, place, None))
}

/// What still has the old subnet.
struct Stale {
    net: IpNet,
    what: String,
    /// The bridge that has it.
    link: Option<String>,
    evidence: Evidence,
    certain: bool,
}

/// A containers' bridge in another of the network's subnets.
fn bridge(view: &View<'_>, overlay: &Overlay<'_>, now: IpNet) -> Option<Stale> {
    let context = view.context;
    let docker = context
        .files
        .docker
        .as_ref()
        .and_then(|docker| docker.bridge.as_deref());
    let cni = context
        .files
        .cni
        .iter()
        .filter_map(|one| one.bridge.as_deref());
    let known: Vec<&str> = ["docker0", "cni0", "cbr0"]
        .into_iter()
        .chain(docker)
        .chain(cni)
        .collect();
    let bridges = context
        .net
        .links
        .iter()
        .filter(|link| link.kind == LinkKind::Bridge && known.contains(&link.name.as_str()));
    let mut addresses = bridges.flat_map(|link| context.net.addresses_of(&link.name));
    // A subnet of the network's own length: what is cut otherwise was never leased.
    let stale = addresses.find(|one| {
        one.net.prefix_len() == now.prefix_len()
            && overlay.contains(one.net.addr())
            && one.net.trunc() != now
    })?;
    let net = stale.net.trunc();
    Some(Stale {
        net,
        what: format!("{} is still in {net}", stale.link),
        link: Some(stale.link.clone()),
        evidence: Evidence::new(
            "address",
            format!("{} dev {}", stale.net, stale.link),
            format!("{} has {}", stale.link, stale.net),
        ),
        certain: false,
    })
}

fn file(overlay: &Overlay<'_>, now: IpNet) -> Option<Stale> {
    let file = overlay.subnet_env?;
    let subnet = file.subnet?;
    (subnet.trunc() != now).then(|| Stale {
        net: subnet.trunc(),
        what: format!("{} still says {}", file.file, subnet.trunc()),
        link: None,
        evidence: Evidence::new(
            "file",
            file.file.clone(),
            format!("FLANNEL_SUBNET={subnet}"),
        ),
        certain: false,
    })
}

fn earlier(view: &View<'_>, overlay: &Overlay<'_>, now: IpNet) -> Option<Stale> {
    let earlier = view.context.earlier.as_ref()?;
    let mut subnets = overlay
        .networks
        .iter()
        .filter_map(|net| earlier.subnets.get(&net.to_string()));
    let before: IpNet = subnets.find_map(|text| text.parse().ok())?;
    (before.trunc() != now).then(|| Stale {
        net: before.trunc(),
        what: format!("it had {} at an earlier look", before.trunc()),
        link: None,
        evidence: Evidence::new(
            "file",
            "netdig's notes",
            format!("an earlier look saw {before}"),
        ),
        certain: true,
    })
}

fn draft(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    (now, place, lease): Present<'_>,
    stale: &[Stale],
) -> Draft {
    let old = stale[0].net;
    let mut draft = Draft::new(
        format!("{now} {}", overlay.key()),
        format!("this host's subnet is {now} now, and {}", stale[0].what),
    )
    .because(format!(
        "A lease that runs out goes to whoever asks next, and its old holder gets another one. \
         Containers that were started before have addresses of {old}: the other hosts send \
         what is for those to another host or to nobody, and answers never come."
    ))
    .seen(place)
    .seen_all(stale.iter().map(|one| one.evidence.clone()));
    for link in stale.iter().filter_map(|one| one.link.as_deref()) {
        draft = draft
            .fix(format!(
                "# {link} takes the new subnet once its containers are stopped"
            ))
            .fix("systemctl stop docker")
            .fix(format!("ip link delete {}", renumber::link(link)));
    }
    draft = draft.fix("systemctl restart flanneld docker");
    if let Some(lease) = lease {
        let key = (lease.origin.api, lease.origin.key.as_str());
        draft = draft
            .fix("# a lease without a TTL is kept: a reservation")
            .fix(etcdctl::copy(view, key, key));
    }
    match stale.iter().any(|one| one.certain) {
        true => draft,
        false => draft.confidence(Confidence::Likely),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, findings};
    use super::super::{View, evaluate};
    use super::*;
    use crate::context::Earlier;

    const HOST: &str = r#"
        link eth0
        link docker0 bridge
        address 10.1.1.95/24 dev eth0
        key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
        key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}
    "#;

    #[test]
    fn the_bridge_is_in_the_old_subnet() {
        let found = findings(&format!("{HOST}address 192.168.70.1/24 dev docker0"), 403);
        assert_eq!(found.len(), 1);
        let title = &found[0].title;
        assert!(
            title.contains("192.168.69.0/24") && title.contains("192.168.70"),
            "{title}"
        );
        let fix = &found[0].fix;
        assert!(fix.contains(&"ip link delete docker0".to_owned()));
        // A lease that could not be read is not written.
        let key = "/coreos.com/network/subnets/192.168.69.0-24";
        let put = fix.last().expect("a command");
        assert_eq!(
            *put,
            format!(
                "value=\"$(ETCDCTL_API=3 etcdctl get --print-value-only {key})\" && \
                 [ -n \"$value\" ] && ETCDCTL_API=3 etcdctl put {key} \"$value\""
            )
        );
    }

    #[test]
    fn what_is_in_order_or_was_never_leased_is_none() {
        for bridge in ["192.168.69.1/24", "172.17.0.1/16", "192.168.70.1/28"] {
            let text = format!("{HOST}address {bridge} dev docker0");
            assert!(findings(&text, 403).is_empty(), "{bridge}");
        }
        let libvirt = "link virbr0 bridge\naddress 192.168.122.1/24 dev virbr0";
        assert!(findings(&format!("{HOST}{libvirt}"), 403).is_empty());
        assert!(
            findings(
                "link docker0 bridge\naddress 192.168.70.1/24 dev docker0",
                403
            )
            .is_empty()
        );
    }

    #[test]
    fn an_earlier_look_remembers() {
        let mut context = context(HOST);
        let mut told = |subnet: &str| {
            let subnets = [("192.168.0.0/16".to_owned(), subnet.to_owned())];
            context.earlier = Some(Earlier {
                taken_ns: 1,
                subnets: subnets.into(),
            });
            let report = evaluate(&View::new(&context, None));
            let mine = report
                .findings
                .into_iter()
                .filter(|one| one.code == Code(403));
            mine.map(|one| one.confidence).collect::<Vec<_>>()
        };
        assert_eq!(told("192.168.70.0/24"), [Confidence::Certain]);
        assert!(told("192.168.69.0/24").is_empty() && told("nonsense").is_empty());
    }
}
