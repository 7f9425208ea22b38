//! One look at everything: the parts side by side, as far as they wait for others.
use std::path::Path;

use anyhow::Result;

use super::namespace::{Namespace, inside};
use super::{Context, Host, SCHEMA};
use super::{
    containers, counters, files, firewall, netlink, processes, registry, sockets, sysctls,
};

/// What to look at.
pub struct Look<'a> {
    /// The own one without.
    pub namespace: Option<&'a Namespace>,
    /// As the person named it.
    pub netns: Option<&'a str>,
    pub registry: &'a registry::Options,
}

/// Reads a whole context.
///
/// # Errors
/// Where the namespace cannot be entered. What else cannot be read stands in
/// [`Context::unread`].
pub fn read(look: &Look<'_>) -> Result<Context> {
    inside(look.namespace, || within(look))
}

fn within(look: &Look<'_>) -> Context {
    let mut context = Context {
        schema: SCHEMA.to_owned(),
        netdig: env!("CARGO_PKG_VERSION").to_owned(),
        taken_ns: crate::source::probe::unix_now(),
        host: host(look.netns),
        ..Context::default()
    };
    let root = look
        .namespace
        .map_or_else(|| Path::new("/").into(), Namespace::root);
    netlink::read(&mut context);
    sysctls::read(&mut context);
    counters::read(&mut context);
    processes::read(&mut context, &root);
    sockets::read(&mut context);
    files::read(&mut context, &root);
    service_ranges::read(&mut context, &root);
    firewall::read(&mut context);
    registry::read(&mut context, look.registry);
    containers::read(&mut context, &root, &netlink::read);
    let wanted = netlink::critical(&context);
    netlink::look_up(&mut context, &wanted);
    super::mask::registry(&mut context.registry);
    context
}

fn host(netns: Option<&str>) -> Host {
    let read = |name| std::fs::read_to_string(name).unwrap_or_default();
    Host {
        // Of the UTS namespace that we are in, as hostname(1) says it.
        name: read("/proc/sys/kernel/hostname").trim().to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        netns: netns.map(str::to_owned),
    }
}
