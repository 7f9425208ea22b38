//! How packets get to the subnets of other hosts, by backend.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::lease::{self, Lease, Mac};
use super::log;
use crate::lab::ip;
use crate::lab::tunnel::{Ipv4Net, Routes};

/// The link to the other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iface {
    pub name: String,
    /// Its first.
    pub address: Ipv4Addr,
    pub mtu: u32,
}

impl Iface {
    pub fn read(name: &str) -> Result<Iface> {
        let shown = ip::read(&["-4", "address", "show", "dev", name])?;
        let after = |word: &str| {
            let mut words = shown.split_whitespace();
            words.find(|shown| *shown == word).and(words.next())
        };
        Ok(Iface {
            name: name.to_owned(),
            address: after("inet")
                .and_then(|net| net.split('/').next()?.parse().ok())
                .with_context(|| format!("{name} has no IPv4 address"))?,
            mtu: after("mtu")
                .and_then(|mtu| mtu.parse().ok())
                .with_context(|| format!("{name} has no MTU"))?,
        })
    }
}

/// IP and UDP.
pub const UDP_HEADER: u32 = 28;
/// With VXLAN's own header, and the Ethernet header inside.
pub const VXLAN_HEADER: u32 = 50;

/// Bytes that the backend adds to a packet.
pub const fn overhead(backend: lease::Backend) -> u32 {
    match backend {
        lease::Backend::Udp { .. } => UDP_HEADER,
        lease::Backend::Vxlan { .. } => VXLAN_HEADER,
        lease::Backend::HostGw => 0,
    }
}

/// What leads to the others.
pub enum Backend {
    /// The routes of the process's own tunnel.
    Udp {
        routes: Routes,
        port: u16,
    },
    Vxlan {
        device: String,
    },
    HostGw {
        iface: String,
    },
}

impl Backend {
    const fn name(&self) -> &'static str {
        match self {
            Backend::Udp { .. } => "udp",
            Backend::Vxlan { .. } => "vxlan",
            Backend::HostGw { .. } => "host-gw",
        }
    }

    /// Sets up all that leads to a subnet, or nothing of it.
    fn add(&self, subnet: Ipv4Net, lease: &Lease) -> Result<()> {
        if let Backend::Udp { routes, port } = self {
            // This backend does not say in leases what it is, and does not ask.
            routes.set(subnet, SocketAddrV4::new(lease.public_ip, *port));
            return Ok(());
        }
        if lease.backend_type != self.name() {
            bail!(
                "the lease is for the backend `{}`, not {}",
                lease.backend_type,
                self.name()
            );
        }
        let ways = self.ways(subnet, lease)?;
        for (n, way) in ways.iter().enumerate() {
            if let Err(error) = way.add() {
                let back = ways[..n].iter().rev().filter_map(|way| way.remove().err());
                return Err(back.fold(error, |error, also| {
                    error.context(format!("cannot be taken back: {also:#}"))
                }));
            }
        }
        Ok(())
    }

    /// Takes all of it away; what is gone already keeps none of the rest.
    fn remove(&self, subnet: Ipv4Net, lease: &Lease) -> Result<()> {
        if let Backend::Udp { routes, .. } = self {
            routes.remove(subnet);
            return Ok(());
        }
        let ways = self.ways(subnet, lease)?;
        let failed = ways.iter().rev().filter_map(|way| way.remove().err());
        let failed: Vec<_> = failed.map(|error| format!("{error:#}")).collect();
        match failed.is_empty() {
            true => Ok(()),
            false => bail!("{}", failed.join("; ")),
        }
    }

    /// What leads to a subnet, in the order in which it is set up.
    fn ways(&self, subnet: Ipv4Net, lease: &Lease) -> Result<Vec<Way>> {
        let (peer, end) = (lease.public_ip, subnet.address);
        Ok(match self {
            Backend::Udp { .. } => Vec::new(),
            Backend::Vxlan { device } => {
                let mac = lease.vtep_mac.context("it has no VtepMAC")?;
                vec![
                    Way::new(
                        ip::bridge,
                        format!("fdb replace {mac} dev {device} dst {peer}"),
                        format!("fdb delete {mac} dev {device} dst {peer}"),
                    ),
                    Way::new(
                        ip::run,
                        format!("neighbour replace {end} lladdr {mac} dev {device} nud permanent"),
                        format!("neighbour delete {end} dev {device}"),
                    ),
                    Way::new(
                        ip::run,
                        format!("route replace {subnet} via {end} dev {device} onlink"),
                        format!("route delete {subnet} via {end} dev {device}"),
                    ),
                ]
            }
            Backend::HostGw { iface } => vec![Way::new(
                ip::run,
                format!("route replace {subnet} via {peer} dev {iface}"),
                format!("route delete {subnet} via {peer} dev {iface}"),
            )],
        })
    }

    /// With host-gw, puts back those of the routes that are missing. What has
    /// taken the place of one stays, as with flanneld.
    fn check_routes<'a>(&self, known: impl Iterator<Item = (&'a Ipv4Net, &'a Lease)>) {
        let Backend::HostGw { iface } = self else {
            return;
        };
        let shown = match ip::read(&["-4", "route", "show"]) {
            Ok(shown) => shown,
            Err(error) => return log(format_args!("cannot look at the routes: {error:#}")),
        };
        for (subnet, lease) in known {
            let route = format!("{subnet} via {} dev {iface}", lease.public_ip);
            let is_it = |line: &str| line.starts_with(&route);
            if lease.backend_type == self.name() && !shown.lines().any(is_it) {
                log(format_args!("the route {route} is missing"));
                if let Err(error) = words(ip::run, &format!("route add {route}")) {
                    log(format_args!("cannot put it back: {error:#}"));
                }
            }
        }
    }
}

/// One entry in a table of the kernel.
struct Way {
    program: Program,
    add: String,
    remove: String,
}

type Program = fn(&[&str]) -> Result<()>;

impl Way {
    const fn new(program: Program, add: String, remove: String) -> Way {
        Way {
            program,
            add,
            remove,
        }
    }

    fn add(&self) -> Result<()> {
        words(self.program, &self.add)
    }

    fn remove(&self) -> Result<()> {
        words(self.program, &self.remove)
    }
}

fn words(program: Program, line: &str) -> Result<()> {
    program(&line.split(' ').collect::<Vec<_>>())
}

/// Makes the device of the backend vxlan, or takes the one that an earlier
/// daemon left, if it fits; returns its hardware address.
pub fn vxlan_device(device: &str, vni: u32, port: u16, iface: &Iface) -> Result<Mac> {
    let (mtu, local) = (iface.mtu.saturating_sub(50), iface.address);
    let wanted = format!("vxlan id {vni} local {local} dev {}", iface.name);
    let shown = ip::read(&["-d", "-o", "link", "show", "dev", device]);
    if let Ok(shown) = shown {
        if shown.contains(&wanted) && shown.contains(&format!("dstport {port} ")) {
            return hardware_address(&shown, device);
        }
        ip::run(&["link", "delete", device])?;
    }
    ip::batch(
        None,
        &[format!(
            "link add {device} mtu {mtu} type vxlan id {vni} dev {} local {local} dstport {port} nolearning",
            iface.name
        )],
    )?;
    let shown = ip::read(&["-d", "-o", "link", "show", "dev", device])?;
    hardware_address(&shown, device)
}

fn hardware_address(shown: &str, device: &str) -> Result<Mac> {
    let mut words = shown.split_whitespace();
    words
        .find(|word| *word == "link/ether")
        .and(words.next())
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("{device} has no hardware address"))
}

/// Gives the device the address of its subnet, and takes away the one that an
/// earlier lease has left.
pub fn address_device(device: &str, address: Ipv4Addr) -> Result<()> {
    let shown = ip::read(&["-o", "-4", "address", "show", "dev", device])?;
    let own = format!("{address}/32");
    let held = shown.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == "inet").and(words.next())
    });
    for old in held.filter(|held| held.ends_with("/32") && *held != own) {
        ip::run(&["address", "delete", old, "dev", device])?;
    }
    ip::run(&["address", "replace", &own, "dev", device])?;
    ip::run(&["link", "set", device, "up"])
}

/// How long until it is looked again whether all is set up, as flanneld does.
const CHECK: Duration = Duration::from_secs(10);

/// The leases of the others, and what has been set up for them.
pub struct Others {
    pub backend: Backend,
    known: BTreeMap<Ipv4Net, Lease>,
    /// Those that could not be set up, with what was said last.
    failed: BTreeMap<Ipv4Net, String>,
    next_check: Instant,
}

impl Others {
    pub fn new(backend: Backend) -> Others {
        Others {
            backend,
            known: BTreeMap::new(),
            failed: BTreeMap::new(),
            next_check: Instant::now() + CHECK,
        }
    }

    /// Whether there is a lease with this public address.
    pub fn has(&self, public_ip: Ipv4Addr) -> bool {
        self.known
            .values()
            .any(|lease| lease.public_ip == public_ip)
    }

    /// These are all that there are.
    pub fn set_all(&mut self, leases: BTreeMap<Ipv4Net, Lease>) {
        let gone: Vec<Ipv4Net> = self
            .known
            .keys()
            .filter(|subnet| !leases.contains_key(subnet))
            .copied()
            .collect();
        gone.into_iter().for_each(|subnet| self.remove(subnet));
        leases
            .into_iter()
            .for_each(|(subnet, lease)| self.set(subnet, lease));
    }

    /// As flanneld: what cannot be set up is logged, and the rest goes on.
    pub fn set(&mut self, subnet: Ipv4Net, lease: Lease) {
        if self.known.get(&subnet) == Some(&lease) {
            return;
        }
        self.remove(subnet);
        log(format_args!("{subnet} is leased by {}", lease.public_ip));
        self.known.insert(subnet, lease);
        self.add(subnet);
    }

    fn add(&mut self, subnet: Ipv4Net) {
        let Some(lease) = self.known.get(&subnet) else {
            return;
        };
        match self.backend.add(subnet, lease) {
            Ok(()) => {
                self.failed.remove(&subnet);
            }
            Err(error) => {
                let why = format!("{error:#}");
                // Each reason once: it is tried for as long as the lease lasts.
                if self.failed.get(&subnet) != Some(&why) {
                    log(format_args!("cannot lead to {subnet}: {why}"));
                }
                self.failed.insert(subnet, why);
            }
        }
    }

    pub fn remove(&mut self, subnet: Ipv4Net) {
        let Some(lease) = self.known.remove(&subnet) else {
            return;
        };
        log(format_args!("the lease of {subnet} is gone"));
        if self.failed.remove(&subnet).is_some() {
            return;
        }
        if let Err(error) = self.backend.remove(subnet, &lease) {
            log(format_args!(
                "cannot take away what led to {subnet}: {error:#}"
            ));
        }
    }

    /// Every ten seconds: tries again what could not be set up, and puts back
    /// what is missing. Returns how long until the next time.
    pub fn check(&mut self) -> Duration {
        if Instant::now() >= self.next_check {
            self.next_check = Instant::now() + CHECK;
            let set_up = self.known.iter();
            let set_up = set_up.filter(|(subnet, _)| !self.failed.contains_key(subnet));
            self.backend.check_routes(set_up);
            let failed: Vec<_> = self.failed.keys().copied().collect();
            failed.into_iter().for_each(|subnet| self.add(subnet));
        }
        self.next_check.saturating_duration_since(Instant::now())
    }
}
