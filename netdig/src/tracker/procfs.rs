//! What `/proc` says about processes and their descriptors (proc(5)).
//!
//! Everything is read below a root directory, so that tests can bring a tree
//! of their own. A process may end between any two reads: what is gone reads
//! as `None`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::observation::{FdKind, UnixNanos};

/// `/dev/net/tun`, as Documentation/admin-guide/devices.txt numbers it.
pub(super) const TUN_DEVICE: (u32, u32) = (10, 200);
/// Inode of the initial pid namespace (PROC_PID_INIT_INO in the kernel).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A process as `/proc/PID` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub parent: u32,
    pub comm: Vec<u8>,
    pub args: Vec<Vec<u8>>,
    /// Effective user id.
    pub uid: Option<u32>,
    pub start_ns: UnixNanos,
    pub netns: Option<u32>,
    /// The whole file `/proc/PID/cgroup`.
    pub cgroups: String,
}

/// A descriptor as `/proc/PID/fd` and `fdinfo` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenFd {
    pub kind: FdKind,
    pub inode: u64,
    /// Path of a file; `None` for sockets and pipes, which have none.
    pub path: Option<Vec<u8>>,
    pub cloexec: bool,
}

#[derive(Debug)]
pub(super) struct Procfs {
    proc: PathBuf,
    /// Unix time of the boot: what `starttime` counts from.
    boot_ns: UnixNanos,
    ticks_per_second: u64,
    /// Whether this is the running system and not a tree of files.
    live: bool,
}

impl Procfs {
    /// Fails when `/proc` is not there, or numbers processes otherwise than
    /// the probe does (inside a pid namespace).
    pub fn open(root: &Path) -> io::Result<Procfs> {
        let proc = root.join("proc");
        fs::read_dir(&proc)?;
        let live = root == Path::new("/");
        if live
            && let Ok(namespace) = fs::read_link("/proc/self/ns/pid")
            && namespace != Path::new(INITIAL_PID_NAMESPACE)
        {
            return Err(io::Error::other(
                "/proc is that of a container, whose process numbers are not the host's; \
                 run netdig in the host's pid namespace (docker run --pid=host)",
            ));
        }
        // SAFETY: sysconf takes no pointer.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let boot_ns = match live {
            true => clock_ns(libc::CLOCK_REALTIME).saturating_sub(clock_ns(libc::CLOCK_BOOTTIME)),
            false => boot_time_of(&proc),
        };
        Ok(Procfs {
            proc,
            boot_ns,
            ticks_per_second: u64::try_from(ticks).unwrap_or(100),
            live,
        })
    }

    /// Ids of all processes at this moment.
    pub fn pids(&self) -> Vec<u32> {
        numbers_in(&self.proc)
    }

    /// All about one process, or `None` when there is none of this id.
    pub fn process(&self, pid: u32) -> Option<Seen> {
        let stat = self.stat(pid)?;
        let status = self.read(pid, "status").unwrap_or_default();
        // /proc/TID exists for every thread, unlisted; a thread is no process.
        if status_field(&status, b"Tgid:").is_some_and(|tgid| tgid != pid) {
            return None;
        }
        Some(Seen {
            parent: stat.parent,
            comm: stat.comm,
            args: self.args(pid),
            uid: effective_uid(&status),
            start_ns: stat.start_ns,
            netns: self.netns(pid),
            cgroups: self.cgroups(pid).unwrap_or_default(),
        })
    }

    /// Start of a process, to tell it from an earlier one of the same id.
    pub fn start_ns(&self, pid: u32) -> Option<UnixNanos> {
        Some(self.stat(pid)?.start_ns)
    }

    pub fn args(&self, pid: u32) -> Vec<Vec<u8>> {
        let mut line = self.read(pid, "cmdline").unwrap_or_default();
        if line.last() == Some(&0) {
            line.pop();
        }
        match line.is_empty() {
            true => Vec::new(),
            false => line.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect(),
        }
    }

    pub fn netns(&self, pid: u32) -> Option<u32> {
        let link = fs::read_link(self.path(pid, "ns/net")).ok()?;
        bracketed(link.as_os_str().as_bytes(), b"net:[")?
            .try_into()
            .ok()
    }

    pub fn cgroups(&self, pid: u32) -> Option<String> {
        Some(String::from_utf8_lossy(&self.read(pid, "cgroup")?).into_owned())
    }

    pub fn cwd(&self, pid: u32) -> Option<Vec<u8>> {
        Some(
            fs::read_link(self.path(pid, "cwd"))
                .ok()?
                .into_os_string()
                .into_vec(),
        )
    }

    /// One of `/proc/PID/net/*`: a table of the process's network namespace.
    pub fn net_table(&self, pid: u32, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(pid, "net").join(name)).ok()
    }

    /// Numbers of the descriptors of `pid` that are `/dev/net/tun`.
    pub fn tun_fds(&self, pid: u32) -> Vec<i32> {
        let path = self.path(pid, "fd");
        let Ok(folder) = fs::File::open(&path) else {
            return Vec::new();
        };
        let mut target = [0; 256];
        numbers_in(&path)
            .into_iter()
            .filter(|&num| {
                // Relative to the open folder this takes half of the time, and
                // it is the bulk of the start on a host with many connections.
                let link = link_at(&folder, num, &mut target).map(OsStr::from_bytes);
                link.is_some_and(|link| self.is_tun(&path.join(num.to_string()), link.as_ref()))
            })
            .filter_map(|num| i32::try_from(num).ok())
            .collect()
    }

    /// One descriptor; `None` when it is not open. `known` is what it is, where
    /// an event said so; else `socket` tells what a socket with this inode
    /// number is, and files are asked themselves.
    pub fn fd(
        &self,
        pid: u32,
        num: i32,
        known: Option<&FdKind>,
        socket: impl FnOnce(u64) -> FdKind,
    ) -> Option<SeenFd> {
        let path = self.path(pid, "fd").join(num.to_string());
        let link = fs::read_link(&path).ok()?;
        let info = self.read(pid, &format!("fdinfo/{num}")).unwrap_or_default();
        let cloexec =
            octal_field(&info, b"flags:").is_some_and(|flags| flags & libc::O_CLOEXEC as u64 != 0);
        let bytes = link.as_os_str().as_bytes();
        if let Some(inode) = bracketed(bytes, b"socket:[") {
            let kind = known.cloned().unwrap_or_else(|| socket(inode));
            return Some(SeenFd {
                kind,
                inode,
                path: None,
                cloexec,
            });
        }
        if let Some(inode) = bracketed(bytes, b"pipe:[") {
            return Some(SeenFd {
                kind: FdKind::Pipe,
                inode,
                path: None,
                cloexec,
            });
        }
        let (kind, stat_inode) = match bytes {
            [b'/', ..] if known.is_some() => (known.cloned().unwrap_or(FdKind::Unknown), 0),
            [b'/', ..] if self.is_tun(&path, &link) => (self.tun(pid, num, &info), 0),
            [b'/', ..] => kind_of_file(&path),
            _ if bytes.starts_with(b"anon_inode:") => (FdKind::AnonInode, 0),
            _ => (FdKind::Unknown, 0),
        };
        // fdinfo has the number since Linux 5.14, and on overlayfs only it has
        // the one that the kernel's own inode carries.
        let inode = decimal_field(&info, b"ino:").unwrap_or(stat_inode);
        Some(SeenFd {
            kind,
            inode,
            path: Some(bytes.to_vec()),
            cloexec,
        })
    }

    /// Only what may be a tun is asked for its device number: a stat of a file
    /// on a dead network file system would hang.
    fn is_tun(&self, path: &Path, link: &Path) -> bool {
        let bytes = link.as_os_str().as_bytes();
        if bytes == b"/dev/net/tun" {
            return true;
        }
        let candidate = bytes.starts_with(b"/")
            && !bytes.starts_with(b"/dev/pts/")
            && bytes != b"/dev/null"
            && (bytes.starts_with(b"/dev/") || bytes.windows(3).any(|part| part == b"tun"));
        candidate
            && self.live
            && fs::metadata(path).is_ok_and(|meta| device(meta.rdev()) == TUN_DEVICE)
    }

    fn tun(&self, pid: u32, num: i32, info: &[u8]) -> FdKind {
        let named = field(info, b"iff:").map(|name| String::from_utf8_lossy(name).into_owned());
        let asked = if self.live { tun_flags(pid, num) } else { None };
        let (flags, vnet_header) = asked.unwrap_or((libc::IFF_TUN, 0));
        FdKind::Tun {
            interface: named.unwrap_or_default().into(),
            tap: flags & libc::IFF_TAP != 0,
            // TUNGETIFF has IFF_NOFILTER where TUNSETIFF has IFF_NO_PI, so this
            // is not told; tunnels do without, and each event says it truly.
            packet_info: false,
            vnet_header,
        }
    }

    fn stat(&self, pid: u32) -> Option<Stat> {
        let line = self.read(pid, "stat")?;
        // comm may hold blanks and parentheses; no field after it does.
        let open = line.iter().position(|&byte| byte == b'(')?;
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(&line[close + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let ticks: u64 = fields.nth(17)?.parse().ok()?;
        let since_boot = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_second);
        let start_ns = self.boot_ns.saturating_add(u64::try_from(since_boot).ok()?);
        Some(Stat {
            comm,
            parent,
            start_ns,
        })
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        let mut path = self.proc.join(pid.to_string());
        path.push(name);
        path
    }

    fn read(&self, pid: u32, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(pid, name)).ok()
    }
}

struct Stat {
    comm: Vec<u8>,
    parent: u32,
    start_ns: UnixNanos,
}

/// Target of the link named `num` in `folder`; `None` when it is longer than
/// `target`, as no device's name is.
fn link_at<'a>(folder: &fs::File, num: u32, target: &'a mut [u8; 256]) -> Option<&'a [u8]> {
    let mut name = [0u8; 12];
    write!(&mut name[..11], "{num}").ok()?;
    // SAFETY: the name ends in a NUL, and the length is that of the target.
    let len = unsafe {
        let (name, target) = (name.as_ptr().cast(), target.as_mut_ptr().cast());
        libc::readlinkat(folder.as_raw_fd(), name, target, 256)
    };
    target
        .get(..usize::try_from(len).ok()?)
        .filter(|link| link.len() < 256)
}

fn numbers_in(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let number = |name: &OsStr| name.to_str()?.parse().ok();
    entries
        .flatten()
        .filter_map(|entry| number(&entry.file_name()))
        .collect()
}

fn kind_of_file(path: &Path) -> (FdKind, u64) {
    use std::os::unix::fs::FileTypeExt;
    let Ok(meta) = fs::metadata(path) else {
        return (FdKind::Unknown, 0);
    };
    let (major, minor) = device(meta.rdev());
    let kind = match meta.file_type() {
        kind if kind.is_file() => FdKind::Regular,
        kind if kind.is_dir() => FdKind::Directory,
        kind if kind.is_char_device() => FdKind::Char { major, minor },
        kind if kind.is_block_device() => FdKind::Block { major, minor },
        kind if kind.is_fifo() => FdKind::Pipe,
        _ => FdKind::Unknown,
    };
    (kind, meta.ino())
}

fn device(rdev: u64) -> (u32, u32) {
    (libc::major(rdev), libc::minor(rdev))
}

/// Asks a tun descriptor of another process how its packets begin: `IFF_*`
/// flags, and the length of the virtio header (0 without one). fdinfo names
/// only the interface. The duplicate lives for two calls and reads nothing.
fn tun_flags(pid: u32, num: i32) -> Option<(libc::c_int, u8)> {
    // SAFETY: both calls take numbers alone; what they return is checked, and
    // owned by nobody else.
    let duplicate = unsafe {
        let pidfd = owned(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        owned(libc::syscall(
            libc::SYS_pidfd_getfd,
            pidfd.as_raw_fd(),
            num,
            0,
        ))?
    };
    // SAFETY: an all-zero ifreq is valid, and it outlives the call.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let ok = unsafe { libc::ioctl(duplicate.as_raw_fd(), libc::TUNGETIFF as _, &mut request) };
    if ok != 0 {
        return None;
    }
    // SAFETY: TUNGETIFF filled in the flags.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags } as u16);
    let mut header: libc::c_int = 0;
    if flags & libc::IFF_VNET_HDR != 0 {
        // SAFETY: the kernel writes one int.
        unsafe {
            libc::ioctl(
                duplicate.as_raw_fd(),
                libc::TUNGETVNETHDRSZ as _,
                &mut header,
            )
        };
    }
    Some((flags, u8::try_from(header).unwrap_or(0)))
}

/// # Safety
/// `result` is what a call that makes a descriptor returned.
unsafe fn owned(result: libc::c_long) -> Option<OwnedFd> {
    let fd = i32::try_from(result).ok().filter(|&fd| fd >= 0)?;
    // SAFETY: see above.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn clock_ns(clock: libc::clockid_t) -> UnixNanos {
    // SAFETY: the time is written to a local.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(clock, &mut time);
        (time.tv_sec as u64)
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec as u64)
    }
}

/// The boot time that a tree of files gives in `/proc/stat`, in whole seconds.
fn boot_time_of(proc: &Path) -> UnixNanos {
    let stat = fs::read(proc.join("stat")).unwrap_or_default();
    decimal_field(&stat, b"btime")
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
}

/// The number in `socket:[123]` and its like.
fn bracketed(text: &[u8], prefix: &[u8]) -> Option<u64> {
    let number = text.strip_prefix(prefix)?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// What follows `name` on its line, without blanks around it.
fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_ascii())
}

fn decimal_field(text: &[u8], name: &[u8]) -> Option<u64> {
    std::str::from_utf8(field(text, name)?).ok()?.parse().ok()
}

fn octal_field(text: &[u8], name: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(field(text, name)?).ok()?, 8).ok()
}

fn status_field(status: &[u8], name: &[u8]) -> Option<u32> {
    decimal_field(status, name)?.try_into().ok()
}

/// The second of real, effective, saved and file system user id.
fn effective_uid(status: &[u8]) -> Option<u32> {
    let ids = std::str::from_utf8(field(status, b"Uid:")?).ok()?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}
