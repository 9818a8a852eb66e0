//! A client that idles for hours, in virtual time: its memory stays as it is.
//!
//! One test in one binary, as it measures its own process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::time::Duration;

use whist_sim::network::{Blueprint, Who};
use whist_sim::world::Cast;
use whist_types::Wall;

/// Of a run that names no hours by `WHIST_IDLE_HOURS`: what the gate has time for.
const MINUTES: u64 = 20;
/// Looks in all. What a client reaches once and keeps (documents of the grace, loops under way) is
/// there after the first third of them.
const LOOKS: usize = 18;
/// Allocators keep a little; the links and notes of the world itself grow by a few kB an hour.
const GROWTH_MAX: u64 = 3 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[test]
fn the_memory_of_a_client_that_idles_for_hours_is_flat() {
    let asked = std::env::var("WHIST_IDLE_HOURS").ok();
    let minutes = asked.map_or(MINUTES, |hours| {
        60 * hours.parse::<u64>().expect("a number of hours")
    });
    let mut blueprint = Blueprint::small(24, Wall::from_secs(1_800_000_000));
    blueprint.parameters.profile_mean_ms = [1_000; 3];
    blueprint.parameters.delay_mean_ms = 200;
    blueprint.parameters.mix_loop_mean_ms = 60_000;
    let mut cast = Cast::new(blueprint).unwrap();
    cast.start(Who::Client(0)).unwrap();
    let mut seen = Vec::new();
    for _ in 0..LOOKS {
        let all = Duration::from_secs(60 * minutes);
        cast.world.run_for(all / LOOKS as u32);
        seen.push(resident());
    }
    let stats = cast.client(0).unwrap().role.stats();
    let sent = stats.sent.total();
    assert!(
        sent > minutes * 50,
        "{sent} packets in {minutes} minutes: too few to be idling"
    );
    let settled = seen[LOOKS / 3 - 1];
    let last = *seen.last().unwrap();
    assert!(last <= settled + GROWTH_MAX, "{seen:?}");
}
