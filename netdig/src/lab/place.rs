//! Where a process of the lab runs: the namespaces and cgroups of a host or a
//! container, entered by every process that is started there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::process::ProcessId;
use super::{cgroup, netns};

/// Namespaces of a host besides its network; its holder keeps them.
const OF_HOST: &[(&str, i32)] = &[("uts", libc::CLONE_NEWUTS), ("mnt", libc::CLONE_NEWNS)];
/// Those of a container; its first process keeps them. The mounts come last:
/// behind them the paths are others.
const OF_CONTAINER: &[(&str, i32)] = &[
    ("uts", libc::CLONE_NEWUTS),
    ("ipc", libc::CLONE_NEWIPC),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("pid", libc::CLONE_NEWPID),
    ("mnt", libc::CLONE_NEWNS),
];

#[derive(Debug, Clone)]
pub struct Place {
    /// For errors.
    name: String,
    /// Name of the network namespace; `None` for the one that netdig runs in.
    namespace: Option<String>,
    keeper: Option<(ProcessId, Kind)>,
    cgroups: Vec<PathBuf>,
}

/// What the process is whose namespaces are entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Host,
    Container,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(_) => f.write_str(&self.name),
            None => f.write_str("the machine's own namespaces"),
        }
    }
}

impl Place {
    /// Where netdig itself runs.
    pub const HOST: Place = Place {
        name: String::new(),
        namespace: None,
        keeper: None,
        cgroups: Vec::new(),
    };

    /// Only a network namespace.
    pub fn network(name: &str, namespace: String) -> Place {
        Place {
            name: name.to_owned(),
            namespace: Some(namespace),
            keeper: None,
            cgroups: Vec::new(),
        }
    }

    /// With the other namespaces of `keeper`, too.
    pub fn kept_by(self, keeper: ProcessId, kind: Kind) -> Place {
        Place {
            keeper: Some((keeper, kind)),
            ..self
        }
    }

    /// In these cgroups, too, by their folders.
    pub fn with_cgroups(self, cgroups: Vec<PathBuf>) -> Place {
        Place { cgroups, ..self }
    }

    /// The place's root folder as it can be read from outside. Writing by this
    /// path is dangerous: an absolute link leads back to the machine's own
    /// files. [`Place::visit`] has no such trap.
    pub fn root(&self) -> PathBuf {
        match self.keeper {
            Some((keeper, _)) => format!("/proc/{}/root", keeper.pid).into(),
            None => "/".into(),
        }
    }

    /// Opens and allocates all that [`Inside::enter`] needs.
    pub fn prepare(&self) -> Result<Inside> {
        let mut cgroups = Vec::new();
        for folder in &self.cgroups {
            let door = cgroup::door(folder);
            let opened = OpenOptions::new().write(true).open(&door);
            cgroups.push(opened.with_context(|| format!("cannot open {}", door.display()))?);
        }
        Ok(Inside {
            namespaces: self.namespaces()?,
            cgroups,
            forks: matches!(self.keeper, Some((_, Kind::Container))),
        })
    }

    fn namespaces(&self) -> Result<Vec<(File, i32)>> {
        let mut opened = Vec::new();
        if let Some(name) = &self.namespace {
            opened.push((netns::open(name)?, libc::CLONE_NEWNET));
        }
        let Some((keeper, kind)) = self.keeper else {
            return Ok(opened);
        };
        let kinds = match kind {
            Kind::Host => OF_HOST,
            Kind::Container => OF_CONTAINER,
        };
        for (namespace, flag) in kinds {
            let path = format!("/proc/{}/ns/{namespace}", keeper.pid);
            let file = File::open(&path)
                .with_context(|| format!("cannot open {path}, a namespace of {}", self.name))?;
            opened.push((file, *flag));
        }
        // Had it ended, the number might have been another's by now.
        if !keeper.alive() {
            bail!(
                "the process {} that keeps the namespaces of {} has ended; take the lab down",
                keeper.pid,
                self.name
            );
        }
        Ok(opened)
    }

    /// Runs `work` on a thread of its own that sees the place's files, network
    /// and host name.
    pub fn visit<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let entered = libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWNS;
        let mut namespaces = self.namespaces()?;
        namespaces.retain(|(_, flag)| flag & entered != 0);
        visit(&namespaces, work)
            .map_err(|_| anyhow!("work inside {self} panicked"))?
            .with_context(|| format!("cannot enter {self}; the lab needs root"))
    }

    /// Writes a file of the place, and makes the folders above it. A link that
    /// stands there is replaced, not followed.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        let written = self.visit(|| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            if path.is_symlink() {
                std::fs::remove_file(path)?;
            }
            std::fs::write(path, text)
        })?;
        written.with_context(|| format!("cannot write {} in {self}", path.display()))
    }
}

/// Runs `work` on a thread of its own inside the namespaces.
fn visit<T: Send>(
    namespaces: &[(File, i32)],
    work: impl FnOnce() -> T + Send,
) -> std::thread::Result<io::Result<T>> {
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            // SAFETY: the flag makes root and working folder this thread's own.
            done(unsafe { libc::unshare(libc::CLONE_FS) })?;
            namespaces.iter().try_for_each(enter)?;
            Ok(work())
        });
        visitor.join()
    })
}

/// Refuses where netdig is in a chroot. Whoever enters a mount namespace leaves the
/// chroot (setns(2)): what a lab writes in its places would be written outside.
pub fn check_root() -> Result<()> {
    let root = || std::fs::metadata("/").map(|root| (root.dev(), root.ino()));
    let own = File::open("/proc/self/ns/mnt").context("cannot open /proc/self/ns/mnt")?;
    let outside = visit(&[(own, libc::CLONE_NEWNS)], root);
    // Without the right to look there is none to build a lab either.
    if let (Ok(Ok(Ok(outside))), Ok(here)) = (outside, root())
        && outside != here
    {
        bail!(
            "netdig runs in a chroot, out of which a lab's hosts would look and write; make its folder the root \
             of a mount namespace: unshare --mount, then pivot_root(8) in place of chroot"
        );
    }
    Ok(())
}

/// A place, ready to be entered without allocating.
pub struct Inside {
    namespaces: Vec<(File, i32)>,
    cgroups: Vec<File>,
    forks: bool,
}

impl Inside {
    /// Moves the calling process there. A PID namespace takes only children:
    /// there it is a child that comes back from this, and the caller stands in
    /// for it, with its signals, its stops and its end.
    pub fn enter(&self) -> io::Result<()> {
        // Each is a write on its own; `0` is the writer.
        self.cgroups
            .iter()
            .try_for_each(|mut door| door.write_all(b"0"))?;
        let mut folder = [0_u8; libc::PATH_MAX as usize];
        // SAFETY: the buffer is as long as said.
        let known = !unsafe { libc::getcwd(folder.as_mut_ptr().cast(), folder.len()) }.is_null();
        self.namespaces.iter().try_for_each(enter)?;
        if known {
            // Where there is no such folder inside, it stays in the root.
            // SAFETY: getcwd has ended the text with a NUL.
            unsafe { libc::chdir(folder.as_ptr().cast()) };
        }
        if self.forks {
            fork_inside()?;
        }
        Ok(())
    }
}

fn enter((file, flag): &(File, i32)) -> io::Result<()> {
    // SAFETY: setns takes a descriptor that is open and a flag.
    done(unsafe { libc::setns(file.as_raw_fd(), *flag) })
}

fn done(result: i32) -> io::Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns in a child; the caller waits for it and ends as it does.
fn fork_inside() -> io::Result<()> {
    // SAFETY: system calls on numbers and on this stack; nothing allocates, and
    // the process has one thread.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
        match libc::fork() {
            -1 => {
                let error = io::Error::last_os_error();
                libc::sigprocmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
                Err(error)
            }
            0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::sigprocmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
                Ok(())
            }
            child => stand_in(child, &all),
        }
    }
}

/// # Safety
/// Called in a process with one thread, with the signals `all` blocked.
unsafe fn stand_in(child: i32, all: &libc::sigset_t) -> ! {
    // SAFETY: as above: numbers, and this stack.
    unsafe {
        // Or whoever waits for the end of a pipe that the child closes would wait on.
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32);
        // With SIGCHLD ignored there would be no status to take over.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        loop {
            let mut status = 0;
            if libc::waitpid(child, &mut status, libc::WNOHANG | libc::WUNTRACED) == child {
                if libc::WIFSIGNALED(status) {
                    end_by(libc::WTERMSIG(status));
                }
                if libc::WIFEXITED(status) {
                    libc::_exit(libc::WEXITSTATUS(status));
                }
                // By Ctrl-Z: the shell looks at this process, and continues both.
                libc::kill(libc::getpid(), libc::SIGSTOP);
            }
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigwaitinfo(all, &mut info);
            // The terminal's signals reach the child by themselves.
            if signal > 0 && signal != libc::SIGCHLD && info.si_code <= 0 {
                libc::kill(child, signal);
            }
        }
    }
}

/// Ends the calling process by `signal`, without another core file.
unsafe fn end_by(signal: i32) {
    // SAFETY: system calls on numbers and on this stack.
    unsafe {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::signal(signal, libc::SIG_DFL);
        let mut one = std::mem::zeroed();
        libc::sigemptyset(&mut one);
        libc::sigaddset(&mut one, signal);
        libc::kill(libc::getpid(), signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &one, std::ptr::null_mut());
        libc::_exit(128 + signal);
    }
}
