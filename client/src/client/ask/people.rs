//! Inviting and being invited.

use std::time::Duration;

use rand_core::Rng as _;
use whist_ratchet::Invitation;
use whist_types::Now;

use super::{OTHER, USAGE, no_invitation};
use crate::api::seconds_up;
use crate::call::{Answer, Invite};
use crate::client::{Client, Wish};
use crate::contacts::PendingRow;
use crate::limits::{CONTACTS_MAX, INVITATION_LIFE};
use crate::outbox::Job;
use crate::rpc::RpcError;

impl Client {
    pub(super) fn refuse_name(&self, name: &str) -> Result<(), RpcError> {
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

    pub(super) fn ask_invite(
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
    pub(super) fn give_invitation(&mut self, name: &str) -> Option<Answer> {
        if !self.mailbox.as_ref()?.is_created() {
            return None;
        }
        let (id, invitation) = self
            .people
            .invitations
            .iter_mut()
            // The youngest: it is good for longest.
            .rev()
            .find(|(_, i)| i.published && i.given.is_none())?;
        invitation.given = Some(name.to_owned());
        let (id, invitation) = (*id, invitation.text());
        self.save_invitation(id);
        Some(Answer::Invitation { invitation })
    }

    pub(super) fn invites(&self) -> Answer {
        let invitations = self.people.invitations.values();
        let invites = invitations
            .map(|row| Invite {
                given_to: row.given.clone(),
                published: row.published,
                made_s: row.made_ms / 1_000,
                until_s: (row.made_ms / 1_000).saturating_add(INVITATION_LIFE.as_secs()),
            })
            .collect();
        Answer::Invites { invites }
    }

    pub(super) fn ask_add(
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
            note: None,
        };
        self.people.pending.insert(pending, row);
        self.save_pending(pending);
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
}
