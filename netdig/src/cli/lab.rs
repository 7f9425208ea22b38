//! Arguments of `netdig lab`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::lab::flannel::FlannelOptions;
use crate::lab::tunnel::TunnelOptions;
use crate::lab::{ContainOptions, HoldOptions};

#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    pub command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// List the scenarios
    List {
        #[arg(long, value_enum, default_value_t)]
        format: LabFormat,
    },
    /// Build a scenario and let it stand, to look at
    Up {
        /// Scenario, as `netdig lab list` names it
        scenario: String,
        /// Name of the lab, so that several may stand [default: the scenario's]
        #[arg(long, value_name = "LAB")]
        name: Option<String>,
        /// flanneld to run in place of the lab's own daemon [default: $NETDIG_FLANNELD, or on PATH]
        #[arg(long, value_name = "FILE")]
        flanneld: Option<PathBuf>,
    },
    /// Show the labs that stand
    Status {
        #[arg(long, value_enum, default_value_t)]
        format: LabFormat,
    },
    /// Run a command in a host or container of a lab that stands
    Exec {
        /// Host or container, as `netdig lab status` names it
        host: String,
        /// Lab, where several have such a host
        #[arg(long, value_name = "LAB")]
        name: Option<String>,
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Build a scenario, drive its traffic, compare what netdig shows, take it down
    Run {
        /// Scenario, as `netdig lab list` names it
        scenario: String,
        /// Name of the lab, so that several may run at once [default: the scenario's]
        #[arg(long, value_name = "LAB")]
        name: Option<String>,
        /// flanneld to run in place of the lab's own daemon [default: $NETDIG_FLANNELD, or on PATH]
        #[arg(long, value_name = "FILE")]
        flanneld: Option<PathBuf>,
    },
    /// Take a lab down, also one that a crash has left
    Down {
        /// Lab [default: the only one that there is]
        #[arg(conflicts_with = "all")]
        name: Option<String>,
        /// Every lab
        #[arg(long)]
        all: bool,
    },
    /// Keeps the namespaces of a lab's host
    #[command(hide = true)]
    Hold(HoldOptions),
    /// Makes the root filesystem of a lab's container and starts its runtime
    #[command(hide = true)]
    Contain(ContainOptions),
    /// The tunnel daemon of a lab's host
    #[command(hide = true)]
    Tunnel(TunnelOptions),
    /// The overlay daemon of a lab's host
    #[command(hide = true)]
    Flannel(FlannelOptions),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LabFormat {
    #[default]
    Text,
    Json,
}
