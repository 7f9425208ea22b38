//! What came of one run.

use serde::{Deserialize, Serialize};

use super::super::expect::{Outcome, Verdict};
use super::LogEnd;

/// One run of one scenario. As JSON it is what the `netdig lab run` of many
/// scenarios hears from those that it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario, with its variant behind a slash.
    pub name: String,
    pub title: String,
    pub lab: String,
    pub result: Ending,
    /// From the first look at it until nothing of it is left.
    pub seconds: f64,
    pub expectations: Vec<Verdict>,
    /// All that is not as expected, a sentence each.
    pub failures: Vec<String>,
    /// Where it failed: the ends of the lab's logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogEnd>,
    /// Why it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All as expected.
    Ok,
    Failed,
    /// A program that it needs is missing.
    Skipped,
}

impl Report {
    /// One that has not come to its end.
    pub fn unfinished(name: &str, title: &str, lab: &str, ending: Ending, why: String) -> Report {
        let (failures, reason) = match ending {
            Ending::Skipped => (Vec::new(), Some(why)),
            Ending::Ok | Ending::Failed => (vec![why], None),
        };
        Report {
            name: name.to_owned(),
            title: title.to_owned(),
            lab: lab.to_owned(),
            result: ending,
            seconds: 0.0,
            expectations: Vec::new(),
            failures,
            logs: Vec::new(),
            reason,
        }
    }

    pub fn count(&self, result: Outcome) -> usize {
        let verdicts = self.expectations.iter();
        verdicts.filter(|verdict| verdict.result == result).count()
    }

    /// `10 expectations, 2 pending, 1 not judged`.
    pub fn counts(&self) -> String {
        let mut text = format!("{} expectations", self.expectations.len());
        for (result, word) in [
            (Outcome::Pending, "pending"),
            (Outcome::NotJudged, "not judged"),
        ] {
            match self.count(result) {
                0 => {}
                n => text += &format!(", {n} {word}"),
            }
        }
        text
    }
}
