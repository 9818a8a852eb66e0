//! The schedule and the pace that a network has outside of experiments: the defaults.
#![allow(clippy::unwrap_used, missing_docs)]

mod people;

use std::time::Duration;

use whist_netdoc::Parameters;
use whist_sim::network::{Blueprint, Who};
use whist_sim::world::Cast;

/// The network's first hour has no consensus: the first is made for the epoch after it.
#[test]
#[ignore = "long: run by .ci/full soak"]
fn texts_pass_under_the_default_parameters_and_after_the_end_of_an_hours_epoch() {
    let mut blueprint = Blueprint::small(31, people::GENESIS);
    blueprint.parameters = Parameters::default();
    // Most of the work, and of no use to anybody's packets; a table as small as an experiment's
    // lets only 17 packets a second through.
    blueprint.parameters.mix_loop_mean_ms = 600_000;
    let hour = Duration::from_millis(blueprint.parameters.epoch_ms);
    let mut cast = Cast::new(blueprint).unwrap();
    cast.world.run_for(hour);
    cast.start(Who::Client(0)).unwrap();
    cast.start(Who::Client(1)).unwrap();
    people::introduce_within(&mut cast, hour);
    people::send(&mut cast, 0, "before");
    assert!(people::until(&mut cast, hour, |cast| {
        people::texts(cast, 1) == ["before"]
    }));
    let late = people::GENESIS.after(2 * hour + hour / 60);
    assert!(cast.world.now().wall < late);
    let pause = late.since(cast.world.now().wall);
    cast.world.run_for(pause);
    people::send(&mut cast, 1, "after");
    assert!(people::until(&mut cast, hour, |cast| {
        people::texts(cast, 0) == ["after"]
    }));
}
