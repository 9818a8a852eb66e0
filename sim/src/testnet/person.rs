//! A person with `whist`: a daemon as a process, and commands as further ones.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use whist_rt::task::{self, JoinSet};

use super::program::run;
use super::{Ended, Fault, LIMIT, Program, Testnet, within};

/// Seconds that a command may wait for what it asks.
const WAIT: &str = "80";

/// One client of a [`Testnet`].
pub struct Person {
    binary: PathBuf,
    home: PathBuf,
    passphrase: PathBuf,
    daemon: Program,
}

impl Person {
    /// Runs `whist init` for a person of this name. The daemon is not started.
    ///
    /// # Errors
    /// With the words of `whist init`.
    pub async fn init(net: &Testnet, name: &str) -> Result<Self, Fault> {
        let person = Self::without_vault(net.binaries(), net.folder().path(), name)?;
        let network = net.network().display().to_string();
        let ended = person.run(&["init", "--network", &network]).await?;
        match ended.code {
            Some(0) => Ok(person),
            _ => Err(Fault::new(format!("{name}: init: {}", ended.stderr))),
        }
    }

    /// A person without a vault, whose files will be in `folder`.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn without_vault(binaries: &Path, folder: &Path, name: &str) -> Result<Self, Fault> {
        let binary = binaries.join("whist");
        let home = folder.join(format!("{name}-home"));
        let passphrase = folder.join(format!("{name}-passphrase"));
        std::fs::write(&passphrase, format!("the passphrase of {name}\n"))?;
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&passphrase, owner_only)?;
        let (at, phrase) = (home.display().to_string(), passphrase.display().to_string());
        let arguments = [
            "--home",
            &at,
            "--passphrase-file",
            &phrase,
            "daemon",
            "--log",
            "info",
            "--debug-build",
        ];
        let daemon = Program::new(name, binary.clone(), &arguments);
        Ok(Self {
            binary,
            home,
            passphrase,
            daemon,
        })
    }

    /// The folder of vault and socket.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The daemon's process.
    pub const fn daemon(&mut self) -> &mut Program {
        &mut self.daemon
    }

    /// Starts the daemon and waits until it takes commands.
    ///
    /// # Errors
    /// If it does not.
    pub async fn start(&mut self) -> Result<(), Fault> {
        self.daemon.start()?;
        self.daemon.line("the daemon is ready").await?;
        Ok(())
    }

    /// Ends the daemon in order.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(&mut self) -> Result<(), Fault> {
        self.daemon.signal("TERM").await?;
        match self.daemon.ended().await? {
            Some(0) => Ok(()),
            code => Err(self.daemon.fault(&format!("ended with {code:?}"))),
        }
    }

    /// Runs `whist` with these arguments to its end, whatever comes of it.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ended, Fault> {
        let home = self.home.display().to_string();
        let phrase = self.passphrase.display().to_string();
        let own = [
            "--home",
            &home,
            "--passphrase-file",
            &phrase,
            "--no-input",
            "--no-daemon",
        ];
        run(&self.binary, &[&own, arguments].concat()).await
    }

    /// Runs a command that must succeed, and gives the one thing that it printed with `--json`.
    ///
    /// # Errors
    /// If it fails, with its words.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value, Fault> {
        let mut lines = self.lines(arguments).await?;
        lines
            .pop()
            .ok_or_else(|| Fault::new(format!("{arguments:?}: printed nothing")))
    }

    /// Runs a command that must succeed, and gives the lines that it printed with `--json`.
    ///
    /// # Errors
    /// If it fails, with its words.
    pub async fn lines(&self, arguments: &[&str]) -> Result<Vec<Value>, Fault> {
        let ended = self.run(&[arguments, &["--json"]].concat()).await?;
        if ended.code != Some(0) {
            let (words, code) = (&ended.stderr, ended.code);
            return Err(self
                .daemon
                .fault(&format!("{arguments:?}: {code:?} {words}")));
        }
        let line = |line| {
            serde_json::from_str(line)
                .map_err(|error| Fault::new(format!("{arguments:?}: {error}: {line}")))
        };
        ended.stdout.lines().map(line).collect()
    }

    /// Runs as many processes of one command at once; all must succeed.
    ///
    /// # Errors
    /// If one fails, with its words.
    pub async fn ask_at_once(&self, count: usize, arguments: &[&str]) -> Result<(), Fault> {
        let mut running = self.keep_asking(count, arguments);
        let what = format!("{count} times {arguments:?}");
        while let Some(ended) = within(LIMIT, &what, running.join_next()).await? {
            let output = ended.map_err(|error| Fault::new(error.to_string()))??;
            if !output.status.success() {
                let words = String::from_utf8_lossy(&output.stderr);
                return Err(self.daemon.fault(&format!("{arguments:?}: {words}")));
            }
        }
        Ok(())
    }

    /// The same without waiting; what still runs ends with the set.
    pub fn keep_asking(
        &self,
        count: usize,
        arguments: &[&str],
    ) -> JoinSet<std::io::Result<Output>> {
        let mut running = JoinSet::new();
        for _ in 0..count {
            let mut command = task::Command::new(&self.binary);
            command.arg("--home").arg(&self.home);
            command.arg("--passphrase-file").arg(&self.passphrase);
            command.args(["--no-input", "--no-daemon"]);
            command.args(arguments).stdin(Stdio::null());
            command.kill_on_drop(true);
            running.spawn(async move { command.output().await });
        }
        running
    }

    /// An invitation for somebody who will be called `name`.
    ///
    /// # Errors
    /// If none is ready in time.
    pub async fn invite(&self, name: &str) -> Result<String, Fault> {
        let answer = self
            .ask(&["invite", "--name", name, "--wait", "--timeout", WAIT])
            .await?;
        text_of(&answer, "invitation")
    }

    /// Opens an invitation and waits until its giver is a contact called `name`.
    ///
    /// # Errors
    /// If it does not open in time.
    pub async fn add(&self, name: &str, invitation: &str) -> Result<(), Fault> {
        let command = [
            "add",
            "--name",
            name,
            invitation,
            "--now",
            "--wait",
            "--timeout",
            WAIT,
        ];
        self.ask(&command).await.map(drop)
    }

    /// Sends a text and waits until it is stored.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn send(&self, contact: &str, text: &str) -> Result<(), Fault> {
        let answer = self
            .ask(&["send", contact, text, "--wait", "stored", "--timeout", WAIT])
            .await?;
        match text_of(&answer, "state")?.as_str() {
            "stored" => Ok(()),
            state => Err(Fault::new(format!("{text:?} is only {state}"))),
        }
    }

    /// Waits for texts and takes them: pairs of contact and text.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn receive(&self) -> Result<Vec<(String, String)>, Fault> {
        let texts = self
            .lines(&["receive", "--wait", "--timeout", WAIT])
            .await?;
        texts
            .iter()
            .map(|text| Ok((text_of(text, "contact")?, text_of(text, "text")?)))
            .collect()
    }
}

fn text_of(value: &Value, name: &str) -> Result<String, Fault> {
    let text = value.get(name).and_then(Value::as_str);
    text.map(str::to_owned)
        .ok_or_else(|| Fault::new(format!("no {name} in {value}")))
}
