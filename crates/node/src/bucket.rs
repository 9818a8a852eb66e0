//! What one link may send: a token bucket, asked before any key is touched.

use std::time::Duration;

use whist_types::Instant;

use crate::limits;

/// Tokens at a rate, up to a burst.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(per_second: f64, now: Instant) -> Self {
        Self {
            per_second,
            tokens: Self::burst(per_second),
            filled: now,
        }
    }

    fn burst(per_second: f64) -> f64 {
        (per_second * limits::BURST.as_secs_f64()).max(limits::BURST_MIN)
    }

    /// Changes the rate; what is in the bucket stays, up to the new burst.
    pub fn set_rate(&mut self, per_second: f64, now: Instant) {
        self.fill(now);
        self.per_second = per_second;
        self.tokens = self.tokens.min(Self::burst(per_second));
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    fn fill(&mut self, now: Instant) {
        let elapsed: Duration = now.since(self.filled);
        let fresh = elapsed.as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + fresh).min(Self::burst(self.per_second));
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(100.0, Instant::ZERO);
        let taken = |bucket: &mut Bucket, now| (0..1000).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, Instant::ZERO), 100);
        let later = Instant::ZERO.after(Duration::from_millis(505));
        assert_eq!(taken(&mut bucket, later), 50);
        let much_later = later.after(Duration::from_secs(3600));
        assert_eq!(taken(&mut bucket, much_later), 100);
        bucket.set_rate(1.0, much_later);
        assert_eq!(
            taken(&mut bucket, much_later.after(Duration::from_secs(3600))),
            64
        );
    }
}
