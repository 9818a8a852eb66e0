//! What is known of each link, and what it may still send.

use std::collections::{BTreeMap, VecDeque};

use whist_link::{Assembler, Frame, LinkId};
use whist_types::{Epoch, IdentityKey, Instant, LinkKey};

use crate::{Ignored, limits};

/// A link that is up.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: LinkKey,
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
    pub(crate) fn new(key: LinkKey, authority: Option<u8>) -> Self {
        Self {
            key,
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
    pub(crate) fn busy(&self) -> bool {
        !self.backlog.is_empty()
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

/// Links to authorities, one each; the newest wins where a peer dialled again before the old link
/// was seen to be down.
pub(crate) fn authority_links(peers: &BTreeMap<LinkId, Peer>) -> Vec<LinkId> {
    let mut newest: BTreeMap<u8, LinkId> = BTreeMap::new();
    for (link, peer) in peers {
        if let Some(authority) = peer.authority {
            newest.insert(authority, *link);
        }
    }
    newest.into_values().collect()
}
