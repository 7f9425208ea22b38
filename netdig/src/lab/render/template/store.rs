//! The keys that a template can ask for, as confd's store answers.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::value::Value;

/// Keys below the prefix, each with a leading slash, and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store(pub BTreeMap<String, String>);

impl Store {
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub fn value(&self, key: &str) -> Result<&str> {
        match self.0.get(key) {
            Some(value) => Ok(value),
            None => bail!("key does not exist: {key}"),
        }
    }

    pub fn pair(&self, key: &str) -> Result<Value> {
        Ok(pair(key, self.value(key)?))
    }

    /// Pairs whose keys match a shell pattern, by key.
    pub fn pairs(&self, pattern: &str) -> Result<Vec<Value>> {
        Ok(self
            .matching(pattern)?
            .map(|(key, value)| pair(key, value))
            .collect())
    }

    /// The values of such pairs, sorted.
    pub fn values(&self, pattern: &str) -> Result<Vec<String>> {
        let mut values: Vec<_> = self
            .matching(pattern)?
            .map(|(_, value)| value.clone())
            .collect();
        values.sort();
        Ok(values)
    }

    fn matching<'a>(
        &'a self,
        pattern: &str,
    ) -> Result<impl Iterator<Item = (&'a String, &'a String)>> {
        let pattern: Vec<char> = pattern.chars().collect();
        let mut found = Vec::new();
        for (key, value) in &self.0 {
            if matches(&pattern, &key.chars().collect::<Vec<_>>())? {
                found.push((key, value));
            }
        }
        Ok(found.into_iter())
    }

    /// Names right below `folder`, keys and folders; of a key its own last part.
    pub fn names(&self, folder: &str) -> BTreeSet<String> {
        let below = format!("{}/", folder.trim_end_matches('/'));
        let name = |key: &String| {
            if key == folder {
                return key.rsplit('/').next().map(str::to_owned);
            }
            let rest = key.strip_prefix(&below)?;
            rest.split('/').next().map(str::to_owned)
        };
        self.0.keys().filter_map(name).collect()
    }

    /// Names of the folders right below `folder`.
    pub fn folders(&self, folder: &str) -> BTreeSet<String> {
        let below = format!("{}/", folder.trim_end_matches('/'));
        let keys = self.0.keys();
        keys.filter_map(|key| key.strip_prefix(&below)?.split_once('/'))
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

fn pair(key: &str, value: &str) -> Value {
    Value::Pair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Go's `path.Match`: `*` and `?` do not match a slash, `[a-z]` and `[^a-z]`
/// one character, a backslash takes the next as it is.
fn matches(pattern: &[char], text: &[char]) -> Result<bool> {
    let Some((first, rest)) = pattern.split_first() else {
        return Ok(text.is_empty());
    };
    match (first, text.split_first()) {
        ('*', _) => {
            let longest = text.iter().take_while(|&&c| c != '/').count();
            for len in 0..=longest {
                if matches(rest, &text[len..])? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ('[', found) => {
            let (class, after) = class(rest)?;
            match found {
                Some((&c, text)) if c != '/' && class.has(c) => matches(after, text),
                _ => Ok(false),
            }
        }
        ('?', Some((&c, text))) if c != '/' => matches(rest, text),
        ('\\', found) => match (rest.split_first(), found) {
            (None, _) => bail!("syntax error in pattern"),
            (Some((wanted, rest)), Some((c, text))) if wanted == c => matches(rest, text),
            _ => Ok(false),
        },
        (wanted, Some((c, text))) if wanted == c && *wanted != '?' => matches(rest, text),
        _ => Ok(false),
    }
}

struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn has(&self, c: char) -> bool {
        let within = self.ranges.iter().any(|&(low, high)| low <= c && c <= high);
        within != self.negated
    }
}

/// What stands in brackets, and what is behind them.
fn class(pattern: &[char]) -> Result<(Class, &[char])> {
    let (negated, mut rest) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut ranges = Vec::new();
    loop {
        match rest {
            [']', after @ ..] if !ranges.is_empty() => {
                return Ok((Class { negated, ranges }, after));
            }
            [low, '-', high, after @ ..] if *high != ']' => {
                ranges.push((*low, *high));
                rest = after;
            }
            ['\\', c, after @ ..] | [c, after @ ..] if *c != '\\' && *c != ']' => {
                ranges.push((*c, *c));
                rest = after;
            }
            _ => bail!("syntax error in pattern"),
        }
    }
}
