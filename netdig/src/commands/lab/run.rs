//! `netdig lab run`.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::each;
use crate::cli::lab::{LabFormat, RunArgs};
use crate::commands::print::{object, print};
use crate::commands::sentence;
use crate::lab::scenario::{self, Scenario};
use crate::lab::{self, Ending, Missing, Outcome, Report, Task, Unfinished};
use crate::source::probe::unix_now;

/// Runs what was asked for. `true` if all of it ran, and is as expected.
pub fn run(args: &RunArgs) -> Result<bool> {
    let programs = &args.programs;
    super::name(programs)?;
    let mut chosen = choose(args)?;
    if chosen.len() == 1
        && let Some((_, scenario)) = chosen.pop()
    {
        return one(args, scenario);
    }
    if args.name.is_some() {
        let names: Vec<_> = chosen.iter().map(|(name, _)| name.as_str()).collect();
        bail!(
            "--name is for one run, and these are {}: {}",
            names.len(),
            names.join(", ")
        );
    }
    many(args, chosen)
}

/// The runs, in order.
fn choose(args: &RunArgs) -> Result<Vec<(String, Scenario)>> {
    let mut once = Vec::new();
    if args.all {
        for slug in scenario::names() {
            once.extend(each(slug)?);
        }
    }
    for argument in &args.scenarios {
        once.extend(each(argument)?);
    }
    let mut all = Vec::new();
    for _ in 0..args.repeat.get() {
        all.extend(once.iter().cloned());
    }
    Ok(all)
}

/// One scenario, in this process.
fn one(args: &RunArgs, scenario: Scenario) -> Result<bool> {
    let (name, title) = (scenario.name.clone(), scenario.title.clone());
    let lab = args.name.clone().unwrap_or_else(|| lab::lab_name(&name));
    let began = Instant::now();
    let text = args.format == LabFormat::Text;
    let ran = lab::one(&lab, scenario, text);
    let report = match &ran {
        Ok(report) => report.clone(),
        Err(Unfinished { error, logs }) => {
            let ending = match error.is::<Missing>() {
                true => Ending::Skipped,
                false => Ending::Failed,
            };
            let logs = logs.clone();
            let unfinished = Report::unfinished(&name, &title, &lab, ending, sentence(error));
            Report { logs, ..unfinished }
        }
    };
    if text {
        if let Some(logs) = lab::told_logs(&report.logs) {
            crate::lab::tell!("\n{logs}\n");
        }
    } else {
        let summary = summary(std::slice::from_ref(&report), began, None);
        print(&as_object(&report)?)?;
        print(&object("scenario-summary", unix_now(), summary))?;
    }
    match ran {
        Err(Unfinished { error, .. }) if error.is::<Missing>() => {
            Err(error.context(format!("skipped {name}")))
        }
        Err(Unfinished { error, .. }) => Err(error),
        Ok(report) => Ok(report.result == Ending::Ok),
    }
}

fn many(args: &RunArgs, chosen: Vec<(String, Scenario)>) -> Result<bool> {
    let began = Instant::now();
    let mut tasks: Vec<_> = chosen
        .into_iter()
        .map(|(argument, scenario)| Task {
            argument,
            scenario: scenario.name,
            title: scenario.title,
            alone: scenario.alone,
        })
        .collect();
    let seed = args.random.map(|seed| seed.unwrap_or_else(any_seed));
    if let Some(seed) = seed {
        shuffle(&mut tasks, seed);
        crate::lab::tell!("netdig: in random order; `--random {seed}` repeats it");
    }
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or_else(cores, NonZeroUsize::get);
    let width = tasks.iter().map(|task| task.scenario.len()).max();
    let width = width.unwrap_or_default();
    let reports = lab::many(tasks, jobs, |report| {
        let line = match args.format {
            LabFormat::Text => line(report, width),
            LabFormat::Json => as_object(report)?,
        };
        print(&line)
    })?;
    let last = match args.format {
        LabFormat::Text => last(&reports, began, seed),
        LabFormat::Json => object(
            "scenario-summary",
            unix_now(),
            summary(&reports, began, seed),
        ),
    };
    print(&last)?;
    if reports.iter().all(|one| one.result == Ending::Skipped) {
        bail!("none of them could be run");
    }
    // One that was skipped has not shown that its expectations hold.
    Ok(reports.iter().all(|one| one.result == Ending::Ok))
}

fn as_object(report: &Report) -> Result<String> {
    Ok(object(
        "scenario-run",
        unix_now(),
        serde_json::to_value(report)?,
    ))
}

/// One run in a line, and what was wrong behind it.
fn line(report: &Report, width: usize) -> String {
    let name = &report.name;
    let word = match report.result {
        Ending::Ok => "ok",
        Ending::Failed => "FAILED",
        Ending::Skipped => "skipped",
    };
    let rest = match &report.reason {
        Some(reason) => reason.clone(),
        None => report.counts(),
    };
    let head = format!("{word:<8}{:>6.1} s  {name:<width$}  {rest}", report.seconds);
    let logs = lab::told_logs(&report.logs);
    let logs = logs.iter().flat_map(|text| text.lines());
    let failures = report.failures.iter().map(String::as_str);
    failures
        .chain(logs)
        .fold(head, |text, line| format!("{text}\n          {line}"))
}

fn summary(reports: &[Report], began: Instant, seed: Option<u64>) -> Value {
    let names = |ending| {
        let chosen = reports.iter().filter(move |one| one.result == ending);
        chosen.map(|one| one.name.as_str()).collect::<Vec<_>>()
    };
    let skipped: Vec<_> = reports
        .iter()
        .filter_map(|one| Some(json!({ "name": one.name, "reason": one.reason.as_ref()? })))
        .collect();
    let mut summary = json!({
        "scenarios": reports.len(),
        "ok": names(Ending::Ok).len(),
        "failed": names(Ending::Failed),
        "skipped": skipped,
        "expectations": reports.iter().map(|one| one.expectations.len()).sum::<usize>(),
        "pending": total(reports, Outcome::Pending),
        "not_judged": total(reports, Outcome::NotJudged),
        "seconds": began.elapsed().as_secs_f64(),
    });
    if let Some(seed) = seed {
        summary["seed"] = json!(seed);
    }
    summary
}

fn total(reports: &[Report], result: Outcome) -> usize {
    reports.iter().map(|one| one.count(result)).sum()
}

fn last(reports: &[Report], began: Instant, seed: Option<u64>) -> String {
    let count = |ending| reports.iter().filter(|one| one.result == ending).count();
    let expectations: usize = reports.iter().map(|one| one.expectations.len()).sum();
    let pending = total(reports, Outcome::Pending);
    let unjudged = match total(reports, Outcome::NotJudged) {
        0 => String::new(),
        n => format!(", {n} not judged"),
    };
    let mut text = format!(
        "\n{} scenarios in {:.1} s: {} as expected, {} not, {} skipped; {expectations} expectations, \
         {pending} pending{unjudged}",
        reports.len(),
        began.elapsed().as_secs_f32(),
        count(Ending::Ok),
        count(Ending::Failed),
        count(Ending::Skipped),
    );
    for one in reports {
        let name = &one.name;
        match (&one.reason, one.result) {
            (Some(reason), _) => text += &format!("\nskipped {name}: {reason}"),
            (None, Ending::Failed) => text += &format!("\nFAILED  {name}"),
            (None, _) => {}
        }
    }
    match seed {
        Some(seed) => text + &format!("\n`--random {seed}` repeats this order"),
        None => text,
    }
}

/// A seed that nobody has chosen; short enough to be typed again.
fn any_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) % 1_000_000
}

/// Shuffles (Fisher and Yates), by the numbers that SplitMix64 makes of the seed.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for n in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let other = z % (n as u64 + 1);
        items.swap(n, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_order_and_loses_nothing() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..40).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        let mut sorted = shuffled(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..40).collect::<Vec<_>>());
    }
}
