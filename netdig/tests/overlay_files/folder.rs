//! netdig against tshark on any folder of captures: `scripts/agreement FOLDER…`.

use super::agreement::{Agreement, compare_what_both_read};
use super::program::tool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Frames of one file that are compared; the rest of a large one says the same.
const FRAMES: usize = 20_000;

#[test]
#[ignore = "takes folders of captures in NETDIG_CAPTURES, as scripts/agreement gives them"]
fn captures_of_a_folder() {
    let folders = std::env::var_os("NETDIG_CAPTURES").expect("folders in NETDIG_CAPTURES");
    let mut files = Vec::new();
    for folder in std::env::split_paths(&folders) {
        find(&folder, &mut files);
    }
    files.sort();
    assert!(!files.is_empty(), "no file in {folders:?}");
    let mut total = Agreement::default();
    let (mut compared, mut unread) = (0, Vec::new());
    for file in &files {
        match read(file) {
            Ok(agreement) => {
                compared += 1;
                for line in &agreement.different {
                    println!("{line}");
                }
                total.add(agreement);
            }
            Err(why) => unread.push(format!("{}: {why}", file.display())),
        }
    }
    by_cause(&total.causes);
    for (reason, frames) in &total.excused {
        println!("{frames:7} differ rightly: {reason}");
    }
    println!("not compared: {}", unread.len());
    for line in &unread {
        println!("  {line}");
    }
    println!(
        "{compared} files, netdig and tshark agree on {}",
        total.share()
    );
}

fn find(at: &Path, files: &mut Vec<PathBuf>) {
    let Ok(folder) = at.read_dir() else {
        files.push(at.to_owned());
        return;
    };
    for entry in folder.flatten() {
        let path = entry.path();
        let named = |ending: &&str| path.to_string_lossy().to_lowercase().ends_with(*ending);
        if path.is_dir() {
            find(&path, files);
        } else if [".pcap", ".pcapng", ".cap", ".dmp"].iter().any(named) {
            files.push(path);
        }
    }
}

/// Compares what both read; an error where tshark reads it and netdig does not,
/// or neither.
fn read(file: &Path) -> Result<Agreement, String> {
    let info = tool("capinfos", &["-tE".as_ref(), file.as_os_str()]);
    let kind = info.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    compare_what_both_read(&file.display().to_string(), file, FRAMES).map_err(|why| {
        format!(
            "{why} {}",
            kind.unwrap_or_default().trim().replace('\n', " ")
        )
    })
}

/// The frames that differ by cause, the most frequent last.
fn by_cause(causes: &BTreeMap<String, (String, usize)>) {
    let mut causes: Vec<_> = causes.iter().collect();
    causes.sort_by_key(|(_, (_, frames))| *frames);
    for (cause, (place, frames)) in causes {
        println!("{frames:7} {cause}\n        first: {place}");
    }
}
