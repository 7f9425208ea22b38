//! Where scenarios come from: those built in, and files of anyone.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::source::{Part, Refusal, Source, refuse};
use super::{Scenario, Server, Variant, values};

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
        return read_file(slug, &format!("scenarios/{slug}/scenario.toml"), text, None);
    }
    if let Some((slug, variant)) = argument.split_once('/')
        && let Some((slug, text)) = built_in(slug)
    {
        let file = format!("scenarios/{slug}/scenario.toml");
        return read_file(slug, &file, text, Some(variant));
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
    let shown = file.display().to_string();
    let file = file
        .canonicalize()
        .with_context(|| format!("cannot find {shown}"))?;
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let name = match file.file_name() {
        Some(name) if name == "scenario.toml" => file.parent().and_then(Path::file_name),
        _ => file.file_stem(),
    };
    let slug = name.unwrap_or_default().to_string_lossy();
    read_file(&slug, &shown, &text, variant)
}

/// The scenario of this name, with its variant behind a slash, from the text of `file`.
pub fn read(name: &str, file: &str, text: &str) -> Result<Scenario> {
    let (slug, variant) = match name.split_once('/') {
        Some((slug, variant)) => (slug, Some(variant)),
        None => (name, None),
    };
    let mut scenarios = read_file(slug, file, text, variant)?;
    Ok(scenarios.remove(0))
}

/// All that a file holds, or the one variant that is meant.
fn read_file(slug: &str, file: &str, text: &str, variant: Option<&str>) -> Result<Vec<Scenario>> {
    let mut scenarios = parse(
        slug,
        &Source {
            file,
            text,
            variant: None,
        },
    )?;
    if let Some(variant) = variant {
        let name = format!("{slug}/{variant}");
        scenarios.retain(|scenario| scenario.name == name);
        if scenarios.is_empty() {
            bail!("the scenario `{slug}` has no variant `{variant}`");
        }
    }
    Ok(scenarios)
}

/// Reads and checks a scenario file: one scenario, or one for each variant.
pub(super) fn parse(slug: &str, source: &Source<'_>) -> Result<Vec<Scenario>> {
    let tables = source.tables()?;
    let head = Head::deserialize(Deserializer::from(tables.clone()));
    let head = head.map_err(|error| source.refused_by_serde(&error))?;
    if head.variants.is_empty() {
        let name = slug.to_owned();
        return Ok(vec![one(name, source, tables, &head.values, None)?]);
    }
    let variants = head.variants.iter().enumerate();
    variants
        .map(|(n, variant)| {
            let name = format!("{slug}/{}", variant.name);
            let over = Some((n, variant));
            let source = Source {
                variant: Some(&variant.name),
                ..*source
            };
            one(name, &source, tables.clone(), &head.values, over)
        })
        .collect()
}

/// One scenario, with the values that `over` gives in place of those of the file.
fn one(
    name: String,
    source: &Source<'_>,
    mut tables: Spanned<DeTable<'_>>,
    values: &BTreeMap<String, String>,
    over: Option<(usize, &Variant)>,
) -> Result<Scenario> {
    let refused = |refusal: Refusal| source.refused(&refusal);
    let values = chosen(values, over).map_err(refused)?;
    // These have been read already: what stands in them is the value itself.
    let root = tables.get_mut();
    let own = ["values", "variant"].map(|key| root.remove_entry(key));
    values::expand(root, &values).map_err(|wrong| source.wrong_value(&wrong))?;
    for (key, value) in own.into_iter().flatten() {
        root.insert(key, value);
    }
    by_kind(root).map_err(refused)?;
    let scenario = Scenario::deserialize(Deserializer::from(tables));
    let mut scenario = scenario.map_err(|error| source.refused_by_serde(&error))?;
    scenario.name = name;
    scenario.text = source.text.to_owned();
    scenario.check().map_err(refused)?;
    Ok(scenario)
}

/// The values of the file with those of a variant in their place, and those that
/// they name put in.
fn chosen(
    values: &BTreeMap<String, String>,
    over: Option<(usize, &Variant)>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut values = values.clone();
    if let Some((n, variant)) = over {
        if let Some(key) = variant.values.keys().find(|key| !values.contains_key(*key)) {
            let key_itself = Part::Name(key.clone());
            refuse!(
                ["variant", n, "values", key_itself],
                "it gives a value to `{key}`, which [values] does not name"
            );
        }
        values.extend(variant.values.clone());
    }
    values::resolve(&values, &|name| match over {
        Some((n, variant)) if variant.values.contains_key(name) => {
            vec!["variant".into(), n.into(), "values".into(), name.into()]
        }
        _ => vec!["values".into(), name.into()],
    })
}

/// Puts each server's table behind its kind. serde can tell by a key which one is
/// meant too, but then it does not say where something is wrong.
fn by_kind(root: &mut DeTable<'_>) -> Result<(), Refusal> {
    let Some(DeValue::Array(servers)) = root.get_mut("server").map(Spanned::get_mut) else {
        return Ok(());
    };
    for (n, server) in servers.iter_mut().enumerate() {
        let span = server.span();
        let DeValue::Table(table) = server.get_mut() else {
            continue;
        };
        let Some(kind) = table.remove("kind") else {
            refuse!(["server", n], "missing field `kind`: {}", kinds());
        };
        let kind_span = kind.span();
        let DeValue::String(kind) = kind.into_inner() else {
            refuse!(
                ["server", n, "kind"],
                "a server's kind is a text: {}",
                kinds()
            );
        };
        let table = DeValue::Table(std::mem::take(table));
        let whole = (Spanned::new(kind_span, kind), Spanned::new(span, table));
        *server.get_mut() = DeValue::Table([whole].into_iter().collect());
    }
    Ok(())
}

fn kinds() -> String {
    Server::KINDS.join(", ")
}
