//! ND903: what could not be read, and the rules that were therefore not evaluated.
use super::evaluate::{concerns, lacking};
use super::{Draft, RULES, Rule, View};
use crate::context::Unread;
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(903),
    name: "no-permission",
    severity: Severity::Info,
    title: "something could not be read, and rules were not evaluated for it",
    needs: &[],
    page: include_str!("../../../docs/playbooks/nd903_no_permission.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let unread = &view.context.unread;
    if unread.is_empty() {
        return;
    }
    let codes = silent(view);
    let mut parts: Vec<&str> = unread.iter().map(|one| one.part.name()).collect();
    parts.sort_unstable();
    parts.dedup();
    let listed: Vec<String> = codes.iter().map(ToString::to_string).collect();
    let title = match listed.is_empty() {
        true => format!("not read, or not wholly: {}", parts.join(", ")),
        false => format!(
            "not read: {}; not checked: {}",
            parts.join(", "),
            listed.join(" ")
        ),
    };
    let explanation = match listed.is_empty() {
        true => "Every rule was evaluated; some had less to look at.",
        false => {
            "The rules named were not evaluated: that they are silent says nothing. With what is \
             missing, run it again."
        }
    };
    let mut draft = Draft::new("unread", title)
        .because(explanation)
        .seen_all(unread.iter().map(evidence));
    let mut hints: Vec<&str> = unread
        .iter()
        .filter_map(|one| one.hint.as_deref())
        .collect();
    hints.dedup();
    for hint in hints {
        if !draft.fixes().iter().any(|known| known == hint) {
            draft = draft.fix(hint);
        }
    }
    found.push(draft);
}

fn evidence(unread: &Unread) -> Evidence {
    // Where the whole part is meant, its name is said once.
    let what = match unread.what == unread.part.name() {
        true => String::new(),
        false => unread.what.clone(),
    };
    Evidence::new(unread.part.name(), what, unread.why.clone())
}

/// Rules that lack a part that they need, packets aside.
fn silent(view: &View<'_>) -> Vec<Code> {
    RULES
        .iter()
        .filter(|rule| concerns(rule, view) && lacking(rule, view).next().is_some())
        .map(|rule| rule.code)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::context::Part;
    use crate::rules::evaluate;

    fn drafts(context: &Context) -> Vec<Draft> {
        let mut found = Vec::new();
        check(&View::new(context, None), &mut found);
        found
    }

    #[test]
    fn nothing_unread_is_nothing_said() {
        assert_eq!(drafts(&Context::default()), []);
    }

    #[test]
    fn what_is_unread_is_said_once_with_what_would_help() {
        let mut context = Context::default();
        context.lacks(
            Part::Routes,
            "netlink: EPERM",
            Some("run it as root".to_owned()),
        );
        context.lacks(
            Part::Firewall,
            "nft: EPERM",
            Some("run it as root".to_owned()),
        );
        let [draft] = &drafts(&context)[..] else {
            panic!("one finding is wanted");
        };
        assert!(
            draft.title.contains("firewall rules, routes"),
            "{}",
            draft.title
        );
        assert_eq!(draft.fixes(), ["run it as root"]);
        assert_eq!(draft.evidence.len(), 2);
    }

    #[test]
    fn the_rules_that_stay_silent_are_those_that_the_report_leaves_unchecked() {
        let mut context = Context::default();
        for part in [Part::Routes, Part::Registry, Part::Sysctls, Part::Links] {
            context.lacks(part, "refused", None);
        }
        let view = View::new(&context, None);
        let unchecked: Vec<Code> = evaluate(&view)
            .unchecked
            .iter()
            .map(|one| one.code)
            .collect();
        assert_eq!(silent(&view), unchecked);
    }
}
