//! Standard streams: what a person reads goes to stdout, what the program says about itself to
//! stderr.

use std::io::{Read as _, Write as _};

use whist_rt::{Exit, Failure};

use crate::limits;

fn cannot_print(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Other, format!("cannot print: {error}"))
}

/// The answer, if there is anything to say.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").map_err(|error| cannot_print(&error))
}

/// A line beside the answer.
pub(super) fn say(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stderr().lock(), "{line}").map_err(|error| cannot_print(&error))
}

/// The text, or what stdin holds where the text is `-`.
pub(super) fn or_stdin(text: String) -> Result<String, Failure> {
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
