//! Texts that are there already: their state, their end, other versions of them, and the history.

use whist_types::Now;
use zeroize::Zeroizing;

use super::contact::done;
use super::{OTHER, USAGE};
use crate::call::{Answer, MessageState, Outgoing, Text, Until};
use crate::client::{Client, Wish};
use crate::contacts::What;
use crate::conversation::{History, Place, Word};
use crate::ids::{ContactId, MessageId};
use crate::limits::{HISTORY_PAGE_MAX, TEXT_BYTES_MAX};
use crate::rpc::RpcError;
use crate::texts::TextRow;

fn no_such_text() -> RpcError {
    RpcError::new(USAGE, "there is no such text, or it is kept no longer")
}

/// What looking at a text costs beside its bytes, as bytes.
const TEXT_BYTES_LEAST: usize = 64;

/// A search that goes on from input to input.
pub(in crate::client) struct Search {
    contact: Option<ContactId>,
    words: String,
    /// Texts before this one are still to be looked at; all of them at first.
    before: Option<MessageId>,
    found: Vec<Text>,
}

impl Client {
    /// A text as it is shown.
    pub(super) fn shown(&self, message: MessageId, row: &TextRow) -> Text {
        let state = self.people.messages.get(&message).map(|row| row.state);
        Text {
            message,
            contact: self.name_of(row.contact),
            text: row.text.clone(),
            received_s: row.at_s,
            own: row.place.own,
            reply_to: row
                .answers
                .and_then(|place| self.texts.find(row.contact, place)),
            edited: row.edited,
            deleted: row.deleted,
            timer_s: row.timer_s,
            safety: row.safety,
            state: state.filter(|_| row.place.own),
        }
    }

    pub(super) fn ask_history(
        &mut self,
        contact: Option<String>,
        before: Option<MessageId>,
        limit: Option<u64>,
    ) -> Result<Option<Answer>, RpcError> {
        let contact = contact.map(|name| self.contact_of(&name)).transpose()?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(HISTORY_PAGE_MAX).min(HISTORY_PAGE_MAX);
        let earlier = |id: MessageId| before.is_none_or(|before| id < before);
        Ok(Some(self.page(contact, limit, |id, _| earlier(id))))
    }

    pub(super) fn ask_history_keep(
        &mut self,
        now: Now,
        keep: History,
    ) -> Result<Option<Answer>, RpcError> {
        if keep == History::Days(0) {
            return Err(RpcError::new(USAGE, "at least one day"));
        }
        self.keep_history(now, keep)?;
        done()
    }

    pub(super) fn ask_search(
        &mut self,
        now: Now,
        tag: u64,
        words: &str,
        contact: Option<String>,
    ) -> Result<Option<Answer>, RpcError> {
        let search = Search {
            contact: contact.map(|name| self.contact_of(&name)).transpose()?,
            words: words.to_lowercase(),
            before: None,
            found: Vec::new(),
        };
        self.wait(now, tag, 0, Wish::Search(search))?;
        Ok(None)
    }

    /// Goes on with a search, newest text first, until it is done or `bytes` are used up: a long
    /// history must not hold up the send clock.
    pub(super) fn search_on(&self, search: &mut Search, bytes: &mut usize) -> Option<Answer> {
        let of = |row: &TextRow| search.contact.is_none_or(|id| row.contact == id);
        for (id, row) in self.texts.before(search.before).rev() {
            if search.found.len() >= HISTORY_PAGE_MAX {
                break;
            }
            *bytes = bytes.checked_sub(row.text.len().saturating_add(TEXT_BYTES_LEAST))?;
            search.before = Some(id);
            if of(row) && !self.texts.is_unread(id) {
                let text = Zeroizing::new(row.text.to_lowercase());
                if text.contains(&search.words) {
                    search.found.push(self.shown(id, row));
                }
            }
        }
        let mut texts = std::mem::take(&mut search.found);
        texts.reverse();
        Some(Answer::Texts { texts })
    }

    /// The last texts that are wanted, oldest first. What waits to be read is `receive`'s.
    fn page(
        &self,
        contact: Option<ContactId>,
        limit: usize,
        wanted: impl Fn(MessageId, &TextRow) -> bool,
    ) -> Answer {
        let of = |row: &TextRow| contact.is_none_or(|id| row.contact == id);
        let mut texts: Vec<Text> = self
            .texts
            .all()
            .rev()
            .filter(|(id, row)| of(row) && wanted(*id, row) && !self.texts.is_unread(*id))
            .take(limit)
            .map(|(id, row)| self.shown(id, row))
            .collect();
        texts.reverse();
        Answer::Texts { texts }
    }

    pub(super) fn ask_message_status(
        &mut self,
        message: MessageId,
    ) -> Result<Option<Answer>, RpcError> {
        let row = self.people.messages.get(&message);
        let row = row.filter(|row| row.what == What::Text);
        let state = row.ok_or_else(no_such_text)?.state;
        Ok(Some(Answer::Message { message, state }))
    }

    pub(super) fn ask_message_wait(
        &mut self,
        now: Now,
        tag: u64,
        message: MessageId,
        until: Until,
        wait_s: u64,
    ) -> Result<Option<Answer>, RpcError> {
        self.ask_message_status(message)?;
        self.wait(now, tag, wait_s, Wish::Came { message, until })?;
        Ok(None)
    }

    /// Takes a text back of which nothing has left. Its number goes to a word that says nothing, so
    /// that the contact misses none.
    pub(super) fn ask_message_cancel(
        &mut self,
        now: Now,
        message: MessageId,
    ) -> Result<Option<Answer>, RpcError> {
        let row = self.people.messages.get(&message).cloned();
        let row = row.filter(|row| row.what == What::Text);
        let row = row.ok_or_else(no_such_text)?;
        let requests = self.outbox.requests_of(message);
        let untouched = |id: &crate::ids::RequestId| {
            let entry = self.outbox.entry(*id);
            // Of one from before a restart, the packet may have left and its count not been kept.
            entry.is_some_and(|entry| entry.sends == 0 && !entry.restored)
        };
        let whole = usize::from(row.unanswered) == requests.len();
        if row.state != MessageState::Queued || !whole || !requests.iter().all(untouched) {
            let why = "a packet of it may have left; `message delete --everybody` asks the \
                       contact's program to delete it";
            return Err(RpcError::new(OTHER, why));
        }
        self.stop_sending(now, message);
        self.drop_text(message);
        if self.say_instead(now, message, &Word::Nothing).is_err() {
            // Nothing is sealed to this contact now. Its next word says that none is to come.
            self.give_word_up(now, message, MessageState::Failed);
        }
        done()
    }

    /// Whose text it is and which, also of one's own that are kept no longer here.
    fn place_of_any(&self, message: MessageId) -> Option<(ContactId, Place)> {
        let kept = self.texts.row(message).map(|row| (row.contact, row.place));
        let sent = self.people.messages.get(&message);
        let sent = sent.filter(|row| row.what == What::Text).map(|row| {
            let place = Place {
                own: true,
                sequence: row.sequence,
            };
            (row.contact, place)
        });
        kept.or(sent)
    }

    pub(super) fn ask_message_delete(
        &mut self,
        now: Now,
        message: MessageId,
        everybody: bool,
    ) -> Result<Option<Answer>, RpcError> {
        let (contact, place) = self.place_of_any(message).ok_or_else(no_such_text)?;
        if everybody {
            if !place.own {
                let why = "only one's own texts can be deleted for everybody";
                return Err(RpcError::new(USAGE, why));
            }
            let sequence = place.sequence;
            self.say(
                now,
                contact,
                What::Delete(message),
                &Word::Delete { sequence },
            )?;
        }
        self.drop_text(message);
        self.unhand(|id, _| id == message);
        done()
    }

    pub(super) fn ask_message_edit(
        &mut self,
        now: Now,
        message: MessageId,
        text: String,
    ) -> Result<Option<Answer>, RpcError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(RpcError::new(USAGE, "a text has at most 65,536 bytes"));
        }
        let row = self.texts.row(message).ok_or_else(no_such_text)?;
        let (contact, place) = (row.contact, row.place);
        if !place.own {
            return Err(RpcError::new(USAGE, "only one's own texts can be edited"));
        }
        let word = Word::Edit {
            sequence: place.sequence,
            text: text.clone().into(),
        };
        self.say(now, contact, What::Edit(message), &word)?;
        self.revise_text(message, Some(&text));
        done()
    }

    pub(super) fn ask_outbox(&mut self) -> Result<Option<Answer>, RpcError> {
        let waits = |state| matches!(state, MessageState::Queued | MessageState::Sent);
        let messages = self.people.messages.iter();
        let outgoing = messages
            .filter(|(_, row)| row.what == What::Text && waits(row.state))
            .map(|(message, row)| Outgoing {
                message: *message,
                contact: self.name_of(row.contact),
                state: row.state,
                unsent: row.unsent,
                unanswered: row.unanswered,
            })
            .collect();
        Ok(Some(Answer::Outbox { outgoing }))
    }
}
