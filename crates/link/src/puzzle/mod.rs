//! What a server under load asks before any key work (protocol.md §2).
//!
//! The server answers a ClientHello with a [`Challenge`] in clear and closes; the client solves it
//! (that is CPU work, outside the state machine), dials again and sends the [`Solution`] before its
//! ClientHello. The first byte tells both from TLS, whose records begin with 20 to 23.
//!
//! The salt is a keyed hash of source, minute and effort: the server keeps nothing for a challenge.
//! A solution counts once, from the source that was asked, until its salt expires.

mod gate;
mod load;

use std::net::IpAddr;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand_core::CryptoRng;
use whist_types::Reader;

pub use gate::{Gate, Refusal};
pub use load::Load;

use crate::{Malformed, limits};

/// First byte of a challenge and of a solution. No TLS record begins with it.
pub(crate) const VERSION: u8 = 1;

const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 16;

/// Whom a challenge is for: a network address, or nobody in particular.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source([u8; 16]);

impl Source {
    /// Peers whose address says nothing: those that come by an onion service.
    pub const UNKNOWN: Self = Self([0; 16]);

    /// The source of an address: all of IPv4, the /64 network of IPv6 (one host has all of it).
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => Self(v4.to_ipv6_mapped().octets()),
                None => Self((u128::from_be_bytes(v6.octets()) >> 64 << 64).to_be_bytes()),
            },
        }
    }
}

/// What the server asks for, 48 bytes in clear.
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 1 | effort | zero bits wanted, 1 to 16 |
/// | 2 | 14 | zero | |
/// | 16 | 32 | salt | keyed by source, minute and effort |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    effort: u8,
    salt: [u8; SALT_BYTES],
}

/// What the client comes back with, 64 bytes in clear before its ClientHello.
///
/// | offset | size | field | |
/// |---|---|---|---|
/// | 0 | 1 | version | 1 |
/// | 1 | 1 | effort | the challenge's |
/// | 2 | 14 | zero | |
/// | 16 | 32 | salt | the challenge's |
/// | 48 | 16 | nonce | found |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solution {
    challenge: Challenge,
    nonce: [u8; NONCE_BYTES],
}

const _: () = assert!(Challenge::BYTES == 1 + 1 + 14 + SALT_BYTES);
const _: () = assert!(Solution::BYTES == Challenge::BYTES + NONCE_BYTES);

impl Challenge {
    /// Bytes on the wire.
    pub const BYTES: usize = 48;

    /// Zero bits wanted: 2^effort evaluations on average.
    pub const fn effort(&self) -> u8 {
        self.effort
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        copy_into(&mut bytes, &[&[VERSION, self.effort], &[0; 14], &self.salt]);
        bytes
    }

    /// Reads a challenge.
    ///
    /// # Errors
    /// Another version, non-zero padding, an effort above what anybody should spend.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(bytes))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (version, effort) = (r.u8()?, r.u8()?);
        if r.array::<14>()? != [0; 14] {
            return Err(Malformed::Padding);
        }
        if version != VERSION || effort == 0 || effort > limits::EFFORT_MAX {
            return Err(Malformed::Field);
        }
        Ok(Self {
            effort,
            salt: r.array()?,
        })
    }

    /// Searches for a solution with at most `evaluations` of Argon2id (2^effort on average). Call
    /// it again, from a thread that may block, until it is found or no longer wanted: an evaluation
    /// with its filter takes about 0.25 ms.
    pub fn solve(&self, evaluations: u32, rng: &mut impl CryptoRng) -> Option<Solution> {
        let mut memory = Memory::new();
        let mut start = [0; NONCE_BYTES];
        rng.fill_bytes(&mut start);
        let mut counter = u128::from_be_bytes(start);
        for _ in 0..evaluations {
            let nonce = loop {
                counter = counter.wrapping_add(1);
                let nonce = counter.to_be_bytes();
                if self.passes_filter(&nonce) {
                    break nonce;
                }
            };
            if self.is_solved_by(&nonce, &mut memory) {
                return Some(Solution {
                    challenge: *self,
                    nonce,
                });
            }
        }
        None
    }

    fn passes_filter(&self, nonce: &[u8; NONCE_BYTES]) -> bool {
        let mut input = [0; SALT_BYTES + NONCE_BYTES];
        copy_into(&mut input, &[&self.salt, nonce]);
        zero_bits(blake3::hash(&input).as_bytes()) >= limits::PUZZLE_FILTER_BITS
    }

    fn is_solved_by(&self, nonce: &[u8; NONCE_BYTES], memory: &mut Memory) -> bool {
        memory
            .hash(nonce, &self.salt)
            .is_some_and(|hash| zero_bits(&hash) >= u32::from(self.effort))
    }
}

impl Solution {
    /// Bytes on the wire.
    pub const BYTES: usize = 64;

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        copy_into(&mut bytes, &[&self.challenge.to_bytes(), &self.nonce]);
        bytes
    }

    /// Reads a solution, without judging it.
    ///
    /// # Errors
    /// As [`Challenge::from_bytes`].
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            challenge: Challenge::read(&mut r)?,
            nonce: r.array()?,
        })
    }
}

/// Argon2id's memory, reused between evaluations.
struct Memory {
    blocks: Vec<Block>,
}

impl Memory {
    fn new() -> Self {
        let blocks = usize::try_from(limits::PUZZLE_MEMORY_KIB).unwrap_or(usize::MAX);
        Self {
            blocks: vec![Block::new(); blocks],
        }
    }

    fn hash(&mut self, nonce: &[u8], salt: &[u8]) -> Option<[u8; 32]> {
        let (memory, passes) = (limits::PUZZLE_MEMORY_KIB, limits::PUZZLE_PASSES);
        let params = Params::new(memory, passes, 1, Some(32)).ok()?;
        let mut hash = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(nonce, salt, &mut hash, &mut self.blocks)
            .ok()?;
        Some(hash)
    }
}

fn zero_bits(bytes: &[u8; 32]) -> u32 {
    let mut bits: u32 = 0;
    for byte in bytes {
        bits = bits.saturating_add(byte.leading_zeros());
        if *byte != 0 {
            break;
        }
    }
    bits
}

/// Fills `to` with the concatenation of `from`.
fn copy_into(to: &mut [u8], from: &[&[u8]]) {
    for (to, from) in to.iter_mut().zip(from.iter().copied().flatten()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_and_solution_survive_their_bytes_and_nothing_else_is_read() {
        let challenge = Challenge {
            effort: 7,
            salt: [8; SALT_BYTES],
        };
        let nonce = [9; NONCE_BYTES];
        let solution = Solution { challenge, nonce };
        let bytes = solution.to_bytes();
        assert_eq!(Solution::from_bytes(&bytes), Ok(solution));
        assert_eq!(
            Challenge::from_bytes(&solution.challenge.to_bytes()),
            Ok(solution.challenge)
        );
        for (at, value, error) in [
            (0, 2, Malformed::Field),
            (1, 0, Malformed::Field),
            (1, limits::EFFORT_MAX + 1, Malformed::Field),
            (2, 1, Malformed::Padding),
            (15, 1, Malformed::Padding),
        ] {
            let mut bad = bytes;
            bad[at] = value;
            assert_eq!(Solution::from_bytes(&bad), Err(error));
        }
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_source() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
