//! The plan of a network: how many of each, their keys from one seed. The world, the demo and tests
//! build the same roles from it and differ in what carries their frames.

use whist_directory::Setup;
use whist_link::LinkIdentity;
use whist_mix::{LineRate, MixConfig};
use whist_netdoc::{
    AuthorityInfo, AuthoritySecret, Bootstrap, IdentitySecret, NETWORK_VERSION, Network,
    Parameters, quorum_of,
};
use whist_provider::ProviderConfig;
use whist_types::{Family, IdentityKey, LinkKey, Secret, Wall};

/// Tags that a node of an experiment keeps for one key.
pub const TABLE_TAGS: u64 = 1 << 16;
/// Line rate of a node of an experiment, where its table holds what comes at it in a key's life.
const PACKETS_PER_S: u32 = 5_000;
/// Rows that a provider of an experiment stores.
const STORE_ROWS: u64 = 1 << 20;

/// One member of a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Who {
    /// The i-th authority.
    Authority(u8),
    /// The i-th mix; its layer is the consensus's business.
    Mix(u8),
    /// The i-th provider.
    Provider(u8),
    /// The i-th client.
    Client(u8),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Authority(i) => write!(f, "authority{i}"),
            Self::Mix(i) => write!(f, "mix{i}"),
            Self::Provider(i) => write!(f, "provider{i}"),
            Self::Client(i) => write!(f, "client{i}"),
        }
    }
}

/// How many of each, and the seed of all their keys.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Everything random of the network comes from it.
    pub seed: u64,
    /// Authorities, at least four.
    pub authorities: u8,
    /// Mixes, of all layers together.
    pub mixes: u8,
    /// Providers, at least three.
    pub providers: u8,
    /// What the authorities put into the consensus.
    pub parameters: Parameters,
    /// When epoch 0 starts.
    pub genesis: Wall,
}

impl Blueprint {
    /// Four authorities, nine mixes, four providers under the demo's parameters.
    pub fn small(seed: u64, genesis: Wall) -> Self {
        let parameters = Parameters::demo();
        Self {
            seed,
            authorities: 4,
            mixes: 9,
            providers: 4,
            parameters,
            genesis,
        }
    }

    /// A secret of one member.
    pub fn secret(&self, who: Who, what: &str) -> Secret<32> {
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 sim secret v1");
        hasher.update(&self.seed.to_be_bytes());
        hasher.update(what.as_bytes());
        hasher.update(who.to_string().as_bytes());
        Secret::new(*hasher.finalize().as_bytes())
    }

    /// The key with which it identifies its links.
    pub fn link(&self, who: Who) -> LinkIdentity {
        LinkIdentity::from_secret(&self.secret(who, "link"))
    }

    /// Its link key as others know it.
    pub fn link_key(&self, who: Who) -> LinkKey {
        self.link(who).public()
    }

    /// Its identity as the authorities admit it.
    pub fn identity(&self, who: Who) -> IdentityKey {
        IdentitySecret::from_seed(&self.secret(who, "identity")).public()
    }

    /// Its operator: everybody has one of their own.
    pub fn family(&self, who: Who) -> Family {
        Family::from_bytes(*self.secret(who, "family").expose())
    }

    /// All nodes, mixes first.
    pub fn nodes(&self) -> impl Iterator<Item = Who> {
        (0..self.mixes)
            .map(Who::Mix)
            .chain((0..self.providers).map(Who::Provider))
    }

    /// Authorities and nodes.
    pub fn listeners(&self) -> impl Iterator<Item = Who> {
        (0..self.authorities)
            .map(Who::Authority)
            .chain(self.nodes())
    }

    /// What `network.toml` says, with `address` telling where each is dialed.
    pub fn network(&self, address: impl Fn(Who) -> String) -> Network {
        let authority = |who| {
            let secret = AuthoritySecret::from_seed(&self.secret(who, "authority"));
            AuthorityInfo {
                ed25519: secret.ed25519(),
                ml_dsa: secret.ml_dsa(),
                link: self.link_key(who),
                address: address(who),
            }
        };
        let bootstrap = |who| Bootstrap {
            identity: self.identity(who),
            link: self.link_key(who),
            address: address(who),
            family: self.family(who),
        };
        Network {
            version: NETWORK_VERSION,
            quorum: u16::try_from(quorum_of(self.authorities.into())).unwrap_or(u16::MAX),
            schedule: self.parameters.schedule(self.genesis.as_millis()),
            authorities: (0..self.authorities)
                .map(Who::Authority)
                .map(authority)
                .collect(),
            providers: (0..self.providers)
                .map(Who::Provider)
                .map(bootstrap)
                .collect(),
        }
    }

    /// What the i-th authority is made of.
    pub fn authority(&self, index: u8, network: &Network) -> Setup {
        let secret = AuthoritySecret::from_seed(&self.secret(Who::Authority(index), "authority"));
        Setup {
            trusted: network.trusted(),
            secret,
            parameters: self.parameters.clone(),
            admitted: self.nodes().map(|who| self.identity(who)).collect(),
        }
    }

    /// Line rate of each node, as a node finds its own. A node refuses to start with more than its
    /// table holds, and so it does at a rate of none.
    fn packets_per_s(&self) -> u32 {
        let schedule = self.parameters.schedule(self.genesis.as_millis());
        let measured = f64::from(PACKETS_PER_S);
        LineRate::new(measured, TABLE_TAGS, &schedule, PACKETS_PER_S)
            .map_or(PACKETS_PER_S, |rate| rate.packets_per_s)
    }

    /// What the i-th mix is made of.
    pub fn mix(&self, index: u8, address: String) -> MixConfig {
        let who = Who::Mix(index);
        MixConfig {
            identity: self.secret(who, "identity"),
            link: self.secret(who, "link"),
            address,
            family: self.family(who),
            packets_per_s: self.packets_per_s(),
            table_tags: TABLE_TAGS,
        }
    }

    /// What the i-th provider is made of.
    pub fn provider(&self, index: u8, address: String) -> ProviderConfig {
        let who = Who::Provider(index);
        ProviderConfig {
            identity: self.secret(who, "identity"),
            link: self.secret(who, "link"),
            address,
            family: self.family(who),
            packets_per_s: self.packets_per_s(),
            table_tags: TABLE_TAGS,
            store_rows: STORE_ROWS,
        }
    }
}
