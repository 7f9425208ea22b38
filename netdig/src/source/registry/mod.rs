//! etcd as a source: what stands below a prefix, and then every change of it, by both APIs.
//!
//! Each store is followed by a thread of its own that keeps what it has told. Where etcd has
//! forgotten what happened (v3's compaction, v2's thousand events) or is another one than before,
//! the thread lists again and tells what differs, so that nobody takes a gap for silence.
use crate::context::registry::{ApiVersion, Key};
use crate::observation::UnixNanos;

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
