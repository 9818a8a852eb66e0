//! `PUBLISH` and `FETCH`: a drop is bound to its first token.
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
use whist_packet::request::ReplyBody;
use whist_provider::desk::{Answer, Desk, Moment, Rules};
use whist_provider::quota::Quota;
use whist_provider::store::{Memory, Store, Table};
use whist_types::{DropId, Instant, Wall};

const RULES: Rules = Rules {
    item_days: 14,
    hash_days: 2,
    quota: Quota {
        per_day: 10,
        burst: 10,
    },
    store_rows: 100,
};
const HOUR: Duration = Duration::from_secs(3_600);
const NONE: ReplyBody = ReplyBody::None {
    waiting: 0,
    oldest: 0,
};

struct Rig {
    desk: Desk<Memory>,
    disk: Memory,
    at: Moment,
}

impl Rig {
    fn new() -> Self {
        let at = Moment {
            instant: Instant::ZERO,
            wall: Wall::from_secs(20_000 * 86_400 + 1_800),
        };
        Self::over(Memory::new(), at)
    }

    fn over(disk: Memory, at: Moment) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut desk = Desk::new(disk.clone(), RULES, &mut rng).unwrap();
        desk.turn(at);
        let mut rig = Self { desk, disk, at };
        rig.sync();
        rig
    }

    fn sync(&mut self) {
        while let Some(ticket) = self.desk.tickets().begin() {
            self.disk.sync();
            self.desk.tickets().ended(ticket, true);
        }
    }

    fn wait(&mut self, hours: u32) {
        for _ in 0..hours {
            self.at.instant = self.at.instant.after(HOUR);
            self.at.wall = self.at.wall.after(HOUR);
            self.desk.turn(self.at);
        }
        self.sync();
    }

    fn publish(&mut self, drop: u8, blob: u8) -> ReplyBody {
        let id = DropId::from_bytes([drop; 32]);
        let answer = self.desk.publish(&id, &[blob; 1554]);
        self.sync();
        answer.body
    }

    fn fetch(&mut self, drop: u8, token: u8) -> Answer {
        let id = DropId::from_bytes([drop; 32]);
        self.desk.fetch(self.at, &id, &[token; 32])
    }
}

fn blob(blob: u8) -> ReplyBody {
    ReplyBody::Blob(Box::new([blob; 1554]))
}

#[test]
fn the_first_token_gets_the_blob_again_for_a_day_and_no_other_ever() {
    let mut rig = Rig::new();
    assert_eq!(rig.fetch(1, 1).body, NONE, "not published is not opened");
    assert_eq!(rig.publish(1, 9), ReplyBody::Ok);
    let first = rig.fetch(1, 1);
    assert_eq!(first.body, blob(9));
    assert!(first.after.is_some(), "bound before the blob leaves");
    rig.sync();
    assert_eq!(rig.fetch(1, 2).body, ReplyBody::Opened);
    for _ in 0..24 {
        assert_eq!(rig.fetch(1, 1).body, blob(9));
        rig.wait(1);
    }
    rig.wait(2);
    assert_eq!(rig.fetch(1, 1).body, ReplyBody::Opened);
    assert_eq!(rig.fetch(1, 2).body, ReplyBody::Opened);
}

#[test]
fn the_blob_is_deleted_a_day_after_it_was_opened() {
    let mut rig = Rig::new();
    rig.publish(1, 9);
    rig.fetch(1, 1);
    rig.sync();
    let long = |rig: &Rig| {
        rig.disk
            .find(Table::Drop, &[1; 32])
            .unwrap()
            .unwrap()
            .1
            .len()
    };
    assert!(long(&rig) > 1554);
    rig.wait(26);
    assert!(long(&rig) < 40);
    assert_eq!(
        rig.publish(1, 9),
        ReplyBody::Ok,
        "publishing again is idempotent"
    );
    assert_eq!(
        rig.fetch(1, 3).body,
        ReplyBody::Opened,
        "and does not bring it back"
    );
}

#[test]
fn publishing_is_idempotent_and_another_blob_is_refused() {
    let mut rig = Rig::new();
    assert_eq!(rig.publish(1, 9), ReplyBody::Ok);
    assert_eq!(rig.publish(1, 9), ReplyBody::Ok);
    assert_eq!(rig.publish(1, 8), ReplyBody::Refused);
    assert_eq!(rig.fetch(1, 1).body, blob(9));
    assert_eq!(rig.desk.rows(), 1);
}

#[test]
fn a_crash_between_binding_and_its_commit_leaves_the_drop_to_whoever_comes_next() {
    let mut rig = Rig::new();
    rig.publish(1, 9);
    // The answer waits for the commit, so that the first token has seen nothing.
    assert!(rig.fetch(1, 1).after.is_some());
    rig.disk.crash();
    let mut rig = Rig::over(rig.disk, rig.at);
    assert_eq!(rig.fetch(1, 2).body, blob(9));
    rig.sync();
    rig.disk.crash();
    let mut rig = Rig::over(rig.disk, rig.at);
    assert_eq!(rig.fetch(1, 1).body, ReplyBody::Opened);
    assert_eq!(rig.fetch(1, 2).body, blob(9));
}

#[test]
fn unused_drops_die_after_fourteen_days() {
    let mut rig = Rig::new();
    rig.publish(1, 9);
    rig.wait(14 * 24);
    assert_eq!(rig.publish(2, 9), ReplyBody::Ok);
    assert!(rig.disk.find(Table::Drop, &[1; 32]).unwrap().is_some());
    rig.wait(24);
    assert_eq!(rig.fetch(1, 1).body, NONE);
    assert_eq!(rig.fetch(2, 1).body, blob(9));
}

#[test]
fn a_full_store_takes_no_drop_and_still_opens_those_it_has() {
    let mut rig = Rig::new();
    for drop in 0..100 {
        assert_eq!(rig.publish(drop, 9), ReplyBody::Ok);
    }
    assert_eq!(rig.publish(200, 9), ReplyBody::Full);
    assert_eq!(rig.publish(7, 9), ReplyBody::Ok);
    assert_eq!(rig.fetch(7, 1).body, blob(9));
}
