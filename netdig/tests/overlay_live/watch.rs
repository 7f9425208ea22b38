//! The built program, watching.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::world::{Scratch, wait_for};

pub const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");

/// `netdig overlay` with JSON on standard output; killed when dropped.
pub struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    told: Arc<Mutex<String>>,
    scratch: Scratch,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub packets: Vec<Value>,
    pub losses: Vec<Value>,
    pub summary: Value,
    pub status: ExitStatus,
    pub stderr: String,
}

impl Watch {
    /// Starts it and waits until everything is attached.
    pub fn start(arguments: &[&str]) -> Watch {
        Watch::spawn(arguments).ready()
    }

    /// Starts it: a run may end before anybody looks for its ready file.
    pub fn spawn(arguments: &[&str]) -> Watch {
        let scratch = Scratch::new();
        let mut command = Command::new(NETDIG);
        command
            .args(["overlay", "--format", "json", "--ready-file"])
            .arg(scratch.path("ready"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the built program starts");
        let (lines, told) = (Arc::default(), Arc::default());
        let readers = vec![
            gather_lines(child.stdout.take().expect("piped"), Arc::clone(&lines)),
            gather_text(child.stderr.take().expect("piped"), Arc::clone(&told)),
        ];
        Watch {
            child,
            lines,
            readers,
            told,
            scratch,
        }
    }

    pub fn ready(mut self) -> Watch {
        let ready = self.scratch.path("ready");
        wait_for("netdig to be ready", || {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                panic!("netdig ended ({status}): {}", self.told.lock().unwrap());
            }
            ready.exists().then_some(())
        });
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until what was printed so far satisfies `enough`.
    pub fn until(&self, what: &str, enough: impl Fn(&[Value]) -> bool) {
        wait_for(what, || enough(&packets(&self.objects())).then_some(()));
    }

    /// Waits for so many packets.
    pub fn until_count(&self, count: usize) {
        self.until(&format!("{count} packets"), |seen| seen.len() >= count);
    }

    fn objects(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|line| parse(line)).collect()
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(self) -> Outcome {
        self.signal(libc::SIGINT)
    }

    pub fn signal(self, signal: i32) -> Outcome {
        // SAFETY: a child of ours that was not waited for yet.
        unsafe { libc::kill(self.child.id() as i32, signal) };
        self.outcome()
    }

    /// Waits until it has ended by itself.
    pub fn outcome(mut self) -> Outcome {
        let status = wait_for("netdig to end", || {
            self.child.try_wait().expect("it can be waited for")
        });
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
        let objects = self.objects();
        let of = |kind: &str| -> Vec<Value> {
            let is = |object: &&Value| object["kind"] == kind;
            objects.iter().filter(is).cloned().collect()
        };
        for object in &objects {
            assert_eq!(object["schema"], "netdig/1");
            assert!(object["ts_ns"].is_u64(), "{object}");
        }
        Outcome {
            packets: of("packet"),
            losses: of("loss"),
            summary: of("summary").pop().unwrap_or_default(),
            status,
            stderr: self.told.lock().unwrap().clone(),
        }
    }
}

impl Outcome {
    /// Fails unless it ended well and lost nothing.
    pub fn whole(self) -> Outcome {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        assert_eq!(self.summary["lost"], 0, "{:?}", self.losses);
        assert_eq!(self.stderr, "");
        self
    }

    /// Packets of which something holds.
    pub fn that(&self, holds: impl Fn(&Value) -> bool) -> Vec<&Value> {
        self.packets.iter().filter(|packet| holds(packet)).collect()
    }

    pub fn by_n(&self, n: &Value) -> &Value {
        let found = self.packets.iter().find(|packet| packet["n"] == *n);
        found.unwrap_or_else(|| panic!("no packet {n}"))
    }
}

pub fn packets(objects: &[Value]) -> Vec<Value> {
    let is = |object: &&Value| object["kind"] == "packet";
    objects.iter().filter(is).cloned().collect()
}

pub fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn gather_lines(from: impl Read + Send + 'static, to: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            to.lock().unwrap().push(line.expect("UTF-8 lines"));
        }
    })
}

fn gather_text(mut from: impl Read + Send + 'static, to: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("UTF-8");
        to.lock().unwrap().push_str(&text);
    })
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
