use std::process::ExitCode;

use clap::Parser;
use netdig::cli::lab::LabArgs;

#[derive(Parser)]
#[command(name = "netdig")]
enum Cli {
    /// A scenario in network namespaces
    Lab(LabArgs),
}

fn main() -> ExitCode {
    let Cli::Lab(args) = Cli::parse();
    match netdig::commands::lab::lab(args.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("netdig: {error:#}");
            ExitCode::from(2)
        }
    }
}
