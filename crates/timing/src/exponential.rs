//! Exponential delays, with the cap that every mix of the network holds senders to.

use std::time::Duration;

use rand_core::CryptoRng;

/// A delay is at most this many means (protocol.md §1): the 1 − 1e-12 quantile, −ln(1e-12).
pub const DELAY_CAP_MEANS: f64 = 27.63;

/// A mean of zero would be no mixing at all. Parameters refuse it; if it comes here nevertheless,
/// it counts as this.
pub const MEAN_MIN: Duration = Duration::from_millis(1);

/// P(X > cap) of the exponential law.
fn beyond_cap() -> f64 {
    libm::exp(-DELAY_CAP_MEANS)
}

/// The largest delay that a sender may ask of a mix whose mean is `mean`.
pub fn delay_cap(mean: Duration) -> Duration {
    scaled(mean, DELAY_CAP_MEANS)
}

/// A draw from the exponential law of this mean, conditioned on being at most [`delay_cap`].
///
/// One 64-bit draw each. The condition takes 1e-12 off the tail: no sample of any size that a
/// network sends shows it, and no delay is ever dropped by an honest mix.
pub fn exponential(mean: Duration, rng: &mut impl CryptoRng) -> Duration {
    let beyond = beyond_cap();
    // Uniform on [P(X > cap), 1]: the survival function of the conditioned law, inverted.
    let survival = (1.0 - beyond) * open_unit(rng) + beyond;
    let means = -libm::log(survival);
    let mean = if mean.is_zero() { MEAN_MIN } else { mean };
    scaled(mean, means).min(delay_cap(mean))
}

/// Uniform on (0, 1]: 53 bits, offset by half a step so that zero is never reached. The largest
/// draw has no room for the half step and rounds to one, of which a delay of zero comes.
fn open_unit(rng: &mut impl CryptoRng) -> f64 {
    const STEP: f64 = 1.0 / 9_007_199_254_740_992.0; // 2^-53
    const HIGH: f64 = 4_294_967_296.0; // 2^32
    let bits = rng.next_u64() >> 11;
    let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
    let high = f64::from(u32::from_be_bytes([a, b, c, d]));
    let low = f64::from(u32::from_be_bytes([e, f, g, h]));
    (high * HIGH + low + 0.5) * STEP
}

/// `factor` times `mean`, saturating. `factor` is not negative.
pub(crate) fn scaled(mean: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(mean.as_secs_f64() * factor.max(0.0)).unwrap_or(Duration::MAX)
}
