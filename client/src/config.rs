//! `whist.toml`: see `whist.example.toml`, which names every key. What the command line says comes
//! first.

use std::path::PathBuf;

use serde::Deserialize;

use crate::passphrase::Source;

/// How often packets leave, day and night: what the entry provider sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rate {
    /// One packet in 30 seconds on average.
    Low,
    /// One packet a second on average.
    #[default]
    Standard,
    /// Four packets a second on average.
    High,
}

impl Rate {
    /// Its number in the consensus's parameters.
    pub const fn number(self) -> u8 {
        match self {
            Self::Low => 0,
            Self::Standard => 1,
            Self::High => 2,
        }
    }
}

/// The configuration of `whist`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder of vault and socket; chosen by `--profile` if left out.
    pub home: Option<PathBuf>,
    /// The network's file, for `init`.
    pub network: Option<PathBuf>,
    /// How often packets leave, for `init`.
    pub rate: Rate,
    /// What the daemon logs.
    pub log: String,
    /// A shell command that the daemon runs when texts came.
    pub hook: Option<String>,
    /// A file with the passphrase in its first line.
    pub passphrase_file: Option<PathBuf>,
    /// A shell command that prints the passphrase.
    pub passphrase_command: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            home: None,
            network: None,
            rate: Rate::default(),
            log: "warn".to_owned(),
            hook: None,
            passphrase_file: None,
            passphrase_command: None,
        }
    }
}

impl Config {
    /// Where the passphrase comes from, if the command line does not say.
    pub fn passphrase(&self) -> Source {
        Source {
            passphrase_file: self.passphrase_file.clone(),
            passphrase_command: self.passphrase_command.clone(),
            key_file: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../whist.example.toml");
    const KEYS: [&str; 7] = [
        "home",
        "hook",
        "log",
        "network",
        "passphrase_command",
        "passphrase_file",
        "rate",
    ];

    #[test]
    fn the_example_equals_the_defaults_and_names_every_key() {
        let config: Config = whist_rt::config::parse(EXAMPLE, "whist.toml").unwrap();
        assert_eq!(config, Config::default());
        let mut all = EXAMPLE.to_owned();
        for key in KEYS {
            all = all.replace(&format!("# {key} = "), &format!("{key} = "));
        }
        let table: toml::Table = all.parse().unwrap();
        assert_eq!(table.keys().map(String::as_str).collect::<Vec<_>>(), KEYS);
    }

    #[test]
    fn an_unknown_key_is_refused_in_one_line() {
        let parse = |text| whist_rt::config::parse::<Config>(text, "whist.toml");
        let error = parse("cover = false").unwrap_err().to_string();
        assert!(error.contains("unknown field `cover`"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
