//! Runs of scenarios: up, steps, netdig watching, traffic, comparison, down.

mod conclude;
mod many;
mod report;
mod step;
mod watcher;

use std::time::Instant;

use anyhow::{Result, bail};

use super::expect::{self, Outcome};
use super::scenario::Scenario;
use super::{Lab, Purpose, server};
use conclude::Watchers;
pub use many::{Task, lab_name, many};
pub use report::{Ending, Report};
use step::Driver;

/// Runs the scenario as the lab `name`. What goes on is told on standard error;
/// for a person, standard output is that of the `netdig overlay` that they would
/// have started. An error where the run has not come to its end.
pub fn one(name: &str, scenario: Scenario, for_a_person: bool) -> Result<Report> {
    let began = Instant::now();
    server::require(programs(&scenario))?;
    eprintln!("{}\n\n{}", scenario.title, scenario.story);
    let lab = Lab::build(name, scenario, Purpose::Run)?;
    let scenario = lab.scenario();
    let mut driver = Driver::new(&lab, true);
    driver.drive("step", &scenario.steps)?;
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

/// What has to be on PATH for its steps and traffic. Files of hosts are named by
/// their paths.
fn programs(scenario: &Scenario) -> impl Iterator<Item = &str> {
    let steps = scenario.steps.iter().chain(&scenario.traffic);
    let first = steps.filter_map(|step| step.run.first());
    let programs = scenario.needs.iter().chain(first).map(String::as_str);
    programs.filter(|program| !program.contains('/'))
}

fn tell(report: &Report) {
    for verdict in &report.expectations {
        let (what, count) = (&verdict.what, verdict.count);
        match (verdict.result, verdict.failure()) {
            (_, Some(failure)) => eprintln!("  FAILED   {failure}"),
            (Outcome::Pending, None) => eprintln!("  pending  {what}"),
            (_, None) => eprintln!("  ok       {what} ({count})"),
        }
    }
    let all = match report.failures.len() {
        0 => "all as expected".to_owned(),
        n => format!("{n} not as expected"),
    };
    eprintln!("\n{}: {all} ({})", report.name, report.counts());
}
