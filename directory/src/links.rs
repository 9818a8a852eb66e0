//! What is known of each link, and what it may still send.

use std::collections::{BTreeMap, VecDeque};

use whist_link::{Assembler, Frame, LinkId};
use whist_types::{Epoch, IdentityKey, Instant, LinkKey};

use crate::{Ignored, limits};

/// A link that is up.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: LinkKey,
    /// When the link came up.
    since: Instant,
    /// An authority, or a node that is admitted: seen when the link came up, or by what it sent.
    pub(crate) known: bool,
    /// Its place in the network's list, if it is an authority.
    pub(crate) authority: Option<u8>,
    /// The node that it is, by a descriptor that it sent.
    pub(crate) identity: Option<IdentityKey>,
    /// It said `HELLO`.
    pub(crate) greeted: bool,
    /// We asked it for a consensus.
    pub(crate) asked: bool,
    pub(crate) descriptors: Assembler,
    pub(crate) signatures: Assembler,
    pub(crate) bundles: Assembler,
    /// Frames that wait for their turn: a link's queue is bounded, and a blob with a hole is none.
    backlog: VecDeque<Frame>,
    /// Until then no more than this of them may go.
    burst_at: Instant,
    burst_left: usize,
    spent: Spent,
    streams: u32,
}

/// What a link sent in this epoch.
#[derive(Debug, Default)]
struct Spent {
    epoch: Epoch,
    descriptors: u32,
    signatures: u32,
    bundles: u32,
}

/// Kinds of what is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Allowance {
    Descriptor,
    Signature,
    Bundle,
}

impl Peer {
    pub(crate) fn new(now: Instant, key: LinkKey, authority: Option<u8>) -> Self {
        Self {
            key,
            since: now,
            known: authority.is_some(),
            authority,
            identity: None,
            greeted: false,
            asked: false,
            descriptors: Assembler::new(limits::DESCRIPTOR_PARTS_MAX),
            signatures: Assembler::new(limits::SIGNATURE_PARTS_MAX),
            bundles: Assembler::new(limits::BUNDLE_PARTS_MAX),
            backlog: VecDeque::new(),
            burst_at: Instant::ZERO,
            burst_left: 0,
            spent: Spent::default(),
            streams: 0,
        }
    }

    /// Takes one of what the link may send in an epoch.
    pub(crate) fn spend(&mut self, what: Allowance, epoch: Epoch) -> Result<(), Ignored> {
        if self.spent.epoch != epoch {
            self.spent = Spent {
                epoch,
                ..Spent::default()
            };
        }
        let (spent, most) = match what {
            Allowance::Descriptor if self.authority.is_some() => {
                (&mut self.spent.descriptors, limits::AUTHORITY_DESCRIPTORS)
            }
            Allowance::Descriptor => (&mut self.spent.descriptors, limits::NODE_DESCRIPTORS),
            Allowance::Signature => (&mut self.spent.signatures, limits::SIGNATURES),
            Allowance::Bundle => (&mut self.spent.bundles, limits::BUNDLES_ASKED),
        };
        *spent = spent.saturating_add(1);
        if *spent > most {
            return Err(Ignored::TooMany);
        }
        Ok(())
    }

    /// Queues a frame behind what waits.
    pub(crate) fn queue(&mut self, frame: Frame) {
        self.backlog.push_back(frame);
    }

    /// Whether anything waits.
    fn busy(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether a bundle waits, the largest of what does: nobody gets a second one meanwhile.
    pub(crate) fn has_bundle_waiting(&self) -> bool {
        let bundle = |frame: &Frame| matches!(frame, Frame::DocChunk(_));
        self.backlog.iter().any(bundle)
    }

    /// When a peer that nobody knows has had time enough to describe itself.
    fn expires_at(&self) -> Option<Instant> {
        let until = self.since.after(limits::STRANGER_LIFE);
        (!self.known).then_some(until)
    }

    /// The frames that may go now.
    pub(crate) fn burst(&mut self, now: Instant) -> Vec<Frame> {
        if now >= self.burst_at {
            self.burst_at = now.after(limits::BURST_GAP);
            self.burst_left = limits::BURST_FRAMES;
        }
        let count = self.backlog.len().min(self.burst_left);
        self.burst_left = self.burst_left.saturating_sub(count);
        self.backlog.drain(..count).collect()
    }

    /// When the next burst is due, if anything waits.
    pub(crate) fn burst_at(&self) -> Option<Instant> {
        self.busy().then_some(self.burst_at)
    }

    /// The number of the next blob that we send on this link.
    pub(crate) fn next_stream(&mut self) -> u32 {
        self.streams = self.streams.wrapping_add(1);
        self.streams
    }
}

/// Links to authorities.
pub(crate) fn authority_links(peers: &BTreeMap<LinkId, Peer>) -> Vec<LinkId> {
    let of_authorities = peers.iter().filter(|(_, peer)| peer.authority.is_some());
    of_authorities.map(|(link, _)| *link).collect()
}

/// Which links are closed for one of this peer, so that nobody has more than its share: older ones
/// of its own, which may be half dead, and the oldest of strangers. `None` if there is no room.
pub(crate) fn make_room(peers: &BTreeMap<LinkId, Peer>, newcomer: &Peer) -> Option<Vec<LinkId>> {
    let oldest = |whose: &dyn Fn(&Peer) -> bool, most: usize| {
        let mut links: Vec<_> = peers
            .iter()
            .filter(|(_, peer)| whose(peer))
            .map(|(link, peer)| (peer.since, *link))
            .collect();
        links.sort_unstable();
        let excess = links.len().saturating_sub(most.saturating_sub(1));
        links.truncate(excess);
        links.into_iter().map(|(_, link)| link)
    };
    let of_its_own = if newcomer.authority.is_some() {
        limits::LINKS_PER_AUTHORITY
    } else {
        limits::LINKS_PER_NODE
    };
    let mut closed: Vec<_> = oldest(&|peer| peer.key == newcomer.key, of_its_own).collect();
    if !newcomer.known {
        closed.extend(oldest(&|peer| !peer.known, limits::STRANGERS_MAX));
    }
    if closed.is_empty() && peers.len() >= limits::LINKS_MAX {
        // Strangers have a few places and never one of those of the others.
        let stranger = peers.iter().filter(|(_, peer)| !peer.known);
        match stranger.map(|(link, peer)| (peer.since, *link)).min() {
            Some((_, link)) => closed.push(link),
            None if newcomer.authority.is_some() => {}
            None => return None,
        }
    }
    Some(closed)
}

/// Links of peers that nobody knows and that had time enough to describe themselves.
pub(crate) fn expired(peers: &BTreeMap<LinkId, Peer>, now: Instant) -> Vec<LinkId> {
    let over = |peer: &Peer| peer.expires_at().is_some_and(|at| at <= now);
    let expired = peers.iter().filter(|(_, peer)| over(peer));
    expired.map(|(link, _)| *link).collect()
}

/// When [`expired`] finds one.
pub(crate) fn next_expiry(peers: &BTreeMap<LinkId, Peer>) -> Option<Instant> {
    peers.values().filter_map(Peer::expires_at).min()
}
