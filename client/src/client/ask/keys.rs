//! Keys that changed, one's own among them, and banners.

use whist_types::Now;

use super::contact::done;
use super::{OTHER, USAGE};
use crate::call::{Answer, MessageState};
use crate::client::Client;
use crate::contacts::What;
use crate::ids::{BannerId, ContactId, InvitationId};
use crate::rows::Table;
use crate::rpc::RpcError;
use crate::safety::SafetyNumber;

impl Client {
    /// What was compared is what is accepted: the number names the key.
    pub(super) fn ask_accept_key(
        &mut self,
        now: Now,
        name: &str,
        typed: &str,
    ) -> Result<Option<Answer>, RpcError> {
        let (id, contact) = self.known(name)?;
        let waiting = contact.waiting();
        let offer = waiting.ok_or_else(|| RpcError::new(USAGE, "no changed key waits"))?;
        let key = offer.identity();
        let number = SafetyNumber::of(&self.identity().public(), &key);
        if !number.is(typed) {
            let why = "this is not the safety number with the changed key: either it was misread, \
                       or somebody stands between you and this contact, or the key changed again";
            return Err(RpcError::new(OTHER, why));
        }
        self.accept_key(now, id, offer)?;
        if let Some(contact) = self.people.contacts.get_mut(&id) {
            contact.row.terms.verified = Some(*key.as_bytes());
            contact.row.not_safe = false;
        }
        self.save_contact(id);
        done()
    }

    /// The old key goes on.
    pub(super) fn ask_refuse_key(&mut self, name: &str) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(name)?;
        let contact = self.people.contacts.get_mut(&id);
        let was = contact.and_then(|contact| contact.row.waiting.take());
        if was.is_none() {
            return Err(RpcError::new(USAGE, "no changed key waits"));
        }
        self.save_contact(id);
        done()
    }

    pub(super) fn ask_session_reset(
        &mut self,
        now: Now,
        name: &str,
    ) -> Result<Option<Answer>, RpcError> {
        let id = self.contact_of(name)?;
        let mut words = self.people.messages.values();
        // What was asked for first could not be answered any more.
        let leaving = words.any(|row| {
            row.contact == id
                && row.what == What::Renewal
                && !row.lost
                && matches!(row.state, MessageState::Queued | MessageState::Sent)
        });
        if leaving {
            let why = "a new session is asked for already, and that is still on its way";
            return Err(RpcError::new(OTHER, why));
        }
        self.renew(now, id)?;
        done()
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a call answers")]
    pub(super) fn ask_identity_show(&self) -> Result<Option<Answer>, RpcError> {
        let fingerprint = self.identity().public().fingerprint().to_string();
        Ok(Some(Answer::Identity { fingerprint }))
    }

    /// A new identity. Each contact gets a bundle of it in its session and has to accept it;
    /// invitations that nobody used die with the old one.
    pub(super) fn ask_identity_rotate(&mut self, now: Now) -> Result<Option<Answer>, RpcError> {
        let contacts: Vec<ContactId> = self.people.contacts.keys().copied().collect();
        // Each takes a word of two pieces.
        if self.outbox.room() < contacts.len().saturating_mul(2) {
            return Err(RpcError::new(OTHER, "the outbox is full"));
        }
        if self.mailbox.is_none() {
            return Err(RpcError::new(OTHER, "there is no mailbox yet"));
        }
        self.account.rotate(&mut self.rng);
        let row = self.account.row();
        self.batch.put(Table::Account, Vec::new(), row);
        for id in contacts {
            if let Some(contact) = self.people.contacts.get_mut(&id) {
                // The numbers are others now.
                contact.row.terms.verified = None;
            }
            self.save_contact(id);
            // A contact whose own key changed hears of ours when its key is accepted.
            let _ = self.renew(now, id);
        }
        let invitations: Vec<InvitationId> = self.people.invitations.keys().copied().collect();
        for id in invitations {
            self.drop_invitation(id);
        }
        self.drop_address();
        self.save_mailbox();
        self.ask_identity_show()
    }

    pub(super) fn ask_dismiss(&mut self, banner: BannerId) -> Result<Option<Answer>, RpcError> {
        match self.dismiss(banner) {
            true => done(),
            false => Err(RpcError::new(USAGE, "there is no such banner")),
        }
    }
}
