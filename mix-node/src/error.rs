//! What can keep a mix from starting or from serving.

use whist_packet::StoreFault;

/// Why a mix does not start. All of it is local: what peers do is counted, not returned.
#[derive(Debug, thiserror::Error)]
pub enum MixError {
    /// The tag table is too small for the rate that the mix offers.
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
    /// The store of the keys to come does not work.
    #[error("the key store does not work: {0}")]
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
