//! Which container a process belongs to, told by its cgroups.
//!
//! Each runtime names its cgroups in its own way, which is the one mark that a
//! process cannot shed. With cgroup v1, v2 and both at once, `/proc/PID/cgroup`
//! has one line a hierarchy (cgroups(7)); the container may show in any of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::runtimes;

/// What runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
    Nspawn,
    Lxc,
    /// runc called directly.
    Runc,
    /// crun called directly.
    Crun,
    /// A container by its cgroup's form; whose is not said.
    Other,
}

impl Runtime {
    pub const fn name(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Containerd => "containerd",
            Runtime::CriO => "cri-o",
            Runtime::Podman => "podman",
            Runtime::Nspawn => "systemd-nspawn",
            Runtime::Lxc => "lxc",
            Runtime::Runc => "runc",
            Runtime::Crun => "crun",
            Runtime::Other => "container",
        }
    }
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// As the runtime gives it: 64 hexadecimal digits, or a name.
    pub id: String,
    /// The name that people gave it; where that cannot be read, the short id.
    pub name: String,
    pub runtime: Runtime,
    /// Kubernetes: the pod that it is part of, and the pod's namespace.
    pub pod: Option<String>,
    pub pod_namespace: Option<String>,
}

impl Container {
    /// The id as people type it: the first 12 of 64 digits, or all of a name.
    pub fn short_id(&self) -> &str {
        short(&self.id)
    }
}

pub(super) fn short(id: &str) -> &str {
    if is_id(id) { &id[..12] } else { id }
}

/// All containers seen, below a root directory.
#[derive(Debug)]
pub(crate) struct Containers {
    root: PathBuf,
    known: FxHashMap<String, Arc<Container>>,
    plain: runtimes::PlainOci,
}

impl Containers {
    pub fn new(root: &Path) -> Containers {
        Containers {
            root: root.to_owned(),
            known: FxHashMap::default(),
            plain: runtimes::PlainOci::new(root),
        }
    }

    /// The container that the text of `/proc/PID/cgroup` tells of. `None` for
    /// a process of the host.
    pub fn of(&mut self, cgroups: &str) -> Option<Arc<Container>> {
        let paths = paths(cgroups);
        let found = paths.clone().find_map(recognise);
        let (runtime, id) = match found {
            Some((runtime, id)) if !matches!(runtime, Runtime::Other) => (runtime, id),
            // Ids of runc, crun and ctr are any word: only their state can tell.
            other => paths
                .clone()
                .find_map(|path| self.plain.owner(path))
                .or_else(|| {
                    paths
                        .clone()
                        .find_map(|path| runtimes::containerd_task(&self.root, path))
                })
                .or(other)?,
        };
        if let Some(known) = self.known.get(&id) {
            return Some(known.clone());
        }
        let (container, certain) = runtimes::describe(&self.root, runtime, &id);
        let container = Arc::new(container);
        if certain {
            self.known.insert(id, container.clone());
        }
        Some(container)
    }

    /// One that a recording tells of.
    pub fn described(&mut self, id: &str, name: Option<&str>) -> Arc<Container> {
        let name = name.unwrap_or(short(id));
        if let Some(known) = self.known.get(id).filter(|known| known.name == name) {
            return known.clone();
        }
        let container = Arc::new(Container {
            id: id.to_owned(),
            name: name.to_owned(),
            runtime: Runtime::Other,
            pod: None,
            pod_namespace: None,
        });
        self.known.insert(id.to_owned(), container.clone());
        container
    }
}

/// The paths of all hierarchies, without those of processes that are nowhere.
fn paths(cgroups: &str) -> impl Iterator<Item = &str> + Clone {
    cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .filter(|path| path.len() > 1)
}

/// Runtime and id by the form of a cgroup's path; the innermost container.
fn recognise(path: &str) -> Option<(Runtime, String)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    (0..parts.len())
        .rev()
        .find_map(|at| recognise_part(&parts[..at], parts[at]))
}

fn recognise_part(above: &[&str], part: &str) -> Option<(Runtime, String)> {
    let own = |runtime, id: &str| Some((runtime, id.to_owned()));
    let scope = part.strip_suffix(".scope");
    let bare = scope.unwrap_or(part);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return own(runtime, id);
        }
    }
    // "PARENT:PREFIX:ID": a systemd cgroup's name given to the cgroupfs driver.
    if let [_, prefix, id] = part.split(':').collect::<Vec<_>>()[..]
        && is_id(id)
    {
        let known = PREFIXES
            .iter()
            .find(|(known, _)| known.strip_suffix('-') == Some(prefix));
        return own(known.map_or(Runtime::Other, |&(_, runtime)| runtime), id);
    }
    let parent = above.last().copied().unwrap_or("");
    if let Some(machine) = scope.and_then(|name| name.strip_prefix("machine-")) {
        let name = unescape(machine);
        let virtual_machine = name.starts_with("qemu-") || name.starts_with("lxc-");
        return (!virtual_machine).then_some((Runtime::Nspawn, name));
    }
    if let Some(name) = part
        .strip_prefix("systemd-nspawn@")
        .and_then(|n| n.strip_suffix(".service"))
    {
        return Some((Runtime::Nspawn, unescape(name)));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return own(Runtime::Lxc, name);
    }
    if matches!(parent, "lxc" | "lxc.payload") {
        return own(Runtime::Lxc, part);
    }
    if !is_id(part) {
        return None;
    }
    let in_pod = above.iter().any(|part| part.starts_with("kubepods"));
    match parent {
        "docker" => own(Runtime::Docker, part),
        "libpod_parent" => own(Runtime::Podman, part),
        _ if in_pod => own(Runtime::Containerd, part),
        _ => own(Runtime::Other, part),
    }
}

const PREFIXES: [(&str, Runtime); 5] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::CriO),
    ("libpod-", Runtime::Podman),
];

/// 64 lower-case hexadecimal digits, as all engines make their ids.
fn is_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes systemd's escaping of unit names (systemd-escape(1)): `\x2d` is `-`.
fn unescape(name: &str) -> String {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let code = rest.strip_prefix(b"\\x").and_then(|digits| digits.get(..2));
        let byte = code
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
