//! The network namespace that `--netns` names.
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};

/// Where iproute2 keeps named namespaces.
const NAMED: &str = "/run/netns";

/// An open network namespace.
pub struct Namespace {
    file: File,
    /// Inode number: what the kernel side knows it by.
    pub inode: u32,
}

impl Namespace {
    /// Opens what a person wrote: a name as `ip netns` knows it, a path, `pid:N`.
    ///
    /// # Errors
    /// When there is no such namespace, or it may not be looked at.
    pub fn open(text: &str) -> anyhow::Result<Namespace> {
        let path = match text.strip_prefix("pid:") {
            Some(pid) => {
                let pid: u32 = pid.parse().map_err(|_| {
                    anyhow!("--netns {text}: `{pid}` is no process id; pid:N is wanted, as pid:758")
                })?;
                PathBuf::from(format!("/proc/{pid}/ns/net"))
            }
            None if text.contains('/') => PathBuf::from(text),
            None => PathBuf::from(NAMED).join(text),
        };
        let file = File::open(&path).with_context(|| {
            format!(
                "--netns {text}: cannot open {}; `ip netns list` shows the named ones, and a \
                 process's is given as pid:N",
                path.display()
            )
        })?;
        let inode = file
            .metadata()
            .with_context(|| format!("--netns {text}"))?
            .ino();
        if !is_network_namespace(&file) {
            bail!("--netns {text}: {} is no network namespace", path.display());
        }
        Ok(Namespace {
            file,
            inode: inode as u32,
        })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_network_namespace(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    /// ioctl_ns(2).
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument, and the descriptor is open.
    unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) == libc::CLONE_NEWNET }
}
