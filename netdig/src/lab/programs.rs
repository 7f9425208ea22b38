//! Programs that a lab runs in place of its own daemons, where they are to be had.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, bail};

/// Those that were named on the command line.
static NAMED: OnceLock<Vec<(&str, PathBuf)>> = OnceLock::new();

/// Keeps what the command line named, before anything is started.
pub fn name(flanneld: Option<PathBuf>, confd: Option<PathBuf>) {
    let named = [("flanneld", flanneld), ("confd", confd)];
    let named = named.into_iter();
    NAMED.get_or_init(|| {
        named
            .filter_map(|(name, path)| Some((name, path?)))
            .collect()
    });
}

/// The same as arguments, for another netdig.
pub fn arguments() -> Vec<OsString> {
    let named = NAMED.get().into_iter().flatten();
    named
        .flat_map(|(name, path)| [format!("--{name}").into(), path.into()])
        .collect()
}

/// Where `program` is: as it was named, as `NETDIG_<PROGRAM>` says, or on PATH.
/// One that was named and is not there is an error.
pub fn find(program: &str) -> Result<Option<PathBuf>> {
    let variable = format!("NETDIG_{}", program.to_ascii_uppercase());
    let mut named = NAMED.get().into_iter().flatten();
    let named = named.find(|(known, _)| *known == program);
    let from_environment = || std::env::var_os(&variable).filter(|path| !path.is_empty());
    let path = match named {
        Some((_, path)) => Some(path.clone()),
        None => from_environment().map(PathBuf::from),
    };
    if let Some(path) = path {
        if !path.is_file() {
            bail!(
                "{} was named as the {program} to run, but there is no such file",
                path.display()
            );
        }
        return Ok(Some(path));
    }
    Ok(on_path(program))
}

/// Where `program` is on netdig's own PATH, on which started programs are looked up.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
