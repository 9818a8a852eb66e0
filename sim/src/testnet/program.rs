//! One program as a process.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whist_rt::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use whist_rt::sync::Notify;
use whist_rt::task::{self, Child, Command, JoinHandle};

use super::{Fault, LIMIT, within};

const SIGABRT: i32 = 6;

/// How a program that ended by itself ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs a program to its end, with nothing to read.
///
/// # Errors
/// If it cannot be started or does not end.
pub async fn run(binary: &Path, arguments: &[&str]) -> Result<Ended, Fault> {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let what = format!("{} {}", binary.display(), arguments.join(" "));
    let output = within(LIMIT, &what, command.output()).await??;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Notify,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program that is started, killed and started again with the same arguments. It is killed when
/// this is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
    log: Arc<Log>,
    running: Option<(Child, JoinHandle<()>)>,
    /// Lines that processes before this one had written.
    begun: usize,
}

impl Program {
    /// Not started yet.
    pub fn new(name: &str, binary: PathBuf, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            binary,
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            environment: Vec::new(),
            folder: None,
            log: Arc::default(),
            running: None,
            begun: 0,
        }
    }

    /// Sets a variable of its environment, from the next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Sets the folder that it stands in, from the next start on.
    pub fn set_folder(&mut self, folder: &Path) {
        self.folder = Some(folder.to_owned());
    }

    /// Sets the value after an option that it is started with, from the next start on.
    pub fn set_option(&mut self, option: &str, value: &str) {
        let place = self.arguments.iter().position(|given| given == option);
        let value_place = place.and_then(|place| place.checked_add(1));
        if let Some(given) = value_place.and_then(|place| self.arguments.get_mut(place)) {
            value.clone_into(given);
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it runs already or cannot be started.
    pub fn start(&mut self) -> Result<(), Fault> {
        if self.running.is_some() {
            return Err(self.fault("runs already"));
        }
        self.begun = self.log.lines().len();
        let here = Path::new(".");
        let mut child = Command::new(&self.binary)
            .args(&self.arguments)
            .current_dir(self.folder.as_deref().unwrap_or(here))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.fault(&error.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (first, second) = (Arc::clone(&self.log), Arc::clone(&self.log));
        let reading = task::spawn(async move {
            task::join!(collect(out, &first), collect(err, &second));
        });
        self.running = Some((child, reading));
        Ok(())
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|(child, _)| child.id())
    }

    /// Ends it as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        let Some((mut child, reading)) = self.running.take() else {
            return Err(self.fault("does not run"));
        };
        child.start_kill()?;
        within(LIMIT, "an end after SIGKILL", child.wait()).await??;
        let _ = reading.await;
        Ok(())
    }

    /// Ends it as a fault of its own would, by `SIGABRT`, and waits until it is gone; whether the
    /// system wrote a core file.
    ///
    /// # Errors
    /// If it does not run, or ends otherwise.
    pub async fn crash(&mut self) -> Result<bool, Fault> {
        self.signal("ABRT").await?;
        let Some((mut child, reading)) = self.running.take() else {
            return Err(self.fault("does not run"));
        };
        let status = within(LIMIT, "an end after SIGABRT", child.wait()).await??;
        let _ = reading.await;
        match status.signal() {
            Some(SIGABRT) => Ok(status.core_dumped()),
            _ => Err(self.fault(&format!("ended otherwise: {status}"))),
        }
    }

    /// Sends a signal by its name without `SIG`.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn signal(&self, signal: &str) -> Result<(), Fault> {
        let Some(pid) = self.pid() else {
            return Err(self.fault("does not run"));
        };
        let command = format!("kill -{signal} {pid}");
        let ended = run(Path::new("/bin/sh"), &["-c", &command]).await?;
        match ended.code {
            Some(0) => Ok(()),
            _ => Err(self.fault(&ended.stderr)),
        }
    }

    /// Waits until it ends by itself, and gives its exit code.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ended(&mut self) -> Result<Option<i32>, Fault> {
        let Some((mut child, reading)) = self.running.take() else {
            return Err(self.fault("does not run"));
        };
        let status = within(LIMIT, &format!("{}: its end", self.name), child.wait()).await??;
        let _ = reading.await;
        Ok(status.code())
    }

    /// Whether it has ended although nobody ended it.
    pub fn has_died(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|(child, _)| !matches!(child.try_wait(), Ok(None)))
    }

    /// Everything that it wrote since it was last started.
    pub fn lines(&self) -> Vec<String> {
        self.log
            .lines()
            .get(self.begun..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Everything that it ever wrote, earlier processes included.
    pub fn all_lines(&self) -> Vec<String> {
        self.log.lines().clone()
    }

    /// Waits for a line, written since the last start, that contains `text`.
    ///
    /// # Errors
    /// If none comes; the fault quotes the last lines.
    pub async fn line(&self, text: &str) -> Result<String, Fault> {
        let reading = async {
            loop {
                let grown = self.log.grown.notified();
                let found = self.lines().into_iter().find(|line| line.contains(text));
                if let Some(line) = found {
                    return line;
                }
                grown.await;
            }
        };
        let what = format!("a line with {text:?}");
        within(LIMIT, &what, reading)
            .await
            .map_err(|fault| self.fault(&fault.to_string()))
    }

    /// A fault with the program's name and its last words.
    pub fn fault(&self, what: &str) -> Fault {
        let lines = self.log.lines();
        let last = lines
            .get(lines.len().saturating_sub(12)..)
            .unwrap_or_default();
        Fault::new(format!("{}: {what}\n{}", self.name, last.join("\n")))
    }
}

async fn collect(stream: Option<impl AsyncReadExt + Unpin>, log: &Log) {
    let Some(stream) = stream else {
        return;
    };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.lines().push(line);
        log.grown.notify_waiters();
    }
}
