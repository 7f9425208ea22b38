//! A finding as its rule writes it: the rule's own code, name and severity are added by
//! the evaluation.
use crate::finding::{Code, Confidence, Evidence};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub title: String,
    pub key: String,
    pub explanation: String,
    /// Only [`fix`](Draft::fix) adds to it, so that no line of it has control characters.
    fix: Vec<String>,
    pub evidence: Vec<Evidence>,
    pub confidence: Confidence,
    /// Codes that this one comes of, where they are found in the same run.
    pub causes: Vec<Code>,
}

impl Draft {
    /// `key` tells it from others of its code; the title holds the concrete values.
    pub fn new(key: impl Into<String>, title: impl Into<String>) -> Draft {
        Draft {
            title: title.into(),
            key: key.into(),
            explanation: String::new(),
            fix: Vec::new(),
            evidence: Vec::new(),
            confidence: Confidence::Certain,
            causes: Vec::new(),
        }
    }

    /// Why it is so and what it leads to, in a few sentences.
    pub fn because(mut self, explanation: impl Into<String>) -> Draft {
        self.explanation = explanation.into();
        self
    }

    /// A command that cures it, or a comment line (`# …`) between commands. It is pasted as it
    /// is: a word from elsewhere is [`quoted`](super::renumber::quoted), and a control character
    /// is written out, since a line's end would make a command of what stands behind it.
    pub fn fix(mut self, command: impl Into<String>) -> Draft {
        let command: String = command.into();
        let command = match command.contains(char::is_control) {
            true => command.chars().map(written_out).collect(),
            false => command,
        };
        self.fix.push(command);
        self
    }

    pub fn fix_all(self, commands: impl IntoIterator<Item = String>) -> Draft {
        commands.into_iter().fold(self, Draft::fix)
    }

    /// The commands so far.
    pub fn fixes(&self) -> &[String] {
        &self.fix
    }

    pub fn seen(mut self, evidence: Evidence) -> Draft {
        self.evidence.push(evidence);
        self
    }

    pub fn seen_all(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Draft {
        self.evidence.extend(evidence);
        self
    }

    pub fn confidence(mut self, confidence: Confidence) -> Draft {
        self.confidence = confidence;
        self
    }

    /// Where `code` is found in the same run, this one is its consequence.
    pub fn comes_of(mut self, code: Code) -> Draft {
        self.causes.push(code);
        self
    }
}

fn written_out(c: char) -> String {
    match c.is_control() {
        true => format!("\\x{:02x}", u32::from(c)),
        false => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_fix_stays_one_line() {
        let draft = Draft::new("", "").fix("# its name is a\nrm -rf /\u{1b}");
        assert_eq!(draft.fix, ["# its name is a\\x0arm -rf /\\x1b"]);
    }
}
