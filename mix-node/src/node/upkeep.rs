//! What epochs bring: keys, neighbours, descriptors, consensuses.

use std::ops::DerefMut;
use std::time::Duration;

use whist_netdoc::{Accepted, Descriptor, IdentitySecret, Kind, LinkSecret, Refused};
use whist_node::epochs;
use whist_timing::forget_past;
use whist_types::{Epoch, Now};

use super::{Effect, MixNode, Note};
use crate::limits;
use crate::view::View;

impl<M> MixNode<M>
where
    M: DerefMut<Target = [u8]>,
{
    pub(super) fn offer(&mut self, now: Now, bundle: &[u8]) {
        let split_before = self.follower.evidence().is_some();
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
            // The proof is kept over a restart, and what was contradicted rules no more.
            Err(Refused::Equivocation(epoch)) if !split_before => {
                let state = self.follower.to_bytes();
                self.effect(Effect::Directory(state));
                self.note(Note::Split(epoch));
                self.refresh(now);
            }
            Err(refused) => self.note(Note::Refused(refused.to_string())),
        }
    }

    /// Brings keys, views and neighbours up to date with the time and the consensuses held.
    pub(super) fn refresh(&mut self, now: Now) {
        let current = self.schedule.epoch_at(now.wall);
        self.keys.refresh(now.wall);
        self.views = epochs::rulings(&self.follower, now.wall)
            .into_iter()
            .filter_map(|(epoch, consensus)| Some((epoch, View::of(&consensus, &self.id)?)))
            .collect();
        self.epoch = Some(current);
        let neighbours = self.views.values().map(|view| &view.neighbours);
        let line_rate = f64::from(self.config.packets_per_s);
        self.peers.links.set(now.instant, neighbours, line_rate);
        let view = self.views.get(&current);
        self.loops.set(now, view, &mut self.rng);
        if let Some(view) = view {
            self.pool
                .set_capacity(pool_max(self.config.packets_per_s, view.delay_mean));
        }
        self.tend_keys(now);
        self.boundary = epochs::next_boundary(&self.schedule, now);
    }

    /// What the keys want of their disk, and what happened to them. When a key is there that was
    /// waited for, the descriptor may be.
    pub(super) fn tend_keys(&mut self, now: Now) {
        if let Some(job) = self.keys.poll_job(now.wall, &mut self.rng) {
            self.effect(Effect::Keys(job));
        }
        // Keys that will be erased came of it.
        forget_past(&mut self.rng);
        for event in self.keys.take_events() {
            self.note(Note::Key(event));
        }
        if let Some(current) = self.epoch {
            self.describe(current);
        }
    }

    /// Once an epoch: a descriptor for the next one, to all authorities.
    pub(super) fn describe(&mut self, current: Epoch) {
        let epoch = current.next();
        if self.peers.directory.described() == Some(epoch) || self.draining.is_some() {
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
            loops: self.loops.report(),
        };
        self.counters.loop_reports += u64::from(descriptor.loops.alarm);
        let signed = descriptor.sign(&identity, &link);
        self.peers
            .directory
            .publish(epoch, signed.as_bytes().to_vec());
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

#[cfg(test)]
mod tests {
    use rand_core::{Rng as _, SeedableRng as _};
    use whist_link::Output;
    use whist_link::{Input, Role as _};
    use whist_netdoc::testing::Authorities;
    use whist_netdoc::{Follower, Parameters};
    use whist_packet::KeyStore as _;
    use whist_packet::keyring::MemoryKeyStore;
    use whist_timing::Rng;
    use whist_types::{Family, Instant, Secret, Wall};

    use super::*;
    use crate::{Command, MixConfig, region_bytes};

    const TAGS: u64 = 50_000;

    #[test]
    fn the_generator_that_is_left_does_not_give_the_keys_of_epochs() {
        let authorities = Authorities::new(7, 4, Parameters::default(), Wall::from_millis(0));
        let schedule = *authorities.trusted().schedule();
        let at = |epoch| Now {
            instant: Instant::ZERO
                .after(schedule.start(epoch).since(schedule.start(Epoch::new(1)))),
            wall: schedule.start(epoch).after(schedule.length() / 2),
        };
        let first = Epoch::new(500);
        let config = MixConfig {
            identity: Secret::new([1; 32]),
            link: Secret::new([2; 32]),
            address: "mix:1".to_owned(),
            family: Family::from_bytes([3; 32]),
            packets_per_s: 10,
            table_tags: TAGS,
        };
        let mut store = MemoryKeyStore::default();
        let mut node = MixNode::new(
            config,
            Follower::new(authorities.trusted()),
            [(); 2].map(|()| vec![0; region_bytes(TAGS)]),
            &mut store,
            &Secret::new([4; 32]),
            at(first),
        )
        .unwrap();
        // One more key is drawn on the way.
        for epoch in [first, first.next()] {
            node.handle(at(epoch), Input::Timeout);
            while let Some(output) = node.poll_output() {
                if let Output::Effect(Effect::Keys(job)) = output {
                    let done = Command::Keys(job.run(&mut store));
                    node.handle(at(epoch), Input::Command(done));
                }
            }
        }
        node.rng.set_word_pos(0);
        let mut past = vec![0; 1 << 16];
        node.rng.fill_bytes(&mut past);
        // As it was at the start it gives them: the search would find one.
        let mut start = [0; 512];
        let seed = blake3::derive_key("whist 2026 mix rng v1", &[4; 32]);
        Rng::from_seed(seed).fill_bytes(&mut start);
        let epochs = store.epochs().unwrap();
        assert!(epochs.iter().any(|epoch| {
            let key = store.load(*epoch).unwrap().unwrap();
            start.windows(32).any(|bytes| bytes == key.expose())
        }));
        assert!(epochs.len() >= 4, "{epochs:?}");
        for epoch in epochs {
            let key = store.load(epoch).unwrap().unwrap();
            let drawn = past.windows(32).any(|bytes| bytes == key.expose());
            assert!(!drawn, "the key of epoch {epoch}");
        }
    }
}
