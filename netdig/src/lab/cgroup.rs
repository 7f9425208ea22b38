//! Cgroups of a lab: one a host, and those that a runtime makes for its containers,
//! all below one of the lab's own name in every hierarchy (cgroups(7)).

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::journal;

/// How long the kernel may take to let go of ended processes.
const EMPTY: Duration = Duration::from_secs(2);
const PROCESSES: &str = "cgroup.procs";
/// Version 2: controllers that a cgroup passes on to those below it.
const PASSED_ON: &str = "cgroup.subtree_control";
/// A file beside the labs' folders that says which controllers the hierarchy's
/// root passed on before the labs.
pub const MARKER: &str = ".cgroup2";

/// A mounted hierarchy.
struct Hierarchy {
    mounted: PathBuf,
    v2: bool,
    /// Version 1: what the mount's options name, controllers among them.
    options: String,
}

impl Hierarchy {
    fn all() -> Result<Vec<Hierarchy>> {
        let text = fs::read_to_string("/proc/self/mountinfo")
            .context("cannot read /proc/self/mountinfo")?;
        Ok(text.lines().filter_map(Hierarchy::parse).collect())
    }

    /// A line of mountinfo (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Hierarchy> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let v2 = match after.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        Some(Hierarchy {
            mounted: PathBuf::from(before.split(' ').nth(4)?),
            v2,
            options: after.nth(1)?.to_owned(),
        })
    }

    fn has(&self, controllers: &str) -> bool {
        match controllers {
            "" => self.v2,
            named => {
                !self.v2
                    && named
                        .split(',')
                        .all(|one| self.options.split(',').any(|option| option == one))
            }
        }
    }
}

/// Name of the cgroup that all of a lab's are in.
pub fn of_lab(lab: &str) -> String {
    format!("netdig-{lab}")
}

/// The cgroup of a host, below the lab's. One hierarchy is enough to know its
/// processes by: version 2, or systemd's own, or any that takes processes as it is.
pub fn of_host(lab: &str, host: &str) -> Result<PathBuf> {
    let all = Hierarchy::all()?;
    let chosen = all
        .iter()
        .find(|hierarchy| hierarchy.v2)
        .or_else(|| all.iter().find(|hierarchy| hierarchy.has("name=systemd")))
        .or_else(|| all.iter().find(|hierarchy| !hierarchy.has("cpuset")));
    let Some(hierarchy) = chosen else {
        bail!("no cgroup hierarchy is mounted; the lab needs one at /sys/fs/cgroup");
    };
    Ok(hierarchy.mounted.join(of_lab(lab)).join(host))
}

/// Refuses where somebody has cgroups of the lab's name.
pub fn check_free(lab: &str) -> Result<()> {
    let taken = Hierarchy::all()?
        .into_iter()
        .map(|hierarchy| hierarchy.mounted.join(of_lab(lab)))
        .find(|folder| folder.exists());
    match taken {
        None => Ok(()),
        Some(folder) => bail!(
            "the cgroup {} exists already and is not this lab's; give the lab another name with --name",
            folder.display()
        ),
    }
}

pub fn add(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| {
        format!(
            "cannot make the cgroup {}; the lab needs root",
            folder.display()
        )
    })
}

/// Writes down what the root of version 2 passes on, before a runtime makes it pass
/// on all that there is. Beside version 1 runtimes leave it alone. Called under the
/// lock.
pub fn note_controllers() -> Result<()> {
    let marker = Path::new(journal::ROOT).join(MARKER);
    if let [hierarchy] = &Hierarchy::all()?[..]
        && hierarchy.v2
        && !marker.exists()
        && let Ok(passed_on) = fs::read_to_string(hierarchy.mounted.join(PASSED_ON))
    {
        fs::write(&marker, passed_on)
            .with_context(|| format!("cannot write {}", marker.display()))?;
    }
    Ok(())
}

/// Ends what the root passes on only because of the labs, unless there are others'
/// cgroups by now, which may need it. Called under the lock, when there is no lab left.
pub fn put_controllers_back() {
    let marker = Path::new(journal::ROOT).join(MARKER);
    let Ok(before) = fs::read_to_string(&marker) else {
        return;
    };
    let _ = fs::remove_file(&marker);
    for hierarchy in Hierarchy::all().unwrap_or_default() {
        let file = hierarchy.mounted.join(PASSED_ON);
        let now = fs::read_to_string(&file).unwrap_or_default();
        if hierarchy.v2 && below(&hierarchy.mounted).is_empty() {
            // Fails as it should where somebody below needs it after all.
            let _ = fs::write(&file, no_more(&before, &now));
        }
    }
}

/// What to write so that of the controllers `now` only those `before` stay.
fn no_more(before: &str, now: &str) -> String {
    let added = now
        .split_whitespace()
        .filter(|one| !before.split_whitespace().any(|known| known == *one));
    added
        .map(|one| format!("-{one}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The cgroups below the lab's that a process is in.
pub fn of_process(pid: i32, lab: &str) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let all = Hierarchy::all()?;
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        // A mount may show a part of the hierarchy only: what counts is the end.
        let Some(at) = path.find(&format!("/{}/", of_lab(lab))) else {
            continue;
        };
        let hierarchies = all.iter().filter(|hierarchy| hierarchy.has(controllers));
        found.extend(
            hierarchies
                .map(|hierarchy| hierarchy.mounted.join(&path[at + 1..]))
                .find(|folder| folder.is_dir()),
        );
    }
    Ok(found)
}

/// The file that takes a process into the cgroup.
pub fn door(folder: &Path) -> PathBuf {
    folder.join(PROCESSES)
}

/// Every process in the cgroups of a lab.
pub fn processes(lab: &str) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for hierarchy in Hierarchy::all().unwrap_or_default() {
        collect(&hierarchy.mounted.join(of_lab(lab)), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<i32>) {
    let Ok(text) = fs::read_to_string(door(folder)) else {
        return;
    };
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    below(folder).iter().for_each(|one| collect(one, found));
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Removes the cgroups of a lab, whose processes have ended.
pub fn remove(lab: &str) -> Result<()> {
    Hierarchy::all()?
        .iter()
        .try_for_each(|hierarchy| remove_tree(&hierarchy.mounted.join(of_lab(lab))))
}

fn remove_tree(folder: &Path) -> Result<()> {
    below(folder).iter().try_for_each(|one| remove_tree(one))?;
    let end = Instant::now() + EMPTY;
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot remove the cgroup {}", folder.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_told_by_their_controllers() {
        let v1 = "35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";
        let v1 = Hierarchy::parse(v1).unwrap();
        assert_eq!(v1.mounted, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(v1.has("cpu,cpuacct") && !v1.has("memory") && !v1.has(""));
        let v2 = "30 24 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let v2 = Hierarchy::parse(v2).unwrap();
        assert!(v2.v2 && v2.has("") && !v2.has("cpu"));
        assert!(Hierarchy::parse("27 1 254:0 / / rw - ext4 /dev/vda rw").is_none());
    }

    #[test]
    fn only_controllers_that_came_with_the_labs_go_with_them() {
        assert_eq!(no_more("cpu\n", "cpu io memory\n"), "-io -memory");
        assert_eq!(no_more("cpu io\n", "cpu io\n"), "");
        assert_eq!(no_more("", "hugetlb\n"), "-hugetlb");
    }
}
