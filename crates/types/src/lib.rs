#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bytes;
mod epoch;
mod ids;
mod secret;
mod sensitive;
mod sphinx_key;
mod time;

pub use bytes::{Reader, Truncated, Writer};
pub use epoch::{Epoch, EpochSchedule};
pub use ids::{
    AuthorityKey, ConsensusHash, DropId, Family, IdentityKey, ItemHash, Layer, LinkKey,
    MailboxAddress, MailboxKey, NodeId, ParseIdError, Salt16, SessionAddress, SphinxKey, SurbId,
};
pub use secret::Secret;
pub use sensitive::Sensitive;
pub use time::{Instant, Now, Wall};
