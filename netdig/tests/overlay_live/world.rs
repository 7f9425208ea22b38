//! What tests stand on: namespaces, folders, deadlines.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for anything; far more than it takes, for a host under load.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Whether what a test needs may be missing: not where CI runs it.
fn may_skip() -> bool {
    std::env::var_os("CI").is_none_or(|ci| ci != "true")
}

/// Whether this may load programs and make namespaces; says so when not.
pub fn privileged() -> bool {
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root || may_skip(), "CI runs as root");
    if !root {
        eprintln!("skipped: the probe and namespaces need root");
    }
    root
}

/// Whether a program is there; CI must have it.
pub fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    assert!(found || may_skip(), "{program} is missing");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Looks until there is something to see; panics after [`DEADLINE`].
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("ndl{}-{count}", std::process::id())
}

/// A folder that goes with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let path = std::env::temp_dir().join(unique());
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A network namespace with a working loopback, removed with it.
pub struct Namespace {
    pub name: String,
    file: File,
}

impl Namespace {
    pub fn new() -> Namespace {
        let name = unique();
        run(Command::new("ip").args(["netns", "add", &name]));
        let file = File::open(format!("/run/netns/{name}")).expect("it was just made");
        let namespace = Namespace { name, file };
        namespace.ip("link set lo up");
        namespace
    }

    /// Two namespaces with a veth pair `under`, 172.30.0.1 and 172.30.0.2.
    pub fn pair() -> (Namespace, Namespace) {
        let (a, b) = (Namespace::new(), Namespace::new());
        a.ip(&format!(
            "link add name under type veth peer name under netns {}",
            b.name
        ));
        for (namespace, address) in [(&a, "172.30.0.1/24"), (&b, "172.30.0.2/24")] {
            namespace.ip(&format!("addr add {address} dev under"));
            namespace.ip("link set under up");
        }
        (a, b)
    }

    pub fn ip(&self, arguments: &str) {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments.split(' ')));
    }

    /// A command that runs in here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Moves the calling thread in here, for good.
    pub fn enter(&self) {
        // SAFETY: an open descriptor; only this thread moves.
        let moved = unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "setns: {}", std::io::Error::last_os_error());
    }

    /// Runs something on a thread in here.
    pub fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                run()
            });
            thread.join().expect("the thread in the namespace")
        })
    }

    /// The number that the kernel knows it by.
    pub fn inode(&self) -> u32 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().expect("it is open").ino() as u32
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
