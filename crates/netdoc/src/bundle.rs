//! The bundle: a consensus as it travels and as it is kept.

use borsh::{BorshDeserialize, BorshSerialize};
use whist_types::ConsensusHash;

use crate::merkle::PATH_MAX;
use crate::{
    Consensus, DOCUMENT_VERSION, InclusionProof, Mmr, Refused, SignedHeader, Unverified,
    unverified::Document,
};

/// A bundle is refused above this, before anything of it is looked at: 4,096 nodes of 600 B and the
/// hashes of 100,000 epochs fit.
pub const BUNDLE_BYTES_MAX: usize = 6 << 20;
/// Nodes of a consensus at most.
pub const NODES_MAX: usize = 4_096;

/// What shows that a consensus extends an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Extension {
    /// Nothing, for who holds nothing yet.
    None,
    /// A proof for one earlier header: what clients get.
    Proof(InclusionProof),
    /// The earlier headers from the `from`-th on: what nodes and authorities get.
    Leaves {
        /// Position of the first.
        from: u64,
        /// The hashes.
        leaves: Vec<[u8; 32]>,
    },
}

impl Extension {
    /// The earlier headers from the `from`-th up to the `earlier`-th.
    pub fn leaves(range: &Mmr, from: u64, earlier: u64) -> Self {
        let count = usize::try_from(earlier.saturating_sub(from)).unwrap_or(usize::MAX);
        let leaves = range.leaves_from(from).iter().take(count);
        Self::Leaves {
            from,
            leaves: leaves.map(|hash| hash.to_bytes()).collect(),
        }
    }

    /// A proof for `held` in the range of the first `earlier` headers, if it is there.
    pub fn proof(range: &Mmr, held: &ConsensusHash, earlier: u64) -> Self {
        range
            .position(held)
            .and_then(|index| range.prove(index, earlier))
            .map_or(Self::None, Self::Proof)
    }

    /// Whether the range under `signed` holds `hash` at place `index`, by this extension alone.
    pub(crate) fn shows(&self, signed: &SignedHeader, hash: &ConsensusHash, index: u64) -> bool {
        let header = signed.header();
        match self {
            Self::None => false,
            Self::Proof(proof) => {
                proof.index == index
                    && proof.count == header.earlier
                    && proof.verifies(hash, &header.range)
            }
            Self::Leaves { from: 0, leaves } => {
                let range = Mmr::from_leaves(leaves.iter().copied().map(ConsensusHash::from_bytes));
                range.leaves_from(index).first() == Some(hash)
                    && range.count() == header.earlier
                    && range.root() == header.range
            }
            Self::Leaves { .. } => false,
        }
    }
}

/// A consensus as it travels, in borsh:
///
/// | field | size | meaning |
/// |---|---|---|
/// | version | 1 | 1 |
/// | signed | 4 + n | header and signatures ([`SignedHeader`]) |
/// | parameters | 4 + n | borsh of [`crate::Parameters`], as hashed in the header |
/// | nodes | 4 + Σ(4 + n) | borsh of each [`crate::NodeEntry`], as hashed in the header |
/// | extension | 1 + n | [`Extension`] |
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Bundle {
    version: u8,
    signed: Vec<u8>,
    pub(crate) parameters: Vec<u8>,
    pub(crate) nodes: Vec<Vec<u8>>,
    pub(crate) extension: Extension,
}

impl Bundle {
    pub(crate) fn new(
        signed: &SignedHeader,
        parameters: Vec<u8>,
        nodes: Vec<Vec<u8>>,
        extension: Extension,
    ) -> Self {
        Self {
            version: DOCUMENT_VERSION,
            signed: signed.to_bytes(),
            parameters,
            nodes,
            extension,
        }
    }

    /// The bytes that travel.
    #[expect(clippy::expect_used, reason = "writing into memory")]
    pub fn to_bytes(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("a vector takes every byte")
    }

    /// The same consensus with another extension.
    #[must_use]
    pub fn with_extension(&self, extension: Extension) -> Self {
        Self {
            extension,
            ..self.clone()
        }
    }

    /// The same consensus with other signatures over its header.
    #[must_use]
    pub fn with_signatures(&self, signed: &SignedHeader) -> Self {
        Self {
            signed: signed.to_bytes(),
            ..self.clone()
        }
    }

    /// Reads what this program itself wrote: nothing of it is verified.
    pub fn dangerously_from_bytes(bytes: &[u8]) -> Result<Self, Refused> {
        Self::try_from_slice(bytes).map_err(|_| Refused::Malformed("bundle"))
    }

    /// Header and signatures: the part that is proof by itself.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// Parses bytes of a peer: sizes and outer form only.
    pub fn parse(bytes: &[u8]) -> Result<Unverified<Consensus>, Refused> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let bundle = Self::try_from_slice(bytes).map_err(|_| Refused::Malformed("bundle"))?;
        if bundle.version != DOCUMENT_VERSION {
            return Err(Refused::UnknownVersion(bundle.version));
        }
        if bundle.nodes.len() > NODES_MAX {
            return Err(Refused::TooLarge);
        }
        if matches!(&bundle.extension, Extension::Proof(p) if p.path.len() > PATH_MAX) {
            return Err(Refused::Malformed("proof"));
        }
        let signed = SignedHeader::parse(&bundle.signed)?;
        Ok(Unverified(ConsensusForm { bundle, signed }))
    }
}

/// A bundle that was taken apart and not yet verified.
#[derive(Debug, Clone)]
pub struct ConsensusForm {
    pub(crate) bundle: Bundle,
    pub(crate) signed: SignedHeader,
}

impl Document for Consensus {
    type Form = ConsensusForm;
}
