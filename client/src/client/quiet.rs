//! Without a history: no text and no name in any row, and what came stays at the mailbox until a
//! while after it was shown.

use std::time::Duration;

use crate::call::{Answer, Call};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::conversation::History;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

fn read(rig: &mut Rig, side: usize) -> Vec<String> {
    let (contact, wait_s) = (None, 0);
    match rig.asked(side, Call::Receive { contact, wait_s }) {
        Ok(Answer::Texts { texts }) => texts.iter().map(|text| text.text.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

fn on_disk(rig: &Rig, side: usize, canary: &str) -> bool {
    let holds = |value: &[u8]| value.windows(canary.len()).any(|w| w == canary.as_bytes());
    rig.sides[side].disk.all().any(|(_, _, value)| holds(value))
}

/// Alice, and Bob, who keeps no history.
fn pair() -> (Rig, usize, usize) {
    let mut slow = parameters();
    slow.rare_mean_ms = 5_000;
    let (mut rig, alice, bob) = Rig::pair(slow);
    let keep = History::None;
    rig.asked(bob, Call::HistoryKeep { keep }).unwrap();
    (rig, alice, bob)
}

fn acknowledged(rig: &mut Rig, side: usize) {
    rig.until("acknowledged", |rig| {
        let client = rig.sides[side].client.as_ref();
        client.unwrap().holding.is_empty()
    });
}

fn held(rig: &mut Rig, side: usize) -> bool {
    !client(rig, side).holding.is_empty()
}

#[test]
fn nothing_that_is_ever_given_to_the_disk_holds_a_text_or_a_name() {
    let mut slow = parameters();
    slow.rare_mean_ms = 1_000;
    let mut rig = Rig::new(slow);
    let (alice, bob) = (rig.add_client(1), rig.add_client(2));
    let keep = History::None;
    rig.asked(bob, Call::HistoryKeep { keep }).unwrap();
    rig.sides[bob].watch = vec!["canary", "alice"];
    // The watch sees what a history writes.
    rig.sides[alice].watch = vec!["canary"];
    rig.introduce(alice, bob);
    let long = "canary that is sent, ".repeat(80);
    rig.send(bob, "alice", &long);
    rig.send(alice, "bob", "canary that comes");
    rig.until("the texts", |rig| {
        rig.texts(bob).len() == 1 && rig.texts(alice).len() == 1
    });
    assert_eq!(read(&mut rig, bob), ["canary that comes"]);
    acknowledged(&mut rig, bob);
    rig.run(Duration::from_secs(1));
    rig.start(bob, 53);
    rig.run(Duration::from_secs(5));
    assert_eq!(rig.sides[bob].hits, 0);
    assert!(rig.sides[alice].hits > 0 && rig.sides[bob].commits[0] > 20);
}

#[test]
fn no_text_and_no_name_is_in_any_row_and_the_contact_is_told_that_nothing_is_kept() {
    let (mut rig, alice, bob) = pair();
    let long = format!("canary {}", "of many pieces ".repeat(300));
    rig.send(alice, "bob", "canary one");
    rig.send(alice, "bob", &long);
    rig.send(bob, "alice", "canary of his own");
    rig.until("the texts", |rig| {
        rig.texts(bob).len() == 2 && rig.texts(alice).len() == 1
    });
    for _ in 0..40 {
        assert!(!on_disk(&rig, bob, "canary") && !on_disk(&rig, bob, "alice"));
        rig.run(Duration::from_millis(250));
    }
    assert_eq!(read(&mut rig, bob), ["canary one".to_owned(), long]);
    let both = |rig: &Rig| on_disk(rig, bob, "canary") || on_disk(rig, bob, "alice");
    assert!(
        !both(&rig) && held(&mut rig, bob),
        "shown, and not acknowledged yet"
    );
    acknowledged(&mut rig, bob);
    rig.run(Duration::from_secs(1));
    assert!(!both(&rig));
    let contact = "bob".to_owned();
    match rig.asked(alice, Call::ContactShow { contact }) {
        Ok(Answer::Contact(details)) => assert_eq!(details.keeps, History::None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_not_shown_comes_again_after_a_crash_and_what_was_acknowledged_never() {
    let (mut rig, alice, bob) = pair();
    let long = "of many pieces ".repeat(300);
    for text in ["one", &long, "three"] {
        rig.send(alice, "bob", text);
    }
    rig.until("the texts", |rig| rig.texts(bob).len() == 3);
    rig.run(Duration::from_secs(1));
    rig.start(bob, 50);
    rig.until("again", |rig| rig.texts(bob).len() == 6);
    assert_eq!(read(&mut rig, bob), ["one", &long, "three"]);
    // Shown, and killed before it is acknowledged: rather twice than never.
    rig.run(Duration::from_millis(10));
    rig.start(bob, 51);
    rig.until("once more", |rig| rig.texts(bob).len() == 9);
    assert_eq!(read(&mut rig, bob), ["one", &long, "three"]);
    acknowledged(&mut rig, bob);
    rig.run(Duration::from_secs(1));
    rig.start(bob, 52);
    rig.send(alice, "bob", "four");
    rig.until("four", |rig| rig.texts(bob).len() == 10);
    assert_eq!(read(&mut rig, bob), ["four"]);
}

#[test]
fn texts_in_disorder_are_held_and_acknowledged_without_a_loss() {
    let (mut rig, alice, bob) = pair();
    rig.weather.reversed = true;
    rig.weather.loss = 40;
    for i in 0..12 {
        rig.send(alice, "bob", &i.to_string());
        rig.run(Duration::from_millis(300));
        if i % 4 == 3 {
            let life = 60 + i;
            rig.run(Duration::from_secs(8));
            read(&mut rig, bob);
            rig.start(bob, life);
        }
    }
    rig.weather.loss = 0;
    rig.run(Duration::from_secs(60));
    read(&mut rig, bob);
    acknowledged(&mut rig, bob);
    rig.send(alice, "bob", "last");
    rig.run(Duration::from_secs(30));
    assert_eq!(read(&mut rig, bob), ["last"]);
    let seen: std::collections::BTreeSet<String> =
        rig.texts(bob).into_iter().map(|(_, text)| text).collect();
    assert!((0..12).all(|i| seen.contains(&i.to_string())), "{seen:?}");
}
