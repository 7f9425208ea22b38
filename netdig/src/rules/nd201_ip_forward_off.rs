//! ND201: the host does not forward what comes out of the overlay.
use super::passage::{Passage, passages};
use super::renumber::quoted;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(201),
    name: "ip-forward-off",
    severity: Severity::High,
    title: "Forwarding is off, for all links or for one that overlay traffic passes",
    needs: &[Part::Sysctls, Part::Links, Part::Addresses],
    page: include_str!("../../../docs/playbooks/nd201_ip_forward_off.md"),
    check,
};

const ALL_V4: &str = "net.ipv4.ip_forward";
const ALL_V6: &str = "net.ipv6.conf.all.forwarding";

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let mut keys: Vec<String> = Vec::new();
    for passage in passages(view) {
        for (name, link) in off(view, &passage) {
            if !keys.contains(&name) {
                found.push(draft(view, &passage, &name, link));
                keys.push(name);
            }
        }
    }
}

/// The switches that are off, each with the link that it is of. IPv4 asks the switch of the
/// link that a packet came by, IPv6 the one for all.
fn off<'v>(view: &View<'_>, passage: &Passage<'v>) -> Vec<(String, Option<&'v str>)> {
    let is_off = |name: &str| view.context.sysctl(name) == Some(0);
    if passage.network.addr().is_ipv6() {
        let off = is_off(ALL_V6).then(|| (ALL_V6.to_owned(), None));
        return off.into_iter().collect();
    }
    let links = [passage.link, passage.bridge];
    let of = |link: &str| format!("net.ipv4.conf.{link}.forwarding");
    if is_off(ALL_V4) {
        // Links may have been switched on again one by one.
        let each_on = links
            .iter()
            .all(|link| view.context.sysctl(&of(link)) == Some(1));
        let off = (!each_on).then(|| (ALL_V4.to_owned(), None));
        return off.into_iter().collect();
    }
    let links = links.into_iter().filter(|link| is_off(&of(link)));
    links.map(|link| (of(link), Some(link))).collect()
}

fn draft(view: &View<'_>, passage: &Passage<'_>, name: &str, link: Option<&str>) -> Draft {
    let Passage {
        bridge,
        own,
        network,
        ..
    } = passage;
    let lost = match link {
        Some(link) if link == passage.bridge => {
            format!("what containers in {own} send by {link} to {network} is dropped")
        }
        Some(link) => {
            format!("what comes by {link} for containers in {own} on {bridge} is dropped")
        }
        None => format!(
            "nothing passes between {} and {bridge} ({own})",
            passage.link
        ),
    };
    // Of the same family, where a link's own switch is off.
    let all = if network.addr().is_ipv6() {
        ALL_V6
    } else {
        ALL_V4
    };
    let others = Some(all).filter(|all| *all != name);
    let others = others.and_then(|all| Some((all, view.context.sysctl(all)?)));
    let switch = settable(name, link);
    Draft::new(name, format!("{name} is 0: {lost}"))
        .because(
            "The kernel drops packets that are for somebody else without a word where \
             forwarding is off: no ICMP error, only a counter. This host itself can be reached, \
             its containers cannot.",
        )
        .fix(format!("sysctl -w {}", quoted(&format!("{switch}=1"))))
        .fix("# so that it stays after the next boot:")
        .fix(format!(
            "echo {} >> /etc/sysctl.d/90-netdig-forward.conf",
            quoted(&format!("{switch} = 1"))
        ))
        .seen(Evidence::new(
            "sysctl",
            format!("{name} = 0"),
            "forwarding is off",
        ))
        .seen_all(others.map(|(all, value)| {
            Evidence::new(
                "sysctl",
                format!("{all} = {value}"),
                "the switch for all links",
            )
        }))
        .seen(Evidence::new(
            "address",
            bridge.to_string(),
            format!("containers of this host are in {own}"),
        ))
}

/// As sysctl(8) takes it: a link's name with dots needs slashes between the parts.
pub fn settable(name: &str, link: Option<&str>) -> String {
    match link {
        Some(link) if link.contains('.') => {
            let marked = name.replace(link, "\0");
            marked.replace('.', "/").replace('\0', link)
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const HOST: &str = "
        link eth0
        link flannel0 tun
        link docker0 bridge
        address 10.1.1.187/24 dev eth0
        address 192.168.13.0/16 dev flannel0
        address 192.168.13.1/24 dev docker0
        ";

    fn titles(text: &str) -> Vec<String> {
        let findings = testing::findings(&format!("{HOST}{text}"), 201);
        findings.into_iter().map(|finding| finding.title).collect()
    }

    #[test]
    fn off_for_all_and_for_one_link() {
        let all = titles("sysctl net.ipv4.ip_forward 0");
        assert_eq!(
            all,
            [
                "net.ipv4.ip_forward is 0: nothing passes between flannel0 and docker0 (192.168.13.0/24)"
            ]
        );
        let one =
            titles("sysctl net.ipv4.ip_forward 1\nsysctl net.ipv4.conf.flannel0.forwarding 0");
        assert_eq!(one.len(), 1);
        assert!(one[0].starts_with("net.ipv4.conf.flannel0.forwarding is 0"));
        let bridge =
            titles("sysctl net.ipv4.ip_forward 1\nsysctl net.ipv4.conf.docker0.forwarding 0");
        assert!(bridge[0].contains("send by docker0"));
    }

    #[test]
    fn ipv6_has_one_switch() {
        let text =
            "key v3 /coreos.com/network/config {\"EnableIPv6\":true,\"IPv6Network\":\"fd00::/48\"}
            link flannel-v6.1 vxlan
            address fd00:0:0:5::/128 dev flannel-v6.1
            address fd00:0:0:5::1/64 dev docker0
            sysctl net.ipv4.ip_forward 1
            sysctl net.ipv6.conf.all.forwarding 0";
        let found = titles(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(ALL_V6));
    }

    #[test]
    fn healthy_and_unknown_hosts_are_left_alone() {
        assert!(titles("sysctl net.ipv4.ip_forward 1").is_empty());
        assert!(titles("").is_empty());
        let on = "sysctl net.ipv4.ip_forward 0
            sysctl net.ipv4.conf.flannel0.forwarding 1
            sysctl net.ipv4.conf.docker0.forwarding 1";
        assert!(titles(on).is_empty());
        // No overlay: a laptop with docker need not forward.
        let laptop = "link eth0\nlink docker0 bridge\naddress 10.0.0.5/24 dev eth0
            address 172.17.0.1/16 dev docker0\nsysctl net.ipv4.ip_forward 0";
        assert!(testing::findings(laptop, 201).is_empty());
        // The overlay's range is that of a card: no bridge.
        let no_bridge = "link eth0\nlink flannel0 tun\naddress 10.1.0.0/16 dev flannel0
            address 10.1.1.95/24 dev eth0\nsysctl net.ipv4.ip_forward 0";
        assert!(testing::findings(no_bridge, 201).is_empty());
    }

    #[test]
    fn dotted_links_are_set_with_slashes() {
        let name = "net.ipv4.conf.flannel.1.forwarding";
        assert_eq!(
            settable(name, Some("flannel.1")),
            "net/ipv4/conf/flannel.1/forwarding"
        );
        assert_eq!(settable("net.ipv4.ip_forward", None), "net.ipv4.ip_forward");
    }
}
