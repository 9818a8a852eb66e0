//! Descriptors for the next consensus.

use std::collections::BTreeMap;

use whist_netdoc::Descriptor;
use whist_types::{Epoch, NodeId};

use crate::{Ignored, limits};

#[derive(Debug)]
struct Held {
    hash: blake3::Hash,
    descriptor: Descriptor,
    bytes: Vec<u8>,
    changes: u8,
}

/// One descriptor for each node and epoch. Where a node sent several, that of the lowest hash is
/// kept: authorities that saw the same ones agree whatever the order was.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    held: BTreeMap<(Epoch, NodeId), Held>,
}

impl Pool {
    /// The descriptor of these very bytes, if it is held; asked before any signature is checked.
    pub(crate) fn held(&self, bytes: &[u8]) -> Option<&Descriptor> {
        let hash = blake3::hash(bytes);
        let held = self.held.values().find(|held| held.hash == hash);
        held.map(|held| &held.descriptor)
    }

    /// Takes a verified descriptor; it is to be passed on to the other authorities.
    pub(crate) fn add(&mut self, descriptor: Descriptor, bytes: Vec<u8>) -> Result<(), Ignored> {
        let key = (descriptor.epoch, descriptor.id());
        let hash = blake3::hash(&bytes);
        let mut changes = 0;
        if let Some(held) = self.held.get_mut(&key) {
            held.changes = held.changes.saturating_add(1);
            changes = held.changes;
            if held.hash.as_bytes() <= hash.as_bytes() || changes > limits::DESCRIPTOR_CHANGES {
                return Err(Ignored::Known);
            }
        }
        let held = Held {
            hash,
            descriptor,
            bytes,
            changes,
        };
        self.held.insert(key, held);
        Ok(())
    }

    /// The descriptors for an epoch.
    pub(crate) fn of(&self, epoch: Epoch) -> impl Iterator<Item = &Descriptor> {
        self.held
            .iter()
            .filter(move |((of, _), _)| *of == epoch)
            .map(|(_, held)| &held.descriptor)
    }

    /// The bytes of all descriptors for epochs after `epoch`, for an authority that was away.
    pub(crate) fn bytes_after(&self, epoch: Epoch) -> impl Iterator<Item = &[u8]> {
        self.held
            .iter()
            .filter(move |((of, _), _)| *of > epoch)
            .map(|(_, held)| held.bytes.as_slice())
    }

    /// Forgets what is for epochs up to `epoch`, and the lowest of too many.
    pub(crate) fn forget(&mut self, epoch: Epoch) {
        self.held.retain(|(of, _), _| *of > epoch);
        let epochs = self.held.keys().map(|(of, _)| *of);
        if let Some(lowest) = lowest_kept(epochs) {
            self.held.retain(|(of, _), _| *of >= lowest);
        }
    }
}

/// The lowest epoch to keep, of those that come here in order, where they are too many.
pub(crate) fn lowest_kept(epochs: impl DoubleEndedIterator<Item = Epoch>) -> Option<Epoch> {
    let mut last = None;
    epochs
        .rev()
        .filter(|epoch| last.replace(*epoch) != Some(*epoch))
        .nth(limits::EPOCHS_HEARD.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_signatures_of_few_epochs_are_kept() {
        let lowest = |epochs: &[u64]| lowest_kept(epochs.iter().map(|n| Epoch::new(*n)));
        assert_eq!(lowest(&[]), None);
        assert_eq!(lowest(&[1, 1, 2, 3, 4, 5]), None);
        assert_eq!(lowest(&[1, 1, 2, 3, 4, 5, 5, 900]), Some(Epoch::new(1)));
        assert_eq!(lowest(&[1, 2, 3, 4, 5, 6, 7, 7, 8]), Some(Epoch::new(3)));
    }
}
