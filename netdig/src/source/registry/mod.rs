//! etcd as a source: what stands below a prefix, and then every change of it, by both APIs.
//!
//! Each store is followed by a thread of its own that keeps what it has told. Where etcd has
//! forgotten what happened (v3's compaction, v2's thousand events) or is another one than before,
//! the thread lists again and tells what differs, so that nobody takes a gap for silence.
mod reach;
mod state;
mod v2;
mod v3;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::context::Context;
use crate::context::registry::access::Access;
use crate::context::registry::discover;
use crate::context::registry::error;
use crate::context::registry::{ApiVersion, Key, Options, Which};
use crate::observation::UnixNanos;
use reach::Reach;

/// What is told and not yet heard; above it etcd has to wait.
const BACKLOG: usize = 256;

/// Follows a prefix as long as it lives.
pub struct Follower {
    told: Receiver<Told>,
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// What is told, of both stores as it comes; closed when both have ended.
    pub fn told(&self) -> &Receiver<Told> {
        &self.told
    }
}

impl Drop for Follower {
    /// Threads end by themselves, at the latest with the answer that they wait for.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Lists what stands below `prefix` and follows it, in each store that `options` wants, at the
/// endpoints that they name or else those that `context` shows (see
/// [`crate::context::registry::read`]). The threads are the caller's: connections are those of
/// the network namespace that it is in. An etcd that is not there yet is waited for.
///
/// Of one prefix [`crate::context::registry::MOST_KEYS`] are listed; of those above it changes
/// are told without what they were before.
pub fn follow(context: &Context, options: &Options, prefix: &str) -> Result<Follower> {
    let sources = discover::sources(context, options);
    if sources.endpoints.is_empty() {
        bail!("there is no etcd to follow: name one with --etcd URL");
    }
    let (access, bases) = Access::to(&sources, options).map_err(sentence)?;
    let (access, bases): (Arc<Access>, Arc<[String]>) = (Arc::new(access), bases.into());
    let (sender, told) = sync_channel(BACKLOG);
    let stop = Arc::new(AtomicBool::new(false));
    let reach = |api| Reach::new(api, &access, &bases, &sender, &stop);
    if options.api != Which::V2 {
        start(reach(ApiVersion::V3), v3::run, prefix)?;
    }
    if options.api != Which::V3 {
        start(reach(ApiVersion::V2), v2::run, prefix)?;
    }
    Ok(Follower { told, stop })
}

fn start(reach: Reach, run: fn(Reach, &str), prefix: &str) -> Result<()> {
    let (api, prefix) = (reach.api(), prefix.to_owned());
    let thread = thread::Builder::new().name(format!("etcd-{api}"));
    let started = thread.spawn(move || run(reach, &prefix));
    started.with_context(|| format!("no thread could be started to follow etcd {api}"))?;
    Ok(())
}

fn sentence(gap: error::Gap) -> anyhow::Error {
    match gap.hint {
        Some(hint) => anyhow!("{}; {hint}", gap.why),
        None => anyhow!("{}", gap.why),
    }
}

fn now_ns() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as UnixNanos)
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Set,
    CompareAndSwap,
    Delete,
    CompareAndDelete,
    /// Its time was up: v2 says so; of v3 a deletion with the lease's end is a `Delete`.
    Expire,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Set => "set",
            Action::CompareAndSwap => "compare-and-swap",
            Action::Delete => "delete",
            Action::CompareAndDelete => "compare-and-delete",
            Action::Expire => "expire",
        }
    }
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub api: ApiVersion,
    /// When it was heard of.
    pub ts_ns: UnixNanos,
    pub action: Action,
    pub key: String,
    /// As it was before, where it was there.
    pub old: Option<Key>,
    /// As it is now; absent where it is gone.
    pub new: Option<Key>,
    /// Revision of v3, index of v2.
    pub revision: u64,
}

/// All keys below the prefix at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    pub api: ApiVersion,
    /// Without user and password.
    pub endpoint: String,
    pub cluster: Option<String>,
    pub revision: u64,
    /// By name.
    pub keys: Vec<Key>,
}

/// Why a part of the history is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// v3 has compacted it, up to this revision.
    Compacted(u64),
    /// v2 keeps 1000 events of all keys, and there were more.
    Cleared,
    /// Another cluster answers than before.
    OtherCluster { before: String, now: String },
    /// The same cluster is older than it was: a backup was restored.
    RolledBack,
}

/// A part of the history that nobody can tell any more, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    pub api: ApiVersion,
    pub ts_ns: UnixNanos,
    pub why: Forgotten,
    /// The last revision that was told, and the one of the new listing.
    pub since: u64,
    pub until: u64,
    /// What differs between them: the last state of each key, not each step to it.
    pub changes: Vec<Change>,
}

/// What a follower tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The state at the beginning; once for each store that answers.
    Listed(Listing),
    /// In the order of revisions; those of one revision come together.
    Changed(Vec<Change>),
    Gap(Gap),
    /// The connection is gone; it is tried again, at other endpoints too.
    Away {
        api: ApiVersion,
        endpoint: String,
        why: String,
    },
    /// It is there again, and nothing was missed but what a gap says.
    Back {
        api: ApiVersion,
        endpoint: String,
    },
    /// This store is followed no more: it is switched off, or says no.
    Ended {
        api: ApiVersion,
        why: String,
        hint: Option<String>,
    },
}
