//! The daemon as a process of its own, started by whoever needs it.
//!
//! It learns the passphrase by a pipe that its starter alone holds, and says on another one that it
//! listens, or in one line why it does not. Nothing is asked again and again: the starter reads
//! until the word is there or the pipe has closed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use whist_rt::{Exit, Failure, local};
use zeroize::Zeroizing;

use super::{Context, socket, streams, vault};
use crate::daemon::{self, Run};
use crate::passphrase::Source;

/// What the daemon says when it listens.
const READY: &str = "ready";
/// Longest word that a daemon says, and longest passphrase that it takes.
const WORD_BYTES_MAX: u64 = 8_192;

/// A connection to the daemon, which is started where there is none and the vault can be opened.
pub(super) fn connect(context: &Context) -> Result<UnixStream, Failure> {
    let absent = match socket::connect(context) {
        Err(failure) if failure.exit == Exit::NoDaemon && context.starts => failure,
        told => return told,
    };
    if !daemon::has_vault(&context.home) {
        let home = context.home.display();
        let why = format!("no daemon serves {home}, and no vault is there: whist init makes one");
        return Err(Failure::new(Exit::NoDaemon, why));
    }
    if !context.can_be_told_the_passphrase() {
        return Err(absent);
    }
    // Before anything is typed.
    vault::check(&context.home)?;
    // One start at a time: who comes second finds the daemon of the first.
    let _starting = start_lock(&context.home)?;
    if let Ok(stream) = socket::connect(context) {
        return Ok(stream);
    }
    let passphrase = context.passphrase.read(false)?;
    start(context, &passphrase)?;
    context.say("no daemon was running: one was started, and runs on")?;
    socket::connect(context)
}

fn start_lock(home: &Path) -> Result<File, Failure> {
    let path = home.join("start.lock");
    let failure = |error: io::Error| {
        Failure::new(
            Exit::Other,
            format!("cannot lock {}: {error}", path.display()),
        )
    };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failure)?;
    file.lock().map_err(failure)?;
    Ok(file)
}

/// Starts the daemon and returns when it listens.
pub(super) fn start(context: &Context, passphrase: &[u8]) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new(Exit::Other, format!("no daemon: {error}"));
    let program = std::env::current_exe().map_err(cannot)?;
    let mut words: Vec<OsString> = vec!["--home".into(), absolute(&context.home)?.into()];
    words.extend(["--socket".into(), absolute(&context.socket)?.into()]);
    if let Some(file) = &context.config_file {
        words.extend(["--config".into(), absolute(file)?.into()]);
    }
    if let Some(file) = &context.passphrase.key_file {
        words.extend(["--key-file".into(), absolute(file)?.into()]);
    }
    words.push("daemon".into());
    words.push("--detached".into());
    if context.debug_build {
        words.push("--debug-build".into());
    }
    if systemd_runs() {
        // A scope is the process itself, kept apart from the session that started it. Its name
        // says nothing of the profile: journals are kept.
        let mut scope = Command::new("systemd-run");
        let own = [
            "--user",
            "--scope",
            "--quiet",
            "--collect",
            "--description=whist",
            "--",
        ];
        scope.args(own).arg(&program).args(&words);
        if let Some(told) = attempt(&mut scope, passphrase) {
            return told;
        }
    }
    attempt(Command::new(program).args(&words), passphrase).unwrap_or_else(|| {
        Err(Failure::new(
            Exit::Other,
            "the daemon ended before it listened",
        ))
    })
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
}

/// Whether systemd runs for this user.
fn systemd_runs() -> bool {
    let folder = std::env::var_os("XDG_RUNTIME_DIR");
    folder.is_some_and(|folder| Path::new(&folder).join("systemd/private").exists())
}

/// The word of a daemon; `None` if there was none.
fn attempt(command: &mut Command, passphrase: &[u8]) -> Option<Result<(), Failure>> {
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    if let Some(mut pipe) = child.stdin.take() {
        // One that has ended already has said why.
        let _ = pipe.write_all(passphrase);
    }
    let mut word = String::new();
    if let Some(pipe) = child.stdout.take() {
        let _ = BufReader::new(pipe.take(WORD_BYTES_MAX)).read_line(&mut word);
    }
    let word = word.trim_end();
    if word == READY {
        return Some(Ok(()));
    }
    let _ = child.wait();
    let (code, message) = word.split_once(' ')?;
    let exit = socket::exit_of(code.parse().ok()?);
    Some(Err(Failure::new(exit, message)))
}

/// `whist daemon --detached`: the other end of [`start`].
pub(super) fn detached(run: &Run, source: &Source) -> Result<(), Failure> {
    // Where systemd has done it already it cannot be done again.
    let _ = local::leave_session();
    let ready = || {
        let _ = streams::print(READY);
        let _ = local::let_go_of_streams();
    };
    let ended = daemon::run(run, || source.joined(passphrase()?, false), ready);
    if let Err(failure) = &ended {
        let line = failure.message.replace(['\n', '\r'], "; ");
        let _ = streams::print(&format!("{} {line}", failure.exit.code()));
    }
    ended
}

fn passphrase() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut read = Zeroizing::new(Vec::new());
    io::stdin()
        .lock()
        .take(WORD_BYTES_MAX)
        .read_to_end(&mut read)
        .map_err(|error| Failure::new(Exit::Usage, format!("no passphrase: {error}")))?;
    Ok(read)
}
