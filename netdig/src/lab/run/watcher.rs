//! netdig's own commands beside a lab: started as a person would start them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::process::{self, ProcessId};
use super::super::{Lab, interrupt, server};

/// How long netdig may take to attach, and to end when asked to. Loading the
/// probe is a second of a core that many may want.
const DEADLINE: Duration = Duration::from_secs(60);
/// A watcher ends by itself after this, whatever happens to the run.
const LIFE_S: u32 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// To netdig's own standard output, for a person.
    Text,
    /// To be compared.
    Json,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

/// A netdig command that looks at a host of the lab.
pub struct Watcher {
    /// `overlay`.
    command: &'static str,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    ready: PathBuf,
    format: Format,
}

impl Watcher {
    /// Starts it on the lab's host, with that host's files, as on a real machine.
    /// [`Watcher::attached`] waits until it watches.
    pub fn start(
        lab: &Lab,
        command: &'static str,
        host: &str,
        arguments: &[String],
        format: Format,
    ) -> Result<Watcher> {
        let ready = lab.path(&format!("{command}-{host}-{}.ready", format.name()));
        let mut more: Vec<String> = arguments.to_vec();
        more.extend(["-M".to_owned(), LIFE_S.to_string()]);
        more.extend(["--ready-file".to_owned(), ready.display().to_string()]);
        Watcher::spawn(lab, command, host, &more, format, ready)
    }

    fn spawn(
        lab: &Lab,
        command: &'static str,
        host: &str,
        arguments: &[String],
        format: Format,
        ready: PathBuf,
    ) -> Result<Watcher> {
        let what = format!("{command}-{host}-{}", format.name());
        let (output, errors) = (
            lab.journal.path(&format!("{what}.out")),
            lab.journal.path(&format!("{what}.err")),
        );
        let mut netdig =
            Command::new(std::env::current_exe().context("cannot find netdig's own executable")?);
        netdig.arg(command).args(arguments);
        // Descriptors of other labs and of the machine are none of this host's.
        netdig.args(["--netns", "/proc/self/ns/net", "--format", format.name()]);
        server::log_to(&mut netdig, &output)?;
        match format {
            Format::Text => netdig.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
            Format::Json => netdig.stderr(
                fs::File::create(&errors)
                    .with_context(|| format!("cannot write {}", errors.display()))?,
            ),
        };
        let child = process::spawn(&lab.journal, &what, &lab.place(host)?, netdig, true)?;
        Ok(Watcher {
            command,
            child,
            output,
            errors,
            ready,
            format,
        })
    }

    /// Waits until it watches.
    pub fn attached(&mut self) -> Result<()> {
        let name = self.command;
        let attached = interrupt::poll_until(DEADLINE, || match self.child.try_wait() {
            Ok(Some(status)) => bail!(
                "`netdig {name}` ended before it was ready ({status}); {}",
                self.complaint()
            ),
            Ok(None) => Ok(self.ready.exists().then_some(())),
            Err(error) => Err(error).with_context(|| format!("cannot wait for `netdig {name}`")),
        })?;
        match attached {
            Some(()) => Ok(()),
            None => bail!(
                "`netdig {name}` is not ready after {} s; {}",
                DEADLINE.as_secs(),
                self.complaint()
            ),
        }
    }

    /// Ends it as Ctrl-C does; returns the JSON objects that it wrote.
    pub fn end(self) -> Result<Vec<Value>> {
        if let Some(process) = ProcessId::of(self.child.id().cast_signed()) {
            process.signal(libc::SIGINT)?;
        }
        self.objects()
    }

    /// Waits for its end; returns the JSON objects that it wrote.
    fn objects(mut self) -> Result<Vec<Value>> {
        let name = self.command;
        let child = &mut self.child;
        let status = interrupt::poll_until(DEADLINE, || {
            child
                .try_wait()
                .with_context(|| format!("cannot wait for `netdig {name}`"))
        })?;
        let Some(status) = status else {
            bail!(
                "`netdig {name}` has not ended after {} s; {}",
                DEADLINE.as_secs(),
                self.complaint()
            );
        };
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("`netdig {name}` failed ({status}); {}", self.complaint());
        }
        let text = fs::read_to_string(&self.output)
            .with_context(|| format!("cannot read {}", self.output.display()))?;
        text.lines()
            .map(|line| {
                serde_json::from_str(line).with_context(|| {
                    format!("`netdig {name}` wrote a line that is not JSON: {line}")
                })
            })
            .collect()
    }

    fn complaint(&self) -> String {
        match self.format {
            Format::Text => "see above what it said".to_owned(),
            Format::Json => server::tail(&self.errors),
        }
    }
}

/// Runs a netdig command that looks at a host once and ends; returns the JSON
/// objects that it wrote.
pub fn once(lab: &Lab, command: &'static str, host: &str) -> Result<Vec<Value>> {
    Watcher::spawn(lab, command, host, &[], Format::Json, PathBuf::new())?.objects()
}
