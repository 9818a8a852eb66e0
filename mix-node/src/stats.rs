//! What the mix counts. Every packet that came in has left, is held, or stands under a reason.

use std::collections::BTreeMap;

use whist_packet::DropReason;
use whist_types::{Epoch, Layer};

/// Why a packet ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drop {
    /// Its link was over its share of the line rate. No key was touched.
    RateLimited,
    /// The mix was draining. No key was touched.
    Draining,
    /// It came on a link that does not carry packets this way: one that we dialled.
    WrongDirection,
    /// The packet itself.
    Packet(DropReason),
    /// By the consensus of the key that opened it, its sender is not of the previous layer.
    WrongLayer,
    /// By the same consensus, its next hop is not of the next layer, or is not there at all.
    UnknownNextHop,
    /// It ends here, and is no loop of ours that is under way.
    UnknownFinal,
    /// The pool is full.
    PoolFull,
    /// The next hop has no link at the moment.
    NoLink,
    /// The queue of the next hop's link is full.
    QueueFull,
}

impl Drop {
    /// Its name as the label of a counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Draining => "draining",
            Self::WrongDirection => "wrong_direction",
            Self::Packet(reason) => reason.name(),
            Self::WrongLayer => "wrong_layer",
            Self::UnknownNextHop => "unknown_next_hop",
            Self::UnknownFinal => "unknown_final",
            Self::PoolFull => "pool_full",
            Self::NoLink => "no_link",
            Self::QueueFull => "queue_full",
        }
    }

    /// The mix's own reasons; those of packets are [`DropReason::ALL`].
    pub const OWN: [Self; 9] = [
        Self::RateLimited,
        Self::Draining,
        Self::WrongDirection,
        Self::WrongLayer,
        Self::UnknownNextHop,
        Self::UnknownFinal,
        Self::PoolFull,
        Self::NoLink,
        Self::QueueFull,
    ];

    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let packet = DropReason::ALL.iter().copied().map(Self::Packet);
        Self::OWN.into_iter().chain(packet)
    }
}

/// A snapshot of the counters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// The layer in the consensus of the current epoch.
    pub layer: Option<Layer>,
    /// Epoch of the newest consensus.
    pub consensus: Option<Epoch>,
    /// Whether there is proof that the authorities signed two consensuses of one epoch.
    pub split: bool,
    /// Packets a second that it takes.
    pub line_rate: u32,
    /// Epochs whose keys are in service.
    pub keys: Vec<Epoch>,
    /// Packets that came in on links.
    pub received: u64,
    /// Packets put on a link: mixed ones and own loops.
    pub sent: u64,
    /// Of those, the ones that had been held for somebody else.
    pub mixed: u64,
    /// Packets held now.
    pub held: u64,
    /// Own loops made.
    pub loops_sent: u64,
    /// Own loops that were due and had no route.
    pub loops_unmade: u64,
    /// Own loops that came back in time.
    pub loops_returned: u64,
    /// Share of the last loops that did not come back; `None` before the first fate is known.
    pub loop_loss: Option<f64>,
    /// How often loops missing in a row raised the alarm.
    pub loop_alarms: u64,
    /// Steps of loops' routes that stand at an alarm of their own.
    pub loop_segment_alarms: u64,
    /// Descriptors that told of an alarm.
    pub loop_reports: u64,
    /// Whether the alarm is up.
    pub loop_alarm: bool,
    /// Links to the next layer that are up.
    pub links_out: u64,
    /// Links from the previous layer that are up.
    pub links_in: u64,
    /// Packets that ended here, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Packets dropped, of all reasons.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether every packet is accounted for: what came in and what was made here has left, is
    /// held, came home, or was dropped for a reason.
    pub fn balances(&self) -> bool {
        self.received + self.loops_sent
            == self.sent + self.held + self.loops_returned + self.dropped_total()
    }
}

/// The counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) mixed: u64,
    pub(crate) loops_sent: u64,
    pub(crate) loops_unmade: u64,
    pub(crate) loops_returned: u64,
    pub(crate) loop_reports: u64,
    dropped: BTreeMap<Drop, u64>,
}

impl Counters {
    pub(crate) fn drop(&mut self, reason: Drop) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    pub(crate) fn dropped(&self) -> BTreeMap<&'static str, u64> {
        self.dropped.iter().map(|(r, n)| (r.name(), *n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Drop::all().map(Drop::name).collect();
        assert_eq!(names.len(), Drop::OWN.len() + DropReason::ALL.len());
    }
}
