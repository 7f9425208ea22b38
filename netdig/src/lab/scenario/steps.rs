//! Commands that do a part of a scenario's fault, or make its traffic.

use serde::Deserialize;

/// A command that does a part of the fault, or makes traffic, and what is to
/// come of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// One line, for the report; else the command is shown.
    pub what: Option<String>,
    /// Host or container that it runs in.
    pub on: String,
    pub run: Vec<String>,
    #[serde(default)]
    pub outcome: Outcome,
    /// Seconds until it is stopped and counts as hanging.
    #[serde(default = "ten")]
    pub deadline_s: u32,
    /// Must be in what it prints.
    pub prints: Option<String>,
    /// Must not be in what it prints.
    pub prints_not: Option<String>,
    /// Seconds in which it is tried again until it comes out so.
    pub until: Option<u32>,
    /// Whether it runs on until the end.
    #[serde(default)]
    pub background: bool,
}

const fn ten() -> u32 {
    10
}

impl Step {
    /// The command as a person would type it.
    pub fn shell(&self) -> String {
        shell(&self.run)
    }
}

/// Words as a person would type them.
pub fn shell(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./:@+=,".contains(&b))
    };
    let quoted = words.iter().map(|word| match plain(word) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Exit code 0.
    #[default]
    Succeeds,
    /// Another exit code.
    Fails,
    /// Still there at the deadline.
    Hangs,
}
