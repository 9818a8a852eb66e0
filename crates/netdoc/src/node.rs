//! What a node says of itself, and what the consensus says of it.

use borsh::{BorshDeserialize, BorshSerialize};
use whist_types::{Epoch, Family, IdentityKey, Layer, LinkKey, NodeId, SphinxKey};

use crate::keys::verify_ed25519;
use crate::unverified::Document;
use crate::{IdentitySecret, LinkSecret, LoopReport, Refused, Unverified};

/// A consensus lists the Sphinx keys of this many epochs: its own and the next three.
pub const KEY_EPOCHS: usize = 4;
/// Bytes of `host:port`; a DNS name has at most 253.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// Bytes of a signed descriptor: it fits into one part on a link.
pub const DESCRIPTOR_BYTES_MAX: usize = 1_024;
/// Weights above this are refused, so that their sums fit 64 bits with room.
pub const WEIGHT_MAX: u32 = 1_000_000_000;

const VERSION: u8 = 2;
const LABEL: &str = "whist 2026 descriptor v1";

/// What a node offers to be.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Kind {
    /// A mix.
    Mix,
    /// A provider.
    Provider,
}

/// What a node is in a consensus.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum NodeRole {
    /// A mix of a layer.
    Mix {
        /// Its layer.
        layer: Layer,
    },
    /// A provider.
    Provider,
}

impl NodeRole {
    /// Mix or provider.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Mix { .. } => Kind::Mix,
            Self::Provider => Kind::Provider,
        }
    }

    /// The layer of a mix.
    pub const fn layer(self) -> Option<Layer> {
        match self {
            Self::Mix { layer } => Some(layer),
            Self::Provider => None,
        }
    }
}

/// A node as the consensus lists it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct NodeEntry {
    /// Hash of the identity key.
    pub id: NodeId,
    /// Identity key.
    pub identity: IdentityKey,
    /// Key of its links.
    pub link: LinkKey,
    /// Sphinx keys of the consensus's epoch and the next three.
    pub keys: [SphinxKey; KEY_EPOCHS],
    /// Where it listens: `host:port`.
    pub address: String,
    /// Mix of a layer, or provider.
    pub role: NodeRole,
    /// Share of the traffic that it takes, before the cap.
    pub weight: u32,
    /// Its operator's family.
    pub family: Family,
    /// Measured: packets expected in a mix's pool, sessions of a provider.
    pub load: u32,
}

impl NodeEntry {
    /// The Sphinx key of `epoch`, if the consensus of `consensus_epoch` lists it.
    pub fn key_for(&self, epoch: Epoch, consensus_epoch: Epoch) -> Option<SphinxKey> {
        let ahead = epoch.number().checked_sub(consensus_epoch.number())?;
        self.keys.get(usize::try_from(ahead).ok()?).copied()
    }

    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.id != self.identity.node_id() {
            return Err(Refused::Malformed("node id"));
        }
        check_address(&self.address)?;
        check_weight(self.weight)
    }
}

/// `host:port` with a port, and nothing that could confuse a log or a resolver.
pub fn check_address(address: &str) -> Result<(), Refused> {
    let bad = || Refused::Malformed("address");
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(bad());
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(bad());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(bad()),
    }
}

fn check_weight(weight: u32) -> Result<(), Refused> {
    if (1..=WEIGHT_MAX).contains(&weight) {
        Ok(())
    } else {
        Err(Refused::Malformed("weight"))
    }
}

/// What a node says of itself for one epoch's consensus.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Descriptor {
    /// Epoch of the consensus that it is for, and of the first key.
    pub epoch: Epoch,
    /// Identity key.
    pub identity: IdentityKey,
    /// Key of its links.
    pub link: LinkKey,
    /// Sphinx keys of `epoch` and the next three.
    pub keys: [SphinxKey; KEY_EPOCHS],
    /// Where it listens: `host:port`.
    pub address: String,
    /// Mix or provider.
    pub kind: Kind,
    /// Its operator's family.
    pub family: Family,
    /// Packets a second that it can take: its weight.
    pub capacity: u32,
    /// Packets expected in its pool, or sessions: rounded by the node as it likes.
    pub load: u32,
    /// What its own loops met. A provider has none.
    pub loops: LoopReport,
}

impl Descriptor {
    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Signs with both keys; the bytes travel in `DESCRIPTOR` frames.
    pub fn sign(&self, identity: &IdentitySecret, link: &LinkSecret) -> SignedDescriptor {
        #[expect(clippy::expect_used, reason = "writing into memory")]
        let body = borsh::to_vec(self).expect("a vector takes every byte");
        let signed = DescriptorWire {
            version: VERSION,
            by_identity: identity.sign(LABEL, &body),
            by_link: link.sign(LABEL, &body),
            body,
        };
        #[expect(clippy::expect_used, reason = "writing into memory")]
        let bytes = borsh::to_vec(&signed).expect("a vector takes every byte");
        SignedDescriptor { bytes }
    }

    fn check(&self) -> Result<(), Refused> {
        check_address(&self.address)?;
        check_weight(self.capacity)?;
        // No route takes a key of small order: a consensus that lists one costs every client the
        // packets whose route it was to be.
        if self
            .keys
            .iter()
            .any(|key| key.is_small_order() || !key.is_canonical())
        {
            return Err(Refused::Malformed("Sphinx key"));
        }
        if self.kind == Kind::Provider && self.loops != LoopReport::default() {
            return Err(Refused::Malformed("loop report of a provider"));
        }
        self.loops.check()
    }
}

/// | field | size | meaning |
/// |---|---|---|
/// | version | 1 | 2 |
/// | by identity | 64 | Ed25519 of the identity key over label ‖ 0 ‖ body |
/// | by link | 64 | Ed25519 of the link key over the same |
/// | body | 4 + n | borsh of [`Descriptor`] |
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DescriptorWire {
    version: u8,
    by_identity: [u8; 64],
    by_link: [u8; 64],
    body: Vec<u8>,
}

/// The bytes of a descriptor as its node signed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDescriptor {
    bytes: Vec<u8>,
}

impl SignedDescriptor {
    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Parses bytes of a peer; nothing of the result can be read before it is verified.
    pub fn parse(bytes: &[u8]) -> Result<Unverified<Descriptor>, Refused> {
        if bytes.len() > DESCRIPTOR_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let wire =
            DescriptorWire::try_from_slice(bytes).map_err(|_| Refused::Malformed("descriptor"))?;
        if wire.version != VERSION {
            return Err(Refused::UnknownVersion(wire.version));
        }
        Ok(Unverified(wire))
    }
}

impl Document for Descriptor {
    type Form = DescriptorWire;
}

impl Unverified<Descriptor> {
    /// The descriptor, if both of its keys signed these bytes.
    pub fn verify(self) -> Result<Descriptor, Refused> {
        let Self(wire) = self;
        // The keys stand in the body, so it is decoded first; its size is bounded.
        let descriptor =
            Descriptor::try_from_slice(&wire.body).map_err(|_| Refused::Malformed("descriptor"))?;
        let (identity, link) = (&descriptor.identity, &descriptor.link);
        verify_ed25519(identity.as_bytes(), LABEL, &wire.body, &wire.by_identity)?;
        verify_ed25519(link.as_bytes(), LABEL, &wire.body, &wire.by_link)?;
        descriptor.check()?;
        Ok(descriptor)
    }
}
