//! Batches that become durable together: of each row its last change.

use std::collections::BTreeMap;

use crate::rows::{Batch, Table};

/// The changes of some batches, each row once.
#[derive(Default)]
pub(super) struct Group<'a> {
    changes: BTreeMap<(Table, &'a [u8]), Option<&'a [u8]>>,
}

impl<'a> Group<'a> {
    /// In their order: a later batch wins.
    pub(super) fn of(batches: impl IntoIterator<Item = &'a Batch>) -> Self {
        let mut group = Self::default();
        for (table, key, value) in batches.into_iter().flat_map(Batch::changes) {
            group.changes.insert((table, key), value);
        }
        group
    }

    pub(super) fn put(&mut self, table: Table, key: &'a [u8], value: &'a [u8]) {
        self.changes.insert((table, key), Some(value));
    }

    /// The value that this row gets, if it gets one.
    pub(super) fn find(&self, table: Table, key: &'a [u8]) -> Option<&'a [u8]> {
        self.changes.get(&(table, key)).copied().flatten()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = (Table, &'a [u8], Option<&'a [u8]>)> {
        self.changes
            .iter()
            .map(|((table, key), value)| (*table, *key, *value))
    }
}
