//! Items that a poll brought. Nothing is acknowledged before the vault holds what became of it.

use whist_packet::request::ITEM_BYTES;
use whist_ratchet::{Error, IdentitySecret, Item, Plaintext, PrekeySecrets, Session};
use whist_types::{MailboxAddress, NodeId, Now};

use crate::api::Event;
use crate::client::{After, Client};
use crate::contacts::{Contact, ContactRow, InvitationRow};
use crate::conversation::{Body, Loss, Piece, Taken, Whole};
use crate::ids::{ContactId, InvitationId};
use crate::indicators::Indicator;
use crate::limits::EARLY_ITEMS_MAX;
use crate::mailbox::{Use, is_decoy};
use crate::numbers::Arrival;
use crate::rows::Table;
use crate::texts::Safety;

impl Client {
    pub(super) fn on_item(
        &mut self,
        now: Now,
        number: u64,
        address: MailboxAddress,
        item: Box<[u8; ITEM_BYTES]>,
    ) {
        if self.numbers.look(number) != Arrival::Fresh {
            return;
        }
        if is_decoy(self.account.decoy_key(), &item) {
            self.stats.decoys_received = self.stats.decoys_received.saturating_add(1);
        } else {
            let used_by = self.mailbox.as_ref().and_then(|m| m.use_of(&address));
            let item = Item::from_bytes(item);
            match used_by {
                Some(Use::Contact(id)) if self.hold_item(now, id, number, &item) => return,
                Some(Use::Contact(id)) => self.item_of_contact(now, id, number, &item),
                Some(Use::Everybody) => self.item_of_asker(now, &item),
                Some(Use::Invitation(id)) => self.item_of_stranger(now, id, number, item),
                Some(Use::Spare) | None => self.unreadable(),
            }
        }
        let row = self.numbers.with(number);
        self.save(Table::Numbers, Vec::new(), &row);
        self.numbers.hold(number);
        self.after.push(After::Finished(number));
    }

    pub(super) const fn unreadable(&mut self) {
        self.stats.unreadable = self.stats.unreadable.saturating_add(1);
    }

    fn item_of_contact(&mut self, now: Now, id: ContactId, number: u64, item: &Item) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let mut opened = contact.session.open(item, now.wall, &mut self.rng);
        if let (Err(Error::NotForUs), Some(old)) = (&opened, &mut contact.old) {
            opened = old.open(item, now.wall, &mut self.rng);
        }
        match opened {
            Ok(plaintext) => self.said(now, id, &plaintext),
            Err(Error::NotForUs) if self.answers_renewal(now, id, item) => {}
            Err(Error::NotForUs) if self.awaits_session(id) => self.keep_for(id, number, item),
            Err(Error::NotForUs) => {
                self.unreadable();
                self.look_for_second_use(now, id, item);
            }
            Err(_) => self.unreadable(),
        }
    }

    /// Whether a contact was asked for a new session: what no session opens may be of that one, and
    /// have overtaken the item that begins it.
    fn awaits_session(&self, id: ContactId) -> bool {
        let contact = self.people.contacts.get(&id);
        contact.is_some_and(|contact| contact.row.renewal.is_some())
    }

    fn keep_for(&mut self, id: ContactId, number: u64, item: &Item) {
        if let Some(own) = self.people.contacts.get(&id).map(|c| c.row.own_address) {
            self.keep_early(own, number, item.clone());
        }
    }

    /// Something that a contact's program said.
    pub(super) fn said(&mut self, now: Now, id: ContactId, plaintext: &Plaintext) {
        self.heard_in_item(now, plaintext.consensus);
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            // Who says anything has accepted, and is whoever gave the invitation.
            contact.row.asked = false;
            contact.row.silent_since_ms = None;
        }
        match Body::decode(&plaintext.body) {
            Some(Body::Piece(piece)) => {
                let (sequence, loss) = (piece.sequence, piece.loss);
                // Before, so that it is not too far ahead of what is given up; and after, since
                // what is given up may follow on it.
                self.lift(now, id, sequence, loss);
                self.piece(now, id, piece);
                self.lift(now, id, sequence, loss);
            }
            Some(Body::Notice { sequence, loss }) => self.lift(now, id, sequence, loss),
            Some(Body::Receipt(receipt)) => self.on_receipt(id, &receipt),
            // A greeting belongs into a first item; what is unknown is of a later version.
            Some(Body::Greeting { .. } | Body::Request { .. }) | None => {}
        }
        self.save_contact(id);
        self.tend_secret(now, id, false);
    }

    /// One that may be asked for anything: never the entry, which would see both ends.
    pub(super) fn random_provider(&mut self, now: Now) -> Option<NodeId> {
        let consensus = self.usable(now)?;
        let avoid = self.families(&consensus, [self.account.entry]);
        crate::account::pick_provider(&consensus, &mut self.rng, &avoid, avoid.len()).ok()
    }

    fn piece(&mut self, now: Now, id: ContactId, piece: Piece) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let key = fragment_key(id, piece.sequence, piece.index);
        let stored = Body::Piece(piece.clone()).encode();
        match contact.incoming.take(piece) {
            Taken::Kept if self.own.keeps_texts() => {
                self.batch.put(Table::Fragment, key, stored);
            }
            Taken::Kept => {}
            Taken::Complete(words) => self.whole(now, id, words),
            Taken::Duplicate | Taken::Refused => self.unreadable(),
        }
    }

    /// The contact gave up texts before this one: later ones wait for them no longer.
    fn lift(&mut self, now: Now, id: ContactId, sequence: u64, loss: Loss) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let lifted = contact.incoming.lift(sequence, loss);
        for (sequence, count) in lifted.gone {
            self.forget_pieces(id, sequence, count);
            self.release(id, sequence, now.instant);
        }
        self.missed(now, id, &lifted.missing);
        self.whole(now, id, lifted.whole);
    }

    fn whole(&mut self, now: Now, id: ContactId, words: Vec<Whole>) {
        for whole in words {
            self.forget_pieces(id, whole.sequence, whole.count);
            self.heard(now, id, &whole);
        }
    }

    pub(super) fn forget_pieces(&mut self, id: ContactId, sequence: u64, count: u16) {
        for index in 0..count {
            let key = fragment_key(id, sequence, index);
            self.batch.delete(Table::Fragment, key);
        }
    }

    /// An item at the address of an invitation: the first of a new contact, or one that overtook
    /// the first.
    fn item_of_stranger(&mut self, now: Now, id: InvitationId, number: u64, item: Item) {
        let Some(invitation) = self.people.invitations.get(&id).cloned() else {
            return self.unreadable();
        };
        let Ok(prekeys) = PrekeySecrets::from_bytes(&invitation.prekeys) else {
            return self.unreadable();
        };
        let identity = self.identity();
        let key = invitation.key();
        match Session::accept(&identity, &prekeys, &key, &item, &mut self.rng) {
            Ok((session, plaintext, _)) => {
                self.new_contact(now, id, &invitation, session, &plaintext, &item);
            }
            Err(Error::NotForUs) => self.keep_early(invitation.address, number, item),
            Err(_) => self.unreadable(),
        }
    }

    fn keep_early(&mut self, address: MailboxAddress, number: u64, item: Item) {
        let of_address = self.early.keys().filter(|(a, _)| *a == address).count();
        if of_address >= EARLY_ITEMS_MAX {
            return self.unreadable();
        }
        let key = early_key(&address, number);
        self.batch.put(Table::Early, key, item.as_bytes().to_vec());
        self.early.insert((address, number), item);
    }

    fn new_contact(
        &mut self,
        now: Now,
        id: InvitationId,
        invitation: &InvitationRow,
        session: Session,
        plaintext: &Plaintext,
        item: &Item,
    ) {
        let Some(Body::Greeting { provider, address }) = Body::decode(&plaintext.body) else {
            return self.unreadable();
        };
        let contact = self.people.next_contact();
        // An invitation that was never given out can only have been opened by who broke its drop.
        let name = invitation
            .given
            .clone()
            .unwrap_or_else(|| format!("stranger {contact}"));
        let row = ContactRow {
            not_safe: invitation.given.is_none(),
            came_by: Some((invitation.key, item.hash())),
            ..ContactRow::new(name.clone(), (provider, address), invitation.address)
        };
        self.people
            .contacts
            .insert(contact, Contact::new(row, session));
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.hand_over(&invitation.address, contact);
        }
        // With the prekeys goes the power to open this first item again.
        self.people.invitations.remove(&id);
        self.batch.delete(Table::Invitation, id.key());
        self.save_mailbox();
        self.save_contact(contact);
        self.show(Event::Added { contact: name });
        self.tell_policy(now, contact);
        self.open_early(now, contact, invitation.address);
    }

    /// Forgets items that came before the first one of this address.
    pub(super) fn forget_early(&mut self, address: MailboxAddress) {
        let last = (address, u64::MAX);
        let keys = self.early.range((address, 0)..=last);
        let keys: Vec<_> = keys.map(|(key, _)| *key).collect();
        for key in keys {
            self.early.remove(&key);
            self.batch.delete(Table::Early, early_key(&key.0, key.1));
        }
    }

    pub(super) fn open_early(&mut self, now: Now, contact: ContactId, address: MailboxAddress) {
        let last = (address, u64::MAX);
        let keys: Vec<_> = self
            .early
            .range((address, 0)..=last)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(item) = self.early.remove(&key) {
                self.batch.delete(Table::Early, early_key(&key.0, key.1));
                self.item_of_contact(now, contact, key.1, &item);
            }
        }
    }

    /// Whether an item that the contact's session does not open is a first item under the same
    /// invitation: then two people have used it, and neither can be told from the other.
    pub(super) fn look_for_second_use(&mut self, now: Now, id: ContactId, item: &Item) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let Some((key, first)) = contact.row.came_by else {
            return;
        };
        // Of a contact that was compared it is known which of the two it is, and whoever holds the
        // old invitation cannot make it doubtful again.
        let compared = contact.safety() == Safety::Verified;
        if item.hash() == first || contact.row.not_safe || compared {
            return;
        }
        // The true prekeys are gone. With any others, what is not under this invitation's seal is
        // still told from what is: only the first is not for us.
        let key = whist_ratchet::InvitationKey::from_bytes(key);
        let somebody = IdentitySecret::generate(&mut self.rng);
        let (prekeys, _) = PrekeySecrets::generate(
            &somebody,
            contact.row.provider,
            contact.row.address,
            &mut self.rng,
        );
        let opened = Session::accept(&somebody, &prekeys, &key, item, &mut self.rng);
        if !matches!(opened, Err(Error::NotForUs)) {
            contact.row.not_safe = true;
            let name = contact.row.name.clone();
            self.save_contact(id);
            self.show(Event::Unsafe { contact: name });
            self.raise(now, Indicator::InvitationUsedTwice, Some(id));
        }
    }
}

fn fragment_key(id: ContactId, sequence: u64, index: u16) -> Vec<u8> {
    let mut key = id.key();
    key.extend_from_slice(&sequence.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key
}

fn early_key(address: &MailboxAddress, number: u64) -> Vec<u8> {
    let mut key = address.as_bytes().to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}
