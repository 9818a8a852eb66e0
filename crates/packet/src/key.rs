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

/// The X25519 public values of small order, bit 255 cleared: multiplied by any clamped secret
/// they give zero, so that everybody knows the "shared" secret (RFC 7748 §6.1; the list is that of
/// Bernstein's curve25519 page, non-canonical forms included).
const SMALL_ORDER: [[u8; 32]; 7] = [
    u256(0, 0),
    u256(1, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    // p - 1, p and p + 1 with p = 2^255 - 19.
    u256(0xec, 0xff),
    u256(0xed, 0xff),
    u256(0xee, 0xff),
];

/// A little-endian number of 255 bits: the lowest byte, and what fills the rest.
const fn u256(low: u8, fill: u8) -> [u8; 32] {
    let mut bytes = [fill; 32];
    if let Some((first, rest)) = bytes.split_first_mut() {
        *first = low;
        if let Some(last) = rest.last_mut() {
            *last = fill & 0x7f;
        }
    }
    bytes
}

/// Whether a public value gives the zero secret with every key.
pub(crate) fn is_small_order(point: &[u8; 32]) -> bool {
    let mut masked = *point;
    if let Some(last) = masked.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&masked)
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
        for point in SMALL_ORDER {
            for top in [0, 0x80] {
                let mut twin = point;
                twin[31] |= top;
                assert!(is_small_order(&twin));
                let shared = secret.diffie_hellman(&PublicKey::from(twin));
                assert!(!shared.was_contributory(), "{twin:02x?}");
            }
        }
        assert!(!is_small_order(&[9; 32]));
    }
}
