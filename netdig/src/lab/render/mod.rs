//! The lab's renderer: acts, at its system calls and in what it does with
//! errors, as confd does in daemon mode. One of it renders one file.

mod confd;
mod keys;
mod options;
mod part;
mod resource;
pub mod template;

use std::fs::{self, File};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::registry::{Watch, Watched};
use super::scenario::Api;
use keys::Keys;
pub use options::RenderOptions;
use resource::Resource;

/// How long confd waits after an error of a watch.
const AFTER_ERROR: Duration = Duration::from_secs(2);
/// A watch is asked again and again; nothing depends on how often.
const ASKED: Duration = Duration::from_secs(60);

/// Runs the renderer until it is killed. What goes wrong with keys, template
/// and commands is logged and ends nothing.
pub fn run(options: &RenderOptions) -> Result<()> {
    prepare(options)?;
    if let Some(confd) = &options.confd {
        return confd::become_it(confd, options);
    }
    let keys = Keys::new(options);
    let resource = Resource::new(options);
    let revision = pass(&keys, &resource);
    if let Some(path) = &options.ready_file {
        File::create(path)
            .with_context(|| format!("cannot create the ready file {}", path.display()))?;
    }
    match options.interval {
        Some(seconds) => loop {
            std::thread::sleep(Duration::from_secs(seconds.into()));
            pass(&keys, &resource);
        },
        None if options.api == Api::V2 => follow_from_now_on(&keys, &resource),
        None => follow(&keys, &resource, revision),
    }
}

/// One pass; the revision that it saw, if etcd answered.
fn pass(keys: &Keys, resource: &Resource) -> Option<u64> {
    match keys.fetch() {
        Ok((store, revision)) => {
            if let Err(error) = store.and_then(|store| resource.process(&store)) {
                log("ERROR", &format!("{error:#}"));
            }
            Some(revision)
        }
        Err(error) => {
            log("ERROR", &format!("{error:#}"));
            None
        }
    }
}

/// A pass after every change, one after another; `first` is what the first pass
/// saw. No change is missed: confd's watches of v3 run on while it renders.
fn follow(keys: &Keys, resource: &Resource, first: Option<u64>) -> Result<()> {
    let mut watch: Option<Watch> = first.map(|revision| keys.watch(revision));
    loop {
        let Some(watching) = &mut watch else {
            std::thread::sleep(AFTER_ERROR);
            watch = pass(keys, resource).map(|revision| keys.watch(revision));
            continue;
        };
        match watching.next(ASKED) {
            Ok(Watched::Changes(changes)) => {
                if changes.iter().any(|change| keys.concerns(change)) {
                    pass(keys, resource);
                }
            }
            Ok(Watched::Nothing) => {}
            Ok(Watched::Cleared) => {
                watch = pass(keys, resource).map(|revision| keys.watch(revision));
            }
            Err(error) => {
                log("ERROR", &format!("{error:#}"));
                std::thread::sleep(AFTER_ERROR);
            }
        }
    }
}

/// The same with v2, as confd does it: each change that concerns it ends its
/// watch, and after the pass a new one begins with what comes then. What
/// happened meanwhile stays unseen until the next change. So it does after an
/// error, be it that etcd has forgotten the events in between (401): confd waits
/// and watches again, and reads nothing.
fn follow_from_now_on(keys: &Keys, resource: &Resource) -> Result<()> {
    loop {
        match next_change(keys, &mut keys.watch_from_now()) {
            Ok(()) => drop(pass(keys, resource)),
            Err(error) => {
                log("ERROR", &format!("{error:#}"));
                std::thread::sleep(AFTER_ERROR);
            }
        }
    }
}

/// Waits for a change that concerns it.
fn next_change(keys: &Keys, watch: &mut Watch) -> Result<()> {
    loop {
        match watch.next(ASKED)? {
            Watched::Changes(changes) => {
                if changes.iter().any(|change| keys.concerns(change)) {
                    return Ok(());
                }
            }
            Watched::Nothing => {}
            Watched::Cleared => {
                bail!("401: The event in requested index is outdated and cleared")
            }
        }
    }
}

/// The destination's folder.
fn prepare(options: &RenderOptions) -> Result<()> {
    match options.dest.parent() {
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
        }
        None => Ok(()),
    }
}

fn log(level: &str, text: &str) {
    crate::lab::tell!("confd[{}]: {level} {text}", std::process::id());
}
