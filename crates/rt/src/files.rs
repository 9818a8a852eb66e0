//! Whole-or-nothing files: what is written is either all there after a crash, or not at all.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
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
    fn a_write_that_fails_leaves_the_old_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consensus");
        write_atomic(&path, b"one").unwrap();
        std::fs::create_dir(folder.path().join("consensus.new")).unwrap();
        assert!(write_atomic(&path, b"two").is_err());
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some(&b"one"[..]));
    }
}
