//! Programs that a lab runs in place of its own daemons, where they are to be had.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, bail};

/// Those that were named on the command line.
static NAMED: OnceLock<Vec<(&str, PathBuf)>> = OnceLock::new();

/// Keeps what the command line named, before anything is started. What is no
/// program is an error, whether or not a part will need it.
pub fn name(flanneld: Option<PathBuf>, confd: Option<PathBuf>) -> Result<()> {
    let named = [("flanneld", flanneld), ("confd", confd)].into_iter();
    let named: Vec<_> = named
        .filter_map(|(name, path)| Some((name, path?)))
        .collect();
    for (program, path) in &named {
        check(program, path)?;
    }
    NAMED.get_or_init(|| named);
    Ok(())
}

/// Whether what was named as `program` can be started.
fn check(program: &str, path: &Path) -> Result<()> {
    let named = format!("{} was named as the {program} to run", path.display());
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) => bail!("{named}, but cannot be found: {error}"),
    };
    if !found.is_file() {
        bail!("{named}, but is no file");
    }
    if found.permissions().mode() & 0o111 == 0 {
        bail!("{named}, but may not be executed; make it executable with chmod +x");
    }
    Ok(())
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
        check(program, &path)?;
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
