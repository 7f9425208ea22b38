//! What a look says, on one screen: who was looked at, the findings, the worst of them in
//! full, and how much was checked.
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, Table, presets};
use serde_json::{Value, json};

use super::finding;
use crate::finding::{Code, Finding, Severity};
use crate::rules::{RULES, Report, View};

/// Findings that are shown in full without `--verbose`.
const IN_FULL: usize = 2;
/// Columns where no terminal says how many it has.
const DEFAULT_WIDTH: u16 = 100;
/// Fewest columns that lines are fitted into.
const LEAST_WIDTH: u16 = 40;

#[derive(Debug, Clone, Copy)]
pub struct ReportStyle {
    pub color: bool,
    pub verbose: bool,
    pub width: u16,
    /// Findings in full below the table.
    pub details: bool,
}

/// How many findings there are of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub critical: usize,
    pub high: usize,
    pub medium: usize,
    pub info: usize,
}

impl Tally {
    pub fn of(findings: &[Finding]) -> Tally {
        let mut tally = Tally::default();
        for finding in findings {
            *match finding.severity {
                Severity::Critical => &mut tally.critical,
                Severity::High => &mut tally.high,
                Severity::Medium => &mut tally.medium,
                Severity::Info => &mut tally.info,
            } += 1;
        }
        tally
    }

    pub fn json(self) -> Value {
        json!({
            "critical": self.critical, "high": self.high, "medium": self.medium, "info": self.info,
        })
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally {
            critical,
            high,
            medium,
            info,
        } = self;
        write!(
            f,
            "{critical} critical, {high} high, {medium} medium, {info} info"
        )
    }
}

/// Columns of the terminal on standard output.
pub fn terminal_width() -> u16 {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ fills the structure that it is given, or fails.
    let told = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    match size.ws_col {
        columns if told && columns > 0 => columns.max(LEAST_WIDTH),
        _ => DEFAULT_WIDTH,
    }
}

/// The whole report.
pub fn text(view: &View<'_>, report: &Report, style: ReportStyle) -> String {
    let mut blocks = vec![looked_at(view)];
    let ordered = by_cause(&report.findings);
    if !ordered.is_empty() {
        blocks.push(list(&ordered, style));
    }
    if style.details {
        let shown = ordered
            .iter()
            .filter(|finding| style.verbose || finding.severity > Severity::Info)
            .take(match style.verbose {
                true => usize::MAX,
                false => IN_FULL,
            });
        blocks.extend(shown.map(|one| {
            finding::text(
                one,
                finding::Style {
                    color: style.color,
                    width: usize::from(style.width),
                },
            )
            .trim_end()
            .to_owned()
        }));
    }
    blocks.push(footer(report, style, &ordered));
    blocks.join("\n\n")
}

/// Consequences stand behind their cause.
fn by_cause(findings: &[Finding]) -> Vec<&Finding> {
    let mut ordered: Vec<&Finding> = Vec::new();
    for finding in findings.iter().filter(|one| one.cause.is_none()) {
        let first = !ordered.iter().any(|one| one.code == finding.code);
        ordered.push(finding);
        if first {
            let of_it = findings
                .iter()
                .filter(|one| one.cause == Some(finding.code));
            ordered.extend(of_it);
        }
    }
    // One that comes of a consequence.
    let placed: Vec<*const Finding> = ordered.iter().map(|one| std::ptr::from_ref(*one)).collect();
    ordered.extend(
        findings
            .iter()
            .filter(|one| !placed.contains(&std::ptr::from_ref(*one))),
    );
    ordered
}

fn looked_at(view: &View<'_>) -> String {
    let context = view.context;
    let mut head = finding::harmless(&context.host.name);
    if let Some(netns) = &context.host.netns {
        head.push_str(&format!(
            " (network namespace {})",
            finding::harmless(netns)
        ));
    }
    let overlays: Vec<String> = view
        .overlays
        .iter()
        .map(|overlay| {
            let ranges: Vec<String> = overlay.networks.iter().map(ToString::to_string).collect();
            let backend = overlay.backend.as_deref().unwrap_or("unknown backend");
            let own = overlay
                .own_subnet
                .map_or_else(String::new, |net| format!(", here {net}"));
            let leases = match overlay.leases.len() {
                0 => String::new(),
                1 => ", 1 lease".to_owned(),
                count => format!(", {count} leases"),
            };
            format!(
                "{} by {}{own}{leases}",
                ranges.join(" and "),
                finding::harmless(backend)
            )
        })
        .collect();
    match overlays.is_empty() {
        true => {
            format!("{head}: no overlay network found (no device, subnet.env or key of flannel's)")
        }
        false => format!("{head}: overlay {}", overlays.join("; ")),
    }
}

fn list(findings: &[&Finding], style: ReportStyle) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_width(style.width);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if style.color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for finding in findings {
        let severity = Cell::new(finding.severity.name().to_uppercase());
        let severity = match finding.severity {
            _ if !style.color => severity,
            Severity::Critical => severity.fg(Color::Red).add_attribute(Attribute::Bold),
            Severity::High => severity.fg(Color::Red),
            Severity::Medium => severity.fg(Color::Yellow),
            Severity::Info => severity.fg(Color::Cyan),
        };
        let link = match finding.cause {
            Some(cause) => format!("↳ of {cause}: "),
            None => String::new(),
        };
        let title = format!("{link}{}", finding::harmless(&finding.title));
        table.add_row([severity, Cell::new(finding.code), Cell::new(title)]);
    }
    for column in table.column_iter_mut().take(2) {
        column.set_constraint(ColumnConstraint::ContentWidth);
        column.set_cell_alignment(CellAlignment::Left);
    }
    table.trim_fmt()
}

fn footer(report: &Report, style: ReportStyle, ordered: &[&Finding]) -> String {
    let by_packets = RULES.iter().filter(|rule| rule.needs_packets()).count();
    let by_services = RULES.iter().filter(|rule| rule.needs_services()).count();
    let unchecked = report.unchecked.len();
    let checked = RULES.len() - by_packets - by_services - unchecked;
    let mut text = format!("{}; {checked} rules checked", Tally::of(&report.findings));
    // Where ND903 has nothing to say, what is unread is not missed.
    if unchecked > 0 && ordered.iter().any(|one| one.code == Code(903)) {
        text.push_str(&format!(", {unchecked} not (ND903)"));
    }
    if by_packets > 0 {
        text.push_str(&format!(
            ", {by_packets} more watch packets: netdig overlay"
        ));
    }
    if by_services > 0 {
        text.push_str(&format!(
            ", {by_services} more watch services: netdig etcd-watch"
        ));
    }
    let serious = ordered
        .iter()
        .filter(|one| one.severity > Severity::Info)
        .count();
    if style.details && !style.verbose && serious > IN_FULL {
        text.push_str(
            "\nAll findings in full: netdig doctor -v; one finding's page: netdig explain CODE",
        );
    } else if serious > 0 {
        text.push_str("\nOne finding's page: netdig explain CODE");
    }
    text
}
