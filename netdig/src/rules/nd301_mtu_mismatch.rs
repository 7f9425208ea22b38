//! ND301: links of the overlay take larger packets than its tunnel carries, or the hosts
//! disagree.
use std::net::{IpAddr, SocketAddr};

use super::renumber;
use super::view::{Overlay, flannel_backend};
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::Link;
use crate::evidence::traffic::Question;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(301),
    name: "mtu-mismatch",
    severity: Severity::High,
    title: "a link of the overlay is larger than its tunnel, or hosts differ",
    needs: &[Part::Links, Part::Addresses, Part::Routes],
    page: include_str!("../../../docs/playbooks/nd301_mtu_mismatch.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for overlay in &view.overlays {
        let Some(tunnel) = Tunnel::of(view, overlay) else {
            continue;
        };
        found.extend(too_large(view, overlay, &tunnel));
        let differ = peers_differ(view, overlay, &tunnel);
        found.extend(differ.or_else(|| containers_differ(view, overlay, &tunnel)));
    }
}

/// What the overlay's packets have room in, by the link below, by the device, or by both.
struct Tunnel<'a> {
    underlay: Option<&'a Link>,
    overhead: u32,
    /// The device, where the backend has one.
    device: Option<&'a Link>,
    backend: &'a str,
}

impl<'a> Tunnel<'a> {
    fn of(view: &View<'a>, overlay: &'a Overlay<'a>) -> Option<Tunnel<'a>> {
        let device = device(view, overlay);
        // What runs counts: the configuration may have been changed since.
        let runs = device.and_then(flannel_backend);
        let backend = runs.or(overlay.backend.as_deref())?;
        let outer_v6 = backend::is_sent_over_ipv6(overlay, device);
        let overhead = backend::overhead(backend, outer_v6)?;
        let tunnel = Tunnel {
            underlay: backend::underlay(view, overlay)
                .filter(|link| !link.loopback && link.mtu > overhead),
            overhead,
            device,
            backend,
        };
        (tunnel.underlay.is_some() || tunnel.device.is_some()).then_some(tunnel)
    }

    /// What the link below leaves.
    fn room(&self) -> Option<u32> {
        self.underlay.map(|link| link.mtu - self.overhead)
    }

    /// The largest inner packet that leaves here.
    fn carries(&self) -> u32 {
        let room = self.room().unwrap_or(u32::MAX);
        self.device.map_or(room, |device| device.mtu.min(room))
    }

    /// `underlay eth0 1500 less 28 of udp`, or the device's own.
    fn told(&self) -> String {
        match (self.underlay, self.device) {
            (Some(link), _) => format!(
                "underlay {} {} less {} of {}",
                link.name, link.mtu, self.overhead, self.backend
            ),
            (None, Some(device)) => format!("MTU of {}", device.name),
            (None, None) => String::new(),
        }
    }
}

/// The device in use: one of another backend than this host's lease is left from before.
fn device<'a>(view: &View<'a>, overlay: &Overlay<'_>) -> Option<&'a Link> {
    let of = overlay.own_lease().map(|lease| lease.backend.as_str());
    let names = overlay.links.iter();
    let mut links = names.filter_map(|name| view.context.net.link(name));
    links.find(|link| {
        let backend = flannel_backend(link);
        backend.is_none_or(|backend| of.is_none_or(|of| of == backend))
    })
}

/// Something of the overlay with an MTU that the tunnel does not carry.
struct Larger {
    what: String,
    mtu: u32,
    evidence: Evidence,
    fix: Vec<String>,
}

fn too_large(view: &View<'_>, overlay: &Overlay<'_>, tunnel: &Tunnel<'_>) -> Option<Draft> {
    let carries = tunnel.carries();
    let all: Vec<Larger> = larger(view, overlay, tunnel);
    let first = all.first()?;
    let title = format!(
        "{} has an MTU of {}, and the tunnel carries {carries} ({})",
        first.what,
        first.mtu,
        tunnel.told()
    );
    let below = [tunnel.underlay, tunnel.device].into_iter().flatten();
    let draft = Draft::new(overlay.key(), title)
        .because(
            "Small packets pass, full-size ones do not: they are cut up, or thrown away where the \
             sender forbids that. A connection opens, a short answer comes, a long one hangs.",
        )
        .seen_all(
            below.map(|link| Evidence::new("link", link.name.clone(), format!("MTU {}", link.mtu))),
        );
    let draft = all.into_iter().fold(draft, |draft, one| {
        draft.seen(one.evidence).fix_all(one.fix)
    });
    Some(draft.fix(format!(
        "ping -M do -s {} ADDRESS   # of a remote container: passes when cured",
        carries.saturating_sub(28)
    )))
}

fn larger(view: &View<'_>, overlay: &Overlay<'_>, tunnel: &Tunnel<'_>) -> Vec<Larger> {
    let mut all = Vec::new();
    if let (Some(device), Some(room)) = (tunnel.device, tunnel.room())
        && device.mtu > room
    {
        all.push(link(device, room));
    }
    let carries = tunnel.carries();
    if let Some(file) = overlay.subnet_env
        && let Some(mtu) = file.mtu.filter(|&mtu| mtu > carries)
    {
        all.push(Larger {
            what: format!("{} (FLANNEL_MTU)", file.file),
            mtu,
            evidence: Evidence::new("file", file.file.clone(), format!("FLANNEL_MTU={mtu}")),
            fix: written_anew(view, overlay, tunnel),
        });
    }
    if let Some(bridge) = backend::bridge(view, overlay) {
        all.extend(ports(view, bridge, carries));
    }
    all
}

/// Commands by which subnet.env gets what the tunnel carries. flanneld reckons with VXLAN over
/// IPv4, and would write the same again where it goes over IPv6.
fn written_anew(view: &View<'_>, overlay: &Overlay<'_>, tunnel: &Tunnel<'_>) -> Vec<String> {
    let restart = "systemctl restart flanneld docker   # writes subnet.env and hands it on";
    let reckoned = backend::overhead("vxlan", false).unwrap_or_default();
    if tunnel.backend != "vxlan" || tunnel.overhead == reckoned {
        return vec![restart.to_owned()];
    }
    let mtu = tunnel.carries() + reckoned;
    let config = overlay.config.as_ref();
    let put =
        config.and_then(|config| renumber::with_backend(view, config, &[("MTU", mtu.into())]));
    let by_hand =
        || format!("# set MTU to {mtu} in Backend, where flannel reads its configuration");
    vec![
        format!(
            "# over IPv6 VXLAN takes {}, and flanneld reckons with {reckoned}; for all hosts:",
            tunnel.overhead
        ),
        put.unwrap_or_else(by_hand),
        restart.to_owned(),
    ]
}

/// A bridge without ports carries nothing, whatever MTU it shows: it takes that of its ports.
fn ports(view: &View<'_>, bridge: &Link, carries: u32) -> Vec<Larger> {
    let links = view.context.net.links.iter();
    let mut ports = links
        .filter(|link| link.master.as_deref() == Some(&bridge.name))
        .peekable();
    if ports.peek().is_none() {
        return Vec::new();
    }
    let bridge_too = (bridge.mtu > carries).then(|| link(bridge, carries));
    let ports = ports
        .filter(|port| port.mtu > carries)
        .map(|port| link(port, carries));
    bridge_too.into_iter().chain(ports.take(4)).collect()
}

fn link(link: &Link, carries: u32) -> Larger {
    Larger {
        what: link.name.clone(),
        mtu: link.mtu,
        evidence: Evidence::new("link", link.name.clone(), format!("MTU {}", link.mtu)),
        fix: vec![format!(
            "ip link set {} mtu {carries}",
            renumber::link(&link.name)
        )],
    }
}

/// The MTU that a peer's end of a TCP connection announced is its link's, if it is less than
/// ours; packets that fill ours do not arrive there.
fn peers_differ(view: &View<'_>, overlay: &Overlay<'_>, tunnel: &Tunnel<'_>) -> Option<Draft> {
    let underlay = tunnel.underlay?;
    let ours = underlay.mtu;
    let (peer, theirs) = view.context.sockets.iter().find_map(|socket| {
        let peer: SocketAddr = socket.remote.as_deref()?.parse().ok()?;
        let theirs = socket.peer_mtu?;
        let is_peer = |address| {
            let lease = overlay.lease_of_host(address);
            lease.is_some_and(|lease| !overlay.is_own(lease.subnet))
        };
        (theirs < ours && tunnel.carries() + tunnel.overhead > theirs && is_peer(peer.ip()))
            .then_some((peer, theirs))
    })?;
    let dev = &underlay.name;
    let title = format!(
        "the underlay's MTU is {ours} here on {dev}, and {} announces {theirs}",
        peer.ip()
    );
    let fits = theirs.saturating_sub(tunnel.overhead);
    Some(
        Draft::new(format!("{} peer {}", overlay.key(), peer.ip()), title)
            .because(
                "Hosts of one overlay have to agree: packets that fill this host's links are larger \
                 than the other takes, and are thrown away there or on the way without a word.",
            )
            .seen(Evidence::new("link", dev.clone(), format!("MTU {ours}")))
            .seen(Evidence::new("socket", format!("tcp {peer}"), format!("its end announced segments for an MTU of {theirs}")))
            .fix("# the same MTU on all hosts; the smaller one here, until the other host is larger:")
            .fix(format!("ip link set {} mtu {theirs} && systemctl restart flanneld docker", renumber::link(dev)))
            .fix(format!("# the overlay then carries {fits} bytes"))
            .confidence(Confidence::Likely),
    )
}

/// IP and TCP headers, which a maximum segment size leaves out (RFC 6691).
fn tcp_overhead(address: IpAddr) -> u32 {
    if address.is_ipv6() { 60 } else { 40 }
}

/// MTUs of links that nobody has fitted to a tunnel: they tell nothing of the host below.
const PLAIN: [u32; 4] = [1500, 9000, 9001, 65535];

/// Both ends of a connection through the tunnel, by what their SYNs announce.
struct Announced<'a> {
    question: &'a Question,
    ours: IpAddr,
    theirs: IpAddr,
    /// Inner MTUs.
    our_mtu: u32,
    their_mtu: u32,
}

impl<'a> Announced<'a> {
    fn of(view: &View<'_>, overlay: &Overlay<'_>, question: &'a Question) -> Option<Announced<'a>> {
        let (Some(asks), Some(answers)) = question.mss else {
            return None;
        };
        let (source, destination) = (question.asked.source, question.asked.destination);
        let both = overlay.contains(source) && overlay.contains(destination);
        let is_ours = |address: IpAddr| view.is_local(address) || overlay.is_own(address.into());
        if !question.in_tunnel || !both || is_ours(source) == is_ours(destination) {
            return None;
        }
        let (near, far) = match is_ours(source) {
            true => ((source, asks), (destination, answers)),
            false => ((destination, answers), (source, asks)),
        };
        let headers = tcp_overhead(source);
        Some(Announced {
            question,
            ours: near.0,
            theirs: far.0,
            our_mtu: u32::from(near.1) + headers,
            their_mtu: u32::from(far.1) + headers,
        })
    }
}

/// A container's link is as large as its host's tunnel carries: what a peer's announces, less
/// the tunnel's, tells of the underlay there, where ours tells of the underlay here.
fn containers_differ(view: &View<'_>, overlay: &Overlay<'_>, tunnel: &Tunnel<'_>) -> Option<Draft> {
    let underlay = tunnel.underlay?;
    let questions = view.traffic?.questions.iter();
    let seen = questions
        .filter_map(|(_, question)| Announced::of(view, overlay, question))
        .find(|seen| {
            seen.our_mtu + tunnel.overhead == underlay.mtu
                && seen.their_mtu != seen.our_mtu
                && !PLAIN.contains(&seen.their_mtu)
        })?;
    let (dev, here) = (&underlay.name, underlay.mtu);
    let there = seen.their_mtu + tunnel.overhead;
    let host = overlay.lease_of(seen.theirs);
    let host = host.and_then(Lease::public);
    let whose = match host {
        Some(public) => public.to_string(),
        None => format!("the host of {}", seen.theirs),
    };
    let packet = format!(
        "{} announces segments for an MTU of {}, {} for {}",
        seen.ours, seen.our_mtu, seen.theirs, seen.their_mtu
    );
    let less = here.min(there);
    Some(
        Draft::new(
            format!("{} peer {}", overlay.key(), host.unwrap_or(seen.theirs)),
            format!("the underlay's MTU is {here} here on {dev}, and {there} on {whose}"),
        )
        .because(
            "Hosts of one overlay have to agree: packets that fill the links of the larger one are \
             larger than the other takes, and are thrown away there or on the way without a word. \
             TCP's ends agree on the lesser segment; what is no TCP, or is routed on, does not.",
        )
        .seen(Evidence::new("link", dev.clone(), format!("MTU {here}")))
        .seen(seen.question.first().evidence(packet))
        .fix(format!(
            "ping -M do -s {} {}   # passes when cured",
            here.max(there).saturating_sub(tunnel.overhead + 28),
            seen.theirs
        ))
        .fix("# the same MTU on all hosts; the smaller one until all are larger:")
        .fix(format!(
            "ip link set {} mtu {less} && systemctl restart flanneld docker",
            renumber::link(dev)
        ))
        .confidence(Confidence::Likely),
    )
}

#[cfg(test)]
mod tests {
    use crate::context::Socket;
    use crate::context::files::SubnetEnv;
    use crate::rules::testing::{context, findings};
    use crate::rules::wire::{Wire, syn_ack_to, tcp_syn, with_mss};
    use crate::rules::{View, evaluate};

    fn host(underlay: u32, tun: u32, bridge: u32, port: u32) -> String {
        format!(
            r#"
            link eth0 mtu {underlay}
            link flannel0 tun mtu {tun}
            link docker0 bridge mtu {bridge}
            link veth1 veth mtu {port} master docker0
            address 10.1.1.95/24 dev eth0
            address 192.168.69.0/16 dev flannel0
            address 192.168.69.1/24 dev docker0
            key v2 /coreos.com/network/config {{"Network":"192.168.0.0/16"}}
            key v2 /coreos.com/network/subnets/192.168.69.0-24 {{"PublicIP":"10.1.1.95"}}
            key v2 /coreos.com/network/subnets/192.168.13.0-24 {{"PublicIP":"10.1.1.187"}}
            "#
        )
    }

    #[test]
    fn a_bridge_that_is_larger_than_the_tunnel() {
        let found = findings(&host(1500, 1472, 1500, 1500), 301);
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .title
                .starts_with("docker0 has an MTU of 1500, and the tunnel carries 1472")
        );
        assert!(
            found[0]
                .fix
                .contains(&"ip link set veth1 mtu 1472".to_owned())
        );
    }

    #[test]
    fn what_fits_is_right() {
        assert!(findings(&host(1500, 1472, 1472, 1472), 301).is_empty());
        assert!(findings(&host(9001, 8973, 1500, 1500), 301).is_empty());
    }

    #[test]
    fn the_device_that_runs_counts_and_not_a_backend_that_was_configured_since() {
        let text = host(1500, 1472, 1472, 1472);
        let text = text.replace(
            r#""Network":"192.168.0.0/16""#,
            r#""Network":"192.168.0.0/16","Backend":{"Type":"vxlan"}"#,
        );
        assert!(findings(&text, 301).is_empty());
        assert!(findings(&text, 205).is_empty());
        assert_eq!(findings(&text, 406).len(), 1);
    }

    #[test]
    fn a_tun_that_is_larger_than_the_underlay() {
        let found = findings(&host(1500, 1500, 1450, 1450), 301);
        assert!(
            found[0].title.starts_with("flannel0 has an MTU of 1500"),
            "{}",
            found[0].title
        );
        assert_eq!(found[0].fix[0], "ip link set flannel0 mtu 1472");
    }

    #[test]
    fn a_bridge_without_ports_carries_nothing() {
        let text = host(1500, 1472, 1500, 1500).replace("master docker0", "");
        assert!(findings(&text, 301).is_empty());
    }

    /// An overlay of IPv6 as flannel makes it: the kernel takes 70 from the underlay's MTU, and
    /// flanneld 50.
    fn over_ipv6(config: &str, mtu: u32) -> Vec<crate::finding::Finding> {
        let mut context = context(&format!(
            r#"
            link eth0 mtu 1500
            link flannel-v6.1 vxlan vni 1 port 8472 mtu 1430 local 2001:db8::95
            address 2001:db8::95/64 dev eth0
            address fd00:5:0:69::/128 dev flannel-v6.1
            key v3 /coreos.com/network/config {config}
            key v3 /coreos.com/network/subnets/0.0.0.0-0&fd00:5:0:69::-64 {{"PublicIPv6":"2001:db8::95","BackendType":"vxlan"}}
            "#
        ));
        context.files.subnet_env.push(SubnetEnv {
            file: "/run/flannel/subnet.env".to_owned(),
            ipv6_network: vec!["fd00:5::/48".parse().unwrap()],
            ipv6_subnet: Some("fd00:5:0:69::1/64".parse().unwrap()),
            mtu: Some(mtu),
            ..SubnetEnv::default()
        });
        let mut findings = evaluate(&View::new(&context, None)).findings;
        findings.retain(|one| one.code.0 == 301);
        findings
    }

    #[test]
    fn over_ipv6_flanneld_has_to_be_told() {
        let config = r#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:5::/48","backend":{"type":"vxlan","mtu":1500}}"#;
        let found = over_ipv6(config, 1450);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].title.starts_with(
                "/run/flannel/subnet.env (FLANNEL_MTU) has an MTU of 1450, and the tunnel carries 1430"
            ),
            "{}",
            found[0].title
        );
        let put = &found[0].fix[1];
        assert!(put.contains(" put /coreos.com/network/config "), "{put}");
        assert!(
            put.contains(r#""MTU":1480"#) && !put.contains("1500"),
            "{put}"
        );
        assert!(found[0].fix[2].starts_with("systemctl restart flanneld"));
        assert!(over_ipv6(config, 1430).is_empty());
    }

    fn with_peer(remote: &str, mtu: u32) -> usize {
        let mut context = context(&host(9001, 8973, 8973, 8973));
        context.sockets.push(Socket {
            protocol: "tcp".to_owned(),
            local: "10.1.1.95:2379".to_owned(),
            remote: Some(remote.to_owned()),
            peer_mtu: Some(mtu),
            ..Socket::default()
        });
        let findings = evaluate(&View::new(&context, None)).findings;
        findings.iter().filter(|one| one.code.0 == 301).count()
    }

    #[test]
    fn a_peer_that_announces_less() {
        assert_eq!(with_peer("10.1.1.187:40000", 1500), 1);
        assert_eq!(with_peer("10.1.1.187:40000", 9001), 0);
        assert_eq!(
            with_peer("10.1.1.7:40000", 1500),
            0,
            "it is no host of the overlay"
        );
    }

    /// A connection from 192.168.69.0 to 192.168.13.2 and what both announce.
    fn announced(text: &str, ours: u16, theirs: u16) -> Vec<crate::finding::Finding> {
        let mut wire = Wire::default();
        let syn = tcp_syn("192.168.69.0", "192.168.13.2", 40_000, 7);
        wire.joined("flannel0", &with_mss(&syn, ours), "10.1.1.187:8285");
        let answer = with_mss(&syn_ack_to(&syn), theirs);
        wire.received("flannel0", &answer, "10.1.1.187:8285");
        wire.findings(text, 301)
    }

    #[test]
    fn what_containers_announce_tells_of_their_hosts() {
        let found = announced(&host(9001, 8973, 8973, 8973), 8933, 1432);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].title,
            "the underlay's MTU is 9001 here on eth0, and 1500 on 10.1.1.187"
        );
        assert_eq!(found[0].evidence[1].place, "1");
        let smaller = announced(&host(1500, 1472, 1472, 1472), 1432, 8933);
        assert_eq!(
            smaller[0].title,
            "the underlay's MTU is 1500 here on eth0, and 9001 on 10.1.1.187"
        );
    }

    #[test]
    fn equal_segments_and_plain_links_tell_nothing() {
        let text = host(9001, 8973, 8973, 8973);
        assert!(announced(&text, 8933, 8933).is_empty());
        assert!(announced(&text, 8933, 1460).is_empty(), "a link of 1500");
        assert!(
            announced(&text, 1460, 1432).is_empty(),
            "ours is not the tunnel's"
        );
    }
}
