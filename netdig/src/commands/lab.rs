//! `netdig lab`.

mod nearest;
mod run;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::print::{object, print};
use crate::cli::lab::{LabCommand, LabFormat, Programs};
use crate::lab::scenario::{self, Scenario, Step};
use crate::lab::{self, Lab, Status, flannel, programs, tunnel};
use crate::source::probe::unix_now;
use nearest::nearest;

/// Runs the command. `true` stands for exit code 0, `false` for 1: a run whose
/// expectations do not all hold.
pub fn lab(command: LabCommand) -> Result<bool> {
    // Before all else: a signal from here on takes down what there is.
    if matches!(command, LabCommand::Up { .. } | LabCommand::Run(_)) {
        lab::watch_signals()?;
    }
    match command {
        LabCommand::List { format } => list(format),
        LabCommand::Up {
            scenario,
            name,
            programs,
        } => {
            self::name(&programs)?;
            up(&scenario, name)
        }
        LabCommand::Status { format } => status(format),
        LabCommand::Exec {
            host,
            name,
            command,
        } => exec(&host, name.as_deref(), &command),
        LabCommand::Run(args) => run::run(&args),
        LabCommand::Down { name, all } => down(name.as_deref(), all),
        LabCommand::Hold(options) => lab::hold(&options).map(|()| true),
        LabCommand::Contain(options) => lab::contain(&options).map(|()| true),
        LabCommand::Tunnel(options) => tunnel::run(&options).map(|()| true),
        LabCommand::Render(options) => lab::render::run(&options).map(|()| true),
        LabCommand::Raw(options) => lab::raw::run(&options).map(|()| true),
        LabCommand::Flannel(options) => flannel::run(&options).map(|()| true),
    }
}

fn list(format: LabFormat) -> Result<bool> {
    for slug in scenario::names() {
        let scenarios = scenario::find(slug)?;
        match format {
            LabFormat::Text => print(&group(slug, &scenarios))?,
            LabFormat::Json => {
                for scenario in &scenarios {
                    print(&object("scenario", unix_now(), listed(scenario)))?;
                }
            }
        }
    }
    Ok(true)
}

/// A slug with all its variants, as a line and one for each.
fn group(slug: &str, scenarios: &[Scenario]) -> String {
    let codes: BTreeSet<_> = scenarios.iter().flat_map(|one| &one.finding).collect();
    let codes = codes.into_iter().map(|code| format!("  {code}"));
    let codes: String = codes.collect();
    match scenarios {
        [one] if one.name == slug => format!("{slug:<32}{}{codes}", one.title),
        variants => {
            let title = &variants[0].title;
            let same = variants.iter().all(|one| one.title == *title);
            let head = match same {
                true => format!("{slug:<32}{title}, {} variants{codes}", variants.len()),
                false => format!("{slug:<32}{} variants{codes}", variants.len()),
            };
            variants.iter().fold(head, |text, one| match same {
                true => format!("{text}\n  {}", one.name),
                false => format!("{text}\n  {:<30}{}", one.name, one.title),
            })
        }
    }
}

fn listed(scenario: &Scenario) -> Value {
    let expects = |pending| {
        let seen = scenario
            .expectations
            .iter()
            .map(|wanted| (wanted.pending, &wanted.what));
        let concluded = scenario
            .conclusions
            .iter()
            .map(|wanted| (wanted.pending, &wanted.code));
        let chosen = seen.chain(concluded).filter(|(is, _)| *is == pending);
        chosen.map(|(_, what)| what.as_str()).collect::<Vec<_>>()
    };
    json!({
        "name": scenario.name, "title": scenario.title, "codes": scenario.finding,
        "expects": expects(false), "pending": expects(true),
    })
}

/// The scenarios that an argument names, each with the argument that names it alone.
fn each(argument: &str) -> Result<Vec<(String, Scenario)>> {
    let first = argument.split_once('/').map_or(argument, |(slug, _)| slug);
    let built_in = scenario::names().any(|slug| slug == first);
    let alone = |scenario: &Scenario| match scenario.name.split_once('/') {
        _ if built_in => scenario.name.clone(),
        Some((_, variant)) if !argument.ends_with(&format!("#{variant}")) => {
            format!("{argument}#{variant}")
        }
        _ => argument.to_owned(),
    };
    let scenarios = scenario::find(argument)?;
    Ok(scenarios
        .into_iter()
        .map(|scenario| (alone(&scenario), scenario))
        .collect())
}

/// The scenario that is meant, where only one can be.
fn one(argument: &str) -> Result<Scenario> {
    let mut scenarios = each(argument)?;
    if scenarios.len() > 1 {
        let names: Vec<_> = scenarios.iter().map(|(name, _)| name.as_str()).collect();
        bail!(
            "`{argument}` has variants; name one of them: {}",
            names.join(", ")
        );
    }
    let (_, scenario) = scenarios.pop().context("there is no scenario")?;
    Ok(scenario)
}

/// Keeps the programs that were named, as files wherever a part is started.
fn name(programs: &Programs) -> Result<()> {
    let absolute = |path: &Option<PathBuf>| match path {
        None => Ok(None),
        Some(path) => std::path::absolute(path)
            .map(Some)
            .with_context(|| format!("cannot find {}", path.display())),
    };
    programs::name(absolute(&programs.flanneld)?, absolute(&programs.confd)?)
}

fn up(scenario: &str, name: Option<String>) -> Result<bool> {
    let scenario = one(scenario)?;
    let name = name.unwrap_or_else(|| lab::lab_name(&scenario.name));
    let lab = lab::up(&name, scenario)?;
    let text = next(&name, &lab);
    lab.keep()?;
    print(&text)?;
    Ok(true)
}

/// What a person may want to type who has built this lab.
fn next(name: &str, lab: &Lab) -> String {
    let scenario = lab.scenario();
    let mut text = format!(
        "{}\n\n{}\nThe lab {name} stands.",
        scenario.title, scenario.story
    );
    let mut add = |title: &str, steps: &[Step]| {
        if !steps.is_empty() {
            text += &format!("\n{title}");
        }
        for step in steps {
            if let Some(what) = &step.what {
                text += &format!("\n  # {what}");
            }
            let (on, shell) = (&step.on, step.shell());
            text += &format!("\n  netdig lab exec {on} --name {name} -- {shell}");
        }
    };
    add("What was done to it:", &scenario.steps);
    add("Its traffic:", &scenario.traffic);
    text += "\nWhat to type next:";
    if let Some(watch) = &scenario.watch {
        // On the host, so that its own files are looked at.
        let on = format!("netdig lab exec {} --name {name} --", watch.host);
        let arguments = scenario::shell(&watch.arguments);
        text += &format!(
            "\n  {on} netdig doctor\n  {on} netdig overlay {arguments} --netns /proc/self/ns/net"
        );
    }
    text + &format!("\n  netdig lab status\n  netdig lab down {name}")
}

fn status(format: LabFormat) -> Result<bool> {
    let labs = lab::all()?;
    if labs.is_empty() && format == LabFormat::Text {
        print("no lab stands; `netdig lab list` shows what can be built")?;
    }
    for lab in labs {
        let status = lab.status();
        print(&match format {
            LabFormat::Text => status_text(&status),
            LabFormat::Json => object(
                "lab",
                unix_now(),
                json!({
                    "name": status.name, "scenario": status.scenario, "state": status.state,
                    "places": status.places.iter().map(|place| json!({
                        "name": place.name, "namespace": place.namespace, "exists": place.exists,
                    })).collect::<Vec<_>>(),
                    "processes": status.processes.iter().map(|(name, pid, alive)| json!({
                        "name": name, "pid": pid, "alive": alive,
                    })).collect::<Vec<_>>(),
                }),
            ),
        })?;
    }
    Ok(true)
}

fn status_text(status: &Status) -> String {
    let mut text = format!(
        "{}  scenario {}, {}",
        status.name, status.scenario, status.state
    );
    for place in &status.places {
        let gone = if place.exists { "" } else { "  gone" };
        text += &format!("\n  {:<12} namespace {}{gone}", place.name, place.namespace);
    }
    for (name, pid, alive) in &status.processes {
        let ended = if *alive { "" } else { "  ended" };
        text += &format!("\n  {name:<24} pid {pid}{ended}");
    }
    text
}

fn exec(host: &str, name: Option<&str>, command: &[OsString]) -> Result<bool> {
    let lab = match name {
        Some(name) => match lab::find(name)? {
            Some(lab) => lab,
            None => bail!(no_such_lab(name)?),
        },
        None => lab::by_place(host)?,
    };
    let (program, arguments) = command
        .split_first()
        .context("there is no command to run")?;
    let mut command = Command::new(program);
    command.args(arguments);
    lab.exec(host, command).map(|()| true)
}

fn down(name: Option<&str>, all: bool) -> Result<bool> {
    let labs = match name {
        Some(name) => match lab::find(name)? {
            Some(lab) => vec![lab],
            None => {
                lab::sweep()?;
                bail!(no_such_lab(name)?);
            }
        },
        None => lab::all()?,
    };
    if !all && labs.len() > 1 {
        let names: Vec<_> = labs.iter().map(|lab| lab.name()).collect();
        bail!(
            "several labs stand: {}; name one of them, or take all down with --all",
            names.join(", ")
        );
    }
    if labs.is_empty() {
        crate::lab::tell!("netdig: there is no lab to take down");
    }
    // One that cannot be taken down keeps none of the others standing.
    let mut failed = None;
    for lab in labs {
        let name = lab.name().to_owned();
        match lab.tear_down() {
            Ok(()) => crate::lab::tell!("netdig: the lab {name} is down"),
            Err(error) => {
                failed = failed.or(Some(
                    error.context(format!("the lab {name} could not be taken down")),
                ))
            }
        }
    }
    lab::sweep()?;
    failed.map_or(Ok(true), Err)
}

/// That no lab has this name, and which has one like it.
fn no_such_lab(name: &str) -> Result<String> {
    let labs = lab::all()?;
    let nearest = nearest(name, labs.iter().map(|lab| lab.name()));
    Ok(match nearest {
        Some(near) => format!("no lab {name} stands; did you mean {near}?"),
        None => format!("no lab {name} stands; see `netdig lab status`"),
    })
}
