//! One look at everything: the parts side by side, as far as they wait for others.
use std::path::PathBuf;

use anyhow::Result;

use super::files::Files;
use super::namespace::{Namespace, inside};
use super::registry::Registry;
use super::{Context, Host, Part, Process, SCHEMA};
use super::{
    containers, counters, files, firewall, netlink, processes, registry, service_ranges, sockets,
    sysctls,
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

/// The same on a thread that is in the namespace already.
pub fn within(look: &Look<'_>) -> Context {
    let mut context = Context {
        schema: SCHEMA.to_owned(),
        netdig: env!("CARGO_PKG_VERSION").to_owned(),
        taken_ns: crate::source::probe::unix_now(),
        host: host(look.netns),
        ..Context::default()
    };
    netlink::read(&mut context);
    sysctls::read(&mut context);
    counters::read(&mut context);
    firewall::read(&mut context);
    again(&mut context, look);
    context
}

/// Reads anew what nobody tells of when it changes: processes, files, the registry, containers;
/// and asks the kernel for the ways to all that they name.
pub fn again(context: &mut Context, look: &Look<'_>) {
    let root = root(look);
    forget(context);
    processes::read(context, &root);
    sockets::read(context);
    files::read(context, &root);
    service_ranges::read(context, &root);
    registry::read(context, look.registry);
    super::mask::registry(&mut context.registry);
    containers::read(context, &root, &netlink::read);
    let wanted = netlink::critical(context);
    netlink::look_up(context, &wanted);
    if is_without_overlay(context) {
        // A registry that nobody named is not missed where there is no overlay.
        let unnamed = look.registry.is_named();
        context
            .unread
            .retain(|one| one.part != Part::Registry || unnamed);
    }
}

/// Parts that [`again`] reads.
const AGAIN: [Part; 8] = [
    Part::Processes,
    Part::Sockets,
    Part::Resolver,
    Part::SubnetEnv,
    Part::Configuration,
    Part::Registry,
    Part::Containers,
    Part::Lookups,
];

fn forget(context: &mut Context) {
    context.unread.retain(|one| !AGAIN.contains(&one.part));
    context.processes.clear();
    context.sockets.clear();
    context.files = Files::default();
    context.registry = Registry::default();
    context.containers.clear();
    context.net.lookups.clear();
}

/// No device, file or daemon of flannel's, and no key.
fn is_without_overlay(context: &Context) -> bool {
    let daemon = |process: &Process| {
        process.comm.contains("flannel") || process.args.iter().any(|arg| arg.contains("flannel"))
    };
    !context
        .net
        .links
        .iter()
        .any(|link| link.name.starts_with("flannel"))
        && context.files.subnet_env.is_empty()
        && context.registry.keys.is_empty()
        && !context.processes.iter().any(daemon)
}

fn root(look: &Look<'_>) -> PathBuf {
    look.namespace
        .map_or_else(|| PathBuf::from("/"), Namespace::root)
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
