//! What netdig concludes: a finding with its evidence, and what cures it.
use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A finding's code, `ND101`. Codes never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ND{:03}", self.0)
    }
}

impl FromStr for Code {
    type Err = String;

    /// Takes `ND101`, `nd101` and `101`.
    fn from_str(text: &str) -> Result<Code, String> {
        let digits = match text.get(..2) {
            Some(head) if head.eq_ignore_ascii_case("nd") => &text[2..],
            _ => text,
        };
        match digits.parse() {
            Ok(number) if digits.len() == 3 && digits.as_bytes()[0] != b'+' => Ok(Code(number)),
            _ => Err(format!("`{text}` is no code of a finding; ND101 is one")),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How bad it is, mildest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    Medium,
    /// It will break, or already breaks some traffic.
    High,
    /// Traffic is lost or goes astray now.
    Critical,
}

impl Severity {
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// How sure the conclusion is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Events were lost in the window, or a part that could refute it was unread.
    Inconclusive,
    /// Concluded from signs: nobody was asked who knows.
    Likely,
    /// What is said was read from where it is decided.
    Certain,
}

impl Confidence {
    pub const fn name(self) -> &'static str {
        match self {
            Confidence::Inconclusive => "inconclusive",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }
}

/// One fact, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it says: `overlay network 10.1.0.0/16, backend udp`.
    pub what: String,
    /// Kind of place: `route`, `rule`, `link`, `address`, `neighbour`, `fdb`, `sysctl`, `firewall`,
    /// `counter`, `socket`, `file`, `etcd v2`, `etcd v3`, `packet`, `process`, `look-up`.
    pub source: String,
    /// The place itself: `10.1.0.0/16 dev flannel0 metric 0 (table main)`,
    /// `/coreos.com/network/config @ 4711`, `/etc/resolv.conf:3`, `12`.
    #[serde(rename = "ref", default, skip_serializing_if = "String::is_empty")]
    pub place: String,
}

impl Evidence {
    pub fn new(
        source: impl Into<String>,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Evidence {
        Evidence {
            what: what.into(),
            source: source.into(),
            place: place.into(),
        }
    }
}

/// A conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub name: &'static str,
    pub severity: Severity,
    /// One line with the concrete values.
    pub title: String,
    pub explanation: String,
    /// Commands to type, with this host's own names in them.
    pub fix: Vec<String>,
    pub evidence: Vec<Evidence>,
    pub confidence: Confidence,
    /// What tells it from others of its code: the same key again is the same finding,
    /// with other evidence.
    pub key: String,
    /// Codes of findings of this run that come of this one.
    pub consequences: Vec<Code>,
    /// The finding of this run that this one comes of.
    pub cause: Option<Code>,
}

impl Finding {
    /// Name of its page in docs/playbooks, as `netdig explain` takes it.
    pub fn playbook(&self) -> String {
        self.code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them() {
        for text in ["ND101", "nd101", "Nd101", "101"] {
            assert_eq!(text.parse(), Ok(Code(101)), "{text}");
        }
        for text in [
            "", "ND", "ND1", "ND1010", "ND+01", "+01", "ND10a", "ÄND101", "N101",
        ] {
            assert!(text.parse::<Code>().is_err(), "{text}");
        }
        assert_eq!(Code(101).to_string(), "ND101");
    }

    #[test]
    fn the_worst_is_greatest() {
        assert!(Severity::Critical > Severity::High && Severity::Medium > Severity::Info);
        assert!(Confidence::Certain > Confidence::Likely);
    }
}
