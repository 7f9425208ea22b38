//! Flags, their combinations, and the help.

use super::against_tshark::capture;
use super::program::{NETDIG, Ran, Scratch, objects, overlay, overlay_fed, packets, tool};
use super::sets;
use std::path::PathBuf;
use std::process::Command;

fn raw(scratch: &Scratch) -> (PathBuf, Vec<u8>) {
    let set = sets::all()
        .into_iter()
        .find(|set| set.name == "raw")
        .unwrap();
    let bytes = capture(&set, usize::MAX);
    (scratch.file("in.pcap", &bytes), bytes)
}

#[test]
fn how_much_is_shown() {
    let scratch = Scratch::new("options");
    let (file, _) = raw(&scratch);
    let name = file.to_str().unwrap();
    let all = packets(&file).len();
    let run = |flags: &[&str]| overlay(&[&["-r", name], flags].concat()).fine().text();
    assert_eq!(run(&[]).lines().count(), all + 3);
    assert_eq!(
        run(&["-q"]),
        format!("{all} packets decoded, 0 pairs joined\n0 events lost\nno findings\n")
    );
    let counted = run(&["-c", "4"]);
    assert_eq!(counted.lines().count(), 4 + 3);
    assert!(counted.contains("\n4 packets decoded"), "{counted}");
    assert!(run(&["-v"]).starts_with("#1 "));
    assert!(run(&["--color", "always"]).contains("\x1b["));
    assert!(
        !run(&["--color", "auto"]).contains("\x1b["),
        "no terminal here"
    );
    assert!(run(&["-A", "-c", "4"]).contains("Host: myapp.org"));
    assert!(run(&["-x", "-c", "1"]).contains("\t0x0000:  4500"));
    assert!(run(&["-X", "-c", "4"]).contains("GET / HTTP/1.1"));
    let quiet = objects(run(&["-q", "--format=json"]).as_bytes());
    assert_eq!((quiet.len(), &quiet[0]["packets"]), (1, &all.into()));
    let counted = objects(run(&["-c2", "--format=json"]).as_bytes());
    assert_eq!((counted.len(), &counted[2]["packets"]), (3, &2.into()));
}

#[test]
fn reading_and_writing_at_once_converts() {
    let scratch = Scratch::new("convert");
    let (file, bytes) = raw(&scratch);
    let name = file.to_str().unwrap();
    let expected = packets(&file);
    let out = scratch.path("out.pcapng");
    let ran = overlay(&["-r", name, "-w", out.to_str().unwrap()]).fine();
    assert!(
        ran.text()
            .starts_with(&format!("{} packets", expected.len())),
        "{}",
        ran.text()
    );
    same(&packets(&out), &expected);
    // Classic pcap keeps packets only, and says so.
    let classic = scratch.path("out.pcap");
    let ran = overlay(&["-r", name, "-w", classic.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.err.contains(".pcapng") && ran.err.lines().count() == 1,
        "{}",
        ran.err
    );
    same(&packets(&classic), &expected);
    // From a pipe into a pipe; what is to be read goes to standard error.
    let ran = overlay_fed(&["-r", "-", "-w", "-"], &bytes);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("packets decoded"), "{}", ran.err);
    let piped = scratch.file("piped.pcapng", &ran.out);
    same(&packets(&piped), &expected);
    let ran = overlay(&["-r", name, "-w", "-", "--print", "--format=json"]);
    assert_eq!(objects(ran.err.as_bytes()).len(), expected.len() + 1);
    assert_eq!(
        ran.out.len(),
        std::fs::metadata(&piped).unwrap().len() as usize
    );
    for file in [&out, &classic, &piped] {
        let arguments = ["-n", "-r", file.to_str().unwrap()];
        let Some(output) = tool("tshark", &arguments) else {
            return;
        };
        assert!(output.status.success());
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).lines().count(),
            expected.len()
        );
    }
}

/// `-s` cuts what is read, and what is written of it.
#[test]
fn a_snap_length_cuts_files_too() {
    let scratch = Scratch::new("snap-length");
    let (file, _) = raw(&scratch);
    let (file, cut) = (file.to_str().unwrap(), scratch.path("cut.pcapng"));
    let arguments = ["-r", file, "-s", "24", "-w", cut.to_str().unwrap()];
    assert_eq!(overlay(&arguments).code, Some(0));
    let whole = packets(file.as_ref());
    let cut = packets(&cut);
    assert_eq!(cut.len(), whole.len());
    for (cut, whole) in cut.iter().zip(&whole) {
        assert_eq!(cut["len"], whole["len"]);
        assert_eq!(
            cut["caplen"].as_u64(),
            whole["caplen"].as_u64().map(|len| len.min(24))
        );
    }
}

fn same(read: &[serde_json::Value], expected: &[serde_json::Value]) {
    assert_eq!(read.len(), expected.len());
    for (one, other) in read.iter().zip(expected) {
        for field in [
            "n", "ts_ns", "layers", "ip", "tcp", "udp", "dns", "icmp", "len", "summary",
        ] {
            assert_eq!(one[field], other[field]);
        }
    }
}

fn wrong(arguments: &[&str], words: &[&str]) {
    let ran = overlay(arguments).failed(words);
    assert!(ran.out.is_empty(), "{arguments:?} prints {:?}", ran.text());
}

#[test]
fn wrong_usage_gets_a_hint() {
    wrong(&["--no-such-flag"], &["--no-such-flag", "--help"]);
    wrong(&["--fromat=json"], &["--format"]);
    wrong(&["--format=xml"], &["xml", "text", "json"]);
    wrong(&["-c", "0"], &["0"]);
    wrong(&["-c", "many"], &["many"]);
    wrong(&["-M", "-1"], &["-1"]);
    wrong(&["-M", "soon"], &["seconds"]);
    wrong(&["-s", "999999999"], &["999999999"]);
    wrong(&["-A", "-x"], &["-A", "-x"]);
    wrong(&["-r", "x", "-i", "lo"], &["--read", "--iface"]);
    wrong(&["--encap", "vxlan"], &["NAME:PORT"]);
    wrong(&["--encap", "nonsense:1"], &["nonsense", "vxlan"]);
    wrong(&["--encap", "vxlan:99999"], &["99999"]);
    wrong(&["-r"], &["FILE"]);
    wrong(&["--print", "-r", "x"], &["--write"]);
}

#[test]
fn other_ports_of_tunnels() {
    let scratch = Scratch::new("encap");
    let set = sets::all()
        .into_iter()
        .find(|set| set.name == "flannel-udp")
        .unwrap();
    let mut bytes = capture(&set, usize::MAX);
    for at in 0..bytes.len() - 1 {
        if bytes[at..at + 2] == 8285u16.to_be_bytes() {
            bytes[at..at + 2].copy_from_slice(&7890u16.to_be_bytes());
        }
    }
    let file = scratch.file("other.pcap", &bytes);
    assert!(packets(&file)[0]["encap"].is_null());
    let name = file.to_str().unwrap();
    let ran = overlay(&["-r", name, "--format=json", "--encap", "flannel-udp:7890"]).fine();
    let read = objects(&ran.out);
    for packet in &read[..read.len() - 1] {
        assert_eq!(packet["encap"][0]["proto"], "flannel-udp", "{packet}");
        assert_eq!(packet["encap"][0]["outer"]["dport"], 7890);
    }
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(NETDIG)
        .args(arguments)
        .env("COLUMNS", "100")
        .output();
    Ran::from(output.expect("netdig starts")).fine().text()
}

/// The help is what people learn the program from: a change of it is seen here.
/// `UPDATE_HELP=1` writes it anew.
#[test]
fn the_help() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/overlay_files/");
    for (name, arguments) in [
        ("help.txt", &["--help"][..]),
        ("help-overlay.txt", &["overlay", "--help"]),
    ] {
        let path = PathBuf::from(folder).join(name);
        let shown = help(arguments);
        if std::env::var_os("UPDATE_HELP").is_some() {
            std::fs::write(&path, &shown).expect("the help is written");
        }
        let kept = std::fs::read_to_string(&path).expect("the kept help");
        assert_eq!(
            shown, kept,
            "run the test with UPDATE_HELP=1 if that is meant"
        );
    }
    assert_eq!(
        help(&["--version"]),
        format!("netdig {}\n", env!("CARGO_PKG_VERSION"))
    );
}
