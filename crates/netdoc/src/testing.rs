//! A network of authorities in one value, for simulations and tests. It holds all their keys and
//! makes and signs consensuses by the functions of [`crate::Proposal`], which authorities call too.

use std::sync::Arc;

use whist_types::{Epoch, Family, IdentityKey, LinkKey, NodeId, Secret, SphinxKey, Wall};

use crate::{
    AuthorityInfo, AuthoritySecret, AuthoritySignature, Bootstrap, Bundle, Consensus, Descriptor,
    Extension, Kind, LinkSecret, Mmr, Network, NodeEntry, Parameters, Proposal, Refused,
    TrustedAuthorities, quorum_of,
};

/// All authorities of a network, with their secrets.
#[derive(Debug)]
pub struct Authorities {
    secrets: Vec<AuthoritySecret>,
    links: Vec<LinkSecret>,
    network: Network,
    parameters: Parameters,
    range: Mmr,
}

impl Authorities {
    /// `count` authorities whose keys all come from `seed`. Authority i listens at
    /// `authority-i:1`; the bootstrap providers are placeholders until [`Self::set_providers`].
    pub fn new(seed: u64, count: u8, parameters: Parameters, genesis: Wall) -> Self {
        let secret_of = |label, i| Secret::new(derive(label, seed, u64::from(i)));
        let secrets: Vec<_> = (0..count)
            .map(|i| AuthoritySecret::from_seed(&secret_of("whist 2026 testing authority", i)))
            .collect();
        let links: Vec<_> = (0..count)
            .map(|i| LinkSecret::from_seed(&secret_of("whist 2026 testing authority link", i)))
            .collect();
        let info = |(i, (secret, link)): (usize, (&AuthoritySecret, &LinkSecret))| AuthorityInfo {
            ed25519: secret.ed25519(),
            ml_dsa: secret.ml_dsa(),
            link: link.public(),
            address: format!("authority-{i}:1"),
        };
        let network = Network {
            version: crate::NETWORK_VERSION,
            quorum: u16::try_from(quorum_of(secrets.len())).unwrap_or(u16::MAX),
            schedule: parameters.schedule(genesis.as_millis()),
            authorities: secrets.iter().zip(&links).enumerate().map(info).collect(),
            providers: Vec::new(),
        };
        Self {
            secrets,
            links,
            network,
            parameters,
            range: Mmr::default(),
        }
    }

    /// Puts these nodes' providers into `network.toml` as those to begin at.
    pub fn set_providers(&mut self, nodes: &[NodeEntry]) {
        self.network.providers = nodes
            .iter()
            .filter(|node| node.role.kind() == Kind::Provider)
            .map(|node| Bootstrap {
                identity: node.identity,
                link: node.link,
                address: node.address.clone(),
                family: node.family,
            })
            .collect();
    }

    /// What `network.toml` says.
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Whom everybody trusts.
    pub fn trusted(&self) -> TrustedAuthorities {
        self.network.trusted()
    }

    /// The parameters.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Changes the parameters of what is made from now on.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// The seeds' signing key of an authority.
    pub fn secret(&self, index: u8) -> Option<&AuthoritySecret> {
        self.secrets.get(usize::from(index))
    }

    /// The link key of an authority.
    pub fn link(&self, index: u8) -> Option<&LinkSecret> {
        self.links.get(usize::from(index))
    }

    /// The hashes of all headers signed so far.
    pub const fn range(&self) -> &Mmr {
        &self.range
    }

    /// An unsigned consensus over these nodes, with layers as they stand in the entries.
    pub fn propose(&self, epoch: Epoch, nodes: Vec<NodeEntry>) -> Result<Proposal, Refused> {
        let trusted = self.trusted();
        Proposal::new(&trusted, epoch, &self.parameters, nodes, &self.range)
    }

    /// Signatures of the authorities at these places.
    pub fn sign(&self, proposal: &Proposal, signers: &[u8]) -> Vec<AuthoritySignature> {
        let sign = |i: &u8| Some(proposal.sign(*i, self.secret(*i)?));
        signers.iter().filter_map(sign).collect()
    }

    /// Makes and signs the consensus of `epoch` with a bare quorum and appends it to the range.
    pub fn make(&mut self, epoch: Epoch, nodes: Vec<NodeEntry>) -> Result<Bundle, Refused> {
        let proposal = self.propose(epoch, nodes)?;
        Ok(self.finish(&proposal))
    }

    /// As [`Self::make`], from descriptors, with layers by rank.
    pub fn make_from<'a>(
        &mut self,
        epoch: Epoch,
        descriptors: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Result<Bundle, Refused> {
        let trusted = self.trusted();
        let proposal = Proposal::from_descriptors(
            &trusted,
            epoch,
            &self.parameters,
            descriptors,
            &self.range,
        )?;
        Ok(self.finish(&proposal))
    }

    fn finish(&mut self, proposal: &Proposal) -> Bundle {
        let signers: Vec<u8> = (0..u8::MAX)
            .take(usize::from(self.network.quorum))
            .collect();
        let extension = Extension::leaves(&self.range, 0, self.range.count());
        let bundle = proposal.bundle(self.sign(proposal, &signers), extension);
        self.range.push(proposal.hash());
        bundle
    }

    /// As [`Self::make`], verified: what a role holds.
    pub fn consensus(
        &mut self,
        epoch: Epoch,
        nodes: Vec<NodeEntry>,
    ) -> Result<Arc<Consensus>, Refused> {
        let bundle = self.make(epoch, nodes)?;
        Bundle::parse(&bundle.to_bytes())?
            .dangerously_verify_at_any_time(&self.trusted())
            .map(Arc::new)
    }
}

fn derive(label: &str, seed: u64, index: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(label);
    hasher.update(&seed.to_be_bytes());
    hasher.update(&index.to_be_bytes());
    *hasher.finalize().as_bytes()
}

/// An entry with made-up keys, for tests that look at lists and routes only.
pub fn entry(number: u64, role: crate::NodeRole, family: u64, weight: u32) -> NodeEntry {
    let identity = IdentityKey::from_bytes(derive("whist 2026 testing identity", number, 0));
    let key = |i| SphinxKey::from_bytes(derive("whist 2026 testing sphinx", number, i));
    NodeEntry {
        id: identity.node_id(),
        identity,
        link: LinkKey::from_bytes(derive("whist 2026 testing link", number, 0)),
        keys: [key(0), key(1), key(2), key(3)],
        address: format!("node-{number}:1"),
        role,
        weight,
        family: Family::from_bytes(derive("whist 2026 testing family", family, 0)),
        load: 0,
    }
}

/// `mixes` mixes in each of `layers` layers and `providers` providers, each of a family of its own,
/// all of weight 100.
pub fn entries(layers: u8, mixes: u64, providers: u64) -> Vec<NodeEntry> {
    let mut numbers = 0u64..;
    let mut nodes = Vec::new();
    let roles = (0..layers)
        .map(|i| {
            (
                crate::NodeRole::Mix {
                    layer: whist_types::Layer::new(i),
                },
                mixes,
            )
        })
        .chain([(crate::NodeRole::Provider, providers)]);
    for (role, count) in roles {
        for _ in 0..count {
            let number = numbers.next().unwrap_or_default();
            nodes.push(entry(number, role, number, 100));
        }
    }
    nodes
}

/// The ids of entries.
pub fn ids(nodes: &[NodeEntry]) -> Vec<NodeId> {
    nodes.iter().map(|node| node.id).collect()
}
