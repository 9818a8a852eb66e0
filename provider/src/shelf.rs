//! The index of one mailbox in memory: which items wait, at which address, and whose turn it is.
//! The store has the truth; a shelf is loaded from it and may be dropped at any time when nothing
//! on it waits for the disk. Leases and turns live here alone: losing them costs a poll.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use whist_packet::request::{Get, map_contains};
use whist_types::{Instant, ItemHash, MailboxAddress};

use crate::limits;
use crate::store::Day;
use crate::ticket::{Fate, Ticket, Tickets};

/// What is known of an item without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// The address it came to.
    pub(crate) address: MailboxAddress,
    /// Its hash, by which `PUT` is idempotent.
    pub(crate) hash: ItemHash,
    /// The day it came, under whose key it is sealed.
    pub(crate) day: Day,
    leased_until: Instant,
}

impl Entry {
    /// An item that nobody has been handed.
    pub(crate) const fn new(address: MailboxAddress, hash: ItemHash, day: Day) -> Self {
        Self {
            address,
            hash,
            day,
            leased_until: Instant::ZERO,
        }
    }
}

/// The items of one address, and when it was served last.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<u64>,
    served: u64,
}

/// One mailbox.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// The day under which its head, book and addresses are sealed.
    pub(crate) day: Day,
    /// The number that the next item gets.
    next: u64,
    lanes: BTreeMap<MailboxAddress, Lane>,
    entries: BTreeMap<u64, Entry>,
    hashes: BTreeSet<ItemHash>,
    /// Numbers given to items that are not durable yet. They are not handed out: after a crash
    /// the number would go to another item, which the owner would take for one that it has.
    pending: VecDeque<(Ticket, u64)>,
    serves: u64,
}

impl Shelf {
    /// A mailbox without items.
    pub(crate) const fn new(day: Day, next: u64) -> Self {
        Self {
            day,
            next,
            lanes: BTreeMap::new(),
            entries: BTreeMap::new(),
            hashes: BTreeSet::new(),
            pending: VecDeque::new(),
            serves: 0,
        }
    }

    /// Its addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &MailboxAddress> {
        self.lanes.keys()
    }

    /// Number of addresses.
    pub(crate) fn addresses_len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether the address is one of its own.
    pub(crate) fn has_address(&self, address: &MailboxAddress) -> bool {
        self.lanes.contains_key(address)
    }

    /// Adds an address.
    pub(crate) fn add_address(&mut self, address: MailboxAddress) {
        self.lanes.entry(address).or_default();
    }

    /// Removes an address. What waits there must have been removed before.
    pub(crate) fn remove_address(&mut self, address: &MailboxAddress) {
        self.lanes.remove(address);
    }

    /// The number that the next item gets.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Items kept, durable or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an item of this hash is kept.
    pub(crate) fn has_hash(&self, hash: &ItemHash) -> bool {
        self.hashes.contains(hash)
    }

    /// An item that the store has.
    pub(crate) fn load(&mut self, number: u64, entry: Entry) {
        if let Some(lane) = self.lanes.get_mut(&entry.address) {
            lane.waiting.insert(number);
        }
        self.hashes.insert(entry.hash);
        self.entries.insert(number, entry);
        self.next = self.next.max(number.saturating_add(1));
    }

    /// An item that was written under `ticket` and has taken the next number.
    pub(crate) fn push(&mut self, entry: Entry, ticket: Ticket) {
        let number = self.next;
        self.pending.push_back((ticket, number));
        self.load(number, entry);
    }

    /// Whether something on it waits for the disk.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Learns from the tickets what has become durable.
    pub(crate) fn settle(&mut self, tickets: &Tickets) {
        while let Some((ticket, _)) = self.pending.front() {
            if tickets.fate(*ticket) != Fate::Durable {
                break;
            }
            self.pending.pop_front();
        }
    }

    fn durable_below(&self) -> u64 {
        self.pending.front().map_or(u64::MAX, |(_, number)| *number)
    }

    /// Removes an item.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        self.hashes.remove(&entry.hash);
        if let Some(lane) = self.lanes.get_mut(&entry.address) {
            lane.waiting.remove(&number);
        }
        Some(entry)
    }

    /// Removes what came before `oldest`: its rows are gone.
    pub(crate) fn expire(&mut self, oldest: Day) {
        let old = self.entries.iter().filter(|(_, e)| e.day < oldest);
        let old: Vec<u64> = old.map(|(number, _)| *number).collect();
        for number in old {
            self.remove(number);
        }
    }

    /// What `get` lets the provider delete: all up to `acked`, and what `done` names. At most
    /// `limits::DELETES_PER_GET`; never what is not durable yet, which nobody can have read.
    pub(crate) fn released(&self, get: &Get) -> Vec<(u64, Entry)> {
        let end = get.acked.saturating_add(limits::WINDOW);
        self.entries
            .range(..=end)
            .filter(|(number, _)| {
                **number <= get.acked || map_contains(&get.done, get.acked, **number)
            })
            .filter(|(number, _)| **number < self.durable_below())
            .take(limits::DELETES_PER_GET)
            .map(|(number, entry)| (*number, entry.clone()))
            .collect()
    }

    /// What waits from an address.
    pub(crate) fn waiting_from(&self, address: &MailboxAddress) -> Vec<(u64, Entry)> {
        let numbers = self.lanes.get(address).into_iter();
        numbers
            .flat_map(|lane| &lane.waiting)
            .filter_map(|number| Some((*number, self.entries.get(number)?.clone())))
            .collect()
    }

    /// The item to hand out: the one wanted, if it is there; else the lowest free one of the
    /// address that was served longest ago. So one address with much mail delays the others by
    /// one poll in two at most.
    pub(crate) fn choose(&self, now: Instant, get: &Get) -> Option<u64> {
        let durable = |number: &u64| *number < self.durable_below();
        if get.wanted > get.acked && self.entries.contains_key(&get.wanted) {
            return Some(get.wanted).filter(durable);
        }
        let free = |number: &u64| {
            let entry = self.entries.get(number);
            entry.is_some_and(|entry| entry.leased_until <= now)
                && !map_contains(&get.done, get.acked, *number)
                && !map_contains(&get.held, get.acked, *number)
        };
        let lowest = |lane: &Lane| {
            let above = lane.waiting.range(get.acked.saturating_add(1)..);
            above.copied().take_while(durable).find(free)
        };
        self.lanes
            .values()
            .filter_map(|lane| Some((lane.served, lowest(lane)?)))
            .min()
            .map(|(_, number)| number)
    }

    /// Hands an item out: its lease begins, and its address has had its turn. Beyond the window
    /// of the maps its owner cannot say that it has it, and the lease is longer.
    pub(crate) fn lease(&mut self, now: Instant, get: &Get, number: u64) -> Option<&Entry> {
        let asked = Duration::from_secs(u64::from(get.lease_s)).min(limits::LEASE_MAX);
        let beyond = number > get.acked.saturating_add(limits::WINDOW);
        let lease = match beyond {
            true => asked.saturating_mul(limits::LEASE_BEYOND_WINDOW),
            false => asked,
        };
        self.serves = self.serves.saturating_add(1);
        let entry = self.entries.get_mut(&number)?;
        entry.leased_until = now.after(lease);
        if let Some(lane) = self.lanes.get_mut(&entry.address) {
            lane.served = self.serves;
        }
        Some(entry)
    }

    /// How many items wait that are durable.
    pub(crate) fn waiting(&self) -> u32 {
        let count = match self.pending.front() {
            None => self.entries.len(),
            Some((_, number)) => self.entries.range(..number).count(),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// No number below this one is kept: the oldest item's, or the next one's if there is none.
    pub(crate) fn oldest(&self) -> u64 {
        let oldest = self.entries.keys().next().copied();
        oldest.unwrap_or(self.next).min(self.durable_below())
    }
}
