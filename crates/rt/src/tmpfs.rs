//! Memory that outlives the process and not the machine: a file on a tmpfs, mapped. The one
//! module with `unsafe` in it.

use std::fs::{File, OpenOptions};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use memmap2::{MmapMut, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

use crate::{RtError, files, keys, swap};

/// `f_type` of the memory-backed file systems, from `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// The first page is locked by itself: it holds the key. A whole table seldom fits the limit on
/// locked memory, which is 8 MB on most systems.
const FIRST_BYTES: usize = 4096;

/// Bytes in memory-backed storage. They survive a kill and an upgrade of the process that wrote
/// them, and nothing survives a reboot. New regions are zero.
///
/// `Debug` prints the path and the size, never contents: keys live here.
pub struct Region {
    path: PathBuf,
    map: MmapMut,
    locked: Locked,
    // Keeps the first page locked, whatever becomes of the rest. It is never read through.
    _first: MmapRaw,
    // Holds the lock that keeps a second mapping of the same bytes away.
    _file: File,
}

impl Region {
    /// Opens the region at `path`, or makes it with `len` bytes, all of them reserved at once, so
    /// that a full tmpfs is an error here and never a signal later. Contents are kept.
    ///
    /// # Errors
    /// If the folder is not memory-backed, is full, the region is in use, open to others, or of
    /// another size ([`RtError::RegionSize`]; [`Region::remove`] it then); if nothing keeps its key
    /// from a swap device ([`RtError::Swappable`]).
    pub fn open(path: &Path, len: usize) -> Result<Self, RtError> {
        let expected = u64::try_from(len).unwrap_or(u64::MAX);
        check_memory_backed(path.parent().unwrap_or(path))?;
        let failed = |error: rustix::io::Errno| RtError::file("reserve memory at", path, error);
        let existed = std::fs::symlink_metadata(path).is_ok();
        if existed {
            // Mode, owner and symbolic links are checked as for a key file: it holds one.
            drop(keys::open(path)?);
        }
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(path)
            .map_err(|error| RtError::file("open", path, error))?;
        lock(&file, path)?;
        let found = file
            .metadata()
            .map_err(|error| RtError::file("read", path, error))?
            .len();
        // An empty file is a creation that a kill interrupted.
        if found != expected && found != 0 {
            return Err(RtError::RegionSize {
                path: path.to_owned(),
                found,
                expected,
            });
        }
        if let Err(error) = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, expected) {
            if found == 0 {
                let _ = std::fs::remove_file(path);
            }
            return Err(failed(error));
        }
        let unmapped = |error| RtError::file("map", path, error);
        let map = map(&file, len).map_err(unmapped)?;
        let first = MmapOptions::new()
            .len(len.min(FIRST_BYTES))
            .map_raw_read_only(&file)
            .map_err(unmapped)?;
        // Before any key is in it.
        let locked = Locked::of(first.lock().is_ok(), || map.lock().is_ok());
        locked.check(path, || swap::reaches(path.parent().unwrap_or(path)))?;
        Ok(Self {
            path: path.to_owned(),
            locked,
            _first: first,
            map,
            _file: file,
        })
    }

    /// Removes the region at `path`, if there is one; its memory goes with its last mapping.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn remove(path: &Path) -> Result<(), RtError> {
        files::remove(path)
    }

    /// Which of its pages are locked, and never go to a swap device.
    pub const fn locked(&self) -> Locked {
        self.locked
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Pages that never go to a swap device. How many there may be says the limit on locked memory
/// (`LimitMEMLOCK=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// All of them.
    All,
    /// The first one, which holds the key. Without it the others are random numbers.
    First,
    /// None: the system's limit is below a page, and it does not swap.
    None,
}

impl Locked {
    fn of(first: bool, all: impl FnOnce() -> bool) -> Self {
        match (first, all()) {
            (_, true) => Self::All,
            (true, false) => Self::First,
            (false, false) => Self::None,
        }
    }

    /// Refuses a key that could end on a disk.
    fn check(
        self,
        path: &Path,
        swaps: impl FnOnce() -> Result<bool, RtError>,
    ) -> Result<(), RtError> {
        if self == Self::None && swaps()? {
            return Err(RtError::Swappable {
                path: path.to_owned(),
            });
        }
        Ok(())
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("path", &self.path)
            .field("bytes", &self.map.len())
            .finish_non_exhaustive()
    }
}

/// Refuses a folder that is on anything but a tmpfs or ramfs: a key in service never reaches a
/// disk.
///
/// # Errors
/// [`RtError::NotInMemory`], or if the folder cannot be opened.
pub fn check_memory_backed(folder: &Path) -> Result<(), RtError> {
    let file = File::open(folder).map_err(|error| RtError::file("open", folder, error))?;
    let kind = rustix::fs::fstatfs(&file)
        .map_err(|error| RtError::file("read", folder, error))?
        .f_type;
    match u64::try_from(kind) {
        Ok(TMPFS_MAGIC | RAMFS_MAGIC) => Ok(()),
        Ok(_) | Err(_) => Err(RtError::NotInMemory {
            path: folder.to_owned(),
        }),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), RtError> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == rustix::io::Errno::WOULDBLOCK {
            RtError::InUse {
                path: path.to_owned(),
            }
        } else {
            RtError::file("lock", path, error)
        }
    })
}

#[expect(
    unsafe_code,
    reason = "a shared mapping is unsafe because others may change the file under the slice"
)]
fn map(file: &File, len: usize) -> std::io::Result<MmapMut> {
    let mut options = MmapOptions::new();
    options.len(len);
    // SAFETY: the file is on memory-backed storage, mode 0600, owned by this user, and locked
    // exclusively for as long as the mapping lives, so that no other instance of Whist maps it;
    // its size was reserved just now and nothing truncates it, so that no access can fault.
    // Another process of the same user that ignored the lock could change bytes, which the
    // table's own checks treat as damage; it could read the keys by other ways as well.
    unsafe { options.map_mut(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn a_region_survives_reopening_and_starts_as_zeros() {
        let folder = memory();
        let path = folder.path().join("table.0");
        let mut region = Region::open(&path, 8192).unwrap();
        assert!(region.iter().all(|&byte| byte == 0));
        region[4097] = 7;
        let text = format!("{region:?}");
        assert!(text.ends_with("bytes: 8192, .. }"), "{text}");
        drop(region);
        let region = Region::open(&path, 8192).unwrap();
        assert_eq!((region.len(), region[4097]), (8192, 7));
    }

    #[test]
    fn a_region_of_another_size_in_use_or_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = memory();
        let path = folder.path().join("table.0");
        let region = Region::open(&path, 8192).unwrap();
        assert!(matches!(
            Region::open(&path, 8192),
            Err(RtError::InUse { .. })
        ));
        drop(region);
        let error = Region::open(&path, 4096).unwrap_err();
        assert!(
            matches!(
                error,
                RtError::RegionSize {
                    found: 8192,
                    expected: 4096,
                    ..
                }
            ),
            "{error}"
        );
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(
            Region::open(&path, 8192),
            Err(RtError::Exposed { .. })
        ));
        Region::remove(&path).unwrap();
        assert!(Region::open(&path, 4096).is_ok());
    }

    #[test]
    fn the_page_that_holds_the_key_is_locked_by_itself() {
        let folder = memory();
        let path = folder.path().join("table.0");
        let region = Region::open(&path, 16 * FIRST_BYTES).unwrap();
        assert_ne!(region.locked(), Locked::None);
        // Each mapping: a line with its range and path, then lines with its figures.
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let name = path.to_str().unwrap();
        let mut locked_bytes = Vec::new();
        let mut range = None;
        for line in smaps.lines() {
            if line.ends_with(name) {
                let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                let number = |text| u64::from_str_radix(text, 16).unwrap();
                range = Some(number(to) - number(from));
            }
            let Some(flags) = line.strip_prefix("VmFlags:") else {
                continue;
            };
            let locked = flags.split(' ').any(|flag| flag == "lo");
            locked_bytes.extend(range.take().filter(|_| locked));
        }
        let first = u64::try_from(FIRST_BYTES).unwrap();
        assert!(locked_bytes.contains(&first), "{locked_bytes:?}");
    }

    #[test]
    fn a_key_that_could_be_swapped_is_refused_and_tags_alone_are_not() {
        assert_eq!(Locked::of(true, || true), Locked::All);
        assert_eq!(Locked::of(true, || false), Locked::First);
        assert_eq!(Locked::of(false, || false), Locked::None);
        let path = Path::new("/run/whist-mix/table.0");
        let check = |locked: Locked, swaps| locked.check(path, || Ok(swaps));
        let error = check(Locked::None, true).unwrap_err();
        assert!(matches!(error, RtError::Swappable { .. }), "{error}");
        assert!(check(Locked::None, false).is_ok());
        assert!(check(Locked::First, true).is_ok() && check(Locked::All, true).is_ok());
    }

    #[test]
    fn a_region_larger_than_the_memory_is_an_error_at_once() {
        let folder = memory();
        let path = folder.path().join("table.0");
        let error = Region::open(&path, 1 << 50).unwrap_err();
        assert!(matches!(error, RtError::File { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_on_a_disk_is_refused() {
        let error = check_memory_backed(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert!(matches!(error, RtError::NotInMemory { .. }), "{error}");
    }
}
