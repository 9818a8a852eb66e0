//! Key files: their owner's alone, or refused with the command that mends it.
//!
//! A key file is the lower-case hexadecimal form of its bytes and a line break, mode 0600, in a
//! folder of mode 0700, owned by the user that runs the program, and no symbolic link.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use whist_types::Secret;
use zeroize::Zeroizing;

use crate::RtError;

/// Permission bits of a file that hold for others than its owner, or make it a program.
const BEYOND_OWNER_RW: u32 = 0o7177;
/// Permission bits of a folder that hold for others than its owner.
const BEYOND_OWNER_RWX: u32 = 0o7077;

/// Makes the folder `path`, mode 0700, with parents. A folder that exists is checked.
///
/// # Errors
/// As [`check_folder`], or if the file system refuses.
pub fn create_folder(path: &Path) -> Result<(), RtError> {
    if !path.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| RtError::file("create the folder", path, error))?;
    }
    check_folder(path)
}

/// Refuses a folder that others can enter, that somebody else owns or that is a symbolic link.
///
/// # Errors
/// One line with the command that mends it.
pub fn check_folder(path: &Path) -> Result<(), RtError> {
    let metadata = std::fs::symlink_metadata(path)
        .map_err(|error| RtError::file("read the folder", path, error))?;
    if metadata.is_symlink() {
        return Err(link(path));
    }
    if !metadata.is_dir() {
        return Err(RtError::Version {
            path: path.to_owned(),
            why: "not a folder".to_owned(),
        });
    }
    check(path, &metadata, BEYOND_OWNER_RWX, "700")
}

/// Reads the key file at `path`.
///
/// # Errors
/// If it is exposed (one line with the command that mends it), missing, or not `N` bytes in
/// hexadecimal.
pub fn read<const N: usize>(path: &Path) -> Result<Secret<N>, RtError> {
    let mut file = open(path)?;
    // One more than is right, so that a longer file shows.
    let mut text = Zeroizing::new(Vec::with_capacity(N.saturating_mul(2).saturating_add(2)));
    let most = u64::try_from(N.saturating_mul(2).saturating_add(2)).unwrap_or(u64::MAX);
    Read::by_ref(&mut file)
        .take(most)
        .read_to_end(&mut text)
        .map_err(|error| RtError::file("read", path, error))?;
    parse(&text).ok_or_else(|| RtError::Damaged {
        path: path.to_owned(),
        why: "not a key in hexadecimal",
    })
}

/// Writes a new key file, mode 0600, synced with its folder. Never replaces one.
///
/// # Errors
/// If the file exists or the file system refuses.
pub fn create<const N: usize>(path: &Path, key: &Secret<N>) -> Result<(), RtError> {
    let mut text = Zeroizing::new(Vec::with_capacity(N.saturating_mul(2).saturating_add(1)));
    for byte in key.expose() {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text.push(b'\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| RtError::file("create the key file", path, error))?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .map_err(|error| RtError::file("write", path, error))?;
    sync_parent(path)
}

/// Reads the key file at `path`, or makes it from the operating system's randomness.
///
/// # Errors
/// As [`read`] and [`create`].
pub fn read_or_create<const N: usize>(path: &Path) -> Result<Secret<N>, RtError> {
    if std::fs::symlink_metadata(path).is_ok() {
        return read(path);
    }
    let mut bytes = [0u8; N];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut bytes)
        .map_err(|_| RtError::NoRandomness)?;
    let key = Secret::new(bytes);
    create(path, &key)?;
    Ok(key)
}

/// Refuses a file that holds secrets and is open to others, belongs to another user or is a link.
///
/// # Errors
/// [`RtError::Exposed`] with the command that mends it; [`RtError::File`] if there is none.
pub fn check_file(path: &Path) -> Result<(), RtError> {
    open(path).map(drop)
}

/// Opens a file that only its owner may read, checked on the open descriptor and not by name.
pub(crate) fn open(path: &Path) -> Result<File, RtError> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .map_err(|error| match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => link(path),
            Ok(_) | Err(_) => RtError::file("open", path, error),
        })?;
    let metadata = file
        .metadata()
        .map_err(|error| RtError::file("read", path, error))?;
    if !metadata.is_file() {
        return Err(RtError::Damaged {
            path: path.to_owned(),
            why: "not a file",
        });
    }
    check(path, &metadata, BEYOND_OWNER_RW, "600")?;
    Ok(file)
}

/// Makes what was renamed, created or removed in the folder of `path` durable.
///
/// # Errors
/// If the file system refuses.
pub fn sync_parent(path: &Path) -> Result<(), RtError> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| RtError::file("sync the folder", folder, error))
}

fn check(path: &Path, metadata: &Metadata, beyond: u32, wanted: &str) -> Result<(), RtError> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(RtError::Exposed {
            path: path.to_owned(),
            why: "owned by another user".to_owned(),
            mend: format!("chown {own} {}", path.display()),
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & beyond != 0 {
        return Err(RtError::Exposed {
            path: path.to_owned(),
            why: format!("mode {mode:04o} opens it to others"),
            mend: format!("chmod {wanted} {}", path.display()),
        });
    }
    Ok(())
}

fn link(path: &Path) -> RtError {
    let path_text = path.display();
    RtError::Exposed {
        path: path.to_owned(),
        why: "a symbolic link".to_owned(),
        mend: format!(
            "mv \"$(readlink -f {path_text})\" {path_text}.new && mv -T {path_text}.new {path_text}"
        ),
    }
}

const fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0'.saturating_add(nibble),
        _ => b'a'.saturating_add(nibble.saturating_sub(10)),
    }
}

fn value(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn parse<const N: usize>(text: &[u8]) -> Option<Secret<N>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    let mut bytes = Zeroizing::new([0u8; N]);
    let (pairs, _) = text.as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (value(*high)? << 4) | value(*low)?;
    }
    Some(Secret::new(*bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        folder
    }

    #[test]
    fn a_key_survives_its_file() {
        let folder = folder();
        let path = folder.path().join("identity.key");
        let key = Secret::new([0x5a; 32]);
        create(&path, &key).unwrap();
        assert_eq!(read::<32>(&path).unwrap(), key);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(
            create(&path, &key).is_err(),
            "a key file is never overwritten"
        );
        assert!(read::<16>(&path).is_err());
    }

    #[test]
    fn a_readable_key_file_is_refused_with_the_command_that_mends_it() {
        let folder = folder();
        let path = folder.path().join("link.key");
        create(&path, &Secret::new([1; 32])).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o700, 0o4600] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let text = read::<32>(&path).unwrap_err().to_string();
            assert!(
                text.ends_with(&format!("mend it with: chmod 600 {}", path.display())),
                "{text}"
            );
            assert!(!text.contains('\n'));
        }
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let folder = folder();
        let target = folder.path().join("target.key");
        create(&target, &Secret::new([1; 32])).unwrap();
        let path = folder.path().join("link.key");
        symlink(&target, &path).unwrap();
        let text = read::<32>(&path).unwrap_err().to_string();
        assert!(text.contains("a symbolic link; mend it with: mv"), "{text}");
    }

    #[test]
    fn an_open_folder_is_refused_with_the_command_that_mends_it() {
        let folder = folder();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o750)).unwrap();
        let text = check_folder(folder.path()).unwrap_err().to_string();
        assert!(
            text.ends_with(&format!("chmod 700 {}", folder.path().display())),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_holds_no_key_is_damaged() {
        let folder = folder();
        for (n, text) in ["", "xx", &"g".repeat(64), &"0".repeat(66)]
            .iter()
            .enumerate()
        {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            assert!(matches!(read::<32>(&path), Err(RtError::Damaged { .. })));
        }
    }

    #[test]
    fn a_missing_key_is_made_once() {
        let folder = folder();
        let path = folder.path().join("seal.key");
        let made = read_or_create::<32>(&path).unwrap();
        assert_eq!(read_or_create::<32>(&path).unwrap(), made);
    }
}
