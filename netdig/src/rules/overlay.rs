//! The overlays that a host is in: by its registry, its subnet.env files, and its devices.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};

use super::prefixes::Index;
use crate::context::Context;
use crate::context::files::SubnetEnv;
use crate::context::flannel::{self, FlannelNetwork, Lease, NetworkConfig};
use crate::context::net::{Link, LinkKind, RouteKind};
use crate::finding::Evidence;

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
    /// The same of IPv6, of an overlay with both.
    pub own_ipv6_subnet: Option<IpNet>,
    /// `networks`, and the leases' subnets, by prefix.
    ranges: Index,
    subnets: Index,
    /// Leases by the public address of their host.
    hosts: FxHashMap<IpAddr, usize>,
    /// Subnets of leases that name one of this host's addresses.
    ours: FxHashSet<IpNet>,
}

impl Overlay<'_> {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.longest(address).is_some()
    }

    /// Whether any part of `net` is in it.
    pub fn overlaps(&self, net: IpNet) -> bool {
        self.ranges.touches(net)
    }

    /// Those of its ranges that overlap `net`.
    pub fn ranges_of(&self, net: IpNet) -> impl Iterator<Item = IpNet> + '_ {
        let wider = self
            .ranges
            .holding(net)
            .filter(move |(one, _)| *one != net.trunc());
        let within = self.ranges.within(net).iter().copied();
        wider.chain(within).map(|(one, _)| one)
    }

    /// The lease whose subnet an address is in.
    pub fn lease_of(&self, address: IpAddr) -> Option<&Lease> {
        self.subnets
            .longest(address)
            .map(|at| &self.leases[at as usize])
    }

    /// The lease of the host with this public address.
    pub fn lease_of_host(&self, public: IpAddr) -> Option<&Lease> {
        self.hosts.get(&public).map(|&at| &self.leases[at])
    }

    /// Leases whose subnet overlaps `net`, each once for each of its subnets that does.
    pub fn leases_in(&self, net: IpNet) -> impl Iterator<Item = &Lease> {
        let wider = self
            .subnets
            .holding(net)
            .filter(move |(one, _)| *one != net.trunc());
        let within = self.subnets.within(net).iter().copied();
        wider.chain(within).map(|(_, at)| &self.leases[at as usize])
    }

    /// Leases of other hosts.
    pub fn remote_leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().filter(|lease| self.is_remote(lease))
    }

    /// Whether a lease is another host's.
    pub fn is_remote(&self, lease: &Lease) -> bool {
        self.own_subnet != Some(lease.subnet) && !self.ours.contains(&lease.subnet)
    }

    /// This host's own lease.
    pub fn own_lease(&self) -> Option<&Lease> {
        let own = self.own_subnet?;
        let (_, at) = self
            .subnets
            .within(own)
            .iter()
            .find(|(net, _)| *net == own)?;
        Some(&self.leases[*at as usize])
    }

    /// Whether `net` lies in this host's own subnet.
    pub fn is_own(&self, net: IpNet) -> bool {
        let own = self.own_subnet.into_iter().chain(self.own_ipv6_subnet);
        own.into_iter().any(|own| own.contains(&net))
    }

    /// Whether something of it is on this host: a device, a subnet.env, a lease.
    pub fn is_joined(&self) -> bool {
        !self.links.is_empty() || self.subnet_env.is_some() || self.own_subnet.is_some()
    }

    /// Whether it is known who has which subnet.
    pub fn knows_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    /// Length of its subnets.
    pub fn subnet_len(&self, ipv6: bool) -> u8 {
        let own = match ipv6 {
            false => self.own_subnet,
            true => self.own_ipv6_subnet,
        };
        let config = self.config.as_ref();
        let configured = config.map(|config| match ipv6 {
            false => config.subnet_len,
            true => config.ipv6_subnet_len,
        });
        let usual = if ipv6 { 64 } else { 24 };
        configured
            .or(own.map(|net| net.prefix_len()))
            .unwrap_or(usual)
    }

    /// What tells findings about it from those about others.
    pub fn key(&self) -> String {
        let links = self.links.join(",");
        format!("{} {} {links}", self.name(), self.prefix)
            .trim_end()
            .to_owned()
    }

    /// How a title names it: `overlay network 10.1.0.0/16 on flannel0`.
    pub fn title(&self) -> String {
        let what = match self.networks.len() {
            1 => "overlay network",
            _ => "overlay networks",
        };
        match &self.links[..] {
            [] => format!("{what} {}", self.name()),
            links => format!("{what} {} on {}", self.name(), links.join(" and ")),
        }
    }

    /// Its ranges as a title names them: `10.1.0.0/16`, `10.1.0.0/16 and fd00:1::/56`.
    pub fn name(&self) -> String {
        match &self.networks[..] {
            [first, second, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second} and {} more", rest.len())
            }
            networks => {
                let ranges: Vec<String> = networks.iter().map(ToString::to_string).collect();
                ranges.join(" and ")
            }
        }
    }
}

/// The overlays that a host is in: by its registry, its subnet.env files, and its devices.
pub(super) fn overlays<'a>(context: &'a Context, local: &FxHashSet<IpAddr>) -> Vec<Overlay<'a>> {
    let mut overlays: Vec<Overlay<'_>> = Vec::new();
    let mut known: FxHashMap<Vec<IpNet>, usize> = FxHashMap::default();
    let (whole, headless): (Vec<_>, Vec<_>) = flannel::networks(&context.registry)
        .into_iter()
        .partition(|network| network.config.is_some());
    for network in whole {
        add_registered(&mut overlays, &mut known, network);
    }
    for file in &context.files.subnet_env {
        add_file(&mut overlays, file);
    }
    for network in headless {
        add_headless(&mut overlays, network);
    }
    for overlay in &mut overlays {
        overlay.index();
    }
    for link in &context.net.links {
        add_link(&mut overlays, context, link);
    }
    for overlay in &mut overlays {
        overlay.own_subnet = own_subnet(context, overlay, local);
        overlay.ours = of_this_host(&overlay.leases, local);
        overlay.own_ipv6_subnet = own_ipv6_subnet(overlay);
    }
    for link in &context.net.links {
        add_renamed(&mut overlays, context, link);
    }
    overlays
}

impl Overlay<'_> {
    /// Makes what is looked up by prefix or address.
    fn index(&mut self) {
        self.ranges = Index::new(self.networks.iter().copied().zip(0..));
        let leases = self.leases.iter().zip(0u32..);
        let subnets = leases.flat_map(|(lease, at)| lease.subnets().map(move |net| (net, at)));
        self.subnets = Index::new(subnets);
        self.hosts = FxHashMap::default();
        for (at, lease) in self.leases.iter().enumerate() {
            for public in lease.publics() {
                self.hosts.entry(public).or_insert(at);
            }
        }
    }
}

/// A network of the registry. One without a range is no overlay: rules look at its keys
/// themselves.
fn add_registered(
    overlays: &mut Vec<Overlay<'_>>,
    known: &mut FxHashMap<Vec<IpNet>, usize>,
    network: FlannelNetwork,
) {
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
    if let Some(&at) = known.get(&networks) {
        overlays[at].origin.push(origin);
        let leases = &mut overlays[at].leases;
        let subnets: FxHashSet<_> = leases.iter().map(|lease| lease.subnet).collect();
        let news = network.leases.into_iter();
        leases.extend(news.filter(|lease| !subnets.contains(&lease.subnet)));
        return;
    }
    known.insert(networks.clone(), overlays.len());
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

/// Leases whose configuration is gone or of garbage: they are of the network that subnet.env
/// remembers, if they lie in it.
fn add_headless(overlays: &mut [Overlay<'_>], network: FlannelNetwork) {
    let holds = |overlay: &Overlay<'_>, lease: &Lease| {
        let within = |subnet: IpNet| overlay.networks.iter().any(|net| net.contains(&subnet));
        lease.subnets().any(within)
    };
    let mut alone = overlays
        .iter_mut()
        .filter(|overlay| overlay.config.is_none() && overlay.leases.is_empty());
    let Some(overlay) = alone.find(|overlay| {
        let mut leases = network.leases.iter();
        leases.any(|lease| holds(overlay, lease))
    }) else {
        return;
    };
    overlay.prefix = network.prefix;
    overlay.backend = network.leases.first().map(|lease| lease.backend.clone());
    overlay.leases = network.leases;
}

/// A device of flannel's: it belongs to the overlay that its address is in. Where nothing
/// else tells of one, what it carries is: its own prefix, and what is routed through it.
fn add_link<'a>(overlays: &mut Vec<Overlay<'a>>, context: &'a Context, link: &'a Link) {
    let Some(backend) = flannel_backend(link) else {
        return;
    };
    let addresses = addresses_on(context, link);
    // Where ranges of several networks overlap, the one whose lease has the address.
    let leased = |one: &Overlay<'_>| {
        addresses
            .iter()
            .any(|net| one.lease_of(net.addr()).is_some())
    };
    let holding = |one: &Overlay<'_>| addresses.iter().any(|net| one.contains(net.addr()));
    let at = overlays.iter().position(leased);
    let at = at.or_else(|| overlays.iter().position(holding));
    if let Some(at) = at {
        overlays[at].carried_by(link, backend);
        return;
    }
    let networks = carried(context, link, &addresses);
    let Some(first) = networks.first() else {
        return;
    };
    let (place, what) = match addresses.first() {
        Some(address) => (link.name.clone(), format!("{} has {address}", link.name)),
        None => (
            link.name.clone(),
            format!("{first} is routed to {}", link.name),
        ),
    };
    // flannel0 and flannel-v6.1 of one host carry halves of one overlay, but nothing here
    // tells which: each stands for itself.
    let mut overlay = Overlay {
        origin: vec![Evidence::new("address", place, what)],
        networks,
        backend: Some(backend.to_owned()),
        links: vec![&link.name],
        ..Overlay::default()
    };
    overlay.index();
    overlays.push(overlay);
}

/// A device that carries an overlay under a name that flannel did not give it: its address
/// is the first of this host's own subnet, as only flannel's device has it.
fn add_renamed<'a>(overlays: &mut [Overlay<'a>], context: &'a Context, link: &'a Link) {
    let backend = match &link.kind {
        LinkKind::Tun { tap: false } => "udp",
        LinkKind::Vxlan(_) => "vxlan",
        LinkKind::Other(kind) if kind == "wireguard" => "wireguard",
        LinkKind::Other(kind) if kind == "ipip" => "ipip",
        _ => return,
    };
    let addresses = addresses_on(context, link);
    let has_first = |own: Option<IpNet>| {
        own.is_some_and(|own| addresses.iter().any(|net| net.addr() == own.network()))
    };
    let own = |one: &&mut Overlay<'_>| has_first(one.own_subnet) || has_first(one.own_ipv6_subnet);
    if let Some(overlay) = overlays.iter_mut().find(own)
        && !overlay.links.contains(&link.name.as_str())
    {
        overlay.carried_by(link, backend);
    }
}

fn addresses_on(context: &Context, link: &Link) -> Vec<IpNet> {
    let addresses = context.net.addresses_of(&link.name);
    let addresses = addresses.filter(|one| one.scope != "link");
    addresses.map(|one| one.net).collect()
}

/// The ranges that a device of flannel's leads to: prefixes of its addresses, as far as they
/// are more than one address, and all that is routed through it. A VTEP has a /32, and each
/// remote subnet a route of its own.
fn carried(context: &Context, link: &Link, addresses: &[IpNet]) -> Vec<IpNet> {
    let own = addresses.iter().map(IpNet::trunc);
    let routed = context.net.routes.iter().filter(|route| {
        route.kind == RouteKind::Unicast
            && !route.is_default()
            && route.dev() == Some(&link.name)
            && !matches!(route.to, IpNet::V6(net) if net.addr().is_unicast_link_local())
    });
    let mut networks: Vec<IpNet> = own
        .chain(routed.map(|route| route.to))
        .filter(|net| net.prefix_len() < net.max_prefix_len())
        .collect();
    networks.sort_unstable_by_key(|net| (net.network(), net.prefix_len()));
    // What lies in a wider one of them adds nothing.
    networks.dedup_by(|later, earlier| earlier.contains(&*later));
    networks
}

impl<'a> Overlay<'a> {
    fn carried_by(&mut self, link: &'a Link, backend: &str) {
        self.links.push(&link.name);
        self.backend.get_or_insert_with(|| backend.to_owned());
    }
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

/// A host that took a second lease has both: no other host is behind either.
fn of_this_host(leases: &[Lease], local: &FxHashSet<IpAddr>) -> FxHashSet<IpNet> {
    let ours = leases
        .iter()
        .filter(|lease| lease.publics().any(|address| local.contains(&address)));
    ours.map(|lease| lease.subnet).collect()
}

/// By subnet.env, by the lease with one of our addresses, by the device's own address.
fn own_subnet(
    context: &Context,
    overlay: &Overlay<'_>,
    local: &FxHashSet<IpAddr>,
) -> Option<IpNet> {
    let of_file = |file: &SubnetEnv| file.subnet.or(file.ipv6_subnet);
    if let Some(subnet) = overlay.subnet_env.and_then(of_file) {
        return Some(subnet.trunc());
    }
    let ours = |lease: &&Lease| lease.publics().any(|address| local.contains(&address));
    if let Some(lease) = overlay.leases.iter().find(ours) {
        return Some(lease.subnet);
    }
    let devices = overlay.links.iter();
    let on_link: Vec<IpAddr> = devices
        .flat_map(|link| context.net.addresses_of(link))
        .map(|one| one.net.addr())
        .collect();
    let leased = on_link
        .iter()
        .find_map(|&address| overlay.lease_of(address));
    if let Some(lease) = leased {
        return Some(lease.subnet);
    }
    // Without a lease in sight: the bridge whose range begins at the device's address.
    let bridge = context.net.addresses.iter().find(|one| {
        one.net.prefix_len() < one.net.max_prefix_len()
            && on_link.contains(&one.net.network())
            && context
                .net
                .link(&one.link)
                .is_some_and(|link| link.kind == LinkKind::Bridge)
    });
    bridge.map(|one| one.net.trunc())
}

fn own_ipv6_subnet(overlay: &Overlay<'_>) -> Option<IpNet> {
    let file = overlay.subnet_env.and_then(|file| file.ipv6_subnet);
    let lease = || overlay.own_lease()?.ipv6_subnet.map(IpNet::V6);
    file.map(|net| net.trunc()).or_else(lease)
}
