//! Where overlay traffic passes through this host: between the link that carries the overlay
//! and the bridge that containers are on.
use std::net::IpAddr;

use ipnet::IpNet;

use super::View;
use super::view::Overlay;
use crate::context::net::{Link, LinkKind};

/// A way through, with an address at either end to ask about.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'v> {
    pub overlay: &'v Overlay<'v>,
    /// The network of the overlay that both ends are in.
    pub network: IpNet,
    /// By which other hosts' packets come: `flannel0`; with host-gw the underlay's.
    pub link: &'v str,
    /// The bridge, or the only veth.
    pub bridge: &'v str,
    /// This host's part of the network: the bridge's prefix.
    pub own: IpNet,
    /// A container's address, or one that a container could have.
    pub local: IpAddr,
    /// An address on another host.
    pub remote: IpAddr,
}

/// All of them. A host without a bridge in the overlay forwards nothing of it.
pub fn passages<'v>(view: &'v View<'v>) -> Vec<Passage<'v>> {
    let mut found = Vec::new();
    for overlay in &view.overlays {
        for link in view.context.net.links.iter().filter(|link| carries(link)) {
            if overlay.links.contains(&link.name.as_str()) {
                continue;
            }
            let addresses = view.context.net.addresses_of(&link.name);
            let nets = addresses.map(|one| one.net);
            found.extend(nets.filter_map(|net| passage(view, overlay, &link.name, net)));
        }
    }
    found
}

/// A card in the overlay's range is a collision, and no bridge.
fn carries(link: &Link) -> bool {
    matches!(link.kind, LinkKind::Bridge | LinkKind::Veth) && link.up
}

fn passage<'v>(
    view: &'v View<'v>,
    overlay: &'v Overlay<'v>,
    bridge: &'v str,
    net: IpNet,
) -> Option<Passage<'v>> {
    let mut networks = overlay.networks.iter();
    let network = *networks.find(|network| network.contains(&net.addr()))?;
    let own = net.trunc();
    let elsewhere = overlay.own_subnet.is_some_and(|subnet| {
        subnet.addr().is_ipv4() == own.addr().is_ipv4() && !subnet.contains(&own)
    });
    // A bridge over the whole network has nobody behind the tunnel.
    if elsewhere || own.prefix_len() <= network.prefix_len() {
        return None;
    }
    let remote = remote(overlay, network, own)?;
    Some(Passage {
        overlay,
        network,
        link: by(view, overlay, remote).filter(|link| *link != bridge)?,
        bridge,
        own,
        local: local(view, own, net.addr()),
        remote,
    })
}

/// The link by which another host's packets come.
fn by<'v>(view: &'v View<'v>, overlay: &'v Overlay<'v>, remote: IpAddr) -> Option<&'v str> {
    match overlay.links.as_slice() {
        // Only a lease tells that the way there is the overlay's and not the default route.
        [] => overlay
            .lease_of(remote)
            .and_then(|_| view.way(remote))
            .and_then(|way| way.dev),
        [only] => Some(only),
        several => {
            let dev = view.way(remote).and_then(|way| way.dev);
            let known = several.iter().copied().find(|link| Some(*link) == dev);
            known.or(several.first().copied())
        }
    }
}

/// Another host's: in the first lease, or in the part of the network beside our own.
fn remote(overlay: &Overlay<'_>, network: IpNet, own: IpNet) -> Option<IpAddr> {
    let leased = overlay
        .remote_leases()
        .find_map(|lease| lease.subnet_of(network));
    if let Some(subnet) = leased.filter(|subnet| network.contains(subnet) && *subnet != own) {
        return Some(host_of(subnet, None));
    }
    let mut parts = network.subnets(own.prefix_len()).ok()?;
    parts
        .find(|part| *part != own)
        .map(|part| host_of(part, None))
}

fn local(view: &View<'_>, own: IpNet, bridge: IpAddr) -> IpAddr {
    let addresses = view
        .context
        .containers
        .iter()
        .flat_map(|one| &one.addresses);
    let mut addresses = addresses.map(|one| one.net.addr());
    let found = addresses.find(|address| own.contains(address) && *address != bridge);
    found.unwrap_or_else(|| host_of(own, Some(bridge)))
}

/// An address of a subnet that a container could have: its second, or the one behind.
pub fn host_of(subnet: IpNet, but: Option<IpAddr>) -> IpAddr {
    let mut hosts = subnet.hosts().skip(1).take(2);
    hosts
        .find(|host| Some(*host) != but)
        .unwrap_or_else(|| subnet.network())
}
