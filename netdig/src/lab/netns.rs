//! Network namespaces: made, entered and removed by name.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::place::Place;
use super::{ip, journal};

/// Where iproute2 keeps named namespaces.
const FOLDER: &str = "/run/netns";
/// A file beside the labs' folders that stands while `/run/netns` is there
/// only because of them.
pub const MARKER: &str = ".netns";

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

pub fn open(name: &str) -> Result<File> {
    File::open(path(name)).with_context(|| format!("cannot open the network namespace {name}"))
}

/// Whether a namespace of this name exists.
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Makes named namespaces; their loopback is down.
pub fn add(names: &[String]) -> Result<()> {
    let lock = journal::lock()?;
    if !Path::new(FOLDER).exists() {
        let marker = Path::new(journal::ROOT).join(MARKER);
        fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))?;
    }
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("netns add {name}"))
        .collect();
    ip::batch_holding(lock.into(), None, &lines)
}

/// Removes named namespaces, as far as they exist; their links go with them.
pub fn delete<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    // `ip` may still be making some for a netdig that is no more.
    let _lock = journal::lock()?;
    let lines: Vec<_> = names
        .filter(|name| exists(name))
        .map(|name| format!("netns delete {name}"))
        .collect();
    ip::batch(None, &lines)
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
    Place::network(name, name.to_owned()).visit(work)
}
