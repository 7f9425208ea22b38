//! A scenario's file as it was written, for refusals that say where it is wrong.

use std::ops::Range;

use anyhow::{Error, anyhow};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::Wrong;

/// What is wrong with a scenario, and where in its tables.
#[derive(Debug)]
pub struct Refusal {
    pub path: Vec<Part>,
    pub sentence: String,
}

/// One part of the way from a file's root to a key, its value, or an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The value behind a key.
    Key(String),
    /// An element of a list, or one of several tables of the same name.
    Element(usize),
    /// A key itself; nothing stands behind it.
    Name(String),
}

impl From<&str> for Part {
    fn from(key: &str) -> Part {
        Part::Key(key.to_owned())
    }
}

impl From<usize> for Part {
    fn from(n: usize) -> Part {
        Part::Element(n)
    }
}

/// Returns a refusal of what is at a path, such as `["host", n, "subnet"]`.
macro_rules! refuse {
    ([$($part:expr),+ $(,)?], $($words:tt)+) => {
        return Err($crate::lab::scenario::source::Refusal {
            path: vec![$($part.into()),+],
            sentence: format!($($words)+),
        })
    };
}
pub(super) use refuse;

/// A file's name and text, and which of its variants is read.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub variant: Option<&'a str>,
}

impl Source<'_> {
    /// The tables of the file, each value with its place.
    pub fn tables(&self) -> Result<Spanned<DeTable<'_>>, Error> {
        DeTable::parse(self.text).map_err(|error| {
            let message = error.message().replace('\n', "; ");
            self.error(error.span(), &format!("this is no TOML: {message}"))
        })
    }

    /// What serde has to say, with the table and key that it is about.
    pub fn refused_by_serde(&self, error: &toml::de::Error) -> Error {
        let message = error.message().replace('\n', "; ");
        let (Some(span), Ok(tables)) = (error.span(), DeTable::parse(self.text)) else {
            return self.error(error.span(), &message);
        };
        let path = path_to(tables.get_ref(), &span);
        let about = about(tables.get_ref(), &path);
        self.error(Some(span), &format!("{about}{message}"))
    }

    pub fn refused(&self, refusal: &Refusal) -> Error {
        let sentence = &refusal.sentence;
        match DeTable::parse(self.text) {
            Ok(tables) => {
                let about = about(tables.get_ref(), &refusal.path);
                let span = span_of(tables.get_ref(), &refusal.path);
                self.error(Some(span), &format!("{about}{sentence}"))
            }
            Err(_) => self.error(None, sentence),
        }
    }

    /// What is wrong with a `${NAME}`, which is looked for where its text begins.
    pub fn wrong_value(&self, wrong: &Wrong) -> Error {
        let mut span = wrong.span.clone();
        let within = self.text.get(span.clone()).unwrap_or_default();
        let Ok(tables) = DeTable::parse(self.text) else {
            return self.error(Some(span), &wrong.sentence);
        };
        let path = path_to(tables.get_ref(), &span);
        let about = about(tables.get_ref(), &path);
        span.start += within.find(&wrong.text).unwrap_or_default();
        self.error(Some(span), &format!("{about}{}", wrong.sentence))
    }

    /// `FILE:LINE:COLUMN: MESSAGE`, both counted from 1, the column in characters.
    pub fn error(&self, span: Option<Range<usize>>, message: &str) -> Error {
        let (file, message) = (self.file, printable(message));
        let of = self
            .variant
            .map(|name| format!(" (in the variant `{name}`)"));
        let of = of.unwrap_or_default();
        let before = span.and_then(|span| self.text.get(..span.start.min(self.text.len())));
        let Some(before) = before else {
            return anyhow!("{file}: {message}{of}");
        };
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        let column = last.chars().count() + 1;
        anyhow!("{file}:{line}:{column}: {message}{of}")
    }
}

/// What a file says may be meant for the terminal, but not by the person at it.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// The table or list at the end of a path through the file, and one step further.
fn step<'t, 'i>(value: &'t DeValue<'i>, part: &Part) -> Option<&'t Spanned<DeValue<'i>>> {
    match part {
        Part::Key(key) => value.as_table()?.get(key.as_str()),
        Part::Element(n) => value.as_array()?.get(*n),
        Part::Name(_) => None,
    }
}

/// Where the end of `path` stands; where there is no such key, what it would be in.
fn span_of(tables: &DeTable<'_>, path: &[Part]) -> Range<usize> {
    let Some((Part::Key(first), rest)) = path.split_first() else {
        return 0..0;
    };
    let Some((key, value)) = tables.get_key_value(first.as_str()) else {
        return 0..0;
    };
    let (mut value, mut span) = (value, value.span());
    if span.is_empty() {
        span = key.span();
    }
    for part in rest {
        if let (Part::Name(name), Some(table)) = (part, value.get_ref().as_table()) {
            let key = table.get_key_value(name.as_str());
            return key.map_or(span, |(key, _)| key.span());
        }
        let Some(inner) = step(value.get_ref(), part) else {
            return span;
        };
        (value, span) = (inner, inner.span());
    }
    span
}

/// Which table and key a path is in: `[[host]] "a", \`subnet\`: `.
fn about(tables: &DeTable<'_>, path: &[Part]) -> String {
    let Some((Part::Key(first), rest)) = path.split_first() else {
        return String::new();
    };
    let value = tables.get(first.as_str());
    let is_table = value.is_some_and(|value| value.get_ref().is_table());
    let (table, rest) = match rest.split_first() {
        Some((Part::Element(n), rest)) if first != "finding" && first != "needs" => {
            let element = value.and_then(|value| step(value.get_ref(), &Part::Element(*n)));
            (format!("[[{first}]] {}", named(element, *n)), rest)
        }
        _ if is_table => (format!("[{first}]"), rest),
        _ => return format!("`{}`: ", dotted(path)),
    };
    match dotted(rest) {
        key if key.is_empty() => format!("{table}: "),
        key => format!("{table}, `{key}`: "),
    }
}

/// What a person would call the table: its name, or its number.
fn named(element: Option<&Spanned<DeValue<'_>>>, n: usize) -> String {
    let table = element.and_then(|element| element.get_ref().as_table());
    let text = |key| table?.get(key)?.get_ref().as_str();
    let name = ["name", "key", "what", "code"].into_iter().find_map(text);
    match (name, text("kind")) {
        (Some(name), _) => format!("\"{name}\""),
        (None, Some(kind)) => format!("number {} (kind \"{kind}\")", n + 1),
        (None, None) => format!("number {}", n + 1),
    }
}

/// The keys of a path; its last is left out where it is itself what is wrong.
fn dotted(path: &[Part]) -> String {
    let mut text = String::new();
    for part in path {
        match part {
            Part::Key(key) if text.is_empty() => text.push_str(key),
            Part::Key(key) => text += &format!(".{key}"),
            Part::Element(n) => text += &format!("[{n}]"),
            Part::Name(_) => {}
        }
    }
    text
}

/// The way to what is at `span`: the smallest key or value that holds its begin.
fn path_to(tables: &DeTable<'_>, span: &Range<usize>) -> Vec<Part> {
    let mut best = (usize::MAX, Vec::new());
    look_in_table(tables, &mut Vec::new(), span.start, &mut best);
    best.1
}

fn look_in_table(
    table: &DeTable<'_>,
    path: &mut Vec<Part>,
    at: usize,
    best: &mut (usize, Vec<Part>),
) {
    for (key, value) in table {
        path.push(Part::Name(key.get_ref().to_string()));
        keep(&key.span(), path, at, best);
        path.pop();
        path.push(Part::Key(key.get_ref().to_string()));
        look_in_value(value, path, at, best);
        path.pop();
    }
}

fn look_in_value(
    value: &Spanned<DeValue<'_>>,
    path: &mut Vec<Part>,
    at: usize,
    best: &mut (usize, Vec<Part>),
) {
    keep(&value.span(), path, at, best);
    match value.get_ref() {
        DeValue::Table(table) => look_in_table(table, path, at, best),
        DeValue::Array(elements) => {
            for (n, element) in elements.iter().enumerate() {
                path.push(Part::Element(n));
                look_in_value(element, path, at, best);
                path.pop();
            }
        }
        _ => {}
    }
}

fn keep(span: &Range<usize>, path: &[Part], at: usize, best: &mut (usize, Vec<Part>)) {
    if span.contains(&at) && span.len() <= best.0 {
        *best = (span.len(), path.to_vec());
    }
}
