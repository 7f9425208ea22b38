//! `netdig doctor`: one look, and what it means.
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Result, bail};

use super::print::{object, print};
use crate::cli::doctor::{DoctorArgs, ReportFormat};
use crate::context::namespace::Namespace;
use crate::context::read::{Look, read};
use crate::context::{Context, Part, Unread, registry, saved};
use crate::finding::{Finding, Severity};
use crate::output::report::{ReportStyle, Tally};
use crate::output::{finding, report};
use crate::rules::{Report, View, evaluate};
use crate::source::probe::unix_now;

/// Runs `netdig doctor`; false where there is a finding at or above `--fail-on`.
///
/// # Errors
/// Where it could not look: what was asked for by name could not be read. What the rest
/// says was printed then.
pub fn doctor(args: &DoctorArgs) -> Result<bool> {
    let (context, options) = match &args.from {
        Some(path) => (saved::load(path)?, registry::Options::default()),
        None => {
            let options = args.etcd.options()?;
            (look(args, &options)?, options)
        }
    };
    // A look that cannot be kept is shown still.
    let saved = match &args.save {
        Some(path) => saved::save(&context, path),
        None => Ok(()),
    };
    let view = View::new(&context, None);
    let report = evaluate(&view);
    if args.save.as_deref() != Some(Path::new("-")) {
        show(args, &view, &report)?;
    }
    saved?;
    if args.from.is_none()
        && let Some(unread) = asked_in_vain(&options, &context)
    {
        bail!("{}: {}", unread.what, unread.why);
    }
    Ok(!fails(&report.findings, args.fail_on))
}

fn look(args: &DoctorArgs, registry: &registry::Options) -> Result<Context> {
    let namespace = args.netns.as_deref().map(Namespace::open).transpose()?;
    read(&Look {
        namespace: namespace.as_ref(),
        netns: args.netns.as_deref(),
        registry,
    })
}

/// What a run cannot do without: the kernel's tables, and a registry that was named.
fn asked_in_vain<'a>(asked: &registry::Options, context: &'a Context) -> Option<&'a Unread> {
    context.unread.iter().find(|unread| match unread.part {
        Part::Links | Part::Addresses | Part::Routes => !unread.partly,
        Part::Registry => !unread.partly && asked.is_named(),
        _ => false,
    })
}

/// Whether there is one at or above the threshold.
pub fn fails(findings: &[Finding], fail_on: Severity) -> bool {
    findings.iter().any(|finding| finding.severity >= fail_on)
}

fn show(args: &DoctorArgs, view: &View<'_>, report: &Report) -> Result<()> {
    if args.format == ReportFormat::Json {
        return json(report);
    }
    let style = ReportStyle {
        color: args.color.on(std::io::stdout().is_terminal()),
        verbose: args.verbose,
        width: report::terminal_width(),
        details: args.format == ReportFormat::Text,
    };
    print(&report::text(view, report, style))?;
    Ok(())
}

fn json(report: &Report) -> Result<()> {
    let now = unix_now();
    for one in &report.findings {
        print(String::from_utf8_lossy(&finding::json(one, now)).trim_end())?;
    }
    let tally = Tally::of(&report.findings);
    print(&object(
        "summary",
        now,
        serde_json::json!({ "findings": tally.json() }),
    ))?;
    Ok(())
}
