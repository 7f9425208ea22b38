//! haproxy, with the configuration of the scenario as it is.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::super::place::Place;
use super::{Prepared, Probe};

/// Stays in the foreground, and leaves its pid where a reload by `-sf $(cat …)`
/// finds it: haproxy itself writes it as a daemon only.
const START: &str = "echo $$ >\"$1\" && exec haproxy -db -f \"$0\"";

/// Its files; every place has an `/etc` and a `/run` of its own.
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const PID_FILE: &str = "/run/haproxy.pid";

pub fn prepare(config: &str, listen: &[SocketAddrV4], place: &Place) -> Result<Prepared> {
    place.write(Path::new(CONFIG), config)?;
    let mut command = Command::new("sh");
    command.args(["-c", START, CONFIG, PID_FILE]);
    Ok(Prepared {
        program: "haproxy",
        command,
        probe: Probe::AllTcp(listen.to_vec()),
    })
}
