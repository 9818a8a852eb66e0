//! `whist-mix`: one mix of the network, from a TOML file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use whist_mix::shell;

/// A mix of the Whist network: takes packets, holds each for its sender's delay, hands it on.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  whist-mix init --config /etc/whist/mix.toml    make the keys, print what authorities need
  whist-mix run --config /etc/whist/mix.toml     serve until SIGTERM; the pool leaves first

Exit codes: 0 ok, 1 other, 2 usage or configuration, 8 refused by policy"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the state folder and the keys, and print identity, link key and id.
    Init {
        /// The TOML file (mix.example.toml names every key).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Serve.
    Run {
        /// The TOML file (mix.example.toml names every key).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Allow a build with debug assertions, which peers could trip: for test networks only.
        #[arg(long)]
        debug_build: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    whist_rt::main(|| match cli.command {
        Command::Init { config } => shell::init(&config),
        Command::Run {
            config,
            debug_build,
        } => shell::run(&config, debug_build),
    })
}
