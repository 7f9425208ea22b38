//! Whether what a scenario expects can be seen and concluded at all.

use super::source::{Part, Refusal, refuse};
use super::{By, Conclusion, Expectation, Scenario};

type Result<T = ()> = std::result::Result<T, Refusal>;

/// Numbers of netdig's findings, in the ranges of their groups.
const CODES: &[(u16, u16)] = &[
    (101, 108),
    (201, 210),
    (301, 306),
    (308, 310),
    (401, 409),
    (501, 510),
    (601, 614),
    (701, 706),
    (901, 904),
];

/// Kinds of objects of `netdig overlay --format json`, also those that a scenario
/// waits for. Findings are asked for as conclusions.
const KINDS: &[&str] = &["packet", "loss", "summary", "event", "key"];

impl Scenario {
    pub(super) fn check_expected(&self) -> Result {
        for (n, code) in self.finding.iter().enumerate() {
            check_code(vec!["finding".into(), n.into()], code)?;
        }
        for (n, code) in self.none.codes.iter().enumerate() {
            check_code(vec!["none".into(), "codes".into(), n.into()], code)?;
        }
        for (n, one) in self.conclusions.iter().enumerate() {
            let table = [Part::from("conclusion"), n.into()];
            check_code([&table[..], &["code".into()]].concat(), &one.code)?;
            if let Some(on) = &one.on {
                self.known(["conclusion".into(), n.into(), "on".into()], on)?;
            }
            self.check_watched(n, one)?;
        }
        for (n, expectation) in self.expectations.iter().enumerate() {
            check_expectation(n, expectation)?;
        }
        match &self.watch {
            Some(watch) => self.known(["watch".into(), "host".into()], &watch.host),
            None if self.expectations.is_empty() => Ok(()),
            None => refuse!(
                ["expect", 0],
                "this is about what `netdig overlay` shows, but there is no [watch] that starts it"
            ),
        }
    }

    /// Without [watch], nothing says how overlay is started, and where the others look.
    fn check_watched(&self, n: usize, conclusion: &Conclusion) -> Result {
        let code = &conclusion.code;
        match &self.watch {
            None if conclusion.by == By::Overlay => refuse!(
                ["conclusion", n, "by"],
                "netdig overlay is to conclude {code}, but there is no [watch] that says how it is started"
            ),
            None if conclusion.on.is_none() => refuse!(
                ["conclusion", n],
                "there is no [watch], so the conclusion {code} has to say `on` which host"
            ),
            _ => Ok(()),
        }
    }
}

fn check_code(path: Vec<Part>, code: &str) -> Result {
    let number = code.strip_prefix("ND").unwrap_or_default();
    let is_number = number.len() == 3 && number.bytes().all(|b| b.is_ascii_digit());
    let sentence = match number.parse::<u16>() {
        Ok(number) if is_number => {
            if CODES
                .iter()
                .any(|&(first, last)| (first..=last).contains(&number))
            {
                return Ok(());
            }
            let ranges = CODES.iter().map(|(first, last)| format!("{first}-{last}"));
            let ranges: Vec<_> = ranges.collect();
            format!(
                "netdig has no finding `{code}`; it has ND{}",
                ranges.join(", ")
            )
        }
        _ => format!("`{code}` is no code of a finding, such as ND101"),
    };
    Err(Refusal { path, sentence })
}

fn check_expectation(n: usize, expectation: &Expectation) -> Result {
    let kind = &expectation.kind;
    if kind == "finding" {
        refuse!(
            ["expect", n, "kind"],
            "a finding is asked for in a [[conclusion]], or in [none]"
        );
    }
    if !KINDS.contains(&kind.as_str()) {
        refuse!(
            ["expect", n, "kind"],
            "`{kind}` is no kind of what `netdig overlay` shows; there are: {}",
            KINDS.join(", ")
        );
    }
    let least = expectation.least();
    if let Some(most) = expectation.at_most
        && least > most
    {
        refuse!(
            ["expect", n, "at_most"],
            "it wants at least {least} and at most {most}: no number is both"
        );
    }
    for (path, value) in &expectation.fields {
        let instead = match value {
            toml::Value::Table(_) => {
                format!("a table; a dotted path is quoted in `where`: `\"{path}.…\" = …`")
            }
            toml::Value::Array(_) => "a list; name one value, which any element may be".to_owned(),
            toml::Value::Datetime(_) => {
                "a time; times are texts in JSON, so put it in quotes".to_owned()
            }
            _ => continue,
        };
        let name = Part::Name(path.clone());
        refuse!(
            ["expect", n, "where", name],
            "`{path}` is compared with {instead}"
        );
    }
    Ok(())
}
