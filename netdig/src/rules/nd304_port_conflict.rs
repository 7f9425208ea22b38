//! ND304: two want one UDP port, or one VXLAN identifier.
use super::renumber;
use super::{Draft, Rule, View, backend};
use crate::context::net::{Link, LinkKind, Vxlan};
use crate::context::{Part, Socket};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(304),
    name: "port-conflict",
    severity: Severity::High,
    title: "a VXLAN link and another want one UDP port, or one VNI",
    needs: &[Part::Links, Part::Sockets],
    page: include_str!("../../../docs/playbooks/nd304_port_conflict.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let links: Vec<(&Link, &Vxlan)> = view.context.net.links.iter().filter_map(vxlan).collect();
    for &(link, vxlan) in &links {
        let taken = view
            .context
            .sockets
            .iter()
            .find(|one| holds(one, link, vxlan) && !shared(one, vxlan, &links));
        found.extend(taken.map(|socket| by_socket(link, vxlan, socket)));
    }
    for (at, &(link, vxlan)) in links.iter().enumerate() {
        let twin = links[..at].iter().find(|(_, other)| same(vxlan, other));
        found.extend(twin.map(|(other, _)| by_twin(link, other, vxlan)));
    }
    for overlay in &view.overlays {
        found.extend(wanted_by_flannel(view, overlay, &links));
    }
    if !found.iter().any(|draft| draft.key.starts_with("udp ")) {
        found.extend(on_the_udp_backends_port(view, &links));
    }
}

fn vxlan(link: &Link) -> Option<(&Link, &Vxlan)> {
    match &link.kind {
        LinkKind::Vxlan(vxlan) => Some((link, vxlan)),
        _ => None,
    }
}

/// Whether a process's socket holds the port of a link. The kernel's own socket of a link that is
/// up looks the same but for the process, which it has not.
fn holds(socket: &Socket, link: &Link, vxlan: &Vxlan) -> bool {
    let for_all = socket.address().is_some_and(|at| at.ip().is_unspecified());
    let counts = !link.up || socket.pid.is_some() && for_all;
    counts && binds(socket, vxlan.port, is_ipv6(vxlan))
}

/// Whether a socket stands in the way of the kernel's, which is bound to all addresses: one that
/// is bound to a single address does so too.
fn binds(socket: &Socket, port: u16, ipv6: bool) -> bool {
    let meets = |at: std::net::SocketAddr| {
        // A process's IPv6 socket for all addresses takes IPv4 as well; a VXLAN link's does not.
        let both = socket.pid.is_some() && at.ip().is_unspecified() && at.is_ipv6();
        at.port() == port && (at.is_ipv6() == ipv6 || both)
    };
    socket.protocol.starts_with("udp") && socket.address().is_some_and(meets)
}

/// VXLAN links of one port share the kernel's socket.
fn shared(socket: &Socket, vxlan: &Vxlan, links: &[(&Link, &Vxlan)]) -> bool {
    let twin = |(link, other): &(&Link, &Vxlan)| {
        link.up && other.port == vxlan.port && is_ipv6(other) == is_ipv6(vxlan)
    };
    socket.pid.is_none() && links.iter().any(twin)
}

fn same(a: &Vxlan, b: &Vxlan) -> bool {
    let both = a.vni == b.vni && a.port == b.port;
    !a.external && !b.external && both && is_ipv6(a) == is_ipv6(b)
}

/// Whether its tunnel goes over IPv6. Sockets of the two families do not stand in each other's
/// way: a host with both has flannel.1 and flannel-v6.1, of one VNI on one port.
fn is_ipv6(vxlan: &Vxlan) -> bool {
    let end = vxlan.local.or(vxlan.remote);
    end.is_some_and(|end| end.is_ipv6())
}

fn by_socket(link: &Link, vxlan: &Vxlan, socket: &Socket) -> Draft {
    let port = vxlan.port;
    let dev = &link.name;
    let who = owner(socket);
    let state = if link.up {
        "is up"
    } else {
        "cannot be brought up"
    };
    let draft = Draft::new(
        format!("{dev} {port}"),
        format!("UDP port {port} of the VXLAN link {dev} is held by {who}: {dev} {state}"),
    )
    .because(
        "A VXLAN link opens a kernel socket on its port when it is brought up, and the port can be \
         had only once: whoever comes second gets EADDRINUSE. Datagrams of the tunnel reach the one \
         that has it.",
    )
    .seen(Evidence::new("link", dev.clone(), format!("vxlan, VNI {}, port {port}", vxlan.vni)))
    .seen(Evidence::new("socket", format!("{} {}", socket.protocol, socket.local), who));
    let draft = match socket.pid {
        Some(pid) => draft.fix(format!("ps -fp {pid}   # give it another port, or stop it")),
        None => draft.fix(format!(
            "ss -ulnp 'sport = {port}'   # give it another port, or stop it"
        )),
    };
    draft.fix(format!("ip link set {} up", renumber::link(dev)))
}

fn owner(socket: &Socket) -> String {
    match (&socket.comm, socket.pid) {
        (Some(comm), Some(pid)) => format!("{comm} (pid {pid})"),
        (None, Some(pid)) => format!("pid {pid}"),
        _ => "a process that is not known".to_owned(),
    }
}

fn by_twin(link: &Link, other: &Link, vxlan: &Vxlan) -> Draft {
    let (vni, port) = (vxlan.vni, vxlan.port);
    let what =
        |link: &Link| Evidence::new("link", link.name.clone(), format!("VNI {vni}, port {port}"));
    Draft::new(
        format!("twin {vni} {port} {}", link.name),
        format!("{} and {} both have VNI {vni} on port {port}", other.name, link.name),
    )
    .because(
        "The kernel gives a received datagram to the link with its port and its identifier. With two \
         of them one gets what is meant for the other.",
    )
    .seen(what(other))
    .seen(what(link))
    .fix("# take away the one that is not the overlay's:")
    .fix(format!("ip link del {}", renumber::link(stranger(link, other))))
}

/// Of two links the one that is not flannel's.
fn stranger<'a>(link: &'a Link, other: &'a Link) -> &'a str {
    match link.name.starts_with("flannel") {
        true => &other.name,
        false => &link.name,
    }
}

/// flannel's own VXLAN is not there, and a link of somebody's has what it needs.
fn wanted_by_flannel(
    view: &View<'_>,
    overlay: &super::view::Overlay<'_>,
    links: &[(&Link, &Vxlan)],
) -> Option<Draft> {
    let config = overlay.config.as_ref()?;
    if config.backend != "vxlan" || backend::vtep(view, overlay).is_some() {
        return None;
    }
    let (vni, port) = (
        config.vni.unwrap_or(backend::DEFAULT_VNI),
        config.port.unwrap_or(backend::VXLAN_PORT),
    );
    let twin = links.iter().find(|(link, vxlan)| {
        vxlan.vni == vni
            && vxlan.port == port
            && !is_ipv6(vxlan)
            && link.name != format!("flannel.{vni}")
    });
    let Some((link, _)) = twin else {
        return port_is_taken(view, overlay, vni, port);
    };
    let dev = &link.name;
    let title = format!("flannel.{vni} cannot be made: {dev} has VNI {vni} on port {port}");
    Some(
        Draft::new(format!("flannel {vni} {port}"), title)
            .because(
                "The kernel refuses a second VXLAN link with the same identifier and port (EEXIST). \
                 flanneld does not come up on this host.",
            )
            .seen(Evidence::new("link", dev.clone(), format!("vxlan, VNI {vni}, port {port}")))
            .seen(Evidence::new(config.origin.source(), config.origin.place(), format!("backend vxlan, VNI {vni}, port {port}")))
            .fix(format!("ip -d link show {}   # whose is it?", renumber::link(dev)))
            .fix(format!("ip link del {} && systemctl restart flanneld", renumber::link(dev))),
    )
}

/// flannel's own VXLAN is not there, and a process has the port that it needs.
fn port_is_taken(
    view: &View<'_>,
    overlay: &super::view::Overlay<'_>,
    vni: u32,
    port: u16,
) -> Option<Draft> {
    // Elsewhere nobody wants to make it.
    overlay.own_subnet?;
    let sockets = view.context.sockets.iter();
    let mut held = sockets.filter(|one| one.pid.is_some());
    let socket = held.find(|one| binds(one, port, false))?;
    let who = owner(socket);
    let title = format!("flannel.{vni} cannot be brought up: {who} has UDP port {port}");
    let draft = Draft::new(format!("flannel {vni} {port}"), title)
        .because(
            "A VXLAN link opens a kernel socket on its port when it is brought up, and the port can \
             be had only once: flanneld gets EADDRINUSE and ends.",
        )
        .seen(Evidence::new(
            "socket",
            format!("{} {}", socket.protocol, socket.local),
            who,
        ))
        .seen_all(overlay.origin.first().cloned());
    let pid = socket.pid.unwrap_or_default();
    Some(
        draft
            .fix(format!("ps -fp {pid}   # give it another port, or stop it"))
            .fix("systemctl restart flanneld"),
    )
}

/// A VXLAN link on the port that flannel's backend udp binds.
fn on_the_udp_backends_port(view: &View<'_>, links: &[(&Link, &Vxlan)]) -> Option<Draft> {
    let by_config = view
        .overlays
        .iter()
        .filter_map(|overlay| overlay.config.as_ref())
        .find(|config| config.backend == "udp");
    let port = by_config
        .and_then(|config| config.port)
        .unwrap_or(backend::UDP_PORT);
    let (link, vxlan) = links
        .iter()
        .find(|(link, vxlan)| vxlan.port == port && link.up)?;
    let dev = &link.name;
    let title =
        format!("the VXLAN link {dev} has UDP port {port}, which flannel's backend udp binds");
    Some(
        Draft::new(format!("udp {port}"), title)
            .because(
                "flanneld's socket for the backend udp cannot be bound while the kernel's own for \
                 this link has the port: it says `address already in use` and ends.",
            )
            .seen(Evidence::new(
                "link",
                dev.clone(),
                format!("vxlan, VNI {}, port {port}", vxlan.vni),
            ))
            .fix(format!(
                "ip -d link show {}   # whose is it?",
                renumber::link(dev)
            ))
            .fix(format!(
                "ip link del {}   # or give it another dstport",
                renumber::link(dev)
            ))
            .fix("systemctl restart flanneld")
            .confidence(match by_config.is_some() {
                true => Confidence::Certain,
                false => Confidence::Likely,
            }),
    )
}

#[cfg(test)]
mod tests {
    use crate::context::Socket;
    use crate::rules::testing::{context, findings};
    use crate::rules::{View, evaluate};

    fn with_socket(text: &str, local: &str, pid: Option<u32>) -> Vec<String> {
        let mut context = context(text);
        context.sockets.push(Socket {
            protocol: "udp".to_owned(),
            local: local.to_owned(),
            inode: 9,
            pid,
            comm: pid.map(|_| "python3".to_owned()),
            ..Socket::default()
        });
        let report = evaluate(&View::new(&context, None));
        let of_it = report.findings.into_iter().filter(|one| one.code.0 == 304);
        of_it.map(|one| one.title).collect()
    }

    #[test]
    fn a_process_holds_the_links_port() {
        let link = "link flannel.1 vxlan vni 1 port 8472 down";
        let found = with_socket(link, "0.0.0.0:8472", Some(77));
        assert!(
            found[0].contains("8472") && found[0].contains("python3 (pid 77)"),
            "{found:?}"
        );
        assert_eq!(with_socket(link, "[::]:8472", Some(77)).len(), 1);
        // A link that is down has no socket: this one is somebody's.
        assert_eq!(with_socket(link, "0.0.0.0:8472", None).len(), 1);
        // Of one address too: the link wants all.
        assert_eq!(with_socket(link, "172.22.8.20:8472", Some(77)).len(), 1);
        assert!(with_socket(link, "[fd00::1]:8472", Some(77)).is_empty());
        let shared = format!("{link}\nlink other vxlan vni 9 port 8472");
        assert!(with_socket(&shared, "0.0.0.0:8472", None).is_empty());
    }

    #[test]
    fn a_process_has_the_port_of_a_device_that_is_not_there() {
        let keys = "key v3 /coreos.com/network/config {\"Network\":\"192.168.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}\n\
                    key v3 /coreos.com/network/subnets/192.168.69.0-24 {\"PublicIP\":\"10.1.1.95\",\"BackendType\":\"vxlan\"}\n";
        let host = format!("link eth0\naddress 10.1.1.95/24 dev eth0\n{keys}");
        let found = with_socket(&host, "0.0.0.0:8472", Some(77));
        assert_eq!(
            found,
            ["flannel.1 cannot be brought up: python3 (pid 77) has UDP port 8472"]
        );
        let elsewhere = format!("link eth0\naddress 10.1.1.7/24 dev eth0\n{keys}");
        assert!(with_socket(&elsewhere, "0.0.0.0:8472", Some(77)).is_empty());
        assert!(with_socket(&host, "0.0.0.0:8473", Some(77)).is_empty());
    }

    #[test]
    fn the_kernels_own_socket_and_other_addresses_are_no_conflict() {
        let link = "link flannel.1 vxlan vni 1 port 8472";
        assert!(with_socket(link, "0.0.0.0:8472", None).is_empty());
        assert!(with_socket(link, "127.0.0.1:8472", Some(77)).is_empty());
        assert!(with_socket(link, "0.0.0.0:8473", Some(77)).is_empty());
    }

    #[test]
    fn a_vxlan_link_on_the_udp_backends_port() {
        assert_eq!(findings("link other vxlan vni 77 port 8285", 304).len(), 1);
        assert!(findings("link other vxlan vni 77 port 4789", 304).is_empty());
    }

    #[test]
    fn somebody_has_flannels_identifier() {
        let key = r#"key v3 /coreos.com/network/config {"Network":"192.168.0.0/16","Backend":{"Type":"vxlan"}}"#;
        let found = findings(&format!("link first vxlan vni 1 port 8472\n{key}"), 304);
        assert!(
            found[0].title.contains("flannel.1 cannot be made"),
            "{found:?}"
        );
        assert!(findings("link first vxlan vni 1 port 8472", 304).is_empty());
        let made = format!(
            "link flannel.1 vxlan vni 1 port 8472\naddress 192.168.69.0/32 dev flannel.1\n{key}"
        );
        assert!(findings(&made, 304).is_empty());
    }

    #[test]
    fn two_links_of_one_identifier() {
        let text = "link flannel.1 vxlan vni 1 port 8472\nlink vx vxlan vni 1 port 8472";
        let found = findings(text, 304);
        assert!(found[0].fix[1].ends_with("link del vx"), "{found:?}");
    }
}
