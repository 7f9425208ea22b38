//! What a follower has told of a store: what was there, and up to which revision.
use std::collections::BTreeMap;

use super::{Action, Change, Forgotten, Gap, Listing, now_ns};
use crate::context::registry::error::Reading;
use crate::context::registry::{ApiVersion, Key};

#[derive(Debug, Default)]
pub struct State {
    api: ApiVersion,
    /// By name.
    keys: BTreeMap<String, Key>,
    /// Which cluster it is of.
    pub cluster: Option<String>,
    /// The last revision of which something was told, or that was listed.
    pub told: u64,
}

impl State {
    /// What was listed first, and what is to be told of it.
    pub fn begin(api: ApiVersion, endpoint: &str, mut reading: Reading) -> (State, Listing) {
        reading.keys.sort_by(|a, b| a.key.cmp(&b.key));
        let named = |key: &Key| (key.key.clone(), key.clone());
        let state = State {
            api,
            keys: reading.keys.iter().map(named).collect(),
            cluster: reading.cluster.clone(),
            told: reading.revision,
        };
        let listing = Listing {
            api,
            endpoint: endpoint.to_owned(),
            cluster: reading.cluster,
            revision: reading.revision,
            keys: reading.keys,
        };
        (state, listing)
    }

    /// Takes what was listed again, and says what differs, in the order of revisions.
    pub fn list_again(&mut self, reading: Reading, why: Forgotten) -> Gap {
        let (since, ts_ns) = (self.told, now_ns());
        let mut before = std::mem::take(&mut self.keys);
        self.told = reading.revision;
        self.cluster = reading.cluster;
        let mut changes = Vec::new();
        for key in reading.keys {
            let old = before.remove(&key.key);
            if old.as_ref().is_none_or(|old| !is_same(old, &key)) {
                let action = match old {
                    Some(_) => Action::Set,
                    None => Action::Create,
                };
                let revision = key.modified;
                changes.push(self.change(ts_ns, action, revision, old, Some(key.clone())));
            }
            self.keys.insert(key.key.clone(), key);
        }
        // What is left is there no more. A directory that has entries now is.
        before.retain(|name, key| !(key.directory && self.has_below(name)));
        for (_, old) in before {
            changes.push(self.change(ts_ns, Action::Delete, self.told, Some(old), None));
        }
        changes.sort_by_key(|change| change.revision);
        Gap {
            api: self.api,
            ts_ns,
            why,
            since,
            until: self.told,
            changes,
        }
    }

    /// A key is written.
    pub fn put(&mut self, ts_ns: u64, action: Action, revision: u64, key: Key) -> Change {
        if self.api == ApiVersion::V2 {
            self.fill_directories(&key.key);
        }
        let old = self.keys.insert(key.key.clone(), key.clone());
        self.change(ts_ns, action, revision, old, Some(key))
    }

    /// A key is gone; of one that was never told there is nothing to tell.
    pub fn remove(&mut self, ts_ns: u64, action: Action, revision: u64, key: &str) -> Vec<Change> {
        let old = self.keys.remove(key);
        old.map(|old| self.change(ts_ns, action, revision, Some(old), None))
            .into_iter()
            .collect()
    }

    /// A directory is gone with all below it.
    pub fn remove_all(
        &mut self,
        ts_ns: u64,
        action: Action,
        revision: u64,
        directory: &str,
    ) -> Vec<Change> {
        let mut names = self.below(directory);
        names.insert(0, directory.trim_end_matches('/').to_owned());
        names
            .iter()
            .flat_map(|name| self.remove(ts_ns, action, revision, name))
            .collect()
    }

    /// Directories are keys only while they are empty.
    fn fill_directories(&mut self, key: &str) {
        for (at, _) in key.match_indices('/').skip(1) {
            let parent = &key[..at];
            if self.keys.get(parent).is_some_and(|key| key.directory) {
                self.keys.remove(parent);
            }
        }
    }

    fn below(&self, directory: &str) -> Vec<String> {
        let folder = format!("{}/", directory.trim_end_matches('/'));
        let names = self.keys.range(folder.clone()..).map(|(name, _)| name);
        names
            .take_while(|name| name.starts_with(&folder))
            .cloned()
            .collect()
    }

    pub fn has_below(&self, directory: &str) -> bool {
        let folder = format!("{}/", directory.trim_end_matches('/'));
        let mut names = self.keys.range(folder.clone()..);
        names
            .next()
            .is_some_and(|(name, _)| name.starts_with(&folder))
    }

    fn change(
        &self,
        ts_ns: u64,
        action: Action,
        revision: u64,
        old: Option<Key>,
        new: Option<Key>,
    ) -> Change {
        let key = new.as_ref().or(old.as_ref());
        Change {
            api: self.api,
            ts_ns,
            action,
            key: key.map(|key| key.key.clone()).unwrap_or_default(),
            old,
            new,
            revision,
        }
    }
}

/// Whether nothing was written between: the time that it has left is less each time. Another
/// cluster may have the same revisions, and other values.
fn is_same(old: &Key, new: &Key) -> bool {
    (old.modified, old.created, old.directory) == (new.modified, new.created, new.directory)
        && old.value == new.value
}
