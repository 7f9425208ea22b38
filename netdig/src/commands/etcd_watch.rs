//! `netdig etcd-watch`: a folder of services, followed live.
mod watched;

use std::io::IsTerminal;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Result, bail};

use super::overlay::host;
use super::stop::Stop;
use crate::cli::etcd_watch::EtcdWatchArgs;
use crate::context::namespace::{Namespace, inside};
use crate::context::{Context, registry};
use crate::source::peers::Prober;
use crate::source::probe::unix_now;
use crate::source::registry::{Told, follow};
use watched::Watched;

/// How long the loop waits for news.
const IDLE: Duration = Duration::from_millis(50);
/// News that are taken together before it is judged again.
const TOGETHER: usize = 10_000;

/// Runs `netdig etcd-watch`; false where a finding at or above `--fail-on` is there at the end.
///
/// # Errors
/// Where no store can be followed, or none any more.
pub fn etcd_watch(args: &EtcdWatchArgs) -> Result<bool> {
    let options = args.etcd.options()?;
    if options.keys.is_some() {
        return of_dump(args, &options);
    }
    let stop = Stop::watch(args.duration)?;
    let namespace = args.netns.as_deref().map(Namespace::open).transpose()?;
    let live = host::watch(args.netns.as_deref(), options.clone())?;
    let follower = inside(namespace.as_ref(), || {
        let context = Context::default();
        follow(&context, &options, &args.prefix)
    })??;
    let mut watched = Watched::new(args, live, std::io::stdout().is_terminal());
    if args.probe {
        watched.probe(inside(namespace.as_ref(), Prober::start)??);
    }
    let mut left = args.count.map(std::num::NonZeroU64::get);
    let mut ended = Vec::new();
    while !stop.is_due() && left != Some(0) {
        let mut news = Vec::new();
        match follower.told().recv_timeout(IDLE) {
            Ok(told) => news.push(told),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        news.extend(follower.told().try_iter().take(TOGETHER));
        for told in news {
            if let Told::Ended { api, why, .. } = &told {
                ended.push(format!("etcd {api}: {why}"));
            }
            watched.take(told, &mut left)?;
        }
        watched.look(unix_now())?;
    }
    watched.finish(unix_now())?;
    if !watched.has_followed() {
        let why = match ended.is_empty() {
            true => "no etcd has answered".to_owned(),
            false => ended.join("; "),
        };
        bail!("nothing below {} could be read: {why}", args.prefix);
    }
    Ok(!watched.fails())
}

/// The keys of a file, judged once.
fn of_dump(args: &EtcdWatchArgs, options: &registry::Options) -> Result<bool> {
    let mut options = options.clone();
    options.prefixes = vec![args.prefix.clone()];
    let mut context = Context::default();
    registry::read(&mut context, &options);
    if let Some(unread) = context.unread.first() {
        bail!("{}", unread.why);
    }
    let listings = watched::listings(std::mem::take(&mut context.registry));
    let live = crate::conclusions::Live::nothing_known();
    let mut watched = Watched::new(args, live, std::io::stdout().is_terminal());
    for listing in listings {
        watched.take(Told::Listed(listing), &mut None)?;
    }
    watched.finish(unix_now())?;
    Ok(!watched.fails())
}
