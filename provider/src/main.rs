//! `whist-provider`: one provider of the network, from a TOML file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use whist_provider::shell;

/// A provider of the Whist network: entry for clients, exit, and host of mailboxes.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  whist-provider init --config /etc/whist/provider.toml    make the keys, print what others need
  whist-provider run --config /etc/whist/provider.toml     serve until SIGTERM, then drain

Exit codes: 0 ok, 1 other, 2 usage or configuration, 8 refused by policy"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the state folder and the keys, and print the part that is public, as TOML for
    /// `whist-directory network --provider FILE`.
    Init {
        /// The TOML file (provider.example.toml names every key).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Serve.
    Run {
        /// The TOML file (provider.example.toml names every key).
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
