//! Kills at every moment at which something becomes durable.

use std::time::Duration;

use crate::call::{Answer, Call};
use crate::client::rig::{Rig, parameters};

/// Kills a side as soon as it puts a batch out, or as soon as that is durable; how many items it
/// could not open in that life.
fn kill(rig: &mut Rig, side: usize, durable: bool, seed: u8) -> u64 {
    let which = usize::from(durable);
    let before = rig.sides[side].commits[which];
    let end = rig.now.instant.after(Duration::from_secs(5));
    rig.run_until(end, |rig| rig.sides[side].commits[which] > before);
    let stats = rig.sides[side].client.as_ref().unwrap().stats();
    rig.start(side, seed);
    stats.unreadable
}

#[test]
fn a_kill_at_every_point_of_persistence_on_both_sides_loses_nothing_that_was_acknowledged() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let (mut answered, mut unreadable) = ([Vec::new(), Vec::new()], 0);
    for round in 0..48_u8 {
        let side = if round % 2 == 0 { alice } else { bob };
        let tag = 3_000 + u64::from(round);
        let call = Call::Send {
            contact: if side == alice { "bob" } else { "alice" }.into(),
            text: format!("{round:02}"),
            reply_to: None,
            wait_s: 0,
        };
        rig.ask(side, tag, call);
        // The batches that follow on a text are its own, a packet's, an answer's, an item's.
        let victim = if round % 4 < 2 {
            side
        } else {
            alice + bob - side
        };
        for point in 0..=round % 3 {
            // A seed is for one start: two with one seed would draw the same nonces.
            let seed = 100 + 3 * round + point;
            unreadable += kill(&mut rig, victim, round % 8 < 4, seed);
        }
        if let Some(Ok(Answer::Message { .. })) = rig.answer(side, tag) {
            answered[side].push(format!("{round:02}"));
        }
    }
    rig.run(Duration::from_secs(150));
    for (reader, writer) in [(bob, alice), (alice, bob)] {
        let texts: Vec<String> = rig
            .texts(reader)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert!(texts.is_sorted_by(|a, b| a < b), "{texts:?}");
        let lost = answered[writer].iter().find(|text| !texts.contains(text));
        assert_eq!(lost, None, "{texts:?}");
        assert!(answered[writer].len() > 8, "{answered:?}");
        let stats = rig.sides[reader].client.as_ref().unwrap().stats();
        unreadable += stats.unreadable;
    }
    // Two items under one key, and the second would not open.
    assert_eq!(unreadable, 0);
}
