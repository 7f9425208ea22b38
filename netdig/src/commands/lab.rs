//! `netdig lab`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cli::lab::{LabCommand, LabFormat};
use crate::lab::scenario::{self, Scenario};
use crate::lab::{self, Lab, Purpose, Status, flannel, programs, tunnel};
use crate::output::clock::Clock;

/// Runs the command. `true` stands for exit code 0, `false` for 1: a run whose
/// expectations do not all hold.
pub fn lab(command: LabCommand) -> Result<bool> {
    match command {
        LabCommand::List { format } => list(format),
        LabCommand::Up {
            scenario,
            name,
            flanneld,
        } => {
            name_programs(flanneld);
            up(&scenario, name)
        }
        LabCommand::Status { format } => status(format),
        LabCommand::Exec {
            host,
            name,
            command,
        } => exec(&host, name.as_deref(), &command),
        LabCommand::Run {
            scenario,
            name,
            flanneld,
        } => {
            name_programs(flanneld);
            lab::watch_signals()?;
            let scenario = one(&scenario)?;
            let name = lab_name(name, &scenario);
            lab::run(&name, scenario)
        }
        LabCommand::Down { name, all } => down(name.as_deref(), all),
        LabCommand::Hold(options) => lab::hold(&options).map(|()| true),
        LabCommand::Contain(options) => lab::contain(&options).map(|()| true),
        LabCommand::Tunnel(options) => tunnel::run(&options).map(|()| true),
        LabCommand::Flannel(options) => flannel::run(&options).map(|()| true),
    }
}

/// Real programs that are to run in place of the lab's own.
fn name_programs(flanneld: Option<PathBuf>) {
    if let Some(path) = flanneld {
        programs::name("flanneld", path);
    }
}

fn list(format: LabFormat) -> Result<bool> {
    let mut out = io::stdout().lock();
    for name in scenario::names() {
        for scenario in scenario::find(name)? {
            let name = &scenario.name;
            let expects = |pending| {
                let chosen = scenario
                    .expectations
                    .iter()
                    .filter(move |wanted| wanted.pending == pending);
                chosen
                    .map(|wanted| wanted.what.as_str())
                    .collect::<Vec<_>>()
            };
            print(
                &mut out,
                match format {
                    LabFormat::Text => format!("{name:<28}{}", scenario.title),
                    LabFormat::Json => object(
                        "scenario",
                        json!({
                            "name": name, "title": scenario.title, "expects": expects(false), "pending": expects(true),
                        }),
                    ),
                },
            )?;
        }
    }
    Ok(true)
}

/// The scenario that is meant, where only one can be.
fn one(argument: &str) -> Result<Scenario> {
    let mut scenarios = scenario::find(argument)?;
    if scenarios.len() > 1 {
        let names: Vec<_> = scenarios.iter().map(|one| one.name.as_str()).collect();
        bail!(
            "`{argument}` has variants; name one of them: {}",
            names.join(", ")
        );
    }
    scenarios.pop().context("there is no scenario")
}

/// The lab's name: what was asked for, or the scenario's.
fn lab_name(name: Option<String>, scenario: &Scenario) -> String {
    name.unwrap_or_else(|| scenario.name.replace('/', "-"))
}

fn up(scenario: &str, name: Option<String>) -> Result<bool> {
    lab::watch_signals()?;
    let scenario = one(scenario)?;
    let name = lab_name(name, &scenario);
    let lab = Lab::build(&name, scenario, Purpose::Up)?;
    let scenario = lab.scenario();
    let mut text = format!(
        "{}\n\n{}\nThe lab {name} stands. What to type next:\n",
        scenario.title, scenario.story
    );
    if let Some(watch) = &scenario.watch {
        text += &format!(
            "  netdig overlay {} --netns {}\n",
            watch.arguments.join(" "),
            lab.namespace(&watch.host)
        );
    }
    for step in &scenario.traffic {
        text += &format!(
            "  netdig lab exec {} --name {name} -- {}\n",
            step.on,
            step.shell()
        );
    }
    text += &format!("  netdig lab status\n  netdig lab down {name}");
    lab.keep();
    print(&mut io::stdout().lock(), text)?;
    Ok(true)
}

fn status(format: LabFormat) -> Result<bool> {
    let labs = lab::all()?;
    let mut out = io::stdout().lock();
    if labs.is_empty() && format == LabFormat::Text {
        print(
            &mut out,
            "no lab stands; `netdig lab list` shows what can be built".to_owned(),
        )?;
    }
    for lab in labs {
        let status = lab.status();
        print(
            &mut out,
            match format {
                LabFormat::Text => status_text(&status),
                LabFormat::Json => object(
                    "lab",
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
            },
        )?;
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
        Some(name) => lab::find(name)?
            .with_context(|| format!("no lab {name} stands; see `netdig lab status`"))?,
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
        Some(name) => Vec::from_iter(lab::find(name)?),
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
        eprintln!("netdig: there is no lab to take down");
    }
    // One that cannot be taken down keeps none of the others standing.
    let mut failed = None;
    for lab in labs {
        let name = lab.name().to_owned();
        match lab.tear_down() {
            Ok(()) => eprintln!("netdig: the lab {name} is down"),
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

/// One line, or several; a reader who went away ends the output, not the work.
fn print(out: &mut impl Write, text: String) -> Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// A JSON line with the fields that every object has.
fn object(kind: &str, mut fields: Value) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let ts_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let mut ts = Vec::new();
    Clock::rfc3339().push(&mut ts, ts_ns);
    fields["schema"] = json!("netdig/1");
    fields["kind"] = json!(kind);
    fields["ts"] = json!(String::from_utf8_lossy(&ts));
    fields["ts_ns"] = json!(ts_ns);
    fields.to_string()
}
