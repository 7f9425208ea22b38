//! netdig and other programs, run to their end.

use super::sets::{FOU, FOU_V6};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");

/// How a program ended and what it said.
pub struct Ran {
    /// `None` where a signal killed it.
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("standard output is UTF-8")
    }

    /// The run must have gone well and said nothing.
    pub fn fine(self) -> Ran {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""));
        self
    }

    /// The run must have ended with 2 and a sentence with all these words.
    pub fn failed(self, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(2), "exit code; it said: {}", self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("panicked"), "{err}");
        Ran {
            code: output.status.code(),
            out: output.stdout,
            err,
        }
    }
}

/// `netdig overlay` with these arguments.
pub fn overlay<S: AsRef<OsStr>>(arguments: &[S]) -> Ran {
    command(arguments).output().expect("netdig starts").into()
}

/// The same with something on standard input.
pub fn overlay_fed<S: AsRef<OsStr>>(arguments: &[S], input: &[u8]) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("netdig starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // netdig may end before it has read all.
        let _ = pipe.write_all(&input);
    });
    let output = child.wait_with_output().expect("netdig ends");
    feeder.join().expect("the feeder ends");
    output.into()
}

pub fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(NETDIG);
    // Times are printed in the reader's own zone.
    command.env("TZ", "UTC").arg("overlay").args(arguments);
    command
}

/// Each line as an object; what every object has to have is checked.
pub fn objects(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).expect("JSON is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a line is cut");
    let objects: Vec<Value> = text.lines().map(object).collect();
    let kinds = objects.iter().map(|object| &object["kind"]);
    let summaries = kinds.filter(|kind| *kind == "summary").count();
    assert_eq!(summaries, 1, "one summary");
    assert_eq!(objects[objects.len() - 1]["kind"], "summary");
    objects
}

fn object(line: &str) -> Value {
    let object: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    assert_eq!(object["schema"], "netdig/1", "{line}");
    assert!(object["kind"].is_string(), "{line}");
    assert!(object["ts_ns"].is_u64(), "{line}");
    let time = object["ts"].as_str().expect("a time");
    assert!(time.len() == 30 && time.ends_with('Z'), "{line}");
    let commands = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!line.contains(commands), "raw control character: {line:?}");
    object
}

/// The packets' objects of a file, which must be readable to its end.
pub fn packets(file: &Path) -> Vec<Value> {
    let fou = format!("--encap=fou:{FOU},fou:{FOU_V6}");
    let arguments = [
        OsStr::new("-r"),
        file.as_ref(),
        "--format=json".as_ref(),
        fou.as_ref(),
    ];
    let mut all = objects(&overlay(&arguments).fine().out);
    let summary = all.pop().expect("a summary");
    let found = all.iter().filter(|object| object["kind"] == "finding");
    let counts = summary["findings"].as_object().expect("counts");
    let counted: u64 = counts.values().filter_map(Value::as_u64).sum();
    // One is said again where its confidence has changed.
    assert!(found.count() as u64 >= counted);
    all.retain(|object| object["kind"] != "finding");
    assert_eq!(summary["packets"], all.len());
    for (at, packet) in all.iter().enumerate() {
        assert_eq!(packet["kind"], "packet");
        assert_eq!(packet["n"], at + 1, "frame numbers");
    }
    all
}

/// The first packets' objects of a file of anyone; a file cut short gives what
/// it has, one that is not read at all the sentence.
pub fn packets_if_read(file: &Path, most: usize) -> Result<Vec<Value>, String> {
    let most = most.to_string();
    let arguments = [
        OsStr::new("-r"),
        file.as_ref(),
        "--format=json".as_ref(),
        "-c".as_ref(),
        most.as_ref(),
    ];
    let ran = overlay(&arguments);
    match ran.code {
        Some(0 | 2) => {}
        other => panic!("{}: exit code {other:?}: {}", file.display(), ran.err),
    }
    if ran.out.is_empty() {
        return Err(ran.err);
    }
    let mut all = objects(&ran.out);
    all.pop();
    Ok(all)
}

/// Runs a program that must be there in CI; `None` (said so) where it is not.
pub fn tool<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if in_ci() => panic!("{program} is needed in CI: {error}"),
        Err(error) => {
            eprintln!("skipped: {program} did not start: {error}");
            None
        }
    }
}

pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Whether the test runs as root, without which it cannot; CI must.
pub fn is_root() -> bool {
    // SAFETY: no arguments, no memory.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root || !in_ci(), "CI runs this test as root");
    if !root {
        eprintln!("skipped: only root can try this");
    }
    root
}

/// A directory of the test's own, removed with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let name = format!("netdig-overlay-files-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file of the test");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
