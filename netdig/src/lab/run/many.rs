//! Several scenarios, each run by a netdig of its own: what a run starts is tied to
//! the thread that starts it, and each lab is taken down as a single run's is.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::super::programs;
use super::super::standing::{self, Patience};
use super::super::{interrupt, journal::Journal};
use super::{Ending, Report};

/// Between one look at the runs and the next.
const LOOK: Duration = Duration::from_millis(10);

/// A scenario that is to be run.
#[derive(Debug, Clone)]
pub struct Task {
    /// What `netdig lab run` takes.
    pub argument: String,
    pub scenario: String,
    pub title: String,
    pub alone: bool,
}

/// Runs the tasks, `jobs` at a time, and tells `ended` of each as it ends. A signal
/// takes all labs down and is an error.
pub fn many(
    tasks: Vec<Task>,
    jobs: usize,
    mut ended: impl FnMut(&Report) -> Result<()>,
) -> Result<Vec<Report>> {
    let mut waiting = tasks;
    let mut running = Running(Vec::new());
    let mut reports = Vec::new();
    while !(waiting.is_empty() && running.0.is_empty()) {
        while let Some(n) = next(&waiting, running.0.iter().map(|run| &run.task), jobs) {
            let run = running.start(waiting.remove(n))?;
            running.0.push(run);
        }
        while let Some((run, status)) = running.ended()? {
            let report = run.report(status);
            ended(&report)?;
            reports.push(report);
        }
        interrupt::pause(LOOK)?;
    }
    Ok(reports)
}

/// Which one may start now: nothing runs beside one that is to be alone.
fn next<'a>(
    waiting: &[Task],
    mut running: impl ExactSizeIterator<Item = &'a Task>,
    jobs: usize,
) -> Option<usize> {
    match running.len() {
        0 => (!waiting.is_empty()).then_some(0),
        n if n >= jobs || running.any(|task| task.alone) => None,
        _ => waiting.iter().position(|task| !task.alone),
    }
}

/// Runs under way. Dropped, they are told to end, and waited for.
struct Running(Vec<Run>);

impl Drop for Running {
    fn drop(&mut self) {
        for run in &self.0 {
            // SAFETY: kill takes two numbers; the child is ours and not reaped.
            unsafe { libc::kill(run.child.id().cast_signed(), libc::SIGTERM) };
        }
        for run in &mut self.0 {
            let _ = run.child.wait();
            if let Err(error) = run.take_down() {
                crate::lab::tell!("netdig: {error:#}; try `netdig lab down {}`", run.lab);
            }
        }
    }
}

struct Run {
    task: Task,
    lab: String,
    began: Instant,
    child: Child,
    output: File,
    errors: File,
}

impl Running {
    fn start(&self, task: Task) -> Result<Run> {
        let lab = self.free_name(&lab_name(&task.scenario))?;
        let (output, errors) = (memory()?, memory()?);
        let mut command =
            Command::new(std::env::current_exe().context("cannot find netdig's own executable")?);
        command
            .args(["lab", "run", "--format", "json", "--name", &lab])
            .args(programs::arguments())
            .arg("--")
            .arg(&task.argument)
            .stdin(Stdio::null())
            .stdout(
                output
                    .try_clone()
                    .context("cannot duplicate a descriptor")?,
            )
            .stderr(
                errors
                    .try_clone()
                    .context("cannot duplicate a descriptor")?,
            );
        let parent = std::process::id().cast_signed();
        // SAFETY: the closure makes system calls on numbers alone.
        unsafe {
            command.pre_exec(move || {
                // However this netdig ends, the run takes its lab down.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                match libc::getppid() == parent {
                    true => Ok(()),
                    false => Err(io::Error::from_raw_os_error(libc::ECHILD)),
                }
            });
        }
        Ok(Run {
            began: Instant::now(),
            child: command.spawn().context("cannot start a run")?,
            task,
            lab,
            output,
            errors,
        })
    }

    /// `base`, or with a number behind it where that one is taken.
    fn free_name(&self, base: &str) -> Result<String> {
        for n in 1.. {
            let name = numbered(base, n);
            if self.0.iter().any(|run| run.lab == name) {
                continue;
            }
            // What an interrupted run has left is removed by the next of that name.
            match Journal::open(&name)? {
                Some(journal) if standing::is_in_use(&journal)? => continue,
                _ => return Ok(name),
            }
        }
        Ok(base.to_owned())
    }

    fn ended(&mut self) -> Result<Option<(Run, ExitStatus)>> {
        for n in 0..self.0.len() {
            let status = self.0[n].child.try_wait();
            if let Some(status) = status.context("cannot wait for a run")? {
                return Ok(Some((self.0.remove(n), status)));
            }
        }
        Ok(None)
    }
}

impl Run {
    fn report(mut self, status: ExitStatus) -> Report {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut report = self.told().unwrap_or_else(|| {
            let why = format!(
                "netdig ended without a report ({status}); {}",
                said(&mut self.errors)
            );
            let Task {
                scenario, title, ..
            } = &self.task;
            Report::unfinished(scenario, title, &self.lab, Ending::Failed, why)
        });
        report.seconds = seconds;
        if let Err(error) = self.take_down() {
            report.failures.push(format!("{error:#}"));
        }
        if !report.failures.is_empty() {
            report.result = Ending::Failed;
        }
        report
    }

    /// The report that the run has written.
    fn told(&mut self) -> Option<Report> {
        let text = read(&mut self.output);
        let mut objects = text.lines().filter_map(|line| {
            let object: Value = serde_json::from_str(line).ok()?;
            (object["kind"] == "scenario-run").then_some(object)
        });
        Report::deserialize(objects.next()?).ok()
    }

    /// A run that was killed has left its lab.
    fn take_down(&self) -> Result<()> {
        match Journal::open(&self.lab)? {
            Some(journal) if !standing::is_in_use(&journal)? => {
                standing::tear_down(&journal, Patience::Waits)
            }
            _ => Ok(()),
        }
        .with_context(|| format!("the lab {} could not be taken down", self.lab))
    }
}

/// The scenario's name as a lab's.
pub fn lab_name(scenario: &str) -> String {
    let fitting = scenario.bytes().map(|b| match b.to_ascii_lowercase() {
        b @ (b'a'..=b'z' | b'0'..=b'9') => char::from(b),
        _ => '-',
    });
    let name: String = fitting.collect();
    let name = name.trim_matches('-');
    match name {
        "" => "lab".to_owned(),
        name => numbered(name, 1),
    }
}

/// The name, with a number behind it from the second on: at most 60 bytes.
fn numbered(name: &str, n: u32) -> String {
    let number = match n {
        1 => String::new(),
        n => format!("-{n}"),
    };
    let kept = name.len().min(60 - number.len());
    format!("{}{number}", &name[..kept])
}

/// A file in memory: what a run writes waits there, however much it is.
fn memory() -> Result<File> {
    // SAFETY: a constant string and a flag; the descriptor is new and ours.
    unsafe {
        match libc::memfd_create(c"netdig-lab-run".as_ptr(), libc::MFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()).context("cannot make a file in memory"),
            fd => Ok(File::from_raw_fd(fd)),
        }
    }
}

fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing, and reported so.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn said(errors: &mut File) -> String {
    let text = read(errors);
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    match &lines[lines.len().saturating_sub(3)..] {
        [] => "it said nothing".to_owned(),
        last => format!("it said: {}", last.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(alone: bool) -> Task {
        Task {
            argument: String::new(),
            scenario: String::new(),
            title: String::new(),
            alone,
        }
    }

    #[test]
    fn one_that_is_to_be_alone_is() {
        let (alone, other) = (task(true), task(false));
        let next = |waiting: &[&Task], running: &[&Task]| {
            let waiting: Vec<_> = waiting.iter().map(|&task| task.clone()).collect();
            next(&waiting, running.iter().copied(), 2)
        };
        assert_eq!(next(&[&alone, &other], &[]), Some(0));
        assert_eq!(next(&[&alone, &other], &[&other]), Some(1));
        assert_eq!(next(&[&alone], &[&other]), None);
        assert_eq!(next(&[&other], &[&alone]), None);
        assert_eq!(next(&[&other], &[&other, &other]), None);
        assert_eq!(next(&[], &[]), None);
    }

    #[test]
    fn labs_are_named_after_scenarios_within_what_a_name_may_be() {
        assert_eq!(lab_name("flannel-udp/one"), "flannel-udp-one");
        assert_eq!(lab_name("My scenario.v2"), "my-scenario-v2");
        assert_eq!(lab_name("---"), "lab");
        let long = lab_name(&"x".repeat(80));
        assert_eq!(long.len(), 60);
        assert_eq!(numbered(&long, 12).len(), 60);
        assert!(numbered(&long, 12).ends_with("x-12"));
        assert_eq!(numbered("a", 2), "a-2");
    }
}
