//! One file a subcommand: each wires sources, engine and outputs together.
pub mod doctor;
pub mod etcd_watch;
pub mod explain;
mod hints;
pub mod lab;
pub mod overlay;
mod print;
mod privileges;
mod stop;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Could not do it: usage, permission, unreadable file.
const FAILED: u8 = 2;

/// Runs the program; the exit code is the contract's.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        if let Some(hint) = hints::hint(&error) {
            eprintln!("\nhint: {hint}");
        }
        std::process::exit(error.exit_code())
    });
    let result = match cli.command {
        Command::Overlay(args) => overlay::overlay(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::EtcdWatch(args) => etcd_watch::etcd_watch(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Rules(args) => explain::rules(&args),
        Command::Lab(args) => lab::lab(args.command),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("netdig: {}", sentence(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// The error with its causes, of which each is told once: many sentences have
/// theirs in their middle.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("no such luck");
        let plain = anyhow::Error::new(cause()).context("cannot do it");
        assert_eq!(super::sentence(&plain), "cannot do it: no such luck");
        let told = anyhow::Error::new(cause()).context("no such luck with it");
        assert_eq!(super::sentence(&told), "no such luck with it");
    }
}
