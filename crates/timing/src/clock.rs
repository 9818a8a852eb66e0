//! A Poisson process in time.

use rand_core::CryptoRng;
use whist_types::Instant;

use crate::{Rate, exponential};

/// Events whose gaps are exponential and independent of everything else.
///
/// The owner fires at [`next`](Self::next) and then calls [`advance`](Self::advance); it does so
/// whatever else happened. Gaps are counted from event to event, not from the moment at which the
/// owner woke up, so a late timer does not bend the law.
#[derive(Debug, Clone)]
pub struct PoissonClock {
    rate: Rate,
    next: Instant,
}

impl PoissonClock {
    /// A clock whose first event comes one exponential gap after `start`.
    pub fn new(rate: Rate, start: Instant, rng: &mut impl CryptoRng) -> Self {
        Self {
            rate,
            next: start.after(exponential(rate.mean(), rng)),
        }
    }

    /// When the next event is.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// Whether the next event is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Moves to the event after the next.
    pub fn advance(&mut self, rng: &mut impl CryptoRng) {
        self.next = self.next.after(exponential(self.rate.mean(), rng));
    }

    /// After a pause (a suspended machine, a link that was down): drops the events that were
    /// missed, so that they do not come out in a burst. The gap from `now` is exponential again.
    /// Without a missed event nothing changes and nothing is drawn.
    pub fn resume(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        if self.next < now {
            self.next = now.after(exponential(self.rate.mean(), rng));
        }
    }

    /// The rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Changes the rate from `now` on; the gap from `now` is drawn anew under the new rate.
    pub fn set_rate(&mut self, rate: Rate, now: Instant, rng: &mut impl CryptoRng) {
        if rate != self.rate {
            *self = Self::new(rate, now, rng);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_core::SeedableRng;

    use super::*;
    use crate::Rng;

    #[test]
    fn a_clock_that_slept_does_not_catch_up_in_a_burst() {
        let mut rng = Rng::seed_from_u64(1);
        let rate = Rate::per_second(10.0).unwrap();
        let mut clock = PoissonClock::new(rate, Instant::ZERO, &mut rng);
        let woke = Instant::ZERO.after(Duration::from_secs(3600));
        clock.resume(woke, &mut rng);
        assert!(clock.next() > woke);
        let unchanged = clock.next();
        clock.resume(woke, &mut rng);
        assert_eq!(clock.next(), unchanged);
    }

    #[test]
    fn the_same_rate_set_again_draws_nothing() {
        let mut rng = Rng::seed_from_u64(1);
        let rate = Rate::per_second(10.0).unwrap();
        let mut clock = PoissonClock::new(rate, Instant::ZERO, &mut rng);
        let next = clock.next();
        clock.set_rate(rate, Instant::from_nanos(5), &mut rng);
        assert_eq!(clock.next(), next);
        assert!(!clock.is_due(Instant::ZERO) && clock.is_due(next));
    }
}
