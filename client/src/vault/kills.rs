//! The vault, killed at every operation on its files. What was not synced may be lost, any part of
//! it: each write since the last sync stays or goes by the toss of a coin.
#![allow(clippy::as_conversions, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand_core::Rng as _;
use redb::StorageBackend;

use super::tests::{first_batch, rng, secret};
use super::*;
use crate::rows::Table;

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<usize, Contents>,
    /// Operations that still succeed.
    left: usize,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    /// What a crash leaves for certain.
    pub(super) durable: Vec<u8>,
    /// What came since, of which it leaves any part.
    pub(super) writes: Vec<Write>,
    /// Both: what is read.
    pub(super) now: Vec<u8>,
}

impl Contents {
    pub(super) fn write(&mut self, write: Write) {
        write.apply(&mut self.now);
        self.writes.push(write);
    }
}

#[derive(Debug, Clone)]
pub(super) enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Write {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, data) => {
                let end = at + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

#[derive(Debug, Clone)]
struct Fragile(Arc<Mutex<Disk>>, usize);

impl Fragile {
    fn see<T>(&self, see: impl FnOnce(&[u8]) -> T) -> T {
        see(&self.0.lock().unwrap().files.entry(self.1).or_default().now)
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.left = disk
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("killed"))?;
        change(disk.files.entry(self.1).or_default());
        Ok(())
    }
}

impl StorageBackend for Fragile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.see(|bytes| bytes.len() as u64))
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        self.see(|bytes| out.copy_from_slice(&bytes[at..at + out.len()]));
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|file| file.write(Write::Length(len as usize)))
    }
    fn sync_data(&self) -> io::Result<()> {
        self.change(|file| {
            file.writes.clear();
            file.durable.clone_from(&file.now);
        })
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = Write::Bytes(offset as usize, data.to_vec());
        self.change(|file| file.write(write))
    }
}

const ENDLESS: usize = usize::MAX;

fn disk() -> Arc<Mutex<Disk>> {
    Arc::new(Mutex::new(Disk {
        left: ENDLESS,
        ..Disk::default()
    }))
}

fn copy(disk: &Arc<Mutex<Disk>>, left: usize) -> Arc<Mutex<Disk>> {
    let files = disk.lock().unwrap().files.clone();
    Arc::new(Mutex::new(Disk { files, left }))
}

/// The power goes: of what was not synced, anything may be there. Lengths come and go with the
/// writes after them.
fn crash(disk: &Arc<Mutex<Disk>>, seed: u8) -> Arc<Mutex<Disk>> {
    let mut rng = rng(seed);
    let mut files = disk.lock().unwrap().files.clone();
    for file in files.values_mut() {
        for write in std::mem::take(&mut file.writes) {
            if rng.next_u32() & 1 == 1 {
                write.apply(&mut file.durable);
            }
        }
        file.now.clone_from(&file.durable);
    }
    Arc::new(Mutex::new(Disk {
        files,
        left: ENDLESS,
    }))
}

fn media(disk: &Arc<Mutex<Disk>>) -> Media {
    let medium = |file| Medium::new(Fragile(disk.clone(), file));
    Media {
        rows: medium(0),
        shreds: medium(1),
        slots: medium(2),
    }
}

fn over(disk: &Arc<Mutex<Disk>>) -> Result<Vault, VaultError> {
    let media = media(disk);
    let slots = SlotsAt::Memory(media.slots.clone());
    Vault::over(media, slots, rng(8))
}

fn keys() -> Keys {
    Keys::random(&mut rng(5))
}

fn opened(disk: &Arc<Mutex<Disk>>) -> Result<Vault, VaultError> {
    let mut vault = over(disk)?;
    vault.adopt(&keys());
    Ok(vault)
}

fn numbered(from: u8, to: u8) -> Batch {
    let mut batch = Batch::new();
    for n in from..to {
        batch.put(Table::Message, vec![n], vec![from; 200]);
    }
    batch
}

/// Batches, some of them in one group; each rewrites and deletes rows of the one before.
fn steps() -> Vec<Vec<Batch>> {
    let mut second = numbered(2, 6);
    second.delete(Table::Message, vec![0]);
    let mut third = numbered(5, 7);
    third.delete(Table::Message, vec![1]);
    third.delete(Table::Message, vec![9]);
    vec![
        vec![numbered(0, 4)],
        vec![second, third],
        vec![numbered(6, 9)],
    ]
}

fn work(disk: &Arc<Mutex<Disk>>) -> (usize, Option<Vault>) {
    let Ok(mut vault) = opened(disk) else {
        return (0, None);
    };
    for (done, group) in steps().iter().enumerate() {
        if vault.apply_all(group).is_err() {
            assert!(
                vault.apply(&numbered(0, 1)).is_err(),
                "a broken vault goes on"
            );
            return (done, None);
        }
    }
    (steps().len(), Some(vault))
}

fn expected(done: usize) -> Rows {
    let mut rows = Rows::new();
    for batch in steps().iter().take(done).flatten() {
        rows.apply(batch);
    }
    rows
}

#[test]
fn a_vault_killed_at_any_operation_opens_with_every_acknowledged_row() {
    let base = disk();
    drop(opened(&base).unwrap());
    let mut halves = 0;
    for left in 0.. {
        let disk = copy(&base, left);
        let (done, whole) = work(&disk);
        if whole.is_some() {
            break;
        }
        for seed in 0..4 {
            let disk = crash(&disk, seed);
            let vault = opened(&disk).unwrap_or_else(|e| panic!("{left}: {e}"));
            let found = vault.load().unwrap_or_else(|e| panic!("{left}: {e}"));
            // What was under way is there as a whole or not at all.
            let begun = found == expected(done + 1) && done < steps().len();
            assert!(begun || found == expected(done), "{left}, {done}");
            halves += usize::from(begun);
            // Keys without a row are destroyed by the start: as many are free as can be.
            let places = vault.shreds.read().unwrap();
            let used = found.len();
            assert_eq!(vault.shreds.free_places() + used, places.len());
        }
    }
    assert!(halves > 0, "no kill came between a commit and its word");
}

/// A home with a person and a duress slot.
fn threatened() -> Arc<Mutex<Disk>> {
    let base = disk();
    let mut vault = over(&base).unwrap();
    let keys = keys();
    vault.adopt(&keys);
    vault.apply(&first_batch()).unwrap();
    let slots = Slots::create(media(&base).slots, Cost::LEAST, &mut rng(6)).unwrap();
    let put = |home, by: u8, keys: &Keys| {
        let by = Secret::new([by; 32]);
        slots.put(home, &by, keys, &mut rng(7)).unwrap();
    };
    put(keys.home(Home::First), 1, &keys);
    put(keys.home(Home::Recovery), 2, &keys);
    let place = keys.home(Home::Duress);
    put(place, 3, &keys.decoy(place, &mut rng(9)));
    base
}

fn try_slot(disk: &Arc<Mutex<Disk>>, by: u8) -> Result<slots::Opened, VaultError> {
    Slots::read(media(disk).slots)?.open(Secret::new([by; 32]))
}

#[test]
fn a_duress_unlock_killed_anywhere_did_nothing_or_ended_the_persons_keys() {
    let base = threatened();
    let (mut nothing, mut gone) = (0, 0);
    for left in 0.. {
        let disk = copy(&base, left);
        let done = over(&disk).and_then(|mut vault| {
            let opened = try_slot(&disk, 3)?;
            let done = vault.unlock(Opened(opened));
            assert_eq!(
                vault.person.is_some(),
                done.is_ok(),
                "a half of a decoy is open"
            );
            done
        });
        for seed in 0..4 {
            let disk = crash(&disk, seed);
            let person = try_slot(&disk, 1).is_ok();
            assert_eq!(
                person,
                try_slot(&disk, 2).is_ok(),
                "{left}: one of two was ended"
            );
            assert!(!(person && done.is_ok()));
            // The duress secret opens the decoy, from whichever point it was left at.
            let again = try_slot(&disk, 3).unwrap_or_else(|e| panic!("{left}: {e}"));
            let mut vault = over(&disk).unwrap();
            if person {
                nothing += 1;
                vault.unlock(Opened(try_slot(&disk, 1).unwrap())).unwrap();
                assert_eq!(vault.load().unwrap().of(Table::Contact).count(), 1);
                vault.lock();
            } else {
                gone += 1;
            }
            vault.unlock(Opened(again)).unwrap();
            let rows = vault.load().unwrap();
            assert_eq!(rows.of(Table::Contact).count(), 0);
            assert_eq!(rows.len(), 3, "account, line, documents");
            assert!(try_slot(&disk, 1).is_err() && try_slot(&disk, 2).is_err());
            assert_eq!(try_slot(&disk, 3).unwrap().keys.kind, Kind::Person);
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(nothing > 0 && gone > 0);
}

#[test]
fn a_phrase_made_under_duress_and_killed_anywhere_opens_the_decoy_for_good_or_was_not_made() {
    let base = threatened();
    let phrase = secret("phrase");
    let opens = |disk: &Arc<Mutex<Disk>>| {
        let slots = Slots::read(media(disk).slots).unwrap();
        slots.open(slots.derive(&phrase).unwrap())
    };
    for left in 0.. {
        let disk = copy(&base, left);
        let done = over(&disk).and_then(|mut vault| {
            vault.unlock(Opened(try_slot(&disk, 3)?))?;
            drop(vault);
            let (file, opened) = (media(&disk).slots, try_slot(&disk, 3)?);
            let (slots, file) = (Slots::read(file.clone())?, SlotsFile::unlocked(file));
            Change::of(file, slots, opened, rng(4))?.recovery(&phrase)
        });
        for seed in 0..2 {
            let disk = crash(&disk, seed);
            if try_slot(&disk, 1).is_ok() {
                assert!(done.is_err());
                continue;
            }
            // As at the next starts, by whichever of the two.
            for _ in 0..2 {
                let opened = try_slot(&disk, 3).unwrap_or_else(|e| panic!("{left}: {e}"));
                over(&disk).unwrap().unlock(Opened(opened)).unwrap();
            }
            if done.is_ok() {
                let mut vault = over(&disk).unwrap();
                vault.unlock(Opened(opens(&disk).unwrap())).unwrap();
                assert_eq!(vault.load().unwrap().of(Table::Contact).count(), 0);
                assert!(try_slot(&disk, 3).is_ok());
            }
        }
        if done.is_ok() {
            break;
        }
    }
}

#[test]
fn nothing_is_put_beside_a_slot_of_duress_before_the_decoy_has_taken_over() {
    let disk = threatened();
    let before = disk.lock().unwrap().files[&2].now.clone();
    let (file, opened) = (media(&disk).slots, try_slot(&disk, 3).unwrap());
    let slots = Slots::read(file.clone()).unwrap();
    let change = Change::of(SlotsFile::unlocked(file), slots, opened, rng(4));
    assert!(matches!(change, Err(VaultError::InUse)));
    assert!(disk.lock().unwrap().files[&2].now == before);
}

#[test]
fn a_change_of_passphrase_killed_anywhere_leaves_one_that_opens() {
    let base = disk();
    let slots = media(&base).slots;
    let old = secret("old");
    let made = Slots::create(slots, Cost::LEAST, &mut rng(6)).unwrap();
    let key = made.derive(&old).unwrap();
    let keys = keys();
    made.put(keys.home(Home::First), &key, &keys, &mut rng(7))
        .unwrap();
    for left in 0.. {
        let disk = copy(&base, left);
        let file = SlotsFile::unlocked(media(&disk).slots);
        let change = Change::over(file, &old, rng(4)).unwrap();
        let done = change.passphrase(&secret("new"));
        for seed in 0..2 {
            let disk = crash(&disk, seed);
            let slots = Slots::read(media(&disk).slots).unwrap();
            let new = slots.derive(&secret("new")).unwrap();
            let opens = [slots.open(key.duplicate()).is_ok(), slots.open(new).is_ok()];
            assert!(opens.contains(&true), "{left}");
            if done.is_ok() {
                assert_eq!(opens, [false, true]);
            }
        }
        if done.is_ok() {
            break;
        }
    }
}
