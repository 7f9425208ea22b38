//! A host of a lab: one process that keeps its mount and UTS namespaces, with an
//! `/etc` and a `/run` laid over the machine's.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};
use clap::Args;

use super::journal::{self, Entry};
use super::place::Place;
use super::scenario::Host;
use super::{Lab, cgroup, interrupt, mounts, process, server};

/// Whose folders a host has for itself.
const PRIVATE: &[&str] = &["/etc", "/run"];
/// What labs share with one another and with netdig: in a place there is only
/// the folder of its own lab.
const SHARED: &str = "/run/netdig";
/// What daemons of the machine keep there and the lab's would take for theirs.
const NOT_ITS_OWN: &[&str] = &["/run/flannel"];
/// What is mounted below `/sys` and stays there.
const BELOW_SYS: &[&str] = &[
    "/sys/fs/cgroup",
    "/sys/fs/bpf",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
];

/// `netdig lab hold`.
#[derive(Debug, Args)]
pub struct HoldOptions {
    /// The host's name
    #[arg(long)]
    hostname: String,
    /// The lab's folder
    #[arg(long)]
    lab: PathBuf,
    /// Where its changes to /etc and /run are kept
    #[arg(long)]
    folder: PathBuf,
    /// Made when everything is in place
    #[arg(long)]
    ready_file: PathBuf,
}

/// Name of the process that keeps a host, in the journal.
pub fn keeper(host: &str) -> String {
    format!("host-{host}")
}

/// Starts the keepers of all hosts; none of them is waited for.
pub fn start(lab: &Lab) -> Result<Vec<Child>> {
    cgroup::check_free(lab.journal.name())?;
    lab.journal.add(&Entry::Cgroups)?;
    let hosts = lab.scenario.hosts.iter();
    hosts.map(|host| start_one(lab, host)).collect()
}

fn start_one(lab: &Lab, host: &Host) -> Result<Child> {
    interrupt::check()?;
    let what = keeper(&host.name);
    let group = cgroup::of_host(lab.journal.name(), &host.name)?;
    cgroup::add(&group)?;
    let folder = lab.journal.path(&what);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let executable = std::env::current_exe().context("cannot find netdig's own executable")?;
    let mut command = Command::new(executable);
    command.args(["lab", "hold", "--hostname", &host.name]);
    command.arg("--lab").arg(lab.journal.path(""));
    command.arg("--folder").arg(folder);
    command.arg("--ready-file").arg(ready(lab, host));
    server::log_to(&mut command, &lab.log(&what))?;
    let place = Place::network(&host.name, lab.namespace(&host.name)).with_cgroups(vec![group]);
    process::spawn(&lab.journal, &what, &place, command, false)
}

fn ready(lab: &Lab, host: &Host) -> PathBuf {
    lab.path(&format!("{}.ready", keeper(&host.name)))
}

/// Waits until the hosts have what is theirs, and writes their files.
pub fn finish(lab: &Lab, started: Vec<Child>) -> Result<()> {
    for (host, child) in lab.scenario.hosts.iter().zip(started) {
        let ready = ready(lab, host);
        lab.wait_for(child, &keeper(&host.name), || Ok(ready.exists()))?;
        let place = lab.place(&host.name)?;
        place.write(Path::new("/etc/hostname"), &format!("{}\n", host.name))?;
        if let Some(nameserver) = host.nameserver {
            resolve_by(&place, nameserver)?;
        }
        for (path, text) in &host.files {
            place.write(path, text)?;
        }
    }
    Ok(())
}

/// Makes `nameserver` the one that programs in `place` ask.
pub fn resolve_by(place: &Place, nameserver: std::net::Ipv4Addr) -> Result<()> {
    place.write(
        Path::new("/etc/resolv.conf"),
        &format!("nameserver {nameserver}\n"),
    )?;
    // Or a resolver daemon of the machine answers over its socket.
    place.write(Path::new("/etc/nsswitch.conf"), "hosts: files dns\n")
}

/// Makes the host's namespaces and keeps them until a signal ends it.
pub fn hold(options: &HoldOptions) -> Result<()> {
    mounts::unshare(libc::CLONE_NEWUTS)?;
    set_host_name(&options.hostname)?;
    let opened = |path: &str| File::open(path).ok().map(|file| (file, path.to_owned()));
    let shown = Shown::open(&options.lab)?;
    let below_sys: Vec<_> = BELOW_SYS.iter().filter_map(|path| opened(path)).collect();
    // The layers are on a filesystem of this mount namespace: it ends with it.
    mounts::tmpfs(&options.folder)?;
    for folder in PRIVATE {
        let layers = options.folder.join(folder.trim_start_matches('/'));
        mounts::overlay(Path::new(folder), &layers, Path::new(folder))?;
    }
    for folder in NOT_ITS_OWN {
        if Path::new(folder).exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot hide {folder}"))?;
        }
    }
    // Or /sys/class/net would show the machine's devices.
    mounts::sysfs(Path::new("/sys"))?;
    for (file, path) in &below_sys {
        if Path::new(path).is_dir() {
            mounts::bind(&descriptor(file), Path::new(path))?;
        }
    }
    shown.mount()?;
    fs::write(&options.ready_file, "")
        .with_context(|| format!("cannot write {}", options.ready_file.display()))?;
    loop {
        // SAFETY: it takes nothing; a signal that is not handled ends the process.
        unsafe { libc::pause() };
    }
}

/// What a place sees of the labs: its own, of which it writes where its parts do.
struct Shown {
    /// Folders and where they are to be seen.
    lab: (File, PathBuf),
    parts: (File, PathBuf),
}

impl Shown {
    /// Opens the folders, before others lie over them.
    fn open(lab: &Path) -> Result<Shown> {
        let open = |path: PathBuf| {
            let file = File::open(&path);
            let file = file.with_context(|| format!("cannot open {}", path.display()))?;
            anyhow::Ok((file, path))
        };
        Ok(Shown {
            lab: open(lab.to_owned())?,
            parts: open(lab.join(journal::PARTS))?,
        })
    }

    fn mount(&self) -> Result<()> {
        let ((lab, at), (parts, parts_at)) = (&self.lab, &self.parts);
        mounts::tmpfs(Path::new(SHARED))?;
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        mounts::bind_alone(&descriptor(lab), at)?;
        mounts::read_only(at)?;
        mounts::bind_alone(&descriptor(parts), parts_at)?;
        mounts::read_only(Path::new(SHARED))
    }
}

fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn set_host_name(name: &str) -> Result<()> {
    let text = CString::new(name).context("a host's name holds a NUL byte")?;
    // SAFETY: the text is as long as said.
    if unsafe { libc::sethostname(text.as_ptr(), name.len()) } < 0 {
        return Err(io::Error::last_os_error()).context("cannot set the host's name");
    }
    Ok(())
}
