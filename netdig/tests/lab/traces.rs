//! What a lab leaves, and waiting for what comes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where labs and their runtimes keep what bears a lab's name.
const FOLDERS: &[&str] = &["/run/netns", "/run/netdig/lab", "/run/runc", "/run/crun"];

/// Namespaces, labs, containers, cgroups and mounts that bear `mark`, and processes
/// that carry it in command line, environment or cgroups.
pub fn traces(mark: &str) -> Vec<String> {
    let mut traces: Vec<_> = FOLDERS
        .iter()
        .flat_map(|folder| entries(Path::new(folder)))
        .collect();
    for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
        traces.extend(entries(Path::new(&hierarchy)));
        traces.push(hierarchy);
    }
    for process in entries(Path::new("/proc")) {
        // What has ended and is not waited for yet is nobody's fault here.
        let stat = fs::read_to_string(Path::new(&process).join("stat")).unwrap_or_default();
        if process == format!("/proc/{}", std::process::id()) || stat.contains(") Z ") {
            continue;
        }
        for file in ["cmdline", "environ", "cgroup"] {
            let text = fs::read(Path::new(&process).join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            traces.push(format!("{process} {text}"));
        }
    }
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    traces.extend(mounts.lines().map(str::to_owned));
    traces.retain(|trace| trace.contains(mark));
    traces
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().to_string_lossy().into_owned())
        .collect()
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
