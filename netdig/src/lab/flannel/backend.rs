//! How packets get to the subnets of other hosts, by backend.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, bail};

use super::lease::{self, Lease};
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

    fn add(&self, subnet: Ipv4Net, lease: &Lease) -> Result<()> {
        let peer = lease.public_ip;
        // The UDP backend does not say what it is, and does not ask.
        if !matches!(self, Backend::Udp { .. }) && lease.backend_type != self.name() {
            bail!(
                "the lease is for the backend `{}`, not {}",
                lease.backend_type,
                self.name()
            );
        }
        match self {
            Backend::Udp { routes, port } => {
                routes.set(subnet, SocketAddrV4::new(peer, *port));
                Ok(())
            }
            Backend::Vxlan { device } => {
                let mac = lease.vtep_mac.as_deref().context("it has no VtepMAC")?;
                let end = subnet.address;
                ip::bridge(&[
                    "fdb",
                    "replace",
                    mac,
                    "dev",
                    device,
                    "dst",
                    &peer.to_string(),
                ])?;
                ip::batch(
                    None,
                    &[
                        format!("neighbour replace {end} lladdr {mac} dev {device} nud permanent"),
                        format!("route replace {subnet} via {end} dev {device} onlink"),
                    ],
                )
            }
            Backend::HostGw { iface } => ip::batch(
                None,
                &[format!("route replace {subnet} via {peer} dev {iface}")],
            ),
        }
    }

    fn remove(&self, subnet: Ipv4Net, lease: &Lease) -> Result<()> {
        let peer = lease.public_ip;
        match self {
            Backend::Udp { routes, .. } => {
                routes.remove(subnet);
                Ok(())
            }
            Backend::Vxlan { device } => {
                let end = subnet.address;
                let network = ip::batch(
                    None,
                    &[
                        format!("route delete {subnet} via {end} dev {device}"),
                        format!("neighbour delete {end} dev {device}"),
                    ],
                );
                let mac = lease.vtep_mac.as_deref().unwrap_or_default();
                ip::bridge(&[
                    "fdb",
                    "delete",
                    mac,
                    "dev",
                    device,
                    "dst",
                    &peer.to_string(),
                ])?;
                network
            }
            Backend::HostGw { iface } => ip::batch(
                None,
                &[format!("route delete {subnet} via {peer} dev {iface}")],
            ),
        }
    }
}

/// Makes the device of the backend vxlan, or takes the one that an earlier
/// daemon left, if it fits; returns its hardware address.
pub fn vxlan_device(device: &str, vni: u32, port: u16, iface: &Iface) -> Result<String> {
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

fn hardware_address(shown: &str, device: &str) -> Result<String> {
    let mut words = shown.split_whitespace();
    words
        .find(|word| *word == "link/ether")
        .and(words.next())
        .map(str::to_owned)
        .with_context(|| format!("{device} has no hardware address"))
}

/// The leases of the others, and what has been set up for them.
pub struct Others {
    pub backend: Backend,
    known: BTreeMap<Ipv4Net, Lease>,
}

impl Others {
    pub const fn new(backend: Backend) -> Others {
        Others {
            backend,
            known: BTreeMap::new(),
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
        if let Err(error) = self.backend.add(subnet, &lease) {
            log(format_args!("cannot lead to {subnet}: {error:#}"));
        }
        self.known.insert(subnet, lease);
    }

    pub fn remove(&mut self, subnet: Ipv4Net) {
        let Some(lease) = self.known.remove(&subnet) else {
            return;
        };
        log(format_args!("the lease of {subnet} is gone"));
        if let Err(error) = self.backend.remove(subnet, &lease) {
            log(format_args!(
                "cannot take away what led to {subnet}: {error:#}"
            ));
        }
    }
}
