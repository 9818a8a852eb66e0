//! What must be there: a guard, a mailbox, spare addresses, invitations published ahead.

use std::time::Duration;

use whist_netdoc::Consensus;
use whist_ratchet::{PrekeySecrets, seal_bundle};
use whist_timing::exponential;
use whist_types::{ConsensusHash, Epoch, Family, Instant, NodeId, Now, Wall};

use crate::account::{family_of, pick_provider};
use crate::client::Client;
use crate::contacts::InvitationRow;
use crate::ids::InvitationId;
use crate::limits::{
    INVITATION_LIFE, INVITATIONS_AHEAD, INVITATIONS_LOW, INVITATIONS_MAX, SPARE_ADDRESSES,
    SPARE_LOW,
};
use crate::mailbox::{Mailbox, Use};
use crate::outbox::Job;
use crate::rows::Table;

/// A consensus that somebody named and that we do not hold: asked for one at a time, one an epoch,
/// in the send class, never at once (protocol.md §6).
pub(super) struct Rumour {
    pub(super) hash: ConsensusHash,
    pub(super) provider: NodeId,
    pub(super) bytes: Vec<u8>,
    epoch: Epoch,
    due: Instant,
    asked: bool,
}

impl Client {
    pub(super) fn upkeep(&mut self, now: Now) {
        if self.locked {
            self.keep_line(now);
            return self.choose_peer(now);
        }
        let epoch = self.network.schedule.epoch_at(now.wall);
        if self.swept != Some(epoch) {
            self.swept = Some(epoch);
            self.expire_skipped_keys(now);
            self.expire_sessions(now);
            self.look_at_states(now);
            self.forget_finished(now);
        }
        if let Some(consensus) = self.keep_line(now) {
            self.keep_mailbox(now, &consensus);
            self.greet_opened(now);
            self.keep_invitations(now, &consensus);
            self.chase_rumour(now);
        }
        self.expire_texts(now);
        self.send_receipts(now);
        self.send_about_secrets(now);
        self.finish_held(now);
        self.choose_peer(now);
    }

    /// Forgets, once an epoch, the keys of items that cannot come any more: mailboxes keep nothing
    /// longer than the time to live (protocol.md §7).
    pub(super) fn expire_skipped_keys(&mut self, now: Now) {
        let life = self.parameters().item_ttl();
        let contacts = self.people.contacts.iter_mut();
        let changed: Vec<_> = contacts
            .filter_map(|(id, c)| (c.session.expire(now.wall, life) > 0).then_some(*id))
            .collect();
        for id in changed {
            self.save_contact(id);
        }
    }

    /// Picks the guard once, at random by weight; again only when it is gone from the consensus.
    /// Never one of the mailbox's operators: they would know whose it is. Where there is no other,
    /// there is no guard, and nothing is sent.
    pub(super) fn keep_guard(&mut self, consensus: &Consensus) {
        let listed = self
            .account
            .entry
            .is_some_and(|id| consensus.node(&id).is_some());
        if listed {
            return;
        }
        let home = self.mailbox.as_ref().map(Mailbox::provider);
        let mut avoid = self.families(consensus, [home]);
        let needed = avoid.len();
        let drops = self.people.invitations.values();
        avoid.extend(drops.filter_map(|i| family_of(consensus, &i.provider)));
        if let Ok(id) = pick_provider(consensus, &mut self.rng, &avoid, needed) {
            self.account.entry = Some(id);
            let row = self.account.row();
            self.batch.put(Table::Account, Vec::new(), row);
        }
    }

    fn waits(&self, job: fn(&Job) -> bool) -> bool {
        self.outbox.entries().any(|entry| job(&entry.job))
    }

    fn keep_mailbox(&mut self, now: Now, consensus: &Consensus) {
        if self.mailbox.is_none() {
            let avoid = self.families(consensus, [self.account.entry]);
            let Ok(provider) = pick_provider(consensus, &mut self.rng, &avoid, avoid.len()) else {
                return;
            };
            self.mailbox = Some(Mailbox::new(provider, &mut self.rng));
            self.save_mailbox();
        }
        let creating = self.waits(|job| matches!(job, Job::Create));
        let adding = self.waits(|job| matches!(job, Job::Add { .. }));
        let Some(mailbox) = &mut self.mailbox else {
            return;
        };
        let provider = mailbox.provider();
        if !mailbox.is_created() {
            if !creating {
                // Full only if the outbox is: then it is tried again later.
                let _ = self.push(now, provider, Job::Create, Duration::ZERO);
            }
        } else if !adding {
            // First those of a request that was given up, or that found the outbox full.
            let mut salts = mailbox.unregistered();
            if salts.is_empty() && mailbox.spare() < SPARE_LOW {
                salts = mailbox.grow(SPARE_ADDRESSES, &mut self.rng);
                self.save_mailbox();
            }
            if !salts.is_empty() {
                let wait = self.rare_wait(now);
                let _ = self.push(now, provider, Job::Add { salts }, wait);
            }
        }
    }

    pub(super) fn families<const N: usize>(
        &self,
        consensus: &Consensus,
        ids: [Option<NodeId>; N],
    ) -> Vec<Family> {
        ids.into_iter()
            .flatten()
            .filter_map(|id| family_of(consensus, &id))
            .collect()
    }

    /// Keeps invitations published ahead, in batches, so that giving one out sends nothing.
    fn keep_invitations(&mut self, now: Now, consensus: &Consensus) {
        self.expire_invitations(now);
        let ready = self.people.invitations.values();
        let ready = ready.filter(|i| i.given.is_none()).count();
        if ready <= INVITATIONS_LOW && self.people.invitations.len() < INVITATIONS_MAX {
            let wait = self.rare_wait(now);
            for _ in ready..INVITATIONS_AHEAD {
                self.prepare_invitation(now, consensus, wait);
            }
        }
        let unpublished: Vec<(InvitationId, NodeId)> = self
            .people
            .invitations
            .iter()
            .filter(|(_, i)| !i.published)
            .map(|(id, i)| (*id, i.provider))
            .collect();
        for (invitation, provider) in unpublished {
            let job = Job::Publish { invitation };
            if !self.outbox.entries().any(|entry| entry.job == job) {
                let _ = self.push(now, provider, job, Duration::ZERO);
            }
        }
    }

    fn prepare_invitation(&mut self, now: Now, consensus: &Consensus, wait: Duration) {
        let Some(home) = self.mailbox.as_ref().map(Mailbox::provider) else {
            return;
        };
        let mut avoid = self.families(consensus, [self.account.entry, Some(home)]);
        let needed = avoid.len();
        let others = self.people.invitations.values();
        avoid.extend(others.filter_map(|i| family_of(consensus, &i.provider)));
        let Ok(provider) = pick_provider(consensus, &mut self.rng, &avoid, needed) else {
            return;
        };
        let id = self.people.next_invitation();
        let identity = self.identity();
        let Some(mailbox) = &mut self.mailbox else {
            return;
        };
        let Some(address) = mailbox.allot(Use::Invitation(id)) else {
            return;
        };
        let (prekeys, bundle) = PrekeySecrets::generate(&identity, home, address, &mut self.rng);
        let row = InvitationRow {
            key: *bundle.invitation_key().expose(),
            prekeys: prekeys.to_bytes().to_vec(),
            blob: seal_bundle(&bundle).to_vec(),
            provider,
            address,
            published: false,
            given: None,
            made_ms: now.wall.as_millis(),
        };
        self.save(Table::Invitation, id.key(), &row);
        self.people.invitations.insert(id, row);
        self.save_mailbox();
        let job = Job::Publish { invitation: id };
        let _ = self.push(now, provider, job, wait);
    }

    /// Forgets invitations whose drops have died unused, and takes their addresses back. One that
    /// was given out may have been opened on its last day, and its first item wait at the mailbox.
    pub(super) fn expire_invitations(&mut self, now: Now) {
        let item_ttl = self.parameters().item_ttl();
        let dead = |row: &InvitationRow| {
            let life = match row.given {
                None => INVITATION_LIFE,
                Some(_) => INVITATION_LIFE.saturating_add(item_ttl),
            };
            now.wall.since(Wall::from_millis(row.made_ms)) > life
        };
        let old: Vec<InvitationId> = self
            .people
            .invitations
            .iter()
            .filter(|(_, i)| dead(i))
            .map(|(id, _)| *id)
            .collect();
        let any = !old.is_empty();
        old.into_iter().for_each(|id| self.drop_invitation(id));
        if any {
            self.save_mailbox();
        }
        let Some(mailbox) = &self.mailbox else {
            return;
        };
        // Those of a request that was given up, or that found the outbox full, too.
        let (provider, addresses) = (mailbox.provider(), mailbox.leaving());
        let revoking = self.waits(|job| matches!(job, Job::Revoke { .. }));
        if !addresses.is_empty() && !revoking && self.outbox.room() > 0 {
            let wait = self.rare_wait(now);
            let _ = self.push(now, provider, Job::Revoke { addresses }, wait);
        }
    }

    /// Forgets an invitation; its address is taken back later. The mailbox is to be saved.
    pub(super) fn drop_invitation(&mut self, id: InvitationId) {
        if let Some(row) = self.people.invitations.remove(&id) {
            self.batch.delete(Table::Invitation, id.key());
            self.forget_early(row.address);
            if let Some(mailbox) = &mut self.mailbox {
                mailbox.forget(&row.address);
            }
        }
    }

    /// Somebody named this consensus. Nothing happens on the own link: if it stays unknown, its
    /// header is asked for later, through the network.
    pub(super) fn heard_of(&mut self, now: Now, hash: ConsensusHash, provider: NodeId) {
        if hash.is_zero() || self.rumour.is_some() || self.follower.by_hash(&hash).is_some() {
            return;
        }
        let mean = self.parameters().rare_mean();
        let wait = exponential(mean, &mut self.rng);
        self.rumour = Some(Rumour {
            hash,
            provider,
            bytes: Vec::new(),
            epoch: self.network.schedule.epoch_at(now.wall),
            due: now.instant.after(wait),
            asked: false,
        });
    }

    /// The same of an item. It may have waited in the mailbox for days, and name what nobody holds
    /// any more: only who has followed for longer than a consensus serves asks for what an item
    /// names. Until then, what waited is read.
    pub(super) fn heard_in_item(&mut self, now: Now, hash: ConsensusHash) {
        let epoch = self.network.schedule.epoch_at(now.wall);
        let grace = u64::from(self.parameters().grace_epochs);
        let fresh = |since: Epoch| epoch > since.plus(grace);
        if self.following.is_some_and(fresh)
            && let Some(provider) = self.random_provider(now)
        {
            self.heard_of(now, hash, provider);
        }
    }

    fn chase_rumour(&mut self, now: Now) {
        let Some(rumour) = &mut self.rumour else {
            return;
        };
        let known = self.follower.by_hash(&rumour.hash).is_some();
        let over = self.network.schedule.epoch_at(now.wall) > rumour.epoch;
        // What is named in an epoch is most likely its own document, which comes to us too, at a
        // time of its own. It is asked for by who holds that epoch's and was told of another one,
        // or whose provider brings nothing new.
        let newest = self.follower.newest().map(|newest| newest.epoch());
        let caught_up = newest >= Some(rumour.epoch);
        let late = self.network.schedule.epoch_at(now.wall) > rumour.epoch.next();
        if rumour.asked {
            // One an epoch: the next rumour is heard when the epoch in which this one was asked
            // for is over, answered or not. Else who names hashes makes us ask as often as they
            // like.
            if over
                && !self
                    .outbox
                    .entries()
                    .any(|e| matches!(e.job, Job::Doc { .. }))
            {
                self.rumour = None;
            }
        } else if known {
            self.rumour = None;
        } else if rumour.due <= now.instant && (caught_up || late) {
            rumour.asked = true;
            rumour.epoch = self.network.schedule.epoch_at(now.wall);
            let (exit, hash) = (rumour.provider, rumour.hash);
            let job = Job::Doc { hash, chunk: 0 };
            let _ = self.push(now, exit, job, Duration::ZERO);
        }
    }
}
