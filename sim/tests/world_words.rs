//! Many texts under loss and disorder: each is read once, unaltered and in order, or reported
//! `failed`. `WHIST_WORDS=10000` makes it the long form, which `.ci/full` runs.
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

use std::collections::BTreeMap;
use std::time::Duration;

use people::{GENESIS, introduce, texts};
use whist::call::Call;
use whist::{Answer, Event, MessageState};
use whist_sim::network::{Blueprint, Who};
use whist_sim::world::{Cast, LinkLaw};

const WORDS_IN_THE_GATE: usize = 100;
/// A fifth of the packets over the five wires of each way: 1 − 0.8^(1/5).
const LOSS_PPM: u32 = 43_648;

/// The demo's network; a send clock that keeps up with ten texts a second of which a third is
/// repeated, and repeats whose waits add up to minutes instead of hours.
fn cast() -> Cast {
    let mut blueprint = Blueprint::small(62, GENESIS);
    blueprint.parameters.mix_loop_mean_ms = 60_000;
    blueprint.parameters.profile_mean_ms = [25; 3];
    blueprint.parameters.retransmit_mean_ms = [500, 1_000, 2_000, 4_000, 8_000, 16_000];
    let mut cast = Cast::new(blueprint).unwrap();
    cast.start(Who::Client(0)).unwrap();
    cast.start(Who::Client(1)).unwrap();
    cast
}

fn word(i: usize) -> String {
    format!("{i:05} of many")
}

/// How far each text has come, by the tag under which it was sent.
fn states(cast: &mut Cast) -> (BTreeMap<u64, u64>, BTreeMap<u64, MessageState>) {
    let (mut sent, mut states) = (BTreeMap::new(), BTreeMap::new());
    for (_, event) in &cast.client(0).unwrap().environment.events {
        match event {
            Event::Answer { tag, answer } => {
                if let Ok(Answer::Message { message, .. }) = answer.as_ref() {
                    sent.insert(*tag, message.number());
                }
            }
            Event::State { message, state } => {
                states.insert(message.number(), *state);
            }
            _ => {}
        }
    }
    (sent, states)
}

#[test]
fn under_loss_and_disorder_each_of_many_texts_is_read_once_in_order_or_reported_failed() {
    let count = std::env::var("WHIST_WORDS").ok();
    let count = count.map_or(WORDS_IN_THE_GATE, |count| count.parse().unwrap());
    let mut cast = cast();
    introduce(&mut cast);
    cast.world.set_weather(LinkLaw {
        // Two packets of a client are 25 ms apart, so that many overtake each other, in the mixes
        // more. Ten wires that are slower than this would lose what crosses the end of an epoch of
        // ten seconds, whose keys serve for one more: the loss is to be that of the weather alone.
        jitter: Duration::from_millis(60),
        loss_ppm: LOSS_PPM,
        reorder: true,
        packets_only: true,
        ..LinkLaw::after(Duration::from_millis(1))
    });
    let tags: Vec<u64> = (0..count)
        .map(|i| {
            let call = Call::Send {
                contact: "bob".into(),
                text: word(i),
                reply_to: None,
                wait_s: 0,
            };
            let tag = cast.ask(0, call);
            cast.world.run_for(Duration::from_millis(100));
            tag
        })
        .collect();
    let settled = |cast: &mut Cast| {
        let (sent, states) = states(cast);
        let over = |state| matches!(state, Some(MessageState::Stored | MessageState::Failed));
        tags.iter().all(|tag| over(states.get(&sent[tag]).copied()))
    };
    let mut rounds = 0;
    while !settled(&mut cast) && rounds < 3_600 {
        cast.world.run_for(Duration::from_secs(1));
        rounds += 1;
    }
    // What is stored is read soon.
    cast.world.run_for(Duration::from_secs(20));
    let read = texts(&mut cast, 1);
    assert!(read.is_sorted_by(|a, b| a < b), "twice, or out of order");
    let (sent, states) = states(&mut cast);
    let mut read = read.into_iter().peekable();
    let (mut unread, mut failed_though_read) = (0, 0);
    for (i, tag) in tags.iter().enumerate() {
        let came = read.next_if(|text| *text == word(i)).is_some();
        let failed = states.get(&sent[tag]) == Some(&MessageState::Failed);
        unread += usize::from(!came && !failed);
        failed_though_read += usize::from(came && failed);
    }
    assert_eq!(read.next(), None, "altered");
    let repeats = cast.client(0).unwrap().role.stats().repeats;
    assert!(
        repeats as usize > count / 4,
        "{repeats} repeats: nothing was lost"
    );
    // Of 10,000 at most 3 and 25; of fewer that share of them, rounded down: of 100 none. Eight in
    // 10,000 are expected to be read and reported `failed`: seven packets, of each of which the
    // packet or its answer was lost (0.36^7).
    let of = |most: usize| most * count / 10_000;
    assert!(unread <= of(3), "{unread} of {count} unread");
    assert!(
        failed_though_read <= of(25),
        "{failed_though_read} of {count} failed though read"
    );
}
