//! What a run watches, said once it does: nothing else is printed until packets
//! flow, and a wrong name must not look like a quiet tunnel.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::cli::overlay::OverlayArgs;
use crate::output::line::text::push_escaped;
use crate::tracker::{Tracker, TunFd};

/// Tuns named one by one; of more only the number is said.
const NAMED: usize = 8;

/// One line for standard error.
pub fn sentence(args: &OverlayArgs, tracker: &mut Tracker, links: &[&str]) -> String {
    let mut parts: Vec<String> = links
        .iter()
        .map(|link| format!("the link {link}"))
        .collect();
    if args.iface.is_empty() || links.len() < args.iface.len() {
        parts.push(tuns(args, tracker));
        parts.push("tunnel ports".to_owned());
    }
    let mut text = format!("watching {}; Ctrl-C ends", parts.join(", "));
    for pid in &args.pid {
        if tracker.process(*pid).is_none() {
            let _ = write!(text, "; there is no process {pid} now");
        }
    }
    text
}

fn tuns(args: &OverlayArgs, tracker: &mut Tracker) -> String {
    let all = args.iface.is_empty() || args.iface.iter().any(|name| name == super::live::ALL_TUNS);
    let tuns = tracker.tun_fds();
    let asked = |tun: &&TunFd| all || args.iface.contains(&tun.interface);
    let mut devices = BTreeSet::new();
    for tun in tuns.iter().filter(asked) {
        // A descriptor of no device yet carries nothing.
        if !tun.interface.is_empty() {
            devices.insert((tun.interface.clone(), tun.pid));
        }
    }
    match devices.len() {
        0 => "no tun (none is open now; one that is opened is seen)".to_owned(),
        count if count > NAMED => format!("{count} tuns"),
        _ => {
            let devices = devices.into_iter().map(|(interface, pid)| {
                let comm = tracker
                    .process(pid)
                    .map_or(Vec::new(), |process| process.comm.clone());
                format!(
                    "{} of {}[{pid}]",
                    printable(interface.as_bytes()),
                    printable(&comm)
                )
            });
            devices.collect::<Vec<_>>().join(", ")
        }
    }
}

fn printable(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    push_escaped(&mut text, bytes);
    String::from_utf8_lossy(&text).into_owned()
}
