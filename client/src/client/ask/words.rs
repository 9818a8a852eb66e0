//! Texts, out and in.

use whist_types::Now;

use super::{OTHER, USAGE};
use crate::call::{Answer, MessageState, Text, Until};
use crate::client::{Client, Wish};
use crate::contacts::{Contact, What};
use crate::conversation::{Place, Word};
use crate::ids::{ContactId, MessageId};
use crate::limits::{HANDED_MAX, RECEIVE_MAX, TEXT_BYTES_MAX};
use crate::rpc::RpcError;
use crate::texts::{Safety, TextRow};

impl Client {
    pub(super) fn ask_send(
        &mut self,
        now: Now,
        tag: u64,
        contact: &str,
        text: &str,
        reply_to: Option<MessageId>,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(contact)?;
        let answers = reply_to.map(|text| self.place_of(id, text)).transpose()?;
        let message = self.send_text(now, id, text, answers)?;
        self.stats.texts_sent = self.stats.texts_sent.saturating_add(1);
        if wait_s > 0 {
            let until = Until::Stored;
            self.wait(now, tag, wait_s, Wish::Came { message, until })?;
            return Ok(None);
        }
        Ok(Some(Answer::Message {
            message,
            state: MessageState::Queued,
        }))
    }

    /// Which text of the conversation with a contact this is.
    fn place_of(&self, id: ContactId, text: MessageId) -> Result<Place, RpcError> {
        let row = self.texts.row(text).filter(|row| row.contact == id);
        row.map(|row| row.place)
            .ok_or_else(|| RpcError::new(USAGE, "there is no such text in this conversation"))
    }

    /// Queues a text, and keeps it for the history.
    fn send_text(
        &mut self,
        now: Now,
        id: ContactId,
        text: &str,
        answers: Option<Place>,
    ) -> Result<MessageId, RpcError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(RpcError::new(USAGE, "a text has at most 65,536 bytes"));
        }
        let contact = self.people.contacts.get(&id);
        if contact.is_some_and(|contact| contact.row.terms.blocked) {
            let why = "this contact is blocked; `whist contact unblock` ends that";
            return Err(RpcError::new(USAGE, why));
        }
        let timer_s = contact.map_or(0, |contact| contact.row.terms.timer_s);
        let word = Word::Text {
            answers,
            timer_s,
            text: text.to_owned().into(),
        };
        let sequence = contact.map_or(0, |contact| contact.row.next_out);
        let safety = contact.map_or(Safety::Unverified, Contact::safety);
        let message = self.say(now, id, What::Text, &word)?;
        let row = TextRow {
            contact: id,
            place: Place {
                own: true,
                sequence,
            },
            text: text.to_owned(),
            at_s: now.wall.as_secs(),
            answers,
            timer_s,
            since_s: Some(now.wall.as_secs()),
            edited: false,
            deleted: false,
            safety,
        };
        self.texts.put(message, row, false);
        self.save_text(message);
        self.trim_texts(now);
        Ok(message)
    }

    pub(super) fn ask_receive(
        &mut self,
        now: Now,
        tag: u64,
        contact: Option<String>,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        let contact = contact.map(|name| self.contact_of(&name)).transpose()?;
        let texts = self.take_texts(now, tag, contact);
        if texts.is_empty() && wait_s > 0 {
            self.wait(now, tag, wait_s, Wish::Texts { contact })?;
            return Ok(None);
        }
        Ok(Some(Answer::Texts { texts }))
    }

    /// Takes texts that wait to be read, for the answer to this call; they go to the history.
    pub(super) fn take_texts(
        &mut self,
        now: Now,
        tag: u64,
        contact: Option<ContactId>,
    ) -> Vec<Text> {
        let taken: Vec<(MessageId, TextRow)> = self
            .texts
            .unread()
            .filter(|(_, row)| contact.is_none_or(|id| row.contact == id))
            .take(RECEIVE_MAX)
            .map(|(id, row)| (id, row.clone()))
            .collect();
        let mut texts = Vec::with_capacity(taken.len());
        for (id, row) in &taken {
            texts.push(self.shown(*id, row));
            self.text_read(now, *id);
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
    pub(in crate::client) fn gone(&mut self, tag: u64) {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.tag != tag);
        if self.waiters.len() < before {
            let error = RpcError::new(OTHER, "the connection was closed");
            self.answer(tag, Err(error));
        }
    }

    /// The answer to this call was handed over.
    pub(in crate::client) fn handed_over(&mut self, tag: u64) {
        self.handed.retain(|(handed, _)| *handed != tag);
    }

    /// These texts are over: they come back to nobody.
    pub(in crate::client) fn unhand(&mut self, over: impl Fn(MessageId, &TextRow) -> bool) {
        for (_, texts) in &mut self.handed {
            texts.retain(|(id, row)| !over(*id, row));
        }
    }

    /// Nobody got the answer to this call: the texts in it wait to be read again, in their places
    /// and as they are now.
    pub(in crate::client) fn unheard(&mut self, now: Now, tag: u64) {
        let Some(place) = self.handed.iter().position(|(handed, _)| *handed == tag) else {
            return;
        };
        let (_, texts) = self.handed.remove(place).unwrap_or_default();
        for (id, row) in texts {
            // A history that keeps none has it no more; what is over is not among these.
            let mut row = self.texts.row(id).cloned().unwrap_or(row);
            row.since_s = None;
            self.text_unread(now, id, row);
        }
    }
}
