//! Runs of scenarios: up, steps, netdig watching, traffic, comparison, down.

mod conclude;
mod logs;
mod many;
mod report;
mod step;
mod watcher;

use std::time::Instant;

use anyhow::{Result, bail};

use super::expect::{self, Outcome};
use super::journal::Entry;
use super::scenario::{Daemon, Runtime, Scenario};
use super::{Lab, Missing, Purpose, packages, programs};
use conclude::Watchers;
pub use logs::{LogEnd, told as told_logs};
pub use many::{Task, lab_name, many};
pub use report::{Ending, Report};
use step::Driver;

/// A run that has not come to its end.
pub struct Unfinished {
    pub error: anyhow::Error,
    pub logs: Vec<LogEnd>,
}

impl From<anyhow::Error> for Unfinished {
    fn from(error: anyhow::Error) -> Unfinished {
        Unfinished {
            error,
            logs: Vec::new(),
        }
    }
}

/// Runs the scenario as the lab `name`. What goes on is told on standard error;
/// for a person, standard output is that of the `netdig overlay` that they would
/// have started.
pub fn one(name: &str, scenario: Scenario, for_a_person: bool) -> Result<Report, Unfinished> {
    let began = Instant::now();
    require(&scenario, Purpose::Run)?;
    crate::lab::tell!("{}\n\n{}", scenario.title, scenario.story);
    let lab = Lab::claim(name, scenario, Purpose::Run)?;
    let mut report = run(&lab, for_a_person).map_err(|error| Unfinished {
        error,
        logs: logs::ends(&lab),
    })?;
    lab.down()?;
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

fn run(lab: &Lab, for_a_person: bool) -> Result<Report> {
    lab.build()?;
    lab.journal.add(&Entry::Ready)?;
    let scenario = lab.scenario();
    let mut driver = Driver::new(lab, true);
    driver.drive("step", &scenario.steps)?;
    if driver.has_failed() {
        crate::lab::tell!(
            "a step did not come out as the scenario says, so the fault may not be there; the run \
             goes on, and what it shows is judged all the same"
        );
    }
    let watchers = Watchers::start(lab, for_a_person)?;
    driver.drive("traffic", &scenario.traffic)?;
    let seen = watchers.end(lab)?;
    let mut failures = driver.end();
    let compared = scenario.expectations.iter();
    let mut expectations: Vec<_> = compared
        .map(|wanted| expect::judge(wanted, &seen.objects))
        .collect();
    expectations.extend(conclude::judge(scenario, &seen.said));
    failures.extend(expectations.iter().filter_map(|verdict| verdict.failure()));
    let (result, logs) = match failures.is_empty() {
        true => (Ending::Ok, Vec::new()),
        false => (Ending::Failed, logs::ends(lab)),
    };
    let report = Report {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        lab: lab.journal.name().to_owned(),
        result,
        seconds: 0.0,
        expectations,
        failures,
        logs,
        reason: None,
    };
    tell(&report);
    Ok(report)
}

/// Builds the scenario as the lab `name`, with its steps done; it is for the caller
/// to keep.
pub fn up(name: &str, scenario: Scenario) -> Result<Lab> {
    require(&scenario, Purpose::Up)?;
    let lab = Lab::claim(name, scenario, Purpose::Up)?;
    if let Err(error) = lab.build().and_then(|()| do_steps(&lab)) {
        if let Some(text) = told_logs(&logs::ends(&lab)) {
            crate::lab::tell!("{text}\n");
        }
        return Err(error);
    }
    Ok(lab)
}

fn do_steps(lab: &Lab) -> Result<()> {
    let mut driver = Driver::new(lab, false);
    driver.drive("step", &lab.scenario().steps)?;
    match driver.end().first() {
        None => Ok(()),
        Some(failure) => bail!("the fault cannot be made: {failure}"),
    }
}

/// Looks for what the scenario needs, before anything is built, besides the
/// programs of its parts that the building looks for. Programs that are missing
/// are the error [`Missing`].
fn require(scenario: &Scenario, purpose: Purpose) -> Result<()> {
    packages::require(programs(scenario, purpose))?;
    if let Some(overlay) = scenario
        .overlay
        .as_ref()
        .filter(|_| scenario.etcd.is_some())
    {
        real("flanneld", overlay.daemon)?;
    }
    let mut renderers = scenario.renderers.iter();
    renderers.try_for_each(|renderer| real("confd", renderer.daemon))
}

/// Whether the real program is there, where it has to be.
fn real(program: &str, daemon: Daemon) -> Result<()> {
    match daemon {
        Daemon::Lab => Ok(()),
        Daemon::Any => programs::find(program).map(drop),
        Daemon::Real if programs::find(program)?.is_some() => Ok(()),
        Daemon::Real => Err(Missing(format!(
            "the scenario asks for the real {program}, which is not on PATH; name it with --{program}"
        ))
        .into()),
    }
}

/// What has to be on PATH for its containers, its steps and, where it is to be
/// run, its traffic. Files of hosts are named by their paths.
fn programs(scenario: &Scenario, purpose: Purpose) -> impl Iterator<Item = &str> {
    let traffic = match purpose {
        Purpose::Run => &scenario.traffic[..],
        Purpose::Up => &[],
    };
    let steps = scenario.steps.iter().chain(traffic);
    let first = steps.filter_map(|step| step.run.first());
    let named = scenario.needs.iter().chain(first).map(String::as_str);
    let runtimes = scenario
        .containers
        .iter()
        .filter_map(|one| match one.runtime {
            Runtime::Runc => Some("runc"),
            Runtime::Crun => Some("crun"),
            Runtime::Any | Runtime::Namespace => None,
        });
    let named = named.filter(|program| !program.contains('/'));
    named.chain(runtimes)
}

fn tell(report: &Report) {
    for verdict in &report.expectations {
        let (what, count) = (&verdict.what, verdict.count);
        match (verdict.result, verdict.failure()) {
            (_, Some(failure)) => crate::lab::tell!("  FAILED   {failure}"),
            (Outcome::NotJudged, None) => crate::lab::tell!("  not judged  {what}"),
            (Outcome::Pending, None) => crate::lab::tell!("  pending  {what}"),
            (_, None) => crate::lab::tell!("  ok       {what} ({count})"),
        }
    }
    let all = match report.failures.len() {
        0 => "all as expected".to_owned(),
        n => format!("{n} not as expected"),
    };
    crate::lab::tell!("\n{}: {all} ({})", report.name, report.counts());
}
