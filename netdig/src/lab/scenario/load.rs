//! Where scenarios come from: those built in, and files of anyone.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Scenario, Variant};

/// The scenarios that are part of the program: slug and file.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// Slugs of all built-in scenarios, in the order of the list.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// What of a file is read before its `${NAME}` are put in.
#[derive(Debug, Deserialize)]
struct Head {
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(rename = "variant", default)]
    variants: Vec<Variant>,
}

/// The scenarios that an argument names: `SLUG` with all its variants,
/// `SLUG/VARIANT`, or the path of a folder or file, with `#VARIANT` behind it where
/// one is meant.
pub fn find(argument: &str) -> Result<Vec<Scenario>> {
    let built_in = |slug: &str| BUILT_IN.iter().find(|(name, _)| *name == slug);
    if let Some((slug, text)) = built_in(argument) {
        return parse(slug, text);
    }
    if let Some((slug, variant)) = argument.split_once('/')
        && let Some((slug, text)) = built_in(slug)
    {
        return Ok(vec![variant_of(slug, text, variant)?]);
    }
    let (path, variant) = match argument.rsplit_once('#') {
        Some((path, variant)) => (Path::new(path), Some(variant)),
        None => (Path::new(argument), None),
    };
    let file = match path.is_dir() {
        true => path.join("scenario.toml"),
        false => path.to_owned(),
    };
    if !file.is_file() {
        bail!(
            "there is no scenario `{argument}`, and no such file; there are: {}",
            names().collect::<Vec<_>>().join(", ")
        );
    }
    let file = file
        .canonicalize()
        .with_context(|| format!("cannot find {}", file.display()))?;
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let name = match file.file_name() {
        Some(name) if name == "scenario.toml" => file.parent().and_then(Path::file_name),
        _ => file.file_stem(),
    };
    let slug = name.unwrap_or_default().to_string_lossy();
    match variant {
        Some(variant) => Ok(vec![variant_of(&slug, &text, variant)?]),
        None => parse(&slug, &text),
    }
}

/// The scenario of this name, with its variant behind a slash, from its file's text.
pub fn read(name: &str, text: &str) -> Result<Scenario> {
    match name.split_once('/') {
        Some((slug, variant)) => variant_of(slug, text, variant),
        None => {
            let mut scenarios = parse(name, text)?;
            Ok(scenarios.remove(0))
        }
    }
}

fn variant_of(slug: &str, text: &str, variant: &str) -> Result<Scenario> {
    let name = format!("{slug}/{variant}");
    let mut scenarios = parse(slug, text)?.into_iter();
    scenarios
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("the scenario `{slug}` has no variant `{variant}`"))
}

/// Reads and checks a scenario file: one scenario, or one for each variant.
pub fn parse(slug: &str, text: &str) -> Result<Vec<Scenario>> {
    let failed = || format!("the scenario `{slug}` cannot be read");
    let head: Head = toml::from_str(text).with_context(failed)?;
    let one = |name: String, over: Option<&Variant>| -> Result<Scenario> {
        let mut values = head.values.clone();
        if let Some(variant) = over {
            if let Some(key) = variant.values.keys().find(|key| !values.contains_key(*key)) {
                bail!(
                    "the variant `{}` of the scenario `{slug}` gives a value to `{key}`, which \
                     [values] does not name",
                    variant.name
                );
            }
            values.extend(variant.values.clone());
        }
        let whole = put_in(text, &values).with_context(failed)?;
        let mut scenario: Scenario = toml::from_str(&whole)
            .with_context(|| format!("the scenario `{name}` cannot be read"))?;
        scenario.name = name;
        scenario.text = text.to_owned();
        scenario
            .check()
            .with_context(|| format!("the scenario `{}` does not fit together", scenario.name))?;
        Ok(scenario)
    };
    if head.variants.is_empty() {
        return Ok(vec![one(slug.to_owned(), None)?]);
    }
    let variants = head.variants.iter();
    variants
        .map(|variant| one(format!("{slug}/{}", variant.name), Some(variant)))
        .collect()
}

/// The text with each `${NAME}` replaced by its value. Lines stay lines: what is
/// wrong is reported where it stands.
fn put_in(text: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let line = || out.matches('\n').count() + 1;
        let Some((name, after)) = behind[2..].split_once('}') else {
            bail!("line {}: `${{` without its end", line());
        };
        // A shell's own variables are left to the shell.
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        match values.get(name) {
            Some(value) => out.push_str(value),
            None if is_name(name) => {
                bail!("line {}: [values] does not name `{name}`", line());
            }
            None => {
                out.push_str(&behind[..2 + name.len() + 1]);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
