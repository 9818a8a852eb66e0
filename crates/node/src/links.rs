//! Links with neighbours: we dial the next layer and are dialled by the previous one.

use std::collections::{BTreeMap, BTreeSet};

use whist_link::{Backoff, Dialer, LinkId};
use whist_types::{Instant, LinkKey, NodeId};

use crate::bucket::Bucket;
use crate::limits;
use crate::neighbours::Neighbours;

/// The next layer's links are numbered in a lane of their own.
const LANE: u16 = 0;

/// A link that somebody dialled to us.
#[derive(Debug)]
struct Incoming {
    key: LinkKey,
    greeted: bool,
    since: Instant,
}

/// Links with neighbours. Those of the next layer are dialled and send no packets; those that
/// dialled us do.
#[derive(Debug)]
pub struct Links {
    pub(crate) dialer: Dialer<NodeId>,
    incoming: BTreeMap<LinkId, Incoming>,
    /// One bucket for each peer, however many links it has.
    buckets: BTreeMap<LinkKey, Bucket>,
    greeted: BTreeSet<LinkId>,
    closed: Vec<LinkId>,
    /// When the first link of a peer that nobody lists has lived too long.
    expiry: Option<Instant>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            dialer: Dialer::new(Backoff::default(), limits::DIAL_QUEUE).in_lane(LANE),
            incoming: BTreeMap::new(),
            buckets: BTreeMap::new(),
            greeted: BTreeSet::new(),
            closed: Vec::new(),
            expiry: None,
        }
    }

    /// Takes over who the neighbours are by all consensuses that count now, the newest last: where
    /// two name a node, it wins. The peers of each share `line_rate`, in packets a second.
    pub fn set<'a>(
        &mut self,
        now: Instant,
        views: impl Iterator<Item = &'a Neighbours>,
        line_rate: f64,
    ) {
        let mut previous: BTreeMap<LinkKey, f64> = BTreeMap::new();
        let mut next = BTreeMap::new();
        for view in views {
            for (key, share) in &view.previous {
                let rate = share * line_rate;
                let most = previous.entry(*key).or_insert(rate);
                *most = most.max(rate);
            }
            next.extend(view.next.iter().map(|(id, target)| (*id, target.clone())));
        }
        self.dialer.want(next);
        self.buckets.retain(|key, _| previous.contains_key(key));
        for (key, rate) in previous {
            self.buckets
                .entry(key)
                .and_modify(|bucket| bucket.set_rate(rate, now))
                .or_insert_with(|| Bucket::new(rate, now));
        }
        self.plan_expiry();
    }

    fn is_listed(&self, key: &LinkKey) -> bool {
        self.buckets.contains_key(key)
    }

    /// A peer that proved `key` dialled us. `false` if there is no room for it.
    pub fn accept(&mut self, now: Instant, link: LinkId, key: LinkKey) -> bool {
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
        self.plan_expiry();
        true
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

    /// Who sends packets on this link: a peer that dialled us, by the key that it proved, once its
    /// `HELLO` has come. Nobody sends any on a link that we dialled.
    pub fn sender(&self, link: LinkId) -> Option<LinkKey> {
        let incoming = self.incoming.get(&link)?;
        incoming.greeted.then_some(incoming.key)
    }

    /// Takes a token of the peer's bucket; `None` if nobody lists the peer.
    pub fn take_token(&mut self, now: Instant, key: &LinkKey) -> Option<bool> {
        self.buckets.get_mut(key).map(|bucket| bucket.take(now))
    }

    /// A link is gone.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.greeted.remove(&link);
        if self.incoming.remove(&link).is_some() {
            self.plan_expiry();
        }
    }

    /// Closes an accepted link.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.forget(link);
        self.closed.push(link);
    }

    /// Closes links that nobody listed in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.expiry.is_none_or(|expiry| expiry > now) {
            return;
        }
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
    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        self.expiry
    }

    /// Kept up to date where links and lists change, so that a packet costs no walk over links.
    fn plan_expiry(&mut self) {
        let unlisted = self.incoming.values().filter(|i| !self.is_listed(&i.key));
        self.expiry = unlisted.map(|i| i.since.after(limits::UNLISTED_LIFE)).min();
    }

    /// An accepted link to be closed.
    pub(crate) fn poll_closed(&mut self) -> Option<LinkId> {
        self.closed.pop()
    }

    /// Links that are accepted.
    pub fn count_in(&self) -> usize {
        self.incoming.len()
    }

    /// Links to the next layer that are up.
    pub fn count_out(&self) -> usize {
        self.dialer.connected().count()
    }
}
