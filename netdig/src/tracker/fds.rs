//! Descriptor tables: which task has which, and what each descriptor is.
//!
//! A table starts with gaps, which `/proc` fills one descriptor at a time when
//! somebody asks. Events set and clear entries; what neither says is unknown,
//! never the last guess.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::observation::{FdKind, FdView};

/// What is known of one open descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fd {
    pub kind: FdKind,
    /// Inode number of the file or socket; 0 where unknown.
    pub inode: u64,
    /// Path of a file, absolute where it could be made so.
    pub path: Option<Arc<[u8]>>,
    /// Whether a successful exec closes it.
    pub cloexec: bool,
    /// Whether `/proc` was asked about it: it will not say more.
    pub(super) asked: bool,
    name: Option<Arc<str>>,
}

impl Fd {
    pub(super) fn new(kind: FdKind, inode: u64, path: Option<Arc<[u8]>>, cloexec: bool) -> Fd {
        let name = name_of(&kind, path.as_deref());
        Fd {
            kind,
            inode,
            path,
            cloexec,
            asked: false,
            name,
        }
    }

    /// How people know it: `/dev/net/tun (flannel0)`, `0.0.0.0:8285`,
    /// `10.0.0.1:1→10.0.0.2:80`, a path; `None` for what has no name.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Whether `view`, taken with a later event, shows the same open file. A
    /// side that does not know its inode number or kind does not contradict.
    pub(super) fn agrees_with(&self, view: &FdView) -> bool {
        if self.inode != 0 && view.inode != 0 && !matches!(view.kind, FdKind::Tun { .. }) {
            return self.inode == view.inode;
        }
        same_family(&self.kind, &view.kind)
    }

    /// Whether `view`, taken with a packet, adds nothing to what is known. A
    /// packet with an address of its own does not tell whether its socket is
    /// connected.
    pub(super) fn covers(&self, view: &FdView) -> bool {
        use FdKind::Inet;
        let same = match (&self.kind, &view.kind) {
            (
                Inet {
                    protocol,
                    stream,
                    local,
                    ..
                },
                Inet {
                    protocol: its_protocol,
                    stream: its_stream,
                    local: its_local,
                    remote: None,
                },
            ) => (protocol, stream, local) == (its_protocol, its_stream, its_local),
            (one, other) => one == other,
        };
        same && self.agrees_with(view)
    }
}

fn same_family(one: &FdKind, other: &FdKind) -> bool {
    use FdKind::{Inet, Tun, Unknown};
    match (one, other) {
        (Unknown, _) | (_, Unknown) => true,
        // All tun descriptors share the inode of /dev/net/tun.
        (
            Tun { interface: one, .. },
            Tun {
                interface: other, ..
            },
        ) => one.is_empty() || other.is_empty() || one == other,
        (
            Inet { protocol: one, .. },
            Inet {
                protocol: other, ..
            },
        ) => one == other,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn name_of(kind: &FdKind, path: Option<&[u8]>) -> Option<Arc<str>> {
    struct Shown<'a>(&'a FdKind);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                FdKind::Tun { interface, .. } if interface.is_empty() => {
                    out.write_str("/dev/net/tun")
                }
                FdKind::Tun { interface, .. } => write!(out, "/dev/net/tun ({interface})"),
                FdKind::Inet {
                    local,
                    remote: None,
                    ..
                } => local.fmt(out),
                FdKind::Inet {
                    local,
                    remote: Some(remote),
                    ..
                } => {
                    write!(out, "{local}→{remote}")
                }
                _ => Ok(()),
            }
        }
    }
    match (kind, path) {
        (FdKind::Tun { .. } | FdKind::Inet { .. }, _) => Some(Shown(kind).to_string().into()),
        (_, Some(path)) => Some(String::from_utf8_lossy(path).into()),
        _ => None,
    }
}

type Entries = FxHashMap<i32, Fd>;

/// One descriptor table, as `struct files_struct` is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// Shared between a parent and its fork until one of them changes it.
    entries: Arc<Entries>,
    /// Processes and threads that use it.
    users: u32,
}

impl Table {
    pub fn get(&self, num: i32) -> Option<&Fd> {
        self.entries.get(&num)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i32, &Fd)> {
        self.entries.iter().map(|(&num, fd)| (num, fd))
    }

    pub fn set(&mut self, num: i32, fd: Fd) {
        Arc::make_mut(&mut self.entries).insert(num, fd);
    }

    pub fn close(&mut self, num: i32) {
        if self.entries.contains_key(&num) {
            Arc::make_mut(&mut self.entries).remove(&num);
        }
    }

    /// close_range(2), `last` included.
    pub fn close_range(&mut self, first: u32, last: u32) {
        let inside = |num: i32| u32::try_from(num).is_ok_and(|num| (first..=last).contains(&num));
        if self.entries.keys().any(|&num| inside(num)) {
            Arc::make_mut(&mut self.entries).retain(|&num, _| !inside(num));
        }
    }

    pub fn set_cloexec(&mut self, first: u32, last: u32, on: bool) {
        for (&num, fd) in Arc::make_mut(&mut self.entries).iter_mut() {
            if u32::try_from(num).is_ok_and(|num| (first..=last).contains(&num)) {
                fd.cloexec = on;
            }
        }
    }

    /// What a successful exec leaves open.
    fn drop_cloexec(&mut self) {
        if self.entries.values().any(|fd| fd.cloexec) {
            Arc::make_mut(&mut self.entries).retain(|_, fd| !fd.cloexec);
        }
    }

    /// Nothing is known any more.
    fn forget(&mut self) {
        self.entries = Arc::default();
    }
}

/// All tables, by the tasks that use them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: FxHashMap<u64, Table>,
    /// By process; and by thread, for threads with a table of their own.
    by_task: FxHashMap<u32, u64>,
    next: u64,
}

impl Tables {
    /// The table of a task: its own, else that of its process.
    pub fn get(&self, pid: u32, tid: u32) -> Option<&Table> {
        self.tables.get(&self.id(pid, tid)?)
    }

    /// The same, made with gaps when it was not known.
    pub fn get_mut(&mut self, pid: u32, tid: u32) -> &mut Table {
        let id = match self.id(pid, tid) {
            Some(id) => id,
            None => self.attach(pid, Table::default()),
        };
        self.tables.entry(id).or_default()
    }

    fn id(&self, pid: u32, tid: u32) -> Option<u64> {
        let own = if tid == pid {
            None
        } else {
            self.by_task.get(&tid)
        };
        own.or_else(|| self.by_task.get(&pid)).copied()
    }

    /// The task below whose number `/proc` shows the same table. A thread's is
    /// there too, though it is not listed.
    pub fn owner(&self, pid: u32, tid: u32) -> u32 {
        if self.by_task.contains_key(&tid) {
            tid
        } else {
            pid
        }
    }

    fn attach(&mut self, task: u32, table: Table) -> u64 {
        self.detach(task);
        self.next += 1;
        self.tables.insert(self.next, Table { users: 1, ..table });
        self.by_task.insert(task, self.next);
        self.next
    }

    /// The task ended, or gets another table.
    pub fn detach(&mut self, task: u32) {
        let Some(id) = self.by_task.remove(&task) else {
            return;
        };
        if let Some(table) = self.tables.get_mut(&id) {
            table.users = table.users.saturating_sub(1);
            if table.users == 0 {
                self.tables.remove(&id);
            }
        }
    }

    /// A process or thread was born. A thread that shares its process's table
    /// needs no entry.
    pub fn fork(&mut self, parent: u32, child: u32, pid_of_child: u32, shares: bool) {
        if shares && child != pid_of_child {
            return self.detach(child);
        }
        self.get_mut(parent, parent);
        let Some(id) = self.id(parent, parent) else {
            return;
        };
        if !shares {
            let copy = self.tables.get(&id).cloned().unwrap_or_default();
            self.attach(child, copy);
            return;
        }
        self.detach(child);
        if let Some(table) = self.tables.get_mut(&id) {
            table.users += 1;
            self.by_task.insert(child, id);
        }
    }

    /// unshare(CLONE_FILES): the task gets a copy of its own.
    pub fn unshare(&mut self, pid: u32, tid: u32) {
        let table = self.get_mut(pid, tid).clone();
        // A thread leaves the others behind; a process leaves other processes.
        if tid != pid || table.users > 1 {
            self.attach(tid, table);
        }
    }

    /// A successful exec: the table becomes the process's own, the calling
    /// thread its leader, and close-on-exec descriptors are gone.
    pub fn exec(&mut self, pid: u32, tid: u32) {
        let mut table = self.get_mut(pid, tid).clone();
        table.drop_cloexec();
        self.detach(tid);
        self.attach(pid, table);
    }

    /// A process is there whose table nothing says anything about.
    pub fn reset(&mut self, pid: u32) {
        self.attach(pid, Table::default());
    }

    /// Events were lost: no entry can be trusted.
    pub fn forget_all(&mut self) {
        self.tables.values_mut().for_each(Table::forget);
    }

    /// Every process with its table, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Table)> {
        self.by_task
            .iter()
            .filter_map(|(&task, id)| Some((task, self.tables.get(id)?)))
    }
}
