//! All rules over one view: findings, linked by cause, and what could not be checked.
use std::collections::BTreeSet;

use super::{Draft, RULES, Rule, View};
use crate::context::Part;
use crate::finding::{Code, Finding};

/// What the rules say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The worst first, by code among equals.
    pub findings: Vec<Finding>,
    pub unchecked: Vec<Unchecked>,
}

/// A rule that was not evaluated, and the parts that it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    pub code: Code,
    pub lacks: Vec<Part>,
}

/// A rule that needs packets or services is no part of a look without any; a look at services
/// is not one at the host.
pub(super) fn concerns(rule: &Rule, view: &View<'_>) -> bool {
    let of_any_look = rule.code.0 >= 900;
    (view.traffic.is_some() || !rule.needs_packets())
        && (of_any_look || view.services.is_some() == rule.needs_services())
}

/// Evaluates every rule that is part of this look and has what it needs.
pub fn evaluate(view: &View<'_>) -> Report {
    let mut report = Report::default();
    for rule in RULES.iter().filter(|rule| concerns(rule, view)) {
        let lacks: Vec<Part> = lacking(rule, view).collect();
        match lacks.is_empty() {
            true => run(rule, view, &mut report.findings),
            false => report.unchecked.push(Unchecked {
                code: rule.code,
                lacks,
            }),
        }
    }
    link(&mut report.findings);
    report
        .findings
        .sort_by(|a, b| (b.severity, a.code, &a.key).cmp(&(a.severity, b.code, &b.key)));
    report
}

/// Parts that a rule needs and that were not read.
pub(super) fn lacking<'a>(rule: &'a Rule, view: &'a View<'_>) -> impl Iterator<Item = Part> + 'a {
    rule.needs
        .iter()
        .copied()
        .filter(|&part| ![Part::Packets, Part::Services].contains(&part))
        .filter(|&part| !view.context.has(part))
}

fn run(rule: &Rule, view: &View<'_>, findings: &mut Vec<Finding>) {
    let mut drafts = Vec::new();
    (rule.check)(view, &mut drafts);
    let mut keys = BTreeSet::new();
    for draft in drafts {
        // One of each key: what follows findings over time tells them apart by it.
        if keys.insert(draft.key.clone()) {
            findings.push(finding(rule, draft));
        }
    }
}

/// A draft with what its rule adds. `causes` are kept in `consequences` until [`link`].
fn finding(rule: &Rule, draft: Draft) -> Finding {
    Finding {
        fix: draft.fixes().to_vec(),
        code: rule.code,
        name: rule.name,
        severity: rule.severity,
        title: draft.title,
        explanation: draft.explanation,
        evidence: draft.evidence,
        confidence: draft.confidence,
        key: draft.key,
        consequences: draft.causes,
        cause: None,
    }
}

/// Turns "comes of" into cause and consequences: the first named cause that was found.
fn link(findings: &mut [Finding]) {
    let found: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let mut links = BTreeSet::new();
    for finding in findings.iter_mut() {
        let causes = std::mem::take(&mut finding.consequences);
        finding.cause = causes.into_iter().find(|cause| found.contains(cause));
        links.extend(finding.cause.map(|cause| (cause, finding.code)));
    }
    for finding in findings {
        let of_it = links.iter().filter(|(cause, _)| *cause == finding.code);
        finding.consequences = of_it.map(|(_, code)| *code).collect();
    }
}
