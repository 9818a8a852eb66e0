//! Vault, daemon, and how things stand.

use std::path::PathBuf;

use clap::Subcommand;
use whist_rt::{Exit, Failure};

use super::{Context, socket, streams};
use crate::call::{Call, schema};
use crate::config::Profile;
use crate::daemon;

#[derive(Debug, Subcommand)]
pub(super) enum Machine {
    /// Make the vault; connects nowhere.
    #[command(after_help = "Example: whist init --network network.toml --profile standard")]
    Init {
        /// The network's file, as its operators publish it.
        #[arg(long, value_name = "FILE")]
        network: Option<PathBuf>,
        /// How often packets leave [default: standard].
        #[arg(long, value_enum)]
        profile: Option<Profile>,
    },
    /// Run: send cover and messages, receive, until SIGTERM.
    #[command(
        visible_alias = "run",
        after_help = "Example: whist daemon --passphrase-command 'pass show whist'"
    )]
    Daemon {
        /// What is logged [default: warn]; nothing in any log names anybody.
        #[arg(long, value_name = "FILTER")]
        log: Option<String>,
        /// Allow a build with debug assertions: for test networks only.
        #[arg(long)]
        debug_build: bool,
        /// Print the socket's language as OpenRPC, for other people's programs, and end.
        #[arg(long)]
        print_schema: bool,
    },
    /// Hand lines of JSON-RPC from stdin to the daemon, and its lines to stdout.
    #[command(after_help = "Example: whist rpc < calls.jsonl")]
    Rpc,
    /// How things stand: network, profile, crowd, losses, costs.
    #[command(after_help = "Example: whist status --json")]
    Status,
    /// End the daemon.
    #[command(after_help = "Example: whist stop")]
    Stop,
}

impl Machine {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Init { network, profile } => init(context, network, profile),
            Self::Daemon {
                print_schema: true, ..
            } => streams::print(&schema::document().to_string()),
            Self::Rpc => socket::bridge(&context.home),
            Self::Daemon {
                log, debug_build, ..
            } => {
                let log = log.unwrap_or_else(|| context.config.log.clone());
                daemon::run(&context.home, &context.passphrase, &log, debug_build)
            }
            Self::Status => context.ask(&Call::Status {}),
            Self::Stop => context.ask(&Call::Stop {}),
        }
    }
}

fn init(
    context: &Context,
    network: Option<PathBuf>,
    profile: Option<Profile>,
) -> Result<(), Failure> {
    let network = network
        .or_else(|| context.config.network.clone())
        .ok_or_else(|| Failure::new(Exit::Usage, "which network? use --network FILE"))?;
    let profile = profile.unwrap_or(context.config.profile);
    daemon::init(
        &context.home,
        &network,
        profile.number(),
        &context.passphrase,
    )?;
    let home = context.home.display();
    let done = serde_json::json!({ "home": home.to_string() });
    context.print(done.to_string(), || {
        format!("{home} is made; next: whist daemon")
    })
}
