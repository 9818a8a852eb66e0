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
        let floor = ceiling.checked_div(4).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;
    use whist_types::LinkKey;

    use super::*;
    use crate::DocGet;

    type Out = Output<()>;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([7; 32])
    }

    fn target(n: u8) -> Target {
        Target {
            address: format!("192.0.2.{n}:1"),
            key: LinkKey::from_bytes([n; 32]),
            identify: true,
        }
    }

    fn frame(epoch: u64) -> Frame {
        let leaves_from = 0;
        Frame::DocGet(DocGet { epoch, leaves_from })
    }

    fn outputs(dialer: &mut Dialer<u8>, now: Instant) -> Vec<Out> {
        std::iter::from_fn(|| dialer.poll_output(now)).collect()
    }

    /// The link of the only dial that is due.
    fn dialed(dialer: &mut Dialer<u8>, now: Instant) -> LinkId {
        match outputs(dialer, now).as_slice() {
            [Output::Dial { link, .. }] => *link,
            other => panic!("{other:?}"),
        }
    }

    fn seconds(n: u64) -> Instant {
        Instant::from_nanos(n * 1_000_000_000)
    }

    #[test]
    fn every_link_begins_with_the_hello_and_what_waited_follows_in_order() {
        let mut dialer = Dialer::new(Backoff::default(), 2);
        dialer.want([(1, target(1))]);
        assert_eq!(dialer.poll_timeout(), Some(Instant::ZERO));
        let link = dialed(&mut dialer, seconds(1));
        assert_eq!((dialer.poll_timeout(), dialer.link_of(&1)), (None, None));
        assert_eq!(dialer.send(&1, frame(1)), Ok(()));
        assert_eq!(dialer.send(&1, frame(2)), Ok(()));
        assert_eq!(dialer.send(&1, frame(3)), Err(frame(3)));
        assert_eq!(dialer.send(&2, frame(3)), Err(frame(3)));
        assert_eq!(dialer.up(seconds(1), link, Frame::Dummy), Some(&1));
        assert_eq!(dialer.send(&1, frame(4)), Ok(()));
        let sent = |frame| Out::Send { link, frame };
        assert_eq!(
            outputs(&mut dialer, seconds(1)),
            [Frame::Dummy, frame(1), frame(2), frame(4)].map(sent)
        );
        assert_eq!(dialer.link_of(&1), Some(link));
        assert_eq!(dialer.peer_of(link), Some(&1));
        assert_eq!(dialer.connected().collect::<Vec<_>>(), [(&1, link)]);
    }

    #[test]
    fn waits_are_random_and_bounded_and_grow_to_the_cap() {
        let backoff = Backoff::default();
        let mut rng = rng();
        for failures in 1..200 {
            let ceiling = (backoff.first * (1 << (failures - 1).min(20))).min(backoff.max);
            let waits: Vec<_> = (0..50).map(|_| backoff.wait(failures, &mut rng)).collect();
            assert!(waits.iter().all(|w| (ceiling / 4..=ceiling).contains(w)));
            let spread = *waits.iter().max().unwrap() - *waits.iter().min().unwrap();
            assert!(spread > ceiling / 2, "{failures}: {spread:?}");
        }
        assert!(backoff.wait(u32::MAX, &mut rng) <= backoff.max);
        assert!(backoff.wait(0, &mut rng) <= backoff.first);
    }

    #[test]
    fn a_peer_that_fell_is_dialled_again_under_a_new_name() {
        let mut dialer = Dialer::new(Backoff::default(), 0);
        let mut rng = rng();
        dialer.add(1, target(1));
        let first = dialed(&mut dialer, Instant::ZERO);
        assert_eq!(dialer.down(Instant::ZERO, first, &mut rng), Some(1));
        assert!(outputs(&mut dialer, Instant::ZERO).is_empty());
        let due = dialer.poll_timeout().unwrap();
        assert!(due > Instant::ZERO && due <= Instant::ZERO.after(limits::BACKOFF_FIRST));
        let second = dialed(&mut dialer, due);
        assert_ne!(first, second);
        assert_eq!(dialer.down(due, first, &mut rng), None);
        assert_eq!(dialer.peer_of(second), Some(&1));
    }

    #[test]
    fn a_link_that_falls_at_once_counts_as_a_failure_and_a_stable_one_resets() {
        let mut dialer = Dialer::new(Backoff::default(), 0);
        let mut rng = rng();
        dialer.add(1, target(1));
        let mut now = Instant::ZERO;
        for _ in 0..10 {
            let link = dialed(&mut dialer, now);
            dialer.up(now, link, Frame::Dummy);
            outputs(&mut dialer, now);
            dialer.down(now, link, &mut rng);
            now = dialer.poll_timeout().unwrap();
        }
        assert_eq!(dialer.peers[&1].failures, 10);
        let link = dialed(&mut dialer, now);
        dialer.up(now, link, Frame::Dummy);
        outputs(&mut dialer, now);
        now = now.after(limits::STABLE);
        dialer.down(now, link, &mut rng);
        assert!(dialer.poll_timeout().unwrap() <= now.after(limits::BACKOFF_FIRST));
    }

    #[test]
    fn peers_that_fell_together_do_not_come_back_together() {
        let mut dialer = Dialer::new(Backoff::default(), 0);
        let mut rng = rng();
        dialer.want((0..100).map(|n| (n, target(n))));
        for _ in 0..6 {
            let links: Vec<_> = dialer.links.keys().copied().collect();
            for link in links {
                dialer.down(Instant::ZERO, link, &mut rng);
            }
            outputs(&mut dialer, seconds(100));
        }
        let links: Vec<_> = dialer.links.keys().copied().collect();
        for link in links {
            dialer.down(Instant::ZERO, link, &mut rng);
        }
        let mut busiest = 0;
        for tenth in 0..=80 {
            let now = Instant::from_nanos(tenth * 100_000_000);
            busiest = busiest.max(outputs(&mut dialer, now).len());
        }
        assert_eq!(dialer.links.len(), 100);
        assert!(busiest <= 12, "{busiest} in a tenth of a second");
    }

    #[test]
    fn peers_that_are_wanted_no_longer_are_closed_and_changed_ones_dialled_anew() {
        let mut dialer = Dialer::new(Backoff::default(), 0);
        dialer.want([(1, target(1)), (2, target(2)), (3, target(3))]);
        let dials = outputs(&mut dialer, Instant::ZERO);
        let link = |n: usize| match &dials[n] {
            Output::Dial { link, .. } => *link,
            other => panic!("{other:?}"),
        };
        dialer.up(Instant::ZERO, link(0), Frame::Dummy);
        outputs(&mut dialer, Instant::ZERO);
        dialer.want([(1, target(1)), (2, target(9))]);
        let (closed, redialed): (Vec<_>, Vec<_>) = outputs(&mut dialer, Instant::ZERO)
            .into_iter()
            .partition(|o| matches!(o, Output::Close { .. }));
        assert_eq!(closed, [2, 1].map(|n| Out::Close { link: link(n) }));
        assert!(matches!(
            redialed.as_slice(),
            [Output::Dial { target: t, .. }] if *t == target(9)
        ));
        assert_eq!(dialer.link_of(&1), Some(link(0)));
        assert_eq!(dialer.up(Instant::ZERO, link(2), Frame::Dummy), None);
    }

    #[test]
    fn dialers_of_two_lanes_never_share_a_name() {
        let mut links = Vec::new();
        for lane in 0..3 {
            let mut dialer = Dialer::new(Backoff::default(), 0).in_lane(lane);
            dialer.want((0..5).map(|n| (n, target(n))));
            for output in outputs(&mut dialer, Instant::ZERO) {
                if let Output::Dial { link, .. } = output {
                    links.push(link);
                }
            }
        }
        links.sort();
        links.dedup();
        assert_eq!(links.len(), 15);
    }

    #[test]
    fn a_peer_that_misbehaves_is_closed_and_waited_for() {
        let mut dialer = Dialer::new(Backoff::default(), 0);
        dialer.add(1, target(1));
        let link = dialed(&mut dialer, Instant::ZERO);
        dialer.up(Instant::ZERO, link, Frame::Dummy);
        outputs(&mut dialer, Instant::ZERO);
        assert_eq!(dialer.close(Instant::ZERO, link, &mut rng()), Some(1));
        assert_eq!(outputs(&mut dialer, Instant::ZERO), [Out::Close { link }]);
        assert!(dialer.poll_timeout() > Some(Instant::ZERO));
    }
}
