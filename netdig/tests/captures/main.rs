//! Captures, end to end: read, written, live off a link, and against tshark.

mod craft;
mod damage;
mod live;
mod reading;
mod sinks;
mod writing;

use std::path::Path;
use std::process::Command;

use netdig::observation::{Observation, ProcessEvent};
use netdig::source::pcap::{CaptureError, CaptureReader};

/// A frame without its borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub ts_ns: u64,
    pub data: Vec<u8>,
    pub orig_len: u32,
    pub interface: u32,
    pub file_n: Option<u64>,
}

/// Everything that a reader gives, and how it ended.
pub struct Read {
    pub frames: Vec<Seen>,
    pub processes: Vec<ProcessEvent>,
    pub error: Option<CaptureError>,
    pub interfaces: Vec<netdig::observation::Interface>,
}

pub fn read_all(mut reader: CaptureReader) -> Read {
    let (mut frames, mut processes) = (Vec::new(), Vec::new());
    let error = loop {
        match reader.next() {
            Ok(Some(Observation::Frame(frame))) => frames.push(Seen {
                ts_ns: frame.ts_ns,
                data: frame.data.to_vec(),
                orig_len: frame.orig_len,
                interface: frame.interface,
                file_n: frame.file_n,
            }),
            Ok(Some(Observation::Process(event))) => processes.push(event),
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    if error.is_some() {
        assert!(matches!(reader.next(), Ok(None)), "an error is told once");
    }
    Read {
        frames,
        processes,
        error,
        interfaces: reader.interfaces().to_vec(),
    }
}

pub fn read_bytes(bytes: &[u8]) -> Read {
    read_all(CaptureReader::new(
        std::io::Cursor::new(bytes.to_vec()),
        "test",
    ))
}

/// Runs a program that must be there in CI; `None` (said so) where it is not.
pub fn tool(program: &str, arguments: &[&str]) -> Option<(bool, String, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some((
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
        Err(error) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("{program} is needed in CI: {error}")
        }
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}

/// The named fields of each frame, as tshark reads the file.
pub fn tshark_fields(path: &Path, fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let path = path.to_str().expect("a test's path is text");
    let mut arguments = vec![
        "-n",
        "-r",
        path,
        "-T",
        "fields",
        "-E",
        "separator=\u{1}",
        "-E",
        "aggregator=\u{2}",
    ];
    for field in fields {
        arguments.extend(["-e", field]);
    }
    let (done, out, err) = tool("tshark", &arguments)?;
    let complaints: Vec<&str> = err
        .lines()
        .filter(|line| !line.starts_with("Running as user"))
        .collect();
    assert!(
        done && complaints.is_empty(),
        "tshark complains: {complaints:?}"
    );
    Some(
        out.lines()
            .map(|line| line.split('\u{1}').map(str::to_owned).collect())
            .collect(),
    )
}

/// A directory of the test's own, removed with it.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("netdig-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Scratch(path)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file of the test");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
