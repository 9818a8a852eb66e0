//! How authorities make a consensus. What is here decides; `whist-directory` only moves bytes.

use std::collections::BTreeMap;

use whist_types::{ConsensusHash, Epoch, Family, Layer, NodeId};

use crate::consensus::{check_nodes, validity};
use crate::{
    AuthoritySecret, AuthoritySignature, Bundle, Descriptor, Extension, Header, Kind, Mmr,
    NODES_MAX, NodeEntry, NodeRole, Parameters, Refused, SignedHeader, TrustedAuthorities,
    merkle_root,
};

/// A consensus that is not signed yet.
#[derive(Debug, Clone)]
pub struct Proposal {
    header: Header,
    parameters: Vec<u8>,
    nodes: Vec<Vec<u8>>,
    entries: Vec<NodeEntry>,
}

impl Proposal {
    /// The consensus of `epoch` over these nodes, in any order, after the headers of `range`.
    #[expect(clippy::expect_used, reason = "writing into memory")]
    pub fn new(
        trusted: &TrustedAuthorities,
        epoch: Epoch,
        parameters: &Parameters,
        mut nodes: Vec<NodeEntry>,
        range: &Mmr,
    ) -> Result<Self, Refused> {
        parameters.check()?;
        if parameters.schedule(trusted.schedule().genesis_ms) != *trusted.schedule() {
            return Err(Refused::OtherNetwork);
        }
        if nodes.len() > NODES_MAX {
            return Err(Refused::TooLarge);
        }
        nodes.sort_by_key(|node| node.id);
        check_nodes(&nodes, parameters)?;
        let parameter_bytes = borsh::to_vec(parameters).expect("a vector takes every byte");
        let node_bytes: Vec<_> = nodes
            .iter()
            .map(|node| borsh::to_vec(node).expect("a vector takes every byte"))
            .collect();
        let (valid_from, valid_until) = validity(epoch, parameters, trusted.schedule());
        let header = Header {
            network: trusted.network_hash(),
            epoch,
            valid_from,
            valid_until,
            parameters: *blake3::hash(&parameter_bytes).as_bytes(),
            node_count: u32::try_from(node_bytes.len()).unwrap_or(u32::MAX),
            nodes: merkle_root(&node_bytes),
            earlier: range.count(),
            range: range.root(),
        };
        Ok(Self {
            header,
            parameters: parameter_bytes,
            nodes: node_bytes,
            entries: nodes,
        })
    }

    /// The consensus of `epoch` over these verified descriptors: entries as [`entries`] makes them.
    pub fn from_descriptors<'a>(
        trusted: &TrustedAuthorities,
        epoch: Epoch,
        parameters: &Parameters,
        descriptors: impl IntoIterator<Item = &'a Descriptor>,
        range: &Mmr,
    ) -> Result<Self, Refused> {
        let nodes = entries(epoch, parameters, descriptors);
        Self::new(trusted, epoch, parameters, nodes, range)
    }

    /// What is to be signed.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The hash that the consensus will have.
    pub fn hash(&self) -> ConsensusHash {
        self.header.hash()
    }

    /// The nodes, by rising id.
    pub fn entries(&self) -> &[NodeEntry] {
        &self.entries
    }

    /// Signs as the authority at `index`.
    pub fn sign(&self, index: u8, secret: &AuthoritySecret) -> AuthoritySignature {
        self.header.sign(index, secret)
    }

    /// The bundle with what signatures there are.
    pub fn bundle(&self, signatures: Vec<AuthoritySignature>, extension: Extension) -> Bundle {
        Bundle::new(
            &SignedHeader::new(self.header.clone(), signatures),
            self.parameters.clone(),
            self.nodes.clone(),
            extension,
        )
    }
}

/// Turns descriptors into entries: one a node, none of a family that has both mixes and providers,
/// layers by rank.
pub fn entries<'a>(
    epoch: Epoch,
    parameters: &Parameters,
    descriptors: impl IntoIterator<Item = &'a Descriptor>,
) -> Vec<NodeEntry> {
    let mut by_id: BTreeMap<NodeId, &Descriptor> = BTreeMap::new();
    for descriptor in descriptors {
        if descriptor.epoch == epoch {
            by_id.entry(descriptor.id()).or_insert(descriptor);
        }
    }
    let mut kinds: BTreeMap<Family, Option<Kind>> = BTreeMap::new();
    for descriptor in by_id.values() {
        let kind = kinds
            .entry(descriptor.family)
            .or_insert(Some(descriptor.kind));
        if *kind != Some(descriptor.kind) {
            *kind = None;
        }
    }
    by_id.retain(|_, d| kinds.get(&d.family).is_some_and(Option::is_some));
    let layers = layers_by_rank(epoch, parameters, by_id.values().copied());
    by_id
        .into_iter()
        .filter_map(|(id, descriptor)| {
            let role = match descriptor.kind {
                Kind::Provider => NodeRole::Provider,
                Kind::Mix => NodeRole::Mix {
                    layer: *layers.get(&id)?,
                },
            };
            Some(entry_of(id, descriptor, role))
        })
        .collect()
}

fn entry_of(id: NodeId, descriptor: &Descriptor, role: NodeRole) -> NodeEntry {
    NodeEntry {
        id,
        identity: descriptor.identity,
        link: descriptor.link,
        keys: descriptor.keys,
        address: descriptor.address.clone(),
        role,
        weight: descriptor.capacity,
        family: descriptor.family,
        load: descriptor.load,
    }
}

/// Mixes sorted by BLAKE3(first epoch of the layer life ‖ identity), the i-th in layer i mod L.
fn layers_by_rank<'a>(
    epoch: Epoch,
    parameters: &Parameters,
    descriptors: impl IntoIterator<Item = &'a Descriptor>,
) -> BTreeMap<NodeId, Layer> {
    let life = u64::from(parameters.layer_life_epochs);
    let into_life = epoch.number().checked_rem(life).unwrap_or(0);
    let first = epoch.minus(into_life).number().to_be_bytes();
    let mut ranked: Vec<_> = descriptors
        .into_iter()
        .filter(|descriptor| descriptor.kind == Kind::Mix)
        .map(|descriptor| {
            let mut hasher = blake3::Hasher::new_derive_key("whist 2026 layer rank v1");
            hasher.update(&first);
            hasher.update(descriptor.identity.as_bytes());
            (*hasher.finalize().as_bytes(), descriptor.id())
        })
        .collect();
    ranked.sort_unstable();
    let layers = (0..parameters.layers).map(Layer::new).cycle();
    ranked
        .into_iter()
        .zip(layers)
        .map(|((_, id), layer)| (id, layer))
        .collect()
}
