//! What the host says while packets flow: a thread of its own reads it, follows the kernel's
//! changes, and hands over a context whenever there is news.
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cli::overlay::OverlayArgs;
use crate::commands::privileges;
use crate::conclusions::{Live, When};
use crate::context::namespace::{Namespace, inside};
use crate::context::netlink::{Follower, refresh};
use crate::context::read::{Look, again, within};
use crate::context::registry::Options;
use crate::context::{Context, Part, counters};

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
/// Where the flags for etcd do not fit together, or no thread can be had.
pub fn watch(args: &OverlayArgs) -> Result<Live> {
    let registry = args.etcd.options()?;
    let netns = args.netns.clone();
    let (news, hear) = channel();
    std::thread::Builder::new()
        .name("context".to_owned())
        .spawn(move || look_on(netns.as_deref(), &registry, &news))
        .context("cannot start a thread that looks at the host")?;
    let mut first = true;
    let unknown = Live::nothing_known().context;
    Ok(Live::new(unknown, move |context, when| {
        take(&hear, context, &mut first, when)
    }))
}

/// Takes the newest context that has come.
fn take(hear: &Receiver<Context>, context: &mut Context, first: &mut bool, when: When) -> bool {
    let mut changed = false;
    loop {
        let patience = match (when, *first) {
            (When::Ending, true) => PATIENCE,
            _ => Duration::ZERO,
        };
        let news = match patience.is_zero() {
            true => hear
                .try_recv()
                .map_err(|error| error == TryRecvError::Empty),
            false => hear
                .recv_timeout(patience)
                .map_err(|error| error == RecvTimeoutError::Timeout),
        };
        let Ok(news) = news else {
            return changed;
        };
        *context = news;
        *first = false;
        changed = true;
    }
}

/// The thread: within the namespace from its beginning to its end.
fn look_on(netns: Option<&str>, registry: &Options, news: &Sender<Context>) {
    let Ok(namespace) = netns.map(Namespace::open).transpose() else {
        return;
    };
    let look = Look {
        namespace: namespace.as_ref(),
        netns,
        registry,
    };
    // Where it cannot be entered, packets alone are judged.
    let _ = inside(namespace.as_ref(), || follow(&look, news));
}

fn follow(look: &Look<'_>, news: &Sender<Context>) {
    // What changes while it is read is told afterwards.
    let mut follower = Follower::open().ok();
    let mut context = within(look);
    // The firewall is read: what is left needs no more than a running overlay.
    let _ = privileges::drop_unneeded();
    if news.send(context.clone()).is_err() {
        return;
    }
    let mut last = Instant::now();
    loop {
        let told = wait(follower.as_ref());
        let before = context.counters.clone();
        let mut changed = false;
        if told {
            std::thread::sleep(GATHER);
            let changes = follower.as_mut().map(Follower::changes).unwrap_or_default();
            changed = !changes.is_empty();
            refresh(&mut context, &changes);
        }
        context.unread.retain(|one| one.part != Part::Counters);
        counters::read(&mut context);
        if last.elapsed() >= REST {
            last = Instant::now();
            again(&mut context, look);
            changed = true;
        }
        if (changed || context.counters != before) && news.send(context.clone()).is_err() {
            return;
        }
    }
}

/// Waits for the kernel's news, a second at most; whether there are any.
fn wait(follower: Option<&Follower>) -> bool {
    let Some(follower) = follower else {
        std::thread::sleep(COUNTERS);
        return false;
    };
    let mut poll = libc::pollfd {
        fd: follower.fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor that is open, and its structure.
    unsafe { libc::poll(&raw mut poll, 1, COUNTERS.as_millis() as i32) > 0 }
}
