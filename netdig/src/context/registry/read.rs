//! Finds etcd, asks it by both of its APIs, and says what it did not get.
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::access::Access;
use super::discover::{self, Sources};
use super::error::{Failure, Gap, Reading, http};
use super::options::{Options, Which};
use super::{Api, Endpoint, Key, Login, Registry, dump, near, v2, v3};
use crate::context::{Context, Part, Unread};

/// What `/version` says.
#[derive(Deserialize)]
struct Version {
    etcdserver: String,
}

/// Keys whose past is asked for, and how far back.
const PASTS: usize = 256;
const PASTS_V2: usize = 16;
const DEPTH: usize = 8;

/// Fills the context's registry, from etcd or from a file. It runs on one thread, and those
/// that it starts, so that connections are those of the network namespace that the caller is in.
pub fn read(context: &mut Context, options: &Options) {
    if let Some(file) = &options.keys {
        match dump::read(file, options) {
            Ok(registry) => context.registry = registry,
            Err(why) => {
                let hint = "`etcdctl get --prefix / -w json > FILE` writes such a file";
                context.lacks(Part::Registry, why, Some(hint.to_owned()));
            }
        }
        return;
    }
    let sources = discover::sources(context, options);
    if sources.endpoints.is_empty() {
        let why = "nobody names an etcd: neither --etcd nor ETCDCTL_ENDPOINTS nor a daemon's \
                   command line, and nothing listens on 2379 or 4001";
        context.lacks(Part::Registry, why, Some("--etcd URL".to_owned()));
        return;
    }
    let flannel = discover::flannel_prefixes(context);
    let mut asking = match Asking::new(options, &sources) {
        Ok(asking) => asking,
        Err(gap) => {
            context.lacks(Part::Registry, gap.why, gap.hint);
            return;
        }
    };
    asking.probe();
    if options.api != Which::V2 {
        asking.ask_v3(&flannel);
    }
    if options.api != Which::V3 {
        asking.ask_v2(&flannel);
    }
    asking.finish(context);
}

struct Asking<'a> {
    sources: &'a Sources,
    access: Access,
    bases: Vec<String>,
    /// By endpoint: what its first word was.
    states: Vec<State>,
    registry: Registry,
    gaps: Vec<Gap>,
}

/// What an endpoint's first word tells.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Serves,
    /// Something takes connections and does not speak HTTP/1: it may speak gRPC still.
    Odd,
    Dead,
    Refuses(Gap),
}

impl<'a> Asking<'a> {
    fn new(options: &Options, sources: &'a Sources) -> Result<Asking<'a>, Gap> {
        let (access, bases) = Access::to(sources, options)?;
        let endpoints = sources
            .endpoints
            .iter()
            .zip(&bases)
            .map(|(one, base)| Endpoint {
                url: base.clone(),
                named_by: one.by.clone(),
                ..Endpoint::default()
            });
        Ok(Asking {
            sources,
            registry: Registry {
                endpoints: endpoints.collect(),
                prefixes: sources.prefixes.clone(),
                login: Login::of(&sources.tls, access.user.as_ref()),
                ..Registry::default()
            },
            states: vec![State::Dead; bases.len()],
            access,
            bases,
            gaps: Vec::new(),
        })
    }

    /// Asks all endpoints for their version, side by side.
    fn probe(&mut self) {
        let access = &self.access;
        let answers: Vec<Result<Option<String>, (State, String)>> = std::thread::scope(|scope| {
            let bases = self.bases.iter();
            let threads: Vec<_> = bases
                .map(|base| scope.spawn(move || version(base, access)))
                .collect();
            let lost = || Err((State::Dead, "it could not be asked".to_owned()));
            let answers = threads
                .into_iter()
                .map(|one| one.join().unwrap_or_else(|_| lost()));
            answers.collect()
        });
        for (at, answer) in answers.into_iter().enumerate() {
            let endpoint = &mut self.registry.endpoints[at];
            match answer {
                Ok(version) => {
                    endpoint.version = version;
                    self.states[at] = State::Serves;
                }
                Err((state, why)) => {
                    endpoint.error = Some(why);
                    self.states[at] = state;
                }
            }
        }
    }

    /// Endpoints worth a try, the best first.
    fn order(&self, odd: bool) -> Vec<usize> {
        let of = |state: State| (0..self.states.len()).filter(move |&at| self.states[at] == state);
        let mut order: Vec<usize> = of(State::Serves).collect();
        if odd {
            order.extend(of(State::Odd));
        }
        order
    }

    fn ask_v3(&mut self, flannel: &[String]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let why = format!("no event loop could be started: {error}");
                self.registry.v3 = Api::Failed { why };
                return;
            }
        };
        let deadline = Instant::now() + self.access.command;
        for at in self.order(true) {
            let old = |version: &String| version.starts_with("2.") || version.starts_with("0.");
            if self.registry.endpoints[at]
                .version
                .as_ref()
                .is_some_and(old)
            {
                self.registry.v3 = Api::Disabled;
                return;
            }
            if self.states[at] == State::Odd && Instant::now() >= deadline {
                break;
            }
            let answer = runtime.block_on(self.read_v3(at, flannel));
            if self.settle(at, "v3", answer) {
                return;
            }
        }
        self.nobody("v3");
    }

    async fn read_v3(&self, at: usize, flannel: &[String]) -> Result<Reading, Failure> {
        let mut session = v3::connect(&self.bases[at], &self.access).await?;
        let mut reading = session.read(&self.registry.prefixes).await?;
        if !has_config(&reading.keys, flannel) {
            self.near_v3(&session, flannel, &mut reading).await;
        }
        let written = |key: &Key| key.version.is_some_and(|version| version > 1);
        let mut keys = remembered(&reading.keys, written);
        keys.truncate(PASTS);
        let name = |at: usize| {
            let key = &reading.keys[at];
            (at, key.key.clone().into_bytes(), key.modified)
        };
        let keys = keys.into_iter().map(name).collect();
        for (at, past) in session.histories(keys, DEPTH).await {
            reading.keys[at].history = past;
        }
        Ok(reading)
    }

    /// Adds keys that are nearly the configuration's.
    async fn near_v3(&self, session: &v3::Session, flannel: &[String], reading: &mut Reading) {
        for prefix in flannel {
            let folder = prefix.trim_matches('/').as_bytes();
            let begins = &folder[..folder.len().min(4)];
            let mut near = BTreeSet::new();
            for begins in [Vec::new(), [b"/", begins].concat(), begins.to_vec()] {
                // Whoever may not see all names may see some.
                let names = session.names(&begins).await.unwrap_or_default();
                near.extend(names.into_iter().filter(|name| {
                    std::str::from_utf8(name).is_ok_and(|name| near::is_near(name, prefix))
                }));
            }
            for name in near {
                let known = |key: &Key| key.key.as_bytes() == name;
                if !reading.keys.iter().any(known) {
                    reading.keys.extend(session.one(&name).await);
                }
            }
        }
    }

    fn ask_v2(&mut self, flannel: &[String]) {
        for at in self.order(false) {
            let answer = self.read_v2(at, flannel);
            if self.settle(at, "v2", answer) {
                return;
            }
        }
        self.nobody("v2");
    }

    fn read_v2(&self, at: usize, flannel: &[String]) -> Result<Reading, Failure> {
        let base = &self.bases[at];
        let mut reading = v2::read(base, &self.access, &self.registry.prefixes)?;
        let client = v2::Client::new(base, &self.access);
        if !has_config(&reading.keys, flannel) {
            near_v2(&client, flannel, &mut reading.keys);
        }
        for at in remembered(&reading.keys, |_| true)
            .into_iter()
            .take(PASTS_V2)
        {
            reading.keys[at].history = client.history(&reading.keys[at], DEPTH);
        }
        Ok(reading)
    }

    /// Notes what came of one endpoint; whether it is the end.
    fn settle(&mut self, at: usize, api: &str, answer: Result<Reading, Failure>) -> bool {
        let state = match answer {
            Ok(reading) => {
                let api = Api::Read {
                    cluster: reading.cluster,
                    revision: reading.revision,
                };
                self.registry.keys.extend(reading.keys);
                self.gaps.extend(reading.gaps);
                // It speaks after all.
                if self.states[at] == State::Odd {
                    self.registry.endpoints[at].error = None;
                }
                api
            }
            Err(Failure::Disabled) if self.states[at] == State::Odd => return false,
            Err(Failure::Disabled) => Api::Disabled,
            Err(Failure::Refused { why, hint }) => {
                self.note(at, api, &why);
                self.gaps.push(Gap {
                    what: format!("etcd {api} at {}", self.bases[at]),
                    why: why.clone(),
                    hint: Some(hint),
                });
                Api::Failed { why }
            }
            Err(Failure::Down(why)) => {
                self.note(at, api, &why);
                return false;
            }
        };
        *self.api(api) = state;
        true
    }

    fn api(&mut self, api: &str) -> &mut Api {
        match api {
            "v2" => &mut self.registry.v2,
            _ => &mut self.registry.v3,
        }
    }

    fn note(&mut self, at: usize, api: &str, why: &str) {
        let error = &mut self.registry.endpoints[at].error;
        *error = match error.take() {
            Some(known) if known.contains(why) => Some(known),
            Some(known) => Some(format!("{known}; by API {api}: {why}")),
            None => Some(format!("by API {api}: {why}")),
        };
    }

    /// No endpoint told anything by this API.
    fn nobody(&mut self, api: &str) {
        let endpoints = self.registry.endpoints.iter();
        let said: Vec<String> = endpoints
            .map(|one| {
                let error = one.error.as_deref().unwrap_or("it does not speak this API");
                format!("{} (named by {}): {error}", one.url, one.named_by)
            })
            .collect();
        let why = said.join("; ");
        let refused = self.states.iter().find_map(|state| match state {
            State::Refuses(gap) => gap.hint.clone(),
            _ => None,
        });
        let hint = refused.unwrap_or_else(|| "--etcd URL, of an etcd that is up".to_owned());
        match self.gaps.iter_mut().find(|gap| gap.why == why) {
            // What was said of one API is so of both.
            Some(gap) => gap.what = "etcd".to_owned(),
            None => self.gaps.push(Gap {
                what: format!("etcd {api}"),
                why: why.clone(),
                hint: Some(hint),
            }),
        }
        *self.api(api) = Api::Failed { why };
    }

    fn finish(self, context: &mut Context) {
        let any = self.registry.v2.is_read() || self.registry.v3.is_read();
        let what = match self.sources.endpoints.as_slice() {
            [_] => format!("etcd at {}", self.bases[0]),
            _ => "etcd".to_owned(),
        };
        if !any && self.gaps.is_empty() {
            let why = "it is there and has neither API switched on".to_owned();
            context.unread.push(unread(&what, &why, None, false));
        }
        // A store that has nothing tells nothing where the other one, which may have all, was
        // not read.
        let failed = |api: &Api| matches!(api, Api::Failed { .. });
        let blind = failed(&self.registry.v2) || failed(&self.registry.v3);
        let partly = any && !(blind && self.registry.keys.is_empty());
        for gap in &self.gaps {
            let unread = unread(&gap.what, &gap.why, gap.hint.clone(), partly);
            if !context.unread.contains(&unread) {
                context.unread.push(unread);
            }
        }
        context.registry = self.registry;
    }
}

fn unread(what: &str, why: &str, hint: Option<String>, partly: bool) -> Unread {
    Unread {
        part: Part::Registry,
        what: what.to_owned(),
        why: why.to_owned(),
        hint,
        partly,
    }
}

/// An endpoint's version, where it tells one.
pub fn version(base: &str, access: &Access) -> Result<Option<String>, (State, String)> {
    let url = format!("{base}/version");
    let first_word = access.dial.max(Duration::from_millis(1));
    let failed = |failure| match failure {
        Failure::Refused { why, hint } => {
            let gap = Gap {
                what: format!("etcd at {base}"),
                why: why.clone(),
                hint: Some(hint),
            };
            (State::Refuses(gap), why)
        }
        Failure::Down(why) => (State::Odd, why),
        Failure::Disabled => (State::Odd, "it speaks no HTTP".to_owned()),
    };
    let mut response = match access.agent(first_word).get(&url).call() {
        Ok(response) => response,
        Err(error) if unreached(&error) => return Err((State::Dead, no_connection(&error))),
        // What is so slow with its first word is not waited for again by gRPC.
        Err(error @ ureq::Error::Timeout(_)) => {
            let why = format!("it takes connections and gave no answer in time ({error})");
            return Err((State::Dead, why));
        }
        Err(error) => return Err(failed(http(&url, &error))),
    };
    let body = response
        .body_mut()
        .with_config()
        .limit(4096)
        .read_to_string();
    let body = body.unwrap_or_default();
    if body.contains("HTTP request to an HTTPS server") {
        let why = "it speaks TLS, and was asked without";
        return Err(failed(Failure::refused(why, "an endpoint with https://")));
    }
    let version = serde_json::from_str(&body).map(|version: Version| version.etcdserver);
    // etcd 0.4: `etcd 0.4.6`.
    let old = || body.trim().strip_prefix("etcd ").map(str::to_owned);
    Ok(version.ok().or_else(old))
}

/// Whether there was no connection at all.
fn unreached(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error {
        ureq::Error::Io(io)
            if matches!(
                io.kind(),
                ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut
            ) =>
        {
            true
        }
        ureq::Error::Timeout(what) => {
            matches!(what, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        error if unresolved(error) => true,
        _ => false,
    }
}

fn unresolved(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::HostNotFound) || error.to_string().contains("lookup address")
}

fn no_connection(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there".to_owned()
        }
        ureq::Error::Timeout(ureq::Timeout::Connect) => {
            "no connection in time: no answer to the first packets".to_owned()
        }
        ureq::Error::Timeout(_) => "its name was not resolved in time".to_owned(),
        error if unresolved(error) => format!("its name cannot be resolved ({error})"),
        error => format!("no connection: {error}"),
    }
}

fn has_config(keys: &[Key], prefixes: &[String]) -> bool {
    let wanted = |prefix: &String| format!("{}/config", prefix.trim_end_matches('/'));
    let mut wanted = prefixes.iter().map(wanted);
    wanted.all(|wanted| keys.iter().any(|key| key.key == wanted))
}

/// Adds keys of v2 that are nearly the configuration's.
fn near_v2(client: &v2::Client<'_>, prefixes: &[String], keys: &mut Vec<Key>) {
    let entries = |path: &str, all| {
        let listing = client.keys(path, all).ok().and_then(|listing| listing.node);
        listing.map(v2::Node::keys).unwrap_or_default()
    };
    // A folder that has entries is listed as one without, where it is not gone into.
    let folders: BTreeSet<String> = entries("/", false).into_iter().map(|one| one.key).collect();
    for prefix in prefixes {
        for folder in &folders {
            if !near::is_near_folder(folder.trim_matches('/'), prefix) {
                continue;
            }
            for key in entries(folder, true) {
                let known = keys.iter().any(|one| one.key == key.key);
                if !known && !key.directory && near::is_near(&key.key, prefix) {
                    keys.push(key);
                }
            }
        }
    }
}

/// Keys of flannel's whose past matters: configurations first, then leases.
fn remembered(keys: &[Key], written: impl Fn(&Key) -> bool) -> Vec<usize> {
    let of = |is: fn(&str) -> bool| {
        let wanted = |&at: &usize| is(&keys[at].key) && written(&keys[at]);
        (0..keys.len()).filter(wanted).collect::<Vec<usize>>()
    };
    let mut all = of(|name| name.ends_with("/config"));
    all.extend(of(|name| name.contains("/subnets/")));
    all
}
