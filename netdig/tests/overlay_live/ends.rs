//! How runs end, and what they leave: whole files, and nothing in the kernel.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::daemons::Hosts;
use crate::net::{ipv4, ipv6};
use crate::play::{Player, Stage, play};
use crate::watch::{NETDIG, Outcome, Watch, packets, parse};
use crate::world::{Namespace, Scratch, has, privileged, run, wait_for};

const HOME: &str = "127.0.0.1:8285";

/// Sends so many packets at each cue.
fn sender(namespace: &Namespace, count: u16) -> Player {
    let mut player = play(Some(namespace), |stage| {
        let socket = UdpSocket::bind(HOME).unwrap();
        loop {
            stage.cue();
            for id in 0..count {
                let packet = if id % 5 == 4 {
                    ipv6(id, 90)
                } else {
                    ipv4(id, 80)
                };
                socket.send_to(&packet, HOME).unwrap();
            }
            stage.tell("sent");
        }
    });
    player.expect("up");
    player
}

fn send(player: &mut Player) {
    player.cue();
    player.expect("sent");
}

/// A packet every millisecond until it is dropped.
fn ticker(namespace: &Namespace) -> Player {
    let mut player = play(Some(namespace), |stage: &mut Stage| {
        let socket = UdpSocket::bind(HOME).unwrap();
        stage.cue();
        for id in 0.. {
            socket.send_to(&ipv4(id, 80), HOME).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    player.expect("up");
    player
}

/// Fields of each packet of a file, as tshark reads it.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = run(command.env("LC_ALL", "C"));
    let told = String::from_utf8_lossy(&output.stderr);
    for bad in ["cut short", "appears to be damaged", "error"] {
        assert!(!told.contains(bad), "{told}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines();
    lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn check_file(file: &Path, outcome: &Outcome) {
    let read = tshark(file, &["frame.number", "frame.len", "ip.src"]);
    assert_eq!(read.len(), outcome.packets.len());
    for (fields, packet) in read.iter().zip(&outcome.packets) {
        assert_eq!(fields[1], packet["len"].to_string());
        if packet["ip"]["version"] == 4 {
            assert_eq!(fields[2], packet["ip"]["src"]);
        }
    }
}

#[test]
fn signals_end_a_run_with_a_whole_file() {
    if !privileged() || !has("tshark") {
        return;
    }
    let namespace = Namespace::new();
    let scratch = Scratch::new();
    let mut sender = sender(&namespace, 100);
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    let files = signals.map(|signal| scratch.path(&format!("{signal}.pcapng")));
    let runs = files.each_ref().map(|file| {
        let file = file.to_str().unwrap();
        Watch::spawn(&["--netns", &namespace.name, "-w", file, "--print"])
    });
    let runs = runs.map(Watch::ready);
    send(&mut sender);
    for ((watch, signal), file) in runs.into_iter().zip(signals).zip(&files) {
        // At once: what is in the ring still counts.
        let outcome = watch.signal(signal).whole();
        assert_eq!(outcome.packets.len(), 100, "signal {signal}");
        assert_eq!(outcome.summary["packets"], 100);
        check_file(file, &outcome);
    }
}

#[test]
fn a_count_and_a_duration_end_a_run() {
    if !privileged() || !has("tshark") {
        return;
    }
    let namespace = Namespace::new();
    let scratch = Scratch::new();
    let file = scratch.path("counted.pcapng");
    let mut ticker = ticker(&namespace);
    let netns = ["--netns", namespace.name.as_str()];
    let with_file = [
        &netns[..],
        &["-c", "7", "-w", file.to_str().unwrap(), "--print"],
    ]
    .concat();
    let counted = Watch::spawn(&with_file);
    let timed = Watch::spawn(&[&netns[..], &["-M", "0.3", "-s", "50"]].concat());
    ticker.cue();
    let outcome = counted.outcome().whole();
    assert_eq!(outcome.packets.len(), 7);
    assert_eq!(outcome.summary["packets"], 7);
    check_file(&file, &outcome);
    let outcome = timed.outcome().whole();
    assert!(!outcome.packets.is_empty());
    assert_eq!(outcome.summary["packets"], outcome.packets.len());
    for packet in &outcome.packets {
        assert_eq!(
            (&packet["caplen"], &packet["len"]),
            (&50.into(), &80.into())
        );
    }
    let times: Vec<_> = outcome
        .packets
        .iter()
        .map(|packet| packet["ts_ns"].as_u64().unwrap())
        .collect();
    assert!(times.is_sorted());
    assert!(
        times[times.len() - 1] - times[0] < 1_500_000_000,
        "{}",
        times.len()
    );
}

/// `netdig overlay | head -1`: netdig ends by itself, without a word.
#[test]
fn a_closed_pipe_ends_a_run() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let mut ticker = ticker(&namespace);
    ticker.cue();
    for format in ["text", "json"] {
        let mut child = Command::new(NETDIG)
            .args(["overlay", "--netns", &namespace.name, "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut pipe = BufReader::new(child.stdout.take().unwrap());
        pipe.read_line(&mut line).unwrap();
        assert!(line.contains("10.77.0.2"), "{line}");
        drop(pipe);
        let status = wait_for("netdig to end", || child.try_wait().unwrap());
        let mut told = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut told)
            .unwrap();
        assert_eq!((status.code(), told.as_str()), (Some(0), ""));
    }
}

/// Programs and links that a process holds, as `bpftool` numbers them. Maps go
/// with the programs; they are not asked for, as the kernel forgets to free an
/// array of programs that is opened while it is being emptied.
fn in_kernel(pid: u32) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .unwrap()
        .flatten()
    {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            for (start, what) in [("prog_id:", "prog"), ("link_id:", "link")] {
                if let Some(id) = line.strip_prefix(start) {
                    found.push((what, id.trim().to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn killed_it_leaves_nothing_and_the_next_works() {
    if !privileged() || !has("bpftool") {
        return;
    }
    let namespace = Namespace::new();
    let scratch = Scratch::new();
    let file = scratch.path("killed.pcapng");
    let mut sender = sender(&namespace, 50);
    for _ in 0..2 {
        let arguments = [
            "--netns",
            &namespace.name,
            "--print",
            "-w",
            file.to_str().unwrap(),
        ];
        let watch = Watch::start(&arguments);
        send(&mut sender);
        watch.until_count(50);
        let held = in_kernel(watch.pid());
        assert!(held.iter().any(|(what, _)| *what == "prog"), "{held:?}");
        assert!(held.iter().any(|(what, _)| *what == "link"), "{held:?}");
        let outcome = watch.signal(libc::SIGKILL);
        assert_eq!(outcome.packets.len(), 50);
        for (what, id) in held {
            wait_for(&format!("the kernel to drop {what} {id}"), || {
                let shown = Command::new("bpftool")
                    .args([what, "show", "id", &id])
                    .output();
                (!shown.unwrap().status.success()).then_some(())
            });
        }
        // Packets that were printed are in the file, though nobody closed it.
        assert_eq!(tshark(&file, &["frame.number"]).len(), 50);
    }
}

/// `-w - | tshark`: packets are shown while netdig runs.
#[test]
fn a_reader_sees_packets_as_they_come() {
    if !privileged() || !has("tshark") {
        return;
    }
    let namespace = Namespace::new();
    let mut sender = sender(&namespace, 10);
    for how in ["-r", "-i"] {
        let scratch = Scratch::new();
        let ready = scratch.path("ready");
        let mut netdig = Command::new(NETDIG)
            .args([
                "overlay",
                "--netns",
                &namespace.name,
                "-w",
                "-",
                "--ready-file",
            ])
            .arg(&ready)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tshark = Command::new("tshark")
            .args([
                how,
                "-",
                "-l",
                "-n",
                "-T",
                "fields",
                "-e",
                "frame.number",
                "-e",
                "frame.len",
            ])
            .env("LC_ALL", "C")
            .stdin(netdig.stdout.take().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("netdig to be ready", || ready.exists().then_some(()));
        let mut lines = BufReader::new(tshark.stdout.take().unwrap()).lines();
        for round in 0..3 {
            send(&mut sender);
            for n in 1..=10 {
                let line = lines.next().expect("a packet").unwrap();
                let length = if n % 5 == 0 { 90 } else { 80 };
                assert_eq!(line, format!("{}\t{length}", round * 10 + n));
            }
        }
        // SAFETY: a child of ours that was not waited for yet.
        unsafe { libc::kill(netdig.id() as i32, libc::SIGINT) };
        assert!(lines.next().is_none());
        assert!(tshark.wait().unwrap().success());
        let output = netdig.wait_with_output().unwrap();
        assert!(output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("30 packets decoded"), "{told}");
    }
}

/// A run that is written and printed, and its file, read again.
#[test]
fn a_replay_shows_what_the_live_run_showed() {
    if !privileged() {
        return;
    }
    let hosts = Hosts::new();
    let scratch = Scratch::new();
    let file = scratch.path("run.pcapng");
    let file = file.to_str().unwrap();
    let (_a, _b) = (
        hosts.daemon_a(&["--udp-recv", "recvfrom"]),
        hosts.daemon_b(),
    );
    let watch = Watch::start(&["--netns", &hosts.a.name, "-w", file, "--print"]);
    hosts.ping(4);
    hosts.a.inside(|| {
        let socket = UdpSocket::bind("10.1.69.0:0").unwrap();
        // A DNS query, and a port that nobody listens on.
        socket
            .send_to(
                b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04some\x04name\0\0\x01\0\x01",
                "10.1.13.0:53",
            )
            .unwrap();
        socket.send_to(&[7; 3000], "10.1.13.0:4000").unwrap();
    });
    watch.until("the unreachable", |seen| {
        seen.iter()
            .any(|packet| packet["icmp"]["type"] == 3 && packet["via"] == "tun-write")
    });
    let live = watch.stop().whole();
    let replayed = Command::new(NETDIG)
        .args(["overlay", "--format", "json", "-r", file])
        .output()
        .unwrap();
    assert!(replayed.status.success());
    let text = String::from_utf8(replayed.stdout).unwrap();
    let objects: Vec<Value> = text.lines().map(parse).collect();
    let replayed = packets(&objects);
    assert_eq!(live.packets.len(), replayed.len());
    for (live, replayed) in live.packets.iter().zip(&replayed) {
        assert_eq!(live, replayed);
    }
    for total in [
        "packets",
        "bytes",
        "joined",
        "unsent",
        "unwritten",
        "undecoded",
    ] {
        assert_eq!(
            live.summary[total],
            objects[objects.len() - 1][total],
            "{total}"
        );
    }
}
