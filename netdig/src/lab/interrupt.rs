//! Ctrl-C and its like end a lab's work at the next wait, so that what was
//! built is taken down on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP make [`check`] fail and do nothing else.
pub fn watch() -> Result<()> {
    let flag = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone()).context("cannot handle signals")?;
    }
    Ok(())
}

/// An error once a signal has come.
pub fn check() -> Result<()> {
    if ASKED.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        bail!("interrupted");
    }
    Ok(())
}

/// Asks `probe` again and again until it has something, fails, or `deadline`
/// has passed: then `None`. A signal is an error.
pub fn poll_until<T>(
    deadline: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    poll_through(deadline, || {
        check()?;
        probe()
    })
}

/// The same whatever signals come: for what has to be done after one.
pub fn poll_through<T>(
    deadline: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe()? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits; a signal is an error at once.
pub fn pause(time: Duration) -> Result<()> {
    poll_until(time, || Ok(None::<()>)).map(|_| ())
}
