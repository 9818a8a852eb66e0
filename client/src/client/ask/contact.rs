//! One contact: what holds for it, whether its key was compared, and its end.

use whist_types::Now;

use super::{OTHER, USAGE};
use crate::call::{Answer, Call, ContactDetails};
use crate::client::Client;
use crate::contacts::{Contact, KeyChange, Receipts, What, old_session_key};
use crate::conversation::{Settings, Word};
use crate::ids::{ContactId, MessageId};
use crate::limits::TIMER_S_MAX;
use crate::rows::Table;
use crate::rpc::RpcError;
use crate::safety::SafetyNumber;

impl Client {
    pub(super) fn safety_number(&self, contact: &Contact) -> SafetyNumber {
        SafetyNumber::of(&self.identity().public(), &contact.peer())
    }

    pub(in crate::client) fn known(&self, name: &str) -> Result<(ContactId, &Contact), RpcError> {
        let id = self.contact_of(name)?;
        let contact = self.people.contacts.get(&id);
        contact
            .map(|contact| (id, contact))
            .ok_or_else(|| RpcError::new(OTHER, "the contact is gone"))
    }

    fn change_contact(&mut self, id: ContactId, change: impl FnOnce(&mut Contact)) {
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            change(contact);
            self.save_contact(id);
        }
    }

    /// Shows the number; with the number that the contact has, says that the key was compared.
    pub(super) fn ask_verify(
        &mut self,
        name: &str,
        typed: Option<&str>,
        undo: bool,
    ) -> Result<Option<Answer>, RpcError> {
        let (id, contact) = self.known(name)?;
        let number = self.safety_number(contact);
        let key = *contact.peer().as_bytes();
        let verified = match typed {
            _ if undo => Some(None),
            Some(typed) if number.is(typed) => Some(Some(key)),
            Some(_) => {
                let why = "this is not the safety number: somebody may stand between you and this \
                           contact; write nothing that matters before the numbers are the same";
                return Err(RpcError::new(OTHER, why));
            }
            None => None,
        };
        if let Some(verified) = verified {
            self.change_contact(id, |contact| {
                contact.row.terms.verified = verified;
                // Whoever has this key is the one of the two whom the person means.
                contact.row.not_safe &= verified.is_none();
            });
        }
        let safety = self.people.contacts.get(&id).map(Contact::safety);
        Ok(Some(Answer::Safety {
            contact: name.to_owned(),
            number: number.to_string(),
            qr: crate::qr::terminal(number.digits()),
            safety: safety.unwrap_or_default(),
        }))
    }

    pub(super) fn ask_contact_show(
        &mut self,
        now: Now,
        name: &str,
    ) -> Result<Option<Answer>, RpcError> {
        let (_, contact) = self.known(name)?;
        let number = self.safety_number(contact).to_string();
        let new = contact.waiting().map(|offer| offer.identity());
        let own = self.identity().public();
        let new_number = new.map(|key| SafetyNumber::of(&own, &key).to_string());
        let terms = &contact.row.terms;
        let note = contact.row.secret;
        let since = (note.count > 0).then_some(note.since_s);
        let details = |info| ContactDetails {
            info,
            number,
            new_number: new_number.clone(),
            key_change: terms.key_change,
            receipts: terms.receipts,
            timer_s: terms.timer_s,
            retention_days: terms.retention,
            keeps: terms.peer_history,
            shared_secret: contact.shared(),
            shared_secret_since_s: since,
            provider: contact.row.provider.to_string(),
        };
        let mut list = self.contact_list(now).into_iter();
        let info = list.find(|info| info.name == name);
        let info = info.ok_or_else(|| RpcError::new(OTHER, "the contact is gone"))?;
        Ok(Some(Answer::Contact(Box::new(details(info)))))
    }

    pub(super) fn ask_contact_rename(
        &mut self,
        name: &str,
        new: &str,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(name)?;
        self.refuse_name(new)?;
        self.change_contact(id, |contact| contact.row.name = new.to_owned());
        done()
    }

    pub(super) fn ask_contact_change(
        &mut self,
        now: Now,
        tag: u64,
        call: Call,
    ) -> Result<Option<Answer>, RpcError> {
        let Call::ContactSet {
            contact,
            receipts,
            timer_s,
            retention_days,
            key_change,
            shared_secret,
            no_shared_secret,
        } = call
        else {
            return done();
        };
        if shared_secret.is_some() && no_shared_secret {
            let why = "a shared secret is either set or taken back";
            return Err(RpcError::new(USAGE, why));
        }
        if let Some(key_change) = key_change {
            self.set_key_change(&contact, key_change);
        }
        self.ask_contact_set(now, &contact, receipts, timer_s, retention_days)?;
        if no_shared_secret {
            let id = self.contact_of(&contact)?;
            self.drop_secret(now, id)?;
        }
        match shared_secret {
            Some(secret) => self.ask_shared_secret(now, tag, &contact, secret),
            None => done(),
        }
    }

    fn ask_contact_set(
        &mut self,
        now: Now,
        name: &str,
        receipts: Option<Receipts>,
        timer_s: Option<u32>,
        retention: Option<u16>,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(name)?;
        if timer_s.is_some_and(|timer| timer > TIMER_S_MAX) {
            return Err(RpcError::new(USAGE, "a timer has at most 365 days"));
        }
        if let Some(timer_s) = timer_s {
            self.set_timer(now, id, timer_s)?;
        }
        if let Some(receipts) = receipts {
            self.change_contact(id, |contact| contact.switch_receipts(receipts));
            self.owe_receipt(now, id);
        }
        if let Some(days) = retention {
            self.change_contact(id, |contact| {
                contact.row.terms.retention = Some(days).filter(|&days| days > 0);
            });
            self.look_at_times();
        }
        done()
    }

    pub(super) fn set_key_change(&mut self, name: &str, key_change: KeyChange) {
        if let Ok(id) = self.contact_of(name) {
            self.change_contact(id, |contact| contact.row.terms.key_change = key_change);
        }
    }

    /// The timer is agreed in the session: it holds here at once, and there when the word comes.
    fn set_timer(&mut self, now: Now, id: ContactId, timer_s: u32) -> Result<(), RpcError> {
        let Some(contact) = self.people.contacts.get(&id) else {
            return Err(RpcError::new(OTHER, "the contact is gone"));
        };
        let change = contact.row.terms.timer_change.saturating_add(1);
        let history = self.own.history;
        let settings = Settings {
            change,
            timer_s,
            history,
        };
        self.say(now, id, What::Settings, &Word::Settings(settings))?;
        self.change_contact(id, |contact| {
            contact.row.terms.timer_s = timer_s;
            contact.row.terms.timer_change = change;
            contact.row.terms.told_history = history;
        });
        Ok(())
    }

    pub(super) fn ask_contact_block(
        &mut self,
        name: &str,
        blocked: bool,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(name)?;
        self.change_contact(id, |contact| {
            // What was dropped meanwhile did not come.
            if contact.row.terms.blocked && !blocked {
                contact.row.owed.before = contact.incoming.next().saturating_sub(1);
            }
            contact.row.terms.blocked = blocked;
        });
        done()
    }

    /// Deletes a contact and all that is kept of it. Its address here is taken back later, like
    /// other rare commands; until then what it sends is dropped.
    pub(super) fn ask_contact_remove(
        &mut self,
        now: Now,
        name: &str,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(name)?;
        let texts = self.texts.all().filter(|(_, row)| row.contact == id);
        let texts: Vec<MessageId> = texts.map(|(id, _)| id).collect();
        texts.into_iter().for_each(|text| self.drop_text(text));
        let messages = self.people.messages.iter();
        let messages: Vec<MessageId> = messages
            .filter(|(_, row)| row.contact == id)
            .map(|(id, _)| *id)
            .collect();
        for message in messages {
            self.people.forget_message(message);
            self.batch.delete(Table::Message, message.key());
        }
        let Some(contact) = self.people.contacts.remove(&id) else {
            return done();
        };
        let (theirs, own) = (contact.row.address, contact.row.own_address);
        for request in self.outbox.requests_to(&theirs) {
            self.outbox.answered(request);
            self.save_request(now, request);
        }
        for (sequence, count) in contact.incoming.waiting() {
            self.forget_pieces(id, sequence, count);
        }
        self.forget_early(own);
        self.stop_holding(id);
        self.unhand(|_, row| row.contact == id);
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.forget(&own);
        }
        self.save_mailbox();
        self.own.banners.forget(id);
        self.save_own();
        self.batch.delete(Table::Session, old_session_key(id));
        self.batch.delete(Table::Contact, id.key());
        self.batch.delete(Table::Session, id.key());
        done()
    }
}

impl Contact {
    /// What came before receipts were on is nobody's business.
    fn switch_receipts(&mut self, receipts: Receipts) {
        let terms = &mut self.row.terms;
        if terms.receipts == Receipts::Off && receipts != Receipts::Off {
            self.row.owed.before = self.incoming.next().saturating_sub(1);
        }
        if receipts == Receipts::Off {
            self.receipt_due = None;
        }
        terms.receipts = receipts;
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a call answers")]
pub(super) const fn done() -> Result<Option<Answer>, RpcError> {
    Ok(Some(Answer::Done {}))
}
