//! Who is behind a packet: processes, their containers, their descriptors.
//!
//! The tracker starts from `/proc` and follows events. Events are older than
//! what `/proc` shows when they arrive, but each sets its descriptor or process
//! to one state whatever was known before, so that once they have caught up
//! both agree. What neither tells is unknown.

pub(crate) mod containers;
mod fds;
mod processes;
mod procfs;
mod runtimes;
pub(crate) mod sockets;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use containers::{Container, Runtime};
pub use fds::Fd;
pub use processes::Process;

use crate::observation::{
    Actor, FdChange, FdEvent, FdKind, FdOrigin, FdView, Loss, Observation, ProcessChange,
    ProcessEvent, ProcessInfo, UnixNanos,
};
use containers::Containers;
use fds::Tables;
use processes::{Processes, Users};
use procfs::Procfs;
use rustc_hash::FxHashSet;
use sockets::Sockets;

/// A start read twice may differ by clock ticks; one pid is not used twice
/// within this time.
const SAME_START_NS: u64 = 500_000_000;

/// An open `/dev/net/tun`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunFd {
    pub pid: u32,
    pub num: i32,
    /// Empty until TUNSETIFF.
    pub interface: String,
    pub tap: bool,
}

/// The process, container and descriptor tables.
#[derive(Debug)]
pub struct Tracker {
    /// `None` for a recording: this machine's processes are not the recorded ones.
    procfs: Option<Procfs>,
    processes: Processes,
    tables: Tables,
    sockets: Sockets,
    containers: Containers,
    users: Users,
}

impl Tracker {
    /// Knows nothing and asks nothing: for recordings.
    pub fn empty() -> Tracker {
        Tracker::new(None, Path::new("/nonexistent"))
    }

    /// Starts from the running system: all processes, and all descriptors of
    /// `/dev/net/tun`. Other descriptors are read when first asked for.
    pub fn from_proc() -> io::Result<Tracker> {
        Tracker::from_root(Path::new("/"))
    }

    /// The same from a tree with its own `proc`, `etc/passwd`, `run` and `var`.
    pub fn from_root(root: &Path) -> io::Result<Tracker> {
        let procfs = Procfs::open(root)?;
        let pids = procfs.pids();
        let mut tracker = Tracker::new(Some(procfs), root);
        for pid in pids {
            tracker.learn(pid);
            tracker.learn_tuns(pid);
        }
        Ok(tracker)
    }

    fn new(procfs: Option<Procfs>, root: &Path) -> Tracker {
        Tracker {
            procfs,
            processes: Processes::default(),
            tables: Tables::default(),
            sockets: Sockets::default(),
            containers: Containers::new(root),
            users: Users::new(root),
        }
    }

    /// Follows one observation. Frames and I/O change nothing here.
    pub fn apply(&mut self, observation: &Observation<'_>) {
        match observation {
            Observation::Fd(event) => self.apply_fd(event),
            Observation::Process(event) => self.apply_process(event),
            Observation::Loss(loss) => self.apply_loss(loss),
            Observation::Frame(_) | Observation::Io(_) | Observation::File(_) => {}
        }
    }

    /// Lost changes make what is known doubtful: descriptors are forgotten,
    /// processes compared with `/proc` before their next use.
    pub fn apply_loss(&mut self, loss: &Loss) {
        if loss.count == 0 {
            return;
        }
        match loss.event_kind {
            "fd" => self.tables.forget_all(),
            "process" => {
                self.tables.forget_all();
                self.doubt_processes(loss.ts_ns);
            }
            _ => {}
        }
    }

    fn doubt_processes(&mut self, now: UnixNanos) {
        let Some(procfs) = &self.procfs else { return };
        let running: FxHashSet<u32> = procfs.pids().into_iter().collect();
        self.processes.doubt(now, |pid| running.contains(&pid));
    }

    pub fn apply_process(&mut self, event: &ProcessEvent) {
        self.expire(event.ts_ns);
        let actor = &event.actor;
        match &event.change {
            ProcessChange::Fork {
                parent,
                thread,
                shares_files,
            } => {
                if !thread {
                    self.forked(event, *parent);
                }
                let parent = if *thread { actor.pid } else { *parent };
                self.tables
                    .fork(parent, actor.tid, actor.pid, *shares_files);
            }
            ProcessChange::Exec {
                filename: _,
                args,
                cut,
                uid,
                parent,
            } => {
                self.process_of(actor, Some(event.netns), Some(event.cgroup));
                self.executed(event, args, *cut, *uid, *parent);
                self.tables.exec(actor.pid, actor.tid);
            }
            ProcessChange::ExecFailed { .. } => {}
            ProcessChange::Exit { last, .. } => {
                if actor.tid != actor.pid {
                    self.tables.detach(actor.tid);
                }
                if *last {
                    self.processes.end(actor.pid, event.ts_ns);
                }
            }
            ProcessChange::Described(info) => self.described(info),
        }
    }

    fn forked(&mut self, event: &ProcessEvent, parent: u32) {
        let pid = event.actor.pid;
        let known = self.process(parent).or_else(|| self.learn(pid));
        let mut process = known.map_or_else(Process::default, |known| Process::clone(&known));
        // A child may be born into another cgroup (CLONE_INTO_CGROUP).
        if process.cgroup.is_some_and(|cgroup| cgroup != event.cgroup)
            && let Some(container) = self.container_now(pid)
        {
            process.container = container;
        }
        process.pid = pid;
        process.parent = Some(parent);
        process.start_ns = Some(event.ts_ns);
        process.comm = event.actor.comm().to_vec();
        process.netns = (event.netns != 0).then_some(event.netns).or(process.netns);
        process.cgroup = (event.cgroup != 0)
            .then_some(event.cgroup)
            .or(process.cgroup);
        self.processes.insert(process);
    }

    fn executed(
        &mut self,
        event: &ProcessEvent,
        args: &[Vec<u8>],
        cut: bool,
        uid: u32,
        parent: u32,
    ) {
        let pid = event.actor.pid;
        let user = self.users.name(uid);
        // runc and its like enter the container's cgroup and then exec.
        let container = self.container_now(pid);
        self.processes.change(pid, |process| {
            process.comm = event.actor.comm().to_vec();
            process.args = args.to_vec();
            process.args_cut = cut;
            process.uid = Some(uid);
            process.user = user;
            process.parent = Some(parent);
            if let Some(container) = container {
                process.container = container;
            }
        });
    }

    /// The container by what `/proc` says at this moment; `None` when it says
    /// nothing, `Some(None)` for the host.
    fn container_now(&mut self, pid: u32) -> Option<Option<Arc<Container>>> {
        let cgroups = self.procfs.as_ref()?.cgroups(pid)?;
        Some(self.containers.of(&cgroups))
    }

    fn described(&mut self, info: &ProcessInfo) {
        let container = info.container_id.as_deref().map(|id| {
            self.containers
                .described(id, info.container_name.as_deref())
        });
        self.processes.insert(Process {
            pid: info.pid,
            parent: info.parent,
            comm: info.comm.clone(),
            args: info.args.clone(),
            args_cut: false,
            uid: info.uid,
            user: info.user.as_deref().map(Arc::from),
            start_ns: info.start_ns,
            container,
            netns: info.netns,
            cgroup: None,
        });
    }

    pub fn apply_fd(&mut self, event: &FdEvent) {
        self.expire(event.ts_ns);
        let (pid, tid) = (event.actor.pid, event.actor.tid);
        match &event.change {
            FdChange::New {
                fd,
                origin,
                cloexec,
            } => {
                let path = self.path_of(pid, tid, fd, origin);
                let entry = Fd::new(fd.kind.clone(), fd.inode, path, *cloexec);
                self.tables.get_mut(pid, tid).set(fd.num, entry);
            }
            FdChange::Updated { fd } => self.updated(pid, tid, fd),
            FdChange::CloseOnExec { num, on } => {
                // What is not known yet is read with its flag when asked for.
                if let Ok(num) = u32::try_from(*num) {
                    self.tables.get_mut(pid, tid).set_cloexec(num, num, *on);
                }
            }
            FdChange::Close { num } => self.tables.get_mut(pid, tid).close(*num),
            FdChange::CloseRange {
                first,
                last,
                cloexec_only,
                unshare,
            } => {
                if *unshare {
                    self.tables.unshare(pid, tid);
                }
                let table = self.tables.get_mut(pid, tid);
                match cloexec_only {
                    true => table.set_cloexec(*first, *last, true),
                    false => table.close_range(*first, *last),
                }
            }
            FdChange::Unshared => self.tables.unshare(pid, tid),
        }
    }

    /// The descriptor is now what `view` shows; it keeps what that cannot show.
    fn updated(&mut self, pid: u32, tid: u32, view: &FdView) {
        let table = self.tables.get_mut(pid, tid);
        let old = table
            .get(view.num)
            .filter(|fd| fd.agrees_with(view))
            .cloned();
        let known = match old {
            Some(old) if old.asked || old.path.is_some() => Some(old),
            old => self.read_fd(pid, tid, view.num, Some(view)).or(old),
        };
        let (path, cloexec) = known.map_or((None, false), |fd| (fd.path, fd.cloexec));
        let mut entry = Fd::new(view.kind.clone(), view.inode, path, cloexec);
        entry.asked = true;
        self.tables.get_mut(pid, tid).set(view.num, entry);
    }

    /// Path of a new descriptor, absolute where that can be told.
    fn path_of(
        &mut self,
        pid: u32,
        tid: u32,
        view: &FdView,
        origin: &FdOrigin,
    ) -> Option<Arc<[u8]>> {
        match origin {
            FdOrigin::Open { path, .. } if path.starts_with(b"/") => Some(path.as_slice().into()),
            FdOrigin::Open { path, dirfd, .. } => {
                let folder = match *dirfd {
                    libc::AT_FDCWD => self.procfs.as_ref().and_then(|procfs| procfs.cwd(pid)),
                    num => self
                        .fd(pid, tid, num)
                        .and_then(|fd| Some(fd.path?.to_vec())),
                };
                Some(joined(folder, path).into())
            }
            FdOrigin::Dup { from } => {
                let fd = self.fd(pid, tid, *from)?;
                fd.agrees_with(view).then_some(fd.path)?
            }
            FdOrigin::PidfdGetfd { .. } | FdOrigin::ScmRights { .. } => {
                self.read_fd(pid, tid, view.num, Some(view))?.path
            }
            _ => None,
        }
    }

    /// A process, running or ended within the last ten seconds. Known ones
    /// cost a look-up in a hash table.
    pub fn process(&mut self, pid: u32) -> Option<Arc<Process>> {
        if self.processes.take_doubt(pid) && !self.still_the_same(pid) {
            self.tables.reset(pid);
            return self.learn(pid);
        }
        match self.processes.get(pid) {
            Some(process) => Some(process.clone()),
            None => self.learn(pid),
        }
    }

    /// The process that an event names, which there always is: when `/proc`
    /// no longer knows it, with what the event says. Notices new names
    /// (prctl PR_SET_NAME), namespaces (setns) and cgroups.
    pub fn process_of(
        &mut self,
        actor: &Actor,
        netns: Option<u32>,
        cgroup: Option<u64>,
    ) -> Arc<Process> {
        // Threads may be in other namespaces for a while, as those of container
        // engines are; the process is where its leader is.
        let leads = actor.tid == actor.pid;
        let netns = netns.filter(|&netns| netns != 0 && leads);
        let cgroup = cgroup.filter(|&cgroup| cgroup != 0);
        let known = self.process(actor.pid).unwrap_or_else(|| {
            let (pid, comm) = (actor.pid, actor.comm().to_vec());
            self.processes.insert(Process {
                pid,
                comm,
                netns,
                cgroup,
                ..Process::default()
            })
        });
        let renamed = leads && known.comm != actor.comm();
        let moved = netns.is_some() && known.netns != netns;
        let regrouped = cgroup.is_some() && known.cgroup != cgroup;
        if !(renamed || moved || regrouped) {
            return known;
        }
        // The first sight of the id says nothing about the container.
        let container = (regrouped && known.cgroup.is_some())
            .then(|| self.container_now(actor.pid))
            .flatten();
        drop(known);
        self.processes.change(actor.pid, |process| {
            if renamed {
                process.comm = actor.comm().to_vec();
            }
            process.netns = netns.or(process.netns);
            process.cgroup = cgroup.or(process.cgroup);
            if let Some(container) = container {
                process.container = container;
            }
        });
        self.processes.get(actor.pid).cloned().unwrap_or_default()
    }

    /// All processes known, in no order.
    pub fn processes(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.iter()
    }

    /// A descriptor of a thread (`tid` is `pid` where only the process is
    /// known), `None` when it is not open or not known.
    pub fn fd(&mut self, pid: u32, tid: u32, num: i32) -> Option<Fd> {
        let table = self.tables.get(pid, tid);
        if let Some(fd) = table.and_then(|table| table.get(num)) {
            return Some(fd.clone());
        }
        let fd = self.read_fd(pid, tid, num, None)?;
        self.tables.get_mut(pid, tid).set(num, fd.clone());
        Some(fd)
    }

    /// Name of a process's descriptor: `/dev/net/tun (flannel0)`,
    /// `0.0.0.0:8285`, `10.0.0.1:1→10.0.0.2:80`, a path.
    pub fn fd_name(&mut self, pid: u32, num: i32) -> Option<Arc<str>> {
        self.fd(pid, pid, num)?.name().cloned()
    }

    /// The same for a descriptor seen with an event, which overrules what was
    /// known before: the name is never that of an earlier file of this number.
    pub fn fd_name_of(&mut self, actor: &Actor, view: &FdView) -> Option<Arc<str>> {
        let known = self
            .tables
            .get(actor.pid, actor.tid)
            .and_then(|table| table.get(view.num));
        if let Some(fd) = known
            && (fd.name().is_some() || fd.asked || self.procfs.is_none())
            && fd.covers(view)
        {
            return fd.name().cloned();
        }
        if view.num < 0 || view.kind == FdKind::Unknown {
            return None;
        }
        self.updated(actor.pid, actor.tid, view);
        self.tables
            .get(actor.pid, actor.tid)?
            .get(view.num)?
            .name()
            .cloned()
    }

    /// All descriptors of `/dev/net/tun` known at this moment.
    pub fn tun_fds(&self) -> Vec<TunFd> {
        let mut tuns: Vec<TunFd> = self
            .tables
            .iter()
            .flat_map(|(pid, table)| table.iter().map(move |(num, fd)| (pid, num, fd)))
            .filter_map(|(pid, num, fd)| match &fd.kind {
                FdKind::Tun { interface, tap, .. } => Some(TunFd {
                    pid,
                    num,
                    interface: interface.to_string(),
                    tap: *tap,
                }),
                _ => None,
            })
            .collect();
        tuns.sort_unstable_by_key(|tun| (tun.pid, tun.num));
        tuns
    }

    fn still_the_same(&self, pid: u32) -> bool {
        let Some(procfs) = &self.procfs else {
            return true;
        };
        let known = self.processes.get(pid).and_then(|process| process.start_ns);
        match (known, procfs.start_ns(pid)) {
            (Some(known), Some(now)) => known.abs_diff(now) < SAME_START_NS,
            // Ended meanwhile: it can still be named.
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }

    /// Reads a process from `/proc`.
    fn learn(&mut self, pid: u32) -> Option<Arc<Process>> {
        let seen = self.procfs.as_ref()?.process(pid)?;
        let process = Process {
            pid,
            parent: Some(seen.parent),
            comm: seen.comm,
            args: seen.args,
            args_cut: false,
            uid: seen.uid,
            user: seen.uid.and_then(|uid| self.users.name(uid)),
            start_ns: Some(seen.start_ns),
            container: self.containers.of(&seen.cgroups),
            netns: seen.netns,
            cgroup: None,
        };
        Some(self.processes.insert(process))
    }

    fn learn_tuns(&mut self, pid: u32) {
        let nums = self
            .procfs
            .as_ref()
            .map_or(Vec::new(), |procfs| procfs.tun_fds(pid));
        for num in nums {
            self.fd(pid, pid, num);
        }
    }

    /// Reads one descriptor from `/proc`, whatever the tables say. With a view
    /// only if it still is the same file, whose addresses the view knows.
    fn read_fd(&mut self, pid: u32, tid: u32, num: i32, view: Option<&FdView>) -> Option<Fd> {
        let procfs = self.procfs.as_ref()?;
        if self.processes.has_ended(pid) {
            return None;
        }
        let sockets = &mut self.sockets;
        let known = view.map(|view| &view.kind);
        let seen = procfs.fd(self.tables.owner(pid, tid), num, known, |inode| {
            sockets.kind(procfs, pid, inode)
        })?;
        let mut fd = Fd::new(
            seen.kind,
            seen.inode,
            seen.path.map(Arc::from),
            seen.cloexec,
        );
        fd.asked = true;
        view.is_none_or(|view| fd.agrees_with(view)).then_some(fd)
    }

    fn expire(&mut self, now: UnixNanos) {
        while let Some(pid) = self.processes.expire(now) {
            self.tables.detach(pid);
        }
    }
}

/// `folder/path` without `.` and `..`; `path` as given when the folder is not known.
fn joined(folder: Option<Vec<u8>>, path: &[u8]) -> Vec<u8> {
    let Some(mut whole) = folder.filter(|folder| folder.starts_with(b"/")) else {
        return path.to_vec();
    };
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = whole.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                whole.truncate(parent);
            }
            name => {
                if whole.last() != Some(&b'/') {
                    whole.push(b'/');
                }
                whole.extend_from_slice(name);
            }
        }
    }
    if whole.is_empty() {
        b"/".to_vec()
    } else {
        whole
    }
}

#[cfg(test)]
mod tests;
