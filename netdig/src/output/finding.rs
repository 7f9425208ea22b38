//! A finding as people read it, and as a line of JSON: of every command that concludes.
use serde::Serialize;

use super::clock::Clock;
use super::json::{self, SCHEMA};
use super::line::text::push_escaped;
use crate::finding::{Code, Evidence, Finding, Severity};
use crate::observation::UnixNanos;

const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// How a finding is shown as text.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub color: bool,
    /// Columns at which explanations are wrapped.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            color: false,
            width: 100,
        }
    }
}

/// A block of lines: severity, code and title; evidence; explanation; what cures it.
pub fn text(finding: &Finding, style: Style) -> String {
    let mut out = String::new();
    let head = format!(
        "{} {}",
        finding.severity.name().to_uppercase(),
        finding.code
    );
    match style.color {
        true => {
            let color = color(finding.severity);
            out.push_str(&format!("{BOLD}{color}{head}{RESET}{BOLD}"));
        }
        false => out.push_str(&head),
    }
    out.push(' ');
    out.push_str(&harmless(&finding.title));
    if style.color {
        out.push_str(RESET);
    }
    out.push('\n');
    for evidence in &finding.evidence {
        out.push_str(&format!("    {}\n", place(evidence)));
    }
    for line in wrap(
        &harmless(&finding.explanation),
        style.width.saturating_sub(2),
    ) {
        out.push_str(&format!("  {line}\n"));
    }
    for command in &finding.fix {
        out.push_str(&format!("  fix: {}\n", pasted(command)));
    }
    out.push_str(&footer(finding));
    out
}

/// `packet 12: DNS query …`.
fn place(evidence: &Evidence) -> String {
    let place = match evidence.place.is_empty() {
        true => evidence.source.clone(),
        false => format!("{} {}", evidence.source, evidence.place),
    };
    match evidence.what.is_empty() {
        true => harmless(&place),
        false => format!("{}: {}", harmless(&place), harmless(&evidence.what)),
    }
}

/// How sure it is, and what it has to do with others.
fn footer(finding: &Finding) -> String {
    let mut text = format!("  {}", finding.confidence.name());
    if let Some(cause) = finding.cause {
        text.push_str(&format!("; comes of {cause}"));
    }
    if !finding.consequences.is_empty() {
        let codes: Vec<String> = finding.consequences.iter().map(Code::to_string).collect();
        text.push_str(&format!("; leads to {}", codes.join(", ")));
    }
    text.push('\n');
    text
}

const fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "\x1b[31m",
        Severity::High => "\x1b[35m",
        Severity::Medium => "\x1b[33m",
        Severity::Info => "\x1b[36m",
    }
}

/// Without control characters and what misleads a terminal.
pub fn harmless(text: &str) -> String {
    let mut out = Vec::new();
    push_escaped(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// A command as it is pasted: a backslash in it is the shell's own.
fn pasted(command: &str) -> String {
    let pieces: Vec<String> = command.split('\\').map(harmless).collect();
    pieces.join("\\")
}

/// Words on lines of `width` columns; a longer word has its own line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The object of `--format json`.
#[derive(Serialize)]
struct Object<'a> {
    schema: &'static str,
    kind: &'static str,
    ts: &'a str,
    ts_ns: UnixNanos,
    code: Code,
    name: &'a str,
    severity: Severity,
    title: &'a str,
    explanation: &'a str,
    fix: &'a [String],
    evidence: &'a [Evidence],
    confidence: &'static str,
    playbook: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Code>,
    #[serde(skip_serializing_if = "<[Code]>::is_empty")]
    consequences: &'a [Code],
}

/// One line, with its end; `at` is when it was concluded.
pub fn json(finding: &Finding, at: UnixNanos) -> Vec<u8> {
    let mut ts = Vec::new();
    Clock::rfc3339().push(&mut ts, at);
    let mut out = Vec::new();
    let object = Object {
        schema: SCHEMA,
        kind: "finding",
        ts: std::str::from_utf8(&ts).unwrap_or_default(),
        ts_ns: at,
        code: finding.code,
        name: finding.name,
        severity: finding.severity,
        title: &finding.title,
        explanation: &finding.explanation,
        fix: &finding.fix,
        evidence: &finding.evidence,
        confidence: finding.confidence.name(),
        playbook: finding.playbook(),
        cause: finding.cause,
        consequences: &finding.consequences,
    };
    json::write(&mut out, &object);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Confidence;

    fn finding() -> Finding {
        Finding {
            code: Code(309),
            name: "inner-not-sent",
            severity: Severity::Critical,
            title: "packets to 192.168.99.9 \u{1b}[2J are not sent".to_owned(),
            explanation: "one two three four".to_owned(),
            fix: vec!["ip route get 192.168.99.9".to_owned()],
            evidence: vec![
                Evidence::new("packet", "7", "echo request"),
                Evidence::new("link", "", ""),
            ],
            confidence: Confidence::Likely,
            key: "192.168.99.9".to_owned(),
            consequences: vec![Code(701)],
            cause: Some(Code(102)),
        }
    }

    #[test]
    fn a_command_keeps_its_backslashes() {
        assert_eq!(pasted(r"put '/a'\''b' $'\012'"), r"put '/a'\''b' $'\012'");
        assert_eq!(pasted("a\u{1b}"), r"a\x1b");
    }

    #[test]
    fn a_block_for_people() {
        let style = Style {
            color: false,
            width: 12,
        };
        assert_eq!(
            text(&finding(), style),
            "CRITICAL ND309 packets to 192.168.99.9 \\x1b[2J are not sent\n    \
             packet 7: echo request\n    link\n  one two\n  three four\n  \
             fix: ip route get 192.168.99.9\n  \
             likely; comes of ND102; leads to ND701\n"
        );
        let colored = text(
            &finding(),
            Style {
                color: true,
                ..style
            },
        );
        assert!(
            colored.starts_with("\x1b[1m\x1b[31mCRITICAL ND309"),
            "{colored}"
        );
    }

    #[test]
    fn an_object_for_programs() {
        let line = json(&finding(), 7);
        assert_eq!(line.last(), Some(&b'\n'));
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(object["kind"], "finding");
        assert_eq!(object["code"], "ND309");
        assert_eq!(object["severity"], "critical");
        assert_eq!(object["confidence"], "likely");
        assert_eq!(object["evidence"][0]["ref"], "7");
        assert_eq!(object["cause"], "ND102");
        assert_eq!(object["consequences"][0], "ND701");
        assert_eq!(object["playbook"], "ND309");
    }
}
