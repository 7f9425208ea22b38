//! ND106: the containers' bridge, dockerd, subnet.env and the lease do not agree.

use ipnet::IpNet;

use super::collisions::Links;
use super::renumber;
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(106),
    name: "bridge-subnet-mismatch",
    severity: Severity::High,
    title: "the containers' bridge, dockerd, subnet.env and the lease name different subnets",
    needs: &[Part::Links, Part::Addresses],
    page: include_str!("../../../docs/playbooks/nd106_bridge_subnet_mismatch.md"),
    check,
};

/// Who says which subnet.
struct Said {
    who: String,
    net: IpNet,
    evidence: Evidence,
    /// What brings it in line.
    fix: Vec<String>,
}

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let links = Links::new(view);
    for overlay in view.joined() {
        for ipv6 in [false, true] {
            let Some(right) = decides(view, overlay, ipv6) else {
                continue;
            };
            let mut wrong = others(view, &links, overlay, ipv6);
            wrong.retain(|said| said.net.trunc() != right.net.trunc());
            if !wrong.is_empty() {
                found.push(draft(overlay, &right, wrong));
            }
        }
    }
}

fn draft(overlay: &Overlay<'_>, right: &Said, wrong: Vec<Said>) -> Draft {
    let names: Vec<String> = wrong
        .iter()
        .map(|said| format!("{} has {}", said.who, said.net))
        .collect();
    let subnet = right.net.trunc();
    let title = format!("{}, but {} is {subnet}", names.join(" and "), right.who);
    let key = format!("{} {subnet}", overlay.key());
    let mut draft = Draft::new(key, title)
        .because(format!(
            "Other hosts send to this one what is for {subnet}. Containers with addresses of \
             another subnet are not reached from there, and what they send seems to come from \
             somebody else's. It happens where dockerd comes up before flanneld, and keeps a \
             bridge with the range of an older lease."
        ))
        // A lease that was renumbered leaves the bridge behind.
        .comes_of(Code(403))
        .seen(right.evidence.clone());
    for said in wrong {
        draft = draft.seen(said.evidence);
        for command in said.fix {
            if !draft.fixes().contains(&command) {
                draft = draft.fix(command);
            }
        }
    }
    draft
}

/// The lease decides; without the registry, subnet.env does.
fn decides(view: &View<'_>, overlay: &Overlay<'_>, ipv6: bool) -> Option<Said> {
    if let Some((lease, net)) = lease(view, overlay, ipv6) {
        let what = format!("this host's lease is {net}");
        return Some(Said {
            who: "this host's lease".to_owned(),
            net,
            evidence: Evidence::new(lease.origin.source(), lease.origin.place(), what),
            fix: Vec::new(),
        });
    }
    subnet_env(overlay, ipv6)
}

/// The lease of one of our addresses; of several it is not known which one is meant.
fn lease<'v>(view: &View<'_>, overlay: &'v Overlay<'_>, ipv6: bool) -> Option<(&'v Lease, IpNet)> {
    let ours = |lease: &&Lease| view.is_ours(lease);
    let mut leases = overlay.leases.iter().filter(ours);
    let (first, second) = (leases.next()?, leases.next());
    let net = match ipv6 {
        false => first.ipv4_subnet().map(IpNet::V4),
        true => first.ipv6_subnet.map(IpNet::V6),
    };
    net.filter(|_| second.is_none()).map(|net| (first, net))
}

fn subnet_env(overlay: &Overlay<'_>, ipv6: bool) -> Option<Said> {
    let file = overlay.subnet_env?;
    let net = if ipv6 { file.ipv6_subnet } else { file.subnet }?;
    let name = if ipv6 {
        "FLANNEL_IPV6_SUBNET"
    } else {
        "FLANNEL_SUBNET"
    };
    Some(Said {
        who: file.file.clone(),
        net,
        evidence: Evidence::new("file", file.file.clone(), format!("{name}={net}")),
        fix: vec![
            "systemctl restart flanneld".to_owned(),
            "systemctl restart docker".to_owned(),
        ],
    })
}

fn others(view: &View<'_>, links: &Links<'_>, overlay: &Overlay<'_>, ipv6: bool) -> Vec<Said> {
    let mut said: Vec<Said> = subnet_env(overlay, ipv6).into_iter().collect();
    let of_it = |net: IpNet| {
        net.addr().is_ipv6() == ipv6
            && overlay.contains(net.addr())
            // A wider range is no subnet: that it lies in the network is ND101.
            && (net.prefix_len() >= overlay.subnet_len(ipv6) || overlay.is_own(net.addr().into()))
    };
    if let Some(docker) = &view.context.files.docker
        && let Some(bip) = docker.bip.filter(|bip| of_it(*bip))
    {
        // Given in both places, dockerd does not start.
        let in_file = docker.place.file.ends_with(".json");
        let (who, fix) = match in_file {
            true => (
                format!("bip in {}", docker.place.file),
                format!(
                    "# take \"bip\" out of {}: flannel's options name the subnet",
                    docker.place.file
                ),
            ),
            false => (
                "dockerd's --bip".to_owned(),
                "# start docker after flanneld, with the options of subnet.env:".to_owned(),
            ),
        };
        said.push(Said {
            who,
            net: bip,
            evidence: Evidence::new("file", docker.place.to_string(), format!("bip {bip}")),
            fix: vec![fix, "systemctl restart docker".to_owned()],
        });
    }
    let addresses = view.context.net.addresses.iter();
    for one in addresses.filter(|one| links.is_container_bridge(&one.link) && of_it(one.net)) {
        let what = format!("{} has {}", one.link, one.net);
        said.push(Said {
            who: one.link.clone(),
            net: one.net,
            evidence: Evidence::new("address", one.link.clone(), what),
            fix: anew(&one.link),
        });
    }
    said
}

/// Whether it is told here that this link has another subnet than it should.
pub(super) fn tells_of(view: &View<'_>, links: &Links<'_>, name: &str) -> bool {
    let families = |overlay| [(overlay, false), (overlay, true)];
    view.joined().flat_map(families).any(|(overlay, ipv6)| {
        let right = decides(view, overlay, ipv6);
        let wrong = |said: &Said, right: &Said| said.net.trunc() != right.net.trunc();
        right.is_some_and(|right| {
            let all = others(view, links, overlay, ipv6);
            all.iter()
                .any(|said| said.who == name && wrong(said, &right))
        })
    })
}

/// Makes a bridge anew, with the range of now.
fn anew(bridge: &str) -> Vec<String> {
    match bridge {
        "docker0" => vec![
            "# containers on docker0 are stopped by this; dockerd makes the bridge anew:"
                .to_owned(),
            "systemctl stop docker".to_owned(),
            "ip link delete docker0".to_owned(),
            "systemctl start docker".to_owned(),
        ],
        name => vec![
            format!("# containers on {name} have to be started anew; CNI makes the bridge again:"),
            format!("ip link delete {}", renumber::link(name)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::context::Context;
    use crate::context::files::{Docker, Place, SubnetEnv};
    use crate::finding::{Code, Finding};
    use crate::rules::{View, evaluate, testing};

    fn host(bridge: &str, address: &str, more: &str) -> Context {
        let mut context = testing::context(&format!(
            "link eth0\nlink flannel0 tun mtu 1472\nlink {bridge} bridge mtu 1472\naddress 10.1.1.187/24 dev eth0\n\
             address 192.168.13.0/32 dev flannel0\naddress {address} dev {bridge}\n\
             route 192.168.0.0/16 dev flannel0\n{more}"
        ));
        context.files.subnet_env.push(SubnetEnv {
            file: "/run/flannel/subnet.env".to_owned(),
            network: vec!["192.168.0.0/16".parse().expect("a network")],
            subnet: Some("192.168.13.1/24".parse().expect("a subnet")),
            ..SubnetEnv::default()
        });
        context
    }

    fn found(context: &Context) -> Vec<Finding> {
        evaluate(&View::new(context, None)).findings
    }

    const LEASE: &str = "key v2 /coreos.com/network/config {\"Network\":\"192.168.0.0/16\"}\nkey v2 /coreos.com/network/subnets/192.168.13.0-24 {\"PublicIP\":\"10.1.1.187\"}\n";

    #[test]
    fn a_stale_bridge_is_named_with_the_subnet_of_now() {
        // A lease tells that the whole subnet before was another: ND403. subnet.env does not.
        let whole = [("", 1), (LEASE, 2)];
        for (more, number) in whole {
            for (bridge, address) in [
                ("docker0", "192.168.77.1/24"),
                ("cni0", "192.168.77.1/24"),
                ("docker0", "192.168.13.1/25"),
            ] {
                let found = found(&host(bridge, address, more));
                let number = if address.ends_with("/25") { 1 } else { number };
                assert_eq!(found.len(), number, "{found:?}");
                assert_eq!(found[0].code, Code(106));
                let cause = found.get(1).map(|one| one.code);
                assert_eq!(found[0].cause, cause);
                assert!(cause.is_none_or(|code| code == Code(403)));
                for part in [bridge, address, "192.168.13.0/24"] {
                    assert!(found[0].title.contains(part), "{part}: {}", found[0].title);
                }
            }
        }
    }

    #[test]
    fn what_agrees_or_has_nothing_to_do_with_it_is_right() {
        assert!(found(&host("cni0", "192.168.13.1/24", LEASE)).is_empty());
        // Docker's own range beside CNI's bridge.
        assert!(found(&host("docker0", "172.17.0.1/16", LEASE)).is_empty());
    }

    #[test]
    fn a_stale_file_and_dockerds_option_are_named() {
        let moved = LEASE.replace("192.168.13.0-24", "192.168.14.0-24");
        let found_ = found(&host("docker0", "192.168.14.1/24", &moved));
        assert!(
            found_[0]
                .title
                .contains("/run/flannel/subnet.env has 192.168.13.1/24"),
            "{}",
            found_[0].title
        );
        let mut context = host("docker0", "192.168.13.1/24", "");
        context.files.docker = Some(Docker {
            bip: Some("192.168.77.1/24".parse().expect("a bip")),
            ..Docker::default()
        });
        assert!(
            found(&context)[0]
                .title
                .contains("dockerd's --bip has 192.168.77.1/24")
        );
    }

    #[test]
    fn a_bip_of_daemon_json_has_to_go_from_there() {
        let mut context = host("docker0", "192.168.13.1/24", "");
        context.files.docker = Some(Docker {
            place: Place {
                file: "/etc/docker/daemon.json".to_owned(),
                line: 0,
            },
            bip: Some("192.168.77.1/24".parse().expect("a bip")),
            ..Docker::default()
        });
        let found = found(&context);
        assert!(
            found[0]
                .title
                .starts_with("bip in /etc/docker/daemon.json has 192.168.77.1/24"),
            "{}",
            found[0].title
        );
        let takes_out =
            |line: &String| line.contains("take \"bip\" out of /etc/docker/daemon.json");
        assert!(found[0].fix.iter().any(takes_out), "{:?}", found[0].fix);
    }
}
