//! What a client does not hold any more: the past of its generators, rows of words whose way is
//! over; and that a long search holds up nothing.

use std::time::Duration;

use rand_core::SeedableRng as _;
use whist_timing::Rng;
use whist_types::{Epoch, Secret};

use crate::account::family_of;
use crate::call::{Answer, Call};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::contacts::What;
use crate::conversation::Place;
use crate::ids::{ContactId, MessageId};
use crate::limits::{FRESH_EVERY, SEARCH_BYTES_MAX, TEXT_BYTES_MAX};
use crate::rows::Table;
use crate::texts::{Safety, TextRow};

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

#[test]
fn a_seized_memory_gives_nothing_that_the_generators_gave_before() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.send(alice, "bob", "hello");
    let it = client(&mut rig, alice);
    assert_eq!(it.rng.get_word_pos(), 0, "there is nothing to wind back to");
    rig.until("the text", |rig| rig.texts(bob).len() == 1);
    for side in [alice, bob] {
        assert_eq!(client(&mut rig, side).rng.get_word_pos(), 0);
    }
}

#[test]
fn fresh_randomness_is_asked_for_by_the_number_of_ticks_and_changes_what_is_drawn() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    let ticks = |rig: &Rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.stats().ticks.iter().sum::<u64>()
    };
    rig.until("ticks", |rig| ticks(rig) > 3 * FRESH_EVERY);
    assert_eq!(rig.sides[alice].refreshed, ticks(&rig) / FRESH_EVERY);
    let it = client(&mut rig, alice);
    let drawn = [1, 2].map(|fresh| {
        it.rng = Rng::from_seed([3; 32]);
        it.refresh(&Secret::new([fresh; 32]));
        *Secret::<32>::random(&mut it.rng).expose()
    });
    assert_ne!(drawn[0], drawn[1]);
}

#[test]
fn a_guard_that_is_gone_is_never_replaced_by_one_of_the_mailboxs_operators() {
    let mut short = parameters();
    short.epoch_ms = 60_000;
    short.key_window_ms = 5_000;
    let mut rig = Rig::new(short);
    let alice = rig.add_client(1);
    rig.until("a mailbox", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.mailbox.is_some() && client.outbox_len() == 0
    });
    let it = client(&mut rig, alice);
    let (guard, home) = (it.account.entry, it.mailbox.as_ref().unwrap().provider());
    let nodes = rig.nodes.clone();
    let is_provider =
        |node: &whist_netdoc::NodeEntry| matches!(node.role, whist_netdoc::NodeRole::Provider);
    rig.nodes.retain(|n| !is_provider(n) || n.id == home);
    rig.publish(Epoch::new(1));
    rig.cut(alice);
    rig.run(Duration::from_secs(120));
    let it = rig.sides[alice].client.as_ref().unwrap();
    assert_eq!(it.follower.newest().unwrap().epoch(), Epoch::new(1));
    assert_eq!(it.account.entry, guard, "no guard is better than that one");
    let warnings = it.status(rig.now).warnings;
    assert!(
        warnings.iter().any(|w| w.contains("nothing is sent")),
        "{warnings:?}"
    );

    rig.nodes = nodes;
    rig.nodes.retain(|n| Some(n.id) != guard);
    rig.publish(Epoch::new(2));
    rig.cut(alice);
    rig.until("another guard", |rig| {
        let it = rig.sides[alice].client.as_ref().unwrap();
        it.account.entry != guard
    });
    let it = rig.sides[alice].client.as_ref().unwrap();
    let consensus = it.follower.newest().unwrap();
    let family = |id| family_of(consensus, &id);
    assert_ne!(family(it.account.entry.unwrap()), family(home));
}

#[test]
fn of_a_word_whose_way_is_over_nothing_is_kept_but_with_its_text() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.send(alice, "bob", "one");
    rig.send(alice, "bob", "two");
    rig.until("both", |rig| rig.texts(bob).len() == 2);
    rig.until("answers", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.outbox_len() == 0
    });
    let texts = |rig: &Rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        let messages = client.people.messages.iter();
        let texts = messages.filter(|(_, row)| row.what == What::Text);
        texts.map(|(id, _)| *id).collect::<Vec<MessageId>>()
    };
    let ids = texts(&rig);
    assert_eq!(ids.len(), 2);
    let delete = Call::MessageDelete {
        message: ids[0],
        everybody: false,
    };
    rig.asked(alice, delete).unwrap();
    let row = &client(&mut rig, alice).people.messages[&ids[0]];
    let until = row.until_ms.unwrap();
    assert_eq!(until % 86_400_000, 0, "no row tells the second of its word");
    for days in [1, 20] {
        let mut later = rig.now;
        later.wall = later.wall.after(Duration::from_secs(days * 86_400));
        client(&mut rig, alice).forget_finished(later);
        let kept = if days == 1 { &ids[..] } else { &ids[1..] };
        assert_eq!(texts(&rig), kept, "after {days} days");
    }
    let delete = Call::MessageDelete {
        message: ids[1],
        everybody: false,
    };
    rig.asked(alice, delete).unwrap();
    let mut later = rig.now;
    later.wall = later.wall.after(Duration::from_secs(20 * 86_400));
    client(&mut rig, alice).forget_finished(later);
    rig.run(Duration::from_secs(1));
    for id in ids {
        let row = rig.sides[alice].disk.find(Table::Message, &id.key());
        assert!(row.is_none(), "{id:?} is gone from the vault");
    }
}

#[test]
fn a_search_of_a_long_history_goes_on_from_input_to_input() {
    let mut rig = Rig::new(parameters());
    let alice = rig.add_client(1);
    let long = "é".repeat(TEXT_BYTES_MAX / 2 - 4);
    let count = 3 * SEARCH_BYTES_MAX / TEXT_BYTES_MAX;
    for number in 0..u64::try_from(count).unwrap() {
        let row = TextRow {
            contact: ContactId::new(1),
            place: Place {
                own: true,
                sequence: number,
            },
            text: format!("{long} {number:03}"),
            at_s: 1,
            answers: None,
            timer_s: 0,
            since_s: None,
            edited: false,
            deleted: false,
            safety: Safety::Unverified,
        };
        let id = MessageId::new(1_000 + number);
        client(&mut rig, alice).texts.put(id, row, false);
    }
    let words = "É 0".to_owned();
    let contact = None;
    rig.ask(alice, 77, Call::Search { words, contact });
    assert!(rig.answer(alice, 77).is_none(), "one input is not enough");
    rig.run(Duration::from_millis(1));
    match rig.answer(alice, 77).unwrap().unwrap() {
        Answer::Texts { texts } => {
            assert_eq!(texts.len(), count);
            assert!(texts[0].text.ends_with("000"), "oldest first");
        }
        other => panic!("{other:?}"),
    }
}
