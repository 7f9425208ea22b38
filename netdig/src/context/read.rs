//! One look at everything: the parts side by side, as far as they wait for others.
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, Scope, ScopedJoinHandle};

use anyhow::Result;

use super::files::Files;
use super::namespace::{Namespace, inside};
use super::registry::Registry;
use super::{Container, Context, Host, Part, Process, SCHEMA, Socket, Unread};
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
    thread::scope(|scope| {
        // The firewall's programs take longer than all that is read here.
        let walls = Beside::start(scope, Part::Firewall, firewall::read);
        netlink::read(&mut context);
        sysctls::read(&mut context);
        counters::read(&mut context);
        again(&mut context, look);
        let (walls, unread) = walls.end();
        context.firewall = walls.firewall;
        context.unread.extend(unread);
    });
    context
}

/// Reads anew what nobody tells of when it changes: processes, files, the registry, containers;
/// and asks the kernel for the ways to all that they name.
pub fn again(context: &mut Context, look: &Look<'_>) {
    let root = root(look);
    let before = std::mem::take(&mut context.containers);
    forget(context);
    processes::read(context, &root);
    sockets::read(context);
    // What the daemons name and what listens leads to the registry, which may take its time.
    let known = leads(context);
    thread::scope(|scope| {
        let registry = Beside::start(scope, Part::Registry, move |found| {
            *found = known;
            registry::read(found, look.registry);
            super::mask::registry(&mut found.registry);
        });
        files::read(context, &root);
        service_ranges::read(context, &root);
        containers::read(context, &root, &netlink::read);
        if context.containers.is_empty() {
            // A running overlay has given up what it takes to enter them.
            context.containers = before;
            context.containers.retain(runs_still);
        }
        let (found, unread) = registry.end();
        context.registry = found.registry;
        context.unread.extend(unread);
    });
    let wanted = netlink::critical(context);
    netlink::look_up(context, &wanted);
    if is_without_overlay(context) {
        pass_over(context, look.registry.is_named());
    }
}

/// A registry that nobody named is not missed where there is no overlay, nor are details that
/// only matter to one. What needs the registry was not checked all the same.
fn pass_over(context: &mut Context, named: bool) {
    for one in std::mem::take(&mut context.unread) {
        match one.part {
            Part::Registry if !named => context.not_missed.push(one),
            Part::Containers | Part::Sockets if one.partly => {}
            _ => context.unread.push(one),
        }
    }
}

/// What the search for the registry needs: daemons, and the sockets that listen.
fn leads(context: &Context) -> Context {
    let sockets = context.sockets.iter();
    let listens = |socket: &&Socket| socket.state.as_deref() == Some("LISTEN");
    Context {
        processes: context.processes.clone(),
        sockets: sockets.filter(listens).cloned().collect(),
        ..Context::default()
    }
}

/// A reader on a thread of its own, in the network namespace of the one that starts it.
struct Beside<'scope> {
    part: Part,
    started: io::Result<ScopedJoinHandle<'scope, Context>>,
}

impl<'scope> Beside<'scope> {
    fn start(
        scope: &'scope Scope<'scope, '_>,
        part: Part,
        read: impl FnOnce(&mut Context) + Send + 'scope,
    ) -> Beside<'scope> {
        let work = || {
            let mut context = Context::default();
            read(&mut context);
            context
        };
        let started = thread::Builder::new()
            .name(part.name().to_owned())
            .spawn_scoped(scope, work);
        Beside { part, started }
    }

    /// What it read, and what it could not.
    fn end(self) -> (Context, Vec<Unread>) {
        let mut context = match self.started {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                let mut context = Context::default();
                let why = format!("no thread could be started to read them: {error}");
                context.lacks(self.part, why, None);
                context
            }
        };
        let unread = std::mem::take(&mut context.unread);
        (context, unread)
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
    context.not_missed.clear();
    context.processes.clear();
    context.sockets.clear();
    context.files = Files::default();
    context.registry = Registry::default();
    context.net.lookups.clear();
}

fn runs_still(container: &Container) -> bool {
    container.pid != 0 && Path::new(&format!("/proc/{}/ns", container.pid)).exists()
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
    // SAFETY: all-zero arrays of characters are valid, and the call fills them.
    let told = unsafe {
        let mut told: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut told);
        told
    };
    let text = |field: &[libc::c_char]| {
        let bytes = field.iter().map(|&byte| byte as u8);
        let bytes: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Host {
        // Of the UTS namespace that we are in, as hostname(1) says it.
        name: text(&told.nodename),
        kernel: text(&told.release),
        netns: netns.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_misses_was_not_checked_all_the_same() {
        for (named, said) in [(false, 1), (true, 2)] {
            let mut context = Context::default();
            context.lacks(Part::Registry, "no etcd was found", None);
            context.lacks(Part::Routes, "netlink: EPERM", None);
            context.lacks(Part::Sockets, "one of another user", None);
            context.unread[2].partly = true;
            pass_over(&mut context, named);
            assert_eq!(context.unread.len(), said, "{named}");
            assert!(!context.has(Part::Registry) && context.has(Part::Sockets));
            let report = crate::rules::evaluate(&crate::rules::View::new(&context, None));
            let mut lacks = report.unchecked.iter().flat_map(|one| &one.lacks);
            assert!(lacks.any(|&part| part == Part::Registry));
        }
    }
}
