//! What a secret is turned into a key with, and what guessing it costs.

use argon2::{Algorithm, Argon2, Params, Version};
use whist_types::Secret;
use zeroize::Zeroizing;

use super::VaultError;
use crate::limits::{
    ARGON2_LANES, ARGON2_MEMORY_KIB_MAX, ARGON2_MEMORY_KIB_MIN, ARGON2_PASSES_MAX,
};

/// What is needed beside what a person knows. A token of FIDO2 becomes a variant of its own, with
/// the 32 bytes of its `hmac-secret` in the same place.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Factor {
    /// Nothing.
    #[default]
    Nothing,
    /// The 32 random bytes of a key file, as Argon2id's secret input.
    KeyFile(Secret<32>),
}

impl Factor {
    fn secret(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::KeyFile(key) => key.expose(),
        }
    }
}

/// What opens a slot: what a person knows, with what a person has.
pub struct Credential {
    known: Zeroizing<Vec<u8>>,
    factor: Factor,
}

impl Credential {
    /// Something known alone.
    pub const fn new(known: Zeroizing<Vec<u8>>) -> Self {
        Self {
            known,
            factor: Factor::Nothing,
        }
    }

    /// The same with something that one has.
    #[must_use]
    pub fn with(self, factor: Factor) -> Self {
        Self { factor, ..self }
    }
}

impl From<&[u8]> for Credential {
    fn from(known: &[u8]) -> Self {
        Self::new(Zeroizing::new(known.to_vec()))
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

/// What guessing one passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, 64 MiB at least.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// The least that is allowed; the local demo's.
    pub const LEAST: Self = Self {
        memory_kib: ARGON2_MEMORY_KIB_MIN,
        passes: 1,
    };

    fn check(self) -> Result<Self, VaultError> {
        let memory = (ARGON2_MEMORY_KIB_MIN..=ARGON2_MEMORY_KIB_MAX).contains(&self.memory_kib);
        let passes = (1..=ARGON2_PASSES_MAX).contains(&self.passes);
        (memory && passes).then_some(self).ok_or(VaultError::Cost)
    }

    /// The key that a credential gives at this cost.
    ///
    /// # Errors
    /// If the cost is out of bounds.
    pub fn derive(self, by: &Credential, salt: &[u8; 32]) -> Result<Secret<32>, VaultError> {
        let cost = self.check()?;
        let params = Params::new(cost.memory_kib, cost.passes, ARGON2_LANES, Some(32))
            .map_err(|_| VaultError::Cost)?;
        let mut key = Zeroizing::new([0; 32]);
        let secret = by.factor.secret();
        Argon2::new_with_secret(secret, Algorithm::Argon2id, Version::V0x13, params)
            .and_then(|argon2| argon2.hash_password_into(&by.known, salt, key.as_mut_slice()))
            .map_err(|_| VaultError::Cost)?;
        Ok(Secret::new(*key))
    }
}
