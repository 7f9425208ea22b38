//! netdig's packets against tshark's, field by field.

use super::facts::{Facts, ours, theirs};
use super::pdml::dissect;
use super::program::packets;
use std::path::Path;

/// How far two readings of one file agree.
#[derive(Default)]
pub struct Agreement {
    pub frames: usize,
    pub frames_alike: usize,
    pub fields: usize,
    pub fields_alike: usize,
    /// One line a field that differs.
    pub different: Vec<String>,
}

/// A field (`*`: any) in which the two are known to differ, and why that is right.
pub struct Known {
    pub file: &'static str,
    pub frame: usize,
    pub field: &'static str,
    pub reason: &'static str,
}

/// Compares; `None` where there is no tshark.
pub fn compare(name: &str, file: &Path, known: &[Known]) -> Option<Agreement> {
    let ours: Vec<Facts> = packets(file).iter().map(ours).collect();
    let theirs: Vec<Facts> = dissect(file)?.iter().map(theirs).collect();
    assert_eq!(ours.len(), theirs.len(), "frames of {name}");
    let mut agreement = Agreement::default();
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        agreement.frame(name, at + 1, ours, theirs, known);
    }
    Some(agreement)
}

impl Agreement {
    fn frame(&mut self, name: &str, n: usize, ours: &Facts, theirs: &Facts, known: &[Known]) {
        let fields = ours
            .keys()
            .chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
        let is_query = ours.get("dns.qr").is_some_and(|qr| qr == "false");
        let before = self.different.len();
        for &field in fields {
            // tshark does not show a query's response code.
            if is_query && field == "dns.rcode" {
                continue;
            }
            self.fields += 1;
            let (ours, theirs) = (ours.get(field), theirs.get(field));
            let excused = known.iter().any(|known| {
                (known.file, known.frame) == (name, n) && ["*", field].contains(&known.field)
            });
            if ours == theirs || excused {
                self.fields_alike += 1;
                continue;
            }
            let text =
                |side: Option<&String>| side.map_or("(nothing)".to_owned(), |s| format!("{s:?}"));
            self.different.push(format!(
                "{name} frame {n} {field}: netdig {}, tshark {}",
                text(ours),
                text(theirs)
            ));
        }
        self.frames += 1;
        self.frames_alike += usize::from(self.different.len() == before);
    }

    pub fn add(&mut self, other: Agreement) {
        self.frames += other.frames;
        self.frames_alike += other.frames_alike;
        self.fields += other.fields;
        self.fields_alike += other.fields_alike;
        self.different.extend(other.different);
    }

    /// `1234 of 1234 fields (100.00 %)`, and of frames.
    pub fn share(&self) -> String {
        let percent = |alike: usize, all: usize| 100.0 * alike as f64 / all.max(1) as f64;
        format!(
            "{} of {} fields ({:.2} %), {} of {} frames ({:.2} %)",
            self.fields_alike,
            self.fields,
            percent(self.fields_alike, self.fields),
            self.frames_alike,
            self.frames,
            percent(self.frames_alike, self.frames),
        )
    }
}
