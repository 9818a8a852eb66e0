//! A desk, its disk, and a clock in one struct.

use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use whist_packet::request::{Create, Get, ReplyBody};
use whist_provider::desk::{Answer, Desk, Moment, Rules};
use whist_provider::quota::Quota;
use whist_provider::store::Memory;
use whist_provider::ticket::Fate;
use whist_types::{Epoch, Instant, MailboxAddress, MailboxKey, Salt16, Wall};

pub const RULES: Rules = Rules {
    item_days: 14,
    hash_days: 2,
    quota: Quota {
        per_day: 2_048,
        burst: 8_192,
    },
    store_rows: 1_000_000,
};
pub const DAY_S: u64 = 86_400;

/// A desk, its disk, and a clock.
pub struct Rig {
    pub desk: Desk<Memory>,
    pub disk: Memory,
    pub at: Moment,
}

impl Rig {
    pub fn new() -> Self {
        Self::over(Memory::new(), RULES, Wall::from_secs(20_000 * DAY_S))
    }

    pub fn over(disk: Memory, rules: Rules, wall: Wall) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut desk = Desk::new(disk.clone(), rules, &mut rng).unwrap();
        let at = Moment {
            instant: Instant::ZERO,
            wall,
        };
        desk.turn(at);
        work(&mut desk);
        let mut rig = Self { desk, disk, at };
        rig.sync();
        rig
    }

    pub fn wait(&mut self, duration: Duration) {
        self.at.instant = self.at.instant.after(duration);
        self.at.wall = self.at.wall.after(duration);
        self.desk.turn(self.at);
        work(&mut self.desk);
    }

    pub fn wait_days(&mut self, days: u64) {
        for _ in 0..days {
            self.wait(Duration::from_secs(DAY_S));
        }
        self.sync();
    }

    pub fn sync(&mut self) {
        while let Some(ticket) = self.desk.tickets().begin() {
            self.disk.sync();
            self.desk.tickets().ended(ticket, true);
        }
    }

    /// The provider is killed, and starts again over what the disk has.
    pub fn crash(self) -> Self {
        self.disk.crash();
        Self::over(self.disk, RULES, self.at.wall)
    }

    pub fn create(&mut self, mailbox: u8) -> Vec<MailboxAddress> {
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

    pub fn put(&mut self, address: &MailboxAddress, item: u64) -> Answer {
        self.desk.put(self.at, address, &bytes(item))
    }

    pub fn stored(&mut self, address: &MailboxAddress, item: u64) {
        let answer = self.put(address, item);
        assert_eq!(answer.body, ReplyBody::Stored);
        self.sync();
        assert_eq!(
            self.desk.tickets().fate(answer.after.unwrap()),
            Fate::Durable
        );
    }

    pub fn get(&mut self, get: &Get) -> ReplyBody {
        let answer = self.desk.get(self.at, get);
        assert_eq!(answer.after, None, "a poll waits for no commit");
        answer.body
    }

    pub fn number(&mut self, request: &Get) -> Option<u64> {
        match self.get(request) {
            ReplyBody::Item { number, .. } => Some(number),
            ReplyBody::None { .. } => None,
            other => panic!("{other:?}"),
        }
    }
}

/// All that is to be deleted, as long as the disk lets it.
fn work(desk: &mut Desk<Memory>) {
    while desk.has_chores() && desk.work() {}
}

pub fn key(mailbox: u8) -> MailboxKey {
    MailboxKey::from_bytes([mailbox; 32])
}

pub fn salt(n: u8) -> Salt16 {
    Salt16::from_bytes([n; 16])
}

pub fn create(mailbox: u8) -> Create {
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

pub fn poll(mailbox: u8) -> Get {
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

pub fn bytes(item: u64) -> [u8; 1536] {
    let mut bytes = [7; 1536];
    bytes[..8].copy_from_slice(&item.to_be_bytes());
    bytes
}
