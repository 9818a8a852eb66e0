//! What each command does.

use std::time::Duration;

use whist_packet::request::{Add, Get, ReplyBody, Revoke, map_insert};
use whist_provider::desk::Answer;
use whist_provider::limits;
use whist_types::{Epoch, MailboxAddress, Salt16};

use crate::rig::{DAY_S, Rig, bytes, key, poll, salt};

#[test]
fn an_item_comes_back_with_its_number_and_address_until_it_is_acknowledged() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    rig.stored(&addresses[3], 42);
    let expected = ReplyBody::Item {
        number: 1,
        address: addresses[3],
        waiting: 1,
        oldest: 1,
        item: Box::new(bytes(42)),
    };
    assert_eq!(rig.get(&poll(1)), expected);
    rig.wait(Duration::from_secs(21));
    assert_eq!(rig.get(&poll(1)), expected, "it stays until acknowledged");
    let acked = Get {
        acked: 1,
        ..poll(1)
    };
    let none = ReplyBody::None {
        waiting: 0,
        oldest: 2,
    };
    assert_eq!(rig.get(&acked), none);
    assert_eq!(rig.get(&poll(1)), none);
}

#[test]
fn numbers_are_the_mailboxes_and_without_gaps() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    let unknown = MailboxAddress::from_bytes([9; 32]);
    for item in 0..20 {
        rig.stored(&addresses[item as usize % 5], item);
        rig.stored(&unknown, item);
    }
    let mut request = poll(1);
    let mut numbers = Vec::new();
    while let Some(number) = rig.number(&request) {
        numbers.push(number);
        assert!(map_insert(&mut request.done, 0, number));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    rig.stored(&addresses[0], 99);
    assert_eq!(
        rig.number(&Get {
            acked: 20,
            ..poll(1)
        }),
        Some(21)
    );
}

#[test]
fn no_poll_is_wasted_on_an_item_in_flight() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for item in 0..3 {
        rig.stored(&addresses[0], item);
    }
    let polls: Vec<_> = (0..4).map(|_| rig.number(&poll(1))).collect();
    assert_eq!(polls, [Some(1), Some(2), Some(3), None]);
    rig.wait(Duration::from_secs(21));
    assert_eq!(rig.number(&poll(1)), Some(1), "a lease ends");
    let wanted = Get {
        wanted: 1,
        ..poll(1)
    };
    assert_eq!(rig.number(&wanted), Some(1), "what is wanted is given");
    let gone = Get {
        wanted: 77,
        ..poll(1)
    };
    assert_eq!(rig.number(&gone), Some(2));
}

#[test]
fn what_is_held_is_kept_and_not_handed_out() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for item in 0..3 {
        rig.stored(&addresses[0], item);
    }
    let mut request = poll(1);
    assert!(map_insert(&mut request.held, 0, 1) && map_insert(&mut request.done, 0, 2));
    assert_eq!(rig.number(&request), Some(3));
    let none = ReplyBody::None {
        waiting: 2,
        oldest: 1,
    };
    assert_eq!(rig.get(&request), none);
    rig.wait(Duration::from_secs(21));
    assert_eq!(rig.number(&poll(1)), Some(1));
    assert_eq!(rig.number(&poll(1)), Some(3), "2 is deleted");
}

#[test]
fn a_flood_by_one_contact_delays_the_others_by_one_poll_in_two_at_most() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    let (flood, friends) = (addresses[0], &addresses[1..4]);
    for item in 0..2_000 {
        rig.put(&flood, item);
    }
    rig.sync();
    let mut request = poll(1);
    let mut waits = Vec::new();
    for round in 0..90 {
        // A friend's item comes while the flood goes on.
        rig.put(&flood, 10_000 + round);
        rig.stored(&friends[round as usize % 3], 20_000 + round);
        for polls in 1.. {
            assert!(polls <= 2, "a friend's item waited for {polls} polls");
            let ReplyBody::Item {
                number, address, ..
            } = rig.get(&request)
            else {
                panic!("nothing");
            };
            let _ = map_insert(&mut request.done, 0, number);
            if address != flood {
                waits.push(polls);
                break;
            }
        }
    }
    assert_eq!(waits.len(), 90);
}

#[test]
fn addresses_are_served_in_turn() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for item in 0..12 {
        rig.stored(&addresses[item as usize / 4], item);
    }
    let order: Vec<_> = (0..12)
        .map(|_| match rig.get(&poll(1)) {
            ReplyBody::Item { address, .. } => address,
            other => panic!("{other:?}"),
        })
        .collect();
    for turn in order.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort_unstable();
        turn.dedup();
        assert_eq!(turn.len(), 3);
    }
}

#[test]
fn create_and_add_are_idempotent_and_an_address_is_not_anybody_elses_to_claim() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    assert_eq!(rig.create(1), addresses);
    let others = rig.create(2);
    assert!(addresses.iter().all(|address| !others.contains(address)));
    let add = Add {
        mailbox: key(1),
        epoch: Epoch::new(0),
        salts: vec![salt(200), salt(200), salt(3)],
        signature: [0; 64],
    };
    for _ in 0..2 {
        assert_eq!(rig.desk.add(&add).body, ReplyBody::Ok);
    }
    rig.sync();
    rig.stored(&key(1).address(&salt(200)), 1);
    assert_eq!(rig.number(&poll(1)), Some(1));
    let unknown = Add {
        mailbox: key(9),
        ..add
    };
    assert_eq!(rig.desk.add(&unknown).body, ReplyBody::Refused);
    assert_eq!(rig.get(&poll(9)), ReplyBody::Refused);
}

#[test]
fn a_mailbox_has_a_bounded_number_of_addresses() {
    let mut rig = Rig::new();
    rig.create(1);
    let mut refused = 0;
    for batch in 1..40_u8 {
        let salts =
            (0..32).map(|n| Salt16::from_bytes([[batch, n]; 8].concat().try_into().unwrap()));
        let add = Add {
            mailbox: key(1),
            epoch: Epoch::new(0),
            salts: salts.collect(),
            signature: [0; 64],
        };
        refused += usize::from(rig.desk.add(&add).body == ReplyBody::Refused);
    }
    assert_eq!(refused, 39 - (limits::ADDRESSES_MAX - 32) / 32);
}

#[test]
fn revoke_deletes_what_waits_and_later_items_vanish_with_the_same_answer() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    rig.stored(&addresses[0], 1);
    rig.stored(&addresses[1], 2);
    rig.stored(&addresses[0], 3);
    let revoke = Revoke {
        mailbox: key(1),
        epoch: Epoch::new(0),
        addresses: vec![addresses[0]],
        signature: [0; 64],
    };
    for _ in 0..2 {
        let answer = rig.desk.revoke(&revoke);
        assert_eq!(answer.body, ReplyBody::Ok);
        assert!(answer.after.is_some(), "durable before it is said");
    }
    rig.sync();
    rig.stored(&addresses[0], 4);
    assert_eq!(rig.number(&poll(1)), Some(2));
    assert_eq!(
        rig.number(&Get {
            acked: 2,
            ..poll(1)
        }),
        None
    );
    let mut rig = rig.crash();
    rig.stored(&addresses[0], 5);
    assert_eq!(
        rig.number(&Get {
            acked: 2,
            ..poll(1)
        }),
        None
    );
    rig.stored(&addresses[1], 6);
    assert_eq!(
        rig.number(&Get {
            acked: 2,
            ..poll(1)
        }),
        Some(4)
    );
    // Nobody revokes what is another's.
    let others = rig.create(2);
    let foreign = Revoke {
        addresses: vec![others[0]],
        ..revoke
    };
    assert_eq!(rig.desk.revoke(&foreign).body, ReplyBody::Ok);
    rig.stored(&others[0], 7);
    assert_eq!(rig.number(&poll(2)), Some(1));
}

#[test]
fn live_revoked_and_unknown_addresses_answer_alike_and_wait_for_the_same_commit() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    let revoke = Revoke {
        mailbox: key(1),
        epoch: Epoch::new(0),
        addresses: vec![addresses[1]],
        signature: [0; 64],
    };
    rig.desk.revoke(&revoke);
    rig.sync();
    let unknown = MailboxAddress::from_bytes([77; 32]);
    let games = [addresses[0], addresses[1], unknown];
    // Within the quota, and beyond it, also with repetitions.
    for item in 0..9_000_u64 {
        let answers: Vec<_> = games.iter().map(|a| rig.put(a, item / 2)).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{item}");
        if item >= 8_192 {
            assert_eq!(
                answers[0],
                Answer {
                    body: ReplyBody::Full,
                    after: None
                }
            );
        }
    }
    // The disk has the same work.
    rig.sync();
    rig.wait(Duration::from_secs(DAY_S));
    rig.sync();
    for address in games {
        let before = rig.disk.bytes_written();
        rig.stored(&address, 123_456);
        let written = rig.disk.bytes_written() - before;
        // Index, address and item, head and its twin, count.
        assert_eq!(written, 64 + 32 + 1536 + 2 * 8 + 8);
    }
}

#[test]
fn what_lies_beyond_the_window_is_not_handed_out_again_and_again() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for item in 0..600 {
        rig.put(&addresses[0], item);
    }
    rig.put(&addresses[1], 1_000);
    rig.sync();
    let mut beyond = 0;
    for _ in 0..30 {
        let Some(number) = rig.number(&poll(1)) else {
            panic!("nothing");
        };
        beyond += usize::from(number > limits::WINDOW);
        rig.wait(Duration::from_secs(10));
    }
    assert_eq!(beyond, 1);
}
