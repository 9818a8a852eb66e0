//! New sessions that are asked for again, or answered under another key.

use std::time::Duration;

use crate::api::Event;
use crate::call::{Answer, Call, ContactDetails, MessageState};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::contacts::{Contact, KeyChange};
use crate::conversation::History;
use crate::ids::MessageId;
use crate::indicators::Indicator;
use crate::rpc::RpcError;
use crate::texts::Safety;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

fn contact(rig: &Rig, side: usize) -> &Contact {
    let people = &rig.sides[side].client.as_ref().unwrap().people;
    people.contacts.values().next().unwrap()
}

fn send(rig: &mut Rig, side: usize, contact: &str, text: &str) -> Result<MessageId, RpcError> {
    let send = Call::Send {
        contact: contact.into(),
        text: text.into(),
        reply_to: None,
        wait_s: 0,
    };
    match rig.asked(side, send)? {
        Answer::Message { message, .. } => Ok(message),
        other => panic!("{other:?}"),
    }
}

fn state(rig: &mut Rig, side: usize, message: MessageId) -> MessageState {
    match rig.asked(side, Call::MessageStatus { message }) {
        Ok(Answer::Message { state, .. }) => state,
        other => panic!("{other:?}"),
    }
}

fn details(rig: &mut Rig, side: usize, contact: &str) -> ContactDetails {
    let contact = contact.to_owned();
    match rig.asked(side, Call::ContactShow { contact }) {
        Ok(Answer::Contact(details)) => *details,
        other => panic!("{other:?}"),
    }
}

fn texts(rig: &Rig, side: usize) -> Vec<String> {
    rig.texts(side).into_iter().map(|(_, text)| text).collect()
}

fn reset(rig: &mut Rig, side: usize, contact: &str) -> Result<Answer, RpcError> {
    let contact = contact.to_owned();
    rig.asked(side, Call::SessionReset { contact })
}

/// Asks for a new session whatever is under way, as who takes a new identity does.
fn renew(rig: &mut Rig, side: usize) {
    let now = rig.now;
    let it = client(rig, side);
    let id = *it.people.contacts.keys().next().unwrap();
    it.renew(now, id).unwrap();
    rig.handle(side, whist_link::Input::Timeout);
}

/// Both are in one session, whoever asked for it.
fn settled(rig: &Rig, sides: [usize; 2]) -> bool {
    sides.into_iter().all(|side| {
        let contact = contact(rig, side);
        let client = rig.sides[side].client.as_ref().unwrap();
        contact.row.renewal.is_none() && client.outbox_len() == 0
    })
}

#[test]
fn a_reset_is_refused_while_the_one_before_has_not_left() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.until("quiet", |rig| settled(rig, [alice, bob]));
    reset(&mut rig, alice, "bob").unwrap();
    let before = contact(&rig, alice).row.renewal.as_ref().unwrap().key;
    let again = reset(&mut rig, alice, "bob").unwrap_err();
    assert_eq!(again.code, 1);
    assert!(again.message.contains("already"), "{again}");
    let after = contact(&rig, alice).row.renewal.as_ref().unwrap().key;
    assert_eq!(before, after, "what was asked for can still be answered");
    rig.until("the answer", |rig| settled(rig, [alice, bob]));
    reset(&mut rig, alice, "bob").unwrap();
}

#[test]
fn a_second_reset_before_the_first_is_answered_loses_nothing_without_a_word() {
    // Whose key is the higher does not matter.
    for (alice, bob, names) in [(0, 1, ["bob", "alice"]), (1, 0, ["alice", "bob"])] {
        let (mut rig, ..) = Rig::pair(parameters());
        send(&mut rig, alice, names[0], "0").unwrap();
        rig.until("quiet", |rig| settled(rig, [alice, bob]));
        renew(&mut rig, alice);
        rig.until("the first", |rig| contact(rig, bob).old.is_some());
        renew(&mut rig, alice);
        let mut said = Vec::new();
        for i in 0..3 {
            send(&mut rig, alice, names[0], &format!("under the old {i}")).unwrap();
            let text = format!("under the first {i}");
            said.push((send(&mut rig, bob, names[1], &text).unwrap(), text));
        }
        // What the contact asks for itself cannot be read either.
        renew(&mut rig, bob);
        rig.until("the second", |rig| {
            settled(rig, [alice, bob]) && texts(rig, bob).len() == 4
        });
        rig.run(Duration::from_secs(60));
        let came = texts(&rig, alice);
        for (message, text) in &said {
            let failed = state(&mut rig, bob, *message) == MessageState::Failed;
            assert!(failed != came.contains(text), "{text} is read or failed");
        }
        assert!(came.len() < said.len(), "some were sealed under the first");
        send(&mut rig, alice, names[0], "after").unwrap();
        send(&mut rig, bob, names[1], "after").unwrap();
        rig.until("both", |rig| {
            [alice, bob]
                .iter()
                .all(|s| texts(rig, *s).last().is_some_and(|text| text == "after"))
        });
        let old = (0..3).map(|i| format!("under the old {i}"));
        let want: Vec<String> = ["0".to_owned()].into_iter().chain(old).collect();
        assert_eq!(texts(&rig, bob)[..4], want);
        assert_eq!(texts(&rig, bob).len(), 5);
    }
}

#[test]
fn a_session_that_was_read_and_is_held_counts_as_read_when_the_next_is_asked_for() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.asked(
        bob,
        Call::HistoryKeep {
            keep: History::None,
        },
    )
    .unwrap();
    rig.until("quiet", |rig| settled(rig, [alice, bob]));
    renew(&mut rig, alice);
    rig.until("the first", |rig| settled(rig, [alice, bob]));
    let message = send(&mut rig, bob, "alice", "in the first").unwrap();
    rig.until("the text", |rig| texts(rig, alice) == ["in the first"]);
    assert!(!contact(&rig, bob).session.has_heard(), "nothing came yet");
    renew(&mut rig, alice);
    rig.until("the second", |rig| settled(rig, [alice, bob]));
    assert_ne!(state(&mut rig, bob, message), MessageState::Failed);
}

/// Bob answers Alice's wish for a new session under another key than she knows.
fn answered_by_another(rig: &mut Rig, alice: usize, bob: usize) {
    rig.until("quiet", |rig| settled(rig, [alice, bob]));
    let it = client(rig, bob);
    it.account.rotate(&mut it.rng);
    reset(rig, alice, "bob").unwrap();
    let changed = |event: &Event| matches!(event, Event::KeyChanged { .. });
    rig.until("the change", |rig| {
        rig.sides[alice].events.iter().any(changed)
    });
    let now = rig.now;
    let banners = client(rig, alice).status(now).banners;
    assert!(banners.iter().any(|b| b.kind == Indicator::KeyChanged));
}

#[test]
fn nothing_is_sent_when_another_key_answers_until_that_key_is_accepted() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    send(&mut rig, alice, "bob", "before").unwrap();
    rig.until("before", |rig| texts(rig, bob) == ["before"]);
    answered_by_another(&mut rig, alice, bob);
    send(&mut rig, bob, "alice", "me").unwrap();
    let before = client(&mut rig, alice).outbox_len();
    for seed in [None, Some(70)] {
        if let Some(seed) = seed {
            rig.run(Duration::from_millis(10));
            rig.start(alice, seed);
        }
        assert_eq!(send(&mut rig, alice, "bob", "refused").unwrap_err().code, 6);
        let known = details(&mut rig, alice, "bob");
        assert_eq!(known.info.safety, Safety::Changed);
        rig.run(Duration::from_secs(60));
    }
    assert_eq!(
        client(&mut rig, alice).stats().sent.put,
        0,
        "since the start"
    );
    let after = client(&mut rig, alice).outbox_len();
    assert!(after <= before, "nothing is sealed");
    assert_eq!(texts(&rig, alice), Vec::<String>::new(), "nor shown");
    let known = details(&mut rig, alice, "bob");
    let number = details(&mut rig, bob, "alice").number;
    assert_eq!(
        known.new_number.as_ref(),
        Some(&number),
        "what both compare"
    );
    let accept = |number: String| Call::ContactAcceptKey {
        contact: "bob".into(),
        number,
    };
    let wrong = rig.asked(alice, accept(known.number));
    assert_eq!(wrong.unwrap_err().code, 1, "the number of the old key");
    rig.asked(alice, accept(number)).unwrap();
    assert_eq!(
        details(&mut rig, alice, "bob").info.safety,
        Safety::Verified
    );
    send(&mut rig, alice, "bob", "to the new key").unwrap();
    rig.until("both", |rig| {
        texts(rig, alice) == ["me"] && texts(rig, bob) == ["before", "to the new key"]
    });
}

#[test]
fn another_key_that_answered_and_is_turned_down_leaves_the_old_session_in_force() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    answered_by_another(&mut rig, alice, bob);
    let contact = "bob".to_owned();
    rig.asked(alice, Call::ContactRefuseKey { contact })
        .unwrap();
    send(&mut rig, alice, "bob", "to the old key").unwrap();
    rig.until("the text", |rig| texts(rig, bob) == ["to the old key"]);
}

#[test]
fn where_every_change_is_accepted_another_key_that_answers_is_too_and_is_told() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let accept = Call::ContactSet {
        contact: "bob".into(),
        receipts: None,
        timer_s: None,
        retention_days: None,
        shared_secret: None,
        no_shared_secret: false,
        key_change: Some(KeyChange::Accept),
    };
    rig.asked(alice, accept).unwrap();
    answered_by_another(&mut rig, alice, bob);
    send(&mut rig, alice, "bob", "to the new key").unwrap();
    rig.until("the text", |rig| texts(rig, bob) == ["to the new key"]);
    assert!(contact(&rig, bob).session.has_heard(), "in the new session");
}
