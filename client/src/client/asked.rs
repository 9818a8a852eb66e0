//! Addresses, and those who ask through them.

use std::time::Duration;

use rand_core::SeedableRng as _;
use whist_ratchet::{Bundle, IdentitySecret, Plaintext, Session};
use whist_timing::Rng;
use whist_types::{ConsensusHash, MailboxAddress, NodeId, Secret};

use crate::api::Event;
use crate::call::{Answer, AskerInfo, Call};
use crate::client::Client;
use crate::client::rig::{Rig, parameters};
use crate::conversation::Body;
use crate::limits::ASKERS_MAX;
use crate::rpc::RpcError;

fn client(rig: &mut Rig, side: usize) -> &mut Client {
    rig.sides[side].client.as_mut().unwrap()
}

fn address(rig: &mut Rig, side: usize, call: Call) -> String {
    match rig.asked(side, call) {
        Ok(Answer::Address { address }) => address,
        other => panic!("{other:?}"),
    }
}

fn requests(rig: &mut Rig, side: usize) -> Vec<AskerInfo> {
    match rig.asked(side, Call::Requests {}) {
        Ok(Answer::Requests { requests }) => requests,
        other => panic!("{other:?}"),
    }
}

fn ask(rig: &mut Rig, side: usize, address: &str, note: &str) -> Result<Answer, RpcError> {
    let (name, address, note) = ("alice".into(), address.to_owned(), note.to_owned());
    rig.asked(
        side,
        Call::AddressAdd {
            name,
            address,
            note,
        },
    )
}

fn say(rig: &mut Rig, side: usize, contact: &str, text: &str) -> Result<Answer, RpcError> {
    let (contact, text) = (contact.to_owned(), text.to_owned());
    let (reply_to, wait_s) = (None, 0);
    rig.asked(
        side,
        Call::Send {
            contact,
            text,
            reply_to,
            wait_s,
        },
    )
}

fn asked(rig: &Rig, side: usize) -> usize {
    let told = |event: &&Event| matches!(event, Event::Asked { .. });
    rig.sides[side].events.iter().filter(told).count()
}

/// Alice with an address, and Bob with a mailbox.
fn pair() -> (Rig, usize, usize, String) {
    let mut rig = Rig::new(parameters());
    let (alice, bob) = (rig.add_client(1), rig.add_client(2));
    let refused = rig.asked(alice, Call::AddressCreate {}).unwrap_err();
    assert_eq!(refused.code, 7, "there is no mailbox yet");
    rig.until("mailboxes", |rig| {
        let made = |side: usize| {
            rig.sides[side]
                .client
                .as_ref()
                .unwrap()
                .status(rig.now)
                .mailbox
        };
        made(alice) && made(bob)
    });
    let address = address(&mut rig, alice, Call::AddressCreate {});
    (rig, alice, bob, address)
}

#[test]
fn who_asks_through_an_address_hears_nothing_until_accepted_and_then_both_write() {
    let (mut rig, alice, bob, text) = pair();
    assert_eq!(address(&mut rig, alice, Call::AddressShow {}), text);
    assert_eq!(ask(&mut rig, alice, &text, "me").unwrap_err().code, 2);
    ask(&mut rig, bob, &text, "it is bob").unwrap();
    assert_eq!(say(&mut rig, bob, "alice", "early").unwrap_err().code, 8);
    rig.until("the request", |rig| asked(rig, alice) == 1);
    rig.run(Duration::from_secs(1));
    rig.start(alice, 70);
    rig.run(Duration::from_secs(20));
    assert_eq!(
        client(&mut rig, alice).stats().sent.put,
        0,
        "nothing is sent back"
    );
    let waits = requests(&mut rig, alice);
    let whose = client(&mut rig, bob).identity().public().fingerprint();
    assert_eq!((waits.len(), waits[0].note.as_str()), (1, "it is bob"));
    assert_eq!(waits[0].fingerprint, whose.to_string());
    assert_eq!(say(&mut rig, bob, "alice", "early").unwrap_err().code, 8);
    let (request, name) = (waits[0].request, "bob".to_owned());
    rig.asked(alice, Call::Accept { request, name }).unwrap();
    assert_eq!(requests(&mut rig, alice), []);
    say(&mut rig, alice, "bob", "welcome").unwrap();
    rig.until("the answer", |rig| rig.texts(bob).len() == 1);
    for i in 0..4 {
        say(&mut rig, bob, "alice", &format!("{i}")).unwrap();
    }
    rig.until("the texts", |rig| rig.texts(alice).len() == 4);
    // By a way of his own, which the end of the address does not touch.
    rig.asked(alice, Call::AddressDelete {}).unwrap();
    rig.run(Duration::from_secs(30));
    say(&mut rig, bob, "alice", "still here").unwrap();
    rig.until("the text", |rig| rig.texts(alice).len() == 5);
    assert_eq!(ask(&mut rig, bob, &text, "").unwrap_err().code, 2);
}

#[test]
fn who_is_turned_down_hears_nothing_and_does_not_come_again() {
    let (mut rig, alice, bob, text) = pair();
    ask(&mut rig, bob, &text, "let me in").unwrap();
    rig.until("the request", |rig| asked(rig, alice) == 1);
    let (request, key) = (requests(&mut rig, alice)[0].request, b"let me in");
    rig.asked(alice, Call::Reject { request }).unwrap();
    assert_eq!(
        rig.asked(alice, Call::Reject { request }).unwrap_err().code,
        2
    );
    rig.run(Duration::from_secs(5));
    rig.start(alice, 71);
    rig.run(Duration::from_secs(20));
    assert_eq!((asked(&rig, alice), requests(&mut rig, alice)), (1, vec![]));
    assert_eq!(client(&mut rig, alice).stats().sent.put, 0);
    let kept = |(_, _, value): (_, _, &[u8])| value.windows(key.len()).any(|w| w == key);
    assert!(!rig.sides[alice].disk.all().any(kept));
}

/// A first item of somebody's to an address.
fn first_item(text: &str, seed: u8) -> whist_ratchet::Item {
    let mut rng = Rng::from_seed([seed; 32]);
    let somebody = IdentitySecret::from_seed(Secret::new([seed; 32]));
    let bundle = Bundle::from_text(text).unwrap();
    let body = Body::Request {
        provider: NodeId::from_bytes([seed; 32]),
        address: MailboxAddress::from_bytes([seed; 32]),
        note: "x".repeat(140),
    };
    let first = Plaintext {
        device: 0,
        consensus: ConsensusHash::from_bytes([0; 32]),
        body: body.encode(),
    };
    let key = bundle.invitation_key();
    let made = Session::initiate(&somebody, &bundle, &key, &first, &mut rng);
    made.unwrap().1.item().clone()
}

#[test]
fn an_old_address_reaches_nobody_and_no_more_ask_than_may_wait() {
    let (mut rig, alice, _, text) = pair();
    let most = u8::try_from(ASKERS_MAX).unwrap();
    let now = rig.now;
    for seed in 0..most + 4 {
        let item = first_item(&text, 100 + seed);
        client(&mut rig, alice).item_of_asker(now, &item);
        // The same once more asks nothing more.
        client(&mut rig, alice).item_of_asker(now, &item);
    }
    assert_eq!(requests(&mut rig, alice).len(), ASKERS_MAX);
    let request = requests(&mut rig, alice)[0].request;
    rig.asked(alice, Call::Reject { request }).unwrap();
    client(&mut rig, alice).item_of_asker(now, &first_item(&text, 100));
    assert_eq!(
        requests(&mut rig, alice).len(),
        ASKERS_MAX - 1,
        "turned down"
    );
    let new = address(&mut rig, alice, Call::AddressRotate {});
    assert_ne!(new, text);
    client(&mut rig, alice).item_of_asker(now, &first_item(&text, 99));
    assert_eq!(
        requests(&mut rig, alice).len(),
        ASKERS_MAX - 1,
        "the old one"
    );
    client(&mut rig, alice).item_of_asker(now, &first_item(&new, 99));
    assert_eq!(requests(&mut rig, alice).len(), ASKERS_MAX);
    // A new identity has no address that speaks for the old one.
    rig.asked(alice, Call::IdentityRotate {}).unwrap();
    assert_eq!(rig.asked(alice, Call::AddressShow {}).unwrap_err().code, 2);
}
