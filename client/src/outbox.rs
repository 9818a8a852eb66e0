//! What waits to leave, and what has left and is not answered yet. The send clock decides when;
//! the outbox decides only what.
//!
//! A request is eligible once the vault holds it. It leaves in a send tick, and when its reply has
//! not come after the round trip's 99.9 % quantile it is due again after an exponential wait, six
//! times at most; after that the person is told.

use std::collections::BTreeMap;
use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use whist_netdoc::Parameters;
use whist_ratchet::{ITEM_BYTES, Item, SealedItem};
use whist_timing::{Rng, erlang_quantile, exponential};
use whist_types::{ConsensusHash, Instant, MailboxAddress, NodeId, Now, Salt16, Wall};

use crate::ids::{InvitationId, MessageId, PendingId, RequestId};
use crate::limits::{
    DOWNLINK_SLOTS, LINKS_ALLOWANCE, OUTBOX_MAX, REPEATS_MAX, ROUND_TRIP_QUANTILE,
};

/// What a request asks its provider to do. Items are sealed ones, which only a session makes:
///
/// ```compile_fail,E0308
/// whist::outbox::Job::Notice {
///     address: whist_types::MailboxAddress::from_bytes([0; 32]),
///     item: b"clear text".to_vec(),
/// };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Job {
    /// Put an item into a contact's mailbox.
    Put {
        /// The contact's address there.
        address: MailboxAddress,
        /// The sealed item.
        #[borsh(serialize_with = "write_item", deserialize_with = "read_item")]
        item: SealedItem,
        /// The word that it is a piece of.
        message: Option<MessageId>,
    },
    /// Make the mailbox, with its first addresses.
    Create,
    /// Register more addresses.
    Add {
        /// Their salts.
        salts: Vec<Salt16>,
    },
    /// Take addresses back.
    Revoke {
        /// Which.
        addresses: Vec<MailboxAddress>,
    },
    /// Publish a prepared invitation.
    Publish {
        /// Which.
        invitation: InvitationId,
    },
    /// Open somebody's invitation.
    Fetch {
        /// Which.
        pending: PendingId,
    },
    /// Ask for the header of a consensus that somebody named.
    Doc {
        /// Its hash.
        hash: ConsensusHash,
        /// Which chunk.
        chunk: u32,
    },
    /// Put an item that is no piece of a word into a contact's mailbox: it says that words were
    /// given up, is a receipt, or begins a new session.
    Notice {
        /// The contact's address there.
        address: MailboxAddress,
        /// The sealed item.
        #[borsh(serialize_with = "write_item", deserialize_with = "read_item")]
        item: SealedItem,
    },
}

fn write_item(item: &SealedItem, writer: &mut impl std::io::Write) -> std::io::Result<()> {
    writer.write_all(item.item().as_bytes())
}

fn read_item(reader: &mut impl std::io::Read) -> std::io::Result<SealedItem> {
    let mut bytes = Box::new([0; ITEM_BYTES]);
    reader.read_exact(bytes.as_mut_slice())?;
    Ok(SealedItem::dangerously_restored(Item::from_bytes(bytes)))
}

impl Job {
    /// The word that it carries a piece of.
    pub const fn message(&self) -> Option<MessageId> {
        match self {
            Self::Put { message, .. } => *message,
            _ => None,
        }
    }

    /// The address to which it puts an item.
    pub const fn address(&self) -> Option<&MailboxAddress> {
        match self {
            Self::Put { address, .. } | Self::Notice { address, .. } => Some(address),
            _ => None,
        }
    }
}

/// A request of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number; grows.
    pub id: RequestId,
    /// The provider that does it.
    pub exit: NodeId,
    /// What it does.
    pub job: Job,
    /// Packets that left for it.
    pub sends: u32,
    /// It is from before this start: its count of packets may be too low by one.
    pub restored: bool,
    durable: bool,
    due: Instant,
}

/// An entry as the vault keeps it.
#[derive(BorshSerialize, BorshDeserialize)]
struct Row {
    exit: NodeId,
    job: Job,
    sends: u32,
    due_ms: u64,
}

/// When a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatLaw {
    /// 99.9 % of replies are back within this.
    pub round_trip: Duration,
    /// Means of the exponential waits after that.
    pub wait_means: [Duration; 6],
}

impl RepeatLaw {
    /// The law under these parameters: entry and mixes delay the packet, mixes the reply, the
    /// provider holds the request, the downlink's slots and the links take their time. A quantile
    /// of a sum is below the sum of quantiles, so the figure is not too low.
    pub fn new(parameters: &Parameters, profile: u8) -> Self {
        let stages = u32::from(parameters.layers)
            .saturating_mul(2)
            .saturating_add(1);
        let mixing = erlang_quantile(stages, parameters.delay_mean(), ROUND_TRIP_QUANTILE);
        let slot = parameters
            .profile_mean(profile)
            .checked_div(u32::from(parameters.downlink_slots_per_packet))
            .unwrap_or_default();
        Self {
            round_trip: mixing
                .saturating_add(parameters.request_hold().saturating_mul(2))
                .saturating_add(slot.saturating_mul(DOWNLINK_SLOTS))
                .saturating_add(LINKS_ALLOWANCE),
            wait_means: parameters.retransmit_means(),
        }
    }

    /// The mean time from a request's first packet to the moment at which the person is told.
    pub fn life(&self) -> Duration {
        let first = self.round_trip;
        let waits = self.wait_means.iter();
        waits.fold(first, |sum, &mean| {
            sum.saturating_add(self.round_trip).saturating_add(mean)
        })
    }

    /// From the `sends`-th packet to the moment at which the next one is due, or at which the
    /// person is told.
    fn wait(&self, sends: u32, rng: &mut Rng) -> Duration {
        let index = usize::try_from(sends.saturating_sub(1)).unwrap_or(usize::MAX);
        let extra = self
            .wait_means
            .get(index)
            .map_or(Duration::ZERO, |&mean| exponential(mean, rng));
        self.round_trip.saturating_add(extra)
    }
}

/// The outbox has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct OutboxFull;

/// The outbox.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: BTreeMap<RequestId, Entry>,
    last: u64,
}

impl Outbox {
    /// An empty outbox.
    pub const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            last: 0,
        }
    }

    /// Takes a stored row back in. What is in the vault is durable.
    pub fn restore(&mut self, now: Now, key: &[u8], value: &[u8]) -> Option<()> {
        let id = RequestId::from_key(key)?;
        let row: Row = borsh::from_slice(value).ok()?;
        self.last = self.last.max(id.number());
        let entry = Entry {
            id,
            exit: row.exit,
            job: row.job,
            sends: row.sends,
            restored: true,
            durable: true,
            due: now.instant_of(Wall::from_millis(row.due_ms)),
        };
        self.entries.insert(id, entry);
        Some(())
    }

    /// Adds a request that is due after `wait`. It is not eligible before [`Outbox::stored`].
    pub fn push(
        &mut self,
        now: Now,
        exit: NodeId,
        job: Job,
        wait: Duration,
    ) -> Result<RequestId, OutboxFull> {
        if self.entries.len() >= OUTBOX_MAX {
            return Err(OutboxFull);
        }
        self.last = self.last.saturating_add(1);
        let id = RequestId::new(self.last);
        let entry = Entry {
            id,
            exit,
            job,
            sends: 0,
            restored: false,
            durable: false,
            due: now.instant.after(wait),
        };
        self.entries.insert(id, entry);
        Ok(id)
    }

    /// The row of an entry, for the vault.
    pub fn row(&self, now: Now, id: RequestId) -> Option<Vec<u8>> {
        let entry = self.entries.get(&id)?;
        let row = Row {
            exit: entry.exit,
            job: entry.job.clone(),
            sends: entry.sends,
            due_ms: now.wall.after(entry.due.since(now.instant)).as_millis(),
        };
        borsh::to_vec(&row).ok()
    }

    /// The vault holds it: it may leave.
    pub fn stored(&mut self, id: RequestId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.durable = true;
        }
    }

    /// The requests that may leave at a send tick, the first of them first: the oldest that are
    /// eligible and due.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = &Entry> {
        let eligible = move |e: &&Entry| e.durable && e.sends <= REPEATS_MAX && e.due <= now;
        self.entries.values().filter(eligible)
    }

    /// The first of them.
    #[cfg(test)]
    pub(crate) fn head(&self, now: Instant) -> Option<&Entry> {
        self.due(now).next()
    }

    /// A packet for it left.
    pub fn sent(&mut self, now: Instant, id: RequestId, law: &RepeatLaw, rng: &mut Rng) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.sends = entry.sends.saturating_add(1);
            entry.due = now.after(law.wait(entry.sends, rng));
        }
    }

    /// A request by its number.
    pub fn entry(&self, id: RequestId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Its reply came: it leaves the outbox.
    pub fn answered(&mut self, id: RequestId) -> Option<Entry> {
        self.entries.remove(&id)
    }

    /// Requests that were repeated as often as may be and stayed without an answer.
    pub fn given_up(&mut self, now: Instant) -> Vec<Entry> {
        let over: Vec<RequestId> = self
            .entries
            .values()
            .filter(|e| e.sends > REPEATS_MAX && e.due <= now)
            .map(|e| e.id)
            .collect();
        over.into_iter()
            .filter_map(|id| self.entries.remove(&id))
            .collect()
    }

    /// Requests that have been due for as long as `life` and cannot leave.
    pub fn stranded(
        &mut self,
        now: Instant,
        life: Duration,
        can_leave: impl Fn(&Entry) -> bool,
    ) -> Vec<Entry> {
        let over: Vec<RequestId> = self
            .entries
            .values()
            .filter(|e| e.durable && e.due.after(life) <= now && !can_leave(e))
            .map(|e| e.id)
            .collect();
        over.into_iter()
            .filter_map(|id| self.entries.remove(&id))
            .collect()
    }

    /// The requests that carry pieces of a word.
    pub fn requests_of(&self, message: MessageId) -> Vec<RequestId> {
        let entries = self.entries.values();
        let of = |e: &&Entry| e.job.message() == Some(message);
        entries.filter(of).map(|e| e.id).collect()
    }

    /// The requests that carry something to this address.
    pub fn requests_to(&self, to: &MailboxAddress) -> Vec<RequestId> {
        let entries = self.entries.values();
        let to_it = |e: &&Entry| e.job.address() == Some(to);
        entries.filter(to_it).map(|e| e.id).collect()
    }

    /// Every request, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Room for this many more.
    pub fn room(&self) -> usize {
        OUTBOX_MAX.saturating_sub(self.entries.len())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "figures of tests")]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    fn at(ms: u64) -> Now {
        Now {
            instant: Instant::from_nanos(ms * 1_000_000),
            wall: Wall::from_millis(1_000_000 + ms),
        }
    }

    fn law() -> RepeatLaw {
        RepeatLaw::new(&Parameters::default(), 1)
    }

    fn put() -> Job {
        Job::Put {
            address: MailboxAddress::from_bytes([1; 32]),
            item: SealedItem::dangerously_restored(Item::from_bytes(Box::new([0; ITEM_BYTES]))),
            message: None,
        }
    }

    fn exit() -> NodeId {
        NodeId::from_bytes([2; 32])
    }

    #[test]
    fn a_request_leaves_only_after_the_vault_holds_it() {
        let mut outbox = Outbox::new();
        let id = outbox.push(at(0), exit(), put(), Duration::ZERO).unwrap();
        assert_eq!(outbox.head(at(1_000_000).instant), None);
        outbox.stored(id);
        assert_eq!(outbox.head(at(0).instant).unwrap().id, id);
    }

    #[test]
    fn a_rare_command_waits_for_its_time() {
        let mut outbox = Outbox::new();
        let wait = Duration::from_secs(60);
        let id = outbox.push(at(0), exit(), Job::Create, wait).unwrap();
        outbox.stored(id);
        assert_eq!(outbox.head(at(59_999).instant), None);
        assert!(outbox.head(at(60_000).instant).is_some());
    }

    #[test]
    fn an_unanswered_request_is_repeated_six_times_at_the_waits_of_the_law_and_then_given_up() {
        let law = law();
        let mut rng = Rng::from_seed([3; 32]);
        let mut waits = vec![0.0; 7];
        let rounds = 2_000;
        for _ in 0..rounds {
            let mut outbox = Outbox::new();
            let mut now = at(0).instant;
            let id = outbox.push(at(0), exit(), put(), Duration::ZERO).unwrap();
            outbox.stored(id);
            for wait in &mut waits {
                assert_eq!(outbox.head(now).unwrap().id, id);
                assert!(outbox.given_up(now).is_empty());
                outbox.sent(now, id, &law, &mut rng);
                assert_eq!(outbox.head(now.after(law.round_trip / 2)), None);
                let due = outbox.entry(id).unwrap().due;
                *wait += (due.since(now) - law.round_trip).as_secs_f64();
                now = due;
            }
            assert_eq!(outbox.head(now), None);
            assert_eq!(outbox.given_up(now).len(), 1);
            assert!(outbox.is_empty());
        }
        for (sum, mean) in waits.iter().zip(law.wait_means) {
            let relative = sum / f64::from(rounds) / mean.as_secs_f64();
            // The standard error of a mean of 2,000 is 2.2 %; this is four of them.
            assert!((relative - 1.0).abs() < 0.09, "{relative}");
        }
        assert!(waits[6].abs() < 1e-6);
    }

    #[test]
    fn the_round_trip_quantile_holds_seven_delays() {
        let parameters = Parameters::default();
        let stages = erlang_quantile(7, parameters.delay_mean(), 0.999);
        assert!(law().round_trip > stages);
        assert!(law().round_trip < stages + Duration::from_secs(6));
    }

    #[test]
    fn an_answer_ends_a_request_whichever_packet_it_answers() {
        let mut outbox = Outbox::new();
        let id = outbox.push(at(0), exit(), put(), Duration::ZERO).unwrap();
        outbox.stored(id);
        let mut rng = Rng::from_seed([4; 32]);
        outbox.sent(at(0).instant, id, &law(), &mut rng);
        assert_eq!(outbox.answered(id).unwrap().sends, 1);
        assert_eq!(outbox.answered(id), None);
        assert_eq!(outbox.head(at(u64::from(u32::MAX)).instant), None);
    }

    #[test]
    fn a_restart_keeps_requests_their_count_and_their_time() {
        let mut outbox = Outbox::new();
        let mut rng = Rng::from_seed([5; 32]);
        let id = outbox.push(at(0), exit(), put(), Duration::ZERO).unwrap();
        outbox.stored(id);
        outbox.sent(at(0).instant, id, &law(), &mut rng);
        let due = outbox.entry(id).unwrap().due;
        let row = outbox.row(at(0), id).unwrap();
        let mut again = Outbox::new();
        again.restore(at(500), &id.key(), &row).unwrap();
        let entry = again.entry(id).unwrap();
        assert_eq!(entry.sends, 1);
        assert!(due.since(entry.due) < Duration::from_millis(2));
        let next = again.push(at(500), exit(), put(), Duration::ZERO).unwrap();
        assert!(next > id, "numbers are never used twice");
    }

    #[test]
    fn a_full_outbox_refuses_and_drops_nothing() {
        let mut outbox = Outbox::new();
        for _ in 0..OUTBOX_MAX {
            outbox
                .push(at(0), exit(), Job::Create, Duration::ZERO)
                .unwrap();
        }
        assert_eq!(
            outbox.push(at(0), exit(), put(), Duration::ZERO),
            Err(OutboxFull)
        );
        assert_eq!(outbox.len(), OUTBOX_MAX);
    }
}
