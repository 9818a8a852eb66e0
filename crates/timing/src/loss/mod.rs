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
/// A segment's: five missing in a row always reach it. A loop crosses several segments, and each
/// has a test of its own; at this score the false alarms of all of them together are a fiftieth of
/// those over all loops at most (the table in README.md).
const SEGMENT_ALARM_SCORE: u32 = 5 * MISSING_STEP;

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

    /// Takes in one fate; says whether the alarm, which is at `limit`, went up with it.
    fn learn(&mut self, returned: bool, limit: u32) -> bool {
        self.sent = self.sent.saturating_add(1);
        if returned {
            self.returned = self.returned.saturating_add(1);
            self.score = self.score.saturating_sub(RETURNED_STEP);
            self.alarm &= self.score > 0;
            return false;
        }
        self.score = self.score.saturating_add(MISSING_STEP).min(limit);
        let rises = self.score >= limit && !self.alarm;
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
    segment_alarms: u64,
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
            segment_alarms: 0,
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

    /// How often a segment's own alarm went up. A segment that carries few loops is lost among all
    /// of them; its own score sees it.
    pub const fn segment_alarms(&self) -> u64 {
        self.segment_alarms
    }

    /// Segments whose own alarm is up.
    pub fn alarmed_segments(&self) -> usize {
        self.segments.values().filter(|tally| tally.alarm).count()
    }

    fn settle_first(&mut self) {
        let Some(first) = self.pending.pop_front() else {
            return;
        };
        if self.overall.learn(first.returned, ALARM_SCORE) {
            self.alarms = self.alarms.saturating_add(1);
        }
        for segment in &first.segments {
            let tally = self.segments.entry(segment.clone()).or_default();
            if tally.learn(first.returned, SEGMENT_ALARM_SCORE) {
                self.segment_alarms = self.segment_alarms.saturating_add(1);
            }
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
mod tests;
