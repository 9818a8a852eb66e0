//! When to ask, and for how much.

use whist_types::Instant;

use crate::limits;

/// What a listener asks for at the moment, by the handshakes that came lately.
///
/// A leaky bucket: each handshake adds one, `per_second` leak away. While it holds no more than one
/// second's worth, nothing is asked. Beyond, each doubling of what it holds asks one bit more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Load {
    per_second: u32,
    held_us: u64,
    at: Instant,
}

impl Load {
    /// A listener that can afford `per_second` handshakes.
    pub const fn new(per_second: u32) -> Self {
        Self {
            per_second: if per_second == 0 { 1 } else { per_second },
            held_us: 0,
            at: Instant::ZERO,
        }
    }

    /// A peer came: the effort to ask it for, if any.
    pub fn arrived(&mut self, now: Instant) -> Option<u8> {
        // The bucket is kept as the time that it takes to leak empty.
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let one = 1_000_000_u64
            .checked_div(u64::from(self.per_second))
            .unwrap_or(1)
            .max(1);
        // However long a flood was, it is forgiven a quarter of an hour after its end.
        self.held_us = self
            .held_us
            .saturating_sub(passed)
            .saturating_add(one)
            .min(900_000_000);
        self.at = now;
        let seconds = self.held_us / 1_000_000;
        let doublings = u8::try_from(seconds.checked_ilog2()?).unwrap_or(u8::MAX);
        Some(
            limits::EFFORT_MIN
                .saturating_add(doublings)
                .min(limits::EFFORT_MAX),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_rises_with_the_flood_and_falls_after_it() {
        let mut load = Load::new(100);
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        // 50 a second for ten seconds: nothing is asked.
        assert!((0..500).all(|i| load.arrived(at(i * 20)).is_none()));
        // 1,000 a second for ten seconds.
        let flood: Vec<_> = (0..10_000).map(|i| load.arrived(at(10_000 + i))).collect();
        assert_eq!(flood.iter().flatten().next(), Some(&limits::EFFORT_MIN));
        assert!(*flood.last().unwrap() > Some(limits::EFFORT_MIN + 5));
        assert_eq!(load.arrived(at(200_000)), None);
    }
}
