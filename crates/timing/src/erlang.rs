//! The law of a round trip: a sum of equal exponential delays.

use std::time::Duration;

use crate::exponential::scaled;

/// Halvings of the interval; after so many a double does not change any more.
const BISECTIONS: u32 = 200;

/// The `p` quantile of the sum of `stages` exponential delays of this mean (the Erlang law).
///
/// Computed from P(X > x) = e⁻ˣ Σ xⁱ/i!, i < `stages`, by bisection. A `p` at or below 0 gives
/// zero; one that is at or above 1, or not a number, counts as 1 − 1e-12 (the quantile at which
/// delays are capped). The fixed parts of a round trip are the caller's to add.
pub fn erlang_quantile(stages: u32, mean: Duration, p: f64) -> Duration {
    const BEYOND_MIN: f64 = 1e-12;
    if stages == 0 || p <= 0.0 {
        return Duration::ZERO;
    }
    let beyond = if p < 1.0 {
        (1.0 - p).max(BEYOND_MIN)
    } else {
        BEYOND_MIN
    };
    let mut low = 0.0_f64;
    let mut high = f64::from(stages);
    while survival(stages, high) > beyond {
        low = high;
        high *= 2.0;
    }
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if survival(stages, middle) > beyond {
            low = middle;
        } else {
            high = middle;
        }
    }
    scaled(mean, high)
}

/// P(X > x) for `stages` stages of mean 1. Terms are built from logarithms, so that e⁻ˣ cannot
/// underflow before it is multiplied.
fn survival(stages: u32, x: f64) -> f64 {
    let mut log_term = -x;
    let mut sum = libm::exp(log_term);
    for i in 1..stages {
        log_term += libm::log(x) - libm::log(f64::from(i));
        sum += libm::exp(log_term);
    }
    sum
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{ContinuousCDF, Gamma};

    use super::*;

    #[test]
    fn quantiles_agree_with_an_independent_library() {
        for stages in [1u32, 2, 3, 4, 7, 8, 20, 100] {
            let law = Gamma::new(f64::from(stages), 5.0).unwrap();
            for p in [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.999_999] {
                let ours = erlang_quantile(stages, Duration::from_millis(200), p).as_secs_f64();
                let back = law.cdf(ours);
                assert!((back - p).abs() < 1e-7, "{stages} {p} {ours} {back}");
                let theirs = law.inverse_cdf(p);
                assert!(
                    (ours - theirs).abs() < 1e-4 * theirs.max(0.1),
                    "{stages} {p} {ours} {theirs}"
                );
            }
        }
    }

    #[test]
    fn one_stage_is_the_exponential_law() {
        let q = erlang_quantile(1, Duration::from_secs(1), 0.999).as_secs_f64();
        assert!((q - 1000f64.ln()).abs() < 1e-6, "{q}");
    }

    #[test]
    fn quantiles_off_the_scale_are_zero_or_finite() {
        let mean = Duration::from_secs(1);
        assert_eq!(erlang_quantile(0, mean, 0.5), Duration::ZERO);
        for p in [0.0, -1.0, f64::NEG_INFINITY] {
            assert_eq!(erlang_quantile(7, mean, p), Duration::ZERO);
        }
        for p in [1.0, 2.0, f64::NAN, f64::INFINITY] {
            let q = erlang_quantile(1, mean, p).as_secs_f64();
            assert!((q - 27.631).abs() < 0.01, "{q}");
        }
    }
}
