//! Where a provider keeps what must survive it: an ordered key-value store, small enough that two
//! engines fit behind it.
//!
//! Every row belongs to a day, and dies with it: the day's key is destroyed, and with it
//! everything that a thief of the disk could have read. What lives longer moves to a newer day.
//! A batch is visible as soon as it was applied and durable once a later sync has ended; the core
//! asks for syncs by `Effect::Sync` and learns of their end by `Command::Synced`.

mod fjall;
mod memory;
mod seal;

use whist_types::{Secret, Wall};

pub use fjall::{Fjall, FjallSync};
pub use memory::{Memory, SyncPoint};

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The disk failed or is full. The text names the operation, never a row.
    #[error("the store failed: {0}")]
    Disk(String),
    /// A row does not open under its day's key.
    #[error("a row of the store is damaged")]
    Damaged,
    /// The day of the row has no key: it has expired, or has not begun.
    #[error("no key for that day")]
    NoKey,
}

/// A day, counted from the Unix epoch: the only time that the store knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Day(u32);

impl Day {
    /// The day with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The day at `wall`.
    pub fn at(wall: Wall) -> Self {
        Self(u32::try_from(wall.as_secs() / 86_400).unwrap_or(u32::MAX))
    }

    /// The day `n` days earlier.
    #[must_use]
    pub const fn minus(self, n: u32) -> Self {
        Self(self.0.saturating_sub(n))
    }

    /// The day `n` days later.
    #[must_use]
    pub const fn plus(self, n: u32) -> Self {
        Self(self.0.saturating_add(n))
    }
}

/// What a row is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// A mailbox: its next number. Owner: mailbox key.
    Head,
    /// The addresses of a mailbox. Owner: mailbox key.
    Book,
    /// The mailbox of an address. Owner: address.
    Address,
    /// Address and hash of an item. Owner: mailbox key; index: the item's number.
    Index,
    /// An item. Owner: mailbox key; index: the item's number.
    Item,
    /// The hash of an item that was deleted on this day. Owner: hash.
    Tomb,
    /// A drop. Owner: drop id.
    Drop,
    /// A drop that was opened on this day. Owner: all zero; index: hour and part of the id.
    Bound,
    /// Bytes that are written where a live address would get an item. Owner: all zero.
    Ballast,
    /// How many items, drops and mailboxes belong to this day. Owner: all zero.
    Count,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 10] = [
        Self::Head,
        Self::Book,
        Self::Address,
        Self::Index,
        Self::Item,
        Self::Tomb,
        Self::Drop,
        Self::Bound,
        Self::Ballast,
        Self::Count,
    ];

    /// Its byte in a row's key on disk.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Book => 2,
            Self::Address => 3,
            Self::Index => 4,
            Self::Item => 5,
            Self::Tomb => 6,
            Self::Drop => 7,
            Self::Bound => 8,
            Self::Ballast => 9,
            Self::Count => 10,
        }
    }
}

/// To whom a row belongs: a mailbox key, an address, a drop id or a hash, told apart by the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner([u8; 32]);

impl Owner {
    /// The owner of rows that belong to the provider itself.
    pub const PROVIDER: Self = Self([0; 32]);

    /// The owner with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Prints nothing: an owner names a mailbox, an address or a drop.
impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[scrubbed]")
    }
}

/// Names a row. Rows of one day, table and owner are ordered by index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The day under whose key the row is sealed.
    pub day: Day,
    /// What it is.
    pub table: Table,
    /// Whose it is.
    pub owner: Owner,
    /// Which one of its owner's.
    pub index: u64,
}

impl Key {
    /// The row of `owner` with index 0.
    pub const fn of(day: Day, table: Table, owner: [u8; 32]) -> Self {
        Self::indexed(day, table, owner, 0)
    }

    /// The row of `owner` with this index.
    pub const fn indexed(day: Day, table: Table, owner: [u8; 32], index: u64) -> Self {
        Self {
            day,
            table,
            owner: Owner::new(owner),
            index,
        }
    }
}

/// Rows to write and to delete, all or none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Batch {
    changes: Vec<(Key, Option<Vec<u8>>)>,
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Self {
        Self {
            changes: Vec::new(),
        }
    }

    /// Writes a row, over the one that is there.
    pub fn put(&mut self, key: Key, value: Vec<u8>) -> &mut Self {
        self.changes.push((key, Some(value)));
        self
    }

    /// Deletes a row, if it is there.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.changes.push((key, None));
        self
    }

    /// The changes in their order.
    pub fn changes(&self) -> &[(Key, Option<Vec<u8>>)] {
        &self.changes
    }

    /// Whether nothing would change.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Number of changes.
    pub const fn len(&self) -> usize {
        self.changes.len()
    }
}

/// Prints the number of changes only.
impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({})", self.changes.len())
    }
}

/// How far [`Store::clear`] came: an engine's own name of a row. The default is the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(Vec<u8>);

/// A row that a scan came by: its index, and its value if that opens.
pub type Scanned = (u64, Option<Vec<u8>>);

/// An ordered key-value store whose rows die by the day.
pub trait Store {
    /// One row.
    ///
    /// # Errors
    /// When the disk fails or the row does not check out.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreFault>;

    /// All rows of one day, table and owner, in the order of their indices; `None` for one that
    /// does not check out, which keeps nobody from reading the others.
    ///
    /// # Errors
    /// When the disk fails.
    fn scan(&self, day: Day, table: Table, owner: Owner) -> Result<Vec<Scanned>, StoreFault>;

    /// Number of rows of a table, over all days.
    ///
    /// # Errors
    /// When the disk fails.
    fn count(&self, table: Table) -> Result<u64, StoreFault>;

    /// Applies a batch, all or nothing; visible at once, durable after the next sync.
    ///
    /// # Errors
    /// When the disk fails or is full: then nothing was applied.
    fn apply(&mut self, batch: &Batch) -> Result<(), StoreFault>;

    /// Whether the disk has more left than what deletes and clean-up need. Without it nothing new
    /// is taken.
    fn has_space(&self) -> bool {
        true
    }

    /// Whether a write failed in such a way that the store takes none until it is opened again.
    fn is_ended(&self) -> bool {
        false
    }

    /// The days that have a key, the newest first.
    fn days(&self) -> Vec<Day>;

    /// Begins a day, if it has no key yet. Durable when it returns.
    ///
    /// # Errors
    /// When the key cannot be kept.
    fn begin(&mut self, day: Day) -> Result<(), StoreFault>;

    /// Ends a day: destroys its key, which is durable when it returns, then its rows. `false` if
    /// the rows cannot go yet: it is to be asked again.
    ///
    /// # Errors
    /// When the key cannot be destroyed.
    fn end(&mut self, day: Day) -> Result<bool, StoreFault>;

    /// Deletes at most `most` rows of one table of a day, from where `from` left off; gives where
    /// to go on, if rows may be left.
    ///
    /// # Errors
    /// When the disk fails, or the day has no key.
    fn clear(
        &mut self,
        day: Day,
        table: Table,
        from: &Cursor,
        most: usize,
    ) -> Result<Option<Cursor>, StoreFault>;

    /// The newest row of `owner` with index 0, with its day.
    ///
    /// # Errors
    /// When the disk fails or the row does not check out.
    fn find(&self, table: Table, owner: &[u8; 32]) -> Result<Option<(Day, Vec<u8>)>, StoreFault> {
        for day in self.days() {
            if let Some(value) = self.get(&Key::of(day, table, *owner))? {
                return Ok(Some((day, value)));
            }
        }
        Ok(None)
    }
}

/// Where the keys of the days are kept: a folder of sealed files in the program, a map in tests.
pub trait DayKeys {
    /// Keeps a key; durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written.
    fn save(&mut self, day: Day, key: &Secret<32>) -> Result<(), StoreFault>;

    /// The key of a day.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self, day: Day) -> Result<Option<Secret<32>>, StoreFault>;

    /// Destroys a key; durable when it returns.
    ///
    /// # Errors
    /// When it cannot be deleted.
    fn delete(&mut self, day: Day) -> Result<(), StoreFault>;

    /// The days that have a key.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn days(&mut self) -> Result<Vec<Day>, StoreFault>;
}
