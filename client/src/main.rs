//! `whist`: daemon and command line of one client.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = whist::cli::Cli::parse();
    whist_rt::main(|| cli.run())
}
