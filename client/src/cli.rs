//! The command line: each command is one line to the daemon's socket and its answer, printed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use serde_json::Value;
use whist_rt::{Exit, Failure, config};

use crate::config::{Config, Profile};
use crate::passphrase::Source;
use crate::rpc::{self, Call};
use crate::{daemon, limits};

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

#[derive(Debug, Subcommand)]
enum Command {
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
    },
    /// Print an invitation, to be given to one person over a safe way.
    #[command(after_help = "Example: whist invite bob --wait 60")]
    Invite {
        /// What to call whoever uses it.
        name: String,
        /// Wait this many seconds until one is published.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// Open an invitation; who gave it becomes a contact.
    #[command(after_help = "Example: whist add alice - --wait 60 < invitation.txt")]
    Add {
        /// What to call who gave it.
        name: String,
        /// The text; `-` reads it from stdin, where no other process sees it.
        invitation: String,
        /// Do not wait at random: the provider of the invitation may see when it was read.
        #[arg(long)]
        now: bool,
        /// Wait this many seconds until it is opened.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// Queue a text to a contact.
    #[command(after_help = "Example: whist send alice 'hello' --wait 60")]
    Send {
        /// To whom.
        contact: String,
        /// What; `-` reads it from stdin, where no other process sees it.
        text: String,
        /// Wait this many seconds until the contact's provider has stored it.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// Print the texts that came, each once.
    #[command(after_help = "Example: whist receive --from alice --wait 60")]
    Receive {
        /// From this contact only.
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        /// Wait this many seconds for one.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        wait: u64,
    },
    /// List the contacts with the fingerprints of their keys.
    #[command(after_help = "Example: whist contacts --json")]
    Contacts,
    /// How things stand: network, profile, crowd, losses, costs.
    #[command(after_help = "Example: whist status --json")]
    Status,
    /// End the daemon.
    #[command(after_help = "Example: whist stop")]
    Stop,
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
        let passphrase = self.passphrase.or(config.passphrase());
        let home = home(self.home.or(config.home))?;
        let json = self.json;
        let call = match self.command {
            Command::Init { network, profile } => {
                let network = network.or(config.network).ok_or_else(|| {
                    Failure::new(Exit::Usage, "which network? use --network FILE")
                })?;
                let profile = profile.unwrap_or(config.profile);
                daemon::init(&home, &network, profile.number(), &passphrase)?;
                let done = serde_json::json!({ "home": home.display().to_string() });
                let text = format!("{} is made; next: whist daemon", home.display());
                return print(&if json { done.to_string() } else { text });
            }
            Command::Daemon { log, debug_build } => {
                let log = log.unwrap_or(config.log);
                return daemon::run(&home, &passphrase, &log, debug_build);
            }
            Command::Invite { name, wait } => Call::Invite { name, wait_s: wait },
            Command::Add {
                name,
                invitation,
                now,
                wait,
            } => {
                let invitation = or_stdin(invitation)?;
                // What is no invitation shows nothing to anybody: one line says so, and no other.
                invitation
                    .parse::<whist_ratchet::Invitation>()
                    .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
                connect(&home)?;
                say_what_waits(now)?;
                Call::Add {
                    name,
                    invitation,
                    now,
                    wait_s: wait,
                }
            }
            Command::Send {
                contact,
                text,
                wait,
            } => Call::Send {
                contact,
                text: or_stdin(text)?,
                wait_s: wait,
            },
            Command::Receive { from, wait } => Call::Receive {
                contact: from,
                wait_s: wait,
            },
            Command::Contacts => Call::Contacts {},
            Command::Status => Call::Status {},
            Command::Stop => Call::Stop {},
        };
        let answer = call_daemon(&home, &call)?;
        print(&if json {
            answer.to_string()
        } else {
            shown(&call, &answer)
        })
    }
}

fn home(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    given
        .or_else(|| std::env::home_dir().map(|home| home.join(".whist")))
        .ok_or_else(|| Failure::new(Exit::Usage, "no home folder: use --home"))
}

/// What `add` may show, said before anything is asked of anybody.
fn say_what_waits(now: bool) -> Result<(), Failure> {
    let text = if now {
        "not waiting: who watches the invitation's provider may learn when it was opened\n"
    } else {
        "later than 30 minutes after `init`, opening waits about 10 minutes at random, so that it \
         does not stand out; --now skips that\n"
    };
    std::io::stderr()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Other, format!("cannot print: {error}")))
}

fn or_stdin(text: String) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let limit = u64::try_from(limits::TEXT_BYTES_MAX).unwrap_or(u64::MAX);
    let mut read = String::new();
    std::io::stdin()
        .take(limit.saturating_add(1))
        .read_to_string(&mut read)
        .map_err(|error| Failure::new(Exit::Usage, format!("stdin is no text: {error}")))?;
    Ok(read.trim_end_matches('\n').to_owned())
}

fn no_daemon(home: &Path) -> Failure {
    let home = home.display();
    Failure::new(
        Exit::NoDaemon,
        format!("no daemon serves {home}: start one with `whist daemon`"),
    )
}

fn connect(home: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(daemon::socket_path(home)).map_err(|_| no_daemon(home))
}

fn call_daemon(home: &Path, call: &Call) -> Result<Value, Failure> {
    let mut stream = connect(home)?;
    let no_daemon = |_: std::io::Error| no_daemon(home);
    let line = format!("{}\n", rpc::request(1, call));
    stream.write_all(line.as_bytes()).map_err(no_daemon)?;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream);
    let got = reader.read_until(b'\n', &mut answer).map_err(no_daemon)?;
    if got == 0 {
        return Err(Failure::new(Exit::NoDaemon, "the daemon ended meanwhile"));
    }
    rpc::parse_response(&answer).map_err(|error| {
        let exit = match error.code {
            2 | rpc::INVALID_PARAMS => Exit::Usage,
            3 => Exit::Locked,
            4 => Exit::NoDaemon,
            5 => Exit::UnknownContact,
            6 => Exit::KeyChanged,
            7 => Exit::TimedOut,
            8 => Exit::Refused,
            _ => Exit::Other,
        };
        Failure::new(exit, error.message)
    })
}

fn print(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .map_err(|error| Failure::new(Exit::Other, format!("cannot print: {error}")))
}

/// A field of an answer as text.
fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn shown(call: &Call, answer: &Value) -> String {
    match call {
        Call::Invite { .. } => field(answer, "invitation"),
        Call::Add { name, .. } => match field(answer, "added").as_str() {
            "true" => format!("{name} is a contact now"),
            _ => format!("opening; it waits {} s first", field(answer, "waits_s")),
        },
        Call::Send { .. } => format!("{} ({})", field(answer, "state"), field(answer, "message")),
        Call::Receive { .. } => list(answer, "texts")
            .map(|text| format!("{}: {}", field(text, "contact"), field(text, "text")))
            .collect::<Vec<_>>()
            .join("\n"),
        Call::Contacts {} => list(answer, "contacts")
            .map(contact_line)
            .collect::<Vec<_>>()
            .join("\n"),
        Call::Status {} => status_text(answer),
        Call::Stop {} => "ending".to_owned(),
    }
}

fn contact_line(contact: &Value) -> String {
    let mark = |name: &str, text: &'static str| match contact.get(name) {
        Some(Value::Bool(true)) => text,
        _ => "",
    };
    format!(
        "{}\t{}\t{} unread{}{}",
        field(contact, "name"),
        field(contact, "fingerprint"),
        field(contact, "unread"),
        mark("unsafe", "\tUNSAFE: its invitation was used twice"),
        mark("shares_entry_family", "\thosted by your entry's operators"),
    )
}

fn status_text(status: &Value) -> String {
    let stats = status.get("stats").unwrap_or(&Value::Null);
    let total = |name: &str| -> u64 {
        let kinds = stats.get(name).and_then(Value::as_object);
        kinds
            .into_iter()
            .flat_map(|kinds| kinds.values())
            .filter_map(Value::as_u64)
            .fold(0, u64::saturating_add)
    };
    let online = match field(status, "online").as_str() {
        "true" => "on line",
        _ => "off line",
    };
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let loss = status.get("loss").and_then(Value::as_f64);
    let month = status.get("bytes_per_month").and_then(Value::as_u64);
    let mut lines = vec![
        format!(
            "{online}, epoch {}, mixes and providers {}",
            field(status, "epoch"),
            field(status, "nodes")
        ),
        format!(
            "profile {}, {} MB a month",
            field(status, "profile"),
            month.unwrap_or(0) / 1_000_000
        ),
        format!(
            "packets: {} sent, {} came back; loss {}",
            total("sent"),
            total("returned"),
            loss.map_or("-".to_owned(), percent)
        ),
        format!(
            "{} contacts, {} unread, {} in the outbox, {} invitations ready",
            field(status, "contacts"),
            field(status, "unread"),
            field(status, "outbox"),
            field(status, "invitations_ready")
        ),
    ];
    for warning in list(status, "warnings") {
        lines.push(format!("warning: {}", warning.as_str().unwrap_or("")));
    }
    lines.join("\n")
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
