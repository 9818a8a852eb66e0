//! The clocks and the operating system's randomness, read here and nowhere else.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRng;
use rand::rngs::SysRng;
use whist_types::{Instant, Now, Secret, Wall};

use crate::RtError;

/// The system's wall clock counts as set, by hand or by a sleep of the machine, when it is this far
/// from what the monotonic clock makes of its last reading. Corrections by NTP run both clocks
/// faster or slower alike and stay below; epochs and their windows are seconds at least.
const STEP_MS: u64 = 50;
/// The two clocks are read one after the other. When more than this passed between, the machine did
/// something else meanwhile, and the pair says nothing.
const APART: Duration = Duration::from_millis(1);
/// Pairs read before the last good one is taken for good: a loaded machine has its turns.
const PAIRS: usize = 4;

/// Both clocks of a process. Copies share the origin, so instants of one process compare.
///
/// The wall half is anchored to the monotonic one: its milliseconds change with the whole
/// milliseconds of the instant, so that a deadline that is computed from a wall time
/// ([`Now::instant_of`]) is the same instant whenever it is computed. Read apart, each deadline
/// would carry the phase of two unrelated clocks. Timers go by the instant alone; when the clock of
/// the system is set, the wall half follows at its next reading, and with it all that goes by
/// epochs.
///
/// The monotonic half is tokio's, so that a test with paused time sees deadlines fire at once.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
    anchor: &'static Anchor,
}

/// Milliseconds from the origin of the instants to that of the wall, as last read. One is made for
/// each process and lives as long.
#[derive(Debug)]
struct Anchor(AtomicI64);

impl Anchor {
    fn new(ran_ms: u64, system: Wall) -> Self {
        Self(AtomicI64::new(between(ran_ms, system)))
    }

    /// The wall time `ran_ms` after the origin, and by how much it was set if it was.
    fn wall(&self, ran_ms: u64, system: Wall) -> (Wall, Option<i64>) {
        let offset = self.0.load(Ordering::Relaxed);
        let step = between(ran_ms, system).saturating_sub(offset);
        if step.unsigned_abs() <= STEP_MS {
            return (self.kept(ran_ms), None);
        }
        self.0.store(offset.saturating_add(step), Ordering::Relaxed);
        (self.kept(ran_ms), Some(step))
    }

    /// The wall time without a look at the system's clock.
    fn kept(&self, ran_ms: u64) -> Wall {
        let offset = self.0.load(Ordering::Relaxed);
        Wall::from_millis(ran_ms.saturating_add_signed(offset))
    }
}

fn between(ran_ms: u64, system: Wall) -> i64 {
    let of = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    of(system.as_millis()).saturating_sub(of(ran_ms))
}

impl Clock {
    /// A clock whose instants count from this moment.
    pub fn start() -> Self {
        let origin = tokio::time::Instant::now();
        Self {
            origin,
            anchor: Box::leak(Box::new(Anchor::new(0, wall()))),
        }
    }

    /// Both clocks, read now.
    pub fn now(&self) -> Now {
        let mut elapsed = self.elapsed();
        for _ in 0..PAIRS {
            let system = wall();
            let after = self.elapsed();
            if after.saturating_sub(elapsed) <= APART {
                let (wall, step) = self.anchor.wall(whole_ms(after), system);
                if let Some(step) = step {
                    tracing::warn!("the system's clock was set by {} s", step / 1_000);
                }
                let instant = Instant::ZERO.after(after);
                return Now { instant, wall };
            }
            elapsed = after;
        }
        Now {
            instant: Instant::ZERO.after(elapsed),
            wall: self.anchor.kept(whole_ms(elapsed)),
        }
    }

    fn elapsed(&self) -> Duration {
        tokio::time::Instant::now().saturating_duration_since(self.origin)
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

fn whole_ms(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
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
#[allow(clippy::arithmetic_side_effects)]
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

    /// What both clocks show `micros` after the origin, the wall's phase being 0.7 ms ahead.
    fn read(anchor: &Anchor, micros: u64, set_ms: i64) -> (Now, Option<i64>) {
        let system = (1_000_000_700 + micros) / 1_000;
        let system = Wall::from_millis(system.saturating_add_signed(set_ms));
        let (wall, step) = anchor.wall(micros / 1_000, system);
        let instant = Instant::from_nanos(micros * 1_000);
        (Now { instant, wall }, step)
    }

    #[test]
    fn a_deadline_by_the_wall_is_one_instant_whenever_it_is_computed() {
        let anchor = Anchor::new(0, Wall::from_millis(1_000_000));
        let due = Wall::from_millis(1_060_000);
        for micros in (0..50_000_000).step_by(7_919) {
            let (now, step) = read(&anchor, micros, 0);
            assert_eq!(step, None);
            assert_eq!(now.instant_of(due), Instant::from_nanos(60_000_000_000));
        }
        // Readings of clocks that are not anchored carry the phase between them.
        let phase = |micros: u64| {
            let wall = Wall::from_millis((1_000_000_700 + micros) / 1_000);
            let instant = Instant::from_nanos(micros * 1_000);
            Now { instant, wall }.instant_of(due)
        };
        assert_ne!(phase(100), phase(400));
    }

    #[test]
    fn a_clock_that_is_set_either_way_is_followed_at_once_and_timers_do_not_notice() {
        let anchor = Anchor::new(0, Wall::from_millis(1_000_000));
        for (micros, set_ms) in [(1_000_000, 3_600_000), (2_000_000, -86_400), (3_000_000, 0)] {
            let (now, step) = read(&anchor, micros, set_ms);
            assert!(step.is_some());
            let off = i64::try_from(now.wall.as_millis()).unwrap() - set_ms;
            assert!((off - 1_000_000 - i64::try_from(micros / 1_000).unwrap()).abs() <= 1);
            assert_eq!(now.instant, Instant::from_nanos(micros * 1_000));
            let (_, again) = read(&anchor, micros + 500, set_ms);
            assert_eq!(again, None, "it is told once");
        }
        // Jitter of a reading is no step.
        assert_eq!(read(&anchor, 4_000_000, 40).1, None);
        assert_eq!(read(&anchor, 4_000_000, -40).1, None);
    }

    #[test]
    fn a_running_clock_shows_the_wall() {
        let clock = Clock::start();
        let (before, now, after) = (wall(), clock.now(), wall());
        let slack = Duration::from_millis(STEP_MS);
        assert!(now.wall >= before.before(slack) && now.wall <= after.after(slack));
        let copy = clock;
        assert!(copy.now().instant >= now.instant);
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
