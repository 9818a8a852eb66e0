//! What a server under load asks before any key work (protocol.md §2).
//!
//! The server answers a ClientHello with a [`Challenge`] in clear and closes; the client solves it
//! (that is CPU work, outside the state machine), dials again and sends the [`Solution`] before its
//! ClientHello. The first byte tells both from TLS, whose records begin with 20 to 23.
//!
//! The salt is a keyed hash of source, minute and effort: the server keeps nothing for a challenge.
//! A solution counts once, from the source that was asked, until its salt expires.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use whist_types::{Reader, Secret, Wall, Writer};

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
    /// takes about 0.5 ms.
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

/// Why a solution was refused. The peer sees silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Never asked of this source, or too long ago.
    #[error("a salt of another source or time")]
    Salt,
    /// Not a solution.
    #[error("not a solution")]
    Work,
    /// Used before.
    #[error("used before")]
    Spent,
    /// More solutions in this minute than are remembered.
    #[error("too many solutions in this minute")]
    Full,
}

/// The server's side: one for each listener, shared by its connections.
#[derive(Debug)]
pub struct Gate {
    secret: Secret<32>,
    spent: Mutex<Spent>,
}

/// What was presented, by the minute of its salt.
#[derive(Debug, Default)]
struct Spent {
    minutes: Vec<(u64, HashSet<[u8; 16]>)>,
}

impl Gate {
    /// A gate with a secret of its own, drawn at start.
    pub fn new(secret: Secret<32>) -> Self {
        Self {
            secret,
            spent: Mutex::default(),
        }
    }

    /// Asks `source` for `effort`, which is held to the limits. Keeps nothing.
    pub fn challenge(&self, now: Wall, source: Source, effort: u8) -> Challenge {
        let effort = effort.clamp(limits::EFFORT_MIN, limits::EFFORT_MAX);
        Challenge {
            effort,
            salt: self.salt(minute(now), source, effort),
        }
    }

    /// Judges what `source` came back with. The cheap checks come first.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn check(&self, now: Wall, source: Source, solution: &Solution) -> Result<(), Refusal> {
        let Solution { challenge, nonce } = solution;
        let current = minute(now);
        let issued = (current.saturating_sub(limits::SALT_MINUTES)..=current)
            .rev()
            .find(|&minute| {
                let salt = self.salt(minute, source, challenge.effort);
                bool::from(salt.ct_eq(&challenge.salt))
            })
            .ok_or(Refusal::Salt)?;
        if !challenge.passes_filter(nonce) {
            return Err(Refusal::Work);
        }
        // Entered before it is evaluated, so that one bad nonce is evaluated once.
        self.spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .enter(current, issued, self.tag(solution))?;
        if challenge.is_solved_by(nonce, &mut Memory::new()) {
            Ok(())
        } else {
            Err(Refusal::Work)
        }
    }

    fn salt(&self, minute: u64, source: Source, effort: u8) -> [u8; SALT_BYTES] {
        let mut w = Writer::new();
        w.put(b"whist 2026 puzzle salt v1").u64(minute);
        w.put(&source.0).u8(effort);
        *blake3::keyed_hash(self.secret.expose(), &w.into_bytes()).as_bytes()
    }

    fn tag(&self, solution: &Solution) -> [u8; 16] {
        let mut w = Writer::new();
        w.put(b"whist 2026 puzzle spent v1");
        w.put(&solution.to_bytes());
        let hash = blake3::keyed_hash(self.secret.expose(), &w.into_bytes());
        let mut tag = [0; 16];
        copy_into(&mut tag, &[hash.as_slice()]);
        tag
    }
}

impl Spent {
    fn enter(&mut self, current: u64, issued: u64, tag: [u8; 16]) -> Result<(), Refusal> {
        let oldest = current.saturating_sub(limits::SALT_MINUTES);
        self.minutes
            .retain(|(minute, _)| (oldest..=current).contains(minute));
        let at = self.minutes.iter().position(|(m, _)| *m == issued);
        let at = at.unwrap_or_else(|| {
            self.minutes.push((issued, HashSet::new()));
            self.minutes.len().saturating_sub(1)
        });
        let Some((_, tags)) = self.minutes.get_mut(at) else {
            return Err(Refusal::Full);
        };
        if tags.contains(&tag) {
            return Err(Refusal::Spent);
        }
        if tags.len() >= limits::SPENT_MAX {
            return Err(Refusal::Full);
        }
        tags.insert(tag);
        Ok(())
    }
}

/// What a listener asks for at the moment, by the handshakes that came lately.
///
/// A leaky bucket: each handshake adds one, `per_second` leak away. While it holds no more than one
/// second's worth, nothing is asked. Beyond, each doubling of what it holds asks one bit more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Load {
    per_second: u32,
    held_us: u64,
    at: whist_types::Instant,
}

impl Load {
    /// A listener that can afford `per_second` handshakes.
    pub const fn new(per_second: u32) -> Self {
        Self {
            per_second: if per_second == 0 { 1 } else { per_second },
            held_us: 0,
            at: whist_types::Instant::ZERO,
        }
    }

    /// A peer came: the effort to ask it for, if any.
    pub fn arrived(&mut self, now: whist_types::Instant) -> Option<u8> {
        // The bucket is kept as the time that it takes to leak empty.
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let one = 1_000_000_u64
            .checked_div(u64::from(self.per_second))
            .unwrap_or(1)
            .max(1);
        // However long a flood was, it is forgiven a quarter of an hour after its end.
        self.held_us = self
            .held_us
            .saturating_sub(passed)
            .saturating_add(one)
            .min(900_000_000);
        self.at = now;
        let seconds = self.held_us / 1_000_000;
        let doublings = u8::try_from(seconds.checked_ilog2()?).unwrap_or(u8::MAX);
        Some(
            limits::EFFORT_MIN
                .saturating_add(doublings)
                .min(limits::EFFORT_MAX),
        )
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

const fn minute(now: Wall) -> u64 {
    now.as_secs() / 60
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
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;
    use whist_types::Instant;

    use super::*;

    const NOW: Wall = Wall::from_secs(1_800_000_000);

    fn source(last: u8) -> Source {
        Source::of(IpAddr::from([192, 0, 2, last]))
    }

    fn gate() -> Gate {
        Gate::new(Secret::new([5; 32]))
    }

    fn solved(gate: &Gate) -> Solution {
        let challenge = gate.challenge(NOW, source(1), 0);
        assert_eq!(challenge.effort(), limits::EFFORT_MIN);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        challenge.solve(10_000, &mut rng).unwrap()
    }

    #[test]
    fn a_solution_counts_once_from_its_source_until_its_salt_expires() {
        let gate = gate();
        let solution = solved(&gate);
        let late = Wall::from_secs(NOW.as_secs() + 60 * (limits::SALT_MINUTES + 1));
        let before = Wall::from_secs(NOW.as_secs() - 60);
        for (now, from) in [(late, 1), (before, 1), (NOW, 2)] {
            assert_eq!(gate.check(now, source(from), &solution), Err(Refusal::Salt));
        }
        let in_time = Wall::from_secs(NOW.as_secs() + 60 * limits::SALT_MINUTES);
        assert_eq!(gate.check(in_time, source(1), &solution), Ok(()));
        assert_eq!(
            gate.check(in_time, source(1), &solution),
            Err(Refusal::Spent)
        );
    }

    #[test]
    fn a_solution_of_another_gate_nonce_or_effort_is_refused() {
        let gate = gate();
        let solution = solved(&gate);
        let other = Gate::new(Secret::new([6; 32]));
        assert_eq!(other.check(NOW, source(1), &solution), Err(Refusal::Salt));
        let mut wrong = solution;
        wrong.nonce[0] ^= 1;
        assert_eq!(gate.check(NOW, source(1), &wrong), Err(Refusal::Work));
        let mut less = solution;
        less.challenge.effort = 1;
        assert_eq!(gate.check(NOW, source(1), &less), Err(Refusal::Salt));
    }

    #[test]
    fn a_nonce_that_passes_the_filter_alone_is_evaluated_once() {
        let gate = gate();
        let challenge = gate.challenge(NOW, source(1), limits::EFFORT_MAX);
        let mut memory = Memory::new();
        let nonce = (0_u128..)
            .map(u128::to_be_bytes)
            .find(|n| challenge.passes_filter(n) && !challenge.is_solved_by(n, &mut memory))
            .unwrap();
        let garbage = Solution { challenge, nonce };
        assert_eq!(gate.check(NOW, source(1), &garbage), Err(Refusal::Work));
        assert_eq!(gate.check(NOW, source(1), &garbage), Err(Refusal::Spent));
    }

    #[test]
    fn memory_of_solutions_is_bounded_and_forgets_old_minutes() {
        let mut spent = Spent::default();
        for i in 0..limits::SPENT_MAX {
            let tag = u128::try_from(i).unwrap().to_be_bytes();
            assert_eq!(spent.enter(10, 10, tag), Ok(()));
        }
        assert_eq!(spent.enter(10, 10, [0xff; 16]), Err(Refusal::Full));
        assert_eq!(spent.enter(20, 20, [0xff; 16]), Ok(()));
        assert_eq!(spent.minutes.len(), 1);
    }

    #[test]
    fn challenge_and_solution_survive_their_bytes_and_nothing_else_is_read() {
        let solution = solved(&gate());
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

    #[test]
    fn effort_rises_with_the_flood_and_falls_after_it() {
        let mut load = Load::new(100);
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        // 50 a second for ten seconds: nothing is asked.
        assert!((0..500).all(|i| load.arrived(at(i * 20)).is_none()));
        // 1,000 a second for ten seconds.
        let flood: Vec<_> = (0..10_000).map(|i| load.arrived(at(10_000 + i))).collect();
        assert_eq!(flood.iter().flatten().next(), Some(&limits::EFFORT_MIN));
        assert!(*flood.last().unwrap() > Some(limits::EFFORT_MIN + 5));
        assert_eq!(load.arrived(at(200_000)), None);
    }
}
