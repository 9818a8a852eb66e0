//! How many packets a second a node takes: the line rate of protocol.md §5. It is a node's weight
//! in the network, and the buckets of its links add up to it.

use std::time::Duration;

use rand_core::CryptoRng;
use whist_netdoc::WEIGHT_MAX;
use whist_packet::{Destination, Hop, PAYLOAD_BYTES, Packet, Route, SphinxSecret, build, unwrap};
use whist_types::{EpochSchedule, NodeId, Secret, SphinxKey};

use crate::StartError;

/// CPU time that the measurement takes: some hundred unwraps, which is exact to a few percent, and
/// nothing against the rest of a start.
const MEASURED: Duration = Duration::from_millis(50);
/// More are never unwrapped: a clock that stands still ends the measurement with no rate.
const UNWRAPS_MAX: u32 = 100_000;
/// Unwrapped first, uncounted: code and tables are in the caches afterwards.
const WARM_UP: u32 = 8;

/// What limits a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedBy {
    /// The machine: it unwraps no more.
    Machine,
    /// The table of tags: it holds no more in a key's life.
    Table,
    /// The operator: `packets_per_s`.
    Configuration,
}

impl LimitedBy {
    /// In words for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Machine => "what this machine unwraps",
            Self::Table => "table_tags and the life of a key",
            Self::Configuration => "packets_per_s",
        }
    }
}

/// A node's line rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRate {
    /// Packets a second, at least 1.
    pub packets_per_s: u32,
    /// What limits it.
    pub by: LimitedBy,
}

impl LineRate {
    /// The lowest of the `measured` unwraps a second, what a table of `table_tags` holds in a key's
    /// life, and the operator's `most`.
    ///
    /// # Errors
    /// [`StartError::NoLineRate`]: one of them is no rate (zero, not a number, beyond bounds).
    pub fn new(
        measured: f64,
        table_tags: u64,
        schedule: &EpochSchedule,
        most: u32,
    ) -> Result<Self, StartError> {
        if !(1..=WEIGHT_MAX).contains(&most) {
            let why = format!("`packets_per_s` is {most}, not within 1 and {WEIGHT_MAX}");
            return Err(StartError::NoLineRate(why));
        }
        let machine = whole(measured).ok_or_else(|| {
            let why = format!("this machine unwraps {measured} packets a second");
            StartError::NoLineRate(why)
        })?;
        let table = Self::of_table(table_tags, schedule)?;
        let limits = [
            (most, LimitedBy::Configuration),
            (table, LimitedBy::Table),
            (machine, LimitedBy::Machine),
        ];
        let least = limits.into_iter().min_by_key(|(rate, _)| *rate);
        let (packets_per_s, by) = least.unwrap_or((most, LimitedBy::Configuration));
        Ok(Self { packets_per_s, by })
    }

    /// The same by what kind of build this is. A debug build's speed is that of the build, not of
    /// the machine, and it serves test networks alone, whose weights must not depend on how fast a
    /// machine is: there what was measured limits nothing. Table and operator limit in each build,
    /// so that no tag is ever lost for it; a debug build that is offered more than it unwraps is
    /// late. Whether it is one is the compiler's word, not a flag's: `--debug-build` given to a
    /// release build changes nothing.
    ///
    /// # Errors
    /// As [`new`](Self::new), in each build.
    pub fn of_build(
        measured: f64,
        table_tags: u64,
        schedule: &EpochSchedule,
        most: u32,
        debug_assertions: bool,
    ) -> Result<Self, StartError> {
        let rate = Self::new(measured, table_tags, schedule, most)?;
        match rate.by {
            LimitedBy::Machine if debug_assertions => {
                Self::new(f64::from(most), table_tags, schedule, most)
            }
            _ => Ok(rate),
        }
    }

    /// Packets a second whose tags fit in the table for a key's whole life.
    fn of_table(table_tags: u64, schedule: &EpochSchedule) -> Result<u32, StartError> {
        let life_ms = key_life_ms(schedule);
        let per_s = table_tags.saturating_mul(1_000).checked_div(life_ms);
        match u32::try_from(per_s.unwrap_or(0)) {
            Ok(0) => Err(StartError::TableTooSmall {
                rate: 1,
                life_s: life_ms.div_ceil(1_000),
                needed: life_ms.div_ceil(1_000),
                have: table_tags,
            }),
            Ok(rate) => Ok(rate),
            Err(_) => Ok(u32::MAX),
        }
    }
}

/// How long a key opens packets: its epoch and a window on either side.
pub(crate) const fn key_life_ms(schedule: &EpochSchedule) -> u64 {
    let windows = schedule.key_window_ms.saturating_mul(2);
    schedule.epoch_ms.saturating_add(windows)
}

/// Whole packets a second; `None` for what is no rate that a consensus could list.
fn whole(rate: f64) -> Option<u32> {
    // Written so that NaN fails it.
    if !(rate >= 1.0 && rate <= f64::from(WEIGHT_MAX)) {
        return None;
    }
    // A duration of as many seconds: the standard library's own checked conversion.
    let seconds = Duration::try_from_secs_f64(rate).ok()?.as_secs();
    u32::try_from(seconds).ok()
}

/// Unwraps real packets for some 50 ms of CPU time and gives how many a second that is; NaN where
/// the clock does not move or a packet does not open. `cpu` is the process's CPU clock: time in
/// which other processes ran does not count.
pub fn measure(cpu: impl Fn() -> Duration, rng: &mut impl CryptoRng) -> f64 {
    let secret = SphinxSecret::from_secret(&Secret::random(rng));
    let Some(packet) = sample(secret.public(), rng) else {
        return f64::NAN;
    };
    let unwraps = |count: u32| {
        let opens = |_| unwrap(packet.clone(), &secret, Duration::MAX).is_ok();
        (0..count).all(opens)
    };
    if !unwraps(WARM_UP) {
        return f64::NAN;
    }
    let begun = cpu();
    let mut done = 0_u32;
    while done < UNWRAPS_MAX && unwraps(WARM_UP) {
        done += WARM_UP;
        let passed = cpu().saturating_sub(begun);
        if passed >= MEASURED {
            return f64::from(done) / passed.as_secs_f64();
        }
    }
    f64::NAN
}

/// A packet that is to be forwarded, which is most of a node's work.
fn sample(key: SphinxKey, rng: &mut impl CryptoRng) -> Option<Packet> {
    let last = SphinxSecret::from_secret(&Secret::random(rng)).public();
    let hop = |node, key| Hop {
        node: NodeId::from_bytes([node; 32]),
        key,
        delay: Duration::ZERO,
    };
    let route = Route::exactly(vec![hop(1, key), hop(2, last)], 2).ok()?;
    build(&route, &Destination::REQUEST, &[0; PAYLOAD_BYTES], rng).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use chacha20::ChaCha20Rng as Rng;
    use chacha20::rand_core::SeedableRng as _;

    use super::*;

    /// A key lives for 20 s.
    const SCHEDULE: EpochSchedule = EpochSchedule {
        genesis_ms: 0,
        epoch_ms: 16_000,
        key_window_ms: 2_000,
    };

    fn rate(measured: f64, tags: u64, most: u32) -> (u32, LimitedBy) {
        let rate = LineRate::new(measured, tags, &SCHEDULE, most).unwrap();
        (rate.packets_per_s, rate.by)
    }

    #[test]
    fn the_line_rate_is_the_lowest_of_machine_table_and_configuration() {
        assert_eq!(rate(900.9, 20_000, 1_500), (900, LimitedBy::Machine));
        assert_eq!(rate(9_000.0, 20_019, 1_500), (1_000, LimitedBy::Table));
        assert_eq!(
            rate(9_000.0, 20_000_000, 1_500),
            (1_500, LimitedBy::Configuration)
        );
    }

    #[test]
    fn a_release_build_goes_by_what_it_measured_and_a_debug_build_by_table_and_configuration() {
        let rate = |tags, debug| {
            let rate = LineRate::of_build(900.0, tags, &SCHEDULE, 1_500, debug).unwrap();
            (rate.packets_per_s, rate.by)
        };
        assert_eq!(rate(20_000_000, false), (900, LimitedBy::Machine));
        assert_eq!(rate(20_000_000, true), (1_500, LimitedBy::Configuration));
        assert_eq!(rate(20_000, false), (900, LimitedBy::Machine));
        assert_eq!(rate(20_000, true), (1_000, LimitedBy::Table));
        assert!(LineRate::of_build(f64::NAN, 20_000, &SCHEDULE, 1_500, true).is_err());
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let refused = |measured, tags, most| {
            let error = LineRate::new(measured, tags, &SCHEDULE, most).unwrap_err();
            let failure = whist_rt::Failure::from(error);
            assert_eq!(failure.exit, whist_rt::Exit::Usage);
        };
        let nonsense = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            -5.0,
            0.99,
            f64::from(WEIGHT_MAX) * 2.0,
        ];
        for measured in nonsense {
            refused(measured, 20_000, 1_000);
        }
        refused(1_000.0, 19, 1_000);
        refused(1_000.0, 0, 1_000);
        refused(1_000.0, 20_000, 0);
        refused(1_000.0, 20_000, WEIGHT_MAX + 1);
        assert!(rate(1_000.0, u64::MAX, 1).0 == 1);
    }

    #[test]
    fn a_measurement_counts_cpu_time_and_ends_whatever_the_clock_does() {
        let mut rng = Rng::seed_from_u64(1);
        // A millisecond each time that it is read, after each eight unwraps.
        let read = Cell::new(0);
        let ticking = || {
            read.set(read.get() + 1);
            Duration::from_millis(read.get())
        };
        let measured = measure(ticking, &mut rng);
        assert!((measured - 8_000.0).abs() < 1e-6, "{measured}");
        let real = measure(whist_rt::process::cpu_time, &mut rng);
        assert!(real > 50.0 && real < 1e6, "{real} unwraps a second");
    }
}
