//! The key with which a node authenticates its links.

use std::fmt;

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use whist_types::{LinkKey, Secret};

/// A node's Ed25519 secret for raw public keys. Zeroized on drop; prints `[redacted]`.
pub struct LinkIdentity {
    key: SigningKey,
}

impl LinkIdentity {
    /// A fresh identity.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_secret(&Secret::random(rng))
    }

    /// The identity with this seed.
    pub fn from_secret(secret: &Secret<32>) -> Self {
        Self {
            key: SigningKey::from_bytes(secret.expose()),
        }
    }

    /// The public half, as the consensus lists it.
    pub fn public(&self) -> LinkKey {
        LinkKey::from_bytes(self.key.verifying_key().to_bytes())
    }

    /// The seed, for the key file.
    pub fn expose(&self) -> Secret<32> {
        Secret::new(self.key.to_bytes())
    }

    /// The key itself: links sign with it, and so does a descriptor's second signature.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// A second copy, made on purpose.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            key: self.key.clone(),
        }
    }
}

impl fmt::Debug for LinkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
