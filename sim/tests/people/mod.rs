//! A network with two people who know each other; shared by tests of the world.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use whist::rpc::Call;
use whist::{Answer, Event};
use whist_sim::network::{Blueprint, Who};
use whist_sim::world::Cast;
use whist_types::Wall;

pub const GENESIS: Wall = Wall::from_secs(1_800_000_000);
/// Long enough for the first consensus, the mailbox and the first invitations.
const SETTLING: Duration = Duration::from_secs(90);

/// The demo's network, with few loops of mixes, and two clients.
pub fn cast(seed: u64) -> Cast {
    let mut blueprint = Blueprint::small(seed, GENESIS);
    blueprint.parameters.mix_loop_mean_ms = 60_000;
    let mut cast = Cast::new(blueprint);
    cast.start(Who::Client(0));
    cast.start(Who::Client(1));
    cast
}

/// Client 0 (alice) invites client 1 (bob).
pub fn introduce(cast: &mut Cast) {
    let wait_s = SETTLING.as_secs();
    let invite = Call::Invite { name: "bob".into(), wait_s };
    let invitation = match cast.ask_and_wait(0, invite, SETTLING) {
        Some(Answer::Invitation { invitation }) => invitation,
        other => panic!("no invitation: {other:?}"),
    };
    let add = Call::Add { name: "alice".into(), invitation, now: false, wait_s };
    match cast.ask_and_wait(1, add, SETTLING) {
        Some(Answer::Adding { added: true, .. }) => {}
        other => panic!("not added: {other:?}"),
    }
    let met = |cast: &mut Cast| {
        let events = &cast.client(0).unwrap().environment.events;
        events.iter().any(|(_, event)| matches!(event, Event::Added { .. }))
    };
    let mut rounds = 0;
    while !met(cast) && rounds < 900 {
        cast.world.run_for(Duration::from_millis(100));
        rounds += 1;
    }
    assert!(met(cast), "the first item never came");
}

/// Queues a text from client `from` to the other one.
pub fn send(cast: &mut Cast, from: u8, text: &str) {
    let contact = if from == 0 { "bob" } else { "alice" };
    cast.ask(from, Call::Send { contact: contact.into(), text: text.into(), wait_s: 0 });
}
