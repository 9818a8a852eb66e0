//! Which time it is: by the own clock, or after the person has said that this one is wrong, by the
//! provider's, counted on (protocol.md §6).
//!
//! A document past its validity by the own clock is refused, so a wrong clock stops the client
//! until it is set right or the person says so here. Nothing else sets a client's time: a provider
//! that names a wrong one is told of, and moves nothing.

use std::time::Duration;

use whist_types::{Instant, Now, Wall};

use crate::limits::SKEW_MAX;

/// The provider's time as its last `HELLO` named it, if ours is another.
#[derive(Debug, Clone, Copy)]
struct Named {
    theirs: Wall,
    at: Instant,
    /// By so many seconds ours is ahead.
    ahead_s: i64,
}

/// The client's time.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The own clock as it was handed in last.
    own: Wall,
    named: Option<Named>,
    /// The time that counts in place of the own one, and when it was that.
    instead: Option<(Wall, Instant)>,
}

impl Clock {
    /// The time by which the client goes, from the one that was handed in.
    pub(super) fn read(&mut self, now: Now) -> Now {
        self.own = now.wall;
        self.corrected(now)
    }

    pub(super) fn corrected(&self, now: Now) -> Now {
        let wall = self
            .instead
            .map(|(wall, at)| wall.after(now.instant.since(at)));
        Now {
            wall: wall.unwrap_or(now.wall),
            ..now
        }
    }

    /// A provider names its time; by how many seconds ours is ahead, if it is off.
    pub(super) fn heard(&mut self, now: Instant, theirs: Wall) -> Option<i64> {
        // What was counted on must still be the provider's time: a machine that slept counts too
        // little. Else the person is asked again.
        let counted = self.instead.map(|(wall, at)| wall.after(now.since(at)));
        if counted.is_some_and(|counted| apart(counted, theirs) > SKEW_MAX) {
            self.instead = None;
        }
        if apart(self.own, theirs) <= SKEW_MAX {
            (self.named, self.instead) = (None, None);
            return None;
        }
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        let ahead_s =
            seconds(self.own.since(theirs)).saturating_sub(seconds(theirs.since(self.own)));
        self.named = Some(Named {
            theirs,
            at: now,
            ahead_s,
        });
        Some(ahead_s)
    }

    /// By how many seconds the own clock is ahead of the provider's, if it is off.
    pub(super) fn ahead_s(&self) -> Option<i64> {
        self.named.map(|named| named.ahead_s)
    }

    /// Whether another time than the own clock's counts.
    pub(super) const fn is_corrected(&self) -> bool {
        self.instead.is_some()
    }

    /// The person says that the own clock is wrong; false if it is not off. No time before `least`
    /// is believed: what a quorum signed was signed by then.
    pub(super) fn confirm(&mut self, now: Instant, least: Option<Wall>) -> bool {
        let Some(named) = self.named else {
            return false;
        };
        let theirs = named.theirs.after(now.since(named.at));
        self.instead = Some((least.map_or(theirs, |least| theirs.max(least)), now));
        true
    }
}

/// How far apart two times are.
fn apart(a: Wall, b: Wall) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "times of tests")]
mod tests {
    use super::*;

    fn now(second: u64, own_s: u64) -> Now {
        Now {
            instant: Instant::ZERO.after(Duration::from_secs(second)),
            wall: Wall::from_secs(own_s),
        }
    }

    fn heard(clock: &mut Clock, now: Now, theirs_s: u64) -> Option<i64> {
        clock.read(now);
        clock.heard(now.instant, Wall::from_secs(theirs_s))
    }

    #[test]
    fn nobody_but_the_person_moves_the_clock_and_then_it_is_counted_on() {
        let mut clock = Clock::default();
        assert!(!clock.confirm(Instant::ZERO, None), "nothing is off");
        assert_eq!(heard(&mut clock, now(0, 9_000), 1_000), Some(8_000));
        assert_eq!(clock.read(now(1, 9_001)).wall, Wall::from_secs(9_001));
        assert!(clock.confirm(now(2, 9_002).instant, None));
        // However the own clock jumps.
        assert_eq!(clock.read(now(12, 70_000)).wall, Wall::from_secs(1_012));
        assert_eq!(heard(&mut clock, now(20, 9_020), 1_030), Some(7_990));
        assert!(clock.is_corrected());
    }

    #[test]
    fn a_clock_that_is_right_counts_again_and_a_third_time_is_not_followed() {
        let mut clock = Clock::default();
        heard(&mut clock, now(0, 9_000), 1_000);
        clock.confirm(now(0, 9_000).instant, None);
        assert_eq!(heard(&mut clock, now(10, 1_011), 1_010), None);
        assert_eq!(clock.read(now(11, 1_012)).wall, Wall::from_secs(1_012));
        heard(&mut clock, now(20, 9_000), 1_020);
        clock.confirm(now(20, 9_000).instant, None);
        assert_eq!(heard(&mut clock, now(30, 9_010), 5_000), Some(4_010));
        assert!(!clock.is_corrected(), "the person is asked again");
    }

    #[test]
    fn no_time_is_believed_that_lies_before_what_a_quorum_signed() {
        let mut clock = Clock::default();
        heard(&mut clock, now(0, 9_000), 1_000);
        clock.confirm(now(0, 9_000).instant, Some(Wall::from_secs(4_000)));
        assert_eq!(clock.read(now(5, 9_005)).wall, Wall::from_secs(4_005));
    }
}
