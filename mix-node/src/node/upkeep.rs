//! What epochs bring: keys, neighbours, descriptors, consensuses.

use std::collections::BTreeMap;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use whist_netdoc::{Accepted, Consensus, Descriptor, IdentitySecret, Kind, LinkSecret};
use whist_packet::KeyStore;
use whist_types::{Epoch, Instant, LinkKey, Now};

use super::{Effect, MixNode, Note};
use crate::limits;
use crate::view::View;

impl<M, K> MixNode<M, K>
where
    M: DerefMut<Target = [u8]>,
    K: KeyStore,
{
    /// The consensus that rules packets under the keys of `epoch`, if it is still valid.
    pub(super) fn ruling(&self, now: Now, epoch: Epoch) -> Option<Arc<Consensus>> {
        let ruling = self.follower.ruling(epoch)?;
        (now.wall < ruling.valid_until()).then(|| ruling.clone())
    }

    pub(super) fn offer(&mut self, now: Now, bundle: &[u8]) {
        match self.follower.offer(now.wall, bundle) {
            Ok(Accepted::New(epoch)) => {
                let state = self.follower.to_bytes();
                self.effect(Effect::Directory(state));
                self.note(Note::Consensus(epoch));
                let listed = self.follower.at(epoch).and_then(|c| View::of(c, &self.id));
                if listed.is_none() {
                    self.note(Note::NotListed(epoch));
                }
                self.refresh(now);
            }
            Ok(Accepted::Known) => {}
            Err(refused) => self.note(Note::Refused(refused.to_string())),
        }
    }

    /// Brings keys, views and neighbours up to date with the time and the consensuses held.
    pub(super) fn refresh(&mut self, now: Now) {
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
        self.epoch = Some(current);
        let mut previous: BTreeMap<LinkKey, f64> = BTreeMap::new();
        let mut next = BTreeMap::new();
        // The newest last: where two consensuses name a node, it wins.
        for view in self.views.values() {
            for (key, share) in &view.previous {
                let rate = share * f64::from(self.config.packets_per_s);
                let most = previous.entry(*key).or_insert(rate);
                *most = most.max(rate);
            }
            next.extend(view.next.iter().map(|(id, target)| (*id, target.clone())));
        }
        self.links.set(now.instant, previous, next);
        let view = self.views.get(&current);
        self.loops.set(now, view, &mut self.rng);
        if let Some(view) = view {
            self.pool
                .set_capacity(pool_max(self.config.packets_per_s, view.delay_mean));
        }
        self.describe(current);
        self.boundary = self.next_boundary(now, current);
    }

    pub(super) fn next_boundary(&self, now: Now, current: Epoch) -> Instant {
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
    pub(super) fn describe(&mut self, current: Epoch) {
        let epoch = current.next();
        if self.directory.described() == Some(epoch) || self.draining.is_some() {
            return;
        }
        let Some(keys) = self.keys.public_from(epoch) else {
            return;
        };
        let mixed = self.counters.mixed.saturating_sub(self.mixed_before);
        self.mixed_before = self.counters.mixed;
        let identity = IdentitySecret::from_seed(&self.config.identity);
        let link = LinkSecret::from_seed(&self.config.link);
        let descriptor = Descriptor {
            epoch,
            identity: identity.public(),
            link: link.public(),
            keys,
            address: self.config.address.clone(),
            kind: Kind::Mix,
            family: self.config.family,
            capacity: self.config.packets_per_s,
            load: self.expected_pool(mixed),
        };
        let signed = descriptor.sign(&identity, &link);
        self.directory.publish(epoch, signed.as_bytes().to_vec());
    }

    /// Packets expected in the pool (Little's law over the last epoch), rounded down to a power of
    /// two: enough for a warning, too little to count traffic by.
    pub(super) fn expected_pool(&self, mixed: u64) -> u32 {
        let mean = self
            .current_view()
            .map_or(Duration::ZERO, |view| view.delay_mean);
        let seconds = self.schedule.length().as_secs_f64().max(f64::MIN_POSITIVE);
        let mixed = f64::from(u32::try_from(mixed).unwrap_or(u32::MAX));
        let expected = mixed / seconds * mean.as_secs_f64();
        let mut rounded = 0_u32;
        while f64::from(rounded.max(1)) * 2.0 <= expected && rounded < 1 << 30 {
            rounded = rounded.max(1) * 2;
        }
        if rounded == 0 && expected >= 1.0 {
            1
        } else {
            rounded
        }
    }
}

fn pool_max(packets_per_s: u32, mean: Duration) -> usize {
    let expected = f64::from(packets_per_s) * mean.as_secs_f64() * limits::POOL_MEANS;
    let whole = Duration::try_from_secs_f64(expected).map_or(u64::MAX, |d| d.as_secs());
    usize::try_from(whole)
        .unwrap_or(usize::MAX)
        .max(limits::POOL_MIN)
}
