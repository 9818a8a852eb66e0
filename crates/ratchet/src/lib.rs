#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aead;
mod bundle;
mod error;
pub mod fuzzing;
mod identity;
mod invitation;
mod item;
mod kdf;
mod limits;
#[cfg(test)]
mod malformed;
mod pqxdh;
mod ratchet;
mod session;
mod shared;
mod skipped;
mod sparse;
mod state;
#[cfg(test)]
mod thief;
#[cfg(test)]
mod vectors;
mod whole;

pub use bundle::{BUNDLE_BYTES, Bundle, PrekeySecrets, UnverifiedBundle};
pub use error::{Error, Fault};
pub use identity::{Fingerprint, IdentitySecret, PersonKey};
pub use invitation::{
    BLOB_BYTES, INVITATION_BYTES, Invitation, InvitationKey, open_bundle, seal_bundle,
};
pub use item::{ITEM_BYTES, Item, Plaintext, SealedItem};
pub use limits::{
    BODY_MAX, FIRST_PAYLOAD_MAX, PADDING_MIN, SKIPPED_IN_CHAIN_MAX, SKIPPED_IN_SESSION_MAX,
};
pub use session::{Held, Session};
pub use shared::{SecretState, SharedSecret};
pub use whole::{WHOLE_BYTES, WHOLE_PREFIX};
