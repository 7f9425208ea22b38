//! One file a subcommand: each wires sources, engine and outputs together.
pub mod lab;
pub mod overlay;
mod privileges;
mod stop;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Could not do it: usage, permission, unreadable file.
const FAILED: u8 = 2;

/// Runs the program; the exit code is the contract's.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Overlay(args) => overlay::overlay(&args).map(|()| true),
        Command::Lab(args) => lab::lab(args.command),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("netdig: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
