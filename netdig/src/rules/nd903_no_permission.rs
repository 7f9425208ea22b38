//! ND903: what could not be read, and the rules that were therefore not evaluated.
use super::evaluate::{concerns, lacking};
use super::{Draft, RULES, Rule, View};
use crate::context::Unread;
use crate::context::flannel;
use crate::context::registry::flannel_prefixes;
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

/// Keys and lines that are listed one by one.
const SHOWN: usize = 8;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    found.extend(misunderstood(view));
    let unread = &view.context.unread;
    if unread.is_empty() {
        return;
    }
    let codes = silent(view);
    let mut parts: Vec<&str> = unread.iter().map(|one| one.part.name()).collect();
    parts.sort_unstable();
    parts.dedup();
    let listed: Vec<String> = codes.iter().map(ToString::to_string).collect();
    // One reason is the answer itself: `the cluster has no quorum`.
    let why = match &unread[..] {
        [one] => format!(": {}", spoken(one)),
        _ => String::new(),
    };
    let title = match listed.is_empty() {
        true => format!("not read, or not wholly: {}{why}", parts.join(", ")),
        false => format!(
            "not read: {}{why}; not checked: {}",
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

/// What was read and is not what it should be, each with what follows of it.
fn misunderstood(view: &View<'_>) -> Option<Draft> {
    let context = view.context;
    let keys = flannel::malformed(&context.registry, &flannel_prefixes(context));
    let config = keys.iter().any(|one| one.is_config);
    let keys = keys
        .iter()
        .map(|one| Evidence::new(one.origin.source(), one.origin.place(), one.why.clone()));
    let lines = context.files.subnet_env.iter().flat_map(|file| {
        let place = |line: &u32| format!("{}:{line}", file.file);
        let lines = file.broken.iter();
        lines.map(move |(line, why)| Evidence::new("file", place(line), why.clone()))
    });
    let all: Vec<Evidence> = keys.chain(lines).collect();
    let first = all.first()?;
    let more = match all.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let title = format!(
        "{} {}{more} cannot be understood: {}",
        first.source, first.place, first.what
    );
    let explanation = match config {
        true => {
            "flanneld does not start with a configuration that it cannot read, or keeps the one it \
             started with. netdig knows the network by what else tells of it, or not at all: rules \
             on its keys are silent for that."
        }
        false => {
            "flanneld, docker and CNI pass over what they cannot read: a lease that says nothing \
             gets no route, and a line of a file is as if it were not there. Rules on it are \
             silent for that."
        }
    };
    let fixes = all.iter().take(SHOWN).map(|one| match one.source.as_str() {
        "file" => format!(
            "# look at {}: flanneld writes it anew when it starts",
            one.place
        ),
        _ => format!(
            "# look at {}: correct it, or delete it if it is nobody's",
            one.place
        ),
    });
    let fixes: Vec<String> = fixes.collect();
    Some(
        Draft::new("not understood", title)
            .because(explanation)
            .seen_all(all.into_iter().take(SHOWN))
            .fix_all(fixes),
    )
}

fn evidence(unread: &Unread) -> Evidence {
    Evidence::new(unread.part.name(), of_part(unread), unread.why.clone())
}

/// What of a part it was; nothing where the whole part is meant, whose name is said already.
fn of_part(unread: &Unread) -> &str {
    match unread.what == unread.part.name() {
        true => "",
        false => &unread.what,
    }
}

fn spoken(unread: &Unread) -> String {
    match of_part(unread) {
        "" => unread.why.clone(),
        what => format!("{what}: {}", unread.why),
    }
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

    fn titles(text: &str) -> Vec<String> {
        let found = crate::rules::testing::findings(text, 903);
        found.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn keys_of_flannels_that_nobody_understands() {
        let config = r#"key v3 /coreos.com/network/config {"Network":"10.5.0.0/16"}"#;
        for (key, why) in [
            (
                "key v2 /coreos.com/network/config garbage",
                "is not what flannel writes",
            ),
            (
                r#"key v2 /coreos.com/network/config {"Network":"300.1.0.0/16"}"#,
                "Network `300.1.0.0/16`",
            ),
            (
                r#"key v2 /coreos.com/network/config {"Network":7}"#,
                "is not what flannel writes",
            ),
            (
                "key v2 /coreos.com/network/config",
                "is not what flannel writes",
            ),
        ] {
            let found = titles(key);
            assert_eq!(found.len(), 1, "{key}");
            let start = "etcd v2 /coreos.com/network/config @ 4711 cannot be understood: ";
            assert!(
                found[0].starts_with(start) && found[0].contains(why),
                "{found:?}"
            );
        }
        for key in ["300.1.0.0-24", "nonsense"] {
            let lease =
                format!(r#"key v3 /coreos.com/network/subnets/{key} {{"PublicIP":"10.1.1.9"}}"#);
            let found = titles(&format!("{config}\n{lease}"));
            assert!(found[0].contains("is no subnet"), "{found:?}");
        }
    }

    #[test]
    fn keys_of_others_are_none_of_its_business() {
        for key in [
            "key v3 /skydns/config garbage",
            "key v3 /app/config",
            r#"key v3 /app/config {"Network":"tcp"}"#,
            "key v3 /app/subnets/nonsense x",
            r#"key v3 /coreos.com/network/config {"Network":"10.5.0.0/16"}"#,
            r#"key v3 /coreos.com/network/config {"network":"10.5.0.0/16","backend":{"type":"vxlan"}}"#,
            r#"key v3 /coreos.com/network/subnets/10.5.1.0-24 {"PublicIP":"10.1.1.9","BackendType":"extension","BackendData":"x"}"#,
        ] {
            assert!(titles(key).is_empty(), "{key}");
        }
    }

    #[test]
    fn lines_of_a_subnet_env() {
        let mut context = Context::default();
        context
            .files
            .subnet_env
            .push(crate::context::files::SubnetEnv {
                file: "/run/flannel/subnet.env".to_owned(),
                broken: vec![(3, "FLANNEL_MTU cannot be `x`".to_owned())],
                ..Default::default()
            });
        let title = &drafts(&context)[0].title;
        assert_eq!(
            title,
            "file /run/flannel/subnet.env:3 cannot be understood: FLANNEL_MTU cannot be `x`"
        );
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
