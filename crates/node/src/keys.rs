//! Sphinx keys by epoch: made ahead, published, taken into service, erased.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::DerefMut;
use std::time::Duration;

use rand_core::CryptoRng;
use whist_netdoc::KEY_EPOCHS;
use whist_packet::{
    DropReason, KeyStore, Keyring, Packet, SphinxSecret, StoreFault, Unwrapped, replay,
};
use whist_types::{Epoch, EpochSchedule, Secret, SphinxKey, Wall};

use crate::key_jobs::{KeyDone, KeyJob};
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

/// What the store is at.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Keeping a key, whose public half this is.
    Save(Epoch, SphinxKey),
    Load(Epoch),
    Move(Epoch),
    Delete(Epoch),
    Record,
}

/// The keys in service and those to come. Its disk is elsewhere: take [`poll_job`](Self::poll_job)
/// after each [`refresh`](Self::refresh) and [`done`](Self::done).
#[derive(Debug)]
pub struct EpochKeys<M> {
    ring: Keyring<M>,
    schedule: EpochSchedule,
    /// Public halves of the keys on the disk.
    stored: BTreeMap<Epoch, SphinxKey>,
    missing: BTreeSet<Epoch>,
    checkpointed: Wall,
    under_way: Option<Step>,
    /// The second half of a step.
    next: Option<KeyJob>,
    /// The disk failed: it is left alone until the next refresh.
    failed: Option<StoreFault>,
    events: Vec<KeyEvent>,
}

impl<M> EpochKeys<M>
where
    M: DerefMut<Target = [u8]>,
{
    /// Takes up what a process before left in regions and store, and brings both up to date before
    /// anything else happens; the tables hold `table_tags` each, and the node takes
    /// `packets_per_s`.
    ///
    /// # Errors
    /// [`StartError`]: memory, table size or store do not do. A store that cannot keep a key ends
    /// the start, not an epoch later.
    pub fn new(
        regions: [M; 2],
        store: &mut impl KeyStore,
        schedule: EpochSchedule,
        (packets_per_s, table_tags): (u32, u64),
        wall: Wall,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, StartError> {
        check_table(packets_per_s, table_tags, &schedule)?;
        let needed = region_bytes(table_tags);
        let have = regions.iter().map(|region| region.len()).min().unwrap_or(0);
        if have < needed {
            return Err(StartError::Memory { have, needed });
        }
        let (ring, started) = Keyring::start(regions, schedule, wall, store)?;
        let lost = started.lost.iter().map(ToString::to_string);
        let resumed = started.resumed.into_iter().map(KeyEvent::Resumed);
        let deleted = started.deleted.into_iter().map(KeyEvent::Deleted);
        let events = resumed.chain(lost.map(KeyEvent::Lost)).chain(deleted);
        let mut stored = BTreeMap::new();
        for epoch in store.epochs()? {
            if let Some(secret) = store.load(epoch)? {
                stored.insert(epoch, SphinxSecret::from_secret(&secret).public());
            }
        }
        let mut keys = Self {
            ring,
            schedule,
            stored,
            missing: BTreeSet::new(),
            checkpointed: wall,
            under_way: None,
            next: None,
            failed: None,
            events: events.collect(),
        };
        keys.refresh(wall);
        while let Some(job) = keys.poll_job(wall, rng) {
            keys.done(job.run(store), wall, rng);
        }
        match keys.failed.take() {
            Some(fault) => Err(fault.into()),
            None => Ok(keys),
        }
    }

    /// Erases keys whose time is over, and looks anew at what the disk is to do.
    pub fn refresh(&mut self, wall: Wall) {
        let lost = self.ring.take_lost();
        let lost = lost.iter().map(|epoch| format!("table of epoch {epoch}"));
        self.events.extend(lost.map(KeyEvent::Lost));
        self.retire(wall);
        let missing: BTreeSet<_> = self
            .accepted(wall)
            .filter(|epoch| self.ring.table(*epoch).is_none() && !self.stored.contains_key(epoch))
            .collect();
        let new = missing.difference(&self.missing).copied();
        self.events.extend(new.map(KeyEvent::Missing));
        self.missing = missing;
        self.failed = None;
    }

    fn retire(&mut self, wall: Wall) {
        let retired = self.ring.retire_expired(wall);
        self.events
            .extend(retired.into_iter().map(KeyEvent::Retired));
    }

    fn accepted(&self, wall: Wall) -> impl Iterator<Item = Epoch> + use<M> {
        let (likely, other) = self.schedule.accepted(wall);
        [Some(likely), other].into_iter().flatten()
    }

    /// What happened since last asked.
    pub fn take_events(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.events)
    }

    /// The next job for the store, if it has none: keys enter service first, those that never will
    /// are deleted, those to come are made.
    pub fn poll_job(&mut self, wall: Wall, rng: &mut impl CryptoRng) -> Option<KeyJob> {
        if self.next.is_some() {
            return self.next.take();
        }
        if self.under_way.is_some() || self.failed.is_some() {
            return None;
        }
        let enters =
            |epoch: &Epoch| self.stored.contains_key(epoch) && self.ring.table(*epoch).is_none();
        if let Some(epoch) = self.accepted(wall).find(enters) {
            self.under_way = Some(Step::Load(epoch));
            return Some(KeyJob::Load(epoch));
        }
        let over = |epoch: &Epoch| wall >= self.schedule.key_until(*epoch);
        if let Some(epoch) = self.stored.keys().copied().find(over) {
            return Some(self.delete(epoch));
        }
        if let Some(epoch) = self.to_make(wall) {
            let secret = SphinxSecret::generate(rng);
            self.under_way = Some(Step::Save(epoch, secret.public()));
            let secret = secret.expose();
            return Some(KeyJob::Save { epoch, secret });
        }
        // So that an older copy of a table is told from it.
        if wall.since(self.checkpointed) >= limits::CHECKPOINT || wall < self.checkpointed {
            self.checkpointed = wall;
            self.under_way = Some(Step::Record);
            return Some(KeyJob::Record(self.ring.mark()));
        }
        None
    }

    fn delete(&mut self, epoch: Epoch) -> KeyJob {
        self.under_way = Some(Step::Delete(epoch));
        KeyJob::Delete(epoch)
    }

    /// An epoch to come that has no key yet. One whose key should be in service by now gets none:
    /// what others hold of us is another.
    fn to_make(&self, wall: Wall) -> Option<Epoch> {
        let current = self.schedule.epoch_at(wall);
        (1..=limits::KEYS_AHEAD)
            .map(|ahead| current.plus(ahead))
            .find(|epoch| {
                !self.stored.contains_key(epoch)
                    && self.ring.public(*epoch).is_none()
                    && wall < self.schedule.key_from(*epoch)
            })
    }

    /// The store is done with its job.
    pub fn done(&mut self, done: KeyDone, wall: Wall, rng: &mut impl CryptoRng) {
        let Some(step) = self.under_way.take() else {
            return;
        };
        match (step, done.0) {
            (Step::Load(epoch), Ok(Some(secret))) => self.begin(epoch, &secret, wall, rng),
            // It was lost: the next refresh says that it is missing.
            (Step::Load(epoch), Ok(None)) => drop(self.stored.remove(&epoch)),
            (Step::Move(epoch), Ok(_)) => {
                self.ring.end(true);
                self.stored.remove(&epoch);
                self.events.push(KeyEvent::Entered(epoch));
                self.retire(wall);
            }
            (Step::Save(epoch, public), Ok(_)) => {
                self.stored.insert(epoch, public);
                // The disk took until the key should serve: nobody has heard of it.
                if wall >= self.schedule.key_from(epoch) {
                    self.next = Some(self.delete(epoch));
                }
            }
            (Step::Delete(epoch), Ok(_)) => drop(self.stored.remove(&epoch)),
            (Step::Record, Ok(_)) => {}
            (step, Err(fault)) => {
                if matches!(step, Step::Move(_)) {
                    self.ring.end(false);
                }
                self.events.push(KeyEvent::Fault(fault.to_string()));
                self.failed = Some(fault);
            }
        }
    }

    fn begin(&mut self, epoch: Epoch, secret: &Secret<32>, wall: Wall, rng: &mut impl CryptoRng) {
        if !self.accepted(wall).any(|accepted| accepted == epoch) {
            return;
        }
        self.retire(wall);
        match self.ring.begin(epoch, secret, rng) {
            Ok(record) => {
                self.under_way = Some(Step::Move(epoch));
                self.next = Some(KeyJob::Move { epoch, record });
            }
            Err(error) => {
                self.events.push(KeyEvent::Fault(error.to_string()));
                self.failed = Some(StoreFault(error.to_string()));
            }
        }
    }

    /// The public keys of `first` and the next three epochs, if all are there.
    pub fn public_from(&self, first: Epoch) -> Option<[SphinxKey; KEY_EPOCHS]> {
        let mut keys = Vec::with_capacity(KEY_EPOCHS);
        for (_, ahead) in (0..KEY_EPOCHS).zip(0_u64..) {
            let epoch = first.plus(ahead);
            let key = self.stored.get(&epoch).copied();
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

    /// What outlives the process: the regions with keys and tags.
    pub fn into_regions(self) -> Vec<M> {
        self.ring.into_regions()
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
