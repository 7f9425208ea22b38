//! When a live run ends: a signal, or its time.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether to end.
pub struct Stop {
    signalled: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Stop {
    /// Begins to listen for SIGINT, SIGTERM and SIGHUP; the first ends the run
    /// cleanly, a second one at once.
    ///
    /// # Errors
    /// When a handler cannot be set.
    pub fn watch(duration: Option<Duration>) -> anyhow::Result<Stop> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Registered first, it acts before the flag is set: on the second signal.
            signal_hook::flag::register_conditional_shutdown(signal, 2, signalled.clone())
                .and_then(|_| signal_hook::flag::register(signal, signalled.clone()))
                .context("cannot listen for signals")?;
        }
        Ok(Stop {
            signalled,
            until: duration.map(|duration| Instant::now() + duration),
        })
    }

    pub fn is_due(&self) -> bool {
        self.is_signalled() || self.until.is_some_and(|until| Instant::now() >= until)
    }

    pub fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
    }
}
