//! A finding as its rule writes it: the rule's own code, name and severity are added by
//! the evaluation.
use crate::finding::{Code, Confidence, Evidence};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub title: String,
    pub key: String,
    pub explanation: String,
    pub fix: Vec<String>,
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

    /// A command that cures it, or a comment line (`# …`) between commands.
    pub fn fix(mut self, command: impl Into<String>) -> Draft {
        self.fix.push(command.into());
        self
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
