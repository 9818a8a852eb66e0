//! Whole-or-nothing files: what is written is either all there after a crash, or not at all.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::RtError;
use crate::keys::sync_parent;

/// Replaces the file at `path` by `bytes`, mode 0600: written beside it, synced, renamed, and the
/// folder synced. After a crash the old or the new contents are there, whole.
///
/// # Errors
/// If the file system refuses; the old contents are then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RtError> {
    let temporary = temporary(path);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(RtError::file("write", path, error));
    }
    sync_parent(path)
}

/// Makes the file at `path`, mode 0600, synced with its folder. Never replaces one: what `init`
/// writes is the operator's from then on.
///
/// # Errors
/// If the file exists or the file system refuses.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), RtError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|error| RtError::file("create", path, error))?;
    sync_parent(path)
}

/// The contents of the file at `path`, at most `bytes_max`; `None` if there is no such file.
///
/// # Errors
/// If the file is larger or the file system refuses.
pub fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, RtError> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RtError::file("read", path, error)),
    };
    if size > bytes_max {
        return Err(RtError::Damaged {
            path: path.to_owned(),
            why: "larger than it can be",
        });
    }
    std::fs::read(path)
        .map(Some)
        .map_err(|error| RtError::file("read", path, error))
}

/// Removes the file at `path`, durably; it is no error if there is none.
///
/// # Errors
/// If the file system refuses.
pub fn remove(path: &Path) -> Result<(), RtError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RtError::file("remove", path, error)),
    }
}

/// Bytes that the file system of `path` has left for this user.
///
/// # Errors
/// If the file system refuses.
pub fn free_bytes(path: &Path) -> Result<u64, RtError> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|error| RtError::file("ask for the free space of", path, error))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Empties the files in `folder`, if there is one, so that they hold no space even where something
/// has them open.
///
/// # Errors
/// If the file system refuses.
pub fn empty_all(folder: &Path) -> Result<(), RtError> {
    let refused = |path: &Path, error| RtError::file("empty", path, error);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| refused(folder, error))?,
    };
    for entry in entries {
        let path = entry.map_err(|error| refused(folder, error))?.path();
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| refused(&path, error))?;
    }
    Ok(())
}

/// What is written beside a file before it takes the file's name ends in this.
const UNFINISHED: &str = ".new";

/// Removes what a crash left of [`write_atomic`] in `folder`; before anything is written there.
pub(crate) fn sweep(folder: &Path) -> Result<(), RtError> {
    let unreadable = |error| RtError::file("read the folder", folder, error);
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) && path.is_file() {
            erase(&path)?;
        }
    }
    Ok(())
}

/// Overwrites the file at `path` with zeros and removes it, both synced; it is no error if there
/// is none.
pub(crate) fn erase(path: &Path) -> Result<(), RtError> {
    let overwritten = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| {
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            file.write_all(&vec![0; length.min(ERASED_BYTES_MAX)])?;
            file.sync_all()
        });
    match overwritten {
        Ok(()) => remove(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RtError::file("overwrite", path, error)),
    }
}

/// Only small files are overwritten whole: secrets are.
const ERASED_BYTES_MAX: usize = 1 << 16;

/// A name of its own for each write, so that two writers of one file do not meet in it.
fn temporary(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consensus");
        assert_eq!(read(&path, 10).unwrap(), None);
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(create(&path, b"three").is_err(), "it exists");
        assert!(read(&path, 2).is_err());
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path, 10).unwrap(), None);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_contents_and_nothing_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consensus");
        std::fs::create_dir_all(path.join("not empty")).unwrap();
        assert!(
            write_atomic(&path, b"two").is_err(),
            "a folder stands there"
        );
        assert!(path.join("not empty").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn writers_of_one_file_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consensus");
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        write_atomic(path, &[writer; 10_000]).unwrap();
                        let whole = read(path, 10_000).unwrap().unwrap();
                        assert_eq!(whole.len(), 10_000);
                        assert!(whole.iter().all(|byte| *byte == whole[0]));
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_unfinished_is_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consensus");
        write_atomic(&path, b"one").unwrap();
        std::fs::write(temporary(&path), b"tw").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some(&b"one"[..]));
    }
}
