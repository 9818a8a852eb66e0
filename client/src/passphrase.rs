//! Where a passphrase comes from: a file, a command's first line, or the terminal without echo.
//! Never an argument: arguments are seen by every process of the machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand_core::SeedableRng as _;
use whist_rt::{Exit, Failure, files, keys};
use whist_timing::Rng;
use zeroize::Zeroizing;

use crate::call::Hidden;
use crate::vault::{Credential, Factor, six_words};

/// A passphrase above this is a mistake: a file of another kind.
const BYTES_MAX: u64 = 4_096;

/// Where it comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Source {
    /// Read the passphrase from the first line of this file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "passphrase_command"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the first line that this shell command prints.
    #[arg(long, global = true, value_name = "COMMAND")]
    pub passphrase_command: Option<String>,
    /// A key file that opens the vault together with the passphrase; `init` makes it.
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Whether the terminal is not to be asked, whatever is missing.
    #[arg(skip)]
    pub no_input: bool,
}

fn failure(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, text)
}

impl Source {
    /// This one, or the other where this one says nothing.
    pub fn or(self, other: Self) -> Self {
        match self {
            Self {
                passphrase_file: None,
                passphrase_command: None,
                key_file,
                no_input,
            } => Self {
                key_file,
                no_input,
                ..other
            },
            said => said,
        }
    }

    /// What opens the vault: the passphrase, with the key file if there is to be one. With `new`
    /// the passphrase is asked for twice, and a key file that is missing is made.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn credential(&self, new: bool) -> Result<Credential, Failure> {
        self.joined(self.read(new)?, new)
    }

    /// The same for a passphrase that was read already.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn joined(&self, known: Zeroizing<Vec<u8>>, new: bool) -> Result<Credential, Failure> {
        let factor = match &self.key_file {
            Some(path) if new => Factor::KeyFile(keys::read_or_create(path)?),
            path => Self::factor(path.as_deref())?,
        };
        Ok(Credential::new(known).with(factor))
    }

    /// What is needed beside the passphrase.
    ///
    /// # Errors
    /// If the key file is missing, open to others, or holds no key.
    pub fn factor(key_file: Option<&Path>) -> Result<Factor, Failure> {
        Ok(match key_file {
            None => Factor::Nothing,
            Some(path) => Factor::KeyFile(keys::read(path)?),
        })
    }

    /// The passphrase. On a terminal it is asked for, twice when it is `new`.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn read(&self, new: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.read_as(if new { "New passphrase" } else { "Passphrase" }, new)
    }

    /// The same under another name.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn read_as(&self, name: &str, new: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let found = match (&self.passphrase_file, &self.passphrase_command) {
            (Some(file), _) => from_file(file)?,
            (None, Some(command)) => from_command(command)?,
            (None, None) if self.no_input => {
                let why = "nothing is asked with --no-input: name a file or a command for it";
                return Err(failure(format!("{name}: {why}")));
            }
            (None, None) => from_terminal(name, new)?,
        };
        match first_line(&found) {
            [] => Err(failure("the passphrase is empty")),
            line => Ok(Zeroizing::new(line.to_vec())),
        }
    }
}

/// Where a new one comes from, in a command that needs the present one too.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NewSource {
    /// Read the new passphrase from the first line of this file.
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_command")]
    pub new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from the first line that this shell command prints.
    #[arg(long, value_name = "COMMAND")]
    pub new_passphrase_command: Option<String>,
}

impl NewSource {
    /// The same as a source, with the key file of the present one.
    pub fn source(self, present: &Source) -> Source {
        Source {
            passphrase_file: self.new_passphrase_file,
            passphrase_command: self.new_passphrase_command,
            key_file: present.key_file.clone(),
            no_input: present.no_input,
        }
    }
}

/// Where a secret comes from that a contact has too.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SharedSource {
    /// Mix a passphrase that the contact sets too into the keys; it is asked for on the terminal.
    #[arg(long)]
    pub shared_secret: bool,
    /// The same, read from the first line of this file.
    #[arg(long, value_name = "FILE", conflicts_with = "shared_secret_command")]
    pub shared_secret_file: Option<PathBuf>,
    /// The same, read from the first line that this shell command prints.
    #[arg(long, value_name = "COMMAND")]
    pub shared_secret_command: Option<String>,
}

impl SharedSource {
    /// The secret, if there is to be one; asked for twice, if the terminal may be asked.
    ///
    /// # Errors
    /// One line and an exit code.
    pub fn read(self, asks: bool) -> Result<Option<Hidden>, Failure> {
        let found = match (&self.shared_secret_file, &self.shared_secret_command) {
            (Some(file), _) => from_file(file)?,
            (None, Some(command)) => from_command(command)?,
            (None, None) if !self.shared_secret => return Ok(None),
            (None, None) if !asks => {
                let why = "no terminal: use --shared-secret-file or --shared-secret-command";
                return Err(failure(why));
            }
            (None, None) => twice("Shared secret: ", "secrets")?,
        };
        let text = std::str::from_utf8(first_line(&found));
        let text = text.map_err(|_| failure("the secret is no text"))?;
        if text.trim().is_empty() {
            return Err(failure("the shared secret is empty"));
        }
        Ok(Some(Hidden::new(text.to_owned())))
    }
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.next().unwrap_or_default()
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let missing = || failure(format!("no such passphrase file: {}", path.display()));
    if !path.exists() {
        return Err(missing());
    }
    // What others can read opens the vault for them.
    keys::check_file(path)?;
    let bytes = files::read(path, BYTES_MAX)?;
    bytes.map(Zeroizing::new).ok_or_else(missing)
}

fn from_command(command: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let output = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failure(format!("the passphrase command does not run: {error}")))?;
    if output.status.success() {
        Ok(Zeroizing::new(output.stdout))
    } else {
        Err(failure("the passphrase command failed"))
    }
}

fn from_terminal(name: &str, new: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !new {
        return ask(&format!("{name}: "));
    }
    let prompt = Zeroizing::new(format!("{}{name}: ", *offered()?));
    twice(&prompt, "passphrases")
}

/// Asks for what is new, twice.
fn twice(prompt: &str, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let first = ask(prompt)?;
    match *ask("The same again: ")? == *first {
        true => Ok(first),
        false => Err(failure(format!("the two {what} differ"))),
    }
}

/// Six words that one may take. They are drawn on this machine and shown here alone.
fn offered() -> Result<Zeroizing<String>, Failure> {
    let mut rng = Rng::from_seed(*whist_rt::seed()?.expose());
    let words = six_words(&mut rng);
    Ok(Zeroizing::new(format!(
        "Take these six words, drawn at random (66 bits), or your own:\n  {}\n",
        *words
    )))
}

/// Asks on the terminal itself, whatever stdin and stdout are, with echo off meanwhile.
fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut terminal = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| failure("no terminal: use --passphrase-file or --passphrase-command"))?;
    let unreadable = |_: std::io::Error| failure("the terminal cannot be read");
    terminal.write_all(prompt.as_bytes()).map_err(unreadable)?;
    let _echo = EchoOff::new()?;
    let mut line = Zeroizing::new(Vec::new());
    let copy = terminal.try_clone().map_err(unreadable)?;
    BufReader::new(copy.take(BYTES_MAX))
        .read_until(b'\n', &mut line)
        .map_err(unreadable)?;
    terminal.write_all(b"\n").map_err(unreadable)?;
    Ok(line)
}

struct EchoOff;

impl EchoOff {
    fn new() -> Result<Self, Failure> {
        if stty("-echo") {
            Ok(Self)
        } else {
            // Fail closed: a passphrase is never shown.
            Err(failure("the terminal's echo cannot be switched off"))
        }
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        stty("echo");
    }
}

fn stty(mode: &str) -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    Command::new("stty")
        .arg(mode)
        .stdin(terminal)
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn source(file: Option<&Path>, command: Option<&str>) -> Source {
        Source {
            passphrase_file: file.map(Path::to_owned),
            passphrase_command: command.map(str::to_owned),
            key_file: None,
            no_input: true,
        }
    }

    #[test]
    fn a_passphrase_is_the_first_line_of_a_file_or_of_a_commands_output() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p");
        std::fs::write(&file, "correct horse \r\nnot this\n").unwrap();
        let others = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, others(0o600)).unwrap();
        let read = |s: Source| s.read(true).map(|p| p.to_vec());
        assert_eq!(read(source(Some(&file), None)).unwrap(), b"correct horse ");
        assert_eq!(read(source(None, Some("printf 'a\\nb\\n'"))).unwrap(), b"a");
    }

    #[test]
    fn a_passphrase_file_that_others_can_read_is_refused_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p");
        std::fs::write(&file, "correct horse\n").unwrap();
        for mode in [0o640, 0o604, 0o644] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, permissions).unwrap();
            let failure = source(Some(&file), None).read(false).unwrap_err();
            assert!(failure.message.contains("chmod 600"), "{}", failure.message);
            assert!(!failure.message.contains('\n'));
        }
    }

    #[test]
    fn a_shared_secret_is_the_first_line_and_never_an_empty_one() {
        let from = |command: &str| SharedSource {
            shared_secret_command: Some(command.to_owned()),
            ..SharedSource::default()
        };
        let read = from("printf 'a b\nc\n'").read(false).unwrap();
        assert_eq!(read, Some(Hidden::new("a b".to_owned())));
        assert_eq!(SharedSource::default().read(true).unwrap(), None);
        let asked = SharedSource {
            shared_secret: true,
            ..SharedSource::default()
        };
        for refused in [from("echo ' '").read(true), asked.read(false)] {
            assert_eq!(refused.unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn no_file_an_empty_line_and_a_failing_command_are_one_clear_line() {
        let cases = [
            source(Some(Path::new("/nowhere/at/all")), None),
            source(None, Some("false")),
            source(None, Some("echo")),
        ];
        for case in cases {
            let failure = case.read(false).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.message.contains('\n'));
        }
    }
}
