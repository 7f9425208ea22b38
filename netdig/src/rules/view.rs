//! What a rule sees: the context, and what it means.
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::overlay::overlays;
pub use super::overlay::{Overlay, flannel_backend};
use super::routing::Routing;
use crate::context::Context;
use crate::context::flannel::{Lease, Origin};
use crate::context::net::{Answer, Lookup, Route};
use crate::context::registry::{ApiVersion, Key};
use crate::evidence::services::{Probes, Services};
use crate::evidence::traffic::Traffic;

/// All that a rule may know.
pub struct View<'a> {
    pub context: &'a Context,
    pub overlays: Vec<Overlay<'a>>,
    /// The route tables, for questions that the kernel was not asked.
    pub routing: Routing<'a>,
    /// What packets showed, where packets are seen.
    pub traffic: Option<&'a Traffic>,
    /// What a registry's keys tell of services, where they are watched.
    pub services: Option<&'a Services<'a>>,
    /// Upstreams that were tried.
    pub probes: Option<&'a Probes>,
    lookups: FxHashMap<IpAddr, &'a Lookup>,
    keys: FxHashMap<(ApiVersion, &'a str), &'a Key>,
    /// This namespace's own addresses.
    local: FxHashSet<IpAddr>,
    /// Devices that carry an overlay, each with the overlay's place in `overlays`.
    overlay_links: FxHashMap<&'a str, usize>,
}

impl<'a> View<'a> {
    pub fn new(context: &'a Context, traffic: Option<&'a Traffic>) -> View<'a> {
        let local = context.net.addresses.iter().map(|one| one.net.addr());
        let local: FxHashSet<IpAddr> = local.collect();
        let overlays = overlays(context, &local);
        let links = overlays.iter().enumerate();
        let overlay_links = links
            .flat_map(|(at, one)| one.links.iter().map(move |link| (*link, at)))
            .collect();
        // The first answer for a destination counts, as in `Network::lookup`.
        let lookups = context.net.lookups.iter().rev();
        let keys = context.registry.keys.iter().rev();
        View {
            context,
            overlays,
            routing: Routing::new(&context.net.routes, &context.net.rules),
            traffic,
            services: None,
            probes: None,
            lookups: lookups.map(|one| (one.destination, one)).collect(),
            keys: keys.map(|key| ((key.api, key.key.as_str()), key)).collect(),
            local,
            overlay_links,
        }
    }

    /// With the services that are watched, and what became of trying their upstreams.
    #[must_use]
    pub fn with_services(mut self, services: &'a Services<'a>, probes: &'a Probes) -> View<'a> {
        self.services = Some(services);
        self.probes = Some(probes);
        self
    }

    /// The overlay that an address belongs to.
    pub fn overlay_of(&self, address: IpAddr) -> Option<&Overlay<'a>> {
        self.overlays.iter().find(|one| one.contains(address))
    }

    /// The overlay that a device carries.
    pub fn overlay_on(&self, link: &str) -> Option<&Overlay<'a>> {
        self.overlay_links.get(link).map(|&at| &self.overlays[at])
    }

    /// Whether a device carries an overlay.
    pub fn is_overlay_link(&self, name: &str) -> bool {
        self.overlay_links.contains_key(name)
    }

    /// Whether an address is one of this namespace's own.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.local.contains(&address)
    }

    /// Whether a lease names one of this host's addresses.
    pub fn is_ours(&self, lease: &Lease) -> bool {
        lease.publics().any(|public| self.is_local(public))
    }

    /// The overlays that this host takes part in. The registry may hold others, of hosts that
    /// share nothing with this one; where no sign tells, all that there are.
    pub fn joined(&self) -> impl Iterator<Item = &Overlay<'a>> {
        let some = self.overlays.iter().any(Overlay::is_joined);
        let joined = self.overlays.iter();
        joined.filter(move |one| !some || one.is_joined())
    }

    /// The key that a fact of flannel's stands in.
    pub fn key(&self, origin: &Origin) -> Option<&'a Key> {
        self.keys.get(&(origin.api, origin.key.as_str())).copied()
    }

    /// The kernel's answer for a destination, where it was asked.
    pub fn asked(&self, destination: IpAddr) -> Option<&'a Lookup> {
        self.lookups.get(&destination).copied()
    }

    /// How a packet of this host gets to `destination`: the kernel's answer where it was
    /// asked, otherwise what its tables say.
    pub fn way(&self, destination: IpAddr) -> Option<Way<'_>> {
        match self.asked(destination) {
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
    /// The table that the route is in.
    pub table: u32,
    /// Whether the kernel said so itself.
    pub asked: bool,
}

impl<'a> Way<'a> {
    fn of_lookup(lookup: &'a Lookup) -> Option<Way<'a>> {
        match &lookup.answer {
            Answer::Way {
                dev, via, table, ..
            } => Some(Way {
                dev: dev.as_deref(),
                via: *via,
                table: *table,
                asked: true,
            }),
            Answer::Refused(_) => None,
        }
    }

    fn of_route(route: &'a Route) -> Way<'a> {
        Way {
            dev: route.dev(),
            via: route.via(),
            table: route.table,
            asked: false,
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
