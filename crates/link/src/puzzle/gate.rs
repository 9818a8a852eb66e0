//! The server's side: what it asks, and what it takes.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use subtle::ConstantTimeEq;
use whist_types::{Secret, Wall, Writer};

use super::{Challenge, Memory, SALT_BYTES, Solution, Source, copy_into};
use crate::limits;

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

const fn minute(now: Wall) -> u64 {
    now.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

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
}
