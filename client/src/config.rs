//! `whist.toml`: see `whist.example.toml`, which names every key. What the command line says comes
//! first.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::limits::LOCK_AFTER;
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
    /// Time without a command after which the daemon locks the vault, such as `12h`; or `off`.
    #[serde(deserialize_with = "time")]
    pub lock_after: Option<Duration>,
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
            lock_after: Some(LOCK_AFTER),
            passphrase_file: None,
            passphrase_command: None,
        }
    }
}

/// A time: a number with `s`, `m`, `h`, `d` or `w`; `off` is none, and no time at all is too.
///
/// # Errors
/// One clear line.
pub fn seconds(word: &str) -> Result<u32, String> {
    if word == "off" {
        return Ok(0);
    }
    let wanted = || "a number with s, m, h, d or w is wanted, such as 8h; or off".to_owned();
    let unit = word.chars().last().ok_or_else(wanted)?;
    let digits = word.strip_suffix(unit).unwrap_or_default();
    let seconds: u32 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wanted()),
    };
    let count: u32 = digits.parse().map_err(|_| wanted())?;
    count.checked_mul(seconds).ok_or_else(wanted)
}

fn time<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let word = String::deserialize(from)?;
    let time = seconds(&word).map_err(serde::de::Error::custom)?;
    Ok((time > 0).then(|| Duration::from_secs(u64::from(time))))
}

impl Config {
    /// Where the passphrase comes from, if the command line does not say.
    pub fn passphrase(&self) -> Source {
        Source {
            passphrase_file: self.passphrase_file.clone(),
            passphrase_command: self.passphrase_command.clone(),
            key_file: None,
            no_input: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../whist.example.toml");
    const KEYS: [&str; 8] = [
        "home",
        "hook",
        "lock_after",
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
    fn a_time_after_which_the_vault_is_locked_has_a_unit_or_is_off() {
        let parse = |text| whist_rt::config::parse::<Config>(text, "whist.toml");
        let after = |text| parse(text).unwrap().lock_after.map(|time| time.as_secs());
        assert_eq!(after("lock_after = \"15m\""), Some(900));
        assert_eq!(after("lock_after = \"off\""), None);
        assert_eq!(after(""), Some(12 * 3_600));
        for bad in ["lock_after = \"15\"", "lock_after = 15"] {
            let error = parse(bad).unwrap_err().to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_in_one_line() {
        let parse = |text| whist_rt::config::parse::<Config>(text, "whist.toml");
        let error = parse("cover = false").unwrap_err().to_string();
        assert!(error.contains("unknown field `cover`"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
