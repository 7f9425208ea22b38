//! Runs of scenarios: up, steps, netdig watching, traffic, comparison, down.

mod conclude;
mod many;
mod report;
mod step;
mod watcher;

use std::time::Instant;

use anyhow::{Result, bail};

use super::expect::{self, Outcome};
use super::scenario::{Daemon, Runtime, Scenario};
use super::{Lab, Missing, Purpose, packages, programs};
use conclude::Watchers;
pub use many::{Task, lab_name, many};
pub use report::{Ending, Report};
use step::Driver;

/// Runs the scenario as the lab `name`. What goes on is told on standard error;
/// for a person, standard output is that of the `netdig overlay` that they would
/// have started. An error where the run has not come to its end.
pub fn one(name: &str, scenario: Scenario, for_a_person: bool) -> Result<Report> {
    let began = Instant::now();
    require(&scenario, Purpose::Run)?;
    crate::lab::tell!("{}\n\n{}", scenario.title, scenario.story);
    let lab = Lab::build(name, scenario, Purpose::Run)?;
    let scenario = lab.scenario();
    let mut driver = Driver::new(&lab, true);
    driver.drive("step", &scenario.steps)?;
    if driver.has_failed() {
        crate::lab::tell!(
            "a step did not come out as the scenario says, so the fault may not be there; the run \
             goes on, and what it shows is judged all the same"
        );
    }
    let watchers = Watchers::start(&lab, for_a_person)?;
    driver.drive("traffic", &scenario.traffic)?;
    let seen = watchers.end(&lab)?;
    let mut failures = driver.end();
    let compared = scenario.expectations.iter();
    let mut expectations: Vec<_> = compared
        .map(|wanted| expect::judge(wanted, &seen.objects))
        .collect();
    expectations.extend(conclude::judge(scenario, &seen.said));
    failures.extend(expectations.iter().filter_map(|verdict| verdict.failure()));
    let mut report = Report {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        lab: name.to_owned(),
        result: match failures.is_empty() {
            true => Ending::Ok,
            false => Ending::Failed,
        },
        seconds: 0.0,
        expectations,
        failures,
        reason: None,
    };
    tell(&report);
    lab.down()?;
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Does a lab's steps, where it is to stand.
pub fn do_steps(lab: &Lab) -> Result<()> {
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
pub fn require(scenario: &Scenario, purpose: Purpose) -> Result<()> {
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
