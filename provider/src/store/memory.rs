//! A store in memory with a pending and a durable state, for the simulator's `World` and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Batch, Cursor, Day, Key, Owner, Scanned, Store, StoreFault, Table};

#[derive(Debug, Default)]
struct Disk {
    /// What reads see.
    rows: BTreeMap<Key, Vec<u8>>,
    /// What a crash leaves.
    durable: BTreeMap<Key, Vec<u8>>,
    /// Applied but not synced, in order.
    pending: Vec<Batch>,
    /// Batches that were synced so far, so that a sync point stays valid while others end.
    synced: u64,
    days: BTreeSet<Day>,
    fail_in: Option<u64>,
    bytes_written: u64,
    rows_max: Option<usize>,
    reads_fail: bool,
    no_space: bool,
    /// So many ends of days destroy the key and leave the rows.
    ends_held: u64,
    /// What each operation takes, and what they took since last asked.
    each: Duration,
    spent: Duration,
    /// Rows whose bytes were flipped; a write mends one.
    damaged: BTreeSet<Key>,
}

/// How far a sync that was begun will reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncPoint(u64);

/// A handle to a disk in memory. Clones share the disk, so that the world keeps it across a kill.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    disk: Arc<Mutex<Disk>>,
}

impl Memory {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, for an operation of the store: it takes its time.
    fn operate(&self) -> MutexGuard<'_, Disk> {
        let mut disk = self.disk();
        disk.spent = disk.spent.saturating_add(disk.each);
        disk
    }

    /// Every operation of the store takes this long from now on, by [`Self::take_spent`].
    pub fn slow(&self, each: Duration) {
        self.disk().each = each;
    }

    /// How long the operations took since last asked.
    pub fn take_spent(&self) -> Duration {
        std::mem::take(&mut self.disk().spent)
    }

    /// A sync begins: it will make durable what was applied up to now.
    pub fn begin_sync(&self) -> SyncPoint {
        let disk = self.disk();
        let pending = u64::try_from(disk.pending.len()).unwrap_or(u64::MAX);
        SyncPoint(disk.synced.saturating_add(pending))
    }

    /// A sync ends: what was applied before it began is durable.
    pub fn end_sync(&self, point: SyncPoint) {
        let disk = &mut *self.disk();
        let ready = point.0.saturating_sub(disk.synced);
        let ready = usize::try_from(ready)
            .unwrap_or(usize::MAX)
            .min(disk.pending.len());
        for batch in disk.pending.drain(..ready) {
            write(&mut disk.durable, &batch);
            disk.synced = disk.synced.saturating_add(1);
        }
    }

    /// Makes everything durable that was applied.
    pub fn sync(&self) {
        self.end_sync(self.begin_sync());
    }

    /// A kill or a power cut: what was not synced is gone.
    pub fn crash(&self) {
        let disk = &mut *self.disk();
        let lost = u64::try_from(disk.pending.len()).unwrap_or(u64::MAX);
        disk.synced = disk.synced.saturating_add(lost);
        disk.pending.clear();
        disk.rows = disk.durable.clone();
    }

    /// The `n`-th operation from now that writes fails, and all later ones, until `None` is set.
    pub fn fail_in(&self, n: Option<u64>) {
        self.disk().fail_in = n;
    }

    /// Writes that add rows fail while this many are there, like a full disk; deletes work.
    pub fn limit_rows(&self, rows_max: Option<usize>) {
        self.disk().rows_max = rows_max;
    }

    /// Flips bytes of every row that `which` names, as a failing disk does: none of them opens any
    /// more. Gives how many there were.
    pub fn damage(&self, which: impl Fn(&Key) -> bool) -> usize {
        let disk = &mut *self.disk();
        let hit: Vec<Key> = disk.rows.keys().filter(|key| which(key)).copied().collect();
        disk.damaged.extend(&hit);
        hit.len()
    }

    /// Reads of single rows fail until told otherwise.
    pub fn fail_reads(&self, fail: bool) {
        self.disk().reads_fail = fail;
    }

    /// Whether the disk has as little left as a store refuses to take more for.
    pub fn fill(&self, full: bool) {
        self.disk().no_space = full;
    }

    /// The next `ends` of days find rows that cannot go yet.
    pub fn hold_ends(&self, ends: u64) {
        self.disk().ends_held = ends;
    }

    /// Bytes of all values written so far.
    pub fn bytes_written(&self) -> u64 {
        self.disk().bytes_written
    }

    /// Number of rows that reads see.
    pub fn len(&self) -> usize {
        self.disk().rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Disk {
    fn write_allowed(&mut self) -> Result<(), StoreFault> {
        match &mut self.fail_in {
            Some(0) => Err(StoreFault::Disk("made to fail".to_owned())),
            Some(n) => {
                *n = n.saturating_sub(1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn write(rows: &mut BTreeMap<Key, Vec<u8>>, batch: &Batch) {
    for (key, value) in batch.changes() {
        match value {
            Some(value) => rows.insert(*key, value.clone()),
            None => rows.remove(key),
        };
    }
}

impl Store for Memory {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreFault> {
        let disk = self.operate();
        if disk.reads_fail {
            return Err(StoreFault::Disk("made to fail".to_owned()));
        }
        match disk.rows.get(key) {
            Some(_) if disk.damaged.contains(key) => Err(StoreFault::Damaged),
            row => Ok(row.cloned()),
        }
    }

    fn scan(&self, day: Day, table: Table, owner: Owner) -> Result<Vec<Scanned>, StoreFault> {
        let from = |index| Key {
            day,
            table,
            owner,
            index,
        };
        let disk = self.operate();
        let rows = disk.rows.range(from(0)..=from(u64::MAX));
        let value = |key, value: &Vec<u8>| (!disk.damaged.contains(key)).then(|| value.clone());
        Ok(rows.map(|(k, v)| (k.index, value(k, v))).collect())
    }

    fn count(&self, table: Table) -> Result<u64, StoreFault> {
        let disk = self.operate();
        let rows = disk.rows.keys().filter(|key| key.table == table).count();
        Ok(u64::try_from(rows).unwrap_or(u64::MAX))
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let disk = &mut *self.operate();
        disk.write_allowed()?;
        let full = disk.rows_max.is_some_and(|max| disk.rows.len() >= max);
        let adds =
            |(key, value): &(Key, Option<Vec<u8>>)| value.is_some() && !disk.rows.contains_key(key);
        let removes = batch.changes().iter().any(|(_, value)| value.is_none());
        if full && !removes && batch.changes().iter().any(adds) {
            return Err(StoreFault::Disk("full".to_owned()));
        }
        write(&mut disk.rows, batch);
        for (key, _) in batch.changes() {
            disk.damaged.remove(key);
        }
        let sizes = batch.changes().iter().flat_map(|(_, value)| value);
        let bytes: usize = sizes.map(Vec::len).sum();
        disk.bytes_written += u64::try_from(bytes).unwrap_or(u64::MAX);
        disk.pending.push(batch.clone());
        Ok(())
    }

    fn has_space(&self) -> bool {
        !self.disk().no_space
    }

    fn days(&self) -> Vec<Day> {
        self.disk().days.iter().rev().copied().collect()
    }

    fn begin(&mut self, day: Day) -> Result<(), StoreFault> {
        let disk = &mut *self.operate();
        disk.write_allowed()?;
        disk.days.insert(day);
        Ok(())
    }

    fn end(&mut self, day: Day) -> Result<bool, StoreFault> {
        let disk = &mut *self.operate();
        disk.write_allowed()?;
        disk.days.remove(&day);
        if let Some(left) = disk.ends_held.checked_sub(1) {
            disk.ends_held = left;
            return Ok(false);
        }
        disk.rows.retain(|key, _| key.day != day);
        disk.durable.retain(|key, _| key.day != day);
        for batch in &mut disk.pending {
            batch.changes.retain(|(key, _)| key.day != day);
        }
        Ok(true)
    }

    fn clear(
        &mut self,
        day: Day,
        table: Table,
        _: &Cursor,
        most: usize,
    ) -> Result<Option<Cursor>, StoreFault> {
        let mut batch = Batch::new();
        let disk = self.disk();
        let here = |key: &&Key| key.day == day && key.table == table;
        for key in disk.rows.keys().filter(here).take(most) {
            batch.delete(*key);
        }
        drop(disk);
        self.apply(&batch)?;
        Ok((batch.len() >= most).then(Cursor::default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key::of(Day::new(1), Table::Item, [n; 32])
    }

    fn put(store: &mut Memory, n: u8) {
        let mut batch = Batch::new();
        batch.put(key(n), vec![n]);
        store.apply(&batch).unwrap();
    }

    #[test]
    fn a_crash_loses_what_was_not_synced_and_nothing_else() {
        let mut store = Memory::new();
        put(&mut store, 1);
        let point = store.begin_sync();
        put(&mut store, 2);
        store.end_sync(point);
        assert_eq!(store.get(&key(2)).unwrap(), Some(vec![2]));
        store.crash();
        assert_eq!(store.get(&key(1)).unwrap(), Some(vec![1]));
        assert_eq!(store.get(&key(2)).unwrap(), None);
        put(&mut store, 3);
        store.sync();
        store.crash();
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn a_sync_that_a_crash_overtook_makes_nothing_durable() {
        let mut store = Memory::new();
        put(&mut store, 1);
        let point = store.begin_sync();
        store.crash();
        put(&mut store, 2);
        store.end_sync(point);
        store.crash();
        assert!(store.is_empty());
    }

    #[test]
    fn the_nth_write_fails_when_it_is_told_to() {
        let mut store = Memory::new();
        store.fail_in(Some(1));
        put(&mut store, 1);
        let mut batch = Batch::new();
        batch.put(key(2), vec![]);
        assert!(store.apply(&batch).is_err());
        store.fail_in(None);
        assert!(store.apply(&batch).is_ok());
    }
}
