//! Whether what is written over in a file is gone from it. A file system that copies on write puts
//! the new bytes elsewhere, and the old ones stay where they were until something else needs room.

use std::fs::File;
use std::path::Path;

use rustix::fs::IFlags;

use crate::RtError;

// `f_type` of statfs(2), from linux/magic.h and the file systems' own sources.
const BTRFS: u64 = 0x9123_683e;
const BCACHEFS: u64 = 0xca45_1a4e;
const ZFS: u64 = 0x2fc1_2fc1;
const NILFS: u64 = 0x3434;
const F2FS: u64 = 0xf2f5_2010;

/// Asks the file system to write over the bytes of a file where they stand: `FS_NOCOW_FL`, which
/// btrfs takes for a file that is still empty (ioctl_iflags(2)). Where it is not known it is not
/// needed, or of no use: [`is_kept`] tells.
pub fn keep(file: &File) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(file) {
        let _ = rustix::fs::ioctl_setflags(file, flags | IFlags::NOCOW);
    }
}

/// Whether what is written over in this file is gone, as far as the file system knows. A snapshot
/// keeps it, and so may the disk beneath.
///
/// # Errors
/// If the file cannot be read.
pub fn is_kept(path: &Path) -> Result<bool, RtError> {
    let failed = |error: std::io::Error| RtError::file("read", path, error);
    let file = File::open(path).map_err(failed)?;
    let kind = rustix::fs::fstatfs(&file).map_err(|error| failed(error.into()))?;
    let flags = rustix::fs::ioctl_getflags(&file).unwrap_or(IFlags::empty());
    let kind = u64::try_from(kind.f_type).unwrap_or(0);
    Ok(erases(kind, flags.contains(IFlags::NOCOW)))
}

const fn erases(kind: u64, in_place: bool) -> bool {
    match kind {
        BTRFS => in_place,
        BCACHEFS | ZFS | NILFS | F2FS => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_old_bytes_stay_is_it_said_so() {
        const EXT4: u64 = 0xef53;
        assert!(erases(EXT4, false) && erases(BTRFS, true));
        for kind in [BTRFS, BCACHEFS, ZFS, NILFS, F2FS] {
            assert!(!erases(kind, false), "{kind:x}");
        }
        assert!(!erases(ZFS, true), "there the flag is of no use");
        let file = tempfile::NamedTempFile::new().unwrap();
        keep(file.as_file());
        let kind = rustix::fs::fstatfs(file.as_file()).unwrap().f_type;
        let plain = [EXT4, 0x0102_1994].contains(&u64::try_from(kind).unwrap());
        assert!(is_kept(file.path()).unwrap() || !plain);
        assert!(is_kept(Path::new("/nowhere")).is_err());
    }
}
