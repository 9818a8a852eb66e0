//! The embedded store: `fjall`, one keyspace a day.
//!
//! An LSM tree keeps deleted values until it compacts. So values are sealed under the day's key,
//! and the end of a day destroys the key first and drops the files of its keyspace after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use whist_rt::files;
use whist_timing::Rng;

use super::seal::Sealer;
use super::{Batch, Cursor, Day, DayKeys, Key, Owner, Scanned, Store, StoreFault, Table};
use crate::limits;

/// The embedded store.
pub struct Fjall<K> {
    db: Database,
    spaces: BTreeMap<Day, Keyspace>,
    sealer: Sealer,
    keys: K,
    folder: PathBuf,
    keep_free: u64,
    /// The engine takes no write after one that failed.
    ended: bool,
}

/// A handle that makes durable what was applied; it may be used from another thread, because a
/// sync takes milliseconds and the core must not wait for it.
#[derive(Clone)]
pub struct FjallSync {
    db: Database,
}

impl FjallSync {
    /// Makes everything durable that was applied before the call.
    ///
    /// # Errors
    /// When the disk fails: then nothing that was not durable may be called so.
    pub fn sync(&self) -> Result<(), StoreFault> {
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(|e| fault("sync", &e))
    }
}

fn fault(what: &str, error: &fjall::Error) -> StoreFault {
    StoreFault::Disk(format!("{what}: {error}"))
}

fn space_name(day: Day) -> String {
    format!("day{}", day.number())
}

impl<K: DayKeys> Fjall<K> {
    /// Opens or makes the store in `folder`. Keyspaces whose day has no key any more, because a
    /// kill came between the two steps of its end, are dropped; what was recovered is synced, so
    /// that what is read is durable.
    ///
    /// # Errors
    /// When the folder or the keys cannot be read, or another process has them open.
    pub fn open(folder: &Path, mut keys: K, rng: Rng) -> Result<Self, StoreFault> {
        let db = Database::builder(folder)
            .worker_threads(limits::STORE_WORKERS)
            .cache_size(limits::STORE_CACHE_BYTES)
            .max_journaling_size(limits::STORE_JOURNAL_BYTES)
            .open()
            .map_err(|e| fault("open", &e))?;
        let mut sealer = Sealer::new(rng);
        let mut spaces = BTreeMap::new();
        for day in keys.days()? {
            if let Some(key) = keys.load(day)? {
                sealer.insert(day, &key);
                spaces.insert(day, open_space(&db, day)?);
            }
        }
        for name in db.list_keyspace_names() {
            if !spaces.keys().any(|day| space_name(*day) == *name) {
                let space = db
                    .keyspace(&name, KeyspaceCreateOptions::default)
                    .map_err(|e| fault("open", &e))?;
                db.delete_keyspace(space).map_err(|e| fault("drop", &e))?;
            }
        }
        db.persist(PersistMode::SyncAll)
            .map_err(|e| fault("sync", &e))?;
        Ok(Self {
            db,
            spaces,
            sealer,
            keys,
            folder: folder.to_owned(),
            keep_free: limits::STORE_KEEP_FREE_BYTES,
            ended: false,
        })
    }

    /// The same store, which takes nothing new when its disk has less than this left.
    #[must_use]
    pub fn keeping_free(mut self, bytes: u64) -> Self {
        self.keep_free = bytes;
        self
    }

    fn write(&mut self, write: OwnedWriteBatch) -> Result<(), StoreFault> {
        write.commit().map_err(|e| {
            self.ended = true;
            fault("write", &e)
        })
    }

    /// A handle that syncs.
    pub fn syncer(&self) -> FjallSync {
        FjallSync {
            db: self.db.clone(),
        }
    }

    fn space(&self, day: Day) -> Result<&Keyspace, StoreFault> {
        self.spaces.get(&day).ok_or(StoreFault::NoKey)
    }
}

fn open_space(db: &Database, day: Day) -> Result<Keyspace, StoreFault> {
    let options = || {
        // Sealed values do not compress.
        KeyspaceCreateOptions::default()
            .data_block_compression_policy(fjall::config::CompressionPolicy::disabled())
            .max_memtable_size(limits::STORE_MEMTABLE_BYTES)
    };
    db.keyspace(&space_name(day), options)
        .map_err(|e| fault("open", &e))
}

impl<K: DayKeys> Store for Fjall<K> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreFault> {
        let name = self.sealer.name(key)?;
        let stored = self
            .space(key.day)?
            .get(name)
            .map_err(|e| fault("get", &e))?;
        stored
            .map(|stored| self.sealer.open(key.day, &name, &stored))
            .transpose()
    }

    fn scan(&self, day: Day, table: Table, owner: Owner) -> Result<Vec<Scanned>, StoreFault> {
        let prefix = self.sealer.prefix(day, table, &owner)?;
        let mut rows = Vec::new();
        for row in self.space(day)?.prefix(prefix) {
            let (name, stored) = row.into_inner().map_err(|e| fault("scan", &e))?;
            let index = name.last_chunk::<8>().ok_or(StoreFault::Damaged)?;
            let value = self.sealer.open(day, &name, &stored);
            rows.push((u64::from_be_bytes(*index), value.ok()));
        }
        Ok(rows)
    }

    fn count(&self, table: Table) -> Result<u64, StoreFault> {
        let mut rows = 0_u64;
        for space in self.spaces.values() {
            for row in space.prefix([table.tag()]) {
                row.key().map_err(|e| fault("count", &e))?;
                rows = rows.saturating_add(1);
            }
        }
        Ok(rows)
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let mut write = self.db.batch();
        for (key, value) in batch.changes() {
            let name = self.sealer.name(key)?;
            let space = self.spaces.get(&key.day).ok_or(StoreFault::NoKey)?;
            match value {
                Some(value) => {
                    let sealed = self.sealer.seal(key.day, &name, value)?;
                    write.insert(space, name, sealed);
                }
                None => write.remove(space, name),
            }
        }
        self.write(write)
    }

    fn has_space(&self) -> bool {
        // Where the question itself fails, the writes will tell.
        files::free_bytes(&self.folder).map_or(true, |free| free >= self.keep_free)
    }

    fn is_ended(&self) -> bool {
        self.ended
    }

    fn days(&self) -> Vec<Day> {
        self.sealer.days().collect()
    }

    fn begin(&mut self, day: Day) -> Result<(), StoreFault> {
        if self.spaces.contains_key(&day) {
            return Ok(());
        }
        let key = self.sealer.fresh_key();
        self.keys.save(day, &key)?;
        let space = open_space(&self.db, day)?;
        self.sealer.insert(day, &key);
        self.spaces.insert(day, space);
        Ok(())
    }

    fn end(&mut self, day: Day) -> Result<bool, StoreFault> {
        self.keys.delete(day)?;
        self.sealer.remove(day);
        // The engine may be reading its files.
        if self.db.active_compactions() > 0 || self.db.outstanding_flushes() > 0 {
            return Ok(false);
        }
        if let Some(space) = self.spaces.remove(&day) {
            // Of a keyspace that is deleted the engine keeps files open until it needs their
            // descriptors for others: on a full disk, for ever. Empty, they hold no space.
            let tables = space.path().join("tables");
            files::empty_all(&tables).map_err(|e| StoreFault::Disk(e.to_string()))?;
            self.db
                .delete_keyspace(space)
                .map_err(|e| fault("drop", &e))?;
        }
        Ok(true)
    }

    fn clear(
        &mut self,
        day: Day,
        table: Table,
        from: &Cursor,
        most: usize,
    ) -> Result<Option<Cursor>, StoreFault> {
        let space = self.space(day)?.clone();
        // Not from the beginning each time: that would walk over all that was deleted before.
        let first = from.0.clone().max(vec![table.tag()]);
        let end = vec![table.tag().saturating_add(1)];
        let mut write = self.db.batch();
        let mut names = Vec::new();
        for row in space.range(first..end).take(most) {
            names.push(row.key().map_err(|e| fault("scan", &e))?);
        }
        for name in &names {
            write.remove(&space, name.clone());
        }
        self.write(write)?;
        let last = names.last().filter(|_| names.len() >= most);
        Ok(last.map(|name| Cursor(name.to_vec())))
    }
}
