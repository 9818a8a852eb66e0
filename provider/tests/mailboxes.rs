//! Every command on mailboxes, and every rule, over the store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use whist_packet::request::{Add, Create, Get, ReplyBody, Revoke, map_insert};
use whist_provider::desk::{Answer, Desk, Moment, Rules};
use whist_provider::limits;
use whist_provider::quota::Quota;
use whist_provider::store::{Day, Memory, Store, Table};
use whist_provider::ticket::Fate;
use whist_types::{Epoch, Instant, MailboxAddress, MailboxKey, Salt16, Wall};

const RULES: Rules = Rules {
    item_days: 14,
    hash_days: 2,
    quota: Quota {
        per_day: 2_048,
        burst: 8_192,
    },
    store_rows: 1_000_000,
};
const DAY_S: u64 = 86_400;

/// A desk, its disk, and a clock.
struct Rig {
    desk: Desk<Memory>,
    disk: Memory,
    at: Moment,
}

impl Rig {
    fn new() -> Self {
        Self::over(Memory::new(), RULES, Wall::from_secs(20_000 * DAY_S))
    }

    fn over(disk: Memory, rules: Rules, wall: Wall) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut desk = Desk::new(disk.clone(), rules, &mut rng).unwrap();
        let at = Moment {
            instant: Instant::ZERO,
            wall,
        };
        desk.turn(at);
        let mut rig = Self { desk, disk, at };
        rig.sync();
        rig
    }

    fn wait(&mut self, duration: Duration) {
        self.at.instant = self.at.instant.after(duration);
        self.at.wall = self.at.wall.after(duration);
        self.desk.turn(self.at);
    }

    fn wait_days(&mut self, days: u64) {
        for _ in 0..days {
            self.wait(Duration::from_secs(DAY_S));
        }
        self.sync();
    }

    fn sync(&mut self) {
        while let Some(ticket) = self.desk.tickets().begin() {
            self.disk.sync();
            self.desk.tickets().ended(ticket, true);
        }
    }

    /// The provider is killed, and starts again over what the disk has.
    fn crash(self) -> Self {
        self.disk.crash();
        Self::over(self.disk, RULES, self.at.wall)
    }

    fn create(&mut self, mailbox: u8) -> Vec<MailboxAddress> {
        let create = create(mailbox);
        let answer = self.desk.create(&create);
        assert!(
            matches!(answer.body, ReplyBody::Created { .. }),
            "{answer:?}"
        );
        self.sync();
        let address = |salt| create.mailbox.address(salt);
        create.salts.iter().map(address).collect()
    }

    fn put(&mut self, address: &MailboxAddress, item: u64) -> Answer {
        self.desk.put(self.at, address, &bytes(item))
    }

    fn stored(&mut self, address: &MailboxAddress, item: u64) {
        let answer = self.put(address, item);
        assert_eq!(answer.body, ReplyBody::Stored);
        self.sync();
        assert_eq!(
            self.desk.tickets().fate(answer.after.unwrap()),
            Fate::Durable
        );
    }

    fn get(&mut self, get: &Get) -> ReplyBody {
        let answer = self.desk.get(self.at, get);
        assert_eq!(answer.after, None, "a poll waits for no commit");
        answer.body
    }

    fn number(&mut self, request: &Get) -> Option<u64> {
        match self.get(request) {
            ReplyBody::Item { number, .. } => Some(number),
            ReplyBody::None { .. } => None,
            other => panic!("{other:?}"),
        }
    }
}

fn key(mailbox: u8) -> MailboxKey {
    MailboxKey::from_bytes([mailbox; 32])
}

fn salt(n: u8) -> Salt16 {
    Salt16::from_bytes([n; 16])
}

fn create(mailbox: u8) -> Create {
    let mut salts = [salt(0); 32];
    for (n, place) in (0..).zip(&mut salts) {
        *place = salt(n);
    }
    Create {
        mailbox: key(mailbox),
        epoch: Epoch::new(0),
        salts,
        proof: [0; 64],
        signature: [0; 64],
    }
}

fn poll(mailbox: u8) -> Get {
    Get {
        mailbox: key(mailbox),
        epoch: Epoch::new(0),
        acked: 0,
        done: [0; 64],
        held: [0; 64],
        lease_s: 20,
        wanted: 0,
        signature: [0; 64],
    }
}

fn bytes(item: u64) -> [u8; 1536] {
    let mut bytes = [7; 1536];
    bytes[..8].copy_from_slice(&item.to_be_bytes());
    bytes
}

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
fn a_repeated_put_stores_nothing_twice_also_two_days_after_the_item_was_deleted() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    rig.stored(&addresses[0], 5);
    rig.stored(&addresses[0], 5);
    let acked = Get {
        acked: 1,
        ..poll(1)
    };
    assert_eq!(rig.number(&poll(1)), Some(1));
    assert_eq!(rig.number(&acked), None);
    rig.stored(&addresses[0], 5);
    assert_eq!(rig.number(&acked), None);
    rig.wait(Duration::from_secs(47 * 3600));
    rig.stored(&addresses[0], 5);
    assert_eq!(rig.number(&acked), None);
    let mut rig = rig.crash();
    rig.stored(&addresses[0], 5);
    assert_eq!(rig.number(&acked), None, "also after a restart");
    rig.wait_days(3);
    rig.stored(&addresses[0], 5);
    assert_eq!(rig.number(&acked), Some(2), "hashes are not kept for ever");
    rig.stored(&addresses[1], 5);
    assert_eq!(rig.number(&acked), Some(3), "another address, another item");
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
        assert_eq!(written, 64 + 1536 + 8);
    }
}

#[test]
fn a_crash_after_stored_keeps_the_item_and_one_before_gives_no_number_twice() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    rig.stored(&addresses[0], 1);
    let answer = rig.put(&addresses[0], 2);
    assert_eq!(
        rig.desk.tickets().fate(answer.after.unwrap()),
        Fate::Waiting
    );
    let seen: Vec<_> = (0..3).map(|_| rig.number(&poll(1))).collect();
    assert_eq!(
        seen,
        [Some(1), None, None],
        "what is not durable is not shown"
    );
    let none = rig.get(&Get {
        acked: 1,
        ..poll(1)
    });
    assert_eq!(
        none,
        ReplyBody::None {
            waiting: 0,
            oldest: 2
        }
    );
    let mut rig = rig.crash();
    rig.stored(&addresses[0], 3);
    let ReplyBody::Item { number, item, .. } = rig.get(&Get {
        acked: 1,
        ..poll(1)
    }) else {
        panic!("the item is gone");
    };
    assert_eq!((number, item), (2, Box::new(bytes(3))));
}

#[test]
fn a_sync_that_fails_makes_nothing_visible() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    let answer = rig.put(&addresses[0], 1);
    let ticket = rig.desk.tickets().begin().unwrap();
    rig.desk.tickets().ended(ticket, false);
    assert_eq!(rig.desk.tickets().fate(answer.after.unwrap()), Fate::Failed);
    assert_eq!(rig.number(&poll(1)), None);
}

#[test]
fn items_die_after_fourteen_days_with_the_key_of_their_day() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    rig.stored(&addresses[0], 1);
    for _ in 0..14 {
        rig.wait_days(1);
        assert_eq!(rig.number(&poll(1)), Some(1));
        rig.stored(&addresses[0], 2);
    }
    rig.wait_days(1);
    let ReplyBody::Item { number, oldest, .. } = rig.get(&poll(1)) else {
        panic!("nothing");
    };
    assert_eq!((number, oldest), (2, 2));
    assert!(rig.disk.days().len() <= 15);
    assert!(!rig.disk.days().contains(&Day::new(20_000)));
}

#[test]
fn a_mailbox_that_its_owner_does_not_use_dies_after_fourteen_days() {
    let mut rig = Rig::new();
    let used = rig.create(1);
    let unused = rig.create(2);
    for day in 0..20 {
        rig.wait_days(1);
        rig.stored(&unused[0], day);
        rig.stored(&used[0], day);
        rig.number(&poll(1));
    }
    assert_eq!(rig.get(&poll(2)), ReplyBody::Refused);
    assert!(rig.number(&poll(1)).is_some());
    rig.stored(&used[31], 7);
    let mut rig = rig.crash();
    assert!(
        rig.number(&poll(1)).is_some(),
        "its rows moved with its use"
    );
}

#[test]
fn a_full_store_says_full_and_deletes_work() {
    let rules = Rules {
        store_rows: 4,
        ..RULES
    };
    let mut rig = Rig::over(Memory::new(), rules, Wall::from_secs(20_000 * DAY_S));
    let addresses = rig.create(1);
    for item in 0..3 {
        rig.stored(&addresses[0], item);
    }
    assert_eq!(rig.put(&addresses[0], 9).body, ReplyBody::Full);
    assert_eq!(
        rig.put(&MailboxAddress::from_bytes([9; 32]), 9).body,
        ReplyBody::Full
    );
    assert_eq!(rig.desk.create(&create(2)).body, ReplyBody::Full);
    assert_eq!(
        rig.number(&Get {
            acked: 1,
            ..poll(1)
        }),
        Some(2)
    );
    rig.stored(&addresses[0], 9);
    assert_eq!(rig.put(&addresses[0], 10).body, ReplyBody::Full);
}

#[test]
fn a_disk_that_is_full_says_full_and_deletes_work() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    rig.stored(&addresses[0], 1);
    rig.stored(&addresses[0], 2);
    rig.disk.limit_rows(Some(rig.disk.len()));
    assert_eq!(rig.put(&addresses[0], 3).body, ReplyBody::Full);
    let unknown = MailboxAddress::from_bytes([9; 32]);
    assert_eq!(rig.put(&unknown, 3).body, ReplyBody::Full);
    assert_eq!(
        rig.number(&Get {
            acked: 1,
            ..poll(1)
        }),
        Some(2)
    );
    assert_eq!(
        rig.number(&Get {
            acked: 2,
            ..poll(1)
        }),
        None
    );
    rig.disk.limit_rows(None);
    rig.stored(&addresses[0], 3);
    assert_eq!(
        rig.number(&Get {
            acked: 2,
            ..poll(1)
        }),
        Some(3),
        "by itself again"
    );
}

#[test]
fn whichever_write_fails_nothing_is_lost_and_nothing_half_done() {
    for n in 0..40 {
        let mut rig = Rig::new();
        let addresses = rig.create(1);
        rig.disk.fail_in(Some(n));
        let mut told = Vec::new();
        let mut request = poll(1);
        for item in 0..12_u64 {
            if rig.put(&addresses[item as usize % 2], item).body == ReplyBody::Stored {
                told.push(item);
            }
            rig.sync();
            if item % 3 == 0 && rig.number(&request) == Some(request.acked + 1) {
                request.acked += 1;
            }
        }
        rig.disk.fail_in(None);
        let mut rig = rig.crash();
        let mut found = Vec::new();
        let mut all = poll(1);
        while let ReplyBody::Item { number, item, .. } = rig.get(&all) {
            found.push(u64::from_be_bytes(item[..8].try_into().unwrap()));
            let _ = map_insert(&mut all.done, 0, number);
        }
        let lost: Vec<_> = told.iter().filter(|item| !found.contains(item)).collect();
        assert!(lost.len() as u64 <= request.acked, "{n}: {lost:?}");
        found.sort_unstable();
        found.dedup();
        assert!(found.iter().all(|item| told.contains(item)), "{n}");
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

#[test]
fn a_shelf_that_was_dropped_is_loaded_again_as_it_was() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for item in 0..5 {
        rig.stored(&addresses[item as usize], item);
    }
    rig.number(&Get {
        acked: 1,
        ..poll(1)
    });
    rig.sync();
    let rows = rig.desk.rows();
    let mut rig = rig.crash();
    assert_eq!(rig.desk.rows(), rows);
    assert_eq!(rig.disk.count(Table::Index).unwrap(), 4);
    let ReplyBody::Item {
        number,
        waiting,
        oldest,
        ..
    } = rig.get(&Get {
        acked: 1,
        ..poll(1)
    })
    else {
        panic!("nothing");
    };
    assert_eq!((number, waiting, oldest), (2, 4, 2));
    rig.stored(&addresses[0], 50);
    assert_eq!(
        rig.number(&Get {
            acked: 5,
            ..poll(1)
        }),
        Some(6)
    );
}
