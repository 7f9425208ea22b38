//! API v2 over HTTP: a tree of directories with keys in it.
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use ureq::http::HeaderMap;
use ureq::http::response::Parts;

use super::access::Access;
use super::error::{Failure, Gap, HINT_USER, Reading, chain, http};
use super::options::User;
use super::{ApiVersion, Key, MOST_KEYS, Past, Value};
use crate::base64;

/// Longest answer that is read: many times a large cluster's keyspace.
const LONGEST_ANSWER: u64 = 128 * 1024 * 1024;
/// How long an event is waited for that etcd should remember: it answers such at once.
const MEMORY: Duration = Duration::from_millis(250);

/// etcd's answer: the action with its node, or an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Answer {
    action: String,
    error_code: Option<u32>,
    message: Option<String>,
    cause: Option<String>,
    pub node: Option<Node>,
    prev_node: Option<Node>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Node {
    key: String,
    #[serde(deserialize_with = "cut")]
    value: Value,
    dir: bool,
    nodes: Vec<Node>,
    created_index: u64,
    modified_index: u64,
    ttl: Option<i64>,
}

/// A long value is cut as it is read: a tree of them is never held.
fn cut<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    struct Cutting;
    impl Visitor<'_> for Cutting {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
            Ok(Value::of(text.as_bytes()))
        }
    }
    deserializer.deserialize_str(Cutting)
}

/// Reads all keys below each prefix.
pub fn read(base: &str, access: &Access, prefixes: &[String]) -> Result<Reading, Failure> {
    let client = Client::new(base, access);
    let mut reading = Reading::default();
    let mut denied = None;
    for prefix in prefixes {
        match client.keys(prefix, true) {
            Ok(answer) => {
                reading.cluster = answer.cluster.or(reading.cluster);
                reading.revision = reading.revision.max(answer.index);
                let before = reading.keys.len();
                if let Some(node) = answer.node {
                    node.flatten(&mut reading.keys);
                }
                if reading.keys.len() - before > MOST_KEYS {
                    reading.keys.truncate(before + MOST_KEYS);
                    reading.gaps.push(too_many(prefix));
                }
            }
            Err(Failure::Refused { why, hint }) => {
                reading.gaps.push(Gap {
                    what: format!("keys below {prefix} in etcd v2"),
                    why: why.clone(),
                    hint: Some(hint.clone()),
                });
                denied = Some(Failure::Refused { why, hint });
            }
            Err(failure) => return Err(failure),
        }
    }
    match denied {
        Some(failure) if reading.gaps.len() == prefixes.len() => Err(failure),
        _ => Ok(reading),
    }
}

pub fn too_many(prefix: &str) -> Gap {
    Gap {
        what: format!("keys below {prefix}"),
        why: format!("there are more than {MOST_KEYS}; the others were left out"),
        hint: Some("--etcd-prefix with a narrower prefix".to_owned()),
    }
}

impl Node {
    fn flatten(self, keys: &mut Vec<Key>) {
        if self.dir && !self.nodes.is_empty() {
            for node in self.nodes {
                node.flatten(keys);
            }
            return;
        }
        // The root of an empty store has no name.
        if self.key.is_empty() {
            return;
        }
        keys.push(self.key());
    }

    /// Without what stands below it.
    fn key(self) -> Key {
        Key {
            api: ApiVersion::V2,
            key: self.key,
            value: self.value,
            created: self.created_index,
            modified: self.modified_index,
            ttl: self.ttl,
            directory: self.dir,
            ..Key::default()
        }
    }

    /// All of it as keys.
    pub fn keys(self) -> Vec<Key> {
        let mut keys = Vec::new();
        self.flatten(&mut keys);
        keys
    }
}

/// What a directory holds.
pub struct Listing {
    pub node: Option<Node>,
    pub cluster: Option<String>,
    pub index: u64,
}

/// A question whose answer comes when something happens: what its head said at once.
pub struct Waiting {
    pub cluster: Option<String>,
    pub index: u64,
    status: u16,
    json: bool,
    body: Body,
}

/// What came of waiting.
pub enum Waited {
    Event(Event),
    /// Nothing happened.
    Quiet,
    /// etcd remembers no more from the index that was asked for on.
    Cleared,
}

/// What happened to a node.
pub struct Event {
    /// etcd's word for it: `set`, `expire`, …
    pub action: String,
    pub index: u64,
    /// As it is now; of one that is gone the name.
    pub node: Key,
}

type Body = BufReader<ureq::BodyReader<'static>>;
type Request = ureq::RequestBuilder<ureq::typestate::WithoutBody>;

pub struct Client<'a> {
    agent: ureq::Agent,
    base: &'a str,
    user: Option<&'a User>,
    quorum: bool,
}

impl<'a> Client<'a> {
    pub fn new(base: &'a str, access: &'a Access) -> Client<'a> {
        Client {
            agent: access.agent(access.command),
            base,
            user: access.user.as_ref(),
            quorum: false,
        }
    }

    /// Lists as a majority of the members has it: who compares indexes can do nothing with old ones.
    pub fn with_quorum(self) -> Client<'a> {
        Client {
            quorum: true,
            ..self
        }
    }

    /// A directory, with all below it or only its own entries; nothing where it is missing.
    pub fn keys(&self, path: &str, recursive: bool) -> Result<Listing, Failure> {
        let mut url = format!("{}?recursive={recursive}", self.url(path));
        if self.quorum {
            url.push_str("&quorum=true");
        }
        let (status, headers, answer) = self.get(&url, None)?;
        let (cluster, index) = place(&headers);
        let listing = |node| Listing {
            node,
            cluster,
            index,
        };
        match answer {
            // Nothing is there, nor is there below a key (104).
            Answer {
                error_code: Some(100 | 104),
                ..
            } => Ok(listing(None)),
            Answer {
                node: Some(node), ..
            } if status == 200 => Ok(listing(Some(node))),
            answer => Err(self.refusal(status, path, &answer)),
        }
    }

    fn url(&self, path: &str) -> String {
        let mut url = format!("{}/v2/keys", self.base);
        for part in path.split('/').filter(|part| !part.is_empty()) {
            url.push('/');
            for byte in part.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        url.push(char::from(byte));
                    }
                    _ => url.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        if url.ends_with("/keys") {
            url.push('/');
        }
        url
    }

    /// Waits for the first event below `path`: from index `since` on, or from now on.
    pub fn wait(&self, path: &str, since: Option<u64>, time: Duration) -> Result<Waiting, Failure> {
        let mut url = format!("{}?wait=true&recursive=true", self.url(path));
        if let Some(since) = since {
            url.push_str(&format!("&waitIndex={since}"));
        }
        let request = self.request(&url).config();
        let request = request.timeout_global(None).timeout_per_read(None);
        let request = request.timeout_recv_body(Some(time)).build();
        let (head, json, body) = self.ask(&url, request)?;
        let (cluster, index) = place(&head.headers);
        Ok(Waiting {
            cluster,
            index,
            status: head.status.as_u16(),
            json,
            body,
        })
    }

    /// What a question that waited was answered.
    pub fn waited(&self, path: &str, waiting: Waiting) -> Result<Waited, Failure> {
        let mut body = waiting.body;
        match body.fill_buf() {
            Ok([]) => {
                let why = "it ended a question that waited without an answer";
                return Err(Failure::Down(why.to_owned()));
            }
            Ok(_) => {}
            Err(error) if timed_out(&error) => return Ok(Waited::Quiet),
            Err(error) => return Err(Failure::Down(format!("the connection ended: {error}"))),
        }
        if !waiting.json {
            return Err(no_json(waiting.status, &mut body));
        }
        match parse(body)? {
            Answer {
                error_code: Some(401),
                ..
            } => Ok(Waited::Cleared),
            Answer {
                action,
                node: Some(node),
                ..
            } if waiting.status == 200 => Ok(Waited::Event(Event {
                action,
                index: node.modified_index,
                node: node.key(),
            })),
            answer => Err(self.refusal(waiting.status, path, &answer)),
        }
    }

    fn get(&self, url: &str, wait: Option<Duration>) -> Result<(u16, HeaderMap, Answer), Failure> {
        let mut request = self.request(url);
        if wait.is_some() {
            request = request.config().timeout_global(wait).build();
        }
        let (head, json, mut body) = self.ask(url, request)?;
        let status = head.status.as_u16();
        if !json {
            return Err(no_json(status, &mut body));
        }
        Ok((status, head.headers, parse(body)?))
    }

    fn request(&self, url: &str) -> Request {
        let request = self.agent.get(url);
        match self.user {
            Some(User { name, password }) => {
                let word = base64::encode(format!("{name}:{password}").as_bytes());
                request.header("Authorization", format!("Basic {word}"))
            }
            None => request,
        }
    }

    /// An answer's head, whether JSON follows, and what follows.
    fn ask(&self, url: &str, request: Request) -> Result<(Parts, bool, Body), Failure> {
        let response = request.call().map_err(|error| http(url, &error))?;
        let (head, body) = response.into_parts();
        let json = head
            .headers
            .get("Content-Type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let body = body.into_with_config().limit(LONGEST_ANSWER).reader();
        Ok((head, json, BufReader::new(body)))
    }

    fn refusal(&self, status: u16, path: &str, answer: &Answer) -> Failure {
        let said: Vec<&str> = [&answer.message, &answer.cause]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let said = said.join(": ");
        let denied = matches!(status, 401 | 403) || answer.error_code == Some(110);
        match (denied, self.user) {
            (true, None) => {
                let why =
                    format!("etcd lets nobody read {path} without a name (HTTP {status}, {said})");
                Failure::refused(why, HINT_USER)
            }
            (true, Some(user)) => {
                let why = format!(
                    "etcd does not let {} read {path}: wrong password, or no right to (HTTP {status}, {said})",
                    user.name
                );
                Failure::refused(
                    why,
                    "the right password, or a role with read access to the prefix",
                )
            }
            (false, _) => Failure::Down(format!("it answered HTTP {status}: {said}")),
        }
    }

    /// What a key was before: etcd remembers its last 1000 changes of all keys.
    pub fn history(&self, key: &Key, depth: usize) -> Vec<Past> {
        let mut past = Vec::new();
        let mut modified = key.modified;
        while past.len() < depth {
            let url = format!("{}?wait=true&waitIndex={modified}", self.url(&key.key));
            let Ok((200, _, answer)) = self.get(&url, Some(MEMORY)) else {
                break;
            };
            let now = answer.node.map(|node| node.modified_index);
            let Some(before) = answer.prev_node.filter(|_| now == Some(modified)) else {
                break;
            };
            modified = before.modified_index;
            past.push(Past {
                value: before.value,
                modified,
            });
        }
        past
    }
}

fn parse(body: Body) -> Result<Answer, Failure> {
    serde_json::from_reader(body)
        .map_err(|error| Failure::Down(format!("its answer cannot be read ({})", chain(&error))))
}

/// The cluster's name and the index that an answer's head has.
fn place(headers: &HeaderMap) -> (Option<String>, u64) {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let index = header("X-Etcd-Index").and_then(|text| text.parse().ok());
    let cluster = header("X-Etcd-Cluster-Id").map(str::to_owned);
    (cluster, index.unwrap_or(0))
}

fn timed_out(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// An answer that is no JSON: a store that is switched off, or no etcd at all.
fn no_json(status: u16, body: &mut impl Read) -> Failure {
    let mut text = Vec::new();
    let read = body.take(200).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    if read.is_ok() && status == 404 && text == "404 page not found" {
        return Failure::Disabled;
    }
    if text.contains("HTTP request to an HTTPS server") {
        return Failure::refused("it speaks TLS", "an endpoint with https://");
    }
    Failure::Down(format!(
        "it answers HTTP {status} and is not etcd: `{}`",
        text.escape_debug()
    ))
}
