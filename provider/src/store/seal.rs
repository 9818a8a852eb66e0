//! Rows as they stand on disk: names that are keyed hashes, values that are sealed.
//!
//! Name (25 bytes; the day is the keyspace):
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 1 | table | [`Table::tag`] |
//! | 1 | 16 | owner | BLAKE3 of table and owner, keyed by the day |
//! | 17 | 8 | index | big-endian, so that rows of one owner are in order |
//!
//! Value: nonce 24, ciphertext, tag 16 of XChaCha20-Poly1305; the name is authenticated with it.

use std::collections::BTreeMap;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as AeadKey, XChaCha20Poly1305, XNonce};
use rand_core::Rng as _;
use whist_timing::{Rng, forget_past};
use whist_types::Secret;

use super::{Day, Key, Owner, StoreFault, Table};

/// Bytes of a row's name.
pub(super) const NAME_BYTES: usize = 25;
/// Bytes of a row's name that all rows of one owner share.
pub(super) const PREFIX_BYTES: usize = 17;
const NONCE_BYTES: usize = 24;
const _: () = assert!(PREFIX_BYTES + 8 == NAME_BYTES);

struct DayKey {
    names: Secret<32>,
    values: Secret<32>,
}

/// The keys of the live days, and the generator of nonces.
pub(super) struct Sealer {
    days: BTreeMap<Day, DayKey>,
    rng: Rng,
}

impl Sealer {
    pub(super) const fn new(rng: Rng) -> Self {
        Self {
            days: BTreeMap::new(),
            rng,
        }
    }

    pub(super) fn fresh_key(&mut self) -> Secret<32> {
        let key = Secret::random(&mut self.rng);
        // Or this generator would give every destroyed day's key again.
        forget_past(&mut self.rng);
        key
    }

    pub(super) fn insert(&mut self, day: Day, key: &Secret<32>) {
        let derive = |label| Secret::new(blake3::derive_key(label, key.expose()));
        self.days.insert(
            day,
            DayKey {
                names: derive("whist 2026 provider store names v1"),
                values: derive("whist 2026 provider store values v1"),
            },
        );
    }

    pub(super) fn remove(&mut self, day: Day) {
        self.days.remove(&day);
    }

    pub(super) fn days(&self) -> impl Iterator<Item = Day> {
        self.days.keys().rev().copied()
    }

    fn day(&self, day: Day) -> Result<&DayKey, StoreFault> {
        self.days.get(&day).ok_or(StoreFault::NoKey)
    }

    pub(super) fn prefix(
        &self,
        day: Day,
        table: Table,
        owner: &Owner,
    ) -> Result<[u8; PREFIX_BYTES], StoreFault> {
        let mut hasher = blake3::Hasher::new_keyed(self.day(day)?.names.expose());
        hasher.update(&[table.tag()]).update(owner.as_bytes());
        let mut prefix = [table.tag(); PREFIX_BYTES];
        if let Some((_, hash)) = prefix.split_first_mut() {
            hasher.finalize_xof().fill(hash);
        }
        Ok(prefix)
    }

    pub(super) fn name(&self, key: &Key) -> Result<[u8; NAME_BYTES], StoreFault> {
        let prefix = self.prefix(key.day, key.table, &key.owner)?;
        let mut name = [0; NAME_BYTES];
        let bytes = prefix.iter().copied().chain(key.index.to_be_bytes());
        name.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(name)
    }

    pub(super) fn seal(
        &mut self,
        day: Day,
        name: &[u8; NAME_BYTES],
        value: &[u8],
    ) -> Result<Vec<u8>, StoreFault> {
        let mut nonce = [0; NONCE_BYTES];
        self.rng.fill_bytes(&mut nonce);
        let payload = Payload {
            msg: value,
            aad: name,
        };
        let sealed = self
            .cipher(day)?
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| StoreFault::Damaged)?;
        Ok([&nonce[..], &sealed].concat())
    }

    pub(super) fn open(&self, day: Day, name: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let (nonce, sealed) = stored
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(StoreFault::Damaged)?;
        let payload = Payload {
            msg: sealed,
            aad: name,
        };
        self.cipher(day)?
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| StoreFault::Damaged)
    }

    fn cipher(&self, day: Day) -> Result<XChaCha20Poly1305, StoreFault> {
        let key = AeadKey::from(*self.day(day)?.values.expose());
        Ok(XChaCha20Poly1305::new(&key))
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;

    use super::*;

    fn sealer() -> Sealer {
        let mut sealer = Sealer::new(Rng::seed_from_u64(1));
        for day in 1..3 {
            let key = sealer.fresh_key();
            sealer.insert(Day::new(day), &key);
        }
        sealer
    }

    #[test]
    fn a_row_opens_under_its_name_and_day_alone() {
        let mut sealer = sealer();
        let key = Key::of(Day::new(1), Table::Item, [7; 32]);
        let name = sealer.name(&key).unwrap();
        let sealed = sealer.seal(key.day, &name, b"item").unwrap();
        assert_eq!(sealer.open(key.day, &name, &sealed).unwrap(), b"item");
        assert_eq!(
            sealer.open(Day::new(2), &name, &sealed),
            Err(StoreFault::Damaged)
        );
        let other = sealer.name(&Key { index: 1, ..key }).unwrap();
        assert_eq!(
            sealer.open(key.day, &other, &sealed),
            Err(StoreFault::Damaged)
        );
        sealer.remove(key.day);
        assert_eq!(sealer.open(key.day, &name, &sealed), Err(StoreFault::NoKey));
    }

    #[test]
    fn the_generator_that_is_left_does_not_give_the_keys_of_days() {
        let mut sealer = sealer();
        let keys = [(); 3].map(|()| sealer.fresh_key());
        sealer.rng.set_word_pos(0);
        let mut past = vec![0; 1 << 12];
        sealer.rng.fill_bytes(&mut past);
        for key in keys {
            assert!(!past.windows(32).any(|bytes| bytes == key.expose()));
        }
    }

    #[test]
    fn the_names_of_one_owner_differ_by_day_and_table() {
        let sealer = sealer();
        let prefix = |day, table| {
            sealer
                .prefix(Day::new(day), table, &Owner::new([7; 32]))
                .unwrap()
        };
        assert_ne!(prefix(1, Table::Item), prefix(2, Table::Item));
        assert_ne!(
            prefix(1, Table::Item)[1..],
            prefix(1, Table::Index)[1..],
            "tables must not be linkable by the hash"
        );
    }
}
