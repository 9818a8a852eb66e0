//! Time as the sans-IO roles see it: a value that the caller supplies.

use std::time::Duration;

/// Monotonic time: nanoseconds since an origin that the caller chose (process start, or the
/// simulator's zero). Never goes back, knows nothing of dates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// `ns` nanoseconds after the origin.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `duration`; stays at the end of time rather than wrap.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time: milliseconds since the Unix epoch. May jump; used for epochs and validity only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(u64);

impl Wall {
    /// `ms` milliseconds since the Unix epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// `secs` seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus `duration`, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// This time minus `duration`, saturating.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// Time from `earlier` to this; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks, read at one moment. Every `handle` takes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For timers.
    pub instant: Instant,
    /// For epochs and validity.
    pub wall: Wall,
}

impl Now {
    /// The instant at which the wall clock will show `wall`, if it does not jump; now, if it shows
    /// it or a later time already.
    ///
    /// The wall clock shows whole milliseconds, so the instant is counted from whole ones too:
    /// otherwise the deadline would carry the fraction of the moment at which it was computed,
    /// which is the arrival of whatever came first, out to where an observer sees it.
    pub fn instant_of(&self, wall: Wall) -> Instant {
        let wait = wall.since(self.wall);
        if wait.is_zero() {
            return self.instant;
        }
        let whole = self.instant.as_nanos() / 1_000_000;
        Instant::from_nanos(whole.saturating_mul(1_000_000)).after(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_saturate_instead_of_wrapping() {
        assert_eq!(
            Instant::from_nanos(u64::MAX)
                .after(Duration::from_secs(1))
                .as_nanos(),
            u64::MAX
        );
        assert_eq!(Instant::ZERO.since(Instant::from_nanos(5)), Duration::ZERO);
        assert_eq!(
            Wall::from_secs(1)
                .before(Duration::from_secs(5))
                .as_millis(),
            0
        );
    }

    #[test]
    fn a_wall_deadline_becomes_an_instant() {
        let now = Now {
            instant: Instant::from_nanos(7),
            wall: Wall::from_secs(100),
        };
        assert_eq!(
            now.instant_of(Wall::from_secs(101)).as_nanos(),
            1_000_000_000
        );
        assert_eq!(now.instant_of(Wall::from_secs(99)), now.instant);
    }

    #[test]
    fn a_wall_deadline_tells_nothing_of_the_moment_at_which_it_was_computed() {
        let at = |nanos, ms| Now {
            instant: Instant::from_nanos(nanos),
            wall: Wall::from_millis(ms),
        };
        let wall = Wall::from_millis(5_000);
        let early = at(1_250_000, 1).instant_of(wall);
        assert_eq!(early, at(7_999_999, 7).instant_of(wall));
    }
}
