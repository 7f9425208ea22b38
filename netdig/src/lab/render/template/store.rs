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
///
/// A star takes as little as it can, and only the last one is tried with more: what an
/// earlier one could take instead, the last one can too. A slash that the last one would
/// have to take ends it, since no earlier one can take it either.
fn matches(pattern: &[char], text: &[char]) -> Result<bool> {
    let (mut pattern, mut text) = (pattern, text);
    // Behind the last star, and what it has not taken yet.
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        if let ['*', rest @ ..] = pattern {
            pattern = rest;
            star = Some((pattern, text));
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return Ok(true);
        }
        if let Some(rest) = one(pattern, text.first().copied())? {
            (pattern, text) = (rest, &text[1..]);
            continue;
        }
        match star {
            Some((behind, [taken, left @ ..])) if *taken != '/' => {
                star = Some((behind, left));
                (pattern, text) = (behind, left);
            }
            _ => return Ok(false),
        }
    }
}

/// What of the pattern is behind its first part, which is no star, where that
/// matches `c`.
fn one(pattern: &[char], c: Option<char>) -> Result<Option<&[char]>> {
    let (fits, rest) = match pattern {
        [] => return Ok(None),
        ['[', rest @ ..] => {
            let (class, after) = class(rest)?;
            (c.is_some_and(|c| c != '/' && class.has(c)), after)
        }
        ['?', rest @ ..] => (c.is_some_and(|c| c != '/'), rest),
        ['\\'] => bail!("syntax error in pattern"),
        ['\\', wanted, rest @ ..] | [wanted, rest @ ..] => (c == Some(*wanted), rest),
    };
    Ok(fits.then_some(rest))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> Option<bool> {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        matches(&chars(pattern), &chars(text)).ok()
    }

    #[test]
    fn patterns_match_as_those_of_go() {
        for (pattern, text, wanted) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*", "", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("*/x", "a/b/x", Some(false)),
            ("/services/*/*", "/services/web/1", Some(true)),
            ("/services/*", "/services/web/1", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]*", "abcx", Some(true)),
            ("ab[^b-d]", "abc", Some(false)),
            ("a?b", "a/b", Some(false)),
            ("a[^x]b", "a/b", Some(false)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "acb", Some(false)),
            ("*[a", "xa", None),
            ("a\\", "a", None),
            ("[]a]", "]", None),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_few() {
        let pattern = "*a".repeat(200) + "b";
        assert_eq!(fits(&pattern, &"a".repeat(2000)), Some(false));
    }
}
