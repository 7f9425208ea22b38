//! ND301: links of the overlay take larger packets than its tunnel carries, or the hosts
//! disagree.
use std::net::{IpAddr, SocketAddr};

use super::renumber::quoted;
use super::view::Overlay;
use super::{Draft, Rule, View, backend};
use crate::context::Part;
use crate::context::net::Link;
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
        found.extend(peers_differ(view, overlay, &tunnel));
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
        let backend = overlay.backend.as_deref()?;
        let overhead = backend::overhead(backend)?;
        let device = overlay.links.first();
        let tunnel = Tunnel {
            underlay: backend::underlay(view, overlay)
                .filter(|link| !link.loopback && link.mtu > overhead),
            overhead,
            device: device.and_then(|name| view.context.net.link(name)),
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

/// Something of the overlay with an MTU that the tunnel does not carry.
struct Larger {
    what: String,
    mtu: u32,
    evidence: Evidence,
    fix: String,
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
    let draft = Draft::new(overlay.prefix.clone(), title)
        .because(
            "Small packets pass, full-size ones do not: they are cut up, or thrown away where the \
             sender forbids that. A connection opens, a short answer comes, a long one hangs.",
        )
        .seen_all(
            below.map(|link| Evidence::new("link", link.name.clone(), format!("MTU {}", link.mtu))),
        );
    let draft = all
        .into_iter()
        .fold(draft, |draft, one| draft.seen(one.evidence).fix(one.fix));
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
            fix: "systemctl restart flanneld docker   # writes subnet.env and hands it on"
                .to_owned(),
        });
    }
    if let Some(bridge) = backend::bridge(view, overlay) {
        all.extend(ports(view, bridge, carries));
    }
    all
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
        fix: format!("ip link set {} mtu {carries}", quoted(&link.name)),
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
            overlay
                .remote_leases()
                .any(|lease| lease.public_ip.map(IpAddr::V4) == Some(address))
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
        Draft::new(format!("peer {}", peer.ip()), title)
            .because(
                "Hosts of one overlay have to agree: packets that fill this host's links are larger \
                 than the other takes, and are thrown away there or on the way without a word.",
            )
            .seen(Evidence::new("link", dev.clone(), format!("MTU {ours}")))
            .seen(Evidence::new("socket", format!("tcp {peer}"), format!("its end announced segments for an MTU of {theirs}")))
            .fix("# the same MTU on all hosts; the smaller one here, until the other host is larger:")
            .fix(format!("ip link set {} mtu {theirs} && systemctl restart flanneld docker", quoted(dev)))
            .fix(format!("# the overlay then carries {fits} bytes"))
            .confidence(Confidence::Likely),
    )
}

#[cfg(test)]
mod tests {
    use crate::context::Socket;
    use crate::rules::testing::{context, findings};
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
}
