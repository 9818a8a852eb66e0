//! Without a history: what came stays at the mailbox until the person has had it.
//!
//! A piece is opened and read from memory, but the session moves on, and the number is
//! acknowledged, only a while after a program of the socket has shown the text, both in one step.
//! Until then the provider is told to keep the item (`held`), and after a crash it comes again.

use std::collections::BTreeMap;

use whist_ratchet::{Item, Plaintext, Session};
use whist_timing::{Rng, exponential};
use whist_types::{Instant, Now};

use crate::client::{After, Client};
use crate::contacts::Contact;
use crate::conversation::{Body, Piece};
use crate::ids::ContactId;
use crate::rows::Table;

/// Items that are held, by contact, number of their word and their own, and from when on a word
/// need not be held any more.
#[derive(Default)]
pub(super) struct Holding {
    items: BTreeMap<(ContactId, u64, u64), Item>,
    due: BTreeMap<(ContactId, u64), Instant>,
}

impl Holding {
    /// The lowest number of a word of which a piece is held.
    pub(super) fn first(&self, id: ContactId) -> Option<u64> {
        let mut of = self.items.range((id, 0, 0)..);
        let (key, _) = of.next()?;
        (key.0 == id).then_some(key.1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a piece of this word is held.
    fn has(&self, id: ContactId, sequence: u64) -> bool {
        let mut of = self
            .items
            .range((id, sequence, 0)..=(id, sequence, u64::MAX));
        of.next().is_some()
    }

    /// When the first word of somebody's need not be held any more. Later words wait for the first,
    /// whenever their own time is over: whoever was woken for them would find nothing to do, and
    /// be woken again at once.
    fn due(&self) -> Option<Instant> {
        let (mut last, mut due) = (None, None);
        for (id, sequence, _) in self.items.keys() {
            if last != Some(*id) {
                last = Some(*id);
                let at = self.due.get(&(*id, *sequence)).copied();
                due = due.into_iter().chain(at).min();
            }
        }
        due
    }

    fn forget(&mut self, id: ContactId) {
        self.items.retain(|key, _| key.0 != id);
        self.due.retain(|key, _| key.0 != id);
    }
}

/// The piece in an item, if it is one; the session stays as it is.
fn look(session: &mut Session, item: &Item, now: Now, rng: &mut Rng) -> Option<(Plaintext, Piece)> {
    // The value that would move the session on is dropped.
    let (plaintext, _) = session.open_held(item, now.wall, rng).ok()?;
    match Body::decode(&plaintext.body) {
        Some(Body::Piece(piece)) => Some((plaintext, piece)),
        _ => None,
    }
}

impl Contact {
    fn look(&mut self, item: &Item, now: Now, rng: &mut Rng) -> Option<(Plaintext, Piece)> {
        let found = look(&mut self.session, item, now, rng);
        self.read_ahead |= found.is_some();
        found.or_else(|| look(self.old.as_mut()?, item, now, rng))
    }
}

impl Client {
    /// Takes a piece without a trace in the vault; false if the item is none, and is to be taken
    /// like any other.
    pub(super) fn hold_item(&mut self, now: Now, id: ContactId, number: u64, item: &Item) -> bool {
        if self.own.keeps_texts() {
            return false;
        }
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return false;
        };
        let Some((plaintext, piece)) = contact.look(item, now, &mut self.rng) else {
            return false;
        };
        if contact.incoming.refuses(&piece) {
            return false;
        }
        self.numbers.keep(number);
        let key = (id, piece.sequence, number);
        self.holding.items.insert(key, item.clone());
        self.said(now, id, &plaintext);
        true
    }

    /// A word need not be held any more from then on.
    pub(super) fn release(&mut self, id: ContactId, sequence: u64, at: Instant) {
        if self.holding.has(id, sequence) {
            self.holding.due.insert((id, sequence), at);
        }
    }

    /// The person had a text: what held it goes later, as receipts do.
    pub(super) fn release_later(&mut self, now: Now, id: ContactId, sequence: u64) {
        let mean = self.parameters().rare_mean();
        let wait = exponential(mean, &mut self.rng);
        self.release(id, sequence, now.instant.after(wait));
    }

    /// The person did not have it after all.
    pub(super) fn hold_on(&mut self, id: ContactId, sequence: u64) {
        self.holding.due.remove(&(id, sequence));
    }

    /// A contact is gone: its items need not come again.
    pub(super) fn stop_holding(&mut self, id: ContactId) {
        let of = self.holding.items.range((id, 0, 0)..);
        let numbers: Vec<u64> = of
            .take_while(|(key, _)| key.0 == id)
            .map(|(key, _)| key.2)
            .collect();
        self.holding.forget(id);
        numbers
            .into_iter()
            .for_each(|number| self.done_with(number));
    }

    fn done_with(&mut self, number: u64) {
        self.numbers.let_go(number);
        let row = self.numbers.with(number);
        self.save(Table::Numbers, Vec::new(), &row);
        self.after.push(After::Finished(number));
    }

    /// Moves sessions on over what was shown long enough ago, in the order of the words: what the
    /// vault knows as the next word is then never above one that is still held.
    pub(super) fn finish_held(&mut self, now: Now) {
        if self.holding.items.is_empty() {
            return;
        }
        let contacts: Vec<ContactId> = self.people.contacts.keys().copied().collect();
        for id in contacts {
            while let Some(sequence) = self.holding.first(id) {
                let due = self.holding.due.get(&(id, sequence));
                if due.is_none_or(|due| *due > now.instant) {
                    break;
                }
                self.finish_word(now, id, sequence);
                self.tend_secret(now, id, false);
            }
        }
    }

    fn finish_word(&mut self, now: Now, id: ContactId, sequence: u64) {
        let of = self
            .holding
            .items
            .range((id, sequence, 0)..=(id, sequence, u64::MAX));
        let keys: Vec<_> = of.map(|(key, _)| *key).collect();
        for key in keys {
            let Some(item) = self.holding.items.remove(&key) else {
                continue;
            };
            if let Some(contact) = self.people.contacts.get_mut(&id) {
                let opened = contact.session.open(&item, now.wall, &mut self.rng);
                if let (Err(_), Some(old)) = (opened, &mut contact.old) {
                    // It was opened before, so one of the two opens it again.
                    let _ = old.open(&item, now.wall, &mut self.rng);
                }
            }
            self.done_with(key.2);
        }
        self.holding.due.remove(&(id, sequence));
        self.save_contact(id);
    }

    pub(super) fn holding_due(&self) -> Option<Instant> {
        self.holding.due()
    }
}
