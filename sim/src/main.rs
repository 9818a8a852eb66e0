//! `whist-sim`: the network on this machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use whist_sim::{demo, latency};

/// Runs the network's own code: a whole network on this machine, for everybody to watch.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  whist-sim demo           a whole network on this machine; two people talk over it
  whist-sim demo --json    the same, with one object for scripts on the last line
  whist-sim latency        the table of latencies that people may expect

Exit codes: 0 every message arrived once, in order, unaltered; 1 other; 2 usage; 7 time-out"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole network in one process; two people meet and talk over it.
    Demo(demo::Options),
    /// How long texts take, by profile and mean delay.
    Latency(latency::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    whist_rt::main(|| match cli.command {
        Command::Demo(options) => demo::run(&options),
        Command::Latency(options) => latency::run(&options),
    })
}
