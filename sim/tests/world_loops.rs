//! A network without clients, in virtual time: consensus, keys, loops, drops.
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

use whist_directory::Event;
use whist_netdoc::{LoopReport, LoopSegment};
use whist_sim::network::{Blueprint, Who};
use whist_sim::world::{Cast, LinkLaw};
use whist_types::Wall;

const GENESIS: Wall = Wall::from_secs(1_800_000_000);

fn cast(seed: u64) -> Cast {
    let mut blueprint = Blueprint::small(seed, GENESIS);
    blueprint.parameters.mix_loop_mean_ms = 1_000;
    Cast::new(blueprint).unwrap()
}

#[test]
fn loops_of_all_mixes_return_and_every_packet_is_accounted_for() {
    let mut cast = cast(1);
    cast.world.run_for(Duration::from_secs(60));
    let (mut sent, mut returned) = (0, 0);
    for i in 0..cast.blueprint.mixes {
        let stats = cast.mix(i).unwrap().role.stats();
        assert!(stats.layer.is_some(), "mix {i} is listed: {stats:?}");
        assert!(stats.balances(), "mix {i}: {stats:?}");
        sent += stats.loops_sent;
        returned += stats.loops_returned;
    }
    for i in 0..cast.blueprint.providers {
        let stats = cast.provider(i).unwrap().role.stats();
        assert!(stats.listed, "provider {i} is listed: {stats:?}");
        assert!(stats.answered > 0, "provider {i} answers loops: {stats:?}");
    }
    // Nine mixes, one loop a second each, from the first consensus (within 20 s) on.
    assert!(sent > 9 * 35, "{sent} sent");
    assert!(
        sent - returned < 12,
        "{returned} of {sent} returned; the rest is under way"
    );
}

#[test]
fn one_seed_gives_one_run_of_the_whole_network() {
    let run = || {
        let mut cast = cast(7);
        let id = cast.id(Who::Mix(0)).unwrap();
        cast.world.watch(id);
        cast.world.run_for(Duration::from_secs(30));
        (cast.world.delivered(), cast.world.trace().to_text())
    };
    let (delivered, trace) = run();
    assert!(
        delivered > 1_000 && trace.lines().count() > 100,
        "{delivered}"
    );
    assert!((delivered, trace) == run(), "two runs of one seed differ");
}

#[test]
fn a_mix_that_is_killed_serves_on_with_its_key_and_one_that_is_rebooted_with_the_next() {
    let mut cast = cast(3);
    cast.world.run_for(Duration::from_secs(25));
    let keys = |cast: &mut Cast, i| cast.mix(i).unwrap().role.stats().keys;
    let before = keys(&mut cast, 0);
    cast.kill(Who::Mix(0));
    cast.world.run_for(Duration::from_millis(200));
    cast.start(Who::Mix(0)).unwrap();
    cast.world.run_for(Duration::from_millis(200));
    assert_eq!(
        keys(&mut cast, 0),
        before,
        "killed: the same key with its tags"
    );
    let (now, schedule) = (cast.world.now().wall, cast.network().schedule);
    let epoch = schedule.epoch_at(now);
    cast.reboot(Who::Mix(1));
    cast.start(Who::Mix(1)).unwrap();
    cast.world.run_for(Duration::from_millis(200));
    assert!(
        !keys(&mut cast, 1).contains(&epoch),
        "rebooted: never the old key again"
    );
    cast.world.run_for(Duration::from_secs(12));
    assert!(keys(&mut cast, 1).iter().all(|key| *key > epoch));
    assert!(
        !keys(&mut cast, 1).is_empty(),
        "it serves from the next epoch on"
    );
}

/// Mixes of which an authority was told that their loops were missing in a row.
fn told(cast: &mut Cast, authority: u8) -> Vec<(whist_types::NodeId, LoopReport)> {
    let events = &cast.authority(authority).unwrap().environment.events;
    let alarm = |event: &Event| match event {
        Event::LoopAlarm { mix, report } => Some((*mix, report.clone())),
        _ => None,
    };
    events.iter().filter_map(alarm).collect()
}

/// Loses every packet, and nothing else, between a mix and all other nodes.
fn black_hole(cast: &mut Cast, mix: Who) {
    let law = LinkLaw {
        loss_ppm: 1_000_000,
        packets_only: true,
        ..LinkLaw::after(Duration::from_millis(1))
    };
    let hole = cast.id(mix).unwrap();
    for other in cast.blueprint.nodes().collect::<Vec<_>>() {
        let other = cast.id(other).unwrap();
        if other != hole {
            cast.world.set_law(hole, other, law.clone());
            cast.world.set_law(other, hole, law.clone());
        }
    }
}

#[test]
fn a_black_hole_raises_the_mixs_alarm_and_its_next_descriptor_tells_every_authority_and_no_other() {
    let mut cast = cast(10);
    let length = cast.network().schedule.length();
    cast.world.run_for(length * 5);
    for index in 0..cast.blueprint.authorities {
        assert_eq!(told(&mut cast, index), [], "no attack, no alarm");
    }
    let surrounded = Who::Mix(4);
    let id = cast.blueprint.identity(surrounded).node_id();
    black_hole(&mut cast, surrounded);
    let mut waited = 0;
    while told(&mut cast, 0).iter().all(|(mix, _)| *mix != id) {
        waited += 1;
        assert!(waited <= 3, "three epochs and no word of it");
        cast.world.run_for(length);
    }
    // One more, so that what was signed since would show it.
    cast.world.run_for(length);
    for index in 0..cast.blueprint.authorities {
        let told = told(&mut cast, index);
        let (_, report) = told.iter().find(|(mix, _)| *mix == id).unwrap();
        assert!(report.alarm && !report.segments.is_empty(), "{report:?}");
        let at_the_hole = |step: &LoopSegment| step.from == id || step.to == id;
        assert!(report.segments.iter().any(at_the_hole), "{report:?}");
    }
    let stats = cast.mix(4).unwrap().role.stats();
    assert!(stats.loop_alarm && stats.loop_reports > 0, "{stats:?}");
    // Nodes leave only by consensus: being accused or accusing changes no list.
    let newest = cast.authority(0).unwrap().role.follower().newest();
    assert_eq!(newest.unwrap().nodes().len(), 13);
}
