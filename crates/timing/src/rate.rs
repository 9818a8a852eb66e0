//! How often something happens, as a value that cannot be nonsense.

use std::time::Duration;

/// The rate is zero, negative, infinite, not a number, or so far off that its mean interval is no
/// time at all or no time that a clock can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rate: it must be above zero and finite")]
pub struct InvalidRate;

/// Events per time. Its mean interval is at least a nanosecond and finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    mean: Duration,
}

impl Rate {
    /// `events` a second.
    pub fn per_second(events: f64) -> Result<Self, InvalidRate> {
        // Written so that NaN fails it.
        if !(events > 0.0 && events.is_finite()) {
            return Err(InvalidRate);
        }
        let mean = Duration::try_from_secs_f64(events.recip()).map_err(|_| InvalidRate)?;
        Self::per_interval(mean)
    }

    /// One event an interval of this mean.
    pub const fn per_interval(mean: Duration) -> Result<Self, InvalidRate> {
        if mean.is_zero() {
            return Err(InvalidRate);
        }
        Ok(Self { mean })
    }

    /// `factor` times this rate.
    pub fn times(self, factor: f64) -> Result<Self, InvalidRate> {
        Self::per_second(self.events_per_second() * factor)
    }

    /// The mean interval between two events.
    pub const fn mean(self) -> Duration {
        self.mean
    }

    /// Events a second.
    pub fn events_per_second(self) -> f64 {
        self.mean.as_secs_f64().recip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_rate_is_refused_and_never_becomes_a_delay_of_zero() {
        for events in [
            0.0,
            -0.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            1e12,
        ] {
            assert_eq!(Rate::per_second(events), Err(InvalidRate), "{events}");
        }
        assert_eq!(Rate::per_interval(Duration::ZERO), Err(InvalidRate));
        let rate = Rate::per_second(5.0).unwrap();
        for factor in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(rate.times(factor), Err(InvalidRate), "{factor}");
        }
    }

    #[test]
    fn a_rate_is_the_inverse_of_its_mean() {
        let rate = Rate::per_second(4.0).unwrap();
        assert_eq!(rate.mean(), Duration::from_millis(250));
        assert_eq!(
            rate.times(2.0).map(Rate::mean),
            Ok(Duration::from_millis(125))
        );
        assert_eq!(Rate::per_interval(Duration::from_millis(250)), Ok(rate));
    }
}
