//! Links with neighbours: we dial the next layer and are dialled by the previous one.

use std::collections::{BTreeMap, BTreeSet};

use whist_link::{Backoff, Dialer, LinkId, Target};
use whist_node::Bucket;
use whist_types::{Instant, LinkKey, NodeId};

use crate::limits;

/// The next layer's links are numbered in a lane of their own.
const LANE: u16 = 0;

/// A link that somebody dialled to us.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) key: LinkKey,
    pub(crate) greeted: bool,
    since: Instant,
}

/// What a link's frame may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A node dialled us: it sends packets.
    Incoming,
    /// We dialled a node of the next layer: it sends none.
    Outgoing,
}

#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) dialer: Dialer<NodeId>,
    incoming: BTreeMap<LinkId, Incoming>,
    /// One bucket for each peer, however many links it has.
    buckets: BTreeMap<LinkKey, Bucket>,
    greeted: BTreeSet<LinkId>,
    closed: Vec<LinkId>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            dialer: Dialer::new(Backoff::default(), limits::DIAL_QUEUE).in_lane(LANE),
            incoming: BTreeMap::new(),
            buckets: BTreeMap::new(),
            greeted: BTreeSet::new(),
            closed: Vec::new(),
        }
    }

    /// Takes over who the neighbours are: `previous` with packets a second each, and `next`.
    pub(crate) fn set(
        &mut self,
        now: Instant,
        previous: BTreeMap<LinkKey, f64>,
        next: BTreeMap<NodeId, Target>,
    ) {
        self.dialer.want(next);
        self.buckets.retain(|key, _| previous.contains_key(key));
        for (key, rate) in previous {
            self.buckets
                .entry(key)
                .and_modify(|bucket| bucket.set_rate(rate, now))
                .or_insert_with(|| Bucket::new(rate, now));
        }
    }

    fn is_listed(&self, key: &LinkKey) -> bool {
        self.buckets.contains_key(key)
    }

    /// A peer that proved `key` dialled us. `false` if there is no room for it.
    pub(crate) fn accept(&mut self, now: Instant, link: LinkId, key: LinkKey) -> bool {
        if !self.is_listed(&key) {
            let unlisted = self.incoming.values().filter(|i| !self.is_listed(&i.key));
            if unlisted.count() >= limits::UNLISTED_LINKS_MAX {
                return false;
            }
        }
        let of_peer: Vec<_> = self
            .incoming
            .iter()
            .filter(|(_, incoming)| incoming.key == key)
            .map(|(link, incoming)| (incoming.since, *link))
            .collect();
        // The oldest goes: it is the one that may be half dead.
        if of_peer.len() >= limits::LINKS_PER_PEER_MAX
            && let Some((_, oldest)) = of_peer.into_iter().min()
        {
            self.close(oldest);
        }
        let incoming = Incoming {
            key,
            greeted: false,
            since: now,
        };
        self.incoming.insert(link, incoming);
        true
    }

    /// Which way a link goes, if it is ours to know.
    pub(crate) fn side(&self, link: LinkId) -> Option<Side> {
        if self.incoming.contains_key(&link) {
            Some(Side::Incoming)
        } else {
            self.dialer.peer_of(link).map(|_| Side::Outgoing)
        }
    }

    /// Notes that the peer's `HELLO` came; `false` if it is its second.
    pub(crate) fn greet(&mut self, link: LinkId) -> bool {
        match self.incoming.get_mut(&link) {
            Some(incoming) => !std::mem::replace(&mut incoming.greeted, true),
            None => self.greeted.insert(link),
        }
    }

    /// Whether the peer's `HELLO` has come.
    pub(crate) fn is_greeted(&self, link: LinkId) -> bool {
        match self.incoming.get(&link) {
            Some(incoming) => incoming.greeted,
            None => self.greeted.contains(&link),
        }
    }

    /// The key that the peer of an accepted link proved.
    pub(crate) fn key_of(&self, link: LinkId) -> Option<LinkKey> {
        self.incoming.get(&link).map(|incoming| incoming.key)
    }

    /// Takes a token of the peer's bucket; `None` if nobody lists the peer.
    pub(crate) fn take_token(&mut self, now: Instant, key: &LinkKey) -> Option<bool> {
        self.buckets.get_mut(key).map(|bucket| bucket.take(now))
    }

    /// A link is gone.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.incoming.remove(&link);
        self.greeted.remove(&link);
    }

    /// Closes an accepted link.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.forget(link);
        self.closed.push(link);
    }

    /// Closes links that nobody listed in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late = |i: &Incoming| now.since(i.since) >= limits::UNLISTED_LIFE;
        let expired: Vec<_> = self
            .incoming
            .iter()
            .filter(|(_, incoming)| late(incoming) && !self.is_listed(&incoming.key))
            .map(|(link, _)| *link)
            .collect();
        for link in expired {
            self.close(link);
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.incoming
            .values()
            .filter(|incoming| !self.is_listed(&incoming.key))
            .map(|incoming| incoming.since.after(limits::UNLISTED_LIFE))
            .min()
    }

    /// An accepted link to be closed.
    pub(crate) fn poll_closed(&mut self) -> Option<LinkId> {
        self.closed.pop()
    }

    pub(crate) fn count_in(&self) -> usize {
        self.incoming.len()
    }

    pub(crate) fn count_out(&self) -> usize {
        self.dialer.connected().count()
    }
}
