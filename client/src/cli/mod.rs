//! The command line: each command is one line to the daemon's socket and its answer, printed. One
//! file holds a group of commands; `show` is what a person reads.

mod address;
mod contact;
mod context;
mod keys;
mod machine;
mod net;
mod pages;
mod people;
mod readers;
mod show;
mod socket;
mod start;
mod streams;
mod texts;
mod vault;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use context::Context;
use whist_rt::{Exit, Failure, config};

use crate::config::Config;
use crate::daemon;
use crate::passphrase::Source;

/// Untraceable messages over a mix network.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  whist init --network network.toml        make the vault, start the daemon
  whist invite --name bob                  print an invitation for somebody called bob
  whist add --name alice -                 open an invitation, read from stdin
  whist send alice -                       queue a text, read from stdin
  whist receive --wait --timeout 60        print what came, or wait a minute for it
  whist verify alice                       the number to compare with alice
  whist status                             what is hidden how well, what is lost

Exit codes: 0 ok, 1 other, 2 usage, 3 wrong passphrase, 4 no daemon, 5 unknown contact,
6 key changed, 7 timed out waiting, 8 refused by policy"
)]
pub struct Cli {
    /// A TOML file (whist.example.toml names every key); options here come before it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of vault and socket, in place of the profile's.
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Whose vault: each name has a folder of its own [default: default].
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "home")]
    profile: Option<String>,
    /// The daemon's socket, in a folder of mode 0700 [default: daemon.sock in the folder].
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON Lines instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing beside answers and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: which socket is asked, and what the daemon does.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Never ask on the terminal.
    #[arg(long, global = true)]
    no_input: bool,
    /// Never start the daemon.
    #[arg(long, global = true)]
    no_daemon: bool,
    /// Allow a build with debug assertions: for test networks only.
    #[arg(long, global = true)]
    debug_build: bool,
    /// Mark what matters in colour [default: on a terminal, unless NO_COLOR is set].
    #[arg(long, global = true, value_name = "WHEN")]
    color: Option<clap::ColorChoice>,
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
    Contact(contact::Contact),
    #[command(flatten)]
    Texts(texts::Texts),
    #[command(flatten)]
    Keys(keys::Keys),
    #[command(flatten)]
    Reach(address::Reach),
    #[command(flatten)]
    Net(net::Net),
    #[command(flatten)]
    Vault(vault::Vault),
    #[command(flatten)]
    Pages(pages::Pages),
}

impl Cli {
    /// Does what the command line asks.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn run(self) -> Result<(), Failure> {
        // Neither a vault nor a configuration has a part in these.
        if let Command::Pages(command) = self.command {
            return command.run(self.json);
        }
        let (command, context) = self.context()?;
        match command {
            Command::Machine(command) => command.run(&context),
            Command::People(command) => context.ask(&command.call(&context)?),
            Command::Contact(command) => context.ask(&command.call(&context)?),
            Command::Texts(command) => command.run(&context),
            Command::Keys(command) => context.ask(&command.call()?),
            Command::Reach(command) => context.ask(&command.call()?),
            Command::Net(command) => command.run(&context),
            Command::Vault(command) => command.run(&context),
            Command::Pages(command) => command.run(context.json),
        }
    }

    fn context(self) -> Result<(Command, Context), Failure> {
        let usual = folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("whist.toml"));
        let config_file = self.config.or(usual.filter(|file| file.exists()));
        let config: Config = match &config_file {
            Some(path) => config::load(path)?,
            None => Config::default(),
        };
        let home = match (self.home, self.profile) {
            (Some(home), _) => home,
            (None, Some(name)) => profile_home(&name)?,
            (None, None) => match &config.home {
                Some(home) => home.clone(),
                None => profile_home("default")?,
            },
        };
        let terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty());
        let mut passphrase = self.passphrase.or(config.passphrase());
        passphrase.no_input = self.no_input;
        let context = Context {
            socket: self.socket.unwrap_or_else(|| daemon::socket_path(&home)),
            home,
            passphrase,
            config,
            config_file,
            json: self.json,
            quiet: self.quiet,
            verbose: self.verbose,
            asks: !self.no_input,
            starts: !self.no_daemon,
            debug_build: self.debug_build,
            color: match self.color {
                Some(clap::ColorChoice::Always) => true,
                Some(clap::ColorChoice::Never) => false,
                Some(clap::ColorChoice::Auto) | None => terminal && !plain,
            },
        };
        Ok((self.command, context))
    }
}

/// The folder `whist` of one of the folders of the XDG specification.
fn folder(variable: &str, usual: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    given
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(usual)))
        .map(|path| path.join("whist"))
}

fn profile_home(name: &str) -> Result<PathBuf, Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 32 || !name.chars().all(fine) {
        let why = "a profile's name has letters, digits, - and _, 32 at most";
        return Err(Failure::new(Exit::Usage, why));
    }
    folder("XDG_DATA_HOME", ".local/share")
        .map(|folder| folder.join(name))
        .ok_or_else(|| Failure::new(Exit::Usage, "no home folder: use --home"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_has_help_with_an_example() {
        fn look(command: &clap::Command) {
            for sub in command.get_subcommands() {
                let help = sub.get_after_help().map(ToString::to_string);
                let help = help.unwrap_or_default();
                assert!(help.contains("Example"), "{}", sub.get_name());
                look(sub);
            }
        }
        let command = Cli::command();
        command.clone().debug_assert();
        look(&command);
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
            let args = ["whist", "--no-input", "--home", home]
                .into_iter()
                .chain(line);
            let failure = Cli::parse_from(args).run().unwrap_err();
            assert_eq!(failure.exit, Exit::NoDaemon);
            assert!(!failure.message.contains('\n'));
        }
    }
}
