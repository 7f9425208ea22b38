//! The lab's renderer: acts, at its system calls and in what it does with
//! errors, as confd does in daemon mode. One of it renders one file.

mod confd;
mod keys;
mod options;
mod part;
mod resource;
pub mod template;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::registry::{Watch, Watched};
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
    let resource = Resource::new(options)?;
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
        None => follow(&keys, &resource, revision),
    }
}

/// One pass; the revision that it saw, if etcd answered.
fn pass(keys: &Keys, resource: &Resource) -> Option<u64> {
    match keys.fetch() {
        Ok((store, revision)) => {
            if let Err(error) = resource.process(&store) {
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

/// A pass after every change, one after another.
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

/// The destination's folder, and its mount where there is to be one.
fn prepare(options: &RenderOptions) -> Result<()> {
    let dest = &options.dest;
    if let Some(folder) = dest.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    if options.bind_mounted {
        mount_over_itself(dest)?;
    }
    Ok(())
}

/// Makes a file a mount point, as Docker does with a file given by `-v`. All in
/// the same mount namespace see it, and it goes with that.
fn mount_over_itself(path: &Path) -> Result<()> {
    let namespace = |process: &str| {
        let path = format!("/proc/{process}/ns/mnt");
        let metadata = fs::metadata(&path).with_context(|| format!("cannot read {path}"))?;
        anyhow::Ok(metadata.ino())
    };
    // SAFETY: getppid cannot fail.
    let parent = unsafe { libc::getppid() };
    if namespace("self")? == namespace(&parent.to_string())? {
        bail!(
            "{} cannot be made a mount point: there is no mount namespace here that is the lab's alone",
            path.display()
        );
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
        .context("a path holds a NUL byte")?;
    // SAFETY: the strings outlive the call; no data is passed.
    let done = unsafe {
        libc::mount(
            name.as_ptr(),
            name.as_ptr(),
            std::ptr::null(),
            libc::MS_BIND,
            std::ptr::null(),
        )
    };
    if done < 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("cannot make {} a mount point", path.display()));
    }
    Ok(())
}

fn log(level: &str, text: &str) {
    eprintln!("confd[{}]: {level} {text}", std::process::id());
}
