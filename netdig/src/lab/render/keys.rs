//! The keys that a renderer asks for, and how they reach its template.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};

use super::super::registry::{Change, Registry, Watch};
use super::options::RenderOptions;
use super::template::{Store, clean};

pub struct Keys {
    registry: Registry,
    prefix: String,
    /// Each with the prefix before it.
    asked: Vec<String>,
}

impl Keys {
    pub fn new(options: &RenderOptions) -> Keys {
        let prefix = clean(&format!("/{}", options.prefix));
        let asked = options.keys.iter();
        Keys {
            registry: Registry::new(options.api, options.nodes.clone()),
            asked: asked.map(|key| clean(&format!("{prefix}/{key}"))).collect(),
            prefix,
        }
    }

    /// What stands, the prefix taken away, and the revision that a watch goes on
    /// from. With v2 all that is asked for has to be there, for confd takes etcd's
    /// error 100 as any other.
    pub fn fetch(&self) -> Result<(Result<Store>, u64)> {
        let mut found = BTreeMap::new();
        let mut missing = None;
        let mut revision = None;
        for asked in &self.asked {
            let listing = self.registry.list(asked)?;
            revision = Some(listing.revision.min(revision.unwrap_or(u64::MAX)));
            if listing.missing && missing.is_none() {
                missing = Some(anyhow!(
                    "100: Key not found ({asked}) [{}]",
                    listing.revision
                ));
            }
            let entries = listing.entries.into_iter();
            for entry in entries.filter(|entry| is_below(&entry.key, asked)) {
                let key = entry.key.strip_prefix(&self.prefix).unwrap_or(&entry.key);
                found.insert(clean(&format!("/{key}")), entry.value);
            }
        }
        let store = match missing {
            Some(error) => Err(error),
            None => Ok(Store(found)),
        };
        Ok((store, revision.unwrap_or(0)))
    }

    pub fn watch(&self, revision: u64) -> Watch {
        self.registry.watch(&self.prefix, revision)
    }

    /// What changes from now on.
    pub fn watch_from_now(&self) -> Watch {
        self.registry.watch_from_now(&self.prefix)
    }

    /// Whether a change is of a key that was asked for: confd compares letters, so
    /// that `/ab` is taken for `/a`, and a folder that went away with a key in it
    /// for nothing.
    pub fn concerns(&self, change: &Change) -> bool {
        let mut asked = self.asked.iter();
        asked.any(|asked| change.key.starts_with(asked.as_str()))
    }
}

/// Whether `key` is `folder`, or in it. etcd's v3 knows letters only:
/// `/ab` begins with `/a`.
fn is_below(key: &str, folder: &str) -> bool {
    match key.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || folder.ends_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Keys, Registry};
    use crate::lab::scenario::Api;

    #[test]
    fn a_change_concerns_it_as_confd_compares_keys() {
        let keys = Keys {
            registry: Registry::new(Api::V2, Vec::new()),
            prefix: "/lb".to_owned(),
            asked: vec!["/lb/services".to_owned()],
        };
        for (key, concerns) in [
            ("/lb/services", true),
            ("/lb/services/a", true),
            ("/lb/services2/a", true),
            ("/lb", false),
            ("/lb/other", false),
        ] {
            let change = Change {
                key: key.to_owned(),
                value: None,
                revision: 1,
            };
            assert_eq!(keys.concerns(&change), concerns, "{key}");
        }
    }
}
