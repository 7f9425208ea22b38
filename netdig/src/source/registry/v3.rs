//! API v3: one watch on a stream of gRPC, from the revision behind the listing on.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use etcd_client::{ConnectOptions, KeyValue, WatchOptions, WatchResponse, WatchStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;

use super::reach::{End, LOOK_UP, Reach};
use super::state::State;
use super::{Action, Change, Forgotten, Told, now_ns};
use crate::context::registry::ApiVersion;
use crate::context::registry::access::Access;
use crate::context::registry::error::{Failure, HINT_ROLE, Reading};
use crate::context::registry::v3::{Head, Session, connect_to, failure, key, limited, range};

/// How often etcd is asked how far it is.
const PROGRESS: Duration = Duration::from_secs(1);
/// How old such an answer is when it is believed: before 3.4.25 and 3.5.8 etcd answers ahead of
/// events that it has still to send.
const SETTLED: Duration = Duration::from_secs(5);
/// How long an etcd that answered such questions may be silent.
const SILENT: Duration = Duration::from_secs(5);
/// How often a silent connection is tried; etcd hangs up on those who ask more than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Follows the store until nobody listens or it says no.
pub fn run(mut reach: Reach, prefix: &str) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let why = format!("no event loop could be started: {error}");
            return reach.end(End::Said { why, hint: None });
        }
    };
    let Err(end) = follow(&runtime, &mut reach, prefix);
    reach.end(end);
}

/// What was told, and where etcd is.
struct Following {
    state: State,
    term: u64,
    progress: Progress,
}

/// A watch that has begun.
struct Begun {
    head: Head,
    /// A new listing: the first one, or because of what was forgotten.
    listed: Option<(Reading, Option<Forgotten>)>,
    /// The stream is its connection's.
    _session: Session,
    stream: WatchStream,
}

/// Why a watch is over.
enum Broken {
    Compacted(u64),
    Down(String),
}

fn follow(runtime: &Runtime, reach: &mut Reach, prefix: &str) -> Result<Infallible, End> {
    let mut following: Option<Following> = None;
    let mut forgotten = None;
    loop {
        let begun = reach.connect(|base, access| {
            let known = following.as_ref();
            runtime.block_on(begin(base, access, prefix, known, forgotten.clone()))
        })?;
        forgotten = None;
        let following = settle(reach, &mut following, begun.listed)?;
        following.term = begun.head.term;
        following.progress.begin(following.state.told);
        match runtime.block_on(watch(reach, following, begun.stream))? {
            Broken::Compacted(revision) => forgotten = Some(Forgotten::Compacted(revision)),
            Broken::Down(why) => reach.away(why)?,
        }
    }
}

/// Tells what was listed, if anything was.
fn settle<'a>(
    reach: &Reach,
    following: &'a mut Option<Following>,
    listed: Option<(Reading, Option<Forgotten>)>,
) -> Result<&'a mut Following, End> {
    if let Some((reading, why)) = listed {
        match (following.as_mut(), why) {
            (Some(following), Some(why)) => {
                let gap = following.state.list_again(reading, why);
                following.progress = Progress::default();
                reach.tell(Told::Gap(gap))?;
            }
            _ => {
                let (state, listing) = State::begin(ApiVersion::V3, reach.base(), reading);
                *following = Some(Following {
                    state,
                    term: 0,
                    progress: Progress::default(),
                });
                reach.tell(Told::Listed(listing))?;
            }
        }
    }
    following.as_mut().ok_or_else(|| End::Said {
        why: "nothing was listed".to_owned(),
        hint: None,
    })
}

/// Connects, lists where that is needed, and begins to watch.
async fn begin(
    base: &str,
    access: &Access,
    prefix: &str,
    known: Option<&Following>,
    forgotten: Option<Forgotten>,
) -> Result<Begun, Failure> {
    let endpoint = access
        .endpoint(base)?
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(SILENT)
        .keep_alive_while_idle(true);
    let options = ConnectOptions::new().with_require_leader(true);
    let mut session = connect_to(endpoint, access, options).await?;
    let head = session.head(prefix).await?;
    let why = known.and_then(|known| known.differs(&head)).or(forgotten);
    let resume = known.map_or(0, |known| known.progress.resume(known.state.told));
    let (listed, from) = match (known, why) {
        (Some(_), None) => (None, resume + 1),
        (_, why) => {
            let reading = list(&mut session, prefix).await?;
            let from = reading.revision + 1;
            (Some((reading, why)), from)
        }
    };
    let (start, end) = range(prefix);
    let options = WatchOptions::new()
        .with_range(end)
        .with_start_revision(from as i64)
        .with_progress_notify()
        .with_fragment();
    let mut client = session.watch_client();
    let stream = limited(access.command, client.watch(start, Some(options))).await?;
    let stream = stream.map_err(|error| failure(&error))?;
    Ok(Begun {
        head,
        listed,
        _session: session,
        stream,
    })
}

/// A compaction may overtake the pages of a listing: then it is begun again.
async fn list(session: &mut Session, prefix: &str) -> Result<Reading, Failure> {
    let mut tries = 0;
    loop {
        match session.list(prefix).await {
            Err(Failure::Down(why)) if why.contains("compacted") && tries < 3 => tries += 1,
            answer => return answer,
        }
    }
}

impl Following {
    /// Whether another history answers than the one that was told.
    fn differs(&self, head: &Head) -> Option<Forgotten> {
        let before = self.state.cluster.as_ref();
        match before.filter(|before| **before != head.cluster) {
            Some(before) => Some(Forgotten::OtherCluster {
                before: before.clone(),
                now: head.cluster.clone(),
            }),
            None => {
                let known = self.progress.resume(self.state.told);
                let older = head.revision < known || head.term < self.term;
                older.then_some(Forgotten::RolledBack)
            }
        }
    }
}

/// Hears what happens until the stream breaks.
async fn watch(
    reach: &Reach,
    following: &mut Following,
    mut stream: WatchStream,
) -> Result<Broken, End> {
    let mut ask = Instant::now();
    let mut asked: Option<Instant> = None;
    let mut answers = false;
    // Events of a revision of which more is to come.
    let mut held: Vec<KeyValue> = Vec::new();
    loop {
        reach.heard()?;
        if ask <= Instant::now() {
            ask = Instant::now() + PROGRESS;
            asked = asked.or(Some(Instant::now()));
            // What the stream ended with is heard below.
            let _ = limited(LOOK_UP, stream.request_progress()).await;
        }
        let until = ask.min(Instant::now() + LOOK_UP);
        let mut message = match timeout_at(until.into(), stream.message()).await {
            // It was silent, and had nothing waiting for us.
            Err(_) if answers && asked.is_some_and(|asked| asked.elapsed() > SILENT) => {
                return Ok(Broken::Down(silence()));
            }
            Err(_) => continue,
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Ok(Broken::Down("etcd ended the watch".to_owned())),
            Ok(Err(error)) => return broken(reach, failure(&error)),
        };
        asked = None;
        if message.canceled() {
            return cancelled(reach, &message);
        }
        if message.0.events.is_empty() {
            answers |= message.watch_id() == -1;
            following.hear_progress(&message);
            continue;
        }
        held.extend(events(&mut message));
        let rest = match message.0.fragment {
            true => held.split_off(last_revision(&held)),
            false => Vec::new(),
        };
        following.tell(reach, std::mem::replace(&mut held, rest))?;
    }
}

fn silence() -> String {
    format!("it has not answered for {} s", SILENT.as_secs())
}

fn events(message: &mut WatchResponse) -> impl Iterator<Item = KeyValue> {
    let events = std::mem::take(&mut message.0.events);
    events
        .into_iter()
        .filter_map(|event| event.kv)
        .map(KeyValue)
}

/// Where the events of the last revision begin.
fn last_revision(events: &[KeyValue]) -> usize {
    let last = events.last().map(KeyValue::mod_revision);
    let of_last = |event: &&KeyValue| Some(event.mod_revision()) == last;
    events.len() - events.iter().rev().take_while(of_last).count()
}

fn broken(reach: &Reach, failure: Failure) -> Result<Broken, End> {
    match failure {
        Failure::Down(why) => Ok(Broken::Down(why)),
        Failure::Disabled => Err(reach.disabled()),
        Failure::Refused { why, hint } => Err(End::Said {
            why: format!("{}: {why}", reach.base()),
            hint: Some(hint),
        }),
    }
}

fn cancelled(reach: &Reach, message: &WatchResponse) -> Result<Broken, End> {
    let reason = message.cancel_reason();
    match message.compact_revision() {
        1.. => Ok(Broken::Compacted(message.compact_revision() as u64)),
        _ if reason.contains("permission denied") => broken(
            reach,
            Failure::refused(format!("etcd says no ({reason})"), HINT_ROLE),
        ),
        _ => Ok(Broken::Down(format!("etcd ended the watch: {reason}"))),
    }
}

impl Following {
    fn hear_progress(&mut self, message: &WatchResponse) {
        // A watch that begins in the future has the head of the present.
        if message.created() {
            return;
        }
        let Some(header) = message.header() else {
            return;
        };
        let revision = header.revision().max(0) as u64;
        match message.watch_id() {
            // To all watches of the stream: not in the order of events.
            -1 => self.progress.hear(Instant::now(), revision),
            _ => self.progress.settle(revision),
        }
    }

    /// Tells those that were not told yet.
    fn tell(&mut self, reach: &Reach, events: Vec<KeyValue>) -> Result<(), End> {
        let ts_ns = now_ns();
        let told = self.state.told;
        let new = |event: &KeyValue| event.mod_revision().max(0) as u64 > told;
        let events = events.into_iter().filter(new);
        let changes: Vec<Change> = events
            .flat_map(|event| self.change(ts_ns, &event))
            .collect();
        match changes.is_empty() {
            true => Ok(()),
            false => reach.tell(Told::Changed(changes)),
        }
    }

    fn change(&mut self, ts_ns: u64, event: &KeyValue) -> Vec<Change> {
        let key = key(event);
        let revision = key.modified;
        self.state.told = revision;
        match key.version {
            // One that is gone has a name and a revision, and nothing else.
            Some(0) => self.state.remove(ts_ns, Action::Delete, revision, &key.key),
            Some(1) => vec![self.state.put(ts_ns, Action::Create, revision, key)],
            _ => vec![self.state.put(ts_ns, Action::Set, revision, key)],
        }
    }
}

/// Up to where nothing is missing although nothing was told: etcd writes other keys as well, and
/// compacts what they were.
#[derive(Debug, Default)]
struct Progress {
    settled: u64,
    heard: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// A new stream: what an old one said may have been ahead of its events.
    fn begin(&mut self, told: u64) {
        self.heard.clear();
        self.settle(told);
    }

    fn settle(&mut self, revision: u64) {
        self.settled = self.settled.max(revision);
    }

    fn hear(&mut self, now: Instant, revision: u64) {
        self.heard.push_back((now, revision));
        while let Some(&(then, revision)) = self.heard.front()
            && now.duration_since(then) >= SETTLED
        {
            self.settle(revision);
            self.heard.pop_front();
        }
    }

    /// The last revision that a new watch may leave out.
    fn resume(&self, told: u64) -> u64 {
        self.settled.max(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_believed_when_it_has_settled() {
        let mut progress = Progress::default();
        let start = Instant::now();
        progress.begin(10);
        progress.hear(start, 20);
        assert_eq!(progress.resume(12), 12);
        progress.hear(start + SETTLED / 2, 30);
        assert_eq!(progress.resume(10), 10);
        progress.hear(start + SETTLED, 40);
        assert_eq!(progress.resume(10), 20);
        progress.begin(10);
        progress.hear(start + SETTLED * 2, 50);
        assert_eq!(
            progress.resume(10),
            20,
            "what the old stream said is not settled"
        );
        assert_eq!(progress.resume(45), 45);
    }

    #[test]
    fn events_of_the_last_revision_are_held_together() {
        let event = |revision| {
            let mut event = KeyValue(Default::default());
            event.0.mod_revision = revision;
            event
        };
        let events: Vec<KeyValue> = [3, 4, 4, 5, 5, 5].map(event).into();
        assert_eq!(last_revision(&events), 3);
        assert_eq!(last_revision(&events[..1]), 0);
        assert_eq!(last_revision(&[]), 0);
    }
}
