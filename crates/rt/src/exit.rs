//! Exit codes, and the `main` that every program shares.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use crate::{RtError, process};

/// The exit codes of all programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: anything that has no code of its own.
    Other,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: locked, or a wrong passphrase.
    Locked,
    /// 4: no daemon or no network.
    NoDaemon,
    /// 5: unknown contact.
    UnknownContact,
    /// 6: a contact's key changed.
    KeyChanged,
    /// 7: timed out waiting.
    TimedOut,
    /// 8: refused by policy.
    Refused,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Locked => 3,
            Self::NoDaemon => 4,
            Self::UnknownContact => 5,
            Self::KeyChanged => 6,
            Self::TimedOut => 7,
            Self::Refused => 8,
        }
    }
}

/// Why a program ends: a code and one line.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// The line for stderr.
    pub message: String,
}

impl Failure {
    /// A failure with this code and line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl From<(Exit, String)> for Failure {
    fn from((exit, message): (Exit, String)) -> Self {
        Self { exit, message }
    }
}

impl From<RtError> for Failure {
    fn from(error: RtError) -> Self {
        Self {
            exit: error.exit(),
            message: error.to_string(),
        }
    }
}

/// What a program's `main` returns: hardens the process (see [`process::harden`]), runs `body`,
/// prints a failure as `program: message`, one line on stderr, and gives its exit code.
///
/// ```no_run
/// use std::process::ExitCode;
/// use whist_rt::{Exit, Failure};
///
/// fn main() -> ExitCode {
///     whist_rt::main(|| -> Result<(), Failure> { Err(Failure::new(Exit::Usage, "no command")) })
/// }
/// ```
pub fn main<E: Into<Failure>>(body: impl FnOnce() -> Result<(), E>) -> ExitCode {
    process::harden();
    let failure = match body() {
        Ok(()) => return ExitCode::from(Exit::Ok.code()),
        Err(error) => error.into(),
    };
    eprintln!(
        "{}",
        one_line(&format!("{}: {}", process::name(), failure.message))
    );
    ExitCode::from(failure.exit.code())
}

/// Runs `future` on a multi-threaded runtime to its end. What is left on blocking threads then
/// has two seconds.
///
/// # Errors
/// If the runtime cannot be started.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, RtError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RtError::Start)?;
    let value = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(value)
}

/// `text` with its line breaks folded, so that a message is one line whatever it quotes.
pub(crate) fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let all = [
            Exit::Ok,
            Exit::Other,
            Exit::Usage,
            Exit::Locked,
            Exit::NoDaemon,
            Exit::UnknownContact,
            Exit::KeyChanged,
            Exit::TimedOut,
            Exit::Refused,
        ];
        for (number, exit) in all.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_it_quotes() {
        assert_eq!(one_line("a\n  b\n\nc\n"), "a; b; c");
    }
}
