//! The header: the fixed form that authorities sign, and its signatures.

use whist_types::{ConsensusHash, Epoch, Reader, Wall, Writer};

use crate::keys::{DoubleSignature, ED25519_SIGNATURE_BYTES, ML_DSA_SIGNATURE_BYTES};
use crate::{AuthoritySecret, Refused, TreeHash, TrustedAuthorities};

/// Version of header and bundle.
pub const DOCUMENT_VERSION: u8 = 1;
/// Bytes of a header.
pub const HEADER_BYTES: usize = 165;
/// Bytes of one authority's signature.
pub const SIGNATURE_BYTES: usize = 3_374;
/// Authorities at most: their index is one byte, and a quorum of documents must stay small.
pub const AUTHORITIES_MAX: usize = 31;
/// Largest header with its signatures.
pub const SIGNED_HEADER_BYTES_MAX: usize = HEADER_BYTES + 1 + AUTHORITIES_MAX * SIGNATURE_BYTES;

const LABEL: &str = "whist 2026 consensus header v1";
const HASH: &str = "whist 2026 consensus hash v1";

/// What the authorities sign; all integers big-endian.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 32 | network | hash of authorities, quorum and schedule |
/// | 33 | 8 | epoch | the epoch that this is the consensus of |
/// | 41 | 8 | valid from | milliseconds since the Unix epoch |
/// | 49 | 8 | valid until | milliseconds since the Unix epoch |
/// | 57 | 32 | parameters | BLAKE3 of the parameters' bytes |
/// | 89 | 4 | node count | leaves under the root of the nodes |
/// | 93 | 32 | nodes | Merkle root of the nodes in the order of their ids |
/// | 125 | 8 | earlier | number of earlier headers |
/// | 133 | 32 | range | root of the Merkle mountain range over them |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Hash of authorities, quorum and schedule.
    pub network: [u8; 32],
    /// The epoch.
    pub epoch: Epoch,
    /// Not to be used before.
    pub valid_from: Wall,
    /// Not to be used from then on.
    pub valid_until: Wall,
    /// BLAKE3 of the parameters' bytes.
    pub parameters: [u8; 32],
    /// Number of nodes.
    pub node_count: u32,
    /// Merkle root of the nodes.
    pub nodes: TreeHash,
    /// Number of earlier headers.
    pub earlier: u64,
    /// Root of the range over them.
    pub range: TreeHash,
}

const _: () = assert!(1 + 32 + 8 + 8 + 8 + 32 + 4 + 32 + 8 + 32 == HEADER_BYTES);
const _: () = assert!(1 + ED25519_SIGNATURE_BYTES + ML_DSA_SIGNATURE_BYTES == SIGNATURE_BYTES);

impl Header {
    /// The bytes that are signed and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(HEADER_BYTES);
        w.u8(DOCUMENT_VERSION)
            .put(&self.network)
            .u64(self.epoch.number())
            .u64(self.valid_from.as_millis())
            .u64(self.valid_until.as_millis())
            .put(&self.parameters)
            .u32(self.node_count)
            .put(self.nodes.as_bytes())
            .u64(self.earlier)
            .put(self.range.as_bytes());
        w.into_bytes()
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refused> {
        let cut = |_| Refused::Malformed("header");
        let version = r.u8().map_err(cut)?;
        if version != DOCUMENT_VERSION {
            return Err(Refused::UnknownVersion(version));
        }
        Ok(Self {
            network: r.array().map_err(cut)?,
            epoch: Epoch::new(r.u64().map_err(cut)?),
            valid_from: Wall::from_millis(r.u64().map_err(cut)?),
            valid_until: Wall::from_millis(r.u64().map_err(cut)?),
            parameters: r.array().map_err(cut)?,
            node_count: r.u32().map_err(cut)?,
            nodes: TreeHash::from_bytes(r.array().map_err(cut)?),
            earlier: r.u64().map_err(cut)?,
            range: TreeHash::from_bytes(r.array().map_err(cut)?),
        })
    }

    /// The hash by which everybody names this consensus.
    pub fn hash(&self) -> ConsensusHash {
        ConsensusHash::from_bytes(blake3::derive_key(HASH, &self.to_bytes()))
    }

    /// Signs as the authority at `index` of the network's list.
    pub fn sign(&self, index: u8, secret: &AuthoritySecret) -> AuthoritySignature {
        AuthoritySignature {
            index,
            signature: secret.sign(LABEL, &self.to_bytes()),
        }
    }
}

/// One authority's signature over a header.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | index | place of the authority in the network's list |
/// | 1 | 64 | Ed25519 | over label ‖ 0 ‖ header |
/// | 65 | 3,309 | ML-DSA-65 | over the header, with the label as context |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySignature {
    index: u8,
    signature: DoubleSignature,
}

impl AuthoritySignature {
    /// Place of the authority in the network's list.
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// The bytes of the table.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(SIGNATURE_BYTES);
        w.u8(self.index)
            .put(&self.signature.ed25519)
            .put(&self.signature.ml_dsa[..]);
        w.into_bytes()
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Refused> {
        let cut = |_| Refused::Malformed("signature");
        Ok(Self {
            index: r.u8().map_err(cut)?,
            signature: DoubleSignature {
                ed25519: r.array().map_err(cut)?,
                ml_dsa: Box::new(r.array().map_err(cut)?),
            },
        })
    }

    /// Checks both signatures of this authority over `header`.
    pub fn verify(&self, trusted: &TrustedAuthorities, header: &Header) -> Result<(), Refused> {
        let authority = trusted
            .authority(self.index)
            .ok_or(Refused::UnknownAuthority(self.index))?;
        let bytes = header.to_bytes();
        self.signature
            .verify(&authority.ed25519, &authority.ml_dsa, LABEL, &bytes)
    }
}

/// A header and signatures over it: proof by itself, under 26 kB for seven authorities.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 165 | header |
/// | 165 | 1 | number of signatures |
/// | 166 | 3,374 each | signatures, by rising index |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    header: Header,
    signatures: Vec<AuthoritySignature>,
}

impl SignedHeader {
    /// A header with what signatures there are.
    pub fn new(header: Header, mut signatures: Vec<AuthoritySignature>) -> Self {
        signatures.sort_by_key(AuthoritySignature::index);
        Self { header, signatures }
    }

    /// The header. Trust it only after [`Self::verify`].
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The signatures.
    pub fn signatures(&self) -> &[AuthoritySignature] {
        &self.signatures
    }

    /// The bytes of the table.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.put(&self.header.to_bytes());
        // At most AUTHORITIES_MAX fit the index; more could not be verified.
        w.u8(u8::try_from(self.signatures.len()).unwrap_or(u8::MAX));
        for signature in &self.signatures {
            w.put(&signature.to_bytes());
        }
        w.into_bytes()
    }

    /// Parses; nothing of it is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > SIGNED_HEADER_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let mut r = Reader::new(bytes);
        let header = Header::read(&mut r)?;
        let count = usize::from(r.u8().map_err(|_| Refused::Malformed("header"))?);
        if Some(r.rest().len()) != count.checked_mul(SIGNATURE_BYTES) {
            return Err(Refused::Malformed("signatures"));
        }
        let signatures = (0..count)
            .map(|_| AuthoritySignature::read(&mut r))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { header, signatures })
    }

    /// Checks that a quorum of the network's authorities signed, each once and each with both keys.
    pub fn verify(&self, trusted: &TrustedAuthorities) -> Result<(), Refused> {
        if self.header.network != trusted.network_hash() {
            return Err(Refused::OtherNetwork);
        }
        let mut before = None;
        for signature in &self.signatures {
            if before >= Some(signature.index) {
                return Err(Refused::DuplicateSigner(signature.index));
            }
            before = Some(signature.index);
        }
        // Counted before the costly part, so that a lone signature costs nobody anything.
        if self.signatures.len() < trusted.quorum() {
            return Err(Refused::BelowQuorum {
                have: self.signatures.len(),
                need: trusted.quorum(),
            });
        }
        self.signatures
            .iter()
            .try_for_each(|signature| signature.verify(trusted, &self.header))
    }
}

/// A signature that travels alone between authorities, with the header that it is for.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 165 | header |
/// | 165 | 1 | 1 |
/// | 166 | 3,374 | signature |
pub const LONE_SIGNATURE_BYTES: usize = HEADER_BYTES + 1 + SIGNATURE_BYTES;
