//! Arguments of `netdig doctor`, `netdig explain` and `netdig rules`.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::etcd::EtcdArgs;
use super::overlay::Color;
use crate::finding::Severity;

#[derive(Debug, Args)]
#[command(after_help = "\
Without options it reads routes, links, sysctls, the firewall, flannel's and docker's files, and
etcd where a daemon names one or one listens here; it changes nothing. Root sees all; without
root it says what it could not read.

Exit status: 0 nothing at or above --fail-on; 1 findings at or above it; 2 could not look.

  netdig doctor                               this host, its overlay and its registry
  netdig doctor --netns pid:758               the network namespace of a process
  netdig doctor --etcd http://10.1.1.95:2379  the registry there
  netdig doctor --save now.json               what was seen, for later and elsewhere
  netdig doctor --from now.json               the rules on what was saved")]
pub struct DoctorArgs {
    /// Look at this network namespace: a name as `ip netns` knows it, a path, or pid:N
    #[arg(long, value_name = "NETNS", conflicts_with = "from")]
    pub netns: Option<String>,
    /// Write what was read, secrets masked; - is standard output, and then nothing else is
    /// printed there
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Take what another look saved instead of looking; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "EtcdArgs")]
    pub from: Option<PathBuf>,
    /// Exit with 1 where a finding is as bad as this, or worse
    #[arg(long, value_enum, default_value = "high")]
    pub fail_on: Severity,
    /// How findings are printed: text has the details, table one line each
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
    /// Whether text is coloured
    #[arg(long, value_enum, default_value_t)]
    pub color: Color,
    /// All details of all findings, and what was looked at
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    #[default]
    Text,
    /// One object a line
    Json,
    Table,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Code or name of a finding: ND101, overlay-underlay-overlap
    pub finding: String,
}

#[derive(Debug, Args)]
pub struct RulesArgs {
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}
