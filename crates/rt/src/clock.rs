//! The clocks and the operating system's randomness, read here and nowhere else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRng;
use rand::rngs::SysRng;
use whist_types::{Instant, Now, Secret, Wall};

use crate::RtError;

/// Both clocks of a process. Copies share the origin, so instants of one process compare.
///
/// The monotonic half is tokio's, so that a test with paused time sees deadlines fire at once.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock whose instants count from this moment.
    pub fn start() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
        }
    }

    /// Both clocks, read now.
    pub fn now(&self) -> Now {
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.origin);
        Now {
            instant: Instant::ZERO.after(elapsed),
            wall: wall(),
        }
    }

    /// The moment in tokio's time at which this clock shows `instant`, or a day from now if that
    /// is nearer (timers are set anew when they fire, so far deadlines need no exactness).
    pub(crate) fn deadline(&self, instant: Instant) -> tokio::time::Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        let far = tokio::time::Instant::now()
            .checked_add(DAY)
            .unwrap_or(self.origin);
        self.origin
            .checked_add(Duration::from_nanos(instant.as_nanos()))
            .map_or(far, |at| at.min(far))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}

/// The wall clock; the Unix epoch itself on a machine whose clock stands before it.
pub fn wall() -> Wall {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A fresh seed from the operating system, from which a role's generator is made.
///
/// # Errors
/// If the operating system has no randomness to give: nothing may go on then.
pub fn seed() -> Result<Secret<32>, RtError> {
    let mut bytes = [0u8; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| RtError::NoRandomness)?;
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_reached_when_the_clock_shows_its_instant() {
        let clock = Clock::start();
        let at = clock.now().instant.after(Duration::from_millis(1500));
        tokio::time::sleep_until(clock.deadline(at)).await;
        assert_eq!(clock.now().instant, at);
    }

    #[test]
    fn a_deadline_at_the_end_of_time_is_a_day_away() {
        let clock = Clock::start();
        let far = clock.deadline(Instant::from_nanos(u64::MAX));
        let wait = far.saturating_duration_since(tokio::time::Instant::now());
        assert!(wait <= Duration::from_secs(86_400) && wait > Duration::from_secs(86_000));
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
