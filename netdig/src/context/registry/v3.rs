//! API v3 over gRPC: a flat keyspace with revisions.
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Channel, Client, ConnectOptions, Error, GetOptions, GetResponse, KeyValue, WatchClient,
};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use super::access::Access;
use super::error::{Failure, Gap, HINT_ROLE, HINT_USER, Reading, chain, tls};
use super::v2::too_many;
use super::{ApiVersion, Key, MOST_KEYS, Past, Value, name};

/// Keys in one answer; fewer where they are long.
const PAGE: i64 = 5_000;
/// Longest answer: a page of long values is asked for again with fewer keys.
const LONGEST_ANSWER: usize = 32 * 1024 * 1024;
/// Leases whose time is asked for.
const MOST_LEASES: usize = 4_000;
/// Questions under way at once.
const SIDE_BY_SIDE: usize = 64;

pub struct Session {
    client: Client,
    command: Duration,
    /// Whether one member is asked alone, because the cluster has no quorum.
    alone: bool,
    /// Whether that will do; who compares revisions can do nothing with old ones.
    may_be_old: bool,
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub cluster: String,
    pub revision: u64,
    /// Of raft: a restored backup begins anew.
    pub term: u64,
}

/// Connects and logs in.
pub async fn connect(base: &str, access: &Access) -> Result<Session, Failure> {
    connect_to(access.endpoint(base)?, access, ConnectOptions::new()).await
}

/// The same with an endpoint and options of the caller's.
pub async fn connect_to(
    endpoint: Endpoint,
    access: &Access,
    options: ConnectOptions,
) -> Result<Session, Failure> {
    let channel = limited(access.dial, endpoint.connect()).await?;
    let channel = channel.map_err(|error| {
        let said = chain(&error);
        tls(&said).unwrap_or_else(|| match said.contains("H2NotNegotiated") {
            true => Failure::Disabled,
            false => Failure::Down(said),
        })
    })?;
    let nameless = options.clone();
    let options = match &access.user {
        Some(user) => options.with_user(user.name.as_str(), user.password.as_str()),
        None => options,
    };
    let session = |client| Session {
        client,
        command: access.command,
        alone: false,
        may_be_old: true,
    };
    let tonic = || Channel::Tonic(channel.clone());
    match limited(access.command, Client::from_channel(tonic(), Some(options))).await? {
        Ok(client) => Ok(session(client)),
        // A name is not asked for where everyone may read.
        Err(Error::GRpcStatus(status))
            if status.message().contains("authentication is not enabled") =>
        {
            let client = Client::from_channel(tonic(), Some(nameless)).await;
            client.map(session).map_err(|error| failure(&error))
        }
        Err(error) => Err(failure(&error)),
    }
}

pub async fn limited<T>(time: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(time, work).await.map_err(|_| late(time))
}

fn late(time: Duration) -> Failure {
    Failure::Down(format!(
        "it gave no answer by gRPC within {} ms",
        time.as_millis()
    ))
}

pub fn failure(error: &Error) -> Failure {
    match error {
        Error::GRpcStatus(status) => of_status(status),
        Error::TransportError(error) => {
            let said = chain(error);
            tls(&said).unwrap_or(Failure::Down(said))
        }
        error => Failure::Down(error.to_string()),
    }
}

fn of_status(status: &Status) -> Failure {
    let message = status.message();
    let said = chain(status);
    if let Some(failure) = tls(&said) {
        return failure;
    }
    if message.contains("invalid user ID or password") {
        let why = "etcd does not know that name with that password";
        return Failure::refused(why, HINT_USER);
    }
    if message.contains("user name is empty") || message.contains("user name not found") {
        let why = format!("etcd lets nobody read without a name ({message})");
        return Failure::refused(why, HINT_USER);
    }
    if status.code() == Code::PermissionDenied || status.code() == Code::Unauthenticated {
        let why = format!("etcd says no ({message})");
        return Failure::refused(why, HINT_ROLE);
    }
    // An HTTP server that knows nothing of gRPC.
    if status.code() == Code::Unimplemented {
        return Failure::Disabled;
    }
    Failure::Down(format!("etcd answers by gRPC: {said}"))
}

impl Session {
    /// All keys below a prefix at one revision, as a majority of the members has them.
    pub async fn list(&mut self, prefix: &str) -> Result<Reading, Failure> {
        self.may_be_old = false;
        let mut reading = Reading::default();
        self.prefix(prefix, &mut reading, &mut BTreeMap::new())
            .await?;
        Ok(reading)
    }

    /// Where the cluster is, as a majority of its members knows it.
    pub async fn head(&self, prefix: &str) -> Result<Head, Failure> {
        let (start, _) = range(prefix);
        let options = GetOptions::new().with_keys_only();
        let answer = self.get(&start, options, self.command).await?;
        let header = answer.header();
        let header = header.ok_or_else(|| Failure::Down("its answer has no header".to_owned()))?;
        Ok(Head {
            cluster: cluster(header.cluster_id()),
            revision: header.revision().max(0) as u64,
            term: header.raft_term(),
        })
    }

    pub fn watch_client(&self) -> WatchClient {
        let client = self.client.watch_client();
        client.max_decoding_message_size(LONGEST_ANSWER)
    }

    /// Reads all keys below each prefix, at one revision.
    pub async fn read(&mut self, prefixes: &[String]) -> Result<Reading, Failure> {
        let mut reading = Reading::default();
        let mut leases = BTreeMap::new();
        let mut denied = None;
        for prefix in prefixes {
            match self.prefix(prefix, &mut reading, &mut leases).await {
                Ok(()) => {}
                Err(Failure::Refused { why, hint }) => {
                    reading.gaps.push(Gap {
                        what: format!("keys below {prefix} in etcd v3"),
                        why: why.clone(),
                        hint: Some(hint.clone()),
                    });
                    denied = Some(Failure::Refused { why, hint });
                }
                // What came before stays; the rest is missing.
                Err(Failure::Down(why)) if reading.revision > 0 => reading.gaps.push(Gap {
                    what: format!("keys below {prefix} in etcd v3"),
                    why,
                    hint: Some("--command-timeout 10s".to_owned()),
                }),
                Err(failure) => return Err(failure),
            }
        }
        if let Some(failure) = denied.filter(|_| reading.revision == 0) {
            return Err(failure);
        }
        if self.alone {
            reading.gaps.push(Gap {
                what: "etcd v3".to_owned(),
                why: "the cluster has no quorum: one member was asked alone, and what it has may be old".to_owned(),
                hint: Some("bring back the other members; `etcdctl endpoint status --cluster` lists them".to_owned()),
            });
        }
        self.time_to_live(&mut reading, &leases).await;
        Ok(reading)
    }

    async fn prefix(
        &mut self,
        prefix: &str,
        reading: &mut Reading,
        leases: &mut BTreeMap<usize, i64>,
    ) -> Result<(), Failure> {
        let (mut start, end) = range(prefix);
        let mut limit = PAGE;
        let mut count = 0;
        loop {
            let page = self.page(&start, &end, limit, reading.revision).await;
            let mut answer = match page {
                Err(Failure::Down(why)) if why.contains("too large") && limit > 1 => {
                    limit = (limit / 10).max(1);
                    continue;
                }
                page => page?,
            };
            if let Some(header) = answer.header() {
                reading.cluster = Some(cluster(header.cluster_id()));
                if reading.revision == 0 {
                    reading.revision = header.revision().max(0) as u64;
                }
            }
            for pair in answer.take_kvs() {
                if pair.lease() != 0 {
                    leases.insert(reading.keys.len(), pair.lease());
                }
                start = [pair.key(), &[0]].concat();
                reading.keys.push(key(&pair));
                count += 1;
            }
            if !answer.more() {
                return Ok(());
            }
            if count >= MOST_KEYS {
                reading.gaps.push(too_many(prefix));
                return Ok(());
            }
        }
    }

    /// One page. Where the cluster does not answer for want of a quorum, the member is asked
    /// for what itself has.
    async fn page(
        &mut self,
        start: &[u8],
        end: &[u8],
        limit: i64,
        revision: u64,
    ) -> Result<GetResponse, Failure> {
        let mut options = GetOptions::new().with_range(end).with_limit(limit);
        if revision > 0 {
            options = options.with_revision(revision as i64);
        }
        let first = match self.may_be_old {
            true => self.command.mul_f32(0.6),
            false => self.command,
        };
        let second = self.command.mul_f32(0.4);
        if !self.alone {
            match self.get(start, options.clone(), first).await {
                Err(Failure::Down(why)) if self.may_be_old && !why.contains("too large") => {}
                answer => return answer,
            }
        }
        let answer = self.get(start, options.with_serializable(), second).await;
        self.alone |= answer.is_ok();
        answer
    }

    async fn get(
        &self,
        key: &[u8],
        options: GetOptions,
        time: Duration,
    ) -> Result<GetResponse, Failure> {
        let mut client = self
            .client
            .kv_client()
            .max_decoding_message_size(LONGEST_ANSWER);
        limited(time, client.get(key, Some(options)))
            .await?
            .map_err(|error| failure(&error))
    }

    /// Adds what the leases of keys have left, each lease asked for once.
    async fn time_to_live(&self, reading: &mut Reading, leases: &BTreeMap<usize, i64>) {
        let ids: BTreeSet<i64> = leases.values().copied().collect();
        if ids.len() > MOST_LEASES {
            reading.gaps.push(Gap {
                what: "time to live of keys in etcd v3".to_owned(),
                why: format!(
                    "there are {} leases; {MOST_LEASES} were asked for",
                    ids.len()
                ),
                hint: Some("--etcd-prefix with a narrower prefix".to_owned()),
            });
        }
        let client = self.client.lease_client();
        let (left, why) = self
            .all(ids.into_iter().take(MOST_LEASES), |id| {
                let mut client = client.clone();
                async move {
                    let answer = client.time_to_live(id, None).await;
                    let times =
                        |it: etcd_client::LeaseTimeToLiveResponse| (it.ttl(), it.granted_ttl());
                    answer
                        .map(|it| (id, times(it)))
                        .map_err(|error| failure(&error))
                }
            })
            .await;
        let left: BTreeMap<i64, (i64, i64)> = left.into_iter().collect();
        for (&at, id) in leases {
            // -1: it has ended since.
            if let Some(&(ttl, granted)) = left.get(id)
                && ttl >= 0
            {
                reading.keys[at].ttl = Some(ttl);
                reading.keys[at].granted_ttl = Some(granted);
            }
        }
        if let Some(why) = why {
            reading.gaps.push(Gap {
                what: "time to live of keys in etcd v3".to_owned(),
                why,
                hint: None,
            });
        }
    }

    /// Asks all of them, some side by side, as long as answers come in time; the answers, and
    /// why some are missing.
    async fn all<Q, T, F>(
        &self,
        questions: impl Iterator<Item = Q>,
        ask: impl Fn(Q) -> F,
    ) -> (Vec<T>, Option<String>)
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut questions = questions.peekable();
        let mut under_way = JoinSet::new();
        let (mut answers, mut missing) = (Vec::new(), None);
        loop {
            while under_way.len() < SIDE_BY_SIDE
                && let Some(question) = questions.next()
            {
                under_way.spawn(ask(question));
            }
            match timeout(self.command, under_way.join_next()).await {
                Ok(None) => return (answers, missing),
                Ok(Some(Ok(Ok(answer)))) => answers.push(answer),
                Ok(Some(Ok(Err(failure)))) => missing = Some(words(&failure)),
                Ok(Some(Err(error))) => missing = Some(error.to_string()),
                Err(_) => return (answers, Some(words(&late(self.command)))),
            }
        }
    }

    /// All names that begin with `prefix` or all that there are, without values; at most one page.
    pub async fn names(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let options = GetOptions::new().with_keys_only().with_limit(PAGE);
        let (start, options) = match prefix {
            [] => (&[0][..], options.with_range([0])),
            prefix => (prefix, options.with_prefix()),
        };
        let answer = self.get(start, options, self.command).await?;
        Ok(answer
            .kvs()
            .iter()
            .map(|pair| pair.key().to_vec())
            .collect())
    }

    /// One key.
    pub async fn one(&self, name: &[u8]) -> Option<Key> {
        let options = match self.alone {
            true => GetOptions::new().with_serializable(),
            false => GetOptions::new(),
        };
        let answer = self.get(name, options, self.command).await.ok()?;
        answer.kvs().first().map(key)
    }

    /// What keys were before: `depth` values each, as far as etcd was not compacted.
    pub async fn histories(
        &self,
        keys: Vec<(usize, Vec<u8>, u64)>,
        depth: usize,
    ) -> Vec<(usize, Vec<Past>)> {
        let client = self
            .client
            .kv_client()
            .max_decoding_message_size(LONGEST_ANSWER);
        let (found, _) = self
            .all(keys.into_iter(), |(at, name, modified)| {
                let mut client = client.clone();
                async move {
                    let mut past: Vec<Past> = Vec::new();
                    let mut before = modified as i64;
                    while past.len() < depth && before > 1 {
                        let options = GetOptions::new()
                            .with_revision(before - 1)
                            .with_serializable();
                        let Ok(answer) = client.get(name.clone(), Some(options)).await else {
                            break;
                        };
                        let Some(pair) = answer.kvs().first() else {
                            break;
                        };
                        before = pair.mod_revision();
                        past.push(Past {
                            value: Value::of(pair.value()),
                            modified: before.max(0) as u64,
                        });
                    }
                    Ok::<_, Failure>((at, past))
                }
            })
            .await;
        found
    }
}

fn cluster(id: u64) -> String {
    format!("{id:x}")
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Down(why) | Failure::Refused { why, .. } => why.clone(),
        Failure::Disabled => "etcd does not know the question".to_owned(),
    }
}

/// From and up to which key: those of a folder, or all.
pub fn range(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let folder = prefix.trim_end_matches('/');
    match folder.is_empty() {
        true => (vec![0], vec![0]),
        // `0` is the byte behind `/`.
        false => (
            format!("{folder}/").into_bytes(),
            format!("{folder}0").into_bytes(),
        ),
    }
}

pub fn key(pair: &KeyValue) -> Key {
    Key {
        api: ApiVersion::V3,
        key: name(pair.key()),
        value: Value::of(pair.value()),
        created: pair.create_revision().max(0) as u64,
        modified: pair.mod_revision().max(0) as u64,
        version: Some(pair.version().max(0) as u64),
        ..Key::default()
    }
}
