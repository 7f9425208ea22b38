//! iproute2's `ip`, as the lab uses it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

const MISSING: &str =
    "cannot start `ip`; the lab needs iproute2 (Debian: apt-get install iproute2)";

/// Runs `ip ARGUMENTS`; the error tells what it was and what it said.
pub fn run(arguments: &[&str]) -> Result<()> {
    output("ip", arguments).map(drop)
}

/// What `ip ARGUMENTS` prints.
pub fn read(arguments: &[&str]) -> Result<String> {
    output("ip", arguments)
}

/// Runs `bridge ARGUMENTS`.
pub fn bridge(arguments: &[&str]) -> Result<()> {
    output("bridge", arguments).map(drop)
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context(MISSING)?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}",
            arguments.join(" "),
            said(&output)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs several commands of `ip` in one process, in the named network
/// namespace or in the current one; stops at the first that fails.
pub fn batch(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    batch_holding(Stdio::null(), namespace, lines)
}

/// The same with a lock as its standard output, which it then holds to its end,
/// also where netdig is killed meanwhile.
pub fn batch_holding(lock: Stdio, namespace: Option<&str>, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(lock)
        .stderr(Stdio::piped());
    let mut child = command.spawn().context(MISSING)?;
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    if !output.status.success() {
        let (said, line) = failed_line(&said(&output), lines);
        let at = namespace
            .map(|name| format!(" in namespace {name}"))
            .unwrap_or_default();
        bail!("`ip {line}`{at} failed: {said}");
    }
    written
        .transpose()
        .context("cannot hand commands to `ip`")?;
    Ok(())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What `ip -batch` said without its own count of lines, and the line that it means.
/// One that it cannot parse it does not count: then all are named.
fn failed_line(said: &str, lines: &[String]) -> (String, String) {
    let counted = said
        .rsplit_once("Command failed -:")
        .and_then(|(words, n)| Some((words, n.trim().parse::<usize>().ok()?)));
    let line = |n: usize| lines.get(n.checked_sub(1)?).cloned();
    match counted {
        Some((words, n)) => (
            words.trim_end().to_owned(),
            line(n).unwrap_or_else(|| lines.join("; ")),
        ),
        None => (said.to_owned(), lines.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_line_is_told_as_the_command_that_it_is() {
        let lines = ["link set lo up".to_owned(), "route add x".to_owned()];
        for (said, words, line) in [
            (
                "Error: Nexthop has invalid gateway. Command failed -:2",
                "Error: Nexthop has invalid gateway.",
                "route add x",
            ),
            (
                "Command line is not complete.",
                "Command line is not complete.",
                "link set lo up; route add x",
            ),
            (
                "No. Command failed -:3",
                "No.",
                "link set lo up; route add x",
            ),
            (
                "No. Command failed -:0",
                "No.",
                "link set lo up; route add x",
            ),
        ] {
            let found = failed_line(said, &lines);
            assert_eq!(found, (words.to_owned(), line.to_owned()));
        }
    }
}
