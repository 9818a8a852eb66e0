//! `network.toml`: what a program must know of a network before it has met anybody.

use serde::{Deserialize, Serialize};
use whist_types::{AuthorityKey, EpochSchedule, Family, IdentityKey, LinkKey, NodeId};

use crate::keys::MlDsaKey;
use crate::node::check_address;
use crate::{AUTHORITIES_MAX, Refused};

/// Version of the file.
pub const NETWORK_VERSION: u16 = 1;
/// A file above this is refused.
pub(crate) const NETWORK_BYTES_MAX: usize = 1 << 20;
/// A network has at least this many authorities: below, not one may fail.
pub const AUTHORITIES_MIN: usize = 4;
/// A network names at least this many bootstrap providers.
pub const BOOTSTRAPS_MIN: usize = 3;

/// An authority as everybody knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityInfo {
    /// Ed25519 half of its signing key.
    pub ed25519: AuthorityKey,
    /// Key of its links.
    pub link: LinkKey,
    /// Where it listens: `host:port`.
    pub address: String,
    /// ML-DSA-65 half of its signing key.
    pub ml_dsa: MlDsaKey,
}

/// A provider at which a client without a consensus can begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Its identity key.
    pub identity: IdentityKey,
    /// Key of its links.
    pub link: LinkKey,
    /// Where it listens: `host:port`.
    pub address: String,
    /// Its operator's family.
    pub family: Family,
}

impl Bootstrap {
    /// Its id.
    pub fn id(&self) -> NodeId {
        self.identity.node_id()
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// 1.
    pub version: u16,
    /// Signatures that a consensus needs.
    pub quorum: u16,
    /// Genesis, length of the epochs, key window.
    pub schedule: EpochSchedule,
    /// The authorities; their order is that of the index in signatures.
    #[serde(rename = "authority")]
    pub authorities: Vec<AuthorityInfo>,
    /// Bootstrap providers.
    #[serde(rename = "provider")]
    pub providers: Vec<Bootstrap>,
}

/// Fewest signatures above (n+f)/2, with f the largest for which n ≥ 3f+1: two quorums then share
/// an honest authority, and the honest ones make a quorum alone.
pub const fn quorum_of(authorities: usize) -> usize {
    let faulty = authorities.saturating_sub(1) / 3;
    (authorities.saturating_add(faulty) / 2).saturating_add(1)
}

impl Network {
    /// Reads and checks the text of `network.toml`.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > NETWORK_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let network: Self =
            toml::from_str(text).map_err(|error| Refused::Text(error.message().to_owned()))?;
        network.check()?;
        Ok(network)
    }

    /// The text of `network.toml`.
    #[expect(
        clippy::expect_used,
        reason = "numbers, strings and tables after plain values"
    )]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a network has a form in TOML")
    }

    /// Refuses a network that could be split or could not start.
    pub fn check(&self) -> Result<(), Refused> {
        if self.version != NETWORK_VERSION {
            return Err(Refused::bounds("version", "is not 1"));
        }
        let n = self.authorities.len();
        if !(AUTHORITIES_MIN..=AUTHORITIES_MAX).contains(&n) {
            return Err(Refused::bounds(
                "authority",
                format!("{n}, not 4 to {AUTHORITIES_MAX}"),
            ));
        }
        let quorum = usize::from(self.quorum);
        if quorum < quorum_of(n) || quorum > n {
            let need = quorum_of(n);
            return Err(Refused::bounds(
                "quorum",
                format!("{quorum}, not {need} to {n}"),
            ));
        }
        if self.schedule.epoch_ms == 0 {
            return Err(Refused::bounds("epoch_ms", "is zero"));
        }
        if self.providers.len() < BOOTSTRAPS_MIN {
            return Err(Refused::bounds("provider", "fewer than three to begin at"));
        }
        for (i, one) in self.authorities.iter().enumerate() {
            check_address(&one.address)?;
            let same = |other: &AuthorityInfo| {
                other.ed25519 == one.ed25519 || other.link == one.link || other.ml_dsa == one.ml_dsa
            };
            if self.authorities.iter().skip(i.saturating_add(1)).any(same) {
                return Err(Refused::bounds("authority", "two share a key"));
            }
        }
        self.providers
            .iter()
            .try_for_each(|provider| check_address(&provider.address))
    }

    /// Whom to trust.
    pub fn trusted(&self) -> TrustedAuthorities {
        TrustedAuthorities::new(
            self.authorities.clone(),
            usize::from(self.quorum),
            self.schedule,
        )
    }
}

/// The authorities of a network, how many of them it takes, and the network's schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedAuthorities {
    authorities: Vec<AuthorityInfo>,
    quorum: usize,
    schedule: EpochSchedule,
    network: [u8; 32],
}

impl TrustedAuthorities {
    fn new(authorities: Vec<AuthorityInfo>, quorum: usize, schedule: EpochSchedule) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 network v1");
        for authority in &authorities {
            hasher.update(authority.ed25519.as_bytes());
            hasher.update(authority.ml_dsa.as_bytes());
        }
        for number in [
            schedule.genesis_ms,
            schedule.epoch_ms,
            schedule.key_window_ms,
        ] {
            hasher.update(&number.to_be_bytes());
        }
        hasher.update(&u64::try_from(quorum).unwrap_or(u64::MAX).to_be_bytes());
        Self {
            authorities,
            quorum,
            schedule,
            network: *hasher.finalize().as_bytes(),
        }
    }

    /// The authority at a place of the list.
    pub fn authority(&self, index: u8) -> Option<&AuthorityInfo> {
        self.authorities.get(usize::from(index))
    }

    /// All authorities in their order.
    pub fn authorities(&self) -> &[AuthorityInfo] {
        &self.authorities
    }

    /// Place of the authority with this link key.
    pub fn index_of_link(&self, link: &LinkKey) -> Option<u8> {
        let at = self.authorities.iter().position(|a| a.link == *link)?;
        u8::try_from(at).ok()
    }

    /// Signatures that a consensus needs.
    pub const fn quorum(&self) -> usize {
        self.quorum
    }

    /// The network's schedule.
    pub const fn schedule(&self) -> &EpochSchedule {
        &self.schedule
    }

    /// Binds signatures to this set of authorities, quorum and schedule.
    pub const fn network_hash(&self) -> [u8; 32] {
        self.network
    }
}
