//! The network namespace that `--netns` names.
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, anyhow, bail};

/// Where iproute2 keeps named namespaces.
const NAMED: &str = "/run/netns";

/// An open network namespace.
pub struct Namespace {
    file: File,
    /// Inode number: what the kernel side knows it by.
    pub inode: u32,
    named: Named,
}

/// How a person named it.
enum Named {
    /// `pid:N`.
    Process(u32),
    /// A name of `ip netns`.
    Name(String),
    Path,
}

impl Namespace {
    /// Opens what a person wrote: a name as `ip netns` knows it, a path, `pid:N`.
    ///
    /// # Errors
    /// When there is no such namespace, or it may not be looked at.
    pub fn open(text: &str) -> anyhow::Result<Namespace> {
        let named = Named::parse(text)?;
        let path = match &named {
            Named::Process(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Named::Path => PathBuf::from(text),
            Named::Name(name) => PathBuf::from(NAMED).join(name),
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
            named,
        })
    }

    /// Root of the files that its processes see: `/proc/N/root` of `pid:N`, otherwise `/`.
    pub fn root(&self) -> PathBuf {
        match self.named {
            Named::Process(pid) => PathBuf::from(format!("/proc/{pid}/root")),
            Named::Name(_) | Named::Path => PathBuf::from("/"),
        }
    }

    /// The folder whose files `ip netns exec NAME` puts over those of /etc (ip-netns(8)),
    /// where there is one.
    pub fn etc(&self) -> Option<PathBuf> {
        let Named::Name(name) = &self.named else {
            return None;
        };
        let folder = PathBuf::from("/etc/netns").join(name);
        folder.is_dir().then_some(folder)
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Named {
    fn parse(text: &str) -> anyhow::Result<Named> {
        match text.strip_prefix("pid:") {
            Some(pid) => pid.parse().map(Named::Process).map_err(|_| {
                anyhow!("--netns {text}: `{pid}` is no process id; pid:N is wanted, as pid:758")
            }),
            None if text.contains('/') => Ok(Named::Path),
            None => Ok(Named::Name(text.to_owned())),
        }
    }
}

/// Runs `work` in a network namespace: on a thread of its own that has entered it, since a
/// thread that others share must not wander. `None` is the own one, on this thread.
///
/// # Errors
/// When the namespace may not be entered, or no thread can be started. A panic of `work`
/// goes on in the caller.
pub fn inside<T: Send>(
    namespace: Option<&Namespace>,
    work: impl FnOnce() -> T + Send,
) -> anyhow::Result<T> {
    let Some(namespace) = namespace else {
        return Ok(work());
    };
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || enter(namespace).map(|()| work()))
            .context("cannot start a thread to look into the network namespace")?;
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves this thread, setns(2).
fn enter(namespace: &Namespace) -> anyhow::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open, and the call touches no memory of ours.
    match unsafe { libc::setns(namespace.file.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context(
            "cannot enter the network namespace; that takes CAP_SYS_ADMIN: run it as root",
        ),
    }
}

fn is_network_namespace(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    /// ioctl_ns(2).
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument, and the descriptor is open.
    unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) == libc::CLONE_NEWNET }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_process_are_below_its_root() {
        let pid = std::process::id();
        let own = Namespace::open(&format!("pid:{pid}")).expect("the own one");
        assert_eq!(own.root(), PathBuf::from(format!("/proc/{pid}/root")));
        assert_eq!(own.etc(), None);
        let by_path = Namespace::open("/proc/self/ns/net").expect("the own one");
        assert_eq!(by_path.root(), PathBuf::from("/"));
        assert_eq!(by_path.etc(), None);
        assert_eq!(by_path.inode, own.inode);
    }

    #[test]
    fn what_is_no_network_namespace_is_said_to_be_none() {
        for (text, word) in [
            ("pid:one", "no process id"),
            ("/proc/self/ns/uts", "no network namespace"),
            ("/dev/null", "no network namespace"),
            ("no-such-name", "ip netns list"),
        ] {
            let error = Namespace::open(text).err().expect("an error").to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
