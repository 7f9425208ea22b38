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
        let said = said(&output);
        // "Command failed -:3" names the line.
        let line = said
            .rsplit_once("-:")
            .and_then(|(_, n)| n.trim().parse::<usize>().ok());
        let line = line
            .and_then(|n| lines.get(n.checked_sub(1)?))
            .map_or_else(|| lines.join("; "), String::clone);
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
