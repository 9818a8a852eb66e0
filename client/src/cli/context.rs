//! What the global options and the configuration say, and one question to the daemon.

use std::fs::File;
use std::path::PathBuf;

use serde_json::Value;
use whist_rt::Failure;

use super::{show, socket, start, streams};
use crate::call::Call;
use crate::config::Config;
use crate::passphrase::Source;

/// What the global options and the configuration say.
pub(super) struct Context {
    pub(super) home: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) passphrase: Source,
    pub(super) config: Config,
    pub(super) config_file: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    /// Whether the terminal may be asked.
    pub(super) asks: bool,
    /// Whether a daemon may be started.
    pub(super) starts: bool,
    pub(super) debug_build: bool,
    pub(super) color: bool,
}

impl Context {
    /// Asks the daemon and prints what it says.
    pub(super) fn ask(&self, call: &Call) -> Result<(), Failure> {
        let answer = self.get(call)?;
        self.show(call, &answer)
    }

    /// What the daemon says.
    pub(super) fn get(&self, call: &Call) -> Result<Value, Failure> {
        self.name_socket()?;
        socket::ask(start::connect(self)?, call)
    }

    /// Says which socket is asked, to who wants to know.
    pub(super) fn name_socket(&self) -> Result<(), Failure> {
        match self.verbose {
            true => self.say(&format!("asking at {}", self.socket.display())),
            false => Ok(()),
        }
    }

    /// Prints what the daemon says. A person also sees how sure one is of whom one writes to, and
    /// what happened that was not dismissed.
    pub(super) fn show(&self, call: &Call, answer: &Value) -> Result<(), Failure> {
        if self.json {
            return show::json_lines(answer)
                .iter()
                .try_for_each(|line| streams::print(line));
        }
        streams::print(&show::text(call, answer, self.color))?;
        let beside = match call {
            Call::Contacts {} | Call::Receive { .. } => Call::Status {},
            Call::Send { contact, .. } => Call::ContactShow {
                contact: contact.clone(),
            },
            _ => return Ok(()),
        };
        // The answer is printed: a daemon that ends now takes nothing of it back.
        let more = socket::connect(self).and_then(|stream| socket::ask(stream, &beside));
        let Ok(more) = more else {
            return Ok(());
        };
        match show::beside(call, &more, self.color).as_str() {
            "" => Ok(()),
            lines => self.say(lines),
        }
    }

    /// A line beside the answer.
    pub(super) fn say(&self, line: &str) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        streams::say(line)
    }

    /// Whether the passphrase is at hand or somebody can type it.
    pub(super) fn can_be_told_the_passphrase(&self) -> bool {
        let Source {
            passphrase_file,
            passphrase_command,
            ..
        } = &self.passphrase;
        let given = passphrase_file.is_some() || passphrase_command.is_some();
        given || (self.asks && File::open("/dev/tty").is_ok())
    }
}
