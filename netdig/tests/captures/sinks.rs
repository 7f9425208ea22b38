//! Where captures go: pipes that are read at once, closed pipes, full disks.

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use decoders::LinkType;
use netdig::observation::{Observation, Via};
use netdig::output::capture::{CaptureWriter, FrameMeta, WriteError};
use netdig::source::pcap::CaptureReader;

use crate::craft::udp;
use crate::writing::{frame, interface};
use crate::{Scratch, tool};

#[test]
fn each_packet_is_seen_at_once_on_a_pipe() {
    let (read, write) = std::io::pipe().expect("a pipe");
    let mut writer = CaptureWriter::pcapng(write, "pipe", true).expect("the reader is there");
    let mut reader = CaptureReader::new(read, "pipe");
    let data = udp(100, 1);
    for n in 1..=3_u64 {
        let frame = frame(&data, Via::TunRead, LinkType::RawIp, n);
        writer
            .write_frame(
                &interface("tun0", LinkType::RawIp),
                &frame,
                &FrameMeta::default(),
            )
            .expect("room");
        match reader.next() {
            Ok(Some(Observation::Frame(frame))) => assert_eq!(frame.file_n, Some(n)),
            other => panic!("no frame: {other:?}"),
        }
    }
    drop(reader);
    // A child that another test forks holds the pipe's end until it executes.
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        assert!(Instant::now() < deadline, "the closed pipe is not noticed");
        let frame = frame(&data, Via::TunRead, LinkType::RawIp, 9);
        let tun = interface("tun0", LinkType::RawIp);
        match writer.write_frame(&tun, &frame, &FrameMeta::default()) {
            Ok(()) => std::thread::park_timeout(Duration::from_millis(50)),
            Err(error) => break error,
        }
    };
    assert!(error.is_closed_pipe(), "{error}");
}

#[test]
fn a_full_disk_leaves_whole_packets() {
    // A file whose size limit is reached takes part of a write, as a full disk does.
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let error = CaptureWriter::pcapng(full, "/dev/full", true)
        .err()
        .map(|error| error.to_string());
    let told = error.unwrap_or_default();
    assert!(
        told.starts_with("cannot write /dev/full: No space left on device"),
        "{told}"
    );
    let Some(mount) = TinyDisk::new() else { return };
    for name in ["out.pcapng", "out.pcap"] {
        let path = mount.0.join(name);
        let mut writer = CaptureWriter::create(&path, false).expect("room for a name");
        let data = udp(1400, 1);
        let tun = interface("tun0", LinkType::RawIp);
        let error = (0..10_000).find_map(|n| {
            let frame = frame(&data, Via::TunRead, LinkType::RawIp, n);
            writer
                .write_frame(&tun, &frame, &FrameMeta::default())
                .err()
        });
        let Some(WriteError::Write {
            packets, source, ..
        }) = &error
        else {
            panic!("no error: {error:?}")
        };
        assert_eq!(source.raw_os_error(), Some(libc::ENOSPC));
        assert!(writer.finish().is_err());
        let read = crate::read_all(CaptureReader::open(&path).expect("it is there"));
        assert!(read.error.is_none(), "{:?}", read.error);
        assert_eq!(read.frames.len() as u64, *packets);
        assert!(*packets > 100);
        std::fs::remove_file(&path).expect("it is there");
    }
}

/// A file system of 1 MiB, unmounted with it.
struct TinyDisk(std::path::PathBuf, #[allow(dead_code)] Scratch);

impl TinyDisk {
    fn new() -> Option<TinyDisk> {
        let scratch = Scratch::new("tiny-disk");
        let path = scratch.0.join("disk");
        std::fs::create_dir(&path).expect("a directory");
        let (done, _, err) = tool(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "size=1m",
                "none",
                path.to_str().unwrap_or_default(),
            ],
        )?;
        if !done {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "mounting failed: {err}"
            );
            eprintln!("skipped: mounting a small file system: {err}");
            return None;
        }
        Some(TinyDisk(path, scratch))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// `netdig overlay -w - | tshark -i -`: a line for each packet before the pipe is closed.
#[test]
fn tshark_on_a_pipe_shows_packets_as_they_come() {
    let child = Command::new("tshark")
        .args([
            "-n",
            "-l",
            "-i",
            "-",
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "frame.interface_name",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(_) => return drop(tool("tshark", &["--version"])),
    };
    let stdin = child.stdin.take().expect("it was piped");
    let stdout = child.stdout.take().expect("it was piped");
    let (send, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in std::io::BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
        {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut writer = CaptureWriter::pcapng(stdin, "tshark", true).expect("tshark reads");
    let data = udp(100, 1);
    for n in 1..=4_u64 {
        // The third comes from an interface that is described in the middle.
        let name = if n == 3 { "udp:8285" } else { "flannel0" };
        let frame = frame(&data, Via::TunRead, LinkType::RawIp, n);
        writer
            .write_frame(
                &interface(name, LinkType::RawIp),
                &frame,
                &FrameMeta::default(),
            )
            .expect("tshark reads");
        let line = lines.recv_timeout(Duration::from_secs(30));
        assert_eq!(line, Ok(format!("{n}\t{name}")), "while the pipe is open");
    }
    writer.finish().expect("tshark reads");
    assert!(child.wait().is_ok_and(|status| status.success()));
    reader.join().expect("the reading thread");
}
