//! The program: exit codes, nothing else.
use std::process::ExitCode;

fn main() -> ExitCode {
    netdig::commands::main()
}
