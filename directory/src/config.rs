//! The authority's TOML. `directory.example.toml` names every key with its default.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use whist_netdoc::Parameters;
use whist_rt::{Exit, Failure, RtError, config};
use whist_types::IdentityKey;

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Keys and records; made by `init`, mode 0700.
    pub state_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What others dial: `host:port`.
    pub advertise: String,
    /// The network's file, made by `whist-directory network`.
    pub network: PathBuf,
    /// Which nodes to list: a TOML file with `admit = ["identity key", …]`, read again on SIGHUP.
    pub admit: PathBuf,
    /// Where to show metrics; loopback only.
    pub metrics: Option<SocketAddr>,
    /// What to log.
    pub log: String,
    /// Take the parameters of a network on one machine as defaults.
    pub demo: bool,
    /// Parameters that differ from the defaults; all authorities of a network need the same.
    pub parameters: toml::Table,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/whist-directory".into(),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9_700)),
            advertise: "authority.example.org:9700".to_owned(),
            network: "/etc/whist/network.toml".into(),
            admit: "/etc/whist/admit.toml".into(),
            metrics: None,
            log: "info".to_owned(),
            demo: false,
            parameters: toml::Table::new(),
        }
    }
}

impl Config {
    /// The parameters that this authority signs.
    pub fn parameters(&self) -> Result<Parameters, Failure> {
        parameters(self.demo, &self.parameters)
    }
}

/// The defaults, or those of the demo, with what a table changes of them.
pub(crate) fn parameters(demo: bool, changes: &toml::Table) -> Result<Parameters, Failure> {
    let base = if demo {
        Parameters::demo()
    } else {
        Parameters::default()
    };
    let wrong = |error: String| Failure::new(Exit::Usage, format!("[parameters]: {error}"));
    let table = toml::Table::try_from(&base).map_err(|error| wrong(error.to_string()))?;
    let changed = |changes: toml::Table| {
        let mut table = table.clone();
        table.extend(changes);
        table.try_into()
    };
    let parameters: Parameters = changed(changes.clone()).map_err(|error: toml::de::Error| {
        // The error names no key of a table that was read before: it is the one that fails alone.
        let fails = |(key, value): &(&String, &toml::Value)| {
            let alone = toml::Table::from_iter([((*key).clone(), (*value).clone())]);
            changed(alone).is_err()
        };
        let key = changes.iter().find(fails).map_or("", |(key, _)| key);
        wrong(format!("{key}: {}", error.message()))
    })?;
    parameters
        .check()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(parameters)
}

/// The file of admitted nodes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Admitted {
    admit: BTreeSet<IdentityKey>,
}

/// Reads the identity keys of the nodes that are listed.
pub(crate) fn admitted(path: &std::path::Path) -> Result<BTreeSet<IdentityKey>, RtError> {
    config::load::<Admitted>(path).map(|file| file.admit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_names_every_key_and_equals_the_defaults() {
        let text = include_str!("../directory.example.toml");
        // Every key is there, also the optional one, which is commented out.
        let mut example: Config = config::parse(text, "example").unwrap();
        assert!(text.contains("\n#metrics = \"127.0.0.1:9701\"\n"));
        let keys = toml::Table::try_from(Parameters::default()).unwrap();
        assert!(keys.keys().eq(example.parameters.keys()));
        assert_eq!(example.parameters().unwrap(), Parameters::default());
        example.parameters.clear();
        assert_eq!(example, Config::default());
        for key in [
            "state_dir",
            "listen",
            "advertise",
            "network",
            "admit",
            "log",
            "demo",
        ] {
            assert!(text.contains(&format!("\n{key} = ")), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_or_parameter_and_a_value_out_of_bounds_are_refused() {
        assert!(config::parse::<Config>("surprise = 1", "t").is_err());
        let parameters = |text: &str| config::parse::<Config>(text, "t").unwrap().parameters();
        assert!(parameters("[parameters]\nsurprise = 1").is_err());
        let zero = parameters("[parameters]\ndelay_mean_ms = 0").unwrap_err();
        assert_eq!(
            zero.message,
            "[parameters]: delay_mean_ms: 0 is outside of 1 to 600000"
        );
        for (bad, why) in [
            (
                "layers = 3\ndelay_mean_ms = \"x\"",
                "delay_mean_ms: invalid type",
            ),
            (
                "layers = 3\nrare_mean_ms = 9999999999",
                "rare_mean_ms: invalid value",
            ),
        ] {
            let refused = parameters(&format!("[parameters]\n{bad}")).unwrap_err();
            assert!(refused.message.contains(why), "{refused:?}");
        }
        let demo = parameters("demo = true\n[parameters]\ndelay_mean_ms = 70").unwrap();
        let expected = Parameters {
            delay_mean_ms: 70,
            ..Parameters::demo()
        };
        assert_eq!(demo, expected);
    }
}
