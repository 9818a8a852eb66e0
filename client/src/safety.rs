//! What two people compare: the safety number, by Signal's algorithm for numeric fingerprints.
//!
//! Each side's half is SHA-512, 5,200 times over, of version, identity key and identifier, whose
//! first 30 bytes give six groups of five digits; the two halves stand in ascending order, so that
//! both sides see the same number. Here the identifier is the 32-byte identity key itself: a client
//! has no phone number and no name. (Signal, libsignal `fingerprint.rs`, version 0.)

use sha2::{Digest as _, Sha512};
use whist_ratchet::PersonKey;

// From the specification.

const VERSION: [u8; 2] = [0, 0];
const ROUNDS: u32 = 5_200;
const GROUPS: usize = 6;
const GROUP_BYTES: usize = 5;
/// Digits of a safety number.
pub const DIGITS: usize = 60;
const _: () = assert!(DIGITS == 2 * GROUPS * 5);

/// The safety number of two people, the same for both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SafetyNumber(String);

impl SafetyNumber {
    /// The number of these two.
    pub fn of(one: &PersonKey, other: &PersonKey) -> Self {
        let half = |key: &PersonKey| digits(&half(key.as_bytes(), key.as_bytes()));
        Self::from_halves(half(one), half(other))
    }

    fn from_halves(one: String, other: String) -> Self {
        let (first, second) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        Self(first + &second)
    }

    /// The 60 digits.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether somebody typed or read out this number; spaces between digits do not count.
    pub fn is(&self, typed: &str) -> bool {
        let mut typed = typed.chars().filter(|c| !c.is_whitespace());
        let same = self.0.chars().all(|digit| typed.next() == Some(digit));
        same && typed.next().is_none()
    }
}

impl std::fmt::Display for SafetyNumber {
    /// Twelve groups of five.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, digit) in self.0.chars().enumerate() {
            if place > 0 && place.is_multiple_of(5) {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// One side's half: the first 32 bytes of the last hash.
fn half(key: &[u8], identifier: &[u8]) -> [u8; 32] {
    let mut hash = Sha512::new()
        .chain_update(VERSION)
        .chain_update(key)
        .chain_update(identifier)
        .chain_update(key)
        .finalize();
    for _ in 1..ROUNDS {
        hash = Sha512::new()
            .chain_update(hash)
            .chain_update(key)
            .finalize();
    }
    let mut half = [0; 32];
    half.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    half
}

/// Six groups: five bytes, big-endian, modulo 100,000.
fn digits(half: &[u8; 32]) -> String {
    let groups = half.chunks_exact(GROUP_BYTES).take(GROUPS);
    groups
        .map(|group| {
            let wide = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
            let value = group.iter().fold(0, wide);
            format!("{:05}", value % 100_000)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    fn published() -> Value {
        serde_json::from_str(include_str!("../vectors/safety-number.json")).unwrap()
    }

    /// A half of the published values: their keys carry a type byte, their identifiers are phone
    /// numbers.
    fn published_half(who: &str) -> [u8; 32] {
        let values = published();
        let field = |name: &str| values[who][name].as_str().unwrap().to_owned();
        let key = HEXLOWER.decode(field("identity").as_bytes()).unwrap();
        half(&key, field("identifier").as_bytes())
    }

    #[test]
    fn the_published_values_come_out_with_their_own_identifiers() {
        let values = published();
        for who in ["alice", "bob"] {
            let expected = values[format!("half_{who}")].as_str().unwrap();
            assert_eq!(HEXLOWER.encode(&published_half(who)), expected);
        }
        let [alice, bob] = ["alice", "bob"].map(|who| digits(&published_half(who)));
        let number = SafetyNumber::from_halves(bob.clone(), alice.clone());
        assert_eq!(number.digits(), values["displayed"].as_str().unwrap());
        assert_eq!(number, SafetyNumber::from_halves(alice, bob));
    }

    #[test]
    fn both_sides_see_one_number_and_another_key_gives_another() {
        let key = |seed| {
            let secret = whist_types::Secret::new([seed; 32]);
            whist_ratchet::IdentitySecret::from_seed(secret).public()
        };
        let number = SafetyNumber::of(&key(1), &key(2));
        assert_eq!(number, SafetyNumber::of(&key(2), &key(1)));
        assert_ne!(number, SafetyNumber::of(&key(1), &key(3)));
        assert_eq!(number.digits().len(), DIGITS);
        assert!(number.is(&number.to_string()) && number.is(number.digits()));
        assert!(!number.is(&number.digits()[1..]) && !number.is(&format!("{number}0")));
        assert!(!number.is(""));
    }
}
