//! What a node's keys want of their disk: one job at a time, none of them done in the node's loop,
//! so that a disk that takes its time moves no packet.

use whist_packet::{KeyStore, StoreFault};
use whist_types::{Epoch, Secret};

/// Something for the store of the keys to come. It has no other until this one is done.
#[derive(Debug, PartialEq)]
pub enum KeyJob {
    /// Keep a key of a later epoch.
    Save {
        /// Whose.
        epoch: Epoch,
        /// The key.
        secret: Secret<32>,
    },
    /// Read a key that is to enter service.
    Load(Epoch),
    /// The key stands in memory: record the tables there, then delete it from the disk.
    Move {
        /// Whose key.
        epoch: Epoch,
        /// The tables and their generations.
        record: Vec<(Epoch, u64)>,
    },
    /// Delete a key that will not serve.
    Delete(Epoch),
    /// Record the tables and their generations.
    Record(Vec<(Epoch, u64)>),
}

impl KeyJob {
    /// Does it. What was written is durable when this returns.
    pub fn run(self, store: &mut impl KeyStore) -> KeyDone {
        KeyDone(match self {
            Self::Save { epoch, secret } => store.save(epoch, &secret).map(|()| None),
            Self::Load(epoch) => store.load(epoch),
            Self::Move { epoch, record } => store
                .record_generations(&record)
                .and_then(|()| store.delete(epoch))
                .map(|()| None),
            Self::Delete(epoch) => store.delete(epoch).map(|()| None),
            Self::Record(record) => store.record_generations(&record).map(|()| None),
        })
    }
}

/// The job is done, or the disk failed.
#[derive(Debug)]
pub struct KeyDone(pub(crate) Result<Option<Secret<32>>, StoreFault>);
