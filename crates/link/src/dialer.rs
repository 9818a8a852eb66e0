//! Keeps one link to each of a wanted set of peers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_core::CryptoRng;
use whist_types::Instant;

use crate::{Frame, LinkId, Output, Target, limits};

/// How long to wait before a peer is dialled again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Ceiling of the first wait; it doubles with each failure.
    pub first: Duration,
    /// The ceiling never exceeds this.
    pub max: Duration,
    /// A link that lived this long resets the ceiling.
    pub stable: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: limits::BACKOFF_FIRST,
            max: limits::BACKOFF_MAX,
            stable: limits::STABLE,
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row: uniform between a quarter of the ceiling and
    /// the ceiling, so that peers that fell together do not come back together.
    pub fn wait(&self, failures: u32, rng: &mut impl CryptoRng) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self
            .first
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(self.max);
        let floor = ceiling / 4;
        let span = ceiling.saturating_sub(floor).as_nanos();
        // A 64-bit fraction of the span: the bias is below 2^-64 of it.
        let drawn = span
            .saturating_mul(u128::from(rng.next_u64()))
            .wrapping_shr(64);
        floor.saturating_add(Duration::from_nanos(
            u64::try_from(drawn).unwrap_or(u64::MAX),
        ))
    }
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Dialing { link: LinkId },
    Up { link: LinkId, since: Instant },
}

#[derive(Debug)]
struct Peer {
    target: Target,
    state: State,
    failures: u32,
    queue: VecDeque<Frame>,
}

impl Peer {
    const fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Waiting { .. } => None,
            State::Dialing { link } | State::Up { link, .. } => Some(link),
        }
    }
}

/// A wanted set of peers, one link each.
///
/// The role hands it `Up`, `Down` and `Timeout` (through [`Dialer::poll_timeout`]) and passes on
/// what [`Dialer::poll_output`] gives. Its one queue policy: frames for a peer without a link wait
/// in a queue of `queue_max`; when that is full, the newest is refused and handed back. Frames for
/// a peer with a link go to the link's own queue at once.
#[derive(Debug)]
pub struct Dialer<K> {
    backoff: Backoff,
    queue_max: usize,
    next_link: u64,
    peers: BTreeMap<K, Peer>,
    links: BTreeMap<LinkId, K>,
    ready: VecDeque<Ready>,
}

#[derive(Debug)]
enum Ready {
    Send(LinkId, Frame),
    Close(LinkId),
}

impl<K: Ord + Clone> Dialer<K> {
    /// Wants nobody. `queue_max` frames wait for each peer that has no link; 0 refuses them.
    pub const fn new(backoff: Backoff, queue_max: usize) -> Self {
        Self {
            backoff,
            queue_max,
            next_link: 0,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Numbers its links from `lane × 2^40`, so that several dialers of one role never use one
    /// name twice. Lanes differ; the default is 0.
    #[must_use]
    pub const fn in_lane(mut self, lane: u16) -> Self {
        self.next_link = u64::from_be_bytes({
            let [high, low] = lane.to_be_bytes();
            [0, high, low, 0, 0, 0, 0, 0]
        });
        self
    }

    /// Replaces the wanted set. Links to peers that are not in it, or whose target changed, are
    /// closed; new peers are dialled at the next `poll_output`.
    pub fn want(&mut self, wanted: impl IntoIterator<Item = (K, Target)>) {
        let wanted: BTreeMap<K, Target> = wanted.into_iter().collect();
        let gone: Vec<K> = self
            .peers
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key);
        }
        for (key, target) in wanted {
            self.add(key, target);
        }
    }

    /// Wants one more peer. One that is wanted already under the same target stays as it is.
    pub fn add(&mut self, key: K, target: Target) {
        if self.peers.get(&key).is_some_and(|p| p.target == target) {
            return;
        }
        self.remove(&key);
        let peer = Peer {
            target,
            state: State::Waiting {
                until: Instant::ZERO,
            },
            failures: 0,
            queue: VecDeque::new(),
        };
        self.peers.insert(key, peer);
    }

    /// Wants a peer no longer, and closes its link. What waited for it is dropped.
    pub fn remove(&mut self, key: &K) {
        if let Some(link) = self.peers.remove(key).and_then(|peer| peer.link()) {
            self.links.remove(&link);
            self.ready.push_back(Ready::Close(link));
        }
    }

    /// A link came up. Sends `first` on it (the `HELLO` with which every link begins), then what
    /// waited. The peer, if the link is one of ours.
    pub fn up(&mut self, now: Instant, link: LinkId, first: Frame) -> Option<&K> {
        let key = self.links.get(&link)?;
        let peer = self.peers.get_mut(key)?;
        peer.state = State::Up { link, since: now };
        self.ready.push_back(Ready::Send(link, first));
        let waited = peer.queue.drain(..).map(|frame| Ready::Send(link, frame));
        self.ready.extend(waited);
        Some(key)
    }

    /// A link fell, or its dial failed: the peer is dialled again after a random wait. The peer,
    /// if the link was one of ours.
    pub fn down(&mut self, now: Instant, link: LinkId, rng: &mut impl CryptoRng) -> Option<K> {
        let key = self.links.remove(&link)?;
        let peer = self.peers.get_mut(&key)?;
        peer.failures = match peer.state {
            State::Up { since, .. } if now.since(since) >= self.backoff.stable => 1,
            _ => peer.failures.saturating_add(1),
        };
        peer.state = State::Waiting {
            until: now.after(self.backoff.wait(peer.failures, rng)),
        };
        Some(key)
    }

    /// Closes a link of ours on purpose, for a peer that misbehaves; it counts as a failure. The
    /// peer, if the link was one of ours.
    pub fn close(&mut self, now: Instant, link: LinkId, rng: &mut impl CryptoRng) -> Option<K> {
        let key = self.down(now, link, rng)?;
        self.ready.push_back(Ready::Close(link));
        Some(key)
    }

    /// Sends a frame to a peer: on its link if it is up, into its queue if not.
    ///
    /// # Errors
    /// The frame, if the peer is not wanted or its queue is full.
    pub fn send(&mut self, key: &K, frame: Frame) -> Result<(), Frame> {
        let Some(peer) = self.peers.get_mut(key) else {
            return Err(frame);
        };
        match peer.state {
            State::Up { link, .. } => self.ready.push_back(Ready::Send(link, frame)),
            _ if peer.queue.len() < self.queue_max => peer.queue.push_back(frame),
            _ => return Err(frame),
        }
        Ok(())
    }

    /// The next dial, frame or closing. Call until `None` after anything else was called.
    pub fn poll_output<E>(&mut self, now: Instant) -> Option<Output<E>> {
        match self.ready.pop_front() {
            Some(Ready::Send(link, frame)) => return Some(Output::Send { link, frame }),
            Some(Ready::Close(link)) => return Some(Output::Close { link }),
            None => {}
        }
        let (key, peer) = self
            .peers
            .iter_mut()
            .find(|(_, peer)| matches!(peer.state, State::Waiting { until } if until <= now))?;
        let link = LinkId::dialed(self.next_link);
        self.next_link = self.next_link.saturating_add(1);
        peer.state = State::Dialing { link };
        self.links.insert(link, key.clone());
        Some(Output::Dial {
            link,
            target: peer.target.clone(),
        })
    }

    /// When the next dial is due. At that time call `poll_output`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(Instant::ZERO);
        }
        let waits = self.peers.values().filter_map(|peer| match peer.state {
            State::Waiting { until } => Some(until),
            _ => None,
        });
        waits.min()
    }

    /// The peer's link, if it is up.
    pub fn link_of(&self, key: &K) -> Option<LinkId> {
        match self.peers.get(key)?.state {
            State::Up { link, .. } => Some(link),
            _ => None,
        }
    }

    /// The peer of a link of ours, up or being dialled.
    pub fn peer_of(&self, link: LinkId) -> Option<&K> {
        self.links.get(&link)
    }

    /// Peers whose links are up, with the links.
    pub fn connected(&self) -> impl Iterator<Item = (&K, LinkId)> {
        self.peers
            .iter()
            .filter_map(|(key, peer)| match peer.state {
                State::Up { link, .. } => Some((key, link)),
                _ => None,
            })
    }

    /// Peers wanted.
    pub fn wanted(&self) -> impl Iterator<Item = &K> {
        self.peers.keys()
    }
}
