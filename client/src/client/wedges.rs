//! What one contact, one provider or one lost request must not do to everything else.

use std::time::Duration;

use whist_link::Input;
use whist_types::{ConsensusHash, Epoch, NodeId, Now};

use crate::api::Command;
use crate::call::{Answer, Call, MessageState};
use crate::client::rig::{Rig, parameters};
use crate::client::{Client, Instant};
use crate::outbox::Job;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

fn sent(rig: &Rig, side: usize, command: &str) -> usize {
    let commands = rig.sides[side].commands.iter();
    commands.filter(|c| c.1 == command).count()
}

#[test]
fn requests_to_a_provider_that_is_not_listed_hold_up_nobody_elses() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.until("quiet", |rig| {
        rig.sides[alice].client.as_ref().unwrap().outbox_len() == 0
    });
    let now = rig.now;
    for _ in 0..2 * crate::limits::CANDIDATES_MAX {
        let job = Job::Put {
            address: whist_types::MailboxAddress::from_bytes([7; 32]),
            item: whist_ratchet::SealedItem::dangerously_restored(whist_ratchet::Item::from_bytes(
                Box::new([0; 1_536]),
            )),
            message: None,
        };
        let nobody = NodeId::from_bytes([9; 32]);
        let pushed = client(&mut rig, alice).push(now, nobody, job, Duration::ZERO);
        pushed.unwrap();
    }
    rig.send(alice, "bob", "and still");
    rig.until("the text", |rig| rig.texts(bob).len() == 1);
}

#[test]
fn one_named_consensus_an_epoch_is_asked_for_and_no_more() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("quiet", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.status(rig.now).invitations_ready == 4 && client.outbox_len() == 0
    });
    let (before, exit) = (sent(&rig, alice, "other"), rig.nodes.last().unwrap().id);
    for name in 1..6 {
        let (now, hash) = (rig.now, ConsensusHash::from_bytes([name; 32]));
        client(&mut rig, alice).heard_of(now, hash, exit);
        rig.run(Duration::from_secs(60));
    }
    assert_eq!(sent(&rig, alice, "other") - before, 1);
}

#[test]
fn addresses_whose_registration_was_given_up_are_registered_later() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("a mailbox", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.status(rig.now).invitations_ready == 4 && client.outbox_len() == 0
    });
    // As if an `ADD` had been given up: the addresses are there, the request is not.
    let it = client(&mut rig, alice);
    let mailbox = it.mailbox.as_mut().unwrap();
    mailbox.grow(32, &mut it.rng);
    assert_eq!(mailbox.unregistered().len(), 32);
    rig.until("registered", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.mailbox.as_ref().unwrap().unregistered().is_empty()
    });
}

#[test]
fn a_client_with_an_old_document_and_a_dead_guard_gets_one_from_another_provider() {
    let mut short = parameters();
    short.epoch_ms = 60_000;
    short.key_window_ms = 5_000;
    let mut rig = Rig::new(short);
    let alice = rig.add_client(1);
    rig.run(Duration::from_secs(100));
    rig.dead = rig.sides[alice].dials.last().copied();
    rig.cut(alice);
    rig.run(Duration::from_secs(150));
    rig.publish(Epoch::new(5));
    rig.until("a newer document", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.follower.newest().unwrap().epoch() == Epoch::new(5)
    });
}

#[test]
fn keys_of_items_that_cannot_come_any_more_are_forgotten() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let it = client(&mut rig, alice);
    let contact = it.people.contacts.values_mut().next().unwrap();
    let nothing = whist_ratchet::Plaintext {
        device: 0,
        consensus: ConsensusHash::from_bytes([0; 32]),
        body: vec![9],
    };
    contact.session.seal(&nothing, &mut it.rng).unwrap();
    rig.send(alice, "bob", "the second");
    rig.until("the second", |rig| rig.texts(bob).len() == 1);
    let (wall, it) = (rig.now.wall, client(&mut rig, bob));
    let kept = |it: &Client| {
        it.people
            .contacts
            .values()
            .next()
            .unwrap()
            .session
            .skipped()
    };
    assert_eq!(kept(it), 1);
    for (days, left) in [(13, 1), (15, 0)] {
        let now = Now {
            instant: Instant::ZERO,
            wall: wall.after(Duration::from_secs(days * 24 * 3_600)),
        };
        it.expire_skipped_keys(now);
        assert_eq!((kept(it), it.batch.is_empty()), (left, left == 1));
    }
}

fn receive(rig: &mut Rig, side: usize, tag: u64, wait_s: u64) {
    let contact = None;
    rig.ask(side, tag, Call::Receive { contact, wait_s });
    rig.run(Duration::from_millis(10));
}

fn read(rig: &Rig, side: usize, tag: u64) -> Vec<String> {
    match rig.answer(side, tag) {
        Some(Ok(Answer::Texts { texts })) => texts.iter().map(|t| t.text.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_taken_for_an_asker_that_has_gone() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    receive(&mut rig, bob, 1, 600);
    rig.handle(bob, Input::Command(Command::Gone { tag: 1 }));
    rig.run(Duration::from_millis(10));
    assert!(matches!(rig.answer(bob, 1), Some(Err(_))));
    rig.send(alice, "bob", "not lost");
    rig.until("the text", |rig| rig.texts(bob).len() == 1);
    receive(&mut rig, bob, 2, 0);
    assert_eq!(read(&rig, bob, 2), ["not lost"]);
}

#[test]
fn texts_of_an_answer_that_nobody_got_are_read_again_after_a_restart_too() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    for text in ["one", "two"] {
        rig.send(alice, "bob", text);
    }
    rig.until("the texts", |rig| rig.texts(bob).len() == 2);
    receive(&mut rig, bob, 1, 0);
    assert_eq!(read(&rig, bob, 1), ["one", "two"]);
    rig.handle(bob, Input::Command(Command::Unheard { tag: 1 }));
    rig.run(Duration::from_millis(10));
    rig.start(bob, 50);
    receive(&mut rig, bob, 2, 0);
    assert_eq!(read(&rig, bob, 2), ["one", "two"]);
    receive(&mut rig, bob, 3, 0);
    assert!(read(&rig, bob, 3).is_empty());
}

#[test]
fn of_texts_that_were_handed_over_nothing_is_kept_aside_and_what_is_over_comes_back_to_nobody() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    for text in ["one", "two", "three"] {
        rig.send(alice, "bob", text);
    }
    rig.until("the texts", |rig| rig.texts(bob).len() == 3);
    receive(&mut rig, bob, 1, 0);
    assert_eq!(read(&rig, bob, 1).len(), 3);
    let of = |rig: &mut Rig| client(rig, bob).handed.clone();
    let (tag, texts) = of(&mut rig)[0].clone();
    assert_eq!((tag, texts.len()), (1, 3));
    // Deleted here; changed by its sender; and one that nobody touched.
    let message = texts[0].0;
    let everybody = false;
    let delete = Call::MessageDelete { message, everybody };
    rig.asked(bob, delete).unwrap();
    let history = Call::History {
        contact: None,
        before: None,
        limit: None,
    };
    let Ok(Answer::Texts { texts: sent }) = rig.asked(alice, history) else {
        panic!("no texts");
    };
    let edit = Call::MessageEdit {
        message: sent[1].message,
        text: "other".to_owned(),
    };
    rig.asked(alice, edit).unwrap();
    rig.until("the change", |rig| {
        let it = rig.sides[bob].client.as_ref().unwrap();
        it.handed[0].1[0].1.edited
    });
    rig.handle(bob, Input::Command(Command::Unheard { tag: 1 }));
    receive(&mut rig, bob, 2, 0);
    assert_eq!(read(&rig, bob, 2), ["other", "three"]);
    rig.handle(bob, Input::Command(Command::Heard { tag: 2 }));
    assert!(of(&mut rig).is_empty());
    rig.handle(bob, Input::Command(Command::Unheard { tag: 2 }));
    receive(&mut rig, bob, 3, 0);
    assert!(read(&rig, bob, 3).is_empty());
}

#[test]
fn a_text_that_was_given_up_does_not_hold_back_later_ones() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.send(alice, "bob", "one");
    rig.until("one", |rig| rig.texts(bob).len() == 1);
    rig.weather.silent = true;
    rig.send(alice, "bob", "lost");
    let now = rig.now;
    let it = client(&mut rig, alice);
    let lost = it.outbox.entries().last().unwrap().id;
    let entry = it.outbox.answered(lost).unwrap();
    rig.weather.silent = false;
    rig.send(alice, "bob", "two");
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.texts(bob).len(), 1, "two waits for the one before it");
    rig.start(bob, 60);
    // As if its repeats were over only now.
    client(&mut rig, alice).given_up(now, entry);
    rig.until("two", |rig| rig.texts(bob).len() == 2);
    rig.start(bob, 61);
    rig.send(alice, "bob", "three");
    rig.until("three", |rig| rig.texts(bob).len() == 3);
    let texts: Vec<_> = rig.texts(bob).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one", "two", "three"]);
}

/// Alice, and Bob, who has asked for her invitation to be opened.
fn opening() -> (Rig, usize, usize) {
    let mut rig = Rig::new(parameters());
    let (alice, bob) = (rig.add_client(1), rig.add_client(2));
    for side in [alice, bob] {
        rig.until("quiet", |rig| {
            let client = rig.sides[side].client.as_ref().unwrap();
            client.status(rig.now).invitations_ready == 4 && client.outbox_len() == 0
        });
    }
    let (name, wait_s) = ("bob".to_owned(), 0);
    rig.ask(alice, 1, Call::Invite { name, wait_s });
    rig.run(Duration::from_millis(10));
    let Some(Ok(Answer::Invitation { invitation })) = rig.answer(alice, 1) else {
        panic!()
    };
    let add = Call::Add {
        name: "alice".into(),
        invitation,
        now: true,
        wait_s: 0,
    };
    rig.ask(bob, 1, add);
    (rig, alice, bob)
}

fn is_open(rig: &Rig, side: usize) -> bool {
    let client = rig.sides[side].client.as_ref().unwrap();
    client.people.pending.values().any(|p| p.blob.is_some())
}

fn contacts(rig: &Rig, side: usize) -> usize {
    let client = rig.sides[side].client.as_ref().unwrap();
    client.people.contacts.len()
}

#[test]
fn an_opened_invitation_waits_for_a_free_address_and_outlives_a_restart() {
    let (mut rig, alice, bob) = opening();
    let mailbox = client(&mut rig, bob).mailbox.as_mut().unwrap();
    let nobody = crate::mailbox::Use::Contact(crate::ids::ContactId::new(99));
    while mailbox.allot(nobody).is_some() {}
    rig.until("the drop's content", |rig| is_open(rig, bob));
    rig.run(Duration::from_millis(10));
    assert_eq!(contacts(&rig, bob), 0);
    rig.start(bob, 70);
    rig.until("both", |rig| contacts(rig, alice) + contacts(rig, bob) == 2);
}

#[test]
fn a_greeting_is_not_lost_to_a_full_outbox() {
    let (mut rig, alice, bob) = opening();
    let (now, it) = (rig.now, client(&mut rig, bob));
    let exit = it.mailbox.as_ref().unwrap().provider();
    // Straight into the outbox: never durable, so they never leave.
    let wait = Duration::from_secs(3_600);
    while it.outbox.push(now, exit, Job::Create, wait).is_ok() {}
    rig.until("both", |rig| contacts(rig, alice) + contacts(rig, bob) == 2);
}

#[test]
fn addresses_whose_revocation_was_given_up_are_revoked_later() {
    let (mut rig, alice, _) = Rig::pair(parameters());
    // As if the `REVOKE` had been given up: the address is out of use, the request is not there.
    let mailbox = client(&mut rig, alice).mailbox.as_mut().unwrap();
    let nobody = crate::mailbox::Use::Contact(crate::ids::ContactId::new(99));
    let address = mailbox.allot(nobody).unwrap();
    mailbox.forget(&address);
    assert_eq!(mailbox.leaving(), [address]);
    rig.until("revoked", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.mailbox.as_ref().unwrap().leaving().is_empty()
    });
}

#[test]
fn a_text_to_a_provider_that_left_the_network_is_given_up_and_the_person_told() {
    let (mut rig, alice, _) = Rig::pair(parameters());
    let it = client(&mut rig, alice);
    let contact = it.people.contacts.values_mut().next().unwrap();
    contact.row.provider = NodeId::from_bytes([9; 32]);
    let life = it.repeat_law().life();
    rig.send(alice, "bob", "to nobody");
    rig.run(Duration::from_secs(1));
    let later = |wait: Duration| Now {
        instant: rig.now.instant.after(wait),
        wall: rig.now.wall.after(wait),
    };
    let (early, late) = (
        later(life.saturating_sub(Duration::from_secs(2))),
        later(life),
    );
    let it = client(&mut rig, alice);
    let consensus = it.follower.newest().unwrap().clone();
    let state = |it: &Client| it.people.messages.values().last().unwrap().state;
    it.give_up(early, &consensus);
    assert_ne!(state(it), MessageState::Failed);
    it.give_up(late, &consensus);
    assert_eq!(state(it), MessageState::Failed);
    let puts = it
        .outbox
        .entries()
        .filter(|e| matches!(e.job, Job::Put { .. }));
    assert_eq!(puts.count(), 0);
}

#[test]
fn the_youngest_invitation_is_given_and_a_given_one_is_answered_until_nothing_can_come_to_it() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    rig.until("invitations", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.status(rig.now).invitations_ready == 4
    });
    let (name, wait_s) = ("bob".to_owned(), 0);
    rig.asked(alice, Call::Invite { name, wait_s }).unwrap();
    let now = rig.now;
    let it = client(&mut rig, alice);
    let given: Vec<bool> = it
        .people
        .invitations
        .values()
        .map(|i| i.given.is_some())
        .collect();
    assert_eq!(given, [false, false, false, true]);
    let after = |days: u64| Now {
        wall: now.wall.after(Duration::from_secs(days * 24 * 3_600)),
        ..now
    };
    // Opened on its thirteenth day, its first item may wait for fourteen more.
    it.expire_invitations(after(26));
    let left: Vec<bool> = it
        .people
        .invitations
        .values()
        .map(|i| i.given.is_some())
        .collect();
    assert_eq!(left, [true]);
    it.expire_invitations(after(29));
    assert!(it.people.invitations.is_empty());
}
