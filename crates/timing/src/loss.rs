//! Which loops come back, by segment of their route, and when to raise the alarm.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use whist_types::Instant;

/// What a missing loop adds to a score: ln(80 % / 5 %), in units of 0.173.
const MISSING_STEP: u32 = 16;
/// What a returned loop takes off a score: ln(95 % / 20 %), in the same units.
const RETURNED_STEP: u32 = 9;
/// Three missing in a row always reach it.
const ALARM_SCORE: u32 = 3 * MISSING_STEP;

/// Bounds of a [`LossTest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossLimits {
    /// A loop that has not returned after this is missing.
    pub timeout: Duration,
    /// How many loops, the last ones, the figures are taken over.
    pub window: usize,
    /// How many loops may be under way. Beyond it the oldest counts as missing at once.
    pub pending_max: usize,
}

/// Figures of one segment, or of all loops, over the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Loops whose fate is known.
    pub sent: u64,
    /// Those of them that came back in time.
    pub returned: u64,
    /// Whether the sequential test stands at alarm; it does until the score is back at zero.
    pub alarm: bool,
    score: u32,
}

impl Tally {
    /// The share that did not come back; `None` before the first fate is known, which is not the
    /// same as healthy.
    pub fn loss(&self) -> Option<f64> {
        let missing = self.sent.saturating_sub(self.returned);
        (self.sent > 0).then(|| to_f64(missing) / to_f64(self.sent))
    }

    /// Takes in one fate; says whether the alarm went up with it.
    fn learn(&mut self, returned: bool) -> bool {
        self.sent = self.sent.saturating_add(1);
        if returned {
            self.returned = self.returned.saturating_add(1);
            self.score = self.score.saturating_sub(RETURNED_STEP);
            self.alarm &= self.score > 0;
            return false;
        }
        self.score = self.score.saturating_add(MISSING_STEP).min(ALARM_SCORE);
        let rises = self.score >= ALARM_SCORE && !self.alarm;
        self.alarm |= rises;
        rises
    }

    /// Forgets one fate that left the window. The score is no window's figure and stays.
    const fn forget(&mut self, returned: bool) {
        self.sent = self.sent.saturating_sub(1);
        if returned {
            self.returned = self.returned.saturating_sub(1);
        }
    }
}

/// Loops sent and returned: `K` names a loop, `S` a segment of its route.
#[derive(Debug)]
pub struct LossTest<K, S> {
    limits: LossLimits,
    pending: VecDeque<Pending<K, S>>,
    window: VecDeque<(Box<[S]>, bool)>,
    overall: Tally,
    segments: BTreeMap<S, Tally>,
    alarms: u64,
}

#[derive(Debug)]
struct Pending<K, S> {
    id: K,
    deadline: Instant,
    segments: Box<[S]>,
    returned: bool,
}

impl<K: Eq, S: Ord + Clone> LossTest<K, S> {
    /// Nothing sent yet.
    pub const fn new(limits: LossLimits) -> Self {
        Self {
            limits,
            pending: VecDeque::new(),
            window: VecDeque::new(),
            overall: Tally {
                sent: 0,
                returned: 0,
                alarm: false,
                score: 0,
            },
            segments: BTreeMap::new(),
            alarms: 0,
        }
    }

    /// Changes the time-out for loops sent from now on.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.limits.timeout = timeout;
    }

    /// A loop left, over these segments.
    pub fn sent(&mut self, now: Instant, id: K, segments: Vec<S>) {
        if self.pending.len() >= self.limits.pending_max {
            self.settle_first();
        }
        self.pending.push_back(Pending {
            id,
            deadline: now.after(self.limits.timeout),
            segments: segments.into_boxed_slice(),
            returned: false,
        });
    }

    /// A loop came back. `false` if it is not under way: never sent, already back, or too late.
    pub fn returned(&mut self, now: Instant, id: &K) -> bool {
        self.advance(now);
        let Some(found) = self.pending.iter_mut().find(|p| p.id == *id) else {
            return false;
        };
        let fresh = !found.returned;
        found.returned = true;
        self.advance(now);
        fresh
    }

    /// Settles, in the order of sending, all loops whose fate is known at `now`.
    pub fn advance(&mut self, now: Instant) {
        while self
            .pending
            .front()
            .is_some_and(|p| p.returned || p.deadline <= now)
        {
            self.settle_first();
        }
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending.front().map(|p| p.deadline)
    }

    /// Loops under way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// All loops of the window.
    pub const fn overall(&self) -> Tally {
        self.overall
    }

    /// The figures of each segment that a loop of the window crossed.
    pub fn segments(&self) -> impl Iterator<Item = (&S, Tally)> {
        self.segments.iter().map(|(s, tally)| (s, *tally))
    }

    /// How often the alarm over all loops went up.
    pub const fn alarms(&self) -> u64 {
        self.alarms
    }

    fn settle_first(&mut self) {
        let Some(first) = self.pending.pop_front() else {
            return;
        };
        if self.overall.learn(first.returned) {
            self.alarms = self.alarms.saturating_add(1);
        }
        for segment in &first.segments {
            let tally = self.segments.entry(segment.clone()).or_default();
            tally.learn(first.returned);
        }
        self.window.push_back((first.segments, first.returned));
        if self.window.len() > self.limits.window
            && let Some((segments, returned)) = self.window.pop_front()
        {
            self.overall.forget(returned);
            for segment in &segments {
                if let Some(tally) = self.segments.get_mut(segment) {
                    tally.forget(returned);
                    if tally.sent == 0 {
                        self.segments.remove(segment);
                    }
                }
            }
        }
    }
}

/// Counts stay below 2^32 in any window that fits into memory; beyond it the figure saturates.
fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
mod tests {
    use rand_core::{Rng as _, SeedableRng};

    use super::*;
    use crate::{PoissonClock, Rate, Rng};

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn test_of(window: usize) -> LossTest<u64, char> {
        LossTest::new(LossLimits {
            timeout: TIMEOUT,
            window,
            pending_max: 64,
        })
    }

    fn seconds(s: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(s))
    }

    #[test]
    fn a_black_hole_counts_as_none_returned_and_is_never_healthy() {
        let mut test = test_of(100);
        assert_eq!(test.overall().loss(), None);
        for n in 0..50 {
            test.sent(seconds(n), n, vec!['a']);
            test.advance(seconds(n));
        }
        test.advance(seconds(100));
        let tally = test.overall();
        assert_eq!((tally.sent, tally.returned), (50, 0));
        assert_eq!(tally.loss(), Some(1.0));
        assert!(tally.alarm);
        assert_eq!(test.alarms(), 1);
    }

    #[test]
    fn three_missing_in_a_row_raise_the_alarm_and_health_takes_it_back() {
        let mut test = test_of(100);
        let mut clock = 0..;
        let mut send = |test: &mut LossTest<u64, char>, back: bool| {
            let n = clock.next().unwrap();
            let at = seconds(10 * n);
            test.sent(at, n, vec!['a']);
            if back {
                assert!(test.returned(at, &n));
            }
            test.advance(at.after(TIMEOUT));
        };
        for back in [true, false, false] {
            send(&mut test, back);
            assert!(!test.overall().alarm);
        }
        send(&mut test, false);
        assert!(test.overall().alarm);
        for _ in 0..6 {
            send(&mut test, true);
        }
        assert!(!test.overall().alarm);
        assert_eq!(test.alarms(), 1);
    }

    #[test]
    fn a_loop_that_returns_twice_late_or_unasked_does_not_count() {
        let mut test = test_of(100);
        test.sent(seconds(0), 1, vec!['a']);
        test.sent(seconds(0), 2, vec!['b']);
        assert!(!test.returned(seconds(1), &9));
        assert!(test.returned(seconds(1), &2));
        assert!(!test.returned(seconds(1), &2));
        assert_eq!(
            test.pending(),
            2,
            "fates are settled in the order of sending"
        );
        assert_eq!(test.next_deadline(), Some(seconds(3)));
        assert!(!test.returned(seconds(3), &1));
        assert_eq!(test.pending(), 0);
        let by_segment: Vec<_> = test.segments().map(|(s, t)| (*s, t.loss())).collect();
        assert_eq!(by_segment, [('a', Some(1.0)), ('b', Some(0.0))]);
    }

    #[test]
    fn only_the_last_loops_count_and_memory_is_bounded() {
        let mut test = test_of(10);
        for n in 0..1000 {
            test.sent(seconds(0), n, vec![if n < 900 { 'a' } else { 'b' }]);
            assert!(test.pending() <= 64);
            if n >= 936 {
                test.returned(seconds(0), &n);
            }
        }
        test.advance(seconds(3));
        let tally = test.overall();
        assert_eq!((tally.sent, tally.returned), (10, 10));
        assert_eq!(test.segments().count(), 1);
    }

    #[test]
    fn a_blackout_is_found_within_ten_loop_periods_and_a_round_trip() {
        const ROUNDS: u32 = 20_000;
        let mut rng = Rng::seed_from_u64(10);
        let period = Duration::from_millis(200);
        let rate = Rate::per_interval(period).unwrap();
        let mut found = 0;
        for _ in 0..ROUNDS {
            let mut test = test_of(100);
            let mut clock = PoissonClock::new(rate, Instant::ZERO, &mut rng);
            let end = Instant::ZERO.after(period * 10);
            let mut n = 0;
            while clock.next() <= end {
                test.sent(clock.next(), n, vec![]);
                n += 1;
                clock.advance(&mut rng);
            }
            test.advance(end.after(TIMEOUT));
            found += u32::from(test.overall().alarm);
        }
        // P(at least three of a Poisson number with mean 10) = 0.99723.
        let p = f64::from(found) / f64::from(ROUNDS);
        assert!(p >= 0.997 - 0.0009, "{p}");
        assert!((p - 0.997_23).abs() < 4.0 * (0.0028f64 / f64::from(ROUNDS)).sqrt());
    }

    /// Expected number of loops until the score first reaches the alarm, from zero: the linear
    /// equations of the chain of scores, solved by elimination.
    fn loops_to_false_alarm(loss: f64) -> f64 {
        let n = ALARM_SCORE as usize;
        let mut rows = vec![vec![0.0; n + 1]; n];
        for (score, row) in rows.iter_mut().enumerate() {
            row[score] += 1.0;
            row[n] = 1.0;
            row[score.saturating_sub(RETURNED_STEP as usize)] -= 1.0 - loss;
            let up = score + MISSING_STEP as usize;
            if up < n {
                row[up] -= loss;
            }
        }
        for pivot in 0..n {
            let best = (pivot..n)
                .max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))
                .unwrap();
            rows.swap(pivot, best);
            let lead = rows[pivot].clone();
            for row in rows.iter_mut().skip(pivot + 1) {
                let factor = row[pivot] / lead[pivot];
                for (cell, above) in row.iter_mut().zip(&lead) {
                    *cell -= factor * above;
                }
            }
        }
        let mut solution = vec![0.0; n];
        for pivot in (0..n).rev() {
            let known: f64 = (pivot + 1..n).map(|c| rows[pivot][c] * solution[c]).sum();
            solution[pivot] = (rows[pivot][n] - known) / rows[pivot][pivot];
        }
        solution[0]
    }

    /// The table of README.md.
    #[test]
    fn false_alarms_are_as_rare_as_stated() {
        let stated = [(0.001, 1.0e9), (0.01, 9.8e5), (0.05, 7.9e3)];
        let computed = stated.map(|(loss, _)| loops_to_false_alarm(loss));
        for ((loss, stated), computed) in stated.iter().zip(computed) {
            assert!((computed / stated - 1.0).abs() < 0.03, "{loss} {computed}");
        }
        // The code itself, at 5 %: every false alarm within 2,000,000 loops.
        let mut rng = Rng::seed_from_u64(11);
        let mut tally = Tally::default();
        let (mut alarms, mut calm) = (0u32, 0u32);
        for _ in 0..2_000_000 {
            calm += u32::from(!tally.alarm);
            alarms += u32::from(tally.learn(rng.next_u32() % 20 != 0));
        }
        let measured = f64::from(calm) / f64::from(alarms);
        assert!(
            (measured / computed[2] - 1.0).abs() < 0.25,
            "{measured} {computed:?}"
        );
    }
}
