//! Saying something to a contact: a word is sealed in pieces, queued, and followed until it is
//! stored or given up.

use std::time::Duration;

use whist_ratchet::SealedItem;
use whist_types::Now;
use zeroize::Zeroizing;

use crate::api::Event;
use crate::call::MessageState;
use crate::client::Client;
use crate::client::ask::{OTHER, REFUSED, UNKNOWN_CONTACT, key_changed};
use crate::client::secret::refusal;
use crate::contacts::{Coming, MessageRow, What};
use crate::conversation::{Body, Loss, Word, pieces};
use crate::ids::{ContactId, MessageId};
use crate::indicators::Indicator;
use crate::limits::MESSAGES_MAX;
use crate::outbox::Job;
use crate::rows::Table;
use crate::rpc::RpcError;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

impl Client {
    /// Seals a word's pieces and queues them: ratchet, outbox and the word's state in one batch.
    pub(super) fn say(
        &mut self,
        now: Now,
        id: ContactId,
        what: What,
        word: &Word,
    ) -> Result<MessageId, RpcError> {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "unknown contact"));
        };
        if contact.row.waiting.is_some() {
            return Err(key_changed());
        }
        if contact.row.asked {
            let why = "this contact has not accepted the request yet";
            return Err(RpcError::new(REFUSED, why));
        }
        if contact.is_ahead() {
            let why = "too many texts to this contact wait for an earlier one";
            return Err(RpcError::new(OTHER, why));
        }
        let sequence = contact.row.next_out;
        let loss = contact.loss(now.wall, sequence);
        let bodies: Vec<Body> = pieces(sequence, loss, &Zeroizing::new(word.encode()))
            .into_iter()
            .map(Body::Piece)
            .collect();
        let items = self.seal(id, &bodies)?;
        let message = self.own.next_text();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "unknown contact"));
        };
        contact.row.next_out = contact.row.next_out.saturating_add(1);
        let coming = Coming {
            message,
            until_ms: None,
            lost: false,
        };
        contact.coming.insert(sequence, coming);
        self.save_contact(id);
        let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
        let row = MessageRow {
            contact: id,
            sequence,
            what,
            state: MessageState::Queued,
            unsent: count,
            unanswered: count,
            until_ms: None,
            lost: false,
        };
        self.save(Table::Message, message.key(), &row);
        self.people.add_message(message, row);
        self.trim_messages();
        self.put(now, id, items, Some(message))?;
        Ok(message)
    }

    /// Says something under the number of a word of which nothing has left.
    pub(super) fn say_instead(
        &mut self,
        now: Now,
        id: MessageId,
        word: &Word,
    ) -> Result<(), RpcError> {
        let row = self.people.messages.get(&id).cloned();
        let contact = row.as_ref().map(|row| row.contact);
        let contact = contact.and_then(|contact| self.people.contacts.get_mut(&contact));
        let (Some(row), Some(contact)) = (row, contact) else {
            return Err(RpcError::new(OTHER, "there is no such text"));
        };
        let loss = contact.loss(now.wall, row.sequence);
        let bodies: Vec<Body> = pieces(row.sequence, loss, &Zeroizing::new(word.encode()))
            .into_iter()
            .map(Body::Piece)
            .collect();
        let items = self.seal(row.contact, &bodies)?;
        let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
        self.change_message(id, |row| {
            row.what = What::Nothing;
            row.unsent = count;
            row.unanswered = count;
        });
        self.save_contact(row.contact);
        self.put(now, row.contact, items, Some(id))
    }

    /// Seals bodies, if the outbox has room for all of them.
    pub(super) fn seal(
        &mut self,
        id: ContactId,
        bodies: &[Body],
    ) -> Result<Vec<SealedItem>, RpcError> {
        if bodies.len() > self.outbox.room() {
            return Err(RpcError::new(OTHER, "the outbox is full"));
        }
        let plaintexts: Vec<_> = bodies.iter().map(|body| self.plaintext(body)).collect();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "unknown contact"));
        };
        let mut items = Vec::with_capacity(bodies.len());
        for plaintext in plaintexts {
            let item = contact
                .session
                .seal(&plaintext, &mut self.rng)
                .map_err(refusal)?;
            items.push(item);
        }
        Ok(items)
    }

    /// Queues sealed items for a contact.
    pub(super) fn put(
        &mut self,
        now: Now,
        id: ContactId,
        items: Vec<SealedItem>,
        message: Option<MessageId>,
    ) -> Result<(), RpcError> {
        let Some(contact) = self.people.contacts.get(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "unknown contact"));
        };
        let (exit, address) = (contact.row.provider, contact.row.address);
        for item in items {
            let job = match message {
                Some(_) => Job::Put {
                    address,
                    item,
                    message,
                },
                None => Job::Notice { address, item },
            };
            self.push(now, exit, job, Duration::ZERO)
                .map_err(|full| RpcError::new(OTHER, full.to_string()))?;
        }
        self.tend_secret(now, id, false);
        Ok(())
    }

    /// The oldest words are no longer followed when there are too many.
    fn trim_messages(&mut self) {
        while self.people.messages.len() > MESSAGES_MAX {
            let oldest = self.people.messages.keys().next().copied();
            if let Some(old) = oldest {
                self.people.forget_message(old);
                self.batch.delete(Table::Message, old.key());
            }
        }
    }

    /// Words whose way is over are no longer followed when nothing else is kept of them: a row that
    /// outlives its text would tell for ever that there was one.
    pub(super) fn forget_finished(&mut self, now: Now) {
        let messages = self.people.messages.iter();
        let finished = messages.filter(|(id, row)| {
            let kept = row.what == What::Text && self.texts.row(**id).is_some();
            let contact = self.people.contacts.get(&row.contact);
            let awaited = contact.is_some_and(|c| c.coming.contains_key(&row.sequence));
            !kept
                && match row.state {
                    MessageState::Delivered | MessageState::Read => true,
                    _ if row.lost => !awaited,
                    _ => row.until_ms.is_some_and(|at| at <= now.wall.as_millis()),
                }
        });
        let finished: Vec<MessageId> = finished.map(|(id, _)| *id).collect();
        for id in finished {
            self.people.forget_message(id);
            self.batch.delete(Table::Message, id.key());
        }
    }

    /// Changes a followed word's row and keeps what its contact waits for in step.
    pub(super) fn change_message(
        &mut self,
        id: MessageId,
        change: impl FnOnce(&mut MessageRow),
    ) -> Option<MessageRow> {
        let row = self.people.messages.get_mut(&id)?;
        change(row);
        let row = row.clone();
        self.save(Table::Message, id.key(), &row);
        let contact = self.people.contacts.get_mut(&row.contact);
        let coming = contact.and_then(|contact| contact.coming.get_mut(&row.sequence));
        if let Some(coming) = coming.filter(|coming| coming.message == id) {
            coming.until_ms = row.until_ms;
            coming.lost = row.lost;
        }
        Some(row)
    }

    /// Shows how far a text has come; words of other kinds are no texts.
    pub(super) fn show_state(&mut self, message: MessageId, row: &MessageRow) {
        if row.what == What::Text {
            let state = row.state;
            self.show(Event::State { message, state });
        }
    }

    /// A piece is on the disk of the contact's provider, which forgets it when its time is over.
    pub(super) fn on_stored(&mut self, now: Now, id: MessageId) {
        let until = now.wall.after(self.parameters().item_ttl()).as_millis();
        // In whole days: a row shall not tell the second at which its word was stored.
        let until = until.div_ceil(DAY_MS).saturating_mul(DAY_MS);
        let row = self.change_message(id, |row| {
            row.unanswered = row.unanswered.saturating_sub(1);
            if row.unanswered == 0 && !row.lost {
                row.until_ms = Some(until);
                row.state = row.state.at_least(MessageState::Stored);
            }
        });
        if let Some(row) = row.filter(|row| row.state == MessageState::Stored) {
            self.show_state(id, &row);
        }
    }

    /// A word never comes. The contact is told by the next one, or at once when later ones are
    /// under way already: they wait there for this one.
    pub(super) fn give_word_up(&mut self, now: Now, id: MessageId, state: MessageState) {
        let known = self.people.messages.get(&id);
        let came = |state| matches!(state, MessageState::Delivered | MessageState::Read);
        if known.is_none_or(|row| row.lost || came(row.state)) {
            return;
        }
        let changed = self.change_message(id, |row| {
            row.lost = true;
            row.state = row.state.at_least(state);
        });
        let Some(row) = changed else {
            return;
        };
        self.show_state(id, &row);
        if matches!(row.what, What::Edit(_) | What::Delete(_)) {
            self.raise(now, Indicator::Undone, Some(row.contact));
        }
        let Some(contact) = self.people.contacts.get_mut(&row.contact) else {
            return;
        };
        // The last one that is known of, as far as the notice reaches.
        let last = contact.row.next_out.saturating_sub(1);
        let sequence = last.min(row.sequence.saturating_add(Loss::SPAN));
        if last <= row.sequence || contact.row.waiting.is_some() {
            return;
        }
        let loss = contact.loss(now.wall, sequence);
        // In a full outbox the next word says the same.
        if let Ok(items) = self.seal(row.contact, &[Body::Notice { sequence, loss }]) {
            self.save_contact(row.contact);
            let _ = self.put(now, row.contact, items, None);
        }
    }
}
