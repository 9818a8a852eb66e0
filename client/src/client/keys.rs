//! Changed keys, new sessions, and what a malicious contact makes of them.

use std::time::Duration;

use whist_ratchet::{IdentitySecret, PrekeySecrets};

use crate::api::Event;
use crate::call::{Answer, Call, ContactDetails, MessageState};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::contacts::What;
use crate::conversation::Word;
use crate::ids::MessageId;
use crate::indicators::Indicator;
use crate::rpc::RpcError;
use crate::texts::Safety;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
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

/// A bundle of somebody's at Bob's address.
fn bundle(rig: &mut Rig, bob: usize, seed: u8) -> Box<[u8; whist_ratchet::BUNDLE_BYTES]> {
    let it = client(rig, bob);
    let own = it.people.contacts.values().next().unwrap().row.own_address;
    let home = it.mailbox.as_ref().unwrap().provider();
    let somebody = IdentitySecret::from_seed(whist_types::Secret::new([seed; 32]));
    let (_, bundle) = PrekeySecrets::generate(&somebody, home, own, &mut it.rng);
    Box::new(bundle.to_bytes())
}

/// Bob says that he has this key now.
fn claim(rig: &mut Rig, bob: usize, seed: u8) {
    let bundle = bundle(rig, bob, seed);
    let now = rig.now;
    let it = client(rig, bob);
    let id = *it.people.contacts.keys().next().unwrap();
    it.say(now, id, What::Renewal, &Word::Renew { bundle })
        .unwrap();
    rig.handle(bob, whist_link::Input::Timeout);
}

fn changed(rig: &Rig, side: usize) -> usize {
    let told = |event: &&Event| matches!(event, Event::KeyChanged { .. });
    rig.sides[side].events.iter().filter(told).count()
}

#[test]
fn nothing_is_sent_to_a_changed_key_until_the_very_key_that_was_compared_is_accepted() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    send(&mut rig, alice, "bob", "before").unwrap();
    rig.until("before", |rig| texts(rig, bob).len() == 1);
    claim(&mut rig, bob, 90);
    rig.until("the change", |rig| changed(rig, alice) == 1);
    rig.until("quiet", |rig| {
        rig.sides[alice].client.as_ref().unwrap().outbox_len() == 0
    });
    let puts = client(&mut rig, alice).stats().sent.put;
    assert_eq!(send(&mut rig, alice, "bob", "refused").unwrap_err().code, 6);
    let known = details(&mut rig, alice, "bob");
    assert_eq!(known.info.safety, Safety::Changed);
    let accept = |number: String| Call::ContactAcceptKey {
        contact: "bob".into(),
        number,
    };
    let old = rig.asked(alice, accept(known.number));
    assert_eq!(old.unwrap_err().code, 1, "the number of the old key");
    // The key changes once more while the person compares.
    claim(&mut rig, bob, 91);
    rig.until("another change", |rig| changed(rig, alice) == 2);
    let stale = rig.asked(alice, accept(known.new_number.unwrap()));
    assert_eq!(stale.unwrap_err().code, 1, "not the key that was compared");
    rig.run(Duration::from_secs(1));
    rig.start(alice, 80);
    rig.run(Duration::from_secs(60));
    assert_eq!(send(&mut rig, alice, "bob", "refused").unwrap_err().code, 6);
    assert_eq!(client(&mut rig, alice).stats().sent.put, 0, "{puts} before");
    let now = details(&mut rig, alice, "bob").new_number.unwrap();
    rig.asked(alice, accept(now)).unwrap();
    assert_eq!(
        details(&mut rig, alice, "bob").info.safety,
        Safety::Verified
    );
    send(&mut rig, alice, "bob", "to the new key").unwrap();
    assert_eq!(
        texts(&rig, bob),
        ["before"],
        "whoever has only the old one reads nothing"
    );
}

#[test]
fn a_malicious_contact_cannot_have_anything_sealed_or_sent_again() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.until("quiet", |rig| {
        rig.sides[alice].client.as_ref().unwrap().outbox_len() == 0
    });
    // Nothing of it is answered, so all of it is under way when the key changes.
    rig.weather.silent = true;
    let secret: Vec<MessageId> = (0..3)
        .map(|i| send(&mut rig, alice, "bob", &format!("secret {i}")).unwrap())
        .collect();
    rig.run(Duration::from_millis(200));
    let tell = |rig: &mut Rig, seed: u8| {
        let bundle = bundle(rig, bob, seed);
        let now = rig.now;
        let it = client(rig, alice);
        let id = *it.people.contacts.keys().next().unwrap();
        it.renewed(now, id, bundle.as_slice());
        rig.handle(alice, whist_link::Input::Timeout);
    };
    tell(&mut rig, 90);
    assert_eq!(changed(&rig, alice), 0, "the vault first");
    rig.run(Duration::from_millis(10));
    assert_eq!(changed(&rig, alice), 1);
    // What is in flight is answered to nobody.
    rig.run(Duration::from_secs(10));
    rig.weather.silent = false;
    let items = |rig: &mut Rig| -> Vec<crate::ids::RequestId> {
        let entries = client(rig, alice).outbox.entries();
        entries.map(|entry| entry.id).collect()
    };
    let (before, waiting) = (client(&mut rig, alice).stats().sent.put, items(&mut rig));
    for seed in 91..96 {
        tell(&mut rig, seed);
    }
    rig.run(Duration::from_secs(120));
    assert_eq!(
        client(&mut rig, alice).stats().sent.put,
        before,
        "not even repeated"
    );
    assert_eq!(items(&mut rig), waiting, "and nothing new is sealed");
    let number = details(&mut rig, alice, "bob").new_number.unwrap();
    let contact = "bob".to_owned();
    rig.asked(alice, Call::ContactAcceptKey { contact, number })
        .unwrap();
    for message in secret {
        let state = rig.asked(alice, Call::MessageStatus { message }).unwrap();
        let failed = MessageState::Failed;
        assert_eq!(
            state,
            Answer::Message {
                message,
                state: failed
            }
        );
    }
    let pieces = client(&mut rig, alice).outbox.entries();
    let texts = pieces.filter(|entry| entry.job.message().is_some()).count();
    assert_eq!(texts, 0, "the person says what the new key may read");
}

#[test]
fn a_changed_key_that_is_turned_down_leaves_the_old_one_in_force() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    claim(&mut rig, bob, 90);
    rig.until("the change", |rig| changed(rig, alice) == 1);
    let contact = "bob".to_owned();
    rig.asked(alice, Call::ContactRefuseKey { contact })
        .unwrap();
    assert_eq!(
        details(&mut rig, alice, "bob").info.safety,
        Safety::Unverified
    );
    send(&mut rig, alice, "bob", "to the old key").unwrap();
    rig.until("the text", |rig| texts(rig, bob) == ["to the old key"]);
}

#[test]
fn a_new_session_of_the_same_people_loses_nothing_whoever_asks_and_even_if_both_do() {
    for both in [false, true] {
        let (mut rig, alice, bob) = Rig::pair(parameters());
        let reset = |contact: &str| Call::SessionReset {
            contact: contact.into(),
        };
        send(&mut rig, alice, "bob", "0").unwrap();
        rig.asked(alice, reset("bob")).unwrap();
        if both {
            rig.asked(bob, reset("alice")).unwrap();
        }
        for i in 1..4 {
            send(&mut rig, alice, "bob", &i.to_string()).unwrap();
            send(&mut rig, bob, "alice", &i.to_string()).unwrap();
        }
        rig.until("both", |rig| {
            texts(rig, alice).len() == 3 && texts(rig, bob).len() == 4
        });
        rig.until("a new session on both sides", |rig| {
            [alice, bob].into_iter().all(|side| {
                let people = &rig.sides[side].client.as_ref().unwrap().people;
                let contact = people.contacts.values().next().unwrap();
                contact.old.is_some() && contact.row.renewal.is_none()
            })
        });
        rig.run(Duration::from_millis(10));
        rig.start(alice, 81);
        rig.start(bob, 82);
        // What was before is over: the new session alone carries this.
        for side in [alice, bob] {
            let now = rig.now;
            let later = whist_types::Now {
                instant: now.instant,
                wall: now.wall.after(Duration::from_secs(15 * 24 * 3_600)),
            };
            client(&mut rig, side).expire_sessions(later);
        }
        send(&mut rig, alice, "bob", "4").unwrap();
        send(&mut rig, bob, "alice", "4").unwrap();
        rig.until("both", |rig| {
            texts(rig, alice).len() == 4 && texts(rig, bob).len() == 5
        });
        assert_eq!(texts(&rig, bob), ["0", "1", "2", "3", "4"]);
        assert_eq!(texts(&rig, alice), ["1", "2", "3", "4"]);
        assert_eq!(changed(&rig, alice) + changed(&rig, bob), 0);
    }
}

#[test]
fn who_takes_a_new_identity_is_heard_again_when_the_contact_has_accepted_it() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let fingerprint = |rig: &mut Rig, rotate: bool| {
        let which = match rotate {
            true => Call::IdentityRotate {},
            false => Call::IdentityShow {},
        };
        match rig.asked(bob, which) {
            Ok(Answer::Identity { fingerprint }) => fingerprint,
            other => panic!("{other:?}"),
        }
    };
    let before = fingerprint(&mut rig, false);
    let after = fingerprint(&mut rig, true);
    assert_ne!(before, after);
    rig.until("the change", |rig| changed(rig, alice) == 1);
    let number = details(&mut rig, alice, "bob").new_number.unwrap();
    assert_eq!(
        number,
        details(&mut rig, bob, "alice").number,
        "what both compare"
    );
    let contact = "bob".to_owned();
    rig.asked(alice, Call::ContactAcceptKey { contact, number })
        .unwrap();
    send(&mut rig, alice, "bob", "you again").unwrap();
    rig.until("the text", |rig| texts(rig, bob) == ["you again"]);
    assert_eq!(details(&mut rig, alice, "bob").info.fingerprint, after);
    send(&mut rig, bob, "alice", "me").unwrap();
    rig.until("the answer", |rig| texts(rig, alice) == ["me"]);
}

#[test]
fn a_banner_stays_over_a_restart_until_it_is_dismissed() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    claim(&mut rig, bob, 90);
    rig.until("the change", |rig| changed(rig, alice) == 1);
    rig.run(Duration::from_millis(10));
    rig.start(alice, 83);
    let find = |rig: &mut Rig| {
        let now = rig.now;
        let banners = client(rig, alice).status(now).banners;
        banners
            .into_iter()
            .find(|banner| banner.kind == Indicator::KeyChanged)
    };
    let banner = find(&mut rig).unwrap();
    assert_eq!(banner.contact.as_deref(), Some("bob"));
    assert!(banner.advice.contains("Compare"));
    let banner = banner.banner;
    rig.asked(alice, Call::Dismiss { banner }).unwrap();
    assert_eq!(find(&mut rig), None);
    assert_eq!(
        rig.asked(alice, Call::Dismiss { banner }).unwrap_err().code,
        2
    );
}

#[test]
fn a_contact_is_called_by_its_new_name_alone_and_no_two_have_one() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let rename = |contact: &str, name: &str| Call::ContactRename {
        contact: contact.into(),
        name: name.into(),
    };
    for (contact, name, code) in [("eve", "x", 5), ("bob", "", 2), ("bob", "a\nb", 2)] {
        let refused = rig.asked(alice, rename(contact, name));
        assert_eq!(refused.unwrap_err().code, code, "{contact} {name}");
    }
    rig.asked(alice, rename("bob", "robert")).unwrap();
    rig.run(Duration::from_millis(10));
    rig.start(alice, 84);
    assert_eq!(send(&mut rig, alice, "bob", "x").unwrap_err().code, 5);
    send(&mut rig, alice, "robert", "by another name").unwrap();
    rig.until("the text", |rig| texts(rig, bob) == ["by another name"]);
    assert_eq!(rig.texts(bob)[0].0, "alice", "only here");
    let taken = rig.asked(alice, rename("robert", "robert"));
    assert_eq!(taken.unwrap_err().code, 2);
}

#[test]
fn where_every_change_is_accepted_it_is_told_and_what_was_compared_counts_no_more() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    let number = details(&mut rig, alice, "bob").number;
    let verify = Call::Verify {
        contact: "bob".into(),
        number: Some(number),
        undo: false,
    };
    rig.asked(alice, verify).unwrap();
    let accept = Call::ContactSet {
        contact: "bob".into(),
        receipts: None,
        timer_s: None,
        retention_days: None,
        shared_secret: None,
        no_shared_secret: false,
        key_change: Some(crate::contacts::KeyChange::Accept),
    };
    rig.asked(alice, accept).unwrap();
    claim(&mut rig, bob, 90);
    rig.until("the change", |rig| changed(rig, alice) == 1);
    let known = details(&mut rig, alice, "bob");
    assert_eq!(
        (known.info.safety, known.new_number),
        (Safety::Changed, None)
    );
    send(&mut rig, alice, "bob", "to the new key").unwrap();
    let now = rig.now;
    let banners = client(&mut rig, alice).status(now).banners;
    assert!(
        banners
            .iter()
            .any(|banner| banner.kind == Indicator::KeyChanged)
    );
    rig.run(Duration::from_secs(60));
    assert_eq!(
        texts(&rig, bob),
        Vec::<String>::new(),
        "the old one reads nothing"
    );
}

#[test]
fn a_key_with_which_no_session_can_be_made_leaves_everything_as_it_was() {
    let (mut rig, alice, bob) = Rig::pair(parameters());
    rig.weather.silent = true;
    send(&mut rig, alice, "bob", "on its way").unwrap();
    rig.run(Duration::from_millis(200));
    let bytes = bundle(&mut rig, bob, 90);
    let now = rig.now;
    let it = client(&mut rig, alice);
    let id = *it.people.contacts.keys().next().unwrap();
    it.renewed(now, id, bytes.as_slice());
    rig.handle(alice, whist_link::Input::Timeout);
    rig.run(Duration::from_millis(10));
    let it = client(&mut rig, alice);
    let stored = |it: &Client| borsh::to_vec(&it.people.contacts[&id].row.waiting).unwrap();
    let (waiting, before) = (it.outbox_len(), stored(it));
    assert!(it.people.contacts[&id].row.waiting.is_some());
    // No session can be made without a mailbox of one's own.
    let mailbox = it.mailbox.take();
    let offer = it.people.contacts[&id].waiting().unwrap();
    assert!(it.accept_key(now, id, offer).is_err());
    assert_eq!(stored(it), before, "frozen still");
    assert_eq!(it.outbox_len(), waiting);
    it.mailbox = mailbox;
}

#[test]
fn whoever_holds_an_old_invitation_cannot_make_a_compared_contact_doubtful() {
    let mut rig = Rig::new(parameters());
    let (alice, bob) = (rig.add_client(1), rig.add_client(2));
    rig.until("invitations", |rig| {
        let client = rig.sides[alice].client.as_ref().unwrap();
        client.status(rig.now).invitations_ready == 4
    });
    let rows = client(&mut rig, alice).people.invitations.clone();
    rig.introduce(alice, bob);
    let now = rig.now;
    let it = client(&mut rig, alice);
    let id = *it.people.contacts.keys().next().unwrap();
    let (key, _) = it.people.contacts[&id].row.came_by.unwrap();
    let row = rows.values().find(|row| row.key == key).unwrap();
    let blob = row.blob.as_slice().try_into().unwrap();
    let bundle = whist_ratchet::open_bundle(&row.key(), blob).unwrap();
    let eve = IdentitySecret::from_seed(whist_types::Secret::new([66; 32]));
    let first = it.plaintext(&crate::conversation::Body::Greeting {
        provider: bundle.provider(),
        address: bundle.address(),
    });
    let made = whist_ratchet::Session::initiate(&eve, &bundle, &row.key(), &first, &mut it.rng);
    let item = made.unwrap().1.item().clone();
    let own = *it.people.contacts[&id].peer().as_bytes();
    it.people.contacts.get_mut(&id).unwrap().row.terms.verified = Some(own);
    it.look_for_second_use(now, id, &item);
    assert!(!it.people.contacts[&id].row.not_safe);
    it.people.contacts.get_mut(&id).unwrap().row.terms.verified = None;
    it.look_for_second_use(now, id, &item);
    assert!(
        it.people.contacts[&id].row.not_safe,
        "of an unverified one it is told"
    );
}
