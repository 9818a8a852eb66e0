//! Vault, daemon, and how things stand.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use whist_rt::{Exit, Failure};

use super::readers::timer;
use super::{Context, socket, start, streams};
use crate::call::{Call, schema};
use crate::config::Rate;
use crate::daemon;

#[derive(Debug, Subcommand)]
pub(super) enum Machine {
    /// Make the vault and start its daemon.
    #[command(after_help = "Example: whist init --network network.toml --rate standard")]
    Init {
        /// The network's file, as its operators publish it.
        #[arg(long, value_name = "FILE")]
        network: Option<PathBuf>,
        /// How often packets leave [default: standard].
        #[arg(long, value_enum)]
        rate: Option<Rate>,
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
        /// A shell command to run when texts came; WHIST_TEXTS is their count.
        #[arg(long, value_name = "COMMAND")]
        hook: Option<String>,
        /// How long nobody may give a command before the vault is locked, or off [default: 12h].
        #[arg(long, value_name = "TIME", value_parser = timer)]
        lock_after: Option<u32>,
        /// Take the passphrase from stdin, say one word and let go of whoever started this.
        #[arg(long, hide = true)]
        detached: bool,
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
    /// End the daemon, and return when it has ended.
    #[command(after_help = "Example: whist stop")]
    Stop,
}

impl Machine {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Init { network, rate } => init(context, network, rate),
            Self::Daemon {
                print_schema: true, ..
            } => streams::print(&schema::document().to_string()),
            Self::Daemon {
                log,
                hook,
                lock_after,
                detached,
                ..
            } => daemon(context, log, hook, lock_after, detached),
            Self::Rpc => {
                context.name_socket()?;
                socket::bridge(start::connect(context)?)
            }
            Self::Status => context.ask(&Call::Status {}),
            Self::Stop => {
                context.name_socket()?;
                socket::stop(context)?;
                match context.json {
                    true => streams::print(&serde_json::json!({ "done": true }).to_string()),
                    false => context.say("the daemon has ended"),
                }
            }
        }
    }
}

const COPIES: &str = "warning: this file system copies on write: what `whist panic`, duress and \
                      deleting overwrite may stay on the disk; --home elsewhere is better";

fn init(context: &Context, network: Option<PathBuf>, rate: Option<Rate>) -> Result<(), Failure> {
    let network = network
        .or_else(|| context.config.network.clone())
        .ok_or_else(|| Failure::new(Exit::Usage, "which network? use --network FILE"))?;
    let rate = rate.unwrap_or(context.config.rate);
    let made = daemon::init(&context.home, &network, rate.number(), &context.passphrase)?;
    let home = context.home.display();
    if !made.erases {
        streams::say(COPIES)?;
    }
    if context.starts {
        start::start(context, &made.passphrase)?;
    }
    if context.json {
        let done = serde_json::json!({ "home": home.to_string(), "daemon": context.starts });
        return streams::print(&done.to_string());
    }
    let next = match context.starts {
        true => "and its daemon runs; next: whist status",
        false => "nothing was sent; next: whist daemon",
    };
    streams::print(&format!(
        "In it: `slots`, the keys under your passphrase; `vault.redb` and `shreds`, contacts, texts
and mailbox, sealed. No name, number or mail address is anywhere. Without the passphrase nothing
opens it: `whist recovery show` makes a phrase to keep.
{home} is made, {next}"
    ))
}

fn daemon(
    context: &Context,
    log: Option<String>,
    hook: Option<String>,
    lock_after: Option<u32>,
    detached: bool,
) -> Result<(), Failure> {
    let usual = match context.verbose {
        true => "info".to_owned(),
        false => context.config.log.clone(),
    };
    let run = daemon::Run {
        home: context.home.clone(),
        socket: context.socket.clone(),
        log: log.unwrap_or(usual),
        hook: hook.or_else(|| context.config.hook.clone()),
        lock_after: match lock_after {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(u64::from(seconds))),
            None => context.config.lock_after,
        },
        debug_build: context.debug_build,
    };
    if detached {
        return start::detached(&run, &context.passphrase);
    }
    daemon::run(&run, || context.passphrase.credential(false), || {})
}
