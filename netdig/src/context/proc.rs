//! What /proc says of processes, as far as a look at the host needs it.
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Tables of the calling thread's network namespace.
pub const NET: &str = "/proc/thread-self/net";
pub const ROOT: &str = "/proc";
/// Command lines and environments are rarely longer than some kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// The first `most` lines of a table, which may be long.
pub fn lines(path: &Path, most: usize) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut line = Vec::new();
    while lines.len() < most {
        line.clear();
        if reader.by_ref().take(4096).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        lines.push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
    }
    Ok(lines)
}

/// Ids of all processes, ascending.
pub fn pids(root: &Path) -> Vec<u32> {
    let mut pids = numbers(root);
    pids.sort_unstable();
    pids
}

fn numbers(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Inode number of a process's network namespace.
pub fn namespace(root: &Path, pid: u32) -> io::Result<u64> {
    inode(&root.join(format!("{pid}/ns/net")))
}

/// That of the calling thread.
pub fn own_namespace(root: &Path) -> Option<u64> {
    inode(&root.join("thread-self/ns/net")).ok()
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

pub fn comm(root: &Path, pid: u32) -> Option<String> {
    let bytes = read(&path(root, pid, "comm"))?;
    Some(
        String::from_utf8_lossy(&bytes)
            .trim_end_matches('\n')
            .to_owned(),
    )
}

/// The command line.
pub fn args(root: &Path, pid: u32) -> Vec<String> {
    strings(&read(&path(root, pid, "cmdline")).unwrap_or_default())
}

/// The environment; nothing where it may not be read.
pub fn environment(root: &Path, pid: u32) -> Vec<String> {
    strings(&read(&path(root, pid, "environ")).unwrap_or_default())
}

pub fn cgroups(root: &Path, pid: u32) -> String {
    let bytes = read(&path(root, pid, "cgroup")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Inode numbers of the sockets that a process has open.
pub fn socket_inodes(root: &Path, pid: u32) -> impl Iterator<Item = u64> {
    let entries = fs::read_dir(path(root, pid, "fd")).into_iter().flatten();
    entries.flatten().filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        number.parse().ok()
    })
}

fn path(root: &Path, pid: u32, name: &str) -> PathBuf {
    root.join(pid.to_string()).join(name)
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Strings that each end in a NUL.
fn strings(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    match bytes.is_empty() {
        true => Vec::new(),
        false => bytes
            .split(|&byte| byte == 0)
            .map(|one| String::from_utf8_lossy(one).into_owned())
            .collect(),
    }
}
