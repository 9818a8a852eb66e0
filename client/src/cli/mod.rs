//! The command line: each command is one line to the daemon's socket and its answer, printed. One
//! file holds a group of commands; `show` is what a person reads.

mod machine;
mod people;
mod show;
mod socket;
mod streams;
mod texts;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use whist_rt::{Exit, Failure, config};

use crate::call::Call;
use crate::config::Config;
use crate::passphrase::Source;

/// Untraceable messages over a mix network.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  whist init --network network.toml        make the vault; asks for a passphrase
  whist daemon                             run until SIGTERM; asks for the passphrase
  whist invite bob                         print an invitation for somebody called bob
  whist add alice -                        open an invitation, read from stdin
  whist send alice -                       queue a text, read from stdin
  whist receive --wait 60                  print what came, or wait a minute for it
  whist status                             what is hidden how well, what is lost

Exit codes: 0 ok, 1 other, 2 usage, 3 wrong passphrase, 4 no daemon, 5 unknown contact,
6 key changed, 7 timed out waiting, 8 refused by policy"
)]
pub struct Cli {
    /// A TOML file (whist.example.toml names every key); options here come before it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of vault and socket [default: ~/.whist].
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    passphrase: Source,
    #[command(subcommand)]
    command: Command,
}

/// All commands, by group.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Machine(machine::Machine),
    #[command(flatten)]
    People(people::People),
    #[command(flatten)]
    Texts(texts::Texts),
}

/// What the global options and the configuration say.
struct Context {
    home: PathBuf,
    passphrase: Source,
    config: Config,
    json: bool,
}

impl Context {
    /// Asks the daemon and prints what it says.
    fn ask(&self, call: &Call) -> Result<(), Failure> {
        let answer = socket::ask(&self.home, call)?;
        self.print(answer.to_string(), || show::text(call, &answer))
    }

    /// Prints one of two forms of the same.
    fn print(&self, json: String, text: impl FnOnce() -> String) -> Result<(), Failure> {
        streams::print(&if self.json { json } else { text() })
    }
}

impl Cli {
    /// Does what the command line asks.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn run(self) -> Result<(), Failure> {
        let config: Config = match &self.config {
            Some(path) => config::load(path)?,
            None => Config::default(),
        };
        let context = Context {
            home: home(self.home.or_else(|| config.home.clone()))?,
            passphrase: self.passphrase.or(config.passphrase()),
            config,
            json: self.json,
        };
        match self.command {
            Command::Machine(command) => command.run(&context),
            Command::People(command) => context.ask(&command.call(&context)?),
            Command::Texts(command) => context.ask(&command.call()?),
        }
    }
}

fn home(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    given
        .or_else(|| std::env::home_dir().map(|home| home.join(".whist")))
        .ok_or_else(|| Failure::new(Exit::Usage, "no home folder: use --home"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_has_help_with_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string);
            assert!(
                help.unwrap_or_default().contains("Example"),
                "{}",
                sub.get_name()
            );
        }
    }

    #[test]
    fn no_argument_takes_a_secret() {
        for sub in Cli::command().get_subcommands() {
            for arg in sub.get_arguments() {
                let name = arg.get_id().as_str();
                assert!(!matches!(name, "passphrase" | "password" | "key"), "{name}");
            }
        }
    }

    #[test]
    fn without_a_daemon_every_command_ends_with_code_4() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        for line in [vec!["status"], vec!["send", "bob", "x"], vec!["contacts"]] {
            let args = ["whist", "--home", home].into_iter().chain(line);
            let failure = Cli::parse_from(args).run().unwrap_err();
            assert_eq!(failure.exit, Exit::NoDaemon);
            assert!(!failure.message.contains('\n'));
        }
    }
}
