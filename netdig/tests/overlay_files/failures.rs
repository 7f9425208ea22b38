//! What cannot be done ends with 2 and a sentence that says what and what next.

use super::against_tshark::capture;
use super::program::{NETDIG, Ran, Scratch, command, is_root, overlay, overlay_fed, packets, tool};
use super::sets::{self, Set};
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn set(name: &str) -> Set {
    sets::all()
        .into_iter()
        .find(|set| set.name == name)
        .expect("a set")
}

#[test]
fn files_that_cannot_be_read() {
    let scratch = Scratch::new("unreadable");
    let path = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let read = |name: &str| overlay(&["-r", &path(name)]);
    let failed = |name: &str, words: &[&str]| {
        let ran = read(name).failed(words);
        assert!(
            ran.err.starts_with("netdig: ") && ran.err.contains(name),
            "{}",
            ran.err
        );
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    };
    failed("missing.pcap", &["No such file"]);
    std::fs::create_dir(scratch.path("folder")).unwrap();
    failed("folder", &["directory"]);
    scratch.file("empty.pcap", b"");
    failed("empty.pcap", &["empty"]);
    scratch.file("short.pcap", &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0]);
    failed("short.pcap", &["cut short"]);
    scratch.file("notes.txt", b"Dear diary, nothing was captured today.\n");
    failed("notes.txt", &["not a capture", "pcap"]);
    scratch.file("packed.pcap.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03abc");
    failed("packed.pcap.gz", &["gzip", "gunzip"]);
    overlay_fed(&["-r", "-"], b"").failed(&["standard input", "empty"]);
    overlay_fed(&["-r", "-"], b"nothing like it at all")
        .failed(&["standard input", "not a capture"]);
}

#[test]
fn full_disks() {
    let scratch = Scratch::new("full");
    let file = scratch.file("in.pcap", &capture(&set("raw"), usize::MAX));
    let name = file.to_str().unwrap();
    for format in ["--format=text", "--format=json"] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        let output = command(&["-r", name, format]).stdout(full).output();
        Ran::from(output.unwrap()).failed(&["standard output", "No space left"]);
    }
    overlay(&["-r", name, "-w", "/dev/full"]).failed(&["/dev/full", "No space left"]);
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let output = command(&["-r", name, "-w", "-"]).stdout(full).output();
    Ran::from(output.unwrap()).failed(&["standard output", "No space left"]);
    let nowhere = scratch.path("no/such/folder/out.pcapng");
    overlay(&["-r", name, "-w", nowhere.to_str().unwrap()])
        .failed(&["cannot create", "No such file"]);
}

/// A file system of 64 KiB, unmounted with it.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: std::path::PathBuf) -> Option<SmallDisk> {
        std::fs::create_dir(&path).expect("a mount point");
        let arguments = [
            "-t",
            "tmpfs",
            "-o",
            "size=64k",
            "tmpfs",
            path.to_str().unwrap(),
        ];
        let output = tool("mount", &arguments)?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_keeps_whole_packets() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("tmpfs");
    let mut many = set("flannel-udp");
    many.frames = many.frames.iter().cycle().take(5000).cloned().collect();
    let file = scratch.file("in.pcap", &capture(&many, usize::MAX));
    let Some(disk) = SmallDisk::mount(scratch.path("disk")) else {
        return;
    };
    let out = disk.0.join("out.pcapng");
    let arguments = ["-r", file.to_str().unwrap(), "-w", out.to_str().unwrap()];
    let ran = overlay(&arguments).failed(&["out.pcapng", "No space left", "whole and readable"]);
    assert!(
        ran.text().contains("packets decoded"),
        "the summary comes in any case"
    );
    let kept = packets(&out).len();
    assert!(kept > 100, "{kept} packets were kept");
    assert!(ran.err.contains(&format!("packet {kept}")), "{}", ran.err);
}

#[test]
fn who_has_seen_enough_ends_it_silently() {
    let scratch = Scratch::new("pipe");
    let mut many = set("raw");
    many.frames = many.frames.iter().cycle().take(20_000).cloned().collect();
    let file = scratch.file("in.pcap", &capture(&many, usize::MAX));
    let name = file.to_str().unwrap();
    for flags in [&["--format=text"][..], &["--format=json"], &["-w", "-"]] {
        let arguments = [&["-r", name], flags].concat();
        let mut child = command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netdig starts");
        let mut pipe = BufReader::with_capacity(16, child.stdout.take().expect("a pipe"));
        pipe.fill_buf().expect("a beginning");
        drop(pipe);
        let ran = Ran::from(child.wait_with_output().expect("netdig ends"));
        assert_eq!(ran.code, Some(0), "{flags:?}: {}", ran.err);
        assert!(!ran.err.contains("netdig: "), "{flags:?}: {}", ran.err);
    }
}

#[test]
fn a_capture_is_not_written_to_a_terminal() {
    let scratch = Scratch::new("terminal");
    let file = scratch.file("in.pcap", &capture(&set("raw"), usize::MAX));
    // `script` gives its program a terminal.
    let line = format!("{NETDIG} overlay -r {} -w -; echo code=$?", file.display());
    let Some(output) = tool("script", &["-qec", &line, "/dev/null"]) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("terminal") && said.contains("code=2"),
        "{said}"
    );
    assert!(said.contains("wireshark"), "what to do instead: {said}");
}

#[test]
fn interfaces_that_do_not_exist() {
    if !is_root() {
        return;
    }
    let ran = overlay(&["-i", "nosuchdev0"]).failed(&["nosuchdev0"]);
    assert!(
        ran.err.contains("lo"),
        "the names that there are: {}",
        ran.err
    );
    overlay(&["--netns", "no-such-namespace"]).failed(&["no-such-namespace"]);
}

/// netdig as somebody who may nothing: a user without groups and capabilities.
fn as_nobody(scratch: &Scratch, arguments: &[&str]) -> Option<Ran> {
    let program = scratch.path("netdig");
    if !program.exists() {
        std::fs::copy(NETDIG, &program).expect("a copy that anybody can run");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    let mut all = vec![
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
    ];
    all.extend([program.to_str().unwrap(), "overlay"]);
    all.extend(arguments);
    tool("setpriv", &all).map(Ran::from)
}

#[test]
fn without_permission() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("nobody");
    let open = Permissions::from_mode(0o755);
    std::fs::set_permissions(scratch.path("."), open).unwrap();
    let file = scratch.file("in.pcap", &capture(&set("raw"), usize::MAX));
    let name = file.to_str().unwrap();
    let Some(ran) = as_nobody(&scratch, &["-M", "1"]) else {
        return;
    };
    let ran = ran.failed(&["CAP_BPF", "-r"]);
    assert!(ran.out.is_empty());
    let ran = as_nobody(&scratch, &["-i", "lo", "-M", "1"]).unwrap();
    ran.failed(&["CAP_NET_RAW"]);
    // Files need no permission but their own.
    let ran = as_nobody(&scratch, &["-r", name]).unwrap().fine();
    assert!(ran.text().ends_with("no findings\n"));
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    as_nobody(&scratch, &["-r", name])
        .unwrap()
        .failed(&["in.pcap", "Permission denied"]);
    let out = scratch.path("out.pcapng");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let ran = as_nobody(&scratch, &["-r", name, "-w", out.to_str().unwrap()]).unwrap();
    ran.failed(&["out.pcapng", "Permission denied"]);
}

#[test]
fn a_capture_is_not_written_onto_itself() {
    let scratch = Scratch::new("itself");
    let bytes = capture(&set("raw"), usize::MAX);
    let file = scratch.file("in.pcap", &bytes);
    let link = scratch.path("link.pcap");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let (file, link) = (file.to_str().unwrap(), link.to_str().unwrap());
    for other in [file, link] {
        overlay(&["-r", file, "-w", other]).failed(&["would be overwritten"]);
        assert!(std::fs::read(file).unwrap() == bytes, "it is as it was");
    }
}

/// Nothing comes, and nobody ends the stream: time and signals end the run.
#[test]
fn a_silent_pipe_does_not_keep_it() {
    for signal in [None, Some(libc::SIGINT), Some(libc::SIGTERM)] {
        let mut arguments = vec!["-r", "-", "--format", "json"];
        if signal.is_none() {
            arguments.extend(["-M", "0.3"]);
        }
        let mut child = command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // One packet shows that it reads, and so that it listens to signals.
        let bytes = capture(&set("raw"), usize::MAX);
        std::io::Write::write_all(&mut input, &bytes).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("\"packet\""));
        if let Some(signal) = signal {
            // SAFETY: a child that was not waited for.
            unsafe { libc::kill(child.id() as i32, signal) };
        }
        let last = lines.last().unwrap().unwrap();
        assert!(last.contains("\"summary\""), "{last}");
        assert!(child.wait().unwrap().success());
        drop(input);
    }
}

/// `netdig overlay -r F -w - | head -c 100`: without a word, not even the summary.
#[test]
fn a_capture_that_nobody_reads_ends_silently() {
    let scratch = Scratch::new("closed");
    let mut large = set("raw");
    // More than a pipe holds, so that it is noticed while packets go.
    large.frames = large.frames.iter().cycle().take(20_000).cloned().collect();
    let file = scratch.file("in.pcap", &capture(&large, usize::MAX));
    let mut child = command(&["-r", file.to_str().unwrap(), "-w", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 100];
    let mut output = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut output, &mut some).unwrap();
    drop(output);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn letters_of_other_tools_get_a_hint() {
    for (argument, words) in [
        ("-p", "--pid"),
        ("-C", "rotated"),
        ("tcp", "filter expressions"),
    ] {
        overlay(&[argument, "1"]).failed(&["hint: ", words]);
    }
}
