//! Mounts of the lab's places, made in mount namespaces of their own: they end
//! with the processes there, and the machine never sees them.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Gives the calling process, which has one thread, a mount namespace of its own.
pub fn unshare(more: i32) -> Result<()> {
    // SAFETY: unshare takes flags.
    if unsafe { libc::unshare(libc::CLONE_NEWNS | more) } < 0 {
        return Err(io::Error::last_os_error())
            .context("cannot make a mount namespace; the lab needs root");
    }
    // What is unmounted outside goes here too; what is mounted here stays here.
    let flags = libc::MS_REC | libc::MS_SLAVE;
    mount(Path::new("none"), Path::new("/"), "", flags, "")
        .context("cannot separate the mounts of a host from the machine's")
}

pub fn tmpfs(target: &Path) -> Result<()> {
    mount(Path::new("tmpfs"), target, "tmpfs", 0, "mode=755")
        .with_context(|| format!("cannot mount a tmpfs on {}", target.display()))
}

/// Mounts on `target` what is in `lower`, with changes kept in `layers`. That
/// must be another filesystem: the kernel takes no upper layer inside the lower.
pub fn overlay(lower: &Path, layers: &Path, target: &Path) -> Result<()> {
    let (upper, work) = (layers.join("upper"), layers.join("work"));
    for folder in [&upper, &work] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    mount(Path::new("overlay"), target, "overlay", 0, &data).with_context(|| {
        format!(
            "cannot mount an overlayfs over {}; the lab needs overlayfs in the kernel \
             (`modprobe overlay`) and the right to mount it",
            lower.display()
        )
    })
}

/// Shows at `target` what is at `source`, with all that is mounted below it.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(source, target, "", libc::MS_BIND | libc::MS_REC, "")
        .with_context(|| format!("cannot mount {} on {}", source.display(), target.display()))
}

/// The same without what is mounted below.
pub fn bind_alone(source: &Path, target: &Path) -> Result<()> {
    mount(source, target, "", libc::MS_BIND, "")
        .with_context(|| format!("cannot mount {} on {}", source.display(), target.display()))
}

/// Lets nobody who sees this mount write through it.
pub fn read_only(target: &Path) -> Result<()> {
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
    mount(Path::new("none"), target, "", flags, "")
        .with_context(|| format!("cannot make the mount {} read-only", target.display()))
}

/// The devices of the network namespace that the caller is in.
pub fn sysfs(target: &Path) -> Result<()> {
    mount(Path::new("sysfs"), target, "sysfs", 0, "")
        .with_context(|| format!("cannot mount a sysfs on {}", target.display()))
}

pub fn detach(target: &Path) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: the string outlives the call.
    match unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn mount(
    source: &Path,
    target: &Path,
    kind: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    let target = CString::new(target.as_os_str().as_bytes())?;
    let (kind, data) = (CString::new(kind)?, CString::new(data)?);
    // SAFETY: the strings outlive the call.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
