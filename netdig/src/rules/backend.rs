//! What flannel's backends set in the kernel, and what they cost.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::view::{Overlay, View};
use crate::context::flannel::Lease;
use crate::context::net::{Link, LinkKind, Route};

/// flannel's own defaults (backend/vxlan/vxlan.go, backend/udp/udp_amd64.go).
pub const DEFAULT_VNI: u32 = 1;
pub const VXLAN_PORT: u16 = 8472;
pub const UDP_PORT: u16 = 8285;

/// Bytes that a backend puts around a packet: IPv4 20 or IPv6 40, and UDP 8; with VXLAN 8 more
/// and an Ethernet header of 14 (RFC 7348); IP in IP 20 (RFC 2003); WireGuard 60.
pub fn overhead(backend: &str, outer_v6: bool) -> Option<u32> {
    match backend {
        "udp" => Some(28),
        "vxlan" if outer_v6 => Some(70),
        "vxlan" => Some(50),
        "host-gw" | "alloc" => Some(0),
        "ipip" => Some(20),
        "wireguard" => Some(60),
        _ => None,
    }
}

/// The link that carries the tunnel's packets: the one with this host's public address, or
/// the one by which peers are reached.
pub fn underlay<'a>(view: &View<'a>, overlay: &Overlay<'_>) -> Option<&'a Link> {
    let net = &view.context.net;
    let own = overlay.own_lease().and_then(Lease::public);
    let by_own = own.and_then(|address| {
        let has_it = |one: &&crate::context::net::Address| one.net.addr() == address;
        net.addresses
            .iter()
            .find(has_it)
            .map(|one| one.link.as_str())
    });
    let parent = || vtep(view, overlay).and_then(|link| link.parent.as_deref());
    let by_peer = || {
        let peers = overlay.remote_leases().filter_map(Lease::public);
        peers
            .filter_map(|address| view.asked(address)?.dev())
            .find(|dev| !overlay.links.contains(dev))
    };
    let by_default = || {
        let routes = net.routes.iter();
        routes
            .filter(|route| route.is_default())
            .find_map(Route::dev)
    };
    net.link(
        by_own
            .or_else(parent)
            .or_else(by_peer)
            .or_else(by_default)?,
    )
}

/// The VXLAN device of an overlay.
pub fn vtep<'a>(view: &View<'a>, overlay: &Overlay<'_>) -> Option<&'a Link> {
    vtep_of(view, overlay, false).or_else(|| vtep_of(view, overlay, true))
}

/// The VXLAN device that carries one family: flannel has `flannel.1` for IPv4 and
/// `flannel-v6.1` for IPv6.
pub fn vtep_of<'a>(view: &View<'a>, overlay: &Overlay<'_>, ipv6: bool) -> Option<&'a Link> {
    let names = overlay.links.iter();
    let links = names.filter_map(|name| view.context.net.link(name));
    let all: Vec<(&Link, u32)> = links
        .filter_map(|link| Some((link, vni(link)?)))
        .filter(|(link, _)| carries_ipv6(view, link) == ipv6)
        .collect();
    // The device of before may stay beside the one that is in use.
    let own = overlay.own_lease().and_then(|lease| lease.vni);
    let config = overlay.config.as_ref();
    let config = config.filter(|config| config.backend == "vxlan");
    let config = config.map(|config| config.vni.unwrap_or(DEFAULT_VNI));
    let mut told = own.into_iter().chain(config);
    let of = |wanted: u32| all.iter().find(|(_, vni)| *vni == wanted);
    let in_use = told.find_map(of).or(all.first());
    in_use.map(|(link, _)| *link)
}

fn vni(link: &Link) -> Option<u32> {
    match &link.kind {
        LinkKind::Vxlan(vxlan) => Some(vxlan.vni),
        _ => None,
    }
}

/// Hardware addresses that leases of different hosts name alike, each with those leases.
pub fn twins<'v>(overlay: &'v Overlay<'_>) -> FxHashMap<String, Vec<&'v Lease>> {
    let mut by_mac: FxHashMap<String, Vec<&Lease>> = FxHashMap::default();
    for lease in overlay.leases.iter().filter(|one| one.backend == "vxlan") {
        if let Some(mac) = lease.vtep_mac_of(false).or(lease.vtep_mac_of(true)) {
            let leases = by_mac.entry(mac.to_ascii_lowercase()).or_default();
            // A host's lease of before, or of etcd's other store, has the same.
            if leases.iter().all(|one| one.public() != lease.public()) {
                leases.push(lease);
            }
        }
    }
    by_mac.retain(|_, leases| leases.len() > 1);
    by_mac
}

/// Whether a lease is of the VXLAN that a device carries. Old leases name no VNI.
pub fn is_of(lease: &Lease, link: &Link) -> bool {
    let of = |vni| lease.vni.is_none_or(|named| named == vni);
    lease.backend == "vxlan" && vni(link).is_some_and(of)
}

/// Whether a lease names no VTEP MAC for one of its subnets: flanneld passes over the whole of it.
pub fn lacks_mac(lease: &Lease) -> bool {
    let lacks = |ipv6| lease.subnet_in(ipv6).is_some() && lease.vtep_mac_of(ipv6).is_none();
    lease.backend == "vxlan" && (lacks(false) || lacks(true))
}

/// By the name that flannel gives, else by the addresses it has.
pub fn carries_ipv6(view: &View<'_>, link: &Link) -> bool {
    if link.name.starts_with("flannel") {
        return link.name.starts_with("flannel-v6");
    }
    let here = view.context.net.addresses_of(&link.name);
    let mut global = here.filter(|one| one.scope != "link").peekable();
    global.peek().is_some() && global.all(|one| one.net.addr().is_ipv6())
}

/// Whether the packets around the overlay's are of IPv6: flannel sends each family over its
/// own.
pub fn is_sent_over_ipv6(overlay: &Overlay<'_>, device: Option<&Link>) -> bool {
    match device.map(|link| (&link.kind, &link.name)) {
        Some((LinkKind::Vxlan(vxlan), name)) => match vxlan.local {
            Some(local) => local.is_ipv6(),
            None => name.starts_with("flannel-v6"),
        },
        _ => overlay
            .networks
            .iter()
            .all(|net| matches!(net, IpNet::V6(_))),
    }
}

/// The bridge that this host's containers of the overlay are on: its address is in the own
/// subnet.
pub fn bridge<'a>(view: &View<'a>, overlay: &Overlay<'_>) -> Option<&'a Link> {
    let own = overlay.own_subnet?;
    let net = &view.context.net;
    let here = net
        .addresses
        .iter()
        .filter(|one| own.contains(&one.net.addr()));
    here.filter_map(|one| net.link(&one.link))
        .find(|link| link.kind == LinkKind::Bridge)
}

/// Whether flanneld here was told this address, as behind NAT.
pub fn was_told(view: &View<'_>, address: IpAddr) -> bool {
    // `--public-ip=ADDRESS`, or the word behind it.
    let is_it = |arg: &String| {
        let value = arg.rsplit('=').next().unwrap_or(arg);
        value.parse() == Ok(address)
    };
    let mut processes = view.context.processes.iter();
    processes.any(|one| one.runs("flanneld") && one.args.iter().any(is_it))
}

/// How a lease is spoken of: `192.168.13.0/24 (lease of 10.1.1.187)`.
pub fn named(lease: &Lease) -> String {
    match lease.public() {
        Some(address) => format!("{} (lease of {address})", lease.subnet),
        None => format!("{} (lease without a PublicIP)", lease.subnet),
    }
}

/// ` and 3 more` behind the first of several.
pub fn and_more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        _ => format!(" and {} more", count - 1),
    }
}
