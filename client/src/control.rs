//! A client that breaks the rule of the send clock, for experiments only (feature `control`): the
//! tests that show the rule must fail on it.

use whist_types::Instant;

use crate::emission::{Class, Emission, Law, Tick};

/// How the test-only client breaks the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It skips one tick when this many requests wait.
    SkipWhenFull {
        /// So many.
        waiting: usize,
    },
    /// It makes a tick of class `Send` at once when something waits.
    SendAtOnce,
}

/// [`Emission::take`], with the fault.
pub fn take(
    emission: &mut Emission,
    fault: Option<Misbehaviour>,
    now: Instant,
    law: &Law,
    waiting: usize,
) -> Option<Tick> {
    match fault {
        Some(Misbehaviour::SkipWhenFull { waiting: full }) => {
            let tick = emission.take(now, law)?;
            if waiting < full || tick.number % 2 == 0 {
                return Some(tick);
            }
            None
        }
        Some(Misbehaviour::SendAtOnce) if waiting > 0 => {
            let mut tick = emission.advance_to(now, law)?;
            tick.class = Class::Send;
            Some(tick)
        }
        _ => emission.take(now, law),
    }
}
