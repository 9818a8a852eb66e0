//! `MKSKIPPED`: keys of items that were jumped over and may still come. They are message keys of
//! both ratchets, mixed already: no chain of an older epoch needs to be kept for them.

use std::collections::VecDeque;
use std::time::Duration;

use whist_types::{Secret, Wall};

use crate::limits::{SKIPPED_IN_CHAIN_MAX, SKIPPED_IN_SESSION_MAX};
use crate::ratchet::{Header, Jumped, Message};

/// Time in whole hours since the Unix epoch: finer times would be a log of a person's reading.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hour(pub(crate) u32);

impl Hour {
    pub(crate) fn of(now: Wall) -> Self {
        Self(u32::try_from(now.as_secs() / 3_600).unwrap_or(u32::MAX))
    }
}

/// One key.
pub(crate) struct SkippedKey {
    pub(crate) number: u32,
    pub(crate) since: Hour,
    pub(crate) key: Secret<32>,
}

/// The keys of one chain, by ascending number; the chain is known by its header key.
pub(crate) struct SkippedChain {
    pub(crate) header: Secret<32>,
    pub(crate) keys: VecDeque<SkippedKey>,
}

/// All of a session, the oldest chain first. No chain is empty.
#[derive(Default)]
pub(crate) struct Skipped {
    pub(crate) chains: VecDeque<SkippedChain>,
}

/// Where a key was found.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    chain: usize,
    key: usize,
}

impl Skipped {
    /// Keys in all chains.
    pub(crate) fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.keys.len()).sum()
    }

    /// Keeps `jumped`. Beyond the limits the oldest keys go: their items count as lost.
    pub(crate) fn keep(&mut self, header: &Secret<32>, jumped: Jumped, since: Hour) {
        if jumped.is_empty() {
            return;
        }
        if self
            .chains
            .back()
            .is_none_or(|chain| chain.header != *header)
        {
            self.chains.push_back(SkippedChain {
                header: header.duplicate(),
                keys: VecDeque::new(),
            });
        }
        let limit = usize::try_from(SKIPPED_IN_CHAIN_MAX).unwrap_or(usize::MAX);
        if let Some(chain) = self.chains.back_mut() {
            for (number, key) in jumped {
                chain.keys.push_back(SkippedKey { number, since, key });
            }
            while chain.keys.len() > limit {
                chain.keys.pop_front();
            }
        }
        let mut surplus = self.len().saturating_sub(SKIPPED_IN_SESSION_MAX);
        for chain in &mut self.chains {
            let gone = surplus.min(chain.keys.len());
            chain.keys.drain(..gone);
            surplus = surplus.saturating_sub(gone);
        }
        self.drop_empty();
    }

    /// The key of item `number` in the chain with this header key.
    pub(crate) fn find(&self, header: &Secret<32>, number: u32) -> Option<(Place, &Secret<32>)> {
        let chain = self
            .chains
            .iter()
            .position(|chain| chain.header == *header)?;
        self.find_in(chain, number)
    }

    /// Tries the header keys of all chains (`TrySkippedMessageKeysHE`). The outer `Option` tells
    /// whether one fits, the inner one whether the item's key is still there.
    pub(crate) fn find_by_header(
        &self,
        message: &Message<'_>,
    ) -> Option<(Header, Option<(Place, &Secret<32>)>)> {
        self.chains.iter().enumerate().find_map(|(index, chain)| {
            let header = Header::open(&chain.header, message)?;
            Some((header, self.find_in(index, header.number)))
        })
    }

    fn find_in(&self, chain: usize, number: u32) -> Option<(Place, &Secret<32>)> {
        let keys = &self.chains.get(chain)?.keys;
        let key = keys.binary_search_by_key(&number, |key| key.number).ok()?;
        Some((Place { chain, key }, &keys.get(key)?.key))
    }

    /// Forgets a key that has been used.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(chain) = self.chains.get_mut(place.chain) {
            chain.keys.remove(place.key);
        }
        self.drop_empty();
    }

    /// Forgets keys older than `life`; says how many.
    pub(crate) fn expire(&mut self, now: Wall, life: Duration) -> usize {
        let before = self.len();
        let oldest = Hour::of(now.before(life));
        for chain in &mut self.chains {
            chain.keys.retain(|key| key.since >= oldest);
        }
        self.drop_empty();
        before.saturating_sub(self.len())
    }

    fn drop_empty(&mut self) {
        self.chains.retain(|chain| !chain.keys.is_empty());
    }
}
