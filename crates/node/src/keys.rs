//! Sphinx keys by epoch: made ahead, published, taken into service, erased.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::DerefMut;
use std::time::Duration;

use rand_core::CryptoRng;
use whist_netdoc::KEY_EPOCHS;
use whist_packet::keyring::TurnFailed;
use whist_packet::{
    DropReason, KeyStore, Keyring, Packet, SphinxSecret, StoreFault, Unwrapped, replay,
};
use whist_types::{Epoch, EpochSchedule, Now, SphinxKey, Wall};

use crate::line_rate::key_life_ms;
use crate::{StartError, limits};

/// Something happened to the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEvent {
    /// A key serves on after a restart, with its tags.
    Resumed(Epoch),
    /// A region held no table that checks out; its key is gone.
    Lost(String),
    /// A key on disk whose epoch had begun was deleted: it may have served.
    Deleted(Epoch),
    /// A key entered service.
    Entered(Epoch),
    /// A key and its tags were erased.
    Retired(Epoch),
    /// There is no key for an epoch that has begun: packets of that epoch are dropped.
    Missing(Epoch),
    /// The disk failed. Tried again soon.
    Fault(String),
}

/// The keys in service and those to come.
#[derive(Debug)]
pub struct EpochKeys<M, K> {
    ring: Keyring<M>,
    store: K,
    schedule: EpochSchedule,
    /// Public halves of the keys in the store.
    ahead: BTreeMap<Epoch, SphinxKey>,
    missing: BTreeSet<Epoch>,
    checkpointed: Wall,
    events: Vec<KeyEvent>,
}

impl<M, K> EpochKeys<M, K>
where
    M: DerefMut<Target = [u8]>,
    K: KeyStore,
{
    /// Takes up what a process before left in regions and store; the tables hold `table_tags`
    /// each, and the node takes `packets_per_s`.
    ///
    /// # Errors
    /// [`StartError`]: memory, table size or store do not do.
    pub fn new(
        regions: [M; 2],
        mut store: K,
        schedule: EpochSchedule,
        packets_per_s: u32,
        table_tags: u64,
        now: Now,
    ) -> Result<Self, StartError> {
        check_table(packets_per_s, table_tags, &schedule)?;
        let needed = region_bytes(table_tags);
        let have = regions.iter().map(|region| region.len()).min().unwrap_or(0);
        if have < needed {
            return Err(StartError::Memory { have, needed });
        }
        let (ring, started) = Keyring::start(regions, schedule, now.wall, &mut store)?;
        let mut events: Vec<_> = started.resumed.into_iter().map(KeyEvent::Resumed).collect();
        events.extend(
            started
                .lost
                .iter()
                .map(|why| KeyEvent::Lost(why.to_string())),
        );
        events.extend(started.deleted.into_iter().map(KeyEvent::Deleted));
        let mut ahead = BTreeMap::new();
        for epoch in store.epochs()? {
            if let Some(secret) = store.load(epoch)? {
                ahead.insert(epoch, SphinxSecret::from_secret(&secret).public());
            }
        }
        Ok(Self {
            ring,
            store,
            schedule,
            ahead,
            missing: BTreeSet::new(),
            checkpointed: now.wall,
            events,
        })
    }

    /// Erases, takes in and makes keys as the time asks for; tells what happened since last asked.
    pub fn refresh(&mut self, wall: Wall, rng: &mut impl CryptoRng) -> Vec<KeyEvent> {
        self.turn(wall, rng);
        if let Err(fault) = self
            .make_ahead(wall, rng)
            .and_then(|()| self.checkpoint(wall))
        {
            self.events.push(KeyEvent::Fault(fault.to_string()));
        }
        std::mem::take(&mut self.events)
    }

    fn turn(&mut self, wall: Wall, rng: &mut impl CryptoRng) {
        let lost = self.ring.take_lost();
        self.events.extend(
            lost.iter()
                .map(|epoch| KeyEvent::Lost(format!("table of epoch {epoch}"))),
        );
        let (turned, whole) = match self.ring.turn(wall, &mut self.store, rng) {
            Ok(turned) => (turned, true),
            Err(failed) => {
                let TurnFailed { turned, error } = *failed;
                self.events.push(KeyEvent::Fault(error.to_string()));
                (turned, false)
            }
        };
        self.events
            .extend(turned.retired.into_iter().map(KeyEvent::Retired));
        self.events
            .extend(turned.entered.into_iter().map(KeyEvent::Entered));
        let missing: BTreeSet<_> = turned.missing.into_iter().collect();
        let new = missing.difference(&self.missing).copied();
        self.events.extend(new.map(KeyEvent::Missing));
        if whole {
            self.missing = missing;
        } else {
            self.missing.extend(missing);
        }
    }

    /// Makes keys for the epochs to come, so that each is on disk before anybody hears of it. An
    /// epoch whose key should be in service by now gets none: what others hold of us is another.
    ///
    /// # Errors
    /// The store did not keep one.
    pub fn make_ahead(&mut self, wall: Wall, rng: &mut impl CryptoRng) -> Result<(), StoreFault> {
        let current = self.schedule.epoch_at(wall);
        self.ahead.retain(|epoch, _| *epoch > current);
        for ahead in 1..=limits::KEYS_AHEAD {
            let epoch = current.plus(ahead);
            if self.ahead.contains_key(&epoch)
                || self.ring.public(epoch).is_some()
                || wall >= self.schedule.key_from(epoch)
            {
                continue;
            }
            let secret = SphinxSecret::generate(rng);
            self.store.save(epoch, &secret.expose())?;
            self.ahead.insert(epoch, secret.public());
        }
        Ok(())
    }

    /// Marks the tables, so that an older copy of one is told from it.
    fn checkpoint(&mut self, wall: Wall) -> Result<(), StoreFault> {
        if wall.since(self.checkpointed) >= limits::CHECKPOINT || wall < self.checkpointed {
            self.checkpointed = wall;
            self.ring.checkpoint(&mut self.store)?;
        }
        Ok(())
    }

    /// The public keys of `first` and the next three epochs, if all are there.
    pub fn public_from(&self, first: Epoch) -> Option<[SphinxKey; KEY_EPOCHS]> {
        let mut keys = Vec::with_capacity(KEY_EPOCHS);
        for (_, ahead) in (0..KEY_EPOCHS).zip(0_u64..) {
            let epoch = first.plus(ahead);
            let key = self.ahead.get(&epoch).copied();
            keys.push(key.or_else(|| self.ring.public(epoch))?);
        }
        keys.try_into().ok()
    }

    /// Opens a packet under a key in service and enters its tag.
    ///
    /// # Errors
    /// Why the packet ends here.
    pub fn open(
        &mut self,
        packet: Packet,
        wall: Wall,
        delay_cap: Duration,
    ) -> Result<(Epoch, Unwrapped), DropReason> {
        self.ring.open(packet, wall, delay_cap)
    }

    /// Epochs whose keys open packets, with those that wait for their time.
    pub fn in_service(&self) -> Vec<Epoch> {
        self.ring.epochs()
    }

    /// What outlives the process: the regions with keys and tags, and the store.
    pub fn into_parts(self) -> (Vec<M>, K) {
        (self.ring.into_regions(), self.store)
    }
}

/// Bytes of each of the two regions for tables of this many tags.
pub fn region_bytes(table_tags: u64) -> usize {
    replay::bytes_for(usize::try_from(table_tags).unwrap_or(usize::MAX))
}

/// The table must hold the tags of a key's whole life at the rate that the descriptor promises.
fn check_table(
    packets_per_s: u32,
    table_tags: u64,
    schedule: &EpochSchedule,
) -> Result<(), StartError> {
    let life_ms = key_life_ms(schedule);
    let needed = u64::from(packets_per_s)
        .saturating_mul(life_ms)
        .div_ceil(1_000);
    if needed > table_tags {
        return Err(StartError::TableTooSmall {
            rate: packets_per_s,
            life_s: life_ms.div_ceil(1_000),
            needed,
            have: table_tags,
        });
    }
    Ok(())
}
