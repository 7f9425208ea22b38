//! The lab's own flannel daemon: leases a subnet in etcd, as flanneld does, and
//! leads to the subnets of the others as long as their leases last.

mod backend;

mod lease;
mod options;
mod part;
mod subnet_file;

pub use backend::{UDP_HEADER, VXLAN_HEADER};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::backend::{Backend, Iface, Others};
use self::lease::{Config, Lease, Mac};
use super::registry::{Change, Registry, Watched};
use super::scenario::Api;
use super::tunnel::{self, Ipv4Net, Tunnel, TunnelOptions};
pub use options::FlannelOptions;

/// How long it waits before it tries again what has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// flanneld renews in the last hour; a shorter lease, in its last third.
const MARGIN: Duration = Duration::from_secs(3600);

/// Runs the daemon until it is ended, or its lease is taken away.
pub fn run(options: &FlannelOptions) -> Result<()> {
    let registry = Registry::new(options.api, options.etcd_endpoints.clone());
    let iface = Iface::read(&options.iface)?;
    let daemon = Daemon {
        options,
        registry,
        public_ip: options.public_ip.unwrap_or(iface.address),
    };
    let config = daemon.wait_for_config()?;
    log(format_args!("configuration: {config:?}"));
    match config.backend {
        lease::Backend::Udp { port } => daemon.run_udp(&config, &iface, port),
        lease::Backend::Vxlan { vni, port } => daemon.run_vxlan(&config, &iface, vni, port),
        lease::Backend::HostGw => daemon.run_host_gw(&config, &iface),
    }
}

/// Its own lease.
struct Own {
    subnet: Ipv4Net,
    content: Lease,
    /// `None`: a reservation of v2, which does not expire, and is not made to.
    ttl: Option<u32>,
}

struct Daemon<'a> {
    options: &'a FlannelOptions,
    registry: Registry,
    /// What identifies its lease.
    public_ip: Ipv4Addr,
}

impl Daemon<'_> {
    /// flanneld asks again each second, whatever the reason.
    fn wait_for_config(&self) -> Result<Config> {
        let key = format!("{}/config", self.options.etcd_prefix);
        let mut said = String::new();
        loop {
            let why = match self.registry.get(&key) {
                Ok(Some(found)) => match Config::parse(&found.value) {
                    Ok(config) => return Ok(config),
                    Err(error) => format!("{error:#}"),
                },
                Ok(None) => format!("there is no key {key}"),
                Err(error) => format!("{error:#}"),
            };
            if why != said {
                log(format_args!(
                    "waiting for the network's configuration: {why}"
                ));
                said = why;
            }
            if self.options.ready_with.is_empty() {
                self.ready()?;
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn run_udp(&self, config: &Config, iface: &Iface, port: u16) -> Result<()> {
        let stop = tunnel::Stop::on_signals()?;
        let content = self.content(String::new(), None);
        let own = self.lease(config, content)?;
        let subnet = own.subnet;
        let mtu = iface.mtu.saturating_sub(backend::overhead(config.backend));
        let tunnel_options = TunnelOptions {
            tun: "flannel0".to_owned(),
            address: Ipv4Net {
                address: subnet.address,
                prefix: config.network.prefix,
            },
            listen: SocketAddrV4::new(iface.address, port),
            routes: Vec::new(),
            mtu,
            ready_file: None,
            calls: self.options.calls,
        };
        let mut tunnel = Tunnel::open(&tunnel_options)?;
        subnet_file::write(&self.options.subnet_file, config.network, subnet, mtu)?;
        let mut others = Others::new(Backend::Udp {
            routes: tunnel.routes(),
            port,
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Without its lease flanneld ends, and so does the tunnel.
                if let Err(error) = self.follow(&mut others, &own) {
                    log(format_args!("{error:#}"));
                    std::process::exit(1);
                }
            });
            let served = tunnel.serve(&stop);
            if let Err(error) = &served {
                log(format_args!("{error:#}"));
            }
            // The other thread may be waiting for etcd.
            std::process::exit(i32::from(served.is_err()));
        })
    }

    fn run_vxlan(&self, config: &Config, iface: &Iface, vni: u32, port: u16) -> Result<()> {
        let device = format!("flannel.{vni}");
        let mac = backend::vxlan_device(&device, vni, port, iface)?;
        let content = self.content("vxlan".to_owned(), Some((vni, mac)));
        let own = self.lease(config, content)?;
        let subnet = own.subnet;
        let mtu = iface.mtu.saturating_sub(backend::overhead(config.backend));
        backend::address_device(&device, subnet.address)?;
        subnet_file::write(&self.options.subnet_file, config.network, subnet, mtu)?;
        let mut others = Others::new(Backend::Vxlan { device });
        self.follow(&mut others, &own)
    }

    fn run_host_gw(&self, config: &Config, iface: &Iface) -> Result<()> {
        let content = self.content("host-gw".to_owned(), None);
        let own = self.lease(config, content)?;
        let subnet = own.subnet;
        subnet_file::write(&self.options.subnet_file, config.network, subnet, iface.mtu)?;
        let mut others = Others::new(Backend::HostGw {
            iface: iface.name.clone(),
        });
        self.follow(&mut others, &own)
    }

    /// What its own lease says.
    fn content(&self, backend_type: String, vtep: Option<(u32, Mac)>) -> Lease {
        let (vni, vtep_mac) = vtep.unzip();
        Lease {
            public_ip: self.public_ip,
            backend_type,
            vtep_mac,
            vni,
        }
    }

    fn below(&self) -> String {
        format!("{}/subnets/", self.options.etcd_prefix)
    }

    fn key(&self, subnet: Ipv4Net) -> String {
        self.below() + &lease::key_of(subnet)
    }

    fn renew(&self, own: &Own) -> Result<()> {
        self.registry.put(
            &self.key(own.subnet),
            &own.content.json(self.options.api),
            own.ttl,
        )
    }

    /// The subnet with its lease written: that of the lease with this public
    /// address, else the one asked for, else the next that is free.
    fn lease(&self, config: &Config, content: Lease) -> Result<Own> {
        loop {
            match self.try_lease(config, &content) {
                Ok(Some((subnet, ttl))) => {
                    return Ok(Own {
                        subnet,
                        content,
                        ttl,
                    });
                }
                // Someone else was quicker.
                Ok(None) => {}
                Err(error) => {
                    log(format_args!("cannot lease a subnet: {error:#}"));
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }

    fn try_lease(
        &self,
        config: &Config,
        content: &Lease,
    ) -> Result<Option<(Ipv4Net, Option<u32>)>> {
        let entries = self.registry.list(&self.below())?.entries;
        let leases = leases(&entries);
        let own = leases
            .iter()
            .find(|(_, lease)| lease.public_ip == self.public_ip)
            .map(|(subnet, _)| *subnet);
        if let Some(own) = own {
            if fits(config, own) {
                log(format_args!(
                    "{own} is leased by {} already",
                    self.public_ip
                ));
                let key = self.key(own);
                let entry = entries.iter().find(|entry| entry.key == key);
                let revision = entry.map_or(0, |entry| entry.revision);
                // With v3 it knows no reservations, see `counts_as_expired`.
                let expires =
                    self.options.api == Api::V3 || entry.is_none_or(|entry| entry.expires);
                let ttl = expires.then_some(self.options.ttl);
                let value = content.json(self.options.api);
                let renewed = self.registry.replace(&key, &value, ttl, revision)?;
                return Ok(renewed.then_some((own, ttl)));
            }
            log(format_args!(
                "the lease of {own} does not fit the configuration"
            ));
            self.registry.delete(&self.key(own))?;
        }
        let taken = |subnet: &Ipv4Net| leases.keys().any(|lease| lease.overlaps(*subnet));
        let wanted = self.options.subnet.map(Ipv4Net::network);
        let wanted = wanted.filter(|subnet| fits(config, *subnet) && !taken(subnet));
        let subnet = match wanted {
            Some(subnet) => subnet,
            None => subnets(config)
                .find(|subnet| !taken(subnet))
                .with_context(|| format!("every subnet of {} is leased", config.network))?,
        };
        let key = self.key(subnet);
        let ttl = Some(self.options.ttl);
        let made = self
            .registry
            .create(&key, &content.json(self.options.api), ttl)?;
        if made {
            log(format_args!("leased {subnet}"));
        }
        Ok(made.then_some((subnet, ttl)))
    }

    /// Follows the leases of the others, and renews its own. Ends only with an
    /// error: when its own is taken away.
    fn follow(&self, others: &mut Others, own: &Own) -> Result<()> {
        let mut renewal = self.next_renewal();
        loop {
            // Also where etcd does not answer.
            others.check();
            match self.follow_once(others, own, &mut renewal) {
                Ok(Followed::Lost) => {
                    bail!(
                        "the lease of {} was taken away; the daemon ends, as flanneld does",
                        own.subnet
                    )
                }
                Ok(Followed::Again) => {}
                Err(error) => {
                    log(format_args!("cannot follow the leases: {error:#}"));
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }

    fn follow_once(
        &self,
        others: &mut Others,
        own: &Own,
        renewal: &mut Instant,
    ) -> Result<Followed> {
        let listing = self.registry.list(&self.below())?;
        let mut all = leases(&listing.entries);
        if all.remove(&own.subnet).is_none() {
            return Ok(Followed::Lost);
        }
        others.set_all(all);
        self.ready_if(others)?;
        let mut watch = self.registry.watch(&self.below(), listing.revision);
        loop {
            if Instant::now() >= *renewal {
                match self.renew(own) {
                    Ok(()) => *renewal = self.next_renewal(),
                    Err(error) => {
                        log(format_args!(
                            "cannot renew the lease of {}: {error:#}",
                            own.subnet
                        ));
                        *renewal = Instant::now() + AGAIN;
                    }
                }
            }
            let wait = renewal.saturating_duration_since(Instant::now());
            match watch.next(wait.min(others.check()))? {
                Watched::Nothing => {}
                Watched::Cleared => return Ok(Followed::Again),
                Watched::Changes(changes) => {
                    for change in changes {
                        let Some(subnet) = lease::subnet_of(&change.key) else {
                            // A directory above, perhaps with all that was in it.
                            return Ok(Followed::Again);
                        };
                        if subnet != own.subnet {
                            apply(others, subnet, &change);
                        } else if change.value.is_none() {
                            return Ok(Followed::Lost);
                        } else if self.counts_as_expired(own)? {
                            *renewal = Instant::now();
                        }
                    }
                    self.ready_if(others)?;
                }
            }
        }
    }

    /// Whether somebody has written its lease without an expiry. With v3 flanneld
    /// takes etcd's answer for that, a TTL of -1, for one that has just ended, and
    /// writes its own lease at once.
    fn counts_as_expired(&self, own: &Own) -> Result<bool> {
        if self.options.api == Api::V2 {
            return Ok(false);
        }
        let entry = self.registry.get(&self.key(own.subnet))?;
        Ok(entry.is_some_and(|entry| !entry.expires))
    }

    fn next_renewal(&self) -> Instant {
        let ttl = Duration::from_secs(self.options.ttl.into());
        Instant::now() + ttl.saturating_sub(MARGIN.min(ttl / 3))
    }

    fn ready_if(&self, others: &Others) -> Result<()> {
        let mut wanted = self.options.ready_with.iter();
        match wanted.all(|address| *address == self.public_ip || others.has(*address)) {
            true => self.ready(),
            false => Ok(()),
        }
    }

    /// Says so once, by a file that may be taken away by whoever read it.
    fn ready(&self) -> Result<()> {
        static SAID: std::sync::Once = std::sync::Once::new();
        let mut made = Ok(());
        SAID.call_once(|| {
            if let Some(path) = &self.options.ready_file {
                made = File::create(path)
                    .map(drop)
                    .with_context(|| format!("cannot create the ready file {}", path.display()));
            }
        });
        made
    }
}

/// Why following has come to an end.
enum Followed {
    /// Its own lease is gone.
    Lost,
    /// It cannot be told what happened: list again.
    Again,
}

fn apply(others: &mut Others, subnet: Ipv4Net, change: &Change) {
    match &change.value {
        None => others.remove(subnet),
        Some(value) => match Lease::parse(value) {
            Ok(lease) => others.set(subnet, lease),
            Err(error) => log(format_args!("{}: {error:#}", change.key)),
        },
    }
}

/// Those of the keys that are leases; others are logged.
fn leases(entries: &[super::registry::KeyValue]) -> BTreeMap<Ipv4Net, Lease> {
    let mut leases = BTreeMap::new();
    for entry in entries {
        match (lease::subnet_of(&entry.key), Lease::parse(&entry.value)) {
            (Some(subnet), Ok(lease)) => {
                leases.insert(subnet, lease);
            }
            (None, _) => log(format_args!("{} is no subnet", entry.key)),
            (_, Err(error)) => log(format_args!("{}: {error:#}", entry.key)),
        }
    }
    leases
}

fn fits(config: &Config, subnet: Ipv4Net) -> bool {
    let (first, last) = config.subnets;
    (first..=last).contains(&subnet.address) && subnet.prefix == config.subnet_len
}

/// All subnets that may be leased.
fn subnets(config: &Config) -> impl Iterator<Item = Ipv4Net> {
    let prefix = config.subnet_len;
    let (first, last) = config.subnets;
    (first.to_bits()..=last.to_bits())
        .step_by(1 << (32 - prefix))
        .map(move |address| Ipv4Net {
            address: Ipv4Addr::from_bits(address),
            prefix,
        })
}

fn log(message: std::fmt::Arguments<'_>) {
    crate::lab::tell!("netdig lab flannel: {message}");
}
