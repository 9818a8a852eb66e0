//! What survives, what dies, and what happens when there is no room.

use std::time::Duration;

use whist_packet::request::{Get, ReplyBody, Revoke, map_insert};
use whist_provider::desk::Rules;
use whist_provider::limits;
use whist_provider::store::{Day, Memory, Store, Table};
use whist_provider::ticket::Fate;
use whist_types::{Epoch, MailboxAddress, Wall};

use crate::rig::{DAY_S, RULES, Rig, bytes, create, key, poll, salt};

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
fn a_disk_that_stays_full_is_one_fault_however_many_are_refused() {
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for times in 1..=2 {
        rig.disk.fill(true);
        for item in 0..50 {
            assert_eq!(rig.put(&addresses[0], item).body, ReplyBody::Full);
        }
        assert_eq!(rig.desk.faults(), times);
        rig.disk.fill(false);
        rig.stored(&addresses[0], 100 * times);
    }
}

#[test]
fn a_day_whose_rows_could_not_go_at_its_end_is_cleared_on_a_later_one() {
    let mut rig = Rig::new();
    rig.create(1);
    rig.disk.hold_ends(1);
    rig.at.wall = rig.at.wall.after(Duration::from_secs(30 * DAY_S));
    rig.desk.turn(rig.at);
    assert!(rig.desk.work());
    assert!(rig.disk.days().len() == 1 && !rig.disk.is_empty());
    rig.wait_days(1);
    assert!(rig.disk.is_empty() && !rig.desk.has_chores());
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

#[test]
fn a_revocation_that_fails_anywhere_is_finished_by_its_repetition() {
    for n in 0..6 {
        let mut rig = Rig::new();
        let addresses = rig.create(1);
        for item in 0..6 {
            rig.stored(&addresses[item as usize % 2], item);
        }
        let revoke = Revoke {
            mailbox: key(1),
            epoch: Epoch::new(0),
            addresses: vec![addresses[0]],
            signature: [0; 64],
        };
        rig.disk.fail_in(Some(n));
        let first = rig.desk.revoke(&revoke).body;
        rig.disk.fail_in(None);
        assert_eq!(first == ReplyBody::Ok, n >= 2);
        rig.sync();
        let mut rig = rig.crash();
        assert_eq!(rig.desk.revoke(&revoke).body, ReplyBody::Ok);
        rig.sync();
        rig.stored(&addresses[0], 99);
        let ReplyBody::Item {
            number, waiting, ..
        } = rig.get(&poll(1))
        else {
            panic!("nothing");
        };
        assert_eq!((number, waiting), (2, 3));
    }
}

#[test]
fn a_day_of_many_deletes_ends_in_slices_and_nothing_expired_is_served_meanwhile() {
    let many = 3 * limits::CHORE_ROWS as u64;
    let mut rig = Rig::new();
    let addresses = rig.create(1);
    for item in 0..many {
        rig.put(&addresses[0], item);
    }
    rig.sync();
    let mut all = poll(1);
    while rig.disk.count(Table::Tomb).unwrap() < many {
        all.acked = many;
        rig.get(&all);
    }
    rig.sync();
    rig.create(2);
    // Three days on, the hashes of what was deleted may go.
    let mut left = rig.disk.count(Table::Tomb).unwrap();
    rig.at.wall = rig.at.wall.after(Duration::from_secs(3 * DAY_S));
    rig.desk.turn(rig.at);
    assert_eq!(
        rig.disk.count(Table::Tomb).unwrap(),
        left,
        "nothing at once"
    );
    let mut slices = 0;
    while rig.desk.has_chores() {
        rig.desk.work();
        let now = rig.disk.count(Table::Tomb).unwrap();
        assert!(left - now <= limits::CHORE_ROWS as u64);
        left = now;
        slices += 1;
    }
    assert!(left == 0 && slices >= 3, "{left} {slices}");
    // A mailbox whose day is over is gone before its rows are.
    rig.at.wall = rig.at.wall.after(Duration::from_secs(30 * DAY_S));
    rig.desk.turn(rig.at);
    assert!(rig.disk.count(Table::Head).unwrap() > 0);
    assert_eq!(rig.get(&poll(2)), ReplyBody::Refused);
    let address = key(2).address(&salt(0));
    let rows = rig.desk.rows();
    assert_eq!(rig.put(&address, 1).body, ReplyBody::Stored);
    assert_eq!(rig.desk.rows(), rows, "as to an address that is nobody's");
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.disk.count(Table::Head).unwrap(), 0);
}
