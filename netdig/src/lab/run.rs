//! One run of a scenario: up, netdig watching, traffic, comparison, down.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::expect::{self, Outcome as Judged, Verdict};
use super::place::Place;
use super::process::{self, ProcessId};
use super::scenario::{Outcome, Scenario, Step, Watch};
use super::{Lab, Purpose, interrupt, server};

/// How long netdig may take to attach, and to end when asked to.
const WATCHER_DEADLINE: Duration = Duration::from_secs(30);
/// A watcher ends by itself after this, whatever happens to the run.
const WATCHER_LIFE_S: u32 = 600;

/// Runs the scenario as the lab `name`. `true` when everything came out as
/// expected. What goes on is told on standard error; standard output is that
/// of the `netdig overlay` that a person would have started.
pub fn run(name: &str, scenario: Scenario) -> Result<bool> {
    server::require(
        scenario
            .traffic
            .iter()
            .filter_map(|step| step.run.first())
            .map(String::as_str),
    )?;
    eprintln!("{}\n\n{}", scenario.title, scenario.story);
    let lab = Lab::build(name, scenario, Purpose::Run)?;
    let mut failures = 0;
    let machine = Watcher::start(&lab, Format::Json)?;
    let person = Watcher::start(&lab, Format::Text)?;
    for step in &lab.scenario().traffic {
        if let Err(error) = drive(&lab, step) {
            interrupt::check()?;
            eprintln!("  FAILED: {error:#}");
            failures += 1;
        }
    }
    person.end()?;
    let objects = machine.end()?;
    let verdicts: Vec<_> = lab
        .scenario()
        .expectations
        .iter()
        .map(|wanted| expect::judge(wanted, &objects))
        .collect();
    let pending = verdicts
        .iter()
        .filter(|verdict| verdict.result == Judged::Pending)
        .count();
    failures += verdicts
        .iter()
        .filter(|verdict| !verdict.result.is_good())
        .count();
    verdicts.iter().for_each(report);
    let name = &lab.scenario().name;
    match failures {
        0 => eprintln!(
            "\n{name}: all as expected ({} expectations, {pending} of them pending)",
            verdicts.len()
        ),
        n => eprintln!(
            "\n{name}: {n} not as expected ({} expectations, {pending} pending)",
            verdicts.len()
        ),
    }
    Ok(failures == 0)
}

fn report(verdict: &Verdict) {
    let Verdict {
        what,
        count,
        wanted,
        result,
    } = verdict;
    match result {
        Judged::Holds => eprintln!("  ok       {what} ({count})"),
        Judged::Fails => eprintln!("  FAILED   {what}: wanted {wanted}, saw {count}"),
        Judged::Pending => eprintln!("  pending  {what}"),
        Judged::PendingHolds => {
            eprintln!("  FAILED   {what}: holds now; remove its mark `pending` from the scenario")
        }
    }
}

/// Runs one traffic step and checks how it came out.
fn drive(lab: &Lab, step: &Step) -> Result<()> {
    let shown = step.shell();
    eprintln!("{} $ {shown}", step.on);
    let (program, arguments) = step.run.split_first().context("nothing to run")?;
    let log = lab.path("traffic.log");
    let mut command = Command::new(program);
    command.args(arguments);
    server::log_to(&mut command, &log)?;
    let started = Instant::now();
    let mut child = process::spawn(
        &lab.journal,
        "traffic",
        &lab.place(&step.on)?,
        command,
        true,
    )?;
    let deadline = Duration::from_secs(step.deadline_s.into());
    let status = interrupt::poll_until(deadline, || {
        child.try_wait().context("cannot wait for traffic")
    });
    if !matches!(status, Ok(Some(_))) {
        // Ours, and not reaped yet: the number cannot be another's.
        let _ = child.kill();
        child.wait().context("cannot wait for traffic")?;
    }
    let outcome = match status? {
        None => Outcome::Hangs,
        Some(status) if status.success() => Outcome::Succeeds,
        Some(_) => Outcome::Fails,
    };
    let said = server::tail(&log);
    if outcome != step.outcome {
        bail!(
            "`{shown}` {}, but {} was expected; {said}",
            past(outcome),
            noun(step.outcome)
        );
    }
    let output = fs::read(&log).unwrap_or_default();
    if let Some(wanted) = &step.prints
        && !String::from_utf8_lossy(&output).contains(wanted.as_str())
    {
        bail!("`{shown}` does not print `{wanted}`; {said}");
    }
    eprintln!(
        "  {} after {:.1} s, as expected",
        past(outcome),
        started.elapsed().as_secs_f32()
    );
    Ok(())
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

fn watch(lab: &Lab) -> Result<&Watch> {
    let watch = lab.scenario().watch.as_ref();
    watch.context("the scenario has no [watch]")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

/// A running `netdig overlay`.
struct Watcher {
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    format: Format,
}

impl Watcher {
    /// Starts it where netdig itself runs: it looks into the lab's host from
    /// outside, as on a real machine. Returns once its capture is attached.
    fn start(lab: &Lab, format: Format) -> Result<Watcher> {
        let name = format.name();
        let (output, errors) = (
            lab.path(&format!("overlay-{name}.out")),
            lab.path(&format!("overlay-{name}.err")),
        );
        let ready = lab.path(&format!("overlay-{name}.ready"));
        let watch = watch(lab)?;
        let mut command =
            Command::new(std::env::current_exe().context("cannot find netdig's own executable")?);
        command.arg("overlay").args(&watch.arguments);
        command.args([
            "--netns",
            &lab.namespace(&watch.host),
            "--format",
            name,
            "-M",
            &WATCHER_LIFE_S.to_string(),
        ]);
        command.arg("--ready-file").arg(&ready);
        server::log_to(&mut command, &output)?;
        match format {
            Format::Text => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
            Format::Json => command.stderr(
                fs::File::create(&errors)
                    .with_context(|| format!("cannot write {}", errors.display()))?,
            ),
        };
        let what = format!("overlay-{name}");
        let child = process::spawn(&lab.journal, &what, &Place::HOST, command, true)?;
        let mut watcher = Watcher {
            child,
            output,
            errors,
            format,
        };
        let attached =
            interrupt::poll_until(WATCHER_DEADLINE, || match watcher.child.try_wait() {
                Ok(Some(status)) => bail!(
                    "`netdig overlay` ended before it was ready ({status}); {}",
                    watcher.complaint()
                ),
                Ok(None) => Ok(ready.exists().then_some(())),
                Err(error) => Err(error).context("cannot wait for `netdig overlay`"),
            })?;
        match attached {
            Some(()) => Ok(watcher),
            None => bail!(
                "`netdig overlay` is not ready after {} s; {}",
                WATCHER_DEADLINE.as_secs(),
                watcher.complaint()
            ),
        }
    }

    fn complaint(&self) -> String {
        match self.format {
            Format::Text => "see above what it said".to_owned(),
            Format::Json => server::tail(&self.errors),
        }
    }

    /// Ends it as Ctrl-C does; returns the JSON objects that it wrote.
    fn end(mut self) -> Result<Vec<Value>> {
        if let Some(process) = ProcessId::of(self.child.id().cast_signed()) {
            process.signal(libc::SIGINT)?;
        }
        let child = &mut self.child;
        let status = interrupt::poll_until(WATCHER_DEADLINE, || {
            child.try_wait().context("cannot wait for `netdig overlay`")
        })?;
        let Some(status) = status else {
            bail!(
                "`netdig overlay` does not end on SIGINT; {}",
                self.complaint()
            );
        };
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("`netdig overlay` failed ({status}); {}", self.complaint());
        }
        let text = fs::read_to_string(&self.output)
            .with_context(|| format!("cannot read {}", self.output.display()))?;
        text.lines()
            .map(|line| {
                serde_json::from_str(line).with_context(|| {
                    format!("`netdig overlay` wrote a line that is not JSON: {line}")
                })
            })
            .collect()
    }
}
