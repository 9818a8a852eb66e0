//! What the provider counts. Every packet that came in has left, is held, or stands under a
//! reason. Nothing here is by client, mailbox or address.

use std::collections::BTreeMap;

use whist_packet::DropReason;
use whist_types::Epoch;

/// Why a packet, or the reply that came of it, ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drop {
    /// Its link was over its share of the line rate, or its session over its profile's rate. No
    /// key was touched.
    RateLimited,
    /// The provider was draining. No key was touched.
    Draining,
    /// It came on a link that does not carry packets this way: one that we dialled.
    WrongDirection,
    /// The packet itself.
    Packet(DropReason),
    /// By the consensus of the key that opened it, its sender is not of the last layer.
    WrongLayer,
    /// By the same consensus, its next hop is not of the first layer, or is not there at all.
    UnknownNextHop,
    /// It came from a mix and is to be forwarded: providers forward for their clients only.
    NotFromClient,
    /// It came from a client and ends here: what ends here comes through the mixes.
    NotFromMix,
    /// It ends here, and is neither a request nor for a session that is live.
    UnknownSession,
    /// The session has had as many replies as it sent packets.
    Unearned,
    /// Too many replies wait for the session.
    SessionFull,
    /// The session ended before its slot came.
    SessionEnded,
    /// The pool is full.
    PoolFull,
    /// Too many answers wait for their offset.
    AnswersFull,
    /// The disk did not take it in time.
    NotDurable,
    /// The SURB names a first hop that is not of the first layer.
    UnknownFirstHop,
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
            Self::NotFromClient => "not_from_client",
            Self::NotFromMix => "not_from_mix",
            Self::UnknownSession => "unknown_session",
            Self::Unearned => "unearned",
            Self::SessionFull => "session_full",
            Self::SessionEnded => "session_ended",
            Self::PoolFull => "pool_full",
            Self::AnswersFull => "answers_full",
            Self::NotDurable => "not_durable",
            Self::UnknownFirstHop => "unknown_first_hop",
            Self::NoLink => "no_link",
            Self::QueueFull => "queue_full",
        }
    }

    /// The provider's own reasons; those of packets are [`DropReason::ALL`].
    pub const OWN: [Self; 17] = [
        Self::RateLimited,
        Self::Draining,
        Self::WrongDirection,
        Self::WrongLayer,
        Self::UnknownNextHop,
        Self::NotFromClient,
        Self::NotFromMix,
        Self::UnknownSession,
        Self::Unearned,
        Self::SessionFull,
        Self::SessionEnded,
        Self::PoolFull,
        Self::AnswersFull,
        Self::NotDurable,
        Self::UnknownFirstHop,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Epoch of the newest consensus.
    pub consensus: Option<Epoch>,
    /// Whether there is proof that the authorities signed two consensuses of one epoch.
    pub split: bool,
    /// Whether the consensus in use lists this provider.
    pub listed: bool,
    /// Packets a second that it takes.
    pub line_rate: u32,
    /// Epochs whose keys are in service.
    pub keys: Vec<Epoch>,
    /// Packets that came in, from clients and from mixes.
    pub received: u64,
    /// Packets put on a link for a client.
    pub forwarded: u64,
    /// Requests answered: replies put on a link to the first layer.
    pub answered: u64,
    /// Replies given to clients in their slots.
    pub delivered: u64,
    /// Packets that wait for their delay.
    pub held_packets: u64,
    /// Answers that wait for their offset or the disk.
    pub held_answers: u64,
    /// Replies that wait for a slot.
    pub held_replies: u64,
    /// Clients that are connected, by profile.
    pub sessions: [u64; 3],
    /// Items, drops and mailboxes in the store.
    pub stored: u64,
    /// Times that the store failed.
    pub store_faults: u64,
    /// Rows of the store that did not open.
    pub store_damaged: u64,
    /// Requests for the header of a consensus (`DOC`).
    pub documents: u64,
    /// Links to the first layer that are up.
    pub links_out: u64,
    /// Links from the last layer that are up.
    pub links_in: u64,
    /// Packets that ended here, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Packets dropped, of all reasons.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Packets, answers and replies held.
    pub const fn held(&self) -> u64 {
        self.held_packets + self.held_answers + self.held_replies
    }

    /// Whether every packet is accounted for: what came in was forwarded, answered or delivered,
    /// is held, or was dropped for a reason.
    pub fn balances(&self) -> bool {
        let out = self.forwarded + self.answered + self.delivered;
        self.received == out + self.held() + self.dropped_total()
    }
}

/// The counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: u64,
    pub(crate) forwarded: u64,
    pub(crate) answered: u64,
    pub(crate) delivered: u64,
    /// Requests for the header of a consensus.
    pub(crate) documents: u64,
    dropped: BTreeMap<Drop, u64>,
}

impl Counters {
    pub(crate) fn drop(&mut self, reason: Drop) {
        self.drop_many(reason, 1);
    }

    pub(crate) fn drop_many(&mut self, reason: Drop, count: usize) {
        if count > 0 {
            *self.dropped.entry(reason).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
        }
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
