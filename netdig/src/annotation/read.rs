//! Comments back to what they were written from.

use std::collections::HashMap;
use std::hash::Hasher;
use std::net::SocketAddr;

use super::unescape;
use crate::observation::{
    Actor, FdKind, FdView, Loss, LossCause, Observation, ProcessChange, ProcessEvent, ProcessInfo,
    UnixNanos, Via,
};
use decoders::Encap;

/// Processes whose description is remembered; more means a hostile file, and
/// then they are described again.
const MAX_PROCESSES: usize = 65_536;

/// What the comments of one frame say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotation {
    pub via: Option<Via>,
    pub process: Option<Actor>,
    pub fd: Option<FdView>,
    pub peer: Option<SocketAddr>,
    pub encap: Option<Encap>,
    pub errno: Option<i32>,
    pub netns: Option<u32>,
    pub cgroup: Option<u64>,
}

/// What comments tell that is not the frame's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A process, before its first frame or when more is known of it.
    Process(ProcessEvent),
    Loss(Loss),
}

impl Told {
    pub fn into_observation<'a>(self) -> Observation<'a> {
        match self {
            Told::Process(event) => Observation::Process(event),
            Told::Loss(loss) => Observation::Loss(loss),
        }
    }
}

/// Reads the comments of one section; remembers which processes were described.
#[derive(Debug, Default)]
pub struct Annotations {
    /// Process id to a digest of its description.
    described: HashMap<u32, u64>,
    /// The process of the frame before: mostly it is the next one's, too.
    last: LastProcess,
    /// The lines about the process of the frame at hand.
    gathered: Vec<u8>,
}

/// The lines that were read last of a process, and what they say to a frame.
#[derive(Debug, Default)]
struct LastProcess {
    lines: Vec<u8>,
    pid: Option<u32>,
    cmd: Vec<u8>,
}

/// What one frame's comments say, as far as they were read.
#[derive(Default)]
struct Reading {
    annotation: Annotation,
    tid: Option<u32>,
    thread_name: Option<Vec<u8>>,
    fd_num: Option<i32>,
    fd_kind: Option<FdKind>,
    fd_inode: u64,
}

impl Annotations {
    /// Reads a frame's comments. Processes that were not described yet and
    /// losses go to `tell`, whose interface indices are `base` plus the section's.
    pub fn read<'a>(
        &mut self,
        comments: impl Iterator<Item = &'a [u8]>,
        ts_ns: UnixNanos,
        base: u32,
        tell: &mut impl FnMut(Told),
    ) -> Annotation {
        let mut reading = Reading::default();
        self.gathered.clear();
        for comment in comments {
            if let Some(loss) = comment.strip_prefix(b"NetdigLoss: ") {
                read_loss(loss, base)
                    .into_iter()
                    .for_each(|loss| tell(Told::Loss(loss)));
            } else if describes_process(comment) {
                self.gathered.extend_from_slice(comment);
                self.gathered.push(b'\n');
            } else if comment.starts_with(b"ThreadId: ") || comment.starts_with(b"NetdigVia: ") {
                lines(comment).for_each(|(key, value)| reading.line(key, value));
            } // else someone's text
        }
        let info = self.process();
        let annotation = reading.finish(self.last.pid, &self.last.cmd);
        if let (Some(info), Some(actor)) = (info, annotation.process) {
            tell(Told::Process(ProcessEvent {
                ts_ns,
                actor,
                cgroup: annotation.cgroup.unwrap_or(0),
                netns: annotation.netns.unwrap_or(0),
                change: ProcessChange::Described(info),
            }));
        }
        annotation
    }

    /// Brings `last` to the process at hand, and returns what is news of it.
    fn process(&mut self) -> Option<ProcessInfo> {
        if self.gathered == self.last.lines {
            return None;
        }
        std::mem::swap(&mut self.gathered, &mut self.last.lines);
        let (info, known) = read_process(&self.last.lines);
        self.last.pid = info.as_ref().map(|info| info.pid);
        self.last.cmd = info
            .as_ref()
            .map(|info| info.comm.clone())
            .unwrap_or_default();
        let info = info.filter(|_| known)?;
        let mut digest = std::hash::DefaultHasher::new();
        digest.write(&self.last.lines);
        if self.described.len() >= MAX_PROCESSES {
            self.described.clear();
        }
        let digest = digest.finish();
        (self.described.insert(info.pid, digest) != Some(digest)).then_some(info)
    }
}

impl Reading {
    fn line(&mut self, key: &[u8], value: &[u8]) {
        let annotation = &mut self.annotation;
        match key {
            b"ThreadId" => self.tid = parse(value),
            b"ThreadName" => self.thread_name = Some(unescape(value)),
            b"NetdigVia" => annotation.via = str(value).and_then(Via::from_name),
            b"NetdigFd" => self.fd_num = parse(value),
            b"NetdigFdKind" => self.fd_kind = read_fd_kind(value),
            b"NetdigFdInode" => self.fd_inode = parse(value).unwrap_or(0),
            b"NetdigPeer" => annotation.peer = parse(value),
            b"NetdigEncap" => annotation.encap = str(value).and_then(encap_from_name),
            b"NetdigErrno" => annotation.errno = parse(value),
            b"NetdigNetns" => annotation.netns = parse(value),
            b"NetdigCgroup" => annotation.cgroup = parse(value),
            _ => {}
        }
    }

    fn finish(self, pid: Option<u32>, cmd: &[u8]) -> Annotation {
        let mut annotation = self.annotation;
        annotation.process = pid.map(|pid| {
            let name = self.thread_name.as_deref().unwrap_or(cmd);
            let mut comm = [0; 16];
            let len = name.len().min(comm.len());
            comm[..len].copy_from_slice(&name[..len]);
            Actor {
                pid,
                tid: self.tid.unwrap_or(pid),
                comm,
            }
        });
        annotation.fd = self.fd_num.map(|num| FdView {
            num,
            kind: self.fd_kind.unwrap_or(FdKind::Unknown),
            inode: self.fd_inode,
        });
        annotation
    }
}

fn describes_process(comment: &[u8]) -> bool {
    const FIRST: &[&[u8]] = &[
        b"PID: ",
        b"UserId: ",
        b"NetdigUser: ",
        b"ParentPID: ",
        b"ContainerName: ",
        b"ContainerId: ",
    ];
    FIRST.iter().any(|key| comment.starts_with(key))
}

/// What the lines say of a process, if they name one, and whether more was
/// known of it than its name: then there are arguments, be it none.
fn read_process(text: &[u8]) -> (Option<ProcessInfo>, bool) {
    let mut info = ProcessInfo::default();
    let (mut named, mut known) = (false, false);
    let text_of = |value: &[u8]| Some(String::from_utf8_lossy(&unescape(value)).into_owned());
    for (key, value) in lines(text) {
        match key {
            b"PID" => {
                named = true;
                info.pid = parse(value).unwrap_or(0);
            }
            b"Cmd" => info.comm = unescape(value),
            b"Args" => {
                known = true;
                let args = value.split(|&b| b == b' ').filter(|arg| !arg.is_empty());
                info.args = args.map(unescape).collect();
            }
            b"UserId" => info.uid = parse(value),
            b"NetdigUser" => info.user = text_of(value),
            b"ParentPID" => info.parent = parse(value),
            b"ContainerName" => info.container_name = text_of(value),
            b"ContainerId" => info.container_id = text_of(value),
            b"NetdigStart" => info.start_ns = parse(value),
            b"NetdigProcessNetns" => info.netns = parse(value),
            _ => {}
        }
    }
    (named.then_some(info), known)
}

fn read_fd_kind(value: &[u8]) -> Option<FdKind> {
    let mut words = value.split(|&b| b == b' ');
    let kind = words.next()?;
    let fields = Fields(value);
    Some(match kind {
        b"tun" => FdKind::Tun {
            interface: String::from_utf8_lossy(&unescape(fields.get(b"interface")?)).into(),
            tap: fields.parse(b"tap")?,
            packet_info: fields.parse(b"packet-info")?,
            vnet_header: fields.parse(b"vnet-header")?,
        },
        b"inet" => FdKind::Inet {
            protocol: fields.parse(b"protocol")?,
            stream: fields.parse(b"stream")?,
            local: fields.parse(b"local")?,
            remote: fields.parse(b"remote"),
        },
        b"unix" => FdKind::Unix,
        b"netlink" => FdKind::Netlink,
        b"socket" => FdKind::OtherSocket {
            family: fields.parse(b"family")?,
        },
        b"regular" => FdKind::Regular,
        b"directory" => FdKind::Directory,
        b"pipe" => FdKind::Pipe,
        b"anon-inode" => FdKind::AnonInode,
        b"char" => FdKind::Char {
            major: fields.parse(b"major")?,
            minor: fields.parse(b"minor")?,
        },
        b"block" => FdKind::Block {
            major: fields.parse(b"major")?,
            minor: fields.parse(b"minor")?,
        },
        _ => FdKind::Unknown,
    })
}

fn read_loss(value: &[u8], base: u32) -> Option<Loss> {
    let fields = Fields(value);
    Some(Loss {
        ts_ns: fields.parse(b"ts")?,
        interface: fields
            .parse::<u32>(b"interface")
            .and_then(|index| base.checked_add(index)),
        source: String::from_utf8_lossy(&unescape(fields.get(b"source")?)).into_owned(),
        event_kind: event_kind(fields.get(b"kind")?),
        cause: cause_from_name(str(fields.get(b"cause")?)?)?,
        count: fields.parse(b"count")?,
        window: (fields.parse(b"since")?, fields.parse(b"until")?),
    })
}

/// The kinds that [`Loss::event_kind`] knows; a name of a later version is `event`.
fn event_kind(name: &[u8]) -> &'static str {
    const KINDS: &[&str] = &[
        "tun", "udp", "tcp", "socket", "file", "fd", "process", "packet", "path", "io", "other",
    ];
    KINDS
        .iter()
        .find(|kind| kind.as_bytes() == name)
        .copied()
        .unwrap_or("event")
}

fn cause_from_name(name: &str) -> Option<LossCause> {
    use LossCause::{Chain, Compat, Fault, Nested, NewCpu, RingFull, SocketFull, TooMany};
    [
        RingFull, Fault, TooMany, Compat, Chain, Nested, NewCpu, SocketFull,
    ]
    .into_iter()
    .find(|cause| cause.name() == name)
}

fn encap_from_name(name: &str) -> Option<Encap> {
    Encap::from_name(name)
}

/// `key=value` words separated by blanks.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn get(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.0
            .split(|&b| b == b' ')
            .find_map(|word| word.strip_prefix(key)?.strip_prefix(b"="))
    }

    fn parse<T: std::str::FromStr>(&self, key: &[u8]) -> Option<T> {
        parse(self.get(key)?)
    }
}

fn lines(comment: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    comment.split(|&b| b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        Some((
            &line[..colon],
            line[colon + 1..]
                .strip_prefix(b" ")
                .unwrap_or(&line[colon + 1..]),
        ))
    })
}

fn str(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn parse<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    str(value)?.parse().ok()
}
