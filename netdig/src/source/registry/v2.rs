//! API v2: long polls, each answered with one event.
//!
//! A stream of events (`stream=true`) is not used: with an index of the past etcd 3.4 sends one
//! event on it and then none.
//!
//! etcd remembers 1000 events of all keys, and a question from an older index on is refused. So
//! that others' writes do not make a quiet prefix forgotten, two questions overlap: while one
//! waits that was asked from a known index on, a second one is asked from now on, and takes over
//! when the first one has stayed without an answer long after the second one was heard.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::reach::{End, LOOK_UP, Reach};
use super::state::State;
use super::{Action, Change, Forgotten, Told, now_ns};
use crate::context::registry::ApiVersion;
use crate::context::registry::access::Access;
use crate::context::registry::error::{Failure, Reading};
use crate::context::registry::v2::{Client, Event, Waited};

/// How long a question waits.
const LIFE: Duration = Duration::from_secs(4);
/// How long the first one waits until the second one is asked.
const OVERLAP: Duration = Duration::from_secs(2);

/// Follows the store until nobody listens or it says no.
pub fn run(mut reach: Reach, prefix: &str) {
    let Err(end) = follow(&mut reach, prefix);
    reach.end(end);
}

/// Why the questions are over.
enum Broken {
    Cleared,
    Failed(Failure),
}

/// A new listing: the first one, or because of what was forgotten.
type Listed = Option<(Reading, Option<Forgotten>)>;

fn follow(reach: &mut Reach, prefix: &str) -> Result<Infallible, End> {
    let mut state: Option<State> = None;
    let mut forgotten = None;
    loop {
        let listed = reach.connect(|base, access| {
            begin(base, access, prefix, state.as_ref(), forgotten.clone())
        })?;
        forgotten = None;
        let state = settle(reach, &mut state, listed)?;
        match wait(reach, state, prefix)? {
            Broken::Cleared => forgotten = Some(Forgotten::Cleared),
            Broken::Failed(Failure::Down(why)) => reach.away(why)?,
            Broken::Failed(Failure::Disabled) => return Err(reach.disabled()),
            Broken::Failed(Failure::Refused { why, hint }) => {
                let why = format!("{}: {why}", reach.base());
                return Err(End::Said {
                    why,
                    hint: Some(hint),
                });
            }
        }
    }
}

/// Lists where that is needed.
fn begin(
    base: &str,
    access: &Access,
    prefix: &str,
    known: Option<&State>,
    forgotten: Option<Forgotten>,
) -> Result<Listed, Failure> {
    let client = Client::new(base, access).with_quorum();
    let why = match known {
        None => None,
        Some(known) => {
            // A key that is hardly there: its answer is short, and tells where the store is.
            let nothing = format!("{}/_netdig", prefix.trim_end_matches('/'));
            let place = client.keys(&nothing, false)?;
            let why = differs(known, place.cluster, place.index).or(forgotten);
            if why.is_none() {
                return Ok(None);
            }
            why
        }
    };
    let listing = client.keys(prefix, true)?;
    let keys = listing.node.map(|node| node.keys()).unwrap_or_default();
    let reading = Reading {
        cluster: listing.cluster,
        revision: listing.index,
        keys,
        ..Reading::default()
    };
    Ok(Some((reading, why)))
}

/// Whether another history answers than the one that was told.
fn differs(known: &State, cluster: Option<String>, index: u64) -> Option<Forgotten> {
    match (&known.cluster, cluster) {
        (Some(before), Some(now)) if *before != now => Some(Forgotten::OtherCluster {
            before: before.clone(),
            now,
        }),
        _ => (index < known.told).then_some(Forgotten::RolledBack),
    }
}

/// Tells what was listed, if anything was.
fn settle<'a>(
    reach: &Reach,
    state: &'a mut Option<State>,
    listed: Listed,
) -> Result<&'a mut State, End> {
    if let Some((reading, why)) = listed {
        match (state.as_mut(), why) {
            (Some(state), Some(why)) => reach.tell(Told::Gap(state.list_again(reading, why)))?,
            _ => {
                let (begun, listing) = State::begin(ApiVersion::V2, reach.base(), reading);
                *state = Some(begun);
                reach.tell(Told::Listed(listing))?;
            }
        }
    }
    state.as_mut().ok_or_else(|| End::Said {
        why: "nothing was listed".to_owned(),
        hint: None,
    })
}

/// What one who asks is to do.
enum Ask {
    /// From this index on, one event after the other until none comes.
    From(u64),
    /// From now on, for one event.
    Now,
}

/// What one who asks has heard.
enum Heard {
    /// The question waits, for what comes behind this index.
    Waits(u64),
    Event(Event),
    Quiet,
    Broken(Broken),
}

/// One of the two who ask.
struct Poller {
    base: String,
    access: Arc<Access>,
    prefix: String,
    cluster: Option<String>,
    me: usize,
    heard: Sender<(usize, Heard)>,
}

impl Poller {
    /// Does what it is told until nobody tells any more.
    fn run(&self, orders: &Receiver<Ask>) {
        let client = Client::new(&self.base, &self.access);
        while let Ok(ask) = orders.recv() {
            let done = match ask {
                Ask::From(index) => self.follow(&client, index),
                Ask::Now => self.ask(&client, None),
            };
            let heard = done.unwrap_or_else(Heard::Broken);
            if self.heard.send((self.me, heard)).is_err() {
                return;
            }
        }
    }

    fn follow(&self, client: &Client<'_>, mut index: u64) -> Result<Heard, Broken> {
        loop {
            match self.ask(client, Some(index))? {
                Heard::Event(event) => {
                    index = event.index + 1;
                    if self.heard.send((self.me, Heard::Event(event))).is_err() {
                        return Ok(Heard::Quiet);
                    }
                }
                other => return Ok(other),
            }
        }
    }

    fn ask(&self, client: &Client<'_>, since: Option<u64>) -> Result<Heard, Broken> {
        let waiting = client.wait(&self.prefix, since, LIFE);
        let waiting = waiting.map_err(Broken::Failed)?;
        let other = |now: &str| self.cluster.as_ref().is_some_and(|before| before != now);
        let older = since.is_some_and(|since| waiting.index + 1 < since);
        if older || waiting.cluster.as_deref().is_some_and(other) {
            let why = "another etcd answers, or an older state of it".to_owned();
            return Err(Broken::Failed(Failure::Down(why)));
        }
        if since.is_none() {
            // Who does not listen any more will not read the answer either.
            let _ = self.heard.send((self.me, Heard::Waits(waiting.index)));
        }
        match client.waited(&self.prefix, waiting) {
            Ok(Waited::Event(event)) => Ok(Heard::Event(event)),
            Ok(Waited::Quiet) => Ok(Heard::Quiet),
            Ok(Waited::Cleared) => Err(Broken::Cleared),
            Err(failure) => Err(Broken::Failed(failure)),
        }
    }
}

/// Asks with two who take turns, and tells what they hear, until something breaks. One who still
/// waits then ends by itself when its question does.
fn wait(reach: &Reach, state: &mut State, prefix: &str) -> Result<Broken, End> {
    let (sender, heard) = channel();
    let mut orders = Vec::new();
    for me in 0..2 {
        let (order, taken) = channel();
        orders.push(order);
        let poller = Poller {
            base: reach.base().to_owned(),
            access: reach.access(),
            prefix: prefix.to_owned(),
            cluster: state.cluster.clone(),
            me,
            heard: sender.clone(),
        };
        let thread = thread::Builder::new().name("etcd-poll".to_owned());
        if let Err(error) = thread.spawn(move || poller.run(&taken)) {
            let why = format!("no thread could be started: {error}");
            return Ok(Broken::Failed(Failure::Down(why)));
        }
    }
    drop(sender);
    let now = Instant::now();
    let turns = Turns {
        reach,
        state,
        orders,
        active: 0,
        follows: true,
        since: now,
        standby: Standby::Idle,
        asked: now,
    };
    turns.run(&heard)
}

/// The one who is asked from now on.
enum Standby {
    Idle,
    /// Asked; not heard yet that it waits.
    Asked,
    /// It hears all that comes behind the index; what it has heard of that.
    Waits(u64, Option<Event>),
}

struct Turns<'a> {
    reach: &'a Reach,
    state: &'a mut State,
    orders: Vec<Sender<Ask>>,
    active: usize,
    /// Whether the active one goes on after an event by itself.
    follows: bool,
    /// Since when its question waits.
    since: Instant,
    standby: Standby,
    /// When the standby was asked.
    asked: Instant,
}

impl Turns<'_> {
    fn run(mut self, heard: &Receiver<(usize, Heard)>) -> Result<Broken, End> {
        self.go_on();
        loop {
            self.reach.heard()?;
            if matches!(self.standby, Standby::Idle) && self.since.elapsed() > OVERLAP {
                self.standby = Standby::Asked;
                self.asked = Instant::now();
                self.order(1 - self.active, Ask::Now);
            }
            let (who, what) = match heard.recv_timeout(LOOK_UP) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "nobody asks any more".to_owned();
                    return Ok(Broken::Failed(Failure::Down(why)));
                }
            };
            let broken = match who == self.active {
                true => self.of_active(what)?,
                false => self.of_standby(what),
            };
            if let Some(broken) = broken {
                return Ok(broken);
            }
        }
    }

    fn order(&self, who: usize, ask: Ask) {
        // One that has ended is heard of no more, and that ends us.
        let _ = self.orders[who].send(ask);
    }

    /// Has the active one follow from what was told last on.
    fn go_on(&mut self) {
        self.follows = true;
        self.since = Instant::now();
        self.order(self.active, Ask::From(self.state.told + 1));
    }

    fn of_active(&mut self, heard: Heard) -> Result<Option<Broken>, End> {
        match heard {
            Heard::Broken(broken) => return Ok(Some(broken)),
            Heard::Waits(_) => {}
            Heard::Event(event) => {
                self.since = Instant::now();
                self.tell(event)?;
                if !self.follows {
                    self.go_on();
                }
            }
            Heard::Quiet => self.take_over()?,
        }
        Ok(None)
    }

    /// The active one heard nothing to the end.
    fn take_over(&mut self) -> Result<(), End> {
        match std::mem::replace(&mut self.standby, Standby::Idle) {
            Standby::Waits(index, event) => {
                self.active = 1 - self.active;
                self.follows = false;
                self.since = self.asked;
                self.state.told = self.state.told.max(index);
                if let Some(event) = event {
                    self.tell(event)?;
                    self.go_on();
                }
            }
            other => {
                self.standby = other;
                self.go_on();
            }
        }
        Ok(())
    }

    fn of_standby(&mut self, heard: Heard) -> Option<Broken> {
        let before = std::mem::replace(&mut self.standby, Standby::Idle);
        self.standby = match (heard, before) {
            (Heard::Waits(index), Standby::Asked) => Standby::Waits(index, None),
            (Heard::Event(event), Standby::Waits(index, _)) if event.index > self.state.told => {
                Standby::Waits(index, Some(event))
            }
            (Heard::Broken(broken @ Broken::Failed(_)), _) => return Some(broken),
            (_, _) => Standby::Idle,
        };
        None
    }

    fn tell(&mut self, event: Event) -> Result<(), End> {
        if event.index <= self.state.told {
            return Ok(());
        }
        let changes = changes(self.state, event);
        if let Standby::Waits(_, Some(event)) = &self.standby
            && event.index <= self.state.told
        {
            self.standby = Standby::Idle;
        }
        match changes.is_empty() {
            true => Ok(()),
            false => self.reach.tell(Told::Changed(changes)),
        }
    }
}

/// What an event does to the keys.
fn changes(state: &mut State, event: Event) -> Vec<Change> {
    let (ts_ns, index) = (now_ns(), event.index);
    state.told = index;
    let action = match event.action.as_str() {
        "create" => Action::Create,
        "compareAndSwap" => Action::CompareAndSwap,
        "delete" => Action::Delete,
        "compareAndDelete" => Action::CompareAndDelete,
        "expire" => Action::Expire,
        // `set` and `update`.
        _ => Action::Set,
    };
    match action {
        Action::Delete | Action::CompareAndDelete | Action::Expire => {
            state.remove_all(ts_ns, action, index, &event.node.key)
        }
        // A directory's own time to live.
        Action::Set if event.node.directory && state.has_below(&event.node.key) => Vec::new(),
        _ => vec![state.put(ts_ns, action, index, event.node)],
    }
}
