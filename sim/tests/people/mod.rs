//! A network with two people who know each other; shared by tests of the world.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use std::time::Duration;

use whist::call::Call;
use whist::{Answer, Event, Status};
use whist_sim::network::{Blueprint, Who};
use whist_sim::world::Cast;
use whist_types::Wall;

pub const GENESIS: Wall = Wall::from_secs(1_800_000_000);
/// Long enough for the first consensus, the mailbox and the first invitations.
const SETTLING: Duration = Duration::from_secs(90);

/// The demo's network, with one loop a minute from each mix: they make no difference to anybody's
/// packets, and most of the work.
pub fn small(seed: u64) -> Blueprint {
    let mut blueprint = Blueprint::small(seed, GENESIS);
    blueprint.parameters.mix_loop_mean_ms = 60_000;
    blueprint
}

/// That network and two clients.
pub fn cast(seed: u64) -> Cast {
    cast_watched(seed, &[])
}

/// The same, with an observer at these wires from the first moment.
pub fn cast_watched(seed: u64, watched: &[Who]) -> Cast {
    let mut cast = Cast::new(small(seed)).unwrap();
    cast.start(Who::Client(0)).unwrap();
    cast.start(Who::Client(1)).unwrap();
    for who in watched {
        let id = cast.id(*who).unwrap();
        cast.world.watch(id);
    }
    cast
}

/// Client 0 (alice) invites client 1 (bob).
pub fn introduce(cast: &mut Cast) {
    let _ = introduce_within(cast, SETTLING);
}

/// The same, with more time for each step; gives the invitation.
pub fn introduce_within(cast: &mut Cast, limit: Duration) -> String {
    let wait_s = limit.as_secs();
    let invite = Call::Invite {
        name: "bob".into(),
        wait_s,
    };
    let invitation = match cast.ask_and_wait(0, invite, limit) {
        Some(Answer::Invitation { invitation }) => invitation,
        other => panic!("no invitation: {other:?}"),
    };
    let add = Call::Add {
        name: "alice".into(),
        invitation: invitation.clone(),
        now: false,
        wait_s,
    };
    match cast.ask_and_wait(1, add, limit) {
        Some(Answer::Adding { added: true, .. }) => {}
        other => panic!("not added: {other:?}"),
    }
    let met = |cast: &mut Cast| {
        let events = &cast.client(0).unwrap().environment.events;
        events
            .iter()
            .any(|(_, event)| matches!(event, Event::Added { .. }))
    };
    assert!(until(cast, limit, met), "the first item never came");
    invitation
}

/// Client 0 (alice) invites another client under this name.
pub fn introduce_to(cast: &mut Cast, index: u8, name: &str) {
    let invite = Call::Invite {
        name: name.into(),
        wait_s: SETTLING.as_secs(),
    };
    let invitation = match cast.ask_and_wait(0, invite, SETTLING) {
        Some(Answer::Invitation { invitation }) => invitation,
        other => panic!("no invitation: {other:?}"),
    };
    let add = Call::Add {
        name: "alice".into(),
        invitation,
        now: false,
        wait_s: SETTLING.as_secs(),
    };
    match cast.ask_and_wait(index, add, SETTLING) {
        Some(Answer::Adding { added: true, .. }) => {}
        other => panic!("not added: {other:?}"),
    }
}

/// Queues a text from client `from` to the other one.
pub fn send(cast: &mut Cast, from: u8, text: &str) {
    let contact = if from == 0 { "bob" } else { "alice" };
    cast.ask(
        from,
        Call::Send {
            contact: contact.into(),
            text: text.into(),
            reply_to: None,
            wait_s: 0,
        },
    );
}

/// Runs in steps of 100 ms until `done`, for at most `limit` of virtual time; whether it was done.
pub fn until(cast: &mut Cast, limit: Duration, mut done: impl FnMut(&mut Cast) -> bool) -> bool {
    let end = cast.world.now().instant.after(limit);
    loop {
        if done(cast) {
            return true;
        }
        if cast.world.now().instant >= end {
            return false;
        }
        cast.world.run_for(Duration::from_millis(100));
    }
}

/// The texts that a client received, in the order of their arrival.
pub fn texts(cast: &mut Cast, index: u8) -> Vec<String> {
    let received = cast.received(index).into_iter();
    received.map(|(_, text)| text).collect()
}

/// How a client says that things stand.
pub fn status(cast: &mut Cast, index: u8) -> Box<Status> {
    let call = Call::Status {};
    match cast.ask_and_wait(index, call, Duration::from_secs(1)) {
        Some(Answer::Status(status)) => status,
        other => panic!("no status: {other:?}"),
    }
}

/// A client's entry provider and its mailbox's.
pub fn providers(cast: &mut Cast, index: u8) -> [Who; 2] {
    let status = status(cast, index);
    [status.entry, status.mailbox_provider].map(|id| {
        let id = id.unwrap();
        let named = |who: &Who| cast.blueprint.identity(*who).node_id().to_string() == id;
        cast.blueprint.nodes().find(named).unwrap()
    })
}
