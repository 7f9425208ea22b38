//! Processes: those that run, and those that ended a moment ago.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, path::Path, path::PathBuf};

use rustc_hash::FxHashMap;

use super::containers::Container;
use crate::observation::{ProcessInfo, UnixNanos};

/// How long an ended process can still be named: a packet may be held back
/// for its other side, and its process be gone when it is printed.
const GRACE_NS: u64 = 10_000_000_000;
/// Ended processes kept at most; a host that starts more in [`GRACE_NS`] keeps
/// the youngest.
const MAX_ENDED: usize = 4096;

/// What is known of one process. What nobody said is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    pub parent: Option<u32>,
    /// Any bytes, at most 15.
    pub comm: Vec<u8>,
    pub args: Vec<Vec<u8>>,
    /// Whether there were more arguments than `args` holds.
    pub args_cut: bool,
    /// Effective user id.
    pub uid: Option<u32>,
    /// Name of the user in the host's `/etc/passwd`.
    pub user: Option<Arc<str>>,
    /// Start, Unix time.
    pub start_ns: Option<UnixNanos>,
    pub container: Option<Arc<Container>>,
    /// Network namespace, inode number.
    pub netns: Option<u32>,
    /// cgroup v2 id.
    pub cgroup: Option<u64>,
}

impl Process {
    /// The same as recordings describe processes.
    pub fn info(&self) -> ProcessInfo {
        ProcessInfo {
            pid: self.pid,
            parent: self.parent,
            comm: self.comm.clone(),
            args: self.args.clone(),
            uid: self.uid,
            user: self.user.as_deref().map(str::to_owned),
            start_ns: self.start_ns,
            container_id: self
                .container
                .as_ref()
                .map(|container| container.id.clone()),
            container_name: self
                .container
                .as_ref()
                .map(|container| container.name.clone()),
            netns: self.netns,
        }
    }
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    /// Tells an entry from a later one of the same pid.
    generation: u64,
    /// Events were lost since; to be compared with `/proc` before use.
    doubtful: bool,
    ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct Processes {
    by_pid: FxHashMap<u32, Entry>,
    /// When each ended process may go: (time, pid, generation), oldest first.
    ended: VecDeque<(UnixNanos, u32, u64)>,
    generations: u64,
    /// How many entries are doubtful.
    doubts: usize,
}

impl Processes {
    pub fn get(&self, pid: u32) -> Option<&Arc<Process>> {
        self.by_pid.get(&pid).map(|entry| &entry.process)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.by_pid.values().map(|entry| &entry.process)
    }

    pub fn insert(&mut self, process: Process) -> Arc<Process> {
        self.generations += 1;
        let process = Arc::new(process);
        let entry = Entry {
            process: process.clone(),
            generation: self.generations,
            doubtful: false,
            ended: false,
        };
        let before = self.by_pid.insert(process.pid, entry);
        self.doubts -= usize::from(before.is_some_and(|before| before.doubtful));
        process
    }

    /// Changes what is known of a process; those who hold the old state keep it.
    pub fn change(&mut self, pid: u32, change: impl FnOnce(&mut Process)) {
        if let Some(entry) = self.by_pid.get_mut(&pid) {
            change(Arc::make_mut(&mut entry.process));
        }
    }

    /// Events were lost: those that still run may be others by now, and those
    /// that do not run ended at some time until `now`.
    pub fn doubt(&mut self, now: UnixNanos, runs: impl Fn(u32) -> bool) {
        let pids: Vec<u32> = self.by_pid.keys().copied().collect();
        for pid in pids {
            if !runs(pid) {
                self.end(pid, now);
            } else if let Some(entry) = self.by_pid.get_mut(&pid) {
                self.doubts += usize::from(!std::mem::replace(&mut entry.doubtful, true));
            }
        }
    }

    /// Whether the entry is to be compared with `/proc`; asks once.
    pub fn take_doubt(&mut self, pid: u32) -> bool {
        if self.doubts == 0 {
            return false;
        }
        let entry = self.by_pid.get_mut(&pid);
        let doubtful = entry.is_some_and(|entry| std::mem::take(&mut entry.doubtful));
        self.doubts -= usize::from(doubtful);
        doubtful
    }

    pub fn has_ended(&self, pid: u32) -> bool {
        self.by_pid.get(&pid).is_some_and(|entry| entry.ended)
    }

    pub fn end(&mut self, pid: u32, at: UnixNanos) {
        let Some(entry) = self.by_pid.get_mut(&pid) else {
            return;
        };
        if !std::mem::replace(&mut entry.ended, true) {
            self.ended.push_back((at, pid, entry.generation));
        }
    }

    /// Takes out one process whose grace is over; `now` is an event's time.
    pub fn expire(&mut self, now: UnixNanos) -> Option<u32> {
        loop {
            let &(at, pid, generation) = self.ended.front()?;
            if self.ended.len() <= MAX_ENDED && at.saturating_add(GRACE_NS) >= now {
                return None;
            }
            self.ended.pop_front();
            if self
                .by_pid
                .get(&pid)
                .is_some_and(|entry| entry.generation == generation)
            {
                let gone = self.by_pid.remove(&pid);
                self.doubts -= usize::from(gone.is_some_and(|gone| gone.doubtful));
                return Some(pid);
            }
        }
    }
}

/// Names of users, from the host's `/etc/passwd` (passwd(5)); not by NSS, whose
/// modules may ask the network.
#[derive(Debug)]
pub(super) struct Users {
    file: PathBuf,
    changed: Option<SystemTime>,
    by_uid: FxHashMap<u32, Arc<str>>,
}

impl Users {
    pub fn new(root: &Path) -> Users {
        let mut users = Users {
            file: root.join("etc/passwd"),
            changed: None,
            by_uid: FxHashMap::default(),
        };
        users.read();
        users
    }

    pub fn name(&mut self, uid: u32) -> Option<Arc<str>> {
        if let Some(name) = self.by_uid.get(&uid) {
            return Some(name.clone());
        }
        let changed = fs::metadata(&self.file)
            .and_then(|meta| meta.modified())
            .ok();
        if changed != self.changed {
            self.read();
        }
        self.by_uid.get(&uid).cloned()
    }

    fn read(&mut self) {
        self.changed = fs::metadata(&self.file)
            .and_then(|meta| meta.modified())
            .ok();
        let text = fs::read(&self.file).unwrap_or_default();
        self.by_uid.clear();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut fields = line.split(':');
            let (name, uid) = (
                fields.next(),
                fields.nth(1).and_then(|uid| uid.parse().ok()),
            );
            if let (Some(name), Some(uid)) = (name, uid) {
                // The first name of an id is the one that id(1) shows.
                self.by_uid.entry(uid).or_insert_with(|| name.into());
            }
        }
    }
}
