//! Laws that hold in the world: when the real client sends, how many packets a mix holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

mod people;

use std::time::Duration;

use people::{GENESIS, cast_watched, introduce, send};
use statrs::distribution::{ChiSquared, ContinuousCDF, Discrete, Poisson};
use whist::control::Misbehaviour;
use whist_sim::network::{Blueprint, Who};
use whist_sim::world::{Cast, Direction};

/// Kolmogorov's distribution leaves 0.1 % above this.
const KS_LIMIT: f64 = 1.95;

/// The gaps between packets of client 0, in means, after it met its contact.
fn gaps(busy: bool, control: Option<Misbehaviour>, seconds: u64) -> Vec<f64> {
    let mut cast = cast_watched(5, &[Who::Client(0)]);
    introduce(&mut cast);
    let from = cast.world.now().instant;
    if let Some(control) = control {
        let client = &mut cast.client(0).unwrap().role;
        client.dangerously_misbehave(control);
    }
    for second in 0..seconds {
        for i in 0..if busy { 4 } else { 0 } {
            send(&mut cast, 0, &format!("{second}.{i}"));
        }
        cast.world.run_for(Duration::from_secs(1));
    }
    let mean = cast.blueprint.parameters.profile_mean(1).as_secs_f64();
    let trace = cast.world.trace().of("client0", Some(Direction::Out));
    let times = trace.lines().iter().map(|line| line.time);
    let times: Vec<_> = times.filter(|time| *time > from).collect();
    let gap = |w: &[whist_types::Instant]| w[1].since(w[0]).as_secs_f64() / mean;
    times.windows(2).map(gap).collect()
}

/// The distance of the gaps to Exp(1), times √n.
fn distance(mut gaps: Vec<f64>) -> f64 {
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    let largest = gaps.iter().enumerate().fold(0.0_f64, |most, (i, gap)| {
        let law = 1.0 - (-gap).exp();
        most.max((law - i as f64 / n).abs())
            .max(((i as f64 + 1.0) / n - law).abs())
    });
    largest * n.sqrt()
}

#[test]
fn an_idle_client_sends_at_exponential_gaps() {
    let gaps = gaps(false, None, 120);
    assert!(gaps.len() > 1_000, "{}", gaps.len());
    let distance = distance(gaps);
    assert!(distance < KS_LIMIT, "{distance}");
}

#[test]
fn a_busy_client_sends_at_exponential_gaps() {
    let gaps = gaps(true, None, 120);
    assert!(gaps.len() > 1_000, "{}", gaps.len());
    let distance = distance(gaps);
    assert!(distance < KS_LIMIT, "{distance}");
}

#[test]
fn a_busy_client_that_breaks_the_rule_does_not() {
    for control in [
        Misbehaviour::SkipWhenFull { waiting: 2 },
        Misbehaviour::SendAtOnce,
    ] {
        let distance = distance(gaps(true, Some(control), 40));
        assert!(distance > KS_LIMIT, "{control:?}: {distance}");
    }
}

/// How many packets each mix holds, sampled so seldom that samples are independent, and the mean
/// that the law gives: its packets a second times the mean delay.
fn occupancy() -> Vec<(f64, Vec<u64>)> {
    const DELAY_MS: u32 = 200;
    const SAMPLES: u64 = 50;
    let mut blueprint = Blueprint::small(11, GENESIS);
    blueprint.parameters.mix_loop_mean_ms = 50;
    blueprint.parameters.delay_mean_ms = DELAY_MS;
    let mixes = blueprint.mixes;
    let mut cast = Cast::new(blueprint).unwrap();
    cast.world.run_for(Duration::from_secs(25));
    let stats = |cast: &mut Cast, i| cast.mix(i).unwrap().role.stats();
    let before: Vec<u64> = (0..mixes).map(|i| stats(&mut cast, i).mixed).collect();
    let mut samples = vec![Vec::new(); usize::from(mixes)];
    for _ in 0..SAMPLES {
        // Five mean delays apart.
        cast.world.run_for(Duration::from_secs(1));
        for i in 0..mixes {
            samples[usize::from(i)].push(stats(&mut cast, i).held);
        }
    }
    let mean = |(i, samples): (usize, Vec<u64>)| {
        let mixed = stats(&mut cast, i as u8).mixed - before[i];
        let delay = f64::from(DELAY_MS) / 1_000.0;
        (mixed as f64 / SAMPLES as f64 * delay, samples)
    };
    samples.into_iter().enumerate().map(mean).collect()
}

#[test]
fn what_a_mix_holds_is_poisson_with_mean_rate_times_delay() {
    let mixes = occupancy();
    let most = 60_u64;
    let cells = |of: &dyn Fn(u64) -> f64| (0..=most).map(of).collect::<Vec<_>>();
    let expected = cells(&|k| {
        let of = |(mean, samples): &(f64, Vec<u64>)| {
            Poisson::new(*mean).unwrap().pmf(k) * samples.len() as f64
        };
        mixes.iter().map(of).sum()
    });
    let seen = cells(&|k| {
        let of = |(_, samples): &(f64, Vec<u64>)| samples.iter().filter(|s| **s == k).count();
        mixes.iter().map(of).sum::<usize>() as f64
    });
    // Cells of at least ten expected samples.
    let (mut square, mut count, mut e, mut o) = (0.0, 0, 0.0, 0.0);
    for (expected, seen) in expected.iter().zip(&seen) {
        (e, o) = (e + expected, o + seen);
        if e >= 10.0 {
            (square, count) = (square + (o - e) * (o - e) / e, count + 1);
            (e, o) = (0.0, 0.0);
        }
    }
    let limit = ChiSquared::new(f64::from(count - 1))
        .unwrap()
        .inverse_cdf(0.999);
    let means: Vec<f64> = mixes.iter().map(|(mean, _)| *mean).collect();
    assert!(means.iter().all(|mean| *mean > 3.0), "{means:?}");
    assert!(count > 8, "{count} cells");
    assert!(square < limit, "{square} over {count} cells, limit {limit}");
}
