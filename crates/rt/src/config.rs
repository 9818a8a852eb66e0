//! Configuration: one TOML file for each program, by path; errors name file, line and key.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::RtError;
use crate::exit::one_line;

/// A configuration file larger than this is not one.
const BYTES_MAX: u64 = 1 << 20;

/// Reads and parses the file at `path`. Unknown keys are refused where `T` says
/// `#[serde(deny_unknown_fields)]`, which every configuration does.
///
/// # Errors
/// One line: `path:line: what (key)`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, RtError> {
    let unreadable = |error| RtError::Config(format!("cannot read {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > BYTES_MAX {
        return Err(RtError::Config(format!(
            "{}: larger than {BYTES_MAX} bytes",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, &path.display().to_string())
}

/// Parses `text`, which was read from what `source` names.
///
/// # Errors
/// One line: `source:line: what (key)`.
pub fn parse<T: DeserializeOwned>(text: &str, source: &str) -> Result<T, RtError> {
    toml::from_str(text).map_err(|error| {
        let what = one_line(error.message());
        let Some(span) = error.span() else {
            return RtError::Config(format!("{source}: {what}"));
        };
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        // A missing key has no place of its own: its span is the whole table. An unknown key is
        // named by the message already.
        let key = text
            .lines()
            .nth(line.saturating_sub(1))
            .and_then(|line| line.split_once('='))
            .map(|(key, _)| key.trim())
            .filter(|key| !what.contains("missing field") && !what.contains(*key));
        RtError::Config(match key {
            Some(key) => format!("{source}:{line}: {what} (key `{key}`)"),
            None => format!("{source}:{line}: {what}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Demo {
        #[serde(rename = "listen")]
        _listen: String,
        #[serde(default, rename = "rate")]
        _rate: u32,
    }

    fn error(text: &str) -> String {
        parse::<Demo>(text, "mix.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = error("listen = \"x\"\nspeed = 3\n");
        assert!(
            text.starts_with("mix.toml:2: unknown field `speed`"),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_wrong_type_names_line_and_key() {
        let text = error("listen = \"x\"\nrate = \"fast\"\n");
        assert!(text.starts_with("mix.toml:2: "), "{text}");
        assert!(text.contains("(key `rate`)"), "{text}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let text = error("rate = 1\n");
        assert!(text.contains("missing field `listen`"), "{text}");
        assert!(!text.contains("key `rate`"), "{text}");
    }

    #[test]
    fn a_missing_file_is_one_line() {
        let text = load::<Demo>(Path::new("/nonexistent/mix.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("cannot read /nonexistent/mix.toml"),
            "{text}"
        );
    }
}
