//! The encrypted store on disk: redb beneath, every row sealed, every key blinded.
//!
//! Header, one row of the table `header`:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version of the layout, 1 |
//! | 2 | 4 | Argon2id memory in KiB |
//! | 6 | 4 | Argon2id passes |
//! | 10 | 4 | Argon2id lanes |
//! | 14 | 32 | salt |
//! | 46 | 24 | nonce |
//! | 70 | 48 | the data key, sealed under the passphrase's key; bytes 0 to 45 are bound to it |

mod seal;

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use whist_timing::Rng;
use whist_types::{Reader, Secret, Truncated, Writer};

use crate::limits::{
    ARGON2_LANES, ARGON2_MEMORY_KIB_MAX, ARGON2_MEMORY_KIB_MIN, ARGON2_PASSES_MAX,
};
use crate::rows::{Batch, Rows};
use seal::Sealer;

const HEADER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("header");
const ROWS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rows");
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 118;
const BOUND_BYTES: usize = 46;
const _: () = assert!(HEADER_BYTES == 2 + 3 * 4 + 32 + 24 + 48);

/// Why a vault cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The passphrase does not open it, or the header was changed: the two look alike.
    #[error("wrong passphrase, or the vault's header was changed")]
    Locked,
    /// A row does not check out.
    #[error("the vault is damaged: a row does not check out")]
    Tampered,
    /// The header is not one.
    #[error("not a vault of version 1")]
    NotAVault,
    /// A vault is already there.
    #[error("a vault is already there")]
    Exists,
    /// The cost of the passphrase's key is out of bounds.
    #[error("the vault asks for a key derivation out of bounds")]
    Cost,
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

/// What guessing one passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, 64 MiB at least.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// The least that is allowed; the local demo's.
    pub const LEAST: Self = Self {
        memory_kib: ARGON2_MEMORY_KIB_MIN,
        passes: 1,
    };

    fn check(self) -> Result<Self, VaultError> {
        let memory = (ARGON2_MEMORY_KIB_MIN..=ARGON2_MEMORY_KIB_MAX).contains(&self.memory_kib);
        let passes = (1..=ARGON2_PASSES_MAX).contains(&self.passes);
        (memory && passes).then_some(self).ok_or(VaultError::Cost)
    }

    /// The key that a passphrase gives at this cost.
    pub fn derive(self, passphrase: &[u8], salt: &[u8; 32]) -> Result<Secret<32>, VaultError> {
        let cost = self.check()?;
        let params = Params::new(cost.memory_kib, cost.passes, ARGON2_LANES, Some(32))
            .map_err(|_| VaultError::Cost)?;
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, &mut key)
            .map_err(|_| VaultError::Cost)?;
        Ok(Secret::new(key))
    }
}

/// An open vault. Its file is locked by redb while it is open.
pub struct Vault {
    db: Database,
    sealer: Sealer,
}

impl Vault {
    /// Makes a vault with a fresh data key. Refuses when the file is there.
    pub fn create(
        path: &Path,
        passphrase: &[u8],
        cost: Cost,
        mut rng: Rng,
    ) -> Result<Self, VaultError> {
        if path.exists() {
            return Err(VaultError::Exists);
        }
        let data_key = Secret::random(&mut rng);
        let salt = Secret::<32>::random(&mut rng);
        let mut header = Writer::with_capacity(HEADER_BYTES);
        header
            .u16(VERSION)
            .u32(cost.memory_kib)
            .u32(cost.passes)
            .u32(ARGON2_LANES)
            .put(salt.expose());
        let key = cost.derive(passphrase, salt.expose())?;
        let bound = header.into_bytes();
        let sealed = seal::wrap(&key, &data_key, &bound, &mut rng);
        let db = Database::create(path)?;
        let txn = db.begin_write()?;
        {
            let bytes = [bound, sealed].concat();
            txn.open_table(HEADER)?.insert("vault", bytes.as_slice())?;
            txn.open_table(ROWS)?;
        }
        txn.commit()?;
        Ok(Self {
            db,
            sealer: Sealer::new(&data_key, rng),
        })
    }

    /// Opens a vault.
    pub fn open(path: &Path, passphrase: &[u8], rng: Rng) -> Result<Self, VaultError> {
        let db = Database::open(path)?;
        let header = {
            let txn = db.begin_read()?;
            let table = txn.open_table(HEADER)?;
            let row = table.get("vault")?.ok_or(VaultError::NotAVault)?;
            row.value().to_vec()
        };
        if header.len() != HEADER_BYTES {
            return Err(VaultError::NotAVault);
        }
        let mut fields = Reader::new(&header);
        if fields.u16()? != VERSION {
            return Err(VaultError::NotAVault);
        }
        let cost = Cost {
            memory_kib: fields.u32()?,
            passes: fields.u32()?,
        };
        if fields.u32()? != ARGON2_LANES {
            return Err(VaultError::Cost);
        }
        let salt = fields.array::<32>()?;
        let (bound, sealed) = header
            .split_at_checked(BOUND_BYTES)
            .ok_or(VaultError::NotAVault)?;
        let key = cost.derive(passphrase, &salt)?;
        let data_key = seal::unwrap(&key, sealed, bound).ok_or(VaultError::Locked)?;
        Ok(Self {
            db,
            sealer: Sealer::new(&data_key, rng),
        })
    }

    /// Every row, opened.
    pub fn load(&self) -> Result<Rows, VaultError> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(ROWS)?;
        let mut rows = Rows::new();
        for entry in table.iter()? {
            let (blinded, sealed) = entry?;
            let (name, value) = self
                .sealer
                .open(blinded.value(), sealed.value())
                .ok_or(VaultError::Tampered)?;
            rows.put(name.0, name.1, value);
        }
        Ok(rows)
    }

    /// Makes a batch durable; when it returns, it is.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), VaultError> {
        let txn = self.db.begin_write()?;
        {
            let mut table = txn.open_table(ROWS)?;
            for (kind, key, change) in batch.changes() {
                let blinded = self.sealer.blind(kind, key);
                match change {
                    Some(value) => {
                        let sealed = self.sealer.seal(&blinded, kind, key, value);
                        table.insert(&blinded, sealed.as_slice())?;
                    }
                    None => {
                        table.remove(&blinded)?;
                    }
                }
            }
        }
        txn.commit()?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
