//! Laws, not samples: fixed seeds, stated sizes, significance 0.001 for each test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::time::Duration;

use rand_core::{Rng as _, SeedableRng};
use statrs::distribution::{ChiSquared, ContinuousCDF, Discrete, Poisson};
use whist_timing::{
    DELAY_CAP_MEANS, PoissonClock, Pool, Rate, Rng, delay_cap, erlang_quantile, exponential,
    tick_rng,
};
use whist_types::{Instant, Secret};

const ALPHA: f64 = 0.001;
const DRAWS: usize = 100_000;

/// Kolmogorov–Smirnov against Exp(mean): the statistic times √n, whose 1 − α quantile is
/// √(−ln(α/2)/2) = 1.949 for α = 0.001.
fn ks_exponential(mut sample: Vec<f64>, mean: f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let distance = sample.iter().enumerate().fold(0.0f64, |worst, (i, x)| {
        let law = 1.0 - (-x / mean).exp();
        worst
            .max((law - i as f64 / n).abs())
            .max(((i as f64 + 1.0) / n - law).abs())
    });
    distance * n.sqrt()
}

fn ks_limit() -> f64 {
    (-(ALPHA / 2.0).ln() / 2.0).sqrt()
}

/// χ² of counts against expectations; cells expecting under 5 must have been merged.
fn chi_squared_holds(observed: &[f64], expected: &[f64]) -> bool {
    assert!(expected.iter().all(|&e| e >= 5.0), "{expected:?}");
    let statistic: f64 = observed
        .iter()
        .zip(expected)
        .map(|(o, e)| (o - e).powi(2) / e)
        .sum();
    statistic
        < ChiSquared::new(observed.len() as f64 - 1.0)
            .unwrap()
            .inverse_cdf(1.0 - ALPHA)
}

#[test]
fn delays_are_exponential() {
    for (seed, mean) in [(1, 0.2), (2, 30.0), (3, 1e-3)] {
        let mut rng = Rng::seed_from_u64(seed);
        let mean_of = Duration::from_secs_f64(mean);
        let sample = (0..DRAWS)
            .map(|_| exponential(mean_of, &mut rng).as_secs_f64())
            .collect();
        let statistic = ks_exponential(sample, mean);
        assert!(statistic < ks_limit(), "{mean} {statistic}");
    }
}

#[test]
fn the_test_itself_sees_a_law_that_is_bent() {
    let mut rng = Rng::seed_from_u64(1);
    let mean = Duration::from_millis(200);
    // One tick in forty skipped: two gaps become one.
    let mut sample = Vec::new();
    while sample.len() < DRAWS {
        let gap = exponential(mean, &mut rng);
        let skipped = rng.next_u32() % 40 == 0;
        let rest = if skipped {
            exponential(mean, &mut rng)
        } else {
            Duration::ZERO
        };
        sample.push((gap + rest).as_secs_f64());
    }
    assert!(ks_exponential(sample, 0.2) > ks_limit());
}

#[test]
fn delays_of_tick_generators_are_exponential_across_ticks() {
    let seed = Secret::new([9; 32]);
    let mean = Duration::from_millis(200);
    let sample = (0..DRAWS as u64)
        .map(|tick| exponential(mean, &mut tick_rng(&seed, "delay", tick)).as_secs_f64())
        .collect();
    assert!(ks_exponential(sample, 0.2) < ks_limit());
}

#[test]
fn the_cap_is_never_passed_and_never_bends_the_law() {
    // Generators whose every bit is one, or zero, reach both ends of the law.
    struct Constant(u64);
    impl rand_core::TryRng for Constant {
        type Error = core::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.0 as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.fill(self.0 as u8);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Constant {}

    for mean in [
        Duration::from_nanos(1),
        Duration::from_millis(200),
        Duration::MAX,
    ] {
        let longest = exponential(mean, &mut Constant(0));
        let shortest = exponential(mean, &mut Constant(u64::MAX));
        assert!(longest <= delay_cap(mean), "{longest:?}");
        assert!(longest.as_secs_f64() > 27.62 * mean.as_secs_f64().min(1e17));
        assert!(shortest <= Duration::from_nanos(1).max(mean / 1_000_000));
    }
    // No atom at the cap: the tail beyond any x is that of the law, less 1e-12.
    assert!((delay_cap(Duration::from_secs(1)).as_secs_f64() - DELAY_CAP_MEANS).abs() < 1e-9);
    let mut rng = Rng::seed_from_u64(4);
    let beyond = (0..10 * DRAWS)
        .filter(|_| exponential(Duration::from_secs(1), &mut rng) > Duration::from_secs(7))
        .count() as f64;
    let expected = 10.0 * DRAWS as f64 * (-7f64).exp();
    assert!(
        (beyond - expected).abs() < 3.3 * expected.sqrt(),
        "{beyond} {expected}"
    );
}

#[test]
fn a_mean_of_zero_never_becomes_a_delay_of_zero() {
    let mut rng = Rng::seed_from_u64(5);
    let sample: Vec<f64> = (0..DRAWS)
        .map(|_| exponential(Duration::ZERO, &mut rng).as_secs_f64())
        .collect();
    assert!(sample.iter().all(|&delay| delay > 0.0));
    assert!(ks_exponential(sample, 1e-3) < ks_limit());
}

#[test]
fn gaps_of_a_poisson_clock_are_exponential() {
    let mut rng = Rng::seed_from_u64(6);
    let mut clock = PoissonClock::new(Rate::per_second(4.0).unwrap(), Instant::ZERO, &mut rng);
    let mut last = Instant::ZERO;
    let mut gaps = Vec::with_capacity(DRAWS);
    while gaps.len() < DRAWS {
        gaps.push(clock.next().since(last).as_secs_f64());
        last = clock.next();
        clock.advance(&mut rng);
    }
    assert!(ks_exponential(gaps, 0.25) < ks_limit());
}

#[test]
fn gaps_of_a_poisson_clock_do_not_know_each_other() {
    let mut rng = Rng::seed_from_u64(7);
    let gaps: Vec<f64> = (0..DRAWS)
        .map(|_| exponential(Duration::from_secs(1), &mut rng).as_secs_f64() - 1.0)
        .collect();
    let correlation: f64 = gaps.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / DRAWS as f64;
    assert!(
        correlation.abs() < 3.3 / (DRAWS as f64).sqrt(),
        "{correlation}"
    );
}

#[test]
fn a_resumed_clock_keeps_the_law() {
    let mut rng = Rng::seed_from_u64(8);
    let rate = Rate::per_second(1.0).unwrap();
    let pause = Duration::from_secs(100);
    let sample = (0..DRAWS as u64)
        .map(|_| {
            let mut clock = PoissonClock::new(rate, Instant::ZERO, &mut rng);
            let woke = clock.next().after(pause);
            clock.resume(woke, &mut rng);
            clock.next().since(woke).as_secs_f64()
        })
        .collect();
    assert!(ks_exponential(sample, 1.0) < ks_limit());
}

/// Poisson arrivals of rate λ, held for Exp(μ): what an outsider who looks at random moments
/// finds in the pool is Poisson(λ/μ). Looks are 10 means apart, so that they are independent.
#[test]
fn the_pool_holds_a_poisson_number() {
    const LOOKS: usize = 10_000;
    const LOAD: f64 = 8.0;
    let mut rng = Rng::seed_from_u64(9);
    let mean = Duration::from_millis(200);
    let rate = Rate::per_interval(mean).unwrap().times(LOAD).unwrap();
    let mut arrivals = PoissonClock::new(rate, Instant::ZERO, &mut rng);
    let mut pool = Pool::with_capacity(1000);
    let mut counts = vec![0.0; 64];
    for look in 1..=LOOKS as u32 {
        let at = Instant::ZERO.after(mean * 10 * look);
        while arrivals.next() <= at {
            let due = arrivals.next().after(exponential(mean, &mut rng));
            pool.insert(due, ()).unwrap();
            arrivals.advance(&mut rng);
        }
        while pool.pop_due(at).is_some() {}
        counts[pool.len()] += 1.0;
    }
    let law = Poisson::new(LOAD).unwrap();
    let expected: Vec<f64> = (0..64).map(|n| law.pmf(n) * LOOKS as f64).collect();
    // Cells 2..=17 expect at least 20 each; the tails are one cell each.
    let fold = |cells: &[f64]| {
        let mut folded = vec![cells[..2].iter().sum::<f64>()];
        folded.extend_from_slice(&cells[2..18]);
        folded.push(cells[18..].iter().sum());
        folded
    };
    assert!(chi_squared_holds(&fold(&counts), &fold(&expected)));
}

/// Theorem 1 of the Loopix paper: of n packets k are left, l more arrive; the next to leave is any
/// one of the l newcomers with probability 1/(l + k), and any one of the n first with k/(n(l + k)).
#[test]
fn a_packet_that_leaves_is_any_of_those_held_with_equal_probability() {
    const FIRST: usize = 6;
    const LEFT: usize = 3;
    const LATER: usize = 4;
    let mut rng = Rng::seed_from_u64(10);
    let mean = Duration::from_millis(200);
    let mut counts = vec![0.0; FIRST + LATER];
    for _ in 0..DRAWS {
        let mut pool = Pool::with_capacity(FIRST + LATER);
        for id in 0..FIRST {
            pool.insert(Instant::ZERO.after(exponential(mean, &mut rng)), id)
                .unwrap();
        }
        let mut at = Instant::ZERO;
        while pool.len() > LEFT {
            at = pool.next_deadline().unwrap();
            pool.pop_due(at).unwrap();
        }
        for id in FIRST..FIRST + LATER {
            pool.insert(at.after(exponential(mean, &mut rng)), id)
                .unwrap();
        }
        let next = pool.next_deadline().unwrap();
        counts[pool.pop_due(next).unwrap()] += 1.0;
    }
    let newcomer = DRAWS as f64 / (LATER + LEFT) as f64;
    let early = newcomer * LEFT as f64 / FIRST as f64;
    let mut expected = vec![early; FIRST];
    expected.extend([newcomer; LATER]);
    assert!(
        chi_squared_holds(&counts, &expected),
        "{counts:?} {expected:?}"
    );
}

#[test]
fn a_round_trip_stays_within_its_quantile_as_often_as_stated() {
    let mut rng = Rng::seed_from_u64(11);
    let mean = Duration::from_millis(200);
    for p in [0.5, 0.99] {
        let quantile = erlang_quantile(7, mean, p);
        let within = (0..DRAWS)
            .filter(|_| {
                let trip: Duration = (0..7).map(|_| exponential(mean, &mut rng)).sum();
                trip <= quantile
            })
            .count() as f64;
        let expected = p * DRAWS as f64;
        let deviation = (expected * (1.0 - p)).sqrt();
        assert!((within - expected).abs() < 3.3 * deviation, "{p} {within}");
    }
}
