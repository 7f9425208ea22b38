//! The ends of a lab's logs, for a run that failed: the logs go with the lab.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::server::escaped;
use super::super::{Lab, interrupt, journal};

/// Lines of each, and bytes in which they are looked for.
const LINES: usize = 6;
const BYTES: u64 = 8 << 10;
/// Characters of a line.
const WIDTH: usize = 200;

/// The end of one log, with its path in the lab's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    pub log: String,
    pub lines: Vec<String>,
}

/// The ends of all logs that say anything, the one that was written last at the end.
/// None after a signal: who ended the run knows why.
pub fn ends(lab: &Lab) -> Vec<LogEnd> {
    match interrupt::check() {
        Ok(()) => of_folder(&lab.journal.path("")),
        Err(_) => Vec::new(),
    }
}

fn of_folder(folder: &Path) -> Vec<LogEnd> {
    let mut logs = logs_in(folder);
    for parts in entries(&folder.join(journal::PARTS)) {
        logs.extend(logs_in(&parts));
    }
    logs.sort();
    let ends = logs.into_iter().filter_map(|(_, path)| {
        let lines = last_lines(&path).ok().filter(|lines| !lines.is_empty())?;
        let log = path.strip_prefix(folder).unwrap_or(&path);
        Some(LogEnd {
            log: log.display().to_string(),
            lines,
        })
    });
    ends.collect()
}

/// Logs, and what netdig's own commands complain of, by when they were written.
fn logs_in(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let logs = entries(folder).into_iter().filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "log" || extension == "err")
    });
    logs.filter_map(|path| {
        let metadata = fs::symlink_metadata(&path).ok()?;
        let written = metadata.is_file().then(|| metadata.modified().ok())??;
        Some((written, path))
    })
    .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn last_lines(log: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let skipped = file.metadata()?.len().saturating_sub(BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first may have lost its beginning.
    let whole = match text.split_once('\n') {
        Some((_, rest)) if skipped > 0 => rest,
        _ => &text,
    };
    let mut last: Vec<_> = whole
        .lines()
        .filter(|line| !line.trim().is_empty())
        .rev()
        .take(LINES)
        .map(|line| line.chars().take(WIDTH).collect())
        .collect();
    last.reverse();
    Ok(last)
}

/// What a person reads of them; `None` where no log says anything.
pub fn told(ends: &[LogEnd]) -> Option<String> {
    let head = "The ends of its logs, which went with it; a lab that `netdig lab up` builds keeps all of them in \
                its folder in /run/netdig/lab:";
    let text = ends.iter().fold(head.to_owned(), |text, end| {
        let lines = end
            .lines
            .iter()
            .map(|line| format!("\n    {}", escaped(line)));
        format!(
            "{text}\n  {}{}",
            escaped(&end.log),
            lines.collect::<String>()
        )
    });
    (!ends.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_logs_are_found_cut_and_escaped() {
        let folder = std::env::temp_dir().join(format!("netdig-logs-{}", std::process::id()));
        fs::create_dir_all(folder.join("parts/server-0")).unwrap();
        let long: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
        fs::write(folder.join("tunnel-one.log"), long + "\n \n").unwrap();
        fs::write(folder.join("silent.log"), "\n").unwrap();
        fs::write(folder.join("journal"), "no log\n").unwrap();
        let nasty = format!("\x1b[31m{}\n", "x".repeat(500));
        fs::write(folder.join("parts/server-0/error.log"), nasty).unwrap();
        let mut ends = of_folder(&folder);
        fs::remove_dir_all(&folder).unwrap();
        ends.sort_by(|a, b| a.log.cmp(&b.log));
        let names: Vec<_> = ends.iter().map(|end| end.log.as_str()).collect();
        assert_eq!(names, ["parts/server-0/error.log", "tunnel-one.log"]);
        assert_eq!(ends[1].lines.len(), LINES);
        assert_eq!(ends[1].lines[LINES - 1], "line 19999");
        assert_eq!(ends[0].lines[0].chars().count(), WIDTH);
        let text = told(&ends).unwrap();
        assert!(
            text.contains("\n  tunnel-one.log\n    line 19994\n"),
            "{text}"
        );
        assert!(!text.contains('\x1b') && text.contains("[31mxxx"), "{text}");
        assert_eq!(told(&[]), None);
    }
}
