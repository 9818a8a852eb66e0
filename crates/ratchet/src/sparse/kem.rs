//! The key encapsulation that the ratchet runs on.

use ml_kem::kem::{Decapsulate, Encapsulate};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::{KeyExport, KeyInit};
use rand_core::CryptoRng;
use whist_types::Secret;

use crate::Error;
use crate::limits::{KEM_CIPHERTEXT_BYTES, KEM_KEY_BYTES, KEM_SEED_BYTES};

/// What the ratchet asks of a KEM. The program has one, ML-KEM-768; the model that is explored
/// whole has one of a few bytes, so that both run the same ratchet.
pub(crate) trait Kem {
    /// Size of a public key.
    const KEY_BYTES: usize;
    /// Size of a ciphertext.
    const CIPHERTEXT_BYTES: usize;

    /// The public key of a seed.
    fn key(seed: &Secret<KEM_SEED_BYTES>) -> Vec<u8>;
    /// [`Error::BadKey`] for bytes that are no public key.
    fn check(key: &[u8]) -> Result<(), Error>;
    /// A ciphertext and its secret. Draws 32 bytes.
    fn encapsulate(key: &[u8], rng: &mut impl CryptoRng) -> Result<(Vec<u8>, Secret<32>), Error>;
    /// The secret of a ciphertext; another secret if it was altered.
    fn decapsulate(seed: &Secret<KEM_SEED_BYTES>, ciphertext: &[u8]) -> Result<Secret<32>, Error>;
}

/// ML-KEM-768 (FIPS 203).
pub(crate) struct MlKem768;

fn encapsulation_key(key: &[u8]) -> Result<EncapsulationKey, Error> {
    let key = <&[u8; KEM_KEY_BYTES]>::try_from(key).map_err(|_| Error::BadKey)?;
    EncapsulationKey::new(key.into()).map_err(|_| Error::BadKey)
}

impl Kem for MlKem768 {
    const KEY_BYTES: usize = KEM_KEY_BYTES;
    const CIPHERTEXT_BYTES: usize = KEM_CIPHERTEXT_BYTES;

    fn key(seed: &Secret<KEM_SEED_BYTES>) -> Vec<u8> {
        let key = DecapsulationKey::new(seed.expose().into());
        key.encapsulation_key().to_bytes().to_vec()
    }

    fn check(key: &[u8]) -> Result<(), Error> {
        encapsulation_key(key).map(|_| ())
    }

    fn encapsulate(key: &[u8], rng: &mut impl CryptoRng) -> Result<(Vec<u8>, Secret<32>), Error> {
        let (ciphertext, shared) = encapsulation_key(key)?.encapsulate_with_rng(rng);
        Ok((ciphertext.to_vec(), Secret::new(shared.into())))
    }

    fn decapsulate(seed: &Secret<KEM_SEED_BYTES>, ciphertext: &[u8]) -> Result<Secret<32>, Error> {
        let ciphertext =
            <&[u8; KEM_CIPHERTEXT_BYTES]>::try_from(ciphertext).map_err(|_| Error::Malformed)?;
        let key = DecapsulationKey::new(seed.expose().into());
        Ok(Secret::new(key.decapsulate(ciphertext.into()).into()))
    }
}
