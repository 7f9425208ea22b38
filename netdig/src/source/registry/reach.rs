//! Where a store is reached, and who hears of it.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::Told;
use crate::context::registry::ApiVersion;
use crate::context::registry::access::Access;
use crate::context::registry::error::Failure;
use crate::context::registry::read::{State, version};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often someone who waits looks whether anybody still listens.
pub const LOOK_UP: Duration = Duration::from_millis(250);

/// Why a store is followed no more.
pub enum End {
    /// Nobody listens.
    Unheard,
    /// It says no, or does not speak the API.
    Said { why: String, hint: Option<String> },
}

pub struct Reach {
    api: ApiVersion,
    access: Arc<Access>,
    bases: Arc<[String]>,
    /// Which of them is asked.
    at: usize,
    sender: SyncSender<Told>,
    stop: Arc<AtomicBool>,
    away: bool,
}

impl Reach {
    pub fn new(
        api: ApiVersion,
        access: &Arc<Access>,
        bases: &Arc<[String]>,
        sender: &SyncSender<Told>,
        stop: &Arc<AtomicBool>,
    ) -> Reach {
        Reach {
            api,
            access: Arc::clone(access),
            bases: Arc::clone(bases),
            at: 0,
            sender: sender.clone(),
            stop: Arc::clone(stop),
            away: false,
        }
    }

    pub fn api(&self) -> ApiVersion {
        self.api
    }

    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
    }

    pub fn base(&self) -> &str {
        &self.bases[self.at]
    }

    pub fn tell(&self, told: Told) -> Result<(), End> {
        self.sender.send(told).map_err(|_| End::Unheard)
    }

    /// Whether somebody still listens.
    pub fn heard(&self) -> Result<(), End> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(End::Unheard),
            false => Ok(()),
        }
    }

    /// Tells why it ended.
    pub fn end(&self, end: End) {
        if let End::Said { why, hint } = end {
            let api = self.api;
            // Nobody listening is an end as well.
            let _ = self.tell(Told::Ended { api, why, hint });
        }
    }

    /// Tries one endpoint after the other, again and again, until one gives what `attempt`
    /// wants; tells once that none does, and that one does again.
    pub fn connect<T>(
        &mut self,
        mut attempt: impl FnMut(&str, &Access) -> Result<T, Failure>,
    ) -> Result<T, End> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.round(&mut attempt)? {
                Ok(got) => {
                    self.back()?;
                    return Ok(got);
                }
                Err(why) => self.away(why)?,
            }
            self.pause(pause)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Each endpoint once, beginning with the last one that served.
    fn round<T>(
        &mut self,
        attempt: &mut impl FnMut(&str, &Access) -> Result<T, Failure>,
    ) -> Result<Result<T, String>, End> {
        let mut down = Vec::new();
        let mut refused = None;
        for _ in 0..self.bases.len() {
            self.heard()?;
            let base = &self.bases[self.at];
            match probe(self.api, base, &self.access).and_then(|()| attempt(base, &self.access)) {
                Ok(got) => return Ok(Ok(got)),
                Err(Failure::Disabled) => return Err(self.disabled()),
                Err(Failure::Refused { why, hint }) => {
                    down.push(format!("{base}: {why}"));
                    refused = Some((why, hint));
                }
                Err(Failure::Down(why)) => down.push(format!("{base}: {why}")),
            }
            self.at = (self.at + 1) % self.bases.len();
        }
        match refused {
            // Another endpoint that is down now may take us.
            Some((why, hint)) if down.iter().all(|said| said.ends_with(&why)) => Err(End::Said {
                why: format!("{}: {why}", self.bases[self.at]),
                hint: Some(hint),
            }),
            _ => Ok(Err(down.join("; "))),
        }
    }

    pub fn disabled(&self) -> End {
        let (base, api) = (self.base(), self.api);
        End::Said {
            why: format!("etcd at {base} does not speak API {api}"),
            hint: Some(match api {
                ApiVersion::V2 => {
                    "where its keys are wanted, start etcd 3.4 or 3.5 with --enable-v2".to_owned()
                }
                ApiVersion::V3 => "etcd from 3.0 on speaks it".to_owned(),
            }),
        }
    }

    /// Tells that the connection is gone, once.
    pub fn away(&mut self, why: String) -> Result<(), End> {
        if std::mem::replace(&mut self.away, true) {
            return Ok(());
        }
        self.tell(Told::Away {
            api: self.api,
            endpoint: self.base().to_owned(),
            why,
        })
    }

    fn back(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.away) {
            return Ok(());
        }
        self.tell(Told::Back {
            api: self.api,
            endpoint: self.base().to_owned(),
        })
    }

    fn pause(&self, time: Duration) -> Result<(), End> {
        let end = Instant::now() + time;
        loop {
            self.heard()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_UP));
        }
    }
}

/// An endpoint's first word: what a wrong port or scheme is told by, and an etcd of before v3.
fn probe(api: ApiVersion, base: &str, access: &Access) -> Result<(), Failure> {
    match version(base, access) {
        Ok(Some(version)) if api == ApiVersion::V3 && is_old(&version) => Err(Failure::Disabled),
        Ok(_) => Ok(()),
        // It may speak gRPC still.
        Err((State::Odd, _)) if api == ApiVersion::V3 => Ok(()),
        Err((State::Refuses(gap), why)) => Err(match gap.hint {
            Some(hint) => Failure::Refused { why, hint },
            None => Failure::Down(why),
        }),
        Err((_, why)) => Err(Failure::Down(why)),
    }
}

fn is_old(version: &str) -> bool {
    version.starts_with("2.") || version.starts_with("0.")
}
