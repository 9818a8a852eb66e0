//! What the client keeps, as rows: the form in which the vault stores it and the core writes it.

use std::collections::BTreeMap;

use zeroize::Zeroize;

/// The kinds of rows. The numbers are on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// One row: network, identity, profile, guard, when it was made.
    Account = 1,
    /// By number: name, addresses, message counters, state of safety.
    Contact = 2,
    /// By contact number, with a one behind it for the session before: the ratchet's state.
    Session = 3,
    /// By request number: what waits to be sent or to be answered.
    Outbox = 4,
    /// By text number: how far words that were sent have come.
    Message = 5,
    /// By contact, number of the word and place in it: pieces of words from it that are not whole
    /// or wait for an earlier word.
    Fragment = 6,
    /// By text number: texts that wait to be read.
    Inbox = 7,
    /// By text number: texts that were read, and those that were sent.
    History = 8,
    /// One row: the mailbox's key, provider and addresses.
    Mailbox = 9,
    /// By number: invitations published ahead, and those given out.
    Invitation = 10,
    /// By number: invitations of others that wait to be opened.
    Pending = 11,
    /// By address and arrival: items that overtook the first one of their contact.
    Early = 12,
    /// One row: the followed consensus documents.
    Documents = 13,
    /// One row: numbers of items that are done with.
    Numbers = 14,
    /// One row: what the person wants of all conversations, and what it is to be told.
    Own = 15,
    /// One row: of the account what the wire shows anyway. The vault keeps it by itself.
    Line = 16,
    /// One row: the own address, and what was turned down there.
    Address = 17,
    /// By number: those who wrote to it and wait to be accepted.
    Asker = 18,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 18] = [
        Self::Account,
        Self::Contact,
        Self::Session,
        Self::Outbox,
        Self::Message,
        Self::Fragment,
        Self::Inbox,
        Self::History,
        Self::Mailbox,
        Self::Invitation,
        Self::Pending,
        Self::Early,
        Self::Documents,
        Self::Numbers,
        Self::Own,
        Self::Line,
        Self::Address,
        Self::Asker,
    ];

    /// Its number on disk.
    pub const fn number(self) -> u8 {
        match self {
            Self::Account => 1,
            Self::Contact => 2,
            Self::Session => 3,
            Self::Outbox => 4,
            Self::Message => 5,
            Self::Fragment => 6,
            Self::Inbox => 7,
            Self::History => 8,
            Self::Mailbox => 9,
            Self::Invitation => 10,
            Self::Pending => 11,
            Self::Early => 12,
            Self::Documents => 13,
            Self::Numbers => 14,
            Self::Own => 15,
            Self::Line => 16,
            Self::Address => 17,
            Self::Asker => 18,
        }
    }

    /// Whether a row is one of the line and not of the person: of what whoever watches the wire
    /// knows anyway.
    pub const fn is_line(self) -> bool {
        matches!(self, Self::Line | Self::Documents)
    }

    /// The table with this number on disk.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.number() == number)
    }
}

/// The name of a row: its table and its key there.
pub type RowName = (Table, Vec<u8>);

/// Rows in memory, erased when dropped: what the vault held when it was opened. Also the whole
/// store of a client in the simulator, where it is what a crash leaves.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Rows {
    rows: BTreeMap<RowName, Vec<u8>>,
}

impl Rows {
    /// No rows.
    pub const fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
        }
    }

    /// Adds or replaces a row.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert((table, key), value);
    }

    /// The row of that name.
    pub fn find(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        self.rows.get(&(table, key.to_vec())).map(Vec::as_slice)
    }

    /// The rows of a table in the order of their keys.
    pub fn of(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows
            .range((table, Vec::new())..)
            .take_while(move |((t, _), _)| *t == table)
            .map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }

    /// Every row.
    pub fn all(&self) -> impl Iterator<Item = (Table, &[u8], &[u8])> {
        self.rows
            .iter()
            .map(|((table, key), value)| (*table, key.as_slice(), value.as_slice()))
    }

    /// Makes a batch's changes, all of them.
    pub fn apply(&mut self, batch: &Batch) {
        for (name, change) in &batch.changes {
            match change {
                Some(value) => self.rows.insert(name.clone(), value.clone()),
                None => self.rows.remove(name),
            };
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.rows.values_mut().for_each(Zeroize::zeroize);
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({})", self.rows.len())
    }
}

/// Changes that become durable together or not at all. The last change of a row wins.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<RowName, Option<Vec<u8>>>,
}

impl Batch {
    /// No change.
    pub const fn new() -> Self {
        Self {
            changes: BTreeMap::new(),
        }
    }

    /// Adds or replaces a row.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert((table, key), Some(value));
    }

    /// Removes a row, if it is there.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.changes.insert((table, key), None);
    }

    /// Leaves out every change of other tables.
    pub(crate) fn keep_only(&mut self, kept: impl Fn(Table) -> bool) {
        self.changes.retain(|(table, _), _| kept(*table));
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes: a value to write, or none to delete.
    pub fn changes(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.changes
            .iter()
            .map(|((table, key), value)| (*table, key.as_slice(), value.as_deref()))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let written = self.changes.values_mut().flatten();
        written.for_each(Zeroize::zeroize);
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({})", self.changes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_found_by_its_number_and_no_two_share_one() {
        for table in Table::ALL {
            assert_eq!(Table::from_number(table.number()), Some(table));
        }
        assert_eq!(Table::from_number(0), None);
    }

    #[test]
    fn a_batch_changes_only_the_rows_that_it_names() {
        let mut rows = Rows::new();
        rows.put(Table::Contact, vec![1], vec![1]);
        rows.put(Table::Session, vec![1], vec![2]);
        let mut batch = Batch::new();
        batch.put(Table::Contact, vec![2], vec![3]);
        batch.delete(Table::Session, vec![1]);
        rows.apply(&batch);
        assert_eq!(rows.of(Table::Contact).count(), 2);
        assert_eq!(rows.of(Table::Session).count(), 0);
        assert_eq!(rows.find(Table::Contact, &[1]), Some([1].as_slice()));
    }
}
