//! A secret that both people know: it comes into use by itself, a wrong one closes the contact, and
//! no new session loses it unnoticed.

use std::time::Duration;

use crate::call::{Answer, Call, Hidden, Shared};
use crate::client::rig::{Rig, parameters};
use crate::indicators::Indicator;
use crate::rpc::RpcError;

fn set(rig: &mut Rig, side: usize, secret: Option<&str>) -> Result<Answer, RpcError> {
    let call = Call::ContactSet {
        contact: other(side).into(),
        receipts: None,
        timer_s: None,
        retention_days: None,
        key_change: None,
        shared_secret: secret.map(|text| Hidden::new(text.to_owned())),
        no_shared_secret: secret.is_none(),
    };
    rig.asked(side, call)
}

const fn other(side: usize) -> &'static str {
    if side == 0 { "bob" } else { "alice" }
}

fn say(rig: &mut Rig, side: usize, text: &str) -> Result<Answer, RpcError> {
    let send = Call::Send {
        contact: other(side).into(),
        text: text.into(),
        reply_to: None,
        wait_s: 0,
    };
    rig.asked(side, send)
}

fn shared(rig: &mut Rig, side: usize) -> Shared {
    let contact = other(side).to_owned();
    match rig.asked(side, Call::ContactShow { contact }) {
        Ok(Answer::Contact(details)) => {
            let used = details.shared_secret_since_s.is_some();
            assert!(used || details.shared_secret != Shared::InUse);
            details.shared_secret
        }
        answer => panic!("{answer:?}"),
    }
}

fn comes_to(rig: &mut Rig, state: Shared) {
    let is = |rig: &Rig, side: usize| {
        let client = rig.sides[side].client.as_ref().unwrap();
        let mut contacts = client.people.contacts.values();
        contacts.all(|contact| contact.shared() == state)
    };
    rig.until("the secret", |rig| is(rig, 0) && is(rig, 1));
    // What was done becomes durable and is told.
    rig.run(Duration::from_millis(20));
    assert_eq!([shared(rig, 0), shared(rig, 1)], [state; 2]);
}

fn banners(rig: &mut Rig, side: usize, kind: Indicator) -> usize {
    let client = rig.sides[side].client.as_ref().unwrap();
    let all = client.banners();
    all.iter().filter(|banner| banner.kind == kind).count()
}

fn arrives(rig: &mut Rig, side: usize, text: &str) {
    rig.until("the text", |rig| {
        rig.texts(side).iter().any(|(_, came)| came == text)
    });
}

#[test]
fn a_secret_that_both_set_comes_into_use_without_a_text_and_over_a_restart() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    set(&mut rig, bob, Some("our secret")).unwrap();
    assert_eq!(shared(&mut rig, bob), Shared::Waiting);
    assert_eq!(shared(&mut rig, alice), Shared::None);
    say(&mut rig, bob, "set it now").unwrap();
    arrives(&mut rig, alice, "set it now");
    rig.start(bob, 60);
    set(&mut rig, alice, Some("our secret")).unwrap();
    rig.start(alice, 61);
    comes_to(&mut rig, Shared::InUse);
    say(&mut rig, alice, "under it").unwrap();
    say(&mut rig, bob, "and back").unwrap();
    arrives(&mut rig, bob, "under it");
    arrives(&mut rig, alice, "and back");
    let held = |rig: &Rig, side: usize| {
        let mut rows = rig.sides[side].disk.all();
        rows.any(|(_, _, row)| row.windows(10).any(|w| w == b"our secret"))
    };
    assert!(!held(&rig, alice) && !held(&rig, bob), "the words are kept");
    let kept = set(&mut rig, alice, None).unwrap_err();
    assert_eq!(kept.code, 8, "what is in use stays");
}

#[test]
fn nothing_is_sent_to_a_contact_with_another_secret_until_it_is_set_right() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    set(&mut rig, alice, Some("our secret")).unwrap();
    set(&mut rig, bob, Some("our sacred")).unwrap();
    comes_to(&mut rig, Shared::Differs);
    for side in [alice, bob] {
        assert_eq!(banners(&mut rig, side, Indicator::SecretsDiffer), 1);
        let before = rig.sides[side].client.as_ref().unwrap().outbox_len();
        let refused = say(&mut rig, side, "never").unwrap_err();
        assert_eq!(refused.code, 8);
        assert!(refused.message.contains("--shared-secret"), "{refused}");
        assert!(!refused.message.contains('\n'));
        let contact = other(side).to_owned();
        let reset = rig.asked(side, Call::SessionReset { contact });
        assert_eq!(reset.unwrap_err().code, 8);
        let after = rig.sides[side].client.as_ref().unwrap().outbox_len();
        assert_eq!(before, after, "nothing is sealed");
    }
    rig.start(alice, 62);
    assert_eq!(shared(&mut rig, alice), Shared::Differs);
    set(&mut rig, bob, Some("our secret")).unwrap();
    comes_to(&mut rig, Shared::InUse);
    say(&mut rig, alice, "at last").unwrap();
    arrives(&mut rig, bob, "at last");
    assert!(!rig.texts(bob).iter().any(|(_, text)| text == "never"));
}

#[test]
fn who_takes_a_wrong_secret_back_is_heard_and_the_other_end_stays_closed_until_it_does_too() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    set(&mut rig, alice, Some("our secret")).unwrap();
    set(&mut rig, bob, Some("our sacred")).unwrap();
    comes_to(&mut rig, Shared::Differs);
    set(&mut rig, bob, None).unwrap();
    say(&mut rig, bob, "I took it back").unwrap();
    arrives(&mut rig, alice, "I took it back");
    assert_eq!(say(&mut rig, alice, "never").unwrap_err().code, 8);
    set(&mut rig, alice, None).unwrap();
    say(&mut rig, alice, "so did I").unwrap();
    arrives(&mut rig, bob, "so did I");
}

#[test]
fn a_new_session_sends_nothing_before_the_secret_is_set_again_or_taken_back() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    set(&mut rig, alice, Some("our secret")).unwrap();
    set(&mut rig, bob, Some("our secret")).unwrap();
    comes_to(&mut rig, Shared::InUse);
    let contact = "bob".to_owned();
    rig.asked(alice, Call::SessionReset { contact }).unwrap();
    comes_to(&mut rig, Shared::Missing);
    for side in [alice, bob] {
        assert_eq!(banners(&mut rig, side, Indicator::SecretMissing), 1);
        assert_eq!(say(&mut rig, side, "never").unwrap_err().code, 8);
    }
    set(&mut rig, bob, Some("our secret")).unwrap();
    assert_eq!(say(&mut rig, bob, "never").unwrap_err().code, 8);
    set(&mut rig, alice, Some("our secret")).unwrap();
    comes_to(&mut rig, Shared::InUse);
    say(&mut rig, bob, "again").unwrap();
    arrives(&mut rig, alice, "again");
    rig.asked(
        alice,
        Call::SessionReset {
            contact: "bob".into(),
        },
    )
    .unwrap();
    comes_to(&mut rig, Shared::Missing);
    set(&mut rig, bob, None).unwrap();
    say(&mut rig, bob, "without").unwrap();
    arrives(&mut rig, alice, "without");
}

#[test]
fn an_empty_secret_and_two_wishes_at_once_are_refused() {
    let (mut rig, alice, _) = Rig::pair(parameters());
    assert_eq!(set(&mut rig, alice, Some(" \t")).unwrap_err().code, 2);
    assert_eq!(shared(&mut rig, alice), Shared::None);
    set(&mut rig, alice, Some("one")).unwrap();
    set(&mut rig, alice, None).unwrap();
    assert_eq!(shared(&mut rig, alice), Shared::None);
}

#[test]
fn a_text_that_was_sealed_before_they_differed_can_be_taken_back_and_holds_up_none_after_it() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    // Bob answered Alice's invitation: it is he who claims first.
    set(&mut rig, bob, Some("our secret")).unwrap();
    say(&mut rig, bob, "with a claim").unwrap();
    arrives(&mut rig, alice, "with a claim");
    rig.cut(alice);
    let Ok(Answer::Message { message, .. }) = say(&mut rig, alice, "in haste") else {
        panic!("nothing is set");
    };
    set(&mut rig, alice, Some("our sacred")).unwrap();
    assert_eq!(shared(&mut rig, alice), Shared::Differs);
    rig.asked(alice, Call::MessageCancel { message }).unwrap();
    set(&mut rig, alice, Some("our secret")).unwrap();
    comes_to(&mut rig, Shared::InUse);
    say(&mut rig, alice, "at leisure").unwrap();
    arrives(&mut rig, bob, "at leisure");
    assert!(!rig.texts(bob).iter().any(|(_, text)| text == "in haste"));
}
