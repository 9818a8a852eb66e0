#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bundle;
mod consensus;
mod error;
mod follower;
pub mod fuzzing;
mod header;
mod keys;
mod loop_report;
mod make;
mod merkle;
mod network;
mod node;
mod parameters;
pub mod route;
pub mod testing;
mod unverified;

pub use bundle::{BUNDLE_BYTES_MAX, Bundle, ConsensusForm, Extension, NODES_MAX};
pub use consensus::Consensus;
pub use error::Refused;
pub use follower::{Accepted, Evidence, Follower};
pub use header::{
    AUTHORITIES_MAX, AuthoritySignature, DOCUMENT_VERSION, HEADER_BYTES, Header,
    LONE_SIGNATURE_BYTES, SIGNATURE_BYTES, SIGNED_HEADER_BYTES_MAX, SignedHeader,
};
pub use keys::{
    AuthoritySecret, DoubleSignature, ED25519_SIGNATURE_BYTES, IdentitySecret, LinkSecret,
    ML_DSA_KEY_BYTES, ML_DSA_SIGNATURE_BYTES, MlDsaKey,
};
pub use loop_report::{LOOP_SEGMENTS_MAX, LoopReport, LoopSegment};
pub use make::{Proposal, entries};
pub use merkle::{InclusionProof, Mmr, TreeHash, merkle_root};
pub use network::{
    AUTHORITIES_MIN, AuthorityInfo, BOOTSTRAPS_MIN, Bootstrap, NETWORK_VERSION, Network,
    TrustedAuthorities, quorum_of,
};
pub use node::{
    ADDRESS_BYTES_MAX, DESCRIPTOR_BYTES_MAX, Descriptor, DescriptorWire, KEY_EPOCHS, Kind,
    NodeEntry, NodeRole, SignedDescriptor, WEIGHT_MAX, check_address,
};
pub use parameters::{PROFILES, Parameters, Row};
pub use route::NoRoute;
pub use unverified::{Document, Unverified};
