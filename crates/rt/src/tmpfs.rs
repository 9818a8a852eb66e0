//! Memory that outlives the process and not the machine: a file on a tmpfs, mapped. The one
//! module with `unsafe` in it.

use std::fs::{File, OpenOptions};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use memmap2::MmapMut;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

use crate::{RtError, files, keys};

/// `f_type` of the memory-backed file systems, from `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Bytes in memory-backed storage. They survive a kill and an upgrade of the process that wrote
/// them, and nothing survives a reboot. New regions are zero.
///
/// `Debug` prints the path and the size, never contents: keys live here.
pub struct Region {
    path: PathBuf,
    map: MmapMut,
    in_ram: bool,
    // Holds the lock that keeps a second mapping of the same bytes away.
    _file: File,
}

impl Region {
    /// Opens the region at `path`, or makes it with `len` bytes, all of them reserved at once, so
    /// that a full tmpfs is an error here and never a signal later. Contents are kept.
    ///
    /// # Errors
    /// If the folder is not memory-backed, is full, the region is in use, open to others, or of
    /// another size ([`RtError::RegionSize`]; [`Region::remove`] it then).
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
        let map = map(&file, len).map_err(|error| RtError::file("map", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            in_ram: map.lock().is_ok(),
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

    /// Whether its pages are locked: they then never go to a swap device. Not so where the limit
    /// on locked memory (`LimitMEMLOCK=`) is smaller; the tmpfs should be `noswap` there.
    pub const fn is_locked(&self) -> bool {
        self.in_ram
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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
    let mut options = memmap2::MmapOptions::new();
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
