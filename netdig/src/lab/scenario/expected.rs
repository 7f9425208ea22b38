//! How a scenario is watched, and what is to be seen and concluded.

use std::collections::BTreeMap;

use serde::Deserialize;

pub use crate::finding::Severity;

/// How `netdig overlay` is started for this scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Host whose traffic is looked at; given to netdig as `--netns`.
    pub host: String,
    /// More of netdig's arguments.
    pub arguments: Vec<String>,
}

/// What netdig's JSON lines must, or must not, show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What it is about, for the report.
    pub what: String,
    /// `kind` of the objects that count.
    pub kind: String,
    /// Dotted paths and the values to be found there; in an array any element may fit.
    #[serde(rename = "where", default)]
    pub fields: BTreeMap<String, toml::Value>,
    /// Dotted paths that must hold something.
    #[serde(default)]
    pub present: Vec<String>,
    at_least: Option<usize>,
    pub at_most: Option<usize>,
    /// Not concluded yet: failing is counted and forgiven, holding is an error.
    #[serde(default)]
    pub pending: bool,
}

impl Expectation {
    /// How many have to fit: one, where none may not.
    pub fn least(&self) -> usize {
        self.at_least
            .unwrap_or(usize::from(self.at_most != Some(0)))
    }
}

/// A finding that netdig has to name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conclusion {
    pub code: String,
    #[serde(default)]
    pub by: By,
    /// Host that the command looks at.
    pub on: Option<String>,
    /// Texts that the title must hold.
    #[serde(default)]
    pub title: Vec<String>,
    #[serde(default)]
    pub pending: bool,
}

/// The command that is to say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    Overlay,
    #[default]
    Doctor,
    EtcdWatch,
}

impl By {
    pub const fn command(self) -> &'static str {
        match self {
            By::Overlay => "overlay",
            By::Doctor => "doctor",
            By::EtcdWatch => "etcd-watch",
        }
    }
}

/// What must not be concluded.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Absent {
    pub codes: Vec<String>,
    /// Nothing of this severity or above.
    pub from: Option<Severity>,
}
