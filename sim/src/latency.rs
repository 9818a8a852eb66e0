//! The latencies that people may expect: how long until a text is stored, and until it is read.
//!
//! Both clients run the real send clock ([`whist::emission`]): its gaps, its classes, its delays.
//! What is between them is a model: links of a constant time, a provider that answers after its
//! hold, and downlink slots on a grid that carry one reply each, whatever it answers. Nothing is
//! lost, the reader is on line, and one text waits at a time.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use rand_core::Rng as _;
use serde::Serialize;
use whist::emission::{Class, Emission, Law};
use whist_netdoc::Parameters;
use whist_rt::{Exit, Failure};
use whist_timing::tick_rng;
use whist_types::{Instant, Secret};

/// One way over one link of the Internet.
const LINK: Duration = Duration::from_millis(50);
/// From a client to the exit provider, and back to its entry provider's downlink and itself.
const LINKS: u32 = 5;
/// Texts for each row.
const TEXTS: usize = 20_000;
/// Mean delays a hop for which there is a row.
pub const DELAYS_MS: [u32; 5] = [50, 100, 200, 400, 1_000];
/// The seed of the table.
pub const SEED: u64 = 2026;
/// Ticks of each client, over which the texts are strewn.
const TICKS: usize = 30_000;

/// How long something took, in tenths of a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Spread {
    /// Half of all texts took less.
    pub median_ds: u32,
    /// The mean.
    pub mean_ds: u32,
    /// One text in a hundred took more.
    pub p99_ds: u32,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Mean time between two packets of both clients.
    pub interval_mean_ms: u32,
    /// Mean delay of a hop.
    pub delay_mean_ms: u32,
    /// Until the sender is told that the text is stored.
    pub stored: Spread,
    /// Until the recipient has it.
    pub read: Spread,
}

/// One packet of a client: when it leaves, reaches the exit provider, and is back.
struct Loop {
    class: Class,
    leaves: Instant,
    arrives: Instant,
    back: Instant,
}

/// All rows are drawn alike, so that they differ by their parameters and not by chance.
fn key(who: &str) -> Secret<32> {
    let mut hasher = blake3::Hasher::new_derive_key("whist 2026 sim latency v1");
    hasher.update(&SEED.to_be_bytes());
    hasher.update(who.as_bytes());
    Secret::new(*hasher.finalize().as_bytes())
}

/// The loops of a client in the order in which they leave.
fn loops(seed: Secret<32>, parameters: &Parameters, law: &Law) -> Vec<Loop> {
    let mut emission = Emission::new(seed);
    emission.start(Instant::ZERO, law);
    let mut loops = Vec::with_capacity(TICKS);
    while let Some(now) = emission.next().filter(|_| loops.len() < TICKS) {
        let Some(tick) = emission.take(now, law) else {
            continue;
        };
        let way = LINK.saturating_mul(LINKS);
        let sum = |delays: &[Duration]| delays.iter().sum::<Duration>().saturating_add(way);
        let arrives = tick.at.after(sum(&tick.delays));
        let answered = arrives.after(parameters.request_hold());
        loops.push(Loop {
            class: tick.class,
            leaves: tick.at,
            arrives,
            back: answered.after(sum(&tick.reply_delays)),
        });
    }
    let per_packet = parameters.downlink_slots_per_packet.into();
    let slot = law
        .interval_mean
        .checked_div(per_packet)
        .unwrap_or(law.interval_mean);
    take_slots(&mut loops, slot);
    loops
}

/// Each reply takes the first slot that is free when it is there, in the order of arrival.
fn take_slots(loops: &mut [Loop], slot: Duration) {
    let slot_ns = u64::try_from(slot.as_nanos()).unwrap_or(u64::MAX).max(1);
    let mut order: Vec<&mut Loop> = loops.iter_mut().collect();
    order.sort_by_key(|packet| packet.back);
    let mut free = 0_u64;
    for packet in order {
        let number = packet.back.as_nanos().div_ceil(slot_ns).max(free);
        packet.back = Instant::from_nanos(number.saturating_mul(slot_ns));
        free = number.saturating_add(1);
    }
}

fn spread(mut times: Vec<Duration>) -> Spread {
    times.sort();
    let count = u64::try_from(times.len()).unwrap_or(u64::MAX).max(1);
    let tenths = |time: Duration| {
        let tenths = time.as_millis().saturating_add(50).checked_div(100);
        tenths
            .and_then(|tenths| u32::try_from(tenths).ok())
            .unwrap_or(u32::MAX)
    };
    let of = |percent: usize| {
        let place = times
            .len()
            .saturating_mul(percent)
            .checked_div(100)
            .unwrap_or(0);
        tenths(times.get(place).copied().unwrap_or_default())
    };
    let all: u128 = times.iter().map(Duration::as_nanos).sum();
    let mean = all.checked_div(count.into()).unwrap_or(0);
    Spread {
        median_ds: of(50),
        mean_ds: tenths(Duration::from_nanos(
            u64::try_from(mean).unwrap_or(u64::MAX),
        )),
        p99_ds: of(99),
    }
}

/// One row: texts at random times, each the only one that waits.
fn row(parameters: &Parameters, profile: u8) -> Row {
    let law = Law::new(parameters, profile);
    let sender = loops(key("sender"), parameters, &law);
    let reader = loops(key("reader"), parameters, &law);
    let sends: Vec<_> = sender.iter().filter(|l| l.class == Class::Send).collect();
    let mut polls: Vec<_> = reader.iter().filter(|l| l.class == Class::Poll).collect();
    polls.sort_by_key(|poll| poll.arrives);
    let mut rng = tick_rng(&key("texts"), "sim", 0);
    let ends = [&sender, &reader].map(|loops| loops.last().map(|last| last.leaves));
    let span = ends
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Instant::ZERO)
        .as_nanos();
    let (mut stored, mut read) = (Vec::new(), Vec::new());
    while stored.len() < TEXTS {
        let place = rng.next_u64().checked_rem(span.max(1)).unwrap_or(0);
        let written = Instant::from_nanos(place);
        let put = sends.partition_point(|send| send.leaves < written);
        let Some(put) = sends.get(put) else { continue };
        let get = polls.partition_point(|poll| poll.arrives < put.arrives);
        let Some(get) = polls.get(get) else { continue };
        stored.push(put.back.since(written));
        read.push(get.back.since(written));
    }
    Row {
        interval_mean_ms: u32::try_from(law.interval_mean.as_millis()).unwrap_or(u32::MAX),
        delay_mean_ms: parameters.delay_mean_ms,
        stored: spread(stored),
        read: spread(read),
    }
}

/// The whole table: each profile with each mean delay.
pub fn table() -> Vec<Row> {
    let rows = (0..3).flat_map(|profile| {
        let of = move |ms| row(&Parameters::default().with_delay_mean_ms(ms), profile);
        DELAYS_MS.into_iter().map(of)
    });
    rows.collect()
}

/// How long a text takes until it is stored and until it is read, by a model that runs the real
/// send clock.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Print one object.
    #[arg(long, conflicts_with = "rust")]
    pub json: bool,
    /// Print the client's table, `client/src/latency.rs`.
    #[arg(long)]
    pub rust: bool,
}

/// Prints the table.
///
/// # Errors
/// If nobody reads what it prints.
pub fn run(options: &Options) -> Result<(), Failure> {
    let rows = table();
    let text = if options.json {
        serde_json::to_string(&rows)
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?
    } else if options.rust {
        source(&rows)
    } else {
        shown(&rows)
    };
    let failed = |error: std::io::Error| Failure::new(Exit::Other, error.to_string());
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(failed)
}

fn shown(rows: &[Row]) -> String {
    let mut text = String::from(
        "seconds, with both clients on line and nothing lost\n\n\
         packet every   mean delay   stored: median  mean   p99   read: median  mean   p99\n",
    );
    let seconds = |ds: u32| f64::from(ds) / 10.0;
    for row in rows {
        let _ = write!(
            text,
            "{:>10} s {:>9} ms",
            f64::from(row.interval_mean_ms) / 1_000.0,
            row.delay_mean_ms
        );
        for (spread, width) in [(row.stored, 17), (row.read, 15)] {
            let _ = write!(
                text,
                " {:>width$.1} {:>5.1} {:>5.1}",
                seconds(spread.median_ds),
                seconds(spread.mean_ds),
                seconds(spread.p99_ds)
            );
        }
        text.push('\n');
    }
    text
}

/// The client's file.
pub fn source(rows: &[Row]) -> String {
    let mut text = String::from(HEAD);
    for row in rows {
        let spread = |of: Spread| format!("[{}, {}, {}]", of.median_ds, of.mean_ds, of.p99_ds);
        let _ = writeln!(
            text,
            "    Latency::new({}, {}, {}, {}),",
            row.interval_mean_ms,
            row.delay_mean_ms,
            spread(row.stored),
            spread(row.read)
        );
    }
    text.push_str("];\n");
    text
}

const HEAD: &str = include_str!("latency/head.txt");

#[cfg(test)]
mod tests {
    use super::*;

    /// The design's own small model says 5.8, 6.6 and 17 s for `standard`, and 2.5, 2.6, 5.6 s for
    /// `high`, at 200 ms; it leaves out that replies wait for each other at the downlink.
    #[test]
    fn the_clients_table_of_latencies_is_what_the_model_gives_and_near_what_the_design_says() {
        let table = table();
        let written = include_str!("../../client/src/latency.rs");
        assert!(
            written == source(&table),
            "make it again: cargo run -p whist-sim -- latency --rust > client/src/latency.rs"
        );
        for (interval, said) in [(1_000, [58, 66, 170]), (250, [25, 26, 56])] {
            let row = |row: &&Row| (row.interval_mean_ms, row.delay_mean_ms) == (interval, 200);
            let read = table.iter().find(row).unwrap().read;
            for (seen, said) in [read.median_ds, read.mean_ds, read.p99_ds]
                .into_iter()
                .zip(said)
            {
                let (least, most) = (said * 9 / 10, said * 12 / 10);
                assert!(
                    (least..=most).contains(&seen),
                    "{seen} for {said}: {read:?}"
                );
            }
        }
    }

    #[test]
    fn replies_that_come_together_take_one_slot_each() {
        let at = |ms| Instant::ZERO.after(Duration::from_millis(ms));
        let packet = |ms| Loop {
            class: Class::Poll,
            leaves: at(0),
            arrives: at(0),
            back: at(ms),
        };
        let mut loops = [packet(130), packet(110), packet(500), packet(100)];
        take_slots(&mut loops, Duration::from_millis(100));
        assert_eq!(loops.map(|l| l.back), [at(300), at(200), at(500), at(100)]);
    }
}
