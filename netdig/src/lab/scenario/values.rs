//! What `${NAME}` stands for, put into the strings of a file that has been read: no
//! value moves a line, or can say anything but text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Part, Refusal};

/// Bytes that a text may grow to by the values in it.
const MOST: usize = 1 << 20;

/// How many values may name one another, each the next.
const DEEPEST: usize = 100;

/// What is wrong with a string of the file, and where it stands.
pub struct Wrong {
    pub span: Range<usize>,
    /// What in the string is meant.
    pub text: String,
    pub sentence: String,
}

/// The values with the `${NAME}` in them put in.
pub fn resolve(
    values: &BTreeMap<String, String>,
    path: &dyn Fn(&str) -> Vec<Part>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let refused = |name: &str, sentence: String| Refusal {
        path: path(name),
        sentence,
    };
    let mut resolved = BTreeMap::new();
    for name in values.keys() {
        if !is_name(name) {
            return Err(refused(
                name,
                format!(
                    "`{name}` cannot name a value: capital letters, digits and _, no digit first"
                ),
            ));
        }
        let mut within = Vec::new();
        value_of(name, values, &mut resolved, &mut within)
            .map_err(|sentence| refused(name, sentence))?;
    }
    Ok(resolved)
}

/// The value of one name; `within` are those that asked for it.
fn value_of(
    name: &str,
    values: &BTreeMap<String, String>,
    resolved: &mut BTreeMap<String, String>,
    within: &mut Vec<String>,
) -> Result<String, String> {
    if let Some(value) = resolved.get(name) {
        return Ok(value.clone());
    }
    if within.len() >= DEEPEST {
        return Err(format!("more than {DEEPEST} values name one another"));
    }
    within.push(name.to_owned());
    let text = values.get(name).map_or("", String::as_str);
    let value = put_in(text, &mut |inner| {
        if within.iter().any(|one| one == inner) {
            let way = within.join("}, ${");
            return Err(format!("${{{way}}} and ${{{inner}}} go round in a circle"));
        }
        match values.contains_key(inner) {
            true => value_of(inner, values, resolved, within).map(Some),
            false => Ok(None),
        }
    })
    .map_err(|(_, sentence)| sentence)?;
    within.pop();
    resolved.insert(name.to_owned(), value.clone());
    Ok(value)
}

/// Puts the values into all keys and strings of `table`.
pub fn expand(table: &mut DeTable<'_>, values: &BTreeMap<String, String>) -> Result<(), Wrong> {
    let old = std::mem::take(table);
    for (mut key, mut value) in old {
        put_into(key.get_mut(), values).map_err(|wrong| wrong.at(key.span()))?;
        expand_value(&mut value, values)?;
        let (span, name) = (key.span(), key.get_ref().to_string());
        if table.insert(key, value).is_some() {
            return Err(Wrong {
                span,
                text: String::new(),
                sentence: format!("the key `{name}` is there twice with the values put in"),
            });
        }
    }
    Ok(())
}

fn expand_value(
    value: &mut Spanned<DeValue<'_>>,
    values: &BTreeMap<String, String>,
) -> Result<(), Wrong> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => put_into(text, values).map_err(|wrong| wrong.at(span)),
        DeValue::Array(elements) => elements
            .iter_mut()
            .try_for_each(|element| expand_value(element, values)),
        DeValue::Table(table) => expand(table, values),
        _ => Ok(()),
    }
}

/// What is wrong, before it is known where.
struct Unplaced(String, String);

impl Unplaced {
    fn at(self, span: Range<usize>) -> Wrong {
        let Unplaced(text, sentence) = self;
        Wrong {
            span,
            text,
            sentence,
        }
    }
}

fn put_into(text: &mut Cow<'_, str>, values: &BTreeMap<String, String>) -> Result<(), Unplaced> {
    if text.contains("${") {
        let whole = put_in(text, &mut |name| Ok(values.get(name).cloned()));
        *text = Cow::Owned(whole.map_err(|(name, sentence)| Unplaced(name, sentence))?);
    }
    Ok(())
}

/// The text with each `${NAME}` replaced by what `value` says; an error says about
/// which part of the text it is.
fn put_in(
    text: &str,
    value: &mut dyn FnMut(&str) -> Result<Option<String>, String>,
) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            return Err(("${".to_owned(), "`${` without its end `}`".to_owned()));
        };
        let whole = format!("${{{name}}}");
        match value(name).map_err(|sentence| (whole.clone(), sentence))? {
            Some(value) => out.push_str(&value),
            None if is_name(name) => {
                let sentence = format!("[values] does not name `{name}`");
                return Err((whole, sentence));
            }
            // A shell's own, such as ${x#y}, are left to the shell.
            None => out.push_str(&whole),
        }
        if out.len() > MOST {
            return Err((
                whole,
                format!("with its values it is longer than {MOST} bytes"),
            ));
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
