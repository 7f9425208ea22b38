//! Keys from a file: what etcdctl or API v2 printed, or plain lines.
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::Deserializer;

use super::options::Options;
use super::v2::Node;
use super::{Api, ApiVersion, Endpoint, KEYS, Key, Registry, Value, Which, name};
use crate::base64;

/// Longest file that is read.
const LONGEST: u64 = 512 * 1024 * 1024;

/// A document of either API.
#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    V2 { node: Node },
    V3(Range),
}

/// What `etcdctl get … -w json` prints, and the JSON gateway's `/v3/kv/range` answers.
#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    revision: u64,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default, deserialize_with = "number")]
    create_revision: u64,
    #[serde(default, deserialize_with = "number")]
    mod_revision: u64,
    #[serde(default, deserialize_with = "number")]
    version: u64,
}

/// The gateway writes 64-bit numbers as texts.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Plain(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Plain(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// Reads `path`; the error is a sentence.
pub fn read(path: &Path, options: &Options) -> Result<Registry, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let taken = BufReader::new(file)
        .take(LONGEST + 1)
        .read_to_end(&mut bytes);
    taken.map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("{shown} is longer than 512 MiB"));
    }
    let mut registry = Registry {
        endpoints: vec![Endpoint {
            url: shown.to_string(),
            named_by: KEYS.to_owned(),
            ..Endpoint::default()
        }],
        prefixes: options.prefixes.clone(),
        ..Registry::default()
    };
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => documents(&bytes, &mut registry),
        _ => lines(&bytes, options, &mut registry),
    }
    .map_err(|why| format!("{shown}: {why}"))?;
    keep(&mut registry, options);
    Ok(registry)
}

fn documents(bytes: &[u8], registry: &mut Registry) -> Result<(), String> {
    for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Document>() {
        let document = document.map_err(|error| {
            format!(
                "it is neither what `etcdctl get --prefix / -w json` prints nor what \
                 /v2/keys/?recursive=true answers ({error})"
            )
        })?;
        match document {
            Document::V2 { node } => {
                let keys = node.keys();
                let revision = keys.iter().map(|key| key.modified).max().unwrap_or(0);
                registry.v2 = Api::Read {
                    cluster: None,
                    revision,
                };
                registry.keys.extend(keys);
            }
            Document::V3(range) => {
                registry.v3 = Api::Read {
                    cluster: Some(format!("{:x}", range.header.cluster_id)),
                    revision: range.header.revision,
                };
                for pair in range.kvs {
                    registry.keys.push(key(&pair)?);
                }
            }
        }
    }
    Ok(())
}

fn key(pair: &Pair) -> Result<Key, String> {
    let bytes = |what: &str, text: &str| {
        base64::decode(text)
            .ok_or_else(|| format!("a {what} is no base64: `{}`", text.escape_debug()))
    };
    Ok(Key {
        api: ApiVersion::V3,
        key: name(&bytes("key", &pair.key)?),
        value: Value::of(&bytes("value", &pair.value)?),
        created: pair.create_revision,
        modified: pair.mod_revision,
        version: Some(pair.version),
        ..Key::default()
    })
}

/// `KEY`, a tab, `VALUE`; empty lines and those with `#` are passed over. They are taken for
/// v3's unless `--etcd-api v2` says otherwise.
fn lines(bytes: &[u8], options: &Options, registry: &mut Registry) -> Result<(), String> {
    let read = Api::Read {
        cluster: None,
        revision: 0,
    };
    let api = match options.api {
        Which::V2 => ApiVersion::V2,
        Which::V3 | Which::Auto => ApiVersion::V3,
    };
    match api {
        ApiVersion::V2 => registry.v2 = read,
        ApiVersion::V3 => registry.v3 = read,
    }
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let Some(tab) = line.iter().position(|&byte| byte == b'\t') else {
            return Err(format!(
                "line {} has no tab between a key and a value",
                number + 1
            ));
        };
        registry.keys.push(Key {
            api,
            key: name(&line[..tab]),
            value: Value::of(&line[tab + 1..]),
            ..Key::default()
        });
    }
    Ok(())
}

/// Leaves out what was not asked for.
fn keep(registry: &mut Registry, options: &Options) {
    match options.api {
        Which::Auto => {}
        Which::V2 => registry.v3 = Api::NotAsked,
        Which::V3 => registry.v2 = Api::NotAsked,
    }
    let asked = |api: ApiVersion| match options.api {
        Which::Auto => true,
        Which::V2 => api == ApiVersion::V2,
        Which::V3 => api == ApiVersion::V3,
    };
    let below = |key: &str, prefix: &String| {
        let folder = prefix.trim_end_matches('/');
        key.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
            || folder.is_empty()
    };
    let prefixes = &options.prefixes;
    registry.keys.retain(|key| {
        asked(key.api) && (prefixes.is_empty() || prefixes.iter().any(|one| below(&key.key, one)))
    });
}
