//! Network namespaces: made, entered and removed by name.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::{ip, journal};

/// Where iproute2 keeps named namespaces.
const FOLDER: &str = "/run/netns";
/// A file beside the labs' folders that stands while `/run/netns` is there
/// only because of them.
pub const MARKER: &str = ".netns";

/// Where a process runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// Name of the network namespace; `None` for the one that netdig runs in.
    pub namespace: Option<String>,
    /// Files to be seen in place of others, by this process alone.
    pub overrides: Vec<(PathBuf, PathBuf)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(name) => write!(f, "namespace {name}"),
            None => f.write_str("the host's own namespace"),
        }
    }
}

impl Place {
    /// The namespace that netdig runs in.
    pub const HOST: Place = Place {
        namespace: None,
        overrides: Vec::new(),
    };

    /// Opens and allocates all that [`Inside::enter`] needs.
    pub fn prepare(&self) -> Result<Inside> {
        let namespace = self.namespace.as_deref().map(open).transpose()?;
        let c_string = |path: &Path| {
            CString::new(path.as_os_str().as_bytes()).context("a path holds a NUL byte")
        };
        let mut mounts = Vec::new();
        for (source, target) in &self.overrides {
            // A bind mount follows no symbolic link for us to name in errors.
            let target = fs::canonicalize(target).with_context(|| {
                format!(
                    "cannot replace {} for processes of the lab",
                    target.display()
                )
            })?;
            mounts.push((c_string(source)?, c_string(&target)?));
        }
        Ok(Inside { namespace, mounts })
    }
}

/// A place, ready to be entered without allocating.
pub struct Inside {
    namespace: Option<File>,
    mounts: Vec<(CString, CString)>,
}

impl Inside {
    /// Moves the calling thread there.
    pub fn enter(&self) -> io::Result<()> {
        let done = |result: i32| {
            if result < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        };
        if let Some(namespace) = &self.namespace {
            // SAFETY: setns takes a descriptor that we own and a flag.
            done(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
        }
        if self.mounts.is_empty() {
            return Ok(());
        }
        // SAFETY: unshare takes a flag; the strings of mount outlive its calls.
        unsafe {
            done(libc::unshare(libc::CLONE_NEWNS))?;
            // What is unmounted outside goes here too; what is mounted here stays here.
            let flags = libc::MS_REC | libc::MS_SLAVE;
            done(libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                flags,
                std::ptr::null(),
            ))?;
            for (source, target) in &self.mounts {
                let flags = libc::MS_BIND;
                done(libc::mount(
                    source.as_ptr(),
                    target.as_ptr(),
                    std::ptr::null(),
                    flags,
                    std::ptr::null(),
                ))?;
            }
        }
        Ok(())
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn open(name: &str) -> Result<File> {
    File::open(path(name)).with_context(|| format!("cannot open the network namespace {name}"))
}

/// Whether a namespace of this name exists.
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Makes a named namespace, its loopback up.
pub fn add(name: &str) -> Result<()> {
    let lock = journal::lock()?;
    if !Path::new(FOLDER).exists() {
        let marker = Path::new(journal::ROOT).join(MARKER);
        fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))?;
    }
    ip::run(&["netns", "add", name])?;
    drop(lock);
    ip::run(&["-n", name, "link", "set", "lo", "up"])
}

/// Removes a named namespace, if it exists; its links go with it.
pub fn delete(name: &str) -> Result<()> {
    if exists(name) {
        ip::run(&["netns", "delete", name])?;
    }
    Ok(())
}

/// Removes `/run/netns`, and the mount that `ip netns add` put there, when it
/// was not there before the labs and nothing is in it. Called under the lock,
/// when there is no lab left.
pub fn remove_empty_folder() {
    if fs::remove_file(Path::new(journal::ROOT).join(MARKER)).is_err() {
        return;
    }
    if fs::read_dir(FOLDER).is_ok_and(|mut entries| entries.next().is_none()) {
        // Both fail as they should when someone else uses the folder.
        // SAFETY: a constant string and a flag.
        unsafe { libc::umount2(c"/run/netns".as_ptr(), 0) };
        let _ = fs::remove_dir(FOLDER);
    }
}

/// The inode number of a namespace file, by which namespaces are compared.
pub fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// [`inode`] of a named namespace.
pub fn inode_of(name: &str) -> Option<u64> {
    inode(&path(name))
}

/// Runs `work` on a thread of its own inside the named namespace.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let place = Place {
        namespace: Some(name.to_owned()),
        overrides: Vec::new(),
    }
    .prepare()?;
    let result = std::thread::scope(|scope| scope.spawn(|| place.enter().map(|()| work())).join());
    result
        .map_err(|_| anyhow!("work inside the network namespace {name} panicked"))?
        .with_context(|| format!("cannot enter the network namespace {name}; the lab needs root"))
}
