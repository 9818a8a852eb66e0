//! The three files of a vault, as positions that can be read, written and synced. In tests they
//! stand in memory, lose what was not synced, and fail at any operation.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;
use whist_rt::{in_place, keys};

/// The files, in the order in which they are made: with the last one, the vault is there.
pub(super) const FILES: [&str; 3] = ["vault.redb", "shreds", "slots"];

/// Stands beside them until the vault is whole.
pub(super) const MAKING: &str = "making";

#[cfg(test)]
thread_local! {
    /// Operations on a folder that still succeed: a kill comes before the next.
    pub(super) static LEFT: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) };
}

/// An operation on a folder begins.
pub(super) fn step() -> io::Result<()> {
    #[cfg(test)]
    match LEFT.get().checked_sub(1) {
        Some(left) => LEFT.set(left),
        None => return Err(io::Error::other("killed")),
    }
    Ok(())
}

/// One file. Clones are the same file.
#[derive(Debug, Clone)]
pub(super) struct Medium(Arc<dyn StorageBackend>);

impl Medium {
    pub(super) fn new(backend: impl StorageBackend) -> Self {
        Self(Arc::new(backend))
    }

    /// All of it; these files are small.
    pub(super) fn whole(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let len = self.len()?;
        if len > bytes_max {
            return Err(io::Error::other("larger than it can be"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }
}

// What redb asks for; no locks of ranges, since the folder's lock stands before them.
impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

#[derive(Debug)]
struct Plain(File);

impl StorageBackend for Plain {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        step()?;
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        step()?;
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        step()?;
        self.0.write_all_at(data, offset)
    }
}

/// The three files of an open vault.
#[derive(Debug, Clone)]
pub(super) struct Media {
    pub(super) rows: Medium,
    pub(super) shreds: Medium,
    pub(super) slots: Medium,
}

/// Where a file of a vault stands.
pub(super) fn path(home: &Path, file: usize) -> PathBuf {
    home.join(FILES.get(file).copied().unwrap_or_default())
}

impl Media {
    /// Makes the files, mode 0600. Refuses where one is there.
    pub(super) fn create(home: &Path) -> io::Result<Self> {
        let made = |file| {
            step()?;
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path(home, file))
                // What is overwritten there is to be gone.
                .inspect(in_place::keep)
        };
        Self::of(made(0)?, made(1)?, made(2)?)
    }

    /// Opens the files, if they are their owner's alone.
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        let opened = |file| {
            let path = path(home, file);
            keys::check_file(&path).map_err(io::Error::other)?;
            OpenOptions::new().read(true).write(true).open(path)
        };
        Self::of(opened(0)?, opened(1)?, opened(2)?)
    }

    fn of(rows: File, shreds: File, slots: File) -> io::Result<Self> {
        rows.try_lock()?;
        Ok(Self {
            rows: Medium::new(Plain(rows)),
            shreds: Medium::new(Plain(shreds)),
            slots: Medium::new(Plain(slots)),
        })
    }
}

/// The file of slots alone, held against other writers of slots while the value lives.
#[derive(Debug)]
pub(super) struct SlotsFile {
    pub(super) medium: Medium,
    _lock: Option<File>,
}

impl SlotsFile {
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        let path = path(home, 2);
        keys::check_file(&path).map_err(io::Error::other)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.lock()?;
        Ok(Self {
            medium: Medium::new(Plain(file.try_clone()?)),
            _lock: Some(file),
        })
    }

    #[cfg(test)]
    pub(super) const fn unlocked(medium: Medium) -> Self {
        Self {
            medium,
            _lock: None,
        }
    }
}
