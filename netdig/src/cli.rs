//! The command line, as clap structs; nothing else.
pub mod doctor;
pub mod etcd;
pub mod etcd_watch;
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
    /// Look once at this host, its overlay and its registry, and say what is wrong
    Doctor(Box<doctor::DoctorArgs>),
    /// Follow a folder of etcd with services in it: blank values, and each change as it comes
    EtcdWatch(Box<etcd_watch::EtcdWatchArgs>),
    /// Print the page of a finding: symptom, why, how to confirm, how to fix
    Explain(doctor::ExplainArgs),
    /// List the findings that netdig knows
    Rules(doctor::RulesArgs),
    /// Build broken networks in network namespaces: list, up, status, exec, run, down
    Lab(lab::LabArgs),
}
