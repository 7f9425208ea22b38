//! The lab as a person uses it: through the program, with real links, real
//! servers and real packets, and with the program killed at bad moments.

#[path = "lab/flannel.rs"]
mod flannel;
#[path = "lab/privileged.rs"]
mod privileged;
#[path = "lab/traces.rs"]
mod traces;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use privileged::privileged;
use serde_json::Value;
use traces::{traces, wait_until};

const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");

fn netdig(arguments: &[&str]) -> Output {
    Command::new(NETDIG)
        .arg("lab")
        .args(arguments)
        .output()
        .expect("netdig starts")
}

fn ok(arguments: &[&str]) -> String {
    let output = netdig(arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "lab {arguments:?}: {}\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

/// A lab's name that no other test and no other run of the tests has.
fn unique(name: &str) -> String {
    format!("test-{}-{name}", std::process::id())
}

/// Takes the lab down whatever becomes of the test.
struct Named(String);

impl Named {
    fn new(name: &str) -> Named {
        Named(unique(name))
    }

    fn up(&self, scenario: &str) -> String {
        ok(&["up", scenario, "--name", &self.0])
    }

    fn exec(&self, host: &str, command: &[&str]) -> Output {
        netdig(&[&["exec", host, "--name", &self.0, "--"], command].concat())
    }

    fn exec_ok(&self, host: &str, command: &[&str]) -> String {
        let output = self.exec(host, command);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{host} {command:?}: {out}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        out
    }

    fn status(&self) -> Option<Value> {
        ok(&["status", "--format", "json"])
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .find(|lab| lab["name"] == self.0)
    }

    fn pids(&self) -> Vec<u64> {
        let status = self.status().expect("the lab stands");
        let processes = status["processes"].as_array().expect("processes");
        processes
            .iter()
            .filter_map(|process| process["pid"].as_u64())
            .collect()
    }

    fn traces(&self) -> Vec<String> {
        traces(&self.0)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        netdig(&["down", &self.0]);
    }
}

fn alive(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !matches!(stat.rsplit(')').next().map(str::trim_start), Some(rest) if rest.starts_with('Z')))
}

#[test]
fn traffic_flows_and_nothing_stays_behind() {
    if !privileged() {
        return;
    }
    let lab = Named::new("flow");
    let told = lab.up("flannel-udp");
    assert!(
        told.contains(&format!("netdig lab down {}", lab.0)),
        "{told}"
    );
    assert_eq!(lab.status().expect("stands")["state"], "ready");
    assert!(
        lab.traces().len() >= 9,
        "what a standing lab shows: {:?}",
        lab.traces()
    );
    let ping = lab.exec_ok(
        "balancer",
        &["ping", "-n", "-c", "2", "-i", "0.2", "192.168.13.2"],
    );
    // Two tunnel daemons and one forwarding kernel took one each.
    assert!(
        ping.contains("ttl=61") && ping.contains(" 0% packet loss"),
        "{ping}"
    );
    let page = lab.exec_ok(
        "balancer",
        &["curl", "-sS", "-m", "5", "http://192.168.13.2/"],
    );
    assert_eq!(page, "frontend1 greets through the tunnel\n");
    let name = lab.exec_ok(
        "balancer",
        &["dig", "+short", "+tries=1", "@192.168.13.2", "myapp.org"],
    );
    assert_eq!(name, "192.168.13.2\n");
    assert_eq!(
        lab.exec("balancer", &["sh", "-c", "exit 7"]).status.code(),
        Some(7)
    );

    let pids = lab.pids();
    assert!(pids.len() >= 4 && pids.iter().filter(|pid| alive(**pid)).count() >= 4);
    ok(&["down", &lab.0]);
    assert_eq!(lab.traces(), [""; 0]);
    assert!(!pids.iter().any(|pid| alive(*pid)));
}

#[test]
fn a_second_lab_of_the_same_name_is_refused_and_another_stands_beside() {
    if !privileged() {
        return;
    }
    let (one, two) = (Named::new("one"), Named::new("two"));
    one.up("flannel-udp");
    let again = netdig(&["up", "flannel-udp", "--name", &one.0]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("stands already"));
    two.up("flannel-udp");
    ok(&["down", &one.0]);
    two.exec_ok(
        "balancer",
        &["ping", "-n", "-c", "1", "-W", "2", "192.168.13.2"],
    );
}

#[test]
fn the_overlay_swallows_the_underlays_resolver() {
    if !privileged() {
        return;
    }
    let lab = Named::new("swallow");
    lab.up("overlay-swallows-underlay");
    let route = lab.exec_ok("balancer", &["ip", "route", "get", "10.1.0.2"]);
    assert!(
        route.contains("dev flannel0") && route.contains("src 10.1.88.0"),
        "{route}"
    );
    let direct = lab.exec_ok(
        "router",
        &["dig", "+short", "+tries=1", "@10.1.0.2", "www.google.com"],
    );
    assert_eq!(direct, "192.0.2.80\n");
    let hangs = lab.exec(
        "balancer",
        &["timeout", "2", "ping", "-c", "1", "www.google.com"],
    );
    assert_eq!(
        hangs.status.code(),
        Some(124),
        "ping is to hang until it is stopped"
    );
    // The unreachable was written, and the kernel threw it away: it is in no ICMP counter.
    let counters = lab.exec_ok(
        "balancer",
        &["sh", "-c", "nstat -az IcmpInDestUnreachs | tail -1"],
    );
    assert!(counters.contains(" 0 "), "{counters}");
    // And the peers still reach one another: the daemons are not to blame.
    lab.exec_ok(
        "balancer",
        &["ping", "-n", "-c", "1", "-W", "2", "10.1.1.187"],
    );
}

/// Kills `netdig lab up` with SIGKILL after ever more of its work, and looks
/// whether `down` finds what there is.
#[test]
fn a_killed_build_is_found_and_removed() {
    if !privileged() {
        return;
    }
    for stage in [
        "netdig/lab/{}",
        "netns/netdig-{}-underlay",
        "netns/netdig-{}-frontend",
        "netdig/lab/{}/tunnel-balancer.log",
        "netdig/lab/{}/parts/server-0/nginx.pid",
    ] {
        let lab = Named::new("killed");
        let path = PathBuf::from("/run").join(stage.replace("{}", &lab.0));
        let mut build = Command::new(NETDIG)
            .args(["lab", "up", "flannel-udp", "--name", &lab.0])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("netdig starts");
        wait_until(stage, || path.exists());
        build.kill().expect("SIGKILL");
        build.wait().expect("reaped");
        ok(&["down", &lab.0]);
        assert_eq!(lab.traces(), [""; 0], "killed at {stage}");
    }
}

#[test]
fn what_an_interrupted_build_left_does_not_hinder_the_next() {
    if !privileged() {
        return;
    }
    let lab = Named::new("again");
    let mut build = Command::new(NETDIG)
        .args(["lab", "up", "flannel-udp", "--name", &lab.0])
        .stdout(Stdio::null())
        .spawn()
        .expect("netdig starts");
    let namespace = PathBuf::from(format!("/run/netns/netdig-{}-balancer", lab.0));
    wait_until("a namespace", || namespace.exists());
    build.kill().expect("SIGKILL");
    build.wait().expect("reaped");
    lab.up("flannel-udp");
    lab.exec_ok(
        "balancer",
        &["ping", "-n", "-c", "1", "-W", "2", "192.168.13.2"],
    );
}

#[test]
fn ctrl_c_and_sigterm_take_a_build_down() {
    if !privileged() {
        return;
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let lab = Named::new("signal");
        let mut build = Command::new(NETDIG)
            .args(["lab", "up", "flannel-udp", "--name", &lab.0])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("netdig starts");
        let namespace = PathBuf::from(format!("/run/netns/netdig-{}-underlay", lab.0));
        wait_until("a namespace", || namespace.exists());
        // SAFETY: the child is ours and not reaped.
        unsafe { libc::kill(build.id().cast_signed(), signal) };
        let status = build.wait().expect("reaped");
        assert_eq!(status.code(), Some(2), "signal {signal}");
        assert_eq!(lab.traces(), [""; 0], "signal {signal}");
    }
}

#[test]
fn down_spares_what_is_not_the_labs() {
    if !privileged() {
        return;
    }
    let lab = Named::new("spares");
    lab.up("flannel-udp");
    // Somebody else's process in the lab's namespace, and one elsewhere.
    let namespace = format!("netdig-{}-balancer", lab.0);
    let mut guests: Vec<Child> = Vec::new();
    for command in [
        vec!["ip", "netns", "exec", &namespace, "sleep", "300"],
        vec!["sleep", "300"],
    ] {
        let guest = Command::new(command[0])
            .args(&command[1..])
            .spawn()
            .expect("guest starts");
        guests.push(guest);
    }
    // One that was started by `lab exec` is the lab's.
    let mut own = Command::new(NETDIG)
        .args([
            "lab",
            "exec",
            "balancer",
            "--name",
            &lab.0,
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 300",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("netdig starts");
    let mut line = String::new();
    BufReader::new(own.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "up\n");
    ok(&["down", &lab.0]);
    assert!(!own.wait().expect("reaped").success());
    let spared = guests
        .iter_mut()
        .all(|guest| matches!(guest.try_wait(), Ok(None)));
    for guest in &mut guests {
        guest.kill().expect("guest ends");
        guest.wait().expect("reaped");
    }
    assert!(spared, "down ended a process that is not the lab's");
}

/// Whenever the signal comes, also before netdig listens for it: nothing stays.
#[test]
fn a_signal_at_any_moment_leaves_nothing() {
    if !privileged() {
        return;
    }
    for moment in 0..12 {
        let lab = Named::new("early");
        let mut build = Command::new(NETDIG)
            .args(["lab", "up", "flannel-udp", "--name", &lab.0])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("netdig starts");
        let began = Instant::now();
        let after = Duration::from_micros(700) * moment;
        wait_until("the moment", || began.elapsed() >= after);
        // SAFETY: the child is ours and not reaped.
        unsafe { libc::kill(build.id().cast_signed(), libc::SIGHUP) };
        let status = build.wait().expect("reaped");
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert!(
            status.code() == Some(2) || by_signal == Some(libc::SIGHUP),
            "after {after:?}: {status}"
        );
        assert_eq!(lab.traces(), [""; 0], "after {after:?}");
    }
}

/// A daemon's child that has lost its parent still belongs to the lab.
#[test]
fn orphans_of_a_daemon_are_found() {
    if !privileged() {
        return;
    }
    let lab = Named::new("orphan");
    lab.up("flannel-udp");
    let status = lab.status().expect("the lab stands");
    let processes = status["processes"].as_array().expect("processes");
    let nginx = processes
        .iter()
        .find(|process| process["name"] == "nginx-0-frontend1")
        .and_then(|process| process["pid"].as_u64())
        .expect("nginx");
    let child = |pid: u64| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let mut child = None;
        for pid in children.unwrap_or_default().split_whitespace() {
            child = child.or(pid.parse::<u64>().ok());
        }
        child
    };
    // In a container what was started is the child of a process outside; the master
    // listens before it makes its worker.
    let (mut master, mut worker) = (None, None);
    wait_until("nginx has a worker", || {
        master = child(nginx);
        worker = master.and_then(child);
        worker.is_some()
    });
    let (master, worker) = (master.expect("a master"), worker.expect("a worker"));
    // SAFETY: a process that the lab started for this test.
    unsafe { libc::kill(master as i32, libc::SIGKILL) };
    wait_until("nginx's master ends", || !alive(master));
    assert!(alive(worker), "the worker outlives its master");
    ok(&["down", &lab.0]);
    assert!(!alive(worker));
}

/// Every way to move packets moves them: balancer's daemon is replaced by one
/// that makes other system calls.
#[test]
fn the_tunnel_works_with_every_system_call() {
    if !privileged() {
        return;
    }
    for calls in [
        &[
            "--tun-read",
            "readv",
            "--tun-write",
            "writev",
            "--udp-send",
            "sendmsg",
            "--udp-recv",
            "recvmsg",
        ][..],
        &["--udp-send", "sendmmsg", "--udp-recv", "recvmmsg"],
        &[
            "--tun-read",
            "readv",
            "--udp-send",
            "sendmmsg",
            "--udp-recv",
            "recvfrom",
        ],
    ] {
        let lab = Named::new("calls");
        lab.up("flannel-udp");
        let mut other = replace_tunnel(&lab, calls);
        let page = lab.exec_ok(
            "balancer",
            &["curl", "-sS", "-m", "5", "http://192.168.13.2/"],
        );
        assert!(page.contains("greets"), "{calls:?}");
        let flood = [
            "ping",
            "-n",
            "-q",
            "-f",
            "-c",
            "300",
            "-s",
            "1400",
            "192.168.13.2",
        ];
        let ping = lab.exec_ok("balancer", &flood);
        assert!(ping.contains(" 0% packet loss"), "{calls:?}: {ping}");
        ok(&["down", &lab.0]);
        other.wait().expect("reaped");
        assert_eq!(lab.traces(), [""; 0], "{calls:?}");
    }
}

/// Ends balancer's daemon and starts the same command line with more arguments.
fn replace_tunnel(lab: &Named, more: &[&str]) -> Child {
    let status = lab.status().expect("the lab stands");
    let processes = status["processes"].as_array().expect("processes");
    let tunnel = processes
        .iter()
        .find(|process| process["name"] == "tunnel-balancer")
        .expect("a tunnel");
    let pid = tunnel["pid"].as_u64().expect("a pid");
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("a command line");
    let line: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
    // SAFETY: a process that the lab started for this test.
    unsafe { libc::kill(pid as i32, libc::SIGTERM) };
    wait_until("the daemon ends on SIGTERM", || !alive(pid));
    let ready = Path::new(line.last().expect("the ready file"));
    fs::remove_file(ready).expect("the ready file can be removed");
    let other = Command::new(NETDIG)
        .args(["lab", "exec", "balancer", "--name", &lab.0, "--"])
        .args([&line[..], more].concat())
        .spawn()
        .expect("netdig starts");
    wait_until("the other daemon is ready", || ready.exists());
    other
}

/// One by itself is shown to a person too. All of them: scripts/scenarios.
#[test]
fn a_scenario_holds_and_is_shown() {
    if !privileged() {
        return;
    }
    for name in ["flannel-udp", "overlay-swallows-underlay"] {
        let lab = Named::new(name);
        let shown = ok(&["run", name, "--name", &lab.0]);
        assert!(shown.contains(" packets decoded, "), "{shown}");
        assert_eq!(lab.traces(), [""; 0]);
    }
}
