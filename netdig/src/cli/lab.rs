//! Arguments of `netdig lab`.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::lab::flannel::FlannelOptions;
use crate::lab::raw::RawOptions;
use crate::lab::render::RenderOptions;
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
        #[command(flatten)]
        programs: Programs,
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
    /// Build scenarios, drive their traffic, compare what netdig shows, take them down
    Run(RunArgs),
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
    /// The renderer of a lab's host
    #[command(hide = true)]
    Render(Box<RenderOptions>),
    /// The TCP server of a lab that says what it is told to
    #[command(hide = true)]
    Raw(RawOptions),
    /// The overlay daemon of a lab's host
    #[command(hide = true)]
    Flannel(FlannelOptions),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Scenarios, as `netdig lab list` names them: SLUG with all its variants,
    /// SLUG/VARIANT, or the path of a folder or file, with #VARIANT behind it
    #[arg(required_unless_present = "all", value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// All built-in scenarios
    #[arg(long)]
    pub all: bool,
    /// Name of the lab, where one scenario runs [default: the scenario's]
    #[arg(long, value_name = "LAB", conflicts_with = "all")]
    pub name: Option<String>,
    /// How many run at once [default: one for each core]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Run each this often
    #[arg(long, value_name = "N", default_value = "1")]
    pub repeat: NonZeroUsize,
    /// Run them in random order, which SEED repeats
    #[arg(long, value_name = "SEED")]
    pub random: Option<Option<u64>>,
    #[command(flatten)]
    pub programs: Programs,
    #[arg(long, value_enum, default_value_t)]
    pub format: LabFormat,
}

/// Real programs that are to run in place of the lab's own.
#[derive(Debug, Args)]
pub struct Programs {
    /// flanneld to run in place of the lab's own daemon [default: $NETDIG_FLANNELD, or on PATH]
    #[arg(long, value_name = "FILE")]
    pub flanneld: Option<PathBuf>,
    /// confd to run in place of the lab's own renderer [default: $NETDIG_CONFD, or on PATH]
    #[arg(long, value_name = "FILE")]
    pub confd: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LabFormat {
    #[default]
    Text,
    Json,
}
