//! Loss, partitions, disorder and replays: safety always, liveness after.
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

use people::{cast, introduce, introduce_within, providers, send, texts, until};
use whist::Event;
use whist::call::Call;
use whist_sim::network::Who;
use whist_sim::world::{Cast, LinkLaw, Recorded};

const MINUTES: Duration = Duration::from_secs(900);
/// Six repeats take an hour and a half at a mean, and a text waits for the one before it: under
/// seed 31 one needs its fourth repeat and comes after 18 minutes. Only there so that a hang ends.
const REPEATED: Duration = Duration::from_secs(4 * 3_600);

const fn weather(loss_ppm: u32, duplicate_ppm: u32, jitter_ms: u64, reorder: bool) -> LinkLaw {
    LinkLaw {
        jitter: Duration::from_millis(jitter_ms),
        loss_ppm,
        duplicate_ppm,
        reorder,
        packets_only: true,
        ..LinkLaw::after(Duration::from_millis(1))
    }
}

fn fair() -> LinkLaw {
    LinkLaw::after(Duration::from_millis(1))
}

/// Queues `count` texts each way.
fn write(cast: &mut Cast, count: usize) {
    for i in 0..count {
        send(cast, 0, &format!("a{i}"));
        send(cast, 1, &format!("b{i}"));
    }
}

/// Waits until they are read, and a while longer, so that a doubled one would show.
fn read(cast: &mut Cast, count: usize, what: &str) {
    let came = until(cast, REPEATED, |cast| {
        cast.received(0).len() >= count && cast.received(1).len() >= count
    });
    cast.world.run_for(Duration::from_secs(10));
    for (reader, whose) in [(0, "b"), (1, "a")] {
        let expected: Vec<_> = (0..count).map(|i| format!("{whose}{i}")).collect();
        assert_eq!(texts(cast, reader), expected, "{what}, came: {came}");
    }
}

/// Seed 22 is a bug that became a test: bob greeted with an address before his provider had it,
/// and texts to it were answered as stored and lost.
#[test]
fn at_five_percent_loss_on_each_wire_every_invitation_opens_once_and_texts_come_once_in_order() {
    for seed in [21, 22] {
        let mut cast = cast(seed);
        cast.world.set_weather(weather(50_000, 0, 0, false));
        let invitation = introduce_within(&mut cast, MINUTES);
        write(&mut cast, 10);
        read(&mut cast, 10, &format!("seed {seed}"));
        let repeats = cast.client(0).unwrap().role.stats().repeats;
        assert!(repeats > 0, "nothing was lost");
        opens_no_more(&mut cast, invitation);
    }
}

/// A third person finds the invitation used.
fn opens_no_more(cast: &mut Cast, invitation: String) {
    cast.start(Who::Client(2)).unwrap();
    let call = Call::Add {
        name: "alice".into(),
        invitation,
        now: true,
        wait_s: 0,
    };
    cast.world.run_for(Duration::from_secs(30));
    cast.ask(2, call);
    let refused = until(cast, MINUTES, |cast| {
        let events = &cast.client(2).unwrap().environment.events;
        let failed = |(_, event): &(_, Event)| matches!(event, Event::AddFailed { .. });
        events.iter().any(failed)
    });
    assert!(refused, "a used invitation");
}

#[test]
fn a_partition_between_a_provider_and_the_mixes_heals() {
    let mut cast = cast(31);
    introduce(&mut cast);
    let [_, mailbox] = providers(&mut cast, 1);
    let cut = |cast: &mut Cast, cut| {
        let provider = cast.id(mailbox).unwrap();
        for i in 0..cast.blueprint.mixes {
            let mix = cast.id(Who::Mix(i)).unwrap();
            cast.world.set_cut(provider, mix, cut);
        }
    };
    cut(&mut cast, true);
    write(&mut cast, 5);
    cast.world.run_for(Duration::from_secs(25));
    assert_eq!(
        texts(&mut cast, 1).len(),
        0,
        "its mailbox cannot be reached"
    );
    cut(&mut cast, false);
    read(&mut cast, 5, "healed");
}

#[test]
fn duplicates_and_reordering_double_and_disorder_nothing() {
    let mut cast = cast(41);
    introduce(&mut cast);
    cast.world.set_weather(weather(0, 200_000, 40, true));
    write(&mut cast, 20);
    read(&mut cast, 20, "every fifth packet doubled on each wire");
    let doubled = |i| dropped(&mut cast, Who::Mix(i), "replayed");
    assert!((0..9).map(doubled).sum::<u64>() > 100, "none came twice");
}

/// Seeds of attack 26, from the 100th on; `.ci/full` asks for a thousand.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("WHIST_STORM_SEEDS").ok();
    let count = asked.map_or(20, |count| count.parse().expect("a number of seeds"));
    100..100 + count
}

/// Attack 26: everything at once, for each seed.
fn storm(seeds: std::ops::Range<u64>) {
    assert!(!seeds.is_empty(), "no seed, nothing shown");
    for seed in seeds {
        let mut cast = cast(seed);
        introduce(&mut cast);
        cast.world.set_weather(weather(20_000, 50_000, 30, true));
        let provider = Who::Provider((seed % 4) as u8);
        let cut = |cast: &mut Cast, cut| {
            let provider = cast.id(provider).unwrap();
            for i in 0..cast.blueprint.mixes {
                // Every second seed, half of the mixes only.
                if seed % 2 == 0 || i % 2 == 0 {
                    let mix = cast.id(Who::Mix(i)).unwrap();
                    cast.world.set_cut(provider, mix, cut);
                }
            }
        };
        write(&mut cast, 5);
        cast.world.run_for(Duration::from_millis(seed % 7 * 100));
        cut(&mut cast, true);
        cast.world
            .run_for(Duration::from_millis(2_000 + seed % 5 * 700));
        cut(&mut cast, false);
        cast.world.set_weather(fair());
        read(&mut cast, 5, &format!("seed {seed}"));
    }
}

// In two halves, for two cores.
#[test]
fn partition_loss_reordering_and_duplicates_lose_and_double_no_text_in_the_first_seeds() {
    let seeds = seeds();
    storm(seeds.start..seeds.start.midpoint(seeds.end));
}

#[test]
fn partition_loss_reordering_and_duplicates_lose_and_double_no_text_in_the_last_seeds() {
    let seeds = seeds();
    storm(seeds.start.midpoint(seeds.end)..seeds.end);
}

fn dropped(cast: &mut Cast, who: Who, reason: &str) -> u64 {
    let dropped = match who {
        Who::Mix(i) => cast.mix(i).unwrap().role.stats().dropped,
        Who::Provider(i) => cast.provider(i).unwrap().role.stats().dropped,
        _ => return 0,
    };
    dropped.get(reason).copied().unwrap_or(0)
}

/// All drops of a node, and those as a replay, and those under no key.
fn drops(cast: &mut Cast, who: Who) -> [u64; 2] {
    ["replayed", "bad_mac"].map(|reason| dropped(cast, who, reason))
}

#[test]
fn packets_recorded_in_an_epoch_are_forwarded_in_none_later() {
    let mut cast = cast(51);
    introduce(&mut cast);
    let schedule = cast.network().schedule;
    let epoch = schedule.epoch_at(cast.world.now().wall).next();
    let at = |cast: &mut Cast, epochs: u32, ms: u64| {
        let start = schedule.start(epoch).after(schedule.length() * epochs);
        let now = cast.world.now();
        let until = now.instant_of(start.after(Duration::from_millis(ms)));
        cast.world.run_until(until);
    };
    let nodes: Vec<Who> = cast.blueprint.nodes().collect();
    at(&mut cast, 0, 2_000);
    for who in &nodes {
        let id = cast.id(*who).unwrap();
        cast.world.record(id);
    }
    at(&mut cast, 0, 5_000);
    let clients = [0, 1].map(|i| cast.id(Who::Client(i)).unwrap());
    let tapes: Vec<(Who, Vec<Recorded>)> = nodes
        .iter()
        .map(|who| {
            let id = cast.id(*who).unwrap();
            let mut tape = cast.world.stop_recording(id);
            // A client's own link has a bucket that a replay would meet first.
            tape.retain(|packet| !clients.contains(&packet.from));
            (*who, tape)
        })
        .collect();
    let all: usize = tapes.iter().map(|(_, tape)| tape.len()).sum();
    assert!(all > 300, "{all} recorded");
    // Within the epoch, while its key is still taken, and when it is gone.
    for (epochs, ms, reason) in [(0, 6_000, 0), (1, 300, 0), (1, 5_000, 1), (2, 5_000, 1)] {
        at(&mut cast, epochs, ms);
        for (who, tape) in &tapes {
            let id = cast.id(*who).unwrap();
            let before = drops(&mut cast, *who);
            for packet in tape {
                assert!(cast.world.replay(id, packet), "a link to {who}");
            }
            cast.world.run_for(Duration::from_millis(1));
            let after = drops(&mut cast, *who);
            let mut expected = before;
            expected[reason] += tape.len() as u64;
            assert_eq!(after, expected, "{who}, {epochs} epochs later, {ms} ms");
        }
    }
}
