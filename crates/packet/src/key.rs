//! A node's Sphinx key of one epoch.

use std::fmt;

use rand_core::CryptoRng;
use whist_types::{Secret, SphinxKey};
use x25519_dalek::{PublicKey, StaticSecret};

/// The secret half of a node's X25519 key for packets of one epoch. Zeroized on drop.
pub struct SphinxSecret(StaticSecret);

impl SphinxSecret {
    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(StaticSecret::random_from_rng(rng))
    }

    /// The key with these bytes, as [`SphinxSecret::expose`] gave them.
    pub fn from_secret(secret: &Secret<32>) -> Self {
        Self(StaticSecret::from(*secret.expose()))
    }

    /// The public half, as descriptors list it.
    pub fn public(&self) -> SphinxKey {
        SphinxKey::from_bytes(PublicKey::from(&self.0).to_bytes())
    }

    /// The bytes, to be sealed on disk before the key enters service.
    pub fn expose(&self) -> Secret<32> {
        Secret::new(self.0.to_bytes())
    }

    pub(crate) const fn inner(&self) -> &StaticSecret {
        &self.0
    }
}

impl fmt::Debug for SphinxSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_nothing_of_itself_and_survives_its_bytes() {
        let key = SphinxSecret::from_secret(&Secret::new([7; 32]));
        assert_eq!(format!("{key:?}"), "[redacted]");
        assert_eq!(
            SphinxSecret::from_secret(&key.expose()).public(),
            key.public()
        );
    }

    #[test]
    fn every_listed_point_gives_the_zero_secret_with_either_top_bit() {
        let secret = StaticSecret::from([0x5a; 32]);
        for point in SphinxKey::SMALL_ORDER {
            for top in [0, 0x80] {
                let mut twin = point.to_bytes();
                twin[31] |= top;
                let shared = secret.diffie_hellman(&PublicKey::from(twin));
                assert!(!shared.was_contributory(), "{twin:02x?}");
            }
        }
    }
}
