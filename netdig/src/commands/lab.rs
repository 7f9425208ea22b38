//! `netdig lab`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cli::lab::{LabCommand, LabFormat};
use crate::lab::{self, Lab, Purpose, Status, scenario, tunnel};

/// Runs the command. `true` stands for exit code 0, `false` for 1: a run whose
/// expectations do not all hold.
pub fn lab(command: LabCommand) -> Result<bool> {
    match command {
        LabCommand::List { format } => list(format),
        LabCommand::Up { scenario, name } => up(&scenario, name.as_deref()),
        LabCommand::Status { format } => status(format),
        LabCommand::Exec {
            host,
            name,
            command,
        } => exec(&host, name.as_deref(), &command),
        LabCommand::Run { scenario, name } => {
            lab::watch_signals()?;
            lab::run(
                name.as_deref().unwrap_or(&scenario),
                scenario::load(&scenario)?,
            )
        }
        LabCommand::Down { name, all } => down(name.as_deref(), all),
        LabCommand::Tunnel(options) => tunnel::run(&options).map(|()| true),
    }
}

fn list(format: LabFormat) -> Result<bool> {
    let mut out = io::stdout().lock();
    for name in scenario::names() {
        let scenario = scenario::load(name)?;
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
    Ok(true)
}

fn up(scenario: &str, name: Option<&str>) -> Result<bool> {
    lab::watch_signals()?;
    let name = name.unwrap_or(scenario);
    let lab = Lab::build(name, scenario::load(scenario)?, Purpose::Up)?;
    let scenario = lab.scenario();
    let host = &scenario.watch.host;
    let mut text = format!(
        "{}\n\n{}\nThe lab {name} stands. What to type next:\n",
        scenario.title, scenario.story
    );
    text += &format!(
        "  netdig overlay {} --netns {}\n",
        scenario.watch.arguments.join(" "),
        lab.namespace(host)
    );
    for step in &scenario.traffic {
        text += &format!(
            "  netdig lab exec {} --name {name} -- {}\n",
            step.on,
            step.run.join(" ")
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
    fields["schema"] = json!("netdig/1");
    fields["kind"] = json!(kind);
    fields["ts"] = json!(rfc3339(now.as_secs(), now.subsec_nanos()));
    fields["ts_ns"] = json!(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    fields.to_string()
}

/// Civil date of a Unix time, by counting days from 1 March of year 0.
fn rfc3339(seconds: u64, nanos: u32) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_399, 5), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(rfc3339(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(
            rfc3339(1_735_689_599, 999_999_999),
            "2024-12-31T23:59:59.999999999Z"
        );
    }
}
