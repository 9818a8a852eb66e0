//! How long texts are kept, and that they go when their time is over.

use std::time::Duration;

use whist_types::{Instant, Now};
use zeroize::Zeroize as _;

use crate::call::MessageState;
use crate::client::Client;
use crate::client::ask::USAGE;
use crate::contacts::What;
use crate::conversation::{History, Settings, Word};
use crate::ids::{ContactId, MessageId};
use crate::limits::INBOX_MAX;
use crate::rows::Table;
use crate::rpc::RpcError;
use crate::texts::TextRow;

const DAY_S: u64 = 24 * 3_600;

/// When the next text goes.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Not before this second.
    due_s: Option<u64>,
    /// The same on the clock of this start.
    at: Option<Instant>,
}

impl Expiry {
    fn by(&mut self, second: u64) {
        self.due_s = Some(self.due_s.map_or(second, |due| due.min(second)));
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }
}

impl Client {
    /// When a text goes, if it does: by its timer, or by the time for which its contact's texts are
    /// kept. What waits to be read stays.
    fn goes_s(&self, id: MessageId, row: &TextRow) -> Option<u64> {
        if self.texts.is_unread(id) {
            return None;
        }
        let contact = self.people.contacts.get(&row.contact);
        let own = contact.and_then(|contact| contact.row.terms.retention);
        let days = own.or(self.own.history.days());
        let kept = days.map(|days| {
            row.at_s
                .saturating_add(u64::from(days).saturating_mul(DAY_S))
        });
        kept.into_iter().chain(row.gone_s()).min()
    }

    /// Writes a text's row where it belongs, and sees to its end.
    pub(super) fn save_text(&mut self, id: MessageId) {
        // Numbers are not used twice, in any mode.
        self.save_own();
        let Some(row) = self.texts.row(id) else {
            return;
        };
        let goes = self.goes_s(id, row);
        if let Some(second) = goes {
            self.expiry.by(second);
        }
        if !self.own.keeps_texts() {
            return self.forget_row(id);
        }
        let bytes = borsh::to_vec(row).unwrap_or_default();
        let (here, there) = match self.texts.is_unread(id) {
            true => (Table::Inbox, Table::History),
            false => (Table::History, Table::Inbox),
        };
        self.batch.put(here, id.key(), bytes);
        self.batch.delete(there, id.key());
    }

    pub(super) fn save_own(&mut self) {
        let row = borsh::to_vec(&self.own).unwrap_or_default();
        self.batch.put(Table::Own, Vec::new(), row);
    }

    /// A text is handed to the person.
    pub(super) fn text_read(&mut self, now: Now, id: MessageId) {
        if let Some((contact, sequence)) = self.text_waits_no_more(now, id) {
            self.told_read(now, contact, |read| read.max(sequence));
        }
    }

    /// A text goes to the history though nobody has read it. A receipt names all up to a number, so
    /// this one is taken out of what receipts speak of.
    fn put_aside(&mut self, now: Now, id: MessageId) {
        let Some((contact, sequence)) = self.text_waits_no_more(now, id) else {
            return;
        };
        if let Some(contact) = self.people.contacts.get_mut(&contact) {
            contact.row.owed.leave_out([sequence]);
        }
        self.save_contact(contact);
    }

    fn text_waits_no_more(&mut self, now: Now, id: MessageId) -> Option<(ContactId, u64)> {
        let mut row = self.texts.take(id)?;
        row.since_s = Some(now.wall.as_secs());
        let (contact, sequence) = (row.contact, row.place.sequence);
        self.texts.put(id, row, false);
        self.save_text(id);
        self.release_later(now, contact, sequence);
        Some((contact, sequence))
    }

    /// It was not handed over after all.
    pub(super) fn text_unread(&mut self, now: Now, id: MessageId, row: TextRow) {
        let (contact, place) = (row.contact, row.place);
        self.texts.put(id, row, true);
        self.save_text(id);
        self.hold_on(contact, place.sequence);
        self.told_read(now, contact, |read| {
            read.min(place.sequence.saturating_sub(1))
        });
    }

    fn told_read(&mut self, now: Now, id: ContactId, read: impl FnOnce(u64) -> u64) {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let owed = &mut contact.row.owed;
        owed.read = read(owed.read);
        self.save_contact(id);
        self.owe_receipt(now, id);
    }

    /// Another version of a text, or its end; whether anything changed.
    pub(super) fn revise_text(&mut self, id: MessageId, text: Option<&str>) -> bool {
        let unread = self.texts.is_unread(id);
        let Some(row) = self.texts.row(id).filter(|row| !row.deleted) else {
            return false;
        };
        let mut row = row.clone();
        match text {
            Some(text) => {
                row.text.zeroize();
                row.text.push_str(text);
                row.edited = true;
            }
            None => {
                row.text.zeroize();
                row.deleted = true;
            }
        }
        let hidden = unread && !self.texts.is_shown(id);
        self.texts.put(id, row, unread);
        if hidden {
            self.texts.hide(id);
        }
        self.save_text(id);
        true
    }

    /// Removes a text here.
    pub(super) fn drop_text(&mut self, id: MessageId) {
        if self.texts.take(id).is_some() {
            self.forget_row(id);
        }
    }

    fn forget_row(&mut self, id: MessageId) {
        self.batch.delete(Table::Inbox, id.key());
        self.batch.delete(Table::History, id.key());
    }

    /// Makes room: the oldest that was read goes; with too many unread, the oldest goes to the
    /// history.
    pub(super) fn trim_texts(&mut self, now: Now) {
        if self.texts.unread_len() > INBOX_MAX {
            let oldest = self.texts.unread().next().map(|(id, _)| id);
            if let Some(id) = oldest {
                self.put_aside(now, id);
            }
        }
        while let Some(id) = self.texts.surplus() {
            self.drop_text(id);
        }
    }

    /// How long texts are kept from now on; contacts are told. Without a history, names go too, and
    /// what waits to be read has to be read before.
    pub(super) fn keep_history(&mut self, now: Now, history: History) -> Result<(), RpcError> {
        let unread = self.texts.unread().next().is_some();
        let began = self
            .people
            .contacts
            .values()
            .any(|c| !c.incoming.is_empty());
        if history == History::None && (unread || began) {
            let why = "texts wait to be read, or are on their way in pieces; read them first";
            return Err(RpcError::new(USAGE, why));
        }
        if self.own.history == History::None && !self.holding.is_empty() {
            let why = "texts that were shown are still being acknowledged; try again later";
            return Err(RpcError::new(USAGE, why));
        }
        self.own.history = history;
        self.save_own();
        let invitations: Vec<_> = self.people.invitations.keys().copied().collect();
        invitations
            .into_iter()
            .for_each(|id| self.save_invitation(id));
        let pending: Vec<_> = self.people.pending.keys().copied().collect();
        pending.into_iter().for_each(|id| self.save_pending(id));
        self.save_askers();
        let contacts: Vec<ContactId> = self.people.contacts.keys().copied().collect();
        for id in contacts {
            self.save_contact(id);
            self.tell_policy(now, id);
        }
        let texts: Vec<MessageId> = self.texts.all().map(|(id, _)| id).collect();
        if history == History::None {
            texts.into_iter().for_each(|id| self.drop_text(id));
        }
        self.look_at_times();
        Ok(())
    }

    /// Tells a contact how long its texts are kept, if it does not know.
    pub(super) fn tell_policy(&mut self, now: Now, id: ContactId) {
        let history = self.own.history;
        let Some(contact) = self.people.contacts.get(&id) else {
            return;
        };
        let terms = &contact.row.terms;
        if terms.told_history == history || terms.blocked {
            return;
        }
        let settings = Word::Settings(Settings {
            change: terms.timer_change,
            timer_s: terms.timer_s,
            history,
        });
        // With a full outbox, or a changed key, it is told with the next change.
        if self.say(now, id, What::Settings, &settings).is_ok() {
            if let Some(contact) = self.people.contacts.get_mut(&id) {
                contact.row.terms.told_history = history;
            }
            self.save_contact(id);
        }
    }

    /// Every text's time is looked at again: a time changed.
    pub(super) fn look_at_times(&mut self) {
        self.expiry.by(0);
    }

    /// Removes texts whose time is over. Of a text of ours that is not stored yet, nothing more is
    /// sent.
    pub(super) fn expire_texts(&mut self, now: Now) {
        let second = now.wall.as_secs();
        if self.expiry.due_s.is_some_and(|due| due <= second) {
            self.expiry.due_s = None;
            let (mut over, mut later) = (Vec::new(), Vec::new());
            for (id, row) in self.texts.all() {
                // What is kept no longer here is sent all the same; what its timer ends is not.
                let ended = row.gone_s().is_some_and(|at| at <= second);
                match self.goes_s(id, row) {
                    Some(at) if at <= second => over.push((id, ended, row.place.own)),
                    Some(at) => later.push(at),
                    None => {}
                }
            }
            later.into_iter().for_each(|at| self.expiry.by(at));
            for (id, ended, own) in over {
                self.drop_text(id);
                if ended {
                    self.unhand(|handed, _| handed == id);
                }
                if ended && own {
                    self.text_expired(now, id);
                }
            }
        }
        self.expiry.at = self.expiry.due_s.map(|due| {
            let wait = Duration::from_secs(due.saturating_sub(second));
            now.instant.after(wait)
        });
    }

    fn text_expired(&mut self, now: Now, id: MessageId) {
        let waits = |state| matches!(state, MessageState::Queued | MessageState::Sent);
        let row = self.people.messages.get(&id);
        if row.is_some_and(|row| waits(row.state)) {
            self.stop_sending(now, id);
            self.give_word_up(now, id, MessageState::Expired);
        }
    }

    /// Takes a word's pieces out of the outbox.
    pub(super) fn stop_sending(&mut self, now: Now, id: MessageId) {
        for request in self.outbox.requests_of(id) {
            self.outbox.answered(request);
            self.save_request(now, request);
        }
    }
}
