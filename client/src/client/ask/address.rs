//! The own address, and those who wrote to it. Whoever has the address can ask; until the person
//! has accepted, nothing is sent back, and whoever asks cannot tell a refusal from silence.

use rand_core::Rng as _;
use whist_ratchet::{Bundle, InvitationKey, Item, PrekeySecrets, Session, UnverifiedBundle};
use whist_types::Now;

use super::contact::done;
use super::{OTHER, TIMED_OUT, USAGE};
use crate::api::Event;
use crate::askers::{Address, AskerRow};
use crate::call::{Answer, AskerInfo};
use crate::client::Client;
use crate::contacts::{Contact, ContactRow, PendingRow};
use crate::conversation::Body;
use crate::ids::AskerId;
use crate::limits::{ASKERS_MAX, NOTE_BYTES_MAX, TURNED_DOWN_MAX};
use crate::mailbox::{Mailbox, Use};
use crate::rows::Table;
use crate::rpc::RpcError;

impl Client {
    fn save_address(&mut self) {
        let row = borsh::to_vec(&self.askers.own).unwrap_or_default();
        self.batch.put(Table::Address, Vec::new(), row);
    }

    fn save_asker(&mut self, id: AskerId) {
        if let Some(mut row) = self.askers.rows.get(&id).cloned() {
            // Without a history no text is written down.
            if !self.own.keeps_texts() {
                row.note.clear();
            }
            self.save(Table::Asker, id.key(), &row);
        }
    }

    /// Writes those who asked down again: how long texts are kept has changed.
    pub(in crate::client) fn save_askers(&mut self) {
        let all: Vec<AskerId> = self.askers.rows.keys().copied().collect();
        all.into_iter().for_each(|id| self.save_asker(id));
    }

    pub(super) fn ask_address_create(&mut self) -> Result<Option<Answer>, RpcError> {
        if self.askers.own.live.is_some() {
            let why = "there is an address already: `whist address show`";
            return Err(RpcError::new(USAGE, why));
        }
        self.make_address()
    }

    fn make_address(&mut self) -> Result<Option<Answer>, RpcError> {
        let identity = self.identity();
        let mailbox = self.mailbox.as_mut();
        let allotted = mailbox.and_then(|mailbox| {
            let address = mailbox.allot(Use::Everybody)?;
            Some((mailbox.provider(), address))
        });
        let Some((home, address)) = allotted else {
            let why = "the mailbox has no free address yet; try again in a minute";
            return Err(RpcError::new(TIMED_OUT, why));
        };
        let (prekeys, bundle) = PrekeySecrets::generate(&identity, home, address, &mut self.rng);
        self.askers.own.live = Some(Address {
            key: *bundle.invitation_key().expose(),
            prekeys: prekeys.to_bytes().to_vec(),
            bundle: bundle.to_bytes().to_vec(),
            address,
        });
        self.save_mailbox();
        self.save_address();
        self.ask_address_show()
    }

    pub(super) fn ask_address_show(&self) -> Result<Option<Answer>, RpcError> {
        let live = self.askers.own.live.as_ref();
        let live = live.ok_or_else(|| RpcError::new(USAGE, "there is no address"))?;
        let bytes = live.bundle.as_slice().try_into().ok();
        let read = bytes.and_then(|bytes| UnverifiedBundle::from_bytes(bytes).ok());
        let bundle = read.and_then(|bundle| bundle.verify().ok());
        let bundle = bundle.ok_or_else(|| RpcError::new(OTHER, "the address cannot be read"))?;
        let address = bundle.to_text();
        Ok(Some(Answer::Address { address }))
    }

    /// Another one; who has the old one reaches nobody any more.
    pub(super) fn ask_address_rotate(&mut self) -> Result<Option<Answer>, RpcError> {
        if !self.mailbox.as_ref().is_some_and(Mailbox::has_free) {
            let why = "the mailbox has no free address yet; try again in a minute";
            return Err(RpcError::new(TIMED_OUT, why));
        }
        self.ask_address_delete()?;
        self.make_address()
    }

    pub(super) fn ask_address_delete(&mut self) -> Result<Option<Answer>, RpcError> {
        if !self.drop_address() {
            return Err(RpcError::new(USAGE, "there is no address"));
        }
        done()
    }

    /// Forgets the own address; the provider is told later, like other rare commands.
    pub(in crate::client) fn drop_address(&mut self) -> bool {
        let Some(live) = self.askers.own.live.take() else {
            return false;
        };
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.forget(&live.address);
        }
        self.save_mailbox();
        self.save_address();
        true
    }

    /// Asks whoever gave this address; nothing more can be said before it has accepted.
    pub(super) fn ask_address_add(
        &mut self,
        now: Now,
        name: String,
        text: &str,
        note: String,
    ) -> Result<Option<Answer>, RpcError> {
        let bundle =
            Bundle::from_text(text).map_err(|error| RpcError::new(USAGE, error.to_string()))?;
        if note.len() > NOTE_BYTES_MAX {
            return Err(RpcError::new(USAGE, "a note has at most 140 bytes"));
        }
        self.refuse_name(&name)?;
        let peer = bundle.identity();
        if peer == self.identity().public() {
            return Err(RpcError::new(USAGE, "this address is one's own"));
        }
        if self.people.contacts.values().any(|c| c.peer() == peer) {
            return Err(RpcError::new(
                USAGE,
                "whoever gave this address is a contact",
            ));
        }
        let key = *bundle.invitation_key().expose();
        if self.people.pending.values().any(|p| p.key == key) {
            return Err(RpcError::new(USAGE, "this address is being asked already"));
        }
        let mut token = [0; 32];
        self.rng.fill_bytes(&mut token);
        let pending = self.people.next_pending();
        let row = PendingRow {
            name: name.clone(),
            provider: bundle.provider(),
            key,
            token,
            blob: Some(whist_ratchet::seal_bundle(&bundle).to_vec()),
            note: Some(note),
        };
        self.people.pending.insert(pending, row);
        self.save_pending(pending);
        self.greet(now, pending);
        Ok(Some(Answer::Adding {
            contact: name,
            added: !self.people.pending.contains_key(&pending),
            waits_s: 0,
        }))
    }

    /// An item at the own address: a first one, or nothing.
    pub(in crate::client) fn item_of_asker(&mut self, now: Now, item: &Item) {
        let made = self.askers.own.live.as_ref().and_then(|live| {
            let prekeys = PrekeySecrets::from_bytes(&live.prekeys).ok()?;
            Some((prekeys, InvitationKey::from_bytes(live.key)))
        });
        let Some((prekeys, key)) = made else {
            return self.unreadable();
        };
        let identity = self.identity();
        let made = Session::accept(&identity, &prekeys, &key, item, &mut self.rng);
        let Ok((session, plaintext, peer)) = made else {
            return self.unreadable();
        };
        let Some(Body::Request {
            provider,
            address,
            note,
        }) = Body::decode(&plaintext.body)
        else {
            return self.unreadable();
        };
        let (askers, hash) = (&self.askers, item.hash());
        let known = self.people.contacts.values().any(|c| c.peer() == peer)
            || askers.rows.values().any(|row| row.peer == *peer.as_bytes())
            || askers.own.turned_down.contains(&hash);
        if known || askers.rows.len() >= ASKERS_MAX {
            return self.unreadable();
        }
        let id = self.askers.next();
        let row = AskerRow {
            session: session.to_bytes().to_vec(),
            peer: *peer.as_bytes(),
            fingerprint: peer.fingerprint().to_string(),
            provider,
            address,
            item: hash,
            note,
            at_s: now.wall.as_secs(),
        };
        self.askers.rows.insert(id, row);
        self.save_asker(id);
        self.save_address();
        self.show(Event::Asked { request: id });
    }

    pub(super) fn requests(&self) -> Answer {
        let rows = self.askers.rows.iter();
        let requests = rows
            .map(|(id, row)| AskerInfo {
                request: *id,
                fingerprint: row.fingerprint.clone(),
                note: row.note.clone(),
                at_s: row.at_s,
            })
            .collect();
        Answer::Requests { requests }
    }

    /// Whoever asked becomes a contact, is told so, and gets an address of its own in the same
    /// word: one that can be revoked alone.
    pub(super) fn ask_accept(
        &mut self,
        now: Now,
        request: AskerId,
        name: String,
    ) -> Result<Option<Answer>, RpcError> {
        let Some(row) = self.askers.rows.get(&request).cloned() else {
            return Err(no_such_request());
        };
        self.refuse_name(&name)?;
        let session = Session::from_bytes(&row.session)
            .map_err(|error| RpcError::new(OTHER, error.to_string()))?;
        // A word of two pieces, and one that says how long texts are kept.
        if self.outbox.room() < 3 {
            return Err(RpcError::new(OTHER, "the outbox is full"));
        }
        let contact = self.people.next_contact();
        let mailbox = self.mailbox.as_mut();
        let Some(own) = mailbox.and_then(|mailbox| mailbox.allot(Use::Contact(contact))) else {
            let why = "the mailbox has no free address yet; try again in a minute";
            return Err(RpcError::new(TIMED_OUT, why));
        };
        let found = ContactRow::new(name.clone(), (row.provider, row.address), own);
        self.people
            .contacts
            .insert(contact, Contact::new(found, session));
        self.forget_asker(request);
        self.save_mailbox();
        self.save_contact(contact);
        self.renew(now, contact)?;
        self.tell_policy(now, contact);
        self.show(Event::Added { contact: name });
        done()
    }

    fn forget_asker(&mut self, id: AskerId) -> Option<AskerRow> {
        self.batch.delete(Table::Asker, id.key());
        self.askers.rows.remove(&id)
    }

    /// Whoever asked learns nothing.
    pub(super) fn ask_reject(&mut self, request: AskerId) -> Result<Option<Answer>, RpcError> {
        let row = self.forget_asker(request).ok_or_else(no_such_request)?;
        let turned_down = &mut self.askers.own.turned_down;
        if turned_down.len() >= TURNED_DOWN_MAX {
            turned_down.pop_front();
        }
        turned_down.push_back(row.item);
        self.save_address();
        done()
    }
}

fn no_such_request() -> RpcError {
    RpcError::new(USAGE, "there is no such request")
}
