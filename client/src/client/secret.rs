//! A secret that a contact knows too (`docs/protocol/ratchet.md`): set, told, and shown.

use std::time::Duration;

use whist_link::Output;
use whist_ratchet::{Error, SecretState, SharedSecret};
use whist_timing::exponential;
use whist_types::{Instant, Now, Secret};

use crate::api::Effect;
use crate::call::{Answer, Hidden, Shared};
use crate::client::ask::{OTHER, REFUSED, UNKNOWN_CONTACT, USAGE, key_changed};
use crate::client::{Client, Wish};
use crate::contacts::{Contact, SecretNote};
use crate::conversation::DEVICE;
use crate::ids::ContactId;
use crate::indicators::Indicator;
use crate::limits::STRETCH_WAIT_S;
use crate::rpc::RpcError;

/// Why nothing is sealed, or nothing is changed, in the words of a person.
pub(super) fn refusal(error: Error) -> RpcError {
    let why = match error {
        Error::SecretsDiffer => {
            "the contact has set another shared secret: nothing is sent to it; set the same with \
             `whist contact set NAME --shared-secret`, or both take it back with \
             `--no-shared-secret`"
        }
        Error::SecretMissing => {
            "the shared secret is not in use in this new session: nothing is sent before both set \
             it again with `whist contact set NAME --shared-secret`, or you take it back with \
             `--no-shared-secret`"
        }
        Error::SecretAgreed => {
            "the contact has the same shared secret, which comes into use with the next items; it \
             can be changed then"
        }
        other => return RpcError::new(OTHER, other.to_string()),
    };
    RpcError::new(REFUSED, why)
}

impl Contact {
    /// How far the shared secret has come, as it is shown.
    pub(super) fn shared(&self) -> Shared {
        match self.session.secret_state() {
            SecretState::None => Shared::None,
            SecretState::Missing => Shared::Missing,
            SecretState::Waiting => Shared::Waiting,
            SecretState::Agreed => Shared::Agreed,
            SecretState::Differs => Shared::Differs,
            SecretState::InUse => Shared::InUse,
        }
    }

    /// Whether items about the secret may be sent to it.
    const fn hears(&self) -> bool {
        !self.row.terms.blocked && self.row.waiting.is_none() && !self.row.asked
    }
}

impl Client {
    /// The person sets a secret. Its key is computed elsewhere: that takes longer than a tick has.
    pub(super) fn ask_shared_secret(
        &mut self,
        now: Now,
        tag: u64,
        contact: &str,
        passphrase: Hidden,
    ) -> Result<Option<Answer>, RpcError> {
        if passphrase.expose().trim().is_empty() {
            return Err(RpcError::new(USAGE, "the shared secret is empty"));
        }
        let (id, known) = self.known(contact)?;
        if known.row.waiting.is_some() {
            return Err(key_changed());
        }
        if known.row.asked {
            let why = "this contact has not accepted the request yet";
            return Err(RpcError::new(REFUSED, why));
        }
        if known.session.secret_state() == SecretState::Agreed {
            return Err(refusal(Error::SecretAgreed));
        }
        let salt = known.session.secret_salt();
        let computed = |wish: &Wish| matches!(wish, Wish::Secret { .. });
        if self.waiters.iter().any(|waiter| computed(&waiter.wish)) {
            return Err(RpcError::new(OTHER, "another shared secret is being set"));
        }
        self.wait(now, tag, STRETCH_WAIT_S, Wish::Secret { contact: id, salt })?;
        let effect = Effect::Stretch {
            tag,
            passphrase,
            salt,
        };
        self.outputs.push_back(Output::Effect(effect));
        Ok(None)
    }

    /// What was made of the passphrase. If nobody waits for it any more, it is dropped.
    pub(super) fn stretched(&mut self, now: Now, tag: u64, secret: Option<&Secret<32>>) {
        let asked = |waiter: &crate::client::Waiter| {
            waiter.tag == tag && matches!(waiter.wish, Wish::Secret { .. })
        };
        let Some(place) = self.waiters.iter().position(asked) else {
            return;
        };
        let Wish::Secret { contact, salt } = self.waiters.swap_remove(place).wish else {
            return;
        };
        let done = self.set_secret(now, contact, &salt, secret);
        self.answer(tag, done.map(|()| Answer::Done {}));
    }

    fn set_secret(
        &mut self,
        now: Now,
        id: ContactId,
        salt: &[u8; 32],
        secret: Option<&Secret<32>>,
    ) -> Result<(), RpcError> {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "the contact is gone"));
        };
        let Some(secret) = secret else {
            let why = "there is not enough memory to compute the shared secret's key";
            return Err(RpcError::new(OTHER, why));
        };
        if contact.session.secret_salt() != *salt {
            let why = "a new session has begun meanwhile: set the shared secret again";
            return Err(RpcError::new(OTHER, why));
        }
        let secret = SharedSecret::new(secret.duplicate());
        contact.session.set_secret(&secret).map_err(refusal)?;
        self.save_contact(id);
        self.tend_secret(now, id, true);
        Ok(())
    }

    /// The person takes it back, or demands none any more.
    pub(super) fn drop_secret(&mut self, now: Now, id: ContactId) -> Result<(), RpcError> {
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return Err(RpcError::new(UNKNOWN_CONTACT, "the contact is gone"));
        };
        if contact.session.secret_state() == SecretState::InUse {
            let why = "the shared secret is in the keys and stays there; a new session begins \
                       without it: `whist session reset NAME`";
            return Err(RpcError::new(REFUSED, why));
        }
        contact.session.withdraw_secret().map_err(refusal)?;
        self.save_contact(id);
        self.tend_secret(now, id, true);
        Ok(())
    }

    /// Looks where a session stands after something was opened, sealed or set: the person is told,
    /// and so is the contact, at once where the person has done something, else late like receipts.
    pub(super) fn tend_secret(&mut self, now: Now, id: ContactId, at_once: bool) {
        let mean = self.parameters().rare_mean();
        let Some(contact) = self.people.contacts.get_mut(&id) else {
            return;
        };
        let state = contact.session.secret_state();
        let closed = matches!(state, SecretState::Differs | SecretState::Missing);
        let before = contact.row.secret;
        let note = &mut contact.row.secret;
        if contact.session.secrets() != note.count {
            note.count = contact.session.secrets();
            note.since_s = now.wall.as_secs();
        }
        note.closed = closed;
        if contact.session.owes_item()
            && contact.hears()
            && (at_once || contact.secret_due.is_none())
        {
            let wait = match at_once {
                true => Duration::ZERO,
                false => exponential(mean, &mut self.rng),
            };
            contact.secret_due = Some(now.instant.after(wait));
        }
        if contact.row.secret != before {
            self.save_contact(id);
        }
        if closed && !before.closed {
            let what = match state {
                SecretState::Differs => Indicator::SecretsDiffer,
                _ => Indicator::SecretMissing,
            };
            self.raise(now, what, Some(id));
        }
    }

    /// A session takes another one's place: what had a secret goes on with one, or not at all.
    pub(super) fn demand_secret(contact: &mut Contact) {
        let old = contact
            .old
            .as_ref()
            .map(whist_ratchet::Session::secret_state);
        if old.is_some_and(|state| state != SecretState::None) {
            contact.session.require_secret();
        }
        contact.row.secret = SecretNote::default();
        contact.secret_due = None;
    }

    /// Sends items that say nothing but what is to be said of secrets.
    pub(super) fn send_about_secrets(&mut self, now: Now) {
        let contacts = self.people.contacts.iter();
        let due: Vec<ContactId> = contacts
            .filter(|(_, c)| c.secret_due.is_some_and(|at| at <= now.instant))
            .map(|(id, _)| *id)
            .collect();
        let consensus = self.follower.hash();
        for id in due {
            let room = self.outbox.room() > 0;
            let Some(contact) = self.people.contacts.get_mut(&id) else {
                continue;
            };
            contact.secret_due = None;
            // A text may have said it meanwhile.
            if !contact.session.owes_item() || !contact.hears() {
                continue;
            }
            let sealed = match room {
                true => contact
                    .session
                    .seal_bare(DEVICE, consensus, &mut self.rng)
                    .ok(),
                false => None,
            };
            match sealed {
                Some(item) => {
                    self.save_contact(id);
                    // There is room.
                    let _ = self.put(now, id, vec![item], None);
                }
                // The outbox is full: later.
                None => self.tend_secret(now, id, false),
            }
        }
    }

    /// When the next such item is due.
    pub(super) fn secrets_due(&self) -> Option<Instant> {
        let contacts = self.people.contacts.values();
        contacts.filter_map(|contact| contact.secret_due).min()
    }
}
