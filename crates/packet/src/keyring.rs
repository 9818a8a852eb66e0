//! The keys in service: which one opens a packet, when each enters and is erased.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::DerefMut;
use std::time::Duration;

use rand_core::CryptoRng;
use whist_types::{Epoch, EpochSchedule, Secret, SphinxKey, Wall};

use crate::replay::{
    Damaged, FIRST_GENERATION, Found, Inserted, Refused, ReplayTable, inspect, wipe,
};
use crate::{DropReason, Packet, SphinxSecret, Unwrapped, check};

/// The store of keys failed; whose fault is the disk's.
#[derive(Debug, thiserror::Error)]
#[error("key store: {0}")]
pub struct StoreFault(pub String);

/// Where keys wait until their epoch comes: sealed, on disk. Never where keys in service are.
pub trait KeyStore {
    /// Keeps the key of a later epoch, durably.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn save(&mut self, epoch: Epoch, secret: &Secret<32>) -> Result<(), StoreFault>;

    /// The key of an epoch, if it is there.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault>;

    /// Deletes a key (none: nothing to do); returns when the deletion is durable.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault>;

    /// The epochs whose keys are there.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault>;

    /// Replaces the record of the tables in service and their generations, durably. It is what
    /// tells a table from an older copy, so it must not be where the tables are.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault>;

    /// The record last kept; empty if there is none.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault>;
}

/// A [`KeyStore`] in memory, for tests and simulators.
#[derive(Default)]
pub struct MemoryKeyStore {
    keys: BTreeMap<Epoch, Secret<32>>,
    generations: Vec<(Epoch, u64)>,
}

impl KeyStore for MemoryKeyStore {
    fn save(&mut self, epoch: Epoch, secret: &Secret<32>) -> Result<(), StoreFault> {
        self.keys.insert(epoch, secret.duplicate());
        Ok(())
    }

    fn load(&mut self, epoch: Epoch) -> Result<Option<Secret<32>>, StoreFault> {
        Ok(self.keys.get(&epoch).map(Secret::duplicate))
    }

    fn delete(&mut self, epoch: Epoch) -> Result<(), StoreFault> {
        self.keys.remove(&epoch);
        Ok(())
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, StoreFault> {
        Ok(self.keys.keys().copied().collect())
    }

    fn record_generations(&mut self, record: &[(Epoch, u64)]) -> Result<(), StoreFault> {
        self.generations = record.to_vec();
        Ok(())
    }

    fn generations(&mut self) -> Result<Vec<(Epoch, u64)>, StoreFault> {
        Ok(self.generations.clone())
    }
}

/// Why a key did not enter service.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It is not on the disk: it was lost, or served before.
    #[error("no key for epoch {0}")]
    NoKey(Epoch),
    /// Both regions hold keys that are still accepted.
    #[error("both regions are in use")]
    NoRegion,
    /// A region is too small for a table.
    #[error("region refused: {0}")]
    Region(Damaged),
    /// The store failed; the key did not enter.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// What a start found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// Keys that serve on with their tags.
    pub resumed: Vec<Epoch>,
    /// Regions that gave no table; their keys are gone.
    pub lost: Vec<Damaged>,
    /// Keys on disk whose epoch had begun: deleted, since they may have served.
    pub deleted: Vec<Epoch>,
}

/// What a turn changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Keys that were erased with their tags.
    pub retired: Vec<Epoch>,
    /// Keys that entered service.
    pub entered: Vec<Epoch>,
    /// Accepted epochs for which there is no key.
    pub missing: Vec<Epoch>,
    /// Keys on disk that were never used and no longer will be.
    pub deleted: Vec<Epoch>,
}

/// A turn that ended early. What it did before is done: a key that was erased is gone.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TurnFailed {
    /// What changed before.
    pub turned: Turned,
    /// Why it ended.
    #[source]
    pub error: EnterError,
}

/// The keys in service, at most two, each with its tags in a region of memory.
pub struct Keyring<M> {
    schedule: EpochSchedule,
    tables: Vec<ReplayTable<M>>,
    free: Vec<M>,
    /// A table whose key is still on the disk: it opens nothing.
    entering: Option<ReplayTable<M>>,
    /// Epochs whose table turned out damaged while in service.
    lost: Vec<Epoch>,
}

impl<M: DerefMut<Target = [u8]>> Keyring<M> {
    /// Takes up what a process before left in the two regions. Then call [`Keyring::turn`].
    ///
    /// A key on disk whose epoch has begun may have served, and is deleted; unless a region shows
    /// that it was just being moved in, in which case it never has.
    ///
    /// # Errors
    /// [`StoreFault`]: the node must not serve. The regions stay as they were or are erased.
    pub fn start(
        regions: [M; 2],
        schedule: EpochSchedule,
        wall: Wall,
        store: &mut impl KeyStore,
    ) -> Result<(Self, Started), StoreFault> {
        let mut ring = Self {
            schedule,
            tables: Vec::new(),
            free: Vec::new(),
            entering: None,
            lost: Vec::new(),
        };
        let mut started = Started::default();
        let mut entering = Vec::new();
        let record = store.generations()?;
        for memory in regions {
            ring.take_up(memory, &record, store, &mut entering, &mut started)?;
        }
        ring.refuse_doubles(&mut started);
        started.resumed = ring.epochs();
        store.record_generations(&ring.generations())?;
        for epoch in store.epochs()? {
            let begun = wall >= schedule.key_from(epoch);
            if ring.table(epoch).is_some() || (begun && !entering.contains(&epoch)) {
                store.delete(epoch)?;
                started.deleted.push(epoch);
            }
        }
        Ok((ring, started))
    }

    fn take_up(
        &mut self,
        mut memory: M,
        record: &[(Epoch, u64)],
        store: &mut impl KeyStore,
        entering: &mut Vec<Epoch>,
        started: &mut Started,
    ) -> Result<(), StoreFault> {
        let why = match inspect(&memory) {
            // No key; whatever tags are left are erased when the next one moves in.
            Found::Blank => {
                self.free.push(memory);
                return Ok(());
            }
            Found::Entering(epoch) => {
                entering.push(epoch);
                None
            }
            Found::Damaged => Some(Damaged::Header),
            Found::Ready { epoch, generation } => {
                let recorded = record.iter().find(|(e, _)| *e == epoch).map(|(_, g)| *g);
                match recorded {
                    // A kill after the region was written and before it was recorded: the key is
                    // still on disk, so it has never served. A table of a later generation has
                    // served, whatever an older copy of the disk says.
                    None if generation == FIRST_GENERATION && store.load(epoch)?.is_some() => {
                        entering.push(epoch);
                        None
                    }
                    None => Some(Damaged::Older {
                        found: generation,
                        recorded: u64::MAX,
                    }),
                    Some(recorded) => match ReplayTable::open(memory, recorded) {
                        Ok(table) => {
                            self.tables.push(table);
                            return Ok(());
                        }
                        Err(refused) => {
                            memory = refused.memory;
                            Some(refused.why)
                        }
                    },
                }
            }
        };
        wipe(&mut memory);
        self.free.push(memory);
        started.lost.extend(why);
        Ok(())
    }

    /// One epoch in both regions: one of them is a copy and lacks tags, and nothing says which.
    fn refuse_doubles(&mut self, started: &mut Started) {
        let mut epochs = self.epochs();
        epochs.dedup();
        if epochs.len() < self.tables.len() {
            for table in self.tables.drain(..) {
                self.free.push(table.retire());
                started.lost.push(Damaged::Doubled);
            }
        }
    }

    /// Erases keys that are no longer accepted and takes in those that now are. To be called at
    /// the start, whenever [`Keyring::next_turn`] comes, and after the clock was found to jump.
    ///
    /// # Errors
    /// [`TurnFailed`], with what was done before; keys that are missing are no error, but listed.
    pub fn turn(
        &mut self,
        wall: Wall,
        store: &mut impl KeyStore,
        rng: &mut impl CryptoRng,
    ) -> Result<Turned, Box<TurnFailed>> {
        let mut turned = Turned::default();
        match self.turn_into(&mut turned, wall, store, rng) {
            Ok(()) => Ok(turned),
            Err(error) => Err(Box::new(TurnFailed { turned, error })),
        }
    }

    fn turn_into(
        &mut self,
        turned: &mut Turned,
        wall: Wall,
        store: &mut impl KeyStore,
        rng: &mut impl CryptoRng,
    ) -> Result<(), EnterError> {
        turned.retired = self.retire_expired(wall);
        for epoch in store.epochs()? {
            if wall >= self.schedule.key_until(epoch) {
                store.delete(epoch)?;
                turned.deleted.push(epoch);
            }
        }
        let (likely, other) = self.schedule.accepted(wall);
        for epoch in [Some(likely), other].into_iter().flatten() {
            if self.table(epoch).is_some() {
                continue;
            }
            match self.enter(epoch, store, rng) {
                Ok(()) => turned.entered.push(epoch),
                Err(EnterError::NoKey(epoch)) => turned.missing.push(epoch),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// When [`Keyring::turn`] has something to do next.
    pub fn next_turn(&self, wall: Wall) -> Wall {
        let current = self.schedule.epoch_at(wall);
        [
            self.schedule.key_until(current.previous()),
            self.schedule.key_from(current.next()),
        ]
        .into_iter()
        .filter(|&at| at > wall)
        .min()
        .unwrap_or_else(|| self.schedule.end(current))
    }

    /// Moves the key of `epoch` into service: from the disk into a region, then off the disk with
    /// the deletion synced, and only then may it open packets.
    ///
    /// # Errors
    /// [`EnterError`]; the key is not in service then.
    pub fn enter(
        &mut self,
        epoch: Epoch,
        store: &mut impl KeyStore,
        rng: &mut impl CryptoRng,
    ) -> Result<(), EnterError> {
        if self.table(epoch).is_some() {
            return Ok(());
        }
        let secret = store.load(epoch)?.ok_or(EnterError::NoKey(epoch))?;
        let record = self.begin(epoch, &secret, rng)?;
        let moved = store
            .record_generations(&record)
            .and_then(|()| store.delete(epoch));
        self.end(moved.is_ok());
        moved.map_err(EnterError::from)
    }

    /// The first half of [`enter`](Self::enter), where the disk is somebody else's: the key stands
    /// in a region, and opens nothing. Gives the record to be kept; when it is, and the key's
    /// deletion from the disk is synced, call [`end`](Self::end).
    ///
    /// # Errors
    /// [`EnterError`]: no region takes it, or another key is on its way.
    pub fn begin(
        &mut self,
        epoch: Epoch,
        secret: &Secret<32>,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<(Epoch, u64)>, EnterError> {
        if self.entering.is_some() {
            return Err(EnterError::NoRegion);
        }
        let memory = self.free.pop().ok_or(EnterError::NoRegion)?;
        let secret = SphinxSecret::from_secret(secret);
        let table = match ReplayTable::create(memory, epoch, &secret, rng) {
            Ok(table) => table,
            Err(Refused { why, memory }) => {
                self.free.push(memory);
                return Err(EnterError::Region(why));
            }
        };
        self.entering = Some(table);
        Ok(self.generations())
    }

    /// The key of [`begin`](Self::begin) is off the disk, and serves from now on; or the disk
    /// failed, and it is erased here.
    pub fn end(&mut self, moved: bool) {
        match self.entering.take() {
            Some(table) if moved => self.tables.push(table),
            Some(table) => self.free.push(table.retire()),
            None => {}
        }
    }

    /// Erases the keys that are no longer accepted at `wall`, with their tags.
    pub fn retire_expired(&mut self, wall: Wall) -> Vec<Epoch> {
        let (expired, kept) = std::mem::take(&mut self.tables)
            .into_iter()
            .partition(|table| wall >= self.schedule.key_until(table.epoch()));
        self.tables = kept;
        let expired: Vec<ReplayTable<M>> = expired;
        expired
            .into_iter()
            .map(|table| {
                let epoch = table.epoch();
                self.free.push(table.retire());
                epoch
            })
            .collect()
    }

    /// Marks the tables with a new generation and records it, so that a copy made before cannot
    /// be put in their place later. To be called now and then (each minute).
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn checkpoint(&mut self, store: &mut impl KeyStore) -> Result<(), StoreFault> {
        store.record_generations(&self.mark())
    }

    /// The first half of [`checkpoint`](Self::checkpoint): gives the record to be kept.
    pub fn mark(&mut self) -> Vec<(Epoch, u64)> {
        for table in &mut self.tables {
            table.advance();
        }
        self.generations()
    }

    /// Opens a packet: the likelier key first, then at most one more; enters its tag before
    /// anything else is done with it.
    ///
    /// # Errors
    /// The reason for which it is dropped.
    pub fn open(
        &mut self,
        packet: Packet,
        wall: Wall,
        delay_cap: Duration,
    ) -> Result<(Epoch, Unwrapped), DropReason> {
        let (likely, other) = self.schedule.accepted(wall);
        let mut reason = DropReason::NoKey;
        let mut packet = packet;
        for epoch in [Some(likely), other].into_iter().flatten() {
            let Some(table) = self.tables.iter_mut().find(|t| t.epoch() == epoch) else {
                continue;
            };
            let checked = match check(packet, table.secret()) {
                Ok(checked) => checked,
                Err(rejected) if rejected.reason == DropReason::BadMac => {
                    reason = rejected.reason;
                    packet = rejected.packet;
                    continue;
                }
                Err(rejected) => return Err(rejected.reason),
            };
            return match table.insert(checked.tag()) {
                Inserted::Fresh => checked.finish(delay_cap).map(|found| (epoch, found)),
                Inserted::Seen => Err(DropReason::Replayed),
                Inserted::Full => Err(DropReason::TableFull),
                Inserted::Damaged => {
                    self.lose(epoch);
                    Err(DropReason::TableDamaged)
                }
            };
        }
        Err(reason)
    }

    /// Erases a key whose table cannot be trusted any more.
    fn lose(&mut self, epoch: Epoch) {
        if let Some(at) = self.tables.iter().position(|t| t.epoch() == epoch) {
            self.free.push(self.tables.swap_remove(at).retire());
            self.lost.push(epoch);
        }
    }

    /// Epochs whose key was erased in service because its table was damaged, since last asked.
    pub fn take_lost(&mut self) -> Vec<Epoch> {
        std::mem::take(&mut self.lost)
    }

    /// The epochs whose keys are in service.
    pub fn epochs(&self) -> Vec<Epoch> {
        let mut epochs: Vec<_> = self.tables.iter().map(ReplayTable::epoch).collect();
        epochs.sort_unstable();
        epochs
    }

    /// The public half of a key in service.
    pub fn public(&self, epoch: Epoch) -> Option<SphinxKey> {
        self.table(epoch).map(|table| table.secret().public())
    }

    /// The table of a key in service.
    pub fn table(&self, epoch: Epoch) -> Option<&ReplayTable<M>> {
        self.tables.iter().find(|table| table.epoch() == epoch)
    }

    /// Gives the two regions back as they are, keys and tags in them: what a kill leaves.
    pub fn into_regions(self) -> Vec<M> {
        let tables = self.tables.into_iter().chain(self.entering);
        let tables = tables.map(ReplayTable::into_memory);
        tables.chain(self.free).collect()
    }

    fn generations(&self) -> Vec<(Epoch, u64)> {
        self.tables
            .iter()
            .chain(&self.entering)
            .map(|table| (table.epoch(), table.generation()))
            .collect()
    }
}

impl<M> fmt::Debug for Keyring<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} in service)", self.tables.len())
    }
}
