//! What can keep a node from starting.

use whist_packet::StoreFault;
use whist_rt::{Exit, Failure};

/// Why a node does not start. All of it is local: what peers do is counted, not returned.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tag table is too small for the rate that the node offers.
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
    /// There is no line rate to promise.
    #[error("no line rate: {0}")]
    NoLineRate(String),
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

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::TableTooSmall { .. }
            | StartError::Memory { .. }
            | StartError::NoLineRate(_) => Exit::Usage,
            StartError::Store(_) => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}
