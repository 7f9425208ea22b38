//! Filters: exactly the packets that were asked for.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::descriptors::marker_of;
use crate::net::{TUNNEL_PORT, carry, ipv4, plain_tun};
use crate::play::{Player, play};
use crate::watch::{NETDIG, Outcome, Watch, parse};
use crate::world::{Namespace, Scratch, has, privileged, wait_for};

/// A small tunnel daemon that carries one marked packet.
fn daemon(namespace: &Namespace, comm: &str, device: &str, host: u8, marker: u16) -> Player {
    let comm = std::ffi::CString::new(comm).unwrap();
    let mut player = play(Some(namespace), |stage| {
        // SAFETY: a valid name.
        unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) };
        let device = plain_tun(device, host);
        let address = Ipv4Addr::new(127, 0, 0, host);
        let socket = UdpSocket::bind((address, TUNNEL_PORT)).unwrap();
        stage.tell("made");
        stage.cue();
        carry(device.as_raw_fd(), socket.as_raw_fd(), host, marker);
    });
    player.expect("up");
    player.expect("made");
    player
}

/// Checks that the run showed all four sides of these markers and nothing of
/// other processes.
fn check(outcome: &Outcome, what: &str, players: &[(&Player, i64)], wanted: &[i64]) {
    let pids: BTreeSet<u64> = players
        .iter()
        .filter(|(_, marker)| wanted.contains(marker))
        .map(|(player, _)| player.pid.into())
        .collect();
    for packet in &outcome.packets {
        let pid = packet["process"]["pid"].as_u64().unwrap();
        assert!(pids.contains(&pid), "{what}: {packet}");
    }
    for marker in wanted {
        let sides = outcome.that(|packet| marker_of(packet) == Some(*marker));
        let vias: Vec<_> = sides
            .iter()
            .map(|side| side["via"].as_str().unwrap())
            .collect();
        assert_eq!(
            vias,
            ["tun-read", "udp-send", "udp-recv", "tun-write"],
            "{what}: {marker}"
        );
    }
}

#[test]
fn processes_names_namespaces_and_devices() {
    if !privileged() {
        return;
    }
    let (a, b) = (Namespace::new(), Namespace::new());
    let own = std::process::id();
    // A comm has 15 bytes; devices of other tests must not have these names.
    let comms = [format!("one-{own}"), format!("two-{own}")];
    let devices = ["x", "y", "z"].map(|letter| format!("f{letter}{own}"));
    let mut one = daemon(&a, &comms[0], &devices[0], 1, 11);
    let mut two = daemon(&a, &comms[1], &devices[1], 2, 12);
    let mut three = daemon(&b, &comms[0], &devices[2], 3, 13);
    let b_path = format!("/run/netns/{}", b.name);
    let by_pid = format!("pid:{}", two.pid);
    let both = format!("{},{}", one.pid, three.pid);
    let [pid_one, pid_two] = [&one, &two].map(|player| player.pid.to_string());
    let cases: [(&[&str], &[i64]); 9] = [
        (&["--netns", &a.name], &[11, 12]),
        (&["--netns", &b_path], &[13]),
        (&["--netns", &by_pid], &[11, 12]),
        (&["--pid", &pid_one], &[11]),
        (&["--pid", &both], &[11, 13]),
        (&["--comm", &comms[0]], &[11, 13]),
        (&["--comm", &comms[0], "--netns", &a.name], &[11]),
        (&["-i", &devices[1]], &[12]),
        (
            &[
                "-i",
                &devices[0],
                "-i",
                &devices[2],
                "--pid",
                &pid_two,
                "--pid",
                &pid_one,
            ],
            &[11],
        ),
    ];
    let cgroup = Cgroup::of(one.pid);
    let path = cgroup.as_ref().map(Cgroup::path);
    let by_cgroup = path.iter().map(|path| vec!["--cgroup", path]);
    let by_cgroup: Vec<Vec<&str>> = by_cgroup.collect();
    let by_cgroup = by_cgroup.iter().map(|case| (&case[..], &[11][..]));
    let cases: Vec<(&[&str], &[i64])> = cases.into_iter().chain(by_cgroup).collect();
    let watches: Vec<Watch> = cases.iter().map(|case| Watch::spawn(case.0)).collect();
    let watches: Vec<Watch> = watches.into_iter().map(Watch::ready).collect();
    let own_pids: Vec<u64> = watches.iter().map(|watch| watch.pid().into()).collect();
    for player in [&mut one, &mut two, &mut three] {
        player.perform();
    }
    let players = [(&one, 11), (&two, 12), (&three, 13)];
    for (watch, (arguments, wanted)) in watches.into_iter().zip(cases) {
        let outcome = watch.stop().whole();
        check(&outcome, &format!("{arguments:?}"), &players, wanted);
        let own =
            outcome.that(|packet| own_pids.contains(&packet["process"]["pid"].as_u64().unwrap()));
        assert!(own.is_empty());
    }
}

/// One process, one socket, two tuns, both opened while netdig runs: what the
/// other tun's packets have on the socket is told by their side on the tun.
#[test]
fn one_of_two_devices_of_a_process() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let own = std::process::id();
    let devices = ["v", "w"].map(|letter| format!("f{letter}{own}"));
    let names = devices.clone();
    let mut player = play(Some(&namespace), move |stage| {
        let first = plain_tun(&names[0], 1);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, TUNNEL_PORT)).unwrap();
        stage.tell("one");
        stage.cue();
        // Opened only now: known by its event before its first packet.
        let second = plain_tun(&names[1], 2);
        for marker in [31, 33] {
            carry(first.as_raw_fd(), socket.as_raw_fd(), 1, marker);
            carry(second.as_raw_fd(), socket.as_raw_fd(), 2, marker + 1);
        }
    });
    player.expect("up");
    player.expect("one");
    let netns = ["--netns", &namespace.name];
    let all = Watch::spawn(&netns).ready();
    let first = Watch::spawn(&[&netns[..], &["-i", &devices[0]]].concat()).ready();
    player.perform();
    let all = all.stop().whole();
    let first = first.stop().whole();
    let with = |outcome: &Outcome, markers: [i64; 2]| {
        let wanted = |packet: &Value| marker_of(packet).is_some_and(|it| markers.contains(&it));
        outcome.that(wanted).len()
    };
    assert_eq!((with(&all, [31, 33]), with(&all, [32, 34])), (8, 8));
    assert_eq!((with(&first, [31, 33]), with(&first, [32, 34])), (8, 0));
    let apart = first.that(|packet| marker_of(packet).is_some() && packet["joined"].is_null());
    assert!(apart.is_empty(), "{apart:?}");
    player.end();
}

/// Standard output is a tunnel's socket: were netdig to trace itself, each line
/// would make another.
#[test]
fn netdig_never_traces_itself() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let scratch = Scratch::new();
    let ready = scratch.path("ready");
    let mut player = play(Some(&namespace), |stage| {
        stage.cue();
        let socket = UdpSocket::bind("127.0.0.1:8285").unwrap();
        for id in 0..3 {
            socket.send_to(&ipv4(id, 50), "127.0.0.1:8285").unwrap();
        }
    });
    player.expect("up");
    let (sink, output): (UdpSocket, OwnedFd) = namespace.inside(|| {
        let sink = UdpSocket::bind("127.0.0.1:8472").unwrap();
        let output = UdpSocket::bind("127.0.0.1:0").unwrap();
        output.connect("127.0.0.1:8472").unwrap();
        (sink, output.into())
    });
    let mut child = Command::new(NETDIG)
        .args(["overlay", "--format", "json", "--ready-file"])
        .arg(&ready)
        .stdout(Stdio::from(output))
        .spawn()
        .unwrap();
    wait_for("netdig to be ready", || ready.exists().then_some(()));
    player.perform();
    player.end();
    sink.set_nonblocking(true).unwrap();
    let mut text = String::new();
    let mut stopped = false;
    let mut buffer = vec![0; 65536];
    wait_for("the summary", || {
        while let Ok(length) = sink.recv(&mut buffer) {
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        let of_namespace = text.matches("\"interface\":\"udp:8285\"").count();
        if of_namespace >= 3 && !std::mem::replace(&mut stopped, true) {
            // SAFETY: a child of ours that was not waited for yet.
            unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        }
        text.contains("\"kind\":\"summary\"").then_some(())
    });
    assert!(child.wait().unwrap().success());
    let pid = u64::from(child.id());
    for line in text.lines() {
        let object = parse(line);
        assert_ne!(object["process"]["pid"], pid, "{object}");
    }
}

/// A cgroup (v2) with one process in it; it goes back when this is dropped.
struct Cgroup {
    root: &'static Path,
    name: String,
}

impl Cgroup {
    /// `None`, and said, where no cgroup can be made, as in some containers.
    fn of(pid: u32) -> Option<Cgroup> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots
            .into_iter()
            .find(|root| root.join("cgroup.controllers").exists())?;
        let name = format!("netdig-live-{}", std::process::id());
        let cgroup = Cgroup { root, name };
        if let Err(error) = std::fs::create_dir(cgroup.folder()) {
            eprintln!("skipped: no cgroup can be made: {error}");
            return None;
        }
        std::fs::write(cgroup.folder().join("cgroup.procs"), pid.to_string()).expect("moved");
        Some(cgroup)
    }

    fn folder(&self) -> std::path::PathBuf {
        self.root.join(&self.name)
    }

    /// As /proc/PID/cgroup has it.
    fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(self.folder().join("cgroup.procs"));
        for pid in pids.iter().flat_map(|pids| pids.lines()) {
            let _ = std::fs::write(self.root.join("cgroup.procs"), pid);
        }
        let _ = std::fs::remove_dir(self.folder());
    }
}

const CONTAINED: &str = "NETDIG_TEST_CONTAINED";

/// The program in the container: sends three packets when it is told to.
#[test]
fn in_a_container() {
    if std::env::var_os(CONTAINED).is_none() {
        return;
    }
    let cue = Path::new("/cue");
    wait_for("the cue", || cue.join("go").exists().then_some(()));
    let socket = UdpSocket::bind("127.0.0.1:8285").unwrap();
    for id in 0..3 {
        socket.send_to(&ipv4(id, 100), "127.0.0.1:8285").unwrap();
    }
    std::fs::write(cue.join("done"), "").unwrap();
    wait_for("the end", || cue.join("end").exists().then_some(()));
}

/// A container; removed when dropped.
struct Container {
    runtime: &'static str,
    id: String,
}

impl Container {
    fn start(runtime: &'static str, namespace: &Namespace, bundle: &Scratch) -> Container {
        let id = format!("netdig-live-{runtime}-{}", std::process::id());
        for folder in ["rootfs", "cue"] {
            std::fs::create_dir_all(bundle.path(folder)).unwrap();
        }
        let config = configuration(namespace, bundle);
        std::fs::write(bundle.path("config.json"), config.to_string()).unwrap();
        let container = Container { runtime, id };
        let started = container.call(&[
            "run",
            "--detach",
            "--bundle",
            bundle.path("").to_str().unwrap(),
        ]);
        assert!(started, "{runtime} did not start a container");
        container
    }

    fn call(&self, arguments: &[&str]) -> bool {
        // crun refuses to work with both versions of cgroups at once.
        let unified = "umount -R /sys/fs/cgroup && \
            mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", unified, "sh", self.runtime]);
        // A detached container keeps the runtime's descriptors: no pipes.
        command.args(arguments).arg(&self.id);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.call(&["delete", "--force"]);
    }
}

/// This test's program on an empty root, in a namespace of the host's.
fn configuration(namespace: &Namespace, bundle: &Scratch) -> serde_json::Value {
    let program = std::env::current_exe().unwrap();
    let bind = |from: &Path, to: &str, how: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", how]});
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}),
        bind(&bundle.path("cue"), "/cue", "rw"),
        bind(program.parent().unwrap(), "/program", "ro"),
    ];
    for folder in ["/bin", "/lib", "/lib64", "/usr"] {
        if Path::new(folder).exists() {
            mounts.push(bind(Path::new(folder), folder, "ro"));
        }
    }
    let program = Path::new("/program").join(program.file_name().unwrap());
    json!({
        "ociVersion": "1.0.2",
        "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/",
            "args": [program, "--exact", "filters::in_a_container"],
            "env": ["PATH=/usr/bin:/bin", format!("{CONTAINED}=1")]},
        "root": {"path": bundle.path("rootfs"), "readonly": false},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"},
            {"type": "network", "path": format!("/run/netns/{}", namespace.name)}]},
    })
}

fn containers(runtime: &'static str) {
    if !privileged() || !has(runtime) {
        return;
    }
    let namespace = Namespace::new();
    let bundle = Scratch::new();
    let mut outsider = play(Some(&namespace), |stage| {
        stage.cue();
        let socket = UdpSocket::bind("127.0.0.2:8285").unwrap();
        socket.send_to(&ipv4(9, 200), "127.0.0.2:8285").unwrap();
    });
    outsider.expect("up");
    let container = Container::start(runtime, &namespace, &bundle);
    let id = container.id.as_str();
    let beginning = &id[..id.len() - 2];
    let cases: [(&[&str], &[u64]); 5] = [
        (&["--netns", &namespace.name], &[100, 100, 100, 200]),
        (&["--container-id", beginning], &[100, 100, 100]),
        (&["--container-name", id], &[100, 100, 100]),
        (
            &["--container-name", id, "--container-id", "0123456789ab"],
            &[],
        ),
        (&["--container-name", beginning], &[]),
    ];
    let watches = cases.map(|(arguments, _)| Watch::spawn(arguments));
    let watches = watches.map(Watch::ready);
    std::fs::write(bundle.path("cue/go"), "").unwrap();
    wait_for("the container to send", || {
        bundle.path("cue/done").exists().then_some(())
    });
    outsider.perform();
    for (watch, (arguments, wanted)) in watches.into_iter().zip(cases) {
        let outcome = watch.stop().whole();
        let lengths: Vec<_> = outcome
            .packets
            .iter()
            .map(|packet| packet["len"].as_u64().unwrap())
            .collect();
        assert_eq!(lengths, wanted, "{arguments:?}");
        for packet in &outcome.packets {
            let known = &packet["process"]["container"];
            match packet["len"].as_u64() {
                Some(100) => assert_eq!((&known["id"], &known["name"]), (&json!(id), &json!(id))),
                _ => assert!(known.is_null(), "{packet}"),
            }
        }
    }
    std::fs::write(bundle.path("cue/end"), "").unwrap();
}

#[test]
fn a_container_of_runc() {
    containers("runc");
}

#[test]
fn a_container_of_crun() {
    containers("crun");
}
