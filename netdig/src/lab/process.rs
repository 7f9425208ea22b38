//! Processes of a lab: started inside its namespaces, written down by
//! themselves before they become what they are, found again by pid and start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::journal::{self, Entry, Journal};
use super::place::Place;

/// A process, told from a later one with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl ProcessId {
    pub fn own() -> Result<ProcessId> {
        let pid = std::process::id().cast_signed();
        ProcessId::of(pid).context("cannot read /proc/self/stat; is /proc mounted?")
    }

    /// The process that has this number now; zombies count as gone.
    pub fn of(pid: i32) -> Option<ProcessId> {
        Stat::read(pid)
            .filter(|stat| !stat.gone)
            .map(|stat| ProcessId {
                pid,
                start: stat.start,
            })
    }

    pub fn alive(self) -> bool {
        ProcessId::of(self.pid) == Some(self)
    }

    /// Whether it is the first process of a PID namespace: it need not heed
    /// SIGTERM, and the others there end with it.
    pub fn is_init(self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| {
            let numbers: Vec<_> = numbers.split_whitespace().collect();
            numbers.len() > 1 && numbers.last() == Some(&"1")
        })
    }

    /// Sends a signal, if the process is still the same one. One that has ended
    /// meanwhile is no error.
    pub fn signal(self, signal: i32) -> Result<()> {
        // SAFETY: kill takes two numbers.
        if self.alive() && unsafe { libc::kill(self.pid, signal) } < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ESRCH) {
                return Err(error).with_context(|| {
                    format!("cannot signal process {}; the lab needs root", self.pid)
                });
            }
        }
        Ok(())
    }
}

/// What the lab needs of `/proc/PID/stat` (proc_pid_stat(5)).
struct Stat {
    gone: bool,
    session: i32,
    start: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// comm may hold anything, parentheses too: fields count from the last one.
    /// Does not allocate, so that a forked child may call it.
    fn parse(line: &[u8]) -> Option<Stat> {
        let after_comm = line.iter().rposition(|&b| b == b')')? + 1;
        let mut fields = line
            .get(after_comm..)?
            .split(|&b| b == b' ')
            .filter(|field| !field.is_empty());
        let state = fields.next()?;
        let number = |field: &[u8]| {
            std::str::from_utf8(field)
                .ok()?
                .trim_end()
                .parse::<u64>()
                .ok()
        };
        let session = number(fields.nth(2)?)?;
        let start = number(fields.nth(15)?)?;
        Some(Stat {
            gone: matches!(state, b"Z" | b"X"),
            session: i32::try_from(session).ok()?,
            start,
        })
    }
}

/// The environment variable that holds [`Journal::identity`].
pub const MARK: &str = "NETDIG_LAB";

/// Starts `command` in `place`, as the leader of its own session. It is in the
/// journal, as `what`, before it becomes the program. `tied`: it is to end with
/// netdig, however that ends.
pub fn spawn(
    journal: &Journal,
    what: &str,
    place: &Place,
    mut command: Command,
    tied: bool,
) -> Result<Child> {
    let recorder = Recorder::new(journal, what)?;
    keep_environment_out(&mut command);
    command.env(MARK, journal.identity()?);
    let inside = place.prepare()?;
    let parent = std::process::id().cast_signed();
    let program = command.get_program().to_string_lossy().into_owned();
    // SAFETY: between fork and exec the closure makes system calls on memory
    // and descriptors that were prepared before, and does not allocate.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            if tied {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            }
            recorder.record()?;
            // With netdig gone, someone may have read the journal before.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ECHILD));
            }
            inside.enter()
        });
    }
    command
        .spawn()
        .with_context(|| format!("cannot start `{program}` in {place}"))
}

/// Leaves a command nothing of the person's environment that changes what it
/// does: proxies, endpoints, options of etcd's and other clients.
fn keep_environment_out(command: &mut Command) {
    const KEPT: [&str; 7] = ["PATH", "HOME", "LANG", "TERM", "TZ", "USER", "LOGNAME"];
    let own: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command.env_clear();
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((*name, std::env::var_os(name)?)));
    command.envs(kept).envs(own);
}

/// Writes the calling process into the journal: for one that is about to
/// become another program.
pub fn record_own(journal: &Journal, what: &str) -> Result<()> {
    Recorder::new(journal, what)?
        .record()
        .context("cannot write the lab's journal")
}

/// All that a forked child needs to write itself into the journal.
struct Recorder {
    file: File,
    prefix: String,
}

impl Recorder {
    fn new(journal: &Journal, what: &str) -> Result<Recorder> {
        let what = serde_json::to_string(what).context("cannot write down a process")?;
        Ok(Recorder {
            file: journal.file()?,
            prefix: format!(r#"{{"process":{{"what":{what},"pid":"#),
        })
    }

    fn record(&self) -> io::Result<()> {
        let mut stat = [0; 1024];
        let len = File::open("/proc/self/stat")?.read(&mut stat)?;
        let start = Stat::parse(&stat[..len])
            .ok_or(io::ErrorKind::InvalidData)?
            .start;
        let mut line = [0; 512];
        let mut cursor = Cursor::new(&mut line[..]);
        // SAFETY: getpid cannot fail.
        let pid = unsafe { libc::getpid() };
        cursor.write_all(self.prefix.as_bytes())?;
        writeln!(cursor, "{pid},\"start\":{start}}}}}")?;
        let len = cursor.position() as usize;
        (&self.file).write_all(&line[..len])
    }
}

/// The processes of a lab that are alive: those written down, those in its
/// cgroups, and those in one of its network namespaces (`inodes`) that are of
/// their sessions or carry the lab's mark. A daemon may leave its session, and
/// may write over its environment.
pub fn of_lab(lab: &str, entries: &[Entry], inodes: &BTreeSet<u64>) -> BTreeSet<ProcessId> {
    let recorded: BTreeSet<ProcessId> = entries
        .iter()
        .filter_map(|entry| match *entry {
            Entry::Process { pid, start, .. } => Some(ProcessId { pid, start }),
            _ => None,
        })
        .collect();
    let mut found: BTreeSet<_> = recorded
        .iter()
        .copied()
        .filter(|process| process.alive())
        .collect();
    found.extend(cgroup::processes(lab).into_iter().filter_map(ProcessId::of));
    // A number stays taken as long as a session bears it, unless it was given
    // away before: then its present bearer started at another time.
    let sessions: BTreeSet<i32> = recorded
        .iter()
        .filter(|process| Stat::read(process.pid).is_none_or(|stat| stat.start == process.start))
        .map(|process| process.pid)
        .collect();
    let identity = journal::identity_in(entries);
    let mark = format!("{MARK}={identity}");
    let Ok(proc) = fs::read_dir("/proc") else {
        return found;
    };
    for pid in proc
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
    {
        let Some(stat) = Stat::read(pid).filter(|stat| !stat.gone) else {
            continue;
        };
        let inside = super::netns::inode(format!("/proc/{pid}/ns/net").as_ref())
            .is_some_and(|inode| inodes.contains(&inode));
        if inside
            && (sessions.contains(&stat.session) || !identity.is_empty() && carries(pid, &mark))
        {
            found.insert(ProcessId {
                pid,
                start: stat.start,
            });
        }
    }
    found
}

/// Whether a process was started with `variable`, `NAME=VALUE`.
fn carries(pid: i32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|all| all.split(|&b| b == 0).any(|one| one == variable.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_hostile_comm() {
        let line = b"42 (a) R 1 (b) S 7 42 41 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.gone, stat.session, stat.start), (false, 41, 98765));
        assert!(Stat::parse(b"42 (x) Z 7 42 41").is_none());
        assert!(Stat::parse(b"").is_none());
    }

    #[test]
    fn a_process_is_itself_and_not_an_earlier_one() {
        let own = ProcessId::own().unwrap();
        assert!(own.alive());
        assert!(
            !ProcessId {
                start: own.start + 1,
                ..own
            }
            .alive()
        );
    }
}
