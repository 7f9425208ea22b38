//! A small client of etcd for the lab's own daemons: API v2, and v3 through
//! etcd's JSON gateway, over plain HTTP/1.1.

mod http;
#[cfg(test)]
mod tests;
mod v2;
mod v3;

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Result, bail};

use self::http::Method;
use super::scenario::Api;

/// etcd by one of its APIs. Every request is made on a connection of its own
/// and tries the endpoints in turn.
#[derive(Debug, Clone)]
pub struct Registry {
    api: Api,
    endpoints: Vec<SocketAddrV4>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
    /// v2's modifiedIndex, v3's mod_revision.
    pub revision: u64,
    /// Whether it goes away by itself.
    pub expires: bool,
}

/// What stands at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// By key.
    pub entries: Vec<KeyValue>,
    /// v2 has no such directory and no such key (error 100). v3 has no
    /// directories, and so none is missing.
    pub missing: bool,
    /// The registry's own revision: a watch goes on after it.
    pub revision: u64,
}

/// One key that was written, or that went away: deleted or expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    /// `None`: it is gone, with v2 perhaps as a directory with all that was in it.
    pub value: Option<String>,
    pub revision: u64,
}

/// What a watch has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    Changes(Vec<Change>),
    /// Nothing came in the time given.
    Nothing,
    /// etcd does not know any more what happened in between (v2: error 401;
    /// v3: compacted): list again, and watch from there.
    Cleared,
}

/// What a write asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    None,
    Absent,
    Revision(u64),
}

impl Registry {
    pub const fn new(api: Api, endpoints: Vec<SocketAddrV4>) -> Registry {
        Registry { api, endpoints }
    }

    /// All keys below `prefix`: v2's directory and all in it (or the key of that
    /// name), v3's keys that begin with these letters.
    pub fn list(&self, prefix: &str) -> Result<Listing> {
        match self.api {
            Api::V2 => v2::list(self, prefix),
            Api::V3 => v3::list(self, prefix, true),
        }
    }

    /// One key.
    pub fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let listing = match self.api {
            Api::V2 => v2::list(self, key)?,
            Api::V3 => v3::list(self, key, false)?,
        };
        let mut entries = listing.entries.into_iter();
        Ok(entries.find(|entry| entry.key.trim_start_matches('/') == key.trim_start_matches('/')))
    }

    /// Writes a key; it expires after `ttl_s` seconds. v3: with a lease of its
    /// own, a new one each time, as flannel does it.
    pub fn put(&self, key: &str, value: &str, ttl_s: Option<u32>) -> Result<()> {
        self.write(key, value, ttl_s, Condition::None).map(drop)
    }

    /// Writes a key that is not there yet; `false` where it is.
    pub fn create(&self, key: &str, value: &str, ttl_s: Option<u32>) -> Result<bool> {
        self.write(key, value, ttl_s, Condition::Absent)
    }

    /// Writes a key that nobody has written since `revision`; `false` where
    /// someone has, or it is gone.
    pub fn replace(
        &self,
        key: &str,
        value: &str,
        ttl_s: Option<u32>,
        revision: u64,
    ) -> Result<bool> {
        self.write(key, value, ttl_s, Condition::Revision(revision))
    }

    /// Whether etcd serves.
    pub fn healthy(&self) -> bool {
        self.ask(Method::Get, "/health", "text/plain", "")
            .is_ok_and(|answer| answer.status == 200 && answer.body.contains("true"))
    }

    fn write(
        &self,
        key: &str,
        value: &str,
        ttl_s: Option<u32>,
        condition: Condition,
    ) -> Result<bool> {
        match self.api {
            Api::V2 => v2::write(self, key, value, ttl_s, condition),
            Api::V3 => v3::write(self, key, value, ttl_s, condition),
        }
    }

    /// Removes a key; `false` where there is none.
    pub fn delete(&self, key: &str) -> Result<bool> {
        match self.api {
            Api::V2 => v2::delete(self, key),
            Api::V3 => v3::delete(self, key),
        }
    }

    /// What happens below `prefix` (as [`Registry::list`] means it) after `revision`.
    pub fn watch(&self, prefix: &str, revision: u64) -> Watch {
        Watch {
            registry: self.clone(),
            prefix: prefix.to_owned(),
            next: revision + 1,
            stream: None,
        }
    }

    /// What happens below `prefix` from when it is first asked.
    pub fn watch_from_now(&self, prefix: &str) -> Watch {
        Watch {
            next: 0,
            ..self.watch(prefix, 0)
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Result<http::Answer> {
        self.open(method, path, content_type, body, http::PATIENCE)?
            .finish()
    }

    /// Sends a request to the first endpoint that takes it; its answer's head
    /// has been read.
    fn open(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &str,
        wait: Duration,
    ) -> Result<http::Stream> {
        let mut failed = Vec::new();
        for endpoint in &self.endpoints {
            match http::open(*endpoint, method, path, content_type, body, wait) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed.push(format!("{endpoint}: {error:#}")),
            }
        }
        bail!("no endpoint of etcd answers: {}", failed.join("; "))
    }
}

/// Follows changes; the connection is opened when it is first asked, and again
/// when it breaks.
pub struct Watch {
    registry: Registry,
    prefix: String,
    /// The revision of the first change that has not been told; 0: any that comes.
    next: u64,
    stream: Option<http::Stream>,
}

impl Watch {
    /// Waits at most `wait` for what comes next. After an error it may be asked
    /// again: nothing is left out.
    pub fn next(&mut self, wait: Duration) -> Result<Watched> {
        let told = match self.registry.api {
            Api::V2 => v2::watch(self, wait),
            Api::V3 => v3::watch(self, wait),
        };
        match &told {
            Ok(Watched::Changes(changes)) => {
                let last = changes.iter().map(|change| change.revision).max();
                self.next = self.next.max(last.unwrap_or(0) + 1);
            }
            Ok(Watched::Nothing) => {}
            Ok(Watched::Cleared) | Err(_) => self.stream = None,
        }
        told
    }
}
