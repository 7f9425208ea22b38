//! Labs that stand: found by their journals, looked at, entered, taken down.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::etcd;
use super::journal::{self, Entry, Journal, Purpose};
use super::place::{Kind, Place};
use super::process::{self, ProcessId};
use super::scenario::{self, Scenario};
use super::{cgroup, container, host, netns, topology};

/// The file in a lab's folder that holds its scenario.
pub const SCENARIO: &str = "scenario.toml";

/// How long processes may take to end after SIGTERM, and after SIGKILL.
const POLITE: Duration = Duration::from_secs(2);
const FORCED: Duration = Duration::from_secs(10);

/// What there is to say about a lab.
#[derive(Debug, Clone)]
pub struct Status {
    pub name: String,
    pub scenario: String,
    /// `ready`, `building`, `running`, `interrupted`.
    pub state: &'static str,
    pub places: Vec<PlaceStatus>,
    /// Name, pid, and whether it is alive.
    pub processes: Vec<(String, i32, bool)>,
}

#[derive(Debug, Clone)]
pub struct PlaceStatus {
    pub name: String,
    pub namespace: String,
    pub exists: bool,
}

/// A lab with a journal.
pub struct Standing {
    journal: Journal,
    entries: Vec<Entry>,
}

/// All labs that have a journal, by name.
pub fn all() -> Result<Vec<Standing>> {
    Journal::all()?.into_iter().map(Standing::new).collect()
}

/// The lab of this name.
pub fn find(name: &str) -> Result<Option<Standing>> {
    Journal::open(name)?.map(Standing::new).transpose()
}

/// The one lab that has a host or container `place`.
pub fn by_place(place: &str) -> Result<Standing> {
    let mut labs: Vec<_> = all()?.into_iter().filter(|lab| lab.has(place)).collect();
    match (labs.pop(), labs.is_empty()) {
        (Some(lab), true) => Ok(lab),
        (None, _) => {
            bail!("no lab stands that has a host or container `{place}`; see `netdig lab status`")
        }
        (Some(last), false) => {
            labs.push(last);
            let names: Vec<_> = labs.iter().map(Standing::name).collect();
            bail!(
                "several labs have a host `{place}`; choose one with --name: {}",
                names.join(", ")
            )
        }
    }
}

impl Standing {
    fn new(journal: Journal) -> Result<Standing> {
        let entries = journal.entries()?;
        Ok(Standing { journal, entries })
    }

    pub fn name(&self) -> &str {
        self.journal.name()
    }

    fn has(&self, place: &str) -> bool {
        let namespace = topology::namespace(self.name(), place);
        place != topology::SWITCH && self.namespaces().any(|name| name == namespace)
    }

    fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Namespace { name } => Some(name.as_str()),
            _ => None,
        })
    }

    fn first(&self) -> Option<(&str, Purpose, ProcessId)> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Lab {
                scenario,
                purpose,
                owner,
                ..
            } => Some((scenario.as_str(), *purpose, *owner)),
            _ => None,
        })
    }

    pub fn status(&self) -> Status {
        let ready = self.entries.contains(&Entry::Ready);
        let (scenario, purpose, alive) = self
            .first()
            .map_or(("", Purpose::Up, false), |(scenario, purpose, owner)| {
                (scenario, purpose, owner.alive())
            });
        let state = match (purpose, ready, alive) {
            (Purpose::Up, true, _) => "ready",
            (Purpose::Run, true, true) => "running",
            (_, false, true) => "building",
            _ => "interrupted",
        };
        let prefix = topology::namespace(self.name(), "");
        let places = self.namespaces().map(|namespace| PlaceStatus {
            name: namespace
                .strip_prefix(&prefix)
                .unwrap_or(namespace)
                .to_owned(),
            namespace: namespace.to_owned(),
            exists: netns::exists(namespace),
        });
        let processes = self.entries.iter().filter_map(|entry| match entry {
            Entry::Process { what, pid, start } => Some((
                what.clone(),
                *pid,
                ProcessId {
                    pid: *pid,
                    start: *start,
                }
                .alive(),
            )),
            _ => None,
        });
        // Of commands that a person has run only those count that still run.
        let processes = processes.filter(|(what, _, alive)| *alive || !what.starts_with("exec-"));
        Status {
            name: self.name().to_owned(),
            scenario: scenario.to_owned(),
            state,
            places: places.collect(),
            processes: processes.collect(),
        }
    }

    /// The scenario that it was built from.
    pub fn scenario(&self) -> Result<Scenario> {
        let (name, ..) = self
            .first()
            .with_context(|| format!("the journal of the lab {} is empty", self.name()))?;
        let path = self.journal.path(SCENARIO);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        scenario::read(name, &path.display().to_string(), &text)
    }

    /// Turns the calling process into `command`, inside the host or container
    /// `place`; returns only when that fails. The process belongs to the lab
    /// from then on, and ends with it.
    pub fn exec(&self, place_name: &str, mut command: std::process::Command) -> Result<()> {
        use std::os::unix::process::CommandExt;
        if !self.has(place_name) {
            bail!(
                "the lab {} has no host or container `{place_name}`; see `netdig lab status`",
                self.name()
            );
        }
        let scenario = self.scenario()?;
        let inside = place(&self.journal, &scenario, place_name)?.prepare()?;
        command.env(process::MARK, self.journal.identity()?);
        process::record_own(&self.journal, &format!("exec-{place_name}"))?;
        inside
            .enter()
            .with_context(|| format!("cannot enter {place_name}; the lab needs root"))?;
        let program = command.get_program().to_string_lossy().into_owned();
        Err(command.exec()).with_context(|| format!("cannot start `{program}` in {place_name}"))
    }

    /// Processes that have to end before the lab can go. Whoever still builds
    /// or runs it is one of them, or more would come.
    fn alive(&self, inodes: &BTreeSet<u64>) -> Result<BTreeSet<ProcessId>> {
        let entries = self.journal.entries()?;
        let mut alive = process::of_lab(self.name(), &entries, inodes);
        let stands = entries.contains(&Entry::Ready);
        alive.extend(
            self.first()
                .filter(|(_, purpose, owner)| !(stands && *purpose == Purpose::Up) && owner.alive())
                .map(|(.., owner)| owner),
        );
        alive.remove(&ProcessId::own()?);
        Ok(alive)
    }

    /// Takes the lab down.
    pub fn tear_down(self) -> Result<()> {
        tear_down(&self.journal, Patience::Waits)
    }
}

/// What to do where another takes the same lab down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It is left to that one.
    None,
    Waits,
}

/// Where processes of a host or container run. A container without a runtime
/// has all but its network from its host.
pub fn place(journal: &Journal, scenario: &Scenario, name: &str) -> Result<Place> {
    let entries = journal.entries()?;
    let lab = journal.name();
    let place = Place::network(name, topology::namespace(lab, name));
    let is_kept = entries.iter().any(
        |entry| matches!(entry, Entry::Container { name: container, .. } if container == name),
    );
    if is_kept {
        let keeper = keeper(&entries, &container::keeper(name))?;
        let cgroups = cgroup::of_process(keeper.pid, lab)?;
        return Ok(place.kept_by(keeper, Kind::Container).with_cgroups(cgroups));
    }
    let host = scenario
        .container(name)
        .map_or(name, |container| &container.host);
    let keeper = keeper(&entries, &host::keeper(host))?;
    let cgroup = cgroup::of_host(lab, host)?;
    Ok(place.kept_by(keeper, Kind::Host).with_cgroups(vec![cgroup]))
}

fn keeper(entries: &[Entry], name: &str) -> Result<ProcessId> {
    let mut written = entries.iter().rev().filter_map(|entry| match entry {
        Entry::Process { what, pid, start } if what == name => Some(ProcessId {
            pid: *pid,
            start: *start,
        }),
        _ => None,
    });
    written
        .next()
        .with_context(|| format!("the journal of the lab has no process {name}"))
}

/// Whether someone still wants this lab: it stands for a person to look at,
/// or the process that builds or runs it is alive.
pub fn is_in_use(journal: &Journal) -> Result<bool> {
    let state = Standing::new(journal.clone())?.status().state;
    Ok(state != "interrupted")
}

/// Removes everything that the journal names: processes, containers, cgroups,
/// namespaces with their links and mounts, and the journal itself. May be repeated.
pub fn tear_down(journal: &Journal, patience: Patience) -> Result<()> {
    let Some(_alone) = journal.hold(patience == Patience::Waits)? else {
        return Ok(());
    };
    let entries = journal.entries()?;
    let lab = Standing {
        journal: journal.clone(),
        entries,
    };
    let inodes: BTreeSet<u64> = lab.namespaces().filter_map(netns::inode_of).collect();
    end_processes(&lab, &inodes)?;
    container::remove(&lab.entries)?;
    if lab.entries.contains(&Entry::Cgroups) {
        cgroup::remove(lab.name())?;
    }
    netns::delete(lab.namespaces())?;
    journal.clone().remove()?;
    journal::sweep()
}

/// Removes what is left of labs that never came to be, and what all labs share
/// when there is none.
pub fn sweep() -> Result<()> {
    journal::sweep()
}

/// Processes that take their time to end in good order, of which nothing is
/// to be kept.
fn hasty(entries: &[Entry]) -> BTreeSet<ProcessId> {
    let hasty = entries.iter().filter_map(|entry| match entry {
        Entry::Process { what, pid, start } if what == etcd::WHAT => Some(ProcessId {
            pid: *pid,
            start: *start,
        }),
        _ => None,
    });
    hasty.collect()
}

fn end_processes(lab: &Standing, inodes: &BTreeSet<u64>) -> Result<()> {
    let hasty = hasty(&lab.journal.entries()?);
    for (signal, deadline) in [(libc::SIGTERM, POLITE), (libc::SIGKILL, FORCED)] {
        let end = Instant::now() + deadline;
        let mut told = BTreeSet::new();
        loop {
            // Looked up anew each time: one may have forked, or been started just now.
            let alive = lab.alive(inodes)?;
            if alive.is_empty() {
                return Ok(());
            }
            for process in alive.difference(&told) {
                // Neither the first process of a PID namespace nor etcd ends well by SIGTERM.
                process.signal(if process.is_init() || hasty.contains(process) {
                    libc::SIGKILL
                } else {
                    signal
                })?;
            }
            told.extend(alive);
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    bail!(
        "processes of the lab {} do not end, not even by SIGKILL; see `netdig lab status`",
        lab.name()
    )
}
