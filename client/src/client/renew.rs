//! New sessions with known contacts, and keys that changed.
//!
//! Either side can ask for a new session: it sends a bundle in a word, and the other's first item
//! answers it. A bundle of another identity than the known one, or an answer by one, is a changed
//! key: nothing is sent until the person accepts the very key that it compared, and nothing that
//! was written before is ever sealed again.

use std::collections::BTreeSet;

use whist_ratchet::{
    Bundle, Item, PersonKey, Plaintext, PrekeySecrets, SealedItem, Session, UnverifiedBundle,
};
use whist_types::{MailboxAddress, NodeId, Now};

use crate::api::Event;
use crate::call::MessageState;
use crate::client::Client;
use crate::client::ask::{OTHER, UNKNOWN_CONTACT};
use crate::contacts::{Contact, KeyChange, Renewal, Waiting, What};
use crate::conversation::{Body, Word};
use crate::ids::{ContactId, MessageId};
use crate::indicators::Indicator;
use crate::rpc::RpcError;

impl Contact {
    /// Whether the session of now was begun by our answer, and nothing has come in it. If the
    /// contact asks for another one, it does so in the one before: it has replaced the prekeys that
    /// open our answer, and nothing that was sealed in between.
    const fn is_unread(&self) -> bool {
        self.old.is_some() && !self.read_ahead && !self.session.has_heard()
    }

    /// What a changed key came with, while it waits to be accepted.
    pub(super) fn waiting(&self) -> Option<Offer> {
        match self.row.waiting.as_ref()? {
            Waiting::Bundle(bundle) => read_bundle(bundle).map(Offer::Bundle),
            Waiting::Answer {
                session,
                provider,
                address,
            } => Some(Offer::Answer {
                session: Box::new(Session::from_bytes(session).ok()?),
                provider: *provider,
                address: *address,
            }),
        }
    }
}

/// What a changed key came with: [`Waiting`], read.
pub(super) enum Offer {
    Bundle(Bundle),
    Answer {
        session: Box<Session>,
        provider: NodeId,
        address: MailboxAddress,
    },
}

impl Offer {
    /// The changed key.
    pub(super) fn identity(&self) -> PersonKey {
        match self {
            Self::Bundle(bundle) => bundle.identity(),
            Self::Answer { session, .. } => session.peer(),
        }
    }
}

fn read_bundle(bytes: &[u8]) -> Option<Bundle> {
    let bytes = bytes.try_into().ok()?;
    UnverifiedBundle::from_bytes(bytes).ok()?.verify().ok()
}

impl Client {
    /// Addresses to which nothing leaves: the keys of those contacts changed.
    pub(super) fn frozen(&self) -> BTreeSet<MailboxAddress> {
        let contacts = self.people.contacts.values();
        let changed = contacts.filter(|contact| contact.row.waiting.is_some());
        changed.map(|contact| contact.row.address).collect()
    }

    /// Asks a contact for a new session, under the identity of now.
    pub(super) fn renew(&mut self, now: Now, id: ContactId) -> Result<MessageId, RpcError> {
        let gone = || RpcError::new(UNKNOWN_CONTACT, "unknown contact");
        let own = self.people.contacts.get(&id).ok_or_else(gone)?;
        let own = own.row.own_address;
        let home = self.mailbox.as_ref().map(|mailbox| mailbox.provider());
        let home = home.ok_or_else(|| RpcError::new(OTHER, "there is no mailbox yet"))?;
        let identity = self.identity();
        let (prekeys, bundle) = PrekeySecrets::generate(&identity, home, own, &mut self.rng);
        let word = Word::Renew {
            bundle: Box::new(bundle.to_bytes()),
        };
        let message = self.say(now, id, What::Renewal, &word)?;
        let contact = self.people.contacts.get_mut(&id).ok_or_else(gone)?;
        contact.row.renewal = Some(Renewal {
            key: *bundle.invitation_key().expose(),
            prekeys: prekeys.to_bytes().to_vec(),
        });
        self.save_contact(id);
        Ok(message)
    }

    /// The contact asks for a new session.
    pub(super) fn renewed(&mut self, now: Now, id: ContactId, bundle: &[u8]) {
        let own = self.identity().public();
        let Some(bundle) = read_bundle(bundle).filter(|bundle| bundle.identity() != own) else {
            return self.unreadable();
        };
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        // It comes again after a crash if it was held (`client::hold`).
        let again = contact.row.answered == Some(*bundle.invitation_key().expose());
        let bytes = bundle.to_bytes();
        let waits = matches!(&contact.row.waiting, Some(Waiting::Bundle(b)) if *b == bytes);
        if again || waits {
            return;
        }
        if bundle.identity() != contact.peer() {
            contact.row.renewal = None;
            return self.key_changed(now, id, Waiting::Bundle(bytes.to_vec()));
        }
        // Both asked at once: the request of the higher key counts. One of ours in a session that
        // the contact never read did not reach it.
        let asked = contact.row.renewal.is_some() && !contact.is_unread();
        if asked && own > contact.peer() {
            return;
        }
        contact.row.renewal = None;
        // With a full outbox the contact has to ask again.
        let _ = self.begin_anew(now, id, &bundle);
    }

    fn key_changed(&mut self, now: Now, id: ContactId, waiting: Waiting) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        contact.row.waiting = Some(waiting);
        let accept = contact.row.terms.key_change == KeyChange::Accept;
        let offer = contact.waiting().filter(|_| accept);
        self.save_contact(id);
        let contact = self.name_of(id);
        self.show(Event::KeyChanged { contact });
        self.raise(now, Indicator::KeyChanged, Some(id));
        if let Some(offer) = offer {
            let _ = self.accept_key(now, id, offer);
        }
    }

    /// The person accepts this key. What was under way to the old one is given up: it is for the
    /// person to say whether the new one may read it.
    pub(super) fn accept_key(
        &mut self,
        now: Now,
        id: ContactId,
        offer: Offer,
    ) -> Result<(), RpcError> {
        let Some(contact) = self.people.contacts.get(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "unknown contact"));
        };
        let address = contact.row.address;
        let requests = self.outbox.requests_to(&address);
        // First, so that a key with which no session can be made leaves everything as it was.
        let room = self.outbox.room().saturating_add(requests.len());
        let begun = match &offer {
            Offer::Bundle(bundle) => Some(self.begin(id, bundle, room)?),
            Offer::Answer { .. } => None,
        };
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            contact.row.waiting = None;
        }
        let mut given_up = BTreeSet::new();
        for request in requests {
            let entry = self.outbox.answered(request);
            self.save_request(now, request);
            given_up.extend(entry.and_then(|entry| entry.job.message()));
        }
        match (offer, begun) {
            (Offer::Bundle(bundle), Some(begun)) => self.take_begun(now, id, &bundle, begun)?,
            (Offer::Bundle(_), None) => {}
            (
                Offer::Answer {
                    session,
                    provider,
                    address,
                },
                _,
            ) => self.take_answer(now, id, *session, (provider, address)),
        }
        for message in given_up {
            self.give_word_up(now, message, MessageState::Failed);
        }
        Ok(())
    }

    /// Answers a bundle with a first item. The session before still opens what is on its way.
    fn begin_anew(&mut self, now: Now, id: ContactId, bundle: &Bundle) -> Result<(), RpcError> {
        let begun = self.begin(id, bundle, self.outbox.room())?;
        self.take_begun(now, id, bundle, begun)
    }

    /// A session with who made this bundle, and its first item; nothing is changed.
    fn begin(
        &mut self,
        id: ContactId,
        bundle: &Bundle,
        room: usize,
    ) -> Result<(Session, SealedItem), RpcError> {
        if room == 0 {
            return Err(RpcError::new(OTHER, "the outbox is full"));
        }
        let home = self.mailbox.as_ref().map(|mailbox| mailbox.provider());
        let (Some(provider), Some(contact)) = (home, self.people.contacts.get(&id)) else {
            return Err(RpcError::new(OTHER, "there is no mailbox yet"));
        };
        let greeting = Body::Greeting {
            provider,
            address: contact.row.own_address,
        };
        let (first, identity) = (self.plaintext(&greeting), self.identity());
        let key = bundle.invitation_key();
        Session::initiate(&identity, bundle, &key, &first, &mut self.rng)
            .map_err(|error| RpcError::new(OTHER, error.to_string()))
    }

    fn take_begun(
        &mut self,
        now: Now,
        id: ContactId,
        bundle: &Bundle,
        (session, item): (Session, SealedItem),
    ) -> Result<(), RpcError> {
        let unread = self.people.contacts.get_mut(&id).and_then(|contact| {
            let unread = contact.is_unread();
            unread.then(|| (contact.row.session_from, contact.old.take()))
        });
        self.take_session(now, id, session, bundle.provider(), bundle.address());
        let from = unread.map(|(from, before)| {
            if let Some(contact) = self.people.contacts.get_mut(&id) {
                // What the contact still seals in, instead of what it never could.
                contact.old = before;
            }
            from
        });
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            contact.row.answered = Some(*bundle.invitation_key().expose());
        }
        self.save_contact(id);
        self.put(now, id, vec![item], None)?;
        if let Some(from) = from {
            self.fail_unread(now, id, from);
        }
        Ok(())
    }

    /// Words from this number on were sealed in a session that the contact never had: they are told
    /// as failed, to both, and what is left of them does not leave.
    fn fail_unread(&mut self, now: Now, id: ContactId, from: u64) {
        let Some(address) = self.people.contacts.get(&id).map(|c| c.row.address) else {
            return;
        };
        let words = self.people.messages.iter();
        // One that was taken back was sealed again, whatever its number.
        let words = words.filter(|(_, row)| {
            row.contact == id && (row.sequence >= from || row.what == What::Nothing)
        });
        let words: BTreeSet<MessageId> = words.map(|(message, _)| *message).collect();
        for request in self.outbox.requests_to(&address) {
            let job = self.outbox.entry(request).map(|entry| &entry.job);
            let message = job.and_then(crate::outbox::Job::message);
            if message.is_some_and(|message| words.contains(&message)) {
                self.outbox.answered(request);
                self.save_request(now, request);
            }
        }
        for message in words {
            self.give_word_up(now, message, MessageState::Failed);
        }
    }

    fn take_session(
        &mut self,
        now: Now,
        id: ContactId,
        session: Session,
        provider: NodeId,
        address: MailboxAddress,
    ) {
        let until = now.wall.after(self.parameters().item_ttl()).as_millis();
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            let old = std::mem::replace(&mut contact.session, session);
            contact.old = Some(old);
            contact.row.old_until_ms = until;
            contact.row.session_from = contact.row.next_out;
            contact.read_ahead = false;
            Self::demand_secret(contact);
            contact.row.provider = provider;
            contact.row.address = address;
        }
        self.save_contact(id);
        self.tend_secret(now, id, false);
    }

    /// Forgets sessions that nothing can come from any more.
    pub(super) fn expire_sessions(&mut self, now: Now) {
        let contacts = self.people.contacts.iter_mut();
        let over: Vec<ContactId> = contacts
            .filter(|(_, c)| c.old.is_some() && c.row.old_until_ms <= now.wall.as_millis())
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            if let Some(contact) = self.people.contacts.get_mut(&id) {
                contact.old = None;
            }
            self.save_contact(id);
        }
    }

    /// Whether an item that no session opens is the answer to our request for a new one.
    pub(super) fn answers_renewal(&mut self, now: Now, id: ContactId, item: &Item) -> bool {
        let identity = self.identity();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return false;
        };
        let Some(renewal) = contact.row.renewal.clone() else {
            return false;
        };
        let Ok(prekeys) = PrekeySecrets::from_bytes(&renewal.prekeys) else {
            return false;
        };
        let key = whist_ratchet::InvitationKey::from_bytes(renewal.key);
        let made = Session::accept(&identity, &prekeys, &key, item, &mut self.rng);
        let Ok((session, plaintext, peer)) = made else {
            return false;
        };
        let known = contact.peer();
        self.answered_by(now, id, session, &plaintext, (peer, known))
    }

    fn answered_by(
        &mut self,
        now: Now,
        id: ContactId,
        session: Session,
        plaintext: &Plaintext,
        (peer, known): (PersonKey, PersonKey),
    ) -> bool {
        let Some(Body::Greeting { provider, address }) = Body::decode(&plaintext.body) else {
            return false;
        };
        if peer == known {
            self.take_answer(now, id, session, (provider, address));
        } else {
            // Somebody else has what was sent to the contact alone, or the contact has another key.
            // Its own answer may still come, so what opens it is kept.
            let session = session.to_bytes().to_vec();
            let waiting = Waiting::Answer {
                session,
                provider,
                address,
            };
            self.key_changed(now, id, waiting);
        }
        true
    }

    /// Goes on in the session that an answer began.
    fn take_answer(
        &mut self,
        now: Now,
        id: ContactId,
        session: Session,
        (provider, address): (NodeId, MailboxAddress),
    ) {
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            contact.row.renewal = None;
        }
        self.take_session(now, id, session, provider, address);
        if let Some(own) = self.people.contacts.get(&id).map(|c| c.row.own_address) {
            self.open_early(now, id, own);
        }
    }
}
