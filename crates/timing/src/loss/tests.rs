//! The test for missing loops, against its own mathematics.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]

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

/// Expected number of loops until the score first reaches `limit`, from zero: the linear equations
/// of the chain of scores, solved by elimination.
fn loops_to_false_alarm(loss: f64, limit: u32) -> f64 {
    let n = limit as usize;
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
    let computed = stated.map(|(loss, _)| loops_to_false_alarm(loss, ALARM_SCORE));
    for ((loss, stated), computed) in stated.iter().zip(computed) {
        assert!((computed / stated - 1.0).abs() < 0.03, "{loss} {computed}");
    }
    // The code itself, at 5 %: every false alarm within 2,000,000 loops.
    let mut rng = Rng::seed_from_u64(11);
    let mut tally = Tally::default();
    let (mut alarms, mut calm) = (0u32, 0u32);
    for _ in 0..2_000_000 {
        calm += u32::from(!tally.alarm);
        alarms += u32::from(tally.learn(rng.next_u32() % 20 != 0, ALARM_SCORE));
    }
    let measured = f64::from(calm) / f64::from(alarms);
    assert!(
        (measured / computed[2] - 1.0).abs() < 0.25,
        "{measured} {computed:?}"
    );
}

/// Steps of a loop over three layers: two mixes, a provider, and home.
const STEPS: f64 = 4.0;

/// The second table of README.md.
#[test]
fn false_alarms_of_all_segments_together_hardly_add_to_the_stated_ones() {
    let stated = [(0.001, 2.5e14), (0.01, 2.4e9), (0.05, 6.6e5)];
    for (loss, stated) in stated {
        let together = loops_to_false_alarm(loss, SEGMENT_ALARM_SCORE) / STEPS;
        assert!((together / stated - 1.0).abs() < 0.03, "{loss} {together}");
        assert!(loops_to_false_alarm(loss, ALARM_SCORE) / together < 0.02);
    }
    // The code itself, where false alarms are many enough to be counted.
    let exact = loops_to_false_alarm(0.25, SEGMENT_ALARM_SCORE);
    let mut rng = Rng::seed_from_u64(12);
    let (mut rises, mut calm) = (0u32, 0u32);
    let mut tally = Tally::default();
    for _ in 0..1_000_000 {
        calm += 1;
        if tally.learn(!rng.next_u32().is_multiple_of(4), SEGMENT_ALARM_SCORE) {
            rises += 1;
            tally = Tally::default();
        }
    }
    let measured = f64::from(calm) / f64::from(rises);
    assert!((measured / exact - 1.0).abs() < 0.1, "{measured} {exact}");
}

/// A loop over a step of nine to a mix of the next layer, and three more steps of its route.
fn route_of(rng: &mut Rng) -> Vec<char> {
    let mut step = |from: u8| char::from(from + (rng.next_u32() % 9) as u8);
    vec![step(b'A'), step(b'J'), step(b'a'), step(b'j')]
}

#[test]
fn at_natural_loss_segments_raise_no_more_alarms_than_their_law_says() {
    const LOOPS: u32 = 100_000;
    // Expected of all segments: 4e-10, 4e-5 and 0.15 alarms.
    for (seed, one_in, most) in [(13, 1_000, 0), (14, 100, 0), (15, 20, 3)] {
        let mut rng = Rng::seed_from_u64(seed);
        let mut test = test_of(1_000);
        for n in 0..u64::from(LOOPS) {
            test.sent(seconds(n), n, route_of(&mut rng));
            if !rng.next_u32().is_multiple_of(one_in) {
                test.returned(seconds(n), &n);
            }
            test.advance(seconds(n));
        }
        assert!(test.segment_alarms() <= most, "1 in {one_in}: {test:?}");
        assert_eq!(test.segments().count(), 36);
    }
}

#[test]
fn a_segment_that_carries_two_loops_in_a_hundred_and_loses_them_is_found() {
    let mut test = test_of(1_000);
    let mut send = |from: u64, loops: u64, hole: bool| {
        for n in from..from + loops {
            let step = char::from_u32(0x100 + (n % 50) as u32).unwrap();
            test.sent(seconds(10 * n), n, vec!['a', step]);
            if !hole || n % 50 != 7 {
                assert!(test.returned(seconds(10 * n), &n));
            }
            test.advance(seconds(10 * n + 5));
        }
        let alarmed: Vec<_> = test.segments().filter(|(_, t)| t.alarm).collect();
        assert_eq!(alarmed.len(), test.alarmed_segments());
        let alarmed: Vec<_> = alarmed.iter().map(|(step, _)| **step as u32).collect();
        (test.overall().alarm, test.segment_alarms(), alarmed)
    };
    assert_eq!(send(0, 400, false), (false, 0, vec![]));
    assert_eq!(send(400, 200, true), (false, 0, vec![]), "four are missing");
    // All loops together lose 2 %, which is no alarm, and this one step loses all.
    assert_eq!(send(600, 50, true), (false, 1, vec![0x107]));
    assert_eq!(send(650, 2_000, true), (false, 1, vec![0x107]));
    assert_eq!(send(2_650, 400, false), (false, 1, vec![0x107]));
    assert_eq!(send(3_050, 50, false), (false, 1, vec![]), "nine came back");
}
