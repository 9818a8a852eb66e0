//! Secrets at rest, one sealed file each, deleted for good when asked: the Sphinx keys of epochs
//! that have not begun.

use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use whist_types::Secret;
use zeroize::Zeroizing;

use crate::{RtError, files, keys, seed};

const VERSION: u8 = 1;
const SUFFIX: &str = ".sealed";
const LABEL: &[u8] = b"whist 2026 sealed secret v1";

/// Length of a sealed file: see [`SealedDir`].
pub const SEALED_BYTES: usize = 73;
const _: () = assert!(SEALED_BYTES == 1 + 24 + 32 + 16);

/// A folder of 32-byte secrets by number, each in a file of its own under one key.
///
/// | offset | size | field | meaning |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 24 | nonce | random |
/// | 25 | 32 | secret | XChaCha20-Poly1305, with label and number as associated data |
/// | 57 | 16 | tag | |
///
/// The key file stands beside the folder: sealing protects copies of single files (a backup, a
/// block that the disk did not reuse), not a seized folder. That is what [`SealedDir::delete`]
/// and its sync are for.
#[derive(Debug)]
pub struct SealedDir {
    path: PathBuf,
    key: Secret<32>,
}

impl SealedDir {
    /// Opens the folder at `path`, making it if there is none, under `key`, which
    /// [`keys::read_or_create`] gives.
    ///
    /// # Errors
    /// If the folder is open to others or the file system refuses.
    pub fn open(path: &Path, key: Secret<32>) -> Result<Self, RtError> {
        keys::create_folder(path)?;
        // A crash within `save` may have left a sealed secret that no number names.
        files::sweep(path)?;
        Ok(Self {
            path: path.to_owned(),
            key,
        })
    }

    /// Seals `secret` as `number`; durable when this returns. Replaces what was there.
    ///
    /// # Errors
    /// If the file system refuses; what was there is then still there.
    pub fn save(&mut self, number: u64, secret: &Secret<32>) -> Result<(), RtError> {
        let random = seed()?;
        let (nonce, _) = random
            .expose()
            .split_first_chunk::<24>()
            .ok_or(RtError::NoRandomness)?;
        let mut body = Zeroizing::new(*secret.expose());
        let tag = self
            .cipher()
            .encrypt_inout_detached(
                &XNonce::from(*nonce),
                &associated(number),
                body.as_mut_slice().into(),
            )
            .map_err(|_| self.damaged(number, "cannot be sealed"))?;
        let mut file = Vec::with_capacity(SEALED_BYTES);
        file.push(VERSION);
        file.extend_from_slice(nonce);
        file.extend_from_slice(body.as_slice());
        file.extend_from_slice(&tag);
        files::write_atomic(&self.file(number), &file)
    }

    /// The secret sealed as `number`, if there is one.
    ///
    /// # Errors
    /// [`RtError::Damaged`] if it does not open.
    pub fn load(&mut self, number: u64) -> Result<Option<Secret<32>>, RtError> {
        let Some(file) = files::read(&self.file(number), 4096)? else {
            return Ok(None);
        };
        let wrong_size = || self.damaged(number, "wrong size");
        let (head, rest) = file.split_first_chunk::<25>().ok_or_else(wrong_size)?;
        let ([version], nonce) = head.split_first_chunk::<1>().ok_or_else(wrong_size)?;
        let nonce = <[u8; 24]>::try_from(nonce).map_err(|_| wrong_size())?;
        let (body, tag) = rest.split_first_chunk::<32>().ok_or_else(wrong_size)?;
        let tag = <[u8; 16]>::try_from(tag).map_err(|_| wrong_size())?;
        if *version != VERSION {
            return Err(self.damaged(number, "unknown version"));
        }
        let mut body = Zeroizing::new(*body);
        self.cipher()
            .decrypt_inout_detached(
                &XNonce::from(nonce),
                &associated(number),
                body.as_mut_slice().into(),
                &Tag::from(tag),
            )
            .map_err(|_| self.damaged(number, "does not open under its key"))?;
        Ok(Some(Secret::new(*body)))
    }

    /// Deletes the secret sealed as `number`: overwritten, removed, and both synced when this
    /// returns. It is no error if there is none.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn delete(&mut self, number: u64) -> Result<(), RtError> {
        files::erase(&self.file(number))
    }

    /// The numbers under which something is sealed, in order.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn list(&mut self) -> Result<Vec<u64>, RtError> {
        let unreadable = |error| RtError::file("read the folder", &self.path, error);
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(SUFFIX))
                .and_then(|digits| digits.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number}{SUFFIX}"))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.key.expose()))
    }

    fn damaged(&self, number: u64, why: &'static str) -> RtError {
        RtError::Damaged {
            path: self.file(number),
            why,
        }
    }
}

fn associated(number: u64) -> Vec<u8> {
    [LABEL, &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> SealedDir {
        SealedDir::open(path, Secret::new([9; 32])).unwrap()
    }

    #[test]
    fn a_sealed_secret_survives_reopening_and_is_gone_after_deletion() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epochs");
        let secret = Secret::new([0xab; 32]);
        open(&path).save(7, &secret).unwrap();
        open(&path).save(12, &Secret::new([1; 32])).unwrap();
        let mut again = open(&path);
        assert_eq!(again.list().unwrap(), [7, 12]);
        assert_eq!(again.load(7).unwrap(), Some(secret));
        again.delete(7).unwrap();
        again.delete(7).unwrap();
        assert_eq!(again.load(7).unwrap(), None);
        assert_eq!(again.list().unwrap(), [12]);
    }

    #[test]
    fn a_secret_that_a_crash_left_half_saved_is_gone_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epochs");
        drop(open(&path));
        std::fs::write(path.join("7.sealed.1-0.new"), [7; SEALED_BYTES]).unwrap();
        assert_eq!(open(&path).list().unwrap(), [0; 0]);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_sealed_file_shows_nothing_of_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epochs");
        let mut dir = open(&path);
        dir.save(7, &Secret::new([0xab; 32])).unwrap();
        let file = std::fs::read(path.join("7.sealed")).unwrap();
        assert_eq!(file.len(), SEALED_BYTES);
        assert!(!file.windows(4).any(|window| window == [0xab; 4]));
        let text = format!("{dir:?}");
        assert!(text.ends_with("key: [redacted] }"), "{text}");
    }

    #[test]
    fn a_flipped_cut_or_swapped_file_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epochs");
        let mut dir = open(&path);
        dir.save(7, &Secret::new([0xab; 32])).unwrap();
        let good = std::fs::read(path.join("7.sealed")).unwrap();
        let refused = |dir: &mut SealedDir| matches!(dir.load(7), Err(RtError::Damaged { .. }));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(path.join("7.sealed"), &bad).unwrap();
            assert!(refused(&mut dir), "byte {at}");
            std::fs::write(path.join("7.sealed"), &good[..at]).unwrap();
            assert!(refused(&mut dir), "cut at {at}");
        }
        dir.save(8, &Secret::new([1; 32])).unwrap();
        std::fs::copy(path.join("8.sealed"), path.join("7.sealed")).unwrap();
        assert!(refused(&mut dir), "another number's file");
        let mut other = SealedDir::open(&path, Secret::new([8; 32])).unwrap();
        assert!(other.load(8).is_err(), "another key");
    }
}
