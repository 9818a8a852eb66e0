//! `mix.toml`: see `mix.example.toml`, which names every key.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use whist_types::Family;

/// The configuration of `whist-mix`. Few keys: each one is a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Keys and documents; mode 0700.
    #[serde(default = "state_dir")]
    pub state_dir: PathBuf,
    /// Keys in service and their tags: a folder on a tmpfs, never on a disk.
    #[serde(default = "tag_dir")]
    pub tag_dir: PathBuf,
    /// Where to accept links.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Where others dial this node: `host:port`.
    pub advertise: String,
    /// The network's file.
    #[serde(default = "network")]
    pub network: PathBuf,
    /// 64 hexadecimal digits that all nodes of one operator share.
    pub family: Family,
    /// Where metrics are shown, on loopback; nowhere if left out.
    pub metrics: Option<SocketAddr>,
    /// Packets a second that this node takes at most. What the machine unwraps, measured at the
    /// start, and what the table holds may be less: the lowest is its weight in the network.
    #[serde(default = "packets_per_s")]
    pub packets_per_s: u32,
    /// Replay tags of one key. Two tables of them are reserved in `tag_dir` at start.
    #[serde(default = "table_tags")]
    pub table_tags: u64,
    /// What to log to stderr.
    #[serde(default = "log")]
    pub log: String,
}

fn state_dir() -> PathBuf {
    "/var/lib/whist-mix".into()
}

fn tag_dir() -> PathBuf {
    "/run/whist-mix".into()
}

fn listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7_100))
}

fn network() -> PathBuf {
    "/etc/whist/network.toml".into()
}

const fn packets_per_s() -> u32 {
    1_000
}

const fn table_tags() -> u64 {
    4_194_304
}

fn log() -> String {
    "info".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../mix.example.toml");
    const KEYS: [&str; 10] = [
        "state_dir",
        "tag_dir",
        "listen",
        "advertise",
        "network",
        "family",
        "metrics",
        "packets_per_s",
        "table_tags",
        "log",
    ];

    fn parse(text: &str) -> Config {
        whist_rt::config::parse(text, "mix.toml").unwrap()
    }

    #[test]
    fn the_example_equals_the_defaults() {
        let example = parse(EXAMPLE);
        let least = format!(
            "advertise = \"{}\"\nfamily = \"{}\"\n",
            example.advertise, example.family
        );
        assert_eq!(parse(&least), example);
    }

    #[test]
    fn the_example_names_every_key_and_no_other() {
        let all = EXAMPLE.replace("# metrics", "metrics");
        let table: toml::Table = all.parse().unwrap();
        let named: Vec<_> = table.keys().map(String::as_str).collect();
        let mut keys = KEYS.to_vec();
        keys.sort_unstable();
        assert_eq!(named, keys);
        assert!(parse(&all).metrics.is_some());
    }

    #[test]
    fn an_unknown_key_or_a_missing_one_is_refused() {
        let text = |text: &str| {
            whist_rt::config::parse::<Config>(text, "mix.toml")
                .unwrap_err()
                .to_string()
        };
        assert!(text(&format!("{EXAMPLE}\nspeed = 3\n")).contains("unknown field `speed`"));
        assert!(text("listen = \"127.0.0.1:1\"").contains("missing field"));
        assert!(text("advertise = 1").contains("mix.toml:1"));
    }
}
