//! Clocks that are wrong for a while.

use whist_link::Input;
use whist_types::Wall;

use crate::rig::{Rig, wall};

/// Sets every clock and lets all who run look at it.
fn set_clocks(rig: &mut Rig, to: Wall) {
    rig.now.wall = to;
    rig.inputs.extend((0..4).map(|i| (i, Input::Timeout)));
    rig.settle();
}

/// The part of a far epoch in which lists are fixed: a day is 8,640 epochs here.
const A_DAY_AHEAD: u64 = 8_641;

#[test]
fn clocks_that_were_a_day_ahead_for_a_moment_cost_no_consensus() {
    let mut rig = Rig::new();
    rig.describe(1);
    rig.run_to(wall(1, 0));
    rig.describe(2);
    rig.run_to(wall(1, 300));
    set_clocks(&mut rig, wall(A_DAY_AHEAD, 700));
    rig.run_to(wall(A_DAY_AHEAD, 750));
    set_clocks(&mut rig, wall(1, 350));
    rig.run_to(wall(2, 0));
    assert_eq!(rig.epochs(), [Some(2); 4]);
    assert!((0..4).all(|i| rig.signed(i).len() == 2));
    rig.describe(3);
    rig.run_to(wall(3, 0));
    assert_eq!(rig.epochs(), [Some(3); 4]);
}

#[test]
fn signatures_that_were_heard_before_a_clock_was_ahead_still_count() {
    let mut rig = Rig::new();
    rig.kill(3);
    rig.hold_disk.insert(0);
    rig.describe(1);
    rig.run_to(wall(0, 640));
    set_clocks(&mut rig, wall(A_DAY_AHEAD, 100));
    set_clocks(&mut rig, wall(0, 641));
    // The third signature leaves now; the two others were heard before.
    rig.sync(0);
    rig.settle();
    assert_eq!(rig.epochs(), [Some(1), Some(1), Some(1), None]);
}

#[test]
fn what_a_clock_signed_ahead_of_its_time_is_not_signed_again() {
    let mut rig = Rig::new();
    (1..4).for_each(|i| rig.kill(i));
    // Nodes and this authority are an epoch ahead.
    set_clocks(&mut rig, wall(1, 100));
    rig.describe(2);
    rig.run_to(wall(1, 610));
    let signed = rig.signed(0);
    assert_eq!(signed.len(), 1);
    set_clocks(&mut rig, wall(0, 300));
    (1..4).for_each(|i| rig.start(i));
    rig.describe(1);
    rig.run_to(wall(1, 100));
    assert_eq!(
        rig.epochs(),
        [Some(1); 4],
        "it fetched what the others made"
    );
    rig.describe(2);
    rig.run_to(wall(2, 0));
    assert_eq!(rig.epochs(), [Some(2); 4]);
    assert_eq!(rig.signed(0), signed);
    rig.describe(3);
    rig.run_to(wall(3, 0));
    assert_eq!(rig.signed(0).len(), 2);
}
