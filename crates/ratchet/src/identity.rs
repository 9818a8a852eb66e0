//! Who somebody is: an Ed25519 key, used for the exchange in its Montgomery form.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use whist_types::Secret;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::Error;
use crate::kdf::labelled;
use crate::limits::SIGNATURE_BYTES;

/// A person's identity, public half: an Ed25519 key that is a point of prime order in its one
/// canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonKey([u8; 32]);

impl PersonKey {
    /// Checks that `bytes` are such a key: [`Error::BadKey`] if not.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Error> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| Error::BadKey)?;
        let point = key.to_edwards();
        // One person, one key: a point plus one of small order would exchange the same secrets.
        let canonical = point.is_torsion_free() && point.compress().to_bytes() == bytes;
        if key.is_weak() || !canonical {
            return Err(Error::BadKey);
        }
        Ok(Self(bytes))
    }

    /// The key as it stands on the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What two people compare, or a program prints, to name a key without quoting it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(labelled("whist 2026 person fingerprint v1", &[&self.0]))
    }

    /// The Montgomery form for the key exchange (RFC 7748, section 4.1).
    pub(crate) fn montgomery(&self) -> Result<[u8; 32], Error> {
        VerifyingKey::from_bytes(&self.0)
            .map(|key| key.to_montgomery().to_bytes())
            .map_err(|_| Error::BadKey)
    }

    /// Strict verification (no small orders, canonical scalar).
    pub(crate) fn verify(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), Error> {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .map_err(|_| Error::BadSignature)
    }
}

impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonKey([redacted])")
    }
}

/// A hash of a [`PersonKey`]. Its text form is eight groups of four hexadecimal digits: 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// All 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.chunks_exact(2).take(8).enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            for byte in pair {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint([redacted])")
    }
}

/// A person's identity, secret half. It signs prekeys and nothing else, which keeps deniability.
#[derive(PartialEq, Eq)]
pub struct IdentitySecret {
    seed: Secret<32>,
}

impl IdentitySecret {
    /// A new identity. Draws 32 bytes.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_seed(Secret::random(rng))
    }

    /// The identity with this Ed25519 seed (RFC 8032).
    pub const fn from_seed(seed: Secret<32>) -> Self {
        Self { seed }
    }

    /// The seed, to be stored.
    pub const fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    /// The public half.
    pub fn public(&self) -> PersonKey {
        PersonKey(self.signing().verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.signing().sign(message).to_bytes()
    }

    /// The X25519 secret that belongs to [`PersonKey::montgomery`]: the first half of the seed's
    /// SHA-512, which X25519 clamps as Ed25519 does.
    pub(crate) fn exchange_secret(&self) -> Secret<32> {
        Secret::new(self.signing().to_scalar_bytes())
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(self.seed.expose())
    }
}

impl fmt::Debug for IdentitySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentitySecret([redacted])")
    }
}

/// The public half of an X25519 secret.
pub(crate) fn exchange_public(secret: &Secret<32>) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
}

/// X25519 (RFC 7748), refused where the peer's point adds nothing to the result.
pub(crate) fn agree(secret: &Secret<32>, public: &[u8; 32]) -> Result<Secret<32>, Error> {
    let shared = StaticSecret::from(*secret.expose()).diffie_hellman(&PublicKey::from(*public));
    if shared.was_contributory() {
        Ok(Secret::new(shared.to_bytes()))
    } else {
        Err(Error::BadKey)
    }
}
