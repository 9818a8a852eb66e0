//! What a person asks for.

use std::time::Duration;

use rand_core::Rng as _;
use whist_ratchet::Invitation;
use whist_types::Now;

use crate::api::seconds_up;
use crate::call::{Answer, Call, MessageState, Text};
use crate::client::{Client, InboxRow, Waiter, Wish};
use crate::contacts::{Coming, MessageRow, PendingRow};
use crate::conversation::{Body, Loss, pieces};
use crate::ids::{ArrivalId, ContactId, MessageId};
use crate::limits::{
    CONTACTS_MAX, HANDED_MAX, MESSAGES_MAX, RECEIVE_MAX, TEXT_BYTES_MAX, WAIT_MAX, WAITERS_MAX,
};
use crate::outbox::Job;
use crate::rows::Table;
use crate::rpc::RpcError;

// The exit codes of the command line (docs/using.md).
const OTHER: i64 = 1;
const USAGE: i64 = 2;
const UNKNOWN_CONTACT: i64 = 5;
const TIMED_OUT: i64 = 7;

impl Client {
    pub(super) fn ask(&mut self, now: Now, tag: u64, call: Call) {
        let answer = match call {
            Call::Invite { name, wait_s } => self.ask_invite(now, tag, name, wait_s),
            Call::Add {
                name,
                invitation,
                now: at_once,
                wait_s,
            } => self.ask_add(now, tag, name, &invitation, at_once, wait_s),
            Call::Send {
                contact,
                text,
                wait_s,
            } => self.ask_send(now, tag, &contact, &text, wait_s),
            Call::Receive { contact, wait_s } => self.ask_receive(now, tag, contact, wait_s),
            Call::Contacts {} => Ok(Some(Answer::Contacts {
                contacts: self.contact_list(now),
            })),
            Call::Status {} => Ok(Some(Answer::Status(Box::new(self.status(now))))),
            Call::Stop {} | Call::Subscribe {} => {
                Err(RpcError::new(OTHER, "this is asked of the daemon"))
            }
        };
        match answer {
            Ok(Some(answer)) => self.answer(tag, Ok(answer)),
            Ok(None) => {}
            Err(error) => self.answer(tag, Err(error)),
        }
    }

    fn wait(&mut self, now: Now, tag: u64, wait_s: u64, wish: Wish) -> Result<(), RpcError> {
        if self.waiters.len() >= WAITERS_MAX {
            return Err(RpcError::new(OTHER, "too many commands wait already"));
        }
        let wait = Duration::from_secs(wait_s).min(WAIT_MAX);
        self.waiters.push(Waiter {
            tag,
            deadline: now.instant.after(wait),
            wish,
        });
        Ok(())
    }

    fn refuse_name(&self, name: &str) -> Result<(), RpcError> {
        let wished = self
            .waiters
            .iter()
            .any(|w| matches!(&w.wish, Wish::Invitation { name: waiting } if waiting == name));
        if wished {
            return Err(RpcError::new(USAGE, "that name is taken"));
        }
        if self.people.contacts.len() >= CONTACTS_MAX {
            return Err(RpcError::new(OTHER, "there are too many contacts"));
        }
        match self.people.refuse_name(name) {
            Some(why) => Err(RpcError::new(USAGE, why)),
            None => Ok(()),
        }
    }

    fn ask_invite(
        &mut self,
        now: Now,
        tag: u64,
        name: String,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        self.refuse_name(&name)?;
        if let Some(answer) = self.give_invitation(&name) {
            return Ok(Some(answer));
        }
        if wait_s == 0 {
            return Err(no_invitation());
        }
        self.wait(now, tag, wait_s, Wish::Invitation { name })?;
        Ok(None)
    }

    /// Gives out an invitation that was published ahead. Sends nothing.
    fn give_invitation(&mut self, name: &str) -> Option<Answer> {
        if !self.mailbox.as_ref()?.is_created() {
            return None;
        }
        let (id, invitation) = self
            .people
            .invitations
            .iter_mut()
            .find(|(_, i)| i.published && i.given.is_none())?;
        invitation.given = Some(name.to_owned());
        let (id, row) = (*id, invitation.clone());
        self.save(Table::Invitation, id.key(), &row);
        Some(Answer::Invitation {
            invitation: row.text(),
        })
    }

    fn ask_add(
        &mut self,
        now: Now,
        tag: u64,
        name: String,
        text: &str,
        at_once: bool,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        let invitation: Invitation = text
            .parse()
            .map_err(|error: whist_ratchet::Error| RpcError::new(USAGE, error.to_string()))?;
        self.refuse_name(&name)?;
        let key = *invitation.key.expose();
        if self.people.invitations.values().any(|i| i.key == key) {
            return Err(RpcError::new(USAGE, "this invitation is one's own"));
        }
        if self.people.pending.values().any(|p| p.key == key) {
            return Err(RpcError::new(
                USAGE,
                "this invitation is being opened already",
            ));
        }
        if let Some(consensus) = self.usable(now)
            && consensus.node(&invitation.provider).is_none()
        {
            let why = "the invitation's provider is not in this network";
            return Err(RpcError::new(OTHER, why));
        }
        let wait = match at_once {
            true => Duration::ZERO,
            false => self.rare_wait(now),
        };
        let pending = self.people.next_pending();
        let job = Job::Fetch { pending };
        self.push(now, invitation.provider, job, wait)
            .map_err(|full| RpcError::new(OTHER, full.to_string()))?;
        let mut token = [0; 32];
        self.rng.fill_bytes(&mut token);
        let row = PendingRow {
            name: name.clone(),
            provider: invitation.provider,
            key,
            token,
            blob: None,
        };
        self.save(Table::Pending, pending.key(), &row);
        self.people.pending.insert(pending, row);
        if wait_s > 0 {
            self.wait(now, tag, wait_s, Wish::Added { pending, name })?;
            return Ok(None);
        }
        Ok(Some(Answer::Adding {
            contact: name,
            added: false,
            waits_s: seconds_up(wait),
        }))
    }

    fn contact_of(&self, name: &str) -> Result<ContactId, RpcError> {
        self.people
            .by_name(name)
            .ok_or_else(|| RpcError::new(UNKNOWN_CONTACT, format!("unknown contact: {name}")))
    }

    fn ask_send(
        &mut self,
        now: Now,
        tag: u64,
        contact: &str,
        text: &str,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(contact)?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(RpcError::new(USAGE, "a text has at most 65,536 bytes"));
        }
        let message = self.queue_text(now, id, text)?;
        self.stats.texts_sent = self.stats.texts_sent.saturating_add(1);
        if wait_s > 0 {
            self.wait(now, tag, wait_s, Wish::Stored { message })?;
            return Ok(None);
        }
        Ok(Some(Answer::Message {
            message,
            state: MessageState::Queued,
        }))
    }

    /// Seals a text's pieces and queues them: ratchet, outbox and the text's state in one batch.
    fn queue_text(&mut self, now: Now, id: ContactId, text: &str) -> Result<MessageId, RpcError> {
        let consensus = self.follower.hash();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "unknown contact"));
        };
        if contact.row.is_ahead() {
            let why = "too many texts to this contact wait for an earlier one";
            return Err(RpcError::new(OTHER, why));
        }
        let sequence = contact.row.next_out;
        let loss = contact.row.loss(now.wall, sequence);
        let pieces = pieces(sequence, loss, text);
        if pieces.len() > self.outbox.room() {
            return Err(RpcError::new(OTHER, "the outbox is full"));
        }
        let mut items = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let plaintext = whist_ratchet::Plaintext {
                device: 0,
                consensus,
                body: Body::Piece(piece).encode(),
            };
            let item = contact
                .session
                .seal(&plaintext, &mut self.rng)
                .map_err(|error| RpcError::new(OTHER, error.to_string()))?;
            items.push(item);
        }
        contact.row.next_out = contact.row.next_out.saturating_add(1);
        let (exit, address) = (contact.row.provider, contact.row.address);
        let message = self.people.next_message();
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            contact.row.coming.push(Coming {
                sequence,
                message,
                until_ms: None,
                lost: false,
            });
        }
        self.save_contact(id);
        let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
        let row = MessageRow {
            contact: id,
            state: MessageState::Queued,
            unsent: count,
            unanswered: count,
        };
        self.save(Table::Message, message.key(), &row);
        self.people.messages.insert(message, row);
        self.trim_messages(now);
        for item in items {
            let job = Job::Put {
                address,
                item,
                message: Some(message),
            };
            self.push(now, exit, job, Duration::ZERO)
                .map_err(|full| RpcError::new(OTHER, full.to_string()))?;
        }
        Ok(message)
    }

    /// Texts whose state is no longer kept count as stored.
    fn trim_messages(&mut self, now: Now) {
        while self.people.messages.len() > MESSAGES_MAX {
            if let Some((old, row)) = self.people.messages.pop_first() {
                self.text_stored(now, row.contact, old);
                self.batch.delete(Table::Message, old.key());
            }
        }
    }

    /// A text is on the disk of the contact's provider, which forgets it when its time is over.
    pub(super) fn text_stored(&mut self, now: Now, id: ContactId, message: MessageId) {
        let until = now.wall.after(self.parameters().item_ttl()).as_millis();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let found = contact.row.coming.iter_mut().find(|c| c.message == message);
        if let Some(coming) = found.filter(|c| c.until_ms.is_none()) {
            coming.until_ms = Some(until);
            self.save_contact(id);
        }
    }

    /// A text never comes. The contact is told by the next one, or at once when later texts are
    /// under way already: they wait there for this one.
    pub(super) fn text_given_up(&mut self, now: Now, id: ContactId, message: MessageId) {
        let consensus = self.follower.hash();
        let room = self.outbox.room() > 0;
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let coming = &mut contact.row.coming;
        let found = coming.iter_mut().find(|c| c.message == message);
        let Some(gone) = found.filter(|c| !c.lost) else {
            return;
        };
        gone.lost = true;
        let first = gone.sequence;
        // The last one that is known of, as far as the notice reaches.
        let last = contact.row.next_out.saturating_sub(1);
        let sequence = last.min(first.saturating_add(Loss::SPAN));
        let mut job = None;
        if room && last > first {
            let loss = contact.row.loss(now.wall, sequence);
            let plaintext = whist_ratchet::Plaintext {
                device: 0,
                consensus,
                body: Body::Notice { sequence, loss }.encode(),
            };
            if let Ok(item) = contact.session.seal(&plaintext, &mut self.rng) {
                job = Some(Job::Notice {
                    address: contact.row.address,
                    item,
                });
            }
        }
        let exit = contact.row.provider;
        self.save_contact(id);
        if let Some(job) = job {
            // There is room.
            let _ = self.push(now, exit, job, Duration::ZERO);
        }
    }

    fn ask_receive(
        &mut self,
        now: Now,
        tag: u64,
        contact: Option<String>,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        let contact = contact.map(|name| self.contact_of(&name)).transpose()?;
        let texts = self.take_texts(tag, contact);
        if texts.is_empty() && wait_s > 0 {
            self.wait(now, tag, wait_s, Wish::Texts { contact })?;
            return Ok(None);
        }
        Ok(Some(Answer::Texts { texts }))
    }

    /// Takes texts that wait to be read, for the answer to this call; they go to the history.
    fn take_texts(&mut self, tag: u64, contact: Option<ContactId>) -> Vec<Text> {
        let taken: Vec<(ArrivalId, InboxRow)> = self
            .inbox
            .iter()
            .filter(|(_, row)| contact.is_none_or(|id| row.contact == id))
            .take(RECEIVE_MAX)
            .map(|(id, row)| (*id, row.clone()))
            .collect();
        let mut texts = Vec::with_capacity(taken.len());
        for (id, row) in &taken {
            self.inbox.remove(id);
            self.batch.delete(Table::Inbox, id.key());
            self.save(Table::History, id.key(), row);
            texts.push(Text {
                contact: self.name_of(row.contact),
                text: row.text.clone(),
                received_s: row.received_s,
            });
        }
        if !taken.is_empty() {
            if self.handed.len() >= HANDED_MAX {
                self.handed.pop_front();
            }
            self.handed.push_back((tag, taken));
        }
        texts
    }

    /// Whoever waits under this tag has gone: nothing that comes is taken for it.
    pub(super) fn gone(&mut self, tag: u64) {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.tag != tag);
        if self.waiters.len() < before {
            let error = RpcError::new(OTHER, "the connection was closed");
            self.answer(tag, Err(error));
        }
    }

    /// Nobody got the answer to this call: the texts in it wait to be read again, in their places.
    pub(super) fn unheard(&mut self, tag: u64) {
        let Some(place) = self.handed.iter().position(|(handed, _)| *handed == tag) else {
            return;
        };
        let (_, texts) = self.handed.remove(place).unwrap_or_default();
        for (id, row) in texts {
            self.batch.delete(Table::History, id.key());
            self.save(Table::Inbox, id.key(), &row);
            self.inbox.insert(id, row);
        }
    }

    /// Answers those whose wish came true, and those who waited long enough.
    pub(super) fn serve_waiters(&mut self, now: Now) {
        for waiter in std::mem::take(&mut self.waiters) {
            match self.fulfil(waiter.tag, &waiter.wish) {
                Some(answer) => self.answer(waiter.tag, Ok(answer)),
                None if waiter.deadline <= now.instant => {
                    self.answer(waiter.tag, Err(too_late(&waiter.wish)));
                }
                None => self.waiters.push(waiter),
            }
        }
    }

    fn fulfil(&mut self, tag: u64, wish: &Wish) -> Option<Answer> {
        match wish {
            Wish::Invitation { name } => self.give_invitation(name),
            Wish::Added { pending, name } => {
                let gone = !self.people.pending.contains_key(pending);
                gone.then(|| Answer::Adding {
                    contact: name.clone(),
                    added: true,
                    waits_s: 0,
                })
            }
            Wish::Stored { message } => {
                let state = self.people.messages.get(message)?.state;
                matches!(state, MessageState::Stored | MessageState::Failed).then_some(
                    Answer::Message {
                        message: *message,
                        state,
                    },
                )
            }
            Wish::Texts { contact } => {
                let texts = self.take_texts(tag, *contact);
                (!texts.is_empty()).then_some(Answer::Texts { texts })
            }
        }
    }
}

fn no_invitation() -> RpcError {
    let why = "no invitation is published yet; try again in a minute, or use --wait";
    RpcError::new(TIMED_OUT, why)
}

fn too_late(wish: &Wish) -> RpcError {
    match wish {
        Wish::Invitation { .. } => no_invitation(),
        Wish::Added { .. } => RpcError::new(
            TIMED_OUT,
            "the invitation is not opened yet; that goes on by itself",
        ),
        Wish::Stored { .. } => RpcError::new(
            TIMED_OUT,
            "the text is not stored yet; it goes on being sent",
        ),
        Wish::Texts { .. } => RpcError::new(TIMED_OUT, "nothing came"),
    }
}
