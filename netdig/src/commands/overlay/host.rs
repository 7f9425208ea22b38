//! What the host says while packets flow: a thread of its own reads it, follows the kernel's
//! changes, and hands over a context whenever there is news.
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::commands::privileges;
use crate::conclusions::{Live, When};
use crate::context::namespace::{Namespace, inside};
use crate::context::netlink::{Changes, Follower, refresh};
use crate::context::read::{Look, again, within};
use crate::context::registry::Options;
use crate::context::{Context, Earlier, Part, counters};
use crate::rules::own_subnets;

/// How often counters are read, and how long the kernel's changes are gathered at least.
const COUNTERS: Duration = Duration::from_secs(1);
const GATHER: Duration = Duration::from_millis(100);
/// How often files, processes and the registry are read.
const REST: Duration = Duration::from_secs(10);
/// How long the end of a run waits for a first look that is under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts to look at the host.
///
/// # Errors
/// Where no thread can be had.
pub fn watch(netns: Option<&str>, registry: Options) -> Result<Live> {
    let netns = netns.map(str::to_owned);
    let hear = Arc::new(Slot::default());
    let tell = Arc::clone(&hear);
    std::thread::Builder::new()
        .name("context".to_owned())
        .spawn(move || look_on(netns.as_deref(), &registry, &tell))
        .context("cannot start a thread that looks at the host")?;
    let mut first = true;
    let unknown = Live::nothing_known().context;
    Ok(Live::new(unknown, move |context, when| {
        let patience = match (when, first) {
            (When::Ending, true) => PATIENCE,
            _ => Duration::ZERO,
        };
        let changed = hear.take(context, patience);
        first &= !changed;
        changed
    }))
}

/// What has changed since the last look.
enum News {
    Whole(Box<Context>),
    Counters(BTreeMap<String, u64>),
}

/// Room for the newest news alone: who is late to take it misses what is old, and no memory
/// fills meanwhile.
#[derive(Default)]
struct Slot {
    news: Mutex<Option<News>>,
    came: Condvar,
}

impl Slot {
    /// Puts news in the place of older ones; false where nobody takes them any more.
    fn put(self: &Arc<Slot>, news: News) -> bool {
        if Arc::strong_count(self) == 1 {
            return false;
        }
        let mut slot = self.lock();
        match (&mut *slot, news) {
            (Some(News::Whole(waiting)), News::Counters(counters)) => waiting.counters = counters,
            (slot, news) => *slot = Some(news),
        }
        self.came.notify_all();
        true
    }

    /// Brings a context up to date, with what comes within `patience` at the latest; whether
    /// there was news.
    fn take(&self, context: &mut Context, patience: Duration) -> bool {
        let mut slot = self.lock();
        if !patience.is_zero() {
            let none = |slot: &mut Option<News>| slot.is_none();
            let waited = self.came.wait_timeout_while(slot, patience, none);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match slot.take() {
            None => return false,
            Some(News::Whole(news)) => *context = *news,
            Some(News::Counters(counters)) => context.counters = counters,
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<News>> {
        // What is in it is whole at any time.
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread: within the namespace from its beginning to its end.
fn look_on(netns: Option<&str>, registry: &Options, news: &Arc<Slot>) {
    let looked = netns
        .map(Namespace::open)
        .transpose()
        .and_then(|namespace| {
            let look = Look {
                namespace: namespace.as_ref(),
                netns,
                registry,
            };
            inside(namespace.as_ref(), || follow(&look, news))?
        });
    // Packets alone are judged then, and what is said of the rest is why.
    if let Err(error) = looked {
        let why = format!("the host cannot be looked at while packets flow: {error:#}");
        news.put(News::Whole(Box::new(Live::unknown(&why))));
    }
}

fn follow(look: &Look<'_>, news: &Arc<Slot>) -> Result<()> {
    // What changes while it is read is told afterwards. Where nobody can be asked to tell it,
    // it is read each second.
    let mut follower = Follower::open().ok();
    let mut context = within(look);
    // The firewall is read: what is left needs no more than a running overlay.
    privileges::drop_unneeded().context("cannot give up capabilities")?;
    if !news.put(News::Whole(Box::new(context.clone()))) {
        return Ok(());
    }
    let mut last = Instant::now();
    loop {
        let changes = changes(follower.as_mut());
        let mut changed = !changes.is_empty();
        if changed {
            refresh(&mut context, &changes);
        }
        let before = context.counters.clone();
        changed |= read_counters(&mut context);
        if last.elapsed() >= REST {
            last = Instant::now();
            remember(&mut context);
            again(&mut context, look);
            changed = true;
        }
        let heard = match changed {
            true => news.put(News::Whole(Box::new(context.clone()))),
            false if context.counters != before => {
                news.put(News::Counters(context.counters.clone()))
            }
            false => Arc::strong_count(news) > 1,
        };
        if !heard {
            return Ok(());
        }
    }
}

/// Waits for the kernel's changes, a second at most, and gathers those that come together.
fn changes(follower: Option<&mut Follower>) -> Changes {
    let Some(follower) = follower else {
        std::thread::sleep(COUNTERS);
        return Changes::all();
    };
    let mut poll = libc::pollfd {
        fd: follower.fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor that is open, and its structure.
    if unsafe { libc::poll(&raw mut poll, 1, COUNTERS.as_millis() as i32) } <= 0 {
        return Changes::default();
    }
    std::thread::sleep(GATHER);
    follower.changes()
}

/// Reads the counters; whether another part of them than before can be read.
fn read_counters(context: &mut Context) -> bool {
    let (before, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut context.unread)
        .into_iter()
        .partition(|one| one.part == Part::Counters);
    context.unread = rest;
    counters::read(context);
    let now = context.unread.iter();
    !now.filter(|one| one.part == Part::Counters).eq(&before)
}

/// Keeps the subnets that this host was first seen with, for ND403.
fn remember(context: &mut Context) {
    let subnets = own_subnets(context);
    if subnets.is_empty() {
        return;
    }
    let taken_ns = context.taken_ns;
    let earlier = context.earlier.get_or_insert_with(|| Earlier {
        taken_ns,
        ..Earlier::default()
    });
    for (network, subnet) in subnets {
        earlier.subnets.entry(network).or_insert(subnet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::files::{Files, SubnetEnv};

    fn counted(value: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("TcpExt.ListenDrops".to_owned(), value)])
    }

    fn whole(taken_ns: u64) -> News {
        News::Whole(Box::new(Context {
            taken_ns,
            ..Context::default()
        }))
    }

    #[test]
    fn the_newest_wins_and_counters_come_on_top() {
        let hear = Arc::new(Slot::default());
        let tell = Arc::clone(&hear);
        let mut context = Context::default();
        assert!(!hear.take(&mut context, Duration::ZERO));
        for news in [whole(1), whole(2), News::Counters(counted(3))] {
            assert!(tell.put(news));
        }
        assert!(hear.take(&mut context, PATIENCE));
        assert_eq!((context.taken_ns, &context.counters), (2, &counted(3)));
        assert!(!hear.take(&mut context, Duration::ZERO));
        assert!(tell.put(News::Counters(counted(4))));
        assert!(hear.take(&mut context, Duration::ZERO));
        assert_eq!((context.taken_ns, &context.counters), (2, &counted(4)));
        drop(hear);
        assert!(!tell.put(whole(5)), "nobody hears it");
    }

    #[test]
    fn the_first_subnet_is_remembered() {
        let subnet = |subnet: &str| Context {
            files: Files {
                subnet_env: vec![SubnetEnv {
                    file: "/run/flannel/subnet.env".to_owned(),
                    network: "192.168.0.0/16".parse().into_iter().collect(),
                    subnet: subnet.parse().ok(),
                    ..SubnetEnv::default()
                }],
                ..Files::default()
            },
            ..Context::default()
        };
        let mut context = subnet("192.168.69.1/24");
        remember(&mut context);
        context.files = subnet("192.168.70.1/24").files;
        remember(&mut context);
        let subnets = context.earlier.expect("a subnet is known").subnets;
        assert_eq!(subnets["192.168.0.0/16"], "192.168.69.0/24");
    }
}
