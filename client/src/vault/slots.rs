//! Eight slots of one size that look alike: a key to the vault, sealed under what a person knows,
//! or random bytes. Which are which tells only a secret that opens one.
//!
//! The file `slots`:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | version of the layout, 2 |
//! | 2 | 4 | Argon2id memory in KiB |
//! | 6 | 4 | Argon2id passes |
//! | 10 | 4 | Argon2id lanes |
//! | 14 | 32 | salt, one for all |
//! | 46 | 840 | the eight slots |
//!
//! A slot, sealed with XChaCha20-Poly1305; bytes 0 to 45 of the file and the slot's number are
//! bound to it:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 24 | nonce |
//! | 24 | 1 | what it opens: 1 the person's vault, 2 the decoy's, which ends the person's |
//! | 25 | 32 | the data key of that vault |
//! | 57 | 32 | the line key, of what the wire shows anyway |
//! | 89 | 16 | tag |

use rand_core::{Rng as _, SeedableRng as _};
use redb::StorageBackend as _;
use whist_timing::Rng;
use whist_types::{Reader, Secret, Writer};
use zeroize::Zeroizing;

use super::cost::{Cost, Credential};
use super::medium::Medium;
use super::{VaultError, seal};
use crate::limits::ARGON2_LANES;

const VERSION: u16 = 2;
const SLOTS: usize = 8;
const SLOT_BYTES: usize = 105;
const BOUND_BYTES: usize = 46;
const FILE_BYTES: usize = 886;
const _: () = assert!(BOUND_BYTES == 2 + 3 * 4 + 32);
const _: () = assert!(SLOT_BYTES == 24 + 1 + 32 + 32 + 16);
const _: () = assert!(FILE_BYTES == BOUND_BYTES + SLOTS * SLOT_BYTES);

/// What a slot opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The person's vault.
    Person,
    /// The decoy's, at the price of the person's.
    Duress,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Person => 1,
            Self::Duress => 2,
        }
    }
}

/// The keys in a slot.
pub(super) struct Keys {
    pub(super) kind: Kind,
    pub(super) data: Secret<32>,
    pub(super) line: Secret<32>,
}

impl Keys {
    /// The keys of a new vault.
    pub(super) fn random(rng: &mut Rng) -> Self {
        Self {
            kind: Kind::Person,
            data: Secret::random(rng),
            line: Secret::random(rng),
        }
    }

    /// The keys of the decoy that a duress slot at `place` opens: its passphrase's first home is
    /// that very place, so that nothing moves when the decoy takes over.
    pub(super) fn decoy(&self, place: Number, rng: &mut Rng) -> Self {
        loop {
            let keys = Self {
                kind: Kind::Duress,
                data: Secret::random(rng),
                line: self.line.duplicate(),
            };
            if keys.home(Home::First) == place {
                return keys;
            }
        }
    }

    /// Where a slot of this vault stands. Drawn from the data key: the same for everybody who has
    /// it, and a random place for everybody else.
    pub(super) fn home(&self, home: Home) -> Number {
        let seed = blake3::derive_key("whist 2026 vault slots v1", self.data.expose());
        let mut rng = Rng::from_seed(seed);
        let mut order: [usize; SLOTS] = std::array::from_fn(|n| n);
        for last in (1..SLOTS).rev() {
            let bound = u32::try_from(last).unwrap_or(0).saturating_add(1);
            order.swap(last, below(bound, &mut rng));
        }
        let place = match home {
            Home::First => 0,
            Home::Second => 1,
            Home::Recovery => 2,
            Home::Duress => 3,
        };
        Number(order.get(place).copied().unwrap_or(0))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let kind = match fields.u8().ok()? {
            1 => Kind::Person,
            2 => Kind::Duress,
            _ => return None,
        };
        Some(Self {
            kind,
            data: Secret::new(fields.array().ok()?),
            line: Secret::new(fields.array().ok()?),
        })
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Writer::with_capacity(65);
        text.u8(self.kind.number())
            .put(self.data.expose())
            .put(self.line.expose());
        Zeroizing::new(text.into_bytes())
    }
}

/// Evenly below `bound`, which is 8 at most.
fn below(bound: u32, rng: &mut Rng) -> usize {
    let limit = u32::MAX.saturating_sub(u32::MAX.checked_rem(bound).unwrap_or(0));
    loop {
        let drawn = rng.next_u32();
        if drawn < limit {
            let place = drawn.checked_rem(bound).unwrap_or(0);
            return usize::try_from(place).unwrap_or(0);
        }
    }
}

/// What stands in a slot of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// The passphrase; a new one goes where the old one is not, so that one of them always opens.
    First,
    /// The passphrase, every other time.
    Second,
    /// The recovery phrase.
    Recovery,
    /// The duress passphrase.
    Duress,
}

/// The number of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(usize);

impl Number {
    #[cfg(test)]
    pub(super) const fn of(number: usize) -> Self {
        Self(number)
    }
}

/// What a secret gave.
pub(super) struct Opened {
    pub(super) number: Number,
    pub(super) keys: Keys,
    /// The key that the secret gives, to seal a slot anew for it.
    pub(super) by: Secret<32>,
    /// Duress slots of the same secret, that a crash left when the decoy had taken over.
    pub(super) stale: Vec<Number>,
}

impl Opened {
    const fn only(number: Number, keys: Keys, by: Secret<32>) -> Self {
        Self {
            number,
            keys,
            by,
            stale: Vec::new(),
        }
    }
}

pub(super) struct Slots {
    file: Medium,
    bound: [u8; BOUND_BYTES],
    cost: Cost,
    salt: [u8; 32],
}

impl Slots {
    /// Eight slots of random bytes.
    pub(super) fn create(file: Medium, cost: Cost, rng: &mut Rng) -> Result<Self, VaultError> {
        let salt = *Secret::<32>::random(rng).expose();
        let mut header = Writer::with_capacity(BOUND_BYTES);
        header
            .u16(VERSION)
            .u32(cost.memory_kib)
            .u32(cost.passes)
            .u32(ARGON2_LANES)
            .put(&salt);
        let bound = <[u8; BOUND_BYTES]>::try_from(header.into_bytes().as_slice())
            .map_err(|_| VaultError::NotAVault)?;
        let mut bytes = [0; FILE_BYTES];
        rng.fill_bytes(&mut bytes);
        if let Some(start) = bytes.first_chunk_mut() {
            *start = bound;
        }
        file.set_len(u64::try_from(FILE_BYTES).unwrap_or(0))?;
        file.write(0, &bytes)?;
        file.sync_data()?;
        Ok(Self {
            file,
            bound,
            cost,
            salt,
        })
    }

    pub(super) fn read(file: Medium) -> Result<Self, VaultError> {
        if file.len()? != u64::try_from(FILE_BYTES).unwrap_or(0) {
            return Err(VaultError::NotAVault);
        }
        let mut bound = [0; BOUND_BYTES];
        file.read(0, &mut bound)?;
        let mut fields = Reader::new(&bound);
        if fields.u16()? != VERSION {
            return Err(VaultError::NotAVault);
        }
        let cost = Cost {
            memory_kib: fields.u32()?,
            passes: fields.u32()?,
        };
        if fields.u32()? != ARGON2_LANES {
            return Err(VaultError::Cost);
        }
        let salt = fields.array::<32>()?;
        Ok(Self {
            file,
            bound,
            cost,
            salt,
        })
    }

    /// The key of a secret: the one slow step, equal for every secret.
    pub(super) fn derive(&self, by: &Credential) -> Result<Secret<32>, VaultError> {
        self.cost.derive(by, &self.salt)
    }

    /// Opens a slot. All eight are tried, whichever opens; a person's comes before a duress one,
    /// which a crash can have left beside it.
    pub(super) fn open(&self, by: Secret<32>) -> Result<Opened, VaultError> {
        let bytes = Zeroizing::new(self.file.whole(u64::try_from(FILE_BYTES).unwrap_or(0))?);
        let (_, slots) = bytes
            .split_at_checked(BOUND_BYTES)
            .ok_or(VaultError::NotAVault)?;
        let mut found: Vec<(Number, Keys)> = Vec::new();
        for (number, slot) in slots.chunks_exact(SLOT_BYTES).enumerate() {
            let number = Number(number);
            let keys = seal::unwrap(&by, slot, &self.bound_to(number));
            let keys = keys.and_then(|keys| Keys::from_bytes(&keys));
            found.extend(keys.map(|keys| (number, keys)));
        }
        found.sort_by_key(|(_, keys)| keys.kind);
        let mut found = found.into_iter();
        let (number, keys) = found.next().ok_or(VaultError::Locked)?;
        let stale = match keys.kind {
            Kind::Person => found.filter(|(_, keys)| keys.kind == Kind::Duress),
            Kind::Duress => return Ok(Opened::only(number, keys, by)),
        };
        Ok(Opened {
            stale: stale.map(|(number, _)| number).collect(),
            ..Opened::only(number, keys, by)
        })
    }

    /// Seals keys into a slot, durably. What stood there is gone.
    pub(super) fn put(
        &self,
        number: Number,
        by: &Secret<32>,
        keys: &Keys,
        rng: &mut Rng,
    ) -> Result<(), VaultError> {
        let sealed = seal::wrap(by, &keys.to_bytes(), &self.bound_to(number), rng);
        self.file.write(offset(number), &sealed)?;
        Ok(self.file.sync_data()?)
    }

    /// Overwrites slots with random bytes, durably.
    pub(super) fn destroy(&self, numbers: &[Number], rng: &mut Rng) -> Result<(), VaultError> {
        for &number in numbers {
            let mut noise = [0; SLOT_BYTES];
            rng.fill_bytes(&mut noise);
            self.file.write(offset(number), &noise)?;
        }
        Ok(self.file.sync_data()?)
    }

    /// Overwrites every slot but one, durably and in one write: a kill finds all of them or none.
    pub(super) fn destroy_all_but(&self, kept: Number, rng: &mut Rng) -> Result<(), VaultError> {
        let mut bytes = [0; SLOTS * SLOT_BYTES];
        rng.fill_bytes(&mut bytes);
        if let Some(slot) = bytes.chunks_exact_mut(SLOT_BYTES).nth(kept.0) {
            self.file.read(offset(kept), slot)?;
        }
        self.file.write(offset(Number(0)), &bytes)?;
        Ok(self.file.sync_data()?)
    }

    /// Writes what stands there once more, durably: the file's times say that somebody came, and
    /// not by which secret.
    pub(super) fn rewrite(&self) -> Result<(), VaultError> {
        let mut bytes = [0; SLOTS * SLOT_BYTES];
        self.file.read(offset(Number(0)), &mut bytes)?;
        self.file.write(offset(Number(0)), &bytes)?;
        Ok(self.file.sync_data()?)
    }

    fn bound_to(&self, number: Number) -> Vec<u8> {
        let number = u8::try_from(number.0).unwrap_or(u8::MAX);
        [self.bound.as_slice(), &[number]].concat()
    }
}

fn offset(number: Number) -> u64 {
    let offset = number
        .0
        .saturating_mul(SLOT_BYTES)
        .saturating_add(BOUND_BYTES);
    u64::try_from(offset).unwrap_or(u64::MAX)
}
