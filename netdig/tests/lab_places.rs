//! Hosts and containers of a lab: what is their own, how they are seen from
//! outside, and that all of it goes, daemons that hide and killed builds included.

#[path = "lab/privileged.rs"]
mod privileged;
#[path = "lab/traces.rs"]
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use privileged::privileged;
use traces::{traces, wait_until};

const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");

const SCENARIO: &str = r#"
title = "Places"
story = "Two hosts, a container by a runtime, one that is late, and one without."

[sysctls]
"net.ipv4.ip_forward" = "1"
"net.ipv6.conf.default.disable_ipv6" = "1"

[underlay]
mtu = 1400

[[segment]]
name = "storage"
mtu = 9000

[overlay]
network = "10.77.0.0/16"

[[host]]
name = "one"
addresses = ["192.0.2.1/24"]
nameserver = "192.0.2.53"
subnet = "10.77.1.0/24"
bridge = { name = "cbr0", address = "10.77.1.254/24", mtu = 1300 }
links = [{ segment = "storage", device = "eth1", addresses = ["198.51.100.1/24"] }]
ip = ["route add blackhole 203.0.113.0/24"]
sysctls = { "net.ipv4.conf.eth1.rp_filter" = "2", "net.ipv4.ip_forward" = "0" }
files = { "/etc/netdig-test/deep" = "deep\n", "/var/run/netdig-test" = "run\n" }

[[host]]
name = "two"
addresses = ["192.0.2.2/24"]
mtu = 1350
links = [{ segment = "storage", device = "eth1", addresses = ["198.51.100.2/24"], mtu = 1500 }]

[[container]]
name = "inside"
host = "one"
address = "10.77.1.2/24"

[[container]]
name = "tardy"
host = "one"
address = "10.77.1.3/24"
late = true
runtime = "namespace"
"#;

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A lab of this file's scenario, taken down whatever becomes of the test.
struct Lab {
    name: String,
    file: PathBuf,
}

impl Lab {
    fn new(name: &str, scenario: &str) -> Lab {
        let name = format!("test-{}-{name}", std::process::id());
        let file = std::env::temp_dir().join(format!("{name}.toml"));
        fs::write(&file, scenario).expect("the scenario can be written");
        Lab { name, file }
    }

    fn up_command(&self) -> Command {
        let mut command = Command::new(NETDIG);
        command.args(["lab", "up"]).arg(&self.file);
        command.args(["--name", &self.name]);
        command
    }

    fn up(self) -> Lab {
        let output = self.up_command().output().expect("netdig starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        self
    }

    fn down(&self) {
        let output = Command::new(NETDIG)
            .args(["lab", "down", &self.name])
            .output()
            .expect("netdig starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn exec(&self, place: &str, shell: &str) -> Output {
        Command::new(NETDIG)
            .args(["lab", "exec", place, "--name", &self.name, "--"])
            .args(["sh", "-c", shell])
            .output()
            .expect("netdig starts")
    }

    fn prints(&self, place: &str, shell: &str) -> String {
        let output = self.exec(place, shell);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{place} `{shell}`: {out}{err}");
        out
    }

    fn traces(&self) -> Vec<String> {
        traces(&self.name)
    }

    fn is_gone(&self) {
        assert_eq!(self.traces(), [""; 0]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new(NETDIG)
            .args(["lab", "down", &self.name])
            .output();
        let _ = fs::remove_file(&self.file);
    }
}

#[test]
fn a_host_has_files_a_name_and_links_of_its_own() {
    if !privileged() {
        return;
    }
    let lab = Lab::new("own", SCENARIO).up();
    let own = lab.prints(
        "one",
        "hostname; cat /etc/hostname /etc/netdig-test/deep /run/netdig-test /etc/resolv.conf",
    );
    assert_eq!(own, "one\none\ndeep\nrun\nnameserver 192.0.2.53\n");
    lab.prints(
        "one",
        "echo x > /etc/netdig-new; echo x > /run/netdig-new; test -e /etc/passwd",
    );
    for path in [
        "/etc/netdig-new",
        "/run/netdig-new",
        "/etc/netdig-test",
        "/run/netdig-test",
    ] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert!(!lab.exec("two", "test -e /etc/netdig-new").status.success());
    let mtu = lab.prints(
        "one",
        "cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu /sys/class/net/cbr0/mtu",
    );
    assert_eq!(mtu, "1400\n9000\n1300\n");
    assert_eq!(
        lab.prints("two", "cat /sys/class/net/eth*/mtu"),
        "1350\n1500\n"
    );
    let sysctls = lab.prints(
        "one",
        "sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth1.rp_filter",
    );
    assert_eq!(sysctls, "0\n2\n");
    assert_eq!(lab.prints("two", "sysctl -n net.ipv4.ip_forward"), "1\n");
    assert!(
        lab.prints("one", "ip route show type blackhole")
            .contains("203.0.113.0/24")
    );
    lab.prints(
        "two",
        "ping -n -c 1 -W 2 192.0.2.1 && ping -n -c 1 -W 2 198.51.100.1",
    );
    // The bridge's own address is its containers' way out.
    assert!(
        lab.prints("inside", "ip route")
            .contains("default via 10.77.1.254")
    );
    // Late, but there in the end.
    assert!(
        lab.prints("tardy", "ip -4 -o address show dev eth0")
            .contains("10.77.1.3/24")
    );
    assert_eq!(lab.prints("tardy", "hostname"), "one\n");
    lab.down();
    lab.is_gone();
}

#[test]
fn a_container_is_one_of_its_runtime() {
    if !privileged() {
        return;
    }
    for runtime in ["runc", "crun"] {
        if !installed(runtime) {
            eprintln!("skipped: {runtime} is not installed");
            continue;
        }
        let scenario = SCENARIO.replace(
            "address = \"10.77.1.2/24\"",
            &format!("address = \"10.77.1.2/24\"\nruntime = \"{runtime}\""),
        );
        let lab = Lab::new(runtime, &scenario).up();
        let own = lab.prints(
            "inside",
            "hostname; cat /etc/resolv.conf; echo x > /etc/netdig-new",
        );
        assert_eq!(own, "inside\nnameserver 192.0.2.53\n");
        assert!(!Path::new("/etc/netdig-new").exists());
        // The first process, and one that came in, each in a PID namespace.
        assert!(
            lab.prints("inside", "cat /proc/1/cmdline")
                .contains("sleep")
        );
        let id = format!("netdig-{}-inside", lab.name);
        assert!(Path::new("/run").join(runtime).join(&id).is_dir());
        let mut guest = Command::new(NETDIG)
            .args(["lab", "exec", "inside", "--name", &lab.name, "--"])
            .args(["sleep", "300"])
            .spawn()
            .expect("netdig starts");
        let children = format!("/proc/{0}/task/{0}/children", guest.id());
        let child = || {
            fs::read_to_string(&children)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        wait_until("a process in the container", || !child().is_empty());
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", child())).expect("a cgroup");
        assert!(
            cgroup.contains(&format!("/netdig-{}/inside", lab.name)),
            "{cgroup}"
        );
        // As Ctrl-Z stops it, so that the shell hears of it, and `fg` goes on with it.
        let state = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next())
        };
        let (outside, child) = (guest.id().to_string(), child());
        // SAFETY: a process that was started for this test.
        unsafe { libc::kill(child.parse().expect("a pid"), libc::SIGSTOP) };
        wait_until("both are stopped", || {
            state(&outside) == Some('T') && state(&child) == Some('T')
        });
        // SAFETY: a child of this test that is not reaped.
        unsafe { libc::kill(guest.id().cast_signed(), libc::SIGCONT) };
        wait_until("both go on", || {
            state(&outside) == Some('S') && state(&child) == Some('S')
        });
        // Signals to the process outside reach the one inside; so does its end.
        // SAFETY: a child of this test that is not reaped.
        unsafe { libc::kill(guest.id().cast_signed(), libc::SIGTERM) };
        let status = guest.wait().expect("reaped");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGTERM)
        );
        assert_eq!(lab.exec("inside", "exit 7").status.code(), Some(7));
        // Orphans are waited for.
        lab.prints("inside", "(sleep 0.01 &) ; true");
        wait_until("no zombie", || {
            !lab.prints("inside", "cat /proc/[0-9]*/stat 2>/dev/null; true")
                .contains(") Z ")
        });
        lab.down();
        lab.is_gone();
    }
}

/// A place writes where its parts do, and sees no other lab.
#[test]
fn a_place_cannot_write_what_the_labs_need() {
    if !privileged() {
        return;
    }
    let (lab, other) = (
        Lab::new("shut", SCENARIO).up(),
        Lab::new("beside", SCENARIO).up(),
    );
    let folder = format!("/run/netdig/lab/{}", lab.name);
    let journal = fs::read(format!("{folder}/journal")).expect("a journal");
    for place in ["one", "inside", "tardy"] {
        assert_eq!(
            lab.prints(place, "ls /run/netdig/lab"),
            format!("{}\n", lab.name)
        );
        for bad in [
            format!("echo x >> {folder}/journal"),
            format!("rm -f {folder}/journal"),
            format!("mv {folder} {folder}-x"),
            format!("echo x > {folder}/one.log"),
            format!("echo x > {folder}/scenario.toml"),
            "echo x > /run/netdig/lab/x".to_owned(),
            "mkdir /run/netdig/lab/x".to_owned(),
            format!("cat /run/netdig/lab/{}/journal", other.name),
        ] {
            // A container has a /run/netdig of its own.
            let own = place == "inside" && bad.ends_with("/x");
            assert!(
                own || !lab.exec(place, &bad).status.success(),
                "{place}: {bad}"
            );
        }
        lab.prints(place, &format!("echo x > {folder}/parts/{place}"));
        assert!(
            Path::new(&folder).join("parts").join(place).exists(),
            "{place}"
        );
    }
    assert!(!Path::new("/run/netdig/lab/x").exists());
    let now = fs::read(format!("{folder}/journal")).expect("a journal");
    assert!(now.starts_with(&journal), "only commands were added");
    for lab in [&lab, &other] {
        lab.down();
        lab.is_gone();
    }
}

/// On machines with version 2 alone, with both, and whatever runs the containers.
#[test]
fn labs_stand_on_every_kind_of_cgroups() {
    if !privileged() {
        return;
    }
    let hide = "mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t tmpfs none /sys/fs/cgroup && ";
    let second = "mount -t cgroup2 none /sys/fs/cgroup";
    let both = "cd /sys/fs/cgroup && mkdir unified pids devices && \
                mount -t cgroup2 none unified && mount -t cgroup -o pids none pids && \
                mount -t cgroup -o devices none devices";
    for (kind, mounts) in [("second", second), ("both", both)] {
        let inside = |rest: &str| {
            let script = format!("{hide}{mounts} || exit 99; {rest}");
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &script, "sh"]);
            command
        };
        if !inside("true").status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: such cgroups ({kind}) cannot be mounted here");
            continue;
        }
        for runtime in ["runc", "crun", "namespace"] {
            if runtime != "namespace" && !installed(runtime) {
                continue;
            }
            let chosen = format!("address = \"10.77.1.2/24\"\nruntime = \"{runtime}\"");
            let traffic =
                "[[traffic]]\non = 'inside'\nrun = ['ping', '-c', '1', '-W', '2', '192.0.2.1']\n";
            let scenario = SCENARIO.replace("address = \"10.77.1.2/24\"", &chosen) + traffic;
            let lab = Lab::new(&format!("{kind}-{runtime}"), &scenario);
            let output =
                inside("\"$@\"; code=$?; find /sys/fs/cgroup -name \"netdig-$5\"; exit $code")
                    .args([NETDIG, "lab", "run", "--name", &lab.name])
                    .arg(&lab.file)
                    .output()
                    .expect("unshare starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{kind} {runtime}: {said}");
            let left = String::from_utf8_lossy(&output.stdout);
            assert!(!left.contains("/sys/fs/cgroup"), "{kind} {runtime}: {left}");
            lab.is_gone();
        }
    }
}

/// A flanneld of the machine has a subnet file, which is no host's.
#[test]
fn what_the_machines_own_flanneld_keeps_is_not_seen() {
    if !privileged() {
        return;
    }
    let traffic = "[[traffic]]\non = 'one'\nrun = ['test', '!', '-e', '/run/flannel/subnet.env']\n";
    let lab = Lab::new("flanneld", &format!("{SCENARIO}{traffic}"));
    let script = "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/flannel || exit 99\n\
        echo FLANNEL_MTU=1 > /run/flannel/subnet.env\n\
        \"$1\" lab run \"$2\" && cat /run/flannel/subnet.env";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", NETDIG])
        .arg(&lab.file)
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("FLANNEL_MTU=1\n"));
    lab.is_gone();
}

/// Out of a chroot a lab's places would write to the machine's own files.
#[test]
fn a_chroot_is_refused() {
    if !privileged() {
        return;
    }
    let lab = Lab::new("chroot", SCENARIO);
    let root = std::env::temp_dir().join(format!("{}-root", lab.name));
    fs::create_dir(&root).expect("a folder");
    let script = "mount --make-rprivate / && mount -t tmpfs none \"$1\" && cd \"$1\" || exit 99\n\
        for entry in /*; do\n\
          if [ -L \"$entry\" ]; then cp -a \"$entry\" .; continue; fi\n\
          [ -d \"$entry\" ] && mkdir \".$entry\" && mount --rbind \"$entry\" \".$entry\"\n\
        done\n\
        exec chroot . \"$2\" lab up \"$3\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([root.as_path(), Path::new(NETDIG), &lab.file])
        .output()
        .expect("unshare starts");
    fs::remove_dir(&root).expect("the folder goes");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("runs in a chroot"), "{said}");
    lab.is_gone();
}

#[test]
fn a_daemon_that_forks_away_belongs_to_the_lab() {
    if !privileged() || !installed("haproxy") {
        return;
    }
    let lab = Lab::new("daemon", SCENARIO).up();
    for place in ["one", "inside", "tardy"] {
        lab.prints(
            place,
            "mkdir -p /etc/haproxy && printf 'global\\n  pidfile /run/h.pid\\ndefaults\\n  mode http\\n  timeout client 1s\\n  \
             timeout server 1s\\n  timeout connect 1s\\nlisten x\\n  bind 127.0.0.1:8099\\n' > /etc/haproxy/haproxy.cfg && \
             haproxy -D -f /etc/haproxy/haproxy.cfg && exec curl -sS -o /dev/null http://127.0.0.1:8099/",
        );
    }
    let daemons = || {
        let traces = lab.traces();
        let lines = traces.iter().filter(|trace| trace.contains("/netdig-"));
        lines.count()
    };
    assert!(daemons() >= 3, "{:?}", lab.traces());
    lab.down();
    lab.is_gone();
}

/// Kills the build after ever more of its work.
#[test]
fn a_build_that_is_killed_leaves_nothing_after_down() {
    if !privileged() {
        return;
    }
    for stage in [
        "/run/netns/netdig-{}-inside",
        "/run/netdig/lab/{}/host-one",
        "/run/netdig/lab/{}/parts/host-one.ready",
        "/run/netdig/lab/{}/container-inside",
        "/run/runc/netdig-{}-inside",
        "/run/netdig/lab/{}/container-inside/pid",
        "/run/netdig/lab/{}/parts/tunnel-one.ready",
    ] {
        if stage.contains("runc") && !installed("runc") {
            continue;
        }
        let lab = Lab::new("killed", SCENARIO);
        let path = PathBuf::from(stage.replace("{}", &lab.name));
        let mut build = lab.up_command();
        let build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut build = build.expect("netdig starts");
        wait_until(stage, || path.exists());
        build.kill().expect("SIGKILL");
        build.wait().expect("reaped");
        lab.down();
        assert_eq!(lab.traces(), [""; 0], "killed at {stage}");
    }
}
