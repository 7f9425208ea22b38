//! What to type instead, where fingers used to tcpdump and sysdig guess wrong.
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options of other tools, and what does the same here.
const HINTS: &[(&str, &str)] = &[
    (
        "-p",
        "--pid PID picks a process; promiscuous mode is off unless --promiscuous asks for it",
    ),
    ("-C", "captures are not rotated yet; -c and -M end one"),
    ("-G", "captures are not rotated yet; -M SECONDS ends one"),
    ("-W", "captures are not rotated yet; -c and -M end one"),
    (
        "-e",
        "-v shows more of each packet, --format json all of it",
    ),
    (
        "-t",
        "--format json has the time as RFC 3339 and in nanoseconds",
    ),
    (
        "-l",
        "lines are written as they come; nothing is needed for that",
    ),
    (
        "-F",
        "filter expressions are not there yet; --pid, --comm, --container-name and --netns pick",
    ),
];
const EXPRESSION: &str = "filter expressions are not there yet: --pid, --comm, --container-name, \
                          --netns and -i pick packets, and \
                          `netdig overlay -w - | tshark -r - -Y FILTER` filters them";

/// The hint for a wrong argument, if there is one.
pub fn hint(error: &clap::Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let known = HINTS.iter().find(|(option, _)| option == argument);
    match known {
        Some((_, hint)) => Some(hint),
        None => (!argument.starts_with('-')).then_some(EXPRESSION),
    }
}
