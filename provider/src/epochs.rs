//! Epochs and documents: what changes with the time and with each consensus.

use std::ops::DerefMut;

use whist_netdoc::{Accepted, Descriptor, IdentitySecret, Kind, LinkSecret, LoopReport, Refused};
use whist_node::epochs;
use whist_timing::forget_past;
use whist_types::{Epoch, Now};

use crate::clerk::Job;
use crate::desk::{Moment, Rules};
use crate::provider::{Effect, Note, Provider};
use crate::view::View;

impl<M> Provider<M>
where
    M: DerefMut<Target = [u8]>,
{
    pub(crate) fn offer(&mut self, now: Now, bundle: &[u8]) {
        let split_before = self.follower.evidence().is_some();
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

    /// Brings keys, views, neighbours, sessions and the calendar up to date with the time and the
    /// consensuses held.
    pub(crate) fn refresh(&mut self, now: Now) {
        let current = self.schedule.epoch_at(now.wall);
        self.keys.refresh(now.wall);
        self.views = epochs::rulings(&self.follower, now.wall)
            .into_iter()
            .filter_map(|(epoch, consensus)| Some((epoch, View::of(&consensus, &self.id)?)))
            .collect();
        self.epoch = Some(current);
        let neighbours = self.views.values().map(|view| &view.neighbours);
        // The other half of what it takes comes from clients.
        let line_rate = f64::from(self.config.packets_per_s) / 2.0;
        self.peers.links.set(now.instant, neighbours, line_rate);
        self.refresh_sessions(now, current);
        self.turn_calendar(now, current);
        self.tend_keys(now);
        self.boundary = epochs::next_boundary(&self.schedule, now);
    }

    /// What the keys want of their disk, and what happened to them. When a key is there that was
    /// waited for, the descriptor may be.
    pub(crate) fn tend_keys(&mut self, now: Now) {
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

    fn refresh_sessions(&mut self, now: Now, current: Epoch) {
        let Some(view) = self.current_view().cloned() else {
            return;
        };
        // Not by the change of the epoch: the consensus may come after it.
        let unscheduled = self.scheduled.replace(current) != Some(current);
        for link in self.entry.links() {
            self.entry.with(link, |session| {
                let pace = view.pace(session.profile);
                session.set_pace(pace);
            });
            if unscheduled {
                self.schedule_document(now, link);
            }
        }
    }

    /// The day that mailboxes go by is the wall's, but never beyond what the authorities vouch
    /// for: a clock that jumps ahead would destroy everybody's mail.
    fn turn_calendar(&mut self, now: Now, current: Epoch) {
        let Some(consensus) = epochs::ruling(&self.follower, now.wall, current) else {
            return;
        };
        let rules = Rules::new(consensus.parameters(), self.config.store_rows);
        let at = Moment {
            instant: now.instant,
            wall: now.wall.min(consensus.valid_until()),
        };
        // A disk that is not done with the last turn gets no other: the next refresh brings one.
        if !std::mem::replace(&mut self.turning, true) {
            self.effect(Effect::Desk(Job::Turn { at, rules }));
        }
    }

    /// Once an epoch: a descriptor for the next one, to all authorities.
    fn describe(&mut self, current: Epoch) {
        let epoch = current.next();
        if self.peers.directory.described() == Some(epoch) || self.draining.is_some() {
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
            loops: LoopReport::default(),
        };
        let signed = descriptor.sign(&identity, &link);
        self.peers
            .directory
            .publish(epoch, signed.as_bytes().to_vec());
    }
}

/// Sessions, rounded down to a power of two: enough for a warning, too little to count by.
fn rounded(sessions: u64) -> u32 {
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    sessions.checked_ilog2().map_or(0, |log| 1 << log)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rand_core::{Rng as _, SeedableRng as _};
    use whist_link::{Input, Output, Role as _};
    use whist_netdoc::testing::Authorities;
    use whist_netdoc::{Follower, Parameters};
    use whist_node::Neighbours;
    use whist_packet::keyring::MemoryKeyStore;
    use whist_packet::{KeyStore, StoreFault};
    use whist_timing::Rng;
    use whist_types::{Family, Instant, Secret, Wall};

    use super::*;
    use crate::{Command, ProviderConfig, region_bytes};

    const TAGS: u64 = 50_000;

    fn config() -> ProviderConfig {
        ProviderConfig {
            identity: Secret::new([1; 32]),
            link: Secret::new([2; 32]),
            address: "provider:1".to_owned(),
            family: Family::from_bytes([3; 32]),
            packets_per_s: 10,
            table_tags: TAGS,
            store_rows: 100,
        }
    }

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
        let mut store = MemoryKeyStore::default();
        let mut node = Provider::new(
            config(),
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
        let seed = blake3::derive_key("whist 2026 provider rng v1", &[4; 32]);
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

    /// A disk that takes no key.
    struct Full(MemoryKeyStore);

    impl KeyStore for Full {
        fn save(&mut self, _: Epoch, _: &Secret<32>) -> Result<(), StoreFault> {
            Err(StoreFault("no space".to_owned()))
        }
        fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault> {
            self.0.load(epoch)
        }
        fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault> {
            self.0.delete(epoch)
        }
        fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault> {
            self.0.epochs()
        }
        fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault> {
            self.0.record_generations(record)
        }
        fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault> {
            self.0.generations()
        }
    }

    #[test]
    fn a_provider_whose_disk_keeps_no_key_does_not_start() {
        let authorities = Authorities::new(7, 4, Parameters::default(), Wall::from_millis(0));
        let schedule = *authorities.trusted().schedule();
        let started = Provider::new(
            config(),
            Follower::new(authorities.trusted()),
            [(); 2].map(|()| vec![0; region_bytes(TAGS)]),
            &mut Full(MemoryKeyStore::default()),
            &Secret::new([4; 32]),
            Now {
                instant: Instant::ZERO,
                wall: schedule.start(Epoch::new(500)),
            },
        );
        let error = started.err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("no space")));
    }

    #[test]
    fn the_longest_delay_is_that_of_the_accepted_keys_not_of_the_epoch_to_come() {
        let authorities = Authorities::new(7, 4, Parameters::default(), Wall::from_millis(0));
        let schedule = *authorities.trusted().schedule();
        let current = Epoch::new(500);
        let now = Now {
            instant: Instant::ZERO,
            wall: schedule.start(current).after(schedule.length() / 2),
        };
        let mut node = Provider::new(
            config(),
            Follower::new(authorities.trusted()),
            [(); 2].map(|()| vec![0; region_bytes(TAGS)]),
            &mut MemoryKeyStore::default(),
            &Secret::new([4; 32]),
            now,
        )
        .unwrap();
        for (epoch, delay_mean_ms) in [(current, 200), (current.next(), 2_000)] {
            let view = View {
                neighbours: Neighbours {
                    previous: BTreeMap::new(),
                    next: BTreeMap::new(),
                },
                parameters: Parameters {
                    delay_mean_ms,
                    ..Parameters::default()
                },
            };
            node.views.insert(epoch, view);
        }
        assert_eq!(
            node.delay_cap(now),
            Duration::from_millis(200 * 2_763 / 100)
        );
        let later = Now {
            wall: schedule.start(current.next()),
            ..now
        };
        assert_eq!(
            node.delay_cap(later),
            Duration::from_millis(2_000 * 2_763 / 100)
        );
    }
}
