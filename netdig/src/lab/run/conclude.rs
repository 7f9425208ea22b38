//! What netdig's commands conclude about a lab, and what they were to conclude.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::super::Lab;
use super::super::expect::{Outcome, Verdict};
use super::super::scenario::{By, Conclusion, Scenario, Severity};
use super::watcher::{self, Format, Watcher};

/// The commands of netdig that name findings. What a scenario wants of another
/// is not seen.
const CONCLUDING: &[By] = &[By::Overlay, By::Doctor];

/// Whether it looks on while there is traffic, or once after it.
const fn looks_on(by: By) -> bool {
    match by {
        By::Overlay | By::EtcdWatch => true,
        By::Doctor => false,
    }
}

/// A finding, and who says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    by: By,
    on: String,
    finding: Finding,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Finding {
    #[serde(default)]
    code: String,
    #[serde(default)]
    title: String,
    severity: Option<Severity>,
}

/// Commands that look on, each with the host that it looks at.
pub struct Watchers {
    person: Option<Watcher>,
    machines: Vec<(By, String, Watcher)>,
}

/// What was seen: the objects of the `netdig overlay` that [watch] names, and the
/// findings of all.
#[derive(Default)]
pub struct Seen {
    pub objects: Vec<Value>,
    pub said: Vec<Said>,
}

/// The commands to be run, with the hosts that they look at.
fn wanted(scenario: &Scenario) -> BTreeSet<(By, String)> {
    let watched = scenario.watch.as_ref().map(|watch| watch.host.clone());
    let mut wanted: BTreeSet<_> = scenario
        .conclusions
        .iter()
        .filter(|one| CONCLUDING.contains(&one.by))
        // Only [watch] says how overlay is started.
        .filter(|one| one.by != By::Overlay || watched.is_some())
        .filter_map(|one| Some((one.by, one.on.clone().or_else(|| watched.clone())?)))
        .collect();
    for by in [By::Overlay, By::Doctor] {
        wanted.extend(watched.clone().map(|host| (by, host)));
    }
    wanted
}

impl Watchers {
    /// Starts those that look on, and waits until they do; for a person also the one
    /// that [watch] names, on standard output.
    pub fn start(lab: &Lab, for_a_person: bool) -> Result<Watchers> {
        let watch = lab.scenario().watch.as_ref();
        let arguments = |by| match (by, watch) {
            (By::Overlay, Some(watch)) => &watch.arguments[..],
            _ => &[],
        };
        // Attaching takes long: all at the same time.
        let mut machines = Vec::new();
        for (by, host) in wanted(lab.scenario()) {
            if looks_on(by) {
                let watcher =
                    Watcher::start(lab, by.command(), &host, arguments(by), Format::Json)?;
                machines.push((by, host, watcher));
            }
        }
        let mut person = match watch.filter(|_| for_a_person) {
            Some(watch) => {
                let (overlay, host) = (By::Overlay, &watch.host);
                let arguments = arguments(overlay);
                let text = Format::Text;
                Some(Watcher::start(
                    lab,
                    overlay.command(),
                    host,
                    arguments,
                    text,
                )?)
            }
            None => None,
        };
        let all = machines.iter_mut().map(|(.., watcher)| watcher);
        all.chain(&mut person).try_for_each(Watcher::attached)?;
        Ok(Watchers { person, machines })
    }

    /// Ends those that looked on, then runs those that look once.
    pub fn end(self, lab: &Lab) -> Result<Seen> {
        if let Some(person) = self.person {
            person.end()?;
        }
        let watched = lab.scenario().watch.as_ref().map(|watch| &watch.host);
        let mut seen = Seen::default();
        for (by, host, watcher) in self.machines {
            let objects = watcher.end()?;
            seen.said.extend(findings(by, &host, &objects));
            if by == By::Overlay && watched == Some(&host) {
                seen.objects = objects;
            }
        }
        for (by, host) in wanted(lab.scenario()) {
            if !looks_on(by) {
                let objects = watcher::once(lab, by.command(), &host)?;
                seen.said.extend(findings(by, &host, &objects));
            }
        }
        Ok(seen)
    }
}

fn findings(by: By, on: &str, objects: &[Value]) -> Vec<Said> {
    objects
        .iter()
        .filter(|object| object["kind"] == "finding")
        .map(|object| Said {
            by,
            on: on.to_owned(),
            // One without a known severity still has its code.
            finding: Finding::deserialize(object).unwrap_or_else(|_| Finding {
                code: object["code"].as_str().unwrap_or_default().to_owned(),
                title: object["title"].as_str().unwrap_or_default().to_owned(),
                severity: None,
            }),
        })
        .collect()
}

/// Compares what was said with what was to be said, and not to be.
pub fn judge(scenario: &Scenario, said: &[Said]) -> Vec<Verdict> {
    let watched = scenario.watch.as_ref().map(|watch| watch.host.as_str());
    let mut verdicts: Vec<_> = scenario
        .conclusions
        .iter()
        .map(|wanted| conclusion(wanted, watched, said))
        .collect();
    let none = &scenario.none;
    let silent = wanted(scenario).is_empty();
    if !none.codes.is_empty() {
        let what = format!("{} is not concluded", none.codes.join(" or "));
        let unwanted = |one: &Said| none.codes.contains(&one.finding.code);
        let unwanted = said.iter().filter(|one| unwanted(one));
        verdicts.push(absent(what, unwanted, silent));
    }
    if let Some(from) = none.from {
        let what = format!("no conclusion is of severity {} or above", from.name());
        let unwanted = |one: &Said| one.finding.severity.is_none_or(|is| is >= from);
        let unwanted = said.iter().filter(|one| unwanted(one));
        verdicts.push(absent(what, unwanted, silent));
    }
    verdicts
}

fn conclusion(wanted: &Conclusion, watched: Option<&str>, said: &[Said]) -> Verdict {
    let on = wanted.on.as_deref().or(watched).unwrap_or_default();
    let fits = |one: &&Said| {
        one.by == wanted.by
            && one.on == on
            && one.finding.code == wanted.code
            && wanted
                .title
                .iter()
                .all(|text| one.finding.title.contains(text))
    };
    let count = said.iter().filter(fits).count();
    let titles = match &wanted.title[..] {
        [] => String::new(),
        texts => format!(" (`{}`)", texts.join("`, `")),
    };
    let command = wanted.by.command();
    let result = Outcome::of(count > 0, wanted.pending);
    let mut seen: Vec<_> = said.iter().map(shown).collect();
    if !CONCLUDING.contains(&wanted.by) {
        seen.push(format!("there is no `netdig {command}` yet"));
    }
    Verdict {
        what: format!("{command} on {on} concludes {}{titles}", wanted.code),
        count,
        wanted: "at least 1".to_owned(),
        result,
        seen: match result {
            Outcome::Fails => seen,
            _ => Vec::new(),
        },
    }
}

/// `silent`: no command ran that could have said anything.
fn absent<'a>(what: String, unwanted: impl Iterator<Item = &'a Said>, silent: bool) -> Verdict {
    let seen: Vec<_> = unwanted.map(shown).collect();
    Verdict {
        what,
        count: seen.len(),
        wanted: "none".to_owned(),
        result: match silent {
            true => Outcome::NotJudged,
            false => Outcome::of(seen.is_empty(), false),
        },
        seen,
    }
}

fn shown(said: &Said) -> String {
    let Said { by, on, finding } = said;
    format!(
        "{} on {on}: {} {}",
        by.command(),
        finding.code,
        finding.title
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scenario(expected: &str) -> Scenario {
        let text = format!(
            "title = 'x'\nstory = 'x'\n[[host]]\nname = 'a'\naddresses = ['10.0.0.1/24']\n\
             [watch]\nhost = 'a'\narguments = []\n{expected}"
        );
        super::super::super::scenario::read("x", "x.toml", &text).unwrap()
    }

    fn results(expected: &str) -> Vec<Outcome> {
        let objects = [
            json!({"kind": "packet"}),
            json!({"kind": "finding", "code": "ND101", "title": "10.1.0.0/16 lies over it", "severity": "high"}),
            json!({"kind": "finding", "code": "ND901", "title": "aside", "severity": "info"}),
        ];
        let said = findings(By::Overlay, "a", &objects);
        let verdicts = judge(&scenario(expected), &said);
        verdicts.iter().map(|verdict| verdict.result).collect()
    }

    #[test]
    fn a_conclusion_is_seen_by_its_command_with_its_code_and_title() {
        let overlay = "[[conclusion]]\nby = 'overlay'\n";
        for (expected, wanted) in [
            ("code = 'ND101'", Outcome::Holds),
            (
                "code = 'ND101'\ntitle = ['10.1.0.0/16', 'over']",
                Outcome::Holds,
            ),
            (
                "code = 'ND101'\ntitle = ['10.1.0.0/16', 'under']",
                Outcome::Fails,
            ),
            ("code = 'ND101'\npending = true", Outcome::PendingHolds),
            ("code = 'ND102'", Outcome::Fails),
            ("code = 'ND102'\npending = true", Outcome::Pending),
        ] {
            assert_eq!(
                results(&format!("{overlay}{expected}")),
                [wanted],
                "{expected}"
            );
        }
        assert_eq!(
            results("[[conclusion]]\ncode = 'ND101'\nby = 'etcd-watch'"),
            [Outcome::Fails]
        );
    }

    #[test]
    fn what_must_not_be_said_fails_when_it_is() {
        for (expected, wanted) in [
            ("codes = ['ND101']", &[Outcome::Fails][..]),
            ("codes = ['ND102']", &[Outcome::Holds]),
            ("from = 'high'", &[Outcome::Fails]),
            ("from = 'critical'", &[Outcome::Holds]),
            (
                "codes = ['ND102']\nfrom = 'info'",
                &[Outcome::Holds, Outcome::Fails],
            ),
        ] {
            assert_eq!(
                results(&format!("[none]\n{expected}")),
                wanted,
                "{expected}"
            );
        }
    }

    #[test]
    fn what_nobody_could_say_is_not_judged() {
        let text = "title = 'x'\nstory = 'x'\n[[host]]\nname = 'a'\n\
            addresses = ['10.0.0.1/24']\n[none]\ncodes = ['ND101']\nfrom = 'info'";
        let scenario = super::super::super::scenario::read("x", "x.toml", text).unwrap();
        let verdicts = judge(&scenario, &[]);
        let results: Vec<_> = verdicts.iter().map(|verdict| verdict.result).collect();
        assert_eq!(results, [Outcome::NotJudged; 2]);
    }

    #[test]
    fn only_commands_that_exist_are_run_and_each_once_for_a_host() {
        let both =
            "[[conclusion]]\ncode = 'ND101'\n[[conclusion]]\ncode = 'ND102'\nby = 'overlay'\n";
        let wanted = wanted(&scenario(both));
        assert!(wanted.iter().all(|(by, _)| CONCLUDING.contains(by)));
        assert_eq!(
            wanted.iter().filter(|(by, _)| *by == By::Overlay).count(),
            1
        );
    }
}
