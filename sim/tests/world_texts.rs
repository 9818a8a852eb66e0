//! Two people who write to each other, in virtual time.
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

use people::{cast, introduce, introduce_to, send, status, texts, until};
use whist_sim::network::Who;

#[test]
fn texts_arrive_once_in_order_and_unaltered_both_ways() {
    let mut cast = cast(1);
    introduce(&mut cast);
    for i in 0..10 {
        send(&mut cast, 0, &format!("a{i}"));
        send(&mut cast, 1, &format!("b{i}"));
    }
    let all = |cast: &mut whist_sim::world::Cast| {
        cast.received(0).len() == 10 && cast.received(1).len() == 10
    };
    let mut rounds = 0;
    while !all(&mut cast) && rounds < 600 {
        cast.world.run_for(Duration::from_millis(100));
        rounds += 1;
    }
    let texts = |cast: &mut whist_sim::world::Cast, i| {
        cast.received(i)
            .into_iter()
            .map(|(_, text)| text)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&mut cast, 1),
        (0..10).map(|i| format!("a{i}")).collect::<Vec<_>>()
    );
    assert_eq!(
        texts(&mut cast, 0),
        (0..10).map(|i| format!("b{i}")).collect::<Vec<_>>()
    );
}

#[test]
fn a_provider_that_is_killed_after_stored_still_has_the_item() {
    let mut cast = cast(2);
    introduce(&mut cast);
    // The reader is off line, so that the text waits at its mailbox.
    cast.kill(Who::Client(1));
    let call = whist::call::Call::Send {
        contact: "bob".into(),
        text: "kept".into(),
        reply_to: None,
        wait_s: 60,
    };
    let answer = cast.ask_and_wait(0, call, Duration::from_secs(60));
    assert!(
        matches!(
            answer,
            Some(whist::Answer::Message {
                state: whist::MessageState::Stored,
                ..
            })
        ),
        "{answer:?}"
    );
    for i in 0..cast.blueprint.providers {
        cast.kill(Who::Provider(i));
        cast.start(Who::Provider(i)).unwrap();
    }
    cast.start(Who::Client(1)).unwrap();
    let mut rounds = 0;
    while cast.received(1).is_empty() && rounds < 600 {
        cast.world.run_for(Duration::from_millis(100));
        rounds += 1;
    }
    assert_eq!(cast.received(1).len(), 1);
}

#[test]
fn in_an_honest_network_nobody_asks_for_a_consensus_that_they_were_told_of() {
    let mut cast = cast(92);
    introduce(&mut cast);
    let epochs = 8;
    let length = cast.network().schedule.length();
    for epoch in 0..epochs {
        send(&mut cast, epoch % 2, "what is in force");
        cast.world.run_for(length);
    }
    let both = texts(&mut cast, 0).len() + texts(&mut cast, 1).len();
    assert_eq!(both, usize::from(epochs), "items that name a consensus");
    for index in 0..cast.blueprint.providers {
        let stats = cast.provider(index).unwrap().role.stats();
        assert!(stats.answered > 0, "provider {index}: {stats:?}");
        assert_eq!(stats.documents, 0, "provider {index}");
    }
}

/// A flood by one contact waits in the mailbox of somebody who was off line. Addresses are served
/// in turn: every second poll at the latest is another contact's. A few replies overtake others.
#[test]
fn a_flood_by_one_contact_delays_anothers_texts_by_at_most_one_poll_in_two() {
    const FLOOD: usize = 60;
    const TEXTS: usize = 8;
    let mut cast = cast(28);
    introduce(&mut cast);
    cast.start(Who::Client(2)).unwrap();
    introduce_to(&mut cast, 2, "carol");
    let stored = |cast: &mut whist_sim::world::Cast, index: u8, count: usize| {
        until(cast, Duration::from_secs(600), |cast| {
            status(cast, index).outbox == 0 && count > 0
        })
    };
    // Both have greeted her; then she leaves.
    let met = |cast: &mut whist_sim::world::Cast| status(cast, 0).contacts == 2;
    assert!(until(&mut cast, Duration::from_secs(120), met));
    assert!(stored(&mut cast, 1, 1) && stored(&mut cast, 2, 1));
    cast.kill(Who::Client(0));
    for i in 0..FLOOD {
        send(&mut cast, 2, &format!("c{i}"));
    }
    assert!(stored(&mut cast, 2, FLOOD), "a flood that is stored");
    for i in 0..TEXTS {
        send(&mut cast, 1, &format!("b{i}"));
    }
    assert!(stored(&mut cast, 1, TEXTS));
    cast.start(Who::Client(0)).unwrap();
    let all = |cast: &mut whist_sim::world::Cast| texts(cast, 0).len() == FLOOD + TEXTS;
    let came = until(&mut cast, Duration::from_secs(600), all);
    let order = texts(&mut cast, 0);
    assert!(came, "{order:?}");
    let places = order
        .iter()
        .enumerate()
        .filter(|(_, text)| text.starts_with('b'));
    for (number, (place, text)) in places.enumerate() {
        assert!(
            place <= 2 * number + 2,
            "{text} came as number {place}: {order:?}"
        );
    }
}
