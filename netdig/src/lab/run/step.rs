//! Steps and traffic: commands in hosts and containers, and what is to come of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::scenario::{Outcome, Step};
use super::super::{Lab, interrupt, process, server};

/// Between one try and the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Drives commands one after the other, and keeps what was not as expected.
pub struct Driver<'a> {
    lab: &'a Lab,
    /// Whether those in the background end with netdig.
    tied: bool,
    background: Vec<Background>,
    failures: Vec<String>,
}

/// A command that runs on.
struct Background {
    step: Step,
    child: Child,
    log: PathBuf,
}

impl<'a> Driver<'a> {
    pub fn new(lab: &'a Lab, tied: bool) -> Driver<'a> {
        Driver {
            lab,
            tied,
            background: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Drives all of `steps`; `kind` (`step`, `traffic`) names their logs. An error
    /// is a signal alone.
    pub fn drive(&mut self, kind: &str, steps: &[Step]) -> Result<()> {
        for (n, step) in steps.iter().enumerate() {
            if let Some(what) = &step.what {
                crate::lab::tell!("{what}");
            }
            crate::lab::tell!("{} $ {}", step.on, step.shell());
            let label = format!("{kind}-{}", n + 1);
            let driven = match step.background {
                true => self.start(&label, step),
                false => self.until_as_expected(&label, step),
            };
            interrupt::check()?;
            if let Err(error) = driven {
                self.failed(&error);
            }
        }
        Ok(())
    }

    /// Whether something was not as expected so far.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// How those in the background came out; all that was not as expected.
    pub fn end(mut self) -> Vec<String> {
        for one in std::mem::take(&mut self.background) {
            if let Err(error) = one.judge() {
                self.failed(&error);
            }
        }
        self.failures
    }

    fn failed(&mut self, error: &anyhow::Error) {
        crate::lab::tell!("  FAILED: {error:#}");
        self.failures.push(format!("{error:#}"));
    }

    fn until_as_expected(&self, label: &str, step: &Step) -> Result<()> {
        let started = Instant::now();
        let end = started + Duration::from_secs(step.until.unwrap_or(0).into());
        let mut tries = 1;
        while let Err(error) = self.attempt(label, step) {
            interrupt::check()?;
            if Instant::now() >= end {
                return match step.until {
                    Some(seconds) => Err(error)
                        .with_context(|| format!("not in {tries} tries within {seconds} s")),
                    None => Err(error),
                };
            }
            interrupt::pause(PAUSE)?;
            tries += 1;
        }
        let which = match tries {
            1 => String::new(),
            n => format!(" at try {n}"),
        };
        crate::lab::tell!(
            "  {} after {:.1} s{which}, as expected",
            past(step.outcome),
            started.elapsed().as_secs_f32()
        );
        Ok(())
    }

    /// One try; an error where it is not as expected.
    fn attempt(&self, label: &str, step: &Step) -> Result<()> {
        let (mut child, log) = self.spawn(label, step, true)?;
        let deadline = Duration::from_secs(step.deadline_s.into());
        let status = interrupt::poll_until(deadline, || {
            child
                .try_wait()
                .with_context(|| format!("cannot wait for {label}"))
        });
        if !matches!(status, Ok(Some(_))) {
            end_session(&mut child);
            child
                .wait()
                .with_context(|| format!("cannot wait for {label}"))?;
        }
        let outcome = status?.map_or(Outcome::Hangs, of_status);
        check_outcome(step, outcome, &log)?;
        check_output(step, &log)
    }

    /// Starts one for the background. With `prints` it is waited for that.
    fn start(&mut self, label: &str, step: &Step) -> Result<()> {
        let (mut child, log) = self.spawn(label, step, self.tied)?;
        if let Some(wanted) = &step.prints {
            let shown = step.shell();
            let deadline = Duration::from_secs(step.deadline_s.into());
            let printed = interrupt::poll_until(deadline, || {
                let ended = child
                    .try_wait()
                    .with_context(|| format!("cannot wait for {label}"))?;
                if output(&log).contains(wanted.as_str()) {
                    return Ok(Some(()));
                }
                match ended {
                    Some(status) => bail!(
                        "`{shown}` ended ({status}) and has not printed `{wanted}`; {}",
                        server::tail(&log)
                    ),
                    None => Ok(None),
                }
            })?;
            if printed.is_none() {
                bail!(
                    "`{shown}` has not printed `{wanted}` after {} s; {}",
                    step.deadline_s,
                    server::tail(&log)
                );
            }
        }
        crate::lab::tell!("  runs on");
        self.background.push(Background {
            step: step.clone(),
            child,
            log,
        });
        Ok(())
    }

    fn spawn(&self, label: &str, step: &Step, tied: bool) -> Result<(Child, PathBuf)> {
        let (program, arguments) = step.run.split_first().context("nothing to run")?;
        let log = self.lab.log(label);
        let mut command = Command::new(program);
        command.args(arguments);
        server::log_to(&mut command, &log)?;
        let place = self.lab.place(&step.on)?;
        let child = process::spawn(&self.lab.journal, label, &place, command, tied)?;
        Ok((child, log))
    }
}

impl Background {
    /// One that still runs has not failed. The lab ends it when it is taken down.
    fn judge(mut self) -> Result<()> {
        let shown = self.step.shell();
        let status = self
            .child
            .try_wait()
            .with_context(|| format!("cannot wait for `{shown}`"))?;
        match status {
            Some(status) => check_outcome(&self.step, of_status(status), &self.log)?,
            None if self.step.outcome == Outcome::Fails => {
                bail!("`{shown}` still runs, but failure was expected")
            }
            None => {}
        }
        check_output(&self.step, &self.log)
    }
}

/// Ends a command that hangs, and what it has started.
fn end_session(child: &mut Child) {
    // It leads a process group of its own, and is not reaped yet: the number
    // cannot be another's.
    // SAFETY: kill takes two numbers.
    unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
    // Before its exec it may not lead one yet.
    let _ = child.kill();
}

fn of_status(status: ExitStatus) -> Outcome {
    match status.success() {
        true => Outcome::Succeeds,
        false => Outcome::Fails,
    }
}

fn check_outcome(step: &Step, outcome: Outcome, log: &Path) -> Result<()> {
    if outcome != step.outcome {
        bail!(
            "`{}` in {} {}, but {} was expected; {}",
            step.shell(),
            step.on,
            past(outcome),
            noun(step.outcome),
            server::tail(log)
        );
    }
    Ok(())
}

fn check_output(step: &Step, log: &Path) -> Result<()> {
    let output = output(log);
    let (shown, on) = (step.shell(), &step.on);
    if let Some(wanted) = &step.prints
        && !output.contains(wanted.as_str())
    {
        bail!(
            "`{shown}` in {on} does not print `{wanted}`; {}",
            server::tail(log)
        );
    }
    if let Some(unwanted) = &step.prints_not
        && output.contains(unwanted.as_str())
    {
        bail!(
            "`{shown}` in {on} prints `{unwanted}`, which it must not; {}",
            server::tail(log)
        );
    }
    Ok(())
}

fn output(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

const fn past(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeds => "succeeded",
        Outcome::Fails => "failed",
        Outcome::Hangs => "hung",
    }
}

const fn noun(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeds => "success",
        Outcome::Fails => "failure",
        Outcome::Hangs => "a hang",
    }
}
