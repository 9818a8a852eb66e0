//! Mailboxes: `PUT`, `GET`, `CREATE`, `ADD`, `REVOKE` (protocol.md section 3).
//!
//! Rows, all big-endian; which day a row belongs to is part of its name:
//!
//! | table | value |
//! |---|---|
//! | head | next number 8; twice |
//! | book | addresses, 32 each; twice |
//! | address | mailbox key 32 |
//! | index | address 32, item hash 32 |
//! | item | address 32, item 1,536 |
//! | tomb | empty |
//! | count | how many items, drops and mailboxes belong to the day 8 |
//!
//! Head, book and addresses of a mailbox belong to the day of its owner's last command, and so
//! die with it, 14 days after. Items belong to the day of their arrival.
//!
//! What a row that does not open costs (each is counted, `whist_provider_store_damaged_total`):
//!
//! | row | what is answered |
//! |---|---|
//! | head, book | as ever: the twin serves and takes its place |
//! | both twins | `full` to every command on the mailbox; its items stay, nothing is deleted |
//! | index | as ever: it is made again from the item |
//! | item | the next item: this one is lost, its number is passed over |
//! | address | `full` to a `PUT` to it, until its owner's next command of a new day |
//! | tomb | as ever: that it is there is all that it says |
//! | drop | `full` to `PUBLISH` and `FETCH` of it |
//! | count | nothing: rows are counted at the start |
//!
//! A disk that fails to read is another matter: the answer is `full`, and nothing is deleted.

use whist_packet::request::{Add, Create, Get, ITEM_BYTES, ReplyBody, Revoke};
use whist_types::{ItemHash, MailboxAddress, MailboxKey, Reader, Salt16, Writer};

use crate::desk::{Answer, Desk, Moment};
use crate::limits;
use crate::shelf::{Entry, Shelf};
use crate::store::{Batch, Day, Key, Owner, Store, StoreFault, Table};

const HEAD_BYTES: usize = 8;
const COUNT_BYTES: usize = 8;
const INDEX_BYTES: usize = 64;
const ITEM_ROW_BYTES: usize = 32 + ITEM_BYTES;

impl<S: Store> Desk<S> {
    /// `PUT`. Address live or not: the same quota, the same work for the disk, the same commit,
    /// the same answer.
    pub fn put(&mut self, at: Moment, address: &MailboxAddress, item: &[u8; ITEM_BYTES]) -> Answer {
        let allowed = self.quota.take(at.instant, address, self.rules.quota);
        if !allowed || !self.has_room() {
            return Answer::now(ReplyBody::Full);
        }
        let stored = self.try_put(address, item);
        self.or_full(stored)
    }

    fn try_put(
        &mut self,
        address: &MailboxAddress,
        item: &[u8; ITEM_BYTES],
    ) -> Result<Answer, StoreFault> {
        let mut batch = Batch::new();
        let hash = item_hash(address, item);
        let live = self.owner_of(address, &hash)?;
        let Some(mailbox) = live else {
            let heads = [HEAD_BYTES, HEAD_BYTES];
            let sizes = [INDEX_BYTES, ITEM_ROW_BYTES, heads[0], heads[1], COUNT_BYTES];
            self.ballast(&mut batch, sizes);
            let ticket = self.commit(&batch)?;
            return Ok(Answer::after(ReplyBody::Stored, ticket));
        };
        let today = self.today;
        let Some(shelf) = self.shelf(&mailbox)? else {
            return Err(StoreFault::Damaged);
        };
        let (number, day) = (shelf.next(), shelf.day);
        let row = |table| Key::indexed(today, table, mailbox.to_bytes(), number);
        batch.put(row(Table::Index), index_row(address, &hash));
        batch.put(row(Table::Item), [&address.as_bytes()[..], item].concat());
        put_head(&mut batch, day, &mailbox, number.saturating_add(1));
        let ticket = self.commit_counted(&mut batch, &[(today, 1)])?;
        if let Some((_, shelf)) = self.shelves.get_mut(&mailbox) {
            shelf.push(Entry::new(*address, hash, today), ticket);
        }
        Ok(Answer::after(ReplyBody::Stored, ticket))
    }

    /// The mailbox that an item is to be stored in: none if the address is not live, or the item
    /// is there or was deleted in the last days.
    fn owner_of(
        &mut self,
        address: &MailboxAddress,
        hash: &ItemHash,
    ) -> Result<Option<MailboxKey>, StoreFault> {
        let found = self.store.find(Table::Address, address.as_bytes())?;
        let tomb = match self.store.find(Table::Tomb, hash.as_bytes()) {
            Err(StoreFault::Damaged) => {
                self.met_damage();
                true
            }
            found => found?.is_some(),
        };
        let Some((_, bytes)) = found else {
            return Ok(None);
        };
        let mailbox = Reader::new(&bytes).array().map(MailboxKey::from_bytes);
        let mailbox = mailbox.map_err(|_| StoreFault::Damaged)?;
        let live = self
            .shelf(&mailbox)?
            .is_some_and(|shelf| shelf.has_address(address) && !shelf.has_hash(hash));
        Ok(Some(mailbox).filter(|_| live && !tomb))
    }

    /// `GET`, its signature verified.
    pub fn get(&mut self, at: Moment, get: &Get) -> Answer {
        let answer = self.try_get(at, get);
        self.or_full(answer)
    }

    fn try_get(&mut self, at: Moment, get: &Get) -> Result<Answer, StoreFault> {
        if self.shelf(&get.mailbox)?.is_none() {
            return Ok(Answer::now(ReplyBody::Refused));
        }
        self.refresh(&get.mailbox)?;
        let Some((_, shelf)) = self.shelves.get(&get.mailbox) else {
            return Err(StoreFault::Damaged);
        };
        let released = shelf.released(get);
        // On a full disk a delete may fail; the poll is served all the same.
        let deleted = self.delete_items(&get.mailbox, &released, true);
        self.check(deleted);
        for _ in 0..limits::DAMAGED_PER_GET {
            let Some((_, shelf)) = self.shelves.get_mut(&get.mailbox) else {
                break;
            };
            let Some(number) = shelf.choose(at.instant, get) else {
                break;
            };
            let Some(entry) = shelf.lease(at.instant, get, number).cloned() else {
                break;
            };
            let (waiting, oldest) = (shelf.waiting(), shelf.oldest());
            let key = Key::indexed(entry.day, Table::Item, get.mailbox.to_bytes(), number);
            let item = match self.store.get(&key) {
                Ok(Some(row)) => item_of(&row),
                Ok(None) | Err(StoreFault::Damaged) => None,
                // It may be read another time: nothing is deleted for it.
                Err(fault) => return Err(fault),
            };
            if let Some((_, item)) = item {
                return Ok(Answer::now(ReplyBody::Item {
                    number,
                    address: entry.address,
                    waiting,
                    oldest,
                    item,
                }));
            }
            self.met_damage();
            // A row that does not open is lost: it must not stand in the way of the others.
            let deleted = self.delete_items(&get.mailbox, &[(number, entry)], false);
            self.check(deleted);
        }
        let shelf = self.shelves.get(&get.mailbox).map(|(_, shelf)| shelf);
        Ok(Answer::now(ReplyBody::None {
            waiting: shelf.map_or(0, Shelf::waiting),
            oldest: shelf.map_or(0, Shelf::oldest),
        }))
    }

    /// `CREATE`, its signature verified. Idempotent: what is there stays.
    pub fn create(&mut self, create: &Create) -> Answer {
        let answer = self.try_create(create);
        self.or_full(answer)
    }

    fn try_create(&mut self, create: &Create) -> Result<Answer, StoreFault> {
        let created = ReplyBody::Created {
            per_day: self.rules.quota.per_day,
            burst: self.rules.quota.burst,
        };
        if self.shelf(&create.mailbox)?.is_some() {
            let added = self.add_addresses(&create.mailbox, &create.salts)?;
            return Ok(match added.body {
                ReplyBody::Ok => Answer {
                    body: created,
                    ..added
                },
                _ => added,
            });
        }
        if !self.has_room() {
            return Ok(Answer::now(ReplyBody::Full));
        }
        let mut shelf = Shelf::new(self.today, 1);
        for salt in &create.salts {
            shelf.add_address(create.mailbox.address(salt));
        }
        let mut batch = Batch::new();
        write_mailbox(&mut batch, &create.mailbox, &shelf, self.today);
        let ticket = self.commit_counted(&mut batch, &[(self.today, 1)])?;
        self.make_room();
        self.uses = self.uses.saturating_add(1);
        self.shelves.insert(create.mailbox, (self.uses, shelf));
        Ok(Answer::after(created, ticket))
    }

    /// `ADD`, its signature verified. Idempotent.
    pub fn add(&mut self, add: &Add) -> Answer {
        let answer = match self.shelf(&add.mailbox) {
            Ok(Some(_)) => self.add_addresses(&add.mailbox, &add.salts),
            Ok(None) => Ok(Answer::now(ReplyBody::Refused)),
            Err(fault) => Err(fault),
        };
        self.or_full(answer)
    }

    fn add_addresses(
        &mut self,
        mailbox: &MailboxKey,
        salts: &[Salt16],
    ) -> Result<Answer, StoreFault> {
        self.refresh(mailbox)?;
        let Some((_, shelf)) = self.shelves.get(mailbox) else {
            return Err(StoreFault::Damaged);
        };
        let addresses = salts.iter().map(|salt| mailbox.address(salt));
        let mut new: Vec<_> = addresses.filter(|a| !shelf.has_address(a)).collect();
        new.sort_unstable();
        new.dedup();
        if shelf.addresses_len().saturating_add(new.len()) > limits::ADDRESSES_MAX {
            return Ok(Answer::now(ReplyBody::Refused));
        }
        let mut batch = Batch::new();
        for address in &new {
            put_address(&mut batch, shelf.day, mailbox, address);
        }
        put_book(
            &mut batch,
            shelf.day,
            mailbox,
            shelf.addresses().chain(&new),
        );
        let ticket = self.commit(&batch)?;
        if let Some((_, shelf)) = self.shelves.get_mut(mailbox) {
            new.into_iter()
                .for_each(|address| shelf.add_address(address));
        }
        Ok(Answer::after(ReplyBody::Ok, ticket))
    }

    /// `REVOKE`, its signature verified: the addresses answer like unknown ones from now on, and
    /// what waits from them is deleted. Idempotent.
    pub fn revoke(&mut self, revoke: &Revoke) -> Answer {
        let answer = self.try_revoke(revoke);
        self.or_full(answer)
    }

    fn try_revoke(&mut self, revoke: &Revoke) -> Result<Answer, StoreFault> {
        if self.shelf(&revoke.mailbox)?.is_none() {
            return Ok(Answer::now(ReplyBody::Refused));
        }
        self.refresh(&revoke.mailbox)?;
        let Some((_, shelf)) = self.shelves.get(&revoke.mailbox) else {
            return Err(StoreFault::Damaged);
        };
        let gone = &revoke.addresses;
        let waiting = gone.iter().flat_map(|address| shelf.waiting_from(address));
        let waiting: Vec<_> = waiting.collect();
        // The items first: what is left of a revocation that fails half-way, its repetition finds.
        self.delete_items(&revoke.mailbox, &waiting, false)?;
        let Some((_, shelf)) = self.shelves.get(&revoke.mailbox) else {
            return Err(StoreFault::Damaged);
        };
        let mut batch = Batch::new();
        for address in gone.iter().filter(|a| shelf.has_address(a)) {
            batch.delete(Key::of(shelf.day, Table::Address, address.to_bytes()));
        }
        let kept = shelf.addresses().filter(|a| !gone.contains(a));
        put_book(&mut batch, shelf.day, &revoke.mailbox, kept);
        let ticket = self.commit(&batch)?;
        if let Some((_, shelf)) = self.shelves.get_mut(&revoke.mailbox) {
            gone.iter()
                .for_each(|address| shelf.remove_address(address));
        }
        Ok(Answer::after(ReplyBody::Ok, ticket))
    }

    /// Deletes items, and keeps their hashes if a repeated `PUT` could bring them back.
    fn delete_items(
        &mut self,
        mailbox: &MailboxKey,
        items: &[(u64, Entry)],
        bury: bool,
    ) -> Result<(), StoreFault> {
        for chunk in items.chunks(limits::DELETES_PER_BATCH) {
            let mut batch = Batch::new();
            let counts: Vec<_> = chunk.iter().map(|(_, entry)| (entry.day, -1)).collect();
            for (number, entry) in chunk {
                let row = |table| Key::indexed(entry.day, table, mailbox.to_bytes(), *number);
                batch.delete(row(Table::Index)).delete(row(Table::Item));
                if bury {
                    let tomb = Key::of(self.today, Table::Tomb, entry.hash.to_bytes());
                    batch.put(tomb, Vec::new());
                }
            }
            self.commit_counted(&mut batch, &counts)?;
            if let Some((_, shelf)) = self.shelves.get_mut(mailbox) {
                for (number, _) in chunk {
                    shelf.remove(*number);
                }
            }
        }
        Ok(())
    }

    /// The owner used the mailbox: its rows move to today, once a day. If the disk is full they
    /// stay where they are, and move another time.
    fn refresh(&mut self, mailbox: &MailboxKey) -> Result<(), StoreFault> {
        let today = self.today;
        let Some((_, shelf)) = self.shelves.get(mailbox) else {
            return Err(StoreFault::Damaged);
        };
        if shelf.day >= today {
            return Ok(());
        }
        let mut batch = Batch::new();
        for address in shelf.addresses() {
            batch.delete(Key::of(shelf.day, Table::Address, address.to_bytes()));
        }
        for table in [Table::Head, Table::Book] {
            for index in [0, 1] {
                let key = Key::indexed(shelf.day, table, mailbox.to_bytes(), index);
                batch.delete(key);
            }
        }
        write_mailbox(&mut batch, mailbox, shelf, today);
        let counts = [(shelf.day, -1), (today, 1)];
        let moved = self.commit_counted(&mut batch, &counts);
        if self.check(moved).is_some()
            && let Some((_, shelf)) = self.shelves.get_mut(mailbox)
        {
            shelf.day = today;
        }
        Ok(())
    }

    /// The shelf of a mailbox, loaded if need be; none if there is no such mailbox.
    fn shelf(&mut self, mailbox: &MailboxKey) -> Result<Option<&mut Shelf>, StoreFault> {
        if !self.shelves.contains_key(mailbox) {
            let Some(shelf) = self.load(mailbox)? else {
                return Ok(None);
            };
            self.make_room();
            self.shelves.insert(*mailbox, (0, shelf));
        }
        self.uses = self.uses.saturating_add(1);
        let Some((used, shelf)) = self.shelves.get_mut(mailbox) else {
            return Ok(None);
        };
        *used = self.uses;
        shelf.settle(&self.tickets);
        Ok(Some(shelf))
    }

    fn load(&mut self, mailbox: &MailboxKey) -> Result<Option<Shelf>, StoreFault> {
        let Some((day, head)) = self.find_head(mailbox)? else {
            return Ok(None);
        };
        let next = Reader::new(&head).u64().map_err(|_| StoreFault::Damaged)?;
        let mut shelf = Shelf::new(day, next);
        let book = self.twin(day, Table::Book, mailbox.to_bytes())?;
        let book = book.ok_or(StoreFault::Damaged)?;
        let (addresses, _) = book.as_chunks::<32>();
        for address in addresses {
            shelf.add_address(MailboxAddress::from_bytes(*address));
        }
        let owner = Owner::new(mailbox.to_bytes());
        let expired = self.today.minus(self.rules.item_days);
        for day in self.store.days().into_iter().filter(|day| *day >= expired) {
            for (number, row) in self.store.scan(day, Table::Index, owner)? {
                let entry = match row.and_then(|row| entry(&row, day)) {
                    Some(entry) => Some(entry),
                    None => self.mend_index(mailbox, day, number)?,
                };
                if let Some(entry) = entry {
                    shelf.load(number, entry);
                }
            }
        }
        Ok(Some(shelf))
    }

    fn find_head(&mut self, mailbox: &MailboxKey) -> Result<Option<(Day, Vec<u8>)>, StoreFault> {
        let oldest = self.oldest_served();
        for day in self.store.days().into_iter().filter(|day| *day >= oldest) {
            if let Some(head) = self.twin(day, Table::Head, mailbox.to_bytes())? {
                return Ok(Some((day, head)));
            }
        }
        Ok(None)
    }

    /// An index row did not open: it is made again from its item. With that gone too, there is
    /// nothing left to hand out, and what is left of it is deleted.
    fn mend_index(
        &mut self,
        mailbox: &MailboxKey,
        day: Day,
        number: u64,
    ) -> Result<Option<Entry>, StoreFault> {
        self.met_damage();
        let row = |table| Key::indexed(day, table, mailbox.to_bytes(), number);
        let found = match self.store.get(&row(Table::Item)) {
            Err(StoreFault::Damaged) => {
                self.met_damage();
                None
            }
            found => found?.and_then(|row| item_of(&row)),
        };
        let mut batch = Batch::new();
        let Some((address, item)) = found else {
            batch.delete(row(Table::Index)).delete(row(Table::Item));
            let deleted = self.commit_counted(&mut batch, &[(day, -1)]);
            self.check(deleted);
            return Ok(None);
        };
        let hash = item_hash(&address, &item);
        batch.put(row(Table::Index), index_row(&address, &hash));
        let mended = self.commit(&batch);
        self.check(mended);
        Ok(Some(Entry::new(address, hash, day)))
    }
}

fn entry(row: &[u8], day: Day) -> Option<Entry> {
    let mut r = Reader::new(row);
    let address = MailboxAddress::from_bytes(r.array().ok()?);
    let hash = ItemHash::from_bytes(r.array().ok()?);
    Some(Entry::new(address, hash, day))
}

fn index_row(address: &MailboxAddress, hash: &ItemHash) -> Vec<u8> {
    let mut row = Writer::with_capacity(INDEX_BYTES);
    row.put(address.as_bytes()).put(hash.as_bytes());
    row.into_bytes()
}

/// Address and item of an item's row.
fn item_of(row: &[u8]) -> Option<(MailboxAddress, Box<[u8; ITEM_BYTES]>)> {
    let mut r = Reader::new(row);
    let address = MailboxAddress::from_bytes(r.array().ok()?);
    Some((address, Box::new(r.array().ok()?)))
}

fn put_head(batch: &mut Batch, day: Day, mailbox: &MailboxKey, next: u64) {
    put_twice(batch, day, Table::Head, mailbox, &next.to_be_bytes());
}

/// See [`Desk::twin`].
fn put_twice(batch: &mut Batch, day: Day, table: Table, mailbox: &MailboxKey, row: &[u8]) {
    for index in [0, 1] {
        let key = Key::indexed(day, table, mailbox.to_bytes(), index);
        batch.put(key, row.to_vec());
    }
}

/// The hash of an item at an address. The address is part of it: one item that goes to two
/// addresses is two items.
fn item_hash(address: &MailboxAddress, item: &[u8; ITEM_BYTES]) -> ItemHash {
    let mut hasher = blake3::Hasher::new_derive_key("whist 2026 item hash v1");
    hasher.update(address.as_bytes()).update(item);
    ItemHash::from_bytes(*hasher.finalize().as_bytes())
}

fn put_address(batch: &mut Batch, day: Day, mailbox: &MailboxKey, address: &MailboxAddress) {
    let key = Key::of(day, Table::Address, address.to_bytes());
    batch.put(key, mailbox.to_bytes().to_vec());
}

fn put_book<'a>(
    batch: &mut Batch,
    day: Day,
    mailbox: &MailboxKey,
    addresses: impl Iterator<Item = &'a MailboxAddress>,
) {
    let mut book = Writer::new();
    for address in addresses {
        book.put(address.as_bytes());
    }
    put_twice(batch, day, Table::Book, mailbox, &book.into_bytes());
}

/// All rows of a mailbox but its items, under `day`.
fn write_mailbox(batch: &mut Batch, mailbox: &MailboxKey, shelf: &Shelf, day: Day) {
    put_head(batch, day, mailbox, shelf.next());
    put_book(batch, day, mailbox, shelf.addresses());
    for address in shelf.addresses() {
        put_address(batch, day, mailbox, address);
    }
}
