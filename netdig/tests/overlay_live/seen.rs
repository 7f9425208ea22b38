//! The probe itself, its observations kept.

use std::collections::HashSet;
use std::net::SocketAddr;

use decoders::{Encap, LinkType, Ports};
use netdig::observation::{
    Actor, FdEvent, FdView, FileEvent, FileOp, Interface, Observation, ProcessChange, ProcessEvent,
    Via,
};
use netdig::source::probe::{Probe, ProbeOptions};
use netdig::tracker::Tracker;

use crate::world::wait_for;

/// A frame without its borrow.
#[derive(Debug, Clone)]
pub struct Packet {
    pub via: Via,
    pub link: LinkType,
    pub interface: String,
    pub data: Vec<u8>,
    pub orig_len: u32,
    pub actor: Actor,
    pub fd: FdView,
    pub peer: Option<SocketAddr>,
    pub encap: Option<Encap>,
    pub errno: Option<i32>,
    pub netns: Option<u32>,
}

/// Bytes through another descriptor.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub actor: Actor,
    pub fd: FdView,
    pub write: bool,
    pub result: i64,
    pub data: Vec<u8>,
}

/// A probe and what it told of the processes that are followed.
pub struct Seen {
    probe: Probe,
    pub tracker: Tracker,
    /// A second one, that is told the same.
    pub other: Option<Tracker>,
    followed: HashSet<u32>,
    pub packets: Vec<Packet>,
    pub bytes: Vec<Bytes>,
    pub fds: Vec<FdEvent>,
    pub processes: Vec<ProcessEvent>,
    pub files: Vec<FileEvent>,
}

/// A rename that tells the test that a scene has come to an end. What is not
/// there cannot be renamed, but the attempt is an event.
pub const END: &str = "/nonexistent/netdig-end";

/// Tells the probe that a scene is over.
pub fn mark_end() {
    let renamed = std::fs::rename(END, END);
    assert!(renamed.is_err());
}

impl Seen {
    /// Loads a probe that follows `pid` and its children. Events go to the
    /// tracker too.
    pub fn start(options: &ProbeOptions, pid: u32, tracker: Tracker) -> Seen {
        let ports = Ports::default();
        let options = ProbeOptions {
            ports: ports.iter().map(|(port, _)| port).collect(),
            ring_bytes: 16 << 20,
            ..options.clone()
        };
        let probe = Probe::start(&options, ports, []).unwrap_or_else(|error| panic!("{error}"));
        Seen {
            probe,
            tracker,
            other: None,
            followed: HashSet::from([pid]),
            packets: Vec::new(),
            bytes: Vec::new(),
            fds: Vec::new(),
            processes: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Takes events until a followed process has called [`mark_end`].
    pub fn until_end(&mut self) {
        let before = self.files.len();
        wait_for("the end of the scene", || {
            self.poll();
            // What is lost does not come any more.
            let losses = self.probe.losses();
            assert!(losses.is_empty(), "{losses:?}");
            let is_end = |event: &FileEvent| matches!(&event.op, FileOp::Rename { from, .. } if from == END.as_bytes());
            self.files[before..].iter().any(is_end).then_some(())
        });
    }

    /// Takes events until `done`.
    pub fn until(&mut self, what: &str, done: impl Fn(&Seen) -> bool) {
        wait_for(what, || {
            self.poll();
            done(self).then_some(())
        });
    }

    fn poll(&mut self) {
        let mut batch = Batch::default();
        let Seen {
            probe,
            tracker,
            other,
            ..
        } = self;
        while probe.poll(4096, |interfaces, observation| {
            tracker.apply(&observation);
            if let Some(other) = other {
                other.apply(&observation);
            }
            batch.keep(interfaces, observation);
        }) > 0
        {}
        for process in batch.processes {
            if let ProcessChange::Fork { parent, .. } = process.change
                && self.followed.contains(&parent)
            {
                self.followed.insert(process.actor.pid);
            }
            if self.followed.contains(&process.actor.pid) {
                self.processes.push(process);
            }
        }
        let ours = |actor: &Actor| self.followed.contains(&actor.pid);
        self.packets
            .extend(batch.packets.into_iter().filter(|it| ours(&it.actor)));
        self.bytes
            .extend(batch.bytes.into_iter().filter(|it| ours(&it.actor)));
        self.fds
            .extend(batch.fds.into_iter().filter(|it| ours(&it.actor)));
        self.files
            .extend(batch.files.into_iter().filter(|it| ours(&it.actor)));
    }
}

#[derive(Default)]
struct Batch {
    packets: Vec<Packet>,
    bytes: Vec<Bytes>,
    fds: Vec<FdEvent>,
    processes: Vec<ProcessEvent>,
    files: Vec<FileEvent>,
}

impl Batch {
    fn keep(&mut self, interfaces: &[Interface], observation: Observation<'_>) {
        match observation {
            Observation::Frame(frame) => self.packets.push(Packet {
                via: frame.via,
                link: frame.link,
                interface: interfaces[frame.interface as usize].name.clone(),
                data: frame.data.to_vec(),
                orig_len: frame.orig_len,
                actor: frame.process.expect("the probe knows the process"),
                fd: frame.fd.expect("the probe knows the descriptor"),
                peer: frame.peer,
                encap: frame.encap,
                errno: frame.errno,
                netns: frame.netns,
            }),
            Observation::Io(io) => self.bytes.push(Bytes {
                actor: io.actor,
                fd: io.fd,
                write: io.write,
                result: io.result,
                data: io.data.to_vec(),
            }),
            Observation::Fd(event) => self.fds.push(event),
            Observation::Process(event) => self.processes.push(event),
            Observation::File(event) => self.files.push(event),
            Observation::Loss(_) => {}
        }
    }
}
