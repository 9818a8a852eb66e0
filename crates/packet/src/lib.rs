#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod build;
mod drop_reason;
pub mod fuzzing;
mod key;
pub mod keyring;
mod packet;
pub mod replay;
pub mod request;
mod route;
mod surb;
mod unwrap;

pub use build::{BuildError, Destination, build, build_surb};
pub use drop_reason::DropReason;
pub use key::SphinxSecret;
pub use keyring::{KeyStore, Keyring, StoreFault};
pub use packet::{
    HEADER_BYTES, HOPS_MAX, PACKET_BYTES, PAYLOAD_BYTES, Packet, SEALED_PAYLOAD_BYTES, SURB_BYTES,
};
pub use replay::{Damaged, Inserted, ReplayTable};
pub use route::{Hop, InvalidRoute, Route};
pub use surb::{Surb, SurbHash, SurbSecret};
pub use unwrap::{
    Checked, FinalPayload, Opened, Rejected, ReplayTag, Unwrapped, check, unwrap, unwrap_batch,
};
