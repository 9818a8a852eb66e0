//! The encrypted store on disk: redb beneath, every row sealed under a key of its own, every name
//! blinded, the key to all of them in slots that look alike.
//!
//! Two keys part the rows. The *line key* opens what whoever watches the wire knows anyway:
//! network, profile, entry guard, documents. The *data key* opens the person's rows, or the
//! decoy's.

mod change;
mod cost;
mod group;
mod make;
mod medium;
mod recovery;
mod seal;
mod shreds;
mod slots;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rand_core::SeedableRng as _;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use whist_timing::{Rng, forget_past};
use whist_types::{Reader, Secret, Truncated};

use crate::account::{decoy_rows, line_of};
use crate::rows::{Batch, Rows, Table};
pub use change::Change;
pub use cost::{Cost, Credential, Factor};
use group::Group;
#[cfg(test)]
use medium::Medium;
use medium::{Media, SlotsFile};
pub use recovery::{PASSPHRASE_WORDS, PHRASE_WORDS, Phrase, PhraseError, six_words};
use seal::Sealer;
use shreds::{Place, Shreds};
use slots::{Home, Keys, Kind, Slots};

const ROWS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rows");
/// A stored row begins with the place of its key.
const PLACE_BYTES: usize = 4;

/// Why a vault cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The secret opens no slot, or the slots were changed: the two look alike.
    #[error("wrong passphrase, or the vault's slots were changed")]
    Locked,
    /// A row does not check out.
    #[error("the vault is damaged: a row does not check out")]
    Tampered,
    /// The files are not those of a vault.
    #[error("not a vault of version 2")]
    NotAVault,
    /// Its making was cut short between the names of its files.
    #[error("the init of this vault was cut short: run `whist init` again, which finishes it")]
    Unfinished,
    /// Such a one was finished now.
    #[error("the init that was cut short is finished: the passphrase given then opens the vault")]
    Finished,
    /// A vault is already there.
    #[error("a vault is already there")]
    Exists,
    /// Another process has the rows.
    #[error("another process has the vault open: try again")]
    InUse,
    /// The new secret is one that the vault knows already.
    #[error("this one opens the vault already: take another")]
    Taken,
    /// The cost of the passphrase's key is out of bounds.
    #[error("the vault asks for a key derivation out of bounds")]
    Cost,
    /// More rows than the vault takes.
    #[error("the vault is full")]
    Full,
    /// An earlier write failed: what is on the disk is known again after the next start only.
    #[error("an earlier write to the vault failed")]
    Broken,
    /// The disk, below redb.
    #[error("vault file: {0}")]
    File(#[from] io::Error),
    /// The disk.
    #[error("vault file: {0}")]
    Disk(#[from] redb::Error),
}

macro_rules! disk_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for VaultError {
            fn from(error: $error) -> Self {
                Self::Disk(error.into())
            }
        }
    )*};
}
disk_errors!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

impl From<Truncated> for VaultError {
    fn from(_: Truncated) -> Self {
        Self::NotAVault
    }
}

/// Where the slots are found each time that they are needed: between two uses they belong to
/// nobody, so that a passphrase can be changed while a daemon runs.
enum SlotsAt {
    Home(PathBuf),
    #[cfg(test)]
    Memory(Medium),
}

impl SlotsAt {
    fn open(&self) -> Result<SlotsFile, VaultError> {
        match self {
            Self::Home(home) => Ok(SlotsFile::open(home)?),
            #[cfg(test)]
            Self::Memory(medium) => Ok(SlotsFile::unlocked(medium.clone())),
        }
    }
}

/// What a secret opened, before anything was done with it.
pub struct Opened(slots::Opened);

impl Opened {
    /// Whether it asks for the decoy. Nobody may be told.
    pub fn is_duress(&self) -> bool {
        self.0.keys.kind == Kind::Duress
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened([redacted])")
    }
}

/// A vault. Its file is locked while the value lives.
pub struct Vault {
    slots: SlotsAt,
    db: Database,
    shreds: Shreds,
    line: Option<Sealer>,
    person: Option<Sealer>,
    rng: Rng,
    broken: bool,
}

impl Vault {
    /// The files of a vault, none of which anybody else may read or change.
    pub fn files(home: &Path) -> [PathBuf; 3] {
        medium::FILES.map(|file| home.join(file))
    }

    /// Opens a vault with a secret.
    ///
    /// # Errors
    /// [`VaultError::Locked`] if it opens no slot; the disk.
    pub fn open(home: &Path, by: &Credential, rng: Rng) -> Result<Self, VaultError> {
        // The secret first: a wrong one changes no file.
        let opened = Self::probe(home, by)?;
        let mut vault = Self::closed(home, rng)?;
        vault.unlock(opened)?;
        Ok(vault)
    }

    /// Opens the files of a vault and none of its rows.
    fn closed(home: &Path, rng: Rng) -> Result<Self, VaultError> {
        let media = Media::open(home).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => VaultError::InUse,
            _ => VaultError::File(error),
        })?;
        Slots::read(media.slots.clone())?;
        Self::over(media, SlotsAt::Home(home.to_owned()), rng)
    }

    fn over(media: Media, slots: SlotsAt, mut rng: Rng) -> Result<Self, VaultError> {
        let db = Database::builder().create_with_backend(media.rows)?;
        let txn = db.begin_write()?;
        let used = {
            let table = txn.open_table(ROWS)?;
            let mut used = BTreeSet::new();
            for entry in table.iter()? {
                used.insert(parts(entry?.1.value())?.0);
            }
            used
        };
        txn.commit()?;
        let shreds = Shreds::open(media.shreds, &used, &mut rng)?;
        Ok(Self {
            slots,
            db,
            shreds,
            line: None,
            person: None,
            rng,
            broken: false,
        })
    }

    /// Tries a secret and changes nothing. Takes as long whatever the secret is, and needs nothing
    /// of a vault that is in use meanwhile.
    ///
    /// # Errors
    /// [`VaultError::Locked`] if it opens no slot; the disk.
    pub fn probe(home: &Path, by: &Credential) -> Result<Opened, VaultError> {
        Self::try_slots(&SlotsAt::Home(home.to_owned()), by)
    }

    fn try_slots(slots: &SlotsAt, by: &Credential) -> Result<Opened, VaultError> {
        let file = slots.open()?;
        let slots = Slots::read(file.medium.clone())?;
        Ok(Opened(slots.open(slots.derive(by)?)?))
    }

    /// Opens the rows that the secret leads to. A duress one ends the person's vault first: when
    /// this returns, or is killed at any point, either nothing was done or that key is gone.
    ///
    /// # Errors
    /// The disk; the vault is locked then.
    pub fn unlock(&mut self, opened: Opened) -> Result<(), VaultError> {
        let file = self.slots.open()?;
        let slots = Slots::read(file.medium.clone())?;
        let Opened(opened) = opened;
        self.adopt(&opened.keys);
        let done = match opened.keys.kind {
            Kind::Person if opened.stale.is_empty() => slots.rewrite(),
            Kind::Person => slots.destroy(&opened.stale, &mut self.rng),
            Kind::Duress => self.give_way(&slots, &opened),
        };
        if done.is_err() {
            self.lock();
        }
        done
    }

    fn adopt(&mut self, keys: &Keys) {
        self.line = Some(Sealer::new(&keys.line));
        self.person = Some(Sealer::new(&keys.data));
    }

    /// The decoy takes the person's place. The first step is the one that cannot be undone; all
    /// later ones are done again after a crash, because the slot says `Duress` until the last.
    fn give_way(&mut self, slots: &Slots, opened: &slots::Opened) -> Result<(), VaultError> {
        slots.destroy_all_but(opened.number, &mut self.rng)?;
        let (rows, foreign) = self.sort_rows()?;
        if rows.of(Table::Account).next().is_none() {
            let first = decoy_rows(&rows, &mut self.rng).ok_or(VaultError::Tampered)?;
            let mut batch = Batch::new();
            for (table, key, value) in first.all() {
                batch.put(table, key.to_vec(), value.to_vec());
            }
            self.write(Group::of([&batch]), &foreign)?;
        }
        let keys = Keys {
            kind: Kind::Person,
            data: opened.keys.data.duplicate(),
            line: opened.keys.line.duplicate(),
        };
        // A passphrase that was changed under duress may stand in one of the two places already.
        let second = keys.home(Home::Second);
        let place = match second == opened.number {
            true => keys.home(Home::First),
            false => second,
        };
        slots.put(place, &opened.by, &keys, &mut self.rng)?;
        slots.destroy(&[opened.number], &mut self.rng)
    }

    /// Forgets the person's key. The rows of the line can still be kept.
    pub fn lock(&mut self) {
        self.person = None;
    }

    /// Every row, opened.
    ///
    /// # Errors
    /// [`VaultError::Locked`]; [`VaultError::Tampered`] if a row does not check out; the disk.
    pub fn load(&self) -> Result<Rows, VaultError> {
        if self.person.is_none() {
            return Err(VaultError::Locked);
        }
        match self.sort_rows()? {
            (rows, foreign) if foreign.is_empty() => Ok(rows),
            _ => Err(VaultError::Tampered),
        }
    }

    /// The rows that open, and the names of those that do not.
    fn sort_rows(&self) -> Result<(Rows, Vec<[u8; 32]>), VaultError> {
        let shreds = self.shreds.read()?;
        let txn = self.db.begin_read()?;
        let table = txn.open_table(ROWS)?;
        let (mut rows, mut foreign) = (Rows::new(), Vec::new());
        for entry in table.iter()? {
            let (blinded, stored) = entry?;
            let (place, sealed) = parts(stored.value())?;
            let shred = shreds.key(place).ok_or(VaultError::Tampered)?;
            let opened = [(&self.person, false), (&self.line, true)];
            let opened = opened.into_iter().find_map(|(sealer, line)| {
                let (name, value) = sealer.as_ref()?.open(&shred, blinded.value(), sealed)?;
                (name.0.is_line() == line).then_some((name, value))
            });
            match opened {
                Some(((table, key), value)) => rows.put(table, key, value.to_vec()),
                None => foreign.push(*blinded.value()),
            }
        }
        Ok((rows, foreign))
    }

    /// Makes a batch durable; when it returns, it is, and what it replaced or deleted opens with
    /// no key that exists.
    ///
    /// # Errors
    /// [`VaultError::Locked`] for a row of the person in a locked vault; the disk.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), VaultError> {
        self.apply_all([batch])
    }

    /// The same for batches in their order, at the price of one: all of them or none.
    ///
    /// # Errors
    /// As [`Vault::apply`].
    pub fn apply_all<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a Batch>,
    ) -> Result<(), VaultError> {
        self.write(Group::of(batches), &[])
    }

    fn write(&mut self, group: Group<'_>, gone: &[[u8; 32]]) -> Result<(), VaultError> {
        if self.broken {
            return Err(VaultError::Broken);
        }
        // What the line needs of the account is kept apart from it, always as new as it is.
        let line = group.find(Table::Account, &[]).map(line_of);
        let mut group = group;
        if let Some(line) = &line {
            group.put(Table::Line, &[], line);
        }
        let keyed = group
            .changes()
            .all(|(table, ..)| self.sealer(table).is_some());
        if !keyed {
            return Err(VaultError::Locked);
        }
        self.broken = true;
        self.write_keyed(&group, gone)?;
        self.broken = false;
        Ok(())
    }

    /// New keys first, then the rows, then the end of the old keys: after a crash in between there
    /// are keys without a row, which the next start destroys, and never a row without its key.
    fn write_keyed(&mut self, group: &Group<'_>, gone: &[[u8; 32]]) -> Result<(), VaultError> {
        let mut changes = Vec::new();
        for (table, key, value) in group.changes() {
            let Some(value) = value else {
                changes.push((self.blind(table, key)?, None));
                continue;
            };
            let (place, shred) = self.shreds.take(&mut self.rng)?;
            let sealer = match table.is_line() {
                true => &self.line,
                false => &self.person,
            };
            let sealer = sealer.as_ref().ok_or(VaultError::Locked)?;
            let blinded = sealer.blind(table, key);
            let sealed = sealer.seal(&shred, &blinded, (table, key), value, &mut self.rng);
            let stored = [place.0.to_be_bytes().as_slice(), &sealed].concat();
            changes.push((blinded, Some(stored)));
        }
        changes.extend(gone.iter().map(|blinded| (*blinded, None)));
        self.shreds.sync()?;
        let txn = self.db.begin_write()?;
        let mut dead = Vec::new();
        {
            let mut table = txn.open_table(ROWS)?;
            for (blinded, stored) in &changes {
                let old = match stored {
                    Some(stored) => table.insert(blinded, stored.as_slice())?,
                    None => table.remove(blinded)?,
                };
                if let Some(old) = old {
                    dead.push(parts(old.value())?.0);
                }
            }
        }
        txn.commit()?;
        dead.sort_unstable();
        self.shreds.destroy(&dead, &mut self.rng)?;
        // The generator's state gives all that it gave: every key of a row since the start.
        forget_past(&mut self.rng);
        Ok(())
    }

    /// Fresh randomness, for the keys that are drawn from now on.
    pub fn refresh(&mut self, fresh: &Secret<32>) {
        let mut hasher = blake3::Hasher::new_derive_key("whist 2026 vault fresh v1");
        hasher.update(Secret::<32>::random(&mut self.rng).expose());
        hasher.update(fresh.expose());
        self.rng = Rng::from_seed(*hasher.finalize().as_bytes());
        zeroize::Zeroize::zeroize(&mut hasher);
    }

    fn blind(&self, table: Table, key: &[u8]) -> Result<[u8; 32], VaultError> {
        let sealer = self.sealer(table).ok_or(VaultError::Locked)?;
        Ok(sealer.blind(table, key))
    }

    const fn sealer(&self, table: Table) -> Option<&Sealer> {
        match table.is_line() {
            true => self.line.as_ref(),
            false => self.person.as_ref(),
        }
    }
}

/// A stored row: where its key stands, and itself.
fn parts(stored: &[u8]) -> Result<(Place, &[u8]), VaultError> {
    let (place, sealed) = stored
        .split_at_checked(PLACE_BYTES)
        .ok_or(VaultError::Tampered)?;
    Ok((Place(Reader::new(place).u32()?), sealed))
}

#[cfg(test)]
mod kills;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
