//! What a network consists of.

use whist_netdoc::Bootstrap;
use whist_types::IdentityKey;

/// What a program is in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `whist-directory`.
    Authority,
    /// `whist-mix`.
    Mix,
    /// `whist-provider`.
    Provider,
}

impl Kind {
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Authority => "whist-directory",
            Self::Mix => "whist-mix",
            Self::Provider => "whist-provider",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Mix => "mix",
            Self::Provider => "provider",
        }
    }
}

/// How large a network, and with which parameters.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Authorities: four or seven.
    pub authorities: usize,
    /// Mixes as processes.
    pub mixes: usize,
    /// Providers as processes.
    pub providers: usize,
    /// Lines of `[parameters]` that differ from the demo's.
    pub parameters: String,
    /// Packets a second that each node takes.
    pub packets_per_s: u32,
    /// Tags of one key: at least the line above for an epoch and two windows.
    pub table_tags: u64,
    /// What the nodes log.
    pub log: String,
}

impl Default for Plan {
    /// The network of the demo.
    fn default() -> Self {
        Self {
            authorities: 4,
            mixes: 9,
            providers: 4,
            parameters: String::new(),
            packets_per_s: 1_000,
            table_tags: 16_384,
            log: "info".to_owned(),
        }
    }
}

/// A node that the test itself plays, to be admitted.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its identity key.
    pub identity: IdentityKey,
    /// What `network.toml` says of it, if it is a provider.
    pub bootstrap: Option<Bootstrap>,
}
