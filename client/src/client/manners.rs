//! What people may ask of each other: receipts, other versions, timers, silence, an end.

use std::time::Duration;

use whist_types::Now;

use crate::call::{Answer, Call, ContactDetails, MessageState, Text};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::contacts::Receipts;
use crate::ids::MessageId;
use crate::limits::INBOX_MAX;
use crate::rows::Table;
use crate::rpc::RpcError;
use crate::texts::Safety;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

fn say(rig: &mut Rig, side: usize, contact: &str, text: &str) -> MessageId {
    answer(rig, side, contact, text, None)
}

fn answer(
    rig: &mut Rig,
    side: usize,
    contact: &str,
    text: &str,
    reply_to: Option<MessageId>,
) -> MessageId {
    let send = Call::Send {
        contact: contact.into(),
        text: text.into(),
        reply_to,
        wait_s: 0,
    };
    match rig.asked(side, send) {
        Ok(Answer::Message { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

fn texts(answer: Result<Answer, RpcError>) -> Vec<Text> {
    match answer {
        Ok(Answer::Texts { texts }) => texts,
        other => panic!("{other:?}"),
    }
}

fn read(rig: &mut Rig, side: usize) -> Vec<Text> {
    let (contact, wait_s) = (None, 0);
    texts(rig.asked(side, Call::Receive { contact, wait_s }))
}

fn history(rig: &mut Rig, side: usize) -> Vec<Text> {
    let (contact, before, limit) = (None, None, None);
    let history = Call::History {
        contact,
        before,
        limit,
    };
    texts(rig.asked(side, history))
}

fn contents(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|text| text.text.as_str()).collect()
}

fn state(rig: &mut Rig, side: usize, message: MessageId) -> MessageState {
    match rig.asked(side, Call::MessageStatus { message }) {
        Ok(Answer::Message { state, .. }) => state,
        other => panic!("{other:?}"),
    }
}

fn set(contact: &str) -> Call {
    Call::ContactSet {
        contact: contact.into(),
        receipts: None,
        timer_s: None,
        retention_days: None,
        shared_secret: None,
        no_shared_secret: false,
        key_change: None,
    }
}

fn switch(rig: &mut Rig, side: usize, contact: &str, on: Receipts) {
    let mut call_set = set(contact);
    if let Call::ContactSet { receipts, .. } = &mut call_set {
        *receipts = Some(on);
    }
    rig.asked(side, call_set).unwrap();
}

fn time(rig: &mut Rig, side: usize, contact: &str, seconds: u32) {
    let mut call_set = set(contact);
    if let Call::ContactSet { timer_s, .. } = &mut call_set {
        *timer_s = Some(seconds);
    }
    rig.asked(side, call_set).unwrap();
}

fn details(rig: &mut Rig, side: usize, contact: &str) -> ContactDetails {
    let contact = contact.to_owned();
    match rig.asked(side, Call::ContactShow { contact }) {
        Ok(Answer::Contact(details)) => *details,
        other => panic!("{other:?}"),
    }
}

/// Whether a row of this side's disk holds these bytes.
fn on_disk(rig: &Rig, side: usize, canary: &str) -> bool {
    let holds = |value: &[u8]| value.windows(canary.len()).any(|w| w == canary.as_bytes());
    rig.sides[side].disk.all().any(|(_, _, value)| holds(value))
}

fn arrives(rig: &mut Rig, side: usize, count: usize) {
    rig.until("texts", |rig| rig.texts(side).len() >= count);
    rig.run(Duration::from_millis(10));
}

#[test]
fn without_receipts_nothing_is_told_and_with_them_many_texts_are_told_of_at_once_and_late() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let before = say(&mut rig, alice, "bob", "before");
    arrives(&mut rig, bob, 1);
    read(&mut rig, bob);
    rig.run(Duration::from_secs(60));
    assert_eq!(state(&mut rig, alice, before), MessageState::Stored);
    switch(&mut rig, bob, "alice", Receipts::Delivered);
    let put = client(&mut rig, bob).stats().sent.put;
    let told: Vec<_> = (0..5)
        .map(|i| say(&mut rig, alice, "bob", &i.to_string()))
        .collect();
    arrives(&mut rig, bob, 6);
    rig.until("told", |rig| {
        let messages = &rig.sides[alice].client.as_ref().unwrap().people.messages;
        told.iter()
            .all(|id| messages[id].state == MessageState::Delivered)
    });
    read(&mut rig, bob);
    rig.run(Duration::from_secs(30));
    let sent = client(&mut rig, bob).stats().sent.put - put;
    assert!((1..=4).contains(&sent), "{sent} receipts for five texts");
    assert_eq!(state(&mut rig, alice, told[4]), MessageState::Delivered);
    assert_eq!(
        state(&mut rig, alice, before),
        MessageState::Stored,
        "it came before"
    );
    switch(&mut rig, bob, "alice", Receipts::Read);
    rig.until("read", |rig| {
        let messages = &rig.sides[alice].client.as_ref().unwrap().people.messages;
        told.iter()
            .all(|id| messages[id].state == MessageState::Read)
    });
    assert_eq!(state(&mut rig, alice, before), MessageState::Stored);
}

#[test]
fn of_a_text_that_nobody_read_no_receipt_says_that_it_was() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    switch(&mut rig, bob, "alice", Receipts::Read);
    let unread = say(&mut rig, alice, "bob", "lost in the crowd");
    arrives(&mut rig, bob, 1);
    // So many more wait that it has to make room.
    let now = rig.now;
    let it = client(&mut rig, bob);
    let (first, row) = it
        .texts
        .unread()
        .next()
        .map(|(id, r)| (id, r.clone()))
        .unwrap();
    for i in 1..=u64::try_from(INBOX_MAX).unwrap() {
        let mut row = row.clone();
        row.place.sequence += 1_000_000 + i;
        it.texts
            .put(MessageId::new(first.number() + 1_000_000 + i), row, true);
    }
    it.trim_texts(now);
    assert!(!it.texts.is_unread(first));
    let second = say(&mut rig, alice, "bob", "seen");
    arrives(&mut rig, bob, 2);
    assert_eq!(contents(&read(&mut rig, bob))[0], "seen");
    rig.until("the receipt", |rig| {
        let it = rig.sides[alice].client.as_ref().unwrap();
        it.people.messages[&second].state == MessageState::Read
    });
    assert_ne!(state(&mut rig, alice, unread), MessageState::Read);
}

#[test]
fn receipts_that_are_owed_outlive_a_restart() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    switch(&mut rig, bob, "alice", Receipts::Read);
    let told = say(&mut rig, alice, "bob", "one");
    arrives(&mut rig, bob, 1);
    read(&mut rig, bob);
    rig.start(bob, 40);
    rig.until("read", |rig| {
        let messages = &rig.sides[alice].client.as_ref().unwrap().people.messages;
        messages[&told].state == MessageState::Read
    });
}

#[test]
fn an_answer_an_edit_and_a_deletion_come_in_their_order() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let first = say(&mut rig, alice, "bob", "first draft");
    arrives(&mut rig, bob, 1);
    let got = read(&mut rig, bob);
    answer(&mut rig, bob, "alice", "an answer", Some(got[0].message));
    arrives(&mut rig, alice, 1);
    assert_eq!(read(&mut rig, alice)[0].reply_to, Some(first));
    let (message, text) = (first, "second draft".to_owned());
    rig.asked(alice, Call::MessageEdit { message, text })
        .unwrap();
    say(&mut rig, alice, "bob", "after the edit");
    arrives(&mut rig, bob, 2);
    let kept = history(&mut rig, bob);
    assert_eq!(contents(&kept), ["second draft", "an answer"]);
    assert!(kept[0].edited && kept[1].reply_to == Some(kept[0].message));
    let everybody = true;
    rig.asked(alice, Call::MessageDelete { message, everybody })
        .unwrap();
    say(&mut rig, alice, "bob", "after the deletion");
    arrives(&mut rig, bob, 3);
    assert!(history(&mut rig, bob)[0].deleted);
    assert!(!on_disk(&rig, bob, "draft") && !on_disk(&rig, alice, "draft"));
    let message = got[0].message;
    let text = String::new();
    let not_own = rig.asked(bob, Call::MessageEdit { message, text });
    assert_eq!(not_own.unwrap_err().code, 2, "one's own alone");
}

#[test]
fn a_text_that_waits_to_be_read_changes_with_its_edit() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let message = say(&mut rig, alice, "bob", "wrong");
    let text = "right".to_owned();
    rig.asked(alice, Call::MessageEdit { message, text })
        .unwrap();
    let gone = say(&mut rig, alice, "bob", "said in haste");
    let everybody = true;
    rig.asked(
        alice,
        Call::MessageDelete {
            message: gone,
            everybody,
        },
    )
    .unwrap();
    say(&mut rig, alice, "bob", "last");
    arrives(&mut rig, bob, 3);
    rig.start(bob, 41);
    let got = read(&mut rig, bob);
    assert_eq!(contents(&got), ["right", "", "last"]);
    assert!(got[0].edited && got[1].deleted);
}

#[test]
fn a_text_is_taken_back_before_it_leaves_and_nothing_is_missing() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.cut(alice);
    let message = say(&mut rig, alice, "bob", "never to be read");
    rig.asked(alice, Call::MessageCancel { message }).unwrap();
    assert!(!on_disk(&rig, alice, "never to be read"));
    say(&mut rig, alice, "bob", "instead");
    arrives(&mut rig, bob, 1);
    rig.run(Duration::from_secs(30));
    assert_eq!(contents(&read(&mut rig, bob)), ["instead"]);
    let contact = client(&mut rig, bob)
        .people
        .contacts
        .values()
        .next()
        .unwrap();
    assert!(contact.row.owed.missing.is_empty());
    let sent = say(&mut rig, alice, "bob", "gone out");
    arrives(&mut rig, bob, 2);
    let late = rig.asked(alice, Call::MessageCancel { message: sent });
    assert_eq!(late.unwrap_err().code, 1);
}

#[test]
fn a_timer_is_agreed_by_both_and_what_it_ends_is_on_no_disk() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    time(&mut rig, alice, "bob", 60);
    say(&mut rig, alice, "bob", "burn me");
    arrives(&mut rig, bob, 1);
    assert_eq!(details(&mut rig, bob, "alice").timer_s, 60);
    rig.run(Duration::from_secs(90));
    assert!(!on_disk(&rig, alice, "burn me"), "the writer's is over");
    let got = read(&mut rig, bob);
    assert_eq!((contents(&got), got[0].timer_s), (vec!["burn me"], 60));
    rig.run(Duration::from_secs(30));
    assert_eq!(history(&mut rig, bob).len(), 1, "half of its time");
    rig.start(bob, 42);
    rig.run(Duration::from_secs(40));
    assert!(history(&mut rig, bob).is_empty() && !on_disk(&rig, bob, "burn me"));
    say(&mut rig, bob, "alice", "and this");
    arrives(&mut rig, alice, 1);
    assert_eq!(read(&mut rig, alice)[0].timer_s, 60);
}

#[test]
fn two_who_change_the_timer_at_once_end_with_the_same() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    time(&mut rig, alice, "bob", 100);
    time(&mut rig, bob, "alice", 200);
    for side in [alice, bob] {
        say(
            &mut rig,
            side,
            if side == alice { "bob" } else { "alice" },
            "then",
        );
    }
    arrives(&mut rig, alice, 1);
    arrives(&mut rig, bob, 1);
    let [one, other] = [
        details(&mut rig, alice, "bob"),
        details(&mut rig, bob, "alice"),
    ];
    assert_eq!(one.timer_s, other.timer_s);
}

#[test]
fn a_text_whose_time_is_over_before_it_leaves_is_expired_and_holds_back_none() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    time(&mut rig, alice, "bob", 5);
    rig.until("quiet", |rig| {
        rig.sides[alice].client.as_ref().unwrap().outbox_len() == 0
    });
    rig.weather.silent = true;
    rig.weather.loss = 255;
    let message = say(&mut rig, alice, "bob", "too late");
    rig.run(Duration::from_secs(20));
    assert_eq!(state(&mut rig, alice, message), MessageState::Expired);
    rig.weather = Default::default();
    time(&mut rig, alice, "bob", 0);
    say(&mut rig, alice, "bob", "in time");
    rig.until("the next", |rig| {
        rig.texts(bob).iter().any(|(_, text)| text == "in time")
    });
    assert!(
        client(&mut rig, alice)
            .outbox
            .requests_of(message)
            .is_empty()
    );
}

#[test]
fn texts_are_kept_for_thirty_days_unless_a_contact_has_another_time() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    say(&mut rig, alice, "bob", "for a while");
    arrives(&mut rig, bob, 1);
    read(&mut rig, bob);
    let day = Duration::from_secs(24 * 3_600);
    let later = |now: Now, days: u32| Now {
        instant: now.instant.after(day * days),
        wall: now.wall.after(day * days),
    };
    let now = rig.now;
    let it = client(&mut rig, alice);
    it.expire_texts(later(now, 29));
    assert_eq!(it.texts.all().count(), 1);
    it.expire_texts(later(now, 31));
    assert_eq!(it.texts.all().count(), 0);
    let mut shorter = set("alice");
    if let Call::ContactSet { retention_days, .. } = &mut shorter {
        *retention_days = Some(2);
    }
    rig.asked(bob, shorter).unwrap();
    let now = rig.now;
    let it = client(&mut rig, bob);
    it.expire_texts(later(now, 1));
    assert_eq!(it.texts.all().count(), 1);
    it.expire_texts(later(now, 3));
    assert_eq!(it.texts.all().count(), 0);
}

#[test]
fn a_contact_is_verified_by_its_own_number_alone_and_each_text_says_how_sure_one_was() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    say(&mut rig, bob, "alice", "who am I");
    arrives(&mut rig, alice, 1);
    assert_eq!(read(&mut rig, alice)[0].safety, Safety::Unverified);
    let number = details(&mut rig, bob, "alice").number;
    assert_eq!(number, details(&mut rig, alice, "bob").number);
    let verify = |number: Option<String>, undo| Call::Verify {
        contact: "bob".into(),
        number,
        undo,
    };
    let wrong = number.replace('1', "2");
    let refused = rig.asked(alice, verify(Some(wrong), false)).unwrap_err();
    assert!(refused.message.contains("stand between"), "{refused}");
    assert_eq!(
        details(&mut rig, alice, "bob").info.safety,
        Safety::Unverified
    );
    rig.asked(alice, verify(Some(number), false)).unwrap();
    rig.run(Duration::from_millis(10));
    rig.start(alice, 43);
    assert_eq!(
        details(&mut rig, alice, "bob").info.safety,
        Safety::Verified
    );
    say(&mut rig, bob, "alice", "and now");
    rig.until("the text", |rig| rig.texts(alice).len() == 2);
    rig.run(Duration::from_millis(10));
    assert_eq!(read(&mut rig, alice)[0].safety, Safety::Verified);
    rig.asked(alice, verify(None, true)).unwrap();
    assert_eq!(
        details(&mut rig, alice, "bob").info.safety,
        Safety::Unverified
    );
}

#[test]
fn a_blocked_contact_is_dropped_without_a_word_and_heard_again_afterwards() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let block = |contact: &str| Call::ContactBlock {
        contact: contact.into(),
    };
    switch(&mut rig, bob, "alice", Receipts::Delivered);
    rig.asked(bob, block("alice")).unwrap();
    let sent = client(&mut rig, bob).stats().sent.put;
    let unheard = say(&mut rig, alice, "bob", "listen");
    rig.run(Duration::from_secs(60));
    assert!(rig.texts(bob).is_empty() && !on_disk(&rig, bob, "listen"));
    assert_eq!(state(&mut rig, alice, unheard), MessageState::Stored);
    assert_eq!(
        client(&mut rig, bob).stats().sent.put,
        sent,
        "nothing tells"
    );
    let back = Call::Send {
        contact: "alice".into(),
        text: "x".into(),
        reply_to: None,
        wait_s: 0,
    };
    assert_eq!(rig.asked(bob, back).unwrap_err().code, 2);
    let contact = "alice".to_owned();
    rig.asked(bob, Call::ContactUnblock { contact }).unwrap();
    say(&mut rig, alice, "bob", "again");
    arrives(&mut rig, bob, 1);
    assert_eq!(contents(&read(&mut rig, bob)), ["again"]);
    rig.run(Duration::from_secs(30));
    assert_eq!(
        state(&mut rig, alice, unheard),
        MessageState::Stored,
        "what was dropped did not come"
    );
}

#[test]
fn a_removed_contact_leaves_nothing_in_the_vault_and_its_address_is_taken_back() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    say(&mut rig, alice, "bob", "a canary");
    say(&mut rig, bob, "alice", "another canary");
    arrives(&mut rig, bob, 1);
    arrives(&mut rig, alice, 1);
    read(&mut rig, bob);
    // Something that still waits.
    rig.weather.silent = true;
    say(&mut rig, bob, "alice", "a third canary");
    let own = client(&mut rig, bob)
        .people
        .contacts
        .values()
        .next()
        .unwrap();
    let own = own.row.own_address;
    let contact = "alice".to_owned();
    rig.asked(bob, Call::ContactRemove { contact }).unwrap();
    assert!(!on_disk(&rig, bob, "canary") && !on_disk(&rig, bob, "alice"));
    for table in [
        Table::Contact,
        Table::Session,
        Table::Message,
        Table::Inbox,
        Table::History,
    ] {
        assert_eq!(rig.sides[bob].disk.of(table).count(), 0, "{table:?}");
    }
    rig.weather.silent = false;
    rig.until("revoked", |rig| {
        let mailbox = rig.sides[bob].client.as_ref().unwrap().mailbox.as_ref();
        let mailbox = mailbox.unwrap();
        mailbox.leaving().is_empty() && mailbox.use_of(&own).is_none()
    });
    let puts = client(&mut rig, bob).outbox.entries();
    assert_eq!(puts.count(), 0);
    rig.start(bob, 44);
    assert_eq!(client(&mut rig, bob).people.contacts.len(), 0);
}

#[test]
fn the_history_is_read_in_pages_and_searched_whatever_the_case() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    for i in 0..6 {
        say(&mut rig, alice, "bob", &format!("Text {i}"));
    }
    arrives(&mut rig, bob, 6);
    let page = |rig: &mut Rig, before, limit| {
        let contact = Some("bob".to_owned());
        let call_history = Call::History {
            contact,
            before,
            limit,
        };
        texts(rig.asked(alice, call_history))
    };
    let last = page(&mut rig, None, Some(2));
    assert_eq!(contents(&last), ["Text 4", "Text 5"]);
    let earlier = page(&mut rig, Some(last[0].message), Some(3));
    assert_eq!(contents(&earlier), ["Text 1", "Text 2", "Text 3"]);
    let search = |words: &str| Call::Search {
        words: words.into(),
        contact: None,
    };
    assert_eq!(
        contents(&texts(rig.asked(alice, search("tExT 3")))),
        ["Text 3"]
    );
    assert!(
        texts(rig.asked(bob, search("text"))).is_empty(),
        "unread is no history"
    );
    let number = texts(rig.asked(alice, search("text 0")))[0].message;
    rig.until("stored", |rig| {
        rig.sides[alice].client.as_ref().unwrap().outbox_len() == 0
    });
    assert_eq!(state(&mut rig, alice, number), MessageState::Stored);
    assert_eq!(
        rig.asked(alice, Call::Outbox {}),
        Ok(Answer::Outbox { outgoing: vec![] })
    );
}
