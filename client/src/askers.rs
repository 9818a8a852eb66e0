//! The own address, which any number of people may have, and those who wrote to it.

use std::collections::{BTreeMap, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};
use whist_types::{ItemHash, MailboxAddress, NodeId};

use crate::ids::AskerId;
use crate::rows::{Rows, Table};

/// The own address.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct Address {
    pub(crate) key: [u8; 32],
    pub(crate) prekeys: Vec<u8>,
    pub(crate) bundle: Vec<u8>,
    /// Our address that it gives away.
    pub(crate) address: MailboxAddress,
}

impl Drop for Address {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.prekeys);
    }
}

/// The one row of [`Table::Address`].
#[derive(Clone, Default, BorshSerialize, BorshDeserialize)]
pub(crate) struct AddressRow {
    pub(crate) live: Option<Address>,
    /// First items that were turned down, the last ones: they come no second time.
    pub(crate) turned_down: VecDeque<ItemHash>,
    /// The highest number that somebody who asked ever had.
    pub(crate) last: u64,
}

/// Somebody who wrote to the own address and waits to be accepted. Nothing was sent back.
#[derive(Clone, BorshSerialize, BorshDeserialize)]
pub(crate) struct AskerRow {
    pub(crate) session: Vec<u8>,
    /// The key that it says is its own.
    pub(crate) peer: [u8; 32],
    /// The fingerprint of that, to compare.
    pub(crate) fingerprint: String,
    /// Host of its mailbox, and its address for us.
    pub(crate) provider: NodeId,
    pub(crate) address: MailboxAddress,
    pub(crate) item: ItemHash,
    pub(crate) note: String,
    pub(crate) at_s: u64,
}

impl Drop for AskerRow {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.session);
        zeroize::Zeroize::zeroize(&mut self.note);
    }
}

/// Both.
#[derive(Default)]
pub(crate) struct Askers {
    pub(crate) own: AddressRow,
    pub(crate) rows: BTreeMap<AskerId, AskerRow>,
}

impl Askers {
    /// Reads them; none if a row is not what it should be.
    pub(crate) fn load(rows: &Rows) -> Option<Self> {
        let own = match rows.find(Table::Address, &[]) {
            None => AddressRow::default(),
            Some(row) => borsh::from_slice(row).ok()?,
        };
        let read = |(key, value)| Some((AskerId::from_key(key)?, borsh::from_slice(value).ok()?));
        let rows = rows.of(Table::Asker).map(read).collect::<Option<_>>()?;
        Some(Self { own, rows })
    }

    /// The next one's number: none is given twice.
    pub(crate) fn next(&mut self) -> AskerId {
        self.own.last = self.own.last.saturating_add(1);
        AskerId::new(self.own.last)
    }
}
