//! Making a vault: whole, or not at all. While it is made a mark stands beside it, so that what a kill
//! left is known for what it is: nobody's, since nobody was told that it is there.

use std::io;
use std::path::Path;

use whist_rt::files;
use whist_timing::Rng;
use whist_types::Secret;

use super::medium::{self, MAKING, Media, step};
use super::slots::{Home, Keys, Slots};
use super::{Cost, Credential, SlotsAt, Vault, VaultError};
use crate::rows::Batch;

impl Vault {
    /// Makes a vault in a folder, with fresh keys and its first rows. What is left there of one that
    /// never became whole goes first.
    ///
    /// # Errors
    /// [`VaultError::Exists`], a cost out of bounds, or the disk.
    pub fn make(
        home: &Path,
        by: &Credential,
        cost: Cost,
        first: &Batch,
        rng: Rng,
    ) -> Result<(), VaultError> {
        make(home, cost, first, rng, |slots| slots.derive(by))
    }

    /// Whether a vault was begun in a folder and never became whole.
    pub fn is_unfinished(home: &Path) -> bool {
        home.join(MAKING).exists()
    }

    /// Whether a folder has nothing of a vault in it that anybody was told of.
    pub fn is_vacant(home: &Path) -> bool {
        Self::is_unfinished(home) || !Self::files(home).iter().any(|file| file.exists())
    }

    /// Makes a vault without rows in a folder. Refuses where one is.
    ///
    /// # Errors
    /// As [`Vault::make`].
    pub fn create(home: &Path, by: &Credential, cost: Cost, rng: Rng) -> Result<Self, VaultError> {
        create(home, cost, rng, |slots| slots.derive(by))
    }
}

fn make(
    home: &Path,
    cost: Cost,
    first: &Batch,
    rng: Rng,
    key: impl FnOnce(&Slots) -> Result<Secret<32>, VaultError>,
) -> Result<(), VaultError> {
    if !Vault::is_vacant(home) {
        return Err(VaultError::Exists);
    }
    let mark = home.join(MAKING);
    step()?;
    files::write_atomic(&mark, &[]).map_err(io::Error::other)?;
    for file in Vault::files(home) {
        step()?;
        files::remove(&file).map_err(io::Error::other)?;
    }
    let mut vault = create(home, cost, rng, key)?;
    vault.apply(first)?;
    drop(vault);
    // All of it is durable.
    step()?;
    files::remove(&mark).map_err(io::Error::other)?;
    Ok(())
}

fn create(
    home: &Path,
    cost: Cost,
    mut rng: Rng,
    key: impl FnOnce(&Slots) -> Result<Secret<32>, VaultError>,
) -> Result<Vault, VaultError> {
    let media = Media::create(home).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => VaultError::Exists,
        _ => VaultError::File(error),
    })?;
    let slots = media.slots.clone();
    let keys = Keys::random(&mut rng);
    let mut vault = Vault::over(media, SlotsAt::Home(home.to_owned()), rng)?;
    vault.adopt(&keys);
    let slots = Slots::create(slots, cost, &mut vault.rng)?;
    let key = key(&slots)?;
    slots.put(keys.home(Home::First), &key, &keys, &mut vault.rng)?;
    whist_rt::keys::sync_parent(&medium::path(home, 2)).map_err(io::Error::other)?;
    Ok(vault)
}

#[cfg(test)]
mod tests {
    use super::super::medium::LEFT;
    use super::super::tests::{first_batch, rng};
    use super::super::{Opened, Table};
    use super::*;

    fn attempt(home: &Path, seed: u8) -> Result<(), VaultError> {
        let key = |_: &Slots| Ok(Secret::new([7; 32]));
        make(home, Cost::LEAST, &first_batch(), rng(seed), key)
    }

    /// What a daemon does with it.
    fn opens(home: &Path) -> Result<(), VaultError> {
        let mut vault = Vault::closed(home, rng(9))?;
        let file = SlotsAt::Home(home.to_owned()).open()?;
        let opened = Slots::read(file.medium.clone())?.open(Secret::new([7; 32]))?;
        drop(file);
        vault.unlock(Opened(opened))?;
        assert_eq!(vault.load()?.of(Table::Account).count(), 1);
        Ok(())
    }

    #[test]
    fn a_vault_killed_at_any_operation_of_its_making_is_refused_and_made_anew() {
        for left in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let home = dir.path();
            LEFT.set(left);
            let done = attempt(home, 1);
            LEFT.set(usize::MAX);
            if done.is_ok() {
                assert!(left > 20, "the operations were not counted");
                opens(home).unwrap();
                assert!(matches!(attempt(home, 2), Err(VaultError::Exists)));
                opens(home).unwrap();
                break;
            }
            assert!(opens(home).is_err(), "{left}: half a vault is opened");
            attempt(home, 2).unwrap_or_else(|error| panic!("{left}: {error}"));
            opens(home).unwrap_or_else(|error| panic!("{left}: {error}"));
        }
    }

    #[test]
    fn what_is_there_without_a_mark_is_never_made_anew() {
        for file in medium::FILES {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(file), b"somebody's").unwrap();
            let made = attempt(dir.path(), 1);
            assert!(matches!(made, Err(VaultError::Exists)), "{file}");
            assert_eq!(std::fs::read(dir.path().join(file)).unwrap(), b"somebody's");
        }
    }
}
