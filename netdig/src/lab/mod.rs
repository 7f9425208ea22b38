//! Network laboratories: the hosts, tunnels and servers of a scenario in
//! network namespaces, built in a moment and removed without a trace.

/// Says something on standard error; a reader who went away ends no work.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}
pub(crate) use tell;

mod announcer;
mod cgroup;
mod container;
mod etcd;
mod expect;
pub mod flannel;
mod host;
mod interrupt;
mod ip;
mod journal;
mod mounts;
mod netns;
mod packages;
mod place;
mod process;
pub mod programs;
pub mod raw;
mod registry;
pub mod render;
mod run;
pub mod scenario;
mod server;
mod standing;
mod topology;
pub mod tunnel;

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use container::{ContainOptions, contain};
pub use expect::Outcome;
pub use host::{HoldOptions, hold};
pub use interrupt::watch as watch_signals;
pub use journal::Purpose;
use journal::{Entry, Journal};
pub use packages::Missing;
use place::Place;
pub use run::{Ending, Report, Task, Unfinished, lab_name, many, one, told_logs, up};
use scenario::{Scenario, Server};
use standing::Patience;
pub use standing::{PlaceStatus, Status, all, by_place, find, sweep, tear_down};

/// How long a part may take until it works.
const PART_DEADLINE: Duration = Duration::from_secs(10);

/// A lab that this process has built. Unless it is kept it is taken down when
/// dropped: at the end, on an error, on a panic, after a signal.
pub struct Lab {
    scenario: Scenario,
    journal: Journal,
    keep: bool,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = standing::tear_down(&self.journal, Patience::None)
        {
            crate::lab::tell!(
                "netdig: the lab {} could not be taken down: {error:#}; try `netdig lab down {0}`",
                self.journal.name()
            );
        }
    }
}

impl Lab {
    /// Makes the folder of the lab `name`, in which nothing is built yet. What an
    /// interrupted run left under that name is removed first.
    fn claim(name: &str, scenario: Scenario, purpose: Purpose) -> Result<Lab> {
        let servers = scenario.servers.iter().map(|server| match server {
            Server::Http { .. } => "nginx",
            Server::Dns { .. } => "dnsmasq",
            Server::Haproxy { .. } => "haproxy",
            Server::Raw { .. } => "ip",
        });
        let etcd = scenario.etcd.iter().map(|_| "etcd");
        let announcers = announcer::programs(&scenario.announcers);
        packages::require(
            std::iter::once("ip")
                .chain(servers)
                .chain(etcd)
                .chain(announcers),
        )?;
        place::check_root()?;
        let journal = claim(name, &scenario.name, purpose)?;
        let lab = Lab {
            scenario,
            journal,
            keep: false,
        };
        let text = lab.journal.path(standing::SCENARIO);
        std::fs::write(&text, &lab.scenario.text)
            .with_context(|| format!("cannot write {}", text.display()))?;
        let parts = lab.journal.path(journal::PARTS);
        std::fs::create_dir_all(&parts)
            .with_context(|| format!("cannot make {}", parts.display()))?;
        Ok(lab)
    }

    /// Builds the scenario and waits until every part works.
    fn build(&self) -> Result<()> {
        topology::build(self.journal.name(), &self.scenario, |namespace| {
            self.journal.add(&Entry::Namespace {
                name: namespace.to_owned(),
            })
        })?;
        let (hosts, containers) = (host::start(self)?, container::start(self)?);
        host::finish(self, hosts)?;
        container::finish(self, containers)?;
        self.start_etcd()?;
        self.start_tunnels()?;
        self.start_servers()?;
        self.start_renderers()?;
        self.announce()?;
        self.give_late_addresses()
    }

    /// Lets the lab stand after this process: all that was to be done is done.
    pub fn keep(mut self) -> Result<()> {
        self.journal.add(&Entry::Ready)?;
        self.keep = true;
        Ok(())
    }

    /// Takes it down; an error where something of it stays.
    pub fn down(mut self) -> Result<()> {
        self.keep = true;
        standing::tear_down(&self.journal, Patience::None)
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Name of the network namespace of a host or container.
    pub fn namespace(&self, place: &str) -> String {
        topology::namespace(self.journal.name(), place)
    }

    fn place(&self, place: &str) -> Result<Place> {
        standing::place(&self.journal, &self.scenario, place)
    }

    /// The root folder of a host or container, to be read from outside.
    pub fn root(&self, place: &str) -> Result<PathBuf> {
        Ok(self.place(place)?.root())
    }

    /// A path for what a part makes; its place may write there.
    fn path(&self, file: &str) -> PathBuf {
        self.journal.path(journal::PARTS).join(file)
    }

    /// Gives the containers that are `late` their addresses and routes.
    pub fn give_late_addresses(&self) -> Result<()> {
        topology::give_late_addresses(self.journal.name(), &self.scenario)
    }

    fn start_servers(&self) -> Result<()> {
        let mut started = Vec::new();
        for (n, part) in self.scenario.servers.iter().enumerate() {
            let folder = self.path(&format!("server-{n}"));
            let prepared = server::prepare(part, &self.place(part.at())?, &folder)?;
            let what = format!("{}-{n}-{}", prepared.program, part.at());
            started.push((
                self.start(&what, part.at(), prepared.command)?,
                what,
                part.at(),
                prepared.probe,
            ));
        }
        for (child, what, at, probe) in started {
            self.wait_for(child, &what, || probe.succeeds(&self.namespace(at)))?;
        }
        Ok(())
    }

    /// Starts a daemon in a host or container, its output in a log file.
    fn start(&self, what: &str, at: &str, mut command: Command) -> Result<Child> {
        server::log_to(&mut command, &self.log(what))?;
        process::spawn(&self.journal, what, &self.place(at)?, command, false)
    }

    fn log(&self, what: &str) -> PathBuf {
        self.journal.path(&format!("{what}.log"))
    }

    fn wait_for(
        &self,
        mut child: Child,
        what: &str,
        works: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        let log = self.log(what);
        let up = interrupt::poll_until(PART_DEADLINE, || {
            if let Some(status) = child
                .try_wait()
                .with_context(|| format!("cannot wait for {what}"))?
            {
                bail!("{what} ended at once ({status}); {}", server::tail(&log));
            }
            Ok(works()?.then_some(()))
        })?;
        if up.is_none() {
            bail!(
                "{what} does not work after {} s; {}",
                PART_DEADLINE.as_secs(),
                server::tail(&log)
            );
        }
        Ok(())
    }
}

/// Makes the journal of a new lab; removes one that nobody works on any more.
fn claim(name: &str, scenario: &str, purpose: Purpose) -> Result<Journal> {
    if let Some(journal) = Journal::create(name, scenario, purpose)? {
        return Ok(journal);
    }
    if let Some(left) = Journal::open(name)? {
        if standing::is_in_use(&left)? {
            bail!(
                "a lab named {name} stands already; look at it with `netdig lab status`, take it down with \
                 `netdig lab down {name}`, or give this one another name with --name"
            );
        }
        crate::lab::tell!("netdig: removing what an interrupted run left of the lab {name}");
        standing::tear_down(&left, Patience::Waits)?;
    }
    Journal::create(name, scenario, purpose)?
        .with_context(|| format!("another netdig is building the lab {name}"))
}
