//! Containers of a lab, by runc or crun: the bundle, its first process, its end.
//! Their root is the machine's, with changes kept on a filesystem that ends with them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::journal::{self, Entry};
use super::place::Place;
use super::process::{self, ProcessId};
use super::scenario::{Container, Runtime};
use super::{Lab, PART_DEADLINE, cgroup, host, interrupt, mounts, programs, server, topology};

/// Waits for and forgets the orphans of the container, as a first process has to.
const INIT: &str = "sleep infinity & while :; do wait; done";
/// Folders of the machine's root that may be filesystems of their own, which an
/// overlayfs over the root does not show.
const APART: &[&str] = &["/usr", "/opt"];

/// `netdig lab contain`.
#[derive(Debug, Args)]
pub struct ContainOptions {
    /// The OCI bundle
    #[arg(long)]
    bundle: PathBuf,
    /// runc or crun
    #[arg(long)]
    runtime: String,
    /// The container's id
    #[arg(long)]
    id: String,
}

/// Name of the process that keeps a container, in the journal.
pub fn keeper(container: &str) -> String {
    format!("container-{container}")
}

/// A container that is being made.
pub struct Started<'a> {
    container: &'a Container,
    what: String,
    child: Child,
}

/// Starts the runtimes of all containers that have one; none is waited for.
pub fn start(lab: &Lab) -> Result<Vec<Started<'_>>> {
    let mut started = Vec::new();
    for container in &lab.scenario.containers {
        interrupt::check()?;
        if let Some(runtime) = chosen(container) {
            started.push(start_one(lab, container, runtime)?);
        }
    }
    Ok(started)
}

/// The runtime's program; `None`: only a network namespace. That one which the
/// scenario names is there has been looked for before anything was built.
fn chosen(container: &Container) -> Option<&'static str> {
    match container.runtime {
        Runtime::Runc => Some("runc"),
        Runtime::Crun => Some("crun"),
        Runtime::Namespace => None,
        Runtime::Any => ["runc", "crun"]
            .into_iter()
            .find(|program| programs::on_path(program).is_some()),
    }
}

fn start_one<'a>(lab: &Lab, container: &'a Container, runtime: &str) -> Result<Started<'a>> {
    let name = &container.name;
    let id = topology::namespace(lab.journal.name(), name);
    let state = state_folder(runtime).join(&id);
    if state.exists() {
        bail!(
            "{runtime} has a container {id} already, which is not this lab's; give the lab another \
             name with --name"
        );
    }
    lab.journal.add(&Entry::Container {
        name: name.clone(),
        id: id.clone(),
        runtime: runtime.to_owned(),
    })?;
    mark_shared(runtime)?;
    let bundle = lab.journal.path(&keeper(name));
    for folder in ["layers", "rootfs"] {
        let folder = bundle.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let executable = std::env::current_exe().context("cannot find netdig's own executable")?;
    let config = config(lab, container, &bundle, &executable)?;
    fs::write(bundle.join("config.json"), config.to_string())
        .with_context(|| format!("cannot write {}/config.json", bundle.display()))?;
    let mut command = Command::new(executable);
    command.args(["lab", "contain", "--runtime", runtime, "--id", &id]);
    command.arg("--bundle").arg(bundle);
    let what = format!("{runtime}-{name}");
    server::log_to(&mut command, &lab.log(&what))?;
    let child = process::spawn(&lab.journal, &what, &Place::HOST, command, false)?;
    Ok(Started {
        container,
        what,
        child,
    })
}

/// The OCI runtime configuration (config.md of the OCI runtime specification).
fn config(
    lab: &Lab,
    container: &Container,
    bundle: &Path,
    executable: &Path,
) -> Result<serde_json::Value> {
    let id = topology::namespace(lab.journal.name(), &container.name);
    let mark = format!("{}={}", process::MARK, lab.journal.identity()?);
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let namespace = |kind: &str| json!({ "type": kind });
    let mut namespaces: Vec<_> = ["pid", "mount", "uts", "ipc", "cgroup"]
        .map(namespace)
        .into();
    namespaces.push(json!({ "type": "network", "path": format!("/run/netns/{id}") }));
    let mut mounts = system_mounts();
    mounts.extend(shown_mounts(lab, executable));
    Ok(json!({
        "ociVersion": "1.0.2",
        "hostname": container.name,
        "root": { "path": bundle.join("rootfs") },
        "process": {
            "terminal": false, "cwd": "/", "user": { "uid": 0, "gid": 0 },
            "args": ["sh", "-c", INIT], "env": [format!("PATH={path}"), mark],
        },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/{}/{}", cgroup::of_lab(lab.journal.name()), container.name),
            "namespaces": namespaces,
        },
    }))
}

/// What every container has of its own.
fn system_mounts() -> Vec<serde_json::Value> {
    let pts = "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620";
    let mounts = [
        ("/proc", "proc", ""),
        ("/dev", "tmpfs", "nosuid,mode=755"),
        ("/dev/pts", "devpts", pts),
        ("/dev/shm", "tmpfs", "nosuid,nodev,mode=1777"),
        ("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        ("/run", "tmpfs", "nosuid,mode=755"),
    ];
    let mount = |(at, kind, options): (&str, &str, &str)| {
        let options: Vec<_> = options.split(',').filter(|one| !one.is_empty()).collect();
        json!({ "destination": at, "type": kind, "source": kind, "options": options })
    };
    mounts.map(mount).into()
}

/// What it sees of the machine besides its root: the lab's folder, of which it
/// writes where its parts do, folders that are filesystems of their own, and netdig.
fn shown_mounts(lab: &Lab, executable: &Path) -> Vec<serde_json::Value> {
    let shown = |path: &Path, options: [&str; 2]| json!({ "destination": path, "type": "bind", "source": path, "options": options });
    let mut mounts = vec![
        shown(&lab.journal.path(""), ["bind", "ro"]),
        shown(&lab.journal.path(journal::PARTS), ["bind", "rw"]),
    ];
    let device = |path: &str| fs::metadata(path).ok().map(|metadata| metadata.dev());
    for folder in APART.iter().filter(|folder| device(folder) != device("/")) {
        if Path::new(folder).is_dir() {
            mounts.push(shown(Path::new(folder), ["rbind", "ro"]));
        }
    }
    // Servers of the lab's own are netdig; it may be on any filesystem.
    mounts.push(shown(executable, ["bind", "ro"]));
    mounts
}

/// Waits until the containers run, and writes their files.
pub fn finish(lab: &Lab, started: Vec<Started<'_>>) -> Result<()> {
    for mut one in started {
        let process = one.first_process(lab)?;
        let name = &one.container.name;
        lab.journal.add(&Entry::Process {
            what: keeper(name),
            pid: process.pid,
            start: process.start,
        })?;
        let place = lab.place(name)?;
        place.write(Path::new("/etc/hostname"), &format!("{name}\n"))?;
        // As dockerd does: a container asks whom its host asks.
        if let Some(nameserver) = lab.scenario.nameserver(&one.container.host) {
            host::resolve_by(&place, nameserver)?;
        }
    }
    Ok(())
}

impl Started<'_> {
    /// Waits for the runtime's end; returns the container's first process.
    fn first_process(&mut self, lab: &Lab) -> Result<ProcessId> {
        let (child, what, name) = (&mut self.child, &self.what, &self.container.name);
        let status = interrupt::poll_until(PART_DEADLINE, || {
            child
                .try_wait()
                .with_context(|| format!("cannot wait for {what}"))
        })?;
        let said = || server::tail(&lab.log(what));
        if !status.is_some_and(|status| status.success()) {
            bail!("the container {name} does not start; {}", said());
        }
        let file = pid_file(&lab.journal.path(&keeper(name)));
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let process = text.trim().parse().ok().and_then(ProcessId::of);
        process.with_context(|| format!("the container {name} has ended at once; {}", said()))
    }
}

fn pid_file(bundle: &Path) -> PathBuf {
    bundle.join("pid")
}

/// Makes the root filesystem in a mount namespace of its own, of which the
/// container takes its part, and becomes the runtime.
pub fn contain(options: &ContainOptions) -> Result<()> {
    let bundle = &options.bundle;
    mounts::unshare(0)?;
    let layers = bundle.join("layers");
    mounts::tmpfs(&layers)?;
    mounts::overlay(Path::new("/"), &layers, &bundle.join("rootfs"))?;
    if options.runtime == "crun" {
        // crun refuses to run where version 2 is mounted beside version 1; it has
        // to see one of them. Where there is only one, nothing is mounted here.
        let _ = mounts::detach(Path::new("/sys/fs/cgroup/unified"));
    }
    let mut command = runtime_command(&options.runtime);
    command.args(["run", "--detach", "--bundle"]).arg(bundle);
    command.arg("--pid-file").arg(pid_file(bundle));
    Err(command.arg(&options.id).exec())
        .with_context(|| format!("cannot start `{}`", options.runtime))
}

/// The runtime, which keeps its state in [`state_folder`] whoever logged in.
fn runtime_command(runtime: &str) -> Command {
    let mut command = Command::new(runtime);
    command.env_remove("XDG_RUNTIME_DIR");
    command
}

fn state_folder(runtime: &str) -> PathBuf {
    Path::new("/run").join(runtime)
}

fn marker(runtime: &str) -> PathBuf {
    Path::new(journal::ROOT).join(format!(".{runtime}"))
}

/// Notes what a runtime makes that is there only for the labs: its state folder,
/// and what it turns on in the cgroups' root.
fn mark_shared(runtime: &str) -> Result<()> {
    let _lock = journal::lock()?;
    cgroup::note_controllers()?;
    if state_folder(runtime).exists() {
        return Ok(());
    }
    let marker = marker(runtime);
    fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
}

/// Removes state folders that are there only for the labs. Called under the
/// lock, when there is no lab left.
pub fn remove_empty_folders() {
    for runtime in ["runc", "crun"] {
        if fs::remove_file(marker(runtime)).is_ok() {
            // Fails as it should when someone else uses it.
            let _ = fs::remove_dir(state_folder(runtime));
        }
    }
}

/// Removes the containers of a lab, whose processes have ended.
pub fn remove(entries: &[Entry]) -> Result<()> {
    let mut removers = Vec::new();
    let mut left = Vec::new();
    for entry in entries {
        let Entry::Container { id, runtime, .. } = entry else {
            continue;
        };
        let state = state_folder(runtime).join(id);
        if !state.exists() {
            continue;
        }
        let mut command = runtime_command(runtime);
        command.args(["delete", "--force", id]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // With the runtime gone, or confused by a container half made, the
        // state goes without it.
        removers.extend(command.spawn());
        left.push(state);
    }
    for mut remover in removers {
        remover
            .wait()
            .context("cannot wait for a container's runtime")?;
    }
    for state in left {
        match fs::remove_dir_all(&state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", state.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
