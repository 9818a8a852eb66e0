//! Nodes that do not do as they should, and adversaries on the wire: packets kept back by their
//! sender, packets recorded and sent again. The roles stay what they are in the daemons.

use std::time::Duration;

use whist_link::Frame;
use whist_types::Instant;

use super::events::Event;
use super::link::Side;
use super::{ActorId, World};

/// What a node does with the packets that it sends. For a provider that is nobody's entry these
/// are its replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Conduct {
    /// Sends them.
    #[default]
    Honest,
    /// Sends none.
    Withholds,
    /// Sends each one later.
    Delays(Duration),
    /// Keeps them, and sends all that it has at every multiple of this time.
    Hoards(Duration),
}

impl Conduct {
    /// When a packet leaves that should leave at `now`.
    fn leaves_at(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Honest => Some(now),
            Self::Withholds => None,
            Self::Delays(time) => Some(now.after(time)),
            Self::Hoards(period) => {
                let period = period.as_nanos().max(1);
                let since = now.since(Instant::ZERO).as_nanos();
                let past = since.checked_rem(period).unwrap_or(0);
                let rest = u64::try_from(period.saturating_sub(past)).unwrap_or(u64::MAX);
                Some(now.after(Duration::from_nanos(rest)))
            }
        }
    }
}

/// A packet that passed a tapped wire.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When it arrived.
    pub at: Instant,
    /// Who had sent it.
    pub from: ActorId,
    frame: Frame,
}

impl World {
    /// Makes `id` treat the packets that it sends in this way, from now on.
    pub fn meddle(&mut self, id: ActorId, conduct: Conduct) {
        self.conduct.insert(id, conduct);
    }

    /// Records every packet that reaches `id`, from now on.
    pub fn record(&mut self, id: ActorId) {
        self.tapped.entry(id).or_default();
    }

    /// What was recorded at `id`.
    pub fn recorded(&self, id: ActorId) -> &[Recorded] {
        self.tapped.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Ends the recording at `id` and hands it out.
    pub fn stop_recording(&mut self, id: ActorId) -> Vec<Recorded> {
        self.tapped.remove(&id).unwrap_or_default()
    }

    /// Lets a recorded packet reach `id` once more, from the node that had sent it, on the link
    /// that it has now. `false` if there is none.
    pub fn replay(&mut self, id: ActorId, packet: &Recorded) -> bool {
        let open = self.connections.iter().rposition(|connection| {
            connection.joins(packet.from, id)
                && connection.is_open(Side::Listener)
                && !connection.closed
        });
        let Some(index) = open else { return false };
        let frame = Box::new(packet.frame.clone());
        self.heap
            .push(self.now, Event::Deliver(index, Side::Listener, frame));
        true
    }

    pub(super) fn leaves_at(&self, id: ActorId, frame: &Frame) -> Option<Instant> {
        match frame {
            Frame::Packet(_) => {
                let conduct = self.conduct.get(&id).copied().unwrap_or_default();
                conduct.leaves_at(self.now)
            }
            _ => Some(self.now),
        }
    }

    pub(super) fn tap(&mut self, id: ActorId, from: ActorId, frame: &Frame) {
        let at = self.now;
        if let Some(tape) = self.tapped.get_mut(&id)
            && matches!(frame, Frame::Packet(_))
        {
            let frame = frame.clone();
            tape.push(Recorded { at, from, frame });
        }
    }
}
