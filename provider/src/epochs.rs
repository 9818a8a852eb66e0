//! Epochs and documents: what changes with the time and with each consensus.

use std::collections::BTreeMap;
use std::ops::DerefMut;

use whist_netdoc::{Accepted, Descriptor, IdentitySecret, Kind, LinkSecret};
use whist_packet::KeyStore;
use whist_types::{Epoch, Instant, LinkKey, Now};

use crate::desk::{Moment, Rules};
use crate::limits;
use crate::provider::{Effect, Note, Provider};
use crate::store::Store;
use crate::view::View;

impl<S, M, K> Provider<S, M, K>
where
    S: Store,
    M: DerefMut<Target = [u8]>,
    K: KeyStore,
{
    pub(crate) fn offer(&mut self, now: Now, bundle: &[u8]) {
        match self.follower.offer(now.wall, bundle) {
            Ok(Accepted::New(epoch)) => {
                let state = self.follower.to_bytes();
                self.effect(Effect::Directory(state));
                self.note(Note::Consensus(epoch));
                let listed = self
                    .follower
                    .at(epoch)
                    .and_then(|consensus| View::of(consensus, &self.id));
                if listed.is_none() {
                    self.note(Note::NotListed(epoch));
                }
                self.refresh(now);
            }
            Ok(Accepted::Known) => {}
            Err(refused) => self.note(Note::Refused(refused.to_string())),
        }
    }

    /// Brings keys, views, neighbours, sessions and the calendar up to date with the time and the
    /// consensuses held.
    pub(crate) fn refresh(&mut self, now: Now) {
        let current = self.schedule.epoch_at(now.wall);
        for event in self.keys.refresh(now.wall, &mut self.rng) {
            self.note(Note::Key(event));
        }
        let (likelier, other) = self.schedule.accepted(now.wall);
        let epochs = [Some(likelier), other, Some(current.next())];
        self.views = epochs
            .into_iter()
            .flatten()
            .filter_map(|epoch| {
                let view = View::of(&*self.ruling(now, epoch)?, &self.id)?;
                Some((epoch, view))
            })
            .collect();
        let new_epoch = self.epoch != Some(current);
        self.epoch = Some(current);
        self.refresh_neighbours(now);
        self.refresh_sessions(now, new_epoch);
        self.turn_calendar(now, current);
        self.describe(current);
        self.boundary = self.next_boundary(now, current);
    }

    fn refresh_neighbours(&mut self, now: Now) {
        let mut previous: BTreeMap<LinkKey, f64> = BTreeMap::new();
        let mut next = BTreeMap::new();
        // The newest last: where two consensuses name a node, it wins.
        for view in self.views.values() {
            for (key, share) in &view.previous {
                let rate = share * f64::from(self.config.packets_per_s) / 2.0;
                let most = previous.entry(*key).or_insert(rate);
                *most = most.max(rate);
            }
            next.extend(view.next.iter().map(|(id, target)| (*id, target.clone())));
        }
        self.links.set(now.instant, previous, next);
    }

    fn refresh_sessions(&mut self, now: Now, new_epoch: bool) {
        let Some(view) = self.current_view().cloned() else {
            return;
        };
        for link in self.entry.links() {
            self.entry.with(link, |session| {
                let pace = view.pace(session.profile);
                session.set_pace(pace);
            });
            if new_epoch {
                self.schedule_document(now, link);
            }
        }
    }

    /// The day that mailboxes go by is the wall's, but never beyond what the authorities vouch
    /// for: a clock that jumps ahead would destroy everybody's mail.
    fn turn_calendar(&mut self, now: Now, current: Epoch) {
        let Some(consensus) = self.ruling(now, current) else {
            return;
        };
        let rules = Rules::new(consensus.parameters(), self.config.store_rows);
        self.desk.set_rules(rules);
        self.desk.turn(Moment {
            instant: now.instant,
            wall: now.wall.min(consensus.valid_until()),
        });
    }

    fn next_boundary(&self, now: Now, current: Epoch) -> Instant {
        let times = [
            self.schedule.key_until(current.previous()),
            self.schedule.key_from(current.next()),
            self.schedule.start(current.next()),
        ];
        let next = times.into_iter().filter(|time| *time > now.wall).min();
        let wake = now.instant.after(limits::WAKE_MAX);
        next.map_or(wake, |time| now.instant_of(time).min(wake))
    }

    /// Once an epoch: a descriptor for the next one, to all authorities.
    fn describe(&mut self, current: Epoch) {
        let epoch = current.next();
        if self.directory.described() == Some(epoch) || self.draining.is_some() {
            return;
        }
        let Some(keys) = self.keys.public_from(epoch) else {
            return;
        };
        let identity = IdentitySecret::from_seed(&self.config.identity);
        let link = LinkSecret::from_seed(&self.config.link);
        let descriptor = Descriptor {
            epoch,
            identity: identity.public(),
            link: link.public(),
            keys,
            address: self.config.address.clone(),
            kind: Kind::Provider,
            family: self.config.family,
            capacity: self.config.packets_per_s,
            load: rounded(self.entry.sessions().iter().sum()),
        };
        let signed = descriptor.sign(&identity, &link);
        self.directory.publish(epoch, signed.as_bytes().to_vec());
    }
}

/// Sessions, rounded down to a power of two: enough for a warning, too little to count by.
fn rounded(sessions: u64) -> u32 {
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    sessions.checked_ilog2().map_or(0, |log| 1 << log)
}
