//! The embedded store on a real disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    missing_docs
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use whist_packet::request::{Create, Get, ReplyBody};
use whist_provider::desk::{Desk, Moment, Rules};
use whist_provider::key_files::DiskDayKeys;
use whist_provider::quota::Quota;
use whist_provider::store::{
    Batch, Cursor, Day, DayKeys, Fjall, Key, Owner, Store, StoreFault, Table,
};
use whist_rt::sealed::SealedDir;
use whist_types::{Epoch, Instant, MailboxAddress, MailboxKey, Salt16, Secret, Wall};

fn open(folder: &Path) -> Fjall<DiskDayKeys> {
    let rng = ChaCha20Rng::seed_from_u64(1);
    Fjall::open(&folder.join("store"), day_keys(folder), rng).unwrap()
}

fn day_keys(folder: &Path) -> DiskDayKeys {
    DiskDayKeys::new(SealedDir::open(&folder.join("days"), Secret::new([1; 32])).unwrap())
}

fn put(store: &mut Fjall<DiskDayKeys>, key: Key, value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(key, value.to_vec());
    store.apply(&batch).unwrap();
}

fn item(day: u32, owner: u8, index: u64) -> Key {
    Key::indexed(Day::new(day), Table::Item, [owner; 32], index)
}

#[test]
fn rows_are_found_in_order_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for day in [5, 6] {
        store.begin(Day::new(day)).unwrap();
        for index in [3, 1, 70_000] {
            put(&mut store, item(day, 1, index), &[index as u8; 1536]);
            put(&mut store, item(day, 2, index), b"other");
        }
    }
    let mut batch = Batch::new();
    batch
        .delete(item(5, 1, 1))
        .put(item(5, 1, 2), b"two".to_vec());
    store.apply(&batch).unwrap();
    store.syncer().sync().unwrap();
    for restart in 0..2 {
        if restart == 1 {
            drop(store);
            store = open(folder.path());
        }
        let rows = store
            .scan(Day::new(5), Table::Item, Owner::new([1; 32]))
            .unwrap();
        let numbers: Vec<u64> = rows.iter().map(|(index, _)| *index).collect();
        assert_eq!(numbers, [2, 3, 70_000]);
        assert_eq!(rows[1].1, Some(vec![3; 1536]));
        assert_eq!(store.get(&item(6, 1, 1)).unwrap(), Some(vec![1; 1536]));
        assert_eq!(store.get(&item(5, 1, 1)).unwrap(), None);
        assert_eq!(store.days(), [Day::new(6), Day::new(5)]);
        assert_eq!(store.count(Table::Item).unwrap(), 12);
        assert_eq!(store.count(Table::Index).unwrap(), 0);
    }
}

#[test]
fn a_table_of_a_day_is_cleared_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.begin(Day::new(5)).unwrap();
    put(&mut store, item(5, 1, 1), b"x");
    for tomb in 1..3 {
        put(
            &mut store,
            Key::of(Day::new(5), Table::Tomb, [tomb; 32]),
            b"",
        );
    }
    let mut clear = |from: Cursor| store.clear(Day::new(5), Table::Tomb, &from, 1).unwrap();
    let from = clear(Cursor::default()).expect("one at a time");
    let from = clear(from).expect("another one");
    assert_eq!(clear(from), None);
    assert_eq!(store.count(Table::Tomb).unwrap(), 0);
    assert_eq!(store.count(Table::Item).unwrap(), 1);
}

#[test]
fn the_end_of_a_day_destroys_its_key_and_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for day in [5, 6] {
        store.begin(Day::new(day)).unwrap();
        put(&mut store, item(day, 1, 1), b"mail");
    }
    while !store.end(Day::new(5)).unwrap() {}
    assert_eq!(store.get(&item(5, 1, 1)), Err(StoreFault::NoKey));
    assert_eq!(store.get(&item(6, 1, 1)).unwrap(), Some(b"mail".to_vec()));
    drop(store);
    assert!(day_keys(folder.path()).load(Day::new(5)).unwrap().is_none());
    let mut store = open(folder.path());
    assert_eq!(store.days(), [Day::new(6)]);
    store.begin(Day::new(5)).unwrap();
    assert_eq!(
        store.get(&item(5, 1, 1)).unwrap(),
        None,
        "begun anew it is empty"
    );
}

#[test]
fn a_kill_between_key_and_rows_of_a_day_leaves_nothing_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.begin(Day::new(5)).unwrap();
    put(&mut store, item(5, 1, 1), b"mail");
    drop(store);
    day_keys(folder.path()).delete(Day::new(5)).unwrap();
    let mut store = open(folder.path());
    assert!(store.days().is_empty());
    store.begin(Day::new(5)).unwrap();
    assert_eq!(store.count(Table::Item).unwrap(), 0);
}

fn files(folder: &Path, bytes: &mut Vec<u8>) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            files(&path, bytes);
        } else {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
}

#[test]
fn neither_names_nor_values_stand_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.begin(Day::new(5)).unwrap();
    let canary = *b"a canary of thirty-two bytes!!!!";
    for n in 0..2_000 {
        let key = Key::indexed(Day::new(5), Table::Item, canary, n);
        put(&mut store, key, &canary.repeat(48));
    }
    store.syncer().sync().unwrap();
    drop(store);
    let mut bytes = Vec::new();
    files(folder.path(), &mut bytes);
    assert!(bytes.len() > 2_000 * 1_536);
    assert!(!bytes.windows(16).any(|window| window == &canary[..16]));
}

/// Flips a byte of every value of a table on the disk, whatever its day.
fn flip(folder: &Path, table: Table) -> usize {
    let db = fjall::Database::builder(folder.join("store"))
        .open()
        .unwrap();
    let mut flipped = 0;
    for name in db.list_keyspace_names() {
        let space = db.keyspace(&name, Default::default).unwrap();
        let rows: Vec<_> = space.prefix([table.tag()]).collect();
        for row in rows {
            let (name, value) = row.into_inner().unwrap();
            let mut value = value.to_vec();
            let middle = value.len() / 2;
            value[middle] ^= 1;
            space.insert(name, value).unwrap();
            flipped += 1;
        }
    }
    db.persist(fjall::PersistMode::SyncAll).unwrap();
    flipped
}

#[test]
fn rows_flipped_on_the_disk_do_not_open_and_keep_nobody_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.begin(Day::new(5)).unwrap();
    for index in 0..3 {
        put(&mut store, item(5, 1, index), &[7; 1536]);
    }
    put(
        &mut store,
        Key::of(Day::new(5), Table::Head, [1; 32]),
        b"head",
    );
    store.syncer().sync().unwrap();
    drop(store);
    assert_eq!(flip(folder.path(), Table::Item), 3);
    let mut store = open(folder.path());
    put(&mut store, item(5, 1, 1), b"written again");
    let owner = Owner::new([1; 32]);
    let rows = store.scan(Day::new(5), Table::Item, owner).unwrap();
    let again = Some(b"written again".to_vec());
    assert_eq!(rows, [(0, None), (1, again), (2, None)]);
    assert_eq!(store.get(&item(5, 1, 0)), Err(StoreFault::Damaged));
    let head = store.find(Table::Head, &[1; 32]).unwrap();
    assert_eq!(head, Some((Day::new(5), b"head".to_vec())));
}

fn rules(store_rows: u64) -> Rules {
    Rules {
        item_days: 14,
        hash_days: 2,
        quota: Quota {
            per_day: 100,
            burst: u32::MAX,
        },
        store_rows,
    }
}

fn mailbox() -> Create {
    Create {
        mailbox: MailboxKey::from_bytes([1; 32]),
        epoch: Epoch::new(0),
        salts: std::array::from_fn(|n| Salt16::from_bytes([n as u8; 16])),
        proof: [0; 64],
        signature: [0; 64],
    }
}

fn poll(create: &Create, acked: u64) -> Get {
    Get {
        mailbox: create.mailbox,
        epoch: create.epoch,
        acked,
        done: [0; 64],
        held: [0; 64],
        lease_s: 0,
        wanted: 0,
        signature: [0; 64],
    }
}

fn item_of(n: u64) -> [u8; 1_536] {
    let mut item = [7; 1_536];
    item[..8].copy_from_slice(&n.to_be_bytes());
    item
}

#[test]
fn a_desk_over_it_keeps_what_it_stored() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(1_000);
    let mut at = Moment {
        instant: Instant::ZERO,
        wall: Wall::from_secs(20_000 * 86_400),
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let create = mailbox();
    let address: MailboxAddress = create.mailbox.address(&create.salts[5]);
    let poll = poll(&create, 0);
    for day in 0..20_u64 {
        let mut desk = Desk::new(open(folder.path()), rules, &mut rng).unwrap();
        desk.turn(at);
        desk.create(&create);
        assert_eq!(
            desk.put(at, &address, &[day as u8; 1536]).body,
            ReplyBody::Stored
        );
        let sync = desk.tickets().begin().unwrap();
        desk.tickets().ended(sync, true);
        let ReplyBody::Item {
            number, waiting, ..
        } = desk.get(at, &poll).body
        else {
            panic!("nothing on day {day}");
        };
        assert_eq!(u64::from(waiting), (day + 1).min(15));
        assert_eq!(number, day.saturating_sub(14) + 1);
        let store = desk.into_store();
        store.syncer().sync().unwrap();
        at.wall = Wall::from_secs(at.wall.as_secs() + 86_400);
    }
}

const MIB: u64 = 1 << 20;
/// What the engine has to itself in the test of a full disk, and its disk.
const KEEP_FREE: u64 = 64 * MIB;
const DISK: u64 = 160 * MIB;
const DELETED: u64 = 500;

/// Row 30 on the real engine.
#[test]
#[ignore = "run by the test below, on a disk of its own"]
fn a_disk_to_fill() {
    let Ok(folder) = std::env::var("WHIST_TEST_FOLDER") else {
        return;
    };
    let folder = Path::new(&folder);
    let open = || open(folder).keeping_free(KEEP_FREE);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let rules = rules(1_000_000);
    let mut at = Moment {
        instant: Instant::ZERO,
        wall: Wall::from_secs(20_000 * 86_400),
    };
    let create = mailbox();
    let address = create.mailbox.address(&create.salts[5]);
    let store = open();
    let syncer = store.syncer();
    let mut desk = Desk::new(store, rules, &mut rng).unwrap();
    desk.turn(at);
    desk.create(&create);
    let mut stored = 0_u64;
    while desk.put(at, &address, &item_of(stored)).body == ReplyBody::Stored {
        stored += 1;
    }
    assert!(stored > 1_000 && desk.faults() > 0, "{stored} stored");
    let unknown = MailboxAddress::from_bytes([9; 32]);
    let told = desk.put(at, &unknown, &item_of(0)).body;
    assert_eq!(told, ReplyBody::Full, "the same for all addresses");
    // Deletes work, and what was stored is there after a restart.
    let sync = desk.tickets().begin().unwrap();
    syncer.sync().unwrap();
    desk.tickets().ended(sync, true);
    let deleted = desk.get(at, &poll(&create, DELETED)).body;
    syncer.sync().unwrap();
    assert!(!desk.is_ended());
    drop((desk, syncer));
    let mut desk = Desk::new(open(), rules, &mut rng).unwrap();
    desk.turn(at);
    let again = desk.get(at, &poll(&create, DELETED)).body;
    for body in [deleted, again] {
        let ReplyBody::Item { number, .. } = body else {
            panic!("{body:?}");
        };
        assert_eq!(number, DELETED + 1);
    }
    // Everything has expired: it is well again by itself.
    at.wall = Wall::from_secs(at.wall.as_secs() + 20 * 86_400);
    desk.turn(at);
    while desk.has_chores() {
        assert!(desk.work());
    }
    assert_eq!(desk.rows(), 0);
    desk.create(&create);
    let mut room = 0;
    while room < stored / 4 && desk.put(at, &address, &item_of(room)).body == ReplyBody::Stored {
        room += 1;
    }
    assert_eq!(room, stored / 4, "of {stored} that it took at first");
    assert!(!desk.is_ended());
    let taken = fill(desk.into_store().keeping_free(0), Day::at(at.wall));
    println!("filled after {stored} items, and {taken} into the reserve");
}

/// Without the reserve a write fails in the end, and the engine takes no more: the program ends.
fn fill(mut store: Fjall<DiskDayKeys>, day: Day) -> u64 {
    let mut n = 0;
    while !store.is_ended() {
        let mut batch = Batch::new();
        batch.put(
            Key::indexed(day, Table::Item, [8; 32], n),
            item_of(n).to_vec(),
        );
        let written = store.apply(&batch);
        assert_eq!(written.is_err(), store.is_ended());
        n += 1;
    }
    n
}

#[test]
fn a_full_disk_says_full_keeps_what_it_has_deletes_and_is_well_again_when_items_expire() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=$BYTES none $WHIST_TEST_FOLDER && echo mounted &&
                  exec $SELF --exact a_disk_to_fill --ignored --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .env("WHIST_TEST_FOLDER", folder.path())
        .env("BYTES", DISK.to_string())
        .env("SELF", std::env::current_exe().unwrap())
        .output();
    let output = match output {
        Ok(output) if output.stdout.starts_with(b"mounted") => output,
        other => {
            println!("SKIPPED: no disk of its own can be mounted here: {other:?}");
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let filled = output.status.success() && said.contains("filled after");
    assert!(filled, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Stores items until it is killed, and says which are durable.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn a_process_to_kill() {
    let Ok(folder) = std::env::var("WHIST_TEST_FOLDER") else {
        return;
    };
    let mut store = open(Path::new(&folder));
    store.begin(Day::new(5)).unwrap();
    let sync = store.syncer();
    let first = store.count(Table::Item).unwrap();
    for n in first..first + 1_000_000 {
        put(&mut store, item(5, 1, n), &[n as u8; 1536]);
        sync.sync().unwrap();
        println!("stored {n}");
    }
}

#[test]
fn what_was_said_to_be_stored_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = 0_u64;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_to_kill", "--ignored", "--nocapture"])
            .env("WHIST_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 20 + 7 * round;
        let mut told = 0;
        for line in lines.map_while(Result::ok) {
            if let Some((_, number)) = line.rsplit_once("stored ") {
                stored = number.parse::<u64>().unwrap() + 1;
                told += 1;
                if told == wanted {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let store = open(folder.path());
        let rows = store
            .scan(Day::new(5), Table::Item, Owner::new([1; 32]))
            .unwrap();
        assert!(rows.len() as u64 >= stored, "{} of {stored}", rows.len());
        for (n, (index, value)) in rows.iter().enumerate() {
            assert_eq!((*index, value), (n as u64, &Some(vec![n as u8; 1536])));
        }
    }
    assert!(stored >= 100);
}
