//! What is known of the folder, what was concluded, and what was said of both.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::cli::etcd_watch::EtcdWatchArgs;
use crate::cli::overlay::Format;
use crate::commands::print::{object, print};
use crate::conclusions::{Live, When};
use crate::context::registry::{ApiVersion, Key, Registry, Which};
use crate::evidence::services::{Probes, Schema, Services};
use crate::finding::{Code, Finding, Severity};
use crate::observation::UnixNanos;
use crate::output::clock::Clock;
use crate::output::report::Tally;
use crate::output::{finding, registry};
use crate::rules::{View, evaluate};
use crate::source::peers::Prober;
use crate::source::probe::unix_now;
use crate::source::registry::{Change, Gap, Listing, Told};

/// Shortest time between two evaluations, which cost one part of so many at most.
const INTERVAL_NS: u64 = 100_000_000;
const SHARE: u32 = 20;
/// How long the first judgement waits for the other store and for a look at the host.
const PATIENCE: Duration = Duration::from_millis(1500);

/// ND903: parts of the host could not be read.
const UNREAD: Code = Code(903);

type Said = BTreeMap<(Code, String), Finding>;

pub struct Watched {
    prefix: String,
    schema: Option<Schema>,
    live: Live,
    keys: BTreeMap<(ApiVersion, String), Key>,
    prober: Option<Prober>,
    probes: Probes,
    gaps: u64,
    said: Said,
    /// Whether a host is looked at, or a file alone.
    is_live: bool,
    /// Stores that are asked.
    stores: usize,
    format: Format,
    quiet: bool,
    style: finding::Style,
    fail_on: Option<Severity>,
    clock: Clock,
    /// Something has changed since the last evaluation.
    dirty: bool,
    next_ns: UnixNanos,
    /// Listings that the tree has not shown yet.
    unshown: bool,
    followed: bool,
    /// Stores that said what they have, or that they have nothing to say.
    heard: BTreeSet<ApiVersion>,
    /// Whether the host has been looked at.
    looked: bool,
    began: Instant,
    changes: u64,
}

impl Watched {
    pub fn new(args: &EtcdWatchArgs, live: Live, terminal: bool) -> Watched {
        Watched {
            prefix: args.prefix.clone(),
            schema: args.schema.map(|name| name.schema()),
            live,
            keys: BTreeMap::new(),
            prober: None,
            probes: Probes::new(),
            gaps: 0,
            said: Said::new(),
            is_live: args.etcd.keys.is_none(),
            stores: if args.etcd.etcd_api == Which::Auto {
                2
            } else {
                1
            },
            format: args.format,
            quiet: args.quiet,
            style: finding::Style {
                color: args.color.on(terminal),
                ..finding::Style::default()
            },
            fail_on: args.fail_on,
            clock: Clock::local(),
            dirty: false,
            next_ns: 0,
            unshown: false,
            followed: false,
            heard: BTreeSet::new(),
            looked: false,
            began: Instant::now(),
            changes: 0,
        }
    }

    /// Has upstreams tried from now on.
    pub fn probe(&mut self, prober: Prober) {
        self.prober = Some(prober);
    }

    /// Whether any store was ever read.
    pub fn has_followed(&self) -> bool {
        self.followed
    }

    /// Whether something at or above `--fail-on` is there.
    pub fn fails(&self) -> bool {
        let worst = self.said.values().map(|finding| finding.severity).max();
        self.fail_on.is_some_and(|fail_on| worst >= Some(fail_on))
    }

    /// Takes in what a follower tells, and prints it.
    pub fn take(&mut self, told: Told, left: &mut Option<u64>) -> Result<()> {
        match told {
            Told::Listed(listing) => self.listed(listing),
            Told::Changed(changes) => changes
                .into_iter()
                .try_for_each(|change| self.changed(change, left)),
            Told::Gap(gap) => self.gap(gap),
            Told::Away { api, endpoint, why } => {
                self.heard.insert(api);
                self.tell(&format!("etcd {api} at {endpoint} is away: {why}"));
                Ok(())
            }
            Told::Back { api, endpoint } => {
                self.tell(&format!("etcd {api} is back, at {endpoint}"));
                Ok(())
            }
            Told::Ended { api, why, hint } => {
                self.heard.insert(api);
                let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
                self.tell(&format!("etcd {api} is not followed: {why}{hint}"));
                Ok(())
            }
        }
    }

    /// A message, which is no part of the output.
    fn tell(&self, text: &str) {
        eprintln!("netdig: {}", finding::harmless(text));
    }

    fn listed(&mut self, listing: Listing) -> Result<()> {
        self.followed = true;
        self.heard.insert(listing.api);
        self.dirty = true;
        if !self.quiet {
            match self.format {
                Format::Text => print(&registry::head(&listing, &self.prefix))?,
                Format::Json => {
                    let now = unix_now();
                    for key in &listing.keys {
                        print(&object("key", now, registry::present(key)))?;
                    }
                }
            }
        }
        self.unshown = true;
        let keys = listing.keys.into_iter();
        self.keys
            .extend(keys.map(|key| ((key.api, key.key.clone()), key)));
        Ok(())
    }

    fn changed(&mut self, change: Change, left: &mut Option<u64>) -> Result<()> {
        if *left == Some(0) {
            return Ok(());
        }
        self.changes += 1;
        if let Some(left) = left {
            *left -= 1;
        }
        self.show(&change)?;
        self.apply(change);
        Ok(())
    }

    fn show(&mut self, change: &Change) -> Result<()> {
        match (self.quiet, self.format) {
            (true, _) => Ok(()),
            (false, Format::Text) => print(&registry::line(change, &mut self.clock)),
            (false, Format::Json) => print(&object("key", change.ts_ns, registry::changed(change))),
        }
    }

    fn apply(&mut self, change: Change) {
        self.dirty = true;
        let place = (change.api, change.key);
        match change.new {
            Some(key) => self.keys.insert(place, key),
            None => self.keys.remove(&place),
        };
    }

    fn gap(&mut self, gap: Gap) -> Result<()> {
        match self.format {
            Format::Text => print(&registry::gap(&gap))?,
            Format::Json => print(&object("gap", gap.ts_ns, registry::missed(&gap)))?,
        }
        for change in &gap.changes {
            self.changes += 1;
            self.show(change)?;
            self.apply(change.clone());
        }
        self.dirty = true;
        self.gaps += 1;
        Ok(())
    }

    /// Judges anew where something has changed, and says what is new and what is cured.
    pub fn look(&mut self, now: UnixNanos) -> Result<()> {
        if now < self.next_ns {
            return Ok(());
        }
        if self.live.refresh(When::Running) {
            self.dirty = true;
            self.looked = true;
        }
        let early = self.heard.len() < self.stores || !self.looked;
        if early && self.began.elapsed() < PATIENCE {
            return Ok(());
        }
        if let Some(probes) = self.prober.as_ref().and_then(Prober::news) {
            self.probes = probes;
            self.dirty = true;
        }
        if !self.dirty || !self.followed {
            return Ok(());
        }
        let began = Instant::now();
        self.judge(now)?;
        let cost = (began.elapsed() * SHARE).as_nanos() as u64;
        self.next_ns = now.saturating_add(cost.max(INTERVAL_NS));
        Ok(())
    }

    /// The last look, and the summary.
    pub fn finish(&mut self, now: UnixNanos) -> Result<()> {
        if !self.followed {
            return Ok(());
        }
        self.live.refresh(When::Ending);
        self.judge(now)?;
        let findings: Vec<Finding> = self.said.values().cloned().collect();
        let tally = Tally::of(&findings);
        match self.format {
            Format::Text => print(&format!(
                "{} changes, {} keys; findings: {tally}",
                self.changes,
                self.keys.len(),
            )),
            Format::Json => print(&object(
                "summary",
                now,
                json!({ "keys": self.keys.len(), "changes": self.changes, "gaps": self.gaps,
                        "findings": tally.json() }),
            )),
        }
    }

    fn judge(&mut self, now: UnixNanos) -> Result<()> {
        self.dirty = false;
        let services = Services::of(self.keys.values(), &self.prefix, self.schema);
        let view = View::new(&self.live.context, None).with_services(&services, &self.probes);
        let mut findings = evaluate(&view).findings;
        // Nobody looked at a host where a file was to be judged.
        findings.retain(|finding| self.is_live || finding.code != UNREAD);
        if std::mem::take(&mut self.unshown) && !self.quiet && self.format == Format::Text {
            let tree = registry::tree(&services, &registry::judged(&findings));
            print(tree.trim_end_matches('\n'))?;
        }
        if let Some(prober) = &self.prober {
            let upstreams = services.all.iter().flat_map(|service| &service.upstreams);
            prober.want(&upstreams.filter_map(|one| one.address()).collect());
        }
        self.say(findings, now)
    }

    fn say(&mut self, findings: Vec<Finding>, now: UnixNanos) -> Result<()> {
        let mut before = std::mem::take(&mut self.said);
        for finding in findings {
            let key = (finding.code, finding.key.clone());
            let known = before.remove(&key);
            let same = |known: &Finding| {
                known.title == finding.title
                    && known.severity == finding.severity
                    && known.confidence == finding.confidence
            };
            if !known.as_ref().is_some_and(same) {
                match self.format {
                    Format::Text => print(finding::text(&finding, self.style).trim_end())?,
                    Format::Json => {
                        print(String::from_utf8_lossy(&finding::json(&finding, now)).trim_end())?;
                    }
                }
            }
            self.said.insert(key, finding);
        }
        for cured in before.into_values() {
            match self.format {
                Format::Text => print(&format!(
                    "cured: {} {}",
                    cured.code,
                    finding::harmless(&cured.title)
                ))?,
                Format::Json => print(&object(
                    "cured",
                    now,
                    json!({ "code": cured.code, "name": cured.name, "title": cured.title }),
                ))?,
            }
        }
        Ok(())
    }
}

/// The keys of a dump, by store.
pub fn listings(registry: Registry) -> Vec<Listing> {
    let endpoint = registry.endpoints.first();
    let endpoint = endpoint.map_or_else(String::new, |one| one.url.clone());
    [ApiVersion::V2, ApiVersion::V3]
        .into_iter()
        .map(|api| Listing {
            api,
            endpoint: endpoint.clone(),
            keys: registry
                .keys
                .iter()
                .filter(|key| key.api == api)
                .cloned()
                .collect(),
            ..Listing::default()
        })
        .filter(|listing| !listing.keys.is_empty())
        .collect()
}
