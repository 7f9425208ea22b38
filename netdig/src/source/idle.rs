//! How long to sleep when nothing was found.
use std::time::Duration;

/// First sleep after events: short, so that a busy sender's records are taken
/// while they still are in the cache.
const SHORTEST: Duration = Duration::from_micros(25);
/// Longest sleep: beyond it a full rate loses packets, and below it an idle host
/// is woken for nothing.
const LONGEST: Duration = Duration::from_millis(1);

/// Sleeps that grow as long as nothing happens.
#[derive(Debug)]
pub struct Idle {
    next: Duration,
}

impl Default for Idle {
    fn default() -> Self {
        Idle { next: SHORTEST }
    }
}

impl Idle {
    /// Something happened.
    pub fn reset(&mut self) {
        self.next = SHORTEST;
    }

    /// Nothing did: sleeps.
    pub fn sleep(&mut self) {
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(LONGEST);
    }
}
