//! The three files of a vault, as positions that can be read, written and synced. In tests they
//! stand in memory, lose what was not synced, and fail at any operation.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;
use whist_rt::{files, in_place, keys};

/// The files, in the order in which they are made: with the last one, the vault is there.
pub(super) const FILES: [&str; 3] = ["vault.redb", "shreds", "slots"];

/// What the name of each ends in until the vault is whole.
const UNFINISHED: &str = ".making";

/// A step on a folder was done; only tests look.
macro_rules! note {
    ($step:expr) => {
        #[cfg(test)]
        log::note($step)
    };
}

/// The name of a file of a vault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name(&'static str);

impl Name {
    pub(super) fn each() -> impl Iterator<Item = Self> {
        FILES.into_iter().map(Self)
    }

    /// Whether the file is there, as one of a vault.
    pub(super) fn of_vault(self, home: &Path) -> bool {
        is_there(&home.join(self.0))
    }

    /// Whether the file is there under the name of its making alone.
    pub(super) fn is_due(self, home: &Path) -> bool {
        is_there(&self.unfinished(home)) && !self.of_vault(home)
    }

    /// Where it stands while it is made.
    fn unfinished(self, home: &Path) -> PathBuf {
        home.join([self.0, UNFINISHED].concat())
    }

    /// Gives what was made its name.
    pub(super) fn take(self, home: &Path) -> io::Result<()> {
        let made = self.unfinished(home);
        std::fs::rename(&made, home.join(self.0))?;
        note!(log::Step::Rename(made, home.join(self.0)));
        Ok(())
    }

    /// Removes what a making left.
    pub(super) fn clear(self, home: &Path) -> io::Result<()> {
        let made = self.unfinished(home);
        files::remove(&made).map_err(io::Error::other)?;
        note!(log::Step::Remove(made));
        note!(log::Step::SyncFolder);
        Ok(())
    }
}

/// What cannot be looked at counts as there; a link does, wherever it leads.
fn is_there(path: &Path) -> bool {
    let absent = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    match std::fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => !absent.contains(&error.kind()),
    }
}

/// What was made and renamed in the folder stays so.
pub(super) fn sync(home: &Path) -> io::Result<()> {
    keys::sync_parent(&path(home, 0)).map_err(io::Error::other)?;
    note!(log::Step::SyncFolder);
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
        self.0.set_len(len)?;
        note!(log::Step::Length(log::id(&self.0), len));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()?;
        note!(log::Step::Sync(log::id(&self.0)));
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)?;
        note!(log::Step::Write(log::id(&self.0), offset, data.to_vec()));
        Ok(())
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
    /// Makes the files under the names of a making, mode 0600. Refuses where one is there.
    pub(super) fn create(home: &Path) -> io::Result<Self> {
        let made = |name: &'static str| {
            let path = Name(name).unfinished(home);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            // What is overwritten there is to be gone.
            in_place::keep(&file);
            note!(log::Step::Create(path, log::id(&file)));
            Ok::<File, io::Error>(file)
        };
        let [rows, shreds, slots] = FILES;
        Self::of(made(rows)?, made(shreds)?, made(slots)?)
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

/// What was done to a folder, in its order, for tests that cut it short.
#[cfg(test)]
pub(super) mod log {
    use std::cell::RefCell;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    #[derive(Debug, Clone)]
    pub(in super::super) enum Step {
        Create(PathBuf, u64),
        Write(u64, u64, Vec<u8>),
        Length(u64, u64),
        Sync(u64),
        Rename(PathBuf, PathBuf),
        Remove(PathBuf),
        SyncFolder,
    }

    thread_local! {
        static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(step: Step) {
        STEPS.with_borrow_mut(|steps| steps.push(step));
    }

    /// What this thread did since the last time.
    pub(in super::super) fn take() -> Vec<Step> {
        STEPS.take()
    }

    pub(super) fn id(file: &File) -> u64 {
        file.metadata().unwrap().ino()
    }
}
