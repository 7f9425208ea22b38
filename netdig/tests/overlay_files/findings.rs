//! Findings of a file's packets: exit codes, `-q`, comments on packets, and the same each time.
use serde_json::Value;

use super::craft::Pcap;
use super::program::{Ran, Scratch, objects, overlay, tool};
use std::path::PathBuf;

/// A query read from a tun, and the unreachable that its daemon writes from its own address.
fn capture(scratch: &Scratch) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../decoders/tests/vectors");
    let mut pcap = Pcap::new(false, 0xa1b2_c3d4, 262_144, 101);
    for name in [
        "08-dns-query-read-from-tun",
        "09-icmp-unreachable-written-to-tun",
    ] {
        let text = std::fs::read_to_string(format!("{folder}/{name}.hex")).expect("a vector");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let packet: Vec<u8> = lines
            .flat_map(|line| line.split_whitespace().skip(1))
            .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"))
            .collect();
        pcap.record(1_408_000_000, 250_000, packet.len() as u32, &packet);
    }
    scratch.file("case.pcap", &pcap.0.out)
}

fn run(scratch: &Scratch, arguments: &[&str]) -> Ran {
    let file = capture(scratch);
    let mut all = vec!["-r", file.to_str().unwrap()];
    all.extend(arguments);
    overlay(&all)
}

#[test]
fn fail_on_decides_about_the_exit_code() {
    let scratch = Scratch::new("fail-on");
    for (arguments, code) in [
        (&[][..], 0),
        (&["--fail-on", "info"], 1),
        (&["--fail-on", "info", "-q"], 1),
        (&["--fail-on", "info", "--format", "json"], 1),
        (&["--fail-on", "medium"], 0),
        (&["--fail-on", "critical"], 0),
        // Nothing is concluded from the query alone.
        (&["--fail-on", "info", "-c", "1"], 0),
    ] {
        assert_eq!(run(&scratch, arguments).code, Some(code), "{arguments:?}");
    }
}

#[test]
fn quiet_runs_tell_findings_too() {
    let scratch = Scratch::new("quiet-findings");
    let text = run(&scratch, &["-q"]).fine().text();
    assert!(text.contains("INFO ND207"), "{text}");
    assert!(!text.contains("Standard query"), "{text}");
    let objects = objects(&run(&scratch, &["-q", "--format", "json"]).fine().out);
    let kinds: Vec<&Value> = objects.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["finding", "summary"]);
    assert_eq!(objects[0]["code"], "ND207");
}

#[test]
fn packets_bear_the_findings_that_they_show() {
    let scratch = Scratch::new("comments");
    let written = scratch.path("out.pcapng");
    run(&scratch, &["-w", written.to_str().unwrap()]).fine();
    let arguments = ["-T", "fields", "-e", "frame.number", "-e", "frame.comment"];
    let file = written.to_str().unwrap();
    let Some(output) = tool("tshark", &[&["-r", file][..], &arguments].concat()) else {
        return;
    };
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with('1') && !lines[0].contains("Finding"),
        "{text}"
    );
    assert!(
        lines[1].contains("Finding: ND207 ICMP network-unreachable"),
        "{text}"
    );
}

#[test]
fn a_file_says_the_same_each_time() {
    let scratch = Scratch::new("same");
    for format in ["text", "json"] {
        let ran = || run(&scratch, &["--format", format]).fine().out;
        let first = without_end(&ran());
        assert!(first.contains("ND207"));
        for _ in 0..4 {
            assert_eq!(without_end(&ran()), first);
        }
    }
}

/// JSON's summary bears the time of the run.
fn without_end(out: &[u8]) -> String {
    let text = String::from_utf8_lossy(out);
    let lines = text.lines().filter(|line| !line.contains("\"summary\""));
    lines.collect::<Vec<_>>().join("\n")
}
