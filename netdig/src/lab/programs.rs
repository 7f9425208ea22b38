//! Programs that a lab runs in place of its own daemons, where they are to be had.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Result, bail};

/// Those that were named on the command line.
static NAMED: Mutex<Vec<(&str, PathBuf)>> = Mutex::new(Vec::new());

/// `program` is to be found at `path`.
pub fn name(program: &'static str, path: PathBuf) {
    if let Ok(mut named) = NAMED.lock() {
        named.push((program, path));
    }
}

/// Where `program` is: as it was named, as `NETDIG_<PROGRAM>` says, or on PATH.
/// One that was named and is not there is an error.
pub fn find(program: &str) -> Result<Option<PathBuf>> {
    let variable = format!("NETDIG_{}", program.to_ascii_uppercase());
    let named = NAMED.lock().ok().and_then(|named| {
        let mut named = named.iter();
        named
            .find(|(known, _)| *known == program)
            .map(|(_, path)| path.clone())
    });
    let path = named.or_else(|| {
        std::env::var_os(&variable)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    if let Some(path) = path {
        if !path.is_file() {
            bail!(
                "{} was named as the {program} to run, but there is no such file",
                path.display()
            );
        }
        return Ok(Some(path));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file()))
}
