//! haproxy, with the configuration of the scenario as it is.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::place::Place;
use super::{Prepared, Probe};

/// Stays in the foreground, and leaves its pid where a reload by `-sf $(cat …)`
/// finds it: haproxy itself writes it as a daemon only.
const START: &str = "echo $$ >\"$1\" && exec haproxy -db -f \"$0\"";

/// Its files in a place that has an `/etc` and a `/run` of its own.
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const PID_FILE: &str = "/run/haproxy.pid";

pub fn prepare(
    config: &str,
    listen: &[SocketAddrV4],
    place: &Place,
    folder: &Path,
) -> Result<Prepared> {
    let (path, pid_file) = match place.has_files() {
        true => {
            place.write(Path::new(CONFIG), config)?;
            (PathBuf::from(CONFIG), PathBuf::from(PID_FILE))
        }
        false => {
            let path = folder.join("haproxy.cfg");
            fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
            (path, folder.join("haproxy.pid"))
        }
    };
    let mut command = Command::new("sh");
    command.args(["-c", START]).arg(path).arg(pid_file);
    Ok(Prepared {
        program: "haproxy",
        command,
        probe: Probe::AllTcp(listen.to_vec()),
    })
}
