//! The keys of rows: 32 random bytes each, in a file of their own, overwritten when their row is
//! replaced or deleted. What redb's old pages and copies of them still hold then opens with no key
//! that exists. Places that no row uses hold random bytes too, and count as gone.

use std::collections::BTreeSet;

use rand_core::Rng as _;
use redb::StorageBackend as _;
use whist_timing::Rng;
use whist_types::Secret;
use zeroize::Zeroizing;

use super::VaultError;
use super::medium::Medium;

const SHRED_BYTES: u64 = 32;
/// The file grows by this many places.
const GROWTH: u32 = 1_024;
/// More rows than any bound of the client allows; keeps a forged file from filling the memory.
const PLACES_MAX: u32 = 1 << 22;

/// The place of a row's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u32);

impl Place {
    fn offset(self) -> u64 {
        u64::from(self.0).saturating_mul(SHRED_BYTES)
    }
}

pub(super) struct Shreds {
    file: Medium,
    places: u32,
    /// Places whose bytes were never a key of a row that is there, or are not any more.
    free: Vec<Place>,
}

/// Every key, as they stood when they were read.
pub(super) struct Read(Zeroizing<Vec<u8>>);

impl Read {
    pub(super) fn key(&self, place: Place) -> Option<Secret<32>> {
        let start = usize::try_from(place.offset()).ok()?;
        let bytes = self.0.get(start..)?.first_chunk::<32>()?;
        Some(Secret::new(*bytes))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len() / 32
    }
}

impl Shreds {
    /// Opens the keys. Every place that no row uses is overwritten, durably, before this returns:
    /// a crash may have come between a row's end and its key's.
    pub(super) fn open(
        file: Medium,
        used: &BTreeSet<Place>,
        rng: &mut Rng,
    ) -> Result<Self, VaultError> {
        let places = file.len()?.checked_div(SHRED_BYTES).unwrap_or(0);
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        if places > PLACES_MAX || used.last().is_some_and(|last| last.0 >= places) {
            return Err(VaultError::Tampered);
        }
        let mut shreds = Self {
            file,
            places,
            free: Vec::new(),
        };
        let unused: Vec<Place> = (0..places)
            .map(Place)
            .filter(|p| !used.contains(p))
            .collect();
        shreds.destroy(&unused, rng)?;
        Ok(shreds)
    }

    pub(super) fn read(&self) -> Result<Read, VaultError> {
        let most = u64::from(PLACES_MAX).saturating_mul(SHRED_BYTES);
        Ok(Read(Zeroizing::new(self.file.whole(most)?)))
    }

    /// A fresh key in a free place; not durable before [`Shreds::sync`].
    pub(super) fn take(&mut self, rng: &mut Rng) -> Result<(Place, Secret<32>), VaultError> {
        if self.free.is_empty() {
            self.grow(rng)?;
        }
        let place = self.free.pop().ok_or(VaultError::Full)?;
        let key = Secret::random(rng);
        self.file.write(place.offset(), key.expose())?;
        Ok((place, key))
    }

    #[cfg(test)]
    pub(super) const fn free_places(&self) -> usize {
        self.free.len()
    }

    pub(super) fn sync(&self) -> Result<(), VaultError> {
        Ok(self.file.sync_data()?)
    }

    /// Overwrites keys, durably; their places are free from then on.
    pub(super) fn destroy(&mut self, places: &[Place], rng: &mut Rng) -> Result<(), VaultError> {
        if places.is_empty() {
            return Ok(());
        }
        // In runs: after a start nearly the whole file is one.
        for run in places.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)) {
            if let Some(first) = run.first() {
                self.file.write(first.offset(), &noise(run.len(), rng))?;
            }
        }
        self.sync()?;
        self.free.extend_from_slice(places);
        Ok(())
    }

    fn grow(&mut self, rng: &mut Rng) -> Result<(), VaultError> {
        let places = self.places.saturating_add(GROWTH);
        if places > PLACES_MAX {
            return Err(VaultError::Full);
        }
        let count = usize::try_from(GROWTH).unwrap_or(0);
        self.file
            .set_len(u64::from(places).saturating_mul(SHRED_BYTES))?;
        self.file
            .write(Place(self.places).offset(), &noise(count, rng))?;
        self.free.extend((self.places..places).map(Place));
        self.places = places;
        Ok(())
    }
}

fn noise(places: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; places.saturating_mul(32)];
    rng.fill_bytes(&mut bytes);
    bytes
}
