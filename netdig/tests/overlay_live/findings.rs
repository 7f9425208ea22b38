//! Findings while packets flow.
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::daemons::Hosts;
use crate::watch::{NETDIG, Watch, parse};
use crate::world::{Scratch, privileged, run, wait_for};

/// A tun whose daemon knows nobody for an address: its packets are never sent.
fn with_lost_packet(fail_on: &str, count: &[&str]) -> (Option<i32>, Value) {
    let hosts = Hosts::new();
    let _daemon = hosts.daemon_a(&[]);
    let mut arguments = vec![
        "--netns",
        &hosts.a.name,
        "--fail-on",
        fail_on,
        "-i",
        "flannel0",
    ];
    arguments.extend(count);
    let watch = Watch::start(&arguments);
    let ping = hosts
        .a
        .command("ping")
        .args(["-n", "-c", "1", "-W", "1", "10.1.77.1"])
        .output()
        .expect("ping starts");
    assert!(!ping.status.success());
    let outcome = match count {
        [] => watch.stop(),
        _ => watch.outcome(),
    };
    (outcome.status.code(), outcome.summary)
}

#[test]
fn ctrl_c_ends_with_the_findings_and_their_exit_code() {
    if !privileged() {
        return;
    }
    let (code, summary) = with_lost_packet("critical", &[]);
    assert_eq!(code, Some(1), "{summary}");
    assert_eq!(summary["findings"]["critical"], 1, "{summary}");
}

#[test]
fn a_count_ends_with_them_as_well() {
    if !privileged() {
        return;
    }
    let (code, summary) = with_lost_packet("info", &["-c", "2"]);
    assert_eq!(code, Some(1), "{summary}");
}

/// A lab that stands, taken down when dropped.
struct Lab(String);

impl Lab {
    fn up(scenario: &str) -> Lab {
        let name = format!("test-{}-{scenario}", std::process::id());
        run(Command::new(NETDIG).args(["lab", "up", scenario, "--name", &name]));
        Lab(name)
    }

    fn command(&self, host: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(NETDIG);
        command.args(["lab", "exec", host, "--name", &self.0, "--"]);
        command.args(arguments);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new(NETDIG).args(["lab", "down", &self.0]).status();
    }
}

/// The overlay swallows the resolver: query, forged unreachable and what is wrong, with its
/// cause, stand there within a second of the first packet.
#[test]
fn the_field_case_is_told_within_a_second() {
    if !privileged() {
        return;
    }
    let lab = Lab::up("overlay-swallows-underlay");
    let scratch = Scratch::new();
    let objects = watched(&lab, &scratch);
    let is = |kind: &'static str| objects.iter().filter(move |one| one["kind"] == kind);
    let time = |one: &Value| one["ts_ns"].as_u64().expect("a time");
    let query = is("packet")
        .find(|one| one["udp"]["dport"] == 53)
        .expect("the query");
    assert_eq!(query["dns"]["queries"][0]["name"], "www.google.com");
    let forged = is("packet").find(|one| one["icmp"]["type"] == 3);
    assert_eq!(forged.expect("the unreachable")["ip"]["src"], "10.1.88.0");
    let began = is("packet").map(time).min().expect("packets");
    let last = |code: &str| is("finding").rfind(|one| one["code"] == code);
    for code in ["ND101", "ND102", "ND207"] {
        let one = last(code).unwrap_or_else(|| panic!("{code}: {objects:#?}"));
        let took_ms = time(one).saturating_sub(began) / 1_000_000;
        assert!(took_ms < 1000, "{code} took {took_ms} ms");
    }
    let overlap = last("ND101").unwrap();
    assert!(overlap.to_string().contains("10.1.0.2"), "{overlap}");
    let nameserver = last("ND102").unwrap();
    assert_eq!(nameserver["confidence"], "certain", "{nameserver}");
    let evidence = nameserver["evidence"].as_array().expect("evidence");
    let packet = evidence.iter().find(|one| one["source"] == "packet");
    assert!(
        packet
            .expect("the query")
            .to_string()
            .contains("www.google.com")
    );
    assert_eq!(last("ND207").unwrap()["cause"], "ND101");
}

/// What netdig prints on the host whose name look-up hangs.
fn watched(lab: &Lab, scratch: &Scratch) -> Vec<Value> {
    let (ready, printed) = (scratch.path("ready"), scratch.path("out"));
    let arguments = [
        NETDIG,
        "overlay",
        "--netns",
        "/proc/self/ns/net",
        "--format",
        "json",
        "-M",
        "4",
        "--ready-file",
        ready.to_str().unwrap(),
    ];
    let mut watch = lab
        .command("balancer", &arguments)
        .stdout(File::create(&printed).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("netdig starts");
    wait_for("netdig to be ready", || {
        Path::new(&ready).exists().then_some(())
    });
    let ping = ["timeout", "2", "ping", "-c", "1", "www.google.com"];
    let ping = lab.command("balancer", &ping).output().expect("it starts");
    assert!(!ping.status.success());
    assert!(watch.wait().expect("it ends").success());
    let text = std::fs::read_to_string(&printed).expect("what it printed");
    text.lines().map(parse).collect()
}
