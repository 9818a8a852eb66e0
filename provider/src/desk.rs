//! Where requests are served: the store, the tickets of its commits, and the rules that hold for
//! all commands. Mailboxes and drops are served in files of their own.

use std::collections::{BTreeMap, HashMap};

use rand_core::CryptoRng;
use whist_netdoc::Parameters;
use whist_packet::request::{ReplyBody, Request};
use whist_types::{Instant, MailboxKey, Reader, Secret, Wall};

use crate::calendar::Calendar;
use crate::limits;
use crate::quota::{Quota, QuotaTable};
use crate::shelf::Shelf;
use crate::store::{Batch, Day, Key, Store, StoreFault, Table};
use crate::ticket::{Ticket, Tickets};

const DAY_SECS: u32 = 86_400;

/// Rows of a mailbox without which all its items are lost are kept twice.
const TWINS: u64 = 2;

/// What the desk takes from the consensus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Days that an item lives, and an unused mailbox or drop.
    pub item_days: u32,
    /// Days that the hash of a deleted item is kept.
    pub hash_days: u32,
    /// What an address takes.
    pub quota: Quota,
    /// Items, drops and mailboxes that the store takes (the provider's own).
    pub store_rows: u64,
}

impl Rules {
    /// The rules of a consensus. Times are whole days: a time to live that is none is rounded up.
    pub fn new(parameters: &Parameters, store_rows: u64) -> Self {
        Self {
            item_days: parameters.item_ttl_s.div_ceil(DAY_SECS),
            hash_days: parameters.item_hash_ttl_s.div_ceil(DAY_SECS),
            quota: Quota {
                per_day: parameters.quota_items_per_day,
                burst: parameters.quota_items_burst,
            },
            store_rows,
        }
    }
}

/// A reply, and the commit that it waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What to say.
    pub body: ReplyBody,
    /// Not before this is durable.
    pub after: Option<Ticket>,
}

impl Answer {
    pub(crate) const fn now(body: ReplyBody) -> Self {
        Self { body, after: None }
    }

    pub(crate) const fn after(body: ReplyBody, ticket: Ticket) -> Self {
        Self {
            body,
            after: Some(ticket),
        }
    }
}

/// When something is served: timers are monotonic, the store knows days and whole hours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// For leases and quotas.
    pub instant: Instant,
    /// For what is written down.
    pub wall: Wall,
}

impl Moment {
    pub(crate) fn hour(self) -> u32 {
        u32::try_from(self.wall.as_secs() / 3_600).unwrap_or(u32::MAX)
    }
}

/// The store and all that is known of it in memory.
pub struct Desk<S> {
    pub(crate) store: S,
    pub(crate) tickets: Tickets,
    pub(crate) rules: Rules,
    pub(crate) today: Day,
    pub(crate) quota: QuotaTable,
    pub(crate) shelves: HashMap<MailboxKey, (u64, Shelf)>,
    pub(crate) uses: u64,
    /// Items, drops and mailboxes in the store, by their day.
    pub(crate) counts: BTreeMap<Day, u64>,
    /// Which days begin and end.
    pub(crate) calendar: Calendar,
    faults: u64,
    /// Whether the disk had too little left when it was looked at last.
    full: bool,
    /// Rows that did not open.
    damaged: u64,
}

impl<S: Store> Desk<S> {
    /// A desk over a store that was opened, whose rows are all durable.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(store: S, rules: Rules, rng: &mut impl CryptoRng) -> Result<Self, StoreFault> {
        let mut desk = Self {
            today: store.days().first().copied().unwrap_or_default(),
            store,
            tickets: Tickets::default(),
            rules,
            quota: QuotaTable::new(Secret::random(rng)),
            shelves: HashMap::new(),
            uses: 0,
            counts: BTreeMap::new(),
            calendar: Calendar::default(),
            faults: 0,
            full: false,
            damaged: 0,
        };
        desk.counts = desk.load_counts()?;
        Ok(desk)
    }

    /// The store, as it is.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The rules of a new consensus.
    pub const fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Serves a request whose signature was verified.
    pub fn serve(&mut self, at: Moment, request: &Request) -> Answer {
        match request {
            Request::Put { address, item } => self.put(at, address, item),
            Request::Get(get) => self.get(at, get),
            Request::Create(create) => self.create(create),
            Request::Add(add) => self.add(add),
            Request::Revoke(revoke) => self.revoke(revoke),
            // Admission is open: no proof is asked for yet.
            Request::Publish { drop, blob, .. } => self.publish(drop, blob),
            Request::Fetch { drop, token_hash } => self.fetch(at, drop, token_hash),
            // They need no store: the exit answers them.
            Request::Echo | Request::Doc { .. } => Answer::now(ReplyBody::Refused),
        }
    }

    /// The tickets: syncs are begun and ended there.
    pub const fn tickets(&mut self) -> &mut Tickets {
        &mut self.tickets
    }

    /// Items, drops and mailboxes in the store.
    pub fn rows(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Times that the store failed.
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// Rows of the store that did not open when they were needed.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// A row did not open.
    pub(crate) const fn met_damage(&mut self) {
        self.damaged = self.damaged.saturating_add(1);
    }

    fn load_counts(&mut self) -> Result<BTreeMap<Day, u64>, StoreFault> {
        let mut counts = BTreeMap::new();
        let mut unknown = Vec::new();
        for day in self.store.days() {
            let key = Key::of(day, Table::Count, [0; 32]);
            let count = self.store.get(&key).and_then(|row| {
                let parse = |row: Vec<u8>| Reader::new(&row).u64();
                row.map(parse).transpose().map_err(|_| StoreFault::Damaged)
            });
            match count {
                Ok(Some(count)) => drop(counts.insert(day, count)),
                Ok(None) => {}
                Err(StoreFault::Damaged) => unknown.push(day),
                Err(fault) => return Err(fault),
            }
        }
        if let Some(day) = unknown.first() {
            // What is there beyond the days that are known. Of several such days the newest takes
            // it all: the bound of the store holds, and the figure is right when they have ended.
            self.damaged = u64::try_from(unknown.len()).unwrap_or(u64::MAX);
            let known = counts
                .values()
                .fold(0, |sum: u64, n| sum.saturating_add(*n));
            let heads = self.store.count(Table::Head)?.div_ceil(TWINS);
            let all = self.store.count(Table::Item)?.saturating_add(heads);
            let all = all.saturating_add(self.store.count(Table::Drop)?);
            counts.insert(*day, all.saturating_sub(known));
        }
        Ok(counts)
    }

    /// A row that is kept twice, at the indices 0 and 1. If one of them does not open, the other
    /// one serves and takes its place.
    pub(crate) fn twin(
        &mut self,
        day: Day,
        table: Table,
        owner: [u8; 32],
    ) -> Result<Option<Vec<u8>>, StoreFault> {
        let keys = [0, 1].map(|index| Key::indexed(day, table, owner, index));
        let [first, second] = keys;
        match self.store.get(&first) {
            Err(StoreFault::Damaged) => self.met_damage(),
            found => return found,
        }
        let row = self.store.get(&second)?.ok_or(StoreFault::Damaged)?;
        let mut batch = Batch::new();
        batch.put(first, row.clone());
        let mended = self.commit(&batch);
        self.check(mended);
        Ok(Some(row))
    }

    /// Whether the store and its disk have room for one more. A disk that is full is one fault,
    /// however many are refused for it: strangers must not fill the log.
    pub(crate) fn has_room(&mut self) -> bool {
        let full = !self.store.has_space();
        if full && !self.full {
            self.faults = self.faults.saturating_add(1);
        }
        self.full = full;
        !full && self.rows() < self.rules.store_rows
    }

    /// Whether the store takes no more writes until it is opened again.
    pub fn is_ended(&self) -> bool {
        self.store.is_ended()
    }

    /// Passes a result on, and counts the failure that it may be.
    pub(crate) fn check<T>(&mut self, result: Result<T, StoreFault>) -> Option<T> {
        match &result {
            Err(StoreFault::Damaged) => self.met_damage(),
            Err(_) => self.faults = self.faults.saturating_add(1),
            Ok(_) => {}
        }
        result.ok()
    }

    /// The answer to a command that the store failed: the client takes it for no reply, and
    /// repeats.
    pub(crate) fn or_full(&mut self, result: Result<Answer, StoreFault>) -> Answer {
        self.check(result).unwrap_or(Answer::now(ReplyBody::Full))
    }

    /// Writes a batch, and names the commit that makes it durable.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<Ticket, StoreFault> {
        self.store.apply(batch)?;
        Ok(self.tickets.touch())
    }

    /// Writes a batch that adds or removes items, drops or mailboxes, and the counts with it.
    pub(crate) fn commit_counted(
        &mut self,
        batch: &mut Batch,
        changes: &[(Day, i64)],
    ) -> Result<Ticket, StoreFault> {
        let mut counts = self.counts.clone();
        for (day, change) in changes {
            let count = counts.entry(*day).or_default();
            *count = count.saturating_add_signed(*change);
        }
        let mut days: Vec<Day> = changes.iter().map(|(day, _)| *day).collect();
        days.sort_unstable();
        days.dedup();
        for day in days {
            let count = counts.get(&day).copied().unwrap_or(0);
            let key = Key::of(day, Table::Count, [0; 32]);
            batch.put(key, count.to_be_bytes().to_vec());
        }
        let ticket = self.commit(batch)?;
        self.counts = counts;
        Ok(ticket)
    }

    /// Writes as much as an item would take, over what was written the last time: where there is
    /// no live address, the disk has the same work.
    pub(crate) fn ballast(&self, batch: &mut Batch, sizes: [usize; 5]) {
        for (index, size) in (0_u64..).zip(sizes) {
            let key = Key::indexed(self.today, Table::Ballast, [0; 32], index);
            batch.put(key, vec![0; size]);
        }
    }

    /// Drops the shelves that were used longest ago when there are too many.
    pub(crate) fn make_room(&mut self) {
        let entries = || {
            self.shelves
                .values()
                .map(|(_, shelf)| shelf.len())
                .sum::<usize>()
        };
        // Adding up takes time: now and then will do.
        let looked = self.uses.is_multiple_of(limits::ENTRIES_LOOK);
        let too_many = self.shelves.len() >= limits::SHELVES_MAX
            || (looked && entries() >= limits::ENTRIES_MAX);
        if !too_many {
            return;
        }
        let mut uses: Vec<u64> = self.shelves.values().map(|(used, _)| *used).collect();
        let middle = uses.len() / 2;
        let (_, median, _) = uses.select_nth_unstable(middle);
        let median = *median;
        let tickets = &self.tickets;
        self.shelves.retain(|_, (used, shelf)| {
            shelf.settle(tickets);
            *used > median || shelf.is_pending()
        });
    }
}
