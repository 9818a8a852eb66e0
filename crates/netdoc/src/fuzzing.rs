//! One function for each parser, over any bytes: none may panic, hang or allocate without bound.
//! `cargo test` runs them on the committed corpus and on mutations of it; `fuzz/` holds three-line
//! shells around them for cargo-fuzz.

use std::sync::OnceLock;

use borsh::BorshDeserialize;
use whist_types::{ConsensusHash, Wall};

use crate::consensus::check_nodes;
use crate::testing::Authorities;
use crate::{
    Bundle, Follower, InclusionProof, Network, NodeEntry, Parameters, SignedDescriptor,
    SignedHeader, TreeHash, TrustedAuthorities,
};

/// A function over any bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("bundle", bundle),
    ("signed_header", signed_header),
    ("descriptor", descriptor),
    ("details", details),
    ("network", network),
    ("follower", follower),
    ("parameters", parameters),
];

/// The authorities that the corpus's documents are signed by.
pub fn authorities() -> Authorities {
    Authorities::new(0, 4, Parameters::demo(), Wall::from_millis(0))
}

fn trusted() -> &'static TrustedAuthorities {
    static TRUSTED: OnceLock<TrustedAuthorities> = OnceLock::new();
    TRUSTED.get_or_init(|| authorities().trusted())
}

/// A bundle from a peer, up to the consensus.
pub fn bundle(bytes: &[u8]) {
    if let Ok(unverified) = Bundle::parse(bytes) {
        let _ = unverified.verify(trusted(), Wall::from_millis(15_000));
    }
}

/// Header and signatures; what parses is written back to the same bytes.
pub fn signed_header(bytes: &[u8]) {
    if let Ok(signed) = SignedHeader::parse(bytes) {
        assert_eq!(signed.to_bytes(), bytes, "two forms of one header");
        let _ = signed.verify(trusted());
    }
}

/// A node's descriptor.
pub fn descriptor(bytes: &[u8]) {
    if let Ok(unverified) = SignedDescriptor::parse(bytes) {
        let _ = unverified.verify();
    }
}

/// What stands behind the signatures, as if a quorum had signed garbage: the first byte chooses.
pub fn details(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => {
            if let Ok(parameters) = Parameters::try_from_slice(rest) {
                let _ = parameters.check();
            }
        }
        1 => {
            if let Ok(nodes) = Vec::<NodeEntry>::try_from_slice(rest) {
                let _ = check_nodes(&nodes, &Parameters::demo());
            }
        }
        _ => {
            if let Ok(proof) = InclusionProof::try_from_slice(rest) {
                let hash = ConsensusHash::from_bytes([0; 32]);
                let _ = proof.verifies(&hash, &TreeHash::from_bytes([0; 32]));
            }
        }
    }
}

/// `network.toml`.
pub fn network(bytes: &[u8]) {
    if let Some(network) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| Network::parse(text).ok())
    {
        assert_eq!(Network::parse(&network.to_toml()), Ok(network), "lossy");
    }
}

/// A follower's state on disk.
pub fn follower(bytes: &[u8]) {
    let _ = Follower::from_bytes(trusted().clone(), bytes);
}

/// Parameters in an authority's TOML.
pub fn parameters(bytes: &[u8]) {
    if let Some(parameters) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| toml::from_str::<Parameters>(text).ok())
    {
        let _ = parameters.check();
    }
}
