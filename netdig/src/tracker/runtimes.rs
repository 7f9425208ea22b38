//! Names of containers, from the state directories of their runtimes.
//!
//! Files only: a runtime's socket may hang, and asking it needs its protocol.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::containers::{Container, Runtime, short};

/// A state file is some kilobytes; what is larger is not one.
const MAX_STATE: u64 = 16 << 20;

const CONTAINERD_TASKS: &str = "run/containerd/io.containerd.runtime.v2.task";
const STORAGES: [&str; 2] = [
    "var/lib/containers/storage/overlay-containers",
    "run/containers/storage/overlay-containers",
];

#[derive(Default)]
struct Names {
    name: Option<String>,
    pod: Option<String>,
    pod_namespace: Option<String>,
}

/// All that the runtime's files say of a container, and whether they said it;
/// if not, a later attempt may do better.
pub(super) fn describe(root: &Path, runtime: Runtime, id: &str) -> (Container, bool) {
    let (runtime, found) = match runtime {
        Runtime::Docker => (runtime, docker(root, id)),
        Runtime::Podman => (runtime, podman(root, id)),
        Runtime::CriO => (runtime, cri_o(root, id)),
        Runtime::Containerd | Runtime::Other => any_engine(root, runtime, id),
        Runtime::Nspawn | Runtime::Lxc | Runtime::Runc | Runtime::Crun => (
            runtime,
            Some(Names {
                name: Some(id.to_owned()),
                ..Names::default()
            }),
        ),
    };
    let certain = found.as_ref().is_some_and(|names| names.name.is_some());
    let names = found.unwrap_or_default();
    let container = Container {
        id: id.to_owned(),
        name: names.name.unwrap_or_else(|| short(id).to_owned()),
        runtime,
        pod: names.pod,
        pod_namespace: names.pod_namespace,
    };
    (container, certain)
}

/// Under `kubepods` the cgroupfs driver of every engine looks the same.
fn any_engine(root: &Path, runtime: Runtime, id: &str) -> (Runtime, Option<Names>) {
    if let Some(names) = containerd(root, id) {
        (Runtime::Containerd, Some(names))
    } else if let Some(names) = docker(root, id) {
        (Runtime::Docker, Some(names))
    } else if let Some(names) = cri_o(root, id) {
        (Runtime::CriO, Some(names))
    } else if let Some(names) = podman(root, id) {
        (Runtime::Podman, Some(names))
    } else {
        (runtime, None)
    }
}

fn json(path: &Path) -> Option<Value> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() || meta.len() > MAX_STATE {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value
        .get(key)?
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The Docker engine's own file; cri-dockerd puts the pod into the labels.
fn docker(root: &Path, id: &str) -> Option<Names> {
    let state = json(
        &root
            .join("var/lib/docker/containers")
            .join(id)
            .join("config.v2.json"),
    )?;
    let labels = state.pointer("/Config/Labels").unwrap_or(&Value::Null);
    let name = text(&state, "Name").map(|name| name.trim_start_matches('/').to_owned());
    Some(Names {
        name: text(labels, "io.kubernetes.container.name").or(name),
        pod: text(labels, "io.kubernetes.pod.name"),
        pod_namespace: text(labels, "io.kubernetes.pod.namespace"),
    })
}

/// containerd keeps the bundle of each running task, by namespace: `k8s.io`
/// for Kubernetes, `default` for nerdctl, `moby` for Docker.
fn containerd(root: &Path, id: &str) -> Option<Names> {
    let namespaces = fs::read_dir(root.join(CONTAINERD_TASKS)).ok()?;
    let bundle = namespaces
        .flatten()
        .filter(|namespace| namespace.file_name() != "moby")
        .find_map(|namespace| json(&namespace.path().join(id).join("config.json")))?;
    let notes = bundle.get("annotations").unwrap_or(&Value::Null);
    let pod = text(notes, "io.kubernetes.cri.sandbox-name");
    let name = text(notes, "io.kubernetes.cri.container-name")
        .or_else(|| text(notes, "io.kubernetes.container.name"))
        .or_else(|| text(notes, "nerdctl/name"));
    Some(Names {
        // A pod's sandbox has no name of its own.
        name: name.or_else(|| pod.clone()),
        pod,
        pod_namespace: text(notes, "io.kubernetes.cri.sandbox-namespace"),
    })
}

/// containerd's own client puts its containers into `/NAMESPACE/ID`.
pub(super) fn containerd_task(root: &Path, cgroup: &str) -> Option<(Runtime, String)> {
    let mut parts = cgroup.rsplit('/').take(2);
    let (id, namespace) = (parts.next()?, parts.next()?);
    let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
    let known = sound(id)
        && sound(namespace)
        && root
            .join(CONTAINERD_TASKS)
            .join(namespace)
            .join(id)
            .is_dir();
    known.then(|| (Runtime::Containerd, id.to_owned()))
}

fn cri_o(root: &Path, id: &str) -> Option<Names> {
    let bundle = STORAGES
        .iter()
        .find_map(|storage| json(&root.join(storage).join(id).join("userdata/config.json")))?;
    let notes = bundle.get("annotations")?;
    let pod = text(notes, "io.kubernetes.pod.name");
    pod.as_ref()?;
    Some(Names {
        name: text(notes, "io.kubernetes.container.name"),
        pod,
        pod_namespace: text(notes, "io.kubernetes.pod.namespace"),
    })
}

fn podman(root: &Path, id: &str) -> Option<Names> {
    let lists = ["containers.json", "volatile-containers.json"];
    let mut files = STORAGES
        .iter()
        .flat_map(|storage| lists.map(|list| root.join(storage).join(list)));
    files.find_map(|file| {
        let list = json(&file)?;
        let entry = list
            .as_array()?
            .iter()
            .find(|entry| text(entry, "id").as_deref() == Some(id))?;
        let name = entry.pointer("/names/0")?.as_str()?.to_owned();
        Some(Names {
            name: Some(name),
            ..Names::default()
        })
    })
}

/// Containers that runc and crun run by themselves. Their ids are any word and
/// their cgroups any path, so their state is read and compared.
#[derive(Debug)]
pub(super) struct PlainOci {
    folders: [(Runtime, PathBuf); 2],
    /// The folders' times when they were read; `None` to read them again.
    changed: Option<[Option<SystemTime>; 2]>,
    /// Cgroup's path to the container's id.
    by_cgroup: FxHashMap<String, (Runtime, String)>,
}

impl PlainOci {
    pub fn new(root: &Path) -> PlainOci {
        PlainOci {
            folders: [
                (Runtime::Runc, root.join("run/runc")),
                (Runtime::Crun, root.join("run/crun")),
            ],
            changed: None,
            by_cgroup: FxHashMap::default(),
        }
    }

    /// The container whose cgroup this is, or is above this.
    pub fn owner(&mut self, path: &str) -> Option<(Runtime, String)> {
        self.refresh();
        if self.by_cgroup.is_empty() {
            return None;
        }
        let mut path = path;
        while path.len() > 1 {
            if let Some(found) = self.by_cgroup.get(path) {
                return Some(found.clone());
            }
            path = &path[..path.rfind('/')?];
        }
        None
    }

    /// A container that starts or ends changes the folder's time.
    fn refresh(&mut self) {
        let changed = self
            .folders
            .each_ref()
            .map(|(_, folder)| fs::metadata(folder).and_then(|meta| meta.modified()).ok());
        if self.changed == Some(changed) {
            return;
        }
        // A folder's time has the grain of the kernel's clock tick: one that
        // changed just now may change again and keep its time.
        let settled = changed.iter().flatten().all(|time| {
            time.elapsed()
                .is_ok_and(|age| age > Duration::from_millis(100))
        });
        self.changed = settled.then_some(changed);
        self.by_cgroup.clear();
        for (runtime, folder) in &self.folders {
            let Ok(entries) = fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let paths = match runtime {
                    Runtime::Runc => runc_cgroups(&entry.path()),
                    _ => crun_cgroups(&entry.path()),
                };
                let Some(paths) = paths else {
                    // Being created at this moment: look again next time.
                    self.changed = None;
                    continue;
                };
                let id = entry.file_name().to_string_lossy().into_owned();
                self.by_cgroup
                    .extend(paths.into_iter().map(|path| (path, (*runtime, id.clone()))));
            }
        }
    }
}

/// `cgroup_paths` of `state.json`: the folder below `/sys/fs/cgroup`, by
/// controller; cgroup v2's controller is `""`, and its folder `unified` where
/// both versions are mounted.
fn runc_cgroups(container: &Path) -> Option<Vec<String>> {
    let state = json(&container.join("state.json"))?;
    let paths = state.get("cgroup_paths")?.as_object()?;
    let below_mount = |(controller, path): (&String, &Value)| {
        let inside = path.as_str()?.strip_prefix("/sys/fs/cgroup")?;
        let mounted_deeper = !controller.is_empty() || inside.starts_with("/unified/");
        let below = match mounted_deeper {
            true => &inside[inside.get(1..)?.find('/')? + 1..],
            false => inside,
        };
        (below.len() > 1).then(|| below.to_owned())
    };
    Some(paths.iter().filter_map(below_mount).collect())
}

/// `cgroup-path` of crun's `status`: as `/proc/PID/cgroup` has it.
fn crun_cgroups(container: &Path) -> Option<Vec<String>> {
    let status = json(&container.join("status"))?;
    let path = text(&status, "cgroup-path")?;
    Some(vec![format!("/{}", path.trim_matches('/'))])
}
