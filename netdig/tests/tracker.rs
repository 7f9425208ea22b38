//! The tracker on the running system: real descriptors, real containers.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use netdig::observation::{Actor, FdChange, FdEvent, FdKind};
use netdig::tracker::{Runtime, Tracker};
use serde_json::json;

/// Whether what a test needs may be missing: not where CI runs it.
fn may_skip() -> bool {
    std::env::var_os("CI").is_none_or(|ci| ci != "true")
}

fn privileged() -> bool {
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root || may_skip(), "CI runs as root");
    if !root {
        eprintln!("skipped: making namespaces and containers needs root");
    }
    root
}

fn tracker() -> Tracker {
    Tracker::from_proc().expect("this machine has a /proc")
}

#[test]
fn its_own_process_and_sockets() {
    let mut tracker = tracker();
    let pid = std::process::id();
    let own = tracker.process(pid).expect("this process runs");
    let args: Vec<String> = std::env::args().collect();
    assert_eq!(
        own.args,
        args.iter()
            .map(|arg| arg.as_bytes().to_vec())
            .collect::<Vec<_>>()
    );
    assert_eq!(own.parent, Some(std::os::unix::process::parent_id()));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let age_ns = (now.as_nanos() as u64).saturating_sub(own.start_ns.unwrap());
    assert!(age_ns < 600_000_000_000, "started {age_ns} ns ago");

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bound = socket.local_addr().unwrap();
    let name = tracker
        .fd_name(pid, socket.as_raw_fd())
        .expect("a bound socket has a name");
    assert_eq!(*name, *bound.to_string());
    let file = fs::File::open("/etc/passwd").unwrap();
    assert_eq!(
        tracker.fd_name(pid, file.as_raw_fd()).as_deref(),
        Some("/etc/passwd")
    );
    // It opened after the start, in a gap of the table, and is closed on exec.
    assert!(tracker.fd(pid, pid, file.as_raw_fd()).unwrap().cloexec);
}

/// A thread that parted from its process's table, and opened a file then.
#[test]
fn a_thread_with_its_own_descriptors() {
    let (opened, when_opened) = mpsc::channel();
    let (done, when_done) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        // SAFETY: nothing in this thread relies on sharing descriptors.
        let (failed, tid) = unsafe { (libc::unshare(libc::CLONE_FILES), libc::gettid()) };
        let file = fs::File::open("/etc/passwd").unwrap();
        // A number far above those of the other tests, which run meanwhile.
        // SAFETY: the descriptor is open; the duplicate dies with this table.
        let num = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 900) };
        opened.send((failed, tid as u32, num)).unwrap();
        let _ = when_done.recv();
    });
    let (failed, tid, num) = when_opened.recv().unwrap();
    assert_eq!(failed, 0);
    let mut tracker = tracker();
    let pid = std::process::id();
    let actor = Actor {
        pid,
        tid,
        comm: *b"thread\0\0\0\0\0\0\0\0\0\0",
    };
    tracker.apply_fd(&FdEvent {
        ts_ns: 1,
        actor,
        change: FdChange::Unshared,
    });
    assert_eq!(
        tracker.fd(pid, tid, num).unwrap().name().unwrap().as_ref(),
        "/etc/passwd"
    );
    assert_eq!(tracker.fd(pid, pid, num), None);
    assert_eq!(tracker.process(tid), None, "a thread is no process");
    drop(done);
    thread.join().unwrap();
}

/// A tun of the given flags, in a network namespace that only its descriptor
/// keeps alive.
fn tun_in_fresh_namespace(name: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let name = name.to_owned();
    let thread = std::thread::spawn(move || {
        // SAFETY: only this thread changes its namespace, and it ends with it;
        // the request is valid and outlives the call.
        unsafe {
            if libc::unshare(libc::CLONE_NEWNET) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let tun = OwnedFd::from_raw_fd(fd);
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = flags as libc::c_short;
            match libc::ioctl(fd, libc::TUNSETIFF as _, &request) {
                0 => Ok(tun),
                _ => Err(io::Error::last_os_error()),
            }
        }
    });
    thread.join().expect("the thread does not panic")
}

#[test]
fn tuns_in_another_namespace() {
    if !privileged() {
        return;
    }
    let pid = std::process::id();
    let plain = tun_in_fresh_namespace("flannel7", libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let tap = tun_in_fresh_namespace("tap7", flags).unwrap();
    let mut tracker = tracker();
    let found: Vec<_> = tracker
        .tun_fds()
        .into_iter()
        .filter(|tun| tun.pid == pid)
        .collect();
    assert_eq!(found.len(), 2, "{found:?}");
    let name = tracker.fd_name(pid, plain.as_raw_fd());
    assert_eq!(name.as_deref(), Some("/dev/net/tun (flannel7)"));
    let kind = tracker.fd(pid, pid, tap.as_raw_fd()).unwrap().kind;
    let expected = FdKind::Tun {
        interface: "tap7".into(),
        tap: true,
        packet_info: false,
        vnet_header: 10,
    };
    assert_eq!(kind, expected);
}

/// Runs a command where cgroup v2 alone is mounted, whatever the host has:
/// crun refuses to work with both versions at once.
const UNIFIED: &str = "umount -R /sys/fs/cgroup && \
    mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";

/// A container that sleeps; removed when dropped.
struct Sleeper {
    runtime: &'static str,
    unified: bool,
    id: String,
    bundle: PathBuf,
}

impl Sleeper {
    fn start(runtime: &'static str, unified: bool) -> Sleeper {
        let id = format!("netdig-{runtime}-{unified}-{}", std::process::id());
        let bundle = std::env::temp_dir().join(&id);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        fs::write(
            bundle.join("config.json"),
            config(&bundle.join("rootfs")).to_string(),
        )
        .unwrap();
        let sleeper = Sleeper {
            runtime,
            unified,
            id,
            bundle,
        };
        let started = sleeper.call(&["run", "--detach", "--bundle"], true);
        assert!(started, "{runtime} did not start a container");
        sleeper.wait_for_sleep();
        sleeper
    }

    /// The runtime returns while its process is still about to become the program.
    fn wait_for_sleep(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let path = format!("/proc/{}/cmdline", self.pid());
        while !fs::read(&path).is_ok_and(|line| line.starts_with(b"/bin/sleep")) {
            assert!(Instant::now() < deadline, "the container does not sleep");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn call(&self, args: &[&str], with_bundle: bool) -> bool {
        let mut command = Command::new(if self.unified {
            "unshare"
        } else {
            self.runtime
        });
        if self.unified {
            command.args(["--mount", "sh", "-c", UNIFIED, "sh", self.runtime]);
        }
        command.args(args);
        if with_bundle {
            command.arg(&self.bundle);
        }
        // A detached container keeps the runtime's descriptors: no pipes.
        command
            .arg(&self.id)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn pid(&self) -> u32 {
        let state = Command::new(self.runtime)
            .args(["state", &self.id])
            .output()
            .unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
        u32::try_from(state["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.call(&["delete", "--force"], false);
        let _ = fs::remove_dir_all(&self.bundle);
    }
}

/// The host's programs on an empty root, read-only.
fn config(rootfs: &Path) -> serde_json::Value {
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}),
    ];
    for folder in ["/bin", "/lib", "/lib64", "/usr"] {
        if Path::new(folder).exists() {
            mounts.push(
                json!({"destination": folder, "type": "bind", "source": folder,
                "options": ["rbind", "ro"]}),
            );
        }
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/",
            "args": ["/bin/sleep", "1000"], "env": ["PATH=/usr/bin:/bin"]},
        "root": {"path": rootfs, "readonly": false},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}]},
    })
}

fn container_is_known(runtime: &'static str, unified: bool, expected: Runtime) {
    if !privileged() {
        return;
    }
    let found = Command::new(runtime).arg("--version").output().is_ok();
    assert!(found || may_skip(), "{runtime} is missing");
    if !found {
        return eprintln!("skipped: {runtime} is not installed");
    }
    let mut before = tracker();
    let sleeper = Sleeper::start(runtime, unified);
    let pid = sleeper.pid();
    // Known when netdig starts after the container, and when before.
    for tracker in [&mut tracker(), &mut before] {
        let process = tracker.process(pid).expect("the container's process runs");
        assert_eq!(process.args, [b"/bin/sleep".to_vec(), b"1000".to_vec()]);
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"));
        let container = process
            .container
            .as_ref()
            .unwrap_or_else(|| panic!("{cgroups:?}"));
        assert_eq!(
            (container.id.as_str(), container.name.as_str()),
            (&*sleeper.id, &*sleeper.id)
        );
        assert_eq!(container.runtime, expected);
        let own = tracker.process(std::process::id()).unwrap();
        assert_eq!(own.container, None, "this test runs on the host");
        assert_ne!(own.netns, process.netns);
    }
}

#[test]
fn a_container_of_runc() {
    container_is_known("runc", false, Runtime::Runc);
}

#[test]
fn a_container_of_runc_with_cgroup_v2_alone() {
    container_is_known("runc", true, Runtime::Runc);
}

#[test]
fn a_container_of_crun() {
    container_is_known("crun", true, Runtime::Crun);
}
