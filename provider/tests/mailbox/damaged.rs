//! Rows that do not open any more: what is answered, what is counted, what is lost.

use whist_packet::request::{Get, ReplyBody};
use whist_provider::store::{Key, Table};
use whist_types::MailboxAddress;

use crate::rig::{Rig, poll};

const ITEMS: u64 = 6;

/// Two mailboxes with items, found by a provider that has just started.
fn rig() -> (Rig, Vec<MailboxAddress>, Vec<MailboxAddress>) {
    let mut rig = Rig::new();
    let (hit, other) = (rig.create(1), rig.create(2));
    for item in 0..ITEMS {
        rig.stored(&hit[item as usize % 3], item);
        rig.stored(&other[0], 100 + item);
    }
    (rig.crash(), hit, other)
}

fn of(mailbox: u8, table: Table) -> impl Fn(&Key) -> bool {
    move |key| key.table == table && key.owner.as_bytes() == &[mailbox; 32]
}

/// The numbers and items that polls bring, by number, all acknowledged then.
fn read(rig: &mut Rig, mailbox: u8) -> Vec<(u64, u64, MailboxAddress)> {
    let mut read = Vec::new();
    let get = poll(mailbox);
    while let ReplyBody::Item {
        number,
        item,
        address,
        ..
    } = rig.get(&get)
    {
        let item = u64::from_be_bytes(item[..8].try_into().unwrap());
        read.push((number, item, address));
    }
    read.sort_unstable_by_key(|(number, ..)| *number);
    let acked = read.last().map_or(0, |(number, ..)| *number);
    assert_eq!(rig.number(&Get { acked, ..get }), None);
    read
}

fn all(addresses: &[MailboxAddress]) -> Vec<(u64, u64, MailboxAddress)> {
    let item = |n: u64| (n + 1, n, addresses[n as usize % 3]);
    (0..ITEMS).map(item).collect()
}

fn the_other_is_served(rig: &mut Rig, other: &[MailboxAddress]) {
    rig.stored(&other[0], 100 + ITEMS);
    let items: Vec<u64> = read(rig, 2).iter().map(|(_, item, _)| *item).collect();
    assert_eq!(items, (100..=100 + ITEMS).collect::<Vec<_>>());
}

#[test]
fn either_of_the_two_rows_of_head_and_book_serves_and_mends_the_other() {
    for table in [Table::Head, Table::Book] {
        for index in [0, 1] {
            let (mut rig, hit, other) = rig();
            let which = of(1, table);
            assert_eq!(rig.disk.damage(|key| which(key) && key.index == index), 1);
            assert_eq!(read(&mut rig, 1), all(&hit), "{table:?} {index}");
            rig.stored(&hit[0], 50);
            the_other_is_served(&mut rig, &other);
            assert_eq!(rig.desk.damaged(), u64::from(index == 0));
            // With its owner's next day both are written again: the other one may go now.
            rig.wait_days(1);
            rig.number(&poll(1));
            rig.sync();
            let mut rig = rig.crash();
            let other = 1 - index;
            rig.disk
                .damage(|key| of(1, table)(key) && key.index == other);
            let number = rig.number(&Get {
                acked: ITEMS,
                ..poll(1)
            });
            assert_eq!(number, Some(ITEMS + 1), "{table:?} {index}");
        }
    }
}

#[test]
fn with_both_rows_of_a_head_or_book_gone_its_mailbox_says_full_and_keeps_its_items() {
    for table in [Table::Head, Table::Book] {
        let (mut rig, hit, other) = rig();
        assert_eq!(rig.disk.damage(of(1, table)), 2);
        let rows = rig.disk.len();
        assert_eq!(rig.get(&poll(1)), ReplyBody::Full);
        assert_eq!(rig.put(&hit[0], 50).body, ReplyBody::Full);
        assert_eq!(rig.disk.len(), rows, "nothing was deleted");
        assert!(rig.desk.damaged() > 0);
        the_other_is_served(&mut rig, &other);
    }
}

#[test]
fn an_index_is_made_again_from_its_items() {
    let (mut rig, hit, other) = rig();
    assert_eq!(rig.disk.damage(of(1, Table::Index)), ITEMS as usize);
    assert_eq!(read(&mut rig, 1), all(&hit));
    assert_eq!(rig.desk.damaged(), ITEMS);
    // Its hashes too: the same items are known.
    rig.stored(&hit[0], 50);
    the_other_is_served(&mut rig, &other);
    rig.sync();
    let mut rig = rig.crash();
    rig.number(&poll(1));
    assert_eq!(rig.desk.damaged(), 0, "mended on the disk");
}

#[test]
fn an_item_that_does_not_open_is_passed_over_and_no_other_is_lost() {
    for index_too in [false, true] {
        let (mut rig, hit, other) = rig();
        let which = of(1, Table::Item);
        rig.disk.damage(|key| which(key) && key.index == 2);
        if index_too {
            let which = of(1, Table::Index);
            rig.disk.damage(|key| which(key) && key.index == 2);
        }
        let before = rig.desk.rows();
        let mut expected = all(&hit);
        expected.remove(1);
        assert_eq!(read(&mut rig, 1), expected);
        assert!(rig.desk.damaged() > 0);
        rig.stored(&hit[0], 50);
        the_other_is_served(&mut rig, &other);
        assert!(
            rig.desk.rows() < before,
            "what was read or lost is not kept"
        );
    }
}

#[test]
fn an_address_that_does_not_open_says_full_until_its_owner_comes_another_day() {
    let (mut rig, hit, other) = rig();
    let owner = hit[0];
    let which = |key: &Key| key.table == Table::Address && key.owner.as_bytes() == owner.as_bytes();
    assert_eq!(rig.disk.damage(which), 1);
    assert_eq!(rig.put(&hit[0], 50).body, ReplyBody::Full);
    rig.stored(&hit[1], 51);
    the_other_is_served(&mut rig, &other);
    rig.wait_days(1);
    rig.number(&poll(1));
    rig.sync();
    rig.stored(&hit[0], 52);
}

#[test]
fn a_tomb_and_a_count_that_do_not_open_bring_nothing_back_and_keep_nobody_from_starting() {
    let (mut rig, hit, _) = rig();
    let rows = rig.desk.rows();
    read(&mut rig, 1);
    rig.sync();
    let kept = rig.desk.rows();
    assert_eq!(kept, rows - ITEMS);
    assert!(rig.disk.damage(|key| key.table == Table::Tomb) > 0);
    assert_eq!(rig.put(&hit[0], 0).body, ReplyBody::Stored);
    rig.sync();
    assert_eq!(
        rig.desk.rows(),
        kept,
        "read and deleted: it does not come again"
    );
    assert!(rig.disk.damage(|key| key.table == Table::Count) > 0);
    let rig = rig.crash();
    assert_eq!(rig.desk.rows(), kept);
    assert_eq!(rig.desk.damaged(), 1);
}

#[test]
fn a_disk_that_cannot_read_for_a_while_costs_no_item() {
    let (mut rig, hit, _) = rig();
    assert_eq!(rig.number(&poll(1)), Some(1));
    rig.disk.fail_reads(true);
    assert_eq!(rig.get(&poll(1)), ReplyBody::Full);
    rig.disk.fail_reads(false);
    rig.wait(std::time::Duration::from_secs(60));
    assert_eq!(read(&mut rig, 1), all(&hit));
    assert_eq!(rig.desk.damaged(), 0);
}
