//! What a rule sees: the context, and what it means.
use std::net::IpAddr;

use ipnet::IpNet;

use super::routing::Routing;
use crate::context::Context;
use crate::context::files::SubnetEnv;
use crate::context::flannel::{self, FlannelNetwork, Lease, NetworkConfig};
use crate::context::net::{Answer, Link, LinkKind, Lookup, Route};
use crate::evidence::traffic::Traffic;
use crate::finding::Evidence;

/// All that a rule may know.
pub struct View<'a> {
    pub context: &'a Context,
    pub overlays: Vec<Overlay<'a>>,
    /// The route tables, for questions that the kernel was not asked.
    pub routing: Routing<'a>,
    /// What packets showed, where packets are seen.
    pub traffic: Option<&'a Traffic>,
}

/// One overlay network, by all that tells of it.
#[derive(Debug, Default)]
pub struct Overlay<'a> {
    /// IPv4 and IPv6 ranges.
    pub networks: Vec<IpNet>,
    /// Where the ranges stand; the one that decides first.
    pub origin: Vec<Evidence>,
    /// `udp`, `vxlan`, `host-gw`; absent where nothing tells.
    pub backend: Option<String>,
    /// Devices that carry it: `flannel0`, `flannel.1`. None with host-gw.
    pub links: Vec<&'a str>,
    /// Prefix of its keys, where the registry has them.
    pub prefix: String,
    pub config: Option<NetworkConfig>,
    pub leases: Vec<Lease>,
    pub subnet_env: Option<&'a SubnetEnv>,
    /// This host's subnet, as its lease, subnet.env or overlay device tells.
    pub own_subnet: Option<IpNet>,
}

impl<'a> View<'a> {
    pub fn new(context: &'a Context, traffic: Option<&'a Traffic>) -> View<'a> {
        View {
            context,
            overlays: overlays(context),
            routing: Routing::new(&context.net.routes, &context.net.rules),
            traffic,
        }
    }

    /// The overlay that an address belongs to.
    pub fn overlay_of(&self, address: IpAddr) -> Option<&Overlay<'a>> {
        self.overlays.iter().find(|one| one.contains(address))
    }

    /// Whether a device carries an overlay.
    pub fn is_overlay_link(&self, name: &str) -> bool {
        self.overlays.iter().any(|one| one.links.contains(&name))
    }

    /// How a packet of this host gets to `destination`: the kernel's answer where it was
    /// asked, otherwise what its tables say.
    pub fn way(&self, destination: IpAddr) -> Option<Way<'_>> {
        match self.context.net.lookup(destination) {
            Some(lookup) => Way::of_lookup(lookup),
            None => self.routing.way(destination).map(Way::of_route),
        }
    }
}

/// A way that a packet takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way<'a> {
    pub dev: Option<&'a str>,
    pub via: Option<IpAddr>,
    /// Whether the kernel said so itself.
    pub asked: bool,
}

impl<'a> Way<'a> {
    fn of_lookup(lookup: &'a Lookup) -> Option<Way<'a>> {
        match &lookup.answer {
            Answer::Way { dev, via, .. } => Some(Way {
                dev: dev.as_deref(),
                via: *via,
                asked: true,
            }),
            Answer::Refused(_) => None,
        }
    }

    fn of_route(route: &'a Route) -> Way<'a> {
        Way {
            dev: route.dev(),
            via: route.via(),
            asked: false,
        }
    }
}

impl Overlay<'_> {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The lease whose subnet an address is in.
    pub fn lease_of(&self, address: IpAddr) -> Option<&Lease> {
        self.leases.iter().find(|lease| match address {
            IpAddr::V4(address) => lease.subnet.contains(&address),
            IpAddr::V6(address) => lease.ipv6_subnet.is_some_and(|net| net.contains(&address)),
        })
    }

    /// Leases of other hosts.
    pub fn remote_leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases
            .iter()
            .filter(|lease| self.own_subnet != Some(IpNet::V4(lease.subnet)))
    }

    /// This host's own lease.
    pub fn own_lease(&self) -> Option<&Lease> {
        let own = self.own_subnet?;
        self.leases
            .iter()
            .find(|lease| IpNet::V4(lease.subnet) == own)
    }
}

/// The overlays that a host is in: by its registry, its subnet.env files, and its devices.
fn overlays(context: &Context) -> Vec<Overlay<'_>> {
    let mut overlays: Vec<Overlay<'_>> = Vec::new();
    for network in flannel::networks(&context.registry) {
        add_registered(&mut overlays, network);
    }
    for file in &context.files.subnet_env {
        add_file(&mut overlays, file);
    }
    for link in &context.net.links {
        add_link(&mut overlays, context, link);
    }
    for overlay in &mut overlays {
        overlay.own_subnet = own_subnet(context, overlay);
    }
    overlays
}

/// A network of the registry. One without a range is no overlay: rules look at its keys
/// themselves.
fn add_registered(overlays: &mut Vec<Overlay<'_>>, network: FlannelNetwork) {
    let Some(config) = network.config else {
        return;
    };
    let v4 = config.network.map(IpNet::V4);
    let networks: Vec<IpNet> = v4
        .into_iter()
        .chain(config.ipv6_network.map(IpNet::V6))
        .collect();
    if networks.is_empty() {
        return;
    }
    let ranges: Vec<String> = networks.iter().map(ToString::to_string).collect();
    let what = format!(
        "overlay network {}, backend {}",
        ranges.join(" and "),
        config.backend
    );
    let origin = Evidence::new(config.origin.source(), config.origin.place(), what);
    // The same network in both of etcd's stores is one network, with the leases of both.
    if let Some(known) = overlays.iter_mut().find(|one| one.networks == networks) {
        known.origin.push(origin);
        let news = network.leases.into_iter().filter(|lease| {
            let known = known.leases.iter();
            !known.clone().any(|one| one.subnet == lease.subnet)
        });
        let news: Vec<Lease> = news.collect();
        known.leases.extend(news);
        return;
    }
    overlays.push(Overlay {
        networks,
        origin: vec![origin],
        backend: Some(config.backend.clone()),
        prefix: network.prefix,
        config: Some(config),
        leases: network.leases,
        ..Overlay::default()
    });
}

fn add_file<'a>(overlays: &mut Vec<Overlay<'a>>, file: &'a SubnetEnv) {
    let networks: Vec<IpNet> = [&file.network[..], &file.ipv6_network[..]].concat();
    if networks.is_empty() {
        return;
    }
    let ranges: Vec<String> = networks.iter().map(ToString::to_string).collect();
    let what = format!("FLANNEL_NETWORK={}", ranges.join(","));
    let origin = Evidence::new("file", file.file.clone(), what);
    let known = overlays
        .iter_mut()
        .find(|one| one.networks.iter().any(|net| networks.contains(net)));
    match known {
        Some(known) => {
            known.origin.push(origin);
            known.subnet_env.get_or_insert(file);
        }
        None => overlays.push(Overlay {
            networks,
            origin: vec![origin],
            subnet_env: Some(file),
            ..Overlay::default()
        }),
    }
}

/// A device of flannel's: it belongs to the overlay that its address is in. Where nothing
/// else tells of one, its own prefix is the network.
fn add_link<'a>(overlays: &mut Vec<Overlay<'a>>, context: &'a Context, link: &'a Link) {
    let Some(backend) = flannel_backend(link) else {
        return;
    };
    let addresses: Vec<IpNet> = context
        .net
        .addresses_of(&link.name)
        .filter(|one| one.scope != "link")
        .map(|one| one.net)
        .collect();
    let at = overlays
        .iter()
        .position(|one| addresses.iter().any(|net| one.contains(net.addr())));
    if let Some(at) = at {
        let known = &mut overlays[at];
        known.links.push(&link.name);
        known.backend.get_or_insert_with(|| backend.to_owned());
        return;
    }
    let networks: Vec<IpNet> = match backend {
        "udp" => addresses.iter().map(IpNet::trunc).collect(),
        // A VTEP has a /32: the range is not known, and remote subnets are routed by it.
        _ => Vec::new(),
    };
    let networks: Vec<IpNet> = networks
        .into_iter()
        .filter(|net| net.prefix_len() < net.max_prefix_len())
        .collect();
    if networks.is_empty() {
        return;
    }
    let what = format!("{} has {}", link.name, addresses[0]);
    overlays.push(Overlay {
        origin: vec![Evidence::new("address", link.name.clone(), what)],
        networks,
        backend: Some(backend.to_owned()),
        links: vec![&link.name],
        ..Overlay::default()
    });
}

/// The backend that a device's name and kind are of, as flannel names its devices.
pub fn flannel_backend(link: &Link) -> Option<&'static str> {
    let rest = link.name.strip_prefix("flannel")?;
    match &link.kind {
        LinkKind::Tun { tap: false } => Some("udp"),
        LinkKind::Vxlan(_) => Some("vxlan"),
        LinkKind::Other(kind) if kind == "wireguard" && rest.starts_with('-') => Some("wireguard"),
        LinkKind::Other(kind) if kind == "ipip" => Some("ipip"),
        _ => None,
    }
}

/// By subnet.env, by the lease with one of our addresses, by the device's own address.
fn own_subnet(context: &Context, overlay: &Overlay<'_>) -> Option<IpNet> {
    if let Some(subnet) = overlay.subnet_env.and_then(|file| file.subnet) {
        return Some(subnet.trunc());
    }
    let local = |lease: &&Lease| {
        lease
            .public_ip
            .is_some_and(|address| context.net.is_local(IpAddr::V4(address)))
    };
    if let Some(lease) = overlay.leases.iter().find(local) {
        return Some(IpNet::V4(lease.subnet));
    }
    let on_link = overlay
        .links
        .iter()
        .flat_map(|link| context.net.addresses_of(link))
        .find_map(|one| overlay.lease_of(one.net.addr()));
    on_link.map(|lease| IpNet::V4(lease.subnet))
}
