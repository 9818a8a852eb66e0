//! What can keep a provider from starting.

use whist_packet::StoreFault as KeyFault;

use crate::store::StoreFault;

/// Why a provider does not start. All of it is local: what peers do is counted, not returned.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The tag table is too small for the rate that the provider offers.
    #[error(
        "the tag table is too small: {rate} packets/s over a key's life of {life_s} s need \
         {needed} tags, `table_tags` is {have}"
    )]
    TableTooSmall {
        /// Packets a second.
        rate: u32,
        /// Life of a key in seconds.
        life_s: u64,
        /// Tags needed.
        needed: u64,
        /// Tags configured.
        have: u64,
    },
    /// The store of the Sphinx keys to come does not work.
    #[error("the key store does not work: {0}")]
    Keys(#[from] KeyFault),
    /// The store of mailboxes does not work.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// `table_tags` and the memory given do not fit each other.
    #[error("the memory for tags has {have} bytes, {needed} are needed")]
    Memory {
        /// Bytes of a region.
        have: usize,
        /// Bytes that the table needs.
        needed: usize,
    },
}
