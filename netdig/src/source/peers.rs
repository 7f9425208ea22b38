//! Whether somebody listens at an address: connections that are opened and closed at once.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::evidence::services::{Answer, Probes};
use crate::output::text::errno_name;

/// How long an address has for its answer, and after which time it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(10);
/// Connections under way at once, and addresses that are asked at most.
const SIDE_BY_SIDE: usize = 16;
const MOST: usize = 4096;
/// How long a thread without work waits.
const IDLE: Duration = Duration::from_millis(50);

/// Threads that try addresses, until it is dropped.
pub struct Prober {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// When each is to be tried next.
    due: BTreeMap<SocketAddr, Instant>,
    answers: Probes,
    changed: bool,
}

impl Prober {
    /// Starts the threads, which connect from the network namespace of the caller.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start() -> Result<Prober> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        for _ in 0..SIDE_BY_SIDE {
            let shared = Arc::downgrade(&shared);
            std::thread::Builder::new()
                .name("probe".to_owned())
                .spawn(move || work(&shared))
                .context("cannot start a thread that tries upstreams")?;
        }
        Ok(Prober { shared })
    }

    /// Says which addresses are to be tried; others are forgotten.
    pub fn want(&self, addresses: &BTreeSet<SocketAddr>) {
        let mut shared = lock(&self.shared);
        shared.due.retain(|address, _| addresses.contains(address));
        shared
            .answers
            .retain(|address, _| addresses.contains(address));
        for address in addresses.iter().take(MOST) {
            shared.due.entry(*address).or_insert_with(Instant::now);
        }
    }

    /// What they answered, where something has changed since it was asked last.
    pub fn news(&self) -> Option<Probes> {
        let mut shared = lock(&self.shared);
        std::mem::take(&mut shared.changed).then(|| shared.answers.clone())
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // What is in it is whole at any time.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(shared: &Weak<Mutex<Shared>>) {
    // It ends with the prober.
    while let Some(shared) = shared.upgrade() {
        let Some(address) = next(&shared) else {
            drop(shared);
            std::thread::sleep(IDLE);
            continue;
        };
        let answer = attempt(address);
        let mut shared = lock(&shared);
        if shared.due.contains_key(&address) {
            let before = shared.answers.insert(address, answer.clone());
            shared.changed |= before.as_ref() != Some(&answer);
        }
    }
}

/// The address whose turn it is.
fn next(shared: &Mutex<Shared>) -> Option<SocketAddr> {
    let now = Instant::now();
    let mut shared = lock(shared);
    let (address, due) = shared.due.iter_mut().find(|(_, due)| **due <= now)?;
    *due = now + AGAIN;
    Some(*address)
}

fn attempt(address: SocketAddr) -> Answer {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => Answer::Accepts,
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> Answer {
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::ConnectionRefused, _) => Answer::Refuses,
        (ErrorKind::TimedOut, _) => Answer::Silent,
        (_, Some(errno)) => Answer::NoWay(errno_name(errno)),
        (_, None) => Answer::NoWay(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_accepts_and_who_is_forgotten_is_asked_no_more() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("an address");
        let closed = {
            let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            other.local_addr().expect("an address")
        };
        let prober = Prober::start().expect("threads");
        prober.want(&BTreeSet::from([open, closed]));
        let answers = told(&prober, 2);
        assert_eq!(answers[&open], Answer::Accepts);
        assert_eq!(answers[&closed], Answer::Refuses);
        prober.want(&BTreeSet::from([open]));
        assert!(!lock(&prober.shared).answers.contains_key(&closed));
    }

    /// The answers, once there are so many.
    fn told(prober: &Prober, count: usize) -> Probes {
        let until = Instant::now() + Duration::from_secs(10);
        let mut answers = Probes::new();
        while answers.len() < count && Instant::now() < until {
            answers = prober.news().unwrap_or(answers);
            std::thread::sleep(IDLE);
        }
        answers
    }
}
