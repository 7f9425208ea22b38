//! What a lab has made, written down before it is made: whoever comes after a
//! crash finds everything, and nothing that is not the lab's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use super::{cgroup, container, interrupt, netns};

/// One folder a lab. On Linux `/run` does not survive a reboot, and no more
/// does anything that a lab makes.
pub const ROOT: &str = "/run/netdig/lab";
const FILE: &str = "journal";
/// The folder in a lab's that its places may write: their parts keep there what
/// they make. Journal, scenario and logs are beside it.
pub const PARTS: &str = "parts";
/// How long another may take to take a lab down, and hold what all share.
const HELD: Duration = Duration::from_secs(60);
const LOCKED: Duration = Duration::from_secs(30);
/// Folders that are not a lab yet.
const NEW: &str = ".new-";
/// Files beside them that say which shared folders are there only for the labs.
const MARKERS: &[&str] = &[netns::MARKER, cgroup::MARKER, ".runc", ".crun"];

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The first line.
    Lab {
        scenario: String,
        purpose: Purpose,
        owner: ProcessId,
        /// What its processes carry in their environment, and no other lab's do.
        #[serde(default)]
        identity: String,
    },
    /// A network namespace, by its name in `/run/netns`.
    Namespace { name: String },
    /// A process, leader of its own session; written by itself before exec.
    Process { what: String, pid: i32, start: u64 },
    /// Cgroups below one of the lab's own name, in any hierarchy.
    Cgroups,
    /// A container of an OCI runtime.
    Container {
        name: String,
        id: String,
        runtime: String,
    },
    /// Built; it stands until it is taken down.
    Ready,
}

/// Why a lab was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To stand for a person to look at.
    Up,
    /// For one run.
    Run,
}

/// The folder of one lab.
#[derive(Debug, Clone)]
pub struct Journal {
    name: String,
    folder: PathBuf,
}

impl Journal {
    /// Makes the folder of a new lab, with its first entry in it, in one step.
    /// `None` where a lab of that name has one already.
    pub fn create(name: &str, scenario: &str, purpose: Purpose) -> Result<Option<Journal>> {
        check_name(name)?;
        let owner = ProcessId::own()?;
        let _lock = lock()?;
        let new = Path::new(ROOT).join(format!("{NEW}{}-{name}", owner.pid));
        // One of an earlier process with this number.
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).with_context(|| {
            format!(
                "cannot make the folder {}; the lab needs root",
                new.display()
            )
        })?;
        let staged = Journal {
            name: name.to_owned(),
            folder: new,
        };
        staged.add(&Entry::Lab {
            scenario: scenario.to_owned(),
            purpose,
            owner,
            identity: identity(name),
        })?;
        let folder = Path::new(ROOT).join(name);
        match fs::rename(&staged.folder, &folder) {
            Ok(()) => Ok(Some(Journal {
                name: name.to_owned(),
                folder,
            })),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                fs::remove_dir_all(&staged.folder)
                    .context("cannot remove an unused folder of the lab")?;
                Ok(None)
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot make the folder {}", folder.display()))
            }
        }
    }

    /// The journal of the lab `name`, if there is one.
    pub fn open(name: &str) -> Result<Option<Journal>> {
        check_name(name)?;
        let folder = Path::new(ROOT).join(name);
        Ok(folder.is_dir().then(|| Journal {
            name: name.to_owned(),
            folder,
        }))
    }

    /// All labs that left a folder, by name.
    pub fn all() -> Result<Vec<Journal>> {
        let mut labs: Vec<_> = folders()?
            .into_iter()
            .filter(|(name, _)| check_name(name).is_ok())
            .map(|(name, folder)| Journal { name, folder })
            .collect();
        labs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(labs)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path in the lab's folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The journal, opened to append whole lines.
    pub fn file(&self) -> Result<File> {
        let path = self.path(FILE);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| {
                format!(
                    "cannot write the lab's journal {}; the lab needs root",
                    path.display()
                )
            })
    }

    pub fn add(&self, entry: &Entry) -> Result<()> {
        let line =
            serde_json::to_string(entry).context("cannot write down what the lab makes")? + "\n";
        self.file()?
            .write_all(line.as_bytes())
            .context("cannot write the lab's journal")
    }

    /// What was written. A last line that was cut is the beginning of
    /// something that was never made, and is left out.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let text = match fs::read(self.path(FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| {
                format!(
                    "cannot read the lab's journal {}",
                    self.path(FILE).display()
                )
            })?,
        };
        Ok(text
            .split(|&b| b == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// The lab's own mark; empty where the journal has none.
    pub fn identity(&self) -> Result<String> {
        Ok(identity_in(&self.entries()?).to_owned())
    }

    /// The lab for this process alone, as long as the file lives, or until the
    /// folder is gone. `None` where it is gone already, or where another has it
    /// and is not waited for.
    pub fn hold(&self, wait: bool) -> Result<Option<File>> {
        let path = self.path(FILE);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot open {}", path.display()))?,
        };
        let locked = interrupt::poll_through(HELD, || match file.try_lock() {
            Ok(()) => Ok(Some(true)),
            Err(TryLockError::WouldBlock) => Ok((!wait).then_some(false)),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        })?;
        match locked {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => bail!(
                "another netdig has been taking the lab {} down for a minute",
                self.name
            ),
        }
        // Another lab may have the name by now.
        let same = netns::inode(&path) == file.metadata().ok().map(|ours| ours.ino());
        Ok(same.then_some(file))
    }

    /// Removes the lab's folder.
    pub fn remove(self) -> Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot remove {}", self.folder.display()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The mark of the lab that these entries are of.
pub fn identity_in(entries: &[Entry]) -> &str {
    let first = entries.iter().find_map(|entry| match entry {
        Entry::Lab { identity, .. } => Some(identity.as_str()),
        _ => None,
    });
    first.unwrap_or_default()
}

/// The clock makes it another one than that of an earlier lab of this name.
fn identity(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!("{name}/{:x}", now.unwrap_or_default().as_nanos())
}

/// Held while folders that all labs share come and go.
pub fn lock() -> Result<File> {
    let run = File::open("/run").context("cannot open /run")?;
    let locked = interrupt::poll_through(LOCKED, || match run.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).context("cannot lock /run against other labs")
        }
    })?;
    locked.context("somebody holds a lock on the folder /run; `lslocks` says who")?;
    Ok(run)
}

/// Removes folders of labs whose maker died before they were one, and what the
/// labs share when there is none left.
pub fn sweep() -> Result<()> {
    let _lock = lock()?;
    for (name, folder) in folders()? {
        let Some(rest) = name.strip_prefix(NEW) else {
            continue;
        };
        let journal = Journal {
            name: String::new(),
            folder,
        };
        let alive = journal
            .entries()?
            .iter()
            .any(|entry| matches!(entry, Entry::Lab { owner, .. } if owner.alive()));
        let maker = rest
            .split('-')
            .next()
            .and_then(|pid| pid.parse::<i32>().ok());
        if !alive && maker.is_none_or(|pid| ProcessId::of(pid).is_none()) {
            journal.remove()?;
        }
    }
    if folders()?
        .iter()
        .all(|(name, _)| MARKERS.contains(&name.as_str()))
    {
        netns::remove_empty_folder();
        container::remove_empty_folders();
        cgroup::put_controllers_back();
    }
    for root in [ROOT, "/run/netdig"] {
        // Fails as it should while another lab uses it.
        let _ = fs::remove_dir(root);
    }
    Ok(())
}

fn folders() -> Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(ROOT) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {ROOT}"))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {ROOT}"))?;
        if let Ok(name) = entry.file_name().into_string()
            && (name.starts_with('.') || entry.path().is_dir())
        {
            folders.push((name, entry.path()));
        }
    }
    Ok(folders)
}

/// A lab's name becomes part of namespace names and of a path.
fn check_name(name: &str) -> Result<()> {
    let fits = (1..=60).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-');
    if !fits {
        bail!("`{name}` cannot name a lab: 1 to 60 lower-case letters, digits and hyphens");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for bad in ["", "..", "a/b", ".new-1-x", "A", "-x", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("overlay-swallows-underlay").is_ok());
    }

    #[test]
    fn a_process_entry_reads_as_the_child_writes_it() {
        let line = r#"{"process":{"what":"tunnel","pid":12,"start":345}}"#;
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(
            entry,
            Entry::Process {
                what: "tunnel".into(),
                pid: 12,
                start: 345
            }
        );
        assert_eq!(serde_json::to_string(&Entry::Ready).unwrap(), "\"ready\"");
    }
}
