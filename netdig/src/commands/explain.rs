//! `netdig explain` and `netdig rules`: the catalogue of findings.
use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use serde_json::json;

use super::print::{object, print};
use crate::cli::doctor::{ExplainArgs, ReportFormat, RulesArgs};
use crate::finding::Code;
use crate::rules::{RULES, Rule};
use crate::source::probe::unix_now;

/// Prints the page of one finding.
///
/// # Errors
/// Where there is none of that code or name.
pub fn explain(args: &ExplainArgs) -> Result<bool> {
    let wanted = args.finding.trim();
    let code: Option<Code> = wanted.parse().ok();
    let by_name = |rule: &&Rule| Some(rule.code) == code || rule.name.eq_ignore_ascii_case(wanted);
    match RULES.iter().find(by_name) {
        Some(rule) => print(rule.page.trim_end()).map(|()| true),
        None => bail!(
            "this netdig has no finding `{}`; `netdig rules` lists those that it has",
            wanted.escape_debug()
        ),
    }
}

/// Prints all rules: severity, and what each needs to see.
///
/// # Errors
/// Where standard output cannot be written.
pub fn rules(args: &RulesArgs) -> Result<bool> {
    match args.format {
        ReportFormat::Json => {
            let now = unix_now();
            for rule in RULES {
                print(&object("rule", now, listed(rule)))?;
            }
            Ok(true)
        }
        ReportFormat::Text | ReportFormat::Table => print(&table().trim_fmt()).map(|()| true),
    }
}

fn listed(rule: &Rule) -> serde_json::Value {
    json!({
        "code": rule.code, "name": rule.name, "severity": rule.severity, "title": rule.title,
        "needs": needs(rule), "packets": rule.needs_packets(),
    })
}

fn needs(rule: &Rule) -> Vec<&'static str> {
    rule.needs.iter().map(|part| part.name()).collect()
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["CODE", "SEVERITY", "NAME", "WHAT", "NEEDS"]);
    for rule in RULES {
        let code = rule.code.to_string();
        let needs = needs(rule).join(", ");
        table.add_row([&code, rule.severity.name(), rule.name, rule.title, &needs]);
    }
    table
}
