//! How things stand, said openly.

use std::time::Duration;

use whist_link::RECORD_BYTES;
use whist_netdoc::{Consensus, PROFILES};
use whist_types::{Now, Wall};

use crate::account::family_of;
use crate::api::seconds_up;
use crate::call::{ContactInfo, Status};

use crate::client::Client;
use crate::client::net::skew;
use crate::client::warn::{few_sessions, thin_mixes};
use crate::limits::ANSWER_AWAITED;

const SECONDS_PER_MONTH: f64 = 30.0 * 24.0 * 3_600.0;

impl Client {
    pub(super) fn contact_list(&self, now: Now) -> Vec<ContactInfo> {
        let consensus = self.usable(now);
        let family = |id| family_of(consensus.as_deref()?, &id);
        let own = self.account.entry.and_then(family);
        let mut list: Vec<ContactInfo> = self
            .people
            .contacts
            .iter()
            .map(|(id, contact)| ContactInfo {
                name: contact.row.name.clone(),
                fingerprint: contact.peer().fingerprint().to_string(),
                not_safe: contact.row.not_safe,
                safety: contact.safety(),
                blocked: contact.row.terms.blocked,
                silent_since_s: contact.row.silent_since_ms.map(|ms| ms / 1_000),
                unread: self
                    .texts
                    .unread()
                    .filter(|(_, r)| r.contact == *id)
                    .count(),
                shares_entry_family: own.is_some() && family(contact.row.provider) == own,
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// How things stand.
    pub fn status(&self, now: Now) -> Status {
        let now = self.clock.corrected(now);
        let consensus = self.usable(now);
        let nodes = consensus.as_deref().map_or([0, 0], |c| {
            let providers = c.providers().len();
            [c.nodes().len().saturating_sub(providers), providers]
        });
        let ready = |i: &&crate::contacts::InvitationRow| i.published && i.given.is_none();
        let loss = self.losses.overall();
        Status {
            locked: self.locked,
            locks_after_s: None,
            online: self.emission.is_running(),
            epoch: consensus.as_deref().map(|c| c.epoch().number()),
            consensus: consensus.as_deref().map(|c| c.hash().to_string()),
            nodes,
            profile: PROFILES
                .get(usize::from(self.account.profile))
                .copied()
                .unwrap_or("standard"),
            entry: self.account.entry.map(|id| id.to_string()),
            mailbox_provider: self.mailbox.as_ref().map(|m| m.provider().to_string()),
            mailbox: self.mailbox.as_ref().is_some_and(|m| m.is_created()),
            contacts: self.people.contacts.len(),
            unread: self.texts.unread_len(),
            outbox: self.outbox.len(),
            outbox_leaves_s: self.outbox_leaves_s(),
            invitations_ready: self.people.invitations.values().filter(ready).count(),
            banners: self.banners(),
            warnings: self.warnings(now, consensus.as_deref()),
            loss: loss.loss(),
            loss_alarm: loss.alarm,
            loss_points_at: self.loss_points_at(),
            segments: self.segments(),
            latency: self.latency(),
            tor: false,
            consensus_until_s: consensus.as_deref().map(|c| c.valid_until().as_secs()),
            consensus_begun_s: consensus.as_deref().map(|c| {
                let begun = c.schedule().start(c.epoch());
                now.wall.since(begun).as_secs()
            }),
            clock_ahead_s: self.clock.ahead_s(),
            clock_is_wrong: self.clock.is_corrected(),
            bytes_per_month: self.bytes_per_month(),
            stats: self.stats(),
        }
    }

    /// One request leaves at each send tick.
    fn outbox_leaves_s(&self) -> u64 {
        let parameters = self.parameters();
        let rate = parameters.rate_per_s(self.account.profile);
        let sends = rate * f64::from(parameters.share_send_16ths) / 16.0;
        let queued = f64::from(u32::try_from(self.outbox.len()).unwrap_or(u32::MAX));
        Duration::try_from_secs_f64(queued / sends).map_or(u64::MAX, seconds_up)
    }

    fn bytes_per_month(&self) -> u64 {
        let parameters = self.parameters();
        let frames = parameters.rate_per_s(self.account.profile)
            + parameters.slots_per_s(self.account.profile);
        let record = f64::from(u32::try_from(RECORD_BYTES).unwrap_or(u32::MAX));
        let epoch = parameters.schedule(0).length().as_secs_f64();
        let documents = self.document_frames_per_month(SECONDS_PER_MONTH / epoch);
        let bytes = record.mul_add(documents, frames * record * SECONDS_PER_MONTH);
        // Through a duration, whose conversion is checked: a float has no checked one to integers.
        Duration::try_from_secs_f64(bytes).map_or(u64::MAX, |d| d.as_secs())
    }

    fn warnings(&self, now: Now, consensus: Option<&Consensus>) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |text: String| warnings.push(text);
        if let Some(ahead_s) = self.clock.ahead_s() {
            let off = skew(ahead_s);
            warn(match self.clock.is_corrected() {
                true => format!("{off}; it is taken as wrong until the daemon ends"),
                false => format!("{off}: set it right, or whist net check --clock-is-wrong"),
            });
        }
        if let Some(evidence) = self.follower.evidence() {
            let epoch = evidence.epoch;
            warn(format!(
                "the authorities signed two documents for epoch {epoch}"
            ));
        }
        match consensus {
            None if self.follower.newest().is_some() => {
                warn("the consensus is too old: nothing is sent until a newer one comes".into());
            }
            None => warn("no consensus yet: nothing is sent".into()),
            Some(consensus) => self.crowd_warnings(consensus, &mut warn),
        }
        if self.losses.overall().alarm {
            warn("more packets are lost than chance explains".into());
        }
        for contact in self.contact_list(now) {
            if contact.not_safe {
                warn(format!(
                    "{}'s invitation was used twice: compare fingerprints",
                    contact.name
                ));
            }
            let silent = contact.silent_since_s.map(Wall::from_secs);
            if silent.is_some_and(|since| now.wall.since(since) >= ANSWER_AWAITED) {
                warn(format!(
                    "no answer yet from {}, whose invitation was opened a day ago or longer: \
                     unless it has only not written, the invitation may have been used by \
                     somebody else, or be void; ask for a new one by another way",
                    contact.name
                ));
            }
            if contact.shares_entry_family {
                warn(format!(
                    "{}'s mailbox is hosted by the operators of your entry provider",
                    contact.name
                ));
            }
        }
        warnings
    }

    fn crowd_warnings(&self, consensus: &Consensus, warn: &mut impl FnMut(String)) {
        if thin_mixes(consensus) {
            warn("the crowd is small: fewer than 5 packets are expected in a mix".into());
        }
        if few_sessions(consensus) {
            warn("the crowd is small: fewer than 100 sessions are on line".into());
        }
        let Some(mailbox) = &self.mailbox else {
            return;
        };
        let home = family_of(consensus, &mailbox.provider());
        if home.is_none() {
            warn("the mailbox's provider has left the network".into());
        }
        let entry = self.account.entry.map(|id| family_of(consensus, &id));
        if entry == Some(None) {
            warn(
                "the entry provider has left the network, and those that are left are the \
                 mailbox's operators: nothing is sent"
                    .into(),
            );
        } else if home.is_some() && entry == Some(home) {
            warn(
                "your entry provider and your mailbox have the same operators: they can know \
                 that the mailbox is yours"
                    .into(),
            );
        }
    }
}
