//! The command line, as clap structs; nothing else.
pub mod doctor;
pub mod etcd;
pub mod lab;
pub mod overlay;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "netdig",
    version,
    about = "Finds out why traffic does not arrive on hosts with an overlay network",
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decode tunnelled packets, live or from a file
    Overlay(Box<overlay::OverlayArgs>),
    /// One look at routes, links, sysctls, etcd and files; findings; ends
    Doctor(Box<doctor::DoctorArgs>),
    /// The page of a finding
    Explain(doctor::ExplainArgs),
    /// The list of findings
    Rules(doctor::RulesArgs),
    /// A scenario in network namespaces: list, up, status, exec, run, down
    Lab(lab::LabArgs),
}
